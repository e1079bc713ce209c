"""Model bundles as components of a bill of materials. Imports no package, because the build of the wheel uses it."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

Part = dict[str, Any]


def component(bundle: Path) -> Part:
    """A bundle: its digest, the one that `--bundle-digest` pins, its files, its accuracy, and what it was made from.

    Only the bundles of this project have a licence: that of another is its owner's to say.
    """
    content = (bundle / "manifest.json").read_bytes()
    manifest = json.loads(content)
    name = manifest["name"]
    known = tomllib.loads(Path(__file__).with_name("licences.toml").read_text("utf-8"))["models"].get(name, {})
    described = {
        "type": "machine-learning-model",
        "bom-ref": f"bundle:{name}",
        "name": name,
        "version": manifest["version"],
        "hashes": _hashes(hashlib.sha256(content).hexdigest()),
        "modelCard": {
            "modelParameters": {"task": "text-classification"},
            "quantitativeAnalysis": {"performanceMetrics": [_accuracy(manifest)]},
        },
        "components": [
            {"type": "file", "name": file, "hashes": _hashes(facts["sha256"])}
            for file, facts in sorted(manifest["files"].items())
        ],
    }
    if known:
        described["licenses"] = [{"license": {"id": known["licence"]}}]
    if ancestor := known.get("ancestor"):
        licenses = [{"license": {"id": ancestor["licence"]}}]
        made_from = {key: ancestor[key] for key in ("name", "purl")}
        described["pedigree"] = {"ancestors": [{"type": "machine-learning-model", **made_from, "licenses": licenses}]}
    return described


def members(bundle: Path) -> list[Path]:
    """The bundles that a cascade consists of; empty for a single model."""
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    return [(bundle / member["path"]).resolve() for member in manifest.get("members", [])]


def _accuracy(manifest: Part) -> Part:
    measured = manifest.get("measured") or manifest["variants"][manifest["served"]].get("accuracy")
    return {
        "type": "accuracy",
        "value": str(measured["accuracy"]),
        "slice": f"{measured['rows']} rows of {measured['file']}",
    }


def _hashes(sha256: str) -> list[Part]:
    return [{"alg": "SHA-256", "content": sha256}]
