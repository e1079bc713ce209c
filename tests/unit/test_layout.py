"""The architecture as its imports show it: one way, and nothing heavy or unsafe in the worker."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKER = sorted((ROOT / "consumer").rglob("*.py"))
EVERYTHING = [*WORKER, *sorted((ROOT / "training").rglob("*.py"))]

#: What the worker's environment does not have.
HEAVY = {"torch", "transformers", "pandas", "sklearn", "matplotlib", "nncf", "training", "tests"}
#: Modules that may know Kafka's client; the loop, the model and the messages may not.
KNOW_KAFKA = {
    "assignment.py",
    "broker.py",
    "drain.py",
    "client.py",
    "fixes.py",
    "lineage.py",
    "losses.py",
    "publisher.py",
    "start.py",
}
#: Packages that run Kafka on this machine, and show it.
KNOW_KAFKA_TOO = {"local", "demo"}
#: Modules for the extra that brings torch.
FOR_TORCH = {ROOT / "consumer/model/engines" / name for name in ("torch.py", "first_token.py")}
UNSAFE = {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"}


def imported(path: Path) -> set[str]:
    """Top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_worker_imports_nothing_of_training_and_nothing_heavy() -> None:
    """The worker runs in an environment without torch and pandas, and training imports it, never the reverse."""
    offenders = {path.name: imported(path) & HEAVY for path in WORKER if path not in FOR_TORCH}
    assert {name: heavy for name, heavy in offenders.items() if heavy} == {}
    assert len(WORKER) > 30


def test_the_loop_does_not_know_kafka() -> None:
    """Whoever reads or tests the loop, the messages or the model meets no Kafka."""
    knowing = {path for path in WORKER if "kafka" in imported(path)}
    assert knowing
    assert [path for path in knowing if path.name not in KNOW_KAFKA and path.parent.name not in KNOW_KAFKA_TOO] == []


def test_nothing_is_unpickled() -> None:
    """Loading runs no code: no pickle in any of its disguises, and no torch.load."""
    offenders = {
        path.relative_to(ROOT).as_posix()
        for path in EVERYTHING
        if imported(path) & UNSAFE or "torch.load(" in path.read_text(encoding="utf-8")
    }
    assert offenders == set()
    assert len(EVERYTHING) > 90
