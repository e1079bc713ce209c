"""Training in Python: the notebook runs, its functions take what the commands take, and their results are displayed."""

import inspect
import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

import training
from consumer.errors import ReviewsError, UsageError
from tests.tiny_encoder import make_base, write_reviews
from tests.training_run import record_in
from training.notebook.arguments import arguments_of, flags_of

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
ROWS = 300
SETTINGS = {
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 0.003,
    "train_max_length": 24,
    "max_length": 48,
    "calibration_texts": 12,
    "gate_rows": 30,
    "validation_share": 0.1,
    "keep": ["int8"],
    "precision": "fp32",
    "report_to": "tensorboard",
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A directory in which the notebook ran on a tiny encoder, and its executed cells by their ids."""
    directory = tmp_path_factory.mktemp("notebook")
    make_base(directory / "base")
    write_reviews(directory / "reviews.xlsx", ROWS, seed=1)
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    (place,) = (i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    own = nbformat.v4.new_code_cell(f"base, settings = 'base', {SETTINGS!r}")  # type: ignore[no-untyped-call]
    notebook.cells.insert(place + 1, own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        client = NotebookClient(
            notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": directory}}
        )
        client.execute()
    return directory, {cell.id: cell for cell in notebook.cells}


def shown(cell: Any, kind: str = "text/html") -> str:
    """What the last line of `cell` displays."""
    (output,) = (each for each in cell.outputs if each.output_type == "execute_result")
    return str(output.data[kind])


def test_the_notebook_leads_from_a_spreadsheet_to_a_prediction(executed: tuple[Path, dict[str, Any]]) -> None:
    """As it is committed, in five lines: both texts get the right label from a model that is measurably good."""
    _, cells = executed
    lines = [line for name in ("fit", "predict") for line in cells[name].source.splitlines() if line]
    assert len(lines) == 5
    assert shown(cells["predict"], "text/plain") == "['pos', 'neg']"
    assert "WARNING" not in shown(cells["fit"])


def test_the_results_are_displayed(executed: tuple[Path, dict[str, Any]]) -> None:
    """A fit shows accuracy, interval, confusion matrix and the loss as a picture; so do the others what is theirs."""
    _, cells = executed
    fit = shown(cells["fit"])
    assert "accuracy (95 % interval" in fit
    assert "a share of the training file, not an independent file" in fit
    assert fit.count("<table") == 2
    assert "data:image/png;base64," in fit
    assert "<script" not in fit
    evaluated = shown(cells["evaluate"])
    assert "these figures say nothing about other texts" in evaluated
    assert "ROC-AUC" in evaluated
    assert "data:image/png;base64," in shown(cells["lr_find"])
    assert "accuracy " in shown(cells["fit"], "text/plain")
    assert "learning_rate" in shown(cells["curve"])


def test_a_share_of_the_training_file_measures_if_no_other_file_does(executed: tuple[Path, dict[str, Any]]) -> None:
    """A fifth of the rows, never trained on; record and card say that it is no independent file."""
    directory, _ = executed
    record = record_in(directory / "bundles/mine/run.json")
    assert record.data_options["test_share"] == 0.2
    assert record.data["test"].rows == ROWS / 5
    assert record.data["test"].sha256 == record.data["train"].sha256
    assert sum(part.rows for part in record.data.values()) <= ROWS
    card = " ".join((directory / "bundles/mine/MODEL_CARD.md").read_text().split())
    assert f"on {ROWS // 5} rows of `reviews.xlsx`, the training file, that were held out of the training" in card
    assert "This is a share of the training file, not an independent file" in card


def test_the_curves_of_a_run_are_in_its_bundle(executed: tuple[Path, dict[str, Any]]) -> None:
    """Loss and rate by step and the validation by epoch as data, and a small picture in the card."""
    directory, _ = executed
    bundle = directory / "bundles/mine"
    record = record_in(bundle / "run.json")
    steps = [point.step for point in record.curve]
    assert steps == list(range(1, record.epochs[-1].step + 1))
    assert record.curve[-1].loss < record.curve[0].loss / 2
    assert max(point.learning_rate for point in record.curve) == pytest.approx(0.003, rel=0.1)
    assert all(epoch.validation for epoch in record.epochs)
    assert 5_000 < (bundle / "loss.png").stat().st_size < 60_000
    assert "loss.png" in json.loads((bundle / "manifest.json").read_text())["files"]
    assert "(loss.png)" in (bundle / "MODEL_CARD.md").read_text()


def test_tensorboard_gets_each_step(executed: tuple[Path, dict[str, Any]]) -> None:
    """The event files hold what the record holds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    directory, _ = executed
    record = record_in(directory / "bundles/mine/run.json")
    events = EventAccumulator(str(directory / "bundles/mine.run/tensorboard"))
    events.Reload()
    found = events.Scalars("loss/training")
    assert [event.step for event in found] == [point.step for point in record.curve]
    assert [event.value for event in found] == pytest.approx([point.loss for point in record.curve], rel=1e-5)
    rates = [point.learning_rate for point in record.curve]
    assert [event.value for event in events.Scalars("learning rate")] == pytest.approx(rates, rel=1e-5)
    assert [event.step for event in events.Scalars("accuracy/validation")] == [each.step for each in record.epochs]


def test_tensorboard_shows_a_resumed_run_as_one(tmp_path: Path) -> None:
    """What was written of steps that are trained again is hidden; steps before the checkpoint stay."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from training.encoders.parallel import Ranks
    from training.loop.state import RunState
    from training.loop.tensorboard import EVENTS, watching

    for start, end, loss in ((0, 5, 1.0), (3, 6, 2.0)):
        with watching("tensorboard", tmp_path, RunState(step=start), Ranks()) as watch:
            for step in range(start + 1, end + 1):
                watch(RunState(step=step), loss, 0.1)
    events = EventAccumulator(str(tmp_path / EVENTS))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("loss/training")]
    assert found == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0)]


def test_tensorboard_is_missed_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install, before a file is read or anything is written."""
    from training.loop import tensorboard

    monkeypatch.setattr(tensorboard, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda _: None)))
    with pytest.raises(UsageError, match=r"pip install 'review-consumer\[tensorboard\]'") as refused:
        training.fit(tmp_path / "none.xlsx", tmp_path / "out", report_to="tensorboard")
    assert refused.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learnin_rate": 1}, r"fit\(\) has no argument 'learnin_rate'; did you mean learning_rate\?"),
        ({"zzz": 1}, r"fit\(\) has no argument 'zzz' \(see help\(training.fit\)\)"),
        ({"learning_rate": "fast"}, "^learning_rate: Input should be a valid number"),
        ({"epochs": -1}, "^epochs: Input should be greater than 0"),
        ({"report_to": "wandb"}, r"fit\(report_to=...\): 'wandb' is not one of none, tensorboard"),
        ({"test_share": "much"}, r"fit\(test_share=...\): 'much' is no share"),
        ({"test_share": 0.9}, "--test-share 0.9 is not above 0 and at most 0.5"),
        ({"test": "test.xlsx", "test_share": 0.1}, "give one of them"),
        ({"drop_leaked": True}, "--drop-leaked needs --test"),
        ({"drop_leaked": "yes"}, r"fit\(drop_leaked=...\): True or False, not 'yes'"),
        ({"labels": 3.5}, r"fit\(labels=...\): 3.5 is no old=new"),
        ({"base": ["a"]}, r"fit\(base=...\): dir_or_name, not a list"),
    ],
)
def test_a_wrong_argument_is_named(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    """In one line, which is also all that a notebook shows."""
    with pytest.raises(UsageError, match=message) as refused:
        training.fit(tmp_path / "none.xlsx", tmp_path / "out", **given)
    assert refused.value.__cause__ is None
    assert refused.value._render_traceback_() == [f"UsageError: {refused.value}"]  # type: ignore[attr-defined]


def test_arguments_are_those_of_the_command_line() -> None:
    """Each flag has an argument of its name, and what is given in Python arrives as the command would read it."""
    from training.commands import compare, evaluate, fit, lr_find

    for module in (compare, evaluate, fit, lr_find):
        command = module.__name__.rpartition(".")[2]
        parser = ArgumentParser(add_help=False)
        module.add_arguments(parser)
        named = {action.dest for action in parser._actions} - {"json"}
        assert len(named) > 8
        function = getattr(training, command)
        assert named == set(inspect.signature(function).parameters)
        assert all(f"{name}:" in str(function.__doc__) for name in named)
    line = [
        "--train",
        "a.xlsx",
        "--out",
        "b",
        "--labels",
        "1=pos,0=neg",
        "--test-share",
        "0.3",
        "--checkpoint-minutes",
        "2",
    ]
    parser = ArgumentParser(add_help=False)
    fit.add_arguments(parser)
    given = {
        "train": Path("a.xlsx"),
        "out": "b",
        "labels": {1: "pos", 0: "neg"},
        "test_share": 0.3,
        "checkpoint_minutes": 2,
    }
    assert vars(arguments_of("fit", given)) == vars(parser.parse_args(line)) | {"command": "fit"}
    (bundle,) = arguments_of("compare", {"train": "a", "test": "b", "out": "c", "bundle": "d"}).bundle
    assert bundle == Path("d")
    with pytest.raises(UsageError, match=r"fit\(\) needs out: the bundle"):
        arguments_of("fit", {"train": "a"})
    assert "json" not in flags_of("evaluate")


def test_importing_is_cheap() -> None:
    """`from training import ...` loads neither torch nor pandas nor matplotlib."""
    code = (
        "import sys\nfrom training import compare, evaluate, fit, lr_find\n"
        "print(callable(fit), sorted({'torch', 'transformers', 'pandas', 'matplotlib', 'openvino'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "True []"


def test_a_comparison_is_displayed(tmp_path: Path) -> None:
    """A table with one row a model and the picture, from the function as from the command."""
    train = write_reviews(tmp_path / "train.xlsx", 80, seed=1)
    test = write_reviews(tmp_path / "test.xlsx", 40, seed=2)
    result = training.compare(train, test, tmp_path / "out", models=["logreg"])
    assert list(result.results.index) == ["logreg"]
    assert result.results.accuracy["logreg"] > 0.9
    html = result._repr_html_()
    assert "logreg" in html
    assert "data:image/png;base64," in html
    assert "| logreg |" in repr(result)


def test_what_a_file_names_is_escaped() -> None:
    """Labels come from a spreadsheet; a notebook would run what they hold."""
    from training.measure.evaluate import evaluate
    from training.notebook.display import confusion_frame, frame, note

    bad = "<img src=x onerror=alert(1)>"
    evaluation = evaluate([{bad: 0.9, "pos": 0.1}], [bad], [bad, "pos"])
    table = frame(confusion_frame(evaluation.confusion))
    assert "&lt;img" in table
    cells = frame(pd.DataFrame({"text": [bad]}))
    assert "&lt;img" in cells
    assert "<img" not in table + cells + note(bad)


def test_errors_of_other_kinds_are_shown_as_they_are(tmp_path: Path) -> None:
    """A bundle that is refused is a BundleError with its own exit code."""
    with pytest.raises(ReviewsError, match="none") as refused:
        training.evaluate(tmp_path / "none", tmp_path / "test.xlsx")
    assert refused.value.exit_code == 3
