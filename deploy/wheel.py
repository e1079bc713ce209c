"""Build hook of hatchling: every wheel carries the student, the documentation, and a bill of what it carries.

So an installation alone can label texts, show the demo, and serve the pages that its own page links to. An editable
installation takes both from the checkout instead. The bill of materials lists what is in the wheel (PEP 770), not its
dependencies: an installer chooses their versions.
"""

import json
import runpy
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
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
            self._directory = TemporaryDirectory()
            bill = Path(self._directory.name, "review-consumer.cdx.json")
            bill.write_text(json.dumps(self._bill(), indent=1, sort_keys=True), "utf-8")
            build_data["sbom_files"].append(str(bill))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 (hatchling)
        """Called after the build."""
        if version == "standard":
            self._directory.cleanup()

    def _bill(self) -> dict[str, Any]:
        """What is in the wheel, in CycloneDX."""
        models = runpy.run_path(str(Path(self.root, "deploy/models.py")))
        model = models["component"](Path(self.root, "bundles/student-imdb"))
        purl = f"pkg:pypi/review-consumer@{self.metadata.version}"
        subject = {
            "type": "application",
            "bom-ref": purl,
            "name": "review-consumer",
            "version": self.metadata.version,
            "purl": purl,
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        }
        bill = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {"component": subject},
            "components": [model],
            "dependencies": [{"ref": purl, "dependsOn": [model["bom-ref"]]}],
        }
        return {**bill, "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True))}"}
