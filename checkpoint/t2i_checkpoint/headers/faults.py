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
    TOO_MANY_TENSORS = "TooManyTensors"
    NOT_A_TORCH_FILE = "NotATorchFile"
    LEGACY_PICKLE = "LegacyPickle"
    TORCH_SCRIPT = "TorchScriptProgram"
    ZIP_INVALID = "ZipInvalid"
    ZIP_COMPRESSED = "ZipCompressed"
    ZIP_ENCRYPTED = "ZipEncrypted"
    ZIP_OVERLAPPING = "ZipMembersOverlap"
    ZIP_SIZE_DIFFERS = "ZipSizeDiffers"
    BYTE_ORDER = "ByteOrderUnsupported"
    PICKLE_INVALID = "PickleInvalid"
    PICKLE_TOO_LARGE = "PickleTooLarge"
    PICKLE_FORBIDDEN = "PickleForbidden"
    TENSOR_INVALID = "TensorInvalid"
    DISTRIBUTED_INVALID = "DistributedMetadataInvalid"
    DISTRIBUTED_NOT_READABLE = "DistributedNotReadable"


class HeaderError(Exception):
    """A file's header is not what the format asks for; `fault` is the reason, the message the detail.

    `is_short` tells an upload that was cut off, or is still going on, from a file that is wrong.
    """

    def __init__(self, fault: HeaderFault, detail: str, *, is_short: bool = False) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail
        self.is_short = is_short or fault in {HeaderFault.HEADER_TRUNCATED, HeaderFault.SHARD_MISSING}
