"""The part of a model hub that downloading a checkpoint needs, on this machine: revisions, lists of files, files."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class FakeHub:
    """Serves directories as models: `models[name][revision]` is the directory of a commit; `asked` is what was read."""

    def __init__(self, models: Mapping[str, Mapping[str, Path]]) -> None:
        self.models = models
        self.asked: list[str] = []

    def commit(self, name: str, revision: str) -> str:
        """The commit that `revision` stands for: 40 digits."""
        return hashlib.sha1(str(self.models[name][revision]).encode(), usedforsecurity=False).hexdigest()

    def directory(self, name: str, revision: str) -> Path | None:
        """Of a revision, or of the commit that it stands for."""
        known = self.models.get(name, {})
        commits = {self.commit(name, each): path for each, path in known.items()}
        return known.get(revision) or commits.get(revision)


@contextmanager
def running(hub: FakeHub) -> Iterator[str]:
    """The address at which `hub` answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def _serve(self) -> None:
            status, content, headers = _answer(hub, unquote(urlsplit(self.path).path))
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(hub: FakeHub, path: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, content and headers of one request."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "models"]:
        name, kind, revision = "/".join(parts[2:4]), *(parts[4:6] or ["revision", "main"])
        if name not in hub.models:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        directory = hub.directory(name, revision)
        if directory is None:
            return 404, b"{}", {"X-Error-Code": "RevisionNotFound"}
        files = sorted(directory.iterdir())
        facts: object = {
            "id": name,
            "sha": next(hub.commit(name, each) for each in hub.models[name] if hub.models[name][each] == directory),
            "siblings": [{"rfilename": file.name} for file in files],
        }
        if kind == "tree":
            facts = [
                {"type": "file", "path": file.name, "oid": _etag(file), "size": file.stat().st_size} for file in files
            ]
        return 200, json.dumps(facts).encode(), {"Content-Type": "application/json"}
    if len(parts) != 5:
        return 404, b"", {}
    name, revision, file = "/".join(parts[:2]), parts[3], parts[4]
    directory = hub.directory(name, revision)
    if directory is None or not (directory / file).is_file():
        return 404, b"", {"X-Error-Code": "EntryNotFound"}
    hub.asked.append(file)
    return 200, (directory / file).read_bytes(), {"ETag": f'"{_etag(directory / file)}"', "X-Repo-Commit": revision}


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
