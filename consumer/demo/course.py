"""The course of the demo: Kafka, topics, worker, reviews, check, summary."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from consumer.demo import sample
from consumer.demo.picture import Picture
from consumer.demo.sample import SampleRecord
from consumer.demo.screen import Screen
from consumer.demo.tally import Tally
from consumer.demo.traffic import Traffic
from consumer.demo.worker_process import WorkerProcess
from consumer.errors import GaveUp, ReviewsError
from consumer.local import tools
from consumer.local.broker import LocalBroker
from consumer.local.config import TOPIC_CONFIGS
from consumer.local.interrupts import Interrupts
from consumer.local.pinned import KAFKA_VERSION

TOPICS = ("reviews", "reviews.labeled", "reviews.dlq")
PARTITIONS = 4
#: The demo gives up if a running worker delivers nothing for this long.
STALL_SECONDS = 60.0
TURN_SECONDS = 0.05
#: Lines of the worker's log that a failed demo shows.
LOG_LINES = 10


def demo(
    stack: ExitStack,
    interrupts: Interrupts,
    bundle: Path,
    *,
    rate: float,
    keep_running: bool = False,
    svg: Path | None = None,
) -> None:
    """Start Kafka and a worker, stream the sample through them, check and summarise what comes out.

    Args:
        stack: gets everything that has to be stopped, which it does in reverse order.
        interrupts: checked often; its signals end the demo.
        bundle: directory of the model bundle.
        rate: records sent per second; 0 sends all at once.
        keep_running: show outcomes until Ctrl-C instead of ending after the check.
        svg: file for a picture of the output.

    Raises:
        ReviewsError: the demo could not run, or an outcome breaks a promise.
        KeyboardInterrupt: raised by `interrupts`; while it keeps running, the regular end instead.
    """
    records = sample.load()
    screen = Screen(len(records), Picture(svg) if svg else None)
    screen.say(f"{len(records)} records through a real Kafka and a real worker, all on this machine", style="bold")
    with interrupts.at_once():
        tools.prepare()  # shows its own progress, so it stays outside the step
    with screen.step(f"Kafka {KAFKA_VERSION}"):
        kafka = stack.enter_context(LocalBroker(on_waiting=interrupts.check))
        kafka.create_topics(dict.fromkeys(TOPICS, PARTITIONS), TOPIC_CONFIGS)
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
            raise ReviewsError(f"the check failed: {'; '.join(problems)}")
        screen.checked(tally)
        if keep_running:
            _keep_running(kafka.bootstrap, traffic, check, screen)
    except ReviewsError:
        for line in worker.last_lines(LOG_LINES):
            screen.say(f"  worker: {line}")
        raise


def _flags(bootstrap: str, bundle: Path) -> list[str]:
    topics = zip(("--input-topic", "--output-topic", "--dead-letter-topic"), TOPICS, strict=True)
    flags = [("--bootstrap-servers", bootstrap), *topics, ("--group-id", "demo"), ("--bundle", str(bundle))]
    return [word for flag in flags for word in flag]


def _stream(
    records: Sequence[SampleRecord], rate: float, traffic: Traffic, check: Callable[[], None], screen: Screen
) -> Tally:
    """Send `records` at `rate` per second and show the outcomes, until every record has one.

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
                raise GaveUp(f"the worker delivered nothing for {STALL_SECONDS:.0f} s")
        for outcome in traffic.rest():  # a second outcome of any record would be here
            tally.add(outcome)
            screen.outcome(outcome)
    return tally


def _keep_running(bootstrap: str, traffic: Traffic, check: Callable[[], None], screen: Screen) -> None:
    """Show the outcomes of what other programs produce, until Ctrl-C, which is the regular end here."""
    tool = "review-consumer kafka --tool console-producer"
    screen.say(
        "\nKafka and the worker keep running until Ctrl-C. To label your own reviews, run this in another terminal"
    )
    screen.say('and type lines such as {"text": "Great!"}')
    screen.say(f"  {tool} --bootstrap-server {bootstrap} --topic {TOPICS[0]}")
    try:
        while True:
            for outcome in traffic.receive(1.0):
                screen.outcome(outcome)
            check()
    except KeyboardInterrupt:
        return
