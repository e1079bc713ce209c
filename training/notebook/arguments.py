"""Keyword arguments named as the flags of a command, checked as the command checks them."""

import argparse
import difflib
import inspect
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from consumer.errors import UsageError

#: Flags that say how a command prints: a function returns its result.
PRINTING = {"json"}


def flags_of(command: str) -> dict[str, argparse.Action]:
    """The flags of `command` by the names that its function gives them."""
    parser = argparse.ArgumentParser(add_help=False)
    import_module(f"training.commands.{command}").add_arguments(parser)
    return {action.dest: action for action in parser._actions if action.dest not in PRINTING}


def arguments_of(command: str, given: Mapping[str, Any]) -> argparse.Namespace:
    """What the command line would make of the `given` values; None is what was not given.

    Values may be what Python has for them (numbers, paths, lists, mappings) or the text of the flag.

    Raises:
        UsageError: the function has no such argument, needs another one, or the value is wrong for its flag. Settings
            are not checked here: `training.commands.options.read_settings` does that.
    """
    flags = flags_of(command)
    for name in given:
        if name not in flags:
            similar = difflib.get_close_matches(name, flags, n=1)
            hint = f"; did you mean {similar[0]}?" if similar else f" (see help(training.{command}))"
            raise UsageError(f"{command}() has no argument {name!r}{hint}")
    arguments = argparse.Namespace(command=command.replace("_", "-"))
    for name, flag in flags.items():
        value = given.get(name)
        if value is not None:
            setattr(arguments, name, _read(f"{command}({name}=...)", flag, value))
        elif flag.required:
            raise UsageError(f"{command}() needs {name}: {flag.help}")
        elif flag.default is not argparse.SUPPRESS:
            setattr(arguments, name, flag.default)
    return arguments


def _read(where: str, flag: argparse.Action, value: Any) -> Any:
    """`value` as the command reads the text of `flag`."""
    if isinstance(flag, argparse._StoreTrueAction):
        if not isinstance(value, bool):
            raise UsageError(f"{where}: True or False, not {value!r}")
        return value
    if flag.default is argparse.SUPPRESS:  # a setting, whose model reads it
        return (
            tuple(value)
            if isinstance(value, list)
            else os.fspath(value)
            if isinstance(value, Path)
            else _text(flag, value)
        )
    if flag.choices is not None:
        if value not in flag.choices:
            raise UsageError(f"{where}: {value!r} is not one of {', '.join(map(str, flag.choices))}")
        return value
    several = isinstance(flag, argparse._AppendAction) or flag.nargs is not None
    if several:
        values = value if isinstance(value, list | tuple) else [value]
        return [_convert(where, flag, each) for each in values]
    return _convert(where, flag, value)


def _text(flag: argparse.Action, value: Any) -> Any:
    """The text of a list such as "int8,fp32" is what the flag makes of it; everything else stays as it is."""
    return flag.type(value) if isinstance(value, str) and callable(flag.type) else value


def _convert(where: str, flag: argparse.Action, value: Any) -> Any:
    if isinstance(value, Mapping):
        value = ",".join(f"{old}={new}" for old, new in value.items())
    if isinstance(value, bool) or not isinstance(value, str | os.PathLike | int | float):
        raise UsageError(f"{where}: {_wanted(flag)}, not a {type(value).__name__}")
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    convert: Callable[[str], Any] = flag.type if callable(flag.type) else str
    try:
        return convert(text)
    except (ValueError, TypeError, argparse.ArgumentTypeError):
        raise UsageError(f"{where}: {value!r} is no {_wanted(flag)}; {flag.help}") from None


def _wanted(flag: argparse.Action) -> str:
    return str(flag.metavar or flag.dest.upper()).lower()


def documented(command: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a function the signature and the help of `command`: `help(fit)` and Shift-Tab show every argument."""

    def document(function: Callable[..., Any]) -> Callable[..., Any]:
        flags = flags_of(command)
        own = inspect.signature(function)
        named = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        known = {each.name for each in named}
        named += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any)
            for name in flags
            if name not in known
        ]
        function.__signature__ = own.replace(parameters=named)  # type: ignore[attr-defined]
        lines = [f"    {name}: {_help(flag)}" for name, flag in flags.items()]
        function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Args:", *lines])
        return function

    return document


def _help(flag: argparse.Action) -> str:
    return (flag.help or "").replace("%(default)s", str(flag.default)).replace("%%", "%")
