"""From two spreadsheets to a bundle that the worker serves, on an encoder of random weights that learns two words."""

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.model.bundle.loading import load_bundle
from consumer.model.bundle.manifest import Manifest
from tests.tiny_encoder import make_base, write_reviews
from tests.training_run import interrupt_after, kill_after, record_in, step_of, weights_of
from training.cli import main

# Exporting and quantising take their time on a busy machine, however small the model.
pytestmark = [pytest.mark.training, pytest.mark.timeout(300)]

SETTINGS = {
    "epochs": "5",
    "batch-size": "16",
    "learning-rate": "0.003",
    "train-max-length": "24",
    "max-length": "48",
    "calibration-texts": "12",
    "gate-rows": "30",
    "calibration-share": "0.35",
    "sure-precision": "0.9",
    "checkpoint-minutes": "0",
    "seed": "3",
}
TRAINED, HELD_OUT = 190, 102  # of 292 rows
STEPS = 60  # 5 epochs of 190 rows in batches of 16


def arguments(directory: Path, out: str, **changed: str) -> list[str]:
    """The command line of a fit in `directory`, with the settings above."""
    files = {name: str(directory / file) for name, file in (("train", "train.xlsx"), ("test", "test.xlsx"))}
    options = files | {"base": str(directory / "base"), "out": str(directory / out)} | SETTINGS | changed
    return ["fit", *(part for name, value in options.items() for part in (f"--{name}", value))]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a base model and two files of reviews; on one thread, which suits a model this small."""
    import torch

    directory = tmp_path_factory.mktemp("workplace")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    make_base(directory / "base")
    write_reviews(directory / "train.xlsx", TRAINED + HELD_OUT, seed=1)
    write_reviews(directory / "test.xlsx", 60, seed=2)
    yield directory
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def fitted(workplace: Path) -> Path:
    """The bundle of one whole fit, which takes its few test rows for enough to make a profile of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.packaging.profile.LEAST_ROWS", 60)
        patch.setattr("training.measure.profile.DRAWN", 500)
        assert main(arguments(workplace, "bundle")) == 0
    return workplace / "bundle"


def test_a_fit_ends_in_a_measured_bundle_that_the_worker_accepts(fitted: Path) -> None:
    """Every variant is there, the served one is measured on all test rows, and the worker's loader takes it."""
    manifest = load_bundle(fitted).manifest
    assert set(manifest.variants) == {"int8", "bf16", "fp32", "torch"}
    assert manifest.labels == ("neg", "pos")
    served = manifest.variants[manifest.served].accuracy
    reference = manifest.variants["fp32"].accuracy
    assert served is not None
    assert reference is not None
    assert (served.rows, served.file, served.max_length, reference.rows) == (60, "test.xlsx", 48, 30)
    assert served.accuracy > 0.9
    assert [(data.file, data.rows) for data in manifest.training_data] == [("train.xlsx", TRAINED), ("test.xlsx", 60)]


def test_a_fit_calibrates_on_rows_that_it_did_not_train_on(fitted: Path) -> None:
    """The held-out rows set temperature and threshold of the served variant, and the card says so."""
    manifest = load_bundle(fitted).manifest
    found = manifest.calibration
    assert found is not None
    assert (found.data.file, found.data.rows, found.variant) == ("train.xlsx", HELD_OUT, manifest.served)
    assert found.data.sha256 == manifest.training_data[0].sha256
    assert found.target_precision == 0.9
    assert f"Logits are divided by {found.temperature:.3f}" in (fitted / "MODEL_CARD.md").read_text()


def test_the_profile_of_a_fit_is_of_the_answers_that_the_worker_gives(fitted: Path) -> None:
    """To the test rows, calibrated, by the variant that is served."""
    from training.data.reviews import read_reviews
    from training.measure.evaluate import open_classifier, score_all
    from training.measure.profile import of_scored, profile_of

    bundle = load_bundle(fitted)
    assert bundle.profile is not None
    assert (bundle.profile.data.file, bundle.profile.rows) == ("test.xlsx", 60)
    texts = read_reviews(fitted.parent / "test.xlsx").texts
    with open_classifier(fitted, None) as classifier:
        scored = score_all(classifier, texts, "asking")
    expected = profile_of(of_scored(texts, scored), bundle.manifest.labels, bundle.profile.data)
    for feature, histogram in expected.features.items():
        found = bundle.profile.features[feature]
        assert (found.names, found.edges) == (histogram.names, histogram.edges)
        moved = sum(abs(a - b) for a, b in zip(found.counts, histogram.counts, strict=True)) / 2
        assert moved <= 2  # a score at an edge: int8 depends on the batch


def test_a_bundle_holds_what_its_manifest_says_and_every_user_may_read_it(fitted: Path) -> None:
    """No file is left over or private to the user who trained it, and no tokenizer setting of the base remains."""
    manifest = load_bundle(fitted).manifest
    files = {path.relative_to(fitted).as_posix(): path for path in fitted.rglob("*") if path.is_file()}
    assert files.keys() == manifest.files.keys() | {"manifest.json"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in files.values())
    tokenizer = json.loads(files["tokenizer.json"].read_text())
    assert (tokenizer["padding"], tokenizer["truncation"]) == (None, None)
    assert f"{served_accuracy(manifest):.2%}" in files["MODEL_CARD.md"].read_text()


def test_the_card_has_the_header_that_model_hubs_read(fitted: Path) -> None:
    """Task, base, accuracy; the licence of the base is not known here, and the header says so."""
    from huggingface_hub import ModelCard

    header = ModelCard.load(fitted / "MODEL_CARD.md").data
    assert header.eval_results is not None
    assert header.eval_results[0].metric_value == round(served_accuracy(load_bundle(fitted).manifest), 4)
    told = header.to_dict()
    assert (told["license"], told["base_model"], told["metrics"]) == ("unknown", ["base"], ["accuracy"])


def test_the_record_of_a_run_says_how_its_bundle_was_made(fitted: Path) -> None:
    """Settings, sums, versions, curves and metrics: in the bundle and beside the checkpoints, without directories."""
    from training.data.reviews import file_sha256

    manifest = load_bundle(fitted).manifest
    record = record_in(fitted / "run.json")
    beside = record_in(fitted.with_name("bundle.run") / "record.json")
    assert beside == record.model_copy(update={"created": beside.created})
    assert (record.settings.seed, record.settings.epochs, record.packaging.gate_rows) == (3, 5, 30)
    assert {name: (part.file, part.rows) for name, part in record.data.items()} == {
        "train": ("train.xlsx", 190),
        "calibration": ("train.xlsx", 102),
        "test": ("test.xlsx", 60),
    }
    assert record.data_options == {
        "columns": {"text": "Reviews", "label": "Sentiment"},
        "near": 0.8,
        "max_overlap": 0.02,
        "drop_leaked": False,
        "table": {"sheet": None, "header_row": None, "separator": None, "encoding": None, "labels": {}},
        "test_share": None,
    }
    assert record.data["train"].sha256 == file_sha256(fitted.parent / "train.xlsx")
    assert record.base.sha256 == file_sha256(fitted.parent / "base" / "model.safetensors")
    assert {"python", "torch", "transformers", "openvino", "review-consumer"} <= record.versions.keys()
    assert record.parameters == record.trained_parameters == manifest.parameters
    assert [epoch.step for epoch in record.epochs] == [12, 24, 36, 48, 60]
    assert record.epochs[0].train_loss > record.epochs[-1].train_loss
    assert record.packaged_epoch == 5
    assert record.metrics[manifest.served]["accuracy"] == served_accuracy(manifest)
    assert str(fitted.parent) not in (fitted / "run.json").read_text()


def test_every_log_loss_of_the_record_is_that_of_the_calibrated_answers(
    workplace: Path, fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the classifier of the bundle gives them: figures of calibrated and other answers cannot be compared."""
    from consumer.model.inference.scaling import Scaling
    from training.data.reviews import drawn, read_reviews
    from training.measure import calibrate
    from training.measure.evaluate import classify_all, evaluate, open_classifier

    # Given the fitted model with another scaling: it makes no mistake, so none was fitted
    shutil.copytree(f"{fitted}.run", workplace / "warm.run")
    monkeypatch.setattr(calibrate, "fit_scaling", lambda *_: Scaling(2, 0.1))
    assert main(arguments(workplace, "warm")) == 0
    # Then each figure is what the worker's answers give, on the gate rows for fp32
    record, test = record_in(workplace / "warm" / "run.json"), read_reviews(workplace / "test.xlsx")
    for variant, rows in (("fp32", drawn(60, 30, record.settings.seed)), ("int8", range(60))):
        reviews = test.only(rows)
        with open_classifier(workplace / "warm", variant) as classifier:
            found = evaluate(classify_all(classifier, reviews.texts, "again"), reviews.labels, record.labels)
        assert record.metrics[variant]["log_loss"] == pytest.approx(found.log_loss, rel=1e-3)


def test_the_card_states_the_trained_epochs_and_the_packaged_one(fitted: Path) -> None:
    """A run that ended early did not train the epochs that were asked for."""
    from training.measure.evaluate import evaluate
    from training.packaging.card import model_card

    record = record_in(fitted / "run.json")
    assert "Training: 5 epochs, batches of 16," in (fitted / "MODEL_CARD.md").read_text()
    settings = record.settings.model_copy(update={"epochs": 9, "select": "f1", "freeze": 1})
    early = record.model_copy(update={"settings": settings, "epochs": record.epochs[:4], "packaged_epoch": 2})
    card = model_card(load_bundle(fitted).manifest, evaluate([{"neg": 1, "pos": 0}], ["neg"], ("neg", "pos")), early)
    assert "Training: 4 epochs; the one that ended at 2 is packaged, the best by f1, batches of 16," in card
    assert "seed 3, the lowest 1 layers and the embeddings frozen." in card


def served_accuracy(manifest: Manifest) -> float:
    """Measured share of right labels of the served variant."""
    accuracy = manifest.variants[manifest.served].accuracy
    assert accuracy is not None
    return accuracy.accuracy


def test_golden_texts_pin_both_labels(fitted: Path) -> None:
    """A bundle with swapped labels cannot answer its golden texts, whatever its model knows."""
    from consumer.model.bundle.manifest import Golden

    golden = Golden.model_validate_json((fitted / "golden.json").read_bytes())
    answers = [text.probabilities["fp32"] for text in golden.texts]
    # Swapped, such an answer would be off by more than 0.2: four times what int8 is allowed.
    assert max(answer["neg"] for answer in answers) > 0.6
    assert max(answer["pos"] for answer in answers) > 0.6
    assert golden.tolerance.keys() == load_bundle(fitted).manifest.variants.keys()


def test_evaluate_measures_what_the_manifest_claims(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The accuracy of the file and of the manifest agree; --json prints one object and nothing else."""
    file = str(fitted.parent / "test.xlsx")
    assert main(["evaluate", "--bundle", str(fitted), "--data", file, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] == served_accuracy(load_bundle(fitted).manifest)
    assert result["rows"] == 60
    assert sum(sum(row.values()) for row in result["confusion"].values()) == 60
    assert result["interval"][0] < result["accuracy"] <= result["interval"][1] + 1e-9
    # And for people, on some of the rows of another variant
    assert main(["evaluate", "--bundle", str(fitted), "--data", file, "--variant", "torch", "--limit", "10"]) == 0
    assert "on 10 reviews" in capsys.readouterr().out


def test_a_killed_fit_resumes_to_the_same_weights(
    workplace: Path, fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL in the middle of training, the same command again: the weights are those of the run without a kill."""
    # Given a fit that is killed between two steps
    command = arguments(workplace, "small", keep="int8")
    run = workplace / "small.run"
    killed_at = kill_after(command, run)
    assert 0 < killed_at < STEPS
    # When the command is given again
    assert main(command) == 0
    # Then it resumed, and ended where the other run did
    assert f"resumes at step {killed_at} of {STEPS}" in capsys.readouterr().err
    assert weights_of(run) == weights_of(fitted.with_name("bundle.run"))
    # And only the variants asked for are kept, with the accuracy of the others
    manifest = load_bundle(workplace / "small").manifest
    assert manifest.served in manifest.variants
    assert "fp32" not in manifest.variants
    assert manifest.measured_only["fp32"].rows == 30
    assert not (workplace / "small" / "model.safetensors").exists()


def test_ctrl_c_saves_and_says_how_to_resume(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGINT ends the run at the end of a step, with a checkpoint and without a stack trace."""
    interrupt_after(3 * 16, monkeypatch)
    assert main(arguments(workplace, "stopped")) == 130
    assert f"stopped at step 3 of {STEPS}; the same command resumes there" in capsys.readouterr().err
    assert step_of(workplace / "stopped.run") == 3
    assert not (workplace / "stopped").exists()
    # And a checkpoint is not overwritten by a run with other settings
    monkeypatch.undo()
    assert main(arguments(workplace, "stopped", seed="4")) == 2
    assert "of a run with another seed" in capsys.readouterr().err
    assert step_of(workplace / "stopped.run") == 3
