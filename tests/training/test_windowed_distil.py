"""A student and its teachers that read long texts by windows: each its own, and training compares means over them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.model.bundle.loading import load_bundle
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.labeller import Scored
from consumer.model.texts.encoder import Encoded, Encoder
from consumer.model.texts.reading import Reading, Truncation, Windows
from tests.tiny_bundle import seal
from tests.tiny_encoder import make_base, write_reviews
from tests.tiny_trained import LABELS, TORCH, write_trained_bundle
from tests.training_run import end_before_packaging, finish, largest_difference, record_in, with_two_processes
from training.cli import main
from training.settings import DistilSettings

# Exporting and quantising take their time on a busy machine, however small the model.
pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

#: The teacher reads windows of 12 tokens, 3 of them repeated; the student below others of 16.
TEACHERS = Windows(overlap=0.25, most=3)
SETTINGS = {
    "layers": "1",
    "width": "16",
    "heads": "2",
    "feed-forward": "32",
    "hidden-weight": "0.5",
    "epochs": "10",
    "batch-size": "16",
    "learning-rate": "0.01",
    "truncation": "windows",
    "window-overlap": "0.5",
    "max-windows": "4",
    "train-max-length": "16",
    "max-length": "16",
    "calibration-texts": "12",
    "gate-rows": "30",
    "keep": "int8,torch",
}
TEXTS = ("the film was good", "bad awful plot " * 6 + "and a good ending", "a story with music " * 12)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a teacher that is served by windows, and two files of reviews of up to 44 words."""
    import torch

    from training.packaging.golden import ask
    from training.packaging.sealing import write_golden

    directory = tmp_path_factory.mktemp("windows")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    teacher = write_trained_bundle(directory / "teacher")
    facts = {"labels": LABELS, "served": "torch", "variants": TORCH, "max_length": 12, "truncation": "windows"}
    seal(teacher, windows=TEACHERS, **facts)
    write_golden(teacher, ask(teacher, TEXTS, {"torch": 0.01}))
    seal(teacher, windows=TEACHERS, **facts)
    write_reviews(directory / "train.xlsx", 192, seed=11)
    write_reviews(directory / "test.xlsx", 40, seed=12)
    yield directory
    torch.set_num_threads(threads)


def arguments(directory: Path, **changed: str) -> list[str]:
    """The command line of a distillation in `directory`, with the settings above."""
    files = {name: str(directory / f"{name}.xlsx") for name in ("train", "test")}
    options = files | {name: str(directory / name) for name in ("teacher", "out")} | SETTINGS | changed
    return ["distil", *(part for name, value in options.items() for part in (f"--{name}", value))]


def by_hand(model: Any, text: Encoded) -> tuple[Any, Any]:
    """Each window asked for alone: the means of logits (labels,) and of last states at the first token (width,)."""
    import torch

    ids = [torch.from_numpy(window.astype(np.int64))[None] for window in text.windows]
    with torch.no_grad():
        found = [model(input_ids=window, output_hidden_states=True) for window in ids]
    logits, states = ([answer.logits for answer in found], [answer.hidden_states[-1][:, 0] for answer in found])
    return torch.cat(logits).mean(dim=0), torch.cat(states).mean(dim=0)


def test_a_student_with_windows_becomes_a_bundle_that_the_worker_reads_by_windows(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its teacher has other windows; manifest, card and record state both; other windows are another run."""
    # Given a teacher with windows, when a student with others learns from it, hidden states as well
    assert main(arguments(workplace)) == 0
    # Then the worker accepts the bundle, and it has learned from text after the first window as well
    bundle = load_bundle(workplace / "out")
    manifest = bundle.manifest
    assert (manifest.truncation, manifest.windows) == (Truncation.WINDOWS, Windows(overlap=0.5, most=4))
    for variant in manifest.variants:
        classifier = Classifier(bundle, open_engine(bundle, variant, threads=1))
        classifier.self_check()
        good, bad = classifier.classify([f"{'film ' * 15}{word * 12}" for word in ("great ", "awful ")]).results
        assert isinstance(good, Scored)
        assert isinstance(bad, Scored)
        assert (good.label, bad.label) == ("pos", "neg")
        classifier.close()
    accuracy = manifest.variants[manifest.served].accuracy
    assert accuracy is not None
    assert accuracy.accuracy > 0.8
    # And card and record name windows, teacher and loss
    card = (workplace / "out" / "MODEL_CARD.md").read_text()
    assert "Distilled from `teacher`, initialised from `teacher` (" in card
    assert "the first 4 of them. Each repeats 50% of the one before, and their logits are averaged" in card
    assert "16 tokens a window" in card
    assert f"- teacher `teacher`, SHA-256 `{load_bundle(workplace / 'teacher').digest}`" in card
    record = record_in(workplace / "out" / "run.json")
    assert (record.settings.reading.windows, record.teachers[0].name) == (manifest.windows, "teacher")
    # And the run does not resume with other windows
    capsys.readouterr()
    assert main(arguments(workplace, **{"max-windows": "3"})) == 2
    assert "of a run with another windows" in capsys.readouterr().err


def test_two_processes_learn_from_windows_what_one_does(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reviews of one window and of four are dealt out; each process asks the teacher for its share of the texts."""
    # Given a run in this process
    changed = {"epochs": "1", "precision": "fp32", "micro-batch-tokens": "96", "keep": "int8"}
    with monkeypatch.context() as patched:
        end_before_packaging(patched)
        finish(arguments(workplace, **changed, out=str(workplace / "one")))
    # When two processes share the same one, without the answers that the first was given
    out, _ = with_two_processes(arguments(workplace, **changed, out=str(workplace / "two")))
    # Then they have the same weights, including the map to the teacher's width, and the first packages them
    assert largest_difference(workplace / "one.run", workplace / "two.run") < 1e-4
    assert out.count("accuracy ") == 1
    assert load_bundle(workplace / "two").manifest.windows == Windows(overlap=0.5, most=4)


def test_every_term_of_the_loss_is_of_the_means_over_windows(tmp_path: Path) -> None:
    """By hand, without micro-batches: each review counts once in each term, whatever the number of its windows."""
    import torch
    from torch.nn.functional import cosine_similarity, cross_entropy
    from transformers import DistilBertForSequenceClassification

    from training.encoders.objective import UNLABELED
    from training.loop.step import Stepper, TrainingRows, make_optimizer
    from training.teachers.distillation import Distillation, Taught, add_map

    # Given reviews of one to five windows, not all of them labelled, and a teacher of another width
    draw = np.random.default_rng(3)
    reviews = [
        Encoded(tuple(draw.integers(4, 20, size).astype(np.int32) for size in [16] * (count - 1) + [7]), 16, False)
        for count in (2, 5, 1, 1, 3, 4)
    ]
    rows = TrainingRows(reviews, [0, 1, UNLABELED, 1, UNLABELED, 0], 0)
    labels = torch.tensor(rows.labels)
    torch.manual_seed(1)
    model: Any = DistilBertForSequenceClassification.from_pretrained(
        make_base(tmp_path / "base"), dtype=torch.float32, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0
    )
    torch.nn.init.normal_(model.classifier.weight)
    theirs = torch.randn(6, 24)
    taught = Taught(torch.randn(6, 2), theirs)
    trained_map = add_map(model, 24)
    assert trained_map is not None
    means = [by_hand(model, review) for review in reviews]
    logits, states = (torch.stack(part) for part in zip(*means, strict=True))
    wanted, ours = (answers.div(3).softmax(dim=1) for answers in (taught.logits, logits))
    soft = 9 * (wanted * (wanted / ours).log()).sum()
    hidden = (1 - cosine_similarity(trained_map(states), theirs)).sum()
    expected = (soft + 0.5 * cross_entropy(logits, labels, reduction="sum") + 2 * hidden).item() / 6
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # When a step is taken in pieces of different sizes, then its loss is the same
    for tokens in (16, 64, 10_000):
        model.load_state_dict(before)
        settings = DistilSettings(
            batch_size=6,
            micro_batch_tokens=tokens,
            precision="fp32",
            temperature=3,
            label_weight=0.5,
            hidden_weight=2,
        )
        objective = Distillation(taught, settings, map_to_teacher=trained_map)
        stepper = Stepper(model.train(), make_optimizer(model, settings), rows, settings, objective=objective)
        assert stepper.step(0, 1e-3) == pytest.approx(expected, rel=1e-4)


def test_a_teacher_answers_with_the_means_over_its_own_windows(workplace: Path, tmp_path: Path) -> None:
    """As a bundle through the worker's classifier, with hidden states through transformers, and as a checkpoint."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from training.encoders.parallel import Ranks
    from training.teachers.cache import answers_of
    from training.teachers.find import find_teacher

    # Given the windows of the bundle, and other ones of the student, with which a checkpoint has to do
    path = workplace / "teacher"
    student = DistilSettings(truncation=Truncation.WINDOWS, max_windows=2, teacher_max_length=12)
    (checkpoint := tmp_path / "checkpoint").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (checkpoint / name).write_bytes((path / name).read_bytes())
    model: Any = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer_json = (path / "tokenizer.json").read_text(encoding="utf-8")
    keys = []
    for teacher, windows in (
        (find_teacher(path, LABELS, DistilSettings(), hidden=False), TEACHERS),
        (find_teacher(path, LABELS, DistilSettings(), hidden=True), TEACHERS),
        (find_teacher(checkpoint, LABELS, student, hidden=True), Windows(most=2)),
    ):
        # When it is asked, then it returns the mean over its windows
        found = answers_of(teacher, TEXTS, "0" * 64, tmp_path / "cache", Ranks())
        encoded = Encoder(tokenizer_json, Reading(12, Truncation.WINDOWS, windows)).encode(TEXTS)
        assert [len(text.windows) for text in encoded] == [1, *[windows.most] * 2]
        for row, text in enumerate(encoded):
            logits, state = by_hand(model, text)
            assert found.logits[row][1] - found.logits[row][0] == pytest.approx(float(logits[1] - logits[0]), abs=0.05)
            if found.hidden is not None:
                assert found.hidden[row] == pytest.approx(state.numpy(), abs=0.02)
        keys.append(teacher.key())
    # And how it reads is part of the key of its answers, if it reads windows
    assert [key["windows"]["most"] for key in keys] == [3, 3, 2]
    assert "windows" not in find_teacher(checkpoint, LABELS, DistilSettings(), hidden=True).key()
