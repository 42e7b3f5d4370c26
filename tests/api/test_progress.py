"""What a trainer says of itself fits where Kubernetes keeps it."""

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from t2i_api.progress import (
    MAXIMUM_FRESH_NAMES,
    MAXIMUM_TERMINATION_BYTES,
    ExitCode,
    Progress,
    TerminationMessage,
    WarmStart,
    reason_of,
)
from t2i_api.status import VerdictKind


@given(message=st.text(max_size=2048), samples=st.text(max_size=512))
@example(message="\0" * 2048, samples="\0" * 512)
def test_a_termination_message_is_kept_whole(message: str, samples: str) -> None:
    progress = Progress(
        attempt=1,
        world_size=8,
        target_steps=10,
        last_checkpoint="step-00000010-0123456789ab-a1",
        last_samples=samples,
        warm_start=WarmStart(
            uri="s3://" + "x" * 1000,
            verdict=VerdictKind.PARTIAL,
            loaded=600,
            fresh=86,
            fresh_names=["y" * 200] * MAXIMUM_FRESH_NAMES,
        ),
        updated_at=datetime.now(UTC),
    )
    said = TerminationMessage(exit_code=ExitCode.CRASHED, reason="Crashed", message=message, progress=progress)
    text = said.to_log()
    assert len(text.encode()) <= MAXIMUM_TERMINATION_BYTES
    read = TerminationMessage.model_validate_json(text)
    assert read.exit_code is said.exit_code
    assert read.progress is not None
    assert read.progress.last_checkpoint == progress.last_checkpoint


def test_reasons_are_camel_case() -> None:
    assert reason_of(ExitCode.INCOMPATIBLE_WEIGHTS) == "IncompatibleWeights"


def test_exit_statuses_do_not_collide_with_those_of_signals() -> None:
    assert all(code < 128 for code in ExitCode)
