"""The averaged weights follow the definition, and their warm-up is a pure function of the step."""

from __future__ import annotations

import pytest
import torch

from t2i_checkpoint.power_average import gamma_of
from t2i_trainer.ema import ExponentialMovingAverage, check_stored_profiles, decay_at
from t2i_trainer.failures import TrainerError

WIDTHS = (0.05, 0.25)


def walk(model: torch.nn.Module) -> None:
    """Move the weights as a step would."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_the_average_is_that_of_the_definition() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model, decay=0.9)
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    for step in range(1, 200):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(step)
        decay = decay_at(step, 0.9)
        expected = [
            decay * old + (1 - decay) * new.detach() for old, new in zip(expected, model.parameters(), strict=True)
        ]
    for mine, theirs in zip(average.module.parameters(), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_the_average_is_not_trained_and_shares_no_memory() -> None:
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model, decay=0.9)
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    theirs, ours = next(average.module.parameters()), next(model.parameters())
    assert theirs.data_ptr() != ours.data_ptr()


@pytest.mark.parametrize(("step", "decay", "expected"), [(1, 0.999, 2 / 11), (8, 0.999, 0.5), (10**6, 0.999, 0.999)])
def test_the_decay_warms_up(step: int, decay: float, expected: float) -> None:
    assert decay_at(step, decay) == pytest.approx(expected)


def test_power_profiles_weigh_each_step_by_its_power() -> None:
    """Equation 1 of Karras et al. 2024, written out: the weights of step s count (s/t)^(g+1) - ((s-1)/t)^(g+1)."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model, decay=0.9, power_widths=WIDTHS)
    history = []
    for step in range(1, 101):
        walk(model)
        average.update(step)
        history.append(model.weight.detach().clone())
    for profile in average.profiles:
        power = gamma_of(profile.width) + 1
        shares = [(step / 100) ** power - ((step - 1) / 100) ** power for step in range(1, 101)]
        expected = sum(share * weights for share, weights in zip(shares, history, strict=True))
        torch.testing.assert_close(profile.tensors["weight"], expected, rtol=1e-4, atol=1e-5)


def averages_of(average: ExponentialMovingAverage) -> list[torch.Tensor]:
    """The classic one and the profiles, each a copy."""
    profiles = [tensor for profile in average.profiles for tensor in profile.tensors.values()]
    return [each.detach().clone() for each in (*average.module.parameters(), *profiles)]


@pytest.mark.parametrize("every", [2, 4, 8])
@pytest.mark.parametrize("warms_up", [True, False])
def test_every_few_steps_all_the_decay_that_is_due_is_done(every: int, *, warms_up: bool) -> None:
    """Also where the steps in between, one at a boundary among them, were left out and moved no weight."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    often, seldom = (
        ExponentialMovingAverage(model, 0.9, warms_up=warms_up, power_widths=WIDTHS, every_steps=steps)
        for steps in (1, every)
    )
    for step in range(1, 41):
        if step % every == 1:  # weights that stand still between updates are averaged alike
            walk(model)
        often.update(step)
        seldom.update(step)
    torch.testing.assert_close(averages_of(seldom), averages_of(often))


def test_a_step_that_was_left_out_counts_the_weights_as_they_are() -> None:
    """A profile weighs steps by their number, so that what is made of it afterwards knows its weighting."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model, decay=0.9, power_widths=[0.05])
    weights = []
    for step in range(1, 21):
        if step not in {7, 8, 20}:
            walk(model)
        average.update(step)
        weights.append(model.weight.detach().clone())
    power = gamma_of(0.05) + 1
    shares = [(step / 20) ** power - ((step - 1) / 20) ** power for step in range(1, 21)]
    expected = sum(share * each for share, each in zip(shares, weights, strict=True))
    torch.testing.assert_close(average.profiles[0].tensors["weight"], expected)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize(("since", "step"), [(10, 27), (8, 28), (12, 16), (5, 6), (5, 7), (9, 9)])
def test_steps_at_once_are_the_same_as_one_by_one(every: int, since: int, step: int) -> None:
    """As after a return to an earlier checkpoint, in the middle of a block too, and never a step twice."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    slowly, at_once = (ExponentialMovingAverage(model, 0.9, power_widths=WIDTHS, every_steps=every) for _ in range(2))
    for each in range(1, since + 1):
        walk(model)
        slowly.update(each)
        at_once.update(each)
    at_once.update(step, since=since)
    for each in range(since + 1, step + 1):
        slowly.update(each)
    torch.testing.assert_close(averages_of(at_once), averages_of(slowly))
    walk(model)
    for each in range(step + 1, step + 6):
        slowly.update(each)
        at_once.update(each)
    torch.testing.assert_close(averages_of(at_once), averages_of(slowly))


def test_a_stored_profile_is_loaded_whole_or_not_at_all() -> None:
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model, decay=0.9, power_widths=[0.05])
    (path,) = average.profile_tensors()
    stored = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    average.load_profile(path, stored)
    assert torch.equal(average.profiles[0].tensors["bias"], torch.ones(2))
    with pytest.raises(KeyError, match="other parameters"):
        average.load_profile(path, {"weight": torch.ones(2, 3)})
    with pytest.raises(RuntimeError, match="bias has shape"):
        average.load_profile(path, {**stored, "bias": torch.ones(1)})


def test_a_resume_with_other_widths_is_refused_by_name() -> None:
    files = ["unet/diffusion_pytorch_model.safetensors", "ema_power/0.05.safetensors"]
    check_stored_profiles(files, ["ema_power/0.05.safetensors"])
    with pytest.raises(TrainerError, match=r"powerWidths is \[0.1\], the checkpoint keeps \[0.05\]"):
        check_stored_profiles(files, ["ema_power/0.1.safetensors"])
