"""`review-training compare`: the small models learn, everything is measured alike, and nothing is trained twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from consumer.errors import UsageError
from tests.tiny_encoder import make_base, write_reviews, write_table
from tests.training_run import interrupt_after
from training.baselines.linear import NbSvm, log_count_ratios, word_pairs
from training.baselines.models import LINEAR, NETWORKS, build, reviews_read
from training.baselines.recurrent import BiGru, StandardGru
from training.baselines.settings import BaselineSettings
from training.baselines.words import PAD, Vocabulary, padded, words_of
from training.cli import main
from training.comparison.report import as_markdown
from training.comparison.results import Comparison, Result, read_results

pytestmark = pytest.mark.training

SETTINGS = BaselineSettings(small_epochs=3, small_batch_size=16, small_learning_rate=0.01)
OPTIONS = ["--small-epochs", "3", "--small-batch-size", "16", "--small-learning-rate", "0.01"]
LINEAR_ONLY = ["--models", "nbsvm,logreg"]


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """One thread, for models this small are slower on two, and fewer buckets for word pairs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.baselines.bag.BUCKETS", 256)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`--train` and `--test` with reviews whose label is two or three words away."""
    directory = tmp_path_factory.mktemp("files")
    train = write_reviews(directory / "train.xlsx", 192, seed=1)
    return ["--train", str(train), "--test", str(write_reviews(directory / "test.xlsx", 60, seed=2))]


def refusal(capsys: pytest.CaptureFixture[str], command: list[str], code: int = 2) -> str:
    """The last line of a `compare` that is refused."""
    assert main(["compare", *command]) == code
    return capsys.readouterr().err.strip().splitlines()[-1]


def trained(name: str, labels: int = 2) -> Any:
    """The model `name` after it read texts whose n-th word tells label n."""
    model = build(name, labels, SETTINGS, seed=1, vectors=None)
    texts = [f"the film {word} was a story {number % 7}" for number in range(40) for word in CLEAR[:labels]]
    seen: list[int] = []
    model.fit(texts, [target for _ in range(40) for target in range(labels)], seen.append)
    assert seen == sorted(seen)
    assert seen
    return model


CLEAR = ("awful", "great", "middling")


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("name", [*LINEAR, *NETWORKS])
def test_every_small_model_learns_clear_words_of_two_or_three_labels(name: str, labels: int, tmp_path: Path) -> None:
    """Probabilities add up to 1, words never seen do no harm, and what is saved is as large as what was trained."""
    model = trained(name, labels)
    answers = model.probabilities([f"a story and {word}" for word in CLEAR[:labels]] + ["", "unheard 😀"])
    assert answers.argmax(axis=1)[:labels].tolist() == list(range(labels))
    assert answers.shape == (labels + 2, labels)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    model.save(tmp_path)
    written = {path.suffix: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(written) in ({".npz", ".json"}, {".safetensors", ".json"})
    assert max(written.values()) >= 4 * model.parameters * (name in NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_seed_gives_the_same_network(name: str) -> None:
    """A comparison can be repeated."""
    answers = [trained(name).probabilities(["the film was great"]) for _ in range(2)]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_answer_does_not_depend_on_the_texts_beside_it(name: str) -> None:
    """Padding is not read: a short text gets the same answer beside a long one."""
    model = trained(name)
    alone = model.probabilities(["the film was great"])
    beside = model.probabilities(["the film was great", "a story " * 150])
    np.testing.assert_allclose(beside[0], alone[0], atol=1e-6)


def test_gru_reads_what_torch_reads_in_packed_sequences() -> None:
    """The two directions of bigru and both layers of standard_gru, beside torch's own way to leave out padding."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    torch.manual_seed(7)
    words, rng = Vocabulary(tuple("abcdefghijkl")), np.random.default_rng(7)
    lengths = torch.tensor([5, 1, 17, 9])
    ids = torch.from_numpy(padded([rng.integers(1, len(words), length) for length in lengths.tolist()]))

    bigru, standard = BiGru(words, 2).eval(), StandardGru(words, 2).eval()
    both = torch.nn.GRU(bigru.DIMENSIONS, bigru.HIDDEN, batch_first=True, bidirectional=True)
    both.load_state_dict(
        bigru.forwards.state_dict() | {f"{name}_reverse": value for name, value in bigru.backwards.state_dict().items()}
    )
    with torch.inference_mode():
        packed = pack_padded_sequence(bigru.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        texts = [
            text[:length] for text, length in zip(pad_packed_sequence(both(packed)[0], True)[0], lengths, strict=True)
        ]
        pooled = torch.stack([torch.cat([text.mean(dim=0), text.amax(dim=0)]) for text in texts])
        torch.testing.assert_close(bigru(ids), bigru.output(pooled))
        packed = pack_padded_sequence(standard.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        torch.testing.assert_close(standard(ids), standard.output(standard.gru(packed)[1][-1]))


def test_a_batch_of_more_reviews_than_there_are_spans_epochs() -> None:
    """As in `fit`: 3 passes over 40 reviews are 2 steps of 64, and the progress bar ends where it says."""
    settings = SETTINGS.model_copy(update={"small_batch_size": 64})
    model, seen = build("fasttext", 2, settings, seed=1, vectors=None), list[int]()
    model.fit(["awful film", "great film"] * 20, [0, 1] * 20, seen.append)
    assert seen == [64, 128]
    assert seen[-1] == reviews_read("fasttext", 40, settings)


def test_log_count_ratios_are_those_of_the_paper() -> None:
    """Wang & Manning 2012 by hand: p = 1 + counts of the positive texts, q of the others, each over its sum."""
    present = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]])
    ratios = log_count_ratios(present, np.array([True, True, False]), 1.0)
    assert ratios == pytest.approx(np.log(np.array([3, 2, 1]) / 6 / (np.array([1, 2, 2]) / 5)))


def test_nbsvm_interpolates_its_weights_with_their_mean_magnitude() -> None:
    """Weights are ratios times 0.4 of the mean magnitude plus 0.6 of what logistic regression learns on the ratios."""
    from sklearn.linear_model import LogisticRegression

    texts = ["good film", "good plot", "bad film", "bad plot", "good good", "bad bad"] * 4
    truth = np.array([1, 1, 0, 0, 1, 0] * 4)
    model = NbSvm(2)
    model.fit(texts, truth.tolist(), lambda _: None)
    # All features: bad, bad bad, bad film, bad plot, film, good, good film, good good, good plot, plot; presence only.
    features = sorted({feature for text in texts for feature in word_pairs(text)})
    present = np.array([[feature in word_pairs(text) for feature in features] for text in texts], dtype=float)
    ratios = log_count_ratios(present, truth == 1, 1.0)
    weights = LogisticRegression(C=1.0, max_iter=1000).fit(present * ratios, truth).coef_[0]
    expected = ratios * (0.4 * np.abs(weights).mean() + 0.6 * weights)
    answers = model.probabilities(["good film", "good plot", "bad film"])
    logits = np.log(answers[:, 1] / answers[:, 0])
    rows = [[feature in word_pairs(text) for feature in features] for text in ("good film", "good plot", "bad film")]
    assert np.diff(logits) == pytest.approx(np.diff(np.array(rows) @ expected), abs=1e-5)


def test_words_keep_apostrophes_and_punctuation() -> None:
    """A vocabulary holds the frequent ones; what it lacks is unknown; of a long text the end is read."""
    assert words_of("Don't<br />GO! 7/10") == ["don't", "go", "!", "7", "/", "10"]
    vocabulary = Vocabulary.of(["b a b", "c b a"], most=2)
    assert vocabulary.words == ("b", "a")
    assert [row.tolist() for row in vocabulary.encode(["a b zzz", "", "b b a"], max_length=2)] == [[2, 1], [1], [2, 3]]
    assert padded(vocabulary.encode(["a b", ""])).tolist() == [[3, 2], [1, PAD]]


def test_vectors_are_read_in_the_formats_that_are_published(tmp_path: Path) -> None:
    """With or without a head line, words with spaces in them, only the words of the vocabulary."""
    from training.baselines.vectors import read_vectors

    file = tmp_path / "v.txt"
    file.write_text("4 2\ngreat 1 2\n. . 3 4\nother 5 6\nGREAT 7 8\n", encoding="utf-8")
    vocabulary = Vocabulary(("great", "unheard"))
    assert read_vectors(file, vocabulary).tolist() == [[0, 0], [0, 0], [1, 2], [0, 0]]
    file.write_text("great 1 2 3\n", encoding="utf-8")
    assert read_vectors(file, vocabulary).shape == (4, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has none of the 1 words"),
        ("other 1 2\n", "has none of the 1 words"),
        ("other 1 2\ngreat 1\n", "line 2: expected a word and 2 numbers"),
        ("great\n", "line 1: expected a word"),
        ("great one two\n", "line 1: not a number"),
        ("great 1 nan\n", "line 1: a number is not finite"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused_with_their_line(tmp_path: Path, content: str, message: str) -> None:
    """A cut or foreign file is no pretrained vector."""
    from training.baselines.vectors import read_vectors

    (tmp_path / "v.txt").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_vectors(tmp_path / "v.txt", Vocabulary(("great",)))
    with pytest.raises(UsageError, match="cannot be read"):
        read_vectors(tmp_path / "none.txt", Vocabulary(("great",)))


def test_pretrained_vectors_become_the_embeddings_of_bigru(tmp_path: Path) -> None:
    """Their size is that of the file, and they are trained further."""
    file = tmp_path / "v.txt"
    file.write_text("great 1 2 3\n", encoding="utf-8")
    plain, pretrained = (build("bigru", 2, SETTINGS, 1, vectors) for vectors in (None, file))
    for model in (plain, pretrained):
        model.fit(["great film", "bad film"], [1, 0], lambda _: None)
    assert pretrained.parameters < plain.parameters


def test_a_comparison_is_one_table_one_picture_and_one_json(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every model and bundle is there with its accuracy, interval, size and speed; what was left out says why."""
    from tests.tiny_bundle import write_tiny_bundle

    bundle = write_tiny_bundle(tmp_path / "tiny")
    out = tmp_path / "out"
    assert main(["compare", *files, "--out", str(out), "--bundle", str(bundle), *OPTIONS]) == 0
    captured = capsys.readouterr()
    assert "bert: left out, no pretrained encoder: give --base-bert" in captured.err
    told = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    names = ["nbsvm", "logreg", "fasttext", "bigru", "standard_gru", f"bundle {bundle}"]
    assert [result["name"] for result in told["results"]] == names
    for result in told["results"]:
        assert result["interval"][0] < result["accuracy"] <= result["interval"][1] + 1e-9
        assert result["rows"] == 60
        assert result["accuracy"] > 0.8, result["name"]
        assert f"| {result['name']} | {result['accuracy']:.2%} |" in captured.out
    # The 60 test rows are 30 of each label
    assert told["majority"]["accuracy"] == 0.5
    assert f"| (always {told['majority']['label']}) | 50.00% |" in captured.out
    assert "GUESSING" not in captured.out
    assert told["results"][-1]["training_seconds"] is None
    assert told["results"][-1]["bytes"] < 100_000
    markdown = (out / "compare.md").read_text(encoding="utf-8")
    assert captured.out.strip() in markdown
    assert "- distilbert: left out" in markdown
    assert "DistilBERT against BERT" not in markdown
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in out.rglob("*") if path.suffix in {".pkl", ".pickle", ".pt", ".joblib"}]


def test_a_share_of_the_training_file_measures_if_no_other_file_does(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in `fit`: every row is on one side, the table says what measured, and another share is another comparison."""
    out = tmp_path / "out"
    command = [*files[:2], "--out", str(out), "--models", "logreg"]
    assert main(["compare", *command, "--test-share", "0.25"]) == 0
    assert "48 are held out to measure on (25% of train.xlsx, not an independent file)" in capsys.readouterr().err
    comparison = read_results(out)
    assert comparison is not None
    assert (comparison.train.rows, comparison.test.rows, comparison.test_share) == (144, 48, 0.25)
    assert comparison.results[0].rows == 48
    told = " ".join((out / "compare.md").read_text().split())
    assert (
        "Trained on 144 rows of `train.xlsx` and measured on 48 other rows of the same file (held out with seed 42, "
        "not an independent file). No text is on both sides."
    ) in told
    limited = as_markdown(comparison.model_copy(update={"limit": 20}))
    assert "No text is on both sides. At most 20 rows a side were drawn, with seed 42.\n" in limited
    assert "compares on other rows (files, columns, --test-share" in refusal(capsys, command)
    assert "--test-share holds rows out" in refusal(capsys, [*command, *files[2:], "--test-share", "0.25"])
    assert "--drop-leaked needs --test" in refusal(capsys, [*command, "--drop-leaked"])


def test_what_is_measured_already_is_not_trained_again(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill in the second model the first is kept; other settings retrain only the models they concern."""
    from training.comparison import contestants

    built: list[str] = []
    make = build

    def watched(name: str, *rest: Any) -> Any:
        built.append(name)
        if name == "logreg" and built.count("logreg") == 1:
            raise KeyboardInterrupt
        return make(name, *rest)

    monkeypatch.setattr(contestants, "build", watched)
    command = ["compare", *files, "--out", str(tmp_path / "out")]
    # Killed in the second model
    assert main([*command, *LINEAR_ONLY]) == 130
    kept = read_results(tmp_path / "out")
    assert kept is not None
    assert [result.name for result in kept.results] == ["nbsvm"]
    # The same command resumes
    assert main([*command, *LINEAR_ONLY]) == 0
    assert "nbsvm: measured before" in capsys.readouterr().err
    assert built == ["nbsvm", "logreg", "logreg"]
    # Another model joins the table; other settings concern only networks
    assert main([*command, "--models", "fasttext", *OPTIONS]) == 0
    assert main([*command, "--models", "nbsvm,fasttext", *OPTIONS[:2], "--small-batch-size", "32"]) == 0
    assert built[3:] == ["fasttext", "fasttext"]
    now = read_results(tmp_path / "out")
    assert now is not None
    assert [result.name for result in now.results] == ["nbsvm", "logreg", "fasttext"]
    assert now.results[0] == kept.results[0]


def test_results_on_other_rows_are_neither_mixed_nor_overwritten(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another limit, seed, column or file needs another --out."""
    out = tmp_path / "out"
    import pandas as pd

    command = [*files, "--out", str(out), *LINEAR_ONLY]
    assert main(["compare", *command]) == 0
    before = (out / "compare.json").read_bytes()
    assert "compares on other rows" in refusal(capsys, [*command, "--limit", "50"])
    assert "compares on other rows" in refusal(capsys, [*command, "--seed", "7"])
    # The same file and rows, another question
    for path in files[1::2]:
        table = pd.read_excel(path, engine="openpyxl")
        table["Genre"] = table["Sentiment"].map({"neg": "drama", "pos": "comedy"})
        table.to_excel(tmp_path / Path(path).name, index=False)
    both = [files[0], str(tmp_path / "train.xlsx"), files[2], str(tmp_path / "test.xlsx"), *LINEAR_ONLY]
    assert main(["compare", *both, "--out", str(tmp_path / "both")]) == 0
    genre = [*both, "--out", str(tmp_path / "both"), "--label-column", "Genre"]
    assert "compares on other rows" in refusal(capsys, genre)
    assert (out / "compare.json").read_bytes() == before
    (out / "compare.json").write_text('{"results": "none"}')
    assert "remove it" in refusal(capsys, command)


def test_as_many_other_rows_are_not_the_same_rows(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --limit there are always so many; what is left out before they are drawn decides which ones."""
    import pandas as pd

    # Given results on 50 rows of a test file, a quarter of them also in the training file
    train, test = pd.read_excel(files[1], engine="openpyxl"), pd.read_excel(files[3], engine="openpyxl")
    leaky = tmp_path / "leaky.xlsx"
    pd.concat([train.iloc[:20], test]).to_excel(leaky, index=False)
    command = [*files[:2], "--test", str(leaky), "--out", str(tmp_path / "out"), "--limit", "50", "--max-overlap", "1"]
    assert main(["compare", *command, "--models", "nbsvm"]) == 0
    before = (tmp_path / "out" / "compare.json").read_bytes()
    # When other rows are left out, then as many others are drawn, which have no place in the same table
    assert "compares on other rows" in refusal(capsys, [*command, *LINEAR_ONLY, "--drop-leaked"])
    assert (tmp_path / "out" / "compare.json").read_bytes() == before
    # And with the same options the table is gone on with
    assert main(["compare", *command, *LINEAR_ONLY]) == 0
    assert "nbsvm: measured before" in capsys.readouterr().err


def test_an_encoder_is_not_trained_on_with_as_many_other_rows(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoint is that of a run on the rows that were drawn first, before there is any result."""
    import pandas as pd

    # Given training rows, some of which nearly repeat test rows, and an encoder that is stopped on some of them
    texts = sorted(pd.read_excel(files[3], engine="openpyxl")["Reviews"], key=len)
    near = pd.DataFrame({"Reviews": [f"{text} indeed" for text in texts[-20:]], "Sentiment": "pos"})
    pd.concat([near, pd.read_excel(files[1], engine="openpyxl")]).to_excel(tmp_path / "train.xlsx", index=False)
    base = make_base(tmp_path / "base")
    command = ["--train", str(tmp_path / "train.xlsx"), *files[2:], "--out", str(tmp_path / "out"), "--limit", "100"]
    command += ["--max-overlap", "1", "--models", "distilbert", "--base-distilbert", str(base)]
    command += ["--train-max-length", "24", "--max-length", "48", "--batch-size", "16"]
    with monkeypatch.context() as patch:
        interrupt_after(32, patch)
        assert main(["compare", *command, "--near-duplicate", "1"]) == 130
    assert read_results(tmp_path / "out") is None
    # When the nearly repeated ones are left out, then the checkpoint is of another run
    assert "is of a run with another train_rows_sha256: " in refusal(capsys, command)


def test_results_of_an_older_version_are_neither_mixed_nor_overwritten(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They do not tell which rows they are on: one line says so, and what to do."""
    # Given what an older version has written
    command = [*files, "--out", str(tmp_path / "out"), "--models", "nbsvm"]
    assert main(["compare", *command]) == 0
    file = tmp_path / "out" / "compare.json"
    told = json.loads(file.read_text("utf-8"))
    old = {name: value for name, value in told.items() if "rows_sha256" not in name} | {"format": 1}
    file.write_text(json.dumps(old))
    # When the same command is given again, then it is refused
    assert "compare.json was written by another version" in refusal(capsys, command)
    assert json.loads(file.read_text("utf-8")) == old


def test_a_limit_draws_from_the_whole_file(files: list[str], tmp_path: Path) -> None:
    """A file that is sorted by label still gives rows of each."""
    words = [(f"the film {label} {number}", label) for label in ("neg", "pos") for number in range(60)]
    test = write_table(tmp_path / "test.xlsx", [("Reviews", "Sentiment"), *words])
    command = [*files[:2], "--test", str(test), "--out", str(tmp_path / "out"), "--models", "nbsvm", "--limit", "40"]
    assert main(["compare", *command]) == 0
    told = read_results(tmp_path / "out")
    assert told is not None
    assert (told.train.rows, told.test.rows) == (40, 40)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "nbsvm,svm"], "models.1: Input should be 'nbsvm'"),
        (["--small-epochs", "0"], "small_epochs: Input should be greater than or equal to 1"),
        (["--models", "bert"], "nothing to compare: bert: no pretrained encoder"),
        (["--models", "distilbert", "--base-distilbert", "."], "lacks config.json"),
        (["--vectors", "none.txt"], "--vectors none.txt does not exist"),
        (["--limit", "10"], "8 are needed: raise --limit"),
        (["--out", "/dev/null"], "--out /dev/null cannot be written (Not a directory)"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_is_trained(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """One line, and no result file."""
    assert message in refusal(capsys, [*files, "--out", str(tmp_path / "out"), *LINEAR_ONLY, *options])
    assert not (tmp_path / "out" / "compare.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-length", "65"], "the base model reads at most 64 tokens: set --max-length to at most that"),
        (["--max-length", "64", "--freeze", "3"], "the base model has 2 layers: set --freeze to at most that"),
    ],
)
def test_what_a_base_cannot_do_is_said_before_a_small_model_is_trained(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    """Small models come first, and may take hours; the encoder would be refused behind them."""
    base = make_base(tmp_path / "base")
    models = ["--models", "nbsvm,distilbert", "--base-distilbert", str(base), "--train-max-length", "24"]
    assert message in refusal(capsys, [*files, "--out", str(tmp_path / "out"), *models, *options])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("harm", "message"), [("lost", "lacks 1 tensors"), ("cut", "cannot be read")])
def test_a_damaged_base_is_refused_before_a_small_model_is_trained(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str, message: str
) -> None:
    """A missing or cut tensor is found without reading the weights."""
    weights = make_base(tmp_path / "base") / "model.safetensors"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-4])
    else:
        tensors = load_file(weights)
        del tensors[next(name for name in tensors if "word_embeddings" in name)]
        save_file(tensors, weights)
    models = ["--models", "nbsvm,distilbert", "--base-distilbert", str(tmp_path / "base"), "--train-max-length", "24"]
    options = [*models, "--max-length", "24"]
    assert message in refusal(capsys, [*files, "--out", str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()


def test_a_bundle_with_other_labels_is_refused(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a directory that is no bundle ends with exit code 3."""
    from tests.tiny_bundle import write_tiny_bundle

    bundle = write_tiny_bundle(tmp_path / "b", labels=("bad", "good"))
    command = [*files, "--out", str(tmp_path / "out"), *LINEAR_ONLY, "--bundle"]
    assert "knows bad, good: rename them" in refusal(capsys, [*command, str(bundle)])
    assert "is not a directory" in refusal(capsys, [*command, str(tmp_path / "none")], code=3)


def test_a_bundle_that_was_trained_on_the_test_file_is_exposed(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its accuracy stands in the table only beside that remark."""
    from consumer.model.bundle.manifest import Source
    from tests.tiny_bundle import seal, write_tiny_bundle
    from training.data.reviews import file_sha256

    leaked = Source(file="test.xlsx", sha256=file_sha256(Path(files[3])), rows=60)
    bundle = seal(write_tiny_bundle(tmp_path / "b"), training_data=(leaked,))
    command = [*files, "--out", str(tmp_path / "out"), "--models", "nbsvm", "--bundle", str(bundle)]
    assert main(["compare", *command]) == 0
    captured = capsys.readouterr()
    assert "is meaningless" in captured.err
    assert "WHICH IS THE TEST FILE" in captured.out


def result(name: str, accuracy: float, **changed: Any) -> Result:
    """A result of 100 rows."""
    facts: dict[str, Any] = {
        "name": name,
        "identity": {},
        "rows": 100,
        "accuracy": accuracy,
        "interval": (accuracy - 0.05, accuracy + 0.05),
        "log_loss": 0.5,
        "failed": 0,
        "parameters": 110,
        "training_seconds": 200.0,
        "reviews_per_second": 2.0,
        "bytes": 440,
        "cores": 2,
    }
    return Result(**facts | changed)


def test_the_claims_for_distilbert_are_computed_from_what_was_measured() -> None:
    """Parameters, training time, speed and share of accuracy kept; nothing where one of the two did not run."""
    source = {"file": "f.xlsx", "sha256": "0" * 64, "rows": 100}
    comparison = Comparison.model_validate(
        {"train": source, "test": source, "labels": ("neg", "pos"), "limit": None, "seed": 1}
        | {"train_rows_sha256": "0" * 64, "test_rows_sha256": "0" * 64}
    )
    bert = comparison.with_result(result("bert", 0.9))
    assert bert.distilbert_against_bert is None
    small = result("distilbert", 0.88, parameters=66, training_seconds=100.0, reviews_per_second=3.5)
    both = bert.with_result(small)
    claims = both.distilbert_against_bert
    assert claims is not None
    assert claims.parameters_less == pytest.approx(0.4)
    assert claims.training_time_less == pytest.approx(0.5)
    assert claims.speed_up == pytest.approx(1.75)
    assert claims.accuracy_kept == pytest.approx(0.88 / 0.9)
    text = as_markdown(both)
    assert "| parameters | -40% | -40.0% |" in text
    assert "| accuracy kept | 97% (GLUE) | 97.8% |" in text
    assert "accuracies overlap" in text
    assert "do not overlap" in as_markdown(bert.with_result(result("distilbert", 0.7)))


@pytest.mark.timeout(300)
def test_encoders_are_trained_by_the_run_of_fit(files: list[str], tmp_path: Path) -> None:
    """A base directory becomes a bundle on the same rows, measured as every other model, and is kept.

    The same rows: one that is nearly a test text stays where --near-duplicate wants to see only exact ones. The bundle
    names the files that were given, and what the base was trained on before.
    """
    import pandas as pd

    from consumer.model.bundle.loading import load_bundle
    from consumer.model.bundle.manifest import Source
    from tests.tiny_bundle import seal, write_tiny_bundle
    from training.data.reviews import file_sha256

    earlier, measured = (Source(file=f"{name}.xlsx", sha256=name[0] * 64, rows=9) for name in ("earlier", "else"))
    base = seal(write_tiny_bundle(tmp_path / "base"), training_data=(earlier, measured))
    make_base(base, hidden=16, layers=1)
    out = tmp_path / "out"
    longest = max(pd.read_excel(files[3], engine="openpyxl")["Reviews"], key=len)
    table = pd.read_excel(files[1], engine="openpyxl")
    table.loc[len(table)] = [f"{longest} indeed", "pos"]
    table.to_excel(tmp_path / "train.xlsx", index=False)
    rows = ["--train", str(tmp_path / "train.xlsx"), *files[2:], "--near-duplicate", "1"]
    command = ["compare", *rows, "--out", str(out), "--models", "distilbert", "--base-distilbert", str(base)]
    options = ["--epochs", "8", "--batch-size", "16", "--learning-rate", "0.01"]
    lengths = ["--train-max-length", "24", "--max-length", "48"]
    assert main([*command, *options, *lengths]) == 0
    told = read_results(out)
    assert told is not None
    (found,) = told.results
    manifest = load_bundle(out / "models" / "distilbert").manifest
    assert found.parameters == manifest.parameters
    assert found.rows == 60
    assert found.accuracy > 0.8
    assert found.training_seconds is not None
    assert [(data.file, data.rows) for data in manifest.training_data] == [
        ("train.xlsx", 193),
        ("earlier.xlsx", 9),
        ("test.xlsx", 60),
    ]
    assert manifest.training_data[0].sha256 == file_sha256(tmp_path / "train.xlsx")
    assert manifest.learnt_from[1] == earlier
    assert found.note == "int8, from base, trained on 193 rows"
