"""Tables as people have them: what their spreadsheet shows is what is read, and what was guessed is reported."""

import gzip
import json
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from consumer.errors import UsageError
from consumer.tables import files
from consumer.tables.names import Columns
from consumer.tables.table import NO_HEADER, NO_SEPARATOR, Percentage, TableOptions
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_encoder import write_reviews, write_table
from training.cli import main
from training.data.prepare import DataOptions, prepare
from training.data.readers import read_table
from training.data.reviews import read_reviews
from training.data.texts import read_texts
from training.data.unlabeled import read_unlabeled

pytestmark = pytest.mark.training

HEADER = ("Reviews", "Sentiment")
ROWS = [(f"film number {i} was, all in all, {label}", label) for i in range(10) for label in ("neg", "pos")]
TEXTS = [text for text, _ in ROWS]


def workbook(path: Path, table: Sequence[Sequence[object]], change: Callable[[Any], None] = lambda _: None) -> Path:
    """An xlsx file of these rows after `change` was applied to its sheet."""
    book = openpyxl.load_workbook(write_table(path, table))
    change(book.active)
    book.save(path)
    return path


def separated(path: Path, lines: Sequence[str]) -> Path:
    """A file of these lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rewritten(path: Path, part: str, old: str, new: str) -> Path:
    """A workbook whose `part` has `new` in place of `old`."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert old.encode() in contents[part]
    contents[part] = contents[part].replace(old.encode(), new.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def write_ods(path: Path, sheets: dict[str, Sequence[Sequence[object]]]) -> Path:
    """A LibreOffice workbook; sheets whose name begins with a dot are hidden."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f'<table:table-cell office:value-type="float" office:value="{value}"/>'
        return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'

    tables = "".join(
        f'<table:table table:name="{name}" table:style-name="{"off" if name.startswith(".") else "on"}">'
        + "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
        + "</table:table>"
        for name, rows in sheets.items()
    )
    names = "urn:oasis:names:tc:opendocument:xmlns:"
    styles = "".join(
        f'<style:style style:name="{name}" style:family="table"><style:table-properties table:display="{shown}"/>'
        "</style:style>"
        for name, shown in (("on", "true"), ("off", "false"))
    )
    content = (
        f'<office:document-content xmlns:office="{names}office:1.0" xmlns:table="{names}table:1.0" '
        f'xmlns:style="{names}style:1.0" xmlns:text="{names}text:1.0" office:version="1.3">'
        f"<office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        manifest = f'<manifest:manifest xmlns:manifest="{names}manifest:1.0"/>'
        archive.writestr("META-INF/manifest.xml", manifest)
    return path


def texts_of(path: Path, column: str | None = None, **options: Any) -> tuple[list[Any], list[str]]:
    """The texts to be labelled, and what is said of the file."""
    said: list[str] = []
    rows = read_texts(str(path), column, said.append, TableOptions(**options))
    return [row.text for row in rows], [line.removeprefix(f"{path}: ") for line in said]


@pytest.mark.parametrize(
    ("above", "remarks"),
    [
        ([], ()),
        ([(None, None), (None, None)], ()),
        ([("Survey of October", None)], ("row 2 is taken as the header and row 1 is not read",)),
        ([("Reviews", None), (None, None)], ("row 3 is taken as the header and row 1 is not read",)),
        (
            [("Survey", None), ("Exported", "2026-10-01"), (None, None)],
            ("row 4 is taken as the header and the 2 filled rows above it are not read",),
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_rows_above_the_header_are_not_taken_for_it(
    tmp_path: Path, suffix: str, above: list[tuple[object, object]], remarks: tuple[str, ...]
) -> None:
    """Blank rows, titles and the like; rows keep the numbers that the spreadsheet shows, and a title is reported."""
    path, table = tmp_path / f"r{suffix}", [*above, HEADER, *ROWS]
    if suffix == ".xlsx":
        write_table(path, table)
    else:
        separated(path, [";".join("" if cell is None else str(cell) for cell in row) for row in table])
    reviews, (texts, said) = read_reviews(path), texts_of(path)
    assert list(reviews.texts) == texts == TEXTS
    assert reviews.place(0) == f"row {len(above) + 2}"
    found = [line.removesuffix("; choose another with --header-row") for line in reviews.remarks]
    assert found == list(remarks)
    assert [line for line in said if "header" in line] == list(reviews.remarks)


def test_a_title_is_passed_over_for_columns_of_any_name(tmp_path: Path) -> None:
    """Two columns of which one has a usual name, or which the user names."""
    path = write_table(tmp_path / "r.xlsx", [("Survey", None), ("review", "verdict"), *ROWS])
    assert read_reviews(path).columns == Columns("review", "verdict")
    path = write_table(tmp_path / "r.xlsx", [("Survey", None), ("what they wrote", "verdict"), *ROWS])
    with pytest.raises(UsageError, match=r"it has 'what they wrote', 'verdict': .*if row 2 is not the header"):
        read_reviews(path)
    reviews = read_reviews(path, Columns("what they wrote", "verdict"))
    assert (len(reviews), reviews.place(0)) == (20, "row 3")
    assert texts_of(path, "what they wrote")[0] == TEXTS


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_a_list_of_texts_without_a_header_loses_none_of_them(tmp_path: Path, suffix: str) -> None:
    """The first text is labelled, too, and the user learns how to say that it is a header; and the other way round."""

    def written(cells: Sequence[str]) -> Path:
        path = tmp_path / f"r{suffix}"
        return write_table(path, [(cell,) for cell in cells]) if suffix == ".xlsx" else separated(path, cells)

    plain = ["A warm and clever comedy", "A dull one", "Charming cast and lovely music"]
    texts, said = texts_of(written(plain))
    assert texts == plain
    assert said == [
        "row 1 ('A warm and clever comedy') is read as a text, not as a header; if it is one, give --header-row 1"
    ]
    assert texts_of(written(plain), header_row=1) == (plain[1:], [])
    # A name above texts is the header, also one that is not usual
    texts, said = texts_of(written(["Kommentar", *plain]))
    assert texts == plain
    assert said == ["row 1 ('Kommentar') is taken as the header; if it is a text, give --header-row none"]
    assert texts_of(written(["Kommentar", *plain]), header_row=NO_HEADER) == (["Kommentar", *plain], [])
    # In doubt nothing is lost
    short = ["Great", "awful", "content", "good film", "review"]
    assert texts_of(written(short))[0] == short
    assert texts_of(written(["Reviews", *short])) == (short, [])


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_labelled_rows_without_a_header_are_refused_with_advice(tmp_path: Path, suffix: str) -> None:
    """With the options that it names, columns have numbers, and the first row is one of the rows."""
    path = tmp_path / f"r{suffix}"
    if suffix == ".xlsx":
        write_table(path, ROWS)
    else:
        separated(path, [f'"{text}",{label}' for text, label in ROWS])
    for read, options in ((read_reviews, "--text-column 1 --label-column 2"), (texts_of, "--text-column 1")):
        with pytest.raises(UsageError, match=f"row 1 is not the header, .*--header-row none .*, as in {options}"):
            read(path)
    reviews = read_reviews(path, Columns("1", "2"), options=TableOptions(header_row=NO_HEADER))
    assert list(zip(reviews.texts, reviews.labels, strict=True)) == ROWS
    assert reviews.place(0) == "row 1"
    assert texts_of(path, "1", header_row=NO_HEADER)[0] == TEXTS
    with pytest.raises(UsageError, match=r"--header-row 99: .* has no filled row of this number"):
        read_reviews(path, options=TableOptions(header_row=99))


def test_one_sheet_is_read_and_the_others_are_reported(tmp_path: Path) -> None:
    """The first one that Excel shows, or the one that the user names or numbers."""
    book = openpyxl.Workbook()
    hidden, shown, more = book.active, book.create_sheet("Data"), book.create_sheet("More")
    assert hidden is not None
    hidden.title, hidden.sheet_state = "Codes", "hidden"
    for sheet, rows in ((hidden, [("Reviews", "x")]), (shown, ROWS), (more, ROWS[:16])):
        for row in (HEADER, *rows):
            sheet.append(row)
    book.save(path := tmp_path / "r.xlsx")
    remark = "only the first visible sheet, 'Data', of 3 (1 hidden) is read; choose another with --sheet"
    assert (len(read_reviews(path)), read_reviews(path).remarks) == (20, (remark,))
    assert remark in texts_of(path)[1]
    for name in ("More", "3"):
        reviews = read_reviews(path, options=TableOptions(sheet=name))
        assert (len(reviews), reviews.remarks) == (16, ())
        assert len(texts_of(path, sheet=name)[0]) == 16
    with pytest.raises(UsageError, match="lacks the sheet 'data'; it has 'Codes', 'Data', 'More': choose with --sheet"):
        read_reviews(path, options=TableOptions(sheet="data"))


@pytest.mark.parametrize("cover", [[], [("This file was made by us",)], [("About", "Made by"), ("this", "us")]])
def test_a_cover_page_is_not_read_in_place_of_the_reviews(tmp_path: Path, cover: list[tuple[str, ...]]) -> None:
    """If another sheet has the columns, the user is asked for it; its lines are not labelled as reviews."""
    path = write_table(tmp_path / "r.xlsx", cover)
    book = openpyxl.load_workbook(path)
    for row in (HEADER, *ROWS):
        book.create_sheet("Data").append(row) if "Data" not in book.sheetnames else book["Data"].append(row)
    book.save(path)
    for read in (read_reviews, texts_of):
        with pytest.raises(
            UsageError, match=r"the first, 'Sheet', has no column .* but 'Data' has: choose it with --sheet"
        ):
            read(path)
    assert texts_of(path, sheet="Data")[0] == TEXTS


def test_hidden_rows_are_read_and_reported(tmp_path: Path) -> None:
    """What a filter hides is there all the same; hidden rows without content do not count."""

    def hide(sheet: Any) -> None:
        for row in (1, 5, 6, 21, 30):
            sheet.row_dimensions[row].hidden = True
        sheet["A30"] = " "

    path = workbook(tmp_path / "r.xlsx", [HEADER, *ROWS], hide)
    remark = "3 of the 20 rows are hidden in the spreadsheet; they are read like the others"
    assert (len(read_reviews(path)), read_reviews(path).remarks) == (20, (remark,))
    assert remark in texts_of(path)[1]


def test_a_merged_label_is_that_of_all_its_rows(tmp_path: Path) -> None:
    """As the spreadsheet shows it; merged texts are not repeated."""
    table = [HEADER, *sorted(ROWS, key=lambda row: row[1]), ("last", "pos"), (None, "pos")]

    def merge(sheet: Any) -> None:
        sheet.merge_cells("B2:B11")
        sheet.merge_cells("A22:A23")

    reviews = read_reviews(workbook(tmp_path / "r.xlsx", table, merge))
    assert reviews.labels == ("neg",) * 10 + ("pos",) * 11
    assert reviews.remarks == ("9 cells that are merged with the one above have its content",)
    assert [str(bad) for bad in reviews.bad_rows] == ["row 23: no text"]


def test_a_wrong_size_of_a_sheet_hides_no_row(tmp_path: Path) -> None:
    """Some programs write a size that is too small; the rows are there."""
    path = write_table(tmp_path / "r.xlsx", [HEADER, *ROWS])
    rewritten(path, "xl/worksheets/sheet1.xml", '<dimension ref="A1:B21"', '<dimension ref="A1"')
    assert list(read_reviews(path).texts) == texts_of(path)[0] == TEXTS


def test_values_keep_their_kind(tmp_path: Path) -> None:
    """A percentage is a number that shows as one; errors of formulas are no content, and blank rows are rows."""

    def change(sheet: Any) -> None:
        sheet["A2"].number_format = "0%"
        sheet["A3"].number_format = "0.00%"
        sheet["A4"].data_type = "e"

    table = [("Reviews",), (1,), (0.125,), ("#N/A",), (True,), (None,), (7,)]
    cells = read_table(workbook(tmp_path / "r.xlsx", table, change), Columns(label="Reviews")).columns["Reviews"]
    assert cells == [1, 0.125, None, True, None, 7]
    assert [type(cell) for cell in cells[:2]] == [Percentage, Percentage]
    assert list(map(str, cells[:2])) == ["100%", "12.5%"]


@pytest.mark.parametrize(
    "lines",
    [
        ["sep=;", "Reviews;Sentiment", *(f'"{text}";{label}' for text, label in ROWS)],
        ['"SEP=|"', "Reviews|Sentiment", *("|".join(row) for row in ROWS)],
        ["Reviews|Sentiment", *("|".join(row) for row in ROWS)],
        ["Reviews\tSentiment", *("\t".join(row) for row in ROWS)],
        ['Reviews, "Sentiment"', *(f'"{text}", "{label}"' for text, label in ROWS)],
        ['"Reviews (as sent, not edited)";Sentiment', *(f'"{text}";{label}' for text, label in ROWS)],
        ["Reviews, as sent;Sentiment", *(f"{text};{label}" for text, label in ROWS)],
        ['"Reviews;\nas sent",Sentiment', *(f'"{text}",{label}' for text, label in ROWS)],
    ],
)
def test_the_separator_is_found(tmp_path: Path, lines: list[str]) -> None:
    """Excel's hint, bars and tabs, blanks before quotation marks, other separators and line breaks in a header."""
    path = separated(tmp_path / "r.csv", lines)
    reviews = read_reviews(path)
    assert list(zip(reviews.texts, reviews.labels, strict=True)) == ROWS
    text = reviews.columns.text
    assert texts_of(path, text)[0] == TEXTS
    assert reviews.place(0) == "row 2"  # the hint is no row
    assert text is not None
    assert read_reviews(path, Columns(text.replace("\n", " "), "Sentiment")).columns == reviews.columns


def test_a_separator_can_be_given(tmp_path: Path) -> None:
    """The refusal names the option; none is for lists of texts with commas."""
    path = separated(tmp_path / "r.csv", ["Reviews^Sentiment", *(f"{text}^{label}" for text, label in ROWS)])
    with pytest.raises(UsageError, match=r"lacks the column .*separates the cells\), give --separator"):
        read_reviews(path)
    assert list(read_reviews(path, options=TableOptions(separator="^")).texts) == TEXTS
    path = separated(tmp_path / "r.csv", ["Good, but slow", "Bad, but fast", "Nothing, really"])
    with pytest.raises(UsageError, match="give --separator"):
        texts_of(path)
    assert texts_of(path, separator=NO_SEPARATOR)[0] == ["Good, but slow", "Bad, but fast", "Nothing, really"]
    # Commas in as many rows as semicolons: the usual names decide
    rows = [f"one or two, {i};{label}" for i, (_, label) in enumerate(ROWS)]
    assert len(read_reviews(separated(tmp_path / "r.csv", ["Survey, 2026", "Reviews;Sentiment", *rows]))) == 20
    # A name alone in its line heads one column, whatever is in the texts
    path = separated(tmp_path / "r.csv", ["Reviews", "Good; but slow", "Bad; but fast"])
    assert texts_of(path) == (["Good; but slow", "Bad; but fast"], [])


def test_an_encoding_can_be_given(tmp_path: Path) -> None:
    """In files and in folders of texts; the refusal names the option."""
    (tmp_path / "r.csv").write_text("\n".join(["text,label", *(f"café {i},{i % 2}" for i in range(40))]), "cp1252")
    for number in range(40):
        folder = tmp_path / "folders" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"café {number}", "cp1252")
    for name in ("r.csv", "folders"):
        with pytest.raises(UsageError, match="name its --encoding"):
            read_reviews(tmp_path / name)
        reviews = read_reviews(tmp_path / name, options=TableOptions(encoding="cp1252"))
        assert sorted(reviews.texts) == sorted(f"café {i}" for i in range(40))
    assert texts_of(tmp_path / "r.csv", encoding="cp1252")[0][0] == "café 0"
    with pytest.raises(UsageError, match="--encoding klingon is not an encoding of text"):
        texts_of(tmp_path / "r.csv", encoding="klingon")
    with pytest.raises(UsageError, match=r"is not utf-32-le .* name its encoding with --encoding"):
        texts_of(tmp_path / "r.csv", encoding="utf-32-le")


def test_workbooks_that_cannot_be_read_are_refused_by_their_kind(tmp_path: Path) -> None:
    """Encrypted, Strict, older than its name: what to do is said in one line."""
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
    (tmp_path / "encrypted.xlsx").write_bytes(ole + "EncryptedPackage".encode("utf-16-le"))
    (tmp_path / "old.xlsx").write_bytes(ole)
    strict = write_table(tmp_path / "strict.xlsx", [HEADER, *ROWS])
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rewritten(strict, "xl/workbook.xml", main, "http://purl.oclc.org/ooxml/spreadsheetml/main")
    for name, message in (
        ("encrypted.xlsx", "is protected by a password: save it without one"),
        ("old.xlsx", "is in Excel's format of before 2007"),
        ("strict.xlsx", "is Strict Open XML: save it as an ordinary Excel workbook"),
    ):
        for read in (read_reviews, texts_of):
            with pytest.raises(UsageError, match=message) as refused:
                read(tmp_path / name)
            assert "\n" not in str(refused.value)


def test_warnings_of_the_library_are_not_shown(tmp_path: Path) -> None:
    """Openpyxl warns of every extension that it does not know; here a warning would be an error."""
    path = write_table(tmp_path / "r.xlsx", [HEADER, *ROWS])
    extension = '<extLst><ext uri="{CCE6A557-97BC-4B89-ADB6-D9C93CAAB3DF}"/></extLst></worksheet>'
    rewritten(path, "xl/worksheets/sheet1.xml", "</worksheet>", extension)
    assert list(read_reviews(path).texts) == texts_of(path)[0] == TEXTS


def test_other_formats_are_read(tmp_path: Path) -> None:
    """.xlsm, .ods, compressed text, and JSON in a list or in lines."""
    records = [dict(zip(HEADER, row, strict=True)) for row in ROWS]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_table(tmp_path / "r.xlsx", [HEADER, *ROWS]).rename(tmp_path / "r.xlsm")
    write_ods(tmp_path / "r.ods", {"Data": [HEADER, *ROWS]})
    with gzip.open(tmp_path / "r.csv.gz", "wt") as file:
        file.write("Reviews,Sentiment\n" + "".join(f'"{text}",{label}\n' for text, label in ROWS))
    with gzip.open(tmp_path / "r.tsv.gz", "wt") as file:
        file.write("Reviews\tSentiment\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS))
    with gzip.open(tmp_path / "R.JSONL.GZ", "wt") as file:
        file.write(lines)
    (tmp_path / "list.json").write_text(" \n" + json.dumps(records, indent=1))
    (tmp_path / "lines.json").write_text(lines)
    (tmp_path / "r.ndjson").write_text(lines)
    read = [path.name for path in sorted(tmp_path.iterdir()) if list(read_reviews(path).texts) == TEXTS]
    assert read == sorted(path.name for path in tmp_path.iterdir() if texts_of(path)[0] == TEXTS)
    assert len(read) == 8
    (tmp_path / "list.json").write_text(json.dumps({"data": records}, indent=1))
    with pytest.raises(UsageError, match="is one object over many lines: give a list of objects"):
        read_reviews(tmp_path / "list.json")
    (tmp_path / "list.json").write_text(json.dumps(records)[:-9])
    with pytest.raises(UsageError, match=r"is not a list in JSON: .* line 1, character "):
        read_reviews(tmp_path / "list.json")


def test_an_ods_workbook_is_read_as_an_xlsx_one(tmp_path: Path) -> None:
    """Its first visible sheet; whole numbers have no fraction."""
    rows = [(text, float(label == "pos")) for text, label in ROWS]
    path = write_ods(tmp_path / "r.ods", {".codes": [("x",)], "Data": [("Survey",), HEADER, *rows], "Y": [("y",)]})
    reviews = read_reviews(path)
    assert (reviews.label_names, reviews.place(0)) == (("0", "1"), "row 3")
    assert len(reviews.remarks) == 2
    assert "only the first visible sheet, 'Data', of 3 (1 hidden) is read" in reviews.remarks[0]


def test_only_the_columns_that_are_needed_are_read(tmp_path: Path) -> None:
    """Of a wide file texts, labels and stars; all its columns are listed if one of these is missing."""
    import pyarrow
    import pyarrow.parquet

    wide = {"id": [7] * 20, "text": TEXTS, "label": [label for _, label in ROWS], "stars": [5] * 20}
    vectors = [[0.5] * 8] * 20
    pyarrow.parquet.write_table(pyarrow.table(wide | {"vector": vectors}), tmp_path / "r.parquet")
    write_table(tmp_path / "r.xlsx", [tuple(wide), *zip(*wide.values(), strict=True)])
    for name in ("r.xlsx", "r.parquet"):
        table = read_table(tmp_path / name)
        assert set(table.columns) == {"text", "label", "stars"}
        assert set(wide) <= set(table.names)
        with pytest.raises(UsageError, match="lacks the column 'plot'; it has 'id', 'text', 'label', 'stars'"):
            read_reviews(tmp_path / name, Columns("plot", "label"))
    missing = read_table(tmp_path / "r.parquet", Columns("plot", "label"))
    assert "vector" in missing.names
    assert "vector" not in missing.columns
    rows = list(read_texts(str(tmp_path / "r.parquet"), None, with_others=False))
    assert ([row.text for row in rows], rows[0].others) == (TEXTS, {})
    assert set(next(read_texts(str(tmp_path / "r.parquet"), None)).others) == {"id", "label", "stars", "vector"}


def test_labels_are_renamed_and_numbers_are_in_their_order(tmp_path: Path) -> None:
    """Files that spell their labels in different ways can be used together; 10 comes after 9."""
    labels = [label for label in ("1", "positive", "neg") for _ in range(8)]
    path = write_table(tmp_path / "r.xlsx", [HEADER, *((f"film {i}", label) for i, label in enumerate(labels))])
    renamed = read_reviews(path, options=TableOptions(labels={"1": "pos", "positive": "pos"}))
    assert (renamed.label_names, renamed.labels.count("pos")) == (("neg", "pos"), 16)
    numbers = [(f"film {i}", str(i % 11 - 1)) for i in range(110)]
    path = write_table(tmp_path / "r.xlsx", [HEADER, *numbers])
    assert read_reviews(path).label_names == ("-1", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    path = write_table(tmp_path / "r.xlsx", [HEADER, *((text, str(int(label) + 2)) for text, label in numbers)])
    assert read_reviews(path).label_names[-3:] == ("9", "10", "11")


def test_a_small_file_that_unpacks_to_a_large_one_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are streamed, a line without an end is refused, and so is a workbook of unreasonable size."""
    row = ("a film like any other, " * 20 + ";pos\n") * 2_000
    with gzip.open(tmp_path / "r.csv.gz", "wt", compresslevel=1) as file:
        file.write("text;label\n")
        for _ in range(40):
            file.write(row)
    tracemalloc.start()
    count = sum(1 for _ in read_texts(str(tmp_path / "r.csv.gz"), None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 80_000
    assert peak < 8 * 2**20 < 40 * len(row)
    monkeypatch.setattr(files, "LONGEST", 2**16)
    for name in ("line.csv.gz", "line.jsonl.gz", "line.txt.gz"):
        with gzip.open(tmp_path / name, "wb") as packed:
            packed.write(b"a" * 2**20)
        with pytest.raises(UsageError, match="has a line of more than 65536 characters"):
            texts_of(tmp_path / name)
    monkeypatch.setattr("consumer.tables.workbooks.LARGEST_WORKBOOK", 2**10)
    with pytest.raises(UsageError, match="unpacks to more than 1024 bytes"):
        read_reviews(write_table(tmp_path / "r.xlsx", [HEADER, *ROWS]))


COMMANDS = ("inspect", "lr-find", "fit", "distil", "evaluate", "calibrate", "compare", "predict")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_reads_tables_has_the_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A message may name any of them; only predict reads no labels."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    options = ["--text-column", "--sheet", "--header-row", "--separator", "--encoding"]
    assert [option for option in options if f"{option} " not in shown] == []
    assert ("--labels " in shown) == (command != "predict")


def test_the_commands_read_with_the_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels of other names, and a sheet whose header is its third row: from the command line to the rows."""
    spelt = {"neg": "bad", "pos": "good"}
    book = openpyxl.Workbook()
    sheet = book.create_sheet("Data")
    for row in [("a", "b"), ("c", "d"), HEADER, *((f"the {text} film", spelt[label]) for text, label in ROWS)]:
        sheet.append(row)
    book.save(path := tmp_path / "r.xlsx")
    options = ["--sheet", "Data", "--header-row", "3"]
    labels = ["--labels", "bad=neg,good=pos"]
    bundle = str(write_tiny_bundle(tmp_path / "bundle"))
    assert main(["inspect", str(path), *options, *labels, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["labels"] == {"neg": 10, "pos": 10}
    assert main(["evaluate", "--bundle", bundle, "--data", str(path), *options, *labels, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 20
    assert main(["predict", "--bundle", bundle, str(path), *options, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["row"] for row in rows] == [*range(4, 24)]
    lines = separated(tmp_path / "r.csv", [f"{text.replace(',', '')}\t{label}" for text, label in ROWS])
    options = ["--header-row", "none", "--separator", "tab", "--encoding", "ascii", "--text-column", "1"]
    assert main(["predict", "--bundle", bundle, str(lines), *options, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["columns"] for row in rows] == [{"2": label} for _, label in ROWS]


@pytest.mark.parametrize(
    "wrong",
    [("--labels", "pos"), ("--labels", "=pos"), ("--header-row", "0"), ("--separator", "::"), ("--encoding", "x")],
)
def test_an_option_without_meaning_is_refused(wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before a file is looked for."""
    with pytest.raises(SystemExit) as refused:
        main(["inspect", "none.csv", *wrong])
    assert refused.value.code == 2
    assert f"argument {wrong[0]}: invalid" in capsys.readouterr().err


def test_texts_without_labels_are_read_alike(tmp_path: Path) -> None:
    """What distil trains on as well: the same options and the same remarks, with the name of its own option."""
    train, test = (write_reviews(tmp_path / f"{seed}.xlsx", 40, seed=seed) for seed in (1, 2))
    data = prepare(train, test, DataOptions(max_overlap=1), lambda _: None)
    said: list[str] = []
    path = separated(tmp_path / "more.csv", [text.replace(",", "") for text in TEXTS])
    assert len(read_unlabeled(path, None, data, DataOptions(), said.append)) == 20
    assert any("is read as a text, not as a header; if it is one, give --header-row 1" in line for line in said)
    path = write_table(tmp_path / "more.xlsx", [("text", "body"), *ROWS])
    read_unlabeled(path, None, data, DataOptions(), said.append)
    assert any("choose another column with --unlabeled-column" in line for line in said)
    with pytest.raises(UsageError, match="lacks the sheet 'x'"):
        read_unlabeled(path, None, data, DataOptions(table=TableOptions(sheet="x")), said.append)
