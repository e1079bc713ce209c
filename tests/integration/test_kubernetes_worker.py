"""The worker starts with what the overlays of deploy/kubernetes give to it; the page about them keeps its word."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
import yaml

from consumer.errors import BundleError, UsageError
from consumer.settings.worker import MOST_THREADS
from tests.external import find
from tests.integration.kubernetes_objects import (
    KUBERNETES,
    OVERLAYS,
    config_map,
    container,
    environment,
    mebibytes,
    mounts,
    one,
    overlay,
    pod,
    worker_settings,
    workload,
)

ROOT = KUBERNETES.parents[1]
PAGE = (KUBERNETES / "README.md").read_text()
SCRAPE = yaml.safe_load(re.search(r"```yaml\n(scrape_configs:.*?)```", PAGE, re.DOTALL)[1])  # type: ignore[index]

#: What the largest worker of README.md needed, in MiB, with the two threads that it had.
MEASURED_MEBIBYTES = 615
every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def start(name: str, root: Path, authority: bytes | None) -> subprocess.CompletedProcess[str]:
    """Start a worker as the first pod would, its volumes under `root`.

    It has no bundle, so it ends as soon as its settings are read.

    Args:
        name: of the overlay.
        root: an empty directory.
        authority: the CA file; the overlay's own placeholder if None.
    """
    objects = overlay(name)
    variables = environment(objects)
    for path, volume in mounts(objects).items():
        directory = root / path.removeprefix("/")
        directory.mkdir(parents=True)
        files = config_map(objects, volume["configMap"]["name"]) if "configMap" in volume else {}
        mode = 0o644
        if "secret" in volume:
            files = {"reviews_sasl_username": "reviews\n", "reviews_sasl_password": "secret\n"}
            mode = volume["secret"].get("defaultMode", mode)
        for file, content in files.items():
            (directory / file).write_bytes(authority if authority and file == "ca.pem" else content.encode())
            (directory / file).chmod(mode)
        variables = {key: re.sub(rf"^{path}(?=/|$)", str(directory), value) for key, value in variables.items()}
    variables |= {"REVIEWS_BUNDLE": str(root / "none"), "REVIEWS_METRICS_PORT": "0", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "consumer", "run"]
    return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@every_overlay
def test_the_worker_accepts_the_settings_of_each_overlay(name: str, tmp_path: Path) -> None:
    """Settings file, environment, Secret and CA are valid: the worker gets as far as its bundle, without a warning."""
    done = start(name, tmp_path, trustme.CA().cert_pem.bytes())
    assert done.returncode == BundleError.exit_code, done.stderr
    levels = [json.loads(line)["level"] for line in done.stderr.splitlines()]
    assert levels.count("CRITICAL") == 1
    assert "WARNING" not in levels


def test_the_worker_refuses_the_placeholder_of_the_certificate_authority(tmp_path: Path) -> None:
    """An overlay that was not edited ends with one line that names the file's setting."""
    done = start("production", tmp_path, None)
    assert done.returncode == UsageError.exit_code
    assert "ssl_cafile" in done.stderr


@every_overlay
def test_memory_is_reserved_and_threads_follow_the_cores(name: str) -> None:
    """Request = limit, with room for the worker and its threads; no CPU limit; one thread for each requested core."""
    objects = overlay(name)
    resources = container(objects)["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert set(resources["limits"]) == {"memory"}
    threads = int(environment(objects)["REVIEWS_THREADS"])
    assert threads == int(resources["requests"]["cpu"]) <= MOST_THREADS
    tmp = mebibytes(mounts(objects)["/tmp"]["emptyDir"]["sizeLimit"])
    assert mebibytes(resources["limits"]["memory"]) >= 2048
    assert mebibytes(resources["limits"]["memory"]) > MEASURED_MEBIBYTES + (MOST_THREADS - 2) * 60 + tmp


@every_overlay
def test_probes_and_grace_periods_fit_the_timeouts(name: str) -> None:
    """Kubernetes waits longer than the worker itself does, at its start and at its end."""
    objects, worker = overlay(name), container(overlay(name))
    settings = worker_settings(objects)
    need = settings.stop_timeout_seconds + settings.poll_target_seconds
    assert pod(objects)["terminationGracePeriodSeconds"] >= need + 10
    start = worker["startupProbe"]["periodSeconds"] * worker["startupProbe"]["failureThreshold"]
    assert start >= max(settings.start_timeout_seconds, settings.broker_timeout_seconds) + 60
    paths = {kind: worker[kind]["httpGet"] for kind in ("readinessProbe", "startupProbe", "livenessProbe")}
    assert paths == {
        "readinessProbe": {"path": "/ready", "port": "metrics"},
        "startupProbe": {"path": "/ready", "port": "metrics"},
        "livenessProbe": {"path": "/live", "port": "metrics"},
    }
    assert all(worker[kind]["timeoutSeconds"] < worker[kind]["periodSeconds"] for kind in paths)
    assert worker["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_a_stateful_set_keeps_the_partitions_of_a_worker_that_restarts() -> None:
    """Its members are static, and named after their pods."""
    settings = worker_settings(overlay("static"))
    assert settings.static_membership
    assert settings.session_timeout_seconds == 45
    assert settings.transactional_id == "review-consumer/review-consumer-0"
    spec = workload(overlay("static"))["spec"]
    assert spec["serviceName"] == one(overlay("static"), "Service")["metadata"]["name"]
    assert not worker_settings(overlay("production")).static_membership


def _jobs() -> dict[str, str]:
    compose = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    monitor = one(overlay("production"), "PodMonitor")
    relabelings = monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
    return {
        "docker-compose.yml": compose[0]["job_name"],
        "PodMonitor": next(each["replacement"] for each in relabelings if each["targetLabel"] == "job"),
        "PodMonitor without relabelling": f"reviews/{monitor['metadata']['name']}",
        "README": SCRAPE["scrape_configs"][0]["job_name"],
    }


@pytest.mark.parametrize("source", ["docker-compose.yml", "PodMonitor", "PodMonitor without relabelling", "README"])
def test_the_alerts_know_the_job_that_each_way_of_scraping_gives(source: str) -> None:
    """`absent(up{job=...})` does not page for ever, whoever scrapes the workers."""
    matchers = re.findall(r'job(=~|=)"([^"]+)"', (ROOT / "deploy/prometheus/alerts.yml").read_text())
    assert len(matchers) >= 3
    for operator, pattern in matchers:
        assert re.fullmatch(pattern if operator == "=~" else re.escape(pattern), _jobs()[source])


def test_the_dashboards_know_every_job() -> None:
    """Panels show the jobs that the reader chose, of those that Prometheus has: in Kubernetes as well."""
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json")):
        assert set(re.findall(r'job=~\\"([^\\]+)\\"', path.read_text())) == {"$job", "$job|"} - (
            set() if path.stem == "overview" else {"$job|"}
        )


def test_prometheus_accepts_the_scrape_job_of_the_page(tmp_path: Path) -> None:
    """Whoever copies it has a valid configuration; all but the discovery, which Debian's promtool lacks, is checked."""
    (job,) = SCRAPE["scrape_configs"]
    discovery = {"kubernetes_sd_configs": [{"role": "pod"}]}
    assert discovery.items() <= job.items()
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump({"scrape_configs": [{k: v for k, v in job.items() if k not in discovery}]}))
    promtool = find("promtool", install="Debian, Ubuntu: package prometheus")
    done = subprocess.run([promtool, "check", "config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_of_the_page_wraps_the_alerts_as_a_prometheus_rule(tmp_path: Path) -> None:
    """The PrometheusRule holds exactly the groups of alerts.yml."""
    command = re.search(r"```sh\n(\{ printf .*?)```", PAGE, re.DOTALL)
    assert command
    alerts = ROOT / "deploy/prometheus/alerts.yml"
    (tmp_path / "prometheus").mkdir()
    (tmp_path / "prometheus/alerts.yml").write_bytes(alerts.read_bytes())
    (tmp_path / "kubernetes").mkdir()
    subprocess.run(["bash", "-ec", command[1]], cwd=tmp_path / "kubernetes", check=True)
    rule = yaml.safe_load((tmp_path / "kubernetes/prometheus-rule.yaml").read_text())
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(alerts.read_text())
