"""Ctrl-C reaches the demo, whatever kafka-python is doing."""

import logging
import signal
from collections.abc import Callable, Iterator

import pytest

from consumer.demo.produce import produce
from consumer.demo.traffic import Traffic
from tests.kafka_helpers import Topics

pytestmark = [pytest.mark.broker, pytest.mark.timeout(60)]


def read_and_produce(topics: Topics) -> None:
    """As the demo does, for ever."""
    with Traffic(topics.bootstrap, (topics.input, topics.output, topics.dead_letter)) as traffic:
        while True:
            traffic.receive(1.0)


class CtrlC(logging.Handler):
    """Somebody who presses Ctrl-C, once, when a task of the client logs what the broker answers."""

    pressed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Press it."""
        if not self.pressed and "Response" in record.msg:
            self.pressed = True
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def ctrl_c(caplog: pytest.LogCaptureFixture) -> Iterator[CtrlC]:
    """Listens to what the client's connections log."""
    logger = logging.getLogger("kafka.net.connection")
    caplog.set_level(logging.DEBUG, logger.name)
    handler = CtrlC()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "work", [read_and_produce, lambda topics: produce(topics.bootstrap, 1.0)], ids=["demo", "produce-to"]
)
def test_ctrl_c_is_not_lost_while_a_client_connects(
    topics: Topics, ctrl_c: CtrlC, work: Callable[[Topics], None]
) -> None:
    """A producer that connects runs its tasks in our thread and swallows what they raise; Ctrl-C is none of it."""
    with pytest.raises(KeyboardInterrupt):
        work(topics)
    assert ctrl_c.pressed
