"""Where the settings of a worker come from: flags, then the environment, then secret files, then the settings file."""

import argparse
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource, SecretsSettingsSource, SettingsError, TomlConfigSettingsSource

from consumer.errors import UsageError
from consumer.flags import given, is_secret, problems
from consumer.settings.worker import WorkerSettings

PREFIX = "REVIEWS_"
#: Environment variable with the path of the settings file; the flag is `--config`.
CONFIG_VARIABLE = "REVIEWS_CONFIG"
#: Environment variable with the path of a directory that holds one text file for each setting, for secrets.
SECRETS_VARIABLE = "REVIEWS_SECRETS_DIR"
#: Variables that are not settings; the last three are read by the local Kafka of `demo` and `kafka`.
OTHER_VARIABLES = {
    CONFIG_VARIABLE,
    SECRETS_VARIABLE,
    "REVIEWS_MAVEN_URL",
    "REVIEWS_KAFKA_LIBS",
    "REVIEWS_KAFKA_CACHE",
}
_HELP = "see review-consumer run --help"


@dataclass(frozen=True, slots=True)
class Sourced:
    """Settings, and what to log about where they come from.

    Attributes:
        settings: merged and checked.
        origins: one line: the flags, variables and files that set something. Names only, never values.
        warnings: one line each.
    """

    settings: WorkerSettings
    origins: str
    warnings: tuple[str, ...]


def read_settings(arguments: argparse.Namespace) -> Sourced:
    """Merge all sources. An environment variable or secret file that is empty counts as not set.

    Raises:
        UsageError: with one line for all wrong settings; values are not repeated, one may be a secret.
    """
    file = os.environ.get(CONFIG_VARIABLE) or None if arguments.config is None else arguments.config
    secrets = os.environ.get(SECRETS_VARIABLE) or None
    layers = {
        "flags": given(WorkerSettings, arguments),
        "variables": EnvSettingsSource(WorkerSettings)(),
        "secret files": {} if secrets is None else _secret_files(secrets),
        "settings file": {} if file is None else _settings_file(file),
    }
    values: dict[str, Any] = {}
    for layer in layers.values():
        values = layer | values  # earlier layers win
    try:
        settings = WorkerSettings(**values)
    except ValidationError as error:
        raise UsageError(f"{problems(error)} ({_HELP})") from None
    return Sourced(
        settings,
        _origins(layers, secrets, file),
        (*_unknown(secrets), *_readable_by_everyone(settings, layers, secrets, file)),
    )


def _secret_files(directory: str) -> dict[str, Any]:
    if not Path(directory).is_dir():
        raise UsageError(
            f"{SECRETS_VARIABLE} is {directory}, which is not a directory; set it to one with a file for each secret"
        )
    try:
        found = SecretsSettingsSource(WorkerSettings, secrets_dir=directory)()
    except SettingsError as error:  # it names the secret, not its content
        raise UsageError(f"{SECRETS_VARIABLE} must be a directory with one text file per secret: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"a file in {SECRETS_VARIABLE} ({directory}) cannot be read: {_reason(error)}") from None
    return {name: value for name, value in found.items() if value}


def _settings_file(file: str) -> dict[str, Any]:
    if not Path(file).is_file():
        raise UsageError(f"settings file {file or '(no name)'} does not exist, or is not a file")
    try:
        return TomlConfigSettingsSource(WorkerSettings, Path(file))()
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"settings file {file} is not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"settings file {file} cannot be read: {_reason(error)}") from None


def _reason(error: OSError | UnicodeDecodeError) -> str:
    """Without the text of a UnicodeDecodeError, which repeats a byte of the file."""
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"


def _origins(layers: Mapping[str, Mapping[str, Any]], secrets: str | None, file: str | None) -> str:
    """Which source sets what; a source that a stronger one overrides is left out."""
    shown = {
        "flags": lambda name: f"--{name.replace('_', '-')}",
        "variables": lambda name: f"{PREFIX}{name.upper()}",
    }
    places = {"secret files": f" in {secrets}", "settings file": f" {file}"}
    parts, taken = [], set[str]()
    for title, layer in layers.items():
        if names := sorted(layer.keys() - taken):
            listed = ", ".join(map(shown.get(title, str), names))
            parts.append(f"{title}{places.get(title, '')}: {listed}")
        taken |= layer.keys()
    return "; ".join(parts) or "defaults only"


def _unknown(directory: str | None) -> Iterator[str]:
    """Variables and secret files that look like settings: misspelt, or meant for another program."""
    known = {f"{PREFIX}{name.upper()}" for name in WorkerSettings.model_fields}
    variables = [name for name, value in os.environ.items() if value and name.upper().startswith(PREFIX)]
    unknown = sorted(name for name in variables if name.upper() not in known | OTHER_VARIABLES)
    if directory:
        # Kubernetes keeps the files that it shows in hidden ones.
        files = [path.name for path in Path(directory).iterdir() if path.name[0] != "."]
        unknown += sorted(f"{directory}/{name}" for name in files if name.upper() not in known)
    if unknown:
        yield f"unknown settings are ignored: {', '.join(unknown)} ({_HELP})"


def _readable_by_everyone(
    settings: WorkerSettings, layers: Mapping[str, Mapping[str, Any]], secrets: str | None, file: str | None
) -> Iterator[str]:
    """Files with a password or a private key that every user of this machine can read."""
    names = {name for name, field in WorkerSettings.model_fields.items() if is_secret(field)}
    places: list[tuple[str, Path]] = []
    if file and (inside := sorted(names & layers["settings file"].keys())):
        places.append((", ".join(inside), Path(file)))
    if secrets:
        wanted = {f"{PREFIX}{name}".lower() for name in names & layers["secret files"].keys()}
        places += [("a secret", path) for path in sorted(Path(secrets).iterdir()) if path.name.lower() in wanted]
    if settings.ssl_keyfile:
        places.append(("a private key", settings.ssl_keyfile))
    for what, path in places:
        if path.stat().st_mode & stat.S_IROTH:
            yield f"{path} holds {what} and every user of this machine can read it; run chmod o-r on it"
