import io
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from t2i_checkpoint.store import NotFound, Store
from t2i_dev.story.dataset import BACKGROUNDS, EMOJI, Pair, Split, splits
from t2i_dev.story.prompts import FULL_PROMPTS
from t2i_dev.story.score import Sample, Scorer, samples_of_step


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format="PNG")
    return stream.getvalue()


def noisy(picture: Image.Image, deviation: float, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, deviation * 255, (*picture.size, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def scorer(references: Mapping[Pair, Image.Image]) -> Scorer:
    return Scorer(references)


def test_every_reference_with_heavy_noise_is_recognised(references: Mapping[Pair, Image.Image], scorer: Scorer) -> None:
    samples = [
        Sample(pair.caption, png(noisy(picture, 0.15, seed))) for seed, (pair, picture) in enumerate(references.items())
    ]
    score = scorer.score(samples)
    assert (score.overall.count, score.overall.exact, score.overall.background) == (264, 1, 1)
    assert {split: shares.count for split, shares in score.by_split.items()} == {
        Split.TRAINED: 184,
        Split.HELD_OUT: 32,
        Split.UNSEEN: 48,
    }


def test_the_wrong_emoji_on_the_right_background_counts_as_background_only(
    references: Mapping[Pair, Image.Image], scorer: Scorer
) -> None:
    score = scorer.score([Sample("panda on a pink background", png(references[Pair("grapes", "pink")]))])
    (only,) = score.samples
    assert (only.emoji_right, only.background_right, only.exact) == (False, True, False)
    assert only.nearest == Pair("grapes", "pink")
    assert (score.overall.exact, score.overall.background) == (0, 1)


def test_the_right_emoji_on_the_wrong_background_is_not_exact(
    references: Mapping[Pair, Image.Image], scorer: Scorer
) -> None:
    (only,) = scorer.score([Sample("panda on a pink background", png(references[Pair("panda", "tan")]))]).samples
    assert (only.emoji_right, only.background_right, only.emoji_rank) == (True, False, 0)


def test_a_model_that_ignores_its_prompt_scores_as_chance_does(
    references: Mapping[Pair, Image.Image], scorer: Scorer
) -> None:
    always = png(references[Pair("red heart", "white")])
    overall = scorer.score([Sample(pair.caption, always) for pair in splits()]).overall
    assert overall.exact == pytest.approx(1 / (len(EMOJI) * len(BACKGROUNDS)))
    assert overall.background == pytest.approx(1 / len(BACKGROUNDS))
    assert overall.top_five == pytest.approx(5 / len(EMOJI))


def test_splits_without_pictures_are_left_out(references: Mapping[Pair, Image.Image], scorer: Scorer) -> None:
    score = scorer.score([Sample("red square on a gray background", png(references[Pair("red square", "gray")]))])
    assert set(score.by_split) == {Split.UNSEEN}


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no samples"),
        ([Sample("a cat", b"")], "no caption of the emoji set"),
        ([Sample("panda on a pink background", b"not a PNG")], "no readable PNG"),
        ([Sample("panda on a pink background", png(Image.new("RGB", (64, 64))))], r"\(64, 64\) pixels"),
    ],
)
def test_what_cannot_be_scored_is_refused(scorer: Scorer, samples: list[Sample], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scorer.score(samples)


def test_a_truncated_png_is_refused(references: Mapping[Pair, Image.Image], scorer: Scorer) -> None:
    whole = png(references[Pair("panda", "pink")])
    with pytest.raises(ValueError, match="no readable PNG"):
        scorer.score([Sample("panda on a pink background", whole[: len(whole) // 2])])


def test_samples_are_read_from_the_bucket_in_the_order_of_the_prompts(
    store: Store, references: Mapping[Pair, Image.Image], scorer: Scorer
) -> None:
    by_caption = {pair.caption: picture for pair, picture in references.items()}
    for index, prompt in enumerate(FULL_PROMPTS):
        store.put(f"samples/step-00000600/{index:04d}.png", png(by_caption[prompt]))
    assert scorer.score(samples_of_step(store, 600, FULL_PROMPTS)).overall.exact == 1
    with pytest.raises(NotFound):
        samples_of_step(store, 601, FULL_PROMPTS)
