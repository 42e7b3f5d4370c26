"""Chains of killed runs beside calm ones, checked against each other; and the table that tells of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from t2i_dev.kill_matrix.board import Phase
from t2i_dev.kill_matrix.bucket import Bucket
from t2i_dev.kill_matrix.chain import Chain, Killed
from t2i_dev.kill_matrix.compiled_code import CompiledCode
from t2i_dev.kill_matrix.evidence import TOLERANCE, Losses, compare, last_weights, row_faults, rows_of, sample_faults
from t2i_dev.kill_matrix.job import BATCH, RETAIN, Place, job_at
from t2i_dev.kill_matrix.moments import compilation_kills, random_kills

EAGER_PHASES = tuple(phase for phase in Phase if phase is not Phase.COMPILATION)


@dataclass(frozen=True)
class Plan:
    """A chain to be run: always on the same world (then everything is bit-equal), or on one after the other.

    One that is `compiled` (training.compile: WholeGraph) is killed while it compiles, an eager one in all other phases.
    """

    name: str
    worlds: Sequence[int]
    kills: int
    compiled: bool = False


@dataclass(frozen=True)
class Result:
    """One chain that came to its end."""

    plan: Plan
    kills: tuple[Killed, ...]
    attempts: int
    losses: Losses
    same_weights: bool
    faults: tuple[str, ...]


PLANS = (
    Plan("one process", (1,), 18),
    Plan("two processes", (2,), 14),
    Plan("1, 2, 4, 1 processes", (1, 2, 4, 1), 18),
    Plan("one process, compiled", (1,), 6, compiled=True),
)


def run_plans(  # noqa: PLR0913  # keyword-only options of one command
    folder: Path, place: Place, plans: Sequence[Plan], *, steps: int, seed: int = 1, scale: float = 1.0
) -> tuple[Result, ...]:
    """Run every plan, a chain after the other until its kills are done."""
    pictures = place.prepare()
    eager_kills = random_kills(seed, EAGER_PHASES)
    calm: dict[tuple[int, bool], Chain] = {}
    results = []
    for plan in plans:
        left, round_ = max(1, round(plan.kills * scale)), 0
        setting = plan.worlds[0], plan.compiled
        if setting not in calm:
            name = f"calm-{plan.worlds[0]}-compiled" if plan.compiled else f"calm-{plan.worlds[0]}"
            calm[setting] = _chain(folder, place, name, plan.worlds[:1], steps, compiled=plan.compiled)
            calm[setting].run(iter(()), 0)
        kills = compilation_kills(seed, calm[setting].code.begun()) if plan.compiled else eager_kills
        while left > 0:
            round_ += 1
            name = f"{plan.name.replace(', ', '-').replace(' ', '-')}-{round_}"
            chain = _chain(folder, place, name, plan.worlds, steps, compiled=plan.compiled)
            chain.run(kills, left)
            left -= len(chain.kills)
            results.append(_result(plan, chain, calm[setting].bucket.root, steps, pictures))
    return tuple(results)


def _chain(  # noqa: PLR0913  # a chain has as many parts
    folder: Path, place: Place, name: str, worlds: Sequence[int], steps: int, *, compiled: bool
) -> Chain:
    own = folder / name
    job = job_at(place, name, steps=steps, compiled=compiled)
    return Chain(name, own, Bucket(place.directory / name, RETAIN), CompiledCode(own / "cache"), job, worlds)


def _result(plan: Plan, chain: Chain, calm: Path, steps: int, pictures: int) -> Result:
    wild, reference = rows_of(chain.bucket.root), rows_of(calm)
    faults = [*chain.faults, *row_faults(wild, steps)]
    faults += sample_faults(chain.folder, wild, batch=BATCH, pictures=pictures)
    losses = compare(reference, wild) if len(wild) == len(reference) else Losses(identical=False, furthest=float("inf"))
    same = last_weights(chain.bucket.root, steps) == last_weights(calm, steps)
    if len(set(plan.worlds)) == 1 and not (losses.identical and same):
        faults.append(f"the run differs from the undisturbed one, by up to {losses.furthest:.1e} in its losses")
    if losses.furthest > TOLERANCE:
        faults.append(f"losses are up to {losses.furthest:.1e} from those of the undisturbed run")
    return Result(plan, tuple(chain.kills), chain.attempts, losses, same, tuple(faults))


def table(results: Sequence[Result], steps: int, seconds: float) -> str:
    """Return the tables as Markdown."""
    kills = [kill for result in results for kill in result.kills]
    attempts, faults = (sum(counts) for counts in zip(*((r.attempts, len(r.faults)) for r in results), strict=True))
    summary = f"{len(kills)} kills in {attempts} attempts of {len(results)} runs of {steps} steps"
    lines = [
        f"**{summary}, {seconds / 60:.0f} minutes; {faults} faults.**",
        "",
        "| run on | kills | attempts | losses | weights, averages, moments | faults |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        apart = "bit-equal" if result.losses.identical else f"within {result.losses.furthest:.1e}"
        weights = "bit-equal" if result.same_weights else "differ in rounding"
        wrong = "; ".join(result.faults) or "none"
        lines.append(
            f"| {result.plan.name} | {len(result.kills)} | {result.attempts} | {apart} | {weights} | {wrong} |"
        )
    lines += [
        "",
        "Which moments were met:",
        "",
        "| phase | SIGKILL | SIGKILL of one rank | SIGTERM | SIGTERM of one rank |",
    ]
    lines.append("|---|---|---|---|---|")
    met = Counter((kill.met, kill.kill.described) for kill in kills)
    columns = ("SIGKILL", "SIGKILL of one rank", "SIGTERM", "SIGTERM of one rank")
    for phase in Phase:
        counts = " | ".join(str(met[phase, column]) for column in columns)
        lines.append(f"| {phase.name.lower().replace('_', ' ')} | {counts} |")
    return "\n".join(lines) + "\n"
