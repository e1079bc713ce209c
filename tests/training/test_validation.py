"""Held-out rows, the choice of the best epoch, and stopping early."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from consumer.errors import UsageError
from tests.tiny_encoder import make_base, one_window
from training.loop.state import Epoch, RunState, Validation, best_epoch, out_of_patience
from training.settings import FitSettings

pytestmark = pytest.mark.training

LABELS = ["neg"] * 80 + ["pos"] * 20 + ["rare"] * 3 + ["single"]


def epochs_of(*losses: float) -> tuple[Epoch, ...]:
    """Epochs with these validation losses; the accuracy falls where the loss falls, the F1 is the same."""
    return tuple(
        Epoch(number, 10 * number, 0.5, 1e-5, 1.0, Validation(loss, loss / 2, 0.7))
        for number, loss in enumerate(losses, start=1)
    )


def test_every_label_gives_its_share_of_the_held_out_rows() -> None:
    """A tenth of each label, at least one row, and never the last one that could be trained on."""
    from training.data.holdout import held_out_rows

    rows = held_out_rows(LABELS, 0.1, 1, "validation")
    assert Counter(LABELS[row] for row in rows) == {"neg": 8, "pos": 2, "rare": 1}
    assert rows == sorted(set(rows)) == held_out_rows(LABELS, 0.1, 1, "validation")
    assert rows != held_out_rows(LABELS, 0.1, 2, "validation")
    assert rows != held_out_rows(LABELS, 0.1, 1, "calibration")
    assert held_out_rows(LABELS, 0.0, 1, "validation") == []


def test_the_macro_f1_is_that_of_scikit_learn() -> None:
    """Also where a label is never predicted, and where one does not occur."""
    from sklearn.metrics import confusion_matrix, f1_score

    from training.loop.validation import macro_f1

    draw = np.random.default_rng(0)
    truth, answers = draw.integers(0, 3, 50), draw.integers(0, 2, 50)
    for labels in (range(3), range(4)):
        expected = f1_score(truth, answers, labels=list(labels), average="macro", zero_division=0)
        assert macro_f1(confusion_matrix(truth, answers, labels=list(labels))) == pytest.approx(expected)


def test_validation_measures_without_dropout_and_leaves_the_model_training(tmp_path: Path) -> None:
    """Twice the same figures, those of the plain formulas on all rows at once; no gradient is left behind."""
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.encoders.parallel import Ranks
    from training.loop.step import TrainingRows
    from training.loop.validation import validate

    model: Any = DistilBertForSequenceClassification.from_pretrained(make_base(tmp_path / "base"), num_labels=2).train()
    draw = np.random.default_rng(3)
    labels = [0, 1, 1, 1] * 5
    rows = TrainingRows([one_window(draw.integers(4, 20, 9).tolist()) for _ in labels], labels, 0)
    seen = validate(model, rows, FitSettings(micro_batch_tokens=30), Ranks())
    assert seen == validate(model, rows, FitSettings(micro_batch_tokens=30), Ranks())
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        inputs, truth = rows.tensors(range(20), torch.device("cpu"))
        logits = model.eval()(**inputs).logits
    assert seen.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, truth).item(), rel=1e-5)
    assert seen.accuracy == pytest.approx((logits.argmax(1) == truth).float().mean().item())


@pytest.mark.parametrize(("select", "best"), [("loss", 3), ("accuracy", 1), ("f1", 1)])
def test_the_best_epoch_is_the_first_of_the_best(select: Any, best: int) -> None:
    """The lowest loss, the highest accuracy or F1; of equals the earlier one, which was cheaper."""
    chosen = best_epoch(epochs_of(0.9, 0.5, 0.4, 0.4), select)
    assert chosen is not None
    assert chosen.epoch == best
    assert best_epoch(epochs_of(0.9), "none") is None
    assert best_epoch((), select) is None


def test_patience_ends_a_run_that_gets_no_better() -> None:
    """Two epochs after the best one exhaust a patience of two; without patience a run continues."""
    settings = FitSettings(select="loss", patience=2)
    assert not out_of_patience(RunState(epochs=epochs_of(0.9, 0.4, 0.5)), settings)
    assert out_of_patience(RunState(epochs=epochs_of(0.9, 0.4, 0.5, 0.4)), settings)
    assert not out_of_patience(RunState(epochs=epochs_of(0.4, 0.5, 0.6)), FitSettings(select="loss"))
    assert not out_of_patience(RunState(), settings)


class Course:
    """Stands for a model with known validation losses."""

    def __init__(self, *losses: float) -> None:
        self.losses = list(losses)

    def __call__(self, *_: Any) -> Validation:
        """The next loss."""
        return Validation(self.losses.pop(0), 0.5, 0.5)


def run_with(
    course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: Any
) -> tuple[RunState, list[dict[str, Any]]]:
    """A real run on eight rows, four steps an epoch; also the weights at the end of each epoch and at the very end."""
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.encoders.parallel import Ranks
    from training.loop import run
    from training.loop.step import TrainingRows

    settings = FitSettings(epochs=5, batch_size=2, learning_rate=1e-3, **changed)
    base = make_base(tmp_path / "base")
    torch.manual_seed(0)
    model: Any = DistilBertForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    seen: list[dict[str, Any]] = []

    def measure(model: Any, *_: Any) -> Validation:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return course()

    monkeypatch.setattr(run, "validate", measure)
    rows = TrainingRows([one_window([2, 5, 3])] * 8, [0, 1] * 4, 0)
    saving, ranks = run.Saving(tmp_path / "run", {}, every_seconds=1e9), Ranks()
    start = run.begin(settings, saving, ranks)
    state = run.train(model, run.Lesson(rows, rows), settings, saving, start=start, ranks=ranks)
    return state, [*seen, model.state_dict()]


def test_a_run_that_stops_early_ends_in_the_weights_of_its_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Best after the second of five epochs, patience two: it stops after the fourth and takes the second's weights."""
    import torch

    course = Course(0.9, 0.3, 0.5, 0.4, 0.1)
    state, weights = run_with(course, tmp_path, monkeypatch, select="loss", patience=2)
    assert course.losses == [0.1]
    assert (state.step, len(state.epochs)) == (16, 4)
    assert all(torch.equal(weights[1][name], weights[-1][name]) for name in weights[-1])
    assert not all(torch.equal(weights[3][name], weights[-1][name]) for name in weights[-1])
    # The same command again trains nothing more and ends in the same weights
    again, weights_again = run_with(course, tmp_path, monkeypatch, select="loss", patience=2)
    assert again == state
    assert all(torch.equal(weights_again[-1][name], weights[-1][name]) for name in weights[-1])
    # And without the file of the best weights it is refused
    (tmp_path / "run" / "best-8.safetensors").unlink()
    with pytest.raises(UsageError, match="does not hold the best epoch"):
        run_with(course, tmp_path, monkeypatch, select="loss", patience=2)


def test_the_best_weights_outlive_a_kill_before_the_checkpoint_of_better_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second epoch is the best, but no checkpoint records it; repeated, it is worse, and the first is packaged."""
    import torch
    from safetensors.torch import load_file

    from training.loop import checkpoint

    save = checkpoint.save

    def killed(directory: Path, identity: Any, state: RunState, *rest: Any) -> None:
        if state.step == 8:
            raise KeyboardInterrupt
        save(directory, identity, state, *rest)

    def files() -> list[str]:
        return sorted(path.name for path in (tmp_path / "run").iterdir())

    # Given a run that is killed between the weights of its second epoch and their checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            run_with(Course(0.5, 0.3), tmp_path, patch, select="loss")
    assert files() == ["best-4.safetensors", "best-8.safetensors", "checkpoint.safetensors"]
    first = load_file(tmp_path / "run" / "best-4.safetensors")
    (tmp_path / "run" / "best-12.safetensors.partial").write_bytes(b"cut off")
    # When it resumes and the second epoch is no longer the best
    state, weights = run_with(Course(0.7, 0.8, 0.9, 0.6), tmp_path, monkeypatch, select="loss")
    # Then it ends in the weights of the first, and nothing else is left
    assert [epoch.validation.loss for epoch in state.epochs if epoch.validation] == [0.5, 0.7, 0.8, 0.9, 0.6]
    assert all(torch.equal(first[name], weights[-1][name]) for name in first)
    assert files() == ["best-4.safetensors", "checkpoint.safetensors"]
    # And what a kill after the last checkpoint left is removed too
    (tmp_path / "run" / "best-20.safetensors").write_bytes(b"")
    run_with(Course(), tmp_path, monkeypatch, select="loss")
    assert files() == ["best-4.safetensors", "checkpoint.safetensors"]


def test_curves_are_kept_and_nothing_is_chosen_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With validation rows alone, five epochs are measured and the last weights are taken."""
    import torch

    state, weights = run_with(Course(0.9, 0.3, 0.5, 0.4, 0.6), tmp_path, monkeypatch, validation_share=0.2)
    assert [epoch.epoch for epoch in state.epochs] == [1, 2, 3, 4, 5]
    assert [epoch.validation.loss for epoch in state.epochs if epoch.validation] == [0.9, 0.3, 0.5, 0.4, 0.6]
    assert [epoch.step for epoch in state.epochs] == [4, 8, 12, 16, 20]
    assert sum(epoch.seconds for epoch in state.epochs) == pytest.approx(state.seconds)
    assert all(0.1 < epoch.train_loss < 2 and 0 < epoch.learning_rate <= 1e-3 for epoch in state.epochs)
    assert all(torch.equal(weights[-2][name], weights[-1][name]) for name in weights[-1])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint.safetensors"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"select": "loss", "validation_share": 0}, "select needs validation rows"),
        ({"patience": 2}, "patience needs to know what better means"),
        ({"select": "auc"}, "select"),
        ({"select": "loss", "patience": 0}, "patience"),
        ({"validation_share": 0.6}, "validation_share"),
    ],
)
def test_settings_that_choose_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    """A choice without rows to choose on, patience without a choice, and the like."""
    with pytest.raises(ValidationError, match=message):
        FitSettings.model_validate(wrong)


def test_rows_are_held_out_only_where_something_is_chosen() -> None:
    """A tenth with select, nothing without; a share that is given wins."""
    assert FitSettings().held_out == 0
    assert FitSettings(select="f1").held_out == 0.1
    assert FitSettings(select="f1", validation_share=0.2).held_out == 0.2
    assert FitSettings(validation_share=0.05).held_out == 0.05
