"""Tracing that is off, and what it has in common with tracing that is on."""

from consumer.records.poll import Channel
from consumer.service.stopwatch import Stopwatch


class Off:
    """Adds nothing to the loop: no call for a record, a poll or a stage.

    Attributes:
        stopwatch: for the worker.
    """

    def __init__(self) -> None:
        self.stopwatch = Stopwatch()

    def channel(self, channel: Channel) -> Channel:
        """What the worker uses in place of `channel`."""
        return channel

    def flush(self) -> None:
        """Begin to send what is left, once the loop has ended; does not wait."""

    def close(self) -> None:
        """Wait until it is sent, but not for long."""
