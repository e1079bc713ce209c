"""docker-compose.yml without Docker: its services as processes of this machine, under the commands of its users.

A reader's shell finds a `docker` that passes its arguments on to `NativeCompose`. That reads the compose file, and
docker-compose.override.yml beside it, as Compose does, and the variables of the Dockerfile. Addresses, ports and paths
inside containers are replaced by those of this machine. Images, limits, networks and health checks are left out, and
Grafana is not started. A command or an option without a translation fails.
"""

import argparse
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, Self

import yaml

from consumer.local.broker import LocalBroker
from consumer.local.tools import TOOLS
from tests.external import find
from tests.observed import RULES, SCRAPE_SECONDS, PrometheusProcess, free_ports
from tests.pages import BIN, ROOT
from tests.worker_process import wait_until

#: Where Kafka listens for containers, and where Kafka and Prometheus listen for programs of the host.
KAFKA, HOST_KAFKA, HOST_PROMETHEUS = "kafka:9092", "localhost:9092", "localhost:9090"
#: Keys of a service that decide what runs, and what an override may change.
RUNS = ("command", "entrypoint", "environment", "volumes")
OVERRIDDEN = {"environment", "volumes"}
#: Settings of the broker that a broker on this machine has to choose by itself.
PLACED = re.compile(r"node_id|process_roles|controller_\w+|\w*listener\w*|log_dirs|heap_opts")

_DOCKER = """#!{python} -IS
import json, os, socket, sys
with socket.create_connection(("127.0.0.1", {port})) as server:
    server.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    answer = json.loads(server.makefile().read())
if "run" in answer:
    os.execve(answer["run"][0], answer["run"], answer["environment"])
print(answer["printed"], end="", file=sys.stderr if answer["code"] else sys.stdout)
sys.exit(answer["code"])
"""


class UnknownCommandError(Exception):
    """A command of a page that has no translation."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UnknownCommandError(message)


class Container:
    """A process of our program, as the image would run it."""

    def __init__(self, name: str, words: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.environment = dict(environment)
        self._log = log
        with log.open("ab") as sink:
            command = [str(BIN / "review-consumer"), *words]
            self.process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )

    @property
    def port(self) -> str:
        """Of its metrics."""
        return self.environment["REVIEWS_METRICS_PORT"]

    @property
    def status(self) -> str:
        """As `docker compose ps` prints it."""
        code = self.process.poll()
        return "Up" if code is None else f"Exited ({code})"

    def lines(self, count: int) -> str:
        """The last lines of its log, as `docker compose logs` prints them."""
        log = self._log.read_text(errors="replace").splitlines()[-count:]
        return "".join(f"{self.name}  | {line}\n" for line in log)

    def is_healthy(self) -> bool:
        """Whether its health check would pass."""
        assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.lines(50)}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=4) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """As `docker compose stop`."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class NativeCompose:
    """The services of the compose file in `directory`; everything ends with the `with` block.

    Args:
        directory: where the reader works: a checkout, or what looks like one.
        state: for logs, the `docker` of the reader, and what Prometheus stores.
        rules: the rules of Prometheus, in place of those of the compose file.
    """

    def __init__(self, directory: Path, state: Path, rules: str) -> None:
        self._directory, self._state = directory, state
        compose = yaml.safe_load((directory / "docker-compose.yml").read_text("utf-8"))
        self._name, self._project = compose["name"], compose["services"]
        self._running: dict[str, tuple[dict[str, Any], list[Container]]] = {}
        self._ending, self._infrastructure = ExitStack(), ExitStack()
        self.commands: list[list[str]] = []
        (self._kafka_port,) = free_ports(1)
        self._bootstrap = f"localhost:{self._kafka_port}"
        self.tools = state / "bin"
        self.tools.mkdir(parents=True)
        self._targets = state / "targets.json"
        self._aim([])
        self._prometheus = PrometheusProcess(state / "prometheus", self._scrapes(), rules)
        #: What a reader's shell has to replace in the commands of a page.
        self.replaced = {
            HOST_PROMETHEUS: self._prometheus.url.removeprefix("http://"),
            HOST_KAFKA: self._bootstrap,
            KAFKA: self._bootstrap,
        }

    def __enter__(self) -> Self:
        owner = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                answer = owner.answer(json.loads(self.rfile.readline()))
                self.wfile.write(json.dumps(answer).encode())

        server = self._ending.enter_context(socketserver.TCPServer(("127.0.0.1", 0), Handler))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        self._ending.callback(thread.join)
        self._ending.callback(server.shutdown)
        self._install("docker", _DOCKER.format(python=sys.executable, port=server.server_address[1]))
        for name in TOOLS:
            self._install(f"kafka-{name}.sh", f'#!/bin/sh\nexec {BIN}/review-consumer kafka --tool {name} "$@"\n')
        return self

    def __exit__(self, *_: object) -> None:
        self._down()
        self._ending.close()

    @property
    def is_down(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        return {name for name, _, _ in self._prometheus.firing()}

    def answer(self, words: list[str]) -> dict[str, Any]:
        """What `docker WORDS` prints, with its exit code; or the command that has to take its place."""
        self.commands.append(words)
        try:
            match words:
                case ["compose", "exec", *rest]:
                    return self._exec(rest)
                case ["compose", command, *rest] if command in (known := self._commands()):
                    return {"printed": known[command](rest), "code": 0}
            raise UnknownCommandError("not translated")
        except Exception as error:
            return {"printed": f"docker {' '.join(words)}: {type(error).__name__}: {error}\n", "code": 125}

    def _commands(self) -> dict[str, Callable[[list[str]], str]]:
        return {"up": self._up, "stop": self._stop, "ps": self._ps, "logs": self._logs, "down": self._down_all}

    def _up(self, words: list[str]) -> str:
        parser = _Parser(add_help=False)
        for flag in ("--build", "--detach", "--wait"):
            parser.add_argument(flag, action="store_true")
        parser.add_argument("--scale", type=lambda value: value.split("="), action="append", default=[])
        parser.add_argument("services", nargs="*")
        given = parser.parse_args(words)
        if not (given.detach and given.wait):
            raise UnknownCommandError("without --detach and --wait the next command would come too early")
        scale = {name: int(count) for name, count in given.scale}
        for name in self._ordered(given.services or list(self._services())):
            self._reconcile(name, scale.get(name, 1))
        for container in self.containers("worker"):
            wait_until(container.is_healthy, 90, f"{container.name} is healthy", every_s=0.1)
        return ""

    def _reconcile(self, name: str, count: int) -> None:
        wanted = {key: value for key, value in self._services()[name].items() if key in RUNS}
        was, containers = self._running.get(name, (None, []))
        if was is not None and was != wanted:
            self._end(containers)
            containers = []
        kept = [each for each in containers if each.process.poll() is None]
        surplus, kept = kept[count:], kept[:count]
        self._end(surplus)
        match name:
            case "kafka" if was is None:
                self._start_kafka(wanted)
            case "topics" if was is None:
                script = self._native(wanted["entrypoint"], wanted)
                environment = os.environ | {"KAFKA_BIN": str(self.tools)} | self._environment(wanted)
                done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
            case "prometheus" if was is None:
                self._infrastructure.enter_context(self._prometheus)
            case "grafana":
                assert all((self._directory / source).is_dir() for source, _ in _mounts(wanted))
            case "worker" | "producer":
                while len(kept) < count:
                    kept.append(self._start(name, len(kept) + 1, wanted))
            case "kafka" | "topics" | "prometheus":
                assert was == wanted, f"{name} cannot be changed while it runs"
            case _:
                raise UnknownCommandError(f"the service {name} has no translation")
        self._running[name] = wanted, kept
        self._aim(self.containers("worker"))

    def _start(self, name: str, number: int, service: Mapping[str, Any]) -> Container:
        (port,) = free_ports(1)
        of_image = {key: self._placed(value, service) for key, value in _image().items()}
        placed = {"REVIEWS_METRICS_PORT": str(port), "REVIEWS_METRICS_HOST": "127.0.0.1"}
        host = {key: value for key, value in os.environ.items() if not key.startswith("REVIEWS_")}
        return Container(
            f"{name}-{number}",
            self._native(service.get("command", ["run"]), service),
            host | of_image | self._environment(service) | placed,
            self._state / f"{name}-{number}.log",
        )

    def _start_kafka(self, service: Mapping[str, Any]) -> None:
        names = {key: key.removeprefix("KAFKA_").lower() for key in service["environment"]}
        properties = {
            name.replace("_", "."): str(service["environment"][key])
            for key, name in names.items()
            if not PLACED.fullmatch(name)
        }
        assert len(properties) > 5
        self._infrastructure.enter_context(LocalBroker(port=self._kafka_port, properties=properties))

    def _stop(self, words: list[str]) -> str:
        for name in words:
            containers = self.containers(name)
            assert containers, f"{name} cannot be stopped here"
            self._end(containers)
        return ""

    def _ps(self, words: list[str]) -> str:
        parser = _Parser(add_help=False)
        parser.add_argument("--all", action="store_true")
        parser.add_argument("services", nargs="+")
        given = parser.parse_args(words)
        shown = [each for name in given.services for each in self.containers(name)]
        return "".join(
            f"{self._name}-{each.name}  {each.status}\n" for each in shown if given.all or each.status == "Up"
        )

    def _logs(self, words: list[str]) -> str:
        parser = _Parser(add_help=False)
        parser.add_argument("--tail", type=int, required=True)
        parser.add_argument("services", nargs="+")
        given = parser.parse_args(words)
        return "".join(each.lines(given.tail) for name in given.services for each in self.containers(name))

    def _exec(self, words: list[str]) -> dict[str, Any]:
        parser = _Parser(add_help=False)
        parser.add_argument("-T", action="store_true")
        parser.add_argument("service")
        parser.add_argument("words", nargs=argparse.REMAINDER)
        given = parser.parse_args(words)
        service, environment = self._running[given.service][0], dict(os.environ)
        program, *rest = self._native(given.words, service)
        match given.service, program:
            case "worker", "review-consumer":
                (first, *_) = [each for each in self.containers("worker") if each.process.poll() is None]
                program, environment = str(BIN / program), first.environment
            case "prometheus", "promtool":
                program = shutil.which(find("promtool", install="Debian, Ubuntu: package prometheus")) or ""
            case "kafka", _ if Path(program).parent == self.tools:
                pass
            case _:
                raise UnknownCommandError("not translated")
        return {"run": [program, *rest], "environment": environment}

    def _down_all(self, words: list[str]) -> str:
        if words != ["--volumes"]:
            raise UnknownCommandError("only with --volumes")
        self._down()
        return ""

    def _down(self) -> None:
        for _, containers in self._running.values():
            self._end(containers)
        self._infrastructure.close()
        self._running.clear()
        self._aim([])

    def _end(self, containers: Sequence[Container]) -> None:
        for container in containers:
            if container.process.poll() is None:
                container.stop()
        self._aim(self.containers("worker"))

    def containers(self, name: str) -> list[Container]:
        """Those of a service, in the order of their numbers."""
        return self._running[name][1] if name in self._running else []

    def _services(self) -> dict[str, dict[str, Any]]:
        """The services of the compose file, with what the override changes in them."""
        services = {name: dict(service) for name, service in self._project.items()}
        override = self._directory / "docker-compose.override.yml"
        if override.is_file():
            for name, changed in yaml.safe_load(override.read_text("utf-8"))["services"].items():
                assert changed.keys() <= OVERRIDDEN, f"{changed.keys()} of {name} in the override"
                service = services[name]
                service["environment"] = service.get("environment", {}) | changed.get("environment", {})
                service["volumes"] = [*service.get("volumes", []), *changed.get("volumes", [])]
        return services

    def _ordered(self, names: Sequence[str]) -> list[str]:
        """These services, each after those that it depends on."""
        found: list[str] = []
        for name in names:
            before = self._ordered(list(self._services()[name].get("depends_on", [])))
            found += [each for each in (*before, name) if each not in found]
        return found

    def _environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        return {key: self._placed(str(value), service) for key, value in service.get("environment", {}).items()}

    def _native(self, words: Sequence[str], service: Mapping[str, Any]) -> list[str]:
        return [self._placed(word, service) for word in words]

    def _placed(self, word: str, service: Mapping[str, Any]) -> str:
        """A word that means something inside a container, as it means the same here."""
        places = {KAFKA: self._bootstrap, "/opt/kafka/bin": str(self.tools)}
        places["/opt/bundles/served"] = str(self._directory / _bundle())
        places |= {target: str(self._directory / source) for source, target in _mounts(service)}
        for inside, here in places.items():
            if word == inside or word.startswith(f"{inside}/"):
                return here + word.removeprefix(inside)
        return word

    def _install(self, name: str, content: str) -> None:
        (self.tools / name).write_text(content)
        (self.tools / name).chmod(0o755)

    def _scrapes(self) -> list[dict[str, Any]]:
        """The scrape jobs of the compose file, which get their targets from a file instead of Docker's name server."""
        configuration = yaml.safe_load((self._directory / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
        assert configuration["rule_files"] == [RULES.name]
        (job,) = configuration["scrape_configs"]
        assert job.pop("dns_sd_configs")[0]["names"] == ["worker"]
        return [{**job, "file_sd_configs": [{"files": [str(self._targets)], "refresh_interval": f"{SCRAPE_SECONDS}s"}]}]

    def _aim(self, workers: Sequence[Container]) -> None:
        """Tell Prometheus which workers there are."""
        targets = [f"127.0.0.1:{each.port}" for each in workers if each.process.poll() is None]
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps([{"targets": targets}]))
        new.replace(self._targets)


def _mounts(service: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Directories and files of the host, and where a container has them."""
    pairs = [volume.split(":")[:2] for volume in service.get("volumes", ())]
    return [(source, target) for source, target in pairs if source.startswith("./")]


def _image() -> dict[str, str]:
    """The settings of the worker in the image."""
    final = (ROOT / "deploy/docker/Dockerfile").read_text("utf-8").rpartition("\nFROM ")[2]
    found = dict(re.findall(r"\b(REVIEWS_\w+)=(\S+)", final.partition("\nHEALTHCHECK")[0]))
    assert found.keys() >= {"REVIEWS_BUNDLE", "REVIEWS_METRICS_PORT"}
    return found


def _bundle() -> str:
    """The bundle that the image serves."""
    (found,) = re.findall(r"^ARG BUNDLE=(\S+)", (ROOT / "deploy/docker/Dockerfile").read_text("utf-8"), re.MULTILINE)
    return str(found)
