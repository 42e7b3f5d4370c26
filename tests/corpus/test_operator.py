"""Every row through the operator: the preflight that it runs in a thread, and what it then decides."""

from collections.abc import Callable

import pytest

from t2i_checkpoint.choose import Archive, Choice, choose, decisive
from t2i_checkpoint.inspect import Judgement, Survey
from t2i_dev.corpus.placed import PlacedCorpus
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.table import ROWS
from t2i_operator.preflight import Keys, run_preflight
from t2i_operator.probes import Probes


@pytest.mark.parametrize("row", [row for row in ROWS if not row.only_with_text_encoder], ids=lambda row: row.name)
def test_the_operator_says_the_same(
    corpus: PlacedCorpus,
    row: Row,
    expect: Callable[[Row, Judgement | None, Survey], None],
    then_of: Callable[[Choice], Then],
) -> None:
    job = corpus.job(row, "s3")
    facts = run_preflight(job, 1, Keys(checkpoint=corpus.credentials), Probes())
    assert facts.error is None, facts.error
    assert facts.survey is not None
    choice = choose(facts.survey, job.spec.checkpoint.on_incompatible)
    fits_beside = isinstance(choice, Archive) and facts.survey.resumable is not None
    expect(row, facts.survey.resumable if fits_beside else decisive(facts.survey, choice), facts.survey)
    assert then_of(choice) is row.then
