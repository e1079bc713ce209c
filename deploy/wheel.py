"""Build hook of hatchling: every wheel carries the student and the documentation.

So an installation alone can label texts, show the demo, and serve the pages that its own page links to. An editable
installation takes both from the checkout instead.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Additions(BuildHookInterface[Any]):
    """Adds them; if one is missing, the build fails."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the build of `version`, "standard" or "editable"."""
        if version == "standard":
            added = build_data["force_include"]
            added["bundles/student-imdb"] = "consumer/bundles/student-imdb"
            added["docs/runbook.md"] = "consumer/docs/runbook.md"
            added |= {str(page): f"consumer/docs/{page.name}" for page in Path(self.root, "docs").glob("*.md")}
