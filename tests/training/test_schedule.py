"""Learning-rate policies: pure functions of the step, each as its source describes it."""

import math
from typing import get_args

import pytest
from pydantic import ValidationError

from training.loop.schedule import TRIANGLE_BASE, describe, linear, one_cycle, rate_factor, sgdr, triangular
from training.settings import FitSettings, Policy

pytestmark = pytest.mark.training


def test_one_cycle_rises_and_falls_once() -> None:
    """Up to the peak at the end of the warm-up, down to just above nothing at the last step."""
    rates = [one_cycle(step, 100, 0.1) for step in range(100)]
    assert max(rates) == rates[9] == 1
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0 < rates[-1] < 0.02
    assert one_cycle(0, 1, 0.1) > 0


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (7, 0.5), (10, 0.0), (1, 0.0)])
def test_linear_is_the_schedule_of_the_transformers_trainer(steps: int, warmup: float) -> None:
    """Step by step the rates of `get_linear_schedule_with_warmup`, which a comparison with the Trainer needs."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    rise = math.ceil(warmup * steps)
    schedule = get_linear_schedule_with_warmup(optimizer, rise, steps)  # type: ignore[no-untyped-call]
    for step in range(steps):
        assert linear(step, steps, warmup) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_a_triangle_has_its_peak_in_the_middle_of_every_epoch() -> None:
    """Two epochs of 10 steps are alike, symmetric, and between a tenth of the peak and the peak."""
    rates = [triangular(step, 10) for step in range(20)]
    assert rates[:10] == pytest.approx(rates[10:])
    assert rates[:10] == pytest.approx(rates[9::-1])
    assert rates[:5] == sorted(rates[:5])
    assert TRIANGLE_BASE < min(rates) < 0.2
    assert 0.9 < max(rates) <= 1
    assert triangular(0, 1) == 1  # an epoch of one step is its own peak


def test_sgdr_follows_the_cosine_and_starts_again() -> None:
    """Equation 5 of Loshchilov & Hutter with restarts after 10, 20 and 40 steps where each cycle doubles."""
    rates = [sgdr(step, 10, 2) for step in range(70)]
    assert [step for step, rate in enumerate(rates) if rate == 1] == [0, 10, 30]
    assert (rates[5], rates[20], rates[50]) == pytest.approx((0.5, 0.5, 0.5))
    assert rates[3] == pytest.approx((1 + math.cos(0.3 * math.pi)) / 2)
    assert rates[10:30] == sorted(rates[10:30], reverse=True)
    assert [step for step in range(40) if sgdr(step, 10, 1) == 1] == [0, 10, 20, 30]
    assert sgdr(5, 0.3, 1) <= 1  # cycles shorter than a step


@pytest.mark.parametrize("policy", get_args(Policy))
@pytest.mark.parametrize("per_epoch", [0.4, 1.0, 7.3, 33.0])
def test_every_policy_stays_between_nothing_and_the_peak(policy: Policy, per_epoch: float) -> None:
    """Also with epochs of a part of a step, and of a number of steps that is not whole."""
    cycles = {"cycle_length": 0.7, "cycle_multiplier": 1.5} if policy == "sgdr" else {}
    settings = FitSettings.model_validate({"policy": policy} | cycles)
    rates = [rate_factor(settings, step, 60, per_epoch) for step in range(60)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert max(rates) > 0.5


def test_the_settings_choose_the_policy_and_its_cycles() -> None:
    """A cycle of sgdr is counted in epochs."""
    settings = FitSettings(policy="sgdr", cycle_length=2, cycle_multiplier=1)
    assert [step for step in range(60) if rate_factor(settings, step, 60, 10.0) == 1] == [0, 20, 40]
    assert rate_factor(FitSettings(policy="triangular"), 4, 60, 10.0) == triangular(4, 10)
    assert rate_factor(FitSettings(policy="linear", warmup=0.5), 3, 60, 10.0) == linear(3, 60, 0.5)
    assert rate_factor(FitSettings(warmup=0.5), 3, 60, 10.0) == one_cycle(3, 60, 0.5)


def test_the_model_card_can_say_which_policy_it_was() -> None:
    """Words for each, with the numbers that matter to it."""
    assert describe(FitSettings()) == describe(FitSettings(policy="linear"))
    assert describe(FitSettings(warmup=0.2)) == "linear up over 20% of the steps, then down"
    assert describe(FitSettings(policy="sgdr", cycle_length=2)) == "cosine down in cycles of 2 epochs"
    assert describe(FitSettings(policy="sgdr", cycle_multiplier=2)).endswith("1 epochs, each 2 times longer")
    assert describe(FitSettings(policy="triangular")) == "up and down in every epoch"


@pytest.mark.parametrize("given", [{"cycle_length": 2}, {"cycle_multiplier": 2}, {"cycle_length": 1}])
@pytest.mark.parametrize("policy", [policy for policy in get_args(Policy) if policy != "sgdr"])
def test_cycles_of_another_policy_are_refused(policy: Policy, given: dict[str, float]) -> None:
    """They would change nothing, without a word."""
    with pytest.raises(ValidationError, match="cycle_length and cycle_multiplier need sgdr: set policy to sgdr as"):
        FitSettings.model_validate({"policy": policy} | given)


def test_a_run_is_told_by_the_cycles_that_are_in_force() -> None:
    """Given or by default, it is the same run; runs from before they could be left out resume."""
    by_default, named = FitSettings(policy="sgdr"), FitSettings(policy="sgdr", cycle_length=1, cycle_multiplier=1)
    assert by_default.identity() == named.identity()
    assert (FitSettings().identity()["cycle_length"], FitSettings().identity()["cycle_multiplier"]) == (1, 1)
    assert FitSettings(policy="sgdr", cycle_length=2).identity() != by_default.identity()
