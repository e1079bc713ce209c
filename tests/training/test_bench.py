"""The training bench compares equals: it runs on a tiny encoder, and rejects who trains something else."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tiny_encoder import make_base, write_reviews

if TYPE_CHECKING:
    from tests.bench.training_task import Task

pytestmark = pytest.mark.training


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are slower on two."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`--base` and `--train`."""
    directory = tmp_path_factory.mktemp("bench")
    train = write_reviews(directory / "train.xlsx", 40, seed=1)
    return ["--base", str(make_base(directory / "base")), "--train", str(train)]


@pytest.fixture(scope="module")
def task(files: list[str]) -> "Task":
    """Two steps of 8 reviews."""
    import torch

    from consumer.model.texts.encoder import Encoder
    from tests.bench.training_task import Task
    from training.data.reviews import read_reviews
    from training.encoders.base import find_base
    from training.loop.step import TrainingRows
    from training.settings import StepSettings

    base, reviews = find_base(files[1]), read_reviews(Path(files[3])).only(range(16))
    settings = StepSettings(batch_size=8, train_max_length=48)
    rows = TrainingRows.encode(reviews, ("neg", "pos"), Encoder(base.tokenizer_json, settings.reading))
    return Task(base, ("neg", "pos"), rows, settings, torch.device("cpu"))


def test_the_bench_measures_all_and_keeps_it(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table with every contestant, both aims, and a file with what was measured and the losses that agreed."""
    from tests.bench.training import main

    # Given a file of 40 reviews, and a run of two batches of 8
    out = tmp_path / "bench.json"
    few = ["--rows", "20", "--batch-size", "8", "--max-tokens", "48", "--pad-to", "64", "--rounds", "2"]

    # When they are trained on
    assert main([*files, *few, "--json", str(out)]) == 0

    # Then each contestant took two steps with the same losses, and has two speeds, ratios and a projection
    printed, result = capsys.readouterr().out, json.loads(out.read_text())
    names = ["this project, fit", "Hugging Face Trainer", "Hugging Face Trainer, no dropout in attention"]
    names.append("all padded to 64 (ktrain)")
    found = result["precisions"]["fp32"]
    assert list(result["precisions"])[-1] == "fp32"
    assert all([row["name"] for row in part["rows"]] == names for part in result["precisions"].values())
    assert list(result["losses"]) == names
    for losses in result["losses"].values():
        assert losses == pytest.approx(result["losses"][names[0]], rel=1e-4)
        assert len(losses) == 2
    assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in result["measured"].values())
    assert all(f"| {name} | **" in printed for name in names)
    assert "Aim: 2 x the Trainer" in printed
    assert "Aim: 4 x fixed padding" in printed
    ours, trainer = found["rows"][:2]
    assert ours["times_trainer"] == pytest.approx(ours["median"] / trainer["median"])
    assert ours["two_epochs_seconds"] == pytest.approx(2 * 40 / ours["median"])
    assert result["sample"]["rows"] == 16


def test_the_work_of_a_model_is_that_of_its_products() -> None:
    """Texts of several lengths, by hand: whole layers; in the last one, keys and values of all tokens, else of one."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    from tests.bench.limit import flop_per_review

    width, inner, layers, labels = 32, 64, 3, 2  # two labels are the default
    model = DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=40, dim=width, hidden_dim=inner, n_layers=layers, n_heads=4)
    )

    def needed(tokens: int) -> int:
        square = width * width
        whole = 2 * tokens * (4 * square + 2 * width * inner) + 4 * tokens * tokens * width
        last = 2 * tokens * 2 * square + 2 * (2 * square + 2 * width * inner) + 4 * tokens * width
        return (layers - 1) * whole + last + 2 * (square + width * labels)

    lengths = [5, 100, 400]
    assert flop_per_review(model, lengths) == pytest.approx(sum(map(needed, lengths)) / 3, rel=1e-9)


def test_who_reads_less_or_trains_something_else_is_refused(task: "Task") -> None:
    """A review left out, a step left out, and reviews cut shorter than those of the others."""
    from tests.bench.trainers import Contestant, make_contestants
    from tests.bench.training import checked
    from tests.bench.training_task import Trained, check_same_work

    # Given what an honest pass did
    contestants = make_contestants(task, fixed=64)
    ours: Contestant = contestants["this project, fit"]
    honest = ours(task)
    check_same_work(task, honest)

    # Then one that read a review twice instead of another is detected, and one that skipped an update
    for lazy in (replace(honest, rows=[*honest.rows[:-1], honest.rows[0]]), replace(honest, steps=1)):
        with pytest.raises(AssertionError, match=r"other reviews|optimiser steps"):
            check_same_work(task, lazy)

    # And one that cut every review to 8 tokens, by its loss
    def cutting(task: "Task") -> Trained:
        short = [
            replace(review, windows=(review.windows[0][:8],), tokens=min(8, review.tokens))
            for review in task.rows.reviews
        ]
        return ours(replace(task, rows=replace(task.rows, reviews=short)))

    with pytest.raises(AssertionError, match="not the same training"):
        checked({"fit": ours, "cutting": cutting}, task)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--max-tokens", "500"], "for all read the same tokens"),
        (["--batch-size", "64"], "fill no batch of 64: lower --batch-size"),
        (["--batch-size", "8"], "reads at most 64 tokens: lower --pad-to"),
        (["--train", "none.xlsx"], "none.xlsx does not exist"),
    ],
)
def test_a_wrong_call_gets_one_line(
    files: list[str], wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage errors, exit code 2."""
    from tests.bench.training import main

    with pytest.raises(SystemExit, match="2"):
        main([*files, *wrong])
    assert message in capsys.readouterr().err
