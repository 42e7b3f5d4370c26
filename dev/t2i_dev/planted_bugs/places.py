"""Where planted bugs go, and how the tests that must notice them are named."""

CHECKPOINT = "checkpoint/t2i_checkpoint"
UNIT = "tests/checkpoint"


def cell(suite: str, row: str) -> str:
    """A row of the crash matrix as pytest names it."""
    return f"tests/crash/test_matrix.py::test_no_kill_at_any_side_effect_loses_anything[{suite}: {row}]"
