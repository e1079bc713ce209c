"""The language of a text by its frequent words or its script."""

import json
from collections import Counter
from pathlib import Path

import pytest

from consumer.model.texts.language import CHARACTERS, LANGUAGES, UNDETERMINED, language_of
from tests.other_texts import complaints, german_reviews

#: One text for each answer.
TEXTS = {
    "arabic": "فيلم رائع، أنصح الجميع بمشاهدته",
    "bengali": "খুব সুন্দর একটা ছবি, সবাই দেখুন",
    "cs": "Ten film je velmi pomalý, ale není to žádná ztráta času a já jsem se nenudil.",
    "cyrillic": "Отличный фильм, советую всем",
    "da": "Det er en meget god film, men den er ikke for børn, og slutningen var for lang.",
    "de": "Der Film ist nicht schlecht, aber auch nicht so gut wie das Buch.",
    "devanagari": "बहुत अच्छी फिल्म है, ज़रूर देखिए",
    "en": "It was not as good as the book, but I have seen worse.",
    "es": "No es una película para todos, pero los actores están muy bien.",
    "fi": "Elokuva on hyvin hidas, mutta se ei ole huono, ja kuvat ovat kauniita.",
    "fr": "Ce n'est pas un grand film, mais les acteurs sont dans une forme rare.",
    "greek": "Εξαιρετική ταινία, να τη δείτε όλοι",  # noqa: RUF001
    "han": "這部電影很好看",
    "hangul": "정말 좋은 영화입니다. 추천합니다",
    "hebrew": "סרט נהדר, מומלץ לכולם",
    "hu": "Ez egy nagyon jó film, de nem hiszem, hogy mindenki szereti majd.",
    "id": "Film ini sangat bagus dan saya tidak akan lupa dengan akhir yang sedih itu.",
    "it": "Non è un capolavoro, ma gli attori sono bravi e la storia della famiglia commuove.",
    "kana": "とても良い映画でした。家族で見てほしい作品です。",
    "nl": "Het is een mooie film, maar niet voor kinderen, en het einde is te lang.",
    "pl": "To nie jest zły film, ale jak na taki budżet jest bardzo nudny.",
    "pt": "Não é um filme para todos, mas os atores são muito bons e a música também.",
    "ro": "Nu este un film pentru toată lumea, dar este foarte bine făcut și mai ales jucat.",
    "sv": "Det är en mycket bra film, men jag tycker inte att den är för alla.",
    "tamil": "மிகவும் நல்ல படம், அனைவரும் பாருங்கள்",
    "thai": "หนังดีมาก แนะนำให้ทุกคนดู",
    "tr": "Bu çok güzel bir film ama sonu daha iyi olabilirdi ve biraz uzun.",
    "und": "Superb!!! 10/10",
    "vi": "Phim này rất hay và tôi không thể quên được những người trong đó.",
}


def test_every_language_is_told_by_a_sentence() -> None:
    """Each answer that there is has a text that gets it."""
    assert {language: language_of(text) for language, text in TEXTS.items()} == {each: each for each in LANGUAGES}


@pytest.mark.parametrize("text", ["", " ", "1234", "<br />", "Great film!", "de", "\ud800", "a\x00b", "👍👍👍"])
def test_a_text_with_too_few_words_is_undetermined(text: str) -> None:
    """Nothing is guessed, and nothing fails."""
    assert language_of(text) == UNDETERMINED


def test_only_the_beginning_of_a_text_counts() -> None:
    """The cost is bounded, however long a text is."""
    assert language_of(TEXTS["en"] + " " * CHARACTERS + TEXTS["de"] * 1000) == "en"


def test_reviews_are_told_apart() -> None:
    """English by far the most in the demo's own reviews, although they are short; every generated text."""
    sample = (Path(__file__).parents[2] / "consumer/demo/sample.jsonl").read_text("utf-8").splitlines()
    found = Counter(language_of(json.loads(line)["text"]) for line in sample)
    assert found.total() > 200
    assert found["en"] > 0.75 * found.total()
    assert found["en"] + found[UNDETERMINED] > 0.95 * found.total()
    assert Counter(map(language_of, complaints(500, 1))) == {"en": 500}
    assert Counter(map(language_of, german_reviews(500, 1))) == {"de": 500}
