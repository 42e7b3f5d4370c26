"""Where planted bugs go, and how the tests that must notice them are named."""

CHECKPOINT = "checkpoint/t2i_checkpoint"
UNIT = "tests/checkpoint"


def cell(suite: str, row: str) -> str:
    """A row of the crash matrix as pytest names it."""
    return f"tests/crash/test_matrix.py::test_nothing_is_lost_and_a_restart_finishes[{suite}: {row}]"
