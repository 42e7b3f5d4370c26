"""The moments of a kill matrix: every phase gets its turn, and a seed gives the same ones again."""

import signal
from itertools import islice

from t2i_dev.kill_matrix.board import Phase
from t2i_dev.kill_matrix.moments import compilation_kills, random_kills


def test_every_phase_comes_in_turn() -> None:
    phases = (Phase.STEP, Phase.UPLOAD, Phase.ROTATION)
    assert [kill.phase for kill in islice(random_kills(1, phases), 7)] == [*phases, *phases, Phase.STEP]


def test_a_seed_gives_the_same_moments_again_and_another_one_others() -> None:
    first, again, other = (list(islice(random_kills(seed, tuple(Phase)), 20)) for seed in (1, 1, 2))
    assert first == again != other


def test_one_round_of_compilations_has_both_signals_on_a_cold_cache_and_on_what_others_left() -> None:
    kills = list(islice(compilation_kills(1, 28), 6))
    assert {kill.phase for kill in kills} == {Phase.COMPILATION}
    assert {(kill.signal, kill.cold) for kill in kills} == {
        (number, cold) for number in (signal.SIGKILL, signal.SIGTERM) for cold in (False, True)
    }
    assert all(1 <= kill.libraries <= 28 for kill in kills)


def test_a_cold_start_follows_a_stop_that_left_a_checkpoint() -> None:
    kills = list(islice(compilation_kills(1, 28), 6))
    first = next(place for place, kill in enumerate(kills) if kill.cold)
    assert kills[first - 1].signal is signal.SIGTERM
