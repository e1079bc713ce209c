"""`review-training predict` and `Predictor`: every text has one outcome, in order, and no bad text stops the others."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from consumer.model.labeller import Classified
from tests.tiny_bundle import POISON, positive_probability, seal, write_tiny_bundle
from tests.tiny_encoder import write_table
from training import Predictor
from training.cli import OUTPUT_CLOSED, main

pytestmark = pytest.mark.training

TEXTS = ("the film was great", "awful", "good film", "bad bad film")
LABELS = ["pos", "neg", "pos", "neg"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose every answer is known."""
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="module")
def predictor(tiny: Path) -> Predictor:
    """It, loaded."""
    return Predictor.load(str(tiny))


class Pipe:
    """Standard input that holds `content`."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        """A pipe, not a keyboard."""
        return False


def rows_of(capsys: pytest.CaptureFixture[str], command: Sequence[str]) -> list[dict[str, Any]]:
    """The jsonl that `predict` prints; fails unless it ends well."""
    assert main(["predict", *command, "--format", "jsonl"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refusal(capsys: pytest.CaptureFixture[str], command: Sequence[str], code: int = 2) -> str:
    """The one line that `predict` ends with; fails unless its exit code is `code`."""
    assert main(["predict", *command]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_list_gives_labels_in_order_and_a_single_text_its_label(predictor: Predictor) -> None:
    """Like ktrain's predictor."""
    assert predictor.classes == ("neg", "pos")
    assert predictor.predict(TEXTS) == LABELS
    assert predictor.predict("awful") == "neg"
    assert predictor.predict([]) == []


def test_probabilities_are_an_array_with_a_column_for_each_class(predictor: Predictor) -> None:
    """Shape (texts, labels), also of no text; (labels,) of a single one."""
    probabilities = predictor.predict_proba(TEXTS)
    expected = [positive_probability(text) for text in TEXTS]
    assert probabilities.shape == (4, 2)
    np.testing.assert_allclose(probabilities[:, 1], expected, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(predictor.predict_proba("awful"), [1 - expected[1], expected[1]], atol=1e-5)
    assert predictor.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no text"),
        (" \n\t", "no text"),
        (None, "no text"),
        (float("nan"), "no text"),
        (np.float32("nan"), "no text"),
        ("half a pair \ud83d", "not valid UTF-8"),
        (["awful"], "a list, not a text"),
        (b"awful", "bytes, not a text"),
        (np.array([1.0, 2.0]), "a list, not a text"),
        (True, "TRUE or FALSE, not a text"),
        (datetime(2026, 10, 10), "a date, not a text"),
        (object(), "of the type object, not a text"),
        (f"the {POISON} film", "the model fails on it (NotFinite)"),
    ],
)
def test_a_text_without_a_label_has_a_reason_and_costs_its_neighbours_nothing(
    predictor: Predictor, text: Any, reason: str
) -> None:
    """None, NaN probabilities and why; the texts around it keep their places."""
    outcomes = predictor.outcomes(["awful", text, "great"])
    assert [outcome.label for outcome in outcomes] == ["neg", None, "pos"]
    assert outcomes[1].reason == reason
    table = predictor.predict_proba(["awful", text, "great"])
    assert np.isnan(table[1]).all()
    assert np.isfinite(table[[0, 2]]).all()


def test_missing_values_of_pandas_have_no_text(predictor: Predictor) -> None:
    """A column of a data frame can be handed in as it is; numbers are read as their digits."""
    import pandas as pd

    assert predictor.predict(pd.Series(["awful", pd.NA, None, pd.NaT])) == ["neg", None, None, None]
    assert predictor.predict([7])[0] in predictor.classes


def test_bytes_are_refused(predictor: Predictor) -> None:
    """They would be read as a list of numbers, each with a label."""
    with pytest.raises(TypeError, match="decode them"):
        predictor.predict(b"awful")


@pytest.mark.parametrize("kind", ["table", "mapping"])
def test_what_would_give_its_names_is_refused(predictor: Predictor, kind: str) -> None:
    """The names of a table's columns would be labelled instead of its texts, silently."""
    rows = {"Reviews": ["awful", "great"]}
    texts: Any = pd.DataFrame(rows) if kind == "table" else rows
    with pytest.raises(TypeError, match="give one column of it"):
        predictor.predict(texts)
    assert predictor.predict(pd.DataFrame(rows)["Reviews"]) == ["neg", "pos"]


def test_a_stream_reads_no_further_than_it_has_to(predictor: Predictor) -> None:
    """A source of any length is labelled chunk by chunk."""
    from training.predictor import CHUNK

    read = []

    def endless() -> Any:
        while True:
            read.append(1)
            yield "great"

    outcomes = predictor.stream(endless())
    assert next(outcomes).label == "pos"
    assert len(read) == CHUNK


def test_a_closed_predictor_says_so(tiny: Path) -> None:
    """As a closed file does; before, it has labelled."""
    with Predictor.load(tiny) as predictor:
        assert predictor.predict("good")
    with pytest.raises(ValueError, match="is closed: load the bundle again"):
        predictor.predict("good")


def test_a_changed_bundle_is_refused(tiny: Path, tmp_path: Path) -> None:
    """Labels that were swapped after the golden texts were recorded never label anything."""
    from consumer.errors import BundleError

    swapped = write_tiny_bundle(tmp_path / "swapped", labels=("pos", "neg"))
    with pytest.raises(BundleError, match="golden text"):
        Predictor.load(swapped)


def test_importing_training_loads_nothing_heavy() -> None:
    """`import training` is free; Predictor itself needs neither torch nor pandas nor scikit-learn."""
    code = (
        "import sys, training; light = set(sys.modules); training.Predictor; "
        "print('numpy' in light, {'torch', 'pandas', 'sklearn', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False set()"
    with pytest.raises(ImportError):
        from training import Pedictor  # noqa: F401


def test_every_kind_of_file_is_read_in_order(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """xlsx, csv, tsv, jsonl, txt and parquet, in one call, each row with its file and its number there."""
    import pandas as pd

    xlsx = write_table(tmp_path / "a.xlsx", [("Id", "Reviews"), (1, "great"), (2, None), (3, "bad")])
    comma = tmp_path / "b.csv"
    comma.write_text('text,stars\n"good,\nvery good",9\n"",1\nawful,1\n', encoding="utf-8-sig")
    tab = tmp_path / "c.tsv"
    tab.write_text("Review\nbad, bad\n", encoding="utf-8")
    lines = tmp_path / "d.jsonl"
    lines.write_text('{"text": "great"}\n"awful"\nnot json\n{"other": 1}\n\n{"text": null}\n', encoding="utf-8")
    plain = tmp_path / "e.txt"
    plain.write_bytes("great\r\n\u2028good\nca\u00f1\n".encode() + b"caf\xe9\nbad")
    parts = tmp_path / "f.parquet"
    pd.DataFrame({"id": [1, 2, 3], "text": ["great", None, "bad"]}).to_parquet(parts, row_group_size=1)
    rows = rows_of(capsys, ["--bundle", str(tiny), *map(str, (xlsx, comma, tab, lines, plain, parts))])
    found = [(Path(row["file"]).name, row["row"], row["label"], row["reason"]) for row in rows]
    unlabelled = "no text, or a formula"
    neutral = found.pop(-6)
    assert found == [
        ("a.xlsx", 2, "pos", None),
        ("a.xlsx", 3, None, unlabelled),
        ("a.xlsx", 4, "neg", None),
        ("b.csv", 2, "pos", None),
        ("b.csv", 3, None, "no text"),
        ("b.csv", 4, "neg", None),
        ("c.tsv", 2, "neg", None),
        ("d.jsonl", 1, "pos", None),
        ("d.jsonl", 2, "neg", None),
        ("d.jsonl", 3, None, "not JSON"),
        ("d.jsonl", 4, None, "no field text"),
        ("d.jsonl", 5, None, "no text"),
        ("d.jsonl", 6, None, "no text"),
        ("e.txt", 1, "pos", None),
        ("e.txt", 2, "pos", None),
        ("e.txt", 4, None, "not valid UTF-8"),
        ("e.txt", 5, "neg", None),
        ("f.parquet", 1, "pos", None),
        ("f.parquet", 2, None, "no text"),
        ("f.parquet", 3, "neg", None),
    ]
    assert neutral[:2] == ("e.txt", 3)
    assert rows[0]["probabilities"]["pos"] == pytest.approx(positive_probability("great"), abs=1e-5)
    assert "great" not in json.dumps(rows)


def test_a_column_that_was_guessed_among_several_is_reported_once(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, for each file; not where it was named, or where there is no other."""
    import pandas as pd

    table = write_table(tmp_path / "a.xlsx", [("Id", "Reviews"), (1, "great"), (2, "bad")])
    comma = write(tmp_path / "b.csv", b"text,body\ngreat,awful\nbad,good\n")
    lines = write(tmp_path / "c.jsonl", b'{"id": 1, "body": "great"}\n{"id": 2, "body": "bad"}\n')
    pd.DataFrame({"text": ["great"]}).to_parquet(tmp_path / "d.parquet")
    files = [str(table), comma, lines, str(tmp_path / "d.parquet")]
    assert main(["predict", "--bundle", str(tiny), *files]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "read from" in line]
    assert told == [
        f"{file}: texts are read from {name!r}; choose another column with --text-column"
        for file, name in zip(files, ("Reviews", "text", "body"), strict=False)
    ]
    assert main(["predict", "--bundle", str(tiny), comma, "--text-column", "body"]) == 0
    assert "read from" not in capsys.readouterr().err


def test_a_pipe_is_read_without_being_named(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text format is label, tab, score; the summary goes to stderr."""
    monkeypatch.setattr(sys, "stdin", Pipe(b"great\n\nawful\n"))
    assert main(["predict", "--bundle", str(tiny)]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["pos\t0.9526", "-\tno text", "neg\t0.9526"]
    assert captured.err.splitlines()[-1] == "3 texts, 1 neg, 1 pos; 1 without a label: 1 no text"


def test_an_out_file_is_written_whole_in_the_format_of_its_name(tiny: Path, tmp_path: Path) -> None:
    """A csv file has a column for each label; nothing is left beside the file."""
    (tmp_path / "in.txt").write_text("great\n\n", encoding="utf-8")
    out = tmp_path / "out.csv"
    assert main(["predict", "--bundle", str(tiny), str(tmp_path / "in.txt"), "--out", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        header, first, second = csv.reader(file)
    assert header == [
        *("file", "row", "label", "score", "neg", "pos", "unsure", "unknown", "tokens", "truncated", "reason"),
    ]
    assert first[1:3] == ["1", "pos"]
    assert float(first[5]) == pytest.approx(positive_probability("great"), abs=1e-5)
    assert first[6:] == ["", "0.0", "3", "False", ""]
    assert second[2:] == ["", "", "", "", "", "", "0", "False", "no text"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out.csv"]


@pytest.fixture(scope="module")
def unsure(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, with answers below 0.9 marked unsure."""
    calibration = {
        "temperature": 1.0,
        "threshold": 0.9,
        "target_precision": 0.95,
        "unsure": 0.5,
        "variant": "fp32",
        "ece_before": 0.1,
        "ece_after": 0.1,
        "data": {"file": "held.xlsx", "sha256": "0" * 64, "rows": 100},
    }
    return seal(Path(shutil.copytree(tiny, tmp_path_factory.mktemp("unsure") / "bundle")), calibration=calibration)


def table_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of predictions; None for an empty cell."""
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [line | line.pop("probabilities") | line.pop("columns") for line in lines]
    if path.suffix == ".parquet":
        import pyarrow.parquet

        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        return rows
    if path.suffix == ".xlsx":
        import openpyxl

        header, *cells = openpyxl.load_workbook(path)["predictions"].iter_rows()
        assert {cell.data_type for row in cells for cell in row} <= {"n", "s", "b", "d"}  # no formula
        return [{str(name.value): cell.value for name, cell in zip(header, row, strict=True)} for row in cells]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".xlsx", ".parquet"])
@pytest.mark.parametrize("with_text", [False, True])
def test_every_format_has_the_other_columns_and_what_is_unsure(
    unsure: Path, tmp_path: Path, suffix: str, with_text: bool
) -> None:
    """Ids and all other input columns; the text only on request; an input column whose name is taken is renamed."""
    texts = ["great great", "the film was moving", "bad"]
    data = [("id", "Reviews", "label"), *zip(["=7", "b", "c"], texts, ["x", "y", "z"], strict=True)]
    source = tmp_path / "in.csv"
    source.write_text("\n".join(",".join(row) for row in data), encoding="utf-8")
    out = tmp_path / f"out{suffix}"
    options = ["--with-text"] if with_text else []
    assert main(["predict", "--bundle", str(unsure), str(source), "--out", str(out), *options]) == 0
    found = table_of(out)
    taken = "label" if suffix == ".jsonl" else "input_label"  # in JSON the input has an object of its own
    assert [str(row["id"]) for row in found] == ["=7", "b", "c"]
    assert [row[taken] for row in found] == ["x", "y", "z"]
    assert [int(row["row"]) for row in found] == [2, 3, 4]
    assert [float(row["pos"]) for row in found] == pytest.approx(
        [positive_probability(text) for text in texts], abs=1e-5
    )
    # 0.9975, 0.8176 and 0.8808
    assert [str(row["unsure"]) for row in found] == ["False", "True", "True"]
    assert [row.get("text") for row in found] == (texts if with_text else [None] * 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", out.name]


def test_text_output_marks_what_is_unsure(unsure: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A third field, and only on such a line."""
    source = write(tmp_path / "in.txt", b"great great\nbad\n")
    assert main(["predict", "--bundle", str(unsure), source]) == 0
    assert capsys.readouterr().out == "pos\t0.9975\nneg\t0.8808\tunsure\n"


def test_columns_of_several_types_are_written_to_parquet_as_text(tiny: Path, tmp_path: Path) -> None:
    """A spreadsheet has numbers and words in one column, and parquet has one type."""
    table = [("text", "stars", "when"), ("great", 9, datetime(2026, 1, 2)), ("bad", "none", None)]
    source = write_table(tmp_path / "in.xlsx", table)
    for suffix in (".parquet", ".xlsx"):
        out = tmp_path / f"out{suffix}"
        assert main(["predict", "--bundle", str(tiny), str(source), "--out", str(out)]) == 0
        first, second = table_of(out)
        assert [str(first["stars"]), second["stars"]] == ["9", "none"]
        assert (str(first["when"]), second["when"]) == ("2026-01-02 00:00:00", first["reason"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "out.json"], "out.json: name a file with .jsonl, .csv, .tsv, .txt, .xlsx, .parquet, or the format"),
        (["--out", "out.xls"], "or the format with --format"),
        (["--out", "out.xlsx", "--format", "csv"], "out.xlsx would hold csv under that name"),
        (["--out", "out.csv", "--format", "parquet"], "out.csv would hold parquet under that name"),
        (["--format", "xlsx"], "xlsx is written to a file: name one with --out"),
    ],
)
def test_a_format_that_does_not_fit_the_name_of_the_file_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    """Before the model is loaded; a program that opens the file would fail on it."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.txt", b"great\n")
    assert message in refusal(capsys, ["--bundle", "none", "in.txt", *options])
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]


def test_several_threads_may_share_a_predictor(predictor: Predictor) -> None:
    """Each gets the answers to its own texts."""
    texts = [["good " * (thread % 4) + "film" + " bad" * (number % 3) for number in range(40)] for thread in range(8)]
    alone = [predictor.predict_proba(part) for part in texts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(predictor.predict_proba, texts * 5))
    for found, expected in zip(together, alone * 5, strict=True):
        assert found == pytest.approx(expected, abs=1e-5)
    # And no two of them are ever inside of the classifier, which is for one thread
    inside, most = 0, 0
    classify = predictor._classifier.classify

    def counting(texts: Sequence[str]) -> Classified:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        result = classify(texts)
        inside -= 1
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor._classifier, "classify", counting)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(predictor.predict, texts * 5))
    assert most == 1


def test_the_repr_of_a_predictor_names_its_model(tiny: Path) -> None:
    """Its repr, as in a notebook or a traceback."""
    with Predictor.load(tiny) as predictor:
        assert repr(predictor) == "<Predictor tiny 1, fp32: neg, pos>"
    assert repr(predictor) == "<Predictor tiny 1, fp32: neg, pos, closed>"
    predictor.close()  # a second time: nothing


def test_ctrl_c_keeps_what_was_labelled_and_says_where(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupted run leaves no file that looks whole."""
    from training.io.progress import ProgressBar

    class Interrupting(ProgressBar):
        def update(self, done: int, note: str = "") -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("training.measure.answering.label_files.ProgressBar", Interrupting)
    (tmp_path / "in.txt").write_text("great\n" * 3, encoding="utf-8")
    out = tmp_path / "out.txt"
    assert main(["predict", "--bundle", str(tiny), str(tmp_path / "in.txt"), "--out", str(out)]) == 130
    assert not out.exists()
    assert f"is in {out}.partial" in capsys.readouterr().err
    assert len((tmp_path / "out.txt.partial").read_text().splitlines()) == 3


def test_a_reader_that_has_seen_enough_ends_it_quietly(tiny: Path, tmp_path: Path) -> None:
    """`predict | head` ends without a stack trace."""
    (tmp_path / "in.txt").write_text("great\n" * 20_000, encoding="utf-8")
    command = [sys.executable, "-m", "training.cli", "predict", "--bundle", str(tiny), str(tmp_path / "in.txt")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "pos\t0.9526\n"
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == OUTPUT_CLOSED
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


def test_a_pipe_and_a_link_are_written_to_and_not_replaced(tiny: Path, tmp_path: Path) -> None:
    """As /dev/stdout is; what a link stands for gets the lines, whole or not at all."""
    (tmp_path / "in.txt").write_text("great\n", encoding="utf-8")
    command = ["predict", "--bundle", str(tiny), str(tmp_path / "in.txt"), "--out"]
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    target.write_text("before")
    link.symlink_to(target)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        assert main([*command, str(pipe)]) == 0
        assert read.result(timeout=30) == "pos\t0.9526\n"
    assert main([*command, str(link)]) == 0
    assert link.is_symlink()
    assert target.read_text() == "pos\t0.9526\n"
    assert pipe.is_fifo()


def write(path: Path, content: bytes) -> str:
    """`path` with `content`, as an argument."""
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "does not exist"),
        ("", None, "is a directory: give a file named .xlsx, "),
        ("r.xls", b"x", "cannot be read as .xls (CalamineError)"),
        ("r.docx", b"x", "supported are .xlsx, .xlsm, .xls, "),
        ("r.xlsx", b"PK no zip", "cannot be read as .xlsx"),
        ("r.parquet", b"PAR1 no parquet", "cannot be read as .parquet"),
        ("r.csv", b"", "is empty"),
        ("r.csv", b"id,stars\n1,2\n", "name the column of texts with --text-column"),
        ("r.txt", "great".encode("utf-16-le"), "name its encoding, as in --encoding utf-16-le"),
        ("r.csv.gz", b"no gzip", "cannot be read as .csv.gz (BadGzipFile)"),
        ("r.xlsx.gz", b"x", "unpack it; .csv, .tsv, "),
        ("r.csv", b'text\n"great\n' + b'a"b', "double the quotation marks"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, message: str
) -> None:
    """One line; the bundle, which does not exist, is not even looked for."""
    file = str(tmp_path / name) if content is None else write(tmp_path / name, content)
    assert message in refusal(capsys, ["--bundle", str(tmp_path / "none"), file])


def test_a_named_column_that_is_missing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message lists those that are there; a named one is used whatever the others are called."""
    file = write(tmp_path / "r.csv", b"text,body\ngreat,awful\n")
    command = ["--bundle", str(tmp_path / "none"), file, "--text-column", "Body"]
    assert "lacks the column 'Body'; it has 'text', 'body'" in refusal(capsys, command)


def test_a_named_column_wins_over_a_guessed_one(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--text-column is obeyed in tables and in jsonl."""
    table = write(tmp_path / "r.csv", b"text,body\ngreat,awful\n")
    lines = write(tmp_path / "r.jsonl", b'{"text": "great", "body": "awful"}\n{"text": "great"}\n')
    rows = rows_of(capsys, ["--bundle", str(tiny), table, lines, "--text-column", "body"])
    assert [(row["label"], row["reason"]) for row in rows] == [
        ("neg", None),
        ("neg", None),
        (None, "no field body"),
    ]


def test_a_call_that_labels_nothing_is_an_error(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a misspelt field of jsonl, which no header lists: each row is written with its reason, the exit code is 2."""
    lines = write(tmp_path / "r.jsonl", b'{"text": "great"}\n{"text": "bad"}\n')
    out = tmp_path / "out.jsonl"
    command = ["--bundle", str(tiny), lines, "--text-column", "body", "--out", str(out)]
    said = "nothing was labelled: 2 texts; 2 without a label: 2 no field body"
    assert main(["predict", *command]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert [json.loads(line)["reason"] for line in out.read_text().splitlines()] == ["no field body"] * 2
    # One label is enough, and no text is none
    some = write(tmp_path / "some.jsonl", b'{"text": "great"}\n{"body": "bad"}\n')
    assert len(rows_of(capsys, ["--bundle", str(tiny), some])) == 2
    assert "nothing was labelled: 0 texts" in refusal(capsys, ["--bundle", str(tiny), write(tmp_path / "e.txt", b"")])


def test_an_out_that_would_destroy_its_input_is_refused(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor may --out be a directory or stand in none."""
    file = write(tmp_path / "r.txt", b"great\n")
    command = ["--bundle", str(tiny), file, "--out"]
    assert f"--out {file} is also the file {file}" in refusal(capsys, [*command, file])
    manifest = tiny / "manifest.json"
    assert f"--out {manifest} is in --bundle {tiny}" in refusal(capsys, [*command, str(manifest)])
    assert "is a directory" in refusal(capsys, [*command, str(tmp_path)])
    assert "directory does not exist" in refusal(capsys, [*command, str(tmp_path / "no" / "out.csv")])
    assert (tmp_path / "r.txt").read_bytes() == b"great\n"


def test_a_keyboard_is_not_waited_for(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without files and without a pipe the command says what it needs."""
    pipe = Pipe(b"")
    monkeypatch.setattr(pipe, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", pipe)
    assert "give the files to label" in refusal(capsys, ["--bundle", str(tiny)])
    monkeypatch.setattr(sys, "stdin", Pipe(b""))
    assert "once only" in refusal(capsys, ["--bundle", str(tiny), "-", "-"])
