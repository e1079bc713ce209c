"""Settings models as command-line options, and back."""

import argparse
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from consumer.encoder import Truncation
from consumer.errors import UsageError

Settings = TypeVar("Settings", bound=BaseModel)


def add_settings(parser: argparse.ArgumentParser, model: type[BaseModel]) -> None:
    """One option for each field of `model`, with its default in the help."""
    for name, field in model.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **_option(field))


def read_settings(model: type[Settings], arguments: argparse.Namespace) -> Settings:
    """The fields of `model` that were given, checked.

    Raises:
        UsageError: with one line for each wrong setting.
    """
    try:
        return model.model_validate({k: v for k, v in vars(arguments).items() if k in model.model_fields})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise UsageError(f"{problems} (see review-training {arguments.command} --help)") from None


def count(text: str) -> int:
    """A number of things, at least one, as argparse reads it."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _option(field: FieldInfo) -> dict[str, Any]:
    """How argparse reads one setting; its values are checked by pydantic."""
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    option: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{field.description}".replace("%", "%%")}
    if default is not None:
        option["help"] += f" (default: {getattr(default, 'value', default)})"
    if field.annotation is Truncation:
        return option | {"choices": [choice.value for choice in Truncation]}
    if get_origin(field.annotation) is Literal:
        return option | {"choices": get_args(field.annotation)}
    if isinstance(field.default, tuple):
        return option | {"type": lambda text: tuple(text.split(",")), "metavar": "NAMES"}
    kinds = get_args(field.annotation) or (field.annotation,)  # the kinds of `int | None`
    return option | {"metavar": "N" if int in kinds else "NUMBER" if float in kinds else "TEXT"}
