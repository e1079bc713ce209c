"""Bundles that come with the program, by name: `student-imdb` in every wheel, and those of bundles/ in a checkout."""

from collections.abc import Iterator
from pathlib import Path

from consumer.model.bundle.manifest import MANIFEST

#: The bundle that every installation has.
STUDENT = "student-imdb"
#: Served by default if it is there, as in a checkout.
DEFAULT = Path("bundles/cascade-imdb")


def embedded(name: str | Path) -> Path | None:
    """The directory of the bundle called `name` that comes with the program; None if none has this name."""
    if Path(name).name != str(name):
        return None
    return next((place / name for place in _places() if (place / name / MANIFEST).is_file()), None)


def located(path: Path) -> Path:
    """`path`, or the bundle of that name that comes with the program if there is nothing at `path`."""
    return path if path.exists() else embedded(path) or path


def default() -> Path:
    """What `demo` and `label` serve if no bundle is named: the default of a checkout, else the student."""
    return DEFAULT if (DEFAULT / MANIFEST).is_file() else located(Path(STUDENT))


def _places() -> Iterator[Path]:
    """In a wheel, beside the code. In a checkout, where they are made; elsewhere such a directory is not ours."""
    package = Path(__file__).parents[2]
    yield package / "bundles"
    if (package.parent / "pyproject.toml").is_file():
        yield package.parent / "bundles"
