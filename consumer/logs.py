"""Log lines on stderr: JSON for machines, text for people. Coordinates and codes, never content."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console
from rich.logging import RichHandler


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `json.dumps` escapes line breaks, so no value can forge a second line."""

    def format(self, record: logging.LogRecord) -> str:
        """Render `record`."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(line, ensure_ascii=False)


def set_up(style: Literal["auto", "json", "text"], level: str) -> None:
    """Send all logging to stderr. kafka-python stays at WARNING: below that it logs keys and values."""
    handler: logging.Handler
    if style == "text" or (style == "auto" and sys.stderr.isatty()):
        handler = RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False)
        handler.setFormatter(logging.Formatter("%(message)s", datefmt="[%X]"))
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("kafka").setLevel(logging.WARNING)
