"""The parts of what a notebook shows: tables and pictures in plain HTML, which needs no script and no other file."""

import tempfile
from base64 import b64encode
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

#: Pixels; pictures are drawn larger, for screens with many.
WIDTH = 560


def heading(title: str, accuracy: float, interval: tuple[float, float]) -> str:
    """What it is, and how accurate."""
    low, high = interval
    return f"<h4>{escape(title)}: {accuracy:.2%} accuracy (95 % interval {low:.2%} to {high:.2%})</h4>"


def note(text: str) -> str:
    """A line of text; nothing for none."""
    return f"<p>{escape(text)}</p>" if text else ""


def confusion_frame(confusion: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """Counts by true label (index) and predicted label (columns)."""
    truths = pd.Index(list(confusion), name="truth")
    predicted = pd.Index(list(confusion), name="predicted")
    return pd.DataFrame([[row[name] for name in predicted] for row in confusion.values()], truths, predicted)


def frame(data: pd.DataFrame | Styler) -> str:
    """A table; what stands in its cells is escaped."""
    style = data if isinstance(data, Styler) else data.style.format(escape="html")
    return str(style.format_index(escape="html").format_index(escape="html", axis=1).to_html())


def picture(png: bytes, meaning: str) -> str:
    """A picture within the page; `meaning` is for those who do not see it."""
    return f'<img alt="{escape(meaning)}" width="{WIDTH}" src="data:image/png;base64,{b64encode(png).decode()}">'


def picture_of(draw: Callable[[Path], None]) -> bytes:
    """The PNG that `draw` writes to a path."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "picture.png"
        draw(path)
        return path.read_bytes()
