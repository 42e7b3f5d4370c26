"""A model that ranks share: each holds its part, together they do what each would do alone, and no file tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.trainer.sharding.laboratory import CHANGES

from t2i_api.spec_training import Precision
from t2i_checkpoint import layout

if TYPE_CHECKING:
    from tests.trainer.sharding.conftest import Found

    from t2i_api.spec_training import Parallelism

# Relative differences of the first loss and of later ones. FSDP2 takes no channels_last weights: other convolutions,
# whose sums end in other last bits, and the norm is a sum of shares. With bfloat16 the norms' weights are rounded, too.
ROUNDING = {Precision.FP32: (1e-6, 1e-5), Precision.BF16: (1e-3, 1e-2)}
# Of 255 levels. Near 1 the last bit of bfloat16 is one level; guidance doubles it, and three steps add up.
LEVELS = {Precision.FP32: 1, Precision.BF16: 8}


def pairs(found: Found) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(each["whole"], each["sharded"]) for each in found.ranks]


def test_each_rank_holds_its_part_of_weights_averages_and_moments(found: Found) -> None:
    for whole, sharded in pairs(found):
        assert whole["mine"] == whole["all"] == sharded["all"]
        assert sharded["mine"] / sharded["all"] == pytest.approx(1 / len(found.ranks), rel=0.1)


def test_steps_measure_the_same_but_for_rounding(found: Found) -> None:
    first, later = ROUNDING[found.precision]
    for whole, sharded in pairs(found):
        assert sharded["losses"][0] == pytest.approx(whole["losses"][0], rel=first)
        assert sharded["norms"][0] == pytest.approx(whole["norms"][0], rel=first)
        assert min(whole["norms"]) > 0.3, "the gradient is clipped"
        assert sharded["losses"] == pytest.approx(whole["losses"], rel=later)
        assert sharded["norms"] == pytest.approx(whole["norms"], rel=later)


def test_all_ranks_leave_a_step_out_that_one_ranks_picture_spoils(found: Found) -> None:
    for held in (each for pair in pairs(found) for each in pair):
        assert held["skipped"] == [False] * len(held["losses"]) + [True]
        assert held["unchanged_by_the_bad_step"]


def test_evaluation_and_pictures_are_those_of_the_whole_model(found: Found) -> None:
    """Of three prompts: in the last turn some rank draws for nobody."""
    _, later = ROUNDING[found.precision]
    for whole, sharded in pairs(found):
        assert len(whole["evaluation"]) == 3
        assert sharded["evaluation"] == pytest.approx(whole["evaluation"], rel=later)
        assert len(set(whole["pictures"])) > 100
        assert sharded["pictures"] == pytest.approx(whole["pictures"], abs=LEVELS[found.precision])


def test_files_names_and_hash_do_not_tell_how_a_model_was_held(found: Found) -> None:
    for whole, sharded in pairs(found):
        assert sharded["names"] == whole["names"]
        assert layout.OPTIMIZER in whole["names"]
    assert len({sharded["weights_sha256"] for _, sharded in pairs(found)}) == 1


@pytest.mark.parametrize(("origin", "mine"), CHANGES)
def test_what_one_way_wrote_the_other_reads_bit_for_bit_and_goes_on(
    found: Found, origin: Parallelism, mine: Parallelism
) -> None:
    for rank in found.ranks:
        assert rank["loaded"][f"{origin} by {mine}"]
        went_on, undisturbed = rank["next_losses"][f"{origin} by {mine}"], rank["next_losses"][origin]
        if origin is mine:
            assert went_on == undisturbed, "the same bits"
        assert went_on == pytest.approx(undisturbed, rel=ROUNDING[found.precision][0])


def test_the_finished_model_is_gathered_where_it_is_written_only(found: Found) -> None:
    first, *others = found.ranks
    assert first["gathered_average_is_the_average"]
    assert first["kept_elsewhere"] == len(first["whole"]["names"][layout.EMA_WEIGHTS])
    assert not any(each["kept_elsewhere"] for each in others)
