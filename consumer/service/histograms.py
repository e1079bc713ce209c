"""Many observations of a histogram at the price of a few."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

from prometheus_client import Histogram


def observe_all(histogram: Histogram, values: Iterable[float]) -> None:
    """Like `histogram.observe` for each of `values`, with one increment for each bucket that gets any.

    A thousand single observations, each with three locks, take longer than writing the predictions they are about.
    """
    values = list(values)
    for bucket, count in Counter(bisect_left(histogram._upper_bounds, value) for value in values).items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(values))
