"""`review-consumer label`: every text gets its label or its reason, from wherever it comes, without Kafka."""

import datetime
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from consumer.cli import main
from consumer.model.bundle.embedded import STUDENT, default, embedded, located
from consumer.model.bundle.loading import load_bundle
from consumer.records.fault import Reason
from consumer.records.parse import Limits
from consumer.tools.label.texts import Given, of_lines
from consumer.tools.output import BAR, bar
from tests.tiny_bundle import MAX_LENGTH, POISON, WORTH, positive_probability, write_tiny_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that adds up what each word is worth."""
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture
def label(tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command with `flags` and this standard input: exit code, JSON rows, errors."""

    def run(*flags: str, stdin: bytes = b"") -> tuple[int, list[dict[str, Any]], str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(_Pipe(stdin))))
        monkeypatch.setenv("REVIEWS_BUNDLE", str(tiny))
        code = main(["label", *flags])
        printed = capsys.readouterr()
        return code, [json.loads(line) for line in printed.out.splitlines()], printed.err

    return run


class _Pipe(io.RawIOBase):
    """Standard input as a pipe: it has a file number, and is no file."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self._reading, self._writing = os.pipe()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)

    def fileno(self) -> int:
        return self._reading

    def close(self) -> None:
        if not self.closed:
            os.close(self._reading)
            os.close(self._writing)
        super().close()


def on_terminal(*command: str, columns: int = 100) -> tuple[int, str]:
    """Exit code and output of a command whose standard output is a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": ""}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
    return process.returncode, shown.decode()


def test_each_argument_gets_its_label(label: Any) -> None:
    """In order, with score, probabilities and the text itself."""
    code, rows, _ = label("the film was good", "awful, awful")
    assert code == 0
    assert [(row["row"], row["label"], row["text"]) for row in rows] == [
        (1, "pos", "the film was good"),
        (2, "neg", "awful, awful"),
    ]
    assert rows[0]["score"] == pytest.approx(positive_probability("the film was good"), abs=1e-4)
    assert rows[0]["probabilities"]["pos"] == rows[0]["score"]
    assert "unsure" not in rows[0]  # the bundle has no threshold
    assert "member" not in rows[0]


def test_what_cannot_be_labelled_has_its_reason_and_its_row(label: Any) -> None:
    """Each kind of broken line is reported where it stands, the others are labelled, and the exit code tells."""
    lines = [b"good", b"", b"\xff\xfe", b"  \t", b"the " * 300_000, POISON.encode(), b"great\r", b"last line"]
    code, rows, _ = label(stdin=b"\n".join(lines))
    assert code == 1
    assert [row["row"] for row in rows] == list(range(1, 9))
    assert [row.get("reason") for row in rows] == [
        *(None, "empty_text", "invalid_text", "empty_text", "text_too_long", "model_error"),
        *(None, None),
    ]
    assert rows[2]["detail"] == "invalid_utf8"
    assert rows[6]["text"] == "great"
    assert rows[7]["label"] == "pos" or rows[7]["label"] == "neg"


TABLES = {
    "reviews.csv": b'\xef\xbb\xbfid,text\n1,"good, ""great"" film"\n2\n3,\n4,"two\nlines"\n',
    "semicolons.csv": b'id;text\n1;"good, ""great"" film"\n2\n3;\n4;"two\nlines"\n',
    "reviews.tsv": b'id\ttext\n1\t"good, ""great"" film"\n2\n3\t\n4\t"two\nlines"\n',
    "lines.jsonl": b'\xef\xbb\xbf{"text": "good, \\"great\\" film"}\n{"id": 2}\n{"text": ""}\n'
    b'{"text": "two\\nlines"}\n\n',
}


@pytest.mark.parametrize("name", TABLES)
def test_a_column_of_a_file_is_labelled(label: Any, tmp_path: Path, name: str) -> None:
    """Quotes, byte order marks, missing and empty cells, and line breaks within a text."""
    (tmp_path / name).write_bytes(TABLES[name])
    code, rows, _ = label("--file", str(tmp_path / name))
    assert code == 1
    assert [row.get("text") for row in rows] == ['good, "great" film', None, None, "two\nlines"]
    missing = "invalid_text" if name.endswith("jsonl") else "empty_text"
    assert [row.get("reason") for row in rows] == [None, missing, "empty_text", None]


def test_a_spreadsheet_is_read_as_elsewhere(label: Any, tmp_path: Path) -> None:
    """Its usual column is found, its rows have the numbers that a person sees, and a date is no text."""
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["Reviews", "other"], ["good", "a"], [datetime.datetime(2026, 1, 2), "b"], ["awful", "c"]):
        book.active.append(row)
    book.save(tmp_path / "reviews.xlsx")
    code, rows, _ = label("--file", str(tmp_path / "reviews.xlsx"))
    assert code == 1
    assert [(row["row"], row["label"]) for row in rows] == [(2, "pos"), (3, None), (4, "neg")]
    assert (rows[1]["reason"], rows[1]["detail"]) == ("invalid_text", "a date, not a text")
    code, rows, _ = label("--file", str(tmp_path / "reviews.xlsx"), "--text-column", "other")
    assert [row["text"] for row in rows] == ["a", "b", "c"]


def test_json_lines_are_read_as_the_worker_reads_records(label: Any) -> None:
    """Dots lead into objects, and what is no JSON has the reason and the byte that its dead letter would have."""
    stdin = b'{"payload": {"review": "good"}}\n{"payload": \nnull\n'
    code, rows, _ = label("--format", "jsonl", "--text-field", "payload.review", stdin=stdin)
    assert code == 1
    assert rows[0]["label"] == "pos"
    assert [(row["reason"], row["detail"]) for row in rows[1:]] == [
        ("not_json", "truncated at byte 12"),
        ("not_an_object", "null"),
    ]


def test_a_label_comes_as_soon_as_its_line_is_there() -> None:
    """Whoever follows a log through a pipe waits for no full buffer."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        groups = of_lines(stream, Limits())
        pipe.write(b"first\nsec")
        assert next(groups) == [Given(1, "first")]
        pipe.write(b"ond\nthird\n")
        assert next(groups) == [Given(2, "second"), Given(3, "third")]


def test_a_line_without_an_end_takes_no_memory() -> None:
    """It is rejected, and the next line is read."""

    class Endless(io.RawIOBase):
        left = 64_000_000

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if self.left <= 0:
                content = b"\ngood" if self.left == 0 else b""
                self.left = -1
            else:
                content = b"x" * min(len(buffer), self.left)
                self.left -= len(content)
            buffer[: len(content)] = content
            return len(content)

    limits = Limits(max_record_bytes=1000, max_text_characters=1000)
    given = [each for group in of_lines(io.BufferedReader(Endless()), limits) for each in group]
    assert [(each.row, each.fault and each.fault.reason) for each in given] == [(1, Reason.TEXT_TOO_LONG), (2, None)]
    assert len(given[0].text) < 100_000


def test_the_words_that_decided_are_weighed(label: Any) -> None:
    """With --explain, each word has the weight that the model gives it, words that it never read have none."""
    words = ["good" if place % 2 else "the" for place in range(MAX_LENGTH * 2)]
    code, rows, _ = label("--explain", "the film was good", " ".join(words), "")
    assert code == 1
    first, long, empty = rows
    parts = {part["words"]: part["weight"] for part in first["explanation"]["parts"]}
    assert parts == pytest.approx({word: 2 * WORTH[word] for word in ("the", "film", "was", "good")}, abs=1e-3)
    assert long["truncated"]
    assert [part["weight"] for part in long["explanation"]["parts"] if not part["read"]] == [0]
    assert "explanation" not in empty


def test_the_explained_label_may_be_chosen(label: Any) -> None:
    """Weights for the other label are those against this one."""
    (row,) = label("--explain", "--label", "neg", "good")[1]
    assert row["label"] == "pos"
    assert row["explanation"]["label"] == "neg"
    assert row["explanation"]["parts"][0]["weight"] < 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["a", "--file", "b"], "give texts as arguments or --file, not both"),
        (["a", "--label", "pos"], "add --explain"),
        (["a", "--explain", "--label", "great"], "it knows neg, pos"),
        (["--file", "/no/such/file"], "cannot be read (No such file or directory)"),
        (["--file", "."], "cannot be read (Is a directory)"),
        (["--file", sys.executable], "is not a text file"),
        ([str(ROOT / "README.md")], "write --file before its name"),
        (["a", "--variant", "int3"], "has no variant"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(label: Any, flags: list[str], message: str) -> None:
    """Exit code 2, or 3 for the bundle, and nothing of a text."""
    code, rows, errors = label(*flags)
    assert code == (3 if "--variant" in flags else 2)
    assert rows == []
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("texts", b"PK\x03\x04...", "is a spreadsheet or another archive"),
        ("texts", b"\x1f\x8b...", "is compressed"),
        ("texts", "text".encode("utf-16"), "is UTF-16"),
        ("texts.xlsx", b"no workbook", "texts.xlsx"),
        ("texts.csv", b"a,b\nc,d\n", "--text-column"),
    ],
)
def test_a_file_of_another_kind_is_refused(label: Any, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """With what to do instead."""
    (tmp_path / name).write_bytes(content)
    code, _, errors = label("--file", str(tmp_path / name), *(["--text-column", "x"] if name.endswith("csv") else []))
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors


def test_a_terminal_shows_a_table_that_no_text_can_steer(tiny: Path) -> None:
    """A line for each text, cut at the edge, with a bar for the score; control characters are shown as escapes."""
    text = "the film was good \x1b[2J\u202e and great " + "the " * 100
    code, shown = on_terminal(
        *(sys.executable, "-m", "consumer", "label", "--bundle", str(tiny)), text, " ", columns=80
    )
    assert code == 1
    head, columns, first, second = shown.splitlines()
    assert "tiny 1, fp32, digest" in head
    assert "label  score             text" in columns
    assert "██" in first
    assert r"\x1b[2J\u202e" in first
    assert "\x1b[2J" not in shown
    assert "…" in first
    assert "row 2 cannot be labelled (empty_text)" in second


def test_a_terminal_marks_the_words(tiny: Path) -> None:
    """Green for, red against, and a line with the weights for terminals without colours."""
    code, shown = on_terminal(
        *(sys.executable, "-m", "consumer", "label", "--bundle", str(tiny), "--explain", "good great awful")
    )
    assert code == 0
    assert "\x1b[1;30;42mgreat\x1b[0m" in shown
    assert "\x1b[37;41mawful\x1b[0m" in shown
    assert "for: great +3.00, good +2.00   against: awful -3.00" in shown


def test_the_training_packages_are_not_needed(tiny: Path) -> None:
    """Nor is the Kafka client: neither is imported."""
    code = (
        "import sys; from consumer.cli import main; "
        f"main(['label', '--bundle', {str(tiny)!r}, '--explain', 'good']); "
        "print(sorted({'torch', 'transformers', 'pandas', 'kafka', 'training'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    first, last = done.stdout.splitlines()
    assert json.loads(first)["label"] == "pos"
    assert last == "[]"


def test_an_embedded_bundle_is_found_by_its_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is at the path wins; a path is never taken for a name."""
    monkeypatch.chdir(tmp_path)
    shipped = load_bundle(ROOT / "bundles" / STUDENT)
    assert load_bundle(Path(STUDENT)).digest == shipped.digest
    assert default() == embedded(STUDENT)
    assert located(Path("no", STUDENT)) == Path("no", STUDENT)
    assert embedded(Path("..")) is embedded(f"../bundles/{STUDENT}") is embedded("nothing") is None
    (tmp_path / STUDENT).mkdir()
    assert located(Path(STUDENT)) == Path(STUDENT)
    # And in a checkout, the default is that of the worker
    monkeypatch.chdir(ROOT)
    assert default() == Path("bundles/cascade-imdb")


@pytest.mark.parametrize(
    ("share", "full"),
    [(0, ""), (0.5, "█████"), (0.51, "█████▏"), (0.999, "██████████"), (1, "█" * 10), (2, "█" * 10), (-1, "")],
)
def test_bars_are_as_long_as_their_share(share: float, full: str) -> None:
    """To an eighth of a character; in ASCII to a character."""
    assert bar(share) == full.ljust(BAR)
    assert bar(share, is_ascii=True) == ("#" * round(min(share, 1) * 10)).ljust(BAR)
