"""A prefix of millions of objects is refused with a way out, never judged by half, and never held in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import pytest

from t2i_checkpoint.archive import ArchiveError, unfinished_archives
from t2i_checkpoint.archive_list import archive_marks
from t2i_checkpoint.inspect import judge_folder, survey, survey_location
from t2i_checkpoint.listing import TooManyObjects, list_bounded
from t2i_checkpoint.store import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from t2i_checkpoint.local import LocalStore
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Crowded:
    """Lists a number of objects below one prefix that do not exist: half a minute of writing is not needed."""

    uri = "s3://bucket/run"

    def __init__(self, store: Store, at: str, name: Callable[[int], str], objects: int | None = None) -> None:
        self._store, self._at, self._name, self._objects, self.listed = store, at, name, objects, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if self._at.startswith(prefix) or prefix.startswith(self._at):
            for number in islice(count(), self._objects):
                self.listed += 1
                yield ObjectInfo(self._at + self._name(number), 1, "e", NOW)


def test_as_many_as_are_allowed_are_listed_and_not_one_more(directory_store: LocalStore) -> None:
    for number in range(3):
        directory_store.put(f"folder/{number}", b"x")
    assert [info.key for info in list_bounded(directory_store, "folder/", 3)] == ["folder/0", "folder/1", "folder/2"]
    with pytest.raises(TooManyObjects, match=r"list file:.*/folder/….*more than 2 objects.*Move elsewhere"):
        list(list_bounded(directory_store, "folder/", 2))


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(survey, id="a survey"),
        pytest.param(survey_location, id="a location"),
        pytest.param(lambda store, wanted: judge_folder(store, "checkpoint-1", wanted), id="one checkpoint"),
    ],
)
def test_no_survey_judges_a_part_of_an_endless_listing(
    directory_store: LocalStore, wanted: Wanted, look: Callable[[Store, Wanted], object]
) -> None:
    endless = Crowded(directory_store, "checkpoint-1/", lambda number: f"unet/{number}.safetensors")
    with pytest.raises(TooManyObjects, match="nothing was changed"):
        look(endless, wanted)
    assert endless.listed == 100_001


def test_what_lies_directly_at_the_root_is_not_judged_by_half(directory_store: LocalStore, wanted: Wanted) -> None:
    # Formerly the first 5000 objects were taken for all.
    with pytest.raises(TooManyObjects):
        survey(Crowded(directory_store, "step_1/", lambda number: f"{number}.distcp"), wanted)


def test_thousands_of_checkpoints_are_not_read_one_by_one(directory_store: LocalStore, wanted: Wanted) -> None:
    many = Crowded(directory_store, "checkpoint-", lambda number: f"{number}/model.safetensors", 5001)
    with pytest.raises(TooManyObjects, match=r"5,001 checkpoints.*retain"):
        survey(many, wanted)
    assert directory_store.traffic.requests == 0


def test_archives_are_looked_through_to_an_end(directory_store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2i_checkpoint.archive_list.MAX_SEEN", 1000)
    with pytest.raises(TooManyObjects, match="archive/"):
        archive_marks(Crowded(directory_store, "archive/20260101T000000Z-x/", str))


def test_forged_intents_stop_before_they_fill_the_memory(
    directory_store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2i_checkpoint.archive._MAX_UNFINISHED", 1)
    for second in range(3):
        name = f"20251214T22175{second}Z-x"
        directory_store.put(f"archive/{name}/INTENT.json", an_intent(name))
    with pytest.raises(ArchiveError, match=r"too many\. Nothing was deleted"):
        unfinished_archives(directory_store)


def an_intent(name: str) -> bytes:
    return (
        f'{{"format": "t2i.dev/archive-intent", "name": "{name}", "createdAt": "2026-01-01T00:00:00Z", '
        '"folders": [{"folder": "checkpoint-1", "step": 1, "verdict": "foreign", "reason": "x", "explanation": ""}], '
        f'"entries": [{{"source": "checkpoint-1/a", "destination": "archive/{name}/checkpoint-1/a", '
        '"size": 1, "etag": "e", "modifiedAt": "2026-01-01T00:00:00Z"}]}'
    ).encode()
