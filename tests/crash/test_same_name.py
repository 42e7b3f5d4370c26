"""Two processes that name their archives alike (same second, same label): the first intent stays what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.archive import ArchiveError, plan_archive, run_archive
from t2i_checkpoint.archive_decision import record_intent
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.inspect import survey
from t2i_dev.crash.archiving import NOW, MoveScenario
from t2i_dev.crash.checkpoints import wanted

if TYPE_CHECKING:
    from t2i_dev.crash.laboratory import Laboratory


def test_an_intent_is_never_replaced_by_another_of_the_same_name(laboratory: Laboratory) -> None:
    prefix, scenario = "same-name/", MoveScenario()
    laboratory.reader.fill(prefix, scenario.start)
    store = laboratory.open(prefix, laboratory.store.endpoint)
    newest, oldest = survey(store, wanted()).archivable
    first = plan_archive([newest], now=NOW, label="same")
    second = plan_archive([oldest], now=NOW, label="same")
    record_intent(store, first)  # and killed
    with pytest.raises(ArchiveError, match="another archive with the same name"):
        run_archive(store, second)
    assert [manifest.folders for manifest in finish_archives(store, wanted())] == [first.folders]
    assert list(scenario.violations(laboratory.reader.read(prefix))) == []
