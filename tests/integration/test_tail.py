"""`review-consumer tail` on a real broker, as a process: what it shows, what it leaves out, and how it ends."""

import gc
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from consumer.cli import main
from consumer.local.broker import LocalBroker
from consumer.records.fault import Detail, Fault, Reason
from consumer.records.messages import dead_letter_headers
from consumer.records.record import Record as Input
from tests.kafka_helpers import Record, Topics, produce, transaction
from tests.terminal import on_a_terminal
from tests.worker_process import wait_until

pytestmark = [pytest.mark.broker]

#: What a terminal would obey.
HOSTILE = "\x1b[2J\u202e\r\n"


def prediction(topics: Topics, number: int, **others: object) -> Record:
    """A prediction as a worker writes it, of record `number` of partition 0 of the input topic."""
    value = {
        "id": f"r-{number}",
        "label": "pos" if number % 2 else "neg",
        "score": 0.5 + number / 100,
        "probabilities": {"neg": 0.5 - number / 100, "pos": 0.5 + number / 100},
        "model": {"name": "tiny", "version": "1", "digest": "abcdef0123456789" * 4, "variant": "int8"},
        "source": {"topic": topics.input, "partition": 0, "offset": number, "timestamp": None},
        "unsure": number == 3,
        "film": f"film {number}",
        **others,
    }
    return Record(json.dumps(value).encode(), partition=0)


def flags(topics: Topics) -> list[str]:
    """The flags that name broker and topics."""
    names = {"--input-topic": topics.input, "--output-topic": topics.output, "--dead-letter-topic": topics.dead_letter}
    return ["--bootstrap-servers", topics.bootstrap, *(word for pair in names.items() for word in pair)]


class Tail:
    """A running `tail`, whose output is kept in a file."""

    def __init__(self, topics: Topics, directory: Path, words: Sequence[str]) -> None:
        self._output, self._errors = directory / "out", directory / "err"
        with self._output.open("wb") as out, self._errors.open("wb") as err:
            command = [sys.executable, "-m", "consumer", "tail", *words, *flags(topics)]
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines so far."""
        return [json.loads(line) for line in self._output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    @property
    def errors(self) -> str:
        """What it wrote to stderr."""
        return self._errors.read_text()

    def await_rows(self, count: int, timeout_s: float = 60) -> None:
        """Wait for so many lines."""

        def there() -> bool:
            assert self.process.poll() is None, self.errors
            return len(self.rows) >= count

        wait_until(there, timeout_s, f"{count} lines")


@contextmanager
def tail(topics: Topics, directory: Path, *words: str) -> Iterator[Tail]:
    """A `tail` that is killed at the end."""
    running = Tail(topics, directory, words)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture
def shown(topics: Topics, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Runs `tail` in this process, from the beginning to the end; returns the JSON lines that it prints."""

    def run(*words: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main(["tail", "--from", "beginning", "--no-follow", *words, *flags(topics)]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield run
    gc.collect()  # kafka-python may leave the socket of a client that was closed to the garbage collector


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_filters_show_what_they_say(topics: Topics, shown: Callable[..., list[dict[str, Any]]]) -> None:
    """Label, score, unsure, model, fields and words of the input; a foreign record passes no filter."""
    produce(topics.bootstrap, topics.input, [Record(b'{"text": "A fine film, %d"}' % n, partition=0) for n in range(6)])
    records = [prediction(topics, number) for number in range(6)]
    records[5] = prediction(topics, 5, carried={"label": "mine"}, nested={"a": {"b": True}})
    produce(topics.bootstrap, topics.output, [*records, Record(b"\xff no JSON", partition=0)])
    everything = shown("--words", "3")
    assert [row["record"]["offset"] for row in everything] == list(range(7))
    assert [row.get("words") for row in everything] == ["A fine film,"] * 6 + [None]
    found = {
        words: [row["record"]["offset"] for row in shown(*words)]
        for words in (
            ("--label", "pos", "--label", "neg", "--count", "2"),
            ("--label", "pos", "--min-score", "0.52"),
            ("--max-score", "0.515", "--no-unsure", "--model", "tiny"),
            ("--unsure", "--model", "abcdef01"),
            ("--model", "another"),
            ("--field", "film=film 4", "--field", "model.variant=int8"),
            ("--field", "nested.a.b=true"),
            ("--from", "-2"),
            ("--partition", "1"),
        )
    }
    assert list(found.values()) == [[0, 1], [3, 5], [0, 1], [3], [], [4], [5], [5, 6], []]


def test_it_follows_what_is_committed_until_ctrl_c(kafka: LocalBroker, topics: Topics, tmp_path: Path) -> None:
    """Records of an open transaction are not shown until it is committed; Ctrl-C ends it without a trace."""
    produce(topics.bootstrap, topics.output, [prediction(topics, 0)])
    with tail(topics, tmp_path, "--from", "beginning") as running:
        running.await_rows(1)
        with transaction(kafka, topics.output) as producer:
            produce(topics.bootstrap, topics.output, [Record(prediction(topics, 1).value, partition=1)])
            running.await_rows(2)
            assert [row["record"]["partition"] for row in running.rows] == [0, 1]
            producer.commit_transaction()
        running.await_rows(3)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 130
        assert running.errors == ""


def test_it_ends_when_its_reader_is_gone(topics: Topics) -> None:
    """`tail | head -1` ends although no second record comes."""
    produce(topics.bootstrap, topics.output, [prediction(topics, 0)])
    command = [sys.executable, "-m", "consumer", "tail", "--from", "beginning", *flags(topics)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert "r-0" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_it_stays_alive_while_the_broker_restarts(tmp_path: Path) -> None:
    """It says that it waits, and shows what comes afterwards, each record once."""
    with LocalBroker() as broker:
        topics = Topics(broker.bootstrap, "in", "out", "dead", "group")
        broker.create_topics(dict.fromkeys(("in", "out", "dead"), 2))
        produce(topics.bootstrap, topics.output, [prediction(topics, 0)])
        with tail(topics, tmp_path, "--from", "beginning") as running:
            running.await_rows(1)
            broker.stop()
            wait_until(lambda: "waiting, no broker answers" in running.errors, 60, "it notices")
            broker.start()
            produce(topics.bootstrap, topics.output, [prediction(topics, 1)])
            running.await_rows(2)
            assert [row["id"] for row in running.rows] == ["r-0", "r-1"]
            assert "Kafka answers again" in running.errors


def test_a_terminal_shows_lines_that_cannot_steer_it(topics: Topics) -> None:
    """Label, bar, score and words on one line of the terminal's width, whatever is in them; dead letters as well."""
    produce(topics.bootstrap, topics.input, [Record(json.dumps({"text": f"Good{HOSTILE} one"}).encode(), partition=0)])
    produce(topics.bootstrap, topics.output, [prediction(topics, 0, label=f"pos{HOSTILE}", score=0.95, unsure=True)])
    source = Input(topics.input, 0, 9, 5, None, HOSTILE.encode())
    marks = [("trace", HOSTILE.encode()), *dead_letter_headers(source, Fault(Reason.NOT_JSON, Detail.SYNTAX, 0))]
    produce(topics.bootstrap, topics.dead_letter, [Record(source.value, None, marks, 0)])
    good, dead = (shown_to_people(topics, *words) for words in ((), ("--dead-letters",)))
    assert "pos\\x1b[2J" in good
    assert "█████████▌ 0.95" in good
    assert "Good\\x1b[2J" in good
    assert "not_json" in dead
    assert "syntax at byte 0" in dead
    assert "from 0:9" in dead
    for output in (good, dead):
        assert "\x1b[2J" not in output
        assert "\u202e" not in output
        assert len(output.strip().splitlines()) == 1


def shown_to_people(topics: Topics, *words: str) -> str:
    """What is shown from the beginning, on a terminal of 120 columns."""
    return on_a_terminal("tail", "--from", "beginning", "--no-follow", *words, *flags(topics), columns=120)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dead-letters", "--label", "pos"], "leave out --dead-letters"),
        (["--reason", "not_json"], "add --dead-letters"),
        (["--from", "yesterday"], "a time needs its zone"),
        (["--min-score", "2"], "from 0 to 1"),
        (["--output-topic", "no-such-topic"], "does not exist"),
    ],
)
def test_mistakes_are_named(topics: Topics, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    """A wrong flag ends with code 2, a missing topic with code 4; the message says what to do."""
    try:
        code = main(["tail", *flags(topics), *words])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == (4 if "no-such-topic" in words else 2)
    assert message in capsys.readouterr().err
