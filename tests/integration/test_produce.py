"""`review-consumer demo --produce-to`: the sample into a Kafka that runs already, as docker-compose.yml uses it."""

import signal
import socket
import subprocess
import sys

import pytest

from consumer.demo import sample
from consumer.demo.course import TOPICS
from consumer.local.broker import LocalBroker
from tests.kafka_helpers import end_offsets, read_all
from tests.worker_process import wait_until

COMMAND = (sys.executable, "-m", "consumer", "demo", "--rate", "0", "--produce-to")


@pytest.mark.broker
def test_the_sample_is_sent_again_and_again_until_it_is_stopped() -> None:
    """More records than the sample has arrive, the first of them the sample's own; SIGTERM ends it."""
    with LocalBroker() as kafka:
        # Given a Kafka with the input topic
        kafka.create_topics({TOPICS[0]: 1})
        records = sample.load()
        # When the sample is sent to it until a second round has begun
        producer = subprocess.Popen([*COMMAND, kafka.bootstrap], stdout=subprocess.DEVNULL)
        try:
            wait_until(
                lambda: sum(end_offsets(kafka.bootstrap, TOPICS[0]).values()) > len(records), 60, "the second round"
            )
        finally:
            producer.send_signal(signal.SIGTERM)
        # Then it ends at once, and what came first is the sample, in order
        assert producer.wait(20) == 128 + signal.SIGTERM
        read = read_all(kafka.bootstrap, TOPICS[0])
        assert [(r.key, r.value) for r in read[: len(records)]] == [(r.key, r.value) for r in records]


def test_no_kafka_there_is_one_line_and_exit_code_4() -> None:
    """A wrong address is reported as such."""
    # Given a port that no program listens on
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        # When the sample is to be sent there
        done = subprocess.run([*COMMAND, address], capture_output=True, text=True, timeout=60, check=False)
    # Then the message names the address
    assert done.returncode == 4
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"no answer from {address}" in done.stderr
