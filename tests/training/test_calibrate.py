"""Probabilities that mean what they say: fitted on what was not trained on, and applied by the worker."""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.errors import BundleError
from consumer.model.bundle.loading import load_bundle
from consumer.model.bundle.manifest import Calibration, Source
from consumer.model.inference.scaling import PLAIN, Scaling
from consumer.model.labeller import Scored
from tests.tiny_bundle import WORTH, positive_probability, seal, write_tiny_bundle
from tests.tiny_encoder import write_table
from training.cli import main
from training.data.reviews import Reviews, read_reviews
from training.measure.answering.answers import Answers, Floats, Indices, expected_calibration_error
from training.measure.calibrate import (
    MIN_ROWS,
    TEMPERATURES,
    calibrate,
    find_threshold,
    fit_scaling,
    hold_out,
    rescaled,
    rescaled_answers,
)
from training.measure.evaluate import Answer, open_classifier
from training.packaging.card import calibration_section, with_calibration

pytestmark = pytest.mark.training

CALIBRATION = Calibration(
    temperature=1.7,
    threshold=0.9,
    target_precision=0.98,
    unsure=0.25,
    ece_before=0.05,
    ece_after=0.01,
    variant="int8",
    data=Source(file="held.xlsx", sha256="0" * 64, rows=1240),
)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A correct bundle that is not calibrated, with a card."""
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("pristine") / "bundle")
    (bundle / "MODEL_CARD.md").write_text(
        "# tiny\n\n## Limits\n\nThe probabilities are not calibrated. It knows films.\n"
    )
    return seal(bundle)


def write_overconfident(path: Path, rows: int = 300, labels: tuple[str, str] = ("neg", "pos")) -> Path:
    """Reviews for the tiny bundle, which is twice too sure of itself: labels follow half of its logits; fixed seed."""
    draw = random.Random(7)
    table = [("Reviews", "Sentiment")]
    for _ in range(rows):
        text = " ".join(draw.choices(list(WORTH), k=draw.randint(1, 8)))
        odds = (positive_probability(text) / (1 - positive_probability(text))) ** 0.5
        table.append((text, labels[draw.random() < odds / (1 + odds)]))
    return write_table(path, table)


def calibrated(bundle: Path, data: Path, out: Path, *options: str) -> int:
    """Exit code of the command."""
    return main(["calibrate", "--bundle", str(bundle), "--data", str(data), "--out", str(out), *options])


def refusal(capsys: pytest.CaptureFixture[str], code: int, expected: int = 2) -> str:
    """The one line that the command ended with."""
    assert code == expected
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("review-training: ")
    return last


@pytest.mark.parametrize("out", [".", "..", "../bundle/.."])
def test_an_out_without_a_name_is_refused_before_the_work(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    """From inside of the bundle: one line instead of an error of the library behind all measuring."""
    bundle = Path(shutil.copytree(pristine, tmp_path / "bundle"))
    monkeypatch.chdir(bundle)
    line = refusal(capsys, calibrated(bundle, tmp_path / "none.xlsx", Path(out)))
    assert line.endswith(f"--out {out} stands for a directory: give the name of the directory itself")


def test_the_temperature_of_an_overconfident_model_is_found() -> None:
    """Labels drawn from the probabilities of a third of the logits: the temperature is 3, within sampling error."""
    honest, truth = drawn_from(PLAIN, seed=1)
    found = fit_scaling(Scaling(1 / 3).probabilities(np.log(honest)), truth)
    assert found.temperature == pytest.approx(3, rel=0.03)
    assert fit_scaling(honest, truth).temperature == pytest.approx(1, rel=0.03)
    assert found.sharpening == 0


def drawn_from(truly: Scaling, seed: int, rows: int = 20_000) -> tuple[Floats, Indices]:
    """Probabilities of three labels without a scaling, and labels drawn from those that `truly` gives; fixed seed."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2, size=(rows, 3))
    honest = truly.probabilities(logits)
    truth = (honest.cumsum(axis=1) > generator.random((rows, 1))).argmax(axis=1)
    return PLAIN.probabilities(logits), truth


def test_sure_answers_that_are_not_sure_enough_are_sharpened() -> None:
    """Both numbers are found within sampling error, again from answers that were scaled, and the error is gone."""
    truly = Scaling(2, 0.1)
    given, truth = drawn_from(truly, seed=2)
    found = fit_scaling(given, truth)
    assert found.temperature == pytest.approx(2, rel=0.1)
    assert found.sharpening == pytest.approx(0.1, rel=0.3)
    again = fit_scaling(rescaled(given, PLAIN, found), truth, found)
    assert (again.temperature, again.sharpening) == pytest.approx((found.temperature, found.sharpening), rel=0.01)
    # A temperature alone leaves a multiple of the error
    reviews = Reviews(Path("held.xlsx"), "0" * 64, ("a text",) * len(truth), tuple("abc"[each] for each in truth))
    answers: list[Answer] = [dict(zip("abc", row, strict=True)) for row in given.tolist()]
    both = calibrate(answers, reviews, "abc", variant="int8", precision=0.98)
    plain = expected_calibration_error(Answers(rescaled(given, PLAIN, Scaling(both.temperature)), truth))
    assert both.ece_after < 0.01 < both.ece_before
    assert both.ece_after < plain / 3
    assert both.scaling == found


@pytest.mark.parametrize("seed", range(5))
def test_what_fits_by_chance_is_left_out(seed: int) -> None:
    """On a few hundred rows a sharpening would often fit a little better."""
    assert fit_scaling(*drawn_from(PLAIN, seed=seed, rows=300)).sharpening == 0


def test_without_a_mistake_the_scaling_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """A lower temperature is always better, so there is none to fit, and the user is informed."""
    before = Scaling(2, 0.1)
    assert fit_scaling(np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([0, 1]), before) == before
    assert "no wrong answer among 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("right", "precision", "expected"),
    [
        ([1, 1, 1, 0], 0.75, 0.6),  # three of four right: all are sure
        ([1, 1, 0, 1], 0.5, 0.6),
        ([1, 1, 0, 0], 0.6, 0.7),  # 2 of 3
        ([0, 0, 0, 0], 0.5, None),
        ([1, 0, 0, 0], 0.6, None),  # the first alone is right, but one answer shows nothing: 2.5 are needed
        ([1, 1, 1, 1], 0.98, None),  # and 50 here
    ],
)
def test_a_threshold_is_the_smallest_that_will_do(right: list[int], precision: float, expected: float | None) -> None:
    """On four answers with probabilities 0.9, 0.8, 0.7 and 0.6."""
    assert find_threshold(np.array([0.9, 0.8, 0.7, 0.6]), np.array(right, dtype=bool), precision) == expected


def test_equal_probabilities_stand_on_one_side_of_the_threshold() -> None:
    """Of three answers at 0.7 two are right: the threshold cannot pass between them."""
    top, right = np.array([0.9, 0.7, 0.7, 0.7]), np.array([True, True, False, True])
    assert find_threshold(top, right, 0.75) == 0.7
    assert find_threshold(np.append(top, 0.8), np.append(right, True), 0.85) is None
    assert find_threshold(np.array([]), np.array([], dtype=bool), 0.5) is None


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, 0.99]), st.booleans()), max_size=60))
def test_a_threshold_keeps_its_promise(answers: list[tuple[float, bool]]) -> None:
    """At or above it the wanted precision is reached, and below it no smaller probability would do."""
    top, right = np.array([t for t, _ in answers]), np.array([r for _, r in answers], dtype=bool)
    fits = [t for t in set(top.tolist()) if (top >= t).sum() >= 4 and right[top >= t].mean() >= 0.75]
    assert find_threshold(top, right, 0.75) == (min(fits) if fits else None)


def reviews(rows: int) -> Reviews:
    """One `neg` for two `pos`."""
    return Reviews(Path("r.xlsx"), "0" * 64, tuple(map(str, range(rows))), ("neg", "pos", "pos") * (rows // 3))


def test_held_out_rows_are_not_trained_on_and_have_the_shares_of_the_labels() -> None:
    """A tenth of each label, drawn with the seed; together the parts are the whole."""
    train, held = hold_out(reviews(1200), 0.1, seed=1)
    assert held is not None
    assert (held.labels.count("neg"), held.labels.count("pos")) == (40, 80)
    assert set(train.texts).isdisjoint(held.texts)
    assert sorted(map(int, train.texts + held.texts)) == list(range(1200))
    assert held.texts != tuple(map(str, range(120)))
    assert hold_out(reviews(1200), 0.1, seed=1) == (train, held)
    assert hold_out(reviews(1200), 0.1, seed=2)[1] != held


def test_rows_that_nearly_repeat_a_held_out_one_are_not_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the held-out rows would be memorised: each text is there a second time, with a word added."""
    from training.data.leaks import find_leaks
    from training.data.prepare import Prepared
    from training.fine_tuning import split
    from training.settings import FitSettings

    texts = [" ".join(f"word{number}x{place}" for place in range(40)) for number in range(600)]
    twice = replace(reviews(1200), texts=(*texts, *(f"{text} again" for text in texts)), labels=("neg", "pos") * 600)
    settings = FitSettings(calibration_share=0.1, validation_share=0.1)
    data, calibration, validation = split(Prepared(twice, reviews(3)), settings, 0.8)
    assert calibration is not None
    for held in (calibration, validation):
        assert len(held) > 100
        assert len(find_leaks(data.train, held, 0.8)) == 0
    assert 800 < len(data.train) + len(calibration) + len(validation) < 1100
    printed = capsys.readouterr().err
    assert "more are left out: near duplicates of rows that are held out" in printed
    assert "are held out to monitor the training and never trained on" in printed


def test_too_few_rows_are_not_held_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A small file trains on all of its rows, and a message says that it is not calibrated; 0 is allowed."""
    assert hold_out(reviews(300), 0.05, seed=1) == (reviews(300), None)
    assert f"are 15, too few to calibrate on (minimum: {MIN_ROWS})" in capsys.readouterr().err
    assert hold_out(reviews(300), 0, seed=1) == (reviews(300), None)
    assert "too few" not in capsys.readouterr().err


def test_failed_answers_stay_failed() -> None:
    """And the others change as the classifier would change them."""
    changed = rescaled_answers([{"neg": 0.2, "pos": 0.8}, None], PLAIN, Scaling(2))
    assert changed[1] is None
    assert changed[0] is not None
    assert list(changed[0]) == ["neg", "pos"]
    assert list(changed[0].values()) == pytest.approx([1 / 3, 2 / 3])


def test_a_calibrated_copy_is_served_with_honest_probabilities(
    pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker's classifier softens every answer, says which are unsure, and gives every text the label as before."""
    # Given a bundle that is twice too sure, and reviews that show it
    data, out = write_overconfident(tmp_path / "held.xlsx", 1500), tmp_path / "copy"
    # When it is calibrated
    assert calibrated(pristine, data, out, "--precision", "0.9") == 0
    # Then the copy is another bundle with the same model
    before, after = load_bundle(pristine), load_bundle(out)
    found = after.manifest.calibration
    assert found is not None
    assert found.threshold is not None
    assert found.temperature == pytest.approx(2, rel=0.15)
    assert found.ece_after < found.ece_before / 2
    assert (found.data.file, found.data.rows, found.variant, found.target_precision) == ("held.xlsx", 1500, "fp32", 0.9)
    assert after.digest != before.digest
    assert after.manifest.version.startswith("1+calibrated.")
    same = [name for name in before.manifest.files if before.manifest.files[name] == after.manifest.files[name]]
    assert set(before.manifest.files) - set(same) == {"golden.json", "MODEL_CARD.md"}
    assert "unsure below" in capsys.readouterr().out
    # And its answers are those of the model at that temperature
    texts = ["good film", "awful", "the", "good bad film", "great great great"]
    with open_classifier(pristine, None) as old, open_classifier(out, None) as new:
        new.self_check()
        pairs = zip(old.classify(texts).results, new.classify(texts).results, strict=True)
        for sharp, soft in pairs:
            assert isinstance(sharp, Scored)
            assert isinstance(soft, Scored)
            assert soft.label == sharp.label
            assert soft.score == pytest.approx(max(_softened(sharp.probabilities, found.temperature)))
            assert (sharp.unsure, soft.unsure) == (None, soft.score < found.threshold)
    assert main(["evaluate", "--bundle", str(out), "--data", str(data)]) == 0
    assert "was calibrated on" in capsys.readouterr().err
    card = (out / "MODEL_CARD.md").read_text()
    assert "## Calibration" in card
    assert "not calibrated" not in card


def _softened(probabilities: dict[str, float], temperature: float) -> Sequence[float]:
    powers = [p ** (1 / temperature) for p in probabilities.values()]
    return [power / sum(powers) for power in powers]


def test_a_bundle_can_be_calibrated_again_and_in_its_place(pristine: Path, tmp_path: Path) -> None:
    """The second temperature is that of the model, not one on top of the first; --out may be the bundle itself."""
    data = write_overconfident(tmp_path / "held.xlsx")
    bundle = Path(shutil.copytree(pristine, tmp_path / "bundle"))
    assert calibrated(bundle, data, bundle) == 0
    first = load_bundle(bundle).manifest
    assert calibrated(bundle, data, bundle) == 0
    second = load_bundle(bundle).manifest
    assert first.calibration is not None
    assert second.calibration is not None
    assert second.calibration.temperature == pytest.approx(first.calibration.temperature, rel=1e-3)
    assert second.calibration.ece_before == pytest.approx(first.calibration.ece_after, abs=1e-3)
    assert second.version != first.version
    assert (bundle / "MODEL_CARD.md").read_text().count("## Calibration") == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["bundle"]


def test_labels_that_contradict_the_model_calibrate_to_the_largest_temperature(pristine: Path, tmp_path: Path) -> None:
    """As often as it is given such a file: the copy of a copy is no flatter than the copy."""
    data = write_overconfident(tmp_path / "held.xlsx")
    reviews = read_reviews(data)
    swapped = tmp_path / "swapped.csv"
    other = {"neg": "pos", "pos": "neg"}
    rows = (f"{text},{other[label]}" for text, label in zip(reviews.texts, reviews.labels, strict=True))
    swapped.write_text("\n".join(["Reviews,Sentiment", *rows]))
    bundle = pristine
    for number in range(3):
        assert calibrated(bundle, swapped, tmp_path / f"copy{number}") == 0
        bundle = tmp_path / f"copy{number}"
        calibration = load_bundle(bundle).manifest.calibration
        assert calibration is not None
        assert calibration.temperature == pytest.approx(TEMPERATURES[1], rel=1e-3)


def test_columns_of_other_names_can_calibrate(
    pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the refusal says to do can be done, and gives what the usual names give."""
    data, renamed = write_overconfident(tmp_path / "held.xlsx"), tmp_path / "renamed.csv"
    usual = read_reviews(data)
    rows = (f"{text},0,{label}" for text, label in zip(usual.texts, usual.labels, strict=True))
    renamed.write_text("\n".join(["words,shelf,verdict", *rows]))
    assert "with --text-column and --label-column" in refusal(capsys, calibrated(pristine, renamed, tmp_path / "copy"))
    options = ("--text-column", "words", "--label-column", "verdict")
    assert calibrated(pristine, renamed, tmp_path / "copy", *options) == 0
    assert calibrated(pristine, data, tmp_path / "other") == 0
    copy, other = (load_bundle(tmp_path / name).manifest.calibration for name in ("copy", "other"))
    assert copy is not None
    assert other is not None
    assert (copy.temperature, copy.data.rows) == (other.temperature, 300)


def test_a_temperature_that_was_changed_by_hand_is_refused(pristine: Path, tmp_path: Path) -> None:
    """Golden answers are those after calibration, so the worker sees it before it serves."""
    out = tmp_path / "copy"
    assert calibrated(pristine, write_overconfident(tmp_path / "held.xlsx"), out) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["calibration"]["temperature"] = 1.0
    (out / "manifest.json").write_text(json.dumps(manifest))
    with open_classifier(out, None) as classifier, pytest.raises(BundleError, match="golden text 0 is off"):
        classifier.self_check()


def test_reviews_that_the_bundle_was_made_from_are_refused(
    pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the name of the file: its content tells."""
    import hashlib

    data = write_overconfident(tmp_path / "innocent.xlsx")
    known = {"file": "train.xlsx", "sha256": hashlib.sha256(data.read_bytes()).hexdigest(), "rows": 300}
    bundle = seal(Path(shutil.copytree(pristine, tmp_path / "bundle")), training_data=[known])
    assert "is what tiny was trained or measured on" in refusal(capsys, calibrated(bundle, data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_reviews_that_stand_in_the_training_file_are_found_by_their_texts(
    pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saved again it is another file; --train finds it all the same, and can leave the rows out."""
    data = write_overconfident(tmp_path / "saved-again.xlsx")
    train = write_overconfident(tmp_path / "train.xlsx", 301)
    code = calibrated(pristine, data, tmp_path / "out", "--train", str(train))
    assert "of the test texts occur in the training file" in refusal(capsys, code)
    assert not (tmp_path / "out").exists()


def test_what_cannot_calibrate_is_refused(pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Few rows, foreign labels, a wrong precision, a wrong --out, a missing bundle: one line each, nothing written."""
    good, few = write_overconfident(tmp_path / "good.xlsx"), write_overconfident(tmp_path / "few.xlsx", 90)
    foreign = write_overconfident(tmp_path / "foreign.xlsx", labels=("negativ", "positiv"))
    out = tmp_path / "out"
    assert "90 usable rows; calibrating needs at least 100" in refusal(capsys, calibrated(pristine, few, out))
    assert "negativ, positiv; the bundle knows neg, pos" in refusal(capsys, calibrated(pristine, foreign, out))
    for precision in ("0", "1", "98", "-1", "nan"):
        code = calibrated(pristine, good, out, "--precision", precision)
        assert "--precision is a share between 0 and 1" in refusal(capsys, code)
    refusal(capsys, calibrated(tmp_path / "none", good, out), expected=3)
    assert "does not exist" in refusal(capsys, calibrated(pristine, tmp_path / "none.xlsx", out))
    assert not out.exists()
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert "is not a bundle" in refusal(capsys, calibrated(pristine, good, out))
    assert (out / "thesis.txt").exists()


def test_the_card_tells_what_probabilities_mean() -> None:
    """Calibrated with and without a threshold, and not at all."""
    whole = calibration_section(CALIBRATION)
    assert all(part in whole for part in ("1.700", "1240 reviews", "0.9000", "25.0%", "98.0%", "5.00%", "1.00%"))
    without = calibration_section(CALIBRATION.model_copy(update={"threshold": None, "unsure": None}))
    assert "no prediction is marked `unsure`" in without
    assert "not calibrated" in calibration_section(None)


@pytest.mark.parametrize(
    "card",
    [
        "# m\n\n## Limits\n\nThe probabilities are not calibrated. Films only.\n",
        "# m\n\n## Calibration\n\nThe probabilities are not calibrated.\n\n## Limits\n\nFilms only.\n",
        "# m\n",
    ],
)
def test_a_card_gets_one_section_about_calibration(card: str) -> None:
    """In place of what it said before, and nothing else of it is lost."""
    once = with_calibration(card, CALIBRATION)
    twice = with_calibration(once, CALIBRATION)
    assert once == twice
    assert once.startswith("# m\n\n## Calibration\n\nLogits are divided by 1.700")
    assert "not calibrated" not in once
    assert ("Films only." in once) == ("Films only." in card)
