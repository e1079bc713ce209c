"""`make bench` in its smallest form: every peer, goal and bundle is in what it prints, and the picture is one."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import GaveUp, UsageError
from consumer.model.bundle.loading import load_bundle
from tests.bench import engines, gpu, onnx_peer
from tests.bench.peers import load_peers
from tests.tiny_bundle import write_tiny_bundle
from tests.tiny_cascade import BELOW, seal, write_tiny_cascade
from tests.tiny_encoder import write_reviews
from training.io.output import write_text

ROOT = Path(__file__).parents[2]
ROWS = 30

pytestmark = [pytest.mark.broker, pytest.mark.training, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Ran:
    """What one run left."""

    printed: str
    result: dict[str, Any]
    picture: bytes


def bench(*flags: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it."""
    command = [sys.executable, "-m", "tests.bench.engines", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A bench of tiny models, one round."""
    root = tmp_path_factory.mktemp("bench")
    cascade = write_tiny_cascade(root / "cascade")
    lost = {"points": 0.05, "interval": [-0.1, 0.2], "rows": 20000}
    looser = {"allowed": 0.5, "below": [BELOW - 0.1], "lost": 0.501, "lost_interval": [0.1, 0.9]}
    record = {"lost": {"on_all_rows": lost}, "points": [looser], "data": {"test": {"rows": 14948}}}
    (cascade / "run.json").write_text(json.dumps(record))
    seal(cascade)
    ended = bench(
        *("--bundle", write_tiny_bundle(root / "large"), "--also", cascade),
        *("--checkpoint", _checkpoint(root / "checkpoint")),
        *("--data", write_reviews(root / "reviews.xlsx", ROWS + 10, seed=1), "--accuracy-rows", str(ROWS)),
        *("--rounds", "1", "--reviews", "4", "--seconds", "0.05", "--products", "2"),
        *("--picture", root / "bench.png", "--json", root / "bench.json"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "round 1 of 1: " in ended.stderr
    return Ran(ended.stdout, json.loads((root / "bench.json").read_text()), (root / "bench.png").read_bytes())


def test_every_engine_and_bundle_has_a_row(ran: Ran) -> None:
    """Peers, classifiers and workers through Kafka: speed, share of the limit, and accuracy on the same rows."""
    names = {row["name"]: row for row in ran.result["rows"]}
    assert {
        "transformers pipeline, batch_size=1",
        "transformers pipeline, batch_size=32",
        "torch fp32, all padded to 400 (ktrain)",
        "ONNX Runtime, dynamic int8",
        "this worker's classifier, tiny, fp32",
        "this worker's classifier, tiny, fp32, one review at a time",
        "this worker's classifier, tiny-cascade, fp32",
        "this worker's classifier, tiny-cascade-0.5, fp32",
        "this worker, tiny, through Kafka",
        "this worker, tiny-cascade, through Kafka",
        "this worker, tiny-cascade-0.5, through Kafka",
        "this worker, tiny-cascade, through Kafka, half of the reviews seen before",
    } <= names.keys()
    for name, row in names.items():
        assert f"| {name} | **{row['median']:.1f}** " in ran.printed
        assert row["median"] > 0
        assert (row["accuracy"] is None) == name.endswith("seen before"), name
    # The peers have random weights here; the tiny models know the words that the labels come from.
    assert names["this worker's classifier, tiny, fp32"]["accuracy"] > 0.6
    assert (
        names["this worker, tiny, through Kafka"]["accuracy"]
        == names["this worker's classifier, tiny, fp32"]["accuracy"]
    )


def test_those_that_share_an_answer_give_the_same_label(ran: Ran) -> None:
    """Both pipelines, the fixed padding and one review at a time were asked themselves."""
    shared = ran.result["agreements"]
    assert len(shared) == 4
    assert all(same == shown >= 24 for same, shown in shared.values())
    assert "transformers pipeline, batch_size=32 24 of 24" in ran.printed


def test_onnx_runtime_computes_the_same_model(ran: Ran) -> None:
    """The report compares its logits with those of torch, and says how it was tuned."""
    assert "ONNX Runtime computes " in ran.printed
    assert " on average, and " in ran.printed


def test_every_goal_is_answered(ran: Ran) -> None:
    """Ten goals for a large model and a cascade, each with what was measured."""
    found = {goal["text"]: goal for goal in ran.result["goals"]}
    assert len(found) == 10
    assert all(goal["measured"] and goal["reached"] is not None for goal in found.values())
    assert found["at a loss of at most 0.2 points"]["measured"] == "0.05 points lost (-0.10 to 0.20) on 20,000 rows"
    assert found["at a loss of at most 0.5 points"]["reached"]
    assert not found["cascade: at least 6 x the large model alone"]["reached"]  # tiny models cost nothing
    for text, goal in found.items():
        verdict = "reached" if goal["reached"] else "**not reached**"
        assert f"| {text} | {goal['measured']} | {verdict} |" in ran.printed


def test_where_the_time_of_each_worker_went(ran: Ran) -> None:
    """The stages of each worker add up, and a cascade says what it passed on."""
    profiles = ran.result["profiles"]
    assert len(profiles) == 3
    for profile in profiles.values():
        assert sum(profile["stages"].values()) == pytest.approx(1)
        assert "infer" in profile["stages"]
    assert 0 < profiles["this worker, tiny-cascade, through Kafka"]["passed_on"]["quick"] < 1


def test_the_picture_is_drawn(ran: Ran) -> None:
    """A PNG of some size."""
    assert ran.picture.startswith(b"\x89PNG")
    assert len(ran.picture) > 20_000


def test_a_picture_without_labelled_reviews_is_refused(tmp_path: Path) -> None:
    """One line and exit code 2, before anything is loaded."""
    ended = bench("--picture", tmp_path / "bench.png")
    assert ended.returncode == 2
    assert "--picture needs --data" in ended.stderr


@pytest.mark.parametrize("option", ["--picture", "--json"])
def test_a_file_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Before anything is loaded: the bundle that is given does not exist, and that is not what is reported."""
    monkeypatch.setattr(sys, "argv", ["bench", "--bundle", "nothing", "--data", "nothing", option, str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        engines.main()
    assert ended.value.code == 2
    assert f"{option} {tmp_path} is a directory: name a file in it" in capsys.readouterr().err


def test_what_cannot_be_written_in_the_end_takes_nothing_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others are still written, and the error is one line and an exit code."""
    gone = partial(write_text, tmp_path / "gone" / "bench.json", "{}")
    code = engines.keep(gone, partial(print, "the table"), partial(write_text, tmp_path / "bench.png", "picture"))
    assert code == GaveUp.exit_code
    told = capsys.readouterr()
    assert told.out == "the table\n"
    assert told.err.count("\n") == 1
    assert "bench.json cannot be written (No such file or directory)" in told.err
    assert (tmp_path / "bench.png").read_text() == "picture"


def test_a_wrong_checkpoint_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, empty, without weights, for other labels, or a model that ONNX Runtime computes differently."""
    monkeypatch.setattr(onnx_peer, "MOST_OFF", 0.0)
    bundle = load_bundle(write_tiny_bundle(tmp_path / "large"))
    (tmp_path / "empty").mkdir()
    texts = ["a good film", "a bad film, and long"]
    refused = {
        "nothing": "is not a directory",
        "empty": "cannot be loaded: ",
        _checkpoint(tmp_path / "weightless").name: "cannot be loaded: ",
        _checkpoint(tmp_path / "three", labels=3).name: "has 3 labels, the bundle 2",
        _checkpoint(tmp_path / "other").name: "cannot be compared: ONNX Runtime computes another model",
    }
    (tmp_path / "weightless" / "model.safetensors").unlink()
    for name, words in refused.items():
        with pytest.raises(UsageError) as error:
            load_peers(bundle, tmp_path / name, texts)
        assert f"{tmp_path / name} {words}" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_bench_with_a_wrong_checkpoint_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and no stack trace."""
    command = ["--bundle", write_tiny_bundle(tmp_path / "large"), "--checkpoint", tmp_path, "--reviews", "4"]
    monkeypatch.setattr(sys, "argv", ["bench", *map(str, command)])
    with pytest.raises(SystemExit) as ended:
        engines.main()
    assert ended.value.code == 2
    assert f"error: --checkpoint {tmp_path} cannot be loaded: " in capsys.readouterr().err.splitlines()[-1]


def test_the_file_of_a_gpu_bench_says_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if nothing was measured after it; a file that cannot be written and a wrong number are one line at once."""
    path = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--cpu", "--seconds", "0", "--workers", "1,3", "--json", str(path)])
    assert gpu.main() == 0
    left_out = json.loads(path.read_text())["left_out"]
    assert {"limit", "Kafka, 1 worker", "Kafka, 3 workers", "kernels"} <= set(left_out)
    assert f"0 measured, 0 failed, {len(left_out)} left out" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", ["gpu", "--cpu", "--seconds", "0", "--json", str(tmp_path)])
    assert gpu.main() == 2
    assert f"--json {tmp_path} is a directory" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["gpu", "--cpu", "--workers", "1,x"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert "'1,x' is not a list of numbers" in capsys.readouterr().err


def _checkpoint(directory: Path, labels: int = 2) -> Path:
    """A DistilBERT as the peers load it, too small to take time."""
    import torch
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    torch.manual_seed(0)
    # Weights of the usual size would make logits that are smaller than what int8 rounds away.
    config = DistilBertConfig(vocab_size=100, dim=16, hidden_dim=32, n_layers=1, n_heads=2, initializer_range=0.5)
    config.num_labels = labels
    DistilBertForSequenceClassification(config).save_pretrained(directory)
    return directory
