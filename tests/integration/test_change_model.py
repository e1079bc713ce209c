"""The page about changing the model without a restart: its commands, on a real worker with a real model."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.kafka_helpers import Topics, produce, read_all
from tests.tiny_bundle import write_tiny_bundle
from tests.worker_process import WorkerProcess, wait_until

PAGE = Path(__file__).parents[2] / "docs/bundles.md"

pytestmark = pytest.mark.broker


def commands() -> list[str]:
    """The shell blocks of the section."""
    section = PAGE.read_text("utf-8").split("## Change the model without a restart")[1].split("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_change_the_model_of_a_running_worker(topics: Topics, tmp_path: Path) -> None:
    """The link is switched, the signal is sent, and the next review is labelled by the new model."""
    switch, ask = commands()
    assert ask == "kill -USR2 $(pgrep -f 'review-consumer run')\n"
    write_tiny_bundle(tmp_path / "models/v1", version="1")
    write_tiny_bundle(tmp_path / "bundles/new", version="2", scale=-1)
    (tmp_path / "models/current").symlink_to("v1")
    flags = [*topics.flags, "--bundle", str(tmp_path / "models/current"), "--reload-bundle", "signal", "--threads", "1"]
    with WorkerProcess(flags, tmp_path / "log") as worker:
        produce(topics.bootstrap, topics.input, [b'{"text": "good film"}'])
        worker.wait_ready()
        wait_until(lambda: worker.metric("reviews_labelled_total", label="pos") == 1, 60, "the first is labelled")
        subprocess.run(["bash", "-euc", switch], cwd=tmp_path, check=True)
        # pgrep would find the workers of others as well
        mine = ask.replace("$(pgrep -f 'review-consumer run')", str(worker.process.pid))
        subprocess.run(["bash", "-euc", mine], cwd=tmp_path, check=True)
        wait_until(lambda: worker.metric("reviews_model_info", version="2") == 1, 60, "the model is switched")
        assert worker.metric("reviews_model_info") == 1
        produce(topics.bootstrap, topics.input, [b'{"text": "good film"}'])
        wait_until(lambda: worker.metric("reviews_labelled_total", label="neg") == 1, 60, "the second is labelled")
        (line,) = [each for each in worker.messages() if "takes the place of" in each]
        assert line.startswith("model tiny 2 (fp32), digest ")
        assert worker.stop() == 0
    results = [json.loads(record.value or b"") for record in read_all(topics.bootstrap, topics.output)]
    assert sorted((each["model"]["version"], each["label"]) for each in results) == [("1", "pos"), ("2", "neg")]
    assert (tmp_path / "models/current").readlink() == Path("v2")
