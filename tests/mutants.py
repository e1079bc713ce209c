"""Switch each protection off in turn, in a copy, and show that a named test notices: `python -m tests.mutants`.

A test that cannot fail proves nothing. Every mutation here is one that a careless change could make. The checkout is
never touched. A mutation is caught if its test passes in a copy without the mutation, and fails in a copy with it: in
the test itself, not because the mutated code is broken. The exit code is 0 if every mutation was caught.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
#: For one test; pytest's own timeout ends a test that hangs before that.
TEST_TIMEOUT_SECONDS = 600
#: What a copy is made of. Bundles are linked, because they are large and no test writes into them.
COPIED, LINKED = ("consumer", "training", "tests", "docs", "deploy"), ("bundles",)
COPIED_FILES = ("pyproject.toml", "README.md", "Makefile", "docker-compose.yml")
#: Signs in a failed test's output that the mutated code is broken, where it should only lack a protection.
BROKEN = re.compile(r"\b(NameError|UnboundLocalError|ImportError|ModuleNotFoundError|SyntaxError|IndentationError)\b")


class Change(NamedTuple):
    """In `file`, `old` occurs exactly once and becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """What is switched off, how, and the test that has to notice, in all of its variants or in the one named.

    The test is one of tests/faults, unless its path from the root is given.
    """

    name: str
    changes: tuple[Change, ...]
    test: str

    @property
    def test_id(self) -> str:
        """What pytest calls the test."""
        return self.test if self.test.startswith("tests/") else f"tests/faults/{self.test}"


BROKER, PUBLISHER, CLIENT = "consumer/kafka/broker.py", "consumer/kafka/publisher.py", "consumer/kafka/client.py"
PREPARATION, SWAP = "consumer/serving/preparation.py", "consumer/serving/swap.py"
ASSIGNMENT, WORKER, LINEAGE = "consumer/kafka/assignment.py", "consumer/worker.py", "consumer/kafka/lineage.py"
LOSSES, DRAIN = "consumer/kafka/losses.py", "consumer/kafka/drain.py"
READING = "consumer/kafka/reading.py"
BUNDLE_FILES, OPENVINO = "consumer/model/bundle/files.py", "consumer/model/engines/openvino.py"
UNPADDED = "consumer/model/engines/unpadded.py"
CASCADE, MEMBERS = "consumer/model/cascade/labeller.py", "consumer/model/cascade/bundle.py"
START, SETTINGS, FIXES = "consumer/kafka/start.py", "consumer/settings/topics.py", "consumer/kafka/fixes/__init__.py"
DRIFT, PROFILING = "consumer/service/drift.py", "training/packaging/profile.py"
REPLAY, JUDGE = "consumer/tools/dlq/replay.py", "consumer/tools/dlq/judge.py"
SPANS, EXPORTING, TRACING = "consumer/tracing/spans.py", "consumer/tracing/exporting.py", "consumer/tracing/on.py"
TRACE_TESTS, EXPORT_TESTS = "tests/unit/test_tracing.py", "tests/unit/test_tracing_export.py"

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
        "what does not fit into a poll is not read again",
        (Change(BROKER, "if offset < span.next and (place", "if offset == span.first and (place"),),
        "test_costs.py::test_row_34_a_worker_killed_while_its_polls_are_cut",
    ),
    Mutation(
        "a cut poll commits the offsets of the whole poll",
        (Change("consumer/records/poll.py", "next=last[span.partition].offset + 1", "next=span.next"),),
        "test_costs.py::test_row_34_a_worker_killed_while_its_polls_are_cut",
    ),
    Mutation(
        "a poll ends by the number of its records alone",
        (
            Change(
                "consumer/labelling.py",
                "self._labeller.classify(texts, self._alive, max(0.0, seconds))",
                "self._labeller.classify(texts, self._alive)",
            ),
        ),
        "test_costs.py::test_row_34_long_reviews_behind_short_ones_hold_up_no_commit",
    ),
    Mutation(
        "produce saves its progress in a transaction of its own",
        (
            Change(
                "consumer/kafka/tools/sending.py",
                "            transactions.send_offsets(",
                "            transactions.end_transaction(self._producer, seconds, commit=True)\n"
                "            self._producer.begin_transaction()\n"
                "            transactions.send_offsets(",
            ),
        ),
        "test_produce_killed.py::test_a_killed_command_resumes_without_sending_a_row_twice",
    ),
    Mutation(
        "each run of produce has a transactional id of its own",
        (Change("consumer/kafka/tools/sending.py", '"instance_id": name,', '"instance_id": f"{name}{time.time()}",'),),
        "test_produce_killed.py::test_two_commands_at_once_send_each_row_once",
    ),
    Mutation(
        "the first partition of a poll is always labelled first",
        (
            Change(
                "consumer/labelling.py",
                "(depth[record.partition], self._last.get(record.partition, 0), place)",
                "(0, 0, place)",
            ),
        ),
        "tests/unit/test_labelling.py::test_no_partition_is_put_back_for_ever",
    ),
    Mutation(
        "the cache answers for other bundles",
        (Change("consumer/model/cache.py", "            key=self._bundle,\n", ""),),
        "tests/unit/test_cache.py::test_answers_are_those_of_one_bundle",
    ),
    Mutation(
        "the cache takes long texts for equal that are read in different parts",
        (Change("consumer/model/cache.py", "is_short = len(text) <= CLEANED_CHARACTERS", "is_short = True"),),
        "tests/unit/test_cache.py::test_texts_that_may_be_cut_before_they_are_cleaned_are_told_apart",
    ),
    Mutation(
        "a poll that waits for records counts as waiting for Kafka",
        (Change(FIXES, "    positions.note_ends,\n", ""),),
        "test_time.py::test_the_stages_add_up_to_the_wall_time",
    ),
    Mutation(
        "the input is read uncommitted",
        (Change(CLIENT, 'isolation_level="read_committed",  #', 'isolation_level="read_uncommitted",  #'),),
        "test_records.py::test_reviews_of_an_aborted_transaction_are_not_labelled",
    ),
    Mutation(
        "the client commits on its own",
        (
            Change(CLIENT, "enable_auto_commit=False,\n        auto", "enable_auto_commit=True,\n        auto"),
            Change("consumer/kafka/connection.py", '"autocommit": False, ', ""),
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
        return sending.put(self._producer, place, record, headers)
""",
                """\
        if record.topic == self._settings.dead_letter_topic:
            from kafka import KafkaProducer
            plain = KafkaProducer(bootstrap_servers=self._settings.bootstrap_servers)
            future = plain.send(record.topic, record.value, record.key, record.headers, place.partition)
            plain.close()
            return future
        return sending.put(self._producer, place, record, headers)
""",
            ),
        ),
        "test_workers_end.py::test_row_01_a_worker_killed_at_any_step_leaves_nothing_behind[offsets_sent]",
    ),
    Mutation(
        "the committed offset is that of the last record, not of the next one",
        (Change(READING, "last.offset + 1,", "last.offset,"),),
        "test_workers_end.py::test_row_01_a_worker_killed_at_any_step_leaves_nothing_behind[polled]",
    ),
    Mutation(
        "a group without commits starts at the end",
        (
            Change(CLIENT, 'auto_offset_reset="earliest"', 'auto_offset_reset="latest"'),
            Change(ASSIGNMENT, "seek_to_beginning", "seek_to_end"),
        ),
        "test_topics.py::test_row_22_partitions_that_are_added_are_read_from_their_start",
    ),
    Mutation(
        "a leader forgets that it is joining again",
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
        "batches exceed the size limit of the topic",
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
        "a lineage is trusted although its commit names another offset",
        (Change(LINEAGE, "if found and int(found[2]) == commit.offset:", "if found:"),),
        "test_commits_lost.py::test_row_31_offsets_that_an_operator_sets_are_labelled_again[True]",
    ),
    Mutation(
        "a partition is stalled by time alone",
        (Change("consumer/stall.py", "ROUNDS = 3\n", "ROUNDS = 0\n"),),
        "test_topics.py::test_row_30_partitions_that_wait_for_their_turn_are_not_stalled",
    ),
    Mutation(
        "a slow delivery counts as a hang",
        (
            Change(
                "consumer/kafka/delivery.py",
                "            self._alive()\n            self._next_sign",
                "            self._next_sign",
            ),
        ),
        "test_network.py::test_row_18_results_that_trickle_out_do_not_trip_the_watchdog",
    ),
    Mutation(
        "turns are counted only while the worker is idle",
        (Change(FIXES, "    positions.count_turns,\n", ""),),
        "test_workers_late.py::test_row_30_a_partition_that_is_never_read_again_is_noticed_under_load",
    ),
    Mutation(
        "the end offsets of a partition without a leader are requested like those of any other",
        (Change(FIXES, "    positions.return_known_offsets,\n", ""),),
        "test_brokers.py::test_row_05_a_partition_without_a_leader_holds_up_no_other",
    ),
    Mutation(
        "positions out of range of an earlier assignment are counted",
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
        "reading resumes at a committed offset without its leader epoch",
        (
            Change(
                ASSIGNMENT,
                "positions.seek(self._consumer, partition, commit.offset, commit.leader_epoch)",
                "self._consumer.seek(partition, commit.offset)",
            ),
        ),
        "test_logs.py::test_row_31_a_log_that_lost_its_end_between_two_workers_is_read_on_from_there",
    ),
    Mutation(
        "a committed offset behind the results is not fetched again",
        (Change(ASSIGNMENT, "self._committed(suspected)", "commits"),),
        "test_commits_lost.py::test_row_31_offsets_that_the_next_owner_committed_are_not_lost",
    ),
    Mutation(
        "an answer without records forgets the leader epoch",
        (Change(FIXES, "    positions.keep_leader_epochs,\n", ""),),
        "test_logs.py::test_row_31_an_answer_without_records_does_not_hide_that_a_log_loses_its_end",
    ),
    Mutation(
        "a marker is read from an emptied control batch",
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
        "a committed offset does not move back with the end of a log",
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
        "a position that moved back is committed before a new lineage begins",
        (Change(BROKER, "if losses.has_lost_records(self._consumer):", "if False:"),),
        "test_logs.py::test_row_31_no_position_goes_back_before_a_new_lineage_begins",
    ),
    Mutation(
        "a busy worker commits no position that moved without a record",
        (Change(WORKER, "and published and self._settled(poll)", "and published and self._broker.drained()"),),
        "test_topics.py::test_a_drain_ends_although_producers_go_on",
    ),
    Mutation(
        "the next transaction keeps the epoch although a request was sent again",
        (Change(PUBLISHER, "if transactions.has_repeated(self._producer):  # 7", "if False:  # 7"),),
        "test_network.py::test_row_32_a_commit_that_arrives_late_ends_no_other_transaction",
    ),
    Mutation(
        "weights are read from the file system by OpenVINO",
        (Change(OPENVINO, "in_memory(bundle.read(weights))", "str(bundle.path / weights)"),),
        "tests/unit/test_bundle_on_disk.py::test_weights_that_change_on_disk_change_no_answer",
    ),
    Mutation(
        "what is served was hashed at an earlier time",
        (
            Change(
                BUNDLE_FILES,
                """\
    _check_sum(path / name, hashlib.sha256(content).hexdigest(), expected)
    return content
""",
                """\
    return content
""",
            ),
        ),
        "tests/unit/test_bundle_on_disk.py::test_a_file_that_changes_between_verifying_and_opening_is_refused",
    ),
    Mutation(
        "a pinned digest is not compared",
        (Change(BUNDLE_FILES, "if digest is not None and found != digest:", "if False:"),),
        "tests/unit/test_bundle_on_disk.py::test_a_pinned_digest_lets_one_bundle_pass",
    ),
    Mutation(
        "a member of a cascade may be another than was measured",
        (Change(MEMBERS, "    if found != member.digest:\n", "    if False:\n"),),
        "tests/unit/test_cascade.py::test_a_pinned_digest_pins_the_members",
    ),
    Mutation(
        "a member of a cascade may be anywhere",
        (
            Change(
                MEMBERS, "    if not real.is_relative_to(root) or cascade.is_relative_to(real):\n", "    if False:\n"
            ),
        ),
        "tests/unit/test_cascade.py::test_a_cascade_with_a_damaged_member_is_refused",
    ),
    Mutation(
        "a cascade returns answers behind a text that did not fit into the time",
        (Change(CASCADE, "                done = todo[fitting]\n", "                pass\n"),),
        "tests/unit/test_cascade.py::test_traffic_that_becomes_doubtful_at_once_takes_no_longer",
    ),
    Mutation(
        "the first member of a cascade takes all of the time",
        (Change(CASCADE, " * self._share(name)", ""),),
        "tests/unit/test_cascade.py::test_traffic_that_becomes_doubtful_at_once_takes_no_longer",
    ),
    Mutation(
        "a text that does not fit into the time is computed",
        (Change("consumer/model/classifier.py", "            if fits < len(encoded):\n", "            if False:\n"),),
        "tests/unit/test_classifier.py::test_only_as_many_texts_are_computed_as_fit_into_the_time",
    ),
    Mutation(
        "a GPU waits until all texts are tokenised",
        (Change("consumer/model/classifier.py", "            if work.is_in_background:\n", "            if False:\n"),),
        "tests/unit/test_background.py::test_the_next_texts_are_tokenised_while_the_engine_computes",
    ),
    Mutation(
        "what a GPU has yet to compute is forgotten when time is short",
        (Change("consumer/model/classifier.py", "max(done_at, time.perf_counter())", "time.perf_counter()"),),
        "tests/unit/test_background.py::test_only_as_many_texts_are_labelled_as_fit_into_the_time",
    ),
    Mutation(
        "time in which texts are tokenised beside a GPU does not count",
        (
            Change(
                "consumer/model/classifier.py",
                "max(done_at, time.perf_counter())",
                "done_at if added else time.perf_counter()",
            ),
        ),
        "tests/unit/test_background.py::test_time_is_kept_and_shown_when_tokenising_is_the_slower_part",
    ),
    Mutation(
        "a worker gives no sign of life while it tokenises beside a GPU",
        (
            Change(
                "consumer/model/classifier.py",
                "                added = len(encoded)\n                at_work()\n",
                "                added = len(encoded)\n",
            ),
        ),
        "tests/unit/test_background.py::test_time_is_kept_and_shown_when_tokenising_is_the_slower_part",
    ),
    Mutation(
        "a GPU that computes padding gets texts in parts",
        (Change("consumer/model/inference/computation.py", " and not self._shapes.policy.pads", ""),),
        "tests/unit/test_background.py::test_where_padding_is_computed_all_texts_share_batches",
    ),
    Mutation(
        "without padding, a text attends to its neighbours",
        (
            Change(
                UNPADDED,
                "_heads_first(key[first:last]), _heads_first(value[first:last])",
                "_heads_first(key), _heads_first(value)",
            ),
        ),
        "tests/training/test_unpadded.py::test_logits_are_those_of_transformers",
    ),
    Mutation(
        "without padding, padding tokens within a text of RoBERTa count as positions",
        (Change(UNPADDED, 'if hasattr(embeddings, "create_position_ids_from_input_ids"):', "if False:"),),
        "tests/training/test_unpadded.py::test_logits_are_those_of_transformers",
    ),
    Mutation(
        "without padding, cuDNN compiles a plan for every batch",
        (Change("consumer/model/engines/torch.py", "backends.cuda.enable_cudnn_sdp(False)", "is_tensor(None)"),),
        "tests/training/test_unpadded.py::test_flash_attention_computes_though_cudnn_could",
    ),
    Mutation(
        "the worker leaves the sharpening out",
        (
            Change(
                "consumer/model/inference/scaling.py",
                "        if not self.sharpening:\n            return scaled\n",
                "        return scaled\n",
            ),
        ),
        "tests/unit/test_classifier.py::test_the_sharpening_of_the_bundle_is_applied",
    ),
    Mutation(
        "a sharpening that fits by chance is kept",
        (Change("training/measure/calibrate.py", "SHARPENS_FROM = 6.635", "SHARPENS_FROM = 0.0"),),
        "tests/training/test_calibrate.py::test_what_fits_by_chance_is_left_out",
    ),
    Mutation(
        "the last batches of a poll are as large as the first ones, and streams wait for each other",
        (
            Change(
                "consumer/model/inference/batching.py",
                "            budget = min(policy.token_budget, -(-left // policy.parallel))",
                "            budget = budget or min(policy.token_budget, -(-left // policy.parallel))",
            ),
        ),
        "tests/unit/test_batching.py::test_no_stream_ends_later_than_the_others_by_more_than_one_text",
    ),
    Mutation(
        "without padding, a text without a token costs nothing",
        (
            Change(
                "consumer/model/inference/batching.py", "np.maximum(self.mask.sum(axis=1), 1).sum()", "self.mask.sum()"
            ),
        ),
        "tests/training/test_unpadded.py::test_a_text_without_a_token_harms_no_other",
    ),
    Mutation(
        "a text without a token shifts the answers of a batch",
        (Change(UNPADDED, "    kept[:, 0] = True", "    pass"),),
        "tests/training/test_unpadded.py::test_a_text_without_a_token_harms_no_other",
    ),
    Mutation(
        "attention that a card cannot run fails every batch",
        (
            Change(
                "consumer/model/engines/torch.py",
                "        self._model.set_attn_implementation(usual)\n"
                "        self._torch.backends.cuda.enable_cudnn_sdp(has_cudnn)\n        return False\n",
                "        return True\n",
            ),
        ),
        "tests/training/test_unpadded.py::test_where_the_attention_fails_padding_is_computed",
    ),
    Mutation(
        "a cascade is written that loses more than allowed",
        (Change("training/cascade.py", "    if loss.points > order.max_loss:\n", "    if False:\n"),),
        "tests/training/test_cascade.py::test_more_lost_than_allowed_on_the_rows_that_measure_is_refused",
    ),
    Mutation(
        "the scheme of an address is thrown away",
        (
            Change(
                "consumer/settings/addresses.py",
                "    if scheme := _SCHEME.match(address):\n        protocol",
                "    address = _SCHEME.sub('', address)\n    if scheme := _SCHEME.match(address):\n        protocol",
            ),
        ),
        "tests/unit/test_addresses.py::test_a_scheme_never_decides_about_encryption",
    ),
    Mutation(
        "a request of a transaction is lost if its coordinator is down",
        (Change(FIXES, "    transactions.keep_unsent_requests,\n", ""),),
        "test_brokers.py::test_row_05_a_busy_worker_resumes_after_its_broker_restarts_at_once",
    ),
    Mutation(
        "a poll does not wait while a heartbeat is due",
        (Change(FIXES, "    group.wait_for_heartbeats,\n", ""),),
        "test_network.py::test_row_06_a_silent_broker_costs_an_idle_worker_nothing[frozen]",
    ),
    Mutation(
        "heartbeats are as rare as the session allows",
        (
            Change(
                "consumer/settings/times.py",
                "min(self.session_timeout_seconds / 3, HEARTBEAT_SECONDS)",
                "self.session_timeout_seconds / 3",
            ),
        ),
        "tests/unit/test_settings.py::test_heartbeats_come_every_second_and_three_times_a_session[10-1]",
    ),
    Mutation(
        "each record wakes the thread that sends",
        (
            Change(
                "consumer/kafka/fixes/sending.py",
                "    return future\n",
                "    producer._sender.wakeup()\n    return future\n",
            ),
        ),
        "test_time.py::test_a_poll_wakes_the_sender_once",
    ),
    Mutation(
        "only commits that are sent again are noted",
        (
            Change(
                "consumer/kafka/fixes/transactions.py",
                "handler.priority >= Priority.ADD_PARTITIONS_OR_OFFSETS",
                "handler.priority >= Priority.END_TXN",
            ),
        ),
        "test_network.py::test_row_33_offsets_that_arrive_late_replace_no_later_ones",
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
    Mutation(
        "a replay does not look at what was sent before",
        (Change(REPLAY, "not arguments.again and chunk.has(letter)", "False"),),
        "test_replay.py::test_a_replay_that_is_killed_at_any_step_sends_each_dead_letter_once",
    ),
    Mutation(
        "two replays do not fence each other",
        (
            Change(
                "consumer/kafka/tools/replay.py",
                '"instance_id": f"replay:{settings.dead_letter_topic}",',
                '"instance_id": None,',
            ),
        ),
        "test_replay.py::test_the_older_of_two_replays_is_fenced",
    ),
    Mutation(
        "a replay remembers an offset, not what was sent",
        (
            Change(
                "consumer/tools/dlq/ledger.py",
                """\
        if not sent:
            self._open[cause] = None
            return
""",
                "",
            ),
        ),
        "tests/integration/test_dlq.py::test_replays_with_different_filters_send_each_record_once",
    ),
    Mutation(
        "a replay sends records that were cut",
        (
            Change(
                JUDGE,
                """\
        if letter.cut:
            return "cut"
""",
                "",
            ),
        ),
        "tests/integration/test_dlq.py::test_a_replay_refuses_what_it_cannot_restore",
    ),
    Mutation(
        "a record goes round between the input and the dead letters forever",
        (
            Change(
                JUDGE,
                """\
        if letter.attempts >= self._max_attempts:
            return "attempts"
""",
                "",
            ),
        ),
        "tests/integration/test_dlq.py::test_a_replay_refuses_what_it_cannot_restore",
    ),
    Mutation(
        "a replayed record keeps the marks of its dead letter",
        (
            Change(
                "consumer/records/letter.py",
                'if any(name == "dead-letter-reason" for name, _ in run)',
                "if False",
            ),
        ),
        "tests/integration/test_dlq.py::test_earlier_marks_are_cleaned",
    ),
    Mutation(
        "a new bundle is taken although a pin allows only another one",
        (
            Change(
                PREPARATION, "read_manifest(settings.bundle, settings.bundle_digest)", "read_manifest(settings.bundle)"
            ),
        ),
        "tests/unit/test_swap.py::test_with_a_pin_nothing_else_is_served",
    ),
    Mutation(
        "a new bundle may have other labels",
        (Change(PREPARATION, "if set(before) != set(after):", "if len(before) != len(after):"),),
        "tests/unit/test_swap.py::test_a_bad_bundle_leaves_the_old_one_serving_and_says_why_once[relabelled]",
    ),
    Mutation(
        "a new bundle is opened although there is no room for two",
        (Change(PREPARATION, "if free is not None and free < needed:", "if free is None:"),),
        "tests/unit/test_swap.py::test_a_bundle_for_which_there_is_no_room_is_not_opened",
    ),
    Mutation(
        "a new bundle may disagree on any number of canary texts",
        (Change(PREPARATION, "if differ > most * len(served.answers):", "if differ > len(served.answers):"),),
        "tests/unit/test_swap.py::test_a_bundle_that_disagrees_on_too_many_canary_texts_is_refused",
    ),
    Mutation(
        "a worker that stops still opens a new bundle",
        (Change(PREPARATION, "        if self._is_closed():\n            raise ClosedError\n", "        return\n"),),
        "tests/unit/test_swap.py::test_a_worker_that_stops_does_not_wait_for_a_bundle_to_be_prepared",
    ),
    Mutation(
        "a bundle is served although it was replaced while it was opened",
        (
            Change(
                SWAP,
                "elif fingerprint(self._settings.bundle) == found:",
                "elif found:",
            ),
        ),
        "tests/unit/test_swap.py::test_a_bundle_that_is_replaced_while_it_is_opened_is_not_served",
    ),
    Mutation(
        "a bundle is taken at the first look, while it may still be copied",
        (
            Change(
                SWAP,
                "is_settled, self._found = asked or found == self._found, found",
                "is_settled, self._found = True, found",
            ),
        ),
        "tests/unit/test_swap.py::test_a_link_that_is_switched_switches_the_model",
    ),
    Mutation(
        "the old model stays in memory after a switch",
        (Change(SWAP, "            before.labeller.close()\n", "            del before\n"),),
        "tests/unit/test_swap.py::test_a_link_that_is_switched_switches_the_model",
    ),
    Mutation(
        "a bundle that is refused is warned of at each try",
        (Change(SWAP, "if warning != self._last_warning:", "if warning:"),),
        "tests/unit/test_swap.py::test_a_bad_bundle_leaves_the_old_one_serving_and_says_why_once[torn]",
    ),
    Mutation(
        "the metrics keep the model before",
        (Change("consumer/service/metrics.py", "        self.model.clear()\n", ""),),
        "tests/unit/test_swap.py::test_a_link_that_is_switched_switches_the_model",
    ),
    Mutation(
        "a header that is almost a trace is taken for one",
        (Change("consumer/tracing/context.py", "_FORMAT.fullmatch(", "_FORMAT.match("),),
        f"{TRACE_TESTS}::test_a_header_that_is_no_sampled_trace_is_passed_on_as_it_came",
    ),
    Mutation(
        "the second of two trace headers is overlooked",
        (Change("consumer/tracing/context.py", "if len(places) != 1:", "if not places:"),),
        f"{TRACE_TESTS}::test_a_header_that_is_no_sampled_trace_is_passed_on_as_it_came",
    ),
    Mutation(
        "a result points to a span that its worker does not record",
        (Change(SPANS, "if not span.is_recording():", "if False:"),),
        f"{TRACE_TESTS}::test_a_trace_that_this_worker_does_not_record_is_passed_on_as_it_came",
    ),
    Mutation(
        "results that were not published have spans",
        (
            Change(
                SPANS,
                """\
        kind = type(error.__cause__ or error).__name__
""",
                """\
        kind = type(error.__cause__ or error).__name__
        for span in self._created:
            span.end()
""",
            ),
        ),
        f"{TRACE_TESTS}::test_a_poll_that_is_not_published_says_so_and_its_results_have_no_span",
    ),
    Mutation(
        "a poll links to each of its records",
        (Change(SPANS, "contexts[: MOST_LINKS - len(before)]", "contexts"),),
        f"{TRACE_TESTS}::test_a_poll_has_a_bounded_number_of_links",
    ),
    Mutation(
        "OpenTelemetry is imported although tracing is off",
        (
            Change(
                "consumer/tracing/opening.py",
                "    if not settings.tracing:\n",
                "    import opentelemetry.trace\n\n    if not settings.tracing:\n",
            ),
        ),
        f"{TRACE_TESTS}::test_nothing_of_opentelemetry_is_loaded_while_tracing_is_off",
    ),
    Mutation(
        "the queue of spans has no bound of its own",
        (Change(EXPORTING, "if has_room := self._pending < self._most:", "if has_room := True:"),),
        f"{EXPORT_TESTS}::test_a_full_queue_drops_spans_and_counts_each",
    ),
    Mutation(
        "an exit waits until the collector has answered",
        (Change(TRACING, "flushing.join(max(0.0, self._deadline - time.monotonic()))", "flushing.join()"),),
        f"{EXPORT_TESTS}::test_an_exit_waits_for_a_silent_collector_only_so_long",
    ),
    Mutation(
        "headers for the collector that cannot be read are logged",
        (Change(EXPORTING, "    reader.addFilter(keep)\n", ""),),
        f"{EXPORT_TESTS}::test_what_cannot_be_followed_is_refused_at_start",
    ),
    Mutation(
        "the exporter may complain as often as it likes",
        (Change("consumer/service/logs.py", '"opentelemetry.": 60.0, ', ""),),
        f"{EXPORT_TESTS}::test_a_collector_that_is_away_fills_no_log",
    ),
    Mutation(
        "reviews never leave the window of drift",
        (Change(DRIFT, "        if len(self._window) == self._size:\n", "        if len(self._window) == -1:\n"),),
        "tests/unit/test_drift.py::test_only_the_last_reviews_count",
    ),
    Mutation(
        "a window of a few reviews is compared with a profile",
        (Change(DRIFT, "        if limit < 0:\n            return\n", ""),),
        "tests/unit/test_drift.py::test_few_reviews_say_nothing",
    ),
    Mutation(
        "the drift of the last model stays on the gauges",
        (Change(DRIFT, "        self._divergences.clear()\n", ""),),
        "tests/unit/test_drift.py::test_another_model_begins_a_new_window",
    ),
    Mutation(
        "a burst of other reviews before a silence is never compared",
        (
            Change(
                "consumer/service/metrics.py",
                "        self._drift.compare_if_due()  # for what came last before a silence\n",
                "",
            ),
        ),
        "tests/unit/test_drift.py::test_an_idle_worker_compares_its_last_reviews",
    ),
    Mutation(
        "the profile of another model is served with a bundle",
        (
            Change(
                "consumer/model/bundle/profile.py",
                "    if set(profile.features[Feature.LABEL].names) != set(labels):\n",
                "    if not labels:\n",
            ),
        ),
        "tests/unit/test_profile.py::test_a_bad_profile_is_refused_with_the_bundle",
    ),
    Mutation(
        "a member is profiled although its cascade then refuses it",
        (Change(PROFILING, "        _check_no_other_cascade(each, source)\n", ""),),
        "tests/training/test_profile.py::test_a_member_is_not_profiled_alone",
    ),
    Mutation(
        "a calibrated copy keeps the profile of the old probabilities",
        (
            Change(
                "training/packaging/calibrated_copy.py",
                "        write_profile(draft, reviews, calibrated, encoder, manifest.labels)\n",
                "",
            ),
        ),
        "tests/training/test_profile.py::test_the_profile_of_a_calibrated_copy_has_the_new_probabilities",
    ),
    Mutation(
        "limits take a small profile for certain",
        (
            Change(
                "training/measure/profile.py",
                "divergence(windows, samples)",
                "divergence(windows, counts)",
            ),
        ),
        "tests/training/test_profile.py::test_limits_are_what_chance_does_not_exceed",
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What pytest said of some tests: which ones passed and failed, its exit code and its output."""

    passed: frozenset[str]
    failed: frozenset[str]
    exit_code: int
    output: str

    def passes(self, test: str) -> bool:
        """Whether every variant of `test` that ran has passed."""
        return any(_is(each, test) for each in self.passed) and not self.fails(test)

    def fails(self, test: str) -> bool:
        """Whether a variant of `test` has failed."""
        return any(_is(each, test) for each in self.failed)

    @property
    def reason(self) -> str:
        """The first line that says what failed."""
        lines = (line for line in self.output.splitlines() if line.startswith("E  "))
        return next(lines, "").removeprefix("E").strip()[:150]


def misfits(mutations: Sequence[Mutation]) -> list[str]:
    """One line for each change whose text does not occur exactly once: it would change nothing, or something else."""
    found = []
    for mutation in mutations:
        for file, old, _ in mutation.changes:
            path = ROOT / file
            count = path.read_text().count(old) if path.is_file() else 0
            if count != 1:
                found.append(f"{mutation.name!r}: its text occurs {count} times in {file}; update tests/mutants.py")
    return found


def unknown_tests(mutations: Sequence[Mutation]) -> str:
    """What pytest says if it does not find one of the tests; empty if it finds all."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *_tests(mutations)]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr


def verdict(test: str, outcome: Outcome) -> str:
    """Why this run of a mutated copy does not count as caught; empty if it does."""
    if outcome.exit_code == 0:
        return "the test passes"
    if outcome.exit_code != 1 or not outcome.fails(test):  # usage, collection, a fixture, a hang
        return f"the test did not fail, it did not run to its end (exit code {outcome.exit_code})"
    if broken := BROKEN.search(outcome.output):
        return f"the mutated code is broken ({broken[0]})"
    return ""


@contextmanager
def copied(changes: Sequence[Change] = ()) -> Iterator[Path]:
    """A copy of everything that tests need, with these changes."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as directory:
        copy = Path(directory)
        for name in COPIED:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in LINKED:
            (copy / name).symlink_to(ROOT / name)
        for name in COPIED_FILES:
            shutil.copy(ROOT / name, copy)
        for file, old, new in changes:
            (copy / file).write_text((copy / file).read_text().replace(old, new))
        yield copy


def run_tests(copy: Path, tests: Sequence[str]) -> Outcome:
    """Run these tests in a copy, in one pytest."""
    command = [sys.executable, "-m", "pytest", "-q", "-rpf", "-p", "no:cacheprovider", *tests]
    ended = subprocess.run(
        command,
        check=False,
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=TEST_TIMEOUT_SECONDS * len(tests),
        env={**os.environ, "PYTHONPATH": str(copy)},
    )
    output = ended.stdout + ended.stderr

    def those(word: str) -> frozenset[str]:
        return frozenset(re.findall(rf"^{word} (\S+)", output, re.MULTILINE))

    return Outcome(those("PASSED"), those("FAILED"), ended.returncode, output)


def green_tests(mutations: Sequence[Mutation]) -> frozenset[str]:
    """The tests that pass in a copy without a mutation; one that fails beside the others gets a second try alone."""
    tests = _tests(mutations)
    with copied() as copy:
        together = run_tests(copy, tests)
        green = {test for test in tests if together.passes(test)}
        for test in tests:
            if test not in green:
                alone = run_tests(copy, [test])
                if alone.passes(test):
                    green.add(test)
                else:
                    print(f"red without a mutation: {test}\n{alone.output[-3000:]}", flush=True)
    return frozenset(green)


def caught(number: int, green: frozenset[str]) -> bool:
    """Apply a mutation to a copy, run its test there, and print and return whether that caught it."""
    mutation = MUTATIONS[number - 1]
    began = time.monotonic()
    if mutation.test_id in green:
        with copied(mutation.changes) as copy:
            outcome = run_tests(copy, [mutation.test_id])
        why, reason = verdict(mutation.test_id, outcome), outcome.reason
    else:
        why, reason = "the test fails without the mutation as well", ""
    found = f"NOT CAUGHT, {why}" if why else f"caught: {reason}"
    seconds = time.monotonic() - began
    print(f"{number}. {mutation.name}\n   {mutation.test} ({seconds:.0f} s)\n   {found}", flush=True)
    return not why


def _is(test_id: str, test: str) -> bool:
    return test_id == test or test_id.startswith(f"{test}[")


def _tests(mutations: Sequence[Mutation]) -> list[str]:
    return list(dict.fromkeys(mutation.test_id for mutation in mutations))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all mutations, or the chosen ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = range(1, len(MUTATIONS) + 1)
    parser.add_argument("--only", nargs="+", type=int, metavar="N", default=numbers, help=f"1 to {len(MUTATIONS)}")
    parser.add_argument("--fits", action="store_true", help="only check that every mutation and its test still exist")
    parser.add_argument(
        "--jobs", type=int, default=1, help="mutations at a time; each has its own copy and brokers (1)"
    )
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.only) - set(numbers):
        parser.error(f"there is no mutation {min(unknown)}, only 1 to {len(MUTATIONS)}")
    mutations = [MUTATIONS[number - 1] for number in chosen.only]
    if wrong := misfits(mutations) or unknown_tests(mutations).splitlines():
        print("\n".join(wrong))
        return 1
    if chosen.fits:
        print(f"{len(mutations)} mutations fit")
        return 0
    green = green_tests(mutations)
    print(f"{len(green)} of {len(_tests(mutations))} tests pass without a mutation", flush=True)
    with ThreadPoolExecutor(chosen.jobs) as pool:
        found = sum(pool.map(partial(caught, green=green), chosen.only))
    print(f"{found} of {len(mutations)} mutants caught")
    return 0 if found == len(mutations) else 1


if __name__ == "__main__":
    sys.exit(main())
