"""`review-training lr-find`: suggestions that fit the curve, a picture, and no trace in the model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumer.errors import UsageError
from tests.tiny_encoder import make_base, one_window, write_reviews, write_table
from training.cli import main
from training.settings import RateTestSettings

pytestmark = pytest.mark.training

PNG = b"\x89PNG\r\n\x1a\n"


def test_suggestions_are_the_steepest_fall_and_a_tenth_of_the_lowest() -> None:
    """On a curve that falls fastest at 1e-4, is lowest at 1e-2 and then diverges."""
    from training.loop.lr_find import suggestions

    decades = np.linspace(-6, 0, 61)
    falling = 1 / (1 + np.exp(4 * (decades + 4)))
    losses = falling + np.where(decades > -2, 3 * (decades + 2), 0)
    losses[-1] = 0.9  # a fall on the way to divergence says nothing
    steepest, tenth = suggestions((10**decades).tolist(), losses.tolist(), losses.tolist())
    assert steepest == pytest.approx(1e-4)
    assert tenth == pytest.approx(1e-3)


def test_a_loss_that_does_not_fall_suggests_nothing() -> None:
    """The lowest value at the very beginning, or among the first ones by chance, is no minimum."""
    from training.loop.lr_find import suggestions

    rates = np.geomspace(1e-6, 1, 20).tolist()
    for curve in (list(np.linspace(0.7, 3, 20)), [0.7, 0.69, 0.68, *[0.7] * 17]):
        assert suggestions(rates, curve, curve) == (None, None)
    assert suggestions(rates[:1], [0.7], [0.7]) == (None, None)


def test_a_loss_that_falls_by_less_than_it_varies_suggests_nothing() -> None:
    """The lowest point of a flat curve is chance; the same fall of a quieter loss is none."""
    from training.loop.lr_find import suggestions

    rates = np.geomspace(1e-6, 1, 20).tolist()
    smoothed = [0.70] * 8 + [0.69] * 6 + [0.8] * 6
    wild, quiet = (np.asarray(smoothed) + step * (-1) ** np.arange(20) for step in (0.1, 0.01))
    assert suggestions(rates, wild.tolist(), smoothed) == (None, None)
    assert None not in suggestions(rates, quiet.tolist(), smoothed)


def curve(fall: float, rise: float, depth: float, noise: float, steps: int = 100, *, seed: int = 1) -> Any:
    """A range test from 1e-6 to 1 whose loss falls by `depth` around `fall` and rises from `rise`, in decades."""
    from training.loop.lr_find import RateTest, _running_mean, suggestions

    decades = np.linspace(-6, 0, steps)
    losses = 0.7 - depth / (1 + np.exp(-4 * (decades - fall))) + 3 * np.clip(decades - rise, 0, None)
    losses = losses + np.random.default_rng(seed).normal(0, noise, steps)
    smoothed = [_running_mean(losses[: step + 1].tolist()) for step in range(steps)]
    rates = (10**decades).tolist()
    return RateTest(tuple(rates), tuple(losses), tuple(smoothed), *suggestions(rates, losses.tolist(), smoothed), False)


def test_one_rate_is_recommended_if_the_curve_has_one() -> None:
    """The lower of the two suggestions, with and without a little noise, near where the loss falls."""
    for noise in (0.0, 0.02, 0.05):
        test = curve(-3.5, -2, 0.4, noise)
        assert test.recommended == min(test.steepest, test.tenth_of_lowest)
        assert 10**-4.2 < test.recommended < 10**-2.5
        assert test.as_text().splitlines()[1] == f"recommended: --learning-rate {test.recommended:.1e}"


def test_noise_alone_is_hardly_ever_recommended() -> None:
    """A loss that does not depend on the rate falls somewhere by chance: in 100 tests at most two are taken in."""
    found = [curve(-3.5, -2, 0.0, 0.1, seed=seed).recommended for seed in range(100)]
    assert sum(rate is not None for rate in found) <= 2


@pytest.mark.parametrize(
    ("drawn", "why"),
    [
        ((-3.5, -2, 0.01, 0.2), "too noisy"),
        ((-3.5, -6, 0.0, 0.0), "never falls"),
        ((-3.5, 1, 0.4, 0.0), "still falls at the highest rate"),
        ((-4.5, -4, 0.4, 0.0, 30), "too few steps"),
        ((-5.5, -1, 0.4, 0.0), "too noisy: the steepest descent"),
    ],
)
def test_no_rate_is_recommended_without_saying_why(drawn: tuple[Any, ...], why: str) -> None:
    """Noise, no fall, an end too early and too few steps are told apart, each with flags to try."""
    test = curve(*drawn)
    assert test.recommended is None
    line = test.as_text().splitlines()[1]
    assert line.startswith(f"no recommendation: {why}") or why in line
    assert "--" in line or "never falls" in line


def rate_test(tmp_path: Path, settings: RateTestSettings, break_it: bool = False) -> tuple[Any, Any, dict[str, Any]]:
    """A range test of a tiny encoder on two reviews; the model after it, and its weights before."""
    import torch
    from transformers import DistilBertForSequenceClassification

    from training.loop.lr_find import range_test
    from training.loop.step import TrainingRows

    torch.manual_seed(0)
    base = make_base(tmp_path / "base")
    model: Any = DistilBertForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    if break_it:
        torch.nn.init.constant_(model.classifier.bias, float("nan"))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reviews = [one_window(ids) for ids in ([2, 5, 18, 3], [2, 6, 22, 3])]
    return range_test(model, TrainingRows(reviews, [0, 1], 0), settings), model, before


def test_the_test_ends_where_the_loss_diverges_and_gives_the_weights_back(tmp_path: Path) -> None:
    """Rates rise by one factor; it stops before the absurd ones; the model is as it was."""
    import torch

    settings = RateTestSettings(batch_size=2, steps=60, lowest_rate=1e-5, highest_rate=1e3)
    test, model, before = rate_test(tmp_path, settings)
    assert test.diverged
    assert len(test.rates) == len(test.losses) == len(test.smoothed) < 60
    assert np.allclose(np.diff(np.log(test.rates)), np.log(1e8) / 59)
    assert test.steepest < test.tenth_of_lowest * 10 < test.rates[-1]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_base_with_broken_weights_is_refused(tmp_path: Path) -> None:
    """No rate can be tried where the loss is not a number before the first update."""
    with pytest.raises(UsageError, match="not a number before the first step"):
        rate_test(tmp_path, RateTestSettings(batch_size=2, steps=20), break_it=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`--train` and `--base` with small good files."""
    directory = tmp_path_factory.mktemp("lr-find")
    base, train = make_base(directory / "base"), write_reviews(directory / "train.xlsx", 64, seed=1)
    return ["lr-find", "--train", str(train), "--base", str(base), "--train-max-length", "24", "--batch-size", "8"]


def test_the_command_prints_rates_and_draws_them(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Text for people with the option to paste; with --json one object and nothing else; the same numbers; a PNG."""
    command = [*files, "--out", str(tmp_path / "plot.png"), "--steps", "40", "--lowest-rate", "1e-5"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)
    assert main([*command, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert f"steepest descent at {numbers['steepest']:.1e}\n" in text
    assert f"a tenth of the rate of the lowest loss: {numbers['tenth_of_lowest']:.1e}" in text
    assert text.count("--learning-rate") == (numbers["recommended"] is not None)
    assert (numbers["recommended"] is None) == (numbers["why_none"] is not None)
    assert len(numbers["rates"]) == len(numbers["losses"])


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "plot.txt"], "end its name in .png"),
        (["--out", "nowhere/plot.png"], "nowhere/plot.png: its directory does not exist"),
        (["--lowest-rate", "1", "--highest-rate", "0.1"], "lowest_rate is not below highest_rate"),
        (["--steps", "3"], "steps: Input should be greater than or equal to 20"),
        (["--freeze", "3"], "has 2 layers"),
        (["--train", "none.xlsx"], "none.xlsx does not exist"),
    ],
)
def test_what_cannot_work_is_refused_before_the_test(
    files: list[str], options: list[str], message: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names it, exit code 2, no picture."""
    assert main([*files, *options]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list(elsewhere.iterdir())


def test_a_file_of_one_label_is_refused(tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As fit refuses it."""
    path = write_table(tmp_path / "one.xlsx", [("Reviews", "Sentiment"), *((f"text {i}", "pos") for i in range(20))])
    assert main([*files, "--train", str(path)]) == 2
    assert "at least 2 are needed" in capsys.readouterr().err


def test_a_file_of_contradictions_is_refused(
    tmp_path: Path, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """No row is left where each text has both labels: one line, no test on nothing."""
    rows = [(f"text {i}", label) for i in range(20) for label in ("neg", "pos")]
    path = write_table(tmp_path / "both.xlsx", [("Reviews", "Sentiment"), *rows])
    assert main([*files, "--train", str(path)]) == 2
    assert "without repeated and contradicting rows" in capsys.readouterr().err.strip().splitlines()[-1]
