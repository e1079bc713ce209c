"""How far a partition has been read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Next offset to read (None: not known yet), and end of the partition for a reader of committed records."""

    position: int | None
    end: int

    @property
    def lag(self) -> int | None:
        """Records from the position to the end, transaction markers included; None if the position is not known."""
        return None if self.position is None else max(0, self.end - self.position)
