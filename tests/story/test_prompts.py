from collections import Counter

from t2i_dev.story.dataset import UNSEEN_EMOJI, Split, pair_of, splits
from t2i_dev.story.prompts import FULL_PROMPTS, SHORT_PROMPTS


def test_the_full_list_asks_8_trained_10_held_out_and_each_unseen_colour_and_shape() -> None:
    pairs = [pair_of(prompt) for prompt in FULL_PROMPTS]
    assert len(set(pairs)) == 24
    assert Counter(splits()[pair] for pair in pairs) == {Split.TRAINED: 8, Split.HELD_OUT: 10, Split.UNSEEN: 6}
    assert {pair.emoji for pair in pairs if splits()[pair] is Split.UNSEEN} == UNSEEN_EMOJI


def test_the_full_list_asks_every_background() -> None:
    assert len({pair_of(prompt).background for prompt in FULL_PROMPTS}) == 8


def test_the_short_list_has_one_of_each_kind() -> None:
    order = [splits()[pair_of(prompt)] for prompt in SHORT_PROMPTS]
    assert order == [Split.TRAINED, Split.TRAINED, Split.HELD_OUT, Split.UNSEEN]
