"""What only a directory can do wrong: half-written files, links, permissions."""

from __future__ import annotations

from pathlib import Path

import pytest

from t2i_checkpoint.local import PARTIAL_FOLDER, LocalStore
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
