"""Every command that writes a file refuses one that cannot be written in the same words, before its work."""

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors import SafetensorError

from consumer.errors import GaveUp, UsageError
from training.cli import main
from training.output import check_file, whole, writing

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


def test_a_picture_that_cannot_be_saved_is_told_in_one_line(tmp_path: Path) -> None:
    """Its directory may have gone during a long test, or the disk may be full."""
    from training.lr_find import RateTest
    from training.lr_plot import plot_rate_test

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
    """What a restart mends: the old file stays, the part of the new one makes room, and one line says what to do."""
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
