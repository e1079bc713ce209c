"""Several brokers are one cluster, and no broker outlives the program that started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from consumer.errors import UsageError
from consumer.local import supervise
from consumer.local.cluster import LocalCluster
from consumer.local.node import is_free
from tests.kafka_helpers import produce, read_all

# Each test starts brokers of its own; a machine that is busy besides needs its time.
pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PROGRAM = """
import sys
from consumer.local.broker import LocalBroker
with LocalBroker() as kafka:
    print(kafka.pid, kafka.port, flush=True)
    sys.stdin.read()
"""


def _tree(program: subprocess.Popen[str]) -> list[psutil.Process]:
    """Everything that the program started: the broker and what watches over it."""
    started = psutil.Process(program.pid).children(recursive=True)
    assert any("java" in process.name() for process in started)
    return started


def _start(command: list[str], directory: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(directory)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_cluster_of_three_goes_on_when_one_broker_is_killed() -> None:
    """With two of three brokers left, acknowledged records are there and new ones are accepted."""
    # Given three brokers and a topic on all of them
    with LocalCluster(3) as kafka:
        kafka.create_topics({"kept": 3})
        produce(kafka.bootstrap, "kept", [b"%d" % n for n in range(30)])
        # When one is killed
        kafka.nodes[0].kill()
        others = ",".join(node.bootstrap for node in kafka.nodes[1:])
        # Then all is readable and writable through the others
        produce(others, "kept", [b"%d" % n for n in range(30, 60)], retries=20)
        assert {r.value for r in read_all(others, "kept")} == {b"%d" % n for n in range(60)}
        # And the third comes back to the same address
        address = kafka.nodes[0].bootstrap
        kafka.start(kafka.nodes[0])
        assert {r.value for r in read_all(address, "kept")} == {b"%d" % n for n in range(60)}


def test_kept_data_is_opened_with_as_many_brokers_only(tmp_path: Path) -> None:
    """Two empty controllers would outvote the one that knows of the topics, which are gone then."""
    with LocalCluster(1, data_dir=tmp_path) as kafka:
        kafka.create_topics({"kept": 1})
    with pytest.raises(UsageError, match=r"has the data of 1 broker\(s\); use --brokers 1"):
        LocalCluster(3, data_dir=tmp_path).__enter__()
    with LocalCluster(1, data_dir=tmp_path) as kafka, kafka.admin() as admin:
        assert "kept" in admin.list_topics()


def test_a_supervisor_whose_parent_is_gone_before_it_speaks_ends_its_command(tmp_path: Path) -> None:
    """A parent that is killed in the first milliseconds reads no process id; nothing may be left of it all the same."""
    data = tmp_path / "data"
    data.mkdir()
    seconds = str(4243 + os.getpid())
    command = [sys.executable, "-I", "-S", supervise.__file__, str(data), "sleep", seconds]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=writer, timeout=30, check=False)
    finally:
        os.close(writer)
    assert ended.returncode == -signal.SIGKILL % 256
    assert not data.exists()
    assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", seconds]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_or_directory_outlives_a_program_that_dies(tmp_path: Path, number: signal.Signals) -> None:
    """A program that is killed, and cleans up nothing, still leaves nothing."""
    # Given a program with a broker, even a frozen one
    with _start([sys.executable, "-c", PROGRAM], tmp_path) as program:
        pid, port = (int(word) for word in (program.stdout.readline() if program.stdout else "").split())
        started = _tree(program)
        assert len(list(tmp_path.iterdir())) == 1
        os.kill(pid, signal.SIGSTOP)
        # When it dies
        program.send_signal(number)
    # Then so do the broker and its watcher, and the directory and the port are free
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive
    assert not list(tmp_path.iterdir())
    assert is_free(port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """`review-consumer kafka` stops on Ctrl-C and SIGTERM with exit code 0 and leaves nothing behind."""
    command = [sys.executable, "-m", "consumer", "kafka", "--port", "0", "--topics", "a:2,b"]
    # Given the command, ready
    with _start(command, tmp_path) as program:
        assert program.stdout is not None
        assert "ready on 127.0.0.1:" in program.stdout.readline()
        assert program.stdout.readline() == "  topic a, 2 partitions\n"
        started = _tree(program)
        # When it is asked to stop
        program.send_signal(number)
    # Then it leaves with 0 and nothing remains
    assert program.returncode == 0
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive
    assert not list(tmp_path.iterdir())


def test_the_command_says_so_when_the_broker_dies(tmp_path: Path) -> None:
    """A broker that ends by itself is not mistaken for a stop: exit code 5."""
    with _start([sys.executable, "-m", "consumer", "kafka", "--port", "0"], tmp_path) as program:
        assert program.stdout is not None
        program.stdout.readline()
        (broker,) = [process for process in _tree(program) if "java" in process.name()]
        broker.kill()
    assert program.returncode == 5
    assert not list(tmp_path.iterdir())
