"""The parser of both programs: wrong usage names the flag or the command that was meant, and never repeats a value."""

import argparse
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

_FLAG = re.compile(r"--[a-z][a-z0-9-]*|-[a-zA-Z]")
#: Something that begins as a flag does, with any of the dashes that word processors make of two hyphens.
_DASHED = re.compile(r"[-\u2010-\u2015\u2212]+([A-Za-z][A-Za-z0-9_-]*)", re.DOTALL)
#: What argparse repeats of a value that it refuses, and what to say instead.
_ECHOES = (
    (re.compile(r"invalid (\w+) value: .*$", re.DOTALL), r"invalid \1 value"),
    (re.compile(r"ignored explicit argument .*$", re.DOTALL), "takes no value"),
)
#: Similarity, 0 to 1, from which a flag is a misspelled one of its command, even if another command has it.
ALMOST_EQUAL = 0.8


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` without abbreviated flags, whose errors never repeat a value: it may be a secret.

    `commands` are those of the program: what each is called, and the module that adds its arguments. They are imported
    if a flag is wrong, to see which of them have it.
    """

    commands: Mapping[str, str] = {}
    _given: Sequence[str] = ()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False} | options)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As `ArgumentParser.parse_known_args`, but nothing may be unknown: a subcommand reports its own flags."""
        self._given = args or ()
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and `message`, without the value that argparse puts into it.

        If something is missing because its flag is misspelled, the misspelled flag is what the user has to know.
        """
        if "required" in message or "COMMAND: invalid choice" in message:
            misspelled = next((each for each in self._unknown() if self._meant(each)), None)
            if misspelled:
                self._refuse([misspelled])
        for echo, instead in _ECHOES:
            message = echo.sub(instead, message)
        super().error(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse, and name the choice that is most like `value`."""
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        similar = _most_like(str(value), choices)
        meant = f"did you mean {similar}? " if similar else ""
        raise argparse.ArgumentError(action, f"invalid choice ({meant}choose from {', '.join(map(repr, choices))})")

    def _refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Report the first of `unknown`; whatever comes after it may be its value."""
        flag = unknown[0].partition("=")[0]
        if re.search("password|secret|token$", flag) and _FLAG.fullmatch(flag):
            self.error(
                f"there is no flag {flag}: every user of this machine can read command lines; secrets come from "
                "environment variables such as REVIEWS_SASL_PASSWORD, or from files (REVIEWS_SECRETS_DIR)"
            )
        meant = self._meant(flag)
        if not meant and not _FLAG.fullmatch(flag):
            self.error("unexpected argument; its text is not repeated here, it may be a secret")
        super().error(f"unknown flag {flag}" + (f"; {meant}" if meant else ""))

    def _unknown(self) -> Iterator[str]:
        """What was given as a flag, up to `--` or to what stands for a command, and is none."""
        own = self._option_string_actions
        for given in self._given:
            if given == "--" or (self._subparsers is not None and not _DASHED.match(given)):
                return
            flag = given.partition("=")[0]
            if flag not in own and _DASHED.fullmatch(flag):
                yield flag

    def _meant(self, flag: str) -> str:
        """What to say of an unknown `flag`: the own flag that is most like it, and the commands that have it."""
        own = list(self._option_string_actions)
        word = _DASHED.fullmatch(flag)
        if not word:
            return ""
        meant = "--" + word[1].lower().replace("_", "-")
        if meant in own:
            return f"did you mean {meant}?"
        similar = _most_like(meant, [option for option in own if option.startswith("--")])
        elsewhere = [name for name, flags in self._flags_of_commands() if meant in flags]
        if elsewhere and self._subparsers is not None:
            return f"flags come after the command, as in {self.prog} {elsewhere[0]} {meant}"
        if elsewhere and not (similar and difflib.SequenceMatcher(None, meant, similar).ratio() > ALMOST_EQUAL):
            has = "has it" if len(elsewhere) == 1 else "have it"
            return f"{_listed(elsewhere)} {has}, {self.prog.partition(' ')[2]} does not"
        return f"did you mean {similar}?" if similar else ""

    def _flags_of_commands(self) -> Iterator[tuple[str, set[str]]]:
        """The flags of every command of the program, those of its own subcommands included."""
        for name, module in self.commands.items():
            parser = argparse.ArgumentParser(prog=name)
            import_module(module).add_arguments(parser)
            yield name, {flag for each in _parsers(parser) for flag in each._option_string_actions}


def add_commands(
    parser: Parser, commands: Mapping[str, tuple[str, str]], first: Sequence[str], *, described: bool = False
) -> dict[str, Any]:
    """Give `parser` its `commands`, each with its module and its help text.

    Only the commands in `first` get their arguments: help and usage errors stay quick. Their modules are returned.
    `described`: the help text is also the description of the command.
    """
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    places = {name: module for name, (module, _) in commands.items()}
    chosen: dict[str, Any] = {}
    for name, (module, text) in commands.items():
        description = f"{text[0].upper()}{text[1:]}." if described else None
        command = subparsers.add_parser(name, help=text, description=description)
        if name in first:
            chosen[name] = import_module(module)
            chosen[name].add_arguments(command)
    for each in _parsers(parser):
        each.commands = places
    return chosen


def _parsers(parser: Any) -> Iterator[Any]:
    """`parser`, and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _parsers(each)


def _most_like(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that was probably meant by `word`, both with or without dashes in front.

    `--learn` begins `--learning-rate`, `--lr` has its initials, `--num-train-epochs` ends in `--epochs`; else the one
    that is spelled most alike.
    """
    names = {each.lstrip("-"): each for each in known}
    word = word.lstrip("-").lower()
    begun = [name for name in names if len(word) > 2 and name.startswith(word)]
    initials = [name for name in names if "-" in name and "".join(part[:1] for part in name.split("-")) == word]
    ended = [name for name in names if word.endswith(f"-{name}")]
    alike = difflib.get_close_matches(word, names, n=1)
    found = [*(begun if len(begun) == 1 else ()), *initials, *sorted(ended, key=len, reverse=True), *alike, *begun]
    return names[found[0]] if found else None


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
