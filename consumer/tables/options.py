"""The flags that say how a table is read, for every program that reads one."""

import argparse

from consumer.tables.table import NO_HEADER, NO_SEPARATOR, TableOptions


def add_reading(parser: argparse._ActionsContainer) -> None:
    """Flags for a file that is not read rightly."""
    parser.add_argument(
        "--sheet", metavar="NAME", help="name or number of the sheet of a workbook (default: the first visible one)"
    )
    parser.add_argument(
        "--header-row",
        type=row_number,
        metavar="N",
        help="row of a spreadsheet, csv or tsv file that names the columns, or none: then columns are numbered from 1 "
        "(default: the first row with usual names)",
    )
    parser.add_argument(
        "--separator",
        type=separator,
        metavar="CHAR",
        help="separator of csv and tsv files, tab, or none if they have one column (default: guessed)",
    )
    parser.add_argument(
        "--encoding",
        type=encoding,
        metavar="NAME",
        help="encoding of text files, such as cp1252 (default: UTF-8, or what a byte order mark says)",
    )


def reading(arguments: argparse.Namespace) -> TableOptions:
    """How tables are read, as given on the command line."""
    return TableOptions(arguments.sheet, arguments.header_row, arguments.separator, arguments.encoding)


def row_number(text: str) -> int:
    """The number of a row, or `NO_HEADER`, as argparse reads it."""
    return NO_HEADER if text == "none" else count(text)


def separator(text: str) -> str:
    """One character, as argparse reads it; a tab is hard to type."""
    character = {"tab": "\t", "\\t": "\t", "none": NO_SEPARATOR}.get(text, text)
    if len(character) != 1 or character in '"\r\n':
        raise ValueError
    return character


def encoding(text: str) -> str:
    """An encoding of text that Python knows, as argparse reads it."""
    try:
        "a".encode(text)
    except LookupError:
        raise ValueError from None
    return text


def count(text: str) -> int:
    """A number of things, at least one, as argparse reads it."""
    if (number := int(text)) < 1:
        raise ValueError
    return number
