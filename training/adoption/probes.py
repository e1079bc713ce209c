"""Texts on which a bundle is compared with transformers when it is made: what a topic may hold, short and long."""

from training.packaging.golden import TEXTS

_STORY = "The clerk found a letter behind a drawer, and followed it across the border to a small harbour town. "

PROBES: tuple[str, ...] = (
    *TEXTS,
    "a",
    "?!",
    "  two  blanks,\ttabs\nand\r\nlines  ",
    "ALL CAPS, iPhone, McDonald's, don't, e.g., 3.14, $5, 10/10, user@example.com",
    "😍😍😍 🤮 👩‍👩‍👧 🇫🇷 ❤️",
    "Ça m'a plu. Straße, naïve, coöperate, Å, ﬁne, ½, e\u0301",
    "Отличный фильм, очень рекомендую.",
    "这部电影太好看了\uff0c强烈推荐\uff01 この映画は最高でした。 정말 재미있는 영화였어요.",
    "فيلم رائع جدا، أنصح به. סרט נהדר. फिल्म बहुत अच्छी थी।",
    "<br />It&#39;s &quot;fine&quot;. <p>Really</p>",
    "[SEP] </s> [MASK] <mask> <unk> ##ing ▁the Ġthe",
    "zero\u200bwidth\u00a0no-break\u00adsoft",
    "x" * 300,
    _STORY * 40,
    "电影" * 700,
)
