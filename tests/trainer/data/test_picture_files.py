"""What a row names is read, or the row is broken and says why; only a folder that is a link ends the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.store import InvalidLocation
from t2i_trainer.data.picture_files import read_picture
from t2i_trainer.data.pictures import BrokenPictureError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A folder with `a.png` and, one deeper, `folder/b.png`."""
    store = LocalStore(tmp_path / "pictures")
    store.put("a.png", b"A")
    store.put("folder/b.png", b"B")
    return store


def test_a_file_is_read(store: LocalStore) -> None:
    assert read_picture(store, "folder/b.png", "line 7") == b"B"


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("nowhere.png", "nowhere.png that is not there"),
        ("folder", "folder that is no file: Is a directory"),
        ("a.png/b.png", "a.png/b.png that is no file: Not a directory"),
        (f"{'long' * 100}.png", "that is no file: File name too long"),
        ("../a.png", "cannot lie below .*: a key has no empty, '.' or '..' part"),
        ("/a.png", "cannot lie below"),
        ("", "cannot lie below .*: a key has 1 to 1024 bytes"),
    ],
)
def test_what_cannot_be_read_breaks_its_row(store: LocalStore, key: str, fault: str) -> None:
    with pytest.raises(BrokenPictureError, match=f"^line 7 names a picture .*{fault}"):
        read_picture(store, key, "line 7")


def test_a_linked_folder_is_no_fault_of_one_row(store: LocalStore, tmp_path: Path) -> None:
    """With --skip-broken everything in it would be left out."""
    (tmp_path / "pictures" / "linked").symlink_to(tmp_path / "pictures" / "folder")
    with pytest.raises(InvalidLocation):
        read_picture(store, "linked/b.png", "line 7")
