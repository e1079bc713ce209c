"""The rows of `review-consumer check` that need no Kafka: settings, bundle, memory; and what the exit code says."""

import io
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumer.cli import main
from consumer.kafka.tools.check.transactions import Clock
from consumer.model import memory
from consumer.model.bundle.loading import load_bundle
from consumer.settings import WorkerSettings
from consumer.tools.check import machine, transactions
from consumer.tools.check.row import Row
from tests.check_rows import Checker
from tests.tiny_bundle import seal, write_tiny_bundle
from tests.tiny_cascade import write_tiny_cascade

GIB = 1 << 30
#: A port that no program listens on.
NOWHERE = ("--bootstrap-servers", "127.0.0.1:9")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A sound bundle."""
    return write_tiny_bundle(tmp_path / "bundle")


def of_machine(bundle: Path, granted: int | None = 4 * GIB, **settings: object) -> dict[str, Row]:
    """The rows about the machine."""
    made = WorkerSettings.model_validate({"bundle": bundle, "threads": 1, **settings})
    return {row.check: row for row in machine.rows(made, lambda: granted)}


def test_a_sound_bundle_on_a_large_machine_is_all_green(tiny: Path) -> None:
    """Bundle, threads, memory, precision and golden texts are each checked, and good."""
    rows = of_machine(tiny)
    assert {name: row.status for name, row in rows.items()} == dict.fromkeys(
        ("bundle", "threads", "memory", "precision", "golden texts"), "ok"
    )


def test_a_cascade_is_checked_with_all_its_members(tmp_path: Path) -> None:
    """Each member is loaded and answers; a damaged one makes the bundle red."""
    cascade = write_tiny_cascade(tmp_path / "cascade")
    assert {row.status for row in of_machine(cascade).values()} == {"ok"}
    weights = next(path for path in tmp_path.rglob("fp32.bin") if path.is_file())
    weights.write_bytes(weights.read_bytes()[:-1])
    assert of_machine(cascade)["bundle"].status == "failed"


def test_a_damaged_bundle_is_red_and_nothing_that_depends_on_it_is_green(tiny: Path) -> None:
    """A byte that differs from the manifest; what could not be checked says so."""
    (tiny / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes() + b" ")
    rows = of_machine(tiny)
    assert rows.pop("bundle").status == "failed"
    assert len(rows) == 4
    assert {row.status for row in rows.values()} == {"unknown"}


def test_another_bundle_than_the_pinned_one_is_red(tiny: Path) -> None:
    """`bundle_digest` is compared, and the row of the right one is green."""
    assert of_machine(tiny, bundle_digest="0" * 64)["bundle"].status == "failed"
    assert of_machine(tiny, bundle_digest=load_bundle(tiny).digest)["bundle"].status == "ok"


def test_a_model_that_answers_differently_here_is_red(tmp_path: Path) -> None:
    """Swapped labels: every file is intact, and the golden texts tell."""
    rows = of_machine(seal(write_tiny_bundle(tmp_path / "swapped"), labels=("pos", "neg")))
    assert rows["bundle"].status == "ok"
    assert rows["golden texts"].status == "failed"


def test_memory_that_is_short_is_red_before_the_model_is_loaded(tiny: Path) -> None:
    """What is below the recommendation warns; below what the model needs, it is not even tried."""
    assert of_machine(tiny, GIB)["memory"].status == "warning"
    rows = of_machine(tiny, GIB // 8)
    assert rows["memory"].status == "failed"
    assert {rows[name].status for name in ("precision", "golden texts")} == {"unknown"}
    assert of_machine(tiny, None)["memory"].status == "unknown"


def test_a_worker_that_changes_its_model_needs_memory_for_two(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the new one is prepared, the old one serves."""
    counts: list[int] = []

    def needed(models: Sequence[object], _threads: int) -> int:
        counts.append(len(models))
        return GIB

    monkeypatch.setattr(machine, "needed_bytes", needed)
    for reload in ("off", "watch"):
        assert of_machine(tiny, reload_bundle=reload)["memory"].status == "ok"
    assert counts == [1, 2]


def test_the_memory_of_a_container_is_the_least_of_its_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parent may grant less than the group itself, and the machine less than both."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/memory.max").write_text("1000000\n")
    (tmp_path / "a/b/memory.max").write_text("max\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       5000 kB\nMemFree:  1 kB\n")
    monkeypatch.setattr(memory, "own_group", lambda: "/a/b")
    assert memory.granted_bytes(tmp_path, meminfo) == 1_000_000
    (tmp_path / "a/memory.max").write_text("max\n")
    assert memory.granted_bytes(tmp_path, meminfo) == 5000 * 1024
    assert memory.granted_bytes(tmp_path, tmp_path / "none") is None


def test_a_precision_that_the_processor_lacks_is_no_longer_green(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bf16 on a processor without it is computed in fp32; the row says so, and names the other variants."""
    from consumer.model.engines import openvino

    class Old:
        def get_property(self, *_: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "the_core", Old)
    bundle = load_bundle(tiny)
    assert machine._precision([machine._Served.of(bundle, "fp32")]).status == "ok"
    row = machine._precision([machine._Served.of(bundle, "bf16")])
    assert row.status == "warning"
    assert "bf16, fp32, int8" in row.remedy


def test_more_threads_than_cores_are_no_longer_green(tiny: Path) -> None:
    """They would wait for each other."""
    assert of_machine(tiny, 64 * GIB, threads=500)["threads"].status == "warning"


def test_each_warning_of_the_settings_is_a_row(tmp_path: Path) -> None:
    """A variable that is no setting, a secret that everybody can read; and a port that is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = WorkerSettings(metrics_port=taken.getsockname()[1])
        rows = list(machine.settings_rows(settings, ("file holds a secret; run chmod o-r on it",), "flags"))
    assert [(row.check, row.status) for row in rows] == [("settings", "warning"), ("metrics port", "warning")]
    assert rows[0].remedy == "run chmod o-r on it"
    free = list(machine.settings_rows(settings, (), "flags"))
    assert [row.status for row in free] == ["ok", "ok"]


def test_without_a_broker_every_row_of_kafka_is_red_or_unknown(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is named with the remedy, the machine is checked nevertheless, and the exit code is 1."""
    monkeypatch.setenv("REVIEWS_MISSPELT", "1")
    found = Checker(capsys, *NOWHERE, "--bundle", str(tiny), "--metrics-port", "0")()
    assert found.exit_code == 1
    assert found.status("settings") == "warning"
    assert "REVIEWS_MISSPELT" in found.rows["settings"]["found"]
    assert found.status("golden texts") == "ok"
    assert found.status("bootstrap servers") == "failed"
    assert "refuses connections" in found.rows["bootstrap servers"]["found"]
    assert len(found.named("unknown")) == 11
    assert found.named("ok") == {"bundle", "threads", "memory", "precision", "golden texts"}


def test_wrong_settings_are_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is checked, and no table is printed."""
    assert main(["check", "--input-topic", "same", "--output-topic", "same"]) == 2
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit) as ended:
        main(["check", "--workers", "0"])
    assert ended.value.code == 2


def test_a_terminal_gets_a_table_with_the_remedies(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row with its status, and a last line that counts them."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert main(["check", *NOWHERE, "--bundle", str(tiny), "--metrics-port", "0"]) == 1
    printed = terminal.getvalue()
    assert "found, and what to do" in printed
    assert "> check the port, and that Kafka runs there" in printed
    assert "6 ok, 1 failed, 11 unknown" in printed


@pytest.mark.parametrize(
    ("ahead", "status"), [(0.2, "ok"), (-3.0, "ok"), (60.0, "warning"), (-60.0, "warning"), (7200.0, "failed")]
)
def test_a_clock_that_is_off_is_no_longer_green(ahead: float, status: str) -> None:
    """Seconds only shift what is shown; beyond what topics accept, results are refused."""

    class Anywhere:
        def configs(self, _role: str) -> dict[str, str]:
            return {"message.timestamp.after.max.ms": "3600000"}

    row = transactions._clock(Anywhere(), Clock(ahead, 0.1))  # type: ignore[arg-type]
    assert row.status == status


def test_a_cascade_is_checked_with_its_members(tmp_path: Path) -> None:
    """One row for each question, whose answer holds for all models; a damaged member is red."""
    cascade = write_tiny_cascade(tmp_path / "cascade")
    found = of_machine(cascade)
    assert {row.status for row in found.values()} == {"ok"}
    assert "tiny-cascade" in found["bundle"].found
    assert "4 texts" in found["golden texts"].found
    (tmp_path / "quick/golden.json").write_text("{}")
    assert of_machine(cascade)["bundle"].status == "failed"
