"""What the planted faults and the healthy runs showed, as Markdown. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2i_dev.planted_faults.catalogue import HealthyRun, PlantedFault
    from t2i_dev.planted_faults.laboratory import Ran, Said

MOST_STEPS: Final = 200
MOST_SECONDS: Final = 180


@dataclass(frozen=True)
class Outcome:
    """A fault and what its run said."""

    fault: PlantedFault
    ran: Ran

    @property
    def named(self) -> Said | None:
        """The finding that names the fault, if it was said in time: within 200 steps or 3 minutes."""
        return next(
            (
                said
                for said in self.ran.said
                if said.name == self.fault.finding and (said.step <= MOST_STEPS or said.seconds <= MOST_SECONDS)
            ),
            None,
        )

    @property
    def others(self) -> tuple[str, ...]:
        """What else was said on the way."""
        return tuple(dict.fromkeys(said.name for said in self.ran.said if said.name != self.fault.finding))


def table(outcomes: Sequence[Outcome], healthy: Sequence[tuple[HealthyRun, Ran]], minutes: float) -> str:
    """Return the tables as Markdown."""
    named = sum(outcome.named is not None for outcome in outcomes)
    quiet = sum(not ran.said for _, ran in healthy)
    counts = f"{named} of {len(outcomes)} faults named, {quiet} of {len(healthy)} healthy runs silent"
    lines = [
        f"**{counts}; {minutes:.0f} minutes.**",
        "",
        "| fault | how planted | finding | at step | after | said beside it | sentence |",
        "|---|---|---|---|---|---|---|",
        *(_row(outcome) for outcome in outcomes),
        "",
        "Runs of the same length without a fault:",
        "",
        "| healthy run | said | took |",
        "|---|---|---|",
    ]
    for run, ran in healthy:
        said = "; ".join(f"{each.name} at step {each.step}: {each.sentence}" for each in ran.said) or "nothing"
        lines.append(f"| {run.name} | {said} | {ran.seconds:.0f} s |")
    return "\n".join(lines) + "\n"


def _row(outcome: Outcome) -> str:
    fault, said = outcome.fault, outcome.named
    if said is None:
        others = ", ".join(outcome.others) or "nothing"
        return f"| {fault.name} | {fault.how} | **not named** ({fault.finding}) | | | {others} | |"
    processes = f", on {fault.setting.processes} processes" if fault.setting.processes > 1 else ""
    return (
        f"| {fault.name} | {fault.how}{processes} | {said.name} | {said.step} | {said.seconds:.0f} s | "
        f"{', '.join(outcome.others)} | {said.sentence} |"
    )
