"""How far a partition is read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a partition is read, None if that is not known yet, and where it ends for a reader of committed records."""

    position: int | None
    end: int

    @property
    def lag(self) -> int | None:
        """Records that wait behind the position, transaction markers included."""
        return None if self.position is None else max(0, self.end - self.position)
