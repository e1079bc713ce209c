"""One definition of text: what a model reads, which texts are the same, and what is no text."""
# ruff: noqa: RUF001 - characters that look like others are the point here

import time
import unicodedata
from functools import reduce
from html import escape

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumer.model.texts.cleaning import ROUNDS, clean, is_blank, normalised
from consumer.model.texts.tables import ALWAYS, FONTS, UNLESS_EAST_ASIAN

#: Pieces that only do harm together: halves of references and tags, joiners, marks, and what decodes to such halves.
PIECES = (
    *(
        "&",
        ";",
        "#",
        "amp",
        "amp;",
        "lt",
        "&lt;",
        "&amp;",
        "&#38;",
        "&#x26;",
        "&#97;",
        "mp;",
        "&#65286;",
        "&num;",
        "&semi;",
    ),
    *("<br", "<", ">", "/>", " ", "\n", "\r", "\r\n", "<br/>", "<p class='x'>", "&shy;", "&zwj;", "&#8203;", "&#769;"),
    *("\u200c", "\u200d", "\u200b", "\ufeff", "\u0301", "\u0338", "\u3099", "e", "é", "K", "\u212a", "\u037e", "ﾊ", "ﾞ"),
    *(
        "＆",
        "；",
        "＃",
        "ａ",
        "ﬃ",
        "…",
        "“",
        "—",
        "\x85",
        "\x81",
        "中",
        "한",
        "\u1100",
        "\u1161",
        "\ufa6c",
        "م",
        "क",
        "्",
    ),
    *("👍", "❤", "\ufe0f", "1", "\u20e3", "🏳", "🌈", "𝗚", "\U0001d15e", "\u0958", "\ufb2c", "\x00"),
)
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))


@given(TEXTS)
@settings(max_examples=1000)
@example("&" + "amp;" * 50 + "lt;")
@example("&#38;#38;#38;#38;#38;lt;")
@example("&&#97;mp;lt;")
@example(reduce(lambda text, _: text.replace("&", "&&num;38;"), range(5), "&lt;"))
@example("<br<br>>")
@example("&l&#8203;t;")
@example("&#768;\u094d\u200c\u0370")
@example("\u0300&zwj;\u3099\u200c\u0370")
@example("\u0300" + "\u200d\u3099\u200c\u3099" * 9 + "\u200c\u0370")
def test_a_clean_text_is_clean(text: str) -> None:
    """Cleaning twice changes nothing more, never fails, and keeps the length within its bound, for any text."""
    once = clean(text)
    assert clean(once) == once
    assert len(once) <= 3 * len(text)
    assert unicodedata.is_normalized("NFC", once)
    assert not set(map(ord, once)) & (set(ALWAYS) | set(FONTS))
    assert normalised(once) == normalised(text)
    assert is_blank(once) == is_blank(text)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("It&#39;s &quot;great&quot; &amp; fun", 'It\'s "great" & fun'),
        ("It&amp;#39;s &amp;amp;quot;great&amp;quot;", 'It\'s "great"'),
        ("&amp;amp;amp;amp;amp;quot;deep&quot;", '"deep"'),
        ("&lt;3 this&nbsp;film&hellip;", "<3 this film..."),
        ("one<br /><BR>two</p><p class='b'>three&lt;br&gt;four", "one\n\ntwo\n\nthree\nfour"),
        ("“It’s” ‘so’ „good“ «film» don´t", '"It\'s" \'so\' "good" "film" don\'t'),
        ("good\u2014bad \u2013 \u22125 well\u2011made…", "good-bad - -5 well-made..."),
        ("Ｇｒｅａｔ　ｆｉｌｍ！　１０／１０", "Great film! 10/10"),
        ("a ﬁne ﬀort, 𝗚𝗿𝗲𝗮𝘁 𝓯𝓲𝓵𝓶", "a fine ffort, Great film"),
        ("Cafe\u0301 Ame\u0301lie", "Café Amélie"),
        ("\ufeffso\u00adso, gr\u200beat\u2060 \u202efilm\u202c\x00", "soso, great film"),
        ("a\u00a0b\u2009c\u3000d\u202fe", "a b c d e"),
        ("a\r\nb\rc\u2028d\u2029e\x0bf\x0cg", "a\nb\nc\nd\ne\nf\ng"),
        ("it\x92s good\x85 \x93very\x94 \x96 \x97 \x80 5\x81", 'it\'s good... "very" - - € 5'),
        ("Loved it❤️and😍😍again👍🏽", "Loved it ❤ and 😍😍 again 👍🏽"),
    ],
)
def test_what_a_page_or_an_editor_did_to_a_text_is_undone(written: str, read: str) -> None:
    """References, curly quotes, full-width letters, ligatures, unseen characters and blanks change no label."""
    assert clean(written) == read


@pytest.mark.parametrize(
    "text",
    [
        "R&B, AT&T &c. and &copy=1 &notit; &; &#; &#x; Q&A; a & b; 1 < 2 > 0",
        "½ cup, 10² = 100, № 5, ™ © ®, 20 °C, x ≤ y, ß, ı, æ, ø, ŀ, ﷽",
        "<sigh> <b>bold</b> <break> <pre>",
        "那部“电影”很棒！！——我喜欢……（真的），１００％",
        "彼は「すごい」と言った。それは〜でした！",
        "정말 “좋은” 영화！",
        "می‌خواهم ببینم",
        "क्‍ष अच्छी फ़िल्म",
        "👩‍👩‍👧 🏳️‍🌈 👍🏽 🇩🇪".replace("\ufe0f", ""),
        "`code` ~ ^_^ :-) ;) *****",
    ],
)
def test_what_may_mean_something_stays(text: str) -> None:
    """What is no reference, fractions, superscripts, other tags, and the punctuation and joiners of other scripts."""
    letters = text.translate({code: chr(code - 0xFEE0) for code in range(0xFF10, 0xFF1A)})
    assert clean(text) == unicodedata.normalize("NFC", letters)


@given(TEXTS)
@settings(max_examples=300)
def test_a_text_is_read_alike_composed_and_decomposed(text: str) -> None:
    """Whatever keyboard or file system the accents come from."""
    assert clean(unicodedata.normalize("NFD", text)) == clean(unicodedata.normalize("NFC", text))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x0d"), max_size=40), st.integers(1, ROUNDS - 1))
@settings(max_examples=300)
def test_a_text_that_was_escaped_is_read_as_before(text: str, times: int) -> None:
    """Once or twice, whatever is in it."""
    plain = escaped = clean(text)
    for _ in range(times):
        escaped = escape(escaped)
    assert clean(escaped) == plain


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("my parcel today 👍", "my parcel today 👎"),
        ("the parcel was 😍", "the parcel was 🤮"),
        ("👍🏻", "👍🏿"),
        (":)", ":("),
        ("Good!", "Good?"),
        ("C++", "C"),
        ("C#", "C"),
        ("+5", "-5"),
        ("-5", "5"),
        ("10/10", "10 10"),
        ("1.5", "15"),
        ("A+", "A-"),
        ("★★★★★", "★☆☆☆☆"),
        ("<3", "</3"),
        ("5 %", "5 $"),
        ("½", "1"),
        ("m²", "m2"),
        ("(^_^)", "(>_<)"),
        ("résumé", "resume"),
        ("अच्छा", "अच्छी"),
        ("ดี", "ดู"),
        ("can't", "cant"),
    ],
)
def test_texts_that_differ_in_a_sign_are_different(one: str, other: str) -> None:
    """Emoji, punctuation, symbols and accents tell texts apart."""
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A  GREAT\n film ", "a great film"),
        ("Café", "cafe\u0301"),
        ("Straße", "STRASSE"),
        ("it&#39;s", "it’s"),
        ("ｇｏｏｄ", "good"),
        ("❤️", "❤"),
        ("so<br/>good", "so good"),
        ("good👍", "good 👍"),
    ],
)
def test_texts_that_read_the_same_are_the_same(one: str, other: str) -> None:
    """Whatever their case, spacing and encoding."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \t\r\n",
        "\u00a0\u3000",
        "\ufeff",
        "\u200b\u200d",
        "&nbsp; &#160;",
        "&amp;nbsp;",
        "<br><p></p>",
        "\x00\x81",
        "\u2800",
        "\u3164",
        "\u034f",
        "\ufe0f",
        "\u202e\u2066",
        "\u2028",
        "&lt;br&gt;",
        "\u0301",
        "＆nbsp；",
    ],
)
def test_a_text_with_nothing_to_see_is_blank(text: str) -> None:
    """However the nothing is written."""
    assert is_blank(text)


@pytest.mark.parametrize(
    "text", ["a", " 0", "👍", "!", "&", "&amp;", "&x;", "<", "<sigh>", "\u200b.", "ـ", "中", "\ufffd", "½"]
)
def test_a_text_with_anything_to_see_is_none_of_these(text: str) -> None:
    """A single sign is a text."""
    assert not is_blank(text)


def test_the_old_rules_are_kept() -> None:
    """A bundle of format 1 is served as it was measured."""
    assert clean("a<br />b &quot;“Ｃ”&quot;\x85 cafe\u0301", 1) == "a\nb &quot;“Ｃ”&quot;\x85 cafe\u0301"


@pytest.mark.parametrize(
    "piece", ["&amp;", "&#38;", "&", "<br", "&amp;lt;", "&#65286;", "\u200d", "é", "👍a", "ﾊﾞ", "<p ", "; "]
)
def test_the_cost_of_a_text_grows_with_its_length_only(piece: str) -> None:
    """A text of 200,000 characters that was made to cost much: no more than a few microseconds a character."""
    text = piece * (200_000 // len(piece))
    started = time.process_time()
    clean(text)
    is_blank(text)
    assert time.process_time() - started < 4


def test_the_tables_leave_text_alone() -> None:
    """No letter, mark, digit or emoji of any script is in a table, but for other forms of the same one."""
    for code in set(ALWAYS) | set(UNLESS_EAST_ASIAN) | set(FONTS):
        becomes = (UNLESS_EAST_ASIAN | FONTS)[code]
        if unicodedata.category(chr(code))[0] in "LN" and code != 0x2BC:
            assert unicodedata.normalize("NFKC", chr(code)) == becomes
