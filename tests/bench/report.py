"""What a bench of engines has found, as tables, a picture and JSON."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.accuracy import Accuracy, agreement, measure_accuracy
from tests.bench.goals import Goal, goals, ratio, table
from tests.bench.line_up import LineUp, cleaner
from tests.bench.peers import YARDSTICK
from tests.bench.picture import Mark, draw
from tests.bench.rounds import SEED, tell_load


@dataclass
class Found:
    """What was measured.

    Attributes:
        measured: the value of each round, by row; reviews/s unless the row says otherwise.
        half: the row of backlogs that are half known to the cache.
        lengths: tokens of each text.
        flop: of a text, on average.
        limits: reviews/s that bare products of matrices would allow, by precision.
        profiles: of each worker, shares of its time by stage while it had a backlog, and what each member passed on.
        steady: rate, and ages of results at that rate.
        peak_mib: most memory resident, by worker.
        ready: seconds from start to ready in each round, by the number of models.
        machine: processor, cores, commit, date.
        accuracy: by the way to compute labels.
        agreements: of those that share labels: how many of how many texts got the same label.
    """

    measured: dict[str, list[float]]
    half: str
    lengths: list[int]
    flop: float
    limits: dict[str, float]
    profiles: dict[str, tuple[dict[str, float], dict[str, float]]]
    steady: dict[str, float]
    peak_mib: dict[str, float]
    ready: dict[int, list[float]]
    machine: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, Accuracy] = field(default_factory=dict)
    agreements: dict[str, tuple[int, int]] = field(default_factory=dict)

    def goals(self, line_up: LineUp) -> list[Goal]:
        """Each goal, and what was measured."""
        return goals(self.measured, line_up.rows, line_up.losses, self.ready)

    def as_json(self, line_up: LineUp) -> dict[str, Any]:
        """Everything, ready for `json.dumps`."""
        manifest = line_up.bundle.manifest
        return {
            "machine": self.machine,
            "bundle": {"name": manifest.name, "digest": line_up.bundle.digest},
            "sample": {
                "reviews": len(self.lengths),
                "tokens": self.lengths,
                "seed": SEED,
                "flop_per_review": self.flop,
            },
            "limits": self.limits,
            "process": {"steady": self.steady, "peak_rss_mib": self.peak_mib, "ready_seconds": self.ready},
            "profiles": {row: {"stages": stages, "passed_on": on} for row, (stages, on) in self.profiles.items()},
            "rows": _rows(line_up, self),
            "agreements": self.agreements,
            "goals": [asdict(goal) for goal in self.goals(line_up)],
            "measured": self.measured,
        }


def ask_all(line_up: LineUp, found: Found, rows: Sequence[str], labels: Sequence[str]) -> None:
    """Let every engine label the same `rows`, whose true labels are known; adds to `found`."""
    cleaned = list(map(cleaner(line_up.bundle), rows))
    peers = {each.answers for each in line_up.contestants if each.is_peer}
    texts = {name: cleaned if name in peers else rows for name in line_up.answering}
    found.accuracy = measure_accuracy(line_up.answering, texts, labels)
    found.agreements = {
        each.name: agreement(each, line_up.answering[each.answers], texts[each.answers])
        for each in line_up.contestants
        if each.run != line_up.answering[each.answers]
    }


def print_report(line_up: LineUp, found: Found) -> None:
    """Print everything in Markdown."""
    machine, lengths, rounds = found.machine, found.lengths, len(found.measured[YARDSTICK])
    print(f"{machine['processor']}, {machine['cores']} cores, {machine['date']}, commit {machine['commit']}.")
    print(
        f"{len(lengths)} reviews, {statistics.fmean(lengths):.0f} tokens on average; {found.flop / 1e9:.1f} GFLOP a "
        f"review. Limit in reviews/s: {', '.join(f'{name} {each:.1f}' for name, each in found.limits.items())}."
    )
    tell_load(machine["load_before"])
    print(f"{line_up.remark}\n")
    print(f"| | reviews/s (min-max of {rounds}) | x {YARDSTICK} | of the limit | accuracy |")
    print("|---|---|---|---|---|")
    for row in _rows(line_up, found):
        limit = "" if row["of_limit"] is None else f"{row['of_limit']:.0%}"
        print(
            f"| {row['name']} | **{row['median']:.1f}** ({row['min']:.1f}-{row['max']:.1f}) | {row['ratio']:.1f} "
            f"| {limit} | {_percent(row)} |"
        )
    print(f"\n{table(found.goals(line_up))}\n")
    if found.accuracy:
        _print_accuracy(line_up, found)
    value, low, high = ratio(found.measured, found.half, line_up.default)
    print(
        f"If half of the reviews were seen before, the cache makes it {value:.2f} ({low:.2f}-{high:.2f}) x as fast. "
        "All other rows read reviews that the worker has never seen; its count of cache hits shows it."
    )
    for name, (stages, passed_on) in found.profiles.items():
        on = "".join(f"; {member} passed on {share:.1%}" for member, share in passed_on.items())
        print(
            f"{name}: {', '.join(f'{stage} {share:.1%}' for stage, share in stages.items())} of its time; at most "
            f"{found.peak_mib[name]:.0f} MiB resident{on}."
        )
    steady = found.steady
    print(
        f"{line_up.main} at {steady['reviews_per_second']:.1f} reviews/s, half of its speed: p50 / p99 of produced to "
        f"committed {steady['age_p50_seconds']:.2f} / {steady['age_p99_seconds']:.2f} s."
    )


def draw_picture(line_up: LineUp, found: Found, path: Path) -> None:
    """Accuracy over throughput; see `docs/benchmarks.md` for how to read it."""
    marks = [
        Mark(row["name"], row["kind"], row["median"], row["accuracy"], row["interval"])
        for row in _rows(line_up, found)
        if row["accuracy"] is not None
    ]
    machine = found.machine
    where = f"{machine['cores']} cores, {machine['processor']}, {machine['date']}"
    rows = len(next(iter(found.accuracy.values())).right)
    draw(path, marks, {name: found.limits[name] for name in ("fp32", "int8")}, rows, where)


def _print_accuracy(line_up: LineUp, found: Found) -> None:
    """What stands behind the column of accuracy."""
    large = found.accuracy[line_up.rows.classifiers[line_up.main]]
    for row, classifier in line_up.rows.classifiers.items():
        if row != line_up.main:
            loss = found.accuracy[classifier].lost_to(large)
            low, high = loss.interval
            print(
                f"{classifier}: {loss.points:.2f} points lost ({low:.2f} to {high:.2f}, paired) against "
                f"{line_up.bundle.manifest.name} on these {loss.rows} rows."
            )
    shown = ", ".join(f"{name} {same} of {asked}" for name, (same, asked) in found.agreements.items())
    print(f"Rows that compute the same share one answer. Asked themselves, they gave the same label: {shown}.")


def _rows(line_up: LineUp, found: Found) -> list[dict[str, Any]]:
    """The lines of the table, the slowest first; speeds are reviews a second."""
    kinds = {each.name: "others" if each.is_peer else "this worker's classifier" for each in line_up.contestants}
    answers = {each.name: each.answers for each in line_up.contestants}
    precisions = {each.name: each.precision for each in line_up.contestants}
    for row, classifier in line_up.rows.classifiers.items():
        kinds[row], answers[row] = "this worker, through Kafka", classifier
        precisions[row] = precisions[classifier]
    kinds[found.half], precisions[found.half] = "this worker, through Kafka", None
    yardstick = statistics.median(found.measured[YARDSTICK])
    lines = []
    for name, kind in kinds.items():
        speeds, precision = found.measured[name], precisions[name]
        accuracy = found.accuracy.get(answers.get(name, ""))
        median = statistics.median(speeds)
        lines.append(
            {
                "name": name,
                "kind": kind,
                "median": median,
                "min": min(speeds),
                "max": max(speeds),
                "ratio": median / yardstick,
                "of_limit": median / found.limits[precision] if precision else None,
                "accuracy": accuracy.share if accuracy else None,
                "interval": accuracy.interval if accuracy else None,
            }
        )
    return sorted(lines, key=lambda line: line["median"])


def _percent(row: dict[str, Any]) -> str:
    if row["accuracy"] is None:
        return ""
    low, high = row["interval"]
    return f"{row['accuracy']:.1%} ({low:.1%}-{high:.1%})"
