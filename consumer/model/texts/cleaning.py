"""What a text is, the same for the worker, for training and for every check: three questions, one answer each.

    clean       what a model reads of a text
    normalised  what two texts that count as the same have in common
    is_blank    what is no text

`clean` removes what an editor, a web page or a keyboard did to a text, so that it changes no label. What might tell two
texts apart stays: case, emoji, punctuation, symbols, accents, fractions and superscripts.
"""

import re
import unicodedata
from html import unescape
from html.entities import html5
from typing import Literal

from consumer.model.texts.tables import ALWAYS, FONTS, UNLESS_EAST_ASIAN

#: Rules by which a text is cleaned; a bundle is served by those that it was made and measured with. 1: only `<br>`;
#: 4: none, for a model that others trained on texts as they are. Numbers are those of formats, and 3 is a cascade.
TextRules = Literal[1, 2, 4]

LATEST: TextRules = 2
AS_THEY_ARE: TextRules = 4

#: Rounds of references that are decoded; "&amp;amp;quot;" takes one. What is nested deeper was made to be. Also rounds
#: of joiners that are removed; where more are left to remove, all go.
ROUNDS = 3

_OLD_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)

#: Only blanks within the tag: a line break in there may be one that took the place of another tag.
_BREAK = re.compile(r"</?(?:br|p)(?: [^<>\n]{0,100})?/?>", re.IGNORECASE)

#: In a text without any of these, nothing changes.
_SPECIAL = re.compile(r"[^\t\n -%'-;=-~]")

#: A character reference, and the ampersand in front of it where that was escaped again.
_REFERENCE = re.compile(
    r"&(?:(?:amp|#0{0,4}38|#x0{0,4}26);)*(#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE
)

#: Scripts whose own punctuation has full-width and curly forms: Hangul, kana, Bopomofo and Han. Left out are the few
#: letters that NFC moves out of these ranges.
_EAST_ASIAN = re.compile(
    "[\u1100-\u11ff\u3005-\u3007\u3040-\u312f\u3130-\u318f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufa6b\ufa70-\uface\uff66-\uffdc]"
)

#: The characters of each table. `re` looks them up in a bitmap: where few change, ten times as fast as `str.translate`.
_IN_ALWAYS = re.compile(f"[{re.escape(''.join(map(chr, ALWAYS)))}]")
_IN_UNLESS_EAST_ASIAN = re.compile(f"[{re.escape(''.join(map(chr, UNLESS_EAST_ASIAN)))}]")
_FONTS = re.compile("[\U0001d400-\U0001d7ff]")

_LATIN = "\x00-\u036f\u1e00-\u1eff"

#: Joiners that join nothing; in Persian, in the scripts of India and within an emoji they make a difference.
_IDLE_JOINERS = re.compile(f"(?:\\A|(?<=[{_LATIN}]))[\u200c\u200d]+|[\u200c\u200d]+(?=[{_LATIN}]|\\Z)")

_JOINERS = re.compile("[\u200c\u200d]+")

_EMOJI = "\u2600-\u2775\u2794-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"

#: The end of a word or an emoji that touches the other. Tokenizers take both for one word, unknown as a whole.
_TOUCHING = re.compile(f"\\w(?=[{_EMOJI}])|[{_EMOJI}](?=\\w)")
_ANY_EMOJI = re.compile(f"[{_EMOJI}]")

#: Letters that look like a blank.
_LOOKS_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def clean(text: str, rules: TextRules = LATEST) -> str:
    """`text` as a model reads it. Never fails, changes nothing the second time, and is at most three times as long.

    - `<br>` and `<p>` become line breaks, and character references such as `&quot;` what they stand for.
    - Characters that cannot be seen are removed; all blanks become one kind of blank. Bytes of Windows-1252 that were
      read as ISO 8859-1 become what was meant, as browsers do it.
    - Full-width and mathematical letters and digits, and ligatures, become plain ones.
    - Curly quotes, dashes, ellipses and full-width punctuation become those of a keyboard. In a text with Chinese,
      Japanese or Korean in it they stay: there they are the usual ones.
    - Letters are composed with their accents (NFC). Emoji are separated from words.

    Args:
        text: any.
        rules: 1 for the bundles of format 1, which replace `<br>` and nothing else; `AS_THEY_ARE` changes nothing.
    """
    if rules == AS_THEY_ARE:
        return text
    if rules == 1:
        return _OLD_BREAK.sub("\n", text)
    if not _SPECIAL.search(text):
        return text
    for _ in range(ROUNDS):
        text = _folded(text)
        decoded = _REFERENCE.sub(_decoded, text) if "&" in text else text
        if decoded == text:
            break
        text = decoded
    else:
        text = _REFERENCE.sub(_without_known, _folded(text))
    if not text.isascii() and _ANY_EMOJI.search(text):
        text = _TOUCHING.sub(r"\g<0> ", text)
    return _BREAK.sub("\n", text)


def normalised(text: str) -> str:
    """What makes two texts the same: all that a model reads of them but for case and spacing."""
    return " ".join(clean(text).casefold().split())


def is_blank(text: str) -> bool:
    """Whether `text` has only blanks, line breaks, and characters that cannot be seen.

    A model would label such a text too, but the label would mean nothing.
    """
    first = text.lstrip()[:1]
    if first.isascii() and first.isalnum():  # most texts; other ones may be a reference to a blank, or a tag
        return False
    return not any(map(_is_seen, clean(text)))


def _is_seen(character: str) -> bool:
    return not (
        character.isspace() or character in _LOOKS_BLANK or unicodedata.category(character) in ("Cc", "Cf", "Mn", "Me")
    )


def _folded(text: str) -> str:
    """`text` with every character in the form that the model reads, without a look at references and tags."""
    text = text.replace("\r\n", "\n")
    if text.isascii():
        return text if text.isprintable() else text.translate(ALWAYS)
    east_asian = _EAST_ASIAN.search(text)
    text = _IN_ALWAYS.sub(_always, text) if east_asian else _IN_UNLESS_EAST_ASIAN.sub(_unless_east_asian, text)
    if _FONTS.search(text):
        text = text.translate(FONTS)
    if "\u200c" in text or "\u200d" in text:
        return _without_idle_joiners(text)
    return unicodedata.normalize("NFC", text)


def _without_idle_joiners(text: str) -> str:
    """NFC of `text`. It may change what is beside a joiner, for accents that one has kept apart change places."""
    for _ in range(ROUNDS):
        text = unicodedata.normalize("NFC", text)
        found = _IDLE_JOINERS.sub("", text)
        if found == text:
            return text
        text = found
    return unicodedata.normalize("NFC", _JOINERS.sub("", text))


def _always(character: re.Match[str]) -> str:
    return ALWAYS[ord(character[0])]


def _unless_east_asian(character: re.Match[str]) -> str:
    return UNLESS_EAST_ASIAN[ord(character[0])]


def _decoded(reference: re.Match[str]) -> str:
    """What a character reference stands for; itself, escaped once, if it stands for nothing."""
    name = reference[1]
    if name.startswith("#"):
        return unescape(f"&{name};")
    return html5.get(f"{name};", f"&{name};")


def _without_known(reference: re.Match[str]) -> str:
    """A blank in place of what could be decoded."""
    return reference[0] if _decoded(reference) == reference[0] else " "
