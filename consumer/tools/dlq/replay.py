"""`dlq replay`: send dead letters to the input topic again, each once."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from consumer.errors import GaveUp
from consumer.kafka.tools.opening import opened
from consumer.kafka.tools.reading import SILENT_SECONDS, TopicReader, new_reader
from consumer.kafka.tools.replay import Progress, Replay, progress_group, progress_reader
from consumer.records.letter import Letter
from consumer.records.outgoing import Outgoing
from consumer.service.watchdog import Watchdog
from consumer.settings import WorkerSettings
from consumer.tools.dlq.judge import REFUSALS, Judge
from consumer.tools.dlq.ledger import Ledger
from consumer.tools.dlq.selection import Selection, add_selection, dead_letters
from consumer.tools.options import settings_of
from consumer.tools.output import Output, progress
from consumer.tools.places import natural

MAX_ATTEMPTS = 3
#: Records and bytes of one transaction at most.
CHUNK_RECORDS, CHUNK_BYTES = 500, 4 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which ones, and how."""
    parser.add_argument("--send", action="store_true", help="send them; without it, only show what would be sent")
    parser.add_argument("--rate", type=natural, metavar="N", help="send at most N a second [default: no limit]")
    parser.add_argument(
        "--max-attempts",
        type=natural,
        default=MAX_ATTEMPTS,
        metavar="N",
        help=f"refuse what was sent again N times already [default: {MAX_ATTEMPTS}]",
    )
    parser.add_argument(
        "--timestamp",
        choices=("source", "now"),
        default="source",
        help="timestamp of the records: that of the input record, or the current time [default: source]",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="also send what an earlier replay has sent, for example if the input topic was lost",
    )
    add_selection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Count what would be sent, or send it."""
    selection, output = Selection.of(arguments), Output(arguments.json)
    settings = settings_of(arguments)
    with ExitStack() as closing:
        reader = closing.enter_context(dead_letters(settings))
        target = TopicReader(settings, closing.enter_context(opened(settings, new_reader)), settings.input_topic)
        sender, alive = None, _nothing
        if arguments.send:
            watchdog = Watchdog(max(settings.watchdog_seconds, 2 * SILENT_SECONDS))
            alive = watchdog.rearm
            closing.callback(watchdog.close)
            sender = Replay(settings, alive)
            closing.callback(sender.close)
            sender.open(len(target.partitions))  # before the progress is read: no other replay can move it from now on
        committed = closing.enter_context(progress_reader(settings))
        judge = Judge(arguments, settings, target)
        counts: Counter[str] = Counter()
        try:
            _replay(
                arguments=arguments,
                selection=selection,
                reader=reader,
                judge=judge,
                committed=committed,
                sender=sender,
                counts=counts,
                alive=alive,
            )
        except GaveUp as error:
            done = f"{counts['sent']:,} dead letters were sent before that; " if sender else ""
            raise GaveUp(f"{error} ({done}nothing is sent twice)") from error
    _report(counts, output, settings, sent=arguments.send)
    return 0


def _replay(
    *,
    arguments: argparse.Namespace,
    selection: Selection,
    reader: TopicReader,
    judge: Judge,
    committed: Callable[[int], Progress],
    sender: Replay | None,
    counts: Counter[str],
    alive: Callable[[], None],
) -> None:
    """Walk through what is selected, partition by partition; commit chunk by chunk."""
    bounds = selection.bounds(reader)
    left = selection.count
    pace = _Pace(arguments.rate)
    with progress(
        "replaying" if sender else "reading", sum(stop - first for first, stop in bounds.values())
    ) as advance:
        for partition, (first, stop) in bounds.items():
            before = committed(partition)
            chunk = _Chunk(partition, before, sender, counts, pace)
            for record in reader.read({partition: (first, stop)}):
                advance(1)
                alive()
                letter = Letter.of(record)
                already = not arguments.again and chunk.has(letter)
                verdict = ""
                if selection.has(letter):
                    verdict = "already" if already else judge.refusal(letter) or "sent"
                    counts[verdict] += 1
                chunk.note(letter, already or verdict == "sent")
                if verdict == "sent":
                    counts[f"reason {letter.cause}"] += 1
                    left = None if left is None else left - 1
                    chunk.add(judge.outgoing(letter))
                if left == 0:
                    break
            chunk.commit()
            if left == 0:
                return


class _Chunk:
    """What the next transaction of a partition commits; without a sender nothing is kept or sent."""

    def __init__(
        self, partition: int, before: Progress, sender: Replay | None, counts: Counter[str], pace: "_Pace"
    ) -> None:
        self._ledger = Ledger(before.metadata)
        self._offset = before.offset
        self._partition, self._sender, self._counts, self._pace = partition, sender, counts, pace
        self._records: list[Outgoing] = []
        self._bytes = 0

    def has(self, letter: Letter) -> bool:
        """Whether an earlier replay has sent it."""
        return _can_be_sent(letter) and self._ledger.has(_cause(letter), letter.record.offset)

    def note(self, letter: Letter, sent: bool) -> None:
        """Note each dead letter of the partition, in order, and whether it is sent by now."""
        if _can_be_sent(letter):  # one that never can is no gap between those that can
            self._ledger.note(_cause(letter), letter.record.offset, sent)
        self._offset = max(self._offset, letter.record.offset + 1)

    def add(self, record: Outgoing) -> None:
        """Add one, and commit if the transaction is full."""
        self._records.append(record)
        self._bytes += record.size
        if len(self._records) >= self._pace.chunk or self._bytes >= CHUNK_BYTES:
            self.commit()

    def commit(self) -> None:
        """Commit what has been added."""
        if not self._records:
            return
        try:
            now = Progress(self._offset, self._ledger.encode())  # a dry run finds out as well if it is too large
            if self._sender is not None:
                self._sender.commit(self._partition, now, self._records)
                self._pace.sent(len(self._records))
        except GaveUp:
            self._counts["sent"] -= len(self._records)
            raise
        self._records, self._bytes = [], 0


def _nothing() -> None:
    """Nobody watches a dry run."""


def _can_be_sent(letter: Letter) -> bool:
    return letter.source is not None and bool(letter.reason) and not letter.cut


def _cause(letter: Letter) -> str:
    """What the ledger counts by: several input topics may share a dead-letter topic."""
    topic, _, _ = letter.source or ("", 0, 0)
    return f"{letter.cause}@{topic}"


class _Pace:
    """Keeps to a rate; `chunk` is how many records to send at a time."""

    def __init__(self, rate: int | None) -> None:
        self.chunk = min(CHUNK_RECORDS, max(1, (rate or CHUNK_RECORDS * 2) // 2))
        self._rate = rate
        self._free_at = time.monotonic()

    def sent(self, records: int) -> None:
        """Wait until the next ones may be sent."""
        if self._rate is not None:
            self._free_at = max(self._free_at, time.monotonic() - 1) + records / self._rate
            time.sleep(max(0.0, self._free_at - time.monotonic()))


def _report(counts: Counter[str], output: Output, settings: WorkerSettings, *, sent: bool) -> None:
    refused = {name: counts[name] for name in REFUSALS if counts[name]}
    reasons = {name.removeprefix("reason "): count for name, count in counts.items() if name.startswith("reason ")}
    if output.is_json:
        output.line(
            {
                "sent" if sent else "would_send": counts["sent"],
                "already_sent": counts["already"],
                "refused": refused,
                "reasons": reasons,
                "from": settings.dead_letter_topic,
                "to": settings.input_topic,
                "progress_group": progress_group(settings),
            }
        )
        return
    output.rows(_rows(counts, reasons, refused, sent=sent), ("what", "count", "remark"))
    if not sent and counts["sent"]:
        output.say(f"Nothing was sent. Add --send to send {counts['sent']:,} to {settings.input_topic}.", "bold")


def _rows(
    counts: Counter[str], reasons: dict[str, int], refused: dict[str, int], *, sent: bool
) -> Iterator[dict[str, object]]:
    verb = "sent" if sent else "would be sent"
    yield {"what": verb, "count": counts["sent"]}
    for cause, count in sorted(reasons.items()):
        yield {"what": f"  {cause}", "count": count}
    yield {"what": "sent by an earlier replay", "count": counts["already"], "remark": "left out"}
    for name, count in refused.items():
        yield {"what": f"refused: {name}", "count": count, "remark": REFUSALS[name]}
