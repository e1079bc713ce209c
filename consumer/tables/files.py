"""Opening files: compressed ones, those in other encodings, and lines so long that they would fill the memory."""

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar

from consumer.errors import UsageError

#: Suffixes of compressed text files, which are read as they are unpacked.
COMPRESSED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

#: Characters of the longest line, and of the largest cell. A small compressed file can hold a line of any length.
LONGEST = 2**26

#: Bytes at the start of a file from which its encoding is guessed.
_SAMPLE = 4096

#: What a file in UTF-16 or UTF-32 begins with. In little endian UTF-32 begins as UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Line = TypeVar("Line", str, bytes)


def format_of(path: Path) -> str:
    """The suffix that names the format, in lower case, without that of a compression: .csv of R.CSV.gz."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix


def name_of_format(path: Path) -> str:
    """What `path` is named as: .csv.gz of R.csv.gz; nothing of a directory."""
    return f"{format_of(path)}{path.suffix}" if is_compressed(path) else path.suffix


def is_compressed(path: Path) -> bool:
    """Whether `path` is named as a compressed file."""
    return path.suffix.lower() in COMPRESSED


def open_bytes(path: Path) -> IO[bytes]:
    """`path`, unpacked as it is read."""
    file: IO[bytes] = COMPRESSED.get(path.suffix.lower(), open)(path, "rb")
    return file


def open_text(path: Path, encoding: str | None, newline: str) -> TextIO:
    """`path` in `encoding`; None: as its byte order mark says, else UTF-8. Undecodable bytes become lone surrogates.

    Raises:
        UsageError: the encoding is unknown, or seems to be UTF-16 without a byte order mark.
    """
    encoding = encoding or encoding_of(path)
    file = open_bytes(path)
    try:
        return io.TextIOWrapper(file, encoding, errors="surrogateescape", newline=newline)
    except LookupError:
        file.close()
        raise UsageError(f"--encoding {encoding} is not an encoding of text: try utf-8, cp1252 or utf-16") from None


def encoding_of(path: Path) -> str:
    """UTF-16 or UTF-32 if a byte order mark says so, else UTF-8.

    Raises:
        UsageError: it has no such mark, but as many NUL bytes as UTF-16 has.
    """
    with open_bytes(path) as file:
        start = file.read(_SAMPLE)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    if len(start) >= 8 and start.count(0) > len(start) / 3:
        raise UsageError(
            f"{path} seems to be UTF-16 or UTF-32 without a byte order mark: name its encoding, as in --encoding "
            "utf-16-le"
        )
    return "utf-8-sig"


def lines_of(path: Path, file: IO[Line]) -> Iterator[Line]:
    """The lines of `file` with their ends.

    Raises:
        UsageError: one is longer than `LONGEST`.
    """
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise UsageError(f"{path} has a line of more than {LONGEST} characters: is it a file of texts?")
        yield line


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Whatever goes wrong with reading `path` becomes a `UsageError` of one line."""
    try:
        yield
    except UsageError:
        raise
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not {error.encoding} (byte {error.start}: {error.reason}): give a complete file, or name its "
            "encoding with --encoding"
        ) from error
    except Exception as error:  # zip, XML and parser errors of several libraries
        if reason := getattr(error, "strerror", None):  # the system's, not that of a library
            raise UsageError(f"{path} cannot be read ({reason})") from error
        raise UsageError(
            f"{path} cannot be read as {name_of_format(path) or 'a directory'} ({type(error).__name__}): give a "
            "complete file"
        ) from error
