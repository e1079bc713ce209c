"""An encoder adapted to texts: it predicts their tokens better, resumes after a kill, and is a base like any other."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tiny_encoder import one_window, write_reviews, write_table
from tests.tiny_masked import FAMILIES, make_masked_base, write_texts
from tests.training_run import kill_after, weights_of
from training.cli import main

pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

SETTINGS = {
    "epochs": "2",
    "batch-size": "16",
    "micro-batch-tokens": "256",
    "learning-rate": "0.01",
    "held-out-share": "0.1",
    "precision": "fp32",
    "checkpoint-minutes": "0",
}
STEPS = 41  # 2 epochs of 324 texts in batches of 16


def arguments(directory: Path, name: str, /, **changed: str) -> list[str]:
    """The command line of a run in `directory`; "" leaves an option out."""
    options = {"base": str(directory / "base"), "texts": str(directory / "texts.txt"), "out": str(directory / name)}
    chosen = (options | SETTINGS | changed).items()
    command = ["adapt", *(part for name, value in chosen if value for part in (f"--{name}", value))]
    return command if "test" in changed else [*command, "--no-test"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a base and texts; on one thread, as the processes below."""
    import torch

    directory = tmp_path_factory.mktemp("adapt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make_masked_base(directory / "base")
    write_texts(directory / "texts.txt", 360)
    yield directory
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def adapted(workplace: Path) -> Path:
    """The result of one whole run."""
    assert main(arguments(workplace, "whole")) == 0
    return workplace / "whole"


def refusal(capsys: pytest.CaptureFixture[str], command: Sequence[str]) -> str:
    """The one line that `command` ends with; fails unless it is a usage error."""
    assert main(command) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("review-training: ")
    return last


def masking_of(base: Path, share: float = 0.15, seed: int = 1) -> Any:
    """How the tokens of `base` are masked."""
    from training.encoders.base import find_base
    from training.encoders.masked import tokens_of
    from training.loop.masked import Masking

    return Masking(*tokens_of(find_base(str(base))), share, seed)


def test_tokens_are_masked_as_in_bert_and_anew_in_each_step(workplace: Path) -> None:
    """15 % are predicted, 80 % of these masked, 10 % replaced, no special token; by seed, step and row alone."""
    masking = masking_of(workplace / "base")
    assert (masking.mask, masking.special) == (4, frozenset(range(5)))
    window = np.array([2, *([5, 9, 13, 17] * 25), 3], dtype=np.int32)
    drawn = [masking.masked(window, row, step) for row in range(40) for step in range(10)]
    counts = np.zeros(3)
    for seen, places in drawn:
        assert len(places) == masking.count(window) == 15
        assert {0, len(window) - 1}.isdisjoint(places.tolist())
        untouched = np.setdiff1d(np.arange(len(window)), places)
        assert np.array_equal(seen[untouched], window[untouched])
        assert not set(seen[places].tolist()) & {0, 1, 2, 3}
        counts += [(seen[places] == 4).sum(), 0, (seen[places] == window[places]).sum()]
    masked, _, kept = counts / (15 * len(drawn))
    assert masked == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.1 + 0.1 / len(masking.others), abs=0.02)
    assert len({tuple(places) for _, places in drawn}) > 390
    again = masking.masked(window, 7, 3)
    assert all(np.array_equal(one, other) for one, other in zip(again, drawn[73], strict=True))


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_loss_is_that_of_the_whole_model_and_the_head_stays_tied(kind: str, tmp_path: Path) -> None:
    """The head sees the masked tokens alone; its loss and gradients are those of the plain formula on all of them."""
    import torch

    from training.encoders.base import find_base, quiet_transformers
    from training.encoders.masked import load_masked
    from training.encoders.parallel import Ranks
    from training.loop.masked import MaskedRows, TokenLoss
    from training.loop.step import Stepper, make_optimizer
    from training.settings import StepSettings

    # Given pieces of different lengths, and a model without dropout
    quiet_transformers()
    base = make_masked_base(tmp_path / "base", kind)
    masking, draw = masking_of(base), np.random.default_rng(3)
    pieces = [one_window([2, *draw.integers(5, 20, 7 + 3 * (i % 5)).tolist(), 3]) for i in range(12)]
    rows = MaskedRows(pieces, [0] * 12, 0, masking)
    model, new_head = load_masked(find_base(str(base)), 1)
    assert not new_head
    model.eval()
    # When a step is taken in several micro-batches, with a rate of 0
    settings = StepSettings(batch_size=12, micro_batch_tokens=40, precision="fp32", weight_decay=0)
    seen: dict[str, torch.Tensor] = {}
    optimizer = make_optimizer(model, settings)
    optimizer.register_step_pre_hook(
        lambda *_: seen.update({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    )
    loss = Stepper(model, optimizer, rows, settings, Ranks(), objective=TokenLoss(rows)).step(5, 0.0)
    # Then loss and clipped gradients are those of all logits at once
    losses = []
    for row, piece in enumerate(pieces):
        ids, places = masking.masked(piece.windows[0], row, 5)
        logits = model(input_ids=torch.from_numpy(ids.astype(np.int64))[None]).logits[0, places]
        truth = torch.from_numpy(piece.windows[0][places].astype(np.int64))
        losses.append(torch.nn.functional.cross_entropy(logits, truth, reduction="sum"))
    whole = torch.stack(losses).sum() / sum(masking.count(piece.windows[0]) for piece in pieces)
    assert loss == pytest.approx(whole.item(), rel=1e-5)
    model.zero_grad()
    whole.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    compared = 0
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(seen[name], parameter.grad, atol=1e-5), name
            compared += 1
    assert compared > 20
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_the_perplexity_falls_and_the_result_is_a_base(workplace: Path, adapted: Path) -> None:
    """Held-out tokens are predicted better, the files load as a base with all weights, and the record says how."""
    from safetensors.torch import load_file

    from training.encoders.base import find_base, load_classifier

    record = json.loads((adapted / "run.json").read_bytes())
    # 16 words are equally frequent, and 4 in a text of one subject: below 16 it has learned to read what is around
    assert record["perplexity"]["after"] < 8
    assert record["perplexity"]["before"] > 20
    assert record["result"]["after"]["accuracy"] > 1.5 / 16
    assert (record["command"], record["base"]["name"]) == ("adapt", "base")
    assert record["adapted_to"][0]["file"] == "texts.txt"
    assert record["epochs"][-1]["step"] == STEPS
    card = (adapted / "MODEL_CARD.md").read_text()
    assert f"{record['perplexity']['after']:.2f} after" in card
    # Its weights are those at the end of the run, and fit takes all of the encoder
    stored = load_file(adapted / "model.safetensors")
    trained = load_file(workplace / "whole.run" / "checkpoint.safetensors")
    encoder = load_classifier(find_base(str(adapted)), ("neg", "pos"), seed=1).distilbert.state_dict()
    assert len(encoder) > 20
    for name, tensor in encoder.items():
        assert tensor.equal(stored[f"distilbert.{name}"])
        assert tensor.equal(trained[f"model.distilbert.{name}"])
    assert json.loads((adapted / "config.json").read_bytes())["attention_dropout"] == 0.1
    # And no text is in what was written
    text = (workplace / "texts.txt").read_text().splitlines()[0].encode()
    kept = [path for path in (*adapted.iterdir(), *(workplace / "whole.run").iterdir()) if path.is_file()]
    assert len(kept) >= 7
    assert not [path for path in kept if text in path.read_bytes()]


def test_a_killed_run_ends_in_the_same_weights(
    workplace: Path, adapted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL in the second epoch, the same command again: weights and perplexities of an undisturbed run."""
    killed_at = kill_after(arguments(workplace, "killed"), workplace / "killed.run", STEPS // 3)
    assert STEPS // 3 < killed_at < STEPS
    assert main(arguments(workplace, "killed")) == 0
    said = capsys.readouterr().err
    assert f"training resumes at step {killed_at} of {STEPS}" in said
    assert "measuring the base" not in said
    assert weights_of(workplace / "killed.run") == weights_of(workplace / "whole.run")
    assert (workplace / "killed" / "model.safetensors").read_bytes() == (adapted / "model.safetensors").read_bytes()
    records = [json.loads((workplace / name / "run.json").read_bytes()) for name in ("killed", "whole")]
    assert records[0]["perplexity"] == records[1]["perplexity"]
    # And another rate does not resume that run
    line = refusal(capsys, arguments(workplace, "killed", **{"learning-rate": "0.02"}))
    assert "is of a run with another learning_rate" in line


def test_a_base_without_a_head_gets_a_new_one_and_keeps_its_pooler(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told; frozen layers and the embeddings under them stay as they are."""
    from safetensors.torch import load_file

    base = make_masked_base(tmp_path / "plain", "bert", "AutoModel")
    options = {"base": str(base), "epochs": "0.2", "freeze": "1", "out": str(tmp_path / "out")}
    assert main(arguments(workplace, "out", **options)) == 0
    assert "plain has no head for masked tokens: a new one is trained with it" in capsys.readouterr().err
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    same = [name for name in before if f"bert.{name}" in after and before[name].equal(after[f"bert.{name}"])]
    assert {"pooler.dense.weight", "embeddings.word_embeddings.weight"} <= set(same)
    assert [name for name in before if "layer.0." in name and name not in same] == []
    assert len([name for name in before if "layer.1." in name and name not in same]) > 10


def test_texts_of_a_test_file_are_left_out_and_the_encoder_says_what_it_knows(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exact and near duplicates are dropped; the test file itself is refused, and later by fit."""
    from training.adaptation.texts import Work, read_work
    from training.data.prepare import DataOptions
    from training.data.reviews import read_reviews
    from training.settings import AdaptSettings

    test = write_reviews(tmp_path / "test.xlsx", 40, seed=5)
    known = list(read_reviews(test).texts)
    longest = max(known, key=len)
    plain = (workplace / "texts.txt").read_text().splitlines()
    (tmp_path / "texts.txt").write_text("\n".join([*plain, known[3].upper(), f"{longest} plot"]) + "\n")
    # Given texts that hold two of forty test texts, when that is more than allowed, then they are refused
    options = {"texts": str(tmp_path / "texts.txt"), "out": str(tmp_path / "out")}
    line = refusal(capsys, arguments(workplace, "out", **options, test=str(test)))
    assert "5.0% of the test texts occur in texts.txt" in line
    # And when it is allowed, they are left out
    work = Work([tmp_path / "texts.txt"], [test], tmp_path / "out", options=DataOptions(drop_leaked=True))
    found = read_work(work, AdaptSettings(held_out_share=0.1))
    texts = {*found.trained, *found.held_out}
    assert len(texts) > 250
    assert texts <= set(plain)
    assert not set(found.trained) & set(found.held_out)
    # The test file under another name is refused
    (tmp_path / "other.xlsx").write_bytes(test.read_bytes())
    line = refusal(
        capsys, arguments(workplace, "out", **options | {"texts": str(tmp_path / "other.xlsx")}, test=str(test))
    )
    assert "is the test file" in line
    # And an encoder that was adapted to a test file is refused by fit
    train = write_reviews(tmp_path / "train.xlsx", 40, seed=6)
    options = {"texts": str(test), "out": str(tmp_path / "knowing"), "epochs": "0.1"}
    assert main(arguments(workplace, "knowing", **options)) == 0
    files = ["--train", str(train), "--test", str(test), "--base", str(tmp_path / "knowing")]
    assert "knowing was trained on test.xlsx" in refusal(capsys, ["fit", *files, "--out", str(tmp_path / "bundle")])
    # And one that was adapted to other texts since then
    options = {"base": str(tmp_path / "knowing"), "out": str(tmp_path / "later"), "epochs": "0.1"}
    assert main(arguments(workplace, "later", **options)) == 0
    files[-1] = str(tmp_path / "later")
    assert "later was trained on test.xlsx" in refusal(capsys, ["fit", *files, "--out", str(tmp_path / "bundle")])


def test_what_cannot_be_adapted_is_one_line(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is trained, and with what to do instead."""
    from tests.tiny_encoder import make_base

    make_base(tmp_path / "maskless")
    (tmp_path / "taken").mkdir()
    (tmp_path / "one.txt").write_text("the film\n")
    out = str(tmp_path / "out")
    for changed, words in (
        ({"base": str(tmp_path / "maskless")}, "has no [MASK] or <mask>"),
        ({"out": str(tmp_path / "taken")}, "exists and is not an adapted encoder"),
        ({"texts": str(tmp_path / "one.txt"), "out": out}, "1 texts are too few to adapt to"),
        ({"texts": str(tmp_path / "none.txt"), "out": out}, "none.txt does not exist"),
        ({"texts": str(tmp_path / "taken"), "out": out}, "has no .txt files"),
        ({"max-length": "400", "out": out}, "reads at most 64 tokens: set --max-length"),
        ({"freeze": "9", "out": out}, "has 2 layers: set --freeze"),
        ({"checkpoints": f"{out}/run", "out": out}, "which is replaced as a whole"),
    ):
        assert words in refusal(capsys, arguments(workplace, "refused", **changed))
    assert not (tmp_path / "out").exists()
    # Whether there are test files has to be said
    with pytest.raises(SystemExit):
        main(arguments(workplace, "refused")[:-1])
    assert "one of the arguments --test --no-test is required" in capsys.readouterr().err


def test_texts_come_from_folders_tables_and_labelled_files(tmp_path: Path) -> None:
    """A text a file, a text a line, or a column; labels count for nothing, and repeats among files are dropped."""
    from training.adaptation.texts import Work, read_work
    from training.settings import AdaptSettings

    for folder, name, text in (
        ("unsup", "1.txt", "the film was good\nand moving"),
        ("unsup", "2.txt", "a plot"),
        ("classes/pos", "1_9.txt", "great music and a scene"),
        ("classes/neg", "2_1.txt", "awful ending"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    write_table(tmp_path / "table.xlsx", [("Reviews", "Sentiment"), ("boring story", "neg"), ("A  plot", "pos")])
    paths = [tmp_path / name for name in ("unsup", "classes", "table.xlsx")]
    found = read_work(Work(paths, [], tmp_path / "out"), AdaptSettings(held_out_share=0.2))
    assert {*found.trained, *found.held_out} == {
        "the film was good\nand moving",
        "a plot",
        "great music and a scene",
        "awful ending",
        "boring story",
    }
    assert len(found.held_out) == 1
