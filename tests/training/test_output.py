"""Every command refuses an output file that cannot be written, in the same words, before its work."""

import ast
import errno
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from safetensors import SafetensorError

import training
from consumer.errors import GaveUp, UsageError
from consumer.model.bundle.loading import load_bundle
from consumer.model.bundle.manifest import Source
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_encoder import write_reviews
from training.baselines.settings import BaselineSettings
from training.cli import OUTPUT_CLOSED, main
from training.comparison.report import write_report
from training.comparison.results import Comparison, Result, write_results
from training.io.output import check_file, whole, writing
from training.packaging.golden import nothing_to_replay
from training.packaging.sealing import write_golden

pytestmark = pytest.mark.training

#: Options that name a file, each behind a command that lacks everything else: it is looked at first.
COMMANDS = (
    ("evaluate", "--bundle", "none", "--data", "none.xlsx", "--report"),
    ("explain", "--bundle", "none", "great", "--html"),
    ("predict", "--bundle", "none", "none.txt", "--out"),
    ("lr-find", "--train", "none.xlsx", "--base", "none", "--out"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder.png", "folder.png is a directory: name a file in it"),
        ("no/such.png", "no/such.png: its directory does not exist"),
        ("file.txt/such.png", "file.txt/such.png: its directory does not exist"),
        (f"{'long' * 100}.png", "cannot be written (File name too long)"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: Sequence[str], name: str, message: str
) -> None:
    """One line that names the option and the file."""
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.txt").write_text("no directory")
    assert main([*command, str(tmp_path / name)]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"review-training: {command[-1]} {tmp_path}")
    assert line.endswith(f"{message}\n")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["evaluate", "--bundle", "b", "--data", "r.xlsx", "--report", "r.xlsx"], "r.xlsx is also --data r.xlsx"),
        (["evaluate", "--bundle", "b", "--data", "none", "--train", "r.xlsx", "--report", "r.xlsx"], "also --train"),
        (["evaluate", "--bundle", "b", "--data", "r.xlsx", "--report", "b/golden.json"], "is in --bundle b"),
        (["explain", "--bundle", "b", "great", "--html", "b/golden.json"], "is in --bundle b"),
        (["lr-find", "--base", "b", "--train", "r.xlsx", "--out", "b/plot.png"], "is in --base b"),
    ],
)
def test_a_file_that_would_take_the_place_of_what_is_read_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Sequence[str],
    message: str,
) -> None:
    """The page would overwrite the spreadsheet, or a file of the bundle, whose checksums would no longer fit."""
    monkeypatch.chdir(tmp_path)
    Path("r.xlsx").write_bytes(b"reviews")
    Path("b").mkdir()
    assert main(command) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"review-training: {command[-2]} {command[-1]} is ")
    assert message in line
    assert Path("r.xlsx").read_bytes() == b"reviews"
    assert list(Path("b").iterdir()) == []


def test_a_picture_that_cannot_be_saved_is_reported_in_one_line(tmp_path: Path) -> None:
    """Its directory may have gone during a long test, or the disk may be full."""
    from training.loop.lr_find import RateTest
    from training.loop.lr_plot import plot_rate_test

    test = RateTest((0.1, 0.2), (1.0, 0.5), (1.0, 0.5), None, None, diverged=False)
    plot_rate_test(test, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").is_file()
    with pytest.raises(UsageError, match=r"--out .*plot.png cannot be written \(No such file or directory\)"):
        plot_rate_test(test, tmp_path / "gone" / "plot.png")


def test_a_file_that_can_be_written_is_left_to_its_writer(tmp_path: Path) -> None:
    """The check makes nothing and replaces nothing; other errors of the writer stay what they are."""
    (tmp_path / "old.html").write_text("old")
    for name in ("old.html", "new.html"):
        check_file("--report", tmp_path / name)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    with pytest.raises(UsageError, match=r"/proc/new\.html cannot be written"):  # where not even root can write
        check_file("--report", Path("/proc/new.html"))
    with pytest.raises(ZeroDivisionError), writing("--report", tmp_path / "new.html"):
        1 / 0  # noqa: B018 - it raises


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")]
)
def test_a_file_that_cannot_be_written_whole_leaves_the_one_before(tmp_path: Path, error: Exception) -> None:
    """The old file stays, the partial new one is removed, and one line says what to do."""
    path = tmp_path / "new" / "file"
    with whole(path) as partial:
        partial.write_text("old")
        assert not path.exists()

    def fail() -> None:
        with whole(path, ".7.partial") as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(GaveUp, match=r"file cannot be written \(.*No space left on device\): free some"):
        fail()
    assert [(each.name, each.read_text()) for each in path.parent.iterdir()] == [("file", "old")]
    with pytest.raises(GaveUp, match=r"cannot be written \(Not a directory\)"), whole(path / "below" / "it"):
        pass


def test_every_output_is_written_with_error_handling() -> None:
    """Each call in `training/` that writes a file is inside `storing`, `writing` or `whole`, or catches OSError."""
    found, unguarded = 0, []
    for path in sorted(Path(training.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {id(node) for guard in ast.walk(tree) if guards(guard) for node in ast.walk(guard)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and writes(node):
                found += 1
                if id(node) not in guarded:
                    unguarded.append(f"{path.name}:{node.lineno}")
    assert found > 15
    assert unguarded == []


def guards(node: ast.AST) -> bool:
    """Whether errors of the system inside `node` end in one line; a function that yields inside is checked as well."""
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
        return any(ast.unparse(call.func) in {"storing", "writing", "whole"} for call in calls)
    return isinstance(node, ast.Try) and any(
        handler.type and "OSError" in ast.unparse(handler.type) for handler in node.handlers
    )


def writes(call: ast.Call) -> bool:
    """Whether `call` makes or changes a file, other than the null device."""
    source = ast.unparse(call)
    name = ast.unparse(call.func).rpartition(".")[2]
    if name == "open":
        modes = [arg.value for arg in [*call.args, *(k.value for k in call.keywords)] if isinstance(arg, ast.Constant)]
        return "devnull" not in source and any(str(mode).strip("b+t") in {"w", "a", "x"} for mode in modes)
    is_path = isinstance(call.func, ast.Attribute)
    return (name in {"write_text", "write_bytes", "savefig", "savez"} and is_path) or name in {"save_file", "copyfile"}


@pytest.mark.parametrize("module", ["results", "report", "linear", "networks", "kept answers", "bundle"])
def test_a_file_that_does_not_fit_on_the_disk_is_one_line(tmp_path: Path, module: str) -> None:
    """Under a limit to the size of files, as the system reports a full disk: exit code 5, and what to do."""
    name, write = WRITERS[module](tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        with pytest.raises(GaveUp, match=rf"{name} cannot be written .*: free some space"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("module", ["results", "report", "linear", "networks", "bundle"])
def test_a_directory_that_has_gone_is_one_line(tmp_path: Path, module: str) -> None:
    """It existed when the command began, hours ago; root, as whom tests may run, can write to read-only ones."""
    directory = tmp_path / "gone"
    directory.mkdir()
    name, write = WRITERS[module](directory)
    directory.rmdir()
    directory.write_text("a file now")
    with pytest.raises(GaveUp, match=rf"{name} cannot be written \(.*(Not a directory|File exists)"):
        write()


def comparison() -> Comparison:
    """One result, 5 of 8 right."""
    source = Source(file="r.xlsx", sha256="0" * 64, rows=8)
    result = Result(
        name="nbsvm",
        identity={},
        rows=8,
        accuracy=0.625,
        interval=(0.3, 0.86),
        log_loss=0.6,
        failed=0,
        parameters=1,
        training_seconds=1,
        reviews_per_second=1,
        bytes=1,
        cores=1,
    )
    sums = {"train_rows_sha256": "0" * 64, "test_rows_sha256": "0" * 64}
    given = {"train": source, "test": source, "labels": ("neg", "pos"), "limit": None, "seed": 1, **sums}
    return Comparison.model_validate(given).with_result(result)


def a_network(directory: Path) -> tuple[str, Callable[[], None]]:
    """Trained on two words."""
    from training.baselines.models import build

    model = build("fasttext", 2, BaselineSettings(), seed=1, vectors=None)
    model.fit(["good film", "bad film"] * 8, [0, 1] * 8, lambda _: None)
    return "words.json", lambda: model.save(directory)


def a_linear_model(directory: Path) -> tuple[str, Callable[[], None]]:
    """Trained on two words."""
    from training.baselines.linear import NbSvm

    model = NbSvm(2)
    model.fit(["good film", "bad film"] * 8, [0, 1] * 8, lambda _: None)
    return "features.json", lambda: model.save(directory)


def kept_answers(directory: Path) -> tuple[str, Callable[[], None]]:
    """To one text, after the file was started."""
    from training.measure.answering.kept_answers import KeptAnswers

    bundle = load_bundle(write_tiny_bundle(directory / "bundle"))
    kept = KeptAnswers(directory / "answers", bundle, "fp32", ["good"])
    kept.read(1, 1)
    kept.append([None])  # the first write that the limit meets is cut short, the second fails
    return r".*\.jsonl", lambda: kept.append([None] * 100)


#: Makes what is to be written to a directory: the name of the file that fails first, and the function that writes it.
WRITERS: dict[str, Callable[[Path], tuple[str, Callable[[], None]]]] = {
    "results": lambda directory: ("compare.json", lambda: write_results(directory, comparison())),
    "report": lambda directory: ("compare.png", lambda: write_report(directory, comparison())),
    "linear": a_linear_model,
    "networks": a_network,
    "kept answers": kept_answers,
    "bundle": lambda directory: ("golden.json", lambda: write_golden(directory, nothing_to_replay())),
}


@pytest.mark.parametrize("command", ["evaluate", "explain"])
def test_a_page_is_written_even_if_stdout_is_closed(tmp_path: Path, command: str) -> None:
    """As with `| head`: no stack trace, and the requested file is there."""
    bundle, page = write_tiny_bundle(tmp_path / "bundle"), tmp_path / "page.html"
    data = write_reviews(tmp_path / "r.xlsx", 20, seed=1)
    given = {"evaluate": ["--data", str(data), "--report", str(page)], "explain": ["great film", "--html", str(page)]}
    ended = in_a_shell(
        f"{shlex.join([command, '--bundle', str(bundle), *given[command]])} | true; echo ${{PIPESTATUS[0]}}"
    )
    assert ended.stdout.split()[-1] == str(OUTPUT_CLOSED)
    assert page.read_text(encoding="utf-8").startswith("<!")
    assert "Traceback" not in ended.stderr
    assert "BrokenPipe" not in ended.stderr


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_program_without_standard_streams_does_its_work(tmp_path: Path, closed: str) -> None:
    """Some supervisors start programs this way."""
    bundle, out = write_tiny_bundle(tmp_path / "bundle"), tmp_path / "out.txt"
    (tmp_path / "in.txt").write_text("great\n")
    command = shlex.join(["predict", "--bundle", str(bundle), str(tmp_path / "in.txt"), "--out", str(out)])
    ended = in_a_shell(f"{command} {closed}")
    assert ended.returncode == 0, ended.stderr
    assert out.read_text() == "pos\t0.9526\n"


def in_a_shell(command: str) -> "subprocess.CompletedProcess[str]":
    """`review-training command` in bash, unbuffered as in many containers, so that a closed pipe is noticed at once."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    line = f"{shlex.quote(sys.executable)} -m training.cli {command}"
    return subprocess.run(["bash", "-c", line], check=False, capture_output=True, text=True, env=environment)
