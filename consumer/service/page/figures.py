"""How numbers are written on the page."""


def number(value: float) -> str:
    """A count, as in 12,345."""
    return f"{value:,.0f}"


def rate(value: float | None) -> str:
    """A rate; a dash if it is not known."""
    return "-" if value is None else f"{value:,.1f}"


def duration(seconds: float) -> str:
    """As in "0.4 s", "3 min 20 s" or "2 d 4 h"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count:.0f} {unit}" for count, unit in parts[first : first + 2] if count)
