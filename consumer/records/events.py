"""What a broker's clients report beside polls, for whoever counts it."""


class Events:
    """Learns of what happens within a poll or a commit. This one ignores it."""

    def rebalanced(self, seconds: float) -> None:
        """The group has rebalanced; this member can read its partitions again after `seconds`."""

    def transaction_ended(self, *, committed: bool) -> None:
        """A transaction was committed or aborted."""


#: For a client that nothing counts.
IGNORED = Events()
