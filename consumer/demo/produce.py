"""The sample, again and again, into a Kafka that runs already: something to watch behind docker-compose.yml."""

import itertools
import time

from kafka import KafkaProducer
from kafka.errors import KafkaError

from consumer.demo import sample
from consumer.demo.course import TOPICS
from consumer.errors import GaveUp, KafkaUnusable
from consumer.kafka import fixes
from consumer.kafka.client import Clients
from consumer.local.interrupts import Interrupts

_TIMEOUT_SECONDS = 30


def produce(interrupts: Interrupts, bootstrap: str, rate: float) -> None:
    """Send `rate` records per second to the input topic at `bootstrap` (HOST:PORT, no encryption), until interrupted.

    Raises:
        KafkaUnusable: no answer from there.
        GaveUp: a record was not acknowledged.
        KeyboardInterrupt: as `interrupts` says.
    """
    fixes.apply()  # before the first Kafka client of this process
    try:
        producer = KafkaProducer(
            bootstrap_servers=bootstrap, bootstrap_timeout_ms=10_000, kafka_client=Clients(), acks="all"
        )
    except (KafkaError, ValueError) as error:
        raise KafkaUnusable(
            f"no answer from {bootstrap} ({type(error).__name__}); is it the address of a Kafka?"
        ) from error
    try:
        print(f"sending {rate:g} records a second to topic {TOPICS[0]} at {bootstrap}", flush=True)  # noqa: T201
        with interrupts.at_once():
            for record in itertools.cycle(sample.load()):
                producer.send(TOPICS[0], record.value, record.key).get(timeout=_TIMEOUT_SECONDS)
                time.sleep(1 / rate if rate else 0)
    except KafkaError as error:
        raise GaveUp(
            f"a record was not acknowledged ({type(error).__name__}); start again when Kafka is back"
        ) from error
    finally:
        producer.close(timeout=1)
