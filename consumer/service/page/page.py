"""What is on the page, from top to bottom: state, work, partitions, dead letters, model, log, settings, links."""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from consumer.flags import described, groups, is_secret, version
from consumer.service.health import STALLED, Health, State
from consumer.service.page.drift import drift
from consumer.service.page.figures import duration, number, rate
from consumer.service.page.manual import FIRST, pages
from consumer.service.page.markup import Raw, document, joined, table, tag
from consumer.service.page.readings import Changes, Readings
from consumer.service.page.recent import RecentLines
from consumer.settings import WorkerSettings

#: Settings of which the page says only whether they are set, beside the secrets: a user name, and a command whose
#: arguments may be secrets.
CONFIDENTIAL = {"sasl_username", "sasl_token_command"}

#: Counters whose growth the page shows: what it calls them, and their sample.
WORK = {
    "records": "reviews_consumed_total",
    "labelled": "reviews_labelled_total",
    "dead letters": "reviews_dead_lettered_total",
    "unsure": "reviews_unsure_total",
    "tokens": "reviews_model_tokens_total",
}
#: Counters that should not grow.
TROUBLE = {
    "polls whose results could not be published, and were retried": "reviews_not_published_total",
    "records that retention deleted before they were read": "reviews_deleted_unread_total",
    "old committed offsets that Kafka returned": "reviews_commits_lost_total",
}
_AGE_SUM, _AGE_COUNT = "reviews_record_age_seconds_sum", "reviews_record_age_seconds_count"
#: Shown if the worker has them.
_WAITING, _LAST_COMMIT = "reviews_oldest_waiting_seconds", "reviews_last_commit_timestamp_seconds"


class Page:
    """Renders the page from the registry and the health of a worker; the caller sees to it that this is not too often.

    Args:
        settings: of the worker.
        health: of the worker.
        registry: its metrics.
        recent: the last lines of its log.
    """

    def __init__(
        self, settings: WorkerSettings, health: Health, registry: CollectorRegistry, recent: RecentLines
    ) -> None:
        self._settings = settings
        self._health = health
        self._registry = registry
        self._recent = recent
        self._changes = Changes()
        self._started = time.monotonic()

    def render(self) -> bytes:
        """The page as HTML in UTF-8."""
        readings = Readings(self._registry)
        self._changes.look({name: readings.total(name) for name in (*WORK.values(), _AGE_SUM, _AGE_COUNT)})
        state, why = self._state()
        sections = (
            tag("h1", f"review-consumer {version()}"),
            tag("p", f"{state}: {why}", class_="state good" if state == "Ready" else "state"),
            self._identity(),
            tag("h2", "Work"),
            self._work(readings),
            tag("h2", "Partitions"),
            self._partitions(readings),
            tag("h2", "Dead letters"),
            self._dead_letters(readings),
            tag("h2", "Last warnings and errors"),
            self._log(),
            tag("h2", "Trouble"),
            _counts("since the start", {what: readings.total(name) for what, name in TROUBLE.items()}),
            tag("h2", "Model"),
            self._model(readings),
            tag("h2", "Read on"),
            self._links(),
            tag("h2", "Settings"),
            self._table_of_settings(),
        )
        return document(f"{state} - {socket.gethostname()}", state == "Ready", joined(sections, "\n"))

    def _state(self) -> tuple[str, str]:
        """One word, and what the worker does or waits for."""
        readiness = self._health.readiness
        if not self._health.live:
            return "Stalled", STALLED
        if readiness.state is State.READY:
            return "Ready", "reviews are being consumed"
        return "Not ready", readiness.reason

    def _identity(self) -> Raw:
        settings = self._settings
        topics = f"{settings.input_topic} to {settings.output_topic}, or {settings.dead_letter_topic}"
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return tag(
            "p",
            f"Group {settings.group_id}, {settings.delivery.value}, from {topics}, on {settings.bootstrap_servers}. "
            f"Host {socket.gethostname()}, process {os.getpid()}, up for {duration(time.monotonic() - self._started)}. "
            f"As of {now}.",
            class_="dim",
        )

    def _work(self, readings: Readings) -> Raw:
        uptime = max(time.monotonic() - self._started, 1.0)
        seconds = self._changes.seconds
        now = f"#per second, last {seconds:.0f} s" if seconds >= 1 else "#per second, now"
        rows = [
            (what, rate(self._changes.rate(name)), rate(readings.total(name) / uptime), number(readings.total(name)))
            for what, name in WORK.items()
        ]
        labels = readings.by(WORK["labelled"], "label")
        parts = [table(("", now, "#since the start", "#in all"), rows)]
        if total := sum(labels.values()):
            shares = ", ".join(f"{label} {count / total:.1%}" for label, count in labels.items())
            parts.append(tag("p", f"Labels: {shares}.", class_="dim"))
        if count := self._changes.of(_AGE_COUNT):
            age = (self._changes.of(_AGE_SUM) or 0.0) / count
            told = f"Mean age of a record when its outcome was committed: {duration(age)}."
            parts.append(tag("p", told, class_="dim"))
        if readings.has(_LAST_COMMIT):
            ago = duration(max(0.0, time.time() - readings.total(_LAST_COMMIT)))
            parts.append(tag("p", f"Last commit, or start: {ago} ago.", class_="dim"))
        return joined(parts)

    def _partitions(self, readings: Readings) -> Raw:
        lag = readings.by("reviews_lag", "partition")
        waiting = readings.by(_WAITING, "partition")
        partitions = sorted({*lag, *waiting}, key=int)
        if not partitions:
            assigned = readings.total("reviews_assigned_partitions")
            return tag("p", f"{assigned:.0f} assigned; their lag is not known yet." if assigned else "None assigned.")
        heads = ("partition", "#records waiting", *(("#oldest waits for",) if waiting else ()))
        return table(
            heads,
            (
                (
                    each,
                    number(lag[each]) if each in lag else "not known yet",
                    *((duration(waiting.get(each, 0.0)),) if waiting else ()),
                )
                for each in partitions
            ),
        )

    def _dead_letters(self, readings: Readings) -> Raw:
        reasons = {reason: count for reason, count in readings.by(WORK["dead letters"], "reason").items() if count}
        if not reasons:
            return tag("p", "None since the start.")
        return _counts("reason", dict(sorted(reasons.items(), key=lambda item: -item[1])))

    def _model(self, readings: Readings) -> Raw:
        labels = readings.labels("reviews_model_info")
        if not labels:
            return tag("p", "Not loaded yet.")
        names = ("name", "version", "variant", "digest")
        since = datetime.fromtimestamp(readings.total("reviews_model_since_timestamp_seconds"), UTC)
        served = ((name, tag("code", labels.get(name, ""))) for name in names)
        parts = [table(("", "served"), (*served, ("since", f"{since:%Y-%m-%d %H:%M:%S} UTC")))]
        if readings.total("reviews_bundle_refused"):
            parts.append(tag("p", f"The bundle at {self._settings.bundle} was refused; the log says why."))
        passed_on = readings.by("reviews_member_passed_on_total", "member")
        if members := readings.by("reviews_member_texts_total", "member"):
            rows = ((name, number(texts), number(passed_on.get(name, 0.0))) for name, texts in members.items())
            parts.append(table(("member of the cascade", "#texts", "#passed on to the next"), rows))
        return joined([*parts, *drift(readings)])

    def _log(self) -> Raw:
        lines = self._recent.newest_first()
        if not lines:
            return tag("p", "None since the start.")
        return table(
            ("time (UTC)", "level", "message"),
            (
                (
                    datetime.fromtimestamp(line.time, UTC).strftime("%m-%d %H:%M:%S"),
                    tag("span", line.level, class_=line.level),
                    line.message,
                )
                for line in lines
            ),
        )

    def _links(self) -> Raw:
        known = pages()
        here = [tag("a", path, href=path) for path in ("/metrics", "/live", "/ready")]
        docs = [tag("a", name, href=f"/docs/{name}") for name in FIRST if name in known]
        if known:
            docs.append(tag("a", "all pages", href="/docs"))
        return tag("nav", joined([tag("p", joined(here, " ")), tag("p", joined(docs, " "))]))

    def _table_of_settings(self) -> Raw:
        return joined(
            [
                tag("p", "In bold: not the default.", class_="dim"),
                table(("setting", "value"), _settings(self._settings)),
            ]
        )


def _counts(head: str, counts: Mapping[str, float]) -> Raw:
    return table((head, "#count"), ((what, number(count)) for what, count in counts.items()))


def _settings(settings: WorkerSettings) -> Iterator[tuple[Raw, Raw]]:
    """Each setting and its value; of what is confidential, only whether it is set."""
    for _, fields in groups(WorkerSettings):
        for name, field in fields.items():
            value = getattr(settings, name)
            changed = "" if value == field.default else "changed"
            if value is None:
                shown = described(field)[1] or "none"
            else:
                shown = "set" if is_secret(field) or name in CONFIDENTIAL else _written(value)
            breakable = joined(name.split("_"), "_<wbr>")
            yield tag("span", breakable, class_=changed), tag("span", shown, class_=f"value {changed}")


def _written(value: object) -> str:
    """As a user would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "value", value))
