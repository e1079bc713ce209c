"""Kafka's jars are what was pinned, wherever they come from, or nothing is started."""

import hashlib
import os
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest

from consumer.errors import UsageError
from consumer.local import fetch, jars
from consumer.local.pinned import KAFKA_VERSION, Jar, pinned

FILES = {f"org/example/part{n}/1.{n}/part{n}-1.{n}.jar": f"jar number {n}".encode() * 1000 for n in range(12)}
JARS = [Jar(hashlib.sha256(data).hexdigest(), len(data), PurePosixPath(path)) for path, data in FILES.items()]


class Repository(ThreadingHTTPServer):
    """A Maven repository on loopback, and what was asked of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict(FILES)
        self.asked: Counter[str] = Counter()
        self.break_off: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/maven2"


class _Handler(BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        path = self.path.removeprefix("/maven2/")
        self.server.asked[path] += 1
        data = self.server.files.get(path)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        broken = path in self.server.break_off
        self.server.break_off.discard(path)
        self.wfile.write(data[: len(data) // 2] if broken else data)

    def log_message(self, *_: object) -> None:
        """Say nothing on standard error."""


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A repository that REVIEWS_MAVEN_URL names."""
    with Repository() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("REVIEWS_MAVEN_URL", server.url)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; failed downloads are repeated without a pause."""
    monkeypatch.setenv("REVIEWS_KAFKA_CACHE", str(tmp_path))
    monkeypatch.delenv("REVIEWS_KAFKA_LIBS", raising=False)
    monkeypatch.delenv("REVIEWS_MAVEN_URL", raising=False)
    monkeypatch.setattr(fetch, "RETRY_SECONDS", 0.0)
    return tmp_path / f"kafka-{KAFKA_VERSION}"


def _fake_mvn(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put an executable named mvn first on the PATH."""
    directory.mkdir()
    mvn = directory / "mvn"
    mvn.write_text(f"#!/bin/sh\n{script}\n")
    mvn.chmod(mvn.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


def test_the_pinned_list_names_each_file_once_with_a_full_digest() -> None:
    """The committed list is well-formed, of one Kafka version, and fits a flat directory."""
    listed = pinned()
    assert len(listed) == len({jar.name for jar in listed}) == 92
    assert all(len(jar.sha256) == 64 and jar.bytes > 0 for jar in listed)
    assert all(jar.name == f"{jar.path.parts[-3]}-{jar.path.parts[-2]}.jar" for jar in listed)
    kafka = [jar for jar in listed if jar.path.parts[:3] == ("org", "apache", "kafka")]
    assert {jar.path.parts[-2] for jar in kafka} == {KAFKA_VERSION}


def test_missing_jars_are_downloaded_once_and_then_reused(repository: Repository, cache: Path) -> None:
    """A second start asks for nothing."""
    assert jars.resolve(JARS) == cache
    assert jars.resolve(JARS) == cache
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == {
        Path(path).name: data for path, data in FILES.items()
    }
    assert repository.asked == Counter(dict.fromkeys(FILES, 1))


def test_a_damaged_jar_is_fetched_again_and_the_others_are_not(repository: Repository, cache: Path) -> None:
    """A flipped bit in the cache is detected at the next start, and the jar is downloaded again."""
    # Given a filled cache in which one byte changed, the size did not
    jars.resolve(JARS)
    repository.asked.clear()
    damaged = cache / JARS[3].name
    damaged.write_bytes(b"X" + damaged.read_bytes()[1:])
    # When the jars are asked for again
    jars.resolve(JARS)
    # Then that one alone was fetched, and is whole
    assert repository.asked == Counter({str(JARS[3].path): 1})
    assert JARS[3].intact(cache)


def test_a_repository_that_serves_another_file_is_refused(repository: Repository, cache: Path) -> None:
    """A jar with another SHA-256 never gets onto the class path."""
    repository.files[str(JARS[5].path)] = b"evil" * 3000
    with pytest.raises(UsageError, match="is not the pinned file") as refused:
        jars.resolve(JARS)
    assert refused.value.exit_code == 2
    assert not [path for path in cache.iterdir() if path.name.startswith(JARS[5].name)]


def test_a_download_that_breaks_off_is_repeated(repository: Repository, cache: Path) -> None:
    """A connection that ends half-way costs another attempt, not the start."""
    repository.break_off = {str(JARS[0].path)}
    jars.resolve(JARS)
    assert repository.asked[str(JARS[0].path)] == 2
    assert JARS[0].intact(cache)


def test_several_processes_at_once_fetch_each_jar_once(repository: Repository, cache: Path) -> None:
    """Starts that race share one download."""
    with ThreadPoolExecutor(4) as pool:
        assert {done.result() for done in [pool.submit(jars.resolve, JARS) for _ in range(4)]} == {cache}
    assert repository.asked == Counter(dict.fromkeys(FILES, 1))


def test_without_network_and_cache_the_message_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline is a user's problem with a way out: one line, exit code 2."""
    monkeypatch.setenv("REVIEWS_MAVEN_URL", "http://127.0.0.1:9/maven2")
    with pytest.raises(UsageError, match=r"REVIEWS_MAVEN_URL .* REVIEWS_KAFKA_LIBS") as refused:
        jars.resolve(JARS)
    assert "\n" not in str(refused.value)


def test_mvn_is_used_where_there_is_one(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maven brings the jars, and no other network is touched."""
    # Given an mvn that puts the right file at the requested path, and no Maven Central
    monkeypatch.setattr(fetch, "MAVEN_CENTRAL", "http://127.0.0.1:9")
    source = tmp_path / "source.jar"
    source.write_bytes(FILES[str(JARS[0].path)])
    script = f'for a in "$@"; do case $a in -DoutputDirectory=*) cp {source} "${{a#*=}}/{JARS[0].name}";; esac; done'
    _fake_mvn(tmp_path / "bin", monkeypatch, script)
    # Then the jar is there and nothing of mvn's work is left
    assert jars.resolve(JARS[:1]) == cache
    assert [path.name for path in cache.iterdir()] == [JARS[0].name]


@pytest.mark.parametrize(
    "script", ["exit 1", 'for a; do case $a in -Dout*) echo bad > "${a#*=}/part0-1.0.jar";; esac; done']
)
def test_what_mvn_does_not_bring_comes_over_https(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """An mvn that fails, or whose own cache is damaged, is no obstacle."""
    monkeypatch.delenv("REVIEWS_MAVEN_URL")
    monkeypatch.setattr(fetch, "MAVEN_CENTRAL", repository.url)
    _fake_mvn(tmp_path / "bin", monkeypatch, script)
    directory = jars.resolve(JARS[:2])
    assert all(jar.intact(directory) for jar in JARS[:2])


def test_jars_of_an_installed_kafka_are_used_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REVIEWS_KAFKA_LIBS ends every search, and is refused if it holds no Kafka 4."""
    monkeypatch.setenv("REVIEWS_KAFKA_LIBS", str(tmp_path))
    with pytest.raises(UsageError, match="REVIEWS_KAFKA_LIBS"):
        jars.resolve(JARS)
    (tmp_path / "kafka_2.13-4.1.0.jar").touch()
    assert jars.resolve(JARS) == tmp_path


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says where, and which variable moves it."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("REVIEWS_KAFKA_CACHE", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="REVIEWS_KAFKA_CACHE"):
        jars.resolve(JARS)


def test_an_empty_address_of_a_repository_counts_as_not_set(
    repository: Repository, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for every variable: Compose passes `VAR=` for a value that was not given."""
    monkeypatch.setenv("REVIEWS_MAVEN_URL", "")
    monkeypatch.setattr(fetch, "MAVEN_CENTRAL", repository.url)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert jars.resolve(JARS[:1]) == cache
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/mvn")
    assert fetch.with_mvn in fetch.sources()
