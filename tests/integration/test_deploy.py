"""What stands in deploy/ and docker-compose.yml is valid, hardened, and speaks of metrics that exist."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.errors import ReviewsError
from consumer.model.cascade.bundle import load
from consumer.service.metrics import Metrics
from consumer.settings import WorkerSettings
from deploy.grafana.queries import Prometheus, boards
from tests.external import find
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_cascade import write_tiny_cascade

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
OURS = ("worker", "producer")
#: A script outside the packages finds them as it would if they were installed.
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BOARDS = boards()
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
EXPRESSIONS = {
    f"{board.name}, {where}, {number}": query.expression
    for board in BOARDS
    for where, queries in [
        *((panel.title, panel.queries) for panel in board.panels),
        *((name, [query]) for name, query in board.events.items()),
    ]
    for number, query in enumerate(queries)
} | {f"rule {number}, {rule.get('alert', rule.get('record'))}": rule["expr"] for number, rule in enumerate(RULES)}


def promtool(*arguments: str | Path) -> str:
    """Run promtool in the directory of the alerts; returns what it printed."""
    command = [find("promtool", install="Debian, Ubuntu: package prometheus"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_its_configuration_and_the_alerts() -> None:
    """Prometheus would start with these files."""
    assert f"{len(RULES)} rules found" in promtool("check", "config", "prometheus.yml")


def test_each_alert_fires_when_it_should_and_not_before() -> None:
    """The unit tests of the alerts pass, and no alert is without one."""
    files = sorted(PROMETHEUS.glob("*.test.yml"))
    promtool("test", "rules", *files)
    fired = {
        (case["alertname"], expected["exp_labels"]["severity"])
        for file in files
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
        for expected in case.get("exp_alerts", ())
    }
    assert fired == {(alert["alert"], alert["labels"]["severity"]) for alert in ALERTS}


def test_each_panel_asks_something_that_prometheus_can_answer(tmp_path: Path) -> None:
    """Every expression of the dashboards is valid PromQL."""
    nowhere = Prometheus("", start=0, end=900, step=15, scrape=15)
    rules = [
        {"record": f"panel:{number}", "expr": nowhere.filled(expression, {"job": "a", "instance": "b"})}
        for number, expression in enumerate(EXPRESSIONS.values())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(EXPRESSIONS)} rules found" in promtool("check", "rules", "--lint=none", file)


def _exported() -> Iterator[str]:
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}
    for family in Metrics().registry.collect():
        yield from (family.name + suffix for suffix in suffixes[family.type])


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_each_metric_that_is_asked_for_exists(where: str) -> None:
    """Dashboards and alerts name metrics that the worker exports, or that a rule records."""
    asked = set(re.findall(r"(?<!\$)\b(?:job:)?(?:reviews|process)_[\w:]+", EXPRESSIONS[where]))
    assert asked or re.search(r"\b(up|ALERTS){", EXPRESSIONS[where])
    assert asked <= {*_exported(), *RECORDED}


def _anchors() -> set[str]:
    titles = re.findall(r"^#+ (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    return {re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in titles}


def test_each_alert_and_each_exit_code_has_its_section_in_the_runbook() -> None:
    """Whoever is woken up finds what to do."""
    anchors = _anchors()
    for alert in ALERTS:
        file, _, anchor = alert["annotations"]["runbook"].partition("#")
        assert file == "docs/runbook.md"
        assert anchor == alert["alert"].lower()
        assert anchor in anchors
    codes = {error.exit_code for error in ReviewsError.__subclasses__() if error.__module__ == "consumer.errors"}
    assert {f"exit-code-{code}" for code in {0, *codes}} <= anchors
    assert set(re.findall(r"\(#([\w-]+)\)", (ROOT / "docs/runbook.md").read_text())) <= anchors


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_no_service_can_gain_rights_or_take_the_machine(name: str) -> None:
    """No capabilities, no new privileges, bounded memory and processes, a pinned image."""
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] <= 512
    assert service["mem_limit"]
    assert not {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc"} & set(service)
    assert name in OURS or re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
    assert "docker.sock" not in str(service.get("volumes"))


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    """Nothing listens on an address that a neighbour can reach."""
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"][name].get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_root_nothing_to_write_to_and_no_way_out(name: str) -> None:
    """A review that took over the worker could neither change its files nor reach the internet."""
    service = COMPOSE["services"][name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert "noexec" in service["tmpfs"][0]
    assert service["networks"] == ["internal"]
    assert COMPOSE["networks"]["internal"] == {"internal": True}
    assert "volumes" not in service


def test_a_worker_that_is_stopped_has_time_to_leave() -> None:
    """The grace periods cover the poll at hand and the worker's own stop timeout; its settings are valid."""
    worker = COMPOSE["services"]["worker"]
    values = {name.removeprefix("REVIEWS_").lower(): value for name, value in worker["environment"].items()}
    settings = WorkerSettings(**values)
    need = settings.stop_timeout_seconds + settings.poll_target_seconds
    assert float(worker["stop_grace_period"].removesuffix("s")) > need
    assert worker["restart"] == "unless-stopped"


def test_the_image_is_built_by_the_installer_of_the_makefile() -> None:
    """One version of uv resolves, installs and builds."""
    version = re.search(r"UV_VERSION := (\S+)", (ROOT / "Makefile").read_text())
    assert version
    assert f"\nuv=={version[1]} " in (DEPLOY / "docker/build-requirements.txt").read_text()


def test_the_image_takes_the_members_of_a_cascade_along(tmp_path: Path) -> None:
    """What the build copies is served: the cascade and its members, nothing else, readable by any user."""
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    cascade = write_tiny_cascade(bundles / "cascade")
    write_tiny_bundle(bundles / "another")
    (bundles / "quick/openvino/fp32.bin").chmod(0o600)
    copy = [sys.executable, str(DEPLOY / "docker/copy_bundle.py")]
    subprocess.run([*copy, str(cascade), str(tmp_path / "opt")], check=True, env=HERE)
    assert {path.name for path in (tmp_path / "opt").iterdir()} == {"cascade", "quick", "thorough", "served"}
    served = load(tmp_path / "opt/served")
    assert served.digest == load(cascade).digest
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "opt").rglob("*"))
    # A single model, and a damaged member
    subprocess.run([*copy, str(bundles / "another"), str(tmp_path / "single")], check=True, env=HERE)
    assert load(tmp_path / "single/served").manifest.name == "tiny"
    (bundles / "thorough/golden.json").write_text("{}")
    failed = subprocess.run(
        [*copy, str(cascade), str(tmp_path / "damaged")], capture_output=True, text=True, check=False, env=HERE
    )
    assert failed.returncode == 1
    assert "thorough/golden.json has 2 bytes" in failed.stderr


def test_the_build_context_has_what_the_build_copies() -> None:
    """Each file that the Dockerfile copies is let through by .dockerignore."""
    let_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "docker/Dockerfile").read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert len(sources) >= 8
    assert [each for each in sources if not any(fnmatch(each, f"{one}*") for one in let_through)] == []
    assert all(list(ROOT.glob(source)) for source in sources)
