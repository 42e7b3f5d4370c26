"""A run that was killed, stopped and resumed is the undisturbed run, bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_checkpoint import layout

if TYPE_CHECKING:
    from tests.trainer.resume.conftest import Story


def numbers(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["step"], row["loss"], row["gradientNorm"], row["learningRate"]


def test_the_losses_are_bit_for_bit_those_of_the_undisturbed_run(story: Story) -> None:
    assert 0 < story.killed_after < story.stopped_after < story.steps
    undisturbed, disturbed = story.undisturbed.rows(), story.disturbed.rows()
    assert [row["step"] for row in undisturbed] == list(range(1, story.steps + 1))
    assert [numbers(row) for row in disturbed] == [numbers(row) for row in undisturbed]


def test_rows_tell_which_attempt_took_the_step(story: Story) -> None:
    attempts = {row["step"]: row["attempt"] for row in story.disturbed.rows()}
    for step, attempt in attempts.items():
        expected = 1 if step <= story.killed_after else 2 if step <= story.stopped_after else 3
        assert attempt == expected, step


def test_the_last_weights_are_the_same_too(story: Story) -> None:
    calm, wild = story.undisturbed.newest(), story.disturbed.newest()
    assert calm.step == wild.step == story.steps
    assert calm.ranks == wild.ranks
    for path in (layout.WEIGHTS, layout.EMA_WEIGHTS, layout.OPTIMIZER):
        ours, theirs = calm.file(path), wild.file(path)
        assert ours is not None
        assert theirs is not None
        assert ours.sha256 == theirs.sha256, path


def test_ranks_agree_in_weights_and_differ_in_noise(story: Story) -> None:
    for manifest in (*story.undisturbed.manifests(), *story.disturbed.manifests()):
        assert [rank.rank for rank in manifest.ranks] == [0, 1]
        assert len({rank.weights_sha256 for rank in manifest.ranks}) == 1
        assert len({rank.noise_sha256 for rank in manifest.ranks}) == 2


def test_it_learns(story: Story) -> None:
    losses = [row["loss"] for row in story.undisturbed.rows()]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])
