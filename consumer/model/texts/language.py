"""The language of a text by its most frequent words, or its script: a few microseconds, and nothing to load.

Good enough to see that a topic changes its language, which is all that it is for. It is no judge of a single short
text: one that has fewer than two of these words is undetermined.
"""

import unicodedata
from collections import Counter

#: Characters of a text that are looked at: about 70 words of English.
CHARACTERS = 400

#: What a text is whose language cannot be told: too short, two languages alike, or one that is not known here.
UNDETERMINED = "und"

#: Different frequent words that a text needs.
LEAST_WORDS = 2

#: Frequent words by the code of ISO 639-1; `da` is Norwegian as well. Words that two languages share count for both.
_FREQUENT = {
    "cs": (
        "a aby ale až by byl co do i jako je jen jsem jsou já když která které který na není o pro s se si tak to "
        "už v velmi z za že"
    ),
    "da": (
        "af at blev da de den der det dig er et for fra godt har hvor ikke jeg kan man med meget men mig når og på "
        "som så til var"
    ),
    "de": (
        "aber als auch auf bei das dem den der des die ein eine einen er es für hat ich im ist man mit nicht noch "
        "nur sehr sich sie sind so und von war wie wird zu"
    ),
    "en": (
        "a all and are as at be but by for from had have he his i in is it my not of on one or so that the they "
        "this to was were with you"
    ),
    "es": (
        "al como con de del el en era es esta está fue ha hay la las lo los me mi muy más no para pero por que se "
        "si sin son su un una y ya"
    ),
    "fi": (
        "ehkä ei en että hyvin hän ihan ja joka jos kanssa koko kuin kun kyllä mutta myös niin nyt olen oli olla "
        "on ovat se sen sitä tai todella tämä vain"
    ),
    "fr": (
        "au aux avec c'est ce ces cette dans de des du elle en est et il ils je la le les mais ne on ou par pas "
        "plus pour que qui sa se si son sont sur très un une"
    ),
    "hu": (
        "a az azt csak de egy ez ha hogy is jó kell ki lehet meg mert mint már még nagyon nem olyan sem vagy van "
        "volt és"
    ),
    "id": (
        "ada adalah akan atau bisa dalam dan dari dengan di hanya ini itu juga karena ke lebih oleh pada sangat "
        "saya seperti sudah tetapi tidak untuk yang"
    ),
    "it": (
        "al alla anche che ci come con da dal dei del della delle di e era gli ha ho i il in la le lo ma mi molto "
        "non per più questa questo se si sono un una è"
    ),
    "nl": (
        "aan als bij dat de deze die dit door een en er geen had heeft heel het hij ik in is je maar met naar niet "
        "nog om ook op te van voor was wat ze zeer zijn"
    ),
    "pl": (
        "ale bardzo być był co dla do i jak jest już ma mi na nie o od po przez się są tak tego ten to tylko w z za że"
    ),
    "pt": (
        "a ao as com como da das de do dos e ela ele em era está eu foi há isso mais mas me muito na no nos não o "
        "os ou para pela pelo por que se sem ser são um uma é"
    ),
    "ro": (
        "a am ar au ca care ce cu că dar de din este eu foarte fost la mai nu o pe pentru prin sau se sunt să un "
        "una în și"
    ),
    "sv": (
        "alla att av bara blir de den det du där en ett från för han har hur här i inte jag kan man med men mig "
        "mycket när och om på som så till var vi är"
    ),
    "tr": (
        "ama ben bir bu böyle da daha de değil diye en gibi hiç ile için kadar mi ne o olan olarak sonra ve ya yok "
        "çok şey"
    ),
    "vi": (
        "cho có cũng của khi không là làm mà một người như nhưng những này rất trong tôi từ và về với đã được đến để"
    ),
}

#: Scripts by the first word of the names that Unicode gives to their letters.
_SCRIPTS = {
    "ARABIC": "arabic",
    "BENGALI": "bengali",
    "CJK": "han",
    "CYRILLIC": "cyrillic",
    "DEVANAGARI": "devanagari",
    "GREEK": "greek",
    "HANGUL": "hangul",
    "HEBREW": "hebrew",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "TAMIL": "tamil",
    "THAI": "thai",
}

#: Every answer of `language_of`.
LANGUAGES = (*_FREQUENT, *sorted(set(_SCRIPTS.values())), UNDETERMINED)

_LANGUAGES_OF: dict[str, tuple[str, ...]] = {}
for _language, _words in _FREQUENT.items():
    for _word in _words.split():
        _LANGUAGES_OF[_word] = (*_LANGUAGES_OF.get(_word, ()), _language)
_WORDS = frozenset(_LANGUAGES_OF)

#: The last letter of the Latin script in Unicode's first blocks; Vietnamese has more of them from here on.
_LATIN = "\u024f"
_MORE_LATIN = ("\u1e00", "\u1eff")


def language_of(text: str) -> str:
    """One of `LANGUAGES`, by the first `CHARACTERS` of `text`: a code of ISO 639-1, a script, or `UNDETERMINED`."""
    start = text[:CHARACTERS]
    if not start.isascii() and (script := _script(start)):
        return script
    found: dict[str, int] = {}
    for word in _WORDS.intersection(start.lower().split()):
        for language in _LANGUAGES_OF[word]:
            found[language] = found.get(language, 0) + 1
    if not found:
        return UNDETERMINED
    most = max(found.values())
    likeliest = [language for language, count in found.items() if count == most]
    return likeliest[0] if len(likeliest) == 1 and most >= LEAST_WORDS else UNDETERMINED


def _script(text: str) -> str | None:
    """The script of most letters; None if that is the Latin one, or there are no letters."""
    letters = sum(map(str.isalpha, text))
    others = [
        each for each in text if each > _LATIN and each.isalpha() and not _MORE_LATIN[0] <= each <= _MORE_LATIN[1]
    ]
    if 2 * len(others) <= letters:
        return None
    scripts = Counter(_SCRIPTS.get(unicodedata.name(each, "").partition(" ")[0], UNDETERMINED) for each in others)
    if "kana" in scripts:  # Japanese is written with Han as well
        return "kana"
    return scripts.most_common(1)[0][0]
