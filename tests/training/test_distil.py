"""From a teacher, two spreadsheets and texts without labels to the bundle of a small student that the worker serves."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consumer.model.bundle.loading import load_bundle
from consumer.model.classifier import Classifier
from consumer.model.engines import open_engine
from consumer.model.labeller import Scored
from tests.int8_size import graph_bytes, weight_bytes
from tests.tiny_encoder import make_base, write_reviews, write_table
from tests.tiny_trained import write_trained_bundle
from tests.training_run import TrainedError, end_before_packaging, finish, interrupt_after, record_in, weights_of
from training.cli import main
from training.loop import checkpoint

# Exporting and quantising take their time on a busy machine, however small the model.
pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

SETTINGS = {
    "layers": "1",
    "width": "16",
    "heads": "2",
    "feed-forward": "32",
    "hidden-weight": "0.5",
    "epochs": "4",
    "batch-size": "16",
    "learning-rate": "0.01",
    "train-max-length": "24",
    "max-length": "48",
    "calibration-texts": "12",
    "test-rows": "36",
    "gate-rows": "30",
    "checkpoint-minutes": "0",
}
TRAINED, EXTRA, TESTED, MEASURED = 160, 60, 40, 36
STEPS = 55  # 4 epochs of 160 + 60 rows in batches of 16


def arguments(directory: Path, out: str, **changed: str) -> list[str]:
    """The command line of a distillation in `directory`, with the settings above; "" leaves an option out."""
    files = {name: str(directory / f"{name}.xlsx") for name in ("train", "test")}
    options = files | {
        "teacher": str(directory / "teacher"),
        "unlabeled": str(directory / "unlabeled.parquet"),
        "teacher-cache": str(directory / "cache"),
        "out": str(directory / out),
    }
    chosen = (options | SETTINGS | changed).items()
    return ["distil", *(part for name, value in chosen if value for part in (f"--{name}", value))]


def texts_of(path: Path) -> list[str]:
    """The texts of a file of reviews."""
    from training.data.reviews import read_reviews

    return list(read_reviews(path).texts)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a teacher, labelled files, and texts without labels, some of which must not be trained on."""
    import pandas as pd
    import torch

    directory = tmp_path_factory.mktemp("distil")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    write_trained_bundle(directory / "teacher")
    write_reviews(directory / "train.xlsx", TRAINED, seed=11)
    write_reviews(directory / "test.xlsx", TESTED, seed=12)
    write_reviews(directory / "more.xlsx", EXTRA, seed=13)
    more, test = texts_of(directory / "more.xlsx"), texts_of(directory / "test.xlsx")
    longest = max(test[1:], key=len)
    leaked = [test[0].upper() + "!", f"{longest} plot"]
    texts = [*more, more[0], texts_of(directory / "train.xlsx")[0], *leaked, None, "  "]
    pd.DataFrame({"id": range(len(texts)), "text": texts}).to_parquet(directory / "unlabeled.parquet")
    yield directory
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def student(workplace: Path) -> Path:
    """The bundle of one whole distillation."""
    assert main(arguments(workplace, "student", **{"max-overlap": "0.06"})) == 0
    return workplace / "student"


def refusal(capsys: pytest.CaptureFixture[str], command: Sequence[str]) -> str:
    """The one line that `command` ends with; fails unless it is a usage error."""
    assert main(command) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("review-training: ")
    return last


def test_a_distillation_ends_in_a_bundle_that_the_worker_accepts(student: Path) -> None:
    """The worker's loader and classifier take it, its golden texts are right, and it has learned the clear words."""
    bundle = load_bundle(student)
    manifest = bundle.manifest
    assert set(manifest.variants) == {"int8", "bf16", "fp32", "torch"}
    assert manifest.labels == ("neg", "pos")
    for variant in ("torch", manifest.served):
        classifier = Classifier(bundle, open_engine(bundle, variant))
        classifier.self_check()
        good, bad = classifier.classify(["the film was good great fine", "the plot was bad awful poor"]).results
        assert isinstance(good, Scored)
        assert isinstance(bad, Scored)
        assert (good.label, bad.label) == ("pos", "neg")
        classifier.close()
    accuracy = manifest.variants[manifest.served].accuracy
    assert accuracy is not None
    assert (accuracy.rows, accuracy.file) == (MEASURED, "test.xlsx")
    assert f"on {MEASURED} of {TESTED} test rows, drawn with the seed" in (student / "MODEL_CARD.md").read_text()
    assert accuracy.accuracy > 0.8


def test_the_int8_files_are_as_large_as_arithmetic_says(student: Path) -> None:
    """All matrices, embeddings too, take a byte a number: what holds here bounds the presets in `test_student`."""
    from safetensors import safe_open

    with safe_open(student / "model.safetensors", "np") as file:
        shapes = [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118 - no mapping
    weights, graph = ((student / "openvino" / f"int8.{suffix}").stat().st_size for suffix in ("bin", "xml"))
    layers = int(SETTINGS["layers"])
    assert sum(map(math.prod, shapes)) < weights < weight_bytes(shapes, layers)
    assert graph < graph_bytes(layers)


def test_the_bundle_records_its_teacher_and_its_data(workplace: Path, student: Path) -> None:
    """Manifest, record and card name the teacher, its sum, the texts without labels, and the loss."""
    from training.settings import DistilSettings

    manifest, teacher = load_bundle(student).manifest, load_bundle(workplace / "teacher")
    assert [(part.file, part.rows) for part in manifest.training_data] == [
        ("train.xlsx", TRAINED),
        ("unlabeled.parquet", EXTRA),
        ("test.xlsx", TESTED),
    ]
    assert manifest.base_model == "teacher"
    record = record_in(student / "run.json")
    assert isinstance(record.settings, DistilSettings)
    assert (record.settings.width, record.settings.hidden_weight) == (16, 0.5)
    assert [(found.name, found.sha256) for found in record.teachers] == [("teacher", teacher.digest)]
    assert record.epochs[-1].step == STEPS
    # The map to the teacher's width is neither counted nor shipped
    from safetensors.torch import load_file

    weights = load_file(student / "model.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) == record.parameters == manifest.parameters
    assert not [name for name in weights if "hidden_map" in name]
    card = (student / "MODEL_CARD.md").read_text()
    assert "Distilled from `teacher`, initialised from `teacher` (" in card
    assert f"- teacher `teacher`, SHA-256 `{teacher.digest}`" in card
    assert "at temperature 2, + 0.5 x the labels + 0.5 x the last hidden state" in card
    assert f"`unlabeled.parquet`, {EXTRA} rows used" in card


def test_no_test_text_is_trained_on(workplace: Path, student: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exact and near duplicates of test texts are dropped from the texts without labels, and refused if many."""
    # Given a file without labels that contains 2 of the 40 test texts, 5 %
    # When that is more than allowed, then it is refused before any teacher is asked
    line = refusal(capsys, arguments(workplace, "leaky", **{"teacher-cache": str(workplace / "untouched")}))
    assert "5.0% of the test texts occur in unlabeled.parquet, more than 2.0%" in line
    assert not (workplace / "untouched").exists()
    # And when it is allowed, they are still left out
    from training.data.prepare import DEFAULTS, DataOptions, prepare
    from training.data.unlabeled import read_unlabeled

    said: list[str] = []
    data = prepare(workplace / "train.xlsx", workplace / "test.xlsx", DEFAULTS, said.append)
    found = read_unlabeled(workplace / "unlabeled.parquet", None, data, DataOptions(max_overlap=0.06), said.append)
    assert list(found.texts) == texts_of(workplace / "more.xlsx")
    assert set(found.labels) == {""}
    assert "unlabeled.parquet: 2 texts repeated or also in train.xlsx left out" in said
    assert "2 texts of unlabeled.parquet are left out for it" in said
    assert "unlabeled.parquet: 2 rows left out: no text" in said


def test_a_stopped_distillation_resumes_to_the_same_weights(
    workplace: Path,
    student: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SIGINT after three steps, then the same command: weights and map of the whole run, and no teacher is asked."""
    from training.teachers import teacher

    def asked(*_: Any) -> None:
        raise AssertionError("the answers are in the cache")

    monkeypatch.setattr(teacher, "_transformer", asked)
    end_before_packaging(monkeypatch)
    command = arguments(workplace, "stopped", **{"max-overlap": "0.06"})
    with monkeypatch.context() as patched:
        interrupt_after(3 * 16, patched)
        assert main(command) == 130
    assert f"stopped at step 3 of {STEPS}" in capsys.readouterr().err
    finish(command)
    assert f"resumes at step 3 of {STEPS}" in capsys.readouterr().err
    found, whole = (weights_of(workplace / f"{name}.run") for name in ("stopped", "student"))
    assert found == whole
    assert "model.hidden_map.weight" in found
    # And a run with another teacher, or another weight of it, does not resume
    assert "another soft_weight" in refusal(capsys, [*command, "--soft-weight", "2"])


def test_several_teachers_are_averaged_by_label(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits are centred and averaged; those of a teacher with the labels in another order are reordered."""
    import numpy as np

    from training.data.reviews import read_reviews
    from training.encoders.parallel import Ranks
    from training.settings import DistilSettings
    from training.teachers import asking
    from training.teachers.find import find_teacher
    from training.teachers.teacher import Answers

    file = read_reviews(workplace / "test.xlsx")
    one = find_teacher(workplace / "teacher", ("neg", "pos"), DistilSettings(), hidden=False)
    other = replace(one, labels=("pos", "neg"))

    def answer(teacher: Any, texts: Sequence[str], *_: Any) -> Answers:
        row = [1.0, 3.0] if teacher is one else [9.0, 5.0]
        return Answers(np.array([row] * len(texts), dtype=np.float32) * np.arange(len(texts))[:, None])

    monkeypatch.setattr(asking, "answers_of", answer)
    texts = (file.texts[5], file.texts[2])
    asked = asking.ask_all([one, other], [file], texts, workplace, Ranks(), labels=("neg", "pos"))
    # (1, 3) is (-1, 1) about its mean, and neg 5, pos 9 is (-2, 2): (-1.5, 1.5), times the row of the text
    assert asking.mean_answers([], asked).logits.tolist() == [[-7.5, 7.5], [-3.0, 3.0]]


ATTENTIVE = {"hidden-weight": "0", "attention-weight": "20", "max-overlap": "0.06"}


def test_a_student_learns_what_its_teacher_attends_to(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attention comes closer to the teacher's than without that term; a stopped run resumes; the card says so."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from consumer.model.texts.encoder import Encoder
    from consumer.model.texts.reading import Reading, Truncation

    def attention_of(bundle: Path, texts: Sequence[str]) -> Any:
        model: Any = AutoModelForSequenceClassification.from_pretrained(bundle, attn_implementation="eager").eval()
        encoded = Encoder((bundle / "tokenizer.json").read_text(), Reading(24, Truncation.HEAD_TAIL)).encode(texts)
        ids = [torch.from_numpy(text.windows[0].astype("int64"))[None] for text in encoded]
        with torch.no_grad():
            return [model(input_ids=one, output_attentions=True).attentions[-1][0, :, 0].mean(dim=0) for one in ids]

    command = arguments(workplace, "attentive", **ATTENTIVE)
    with monkeypatch.context() as patched:
        interrupt_after(3 * 16, patched)
        assert main(command) == 130
    assert main(command) == 0
    assert f"resumes at step 3 of {STEPS}" in capsys.readouterr().err
    assert main(arguments(workplace, "inattentive", **ATTENTIVE | {"attention-weight": "0"})) == 0
    texts = texts_of(workplace / "test.xlsx")
    theirs = attention_of(workplace / "teacher", texts)
    apart = {
        name: sum((one.log() - other.log()) @ one for one, other in zip(theirs, found, strict=True)).item() / len(texts)
        for name in ("attentive", "inattentive")
        for found in [attention_of(workplace / name, texts)]
    }
    assert apart["attentive"] < 0.5 * apart["inattentive"]
    card = (workplace / "attentive" / "MODEL_CARD.md").read_text()
    assert "+ 0 x the last hidden state of the first teacher + 20 x its attention.\n" in card
    assert "its attention" not in (workplace / "inattentive" / "MODEL_CARD.md").read_text()
    # And what is shipped computes attention as any other model does
    classifier = Classifier(bundle := load_bundle(workplace / "attentive"), open_engine(bundle, bundle.manifest.served))
    classifier.self_check()
    classifier.close()


@pytest.mark.parametrize("size", ["", "17"])
def test_texts_that_a_smaller_vocabulary_tokenises_differently_teach_no_attention(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], size: str
) -> None:
    """They are counted; the others teach a share of attention for each token, and the shares add up to one."""
    from training import distil

    def stop(_model: Any, lesson: Any, *_: Any, **__: Any) -> None:
        lessons.append((lesson.rows, lesson.objective._taught.attention))
        raise TrainedError

    lessons: list[tuple[Any, Any]] = []
    monkeypatch.setattr(distil, "train", stop)
    finish(arguments(workplace, "aligned", **ATTENTIVE, vocabulary=size))
    [(rows, attention)] = lessons
    assert attention.shape == (TRAINED + EXTRA, 24)
    # The vocabulary is smaller than the words in use by three
    unknown = [bool((review.windows[0] == 1).any()) for review in rows.reviews]
    assert (0 < sum(unknown) < TRAINED + EXTRA) == bool(size)
    said = f"{sum(unknown)} texts teach no attention: the student's vocabulary lacks some of their tokens"
    assert (said in capsys.readouterr().err) == bool(size)
    for lacks, length, shares in zip(unknown, rows.lengths, attention, strict=True):
        assert shares.sum().item() == pytest.approx(0 if lacks else 1, abs=5e-3)
        assert int((shares > 0).sum()) == (0 if lacks else length)


def lesson_of(command: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, Any]:
    """The plan, the rows and the teachers' logits with which `command` would begin to train."""
    from training import distil

    def gathered(found: Any, *_: Any) -> Any:
        plans.append(found.plan)
        return gather(found, *_)

    def stop(_model: Any, lesson: Any, *_: Any, **__: Any) -> None:
        lessons.append((plans[-1], lesson.rows, lesson.objective._taught.logits.numpy()))
        raise TrainedError

    gather = distil._gather
    plans: list[Any] = []
    lessons: list[tuple[Any, Any, Any]] = []
    monkeypatch.setattr(distil, "_gather", gathered)
    monkeypatch.setattr(distil, "train", stop)
    finish(command)
    return lessons[0]


def test_each_text_has_its_own_answer_and_a_label_only_if_it_came_with_one(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labelled rows first, then those without; texts that the teacher failed on are left out."""
    import numpy as np

    from training.encoders.objective import UNLABELED
    from training.teachers import asking
    from training.teachers.teacher import Answers

    def lengths(_teacher: Any, texts: Sequence[str], *_: Any) -> Answers:
        """Answers from which the length of the text can be read; one text of each file has none."""
        logits = np.array([[0.0, 2.0 * len(text.split())] for text in texts], dtype=np.float32)
        logits[7] = np.nan
        return Answers(logits)

    monkeypatch.setattr(asking, "answers_of", lengths)
    command = arguments(workplace, "captured", **{"max-overlap": "0.06", "hidden-weight": "0"})
    _, rows, logits = lesson_of(command, monkeypatch)
    assert "2 texts are left out: a teacher failed on them" in capsys.readouterr().err
    assert len(rows.reviews) == len(logits) == TRAINED + EXTRA - 2
    assert rows.labels[TRAINED - 1 :] == [UNLABELED] * (EXTRA - 1)
    assert set(rows.labels[: TRAINED - 1]) == {0, 1}
    words = (logits[:, 1] - logits[:, 0]).round().astype(int) // 2
    assert [review.tokens for review in rows.reviews] == [min(count + 2, 24) for count in words]


def test_a_teacher_that_fails_on_every_text_is_reported(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its weights may be broken: no student can be trained."""
    import numpy as np

    from training.teachers import asking
    from training.teachers.teacher import Answers

    def nothing(_teacher: Any, texts: Sequence[str], *_: Any) -> Answers:
        return Answers(np.full((len(texts), 2), np.nan, dtype=np.float32))

    monkeypatch.setattr(asking, "answers_of", nothing)
    command = arguments(workplace, "failed", **{"max-overlap": "0.06", "hidden-weight": "0"})
    assert "a teacher failed on every text" in refusal(capsys, command)


def test_texts_without_labels_do_not_nearly_repeat_rows_that_are_held_out(tmp_path: Path) -> None:
    """Otherwise the student would have memorised rows that calibrate or validate it."""
    from training.data.reviews import read_reviews
    from training.data.unlabeled import unlike_held_out

    held = read_reviews(write_reviews(tmp_path / "held.xlsx", 40, seed=5))
    texts = read_reviews(write_reviews(tmp_path / "texts.xlsx", 40, seed=6))
    near = [f"{text} indeed" for text in held.texts if len(text.split()) > 20]
    assert len(near) > 10
    both = replace(texts, texts=(*near, *texts.texts), labels=("",) * (len(near) + 40), places=())
    said: list[str] = []
    assert unlike_held_out(both, (None, held), 0.8, said.append).texts == texts.texts
    assert said == [f"{len(near)} texts without labels are left out, which nearly repeat rows that are held out"]
    assert unlike_held_out(texts, (None, held), 0.8, said.append).texts == texts.texts
    assert len(said) == 1


@pytest.mark.parametrize("beside", [False, True])
def test_nbsvm_teaches_alone_or_beside_a_bundle(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, *, beside: bool
) -> None:
    """The student gets its answers, or their mean with those of the bundle; the record names both."""
    import numpy as np

    from training import distil
    from training.teachers import asking
    from training.teachers.teacher import Answers

    def nothing(_teacher: Any, texts: Sequence[str], *_: Any) -> Answers:
        return Answers(np.zeros((len(texts), 2), dtype=np.float32))

    def answers(train: Any, unlabeled: Sequence[str], _seed: int) -> Any:
        assert (len(train), len(unlabeled)) == (TRAINED, EXTRA)
        return np.array([[0, row] for row in range(TRAINED + EXTRA)], dtype=np.float32)

    monkeypatch.setattr(asking, "answers_of", nothing)
    monkeypatch.setattr(distil, "nbsvm_logits", answers)
    options = {"teacher": "nbsvm", "base": str(workplace / "teacher"), "hidden-weight": "0", "max-overlap": "0.06"}
    command = arguments(workplace, "linear", **options)
    more = ["--teacher", str(workplace / "teacher")] if beside else []
    plan, _, logits = lesson_of([*command, *more], monkeypatch)
    assert [teacher.name for teacher in plan.teachers] == (["teacher", "nbsvm"] if beside else ["nbsvm"])
    share = 0.5 if beside else 1.0
    assert (logits[:, 1] - logits[:, 0]).tolist() == [share * row for row in range(TRAINED + EXTRA)]


def test_ctrl_c_while_a_teacher_is_asked_says_how_to_resume(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its answers are kept; one line, the exit code of a signal, no stack trace."""
    from training.teachers import asking

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(asking, "answers_of", interrupted)
    assert main(arguments(workplace, "early", **{"max-overlap": "0.06"})) == 130
    assert capsys.readouterr().err.endswith("stopped while teachers are asked; the same command resumes there\n")


def test_a_run_that_cannot_resume_is_refused_before_a_teacher_is_asked(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint of another run, or more processes than reviews in a step, is reported before hours of asking."""
    import torch

    from training import distil
    from training.encoders.parallel import Ranks
    from training.loop.state import RunState
    from training.teachers import asking

    def asked(*_: Any) -> None:
        raise AssertionError("a teacher is asked")

    monkeypatch.setattr(asking, "answers_of", asked)
    monkeypatch.setattr(distil, "nbsvm_logits", asked)
    command = [*arguments(workplace, "other", **{"max-overlap": "0.06"}), "--teacher", "nbsvm"]
    with monkeypatch.context() as patched:
        patched.setattr(distil, "joined", lambda _: nullcontext(Ranks(size=17)))
        assert "17 processes cannot share batches of 16" in refusal(capsys, command)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(workplace / "other.run", {"rows": 1}, RunState(step=1), model, optimizer)
    assert "other.run is of a run with another" in refusal(capsys, command)


def test_a_run_does_not_resume_with_another_nbsvm(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version whose nbsvm has another constant refuses the checkpoint: the student would have two teachers."""
    import torch

    from training.baselines.linear import NbSvm
    from training.loop.state import RunState

    options = {"teacher": "nbsvm", "base": str(workplace / "teacher"), "hidden-weight": "0", "max-overlap": "0.06"}
    command = arguments(workplace, "constant", **options)
    plan, _, _ = lesson_of(command, monkeypatch)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(workplace / "constant.run", plan.saving.identity, RunState(step=1), model, optimizer)
    monkeypatch.setattr(NbSvm, "BETA", NbSvm.BETA / 2)
    assert "constant.run is of a run with another teachers" in refusal(capsys, command)


def test_wrong_use_is_reported_in_one_line_before_a_teacher_is_asked(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Impossible teachers, students, texts, bases and settings."""
    from tests.tiny_bundle import write_tiny_bundle

    write_reviews(tmp_path / "other.xlsx", 40, seed=3, labels=("no", "yes"))
    write_table(tmp_path / "prices.xlsx", [("price", "date"), (1, 2)])
    write_table(tmp_path / "empty.xlsx", [("text", "date"), (None, 2)])
    (tmp_path / "same.txt").write_text("\n".join(texts_of(workplace / "train.xlsx")))
    write_tiny_bundle(tmp_path / "int8")
    base = make_base(tmp_path / "base")
    tokenizer = json.loads((base / "tokenizer.json").read_bytes())
    tokenizer["normalizer"]["lowercase"] = False
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    others = {"train": str(tmp_path / "other.xlsx"), "test": str(tmp_path / "other.xlsx"), "drop-leaked": ""}
    for changed, words in (
        ({"width": "64"}, "a student of width 64 is wider than its base, which has 32"),
        ({"heads": "3"}, "a width of 16 is not a multiple of 3 heads"),
        ({"teacher": "nbsvm", "hidden-weight": "0"}, "nbsvm has no layers that a student could start from"),
        ({"teacher": "techer"}, "the teacher techer does not exist"),
        ({"name": "a b"}, "name: String should match pattern"),
        ({"seed": str(2**32)}, "seed: Input should be less than 4294967296"),
        ({"teacher": "nbsvm"}, "nbsvm has no hidden states: add another --teacher"),
        ({"unlabeled": str(tmp_path / "none.txt")}, "none.txt does not exist"),
        (
            {"unlabeled": str(tmp_path / "prices.xlsx")},
            "has the columns 'price', 'date': name the column of texts with --unlabeled-column",
        ),
        ({"unlabeled": str(tmp_path / "empty.xlsx")}, "has no usable text"),
        ({"unlabeled": str(tmp_path / "same.txt")}, "is left to learn from"),
        ({"unlabeled": str(tmp_path)}, "is a directory: give a file named .xlsx, "),
        ({"unlabeled-column": "body"}, "lacks the column 'body'; it has 'id', 'text'"),
        ({"teacher": str(tmp_path / "int8")}, "has no torch weights that a student could start from"),
        ({"teacher": str(tmp_path / "int8"), "base": str(workplace / "teacher")}, "so no hidden states"),
        ({"soft-weight": "0", "hidden-weight": "0"}, "nothing is left to learn from a teacher"),
        ({"teacher": "nbsvm", **ATTENTIVE}, "nbsvm has no attention: add another --teacher"),
        ({"base": str(tmp_path / "base"), **ATTENTIVE}, "has another tokenizer than base"),
        ({"truncation": "windows", **ATTENTIVE}, "attention_weight does not work with windows"),
        ({"max-length": "512"}, "reads at most 64 tokens"),
        (others | {"unlabeled": "", "test": str(workplace / "test.xlsx")}, "has labels that"),
    ):
        assert words in refusal(capsys, arguments(workplace, "refused", **{"max-overlap": "0.06"} | changed))
    assert not (workplace / "refused").exists()


def test_a_bundle_after_nbsvm_is_the_base_of_the_student(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base is the first teacher that has layers, whatever the order."""
    from training.teachers import sources

    def found(name: str) -> None:
        assert name == str(workplace / "teacher")
        raise TrainedError

    monkeypatch.setattr(sources, "find_base", found)
    command = arguments(workplace, "behind", teacher="nbsvm", **{"hidden-weight": "0"})
    finish([*command, "--teacher", str(workplace / "teacher")])


def test_a_student_with_other_tokens_texts_or_teachers_does_not_resume(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its embeddings would belong to other words; the serving length does not matter."""
    import pandas as pd

    table = pd.read_parquet(workplace / "unlabeled.parquet")
    table["other"] = [f"another {text}" for text in table["text"]]
    table.to_parquet(tmp_path / "unlabeled.parquet")
    options = {"unlabeled": str(tmp_path / "unlabeled.parquet"), "checkpoints": str(tmp_path / "run")}
    options |= {"vocabulary": "19", "hidden-weight": "0", "max-overlap": "0.06"}
    linear = {"teacher": "nbsvm", "base": str(workplace / "teacher")}
    identities = [
        lesson_of(arguments(workplace, "again", **options | more), monkeypatch)[0].identity()
        for more in ({}, {"max-length": "24"}, {"unlabeled-column": "other"}, {"vocabulary": "20"}, linear)
    ]
    assert identities[0] == identities[1]
    assert checkpoint.differences(identities[0], identities[2]) == ["unlabeled_sha256"]
    assert identities[0]["tokenizer_sha256"] != identities[3]["tokenizer_sha256"]
    assert checkpoint.differences(identities[0], identities[4]) == ["teachers"]


def test_a_teacher_of_other_labels_is_refused(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the labels of the teacher and those of the file."""
    files = {
        name: str(write_reviews(tmp_path / f"{name}.xlsx", 40, seed, labels=("no", "yes")))
        for seed, name in ((1, "train"), (2, "test"))
    }
    line = refusal(capsys, arguments(workplace, "refused", **files, unlabeled=""))
    assert "answers neg, pos, but the training file has no, yes" in line
