"""What teachers answer, and that no text is asked twice: not after a kill, not for another student."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import UsageError
from tests.tiny_bundle import positive_probability, seal, write_tiny_bundle
from tests.tiny_trained import write_trained_bundle
from training.settings import DistilSettings

pytestmark = pytest.mark.training

LABELS = ("neg", "pos")
TEXTS = tuple(f"the film was {'good ' * (i % 5)}{'bad ' * (i % 3)}{i}" for i in range(700))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose answers are known."""
    return write_tiny_bundle(tmp_path_factory.mktemp("teacher") / "tiny")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with torch weights."""
    return write_trained_bundle(tmp_path_factory.mktemp("teacher") / "trained")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that a bundle is asked for, in order."""
    from training.teachers import teacher

    seen: list[str] = []
    build = teacher._classifier

    def counting(*given: Any) -> Any:
        ask = build(*given)

        def counted(texts: Sequence[str]) -> Any:
            seen.extend(texts)
            return ask(texts)

        return counted

    monkeypatch.setattr(teacher, "_classifier", counting)
    return seen


def find(path: Path, *, hidden: bool = False, attention: bool = False, **given: Any) -> Any:
    """The teacher at `path`."""
    from training.teachers.find import find_teacher

    return find_teacher(path, LABELS, DistilSettings(**given), hidden=hidden, attention=attention)


def answers(teacher: Any, cache: Path, texts: Sequence[str] = TEXTS) -> Any:
    """Its answers."""
    from training.encoders.parallel import Ranks
    from training.teachers.cache import answers_of

    return answers_of(teacher, texts, "0" * 64, cache, Ranks())


def probabilities(logits: Any) -> Any:
    """Softmax of the rows."""
    exponents = np.exp(logits.astype(np.float64))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_the_answers_of_a_bundle_are_those_of_its_classifier(bundle: Path, tmp_path: Path, asked: list[str]) -> None:
    """Their softmax is the probability that the bundle serves, and a second student asks for nothing."""
    found = answers(find(bundle), tmp_path)
    expected = [positive_probability(text) for text in TEXTS]
    assert probabilities(found.logits)[:, 1] == pytest.approx(expected, abs=1e-5)
    assert found.hidden is None
    assert asked == list(TEXTS)
    again = answers(find(bundle), tmp_path)
    assert np.array_equal(again.logits, found.logits)
    assert asked == list(TEXTS)


KILLED_AFTER_TWO_SHARDS = """
import os, signal, sys
from pathlib import Path
from tests.training import test_teacher_cache as t
from training.teachers import cache

write, written = cache._write, []

def counted(*given):
    write(*given)
    written.append(given)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

cache._write = counted
t.answers(t.find(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_asking_resumes_after_a_kill_and_asks_nothing_twice(bundle: Path, tmp_path: Path, asked: list[str]) -> None:
    """SIGKILL after the second shard: the next process asks for the third alone, and the first two are untouched."""
    # Given a process that is killed after two of three shards
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_TWO_SHARDS, str(bundle), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    kept = {path: path.stat() for path in tmp_path.rglob("*.safetensors")}
    assert len(kept) == 2
    # When another one resumes
    found = answers(find(bundle), tmp_path)
    # Then it asks for what is missing
    assert asked == list(TEXTS[512:])
    assert [path.stat().st_mtime_ns for path in kept] == [stat.st_mtime_ns for stat in kept.values()]
    assert probabilities(found.logits)[:, 1] == pytest.approx([positive_probability(t) for t in TEXTS], abs=1e-5)


def test_answers_of_another_teacher_text_or_setting_are_not_taken(
    bundle: Path, tmp_path: Path, asked: list[str]
) -> None:
    """Each change asks again; the older answers stay for those who return to it."""
    answers(find(bundle), tmp_path)
    other = write_tiny_bundle(tmp_path / "other")
    seal(other, version="2")
    for teacher, texts in (
        (find(other), TEXTS),
        (find(bundle, teacher_max_length=20), TEXTS),
        (find(bundle), (*TEXTS[:-1], "the film was great")),
        (replace(find(bundle), variant="int8"), TEXTS),
    ):
        asked.clear()
        answers(teacher, tmp_path / "cache", texts)
        assert asked == list(texts)
    asked.clear()
    answers(find(bundle), tmp_path)
    assert asked == []


def test_a_teacher_computes_in_the_precision_and_variant_that_the_run_decided(
    bundle: Path, trained: Path, tmp_path: Path
) -> None:
    """Transformers obeys --precision, and its answers in another one are not taken; a bundle computes as it serves."""
    from training.loop.state import Decided

    # Given a teacher that transformers runs, and what a run may decide
    teacher = find(trained, hidden=True)
    fp32, bf16 = (teacher.of_run(Decided(precision, gpu=False)) for precision in ("fp32", "bf16"))
    # When it is asked in both precisions, then it answers differently, and each answer is kept under its own key
    exact, rough = (answers(each, tmp_path, TEXTS[:8]).logits for each in (fp32, bf16))
    assert not np.array_equal(exact, rough)
    assert rough == pytest.approx(exact, abs=0.05)
    assert (fp32.key()["precision"], bf16.key()["precision"]) == ("fp32", "bf16")
    assert len({path.parent for path in tmp_path.rglob("*.safetensors")}) == 2
    # And a bundle keeps its variant, except that of a GPU, on whatever machine the run resumes
    served = find(bundle)
    assert served.of_run(Decided("bf16", gpu=False)) == served.of_run(Decided("fp32", gpu=True)) == served
    assert "precision" not in served.key()
    plain = replace(find(trained), variant="int8")
    assert plain.of_run(Decided("fp32", gpu=False)).variant == "int8"
    assert plain.of_run(Decided("fp32", gpu=True)).variant == "torch"


def test_a_stale_or_damaged_shard_is_asked_for_again(bundle: Path, tmp_path: Path, asked: list[str]) -> None:
    """One that was cut off, one whose header names other texts, one that is missing: those alone."""
    from safetensors.numpy import load_file, save_file

    right = answers(find(bundle), tmp_path)
    first, second, third = sorted(tmp_path.rglob("*.safetensors"))
    first.write_bytes(first.read_bytes()[:-7])
    save_file({"logits": -load_file(second)["logits"]}, second, metadata={"key": '{"teacher": "another"}'})
    asked.clear()
    assert np.array_equal(answers(find(bundle), tmp_path).logits, right.logits)
    assert asked == list(TEXTS[:512])
    third.unlink()
    asked.clear()
    answers(find(bundle), tmp_path)
    assert asked == list(TEXTS[512:])


def test_several_processes_share_the_shards(
    bundle: Path, tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two asks for every second shard, and waits for the others as long as it takes."""
    from training.encoders.parallel import Ranks
    from training.teachers import cache

    looks: list[float] = []

    def first_process(seconds: float) -> None:
        looks.append(seconds)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        answers(find(bundle), tmp_path)

    monkeypatch.setattr(time, "sleep", first_process)
    found = cache.answers_of(find(bundle), TEXTS, "0" * 64, tmp_path, Ranks(rank=1, size=2))
    assert len(looks) == 1
    assert asked == list(TEXTS[256:512] + TEXTS[:256] + TEXTS[512:])
    assert len(found.logits) == len(TEXTS)


def test_a_checkpoint_and_its_bundle_answer_alike_and_give_hidden_states(trained: Path, tmp_path: Path) -> None:
    """Transformers and the worker's classifier agree; the state is that of the first token in the last layer."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from consumer.model.texts.encoder import Encoder
    from consumer.model.texts.reading import Reading, Truncation

    texts = ("the film was good good", "bad bad awful plot", "the story")
    served = answers(find(trained), tmp_path, texts)
    found = answers(find(trained, hidden=True), tmp_path, texts)
    assert probabilities(found.logits) == pytest.approx(probabilities(served.logits), abs=1e-4)
    assert served.hidden is None
    assert found.hidden.shape == (3, 32)
    model: Any = AutoModelForSequenceClassification.from_pretrained(trained).eval()
    tokenizer_json = (trained / "tokenizer.json").read_text()
    ids = Encoder(tokenizer_json, Reading(48, Truncation.HEAD_TAIL)).encode(texts)[1].windows[0]
    with torch.no_grad():
        states = model(input_ids=torch.from_numpy(ids.astype("int64"))[None], output_hidden_states=True).hidden_states
    assert found.hidden[1] == pytest.approx(states[-1][0, 0].numpy(), abs=2e-3)
    # And without its manifest the same directory is a checkpoint of transformers
    (copy := tmp_path / "checkpoint").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (copy / name).write_bytes((trained / name).read_bytes())
    plain = find(copy)
    assert (plain.labels, plain.reading.max_length, plain.variant) == (LABELS, 64, None)
    assert np.allclose(answers(plain, tmp_path, texts).logits, found.logits, atol=1e-4)


def test_a_teacher_tells_what_its_first_token_attends_to(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean over the heads of the last layer, of what the student reads; kept, and not asked for twice."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from consumer.model.texts.encoder import Encoder
    from consumer.model.texts.reading import Reading, Truncation
    from training.teachers import teacher

    texts = ("the film was good good", "bad awful plot " * 20, "the story")
    plain = find(trained, hidden=True)
    # The bundle reads both ends of 48 tokens; the student reads the first 16.
    asked = find(trained, attention=True, hidden=True, train_max_length=16, truncation=Truncation.HEAD)
    # The bundle, of format 1, cleans texts by its own rules; for attention it has to read the tokens of the student.
    assert plain.reading == Reading(48, Truncation.HEAD_TAIL, text_rules=1)
    assert asked.reading == Reading(16, Truncation.HEAD)
    found = answers(asked, tmp_path, texts)
    assert found.attention.shape == (3, 16)
    model: Any = AutoModelForSequenceClassification.from_pretrained(trained, attn_implementation="eager").eval()
    for row, text in enumerate(Encoder((trained / "tokenizer.json").read_text(), asked.reading).encode(texts)):
        ids = torch.from_numpy(text.windows[0].astype("int64"))[None]
        with torch.no_grad():
            seen = model(input_ids=ids, output_attentions=True, output_hidden_states=True)
        attended = seen.attentions[-1][0, :, 0].mean(dim=0).numpy()
        assert found.attention[row, : text.tokens] == pytest.approx(attended, abs=1e-3)
        assert not found.attention[row, text.tokens :].any()
        assert found.hidden[row] == pytest.approx(seen.hidden_states[-1][0, 0].numpy(), abs=2e-3)
    assert "attention" not in plain.key()
    assert asked.key()["attention"] is True
    assert (plain.key()["text_rules"], asked.key()["text_rules"]) == (1, 2)

    def again(*_: Any) -> None:
        raise AssertionError("the answers are in the cache")

    monkeypatch.setattr(teacher, "_transformer", again)
    kept = answers(asked, tmp_path, texts)
    assert all(np.array_equal(vars(kept)[name], vars(found)[name]) for name in vars(found))
    with pytest.raises(AssertionError, match="in the cache"):
        answers(find(trained, attention=True, train_max_length=16), tmp_path, texts)


def test_a_checkpoint_reads_no_more_tokens_than_it_has_positions(tmp_path: Path) -> None:
    """RoBERTa's begin behind that of padding: of 66 there are 64 to be read, and so many are read."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    from tests.tiny_encoder import make_base

    sizes: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    names = dict(enumerate(LABELS))
    config = RobertaConfig(vocab_size=32, max_position_embeddings=66, id2label=names, **sizes)
    RobertaForSequenceClassification(config).save_pretrained(tmp_path / "roberta")
    tokenizer = (make_base(tmp_path / "base") / "tokenizer.json").read_bytes()
    (tmp_path / "roberta" / "tokenizer.json").write_bytes(tokenizer)
    teacher = find(tmp_path / "roberta")
    assert teacher.reading.max_length == 64
    assert np.isfinite(answers(teacher, tmp_path, ["the film was good " * 40]).logits).all()


def test_models_without_shares_of_attention_are_refused() -> None:
    """FNet mixes tokens without attention; a model that has it passes, and computes as before."""
    import torch
    from transformers import (
        DistilBertConfig,
        DistilBertForSequenceClassification,
        FNetConfig,
        FNetForSequenceClassification,
    )

    from training.encoders.attention import check_attention

    torch.manual_seed(0)
    good: Any = DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=9, dim=8, hidden_dim=8, n_layers=1, n_heads=2, max_position_embeddings=16)
    )
    before = good.config._attn_implementation
    check_attention(good, "good")
    assert good.config._attn_implementation == before != "eager"
    with refused("mixer does not return what its tokens attend to: leave out --attention-weight"):
        check_attention(
            FNetForSequenceClassification(
                FNetConfig(
                    vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, tpu_short_seq_length=8
                )
            ),
            "mixer",
        )


@contextmanager
def refused(words: str) -> Iterator[None]:
    """A usage error with these words, on one line."""
    with pytest.raises(UsageError, match=words) as error:
        yield
    assert "\n" not in str(error.value)


def test_teachers_that_cannot_teach_are_refused(bundle: Path, trained: Path, tmp_path: Path) -> None:
    """Missing, incomplete, no classifier, other labels, too few tokens, no hidden states: each in one line."""
    from tests.tiny_encoder import make_base

    with refused("does not exist"):
        find(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with refused("is not a bundle, and as a checkpoint it lacks config.json, tokenizer.json, model.safetensors"):
        find(tmp_path / "empty")
    with refused("is not a sequence classifier with id2label"):
        find(make_base(tmp_path / "base"))
    with refused("answers bad, good, but the training file has neg, pos"):
        find(write_tiny_bundle(tmp_path / "others", labels=("bad", "good")))
    with refused("reads at most 40 tokens: lower --teacher-max-length"):
        find(bundle, teacher_max_length=64)
    for wanted in ("hidden", "attention"):
        with refused("has no torch weights, so no hidden states and no attention"):
            find(bundle, **{wanted: True})
    with refused("reads at most 48 tokens: lower --train-max-length"):
        find(trained, attention=True, train_max_length=50)
    assert find(trained, hidden=True).hidden
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "empty" / name).write_bytes((trained / name).read_bytes())
    for damaged in (b"{", b"\xff"):
        (tmp_path / "empty" / "tokenizer.json").write_bytes(damaged)
        with refused("cannot be read"):
            find(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("[]")
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / "empty" / name).write_text("")
    with refused("cannot be parsed"):
        find(tmp_path / "empty")
