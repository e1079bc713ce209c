"""Asks one model after the other: each gets the texts of which the one before it is not sure enough.

All members compute the whole poll in turn, so each has its own batches of texts of similar length.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from consumer.errors import BundleError
from consumer.model.cascade.bundle import CascadeBundle
from consumer.model.classifier import Classifier
from consumer.model.labeller import Classified, Failed, Scored, Stats

#: What earlier calls weigh against a later one that took as long.
_KEPT = 0.6


class Cascade:
    """The models of a cascade as one labeller. For use by one thread.

    Args:
        bundle: verified.
        members: its models in order; closed with the cascade.
    """

    def __init__(self, bundle: CascadeBundle, members: Sequence[Classifier]) -> None:
        self.bundle = bundle
        self.members = dict(zip((member.name for member in bundle.manifest.members), members, strict=True))
        self._below = {member.name: member.below for member in bundle.manifest.members}
        self._reads_alike = len({member.manifest.format for member in bundle.members}) == 1
        self._seconds = dict.fromkeys(self.members, 0.0)

    @property
    def digest(self) -> str:
        """SHA-256 of the cascade's manifest, in hex."""
        return self.bundle.digest

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of all members, in the order of the cascade."""
        return self.bundle.manifest.labels

    @property
    def variant(self) -> str:
        """The precision variant of all members, or of each."""
        return self.bundle.manifest.variant

    def classify(
        self, texts: Sequence[str], at_work: Callable[[], None] = lambda: None, seconds: float | None = None
    ) -> Classified:
        """Label `texts`, or as many of the first ones as fit into `seconds`; see `Labeller.classify`.

        How many do is decided again before each member, when the number of texts passed on to it is known. A text on
        which a member fails is passed on.
        """
        started = time.perf_counter()
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        distinct = list(places)
        answers: list[tuple[str, Scored | Failed]] = [("", Failed("NotComputed"))] * len(places)
        todo, done = list(range(len(places))), len(places)
        stats: dict[str, Stats] = {}
        turns: dict[str, tuple[list[int], float]] = {}
        for name, member in self.members.items():
            if not todo:
                break
            begun = time.perf_counter()
            room = None if seconds is None else (seconds - (begun - started)) * self._share(name)
            classified = member.classify([distinct[place] for place in todo], at_work, room)
            fitting = len(classified.results)
            for place, result in zip(todo, classified.results, strict=False):
                answers[place] = name, result
            if fitting < len(todo):
                done = todo[fitting]
            turns[name] = todo[:fitting], time.perf_counter() - begun
            todo = [place for place in todo[:fitting] if self._passes_on(*answers[place])]
            stats[name] = replace(classified.stats, passed_on=len(todo))
        self._note(turns, done)
        results = [self._named(*answer) for answer in answers[:done]]
        within = takewhile(lambda place: place < done, (places[text] for text in texts))
        return Classified([results[place] for place in within], _total(done, stats.values()), stats)

    def answering(self, text: str) -> Classifier:
        """The member that answers `text`."""
        (result,) = self.classify([text]).results
        name = result.member if isinstance(result, Scored) else None
        return self.members[name or next(reversed(self.members))]

    def clean(self, text: str) -> str:
        """`text` as all members read it; unchanged if they read it by different rules."""
        return next(iter(self.members.values())).clean(text) if self._reads_alike else text

    def self_check(self, at_work: Callable[[], None] = lambda: None) -> None:
        """Let each member replay the golden texts, and see that each of them answers some.

        Raises:
            BundleError: an answer is not the one recorded when the cascade was built, or a member answers none.
        """
        for member in self.members.values():
            member.self_check(at_work)
        results = self.classify([each.text for each in self.bundle.golden.texts], at_work).results
        answered = {result.member for result in results if isinstance(result, Scored)}
        if silent := [name for name in self.members if name not in answered]:
            raise BundleError(f"{self.bundle.path}: no golden text is answered by {', '.join(silent)}; rebuild it")

    def close(self) -> None:
        """Free the models."""
        for member in self.members.values():
            member.close()

    def _share(self, name: str) -> float:
        """Share of the time that is left at its turn that this member should take; later members need the rest."""
        names = list(self.members)
        left = sum(self._seconds[each] for each in names[names.index(name) :])
        return self._seconds[name] / left if left else 1.0

    def _note(self, turns: Mapping[str, tuple[list[int], float]], done: int) -> None:
        """Learn what each member takes for the texts that were labelled in the end, the first `done` ones."""
        for name in self.members:
            places, seconds = turns.get(name, ([], 0.0))
            kept = sum(place < done for place in places) / max(len(places), 1)
            self._seconds[name] = _KEPT * self._seconds[name] + kept * seconds

    def _passes_on(self, name: str, result: Scored | Failed) -> bool:
        below = self._below[name]
        return below is not None and (isinstance(result, Failed) or result.score < below)

    def _named(self, name: str, result: Scored | Failed) -> Scored | Failed:
        if isinstance(result, Failed):
            return result
        return replace(result, member=name, probabilities={each: result.probabilities[each] for each in self.labels})


def _total(texts: int, members: Iterable[Stats]) -> Stats:
    """The cost of a call of a cascade, in which so many different texts were labelled."""
    stats = list(members)
    return Stats(
        texts,
        sum(each.tokenise_seconds for each in stats),
        sum(each.infer_seconds for each in stats),
        sum(each.batches for each in stats),
        sum(each.tokens for each in stats),
        sum(each.padded_tokens for each in stats),
    )
