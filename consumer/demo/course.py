"""The course of the demo: Kafka, topics, worker, reviews, check, summary."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from kafka.errors import KafkaError

from consumer.demo import sample
from consumer.demo.sample import SampleRecord
from consumer.demo.screen import Screen
from consumer.demo.tally import Tally
from consumer.demo.traffic import Traffic
from consumer.demo.worker_process import WorkerProcess
from consumer.errors import GaveUp, ReviewsError
from consumer.local import tools
from consumer.local.broker import LocalBroker
from consumer.local.interrupts import Interrupts
from consumer.local.jars import KAFKA_VERSION

TOPICS = ("reviews", "reviews.labeled", "reviews.dlq")
PARTITIONS = 4
#: The demo gives up when a worker that lives shows nothing for this long.
STALL_SECONDS = 60.0
TURN_SECONDS = 0.05
#: What a failed demo shows of the worker's log.
LOG_LINES = 10


def demo(stack: ExitStack, interrupts: Interrupts, bundle: Path, rate: float, keep_running: bool) -> None:
    """Start the parts on `stack`, which ends them in the opposite order; stream, check, sum up.

    Raises:
        ReviewsError: it could not run, or what came out is not as promised.
        KeyboardInterrupt: as `interrupts` says; not while it keeps running, which ends this way.
    """
    records = sample.load()
    screen = Screen(len(records))
    screen.say(f"{len(records)} records through a real Kafka and a DistilBERT worker, all on this machine")
    with interrupts.at_once():
        tools.prepare()  # shows its own progress, so it stands outside the step
    with screen.step(f"Kafka {KAFKA_VERSION}"):
        kafka = stack.enter_context(LocalBroker(on_waiting=interrupts.check))
        kafka.create_topics(dict.fromkeys(TOPICS, PARTITIONS))
        interrupts.check()
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="review-consumer-demo-")))
    worker = stack.enter_context(WorkerProcess(_flags(kafka.bootstrap, bundle), directory))

    def check() -> None:
        interrupts.check()
        worker.check()
        if not kafka.node.running:
            raise GaveUp(f"the broker ended: {kafka.node.last_words()}")

    try:
        with screen.step("the worker") as waiting_for:
            for because in worker.until_ready():
                interrupts.check()
                waiting_for(because)
        traffic = stack.enter_context(Traffic(kafka.bootstrap, TOPICS))
        screen.head(kafka.bootstrap, TOPICS, worker.url)
        tally = _stream(records, rate, traffic, check, screen)
        screen.summary(tally, len(records))
        if problems := tally.problems(traffic.sent):
            raise ReviewsError(f"not as promised: {'; '.join(problems)}")
        screen.say(
            f"checked: {len(records)} in = {tally.labels.total()} labelled + {tally.reasons.total()} dead letters"
        )
        if keep_running:
            _keep_running(kafka.bootstrap, traffic, check, screen)
    except ReviewsError:
        for line in worker.last_lines(LOG_LINES):
            screen.say(f"  worker: {line}")
        raise
    except KafkaError as error:
        raise GaveUp(f"the demo's own Kafka client failed ({type(error).__name__}); start again") from error


def _flags(bootstrap: str, bundle: Path) -> list[str]:
    topics = zip(("--input-topic", "--output-topic", "--dead-letter-topic"), TOPICS, strict=True)
    flags = [("--bootstrap-servers", bootstrap), *topics, ("--group-id", "demo"), ("--bundle", str(bundle))]
    return [word for flag in flags for word in flag]


def _stream(
    records: Sequence[SampleRecord], rate: float, traffic: Traffic, check: Callable[[], None], screen: Screen
) -> Tally:
    """Send `records` at `rate` a second and show what comes out, until each has its outcome.

    `check` raises if the broker or the worker has ended, or the demo is to end.
    """
    tally, sent = Tally(), 0
    started = last = time.monotonic()
    with screen:
        while tally.settled < len(records):
            now = time.monotonic()
            due = int((now - started) * rate) + 1 if rate else len(records)
            for record in records[sent:due]:
                traffic.send(record)
            sent = min(due, len(records))
            for outcome in traffic.receive(TURN_SECONDS):
                tally.add(outcome)
                screen.outcome(outcome)
                last = now
            screen.status(tally, sent)
            check()
            if now - last > STALL_SECONDS:
                raise GaveUp(f"nothing came out of the worker for {STALL_SECONDS:.0f} s")
        for outcome in traffic.rest():  # one outcome each, and not one more
            tally.add(outcome)
            screen.outcome(outcome)
    return tally


def _keep_running(bootstrap: str, traffic: Traffic, check: Callable[[], None], screen: Screen) -> None:
    """Show the outcomes of whatever is produced by others, until Ctrl-C: the way to end it, so no error."""
    screen.say('Kafka and the worker keep running until Ctrl-C. Send reviews of your own, such as {"text": "Great!"}:')
    tool = "review-consumer kafka --tool console-producer"
    screen.say(f"  {tool} --bootstrap-server {bootstrap} --topic {TOPICS[0]}")
    try:
        while True:
            for outcome in traffic.receive(1.0):
                screen.outcome(outcome)
            check()
    except KeyboardInterrupt:
        return
