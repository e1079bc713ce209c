"""Which characters `consumer.model.texts.cleaning.clean` replaces, as tables for `str.translate`."""

import unicodedata
from collections.abc import Iterable

Table = dict[int, str]


def _each(characters: Iterable[str | int], becomes: str) -> Table:
    return {each if isinstance(each, int) else ord(each): becomes for each in characters}


def _plain(*ranges: range) -> Table:
    """Compatible forms of single characters (NFKC), as of the full-width "A"."""
    return {code: unicodedata.normalize("NFKC", chr(code)) for each in ranges for code in each}


#: Controls and format characters that are never seen, and the signs that only choose how an emoji is drawn.
_UNSEEN = _each(
    [
        *range(0x09),
        *range(0x0E, 0x1C),
        0x1F,
        0x7F,
        *(0xAD, 0x061C, 0x180E, 0xFEFF, 0xFFFC),  # soft hyphen, Arabic letter mark, BOM, object
        *range(0x200B, 0x200C),
        *range(0x200E, 0x2010),  # direction marks; the joiners between them are `_IDLE_JOINERS`
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE0E, 0xFE10),
        *range(0xFFF9, 0xFFFC),
    ],
    "",
)

_BLANKS = _each([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_LINE_ENDS = _each([0x0B, 0x0C, 0x0D, *range(0x1C, 0x1F), 0x2028, 0x2029], "\n")

#: C1 controls are what is left of Windows-1252 that was read as ISO 8859-1; five of its bytes are no character.
_WINDOWS = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}

#: Letters and digits: full-width, half-width kana, and ligatures as in PDF.
_LETTERS = _plain(
    range(0xFF10, 0xFF1A),
    range(0xFF21, 0xFF3B),
    range(0xFF41, 0xFF5B),
    range(0xFF66, 0xFFA0),
    range(0xFB00, 0xFB07),
)

#: Mathematical alphabets, which some people use as fonts.
FONTS = _plain(range(0x1D400, 0x1D800))

#: Characters that NFC replaces by one of ASCII. Here it is done before anything looks for that one.
_SINGLETONS = {0x037E: ";", 0x1FEF: "`", 0x212A: "K"}

#: Punctuation that word processors and phones put in the place of what was typed.
_TYPOGRAPHIC = (
    _each("\u2018\u2019\u201a\u201b\u2032\u2039\u203a\u00b4\u02bc", "'")
    | _each("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"')
    | _each("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
    | _each("\u2026", "...")
)

#: Full-width punctuation and currencies, without those letters and digits that `_LETTERS` has.
_WIDE = _plain(range(0xFF01, 0xFF5F), range(0xFFE0, 0xFFE3), range(0xFFE5, 0xFFE7))

#: For every text.
ALWAYS: Table = _UNSEEN | _BLANKS | _LINE_ENDS | _LETTERS | _SINGLETONS | _WINDOWS

#: For a text without Chinese, Japanese or Korean.
UNLESS_EAST_ASIAN: Table = _WIDE | _TYPOGRAPHIC | ALWAYS
for _table in (ALWAYS, UNLESS_EAST_ASIAN):
    _table.update({code: meant.translate(_table) for code, meant in _WINDOWS.items()})
