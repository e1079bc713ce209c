"""Which texts set the scales of int8, which ones judge it, and which rows measure: none of those that decide."""

from dataclasses import dataclass
from pathlib import Path

from consumer.errors import UsageError
from training.data.prepare import DataOptions, prepare_test
from training.data.reviews import Reviews, draw, drawn
from training.data.unlabeled import read_only_texts
from training.io.progress import say
from training.measure.calibrate import MIN_ROWS
from training.measure.evaluate import check_known_labels
from training.settings import AdoptSettings

#: Fewest texts that int8 is made with: fewer say little about what it loses.
MIN_TEXTS = 100

#: Share of the labelled rows that decides: int8 or not, temperature and threshold. The others measure.
DECIDING = 0.25


@dataclass(frozen=True)
class Rows:
    """The rows of --texts and --test by their use.

    `scales` set the scales of int8; without them there is no int8. `gate` judges it, by its labels if they are those of
    --test. `deciding` are all labelled rows that decide, `measuring` those that measure. `sources` are the files.
    """

    scales: tuple[str, ...] = ()
    gate: Reviews | None = None
    deciding: Reviews | None = None
    measuring: Reviews | None = None
    sources: tuple[Reviews, ...] = ()

    @property
    def samples(self) -> tuple[str, ...]:
        """Some texts of the files, for golden texts and comparisons."""
        return self.gate.texts if self.gate else ()


def read_rows(
    texts_file: Path | None,
    test_file: Path | None,
    labels: tuple[str, ...],
    options: DataOptions,
    settings: AdoptSettings,
) -> Rows:
    """Read both files, and deal their rows out with the seed.

    Raises:
        UsageError: a file cannot be used, or has labels that the model does not know.
    """
    texts = _read_once(texts_file, options) if texts_file else None
    if not test_file:
        return _without_labels(texts, settings)
    test, _ = prepare_test(test_file, None, options, say)
    check_known_labels(test, labels)
    if len(test) < 2:
        raise UsageError(f"{test_file} has one usable row: give --test more, or leave it out")
    used = draw(test, settings.test_rows, settings.seed)
    count = min(max(round(DECIDING * len(used)), MIN_ROWS), len(used) // 2)
    places = drawn(len(used), count, settings.seed)
    deciding = used.only(places)
    measuring = used.only(sorted(set(range(len(used))) - set(places)))
    say(f"{test_file.name}: {len(deciding)} rows decide, {len(measuring)} others measure the result")
    scales, judged = (_some(texts, settings), deciding) if texts else _split(deciding, settings)
    if len(scales) + len(judged) < MIN_TEXTS:
        scales = _too_few(len(scales) + len(judged))
    sources = (texts, test) if texts else (test,)
    return Rows(scales, judged, deciding, measuring, sources)


def _without_labels(texts: Reviews | None, settings: AdoptSettings) -> Rows:
    if texts is None:
        say("no --texts and no --test: int8 needs texts to set its scales and to be judged, so fp32 is served")
        return Rows()
    scales, judged = _split(texts, settings)
    if len(texts) < MIN_TEXTS:
        return Rows(_too_few(len(texts)), judged, sources=(texts,))
    return Rows(scales, draw(judged, settings.gate_rows, settings.seed), sources=(texts,))


def _too_few(count: int) -> tuple[str, ...]:
    say(f"{count} texts are too few to judge int8 (minimum: {MIN_TEXTS}), so fp32 is served")
    return ()


def _some(texts: Reviews, settings: AdoptSettings) -> tuple[str, ...]:
    return draw(texts, settings.calibration_texts, settings.seed).texts


def _split(reviews: Reviews, settings: AdoptSettings) -> tuple[tuple[str, ...], Reviews]:
    """Texts for the scales, at most half of `reviews`, and the other rows."""
    chosen = drawn(len(reviews), min(settings.calibration_texts, len(reviews) // 2), settings.seed)
    others = sorted(set(range(len(reviews))) - set(chosen))
    return reviews.only(chosen).texts, reviews.only(others)


def _read_once(path: Path, options: DataOptions) -> Reviews:
    """The texts of a file that `predict` reads, each once."""
    texts = read_only_texts(path, options.columns.text, options, say)
    first = {text: row for row, text in reversed(list(enumerate(texts.texts)))}
    return texts.only(sorted(first.values()))
