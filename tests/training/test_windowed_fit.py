"""Windows from the setting of a fit to the worker: training and serving cut and average them alike."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.model.bundle.loading import Bundle, load_bundle
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.engines.base import EngineFailure, Logits
from consumer.model.inference.batching import BatchPolicy, TokenBatch
from consumer.model.inference.scaling import PLAIN, Scaling
from consumer.model.labeller import Scored
from consumer.model.texts.encoder import Encoder
from consumer.model.texts.reading import Reading, Truncation, Windows
from tests.tiny_encoder import CLEAR, NEUTRAL, make_base, write_reviews, write_table
from tests.training_run import end_before_packaging, finish, kill_after, weights_of
from training.cli import main
from training.settings import FitSettings, PackageSettings

# Exporting and quantising take their time on a busy machine, however small the model.
pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

#: 16 tokens a window, 4 of them repeated: 14 + 10 + 10 + 10 words of a review are read, and reviews have up to 44.
SETTINGS = {
    "epochs": "5",
    "batch-size": "16",
    "learning-rate": "0.003",
    "truncation": "windows",
    "window-overlap": "0.25",
    "max-windows": "4",
    "train-max-length": "16",
    "max-length": "16",
    "calibration-texts": "12",
    "gate-rows": "30",
    "calibration-share": "0.35",
    "sure-precision": "0.9",
    "checkpoint-minutes": "0",
    "keep": "int8,fp32,torch",
    "seed": "3",
}


def arguments(directory: Path, out: str, **changed: str) -> list[str]:
    """The command line of a fit in `directory`, with the settings above."""
    files = {name: str(directory / file) for name, file in (("train", "train.xlsx"), ("test", "test.xlsx"))}
    options = files | {"base": str(directory / "base"), "out": str(directory / out)} | SETTINGS | changed
    return ["fit", *(part for name, value in options.items() for part in (f"--{name}", value))]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a base model and two files of reviews; on one thread, which suits a model this small."""
    import torch

    directory = tmp_path_factory.mktemp("windows")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make_base(directory / "base")
    write_reviews(directory / "train.xlsx", 292, seed=1)
    write_reviews(directory / "test.xlsx", 60, seed=2)
    yield directory
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def fitted(workplace: Path) -> Bundle:
    """The bundle of one whole fit."""
    assert main(arguments(workplace, "bundle")) == 0
    return load_bundle(workplace / "bundle")


def texts(count: int, seed: int = 5) -> list[str]:
    """Reviews of 1 to 90 words of the tiny vocabulary."""
    draw = random.Random(seed)
    words = [*NEUTRAL, *CLEAR["neg"], *CLEAR["pos"]]
    return [" ".join(draw.choices(words, k=draw.randint(1, 90))) for _ in range(count)]


def test_a_fit_with_windows_ends_in_a_bundle_that_the_worker_reads_by_windows(fitted: Bundle) -> None:
    """The manifest says how, the golden texts hold in every variant, and what is behind the last window is cut."""
    manifest = fitted.manifest
    assert (manifest.truncation, manifest.windows) == (Truncation.WINDOWS, Windows(overlap=0.25, most=4))
    for variant in manifest.variants:
        classifier = Classifier(fitted, open_engine(fitted, variant, threads=1))
        classifier.self_check()
        # 14 words in the first window and 10 new ones in each of three more
        whole, cut = classifier.classify(["good " + "film " * 43, "good " + "film " * 44]).results
        assert isinstance(whole, Scored)
        assert isinstance(cut, Scored)
        assert (whole.tokens, whole.truncated, cut.tokens, cut.truncated) == (46, False, 46, True)
        assert cut.probabilities == pytest.approx(whole.probabilities, abs=0.03)
        classifier.close()
    card = (fitted.path / "MODEL_CARD.md").read_text()
    assert "the first 4 of them. Each repeats 25% of the one before, and their logits are averaged" in card
    assert "16 tokens a window, seed 3" in card


def test_what_was_measured_is_what_the_worker_answers(fitted: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """The accuracy of the manifest, of `evaluate` and of `predict`, which read the bundle as the worker does."""
    # Given the answers of the served variant, calibrated
    manifest = fitted.manifest
    accuracy = manifest.variants[manifest.served].accuracy
    assert accuracy is not None
    assert accuracy.accuracy > 0.8
    file = fitted.path.parent / "test.xlsx"
    # When evaluate measures it, then it finds the same
    assert main(["evaluate", "--bundle", str(fitted.path), "--data", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == accuracy.accuracy
    # And predict and explain give what the classifier gives
    from consumer.model.explain import explain
    from training.predictor import Predictor

    asked = texts(12)
    classifier = Classifier(fitted, open_engine(fitted, threads=1))
    results = classifier.classify(asked).results
    predicted = Predictor.load(fitted.path).outcomes(asked)
    for text, result, outcome in zip(asked, results, predicted, strict=True):
        assert isinstance(result, Scored)
        assert outcome.score == pytest.approx(result.score, abs=0.03)
        assert (outcome.tokens, outcome.truncated) == (result.tokens, result.truncated)
        assert explain(classifier, text).truncated == result.truncated
    assert len({result.truncated for result in results if isinstance(result, Scored)}) == 2
    classifier.close()


def with_temperature(bundle: Bundle, temperature: float) -> Bundle:
    """The bundle calibrated to `temperature`; the tiny model makes no mistake that would set one."""
    assert bundle.manifest.calibration is not None
    calibration = bundle.manifest.calibration.model_copy(update={"temperature": temperature})
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"calibration": calibration}))


def test_the_worker_averages_what_the_trained_model_says_of_each_window(fitted: Bundle) -> None:
    """By hand: transformers' logits of each window alone, their mean, divided by the temperature, as probabilities."""
    import torch
    from transformers import DistilBertForSequenceClassification

    model: Any = DistilBertForSequenceClassification.from_pretrained(fitted.path, dtype=torch.float32)
    model.eval()
    encoder = Encoder(fitted.tokenizer_json, Reading(16, Truncation.WINDOWS, fitted.manifest.windows))
    classifier = Classifier(with_temperature(fitted, 2.5), open_engine(fitted, "fp32", threads=1))
    asked = texts(20)
    for text, result in zip(encoder.encode(asked), classifier.classify(asked).results, strict=True):
        with torch.no_grad():
            logits = [model(input_ids=torch.from_numpy(w.astype(np.int64))[None]).logits[0] for w in text.windows]
        expected = (torch.stack(logits).mean(dim=0) / 2.5).softmax(dim=0).tolist()
        assert isinstance(result, Scored)
        assert list(result.probabilities.values()) == pytest.approx(expected, abs=2e-3)
    assert max(len(text.windows) for text in encoder.encode(asked)) == 4
    classifier.close()


def test_a_temperature_fitted_on_whole_texts_is_the_one_that_is_applied(fitted: Bundle) -> None:
    """The worker applies a temperature to averaged windows as calibration fitted it."""
    from training.measure.calibrate import rescaled

    asked = texts(20)
    rows = []
    for bundle in (with_temperature(fitted, 1.0), with_temperature(fitted, 2.5)):
        classifier = Classifier(bundle, open_engine(bundle, "fp32", threads=1))
        results = classifier.classify(asked).results
        rows.append([list(result.probabilities.values()) for result in results if isinstance(result, Scored)])
        classifier.close()
    np.testing.assert_allclose(rescaled(np.array(rows[0]), PLAIN, Scaling(2.5)), rows[1], atol=1e-4)


def plan_of(workplace: Path, reviews: Any, settings: FitSettings) -> Any:
    """A run that has not begun, without a model."""
    from training.data.prepare import Prepared
    from training.encoders.base import find_base
    from training.plan import Job, Plan, Split

    return Plan(
        model=None,
        base=find_base(str(workplace / "base")),
        rows=Split(Prepared(reviews, reviews), None, reviews),
        settings=settings,
        job=Job(workplace, PackageSettings(), workplace),
    )


class Recorder:
    """An engine that answers nothing of use and remembers the rows that it was given."""

    variant = "fp32"
    policy = BatchPolicy(token_budget=200, max_rows=64, round_to=8, parallel=2)

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []

    def infer(self, batches: Sequence[TokenBatch]) -> list[Logits | EngineFailure]:
        """Zeros."""
        for batch in batches:
            self.rows += [tuple(ids[mask == 1].tolist()) for ids, mask in zip(batch.ids, batch.mask, strict=True)]
        return [np.zeros((len(batch.ids), 2), dtype=np.float32) for batch in batches]

    def close(self) -> None:
        """Nothing to close."""


def test_training_and_worker_cut_a_text_into_the_same_windows(fitted: Bundle, workplace: Path) -> None:
    """The rows that a fit learns from a file are those that the engine is given when the worker reads its texts."""
    from training.data.reviews import read_reviews

    # Given a file of short and long reviews, and the settings of the fit
    rows = [("Reviews", "Sentiment"), *((text, ("neg", "pos")[n % 2]) for n, text in enumerate(texts(60)))]
    reviews = read_reviews(write_table(workplace / "mixed.xlsx", rows))
    settings = FitSettings(truncation=Truncation.WINDOWS, max_windows=4, train_max_length=16, max_length=16)
    # When both read it
    encoded = plan_of(workplace, reviews, settings).encoded(reviews)
    recorder = Recorder()
    Classifier(fitted, recorder).classify(reviews.texts)
    # Then they read the same
    trained = [tuple(window.tolist()) for review in encoded.reviews for window in review.windows]
    assert Counter(recorder.rows) == Counter(trained)
    assert set(encoded.counts) == {1, 2, 3, 4}


def test_a_killed_fit_with_windows_resumes_to_the_same_weights(
    workplace: Path, fitted: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL between two steps, the same command again: bit for bit the weights of the run without a kill."""
    # Given a fit that is killed
    command = arguments(workplace, "killed")
    killed_at = kill_after(command, workplace / "killed.run")
    assert 0 < killed_at < 60
    # When the command is given again, up to packaging
    end_before_packaging(monkeypatch)
    finish(command)
    # Then it resumed, and ended where the fit without a kill did
    assert f"resumes at step {killed_at} of 60" in capsys.readouterr().err
    assert weights_of(workplace / "killed.run") == weights_of(workplace / "bundle.run")
    # And it does not resume with other windows
    for name, value in (("max-windows", "3"), ("window-overlap", "0.5")):
        assert main(arguments(workplace, "killed", **{name: value})) == 2
        assert "of a run with another windows" in capsys.readouterr().err


def test_int8_scales_are_set_on_windows_of_the_whole_text(workplace: Path) -> None:
    """One window of each text is drawn, not always the first, and the same ones with the same seed."""
    from training.data.reviews import read_reviews
    from training.encoders.base import find_base
    from training.packaging.package import calibration_set

    settings = FitSettings(truncation=Truncation.WINDOWS, train_max_length=16, max_length=16)
    base, reviews = find_base(str(workplace / "base")), read_reviews(workplace / "train.xlsx")
    drawn = calibration_set(base, reviews, settings, 60)
    encoder = Encoder(base.tokenizer_json, settings.reading)
    first = {text.windows[0].tobytes() for text in encoder.encode(reviews.texts)}
    assert len(drawn) == 60
    assert max(map(len, drawn)) == 16
    assert not all(window.tobytes() in first for window in drawn[40:])
    assert [w.tolist() for w in drawn] == [w.tolist() for w in calibration_set(base, reviews, settings, 60)]


def test_window_settings_without_windows_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """They would have no effect; the line names the missing setting. Impossible values are refused too."""
    files = ["--train", "a.xlsx", "--test", "b.xlsx", "--out", "c"]
    for name, value in (("--max-windows", "3"), ("--window-overlap", "0.1")):
        assert main(["fit", *files, name, value]) == 2
        assert "set truncation to windows as well" in capsys.readouterr().err
    for name, value in (("--max-windows", "0"), ("--window-overlap", "0.6")):
        assert main(["fit", *files, "--truncation", "windows", name, value]) == 2
        assert name.removeprefix("--").replace("-", "_") in capsys.readouterr().err


def test_the_identity_of_a_run_without_windows_and_teachers_does_not_mention_them(workplace: Path) -> None:
    """With windows, it has their defaults as well."""
    from training.data.reviews import read_reviews

    before = {"batch_size", "weight_decay", "train_max_length", "truncation", "class_weights"}
    before |= {"precision", "freeze", "seed", "calibration_share", "epochs", "learning_rate", "policy", "warmup"}
    before |= {"cycle_length", "cycle_multiplier", "select", "patience", "validation_share"}
    identity = plan_of(workplace, read_reviews(workplace / "test.xlsx"), FitSettings()).identity()
    data = {"train_sha256", "test_sha256", "columns", "rows", "labels"}
    data |= {"train_rows_sha256", "validation_rows_sha256"}
    assert identity.keys() == data | {"base_sha256", "tokenizer_sha256", "settings"}
    assert identity["settings"].keys() == before
    found = FitSettings(truncation=Truncation.WINDOWS).identity()
    assert found["windows"] == {"overlap": 0.25, "most": 4}
