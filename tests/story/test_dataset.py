"""The split is what makes the demo's score mean something: nothing that is asked was trained."""

from collections import Counter

import pytest

from t2i_dev.story.dataset import BACKGROUNDS, EMOJI, SHAPE_COLOURS, SHAPES, Split, all_pairs, pair_of, splits


def test_33_emoji_on_8_backgrounds() -> None:
    assert (len(set(EMOJI)), len(BACKGROUNDS), len(set(all_pairs()))) == (33, 8, 264)
    assert len({pair.file_name for pair in all_pairs()}) == 264


def test_the_split_has_the_sizes_that_it_says() -> None:
    counts = Counter(splits().values())
    assert counts == {Split.TRAINED: 184, Split.HELD_OUT: 32, Split.UNSEEN: 48}


def test_every_emoji_and_background_of_a_held_out_pair_is_trained_elsewhere() -> None:
    trained = [pair for pair, split in splits().items() if split is Split.TRAINED]
    by_emoji = Counter(pair.emoji for pair in trained)
    by_background = Counter(pair.background for pair in trained)
    for pair, split in splits().items():
        if split is Split.HELD_OUT:
            assert by_emoji[pair.emoji] >= 6
            assert by_background[pair.background] >= 18


def test_every_colour_and_every_shape_of_an_unseen_pair_is_trained_in_others() -> None:
    trained = {pair.emoji for pair, split in splits().items() if split is Split.TRAINED}
    unseen = {pair.emoji for pair, split in splits().items() if split is Split.UNSEEN}
    assert unseen.isdisjoint(trained)
    assert len(unseen) == 6
    for emoji in unseen:
        colour, shape = emoji.split()
        assert any(f"{colour} {other}" in trained for other in SHAPES)
        assert sum(f"{other} {shape}" in trained for other in SHAPE_COLOURS) >= 3


def test_captions_read_back() -> None:
    assert [pair_of(pair.caption) for pair in all_pairs()] == list(all_pairs())
    with pytest.raises(ValueError, match="no caption of the emoji set"):
        pair_of("red heart on a plaid background")
