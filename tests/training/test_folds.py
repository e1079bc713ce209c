"""`fit --folds`: each row is measured once, by a model that has not seen it; finished folds are kept, no text is."""

import io
import json
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import training
from consumer.model.bundle.loading import load_bundle
from tests.tiny_encoder import make_base, write_reviews, write_table
from tests.training_run import TrainedError, record_in, step_of
from training.cli import main
from training.cross_validation.dealing import deal, without
from training.data.duplicates import digests
from training.data.leaks import find_leaks, near_groups
from training.data.reviews import Reviews, read_reviews
from training.io.progress import ProgressBar
from training.measure.answering.kept_answers import rows_sha256
from training.measure.evaluate import Evaluation
from training.notebook.results import FitResult

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

ROWS = 97  # 48 and 49 of a fold: an odd number deals unequal folds
SETTINGS = {
    "folds": "2",
    "epochs": "3",
    "batch-size": "16",
    "learning-rate": "0.003",
    "train-max-length": "24",
    "max-length": "48",
    "calibration-texts": "8",
    "gate-rows": "20",
    "calibration-share": "0",
    "precision": "fp32",
    "keep": "int8",
}


def grouped(path: Path, groups: int = 12, versions: int = 4) -> Path:
    """Groups of texts that differ in their last word, labels in turn, and texts that nothing repeats."""
    words = [f"w{number}" for number in range(groups * 30)]
    rows: list[tuple[str, str]] = [("Reviews", "Sentiment")]
    for group in range(groups):
        text = words[group * 30 : group * 30 + 30]
        rows += [(" ".join([*text, f"end{version}"]), ("neg", "pos")[group % 2]) for version in range(versions)]
        rows += [(" ".join([*text[::-1], f"alone{version * 7919 % 101}", *text[::7]]), "pos") for version in range(1)]
    return write_table(path, rows)


def test_every_row_is_in_one_fold_near_duplicates_together_and_labels_in_proportion(tmp_path: Path) -> None:
    """Drawn with the seed; no text of a fold nearly repeats one of the others."""
    mixed = read_reviews(write_reviews(tmp_path / "mixed.xlsx", 120, seed=1, labels=("neg", "pos", "so")))
    for fold in deal(mixed, 4, 1, 0.8):
        assert Counter(mixed.labels[row] for row in fold) == {"neg": 10, "pos": 10, "so": 10}
    assert deal(mixed, 4, 1, 0.8) == deal(mixed, 4, 1, 0.8) != deal(mixed, 4, 2, 0.8)
    reviews = read_reviews(grouped(tmp_path / "grouped.xlsx"))
    groups = near_groups(reviews, 0.8)
    assert sorted(Counter(groups.tolist()).values()) == [1] * 12 + [4] * 12
    dealt = deal(reviews, 3, 1, 0.8)
    assert sorted(row for fold in dealt for row in fold) == list(range(len(reviews)))
    for fold in dealt:
        assert len(find_leaks(without(reviews, fold), reviews.only(fold), 0.8)) == 0


def test_texts_that_nearly_repeat_each_other_through_a_third_are_one_group() -> None:
    """A chain: the first and the last have little in common."""
    words = [f"w{number}" for number in range(46)]
    texts = [" ".join(words[start : start + 40]) for start in (0, 2, 4, 6)]
    reviews = Reviews(Path("chain.txt"), "0" * 64, (*texts, "something else"), ("neg",) * 5)
    assert len(find_leaks(reviews.only([0]), reviews.only([3]), 0.8)) == 0
    assert len(set(near_groups(reviews, 0.8)[:4].tolist())) == 1
    assert len(np.unique(near_groups(reviews, 0.8))) == 2


def arguments(directory: Path, out: str, **changed: str) -> list[str]:
    """The command line of a fit in folds in `directory`; a value of "-" leaves the flag out."""
    options = {"train": str(directory / "train.xlsx"), "base": str(directory / "base"), "out": str(directory / out)}
    options |= SETTINGS | {name.replace("_", "-"): value for name, value in changed.items()}
    return ["fit", *(part for name, value in options.items() if value != "-" for part in (f"--{name}", value) if part)]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"folds": "1"}, "--folds 1: at least 2 are needed"),
        ({"folds": "0"}, "--folds 0: at least 2 are needed"),
        ({"folds": "11"}, "has only 10 rows of 'pos' to use, and each fold needs one: give at most --folds 10"),
        ({"test_share": "0.2"}, "--folds measures on all: give one of them"),
        ({"test_rows": "20"}, "--test-rows needs --test"),
        ({"drop_leaked": ""}, "--drop-leaked needs --test"),
        ({"folds": "-", "folds_only": ""}, "--folds-only needs --folds"),
    ],
)
def test_what_cannot_be_folded_is_refused_before_training(
    tmp_path: Path, changed: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, one line that names the flag, and nothing is trained."""
    make_base(tmp_path / "base")
    write_reviews(tmp_path / "train.xlsx", 21, seed=1)
    try:
        code = main(arguments(tmp_path, "out", **changed))
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "out.run").glob("fold-*"))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a base model and a file of reviews; on one thread, which suits a model this small."""
    import torch

    directory = tmp_path_factory.mktemp("folds")
    make_base(directory / "base")
    write_reviews(directory / "train.xlsx", ROWS, seed=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield directory
    torch.set_num_threads(threads)


def interrupt_in_the_second_fold(patch: pytest.MonkeyPatch) -> None:
    """A SIGINT when the second training of this process has done two steps."""
    trained = 0

    class Interrupting(ProgressBar):
        def update(self, done: int, note: str = "") -> None:
            nonlocal trained
            super().update(done, note)
            trained += done == 32
            if (done, trained) == (32, 2):
                os.kill(os.getpid(), signal.SIGINT)

    patch.setattr("training.loop.run.ProgressBar", Interrupting)


@pytest.fixture(scope="module")
def folded(workplace: Path) -> tuple[Path, str, str]:
    """The bundle of a run that was interrupted in its second fold and resumed; what the resumed one said, and printed.

    The directory of the first fold is left there, as by a kill.
    """
    run = workplace / "mine.run"
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as told:
        interrupt_in_the_second_fold(patch)
        assert main(arguments(workplace, "mine")) == 130
    assert re.search(r"stopped at step 2 of (9|10); the same command resumes there", told.getvalue())
    assert not (run / "fold-1").exists()
    assert step_of(run / "fold-2") == 2
    (run / "fold-1").mkdir()
    (run / "fold-1" / "lock").touch()
    with redirect_stderr(io.StringIO()) as told, redirect_stdout(io.StringIO()) as printed:
        assert main(arguments(workplace, "mine")) == 0
    return workplace / "mine", told.getvalue(), printed.getvalue()


def copied(bundle: Path, to: str, *left_out: str) -> Path:
    """The run of `bundle` as that of the bundle `to` beside it, without the files `left_out`."""
    return shutil.copytree(
        f"{bundle}.run", bundle.with_name(f"{to}.run"), ignore=shutil.ignore_patterns("answers", *left_out)
    )


def predictions(bundle: Path) -> pd.DataFrame:
    """The out-of-fold answers of the run."""
    return pd.read_csv(bundle.with_name("mine.folds") / "predictions.csv", dtype={"digest": str})


def test_an_interrupted_run_keeps_finished_folds_and_resumes_within_the_other(folded: tuple[Path, str, str]) -> None:
    """The first fold is not trained again, the second goes on at its checkpoint, and their directories are removed."""
    bundle, told, printed = folded
    assert "fold 1 of 2: accuracy" in told
    assert re.findall(r"(fold \d) of 2: \d+ rows to train on", told) == ["fold 2"]
    assert re.findall(r"training (\w+) .* in (.*)", told.replace(":", "")) == [
        ("resumes", f"{bundle}.run/fold-2"),
        ("starts", f"{bundle}.run"),
    ]
    assert "min of training left for 1 more" in told
    assert sorted(path.name for path in Path(f"{bundle}.run").glob("fold-*")) == ["fold-1.json", "fold-2.json"]
    assert printed.splitlines()[0].split() == [
        "fold",
        "trained",
        "on",
        "measured",
        "on",
        "accuracy",
        "log",
        "loss",
    ]


def test_each_row_is_answered_once_by_a_model_that_has_not_seen_it(
    workplace: Path, folded: tuple[Path, str, str]
) -> None:
    """The rows of a fold are those that its model was not trained on, and the file of answers names its fold."""
    bundle, _, _ = folded
    reviews, found = read_reviews(workplace / "train.xlsx"), predictions(bundle)
    assert list(found.row) == list(range(2, ROWS + 2))
    assert list(found.digest) == [f"{digest:016x}" for digest in digests(reviews.texts).tolist()]
    assert list(found.truth) == list(reviews.labels)
    for fold in (1, 2):
        kept = json.loads(Path(f"{bundle}.run/fold-{fold}.json").read_bytes())
        rows = np.flatnonzero(found.fold == fold).tolist()
        others = without(reviews, rows)
        assert kept["identity"]["train_rows_sha256"] == rows_sha256(others.texts, others.labels)
        assert kept["train_rows"] == len(others)
        assert [each["pos"] for each in kept["answers"]["int8"]] == list(found.probability_pos[rows])


def test_the_figures_are_those_of_the_answers(folded: tuple[Path, str, str]) -> None:
    """By fold, their mean and sample standard deviation, and pooled, as scikit-learn computes them."""
    from sklearn.metrics import accuracy_score, log_loss

    bundle, _, printed = folded
    found, told = predictions(bundle), json.loads((bundle.with_name("mine.folds") / "folds.json").read_bytes())
    right = [accuracy_score(part.truth, part.predicted) for _, part in found.groupby("fold")]
    losses = [log_loss(part.truth == "pos", part.probability_pos) for _, part in found.groupby("fold")]
    assert [fold["accuracy"] for fold in told["folds"]] == pytest.approx(right)
    assert [fold["log_loss"] for fold in told["folds"]] == pytest.approx(losses)
    assert told["accuracy"] == pytest.approx({"mean": np.mean(right), "std": np.std(right, ddof=1)})
    assert told["log_loss"] == pytest.approx({"mean": np.mean(losses), "std": np.std(losses, ddof=1)})
    assert told["pooled_accuracy"] == accuracy_score(found.truth, found.predicted)
    assert told["pooled_log_loss"] == pytest.approx(log_loss(found.truth == "pos", found.probability_pos))
    low, high = told["interval"]
    assert low < told["pooled_accuracy"] < high
    assert f"accuracy {told['pooled_accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%})" in printed


def test_no_file_of_a_run_in_folds_holds_a_text(workplace: Path, folded: tuple[Path, str, str]) -> None:
    """Neither the answers nor the kept folds; a digest stands for each."""
    bundle, _, _ = folded
    texts = read_reviews(workplace / "train.xlsx").texts
    files = [*Path(f"{bundle}.folds").iterdir(), *Path(f"{bundle}.run").glob("fold-*.json")]
    assert len(files) == 4
    for file in files:
        content = file.read_text("utf-8")
        assert not [text for text in texts if text in content]


def test_the_final_model_is_trained_on_all_rows_and_says_what_measured_it(folded: tuple[Path, str, str]) -> None:
    """Record, manifest, card and the header for model hubs have the out-of-fold accuracy, and say that it is that."""
    bundle, told, _ = folded
    record, manifest = record_in(bundle / "run.json"), load_bundle(bundle).manifest
    assert record.folds is not None
    assert record.measured_by_folds
    assert (record.data["train"].rows, record.data["test"].rows) == (ROWS, ROWS)
    accuracy = manifest.variants[manifest.served].accuracy
    assert accuracy is not None
    assert (accuracy.rows, accuracy.accuracy) == (ROWS, record.folds.pooled_accuracy)
    assert "int8 gate on 40 rows of all folds" in told
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "train.xlsx, cross-validated" in card
    assert "in 2 folds: each of its\n97 rows was answered by a model" in card
    assert "None of its texts is in the" not in card


def test_the_report_alone_needs_no_final_model(
    workplace: Path, folded: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finished folds are read, nothing is trained, no bundle is written, and the run counts as finished."""
    bundle, _, printed = folded
    copied(bundle, "report", "ch*", "rec*", "*-end*")
    monkeypatch.setattr("training.cross_validation.run.fit_prepared", None)
    assert main(arguments(workplace, "report", folds_only="")) == 0
    captured = capsys.readouterr()
    assert captured.out == printed.partition("\n\n")[0] + "\n"
    assert not (workplace / "report").exists()
    named = captured.err.splitlines()[-1].partition("review-training ")[2].split()
    assert main(named) == 0
    assert not (workplace / "report.run").exists()
    assert len(list((workplace / "report.folds").iterdir())) == 2


def test_in_python_the_result_is_a_table(workplace: Path, folded: tuple[Path, str, str]) -> None:
    """From `fit(folds=2)` beside what a fit has, from `fit(folds_only=True)` alone; displayed in a notebook."""
    bundle, _, printed = folded
    given = {name.replace("-", "_"): value for name, value in SETTINGS.items()} | {"folds": 2}
    copied(bundle, "table", "ch*", "rec*", "*-end*")
    found = training.fit(
        workplace / "train.xlsx", workplace / "table", base=str(workplace / "base"), folds_only=True, **given
    )
    assert repr(found) == printed.partition("\n\n")[0]
    assert list(found.table.index) == [1, 2]
    assert len(found.predictions) == found.rows == ROWS
    assert found.interval[0] < found.accuracy < found.interval[1]
    assert found._repr_html_().count("<table") == 1
    record = record_in(bundle / "run.json")
    served = record.metrics[load_bundle(bundle).manifest.served]
    fitted = FitResult(bundle, load_bundle(bundle).manifest, Evaluation(**served))
    assert fitted.folds is not None
    assert repr(fitted.folds) == repr(found)
    assert "97 reviews of train.xlsx in folds" in repr(fitted)
    assert fitted._repr_html_().count("<table") == 3


def test_a_test_file_measures_the_final_model(
    workplace: Path, folded: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folds are those of --train alone; their figures go into the record, and their answers measure nothing."""
    bundle, _, _ = folded
    test = write_reviews(workplace / "test.xlsx", 40, seed=2)
    copied(bundle, "tested", "ch*", "rec*", "*-end*")
    seen: dict[str, Any] = {}

    def stop(*_: object, **given: Any) -> None:
        seen.update(given)
        raise TrainedError

    monkeypatch.setattr("training.plan.package", stop)
    with pytest.raises(TrainedError):
        main(arguments(workplace, "tested", test=str(test)))
    assert seen["judged"] is None
    assert seen["record"].folds.rows == ROWS
    assert not seen["record"].measured_by_folds
    assert seen["record"].data["test"].file == "test.xlsx"


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": "4"},
        {"learning_rate": "0.001"},
        {"folds": "3"},
        {"max_length": "32"},
        {"near_duplicate": "0.9"},
        {"base": "other tokenizer"},
    ],
)
def test_folds_of_another_run_are_neither_used_nor_overwritten(
    workplace: Path, folded: tuple[Path, str, str], changed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Another seed, setting, tokenizer or number of folds is refused by its name, as for a checkpoint."""
    bundle, _, _ = folded
    (name, value), *_ = changed.items()
    if name == "base":
        base = shutil.copytree(workplace / "base", workplace / value)
        tokenizer = base / "tokenizer.json"
        tokenizer.write_text(tokenizer.read_text("utf-8") + "\n", encoding="utf-8")
        changed = {"base": str(base)}
    kept = Path(f"{bundle}.run/fold-1.json").read_bytes()
    assert main(arguments(workplace, "mine", **changed, folds_only="")) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "fold-1.json is of a run with another" in last
    assert {"seed": "rows", "near_duplicate": "near", "base": "tokenizer_sha256"}.get(name, name) in last
    assert Path(f"{bundle}.run/fold-1.json").read_bytes() == kept


def test_one_variant_counts_in_all_folds(
    workplace: Path, folded: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the gate rows of all folds together: the better one of each fold would flatter the model."""
    bundle, _, _ = folded
    run = copied(bundle, "gated", "ch*", "rec*", "*-end*")
    predicted = {}
    for lost, served in (((0.004, 0.0), "int8"), ((0.02, -0.002), "bf16")):
        for fold, points in enumerate(lost, 1):
            kept = json.loads(Path(f"{bundle}.run/fold-{fold}.json").read_bytes())
            assert [len(answers) for answers in kept["answers"].values()] in ([48, 48], [49, 49])
            kept["answers"]["bf16"] = [{"neg": 0.25, "pos": 0.75} for _ in kept["answers"]["int8"]]
            (run / f"fold-{fold}.json").write_text(json.dumps(kept | {"fp32": 0.9, "int8": 0.9 - points}))
        assert main(arguments(workplace, "gated", folds_only="")) == 0
        assert f"\nout of fold, {served}: accuracy" in capsys.readouterr().out
        predicted[served] = set(pd.read_csv(workplace / "gated.folds" / "predictions.csv").probability_pos)
    assert predicted["bf16"] == {0.75}
    assert 0.75 not in predicted["int8"]


@pytest.mark.parametrize("wrong", ["checkpoint", "base"])
def test_what_is_wrong_with_the_final_model_is_told_before_the_folds(
    workplace: Path, folded: tuple[Path, str, str], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint of another run, or a base that has seen the test file: nothing is trained for hours in vain."""
    bundle, _, _ = folded
    run = copied(bundle, f"wrong-{wrong}", "fold-*", "*-end*")
    changed, message = {"learning_rate": "0.001"}, f"the checkpoint in {run} is of a run with another learning_rate"
    if wrong == "base":
        test = read_reviews(write_reviews(workplace / "seen.xlsx", 40, seed=3))
        base = shutil.copytree(workplace / "base", workplace / "knowing")
        source = {"file": test.path.name, "sha256": test.sha256, "rows": len(test)}
        (base / "run.json").write_text(json.dumps({"command": "restore", "learnt_from": [source]}))
        changed, message = {"base": str(base), "test": str(test.path)}, "knowing was trained on seen.xlsx"
    assert main(arguments(workplace, run.stem, **changed)) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list(run.glob("fold-*"))


def test_a_kill_while_a_fold_is_removed_does_no_harm(
    workplace: Path, folded: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock goes last, by which the next start knows the directory; an empty one is known, too."""
    bundle, _, _ = folded
    run = copied(bundle, "killed", "ch*", "rec*", "*-end*")
    (run / "fold-1" / "bundle").mkdir(parents=True)
    (run / "fold-1" / "lock").touch()
    (run / "fold-2").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
        assert main(arguments(workplace, "killed", folds_only="")) == 130
    assert (run / "fold-1" / "lock").exists()
    assert main(arguments(workplace, "killed", folds_only="")) == 0
    assert not [path for path in run.glob("fold-*") if path.is_dir()]


def test_unfinished_folds_and_an_unfinished_model_are_not_cleaned_away(
    workplace: Path, folded: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither beside the bundle of an earlier run, nor after a report alone."""
    bundle, _, _ = folded
    shutil.copytree(bundle, workplace / "earlier")
    copied(bundle, "earlier", "*-end*")
    run = copied(bundle, "reported")
    (run / "folds-end.json").write_text('{"only": true}')
    for name in ("earlier", "reported"):
        assert main(["clean", "--yes", str(workplace / f"{name}.run")]) == 2
        assert "has not finished, and nothing is removed" in capsys.readouterr().err
    assert main(["clean", str(bundle)]) == 0
    assert "NOT FINISHED" not in capsys.readouterr().out


def test_a_directory_of_somebody_else_is_not_removed(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fold needs a directory of its own in --checkpoints."""
    notes = workplace / "own" / "fold-1" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    assert main(arguments(workplace, "out", checkpoints=str(workplace / "own"))) == 2
    assert "fold-1 is not of this run: name another directory" in capsys.readouterr().err
    assert notes.read_text() == "mine"
