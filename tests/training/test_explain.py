"""`review-training explain`: the words that carried the label are marked, and no text escapes into page or terminal."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from consumer.model.classifier import Classifier
from consumer.model.explain import MAX_PARTS, Explanation, explain, windows
from consumer.model.labeller import Classified
from consumer.tools.label.explanation import as_rich, headline, top_lines
from tests.tiny_bundle import POISON, WORTH, seal, write_tiny_bundle
from training.cli import main
from training.measure.evaluate import open_classifier
from training.measure.reports.explanation import as_html

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that adds up what each word is worth."""
    return write_tiny_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


def explained(bundle: Path, text: str, label: str | None = None) -> Explanation:
    """What `explain` finds for `text`."""
    with open_classifier(bundle, None) as classifier:
        return explain(classifier, text, label)


def marked(explanation: Explanation) -> list[str]:
    """The marked words, in their order in the text."""
    return [part.words for part in explanation.parts if part.marked]


def test_a_trained_encoder_is_explained_by_the_words_that_it_learned(tmp_path: Path) -> None:
    """Of a text with two words that carry a label, exactly these two are marked, though either would do alone."""
    from tests.tiny_trained import write_trained_bundle

    bundle = write_trained_bundle(tmp_path / "bundle")
    positive = explained(bundle, "the film was good and the music was great with a plot")
    assert (positive.label, marked(positive)) == ("pos", ["good", "great"])
    assert all(part.weight > 0 for part in positive.top())
    # And they speak against the other label, by as much
    other = explained(bundle, positive.text, "neg")
    assert [part.weight for part in other.parts] == pytest.approx([-part.weight for part in positive.parts], abs=1e-3)


def test_the_weight_of_a_word_is_what_the_model_gives_for_it(tiny: Path) -> None:
    """Where logits are sums, a word adds twice its worth to the log-odds, whatever stands around it."""
    words = ["the", "film", "was", "good", "good", "moving", "awful"]
    explanation = explained(tiny, " ".join(words), "pos")
    weights = [part.weight for part in explanation.parts]
    assert weights == pytest.approx([2 * WORTH[word] for word in words], abs=1e-4)
    assert sum(weights) == pytest.approx(2 * sum(WORTH[word] for word in words), abs=1e-3)
    assert [part.words for part in explanation.top()] == ["awful", "good", "good", "moving"]
    assert explanation.evaluations == 2 * len(words) + 2
    # And for the other label it is the opposite
    assert [part.weight for part in explained(tiny, " ".join(words), "neg").parts] == pytest.approx(
        [-weight for weight in weights], abs=1e-4
    )


def test_a_text_without_a_word_that_counts_has_nothing_marked(tiny: Path) -> None:
    """Rounding is not read as meaning."""
    explanation = explained(tiny, "the was unheard the")
    assert marked(explanation) == []
    assert top_lines(explanation) == ["no word stands out"]
    assert "<mark style" not in as_html(explanation, "m").split('class="text"')[1]


def test_a_text_of_one_word_is_explained(tiny: Path) -> None:
    """Without it the model reads an empty text."""
    assert marked(explained(tiny, " great\n")) == ["great"]


def test_the_cost_of_a_long_text_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are left out window by window, and all of it is one call of the classifier."""
    calls: list[int] = []
    classify = Classifier.classify

    def counting(self: Classifier, texts: list[str]) -> Classified:
        calls.append(len(texts))
        return classify(self, texts)

    monkeypatch.setattr(Classifier, "classify", counting)
    bundle = seal(write_tiny_bundle(tmp_path / "bundle"), max_length=1000)
    explanation = explained(bundle, "the film " * 1000 + "great")
    assert calls == [explanation.evaluations]
    assert explanation.evaluations <= 2 * MAX_PARTS + 3
    assert sum(part.read for part in explanation.parts) <= MAX_PARTS
    assert explanation.truncated
    assert "window of words; the model reads the first 499 and the last 499 of 2001 words" in headline(explanation)
    # The end, which the model reads, has the word that counts
    assert max(explanation.parts, key=lambda part: part.weight).words.endswith("great")


#: For each way of truncating: changes of the manifest, and which of 100 words the model reads. With 2 special tokens,
#: 20 tokens are 18 words; 3 windows of 20 that share 5 are 18 + 13 + 13.
TRUNCATED: dict[str, tuple[dict[str, Any], list[int], str]] = {
    "head": ({"max_length": 20}, [*range(18)], "the first 18"),
    "head_tail": ({"max_length": 20}, [*range(9), *range(91, 100)], "the first 9 and the last 9"),
    "windows": ({"max_length": 20, "windows": {"overlap": 0.25, "most": 3}}, [*range(44)], "the first 44"),
}


@pytest.mark.parametrize("truncation", TRUNCATED)
def test_words_that_the_model_does_not_read_have_no_weight(tmp_path: Path, truncation: str) -> None:
    """They are grey and never marked, the headline says what is read, and other words in their place change nothing."""
    changes, read, told = TRUNCATED[truncation]
    bundle = seal(write_tiny_bundle(tmp_path / "bundle"), truncation=truncation, **changes)
    words = ["bad" if place % 10 == 5 else "moving" if place % 10 == 2 else "the" for place in range(100)]
    explanation = explained(bundle, " ".join(words), "pos")
    # Given what is read, word by word
    parts = [part for part in explanation.parts if part.read]
    assert [part.words for part in parts] == [words[place] for place in read]
    starts = [sum(len(word) + 1 for word in words[:place]) for place in read]
    assert [part.start for part in parts] == starts
    # Then each of these words has the weight that the model gives it, for windows a share of the mean of their logits
    if truncation != "windows":
        assert [part.weight for part in parts] == pytest.approx([2 * WORTH[part.words] for part in parts], abs=1e-3)
    # And what is not read is one part without weight, not marked, grey on the terminal and on the page
    (unread,) = [part for part in explanation.parts if not part.read]
    assert unread.words.split() == [word for place, word in enumerate(words) if place not in read]
    assert (unread.weight, unread.marked) == (0, False)
    assert f"the model reads {told} of 100 words" in headline(explanation)
    assert f'<span class="unread">{unread.words}</span>' in as_html(explanation, "m")
    assert [span.style for span in as_rich(explanation).spans if span.end - span.start > 100] == ["bright_black"]
    # And other words in its place change nothing
    other = explanation.text[: unread.start] + "awful " * len(unread.words.split()) + explanation.text[unread.end :]
    replaced = explained(bundle, other, "pos")
    assert replaced.score == explanation.score
    assert [part.weight for part in replaced.parts] == [part.weight for part in explanation.parts]


def test_a_text_that_just_fits_is_read_to_the_end(tmp_path: Path) -> None:
    """18 words and 2 special tokens fit 20 tokens; of 19 words, with `head`, the last one is not read."""
    bundle = seal(write_tiny_bundle(tmp_path / "bundle"), truncation="head", max_length=20)
    fits, longer = explained(bundle, "good " * 18), explained(bundle, "good " * 19)
    assert (fits.truncated, [part.read for part in fits.parts]) == (False, [True] * 18)
    assert "reads" not in headline(fits)
    assert "unread" not in as_html(fits, "m").split("</style>")[1]
    assert (longer.truncated, [part.read for part in longer.parts]) == (True, [True] * 18 + [False])


@pytest.mark.parametrize("middle", ["", "bad "])
def test_a_gap_of_thousands_of_blanks_is_located(tiny: Path, middle: str) -> None:
    """Characters are cut before tokens are: with 40 tokens, 640 at each end of a text are looked at."""
    blanks = " " * 2000
    explanation = explained(tiny, f"good film{blanks}{middle}{blanks}great")
    assert [(part.words, part.read) for part in explanation.parts] == [
        *(("good", True), ("film", True)),
        *([("bad", False)] if middle else []),
        ("great", True),
    ]
    assert explanation.text[explanation.parts[-1].start :] == "great"


@pytest.mark.parametrize(("words", "parts"), [(0, 0), (1, 1), (4, 4), (5, 3), (8, 4), (9, 3), (13, 4)])
def test_windows_cover_every_word_once(words: int, parts: int) -> None:
    """At most four windows; of as few words as that allows."""
    text = "  " + " \n ".join(f"w{number}" for number in range(words))
    spans = windows(text, 4)
    assert len(spans) == parts
    assert " ".join(text[start:end] for start, end in spans).split() == text.split()


def test_html_line_breaks_are_no_words(tiny: Path) -> None:
    """The text is explained as the worker reads it."""
    explanation = explained(tiny, "good<br /><br>great")
    assert [part.words for part in explanation.parts] == ["good", "great"]


def test_a_page_shows_the_text_and_runs_none_of_it(tiny: Path) -> None:
    """Text, label and name are escaped; nothing is loaded from anywhere."""
    text = '<script>alert("x")</script> great & <img src=http://evil/x onerror=y> </mark>good'
    page = as_html(explained(tiny, text), "<b>name</b>")
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in page
    assert page.count("</mark>") == page.count("<mark")
    assert "http://" not in page.replace("src=http://evil/x", "")
    assert 'title="+3.000">great</mark>' in page


def test_a_terminal_is_not_steered_by_the_text(tiny: Path) -> None:
    """Escape sequences and turned reading directions are shown as a replacement, words with brackets as they are."""
    explanation = explained(tiny, "great \x1b[2J\x9b31m \u202egood [bold]awful[/bold]\r\nbad")
    shown = as_rich(explanation).plain + "".join(top_lines(explanation))
    assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(shown)
    assert "[bold]awful[/bold]\nbad" in shown


def test_the_command_prints_the_top_words_the_text_and_the_cost(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Readable without colour: the weightiest words stand in a list of their own; --html writes the page beside it."""
    page = tmp_path / "page.html"
    assert main(["explain", "--bundle", str(tiny), "the film was great", "--html", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "pos 0.9707; 10 evaluations: with and without each word",
        "  +3.000  great",
        "the film was great",
    ]
    assert "great</mark>" in page.read_text(encoding="utf-8")


def test_json_is_one_object_with_every_word(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Offsets point into its text; standard input is one text."""

    class Pipe:
        class buffer:  # noqa: N801 - as sys.stdin has it
            @staticmethod
            def read() -> bytes:
                return "the café\nwas great".encode()

    monkeypatch.setattr(sys, "stdin", Pipe)
    assert main(["explain", "--bundle", str(tiny), "-", "--json", "--label", "neg"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["label"] == "neg"
    assert [told["text"][part["start"] : part["end"]] for part in told["parts"]] == ["the", "café", "was", "great"]
    assert [part["marked"] for part in told["parts"]] == [False, False, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["  \n "], "there is no text to explain"),
        ([""], "there is no text to explain"),
        (["great", "--label", "good"], "has no label 'good'; it knows neg, pos"),
        ([f"the {POISON} film"], "the model fails on this text (NotFinite)"),
        (["\ud83d"], "the model fails on this text (NotTokenised)"),
        (["great", "--html", "no/such/page.html"], "its directory does not exist"),
        (["great", "--html", "."], "is a directory"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_line(
    tiny: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """Exit code 2, no stack trace, and nothing of the text."""
    assert main(["explain", "--bundle", str(tiny), *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert POISON not in captured.err
    assert captured.out == ""
