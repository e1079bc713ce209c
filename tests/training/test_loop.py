"""The training loop: every row once an epoch, little padding, and a resumed run that equals an uninterrupted one."""

from pathlib import Path
from typing import Any

import pytest

from consumer.model.texts.encoder import Encoder
from consumer.model.texts.reading import Reading, Truncation
from tests.tiny_encoder import make_base, write_reviews
from training.loop.batches import (
    POOLED_STEPS,
    at_least,
    ends_epoch,
    micro_batches,
    rows_of_like_length,
    rows_of_step,
    total_steps,
)

pytestmark = pytest.mark.training

SEED = 5


def test_every_row_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    """A step that crosses the end of an epoch continues with the next one and loses no row."""
    steps = range(total_steps(rows=10, epochs=2, batch_size=4))
    stream = [row for step in steps for row in rows_of_step(step, 10, 4, SEED)]
    assert sorted(stream[:10]) == sorted(stream[10:20]) == list(range(10))
    assert stream[:10] != stream[10:20]
    # A step of more rows than there are runs over several epochs.
    assert sorted(rows_of_step(0, 3, 9, SEED)) == sorted([*range(3)] * 3)


@pytest.mark.parametrize(("rows", "epochs"), [(512, 2), (500, 1), (500, 5), (100, 5), (30, 3), (7, 4)])
def test_steps_of_like_length_hold_the_rows_of_the_run_with_little_padding_in_a_random_order(
    rows: int, epochs: int
) -> None:
    """The run sees the same rows as with the plain stream, however small the file; a step repeats no more of them."""
    lengths = [(row * 7919) % 400 + 1 for row in range(rows)]
    steps = total_steps(rows, epochs, 16)
    grouped = [rows_of_like_length(step, steps, lengths, 16, SEED) for step in range(steps)]
    plain = [rows_of_step(step, rows, 16, SEED) for step in range(steps)]
    assert sorted(row for step in grouped for row in step) == sorted(row for step in plain for row in step)
    assert {len(step) for step in grouped} == {16}
    if rows >= 16:
        distinct, before = (sum(len(set(step)) for step in way) / steps for way in (grouped, plain))
        assert distinct > 0.75 * before
    if rows >= 16 * POOLED_STEPS:
        padded, before = (sum(max(lengths[row] for row in step) for step in way) for way in (grouped, plain))
        assert sum(lengths) * epochs / 16 <= padded < 0.6 * before
        longest = [max(lengths[row] for row in step) for step in grouped[:POOLED_STEPS]]
        assert longest not in (sorted(longest), sorted(longest, reverse=True))
        assert grouped[:POOLED_STEPS] != grouped[POOLED_STEPS:]


@pytest.mark.parametrize(("epochs", "steps"), [(0.5, 2), (1, 4), (1.5, 5), (2, 7)])
def test_a_fraction_of_an_epoch_is_its_share_of_the_rows(epochs: float, steps: int) -> None:
    """100 rows in batches of 32."""
    assert total_steps(100, epochs, 32) == steps


def test_micro_batches_keep_to_the_budget_and_hold_each_row_once() -> None:
    """No group exceeds the budget once padded, except a single review that is longer."""
    lengths = [160, 10, 50, 160, 300, 12, 48, 160]
    groups = micro_batches(range(8), lengths, max_tokens=320)
    assert sorted(row for group in groups for row in group) == list(range(8))
    assert [len(group) * max(lengths[row] for row in group) <= 320 for group in groups] == [True] * len(groups)
    assert sorted(map(len, micro_batches(range(3), [999, 5, 5], max_tokens=320))) == [1, 2]


def test_groups_are_cut_until_every_process_has_one() -> None:
    """The largest is halved, no row is lost, and a step with fewer rows than processes is left alone."""
    groups = at_least([[0, 1, 2, 3, 4], [5]], 4)
    assert len(groups) == 4
    assert sorted(row for group in groups for row in group) == [0, 1, 2, 3, 4, 5]
    assert at_least([[0, 1], [2]], 2) == [[0, 1], [2]]
    assert at_least([[0], [1]], 3) == [[0], [1]]


@pytest.mark.parametrize(("epochs", "ends"), [(2.0, [4, 7]), (1.5, [4, 5]), (1.0, [4]), (0.5, [2])])
def test_an_epoch_ends_with_the_step_that_sees_its_last_row(epochs: float, ends: list[int]) -> None:
    """100 rows in batches of 32; the end of the run ends the epoch that it is in."""
    steps = total_steps(100, epochs, 32)
    assert [step for step in range(1, steps + 1) if ends_epoch(step, steps, 100, 32)] == ends


class KilledError(Exception):
    """Stands for the end of the process: nothing after it is saved."""


def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies some steps after its last checkpoint repeats those steps, dropout included."""
    import torch

    from training.data.reviews import read_reviews
    from training.encoders.base import find_base, load_classifier, quiet_transformers
    from training.encoders.parallel import Ranks
    from training.io.progress import ProgressBar
    from training.loop import checkpoint
    from training.loop.run import Lesson, Saving, begin, train
    from training.loop.state import RunState
    from training.loop.step import TrainingRows
    from training.settings import FitSettings

    quiet_transformers()
    settings = FitSettings(epochs=2, batch_size=8, learning_rate=1e-3, train_max_length=24, max_length=32, seed=SEED)
    base = find_base(str(make_base(tmp_path / "base")))
    data = read_reviews(write_reviews(tmp_path / "train.xlsx", 60, seed=SEED))
    encoder = Encoder(base.tokenizer_json, Reading(24, Truncation.HEAD_TAIL))
    lesson = Lesson(TrainingRows.encode(data, data.label_names, encoder), TrainingRows([], [], 0))
    steps = total_steps(60, 2, 8)
    save = checkpoint.save

    def save_at_5(directory: Path, identity: Any, state: RunState, *rest: Any) -> None:
        if state.step == 5:
            save(directory, identity, state, *rest)

    class Dying(ProgressBar):
        def update(self, done: int, note: str = "") -> None:
            super().update(done, note)
            if done == 9 * 8:
                raise KilledError

    def run(directory: Path) -> dict[str, torch.Tensor]:
        model = load_classifier(base, data.label_names, settings.seed)
        saving = Saving(directory, {}, every_seconds=0)
        start = begin(settings, saving, Ranks())
        end = train(model, lesson, settings, saving, start=start, ranks=Ranks())
        assert end.step == steps
        weights: dict[str, torch.Tensor] = model.state_dict()
        return weights

    # Given a run to its end, and one that dies four steps after a checkpoint
    uninterrupted = run(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", save_at_5)
        patched.setattr("training.loop.run.ProgressBar", Dying)
        with pytest.raises(KilledError):
            run(tmp_path / "dying")
    header = checkpoint.read_header(tmp_path / "dying")
    assert header is not None
    assert header[1].step == 5
    # When the second one is started again
    resumed = run(tmp_path / "dying")
    # Then both ended in the same weights
    assert resumed.keys() == uninterrupted.keys()
    assert all(torch.equal(resumed[name], uninterrupted[name]) for name in resumed)


def test_a_truncated_checkpoint_counts_as_none(tmp_path: Path) -> None:
    """A run does not resume from an incomplete file."""
    from training.loop import checkpoint

    (tmp_path / checkpoint.CHECKPOINT).write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    assert checkpoint.read_header(tmp_path) is None
    assert checkpoint.read_header(tmp_path / "nowhere") is None


def test_the_differences_between_two_runs_are_named() -> None:
    """The refusal of a checkpoint names the setting or file that changed."""
    from training.loop import checkpoint

    found = {"rows": 10, "train_sha256": "a", "settings": {"epochs": 1.0, "seed": 1}}
    wanted = {"rows": 10, "train_sha256": "b", "settings": {"epochs": 2.0, "seed": 1}}
    assert checkpoint.differences(found, wanted) == ["epochs", "train_sha256"]
