"""The documentation as it was when this version was built, to be read where there is no way out to the internet."""

from functools import cache
from pathlib import Path

#: What a person at the page is likely to look for.
FIRST = ("runbook", "metrics", "settings", "dead-letters", "dashboards")


@cache
def pages() -> dict[str, Path]:
    """Every page by its name, such as "runbook"; a closed set, so that no request names a file.

    In a wheel they are beside the code, in a checkout in docs/.
    """
    package = Path(__file__).parents[2]
    places = [package / "docs"]
    if (package.parent / "pyproject.toml").is_file():
        places.append(package.parent / "docs")
    return {path.stem: path for place in reversed(places) for path in sorted(place.glob("*.md"))}
