"""A real Prometheus that watches workers, with the alerts of the project, if need be in seconds instead of minutes."""

import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from deploy.grafana.queries import Prometheus, Query
from tests.external import find
from tests.worker_process import wait_until

RULES = Path(__file__).parents[1] / "deploy/prometheus/alerts.yml"
SCRAPE_SECONDS = 1


def free_ports(count: int) -> list[int]:
    """Ports that no program listens on; taken at once, so that they differ."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def quickened(rules: str) -> str:
    """The rules, with ranges of seconds, hardly a wait, and commits that are stale after a few seconds."""
    quick = re.sub(r"\[\d+[mhd](:1m)?\]", lambda found: "[8s:1s]" if found[1] else "[8s]", rules)
    quick = re.sub(r"\bfor: \d+m", "for: 1s", quick)
    quick = quick.replace("reviews_last_commit_timestamp_seconds > 60", "reviews_last_commit_timestamp_seconds > 3")
    assert not re.search(r"\[\d+[mhd]|for: \d+m|_timestamp_seconds > 60", quick)
    return quick


def at_ports(jobs: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Scrape jobs by name, each with the ports of its workers on this machine."""
    return [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
        for job, ports in jobs.items()
    ]


class PrometheusProcess:
    """A Prometheus of its own on this machine, which ends with the `with` block.

    Args:
        directory: for its configuration, data and log.
        scrapes: the scrape jobs, see `at_ports`.
        rules: content of the file of rules.
    """

    def __init__(self, directory: Path, scrapes: Sequence[Mapping[str, Any]], rules: str) -> None:
        directory.mkdir(exist_ok=True)
        (directory / "alerts.yml").write_text(rules)
        configuration = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": list(scrapes),
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self.began = time.time()
        self._directory = directory

    def __enter__(self) -> Self:
        command = [
            find("prometheus", install="Debian, Ubuntu: package prometheus"),
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--log.level=warn",
        ]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            wait_until(self._is_ready, 30, "Prometheus is ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, (self._directory / "log").read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:  # noqa: S310 - our own address
                return bool(answer.status == 200)
        except (urllib.error.HTTPError, OSError):
            return False

    def until_now(self) -> Prometheus:
        """Asks it for everything since it began."""
        return Prometheus(self.url, start=self.began, end=time.time(), step=SCRAPE_SECONDS, scrape=SCRAPE_SECONDS)

    def scrapes(self, port: int) -> int:
        """How often the worker at `port` has answered; 0 for some seconds after Prometheus is ready."""
        found: list[tuple[Any, float]] = self.until_now().now(
            Query(f'sum_over_time(up{{instance="127.0.0.1:{port}"}}[1h])', "", instant=True), {}
        )
        return int(sum(value for _, value in found))

    def firing(self) -> set[tuple[str, str, str]]:
        """Name, severity and job of each alert that fires."""
        found: list[tuple[Any, float]] = self.until_now().now(
            Query('ALERTS{alertstate="firing"}', "", instant=True), {}
        )
        return {(each["alertname"], each["severity"], each.get("job", "")) for each, _ in found}
