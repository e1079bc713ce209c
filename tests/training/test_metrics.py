"""Figures are scikit-learn's, and the quick resamples give what slow ones would."""

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from training.measure.answering.answers import (
    BINS,
    Answers,
    as_arrays,
    expected_calibration_error,
    reliability,
    squared_calibration_error,
)
from training.measure.evaluate import wilson_interval
from training.measure.metrics import Metric, _figures, _resampled, measure

pytestmark = pytest.mark.training

NAMES = ("a", "b", "c")


def drawn(rows: int, labels: int, seed: int, *, failed: int = 0, threshold: float | None = None) -> Answers:
    """Answers that are right more often than not, with many equal scores; the first `failed` rows have none."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, labels, rows)
    logits = generator.normal(size=(rows, labels)).round(1) + np.eye(labels)[truth]
    exponents = np.exp(logits)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    probabilities[:failed] = np.nan
    return Answers(probabilities, truth, threshold)


@pytest.mark.parametrize("labels", [2, 3])
def test_figures_are_those_of_scikit_learn(labels: int) -> None:
    """Accuracy, F1, ROC-AUC, log loss and, for two labels, Brier score."""
    answers = drawn(500, labels, seed=1)
    found = measure(answers, NAMES[:labels], resamples=20).overall
    truth, predicted, probabilities = answers.truth, answers.probabilities.argmax(axis=1), answers.probabilities
    scores, several = (probabilities[:, 1], {}) if labels == 2 else (probabilities, {"multi_class": "ovr"})
    expected = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "f1_macro": sk.f1_score(truth, predicted, average="macro"),
        "roc_auc": sk.roc_auc_score(truth, scores, **several),
        "log_loss": sk.log_loss(truth, probabilities),
        "brier": sk.brier_score_loss(truth, scores, **({} if labels == 2 else {"scale_by_half": False})),
    }
    for name, value in expected.items():
        metric = found[name]
        assert metric is not None
        assert metric.value == pytest.approx(value, abs=1e-12), name
        assert metric.low < metric.value < metric.high


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("failed", [0, 7])
def test_a_resample_gives_what_scikit_learn_gives_for_its_rows(labels: int, failed: int) -> None:
    """Every figure of a weighted row equals the figure of rows that are really repeated, equal scores included."""
    threshold = 0.6
    answers = drawn(120, labels, seed=2, failed=failed, threshold=threshold)
    given = np.where(answers.answered[:, None], answers.probabilities, np.nan)
    rows = np.random.default_rng(3).integers(0, 120, (8, 120))
    weights = np.stack([np.bincount(row, minlength=120) for row in rows]).astype(float)
    quick, quick_f1 = _resampled(answers, weights)
    for number, row in enumerate(rows):
        slow, slow_f1 = _figures(Answers(given[row], answers.truth[row], threshold))
        assert quick.keys() == slow.keys()
        for name, value in slow.items():
            assert quick[name][number] == pytest.approx(value, abs=1e-12), name
        assert quick_f1[number] == pytest.approx(slow_f1, abs=1e-12)


def test_a_label_that_a_resample_lacks_costs_no_interval() -> None:
    """60 labels on 150 rows: hardly a resample has all of them; its ROC-AUC is the mean over those that it has."""
    names = tuple(map(str, range(60)))
    found = measure(drawn(150, 60, seed=8), names, resamples=100).overall["roc_auc"]
    assert found is not None
    assert 0.5 < found.low < found.value < found.high < 1


def test_a_resample_without_a_rare_label_says_nothing_of_its_f1() -> None:
    """A perfect model is perfect in every resample, though one in seven lacks both rows of the third label."""
    # Given 300 rows, two of them of a label of their own, and answers that are all right
    truth = np.array([0] * 149 + [1] * 149 + [2] * 2)
    # When they are measured
    found = measure(Answers(np.eye(3)[truth] * 0.7 + 0.1, truth), NAMES)
    # Then nothing below 1 is in an interval
    assert found.overall["f1_macro"] == found.f1["c"] == Metric(1.0, 1.0, 1.0)


def test_a_figure_without_any_resample_has_no_interval() -> None:
    """One row of a label, drawn in no resample: there is no figure rather than one between NaN and NaN."""
    answers = Answers(np.array([[0.9, 0.1]] * 9 + [[0.2, 0.8]]), np.array([0] * 9 + [1]))
    assert any(measure(answers, NAMES[:2], seed=seed, resamples=1).overall["roc_auc"] is None for seed in range(20))


def test_shares_of_rows_have_the_one_interval_that_is_used_everywhere() -> None:
    """Accuracy, unsure and the accuracy of the sure: Wilson's, as in the confusion, the slices and `compare`."""
    answers = drawn(400, 2, seed=4, failed=10, threshold=0.7)
    found = measure(answers, NAMES[:2], resamples=10).overall
    sure = answers.sure
    assert sure is not None
    for name, count, rows in (
        ("accuracy", answers.right.sum(), 400),
        ("unsure", 390 - sure.sum(), 390),
        ("accuracy_of_sure", (answers.right & sure).sum(), sure.sum()),
    ):
        assert found[name] == Metric(count / rows, *wilson_interval(int(count), int(rows)))


def binary(rows: int, gap: float, seed: int) -> Answers:
    """Answers with top probabilities of 0.6 to 0.9, each right with its probability minus `gap`."""
    generator = np.random.default_rng(seed)
    top = generator.uniform(0.6, 0.9, rows)
    right = generator.random(rows) < top - gap
    return Answers(np.column_stack([top, 1 - top]), np.where(right, 0, 1))


@pytest.mark.parametrize(("gap", "rows"), [(0.0, 400), (0.0, 60), (0.1, 400), (0.1, 2000)])
def test_the_interval_of_the_calibration_error_holds_the_true_one(gap: float, rows: int) -> None:
    """A model whose accuracy is `gap` below its probability everywhere has just that error, on small files too."""
    found = [measure(binary(rows, gap, seed), NAMES[:2], resamples=200).overall for seed in range(60)]
    metrics = [metric for overall in found if (metric := overall["calibration_error"])]
    assert len(metrics) == 60
    covered = sum(metric.low <= gap <= metric.high for metric in metrics)
    assert covered >= 51  # 57 of 60 expected; 51 or fewer of 60 have a chance of 0.4 % at 95 %
    assert all(metric.low <= metric.value <= metric.high for metric in metrics)
    # The mean of the squares is the square of the error: nothing of it is noise
    squares = [squared_calibration_error(binary(rows, gap, seed), np.ones((1, rows)))[0] for seed in range(600)]
    assert np.mean(squares) == pytest.approx(gap**2, abs=4 * np.std(squares) / 600**0.5)


def test_chance_alone_explains_the_calibration_error_of_a_perfect_model() -> None:
    """On 400 rows it is above 2 % on average, about as drawn, and at most the limit in about 95 of 100 files."""
    found = [measure(binary(400, 0.0, seed), NAMES[:2], resamples=300).ece for seed in range(60)]
    errors = [each for each in found if each is not None]
    assert np.mean([each.value for each in errors]) == pytest.approx(
        np.mean([each.by_chance for each in errors]), rel=0.1
    )
    assert 51 <= sum(each.value <= each.chance_limit for each in errors) <= 60
    assert all(0.02 < each.by_chance < each.chance_limit for each in errors)
    off = measure(binary(400, 0.15, 1), NAMES[:2], resamples=300).ece
    assert off is not None
    assert off.value > off.chance_limit


def test_the_squared_calibration_error_is_the_mean_product_of_two_answers() -> None:
    """By hand: right, wrong, right with 0.75 in one bin are gaps of 0.25, -0.75, 0.25; an answer alone counts 0."""
    answers = Answers(np.array([[0.75, 0.25]] * 3 + [[0.95, 0.05]]), np.array([0, 1, 0, 0]))
    products = (0.25 * -0.75 + 0.25 * 0.25 + -0.75 * 0.25) / 3
    assert squared_calibration_error(answers, np.ones((1, 4)))[0] == pytest.approx(products * 3 / 4)


def test_the_same_seed_gives_the_same_intervals() -> None:
    """A report can be made again."""
    answers = drawn(200, 2, seed=5)
    assert measure(answers, NAMES[:2]) == measure(answers, NAMES[:2])
    assert measure(answers, NAMES[:2]) != measure(answers, NAMES[:2], seed=1)


def test_a_review_without_an_answer_is_wrong_and_nothing_else() -> None:
    """It lowers accuracy and F1; log loss, Brier, ECE and ROC-AUC are of the answers."""
    all_answered = drawn(100, 2, seed=6)
    failed = Answers(
        np.vstack([all_answered.probabilities, np.full((25, 2), np.nan)]),
        np.concatenate([all_answered.truth, np.zeros(25, dtype=np.int64)]),
    )
    before, after = measure(all_answered, NAMES[:2]).overall, measure(failed, NAMES[:2]).overall
    for name in ("log_loss", "brier", "calibration_error", "roc_auc"):
        assert before[name] is not None
        assert after[name] is not None
        assert getattr(after[name], "value", 0) == pytest.approx(getattr(before[name], "value", 1))
    assert after["accuracy"] is not None
    assert after["accuracy"].value == pytest.approx(all_answered.right.sum() / 125)


def test_figures_without_a_meaning_are_none() -> None:
    """Rows of one label have no ROC-AUC; rows without any answer have an accuracy of 0 and little else."""
    one_label = measure(Answers(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0])), NAMES[:2])
    assert one_label.overall["roc_auc"] is None
    assert one_label.f1["a"].value == pytest.approx(2 / 3)
    nothing = measure(Answers(np.full((3, 3), np.nan), np.array([0, 0, 1]), 0.5), NAMES)
    assert nothing.overall["accuracy"] is not None
    assert nothing.overall["accuracy"].value == 0
    assert nothing.overall["roc_auc"] is None
    assert set(nothing.f1) == {"a", "b"}
    none_sure = measure(Answers(np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 1]), 0.99), NAMES[:2]).overall
    assert none_sure["accuracy_of_sure"] is None
    assert none_sure["unsure"] is not None
    assert none_sure["unsure"].value == 1


def test_the_calibration_error_is_that_of_the_paper() -> None:
    """Four answers in two bins: |1/2 - 0.75| * 2/4 + |2/2 - 0.95| * 2/4; an edge belongs to the bin below it."""
    answers = Answers(np.array([[0.75, 0.25], [0.25, 0.75], [0.95, 0.05], [0.05, 0.95]]), np.array([0, 0, 0, 1]))
    assert expected_calibration_error(answers) == pytest.approx(0.25 / 2 + 0.05 / 2)
    assert [(each.rows, each.right, each.accuracy) for each in reliability(answers)] == [(2, 1, 0.5), (2, 2, 1.0)]
    on_the_edge = reliability(Answers(np.array([[0.6, 0.4], [1.0, 0.0]]), np.array([0, 0])))
    assert [(each.low, each.high) for each in on_the_edge] == [(8 / BINS, 9 / BINS), (14 / BINS, 1)]


def test_a_probability_of_zero_costs_much_but_not_everything() -> None:
    """One certain mistake leaves a log loss that is a number."""
    found = measure(Answers(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 1])), NAMES[:2]).overall["log_loss"]
    assert found is not None
    assert math.isfinite(found.value)
    assert found.value > 10


def test_answers_become_arrays_in_the_order_of_the_labels() -> None:
    """Whatever the order of the names in an answer; a failure is a row of NaN."""
    probabilities, truth = as_arrays([{"b": 0.9, "a": 0.1}, None], ("b", "a"), ("a", "b"))
    assert probabilities[0].tolist() == [0.1, 0.9]
    assert np.isnan(probabilities[1]).all()
    assert truth.tolist() == [1, 0]
