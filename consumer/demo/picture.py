"""The output of the demo as an SVG picture, shortened to one screen."""

import io
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from consumer.errors import UsageError

_WIDTH = 110
#: Outcomes that the picture shows; the others become one line.
_OUTCOMES = 16
_TITLE = "review-consumer demo"


class Picture:
    """Records what the screen prints.

    Args:
        path: the SVG file to write.

    Raises:
        UsageError: its directory does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise UsageError(f"--svg {path}: there is no directory {path.parent}; create it, or choose another file")
        self._path = path
        self._console = Console(
            record=True,
            width=_WIDTH,
            file=io.StringIO(),
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
        )
        self._outcomes = 0

    def print(self, what: Any) -> None:
        """Record a line or a table."""
        self._console.print(what, no_wrap=True, overflow="ellipsis")

    def outcome(self, line: Text) -> None:
        """Record the line of an outcome, unless there are enough."""
        self._outcomes += 1
        if self._outcomes <= _OUTCOMES:
            self.print(line)

    def outcomes_end(self) -> None:
        """Record how many outcomes are left out."""
        if self._outcomes > _OUTCOMES:
            self.print(Text(f"... and {self._outcomes - _OUTCOMES} more", style="dim"))

    def save(self) -> None:
        """Write the file.

        Raises:
            UsageError: it cannot be written.
        """
        svg = self._console.export_svg(title=_TITLE, unique_id="demo")  # by default the id depends on the content
        # Fonts that a viewer would load from the network, and a comment.
        svg = re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
        try:
            self._path.write_text(svg, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--svg {self._path} cannot be written ({error.strerror}); choose another file") from error
