"""Which dead letters of a partition were sent again: ranges of offsets for each cause, small enough for a commit.

An offset alone cannot tell what was sent if only some reasons were asked for. Within one cause (reason and detail) the
dead letters between the first and the last of a range were all sent, so a replay of whole reasons is one range each,
however they are mixed. Other filters leave gaps, which cost a few bytes each.
"""

import base64
import json
import zlib
from bisect import bisect_right
from itertools import pairwise

from consumer.errors import GaveUp

_MARK = "replay=1 "
#: Kafka's default of `offset.metadata.max.bytes` is 4096.
MAX_BYTES = 4000


class Ledger:
    """The ledger of one partition.

    Args:
        text: as `encode` returned it; empty for none.

    Raises:
        GaveUp: the text is something else.
    """

    def __init__(self, text: str = "") -> None:
        self._ranges: dict[str, list[list[int]]] = {}
        #: Index of the range that the last dead letter of a cause belongs to, as long as no gap follows it.
        self._open: dict[str, int | None] = {}
        if not text:
            return
        try:
            if not text.startswith(_MARK):
                raise ValueError
            deltas = json.loads(zlib.decompress(base64.b85decode(text.removeprefix(_MARK))))
            for cause, steps in deltas.items():
                ends = [sum(steps[: number + 1]) for number in range(len(steps))]
                self._ranges[cause] = [list(pair) for pair in zip(ends[::2], ends[1::2], strict=True)]
        except (ValueError, TypeError, AttributeError, zlib.error) as error:
            raise GaveUp(
                "the commits of the group that holds the progress of replays are not those of a replay; set another "
                "group_id, or delete that group"
            ) from error

    def has(self, cause: str, offset: int) -> bool:
        """Whether this dead letter was sent again."""
        return self._range_of(cause, offset) is not None

    def note(self, cause: str, offset: int, sent: bool) -> None:
        """Take note of the next dead letter of a partition: call in order of offsets, for each one.

        Args:
            cause: reason, detail and input topic.
            offset: of the dead letter.
            sent: it is sent now, or was before. If not, it is a gap.
        """
        if not sent:
            self._open[cause] = None
            return
        ranges = self._ranges.setdefault(cause, [])
        at, last = self._range_of(cause, offset), self._open.get(cause)
        if last is None:
            if at is None:
                at = bisect_right(ranges, [offset, offset])
                ranges.insert(at, [offset, offset])
            self._open[cause] = at
        elif at != last:  # nothing is left in between, so they become one
            upto = bisect_right(ranges, offset, key=lambda pair: pair[0])
            ranges[last][1] = max(offset, *(end for _, end in ranges[last:upto]))
            del ranges[last + 1 : upto]

    def encode(self) -> str:
        """As text for a commit.

        Raises:
            GaveUp: it is too large.
        """
        deltas = {}
        for cause, ranges in sorted(self._ranges.items()):
            ends = [0, *(end for pair in ranges for end in pair)]
            deltas[cause] = [after - before for before, after in pairwise(ends)]
        packed = zlib.compress(json.dumps(deltas, separators=(",", ":")).encode(), 9)
        text = _MARK + base64.b85encode(packed).decode()
        if len(text) > MAX_BYTES:
            raise GaveUp(
                "what was sent is too scattered to be remembered, so this run stops here; select whole reasons, "
                "details or ranges instead"
            )
        return text

    def _range_of(self, cause: str, offset: int) -> int | None:
        ranges = self._ranges.get(cause, [])
        at = bisect_right(ranges, offset, key=lambda pair: pair[0]) - 1
        return at if at >= 0 and ranges[at][1] >= offset else None
