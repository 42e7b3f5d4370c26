"""The file of a picture that a row names: what is wrong with the name or the file breaks the row, not the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from t2i_checkpoint.store import InvalidLocation, NotFound, key_fault
from t2i_trainer.data.pictures import BrokenPictureError

if TYPE_CHECKING:
    from t2i_checkpoint.store import Store


def read_picture(store: Store, key: str, named_by: str) -> bytes:
    """Read a picture's file; raises BrokenPictureError where it is not there or cannot be, StoreError otherwise."""
    if (fault := key_fault(key)) is not None:
        raise BrokenPictureError(f"{named_by} names a picture {key!r} that cannot lie below {store.uri}: {fault}")
    try:
        return store.read(key)
    except NotFound as error:
        raise BrokenPictureError(f"{named_by} names a picture {store.uri}/{key} that is not there") from error
    except InvalidLocation as error:
        if not isinstance(error.__cause__, OSError):
            raise  # a folder that is a link: every picture in it would be left out in silence
        why = error.__cause__.strerror
        raise BrokenPictureError(f"{named_by} names a picture {store.uri}/{key} that is no file: {why}") from error
