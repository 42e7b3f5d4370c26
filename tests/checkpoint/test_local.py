"""What only a directory can do wrong: half-written files, links, permissions."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.local_partial import PARTIAL_FOLDER
from t2i_checkpoint.store import InvalidLocation


def test_partial_files_of_a_killed_writer_are_never_listed(directory_store: LocalStore, tmp_path: Path) -> None:
    directory_store.put("a/b", b"x")
    (tmp_path / "bucket" / PARTIAL_FOLDER / "left-over").write_bytes(b"half")
    assert [info.key for info in directory_store.list("")] == ["a/b"]


def test_a_finished_write_leaves_no_partial_file(directory_store: LocalStore, tmp_path: Path) -> None:
    directory_store.create("a", b"x")
    directory_store.put("a", b"y")
    assert list((tmp_path / "bucket" / PARTIAL_FOLDER).iterdir()) == []


def test_deleting_the_last_object_removes_its_folders_but_not_the_root(
    directory_store: LocalStore, tmp_path: Path
) -> None:
    directory_store.put("a/b/c", b"x")
    directory_store.put("a/d", b"x")
    directory_store.delete(["a/b/c"])
    assert not (tmp_path / "bucket/a/b").exists()
    assert (tmp_path / "bucket/a").exists()
    directory_store.delete(["a/d"])
    assert (tmp_path / "bucket").exists()


def test_an_absent_root_is_an_empty_store(directory_store: LocalStore) -> None:
    assert list(directory_store.list("")) == []


def test_a_relative_root_is_refused() -> None:
    with pytest.raises(InvalidLocation, match="absolute"):
        LocalStore(Path("here"))


def test_a_linked_file_is_read_through(directory_store: LocalStore, tmp_path: Path) -> None:
    # The Hugging Face cache keeps models as links to blobs.
    (tmp_path / "blob").write_bytes(b"weights")
    directory_store.put("m/x", b"")
    (tmp_path / "bucket/m/model").symlink_to(tmp_path / "blob")
    assert directory_store.read("m/model") == b"weights"


@pytest.fixture
def linked(directory_store: LocalStore, tmp_path: Path) -> LocalStore:
    """A checkpoint, and a second name for it."""
    directory_store.put("checkpoint-5000/model.safetensors", b"weights")
    (tmp_path / "bucket/checkpoint-6000").symlink_to("checkpoint-5000")
    return directory_store


def test_a_linked_folder_is_refused_wherever_a_listing_would_meet_it(linked: LocalStore) -> None:
    # It was passed by in silence: a linked checkpoint was missed, or judged incomplete.
    for prefix in ("", "checkpoint", "checkpoint-6000/", "checkpoint-6000/model"):
        with pytest.raises(InvalidLocation, match=r"checkpoint-6000.* link to checkpoint-5000.*move the link"):
            list(linked.list(prefix))
    assert [info.key for info in linked.list("checkpoint-5000/")] == ["checkpoint-5000/model.safetensors"]
    assert list(linked.list("samples/")) == []


def test_nothing_is_read_written_or_deleted_through_a_linked_folder(linked: LocalStore, tmp_path: Path) -> None:
    # Archiving `checkpoint-6000` would have deleted the files of `checkpoint-5000`.
    key = "checkpoint-6000/model.safetensors"
    info = linked.head("checkpoint-5000/model.safetensors")
    assert info is not None
    for operation in (
        lambda: linked.head(key),
        lambda: linked.read(key),
        lambda: linked.checksum(key),
        lambda: linked.create("checkpoint-6000/new", b"x"),
        lambda: linked.put(key, b"x"),
        lambda: linked.upload(key, tmp_path / "bucket/checkpoint-5000/model.safetensors"),
        lambda: linked.copy(info.key, "checkpoint-6000/copy", source_etag=info.etag),
        lambda: linked.delete([key]),
        lambda: linked.delete_unchanged(replace(info, key=key)),
    ):
        with pytest.raises(InvalidLocation, match="link"):
            operation()
    assert linked.read(info.key) == b"weights"
    assert [path.name for path in (tmp_path / "bucket/checkpoint-5000").iterdir()] == ["model.safetensors"]


def test_a_link_that_leads_nowhere_is_no_object(directory_store: LocalStore, tmp_path: Path) -> None:
    directory_store.put("a/b", b"x")
    (tmp_path / "bucket/a/gone").symlink_to("nothing")
    assert [info.key for info in directory_store.list("")] == ["a/b"]


def test_the_root_itself_may_be_a_link(directory_store: LocalStore, tmp_path: Path) -> None:
    directory_store.put("a/b", b"x")
    (tmp_path / "link").symlink_to(tmp_path / "bucket")
    assert [info.key for info in LocalStore(tmp_path / "link").list("a")] == ["a/b"]


def test_a_listing_is_in_the_order_of_keys_not_of_folders(directory_store: LocalStore) -> None:
    keys = ["a", "a-b/x", "b/c", "b/c-d", "b/c.d", "b/d/e", "b0", "b/é"]
    for key in keys:
        directory_store.put(key, b"x")
    for prefix in ("", "b", "b/", "b/c", "b/d/", "c"):
        expected = sorted(key for key in keys if key.startswith(prefix))
        assert [info.key for info in directory_store.list(prefix)] == expected


def test_what_killed_writers_left_goes_after_a_day_and_nothing_else(
    directory_store: LocalStore, tmp_path: Path
) -> None:
    directory_store.put("a", b"x")
    folder, old = tmp_path / "bucket" / PARTIAL_FOLDER, time.time() - 25 * 3600
    for name in ("write-abcd1234", "tmpabcd1234", "somebodys-own", "write-12345678"):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (old, old))
    os.utime(folder / "write-12345678")  # another process is at it
    directory_store.put("b", b"x")  # a process sweeps once, at its first write
    assert len(list(folder.iterdir())) == 4
    LocalStore(tmp_path / "bucket").put("c", b"x")
    assert {path.name for path in folder.iterdir()} == {"somebodys-own", "write-12345678"}
