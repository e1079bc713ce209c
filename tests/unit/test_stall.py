"""The stall detector reports a partition that does not move while records wait, and no other."""

from consumer.records.progress import Progress
from consumer.stall import StallDetector


def test_a_partition_that_stands_still_is_named_after_its_time() -> None:
    """Named once the position has not moved for the time given, not before."""
    # Given a partition with records waiting
    detector, seen = StallDetector(60), {0: Progress(10, 12), 1: Progress(5, 5)}
    # When its position does not move, then it is named when the time is over
    assert [detector.stalled(seen, now, int(now)) for now in (0.0, 59.0, 60.0)] == [None, None, 0]


def test_a_partition_that_waits_for_its_turn_is_not_stalled() -> None:
    """What was fetched of the others comes first, however long it takes: time alone says nothing."""
    # Given a partition that does not move while the client hands out what it has of others
    detector, seen = StallDetector(60), {0: Progress(0, 900), 1: Progress(0, 900)}
    detector.stalled(seen, 0.0, 1)
    assert detector.stalled({0: Progress(400, 900), 1: Progress(0, 900)}, 400.0, 1) is None
    # When two rounds of both go by without it, then it might have been empty when the first one began
    assert detector.stalled({0: Progress(500, 900), 1: Progress(0, 900)}, 500.0, 6) is None
    # And after a third it is named
    assert detector.stalled({0: Progress(600, 900), 1: Progress(0, 900)}, 600.0, 7) == 1


def test_a_partition_without_a_position_waits_for_no_turn() -> None:
    """Nothing is fetched of it at all, so that time alone says it."""
    detector, seen = StallDetector(60), {0: Progress(None, 900), 1: Progress(0, 900)}
    detector.stalled(seen, 0.0, 0)
    assert detector.stalled({0: Progress(None, 900), 1: Progress(400, 900)}, 60.0, 1) == 0


def test_progress_starts_the_time_again() -> None:
    """One record read is enough."""
    # Given a partition that stood still for a while and then moved
    detector = StallDetector(60)
    detector.stalled({0: Progress(10, 12)}, 0, 0)
    detector.stalled({0: Progress(11, 12)}, 59, 59)
    # Then its time starts there
    assert detector.stalled({0: Progress(11, 13)}, 118, 118) is None
    assert detector.stalled({0: Progress(11, 13)}, 119, 119) == 0


def test_a_partition_without_records_or_that_was_given_away_is_not_stalled() -> None:
    """A partition at its end is idle, and the clock stops for a partition that another worker has."""
    # Given a partition at its end, and one that is given away and comes back
    detector = StallDetector(60)
    detector.stalled({0: Progress(12, 12), 1: Progress(0, 9)}, 0, 0)
    detector.stalled({0: Progress(12, 12)}, 30, 30)
    # Then neither is named
    assert detector.stalled({0: Progress(12, 13), 1: Progress(0, 9)}, 61, 61) is None
    assert detector.stalled({0: Progress(12, 13), 1: Progress(0, 9)}, 90, 90) is None


def test_a_partition_of_which_no_position_is_known_is_named_too() -> None:
    """Whatever keeps a committed offset in doubt, the worker reports it."""
    # Given a partition without a position, which has one for a moment
    detector = StallDetector(60)
    assert detector.stalled({0: Progress(None, 12)}, 0, 0) is None
    assert detector.stalled({0: Progress(10, 12)}, 30, 30) is None
    # Then its time starts again with the doubt
    assert detector.stalled({0: Progress(None, 12)}, 40, 40) is None
    assert detector.stalled({0: Progress(None, 12)}, 99, 99) is None
    assert detector.stalled({0: Progress(None, 12)}, 100, 100) == 0
