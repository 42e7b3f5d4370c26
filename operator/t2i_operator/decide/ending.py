"""Why an attempt ended, and what follows: exit status and pod conditions to a cause, once, for status and restarts."""

from dataclasses import dataclass

from t2i_api.conditions import State
from t2i_api.progress import ExitCode, reason_of
from t2i_operator.decide.reasons import Cause
from t2i_operator.observed import AttemptFacts, PodFacts

_SIGKILL, _SIGTERM = 137, 143

# Trying again cannot help: the same input fails the same way.
_DETERMINISTIC = {
    ExitCode.BAD_CONFIGURATION: State.BAD_CONFIGURATION,
    ExitCode.WORLD_SIZE_MISMATCH: State.WORLD_SIZE_MISMATCH,
    ExitCode.DATA_INVALID: State.DATA_INVALID,
    ExitCode.OUT_OF_MEMORY: State.OUT_OF_MEMORY,
    ExitCode.NON_FINITE_LOSS: State.NON_FINITE_LOSS,
}


@dataclass(frozen=True)
class Ending:
    """The end of an attempt that did not succeed; `final` is the state of a job that must not be tried again."""

    cause: str
    message: str
    counted: bool = True
    final: State | None = None


def classify(facts: AttemptFacts) -> Ending:
    """Return the root cause: disruption first, then the pod that failed by itself, then those it took along."""
    disrupted = next((pod for pod in facts.pods if pod.disrupted), None)
    if disrupted is not None:
        return Ending(Cause.DISRUPTED, f"pod {disrupted.name} was disrupted (preemption, eviction or node loss)", False)
    failed = [pod for pod in facts.pods if pod.exit_code not in {None, 0}]
    if not failed:
        return Ending(Cause.POD_LOST, f"a pod vanished: {facts.failure_message or 'its Job failed'}")
    return _of_pod(min(failed, key=_precedence))


def _precedence(pod: PodFacts) -> tuple[int, int]:
    code = pod.exit_code
    if pod.out_of_memory or code in _DETERMINISTIC or code == ExitCode.INCOMPATIBLE_WEIGHTS:
        rank = 0
    elif code in {ExitCode.PEER_LOST, ExitCode.INTERRUPTED, _SIGTERM}:
        rank = 2  # usually the echo of another pod's end
    else:
        rank = 1
    return rank, pod.index


def _of_pod(pod: PodFacts) -> Ending:
    words = pod.termination.message if pod.termination else ""
    where = f"pod {pod.name}"
    if pod.out_of_memory:
        return Ending(
            Cause.OUT_OF_MEMORY,
            f"{where} exceeded its memory limit: raise workers.template.resources.memory or lower the batch size",
            final=State.OUT_OF_MEMORY,
        )
    try:
        code = ExitCode(pod.exit_code or 0)
    except ValueError:
        return _of_signal(pod, where)
    if code in _DETERMINISTIC:
        return Ending(reason_of(code), f"{where}: {words or reason_of(code)}", final=_DETERMINISTIC[code])
    counted = code is not ExitCode.INTERRUPTED
    return Ending(reason_of(code), f"{where}: {words or f'exit status {int(code)}'}", counted)


def _of_signal(pod: PodFacts, where: str) -> Ending:
    if pod.exit_code == _SIGKILL:
        return Ending(Cause.POD_KILLED, f"{where} was killed (SIGKILL)")
    if pod.exit_code == _SIGTERM:
        return Ending(Cause.POD_TERMINATED, f"{where} was terminated before it could save", counted=False)
    return Ending(Cause.CRASHED, f"{where} ended with exit status {pod.exit_code}; see its log")
