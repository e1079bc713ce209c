"""One Kafka process: a broker that is its own KRaft controller, on loopback, in a directory of its own."""

import base64
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from consumer.errors import KafkaUnusable
from consumer.local import supervise, tools

HOST = "127.0.0.1"
#: Range of free ports, below Linux's ephemeral range (32768 and up). A client that reconnects to a stopped broker could
#: otherwise get the broker's port as its own source port, connect to itself and block the port.
PORTS = range(15_000, 32_000)
#: 16 bytes in base64. The same for all local clusters, so that kept data survives any number of restarts.
CLUSTER_ID = base64.urlsafe_b64encode(b"review-consumer!").decode().rstrip("=")
STOP_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class Ports:
    """The three listeners of a node: for clients, for brokers and administration, for controllers."""

    client: int
    internal: int
    controller: int

    @classmethod
    def free(cls, client: int | None = None) -> Self:
        """Ports that are free now; `client` is kept if given."""
        taken = {client} if client else set()
        found = [client] if client else []
        while len(found) < 3:
            port = secrets.choice(PORTS)
            if port not in taken and is_free(port):
                found.append(port)
            taken.add(port)
        return cls(*found)


def is_free(port: int) -> bool:
    """Whether a broker could listen on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does: TIME_WAIT does not matter
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


class Node:
    """A broker process that can be started, stopped, killed and paused; it keeps its data and ports.

    Args:
        directory: its own, for server.properties, kafka.log and the data.
        properties: the complete server.properties; see `consumer.local.config`.
        ports: its listeners, as in `properties`.
        temporary: the cluster's directory if it is removed with the parent process, else None.
        lock: the open lock file of the data; the broker holds it as long as it lives, even without its parent.
    """

    def __init__(
        self,
        directory: Path,
        properties: Mapping[str, str],
        ports: Ports,
        *,
        temporary: Path | None = None,
        lock: IO[str] | None = None,
    ) -> None:
        self.node_id = int(properties["node.id"])
        self.ports = ports
        self.log_path = directory / "kafka.log"
        self._directory = directory
        self._data = Path(properties["log.dirs"].split(",")[0])
        self._temporary = temporary
        self._held = (lock.fileno(),) if lock else ()
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._log_start = 0
        self._config = directory / "server.properties"
        (directory / "tmp").mkdir(parents=True, exist_ok=True)
        self._config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), "utf-8")

    @property
    def bootstrap(self) -> str:
        """HOST:PORT of the listener for clients."""
        return f"{HOST}:{self.ports.client}"

    @property
    def internal(self) -> str:
        """HOST:PORT of the listener for brokers and administration."""
        return f"{HOST}:{self.ports.internal}"

    @property
    def running(self) -> bool:
        """Whether the process exists, paused or not."""
        return self._supervisor is not None and self._supervisor.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the broker's JVM.

        Raises:
            RuntimeError: it is not running.
        """
        if not self.running:
            raise RuntimeError(f"broker {self.node_id} is not running")
        return self._pid

    def format(self) -> None:
        """Format an empty data directory; one that is formatted already stays unchanged.

        Raises:
            KafkaUnusable: Kafka refused, for example because a property is invalid.
        """
        if (self._data / "meta.properties").exists():
            return
        command = tools.tool("storage", ["format", "--cluster-id", CLUSTER_ID, "--config", str(self._config)])
        with self._supervise(command, stderr=subprocess.PIPE) as formatting:
            output = formatting.stderr.read().decode(errors="replace") if formatting.stderr else ""
        if formatting.returncode:
            raise KafkaUnusable(f"Kafka's storage tool refused {self._config}: {last_line(output)}")

    def start(self) -> None:
        """Start the process with its ports and data; does not wait until it is ready."""
        # Compression libraries unpack themselves into java.io.tmpdir.
        options = ("-Xms256m", "-Xmx512m", f"-Djava.io.tmpdir={self._directory / 'tmp'}")
        command = tools.java_command("kafka.Kafka", [str(self._config)], options)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._supervisor = self._supervise(command, stderr=log)
        self._pid = int(self._supervisor.stdout.readline() or 0) if self._supervisor.stdout else 0

    def _supervise(self, command: Sequence[str], stderr: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Run a command that ends when this process ends, for whatever reason; all its output goes to `stderr`."""
        supervisor = [sys.executable, "-I", "-S", supervise.__file__, str(self._temporary or ""), *command]
        # Its own session: Ctrl-C reaches only this program, which then stops the broker gracefully.
        return subprocess.Popen(
            supervisor,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            pass_fds=self._held,
        )

    def stop(self) -> None:
        """Stop it gracefully (SIGTERM), or kill it if that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it (SIGKILL), as a power failure would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, but nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue a paused process (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def last_words(self) -> str:
        """The most informative line of its log since its last start."""
        return last_line(self._log())

    def found_port_taken(self) -> bool:
        """Whether it ended because another process listens on one of its ports."""
        return not self.running and "Address already in use" in self._log()

    def _log(self) -> str:
        return self.log_path.read_bytes()[self._log_start :].decode(errors="replace")

    def _end(self, how: signal.Signals) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        if supervisor.poll() is None and self._pid:
            for number in (how, signal.SIGCONT):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)
            try:
                supervisor.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(supervisor.pid, signal.SIGKILL)
                supervisor.wait()
        if supervisor.returncode < 0:  # the supervisor itself was killed: the broker is alone in its process group
            with contextlib.suppress(ProcessLookupError):
                os.killpg(supervisor.pid, signal.SIGKILL)
        for pipe in (supervisor.stdin, supervisor.stdout):
            if pipe is not None:
                pipe.close()


def last_line(text: str) -> str:
    """The last line with an error or an exception; without one, the last line that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    telling = [line for line in lines if "ERROR" in line or "Exception" in line]
    return (telling or lines or ["no output"])[-1]
