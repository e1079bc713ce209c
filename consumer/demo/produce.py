"""The sample, in a loop, into a Kafka that is already running: the input of docker-compose.yml."""

import itertools
import time

from consumer.demo import sample
from consumer.demo.course import TOPICS
from consumer.kafka.traffic import Sender
from consumer.local.interrupts import Interrupts


def produce(interrupts: Interrupts, bootstrap: str, rate: float) -> None:
    """Send `rate` records per second to the input topic at `bootstrap` (HOST:PORT, no encryption), until interrupted.

    Raises:
        KafkaUnusable: no broker answers there.
        GaveUp: a record was not acknowledged.
        KeyboardInterrupt: raised by `interrupts`.
    """
    sender = Sender(bootstrap)
    try:
        speed = f"{rate:g} records per second" if rate else "records as fast as possible"
        print(f"sending {speed} to topic {TOPICS[0]} at {bootstrap}; Ctrl-C stops", flush=True)  # noqa: T201
        with interrupts.at_once():
            for record in itertools.cycle(sample.load()):
                sender.send(TOPICS[0], record.key, record.value, int(time.time() * 1000))()
                time.sleep(1 / rate if rate else 0)
    finally:
        sender.close()
