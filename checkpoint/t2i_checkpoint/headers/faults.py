"""Why a header could not be believed: the reasons that end up in an `unreadable` verdict."""

from __future__ import annotations

from enum import StrEnum


class HeaderFault(StrEnum):
    """CamelCase constants, stable: they appear as reasons in conditions and in `-o json`."""

    HEADER_TRUNCATED = "HeaderTruncated"
    HEADER_TOO_LARGE = "HeaderTooLarge"
    HEADER_NOT_JSON = "HeaderNotJson"
    DUPLICATE_KEY = "HeaderDuplicateKey"
    ENTRY_INVALID = "HeaderEntryInvalid"
    DTYPE_UNKNOWN = "HeaderDtypeUnknown"
    SHAPE_INVALID = "HeaderShapeInvalid"
    OFFSETS_INVALID = "HeaderOffsetsInvalid"
    FILE_SIZE_DIFFERS = "HeaderFileSizeDiffers"
    INDEX_INVALID = "ShardIndexInvalid"
    SHARD_MISSING = "ShardMissing"


class HeaderError(Exception):
    """A file's header is not what the format asks for; `fault` is the reason, the message the detail."""

    def __init__(self, fault: HeaderFault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
