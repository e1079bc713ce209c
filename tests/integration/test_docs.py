"""The documentation is true: links lead somewhere, every page is reachable, names exist, and commands run."""

import gc
import json
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.secure import PASSWORD, USER, SecureBroker
from tests.kafka_helpers import Record, Topics, internal, produce, read_all
from tests.pages import BIN, FENCE, ROOT, Block, Shell, shell_blocks
from tests.worker_process import wait_until

DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
README, QUICK_START, ADOPT = "README.md", "docs/quick-start.md", "docs/adopt.md"
#: Pages that a newcomer follows: each shell block is run by the test that is marked with its number.
NEWCOMER = (README, QUICK_START, ADOPT)
#: Generated from code; their cells are as long as the descriptions there.
GENERATED = {DOCS / "settings.md", DOCS / "metrics.md"}
README_WORDS = 800

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TEST = re.compile(r"`(test_[a-z0-9_]+)(\*?)(?:\[[^`]*)?`")


def pages() -> list[Path]:
    """Every Markdown file of the project."""
    found = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "deploy").rglob("*.md"), *ROOT.glob("bundles/*/*.md")]
    assert len(found) > 20
    return sorted(found)


@cache
def prose(page: Path) -> str:
    """The page without code, in blocks or in lines."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text("utf-8")))


@cache
def anchors(page: Path) -> set[str]:
    """What a link to a heading of `page` may name, as the usual code hosts make it."""
    found: set[str] = set()
    for title in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = sum(slug == re.sub(r"-\d+$", "", each) for each in found)
        found.add(f"{slug}-{number}" if slug in found else slug)
    return found


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Each relative link of `page`: as it is written, the file that it leads to, and its anchor."""
    for link in _LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            yield link, (page.parent / path).resolve() if path else page, anchor


def dead_links(page: Path) -> list[str]:
    """Links to files or headings that do not exist."""
    return [
        link
        for link, target, anchor in links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]


def reachable(start: Path) -> set[Path]:
    """The pages that a reader of `start` can come to."""
    found, todo = {start}, [start]
    while todo:
        new = {target for _, target, _ in links(todo.pop()) if target.suffix == ".md"} - found
        found |= new
        todo += new
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    """Each relative link leads to a file that exists, and to a heading in it."""
    assert dead_links(page) == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    """Planted: a file and a heading that do not exist; code is not read as a link."""
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](#a-title) [b](#no) [c](gone.md) `[d](gone.md)`\n```sh\n[e](gone.md)\n```\n")
    assert dead_links(page) == ["#no", "gone.md"]


def test_every_page_is_reachable_from_the_index() -> None:
    """The index leads to every page of docs/, to the pages for contributors, and the README leads to the index."""
    assert INDEX in reachable(ROOT / README)
    wanted = {*DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *ROOT.glob("bundles/*/*.md")}
    assert wanted - reachable(INDEX) == set()
    listed = {target for _, target, _ in links(INDEX)}
    assert {page for page in DOCS.glob("*.md") if page != INDEX} - listed == set()


def test_pages_that_the_code_names_exist() -> None:
    """Error messages, comments, alerts and panels name pages and headings that exist."""
    files = [*(ROOT / "consumer").rglob("*.py"), *(ROOT / "training").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    files += [path for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files += [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "docker-compose.yml"]
    named = {
        (page, anchor)
        for file in files
        for page, anchor in re.findall(r"(docs/[\w/-]+\.md)#?([\w-]*)", file.read_text())
    }
    assert len(named) > 10
    missing = {
        (page, anchor)
        for page, anchor in named
        if not (ROOT / page).is_file() or (anchor and anchor not in anchors(ROOT / page))
    }
    assert missing == set()


def test_tests_that_the_pages_name_exist() -> None:
    """A promise that names its test names one that is there."""
    known = {
        name
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }
    named = {found for page in pages() for found in _TEST.findall(page.read_text("utf-8"))}
    assert len(named) > 50
    missing = {
        name for name, more in named if not (any(each.startswith(name) for each in known) if more else name in known)
    }
    assert missing == set()


def test_the_failure_table_is_complete() -> None:
    """Each row has tests, and each row that is tested stands in the table, once and in order."""
    table = re.findall(r"^\| (\d+) \|.*\| `test_row_(\d+)_", (DOCS / "delivery.md").read_text("utf-8"), re.MULTILINE)
    tested = {
        int(row)
        for file in (ROOT / "tests/faults").glob("*.py")
        for row in re.findall(r"^def test_row_(\d+)_", file.read_text("utf-8"), re.MULTILINE)
    }
    assert len(tested) >= 31
    assert [int(number) for number, _ in table] == [int(row) for _, row in table] == sorted(tested)
    assert f"[{len(tested)} failures, each with its tests]" in " ".join((ROOT / README).read_text("utf-8").split())


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_cell_of_a_table_has_at_most_two_sentences(page: Path) -> None:
    """What is longer is a section."""
    if page in GENERATED:
        return
    cells = [cell for line in prose(page).splitlines() if line.startswith("|") for cell in line.strip("|").split("|")]
    assert [cell for cell in cells if len(re.findall(r"[.!?](?= +[A-Z])", cell)) > 1] == []


def test_the_readme_is_one_short_page() -> None:
    """Who reads it has seen why within a few minutes."""
    assert len((ROOT / README).read_text("utf-8").split()) <= README_WORDS


def test_the_pictures_are_current_and_load_nothing() -> None:
    """The flow is what its script draws; neither picture asks for fonts or images from elsewhere."""
    flow = (DOCS / "pictures/flow.svg").read_text("utf-8")
    assert flow == runpy.run_path(str(DOCS / "flow.py"))["flow"]()
    for picture in (flow, (DOCS / "pictures/demo.svg").read_text("utf-8")):
        assert set(re.findall(r"https?://[\w./]+", picture)) <= {"http://www.w3.org/2000/svg", "http://127.0.0.1"}
        assert "@font-face" not in picture


# Commands of the pages that a newcomer follows. Each block is run by the test that is marked with its first command.


Test = TypeVar("Test", bound=Callable[..., None])
RUN: set[Block] = set()


def runs(page: str, *numbers: int) -> Callable[[Test], Test]:
    """The test below runs these shell blocks of `page`, counted from 0."""
    RUN.update([block for block in shell_blocks(*NEWCOMER) if block.page == page][number] for number in numbers)
    return lambda test: test


def commands(page: str, *numbers: int) -> list[str]:
    """The commands of these blocks, in order."""
    found = [block for block in shell_blocks(*NEWCOMER) if block.page == page]
    return [command for number in numbers for command in found[number].commands]


def test_every_shell_block_is_run() -> None:
    """A block that is added to the README or the quick start needs a test that runs it."""
    assert len(shell_blocks(*NEWCOMER)) >= 8
    assert [block for block in shell_blocks(*NEWCOMER) if block not in RUN] == []


#: Environments are what `make test` itself stands on: they are asked for what they would do, not made again.
DRY = {"make env": "make --dry-run env", "make env-training": "make --dry-run env-training"}


@pytest.mark.broker
@pytest.mark.timeout(300)
@runs(README, 0)
@runs(QUICK_START, 0)
def test_the_two_commands_of_the_readme() -> None:
    """`make demo` and `make test` do what the README says; of the tests one file is run."""
    assert set(commands(README, 0)) == {"make demo", "make test"}
    assert commands(QUICK_START, 0) == ["make demo"]
    shell = Shell(ROOT, {"make ": f"make BIN={BIN} -o env -o env-dev "}, PYTEST_ADDOPTS="tests/unit/test_stall.py")
    printed = {command: shell.run(command) for command in commands(README, 0)}
    assert "checked: 257 in = 243 labelled + 14 dead letters" in printed["make demo"]
    assert re.search(r"\d passed", printed["make test"])


@pytest.fixture
def left_sockets() -> Iterator[None]:
    """kafka-python may leave the socket of a client that was closed to the garbage collector: collect it here."""
    yield
    gc.collect()


@pytest.mark.broker
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("left_sockets")
@runs(README, 1)
def test_a_worker_on_a_secured_kafka(tmp_path: Path) -> None:
    """The command of the README labels what is in the topic, over TLS, as the user that it names."""
    topics = Topics("", "reviews", "reviews.labeled", "reviews.dlq", "review-consumer")
    with SecureBroker(tmp_path) as secure:
        secure.kafka.create_topics(dict.fromkeys((topics.input, topics.output, topics.dead_letter), 1))
        secure.allow(topics)
        produce(internal(secure.kafka), topics.input, [Record(b'{"text": "Wonderful."}'), Record(b"no JSON at all")])
        shell = Shell(
            ROOT,
            DRY
            | {
                "kafka1:9093,kafka2:9093": secure.kafka.bootstrap,
                "NAME": USER,
                "9100": "0",
                "review-consumer run": "review-consumer run --drain",
            },
            REVIEWS_SSL_CAFILE=str(secure.authority_file),
            REVIEWS_SASL_PASSWORD=PASSWORD,
        )
        steps = commands(README, 1)
        assert steps.pop(1) == "export REVIEWS_SASL_PASSWORD=..."
        printed = [shell.run(command) for command in steps]
        assert "drained: 1 labelled, 1 dead-lettered" in printed[-1]
        assert len(read_all(internal(secure.kafka), topics.output)) == 1


@pytest.mark.training
@pytest.mark.timeout(300)
@runs(README, 2)
def test_training_as_in_the_readme(tmp_path: Path) -> None:
    """`fit` makes a bundle of two spreadsheets, and `evaluate` measures it; on a base of random weights."""
    from tests.tiny_encoder import make_base, write_reviews

    make_base(tmp_path / "base")
    write_reviews(tmp_path / "train.xlsx", 120, seed=1)
    write_reviews(tmp_path / "test.xlsx", 40, seed=2)
    small = "--base base --epochs 2 --learning-rate 0.003 --train-max-length 24 --max-length 48 --calibration-share 0"
    small += " --batch-size 16 --calibration-texts 12 --gate-rows 30 --out"
    shell = Shell(tmp_path, {"--out": small}, OMP_NUM_THREADS="1")
    (tmp_path / "bundles").mkdir()
    make, *steps = commands(README, 2)
    Shell(ROOT, DRY).run(make)
    printed = [shell.run(command) for command in steps]
    assert (tmp_path / "bundles/mine/manifest.json").is_file()
    assert "int8, on 40 reviews of test.xlsx" in printed[-1]


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _beside_kafka(shell: Shell, kafka: str, port: str, steps: Sequence[str]) -> list[str]:
    """What each of `steps` prints while the command `kafka` runs in another terminal."""
    broker = shell.start(f"exec {kafka} --port {port}")
    try:
        wait_until(lambda: _is_open(port), 60, "Kafka listens")
        return [shell.run(command) for command in steps]
    finally:
        broker.send_signal(signal.SIGINT)
        broker.communicate(timeout=60)


@pytest.mark.broker
@pytest.mark.timeout(300)
@runs(QUICK_START, 1, 2, 3, 4)
def test_the_quick_start_from_a_kafka_to_a_label(tmp_path: Path) -> None:
    """A reader who follows the page sees the label of the review, and the reason of the dead letter."""
    port = _free_port()
    shell = Shell(
        tmp_path,
        DRY | {"localhost:9092": f"localhost:{port}"},
        REVIEWS_BOOTSTRAP_SERVERS=f"localhost:{port}",
        REVIEWS_BUNDLE=str(ROOT / "bundles/distilbert-imdb"),
        REVIEWS_METRICS_PORT="0",
    )
    make, kafka, *steps = commands(QUICK_START, 1, 2, 3, 4)
    Shell(ROOT, DRY).run(make)
    printed = _beside_kafka(shell, kafka, port, steps)
    assert '"label":"neg"' in printed[-2]
    assert '"film":"The Long Wait"' in printed[-2]
    assert "dead-letter-reason:not_json" in printed[-1]


@pytest.mark.broker
@pytest.mark.training
@pytest.mark.timeout(300)
@runs(ADOPT, 0, 1, 2, 3, 4)
def test_a_checkpoint_adopted_and_served_as_its_page_says(tmp_path: Path) -> None:
    """Who follows the page reads the label in Kafka that transformers gives to the text."""
    from tests.tiny_checkpoints import write_checkpoint
    from tests.tiny_encoder import NEUTRAL

    checkpoint = write_checkpoint(tmp_path / "my-checkpoint", "bert", ("POSITIVE", "NEGATIVE"))
    texts = (" ".join(NEUTRAL[: 1 + row % 12] * (1 + row // 12)) for row in range(130))
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    port = _free_port()
    shell = Shell(tmp_path, DRY | {"localhost:9092": f"localhost:{port}"})
    served = Shell(
        tmp_path,
        DRY | {"localhost:9092": f"localhost:{port}"},
        REVIEWS_BOOTSTRAP_SERVERS=f"localhost:{port}",
        REVIEWS_METRICS_PORT="0",
    )
    make, adopt, label, kafka, *steps = commands(ADOPT, 0, 1, 2, 3, 4)
    Shell(ROOT, DRY).run(make)
    assert "serve it: review-consumer run --bundle bundles/mine" in shell.run(adopt)
    expected = _as_transformers(checkpoint, "Wonderful.")
    assert json.loads(shell.run(label).splitlines()[0])["label"] == expected
    printed = _beside_kafka(served, kafka, port, steps)
    assert f'"label":"{expected}"' in printed[-1]
    assert '"name":"mine"' in printed[-1]


def _as_transformers(checkpoint: Path, text: str) -> str:
    """The label of `text` as transformers gives it."""
    from transformers import pipeline

    return str(pipeline("text-classification", model=str(checkpoint))(text)[0]["label"])


def _is_open(port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


@pytest.mark.training
@pytest.mark.timeout(120)
@runs(QUICK_START, 5)
def test_the_quick_start_without_kafka() -> None:
    """Texts are labelled from arguments, from a pipe and from Python."""
    make, arguments, pipe = commands(QUICK_START, 5)
    shell = Shell(ROOT, DRY)
    shell.run(make)
    assert [json.loads(line)["label"] for line in shell.run(arguments).splitlines()] == ["pos", "neg"]
    assert json.loads(shell.run(pipe))["explanation"]["label"] == "pos"
    (code,) = _python(ROOT / QUICK_START)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pos" in done.stdout


@runs(QUICK_START, 6)
def test_the_quick_start_without_a_checkout(tmp_path: Path) -> None:
    """It labels from any directory. `tests/integration/test_wheel.py` installs it, and runs the demo as well."""
    install, label, demo = commands(QUICK_START, 6)
    assert (install, demo) == ("pip install review-consumer", "review-consumer demo")
    printed = Shell(tmp_path, {"review-consumer": f"{BIN}/review-consumer"}).run(label)
    assert json.loads(printed)["label"] == "pos"


def _python(page: Path) -> list[str]:
    return [code for _, kind, code in FENCE.findall(page.read_text("utf-8")) if kind == "python"]
