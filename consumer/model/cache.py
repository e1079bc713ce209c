"""Answers of earlier polls, so that a text that comes again costs nothing.

An answer from here is one that the model computed for the same text, by the same bundle. It is the same number that was
published then; computed again, int8 scores would move by a few thousandths with the texts that share the batch.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import takewhile

from consumer.model.labeller import Classified, Failed, Labeller, Scored

#: Texts of at most so many characters are read whole before they are cleaned, whatever the bundle, so what they are
#: when cleaned decides their answer. (The shortest windows have 8 tokens; see `UNCLEANED_CHARACTERS_PER_TOKEN`.)
CLEANED_CHARACTERS = 2_048


class Cache:
    """A labeller that keeps the last answers of another one. For use by one thread.

    Args:
        labeller: computes what is not known; closed with the cache.
        size: texts whose answers are kept; the one that was not asked for longest goes first.
        on_lookup: called for each poll with the number of different texts that were known, and of those that were not.
    """

    def __init__(
        self, labeller: Labeller, size: int, on_lookup: Callable[[int, int], None] = lambda _hits, _misses: None
    ) -> None:
        self._labeller = labeller
        self._size = size
        self._on_lookup = on_lookup
        self._bundle = bytes.fromhex(labeller.digest)
        self._answers: OrderedDict[bytes, Scored] = OrderedDict()

    @property
    def digest(self) -> str:
        """See `Labeller`."""
        return self._labeller.digest

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Labeller`."""
        return self._labeller.labels

    @property
    def variant(self) -> str:
        """See `Labeller`."""
        return self._labeller.variant

    def classify(
        self, texts: Sequence[str], at_work: Callable[[], None] = lambda: None, seconds: float | None = None
    ) -> Classified:
        """Label `texts`; those that are equal when cleaned are computed once. See `Labeller.classify`."""
        keys = [self._key(text) for text in texts]
        found: dict[bytes, Scored | Failed] = {}
        unknown: dict[bytes, str] = {}
        for key, text in zip(keys, texts, strict=True):
            if (answer := self._answers.get(key)) is not None:
                found[key] = answer
            else:
                unknown.setdefault(key, text)
        self._on_lookup(len(found), len(unknown))
        computed = self._labeller.classify(list(unknown.values()), at_work, seconds)
        found |= zip(unknown, computed.results, strict=False)
        self._keep(found)
        results = [found[key] for key in takewhile(found.__contains__, keys)]
        return Classified(results, computed.stats, computed.members)

    def clean(self, text: str) -> str:
        """See `Labeller`."""
        return self._labeller.clean(text)

    def self_check(self, at_work: Callable[[], None] = lambda: None) -> None:
        """See `Labeller`; nothing of it is kept."""
        self._labeller.self_check(at_work)

    def close(self) -> None:
        """Free the model."""
        self._labeller.close()

    def _key(self, text: str) -> bytes:
        is_short = len(text) <= CLEANED_CHARACTERS
        read = self._labeller.clean(text) if is_short else text
        return blake2b(
            read.encode("utf-8", "surrogatepass"),
            digest_size=16,
            key=self._bundle,
            person=b"cleaned" if is_short else b"whole",
        ).digest()

    def _keep(self, answers: dict[bytes, Scored | Failed]) -> None:
        """Keep these as the last ones. A failure may be a passing one and is not kept."""
        for key, answer in answers.items():
            if isinstance(answer, Scored):
                self._answers[key] = answer
                self._answers.move_to_end(key)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)
