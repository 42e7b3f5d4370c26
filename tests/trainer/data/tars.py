"""Webdataset tars of a few small members, in the formats that writers choose."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def tar_of(files: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002  # tarfile's word
    """Return a tar with its end; PAX gives each member a second header, for times in fractions of seconds."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=format) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1_700_000_000.5
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()
