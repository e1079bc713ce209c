"""Each bad world has one exit code and one line that says what to do; nothing is consumed in any of them."""

import hashlib
import json
import shutil
import signal
import socket
from pathlib import Path

import pytest

from consumer.local.broker import LocalBroker
from consumer.local.node import Ports
from tests.kafka_helpers import Topics, committed_offsets, produce, read_all
from tests.worker_process import WorkerProcess, wait_until

pytestmark = pytest.mark.broker


@pytest.fixture
def broken_bundle(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def last_line(flags: list[str], log: Path, code: int, timeout_s: float = 60) -> str:
    """Run a worker that is bound to fail, check its exit code, and return the one line that it ends with."""
    with WorkerProcess(flags, log) as worker:
        assert worker.wait_exit(timeout_s) == code, worker.log
    assert "Traceback" not in worker.log
    if worker.last_line.startswith("review-consumer"):  # before there is a log to write to
        return worker.last_line
    line = json.loads(worker.last_line)
    assert (line["level"], line["logger"]) == ("CRITICAL", "consumer"), worker.log
    return str(line["message"])


def test_an_unknown_flag_is_wrong_usage(tmp_path: Path) -> None:
    """A misspelt setting is reported, not ignored."""
    assert "--no-such-flag" in last_line(["--no-such-flag"], tmp_path / "log", 2)


def test_output_topic_equal_to_input_topic_is_wrong_usage(tmp_path: Path) -> None:
    """The worker would feed itself."""
    assert "three different topics" in last_line(["--output-topic", "reviews"], tmp_path / "log", 2)


def test_a_misspelt_environment_variable_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It might have been a safety setting; variables that mean something, whatever their case, are not named."""
    for name in ("REVIEWS_MAX_DEAD_LETTER_RATE", "reviews_log_level", "REVIEWS_KAFKA_CACHE"):
        monkeypatch.setenv(name, "INFO")
    with WorkerProcess(["--bundle", "/no/such/bundle"], tmp_path / "log") as worker:
        assert worker.wait_exit(60) == 3
    assert "unknown settings are ignored: REVIEWS_MAX_DEAD_LETTER_RATE (see" in worker.log


def test_a_least_level_holds_for_the_client_of_kafka_too(tmp_path: Path) -> None:
    """Its warnings are looked at for what they tell of a failed connection, and not shown; the cause still is."""
    flags = ["--log-level", "ERROR", "--bootstrap-servers", "127.0.0.1:1", "--start-timeout-seconds", "2"]
    with WorkerProcess(flags, tmp_path / "log") as worker:
        assert worker.wait_exit(60) == 4
    lines = [json.loads(line) for line in worker.log.strip().splitlines()]
    assert {line["level"] for line in lines} == {"ERROR", "CRITICAL"}
    assert "127.0.0.1:1" in lines[-1]["message"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_is_stopped_while_it_still_imports(tmp_path: Path, number: signal.Signals) -> None:
    """As process 1 of a container it would lose a signal that it has no handler for, and be killed in the end."""
    # Given a worker that has done nothing yet but to name what it handles
    wanted = sum(1 << each - 1 for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    with WorkerProcess(["--bootstrap-servers", "127.0.0.1:1"], tmp_path / "log") as worker:
        status = Path(f"/proc/{worker.process.pid}/status")

        def handles_all() -> bool:
            [caught] = (line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
            return int(caught.split()[1], 16) & wanted == wanted

        wait_until(handles_all, 30, "handlers", every_s=0.005)
        # When it gets SIGTERM, then it stops, and logs that
        worker.process.send_signal(number)
        assert worker.wait_exit(30) == 0, worker.log
    assert worker.log == "review-consumer: stopped before it started\n"


def test_a_taken_metrics_port_is_wrong_usage(tmp_path: Path) -> None:
    """The message names the port and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = last_line(["--metrics-port", str(port)], tmp_path / "log", 2)
    assert str(port) in line
    assert "metrics_port" in line


def test_a_wrong_bundle_path_is_refused(topics: Topics, tmp_path: Path) -> None:
    """The path is named."""
    assert "/no/such/bundle" in last_line([*topics.flags, "--bundle", "/no/such/bundle"], tmp_path / "log", 3)


def test_a_bundle_that_is_not_the_pinned_one_is_refused(bundle: Path, tmp_path: Path) -> None:
    """A good bundle, but not the one that REVIEWS_BUNDLE_DIGEST allows: the line names both digests."""
    found = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    line = last_line(["--bundle", str(bundle), "--bundle-digest", "0" * 64], tmp_path / "log", 3)
    assert f"has the digest {found}, but bundle_digest allows only {'0' * 64}" in line


@pytest.mark.parametrize(
    "damage", ["one flipped byte", "weights missing", "labels swapped", "tokenizer of another model"]
)
def test_a_damaged_bundle_is_refused(topics: Topics, broken_bundle: Path, tmp_path: Path, damage: str) -> None:
    """A model that is not the one that was measured never serves."""
    manifest_file = broken_bundle / "manifest.json"
    manifest = json.loads(manifest_file.read_bytes())
    weights = broken_bundle / next(name for name in manifest["files"] if name.endswith(".bin"))
    tokenizer = broken_bundle / "tokenizer.json"
    if damage == "one flipped byte":
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    elif damage == "weights missing":
        weights.unlink()
    elif damage == "labels swapped":
        manifest["labels"].reverse()
        manifest_file.write_text(json.dumps(manifest))
    else:
        words = json.loads(tokenizer.read_bytes())
        vocabulary = words["model"]["vocab"]
        vocabulary["good"], vocabulary["bad"] = vocabulary["bad"], vocabulary["good"]
        tokenizer.write_text(json.dumps(words))
    line = last_line([*topics.flags, "--bundle", str(broken_bundle)], tmp_path / "log", 3)
    named = {"one flipped byte": weights.name, "weights missing": weights.name, "labels swapped": "golden"}
    assert named.get(damage, "tokenizer.json") in line


def test_a_missing_topic_is_waited_for_and_then_told(topics: Topics, bundle: Path, tmp_path: Path) -> None:
    """Not ready, with the reason; after the start timeout exit 4. The topic is never created."""
    flags = [*topics.flags, "--output-topic", "not-there", "--bundle", str(bundle), "--start-timeout-seconds", "4"]
    with WorkerProcess(flags, tmp_path / "log") as worker:
        wait_until(lambda: "not-there" in worker.get("/ready")[1], 60, "/ready says what is missing")
        assert worker.get("/ready")[0] == 503
        assert worker.get("/live")[0] == 200
        assert worker.wait_exit() == 4
    assert "not-there" in worker.last_line


def test_no_broker_at_start_is_waited_for_and_then_told(bundle: Path, tmp_path: Path) -> None:
    """Not ready, with the address; after the start timeout exit 4."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
    flags = ["--bootstrap-servers", address, "--bundle", str(bundle), "--start-timeout-seconds", "8"]
    with WorkerProcess(flags, tmp_path / "log") as worker:
        wait_until(lambda: address in worker.get("/ready")[1], 60, "/ready says who does not answer")
        assert worker.get("/ready")[0] == 503
        assert worker.wait_exit() == 4
    assert address in worker.last_line


def test_a_late_broker_is_waited_for(bundle: Path, tmp_path: Path) -> None:
    """A worker that starts before Kafka becomes ready when Kafka does."""
    ports = Ports.free()
    flags = ["--bootstrap-servers", f"127.0.0.1:{ports.client}", "--bundle", str(bundle)]
    with WorkerProcess(flags, tmp_path / "log") as worker:
        wait_until(lambda: str(ports.client) in worker.get("/ready")[1], 60, "waiting")
        with LocalBroker(port=ports.client) as late:
            late.create_topics({"reviews": 1, "reviews.labeled": 1, "reviews.dlq": 1})
            worker.wait_ready()
            assert worker.stop() == 0


def test_a_broker_that_goes_while_running(bundle: Path, tmp_path: Path) -> None:
    """Not ready while it is gone, ready and working again after; gone for too long is exit 5."""
    with LocalBroker() as kafka:
        kafka.create_topics({"reviews": 1, "reviews.labeled": 1, "reviews.dlq": 1})
        flags = ["--bootstrap-servers", kafka.bootstrap, "--bundle", str(bundle), "--broker-timeout-seconds", "25"]
        with WorkerProcess(flags, tmp_path / "log") as worker:
            worker.wait_ready()
            kafka.kill()
            wait_until(lambda: worker.get("/ready")[0] == 503, 60, "not ready")
            assert kafka.bootstrap in worker.get("/ready")[1]
            kafka.restart()
            produce(kafka.bootstrap, "reviews", [b'{"text":"Still here, and still wonderful."}'])
            wait_until(lambda: worker.metric("reviews_consumed_total") == 1, 60, "working again")
            assert worker.get("/ready")[0] == 200
            kafka.kill()
            assert worker.wait_exit(90) == 5
    assert "Kafka is back" in worker.last_line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_work_at_hand(
    kafka: LocalBroker, topics: Topics, bundle: Path, tmp_path: Path, number: int
) -> None:
    """Exit 0; what was committed is in the output, what is in the output was committed."""
    produce(topics.bootstrap, topics.input, [b'{"text":"Good, %d times over."}' % number for number in range(3000)])
    with WorkerProcess([*topics.flags, "--bundle", str(bundle)], tmp_path / "log") as worker:
        wait_until(lambda: worker.metric("reviews_consumed_total") > 0, 90, "some consumed")
        assert worker.stop(number, timeout_s=30) == 0, worker.log
    outputs = read_all(topics.bootstrap, topics.output)
    assert 0 < len(outputs) == sum(committed_offsets(kafka, topics.group, topics.input).values())
    assert any("stopped" in message for message in worker.messages())
