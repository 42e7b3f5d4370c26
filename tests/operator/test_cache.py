"""The cache of custom resources: the newest version wins, whoever brings it and in whatever order."""

from typing import Any

from t2i_api.attempt import LABEL_JOB
from t2i_operator.cache import JobCache, JobKey

KEY = JobKey("team", "emoji")


def job(version: str, *, uid: str = "u1", created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "emoji", "uid": uid, "resourceVersion": version}
    return {"metadata": {**metadata, "creationTimestamp": created}}


def version(cache: JobCache) -> str | None:
    raw = cache.get(KEY)
    return raw["metadata"]["resourceVersion"] if raw else None


def test_a_late_watch_event_does_not_hide_what_we_wrote() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(job("10"))
    cache.put(job("9"))
    assert version(cache) == "10"


def test_only_news_marks_the_key() -> None:
    marked: list[JobKey] = []
    cache = JobCache(marked.append)
    cache.put(job("9"))
    cache.put(job("9"))
    cache.put(job("10"))
    assert marked == [KEY, KEY]


def test_the_end_of_an_old_object_does_not_remove_the_new_one_of_its_name() -> None:
    cache = JobCache(lambda _key: None)
    cache.put(job("10", uid="u1"))
    cache.put(job("12", uid="u2", created="2026-01-02T00:00:00Z"))
    cache.drop(job("11", uid="u1"))
    assert version(cache) == "12"
    cache.put(job("13", uid="u1"))
    assert version(cache) == "12"
    cache.drop(job("14", uid="u2"))
    assert version(cache) is None
    assert len(cache) == 0


def test_a_complete_listing_shows_what_is_gone_and_marks_everything() -> None:
    marked: list[JobKey] = []
    cache = JobCache(marked.append)
    cache.put(job("10"))
    cache.replace([])
    assert version(cache) is None
    cache.replace([job("11")])
    marked.clear()
    cache.replace([job("11")])
    assert marked == [KEY]


def test_a_child_marks_the_job_that_its_label_names() -> None:
    marked: list[JobKey] = []
    cache = JobCache(marked.append)
    cache.mark_owner({"metadata": {"namespace": "team", "name": "emoji-1-0", "labels": {LABEL_JOB: "emoji"}}})
    cache.mark_owner({"metadata": {"namespace": "team", "name": "stranger"}})
    assert marked == [KEY]
