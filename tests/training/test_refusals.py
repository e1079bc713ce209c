"""What training refuses: one line that says what to do, and a documented exit code."""

import errno
import importlib.util
import math
import os
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import BundleError, GaveUp, ReviewsError, UsageError
from tests.tiny_bundle import seal, write_tiny_bundle
from tests.tiny_encoder import NEUTRAL, make_base, write_reviews, write_table
from training.cli import main
from training.data.reviews import file_sha256

pytestmark = pytest.mark.training


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """`--train` and `--test` with good files."""
    train, test = write_reviews(tmp_path / "train.xlsx", 40, seed=1), write_reviews(tmp_path / "test.xlsx", 40, seed=2)
    return ["--train", str(train), "--test", str(test)]


def refusal(capsys: pytest.CaptureFixture[str], command: Sequence[str], code: int = 2) -> str:
    """The one line that `command` ends with; fails unless its exit code is `code`."""
    assert main(command) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("review-training: ")
    return last


def test_without_the_training_extra_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """An environment made for the worker alone gets a hint instead of an ImportError."""
    find = importlib.util.find_spec

    def without_torch(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "torch" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_torch)
    assert "make env-training" in refusal(capsys, ["fit", *files, "--out", "bundle"])


def test_an_out_that_is_no_bundle_is_not_replaced(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped --out deletes no file."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    assert "is not a bundle" in refusal(capsys, ["fit", *files, "--out", str(tmp_path / "home")])
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_an_out_that_no_bundle_can_take_is_refused_before_anything_is_read(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A link, a place below a file, and a name that no model may have: not behind a night of training."""
    write_tiny_bundle(tmp_path / "v1")
    (tmp_path / "current").symlink_to(tmp_path / "v1")
    (tmp_path / "file").write_text("")
    for out, words in (
        ("current", "current is a link: name the directory that it points to"),
        ("file/bundle", "cannot be written (File exists)"),
        ("my model", "'my model' cannot be the name of a model (1 to 64 of a-z A-Z 0-9 . _ -): give one with --name"),
    ):
        assert words in refusal(capsys, ["fit", *files, "--out", str(tmp_path / out)])
    assert "train.xlsx" not in capsys.readouterr().err
    assert (tmp_path / "v1" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["fit"], "--checkpoints"),
        (["distil", "--teacher", "none"], "--checkpoints"),
        (["distil", "--teacher", "none"], "--teacher-cache"),
    ],
)
def test_a_directory_of_the_run_that_cannot_be_written_is_refused_before_anything_is_read(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str], command: list[str], option: str
) -> None:
    """Below a file, or of a name that is too long: not behind a night of training; and nothing is left behind."""
    (tmp_path / "file").write_text("")
    there = sorted(tmp_path.iterdir())
    for name, reason in (("file/run", "Not a directory"), ("long" * 100, "File name too long")):
        path = tmp_path / name
        line = refusal(capsys, [*command, *files, "--out", str(tmp_path / "bundle"), option, str(path)])
        assert line == f"review-training: {option} {path} cannot be written ({reason})"
    assert sorted(tmp_path.iterdir()) == there


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["fit"], "--checkpoints"),
        (["distil", "--teacher", "nbsvm"], "--checkpoints"),
        (["distil", "--teacher", "nbsvm"], "--teacher-cache"),
    ],
)
def test_a_place_in_the_bundle_is_refused_before_anything_is_read(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str], command: list[str], option: str
) -> None:
    """Else the state of the run would keep the bundle from its place, or be deleted with the older one."""
    # Given ways to name a place in a bundle, which is not there yet or is
    out = tmp_path / "out"
    (tmp_path / "link").symlink_to(out)
    relative = os.path.relpath(out / "run")
    for there in (False, True):
        if there:
            write_tiny_bundle(out)
        for place in (str(out), relative, str(tmp_path / "link" / "run"), f"{tmp_path}/other/../out"):
            # When the run shall keep something there, then that is refused
            line = refusal(capsys, [*command, *files, "--out", str(out), option, place])
            assert line == (
                f"review-training: {option} {place} is in --out {out}, which is replaced as a whole: name another "
                "place for one of them"
            )
        assert out.exists() == there


def test_what_is_read_is_not_replaced_by_what_is_made_of_it(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A base, a teacher, a bundle to compare with or a file in the place of the new model would be lost."""
    # Given a bundle with files and another bundle in it
    out = write_tiny_bundle(tmp_path / "out")
    write_tiny_bundle(out / "inner")
    data = str(write_reviews(out / "data.xlsx", 40, seed=3))
    table = tmp_path / "table"
    base, bundle = make_base(table / "models" / "distilbert"), write_tiny_bundle(table / "models" / "nbsvm")
    compared = ["compare", *files, "--out", str(table), "--max-length", "24", "--train-max-length", "24"]
    for command, words in (
        (["fit", *files, "--out", str(out), "--base", str(out)], f"--base {out} is in --out"),
        (["fit", *files, "--out", str(out), "--test", data], f"--test {data} is in --out"),
        (["distil", *files, "--out", str(out), "--teacher", str(out)], f"--teacher {out} is in --out"),
        (["calibrate", "--bundle", str(out / "inner"), "--data", data, "--out", str(out)], "inner is in --out"),
        (["calibrate", "--bundle", str(out), "--data", data, "--out", str(out)], f"--data {data} is in --out"),
        ([*compared, "--base-distilbert", str(base)], f"--base-distilbert {base} is in the model of --out"),
        ([*compared, "--models", "nbsvm", "--bundle", str(bundle)], f"--bundle {bundle} is in the model of --out"),
    ):
        # When it would be replaced, then that is refused
        assert words in refusal(capsys, command)
    assert (out / "inner" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "epochs: Input should be greater than 0"),
        (["--epochs", "inf"], "epochs: Input should be a finite number"),
        (["--batch-size", "many"], "batch_size: Input should be a valid integer"),
        (["--max-length", "9000"], "max_length: Input should be less than or equal to 8192"),
        (["--train-max-length", "600"], "train_max_length is larger than max_length"),
        (["--keep", "int8,int4"], "keep.1: Input should be 'int8', 'bf16'"),
        (["--name", "my model"], "name: String should match pattern"),
        (["--calibration-share", "0.9"], "calibration_share: Input should be less than or equal to 0.5"),
        (["--sure-precision", "98"], "sure_precision: Input should be less than 1"),
    ],
)
def test_settings_that_cannot_work_are_named(
    files: list[str], capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """Each wrong value is a usage error that names the setting, before any file is read."""
    assert message in refusal(capsys, ["fit", *files, "--out", "bundle", *options])


def test_a_base_without_safetensors_is_refused(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights in a pickle file are not read, not even from a directory of the user."""
    base = make_base(tmp_path / "base")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    command = ["fit", *files, "--out", str(tmp_path / "bundle"), "--base", str(base)]
    assert "lacks model.safetensors" in refusal(capsys, command)


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 267832558\n"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", LFS_POINTER),
        ("config.json", "{}"),
        ("config.json", "{"),
        ("config.json", '{"model_type": "none-such"}'),
        ("tokenizer.json", LFS_POINTER),
        ("tokenizer.json", "\udcff\udcfe"),
    ],
)
def test_a_base_whose_files_are_damaged_is_refused(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str], file: str, content: str
) -> None:
    """A checkout without large files, a download that broke off, a model of an unknown kind: one line."""
    base = make_base(tmp_path / "base")
    (base / file).write_bytes(content.encode(errors="surrogateescape"))
    command = ["fit", *files, "--out", str(tmp_path / "bundle"), "--base", str(base), "--max-length", "48"]
    assert "cannot be read" in refusal(capsys, [*command, "--train-max-length", "24"])


def test_a_base_that_neither_exists_nor_is_on_the_hub_is_refused(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without network, or with a wrong name, the message says which directory would do."""
    import huggingface_hub

    def unreachable(*_: Any, **__: Any) -> str:
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    command = ["fit", *files, "--out", str(tmp_path / "bundle"), "--base", "no-such-model"]
    assert "give --base a directory with config.json" in refusal(capsys, command)


def test_more_tokens_than_the_base_has_positions_are_refused(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A length that the encoder cannot read fails before hours of training; a range test trains as well."""
    base = make_base(tmp_path / "base")
    command = ["fit", *files, "--out", str(tmp_path / "bundle"), "--base", str(base), "--max-length", "512"]
    assert "reads at most 64 tokens: set --max-length" in refusal(capsys, command)
    command = ["lr-find", *files[:2], "--base", str(base)]
    assert "reads at most 64 tokens: set --train-max-length" in refusal(capsys, command)


def test_a_model_that_counts_positions_from_padding_reads_fewer_tokens() -> None:
    """As many as transformers itself can give a position to."""
    import torch
    from transformers import AutoModel, RobertaConfig

    from training.encoders.base import check_length

    config = RobertaConfig(
        vocab_size=9,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=4,
        max_position_embeddings=66,
        pad_token_id=1,
    )
    model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    check_length(config, 64, "--max-length")
    assert model(torch.full((1, 64), 5)).last_hidden_state.shape == (1, 64, 4)
    with pytest.raises(UsageError, match="reads at most 64 tokens"):
        check_length(config, 65, "--max-length")
    with pytest.raises(RuntimeError, match="out of bounds"):
        model(torch.full((1, 65), 5))


def test_a_model_that_was_trained_on_the_test_file_is_not_measured_on_it(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the manifest of a base or a teacher; one that was trained on the same file is reported."""
    from training.data.prepare import DEFAULTS, check_unseen, prepare

    train, test = (
        {"file": path.name, "sha256": file_sha256(path), "rows": 40} for path in (Path(files[1]), Path(files[3]))
    )
    data, said = prepare(Path(files[1]), Path(files[3]), DEFAULTS, lambda _: None), list[str]()
    # Given a base that is no bundle, and bundles, whose manifests list last the file that only measured them
    assert check_unseen([make_base(tmp_path / "base")], data, said.append) == ()
    assert said == []
    same = seal(write_tiny_bundle(tmp_path / "same"), training_data=[train, test])
    [told] = check_unseen([same, same], data, said.append)
    assert told.model_dump() == train
    [line] = said
    assert "tiny was trained on train.xlsx, too, maybe on rows that are held out" in line
    # When one was trained on what measures its successor, then that is refused, as base and as teacher
    lengths = ["--max-length", "24", "--train-max-length", "24"]
    for parts in ([test], [test, train]):
        bundle = seal(write_tiny_bundle(tmp_path / f"trained{len(parts)}"), training_data=parts)
        make_base(bundle)
        for command in (
            ["fit", "--base", str(bundle)],
            ["distil", "--teacher", str(bundle), "--student", "half"],
            ["compare", "--models", "bert", "--base-bert", str(bundle), *lengths],
        ):
            line = refusal(capsys, [*command, *files, "--out", str(tmp_path / "out")])
            assert "tiny was trained on test.xlsx: an accuracy measured on it would be meaningless" in line


def test_a_run_is_not_resumed_with_other_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file read otherwise is other data: its checkpoint is not taken for this run's."""
    from consumer.tables.names import Columns
    from training import plan
    from training.data.prepare import DataOptions
    from training.fine_tuning import fit
    from training.settings import FitSettings, PackageSettings

    draw = random.Random(1)
    rows = [(" ".join(draw.choices(NEUTRAL, k=30)), " ".join(draw.choices(NEUTRAL, k=30)), i % 2) for i in range(60)]
    train, test = (
        write_table(tmp_path / name, [("Reviews", "plot", "Sentiment"), *part])
        for name, part in (("train.xlsx", rows[:40]), ("test.xlsx", rows[40:]))
    )

    class Trained(Exception):  # noqa: N818 - what a bundle would be made of is not looked at here
        pass

    def stop(*_: object, **__: object) -> None:
        raise Trained

    monkeypatch.setattr(plan, "package", stop)
    base, settings = str(make_base(tmp_path / "base")), FitSettings(epochs=0.5, train_max_length=8, max_length=32)
    job = plan.Job(tmp_path / "bundle", PackageSettings())
    with pytest.raises(Trained):
        fit(train, test, base, settings, job)
    with pytest.raises(UsageError, match="is of a run with another columns"):
        fit(train, test, base, settings, replace(job, data_options=DataOptions(columns=Columns(text="plot"))))


def test_a_missing_bundle_is_refused_as_the_worker_refuses_it(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, as documented for bundles."""
    refusal(capsys, ["evaluate", "--bundle", str(tmp_path / "none"), "--data", files[1]], code=3)


@pytest.mark.parametrize(("int8_right", "served"), [(970, "int8"), (967, "int8"), (966, "bf16")])
def test_int8_is_served_only_if_it_loses_little(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, int8_right: int, served: str
) -> None:
    """With 0.3 points allowed, 970 right of 1,000 in fp32: 967 in int8 pass, 966 do not."""
    from training.data.reviews import Reviews
    from training.measure import gate
    from training.measure.evaluate import Answer, evaluate
    from training.settings import PackageSettings

    test = Reviews(tmp_path / "test.xlsx", "0" * 64, tuple(map(str, range(1000))), ("pos",) * 1000)
    right = {"fp32": 970, "int8": int8_right, "bf16": 970}

    def measured(_bundle: Path, variant: str, reviews: Reviews, _kept: Path) -> gate.Measured:
        answers: list[Answer] = [
            {"neg": 0.1, "pos": 0.9} if int(text) < right[variant] else {"neg": 0.9, "pos": 0.1}
            for text in reviews.texts
        ]
        return gate.Measured(answers, reviews.labels)

    monkeypatch.setattr(gate, "_measure", measured)
    settings, labels = PackageSettings(gate_rows=1000), ("neg", "pos")
    chosen, found = gate.choose_served(tmp_path, test, labels, settings, seed=1, kept=tmp_path)
    assert chosen == served
    on_gate = "int8, on the rows of fp32"
    assert found.keys() == {"fp32", "int8", on_gate, served}
    rights = {name: evaluate(each.answers, each.truth, labels).confusion["pos"]["pos"] for name, each in found.items()}
    assert rights == {name: right[name] for name in rights if name != on_gate} | {on_gate: int8_right}


@pytest.mark.parametrize(("right", "warned"), [(538, True), (539, False)])
def test_the_gate_says_that_a_model_is_guessing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], right: int, warned: bool
) -> None:
    """No points are lost between two useless models. Of 1,000 rows, 508 of one label, 539 right are more than chance.

    Wilson's interval of 0.539 begins at 0.5080, that of 0.538 at 0.5070, which always answering one label reaches.
    """
    from training.data.reviews import Reviews
    from training.measure import gate
    from training.measure.evaluate import Answer
    from training.settings import PackageSettings

    labels = ("pos",) * 508 + ("neg",) * 492
    test = Reviews(tmp_path / "test.xlsx", "0" * 64, tuple(map(str, range(1000))), labels)

    def measured(_bundle: Path, _variant: str, reviews: Reviews, _kept: Path) -> gate.Measured:
        answers: list[Answer] = []
        for text, label in zip(reviews.texts, reviews.labels, strict=True):
            is_pos = (label == "pos") == (int(text) < right)
            answers.append({"neg": 0.4, "pos": 0.6} if is_pos else {"neg": 0.6, "pos": 0.4})
        return gate.Measured(answers, reviews.labels)

    monkeypatch.setattr(gate, "_measure", measured)
    served, _ = gate.choose_served(
        tmp_path, test, ("neg", "pos"), PackageSettings(gate_rows=1000), seed=1, kept=tmp_path
    )
    said = capsys.readouterr().err
    assert served == "int8"
    assert "0.00 points lost" in said
    assert ("WARNING: not measurably better than always answering pos (50.80%)" in said) == warned


def test_an_evaluation_counts_failures_as_wrong() -> None:
    """A text that the model fails on counts: it lowers the accuracy and is reported."""
    from training.measure.evaluate import evaluate

    result = evaluate([{"neg": 0.8, "pos": 0.2}, None, {"neg": 0.4, "pos": 0.6}], ("neg", "neg", "neg"), ("neg", "pos"))
    assert (result.accuracy, result.failed) == (1 / 3, 1)
    assert result.confusion == {"neg": {"neg": 1, "pos": 1}, "pos": {"neg": 0, "pos": 0}}
    assert result.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.4)) / 2)


def test_the_interval_is_wilsons() -> None:
    """Checked against the published example of 8 of 10."""
    from training.measure.evaluate import wilson_interval

    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(10, 10)[1] == 1


def test_ctrl_c_without_more_to_say_says_that_it_stopped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and the exit code of a signal, wherever the signal comes."""
    from training.commands import inspect

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inspect, "run", interrupted)
    assert main(["inspect", "any.xlsx"]) == 130
    assert capsys.readouterr().err == "review-training: stopped\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_wherever_it_is_met(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and the exit code of failures that a retry fixes; other file errors are not caught."""
    from training.commands import inspect

    def failing(_: object) -> None:
        raise OSError(number, os.strerror(number), "some file")

    monkeypatch.setattr(inspect, "run", failing)
    assert "the disk is full: free some space and run it again" in refusal(capsys, ["inspect", "any.xlsx"], code=5)
    number = errno.EIO
    with pytest.raises(OSError, match="some file"):
        main(["inspect", "any.xlsx"])


def test_files_of_a_bundle_that_do_not_fit_on_the_disk_are_one_line(tmp_path: Path) -> None:
    """As the libraries that write them say it, here under a limit to the size of files: one exception of ours."""
    import resource

    from training.encoders.base import find_base, load_classifier
    from training.packaging.export import export_openvino, export_tokenizer, export_torch

    base = find_base(str(make_base(tmp_path / "base")))
    model = load_classifier(base, ("neg", "pos"), seed=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for export, what, file in (
        (export_tokenizer, base.tokenizer_json, "tokenizer.json"),
        (export_torch, model, "model.safetensors"),
        (export_openvino, model, "fp32.xml"),
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        try:
            with pytest.raises(GaveUp, match=f"{file} cannot be written .*: free some space"):
                export(what, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("error", [UsageError, BundleError, GaveUp])
def test_every_exit_code_is_in_the_help(
    error: type[ReviewsError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that reads the code finds what it means; predict and evaluate give up where the engine breaks."""
    from training.commands import inspect

    def failing(_: object) -> None:
        raise error("so it is")

    monkeypatch.setattr(inspect, "run", failing)
    refusal(capsys, ["inspect", "any.xlsx"], code=error.exit_code)
    with pytest.raises(SystemExit):
        main(["--help"])
    codes = " ".join(capsys.readouterr().out.split()).partition("exit codes: ")[2]
    assert [int(code) for code in re.findall(r"(?:^|; )(\d+) ", codes)] == [0, 2, 3, 5, 130, 141]
    assert f"; {error.exit_code} " in codes


def test_a_name_that_no_record_can_hold_is_refused_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a file, a directory or a model, in the bytes of another encoding: the night would end in a traceback."""
    # Given good files, a base and a bundle under such names
    name = os.fsdecode(b"tr\xfc")
    made = (write_reviews(tmp_path / f"{part}.xlsx", 40, seed) for seed, part in enumerate((name, "train", "test")))
    bad, train, test = map(str, made)
    made_bundle = make_base(write_tiny_bundle(tmp_path / "bundle"))
    bundle = str(made_bundle.rename(tmp_path / name))
    files, out = ["--train", train, "--test", test], ["--out", str(tmp_path / "out")]
    folders = tmp_path / "folders"
    for label in ("neg", "pos"):
        (folders / label).mkdir(parents=True)
        for number in range(9):
            (folders / label / f"{label}{number}.txt").write_text("a film")
    (folders / "pos" / f"{name}.txt").write_text("a film")
    for command in (
        ["fit", "--train", bad, *files[2:], *out],
        ["fit", "--train", str(folders), *files[2:], *out],
        ["fit", *files, *out, "--base", bundle],
        ["fit", *files, "--out", f"{bundle}/out"],
        ["fit", *files, *out, "--checkpoints", f"{bundle}/run"],
        ["lr-find", *files[:2], "--base", f"{bundle}/base"],
        ["distil", *files, *out, "--teacher", bundle],
        ["compare", *files, *out, "--models", "nbsvm", "--bundle", bundle],
        ["predict", "--bundle", bundle, bad],
        ["explain", "--bundle", bundle, "great", "--html", str(tmp_path / "page.html")],
    ):
        # When a command would write them down, then it names them first
        assert re.search(r"the name '.*tr\\udcfc.*' is not UTF-8: rename it", refusal(capsys, command)), command


def test_a_column_whose_name_is_not_utf8_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The record names the columns; rows of ASCII alone do not tell that the file is of another encoding."""
    # Given a file of two columns, one with a name in Latin-1
    file = tmp_path / "r.csv"
    rows = "".join(f"film {row},{'neg' if row % 2 else 'pos'}\n" for row in range(40))
    file.write_bytes("text,Gefühl\n".encode("latin-1") + rows.encode())
    # When it is read, then the message says what to do
    line = refusal(capsys, ["inspect", str(file)])
    assert line == f"review-training: the name 'Gef\\udcfchl' is not UTF-8: save {file} as UTF-8"
