"""Command-line flags from settings models, for the worker and for training; and a parser that repeats no value.

Every field of a model becomes one flag, and its help comes from the model: description, unit, default, environment
variable. Values are passed on as text; pydantic checks them.
"""

import argparse
import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

#: Units shown in the place of a value, by the end of a setting's name.
_UNITS = {
    "_seconds": "SECONDS",
    "_bytes": "BYTES",
    "_characters": "CHARACTERS",
    "_records": "RECORDS",
    "_tokens": "TOKENS",
    "_budget": "TOKENS",
    "max_length": "TOKENS",
    "_ratio": "SHARE",
    "_share": "SHARE",
    "_disagreement": "SHARE",
    "_topic": "TOPIC",
    "_port": "PORT",
    "_host": "ADDRESS",
    "_servers": "HOST:PORT,...",
    "file": "FILE",
    "start_from": "{earliest,latest,TIME}",
    "_command": "COMMAND",
    "_digest": "SHA256",
}
_FLAG = re.compile(r"--[a-z][a-z0-9-]*|-[a-zA-Z]")
#: What argparse repeats of a value that it refuses, and what to say instead.
_ECHOES = (
    (re.compile(r"invalid choice: .* \(choose from (.*)\)$", re.DOTALL), r"invalid choice (choose from \1)"),
    (re.compile(r"invalid (\w+) value: .*$", re.DOTALL), r"invalid \1 value"),
    (re.compile(r"ignored explicit argument .*$", re.DOTALL), "takes no value"),
)


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` without abbreviated flags, whose errors never repeat a value: it may be a secret."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False} | options)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As `ArgumentParser.parse_known_args`, but nothing may be unknown: a subcommand reports its own flags."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and `message`, without the value that argparse puts into it."""
        for echo, instead in _ECHOES:
            message = echo.sub(instead, message)
        super().error(message)

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Report the first of `unknown`; whatever comes after it may be its value."""
        flag = unknown[0].partition("=")[0]
        if not _FLAG.fullmatch(flag):
            self.error("unexpected argument; its text is not repeated here, it may be a secret")
        if re.search("password|secret|token$", flag):
            self.error(
                f"there is no flag {flag}: every user of this machine can read command lines; secrets come from "
                "environment variables such as REVIEWS_SASL_PASSWORD, or from files (REVIEWS_SECRETS_DIR)"
            )
        known = [option for action in self._actions for option in action.option_strings]
        similar = difflib.get_close_matches(flag, known, n=1)
        self.error(f"unknown flag {flag}" + (f"; did you mean {similar[0]}?" if similar else ""))


class Version(argparse.Action):
    """`--version`: the version is looked up only if it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit", **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it and end."""
        print(f"{parser.prog} {version()}")  # noqa: T201
        parser.exit()


def version() -> str:
    """Version of the installed package."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("review-consumer")
    except PackageNotFoundError:
        return "(not installed)"


def add_settings(parser: argparse.ArgumentParser, model: type[BaseModel], only: Collection[str] | None = None) -> None:
    """One flag for each field of `model`, or of `only`, grouped by the class that defines it. Secrets have none."""
    prefix = model.model_config.get("env_prefix")
    for title, of_group in groups(model):
        fields = {name: field for name, field in of_group.items() if only is None or name in only}
        if not fields:
            continue
        group = parser.add_argument_group(title)
        for name, field in fields.items():
            if not is_secret(field):
                group.add_argument(
                    f"--{name.replace('_', '-')}",
                    dest=name,
                    default=argparse.SUPPRESS,
                    help=_help(field, f"{prefix}{name.upper()}" if prefix else "").replace("%", "%%"),
                    **_kind(name, field),
                )


def groups(model: type[BaseModel]) -> Iterator[tuple[str, dict[str, FieldInfo]]]:
    """The fields of `model` by the class that first defines them, with the first line of its docstring as title."""
    seen: set[str] = set()
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and (own := each.model_fields.keys() - seen):
            title = (each.__doc__ or each.__name__).partition("\n")[0].rstrip(".")
            yield title, {name: field for name, field in model.model_fields.items() if name in own}
            seen |= own


def given(model: type[BaseModel], arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line sets of `model`."""
    return {name: value for name, value in vars(arguments).items() if name in model.model_fields}


def problems(error: ValidationError) -> str:
    """One line that names each wrong setting; values are not repeated, one may be a secret."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors(include_input=False, include_url=False)
    )


def is_secret(field: FieldInfo) -> bool:
    """Whether the values of `field` must not show."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def described(field: FieldInfo) -> tuple[str, str]:
    """What `field` means, and its default as a user would write it.

    A default that is worked out is None in the model, and its description ends in `(default: ...)`.
    """
    meaning, value = f"{field.description}", getattr(field.default, "value", field.default)
    if value is None:
        stated = re.fullmatch(r"(.*) \(default: (.*)\)", meaning)
        return (stated[1], stated[2]) if stated else (meaning, "")
    if isinstance(value, tuple):
        return meaning, ",".join(value)
    if isinstance(value, float):
        return meaning, f"{value:g}"
    return meaning, str(value).lower() if isinstance(value, bool) else str(value)


def _help(field: FieldInfo, variable: str) -> str:
    meaning, default = described(field)
    notes = ", ".join(filter(None, (default and f"default: {default}", variable)))
    return f"{meaning} [{notes}]" if notes else meaning


def _kind(name: str, field: FieldInfo) -> dict[str, Any]:
    """How argparse reads the flag."""
    kinds = [each for each in get_args(field.annotation) or (field.annotation,) if each is not type(None)]
    if bool in kinds:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(field.annotation) is Literal:
        return {"metavar": "{" + ",".join(map(str, kinds)) + "}"}
    if isinstance(kinds[0], type) and issubclass(kinds[0], StrEnum):
        return {"metavar": "{" + ",".join(kinds[0]) + "}"}
    if isinstance(field.default, tuple):
        return {"type": lambda text: tuple(text.split(",")), "metavar": "NAME,..."}
    unit = next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), None)
    by_type = {int: "N", float: "NUMBER", Path: "DIR"}
    return {"metavar": unit or next((by_type[kind] for kind in kinds if kind in by_type), "NAME")}
