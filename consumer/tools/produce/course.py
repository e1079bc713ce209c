"""The course of `review-consumer produce`: check every row, then send them in transactions, from where Kafka says."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from consumer.errors import GaveUp, UsageError
from consumer.kafka.tools.partitions import partition_of
from consumer.kafka.tools.sending import Saved, Sending, sending
from consumer.records.outgoing import Outgoing
from consumer.settings import WorkerSettings
from consumer.tools.output import Output, progress
from consumer.tools.produce.file import Checked, InputFile, tell
from consumer.tools.produce.messages import Message, Refusal

#: Refused rows that a terminal shows; a pipe gets all of them.
SHOWN_ROWS = 20

#: Messages that a dry run shows.
SHOWN_MESSAGES = 3

#: Records and bytes of one transaction at most.
CHUNK_RECORDS, CHUNK_BYTES = 5_000, 4 * 2**20

#: Transactions a second at least, if the rate allows it: so often readers see new records.
CHUNKS_A_SECOND = 5


def check(file: InputFile, output: Output, *, dry_run: bool) -> Checked:
    """Read the file once, and print refused rows and, in a dry run, the first messages.

    Raises:
        UsageError: the file cannot be read, or lacks a column.
    """
    found = Checked()
    shown: list[dict[str, Any]] = []
    first: list[dict[str, Any]] = []
    with progress("checking", None) as done:
        for each in file.messages(tell):
            done(1)
            found.last = each.row
            if isinstance(each, Refusal):
                found.reasons[each.reason] += 1
                if output.is_json:
                    output.line({"row": each.row, "refused": each.reason, "detail": each.detail})
                elif len(shown) < SHOWN_ROWS:
                    shown.append({"row": str(each.row), "refused": each.reason, "detail": each.detail})
            else:
                found.messages += 1
                if dry_run and len(first) < SHOWN_MESSAGES:
                    first.append(_shown(each))
    file.check_unchanged()
    if shown:
        output.rows(shown, ("row", "refused", "detail"))
        if found.refused > len(shown):
            counts = ", ".join(f"{reason} {count:,}" for reason, count in found.reasons.most_common())
            output.say(f"and {found.refused - len(shown):,} more; in all: {counts}")
    if first:
        output.rows(first, ("row", "key", "headers", "timestamp", "value"))
    return found


def send(
    file: InputFile,
    checked: Checked,
    settings: WorkerSettings,
    *,
    digest: str,
    options: str,
    run: str,
    compression: str | None,
    rate: float | None,
) -> dict[str, Any]:
    """Send every row that was not sent yet; returns what to print.

    Args:
        file: what to send.
        checked: what its check found.
        settings: connection, topic, limits.
        digest: of the content of the file.
        options: digest of the mapping.
        run: name of this sending of the file; another name sends the file again.
        compression: of batches.
        rate: records a second at most.

    Raises:
        UsageError: a part was sent with another mapping, or the file changed.
        KafkaUnusable: Kafka cannot be used as configured.
        GaveUp: Kafka failed; the same command resumes.
    """
    started = time.monotonic()
    name = hashlib.sha256("\0".join((settings.input_topic, digest, run)).encode()).hexdigest()[:24]
    with sending(settings, "produce", name, compression) as work:
        saved = work.saved()
        note = _note_of(saved)
        result = {"topic": settings.input_topic, "records": checked.messages, "refused": checked.refused}
        if note.get("done"):
            return {**result, "sent": 0, "before": note.get("sent", 0), "finished": note.get("at")}
        if saved and note.get("options") != options:
            raise UsageError(
                f"rows up to {saved.position} of this file were sent to {settings.input_topic} with other options: "
                "give the same ones to send the rest, or --run NAME to send the whole file again"
            )
        before = int(note.get("sent", 0))
        if saved:
            tell(f"{before:,} records of this file are in {settings.input_topic}; resuming after row {saved.position}")
        transfer = _Transfer(work, file, checked, options, before)
        with progress("sending", checked.messages) as done:
            done(before)
            try:
                transfer.run(saved.position if saved else -1, rate, done)
            except (GaveUp, KeyboardInterrupt) as error:
                work.abort()
                known = f"at least {transfer.sent:,} of {checked.messages:,} records are sent"
                left = f"{known}; the same command sends the rest"
                if isinstance(error, GaveUp):
                    raise GaveUp(f"{error}; {left}") from error
                tell(left)
                raise
    sent = transfer.sent - before
    return {**result, "sent": sent, "before": before, "seconds": round(time.monotonic() - started, 1)}


class _Transfer:
    """One course through the rows that are left."""

    def __init__(self, work: Sending, file: InputFile, checked: Checked, options: str, sent: int) -> None:
        self._work, self._file, self._checked = work, file, checked
        self._options = options
        self.sent = sent

    def run(self, after: int, rate: float | None, done: Callable[[int], None]) -> None:
        """Send the messages of the rows that follow `after`, at most `rate` a second."""
        count = self._work.partitions()
        due = time.monotonic()
        for row, records in self._chunks(after, count, rate):
            if rate:
                time.sleep(max(0.0, due - time.monotonic()))
                due = max(due, time.monotonic() - 1) + len(records) / rate
            self._file.check_unchanged()
            is_done = row >= self._checked.last
            note = {"sent": self.sent + len(records), "options": self._options, "done": is_done, "at": _now()}
            self._work.send(records, Saved(row, json.dumps(note)))
            self.sent += len(records)
            done(len(records))

    def _chunks(self, after: int, count: int, rate: float | None) -> Iterator[tuple[int, list[Outgoing]]]:
        """Records for one transaction at a time, with the number of the last row that is in it."""
        most = max(1, min(CHUNK_RECORDS, int(rate / CHUNKS_A_SECOND))) if rate else CHUNK_RECORDS
        chunk: list[Outgoing] = []
        size, row, reached = 0, after, after
        with closing(self._file.messages()) as messages:  # type: ignore[type-var]
            for each in messages:
                if each.row <= after:
                    continue
                row = each.row
                if isinstance(each, Message):
                    place = partition_of(each.record.key, each.row, count)
                    chunk.append(replace(each.record, partition=place))
                    size += each.record.size
                if len(chunk) >= most or size >= CHUNK_BYTES:
                    yield row, chunk
                    chunk, size, reached = [], 0, row
        if row > reached:  # the last rows may all be refused ones
            yield row, chunk


def _shown(message: Message) -> dict[str, Any]:
    """A message as a dry run shows it."""
    record = message.record

    def text(content: bytes | None) -> str | None:
        return None if content is None else content.decode("utf-8", "backslashreplace")

    moment = record.timestamp_ms
    return {
        "row": message.row,
        "key": text(record.key),
        "headers": {name: text(value) for name, value in record.headers},
        "timestamp": "the time of sending" if moment is None else _iso(moment / 1000),
        "value": text(record.value),
    }


def _note_of(saved: Saved | None) -> dict[str, Any]:
    try:
        found = json.loads(saved.note) if saved else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def _now() -> str:
    return _iso(time.time())


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
