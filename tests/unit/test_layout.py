"""The architecture as its imports show it: rooms, one direction, and nothing heavy or unsafe in the worker."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Rooms and top-level modules of each package, bottom first. Each may import what stands before it, never what follows.
ORDER = {
    "consumer": (
        *(
            "errors",
            "usage",
            "flags",
            "settings",
            "model",
            "records",
            "tables",
            "kafka",
            "service",
            "serving",
            "tracing",
        ),
        *("pace", "stall", "probe", "labelling", "worker", "run", "tools", "local", "demo", "cli", "__main__"),
    ),
    "training": (
        *("io", "settings", "data", "predictor", "encoders", "loop", "measure", "packaging", "baselines", "teachers"),
        *("plan", "fine_tuning", "cross_validation", "distil", "answer", "adaptation", "adapt", "cascade", "restore"),
        *("adoption", "adopt", "comparison", "commands", "cli", "notebook"),
    ),
}
MODULES_BESIDE_ROOMS = 12
#: As many as one listing shows at a glance; `training/commands`, with one for each command, is the largest.
MODULES_OF_A_ROOM = 20
LINES_OF_A_MODULE = 250

#: What the worker's environment does not have.
HEAVY = {"torch", "transformers", "pandas", "sklearn", "matplotlib", "nncf", "training", "tests"}
#: Modules for the extra that brings torch.
FOR_TORCH = {f"consumer.model.engines.{name}" for name in ("torch", "first_token", "unpadded")}
UNSAFE = {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"}


def modules(package: str) -> dict[str, Path]:
    """Every module of `package` by its dotted name; a room's `__init__` bears the name of the room."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / package).rglob("*.py"))
    }


MODULES = modules("consumer") | modules("training")


@cache
def imported(module: str) -> frozenset[str]:
    """What `module` imports, anywhere in it: names of our modules in full, of other packages their top level."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {_known(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {_known(f"{node.module}.{alias.name}") for alias in node.names}
    return frozenset(found)


def _known(name: str) -> str:
    while name not in MODULES and "." in name:
        name = name.rpartition(".")[0]
    return name


def ours(module: str) -> Iterator[str]:
    """The modules of the same package that `module` imports."""
    package = module.partition(".")[0]
    return (name for name in sorted(imported(module)) if name.startswith(f"{package}."))


def reached(module: str) -> set[str]:
    """Everything that importing `module` may import."""
    found: set[str] = set()
    todo = [module]
    while todo:
        for name in imported(todo.pop()) - found:
            found.add(name)
            if name in MODULES:
                todo.append(name)
    return found


def place(module: str) -> int:
    """Where the room of `module`, or the module itself at top level, stands in its package's order."""
    package, _, rest = module.partition(".")
    return ORDER[package].index(rest.partition(".")[0])


def against_the_direction() -> list[str]:
    """Imports from a room that stands later, as `importer -> imported`."""
    return [
        f"{module} -> {name}"
        for module in MODULES
        if "." in module
        for name in ours(module)
        if place(name) > place(module)
    ]


def test_every_module_has_a_place_in_the_order() -> None:
    """A new room or a new top-level module is a decision: it is written down here."""
    for package, order in ORDER.items():
        found = {path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or path.is_dir()}
        assert found - {"__pycache__", "__init__", "py"} == set(order)
    assert len(MODULES) > 120


def test_imports_go_one_way() -> None:
    """Reading from the top down never leads back up."""
    assert against_the_direction() == []


def test_an_import_against_the_direction_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Planted: a model that asks Kafka, and data that trains."""
    for module, line in (
        ("consumer.model.classifier", "from consumer.kafka import client\n"),
        ("training.data.reviews", "def f():\n    from training.loop.run import train\n"),
    ):
        planted = tmp_path / "planted.py"
        planted.write_text(line + MODULES[module].read_text("utf-8"), "utf-8")
        with monkeypatch.context() as patch:
            patch.setitem(MODULES, module, planted)
            imported.cache_clear()
            assert [each.partition(" ")[0] for each in against_the_direction()] == [module]
    imported.cache_clear()


def test_no_modules_import_each_other() -> None:
    """Nor in a circle through others, within a room as well."""
    circles = {
        module
        for module in MODULES
        if any(module in {name, *reached(name)} for name in imported(module) if name in MODULES)
    }
    assert circles == set()


def test_the_model_and_kafka_know_nothing_of_each_other() -> None:
    """Not even through others: each can be read, tested and replaced alone."""
    model = {name for name in MODULES if name.startswith("consumer.model.")}
    kafka = {name for name in MODULES if name.startswith("consumer.kafka.")}
    assert len(model) > 8
    assert len(kafka) > 8
    assert {name for name in model if reached(name) & (kafka | {"kafka"})} == set()
    assert {name for name in kafka if reached(name) & model} == set()


def test_only_one_room_knows_the_kafka_client() -> None:
    """Whoever reads or tests the loop, the messages or the model meets no Kafka."""
    knowing = {module for module in MODULES if "kafka" in imported(module)}
    assert len(knowing) > 5
    assert {module for module in knowing if not module.startswith("consumer.kafka.")} == set()


@pytest.mark.parametrize("package", ORDER)
def test_a_listing_shows_the_flow(package: str) -> None:
    """Few modules beside the rooms, and no module longer than one idea."""
    beside = [path.name for path in (ROOT / package).glob("*.py")]
    assert 0 < len(beside) <= MODULES_BESIDE_ROOMS
    rooms = Counter(path.parent for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py")
    assert {str(room): count for room, count in rooms.items() if count > MODULES_OF_A_ROOM} == {}
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in modules(package).items()}
    assert {name: count for name, count in lines.items() if count > LINES_OF_A_MODULE} == {}


def test_the_worker_imports_nothing_of_training_and_nothing_heavy() -> None:
    """The worker runs in an environment without torch and pandas, and training imports it, never the reverse."""
    offenders = {
        module: {name.partition(".")[0] for name in imported(module)} & HEAVY
        for module in MODULES
        if module.startswith("consumer") and module not in FOR_TORCH
    }
    assert {name: heavy for name, heavy in offenders.items() if heavy} == {}
    assert len(offenders) > 50


def test_nothing_is_unpickled() -> None:
    """Loading runs no code: no pickle in any of its disguises, and no torch.load."""
    offenders = {
        module
        for module, path in MODULES.items()
        if imported(module) & UNSAFE or "torch.load(" in path.read_text(encoding="utf-8")
    }
    assert offenders == set()
