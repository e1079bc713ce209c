"""Switch each protection off in turn, in a copy, and show that a named test notices: `python -m tests.mutants`.

A test that cannot fail proves nothing. Every mutation here is one that a careless change could make; the checkout is
never touched. Ends with exit code 0 if every mutation was caught.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TEST_TIMEOUT_SECONDS = 600


class Change(NamedTuple):
    """In `file`, `old` occurs exactly once and becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """What is switched off, how, and the test that has to notice."""

    name: str
    changes: tuple[Change, ...]
    test: str


BROKER, PUBLISHER, CLIENT = "consumer/kafka/broker.py", "consumer/kafka/publisher.py", "consumer/kafka/client.py"
ASSIGNMENT, WORKER, LINEAGE = "consumer/kafka/assignment.py", "consumer/worker.py", "consumer/kafka/lineage.py"
LOSSES, DRAIN = "consumer/kafka/losses.py", "consumer/kafka/drain.py"
START, SETTINGS, FIXES = "consumer/kafka/start.py", "consumer/settings/topics.py", "consumer/kafka/fixes/__init__.py"

MUTATIONS = (
    Mutation(
        "group metadata is taken when committing, not when polling",
        (
            Change(
                PUBLISHER,
                """\
        if not poll.in_group:  # 1
            raise NotPublished("this worker has left its group")
""",
                """\
        poll = Poll(poll.records, poll.spans, True, self._consumer.group_metadata())
""",
            ),
        ),
        "test_workers_late.py::test_row_02_a_worker_that_is_late_publishes_nothing",
    ),
    Mutation(
        "no rewind after an abort",
        (Change(WORKER, "            self._broker.rewind(poll)\n", ""),),
        "test_sizes.py::test_row_15_a_refused_poll_is_taken_again",
    ),
    Mutation(
        "the input is read uncommitted",
        (Change(CLIENT, 'isolation_level="read_committed",  #', 'isolation_level="read_uncommitted",  #'),),
        "test_records.py::test_reviews_of_an_aborted_transaction_are_not_labelled",
    ),
    Mutation(
        "the client commits by itself",
        (
            Change(CLIENT, "enable_auto_commit=False,\n        auto", "enable_auto_commit=True,\n        auto"),
            Change(START, '"autocommit": False, ', ""),
        ),
        "test_workers_end.py::test_row_08_the_older_of_two_workers_with_one_name_is_fenced",
    ),
    Mutation(
        "offsets are committed before results are sent",
        (
            Change(
                PUBLISHER,
                """\
            self._producer.begin_transaction()  # 2
""",
                """\
            self._consumer.commit(offsets)
            self._producer.begin_transaction()
""",
            ),
        ),
        "test_workers_end.py::test_row_01_a_worker_killed_at_any_step_leaves_nothing_behind[sent]",
    ),
    Mutation(
        "dead letters are sent outside the transaction",
        (
            Change(
                PUBLISHER,
                """\
        partition = record.partition % self._partitions[record.topic]
""",
                """\
        partition = record.partition % self._partitions[record.topic]
        if record.topic == self._settings.dead_letter_topic:
            from kafka import KafkaProducer
            plain = KafkaProducer(bootstrap_servers=self._settings.bootstrap_servers)
            future = plain.send(record.topic, record.value, record.key, record.headers, partition)
            plain.close()
            return future
""",
            ),
        ),
        "test_workers_end.py::test_row_01_a_worker_killed_at_any_step_leaves_nothing_behind[offsets_sent]",
    ),
    Mutation(
        "the offset committed is that of the last record, not of the next one",
        (Change(BROKER, "last.offset + 1", "last.offset"),),
        "test_workers_end.py::test_row_01_a_worker_killed_at_any_step_leaves_nothing_behind[polled]",
    ),
    Mutation(
        "a group without commits begins at the end",
        (
            Change(CLIENT, 'auto_offset_reset="earliest"', 'auto_offset_reset="latest"'),
            Change(ASSIGNMENT, "seek_to_beginning", "seek_to_end"),
        ),
        "test_topics.py::test_row_22_partitions_that_are_added_are_read_from_their_start",
    ),
    Mutation(
        "a leader forgets that it joins anew",
        (
            Change(
                "consumer/kafka/fixes/group.py",
                "coordinator.rejoining or need_rejoin(coordinator)",
                "need_rejoin(coordinator)",
            ),
        ),
        "test_topics.py::test_row_22_a_leader_takes_part_in_a_rebalance_that_ends_between_its_polls",
    ),
    Mutation(
        "a poll taken while the group rebalances may commit",
        (Change(BROKER, "group.state == MemberState.STABLE", "group.generation_id >= 0"),),
        "test_topics.py::test_row_22_a_leader_takes_part_in_a_rebalance_that_ends_between_its_polls",
    ),
    Mutation(
        "clients ask for topics to be created",
        (Change(CLIENT, "        network.create_no_topics(client)\n", ""),),
        "test_topics.py::test_row_21_a_topic_that_is_deleted_under_a_worker_stays_deleted",
    ),
    Mutation(
        "batches are larger than the topic takes",
        (Change(CLIENT, "min(131_072, settings.max_request_bytes)", "131_072"),),
        "test_sizes.py::test_row_15_many_results_for_one_partition_fit_a_small_limit",
    ),
    Mutation(
        "all workers share one transactional id",
        (
            Change(
                SETTINGS,
                """return f"{self.group_id}/{self.instance_id or f'{socket.gethostname()}-{uuid4().hex[:12]}'}\"""",
                "return self.group_id",
            ),
        ),
        "test_workers_end.py::test_row_08_workers_of_one_group_leave_each_other_alone",
    ),
    Mutation(
        "a mark is believed although it came with another offset",
        (Change(LINEAGE, "if found and int(found[2]) == commit.offset:", "if found:"),),
        "test_commits_lost.py::test_row_31_offsets_that_somebody_set_are_labelled_again[True]",
    ),
    Mutation(
        "a partition is stalled by time alone",
        (Change("consumer/stall.py", "ROUNDS = 3\n", "ROUNDS = 0\n"),),
        "test_topics.py::test_row_30_partitions_that_wait_for_their_turn_are_not_stalled",
    ),
    Mutation(
        "a slow delivery counts as a hang",
        (Change(PUBLISHER, "delivery.show_life, SIGN_SECONDS)  # 4", "lambda: None, SIGN_SECONDS)  # 4"),),
        "test_network.py::test_row_18_results_that_trickle_out_do_not_trip_the_watchdog",
    ),
    Mutation(
        "turns are counted only while the worker is idle",
        (Change(FIXES, "    positions.count_turns,\n", ""),),
        "test_workers_late.py::test_row_30_a_partition_that_is_never_read_again_is_noticed_under_load",
    ),
    Mutation(
        "a partition without a leader is asked for its end like any other",
        (Change(FIXES, "    positions.return_known_offsets,\n", ""),),
        "test_brokers.py::test_row_05_a_partition_without_a_leader_holds_up_no_other",
    ),
    Mutation(
        "what a consumer notes of positions out of range is counted before it is ours",
        (Change(BROKER, "            self._losses.forget()\n", ""),),
        "test_topics.py::test_row_23_records_that_retention_deleted_are_counted",
    ),
    Mutation(
        "an offset beyond the end keeps its lineage",
        (
            Change(
                LOSSES,
                "            self._lineages.begin(partition.partition)\n        if positions:",
                "            pass\n        if positions:",
            ),
        ),
        "test_commits_lost.py::test_row_31_an_offset_beyond_the_end_is_told_and_begins_a_new_lineage",
    ),
    Mutation(
        "a log that lost its end keeps its lineage",
        (
            Change(
                LOSSES,
                "            self._lineages.begin(partition.partition)\n            log.error(",
                "            log.error(",
            ),
        ),
        "test_logs.py::test_row_31_a_log_that_loses_its_end_under_a_worker_is_read_on_from_there",
    ),
    Mutation(
        "a committed offset is read on from without its leader epoch",
        (
            Change(
                ASSIGNMENT,
                "positions.seek_committed(self._consumer, partition, commit)",
                "self._consumer.seek(partition, commit.offset)",
            ),
        ),
        "test_logs.py::test_row_31_a_log_that_lost_its_end_between_two_workers_is_read_on_from_there",
    ),
    Mutation(
        "a committed offset behind the results is not asked for again",
        (Change(ASSIGNMENT, "self._committed(suspected)", "commits"),),
        "test_commits_lost.py::test_row_31_offsets_that_the_next_owner_committed_are_not_lost",
    ),
    Mutation(
        "an answer without records forgets the leader epoch",
        (Change(FIXES, "    positions.keep_leader_epochs,\n", ""),),
        "test_logs.py::test_row_31_an_answer_without_records_does_not_hide_that_a_log_loses_its_end",
    ),
    Mutation(
        "an emptied control batch is asked for its marker",
        (
            Change(
                "consumer/kafka/fixes/records.py",
                "batch.records_count > 0 and contains_abort_marker",
                "contains_abort_marker",
            ),
        ),
        "test_logs.py::test_row_12_a_marker_that_the_cleaner_has_emptied_is_passed_over",
    ),
    Mutation(
        "a committed offset beyond the end counts as drained",
        (Change(DRAIN, " and commit != self._beyond.get(partition)", ""),),
        "test_logs.py::test_row_31_a_drain_is_not_done_where_the_committed_offset_is_beyond_the_end",
    ),
    Mutation(
        "a committed offset does not go back with the end of a log",
        (
            Change(
                BROKER,
                "if position.offset != self._assignment.committed",
                "if position.offset > self._assignment.committed",
            ),
        ),
        "test_logs.py::test_row_31_a_drain_is_not_done_where_the_committed_offset_is_beyond_the_end",
    ),
    Mutation(
        "a position that went back is committed before a new lineage begins",
        (Change(BROKER, "if losses.has_lost_records(self._consumer):", "if False:"),),
        "test_logs.py::test_row_31_no_position_goes_back_before_a_new_lineage_begins",
    ),
    Mutation(
        "a busy worker commits no position that moved without a record",
        (Change(WORKER, "if published and self._settled(poll):", "if published and self._broker.drained():"),),
        "test_topics.py::test_a_drain_ends_although_producers_go_on",
    ),
    Mutation(
        "a worker that waits for all of its offsets is ready",
        (
            Change(
                BROKER,
                "return Obstacle.IN_DOUBT if self._assignment.waiting and not self._assignment.readable else None",
                "return None",
            ),
        ),
        "test_workers_end.py::test_row_03_a_worker_that_can_read_nothing_yet_is_not_ready",
    ),
)


def check_fit(mutation: Mutation) -> None:
    """Raise `SystemExit` if the code has changed so that `mutation` would change something else, or nothing."""
    for file, old, _ in mutation.changes:
        if (ROOT / file).read_text().count(old) != 1:
            raise SystemExit(f"mutation {mutation.name!r} no longer fits {file}; bring tests/mutants.py up to date")


def caught(mutation: Mutation) -> bool:
    """Apply the mutation to a copy, run its test there, and say whether the test failed."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory)
        for name in ("consumer", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for file, old, new in mutation.changes:
            (copy / file).write_text((copy / file).read_text().replace(old, new))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/faults/{mutation.test}"]
        ended = subprocess.run(
            command, check=False, cwd=copy, capture_output=True, text=True, timeout=TEST_TIMEOUT_SECONDS
        )
        if ended.returncode not in {0, 1}:  # neither passed nor failed: the test did not run
            raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        why = next((line for line in ended.stdout.splitlines() if line.startswith("E  ")), "")
        print(f"   {why.removeprefix('E').strip()[:150]}", flush=True)
        return ended.returncode == 1


def main() -> int:
    """Run all mutations, or those whose numbers are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = range(1, len(MUTATIONS) + 1)
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER", help=f"1 to {len(MUTATIONS)} (all)")
    chosen = parser.parse_args().numbers or numbers
    if unknown := set(chosen) - set(numbers):
        parser.error(f"there is no mutation {min(unknown)}, only 1 to {len(MUTATIONS)}")
    for mutation in MUTATIONS:
        check_fit(mutation)
    found = 0
    for number in chosen:
        mutation = MUTATIONS[number - 1]
        print(f"{number}. {mutation.name}", flush=True)
        began = time.monotonic()
        is_caught = caught(mutation)
        found += is_caught
        verdict = "caught by" if is_caught else "NOT CAUGHT by"
        print(f"   {verdict} {mutation.test} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{found} of {len(chosen)} mutants caught")
    return 0 if found == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
