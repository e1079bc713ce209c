"""How far the last reviews are from the profile of the model, as a table."""

from collections.abc import Iterator

from consumer.service.page.markup import Raw, table
from consumer.service.page.readings import Readings


def drift(readings: Readings) -> Iterator[Raw]:
    """A row for each feature, the one furthest from its limit first; nothing if nothing is compared yet."""
    found, limits = (readings.by(name, "feature") for name in ("reviews_drift", "reviews_drift_limit"))
    if found:
        window = f"last {readings.total('reviews_drift_window_reviews'):,.0f} reviews against the profile"
        rows = sorted(found, key=lambda feature: found[feature] / limits[feature], reverse=True)
        said = {each: "drifts" if found[each] > limits[each] else "as usual" for each in rows}
        yield table(
            (window, "#bits", "#limit", ""),
            ((each, f"{found[each]:.3f}", f"{limits[each]:.3f}", said[each]) for each in rows),
        )
