"""The corpus itself: enough rows, each with its own name and reason to exist, every verdict among them."""

from collections import Counter

from t2i_api.status import VerdictKind
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.table import ROWS


def test_there_are_at_least_sixty_rows_and_every_name_is_its_own() -> None:
    names = Counter(row.name for row in ROWS)
    assert len(names) == len(ROWS) >= 60
    assert not [name for name in names if name != name.lower() or " " in name]


def test_every_row_says_why() -> None:
    assert [row.name for row in ROWS if len(row.why) < 10] == []


def test_every_verdict_and_every_outcome_occurs() -> None:
    assert {row.verdict for row in ROWS} == {None, *VerdictKind}
    assert {row.then for row in ROWS} == set(Then)


def test_only_what_was_read_completely_is_archived_and_only_what_fits_is_resumed() -> None:
    def contradicts_itself(row: Row) -> bool:
        may_be_archived = {VerdictKind.FOREIGN, VerdictKind.PARTIAL, VerdictKind.IDENTICAL}
        may_be_resumed = {VerdictKind.IDENTICAL, VerdictKind.RENAMED}
        return (row.then is Then.ARCHIVE and row.verdict not in may_be_archived) or (
            row.then is Then.RESUME and row.verdict not in may_be_resumed
        )

    assert [row.name for row in ROWS if contradicts_itself(row)] == []
