"""Findings stay few and readable for programs that are older than the trainer that wrote them."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from t2i_api.findings import MAXIMUM_FINDINGS, MAXIMUM_SENTENCE, Finding, FindingName, Severity, remember
from t2i_api.progress import MAXIMUM_TERMINATION_BYTES, ExitCode, Progress, TerminationMessage

findings = st.builds(
    Finding,
    name=st.integers(0, 30).map(lambda number: f"Name{number}"),
    severity=st.sampled_from(Severity),
    step=st.integers(0, 100),
    sentence=st.just("x" * MAXIMUM_SENTENCE),
)


@given(st.lists(findings, max_size=60))
def test_few_are_kept_the_first_of_each_name_and_errors_before_warnings(told: list[Finding]) -> None:
    kept: list[Finding] = []
    for finding in told:
        kept = remember(kept, finding)
    names = [each.name for each in kept]
    assert len(names) == len(set(names)) <= MAXIMUM_FINDINGS
    first = {each.name: each.severity for each in reversed(told)}
    if any(severity is Severity.ERROR and name not in names for name, severity in first.items()):
        assert all(each.severity is Severity.ERROR for each in kept)


def test_a_reader_that_is_older_reads_names_and_severities_that_it_does_not_know() -> None:
    text = '{"name": "OfTomorrow", "severity": "Catastrophe", "step": 4, "sentence": "Something.", "more": 1}'
    finding = Finding.model_validate_json(text)
    assert (finding.name, finding.severity) == ("OfTomorrow", Severity.WARNING)


def test_every_name_of_ours_can_be_written() -> None:
    for name in FindingName:
        Finding(name=name, step=0, sentence="Said.")


def test_a_termination_message_with_findings_is_kept_whole() -> None:
    many = [Finding(name=f"Name{number}", step=number, sentence="ü" * MAXIMUM_SENTENCE) for number in range(16)]
    progress = Progress(attempt=1, world_size=1, target_steps=10, findings=many, updated_at=datetime.now(UTC))
    said = TerminationMessage(exit_code=ExitCode.CRASHED, reason="Crashed", message="short", progress=progress)
    text = said.to_log()
    assert len(text.encode()) <= MAXIMUM_TERMINATION_BYTES
    read = TerminationMessage.model_validate_json(text).progress
    assert read is not None
    assert [each.name for each in read.findings] == ["Name0", "Name1", "Name2"]
