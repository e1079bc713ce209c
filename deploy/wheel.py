"""Build hook of hatchling: every wheel carries the student, so that an installation alone can label and show the demo.

An editable installation takes it from bundles/ instead.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Student(BuildHookInterface[Any]):
    """Adds the bundle; without it the build fails."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the build of `version`, "standard" or "editable"."""
        if version == "standard":
            build_data["force_include"]["bundles/student-imdb"] = "consumer/bundles/student-imdb"
