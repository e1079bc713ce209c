"""Command line of training: `review-training COMMAND --help` lists each setting with its default."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from consumer.encoder import Truncation
from consumer.errors import ReviewsError, UsageError
from training.settings import FitSettings, PackageSettings

Settings = TypeVar("Settings", bound=BaseModel)

#: What the training extra brings; without any of them nothing here can run.
NEEDED = ("torch", "transformers", "pandas", "openpyxl", "nncf", "safetensors")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit codes are those of consumer/errors.py, and 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="review-training",
        description="Turns a spreadsheet of labelled reviews into the model bundle that review-consumer serves.",
        epilog="exit codes: 0 done; 2 wrong usage, files or settings; 3 bundle refused; 130 stopped",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_fit(commands.add_parser("fit", help="fine-tune an encoder, measure it, write a bundle"))
    _add_evaluate(commands.add_parser("evaluate", help="measure a bundle on a file of labelled reviews"))
    arguments = parser.parse_args(argv)
    actions = {"fit": _fit, "evaluate": _evaluate}
    try:
        if any(importlib.util.find_spec(name) is None for name in NEEDED):
            raise UsageError("install with make env-training or pip install 'review-consumer[training]'")
        actions[arguments.command](arguments)
    except ReviewsError as error:
        print(f"review-training: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt as stopped:
        print(f"review-training: {stopped or 'stopped'}", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="xlsx or csv with Reviews, Sentiment")
    parser.add_argument("--test", type=Path, required=True, metavar="FILE", help="the same; it only measures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle; an older one is replaced")
    parser.add_argument(
        "--base",
        default="distilbert-base-uncased",
        metavar="DIR_OR_NAME",
        help="pretrained encoder: a directory, or a name on the Hugging Face hub (default: %(default)s)",
    )
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="state of the run (default: OUT.run)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=5.0, metavar="MINUTES", help="between two (default: %(default)s)"
    )
    parser.add_argument(
        "--max-overlap",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="refuse when more test texts than this share occur in the training file (default: %(default)s)",
    )
    for model in (FitSettings, PackageSettings):
        for name, field in model.model_fields.items():
            parser.add_argument(f"--{name.replace('_', '-')}", **_option(field))


def _option(field: FieldInfo) -> dict[str, Any]:
    """How argparse reads one setting; its values are checked by pydantic."""
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    option: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{field.description}".replace("%", "%%")}
    if default is not None:
        option["help"] += f" (default: {getattr(default, 'value', default)})"
    if field.annotation is Truncation:
        return option | {"choices": [choice.value for choice in Truncation]}
    if isinstance(field.default, tuple):
        return option | {"type": lambda text: tuple(text.split(",")), "metavar": "NAMES"}
    return option | {"metavar": {int: "N", float: "NUMBER"}.get(type(default), "TEXT")}


def _settings(model: type[Settings], arguments: argparse.Namespace) -> Settings:
    try:
        return model.model_validate({k: v for k, v in vars(arguments).items() if k in model.model_fields})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise UsageError(f"{problems} (see review-training fit --help)") from None


def _fit(arguments: argparse.Namespace) -> None:
    settings, packaging = _settings(FitSettings, arguments), _settings(PackageSettings, arguments)
    from training.evaluate import as_text
    from training.fit import fit

    manifest, evaluation = fit(
        train_file=arguments.train,
        test_file=arguments.test,
        base_name=arguments.base,
        out=arguments.out,
        settings=settings,
        packaging=packaging,
        checkpoints=arguments.checkpoints,
        checkpoint_minutes=arguments.checkpoint_minutes,
        max_overlap=arguments.max_overlap,
    )
    print(as_text(evaluation))  # noqa: T201
    print(f"{arguments.out}: {manifest.name} {manifest.version}, serves {manifest.served}")  # noqa: T201


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle to measure")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="xlsx or csv with Reviews, Sentiment")
    parser.add_argument("--variant", metavar="NAME", help="precision variant (default: the one that is served)")
    parser.add_argument("--limit", type=_count, metavar="N", help="measure on the first N rows")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.evaluate import as_text, evaluate_file

    evaluation = evaluate_file(arguments.bundle, arguments.data, arguments.variant, arguments.limit)
    print(json.dumps(evaluation.as_json()) if arguments.json else as_text(evaluation))  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
