"""A real headless Chromium, told what to do over its debugging protocol: it loads, measures and draws a page."""

import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests import external
from tests.worker_process import wait_until

START_SECONDS = 60.0
LOAD_SECONDS = 30.0


class Browser:
    """One tab. `complaints` are what the page made it refuse or fail to do, as lines of its console."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last = 0
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Log", "Network", "Runtime"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._last += 1
        self._connection.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = self._receive(LOAD_SECONDS)
            if message.get("id") == self._last:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next event of this name."""
        while True:
            message = self._receive(LOAD_SECONDS)
            if message.get("method") == event:
                return message

    def open(self, url: str, size: tuple[int, int], *, is_phone: bool = False, scheme: str = "light") -> None:
        """Load `url` in a window of this size, width and height in pixels, and wait until it is drawn."""
        width, height = size
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression: the protocol may run it, the page may not."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path: Path) -> bytes:
        """Draw the whole page into a PNG file."""
        drawn = base64.b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"])
        path.write_bytes(drawn)
        return drawn

    @property
    def complaints(self) -> list[str]:
        """What the console of the browser says."""
        return [event["params"]["entry"]["text"] for event in self.events if event["method"] == "Log.entryAdded"]

    @property
    def requested(self) -> list[str]:
        """Each address that was asked for."""
        return [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]

    def _receive(self, seconds: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(timeout=seconds))
        if "method" in message:
            self.events.append(message)
        return message


@contextmanager
def browser() -> Iterator[Browser]:
    """A tab of a browser that is killed when the block ends. Without a browser the test fails in CI."""
    program = external.find("chromium", "chromium-browser", "google-chrome", install="apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                program,
                *("--headless=new", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"),
                *(["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []),
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            active = Path(profile, "DevToolsActivePort")
            wait_until(lambda: active.is_file() and len(active.read_text().split()) == 2, START_SECONDS, "it listens")
            port, path = active.read_text().split()
            with connect(f"ws://127.0.0.1:{port}{path}", proxy=None) as whole:
                whole.send(json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}))
                tab = json.loads(whole.recv(timeout=LOAD_SECONDS))["result"]["targetId"]
            with connect(f"ws://127.0.0.1:{port}/devtools/page/{tab}", max_size=None, proxy=None) as connection:
                yield Browser(connection)
        finally:
            os.killpg(process.pid, 9)
            process.wait()
