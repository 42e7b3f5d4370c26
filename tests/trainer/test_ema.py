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


def test_every_few_steps_all_the_decay_that_is_due_is_done() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    often = ExponentialMovingAverage(model, decay=0.9, power_widths=WIDTHS)
    seldom = ExponentialMovingAverage(model, decay=0.9, power_widths=WIDTHS, every_steps=4)
    for step in range(1, 41):
        if step % 4 == 1:  # weights that stand still between updates are averaged alike
            walk(model)
        often.update(step)
        seldom.update(step)
    for mine, theirs in zip(seldom.module.parameters(), often.module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    for seldom_profile, often_profile in zip(seldom.profiles, often.profiles, strict=True):
        torch.testing.assert_close(dict(seldom_profile.tensors), dict(often_profile.tensors))


def test_a_skipped_step_changes_no_average() -> None:
    model = torch.nn.Linear(3, 2)
    average = ExponentialMovingAverage(model, decay=0.9, power_widths=WIDTHS)
    average.update(1)
    classic = next(average.module.parameters())
    before = [classic.clone(), *(profile.tensors["weight"].clone() for profile in average.profiles)]
    walk(model)
    average.update(2, torch.tensor(1.0))
    after = [classic, *(profile.tensors["weight"] for profile in average.profiles)]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


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
