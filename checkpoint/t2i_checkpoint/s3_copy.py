"""Server-side copy of objects above CopyObject's 5 GiB: UploadPartCopy, every part conditional on the source.

Apart from `s3.py` for length; errors are translated there.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

    from t2i_checkpoint.store import Checksum

_COMBINABLE = {"CRC64NVME", "CRC32", "CRC32C"}


def copy_parts(  # noqa: PLR0913  # keyword-only facts about the source
    client: S3Client,
    source: dict[str, Any],
    target: dict[str, Any],
    *,
    size: int,
    etag: str,
    part_size: int,
    checksum: Checksum | None,
) -> None:
    """Copy `size` bytes from `source` to `target` (each Bucket and Key) in parts; nothing appears until the last one.

    The algorithm is named on creation: several stores otherwise answer InvalidPart at the end. The source's own
    algorithm makes source and copy comparable without reading either; versitygw 1.8 however gives every part the
    checksum of the *whole* source then, and stores a wrong one. That answer is recognised and another algorithm used.
    """
    for algorithm in _algorithms(checksum):
        upload = client.create_multipart_upload(
            **target,
            ChecksumAlgorithm=algorithm,  # type: ignore[arg-type]  # one of botocore's literals
            ChecksumType="FULL_OBJECT",
        )
        upload_id = upload["UploadId"]
        parts: list[Any] = []
        try:
            for number, start in enumerate(range(0, size, part_size), start=1):
                result: dict[str, Any] = client.upload_part_copy(  # type: ignore[assignment]  # a TypedDict
                    **target,
                    UploadId=upload_id,
                    PartNumber=number,
                    CopySource=source,  # type: ignore[arg-type]  # a TypedDict of exactly these two
                    CopySourceIfMatch=f'"{etag}"',
                    CopySourceRange=f"bytes={start}-{min(start + part_size, size) - 1}",
                )["CopyPartResult"]
                sums = {name: value for name, value in result.items() if name.startswith("Checksum")}
                if checksum is not None and size > part_size and checksum.value in sums.values():
                    break
                parts.append({"PartNumber": number, "ETag": result["ETag"], **sums})
            else:
                client.complete_multipart_upload(
                    **target, UploadId=upload_id, ChecksumType="FULL_OBJECT", MultipartUpload={"Parts": parts}
                )
                return
            client.abort_multipart_upload(**target, UploadId=upload_id)
        except BaseException:
            # Parts that nobody completes are paid for; the first error is the one to report.
            with contextlib.suppress(client.exceptions.ClientError):
                client.abort_multipart_upload(**target, UploadId=upload_id)
            raise


def _algorithms(checksum: Checksum | None) -> list[str]:
    """Return what to try; only the CRCs can be combined from parts into a full-object checksum."""
    if checksum is not None and checksum.algorithm in _COMBINABLE:
        return [checksum.algorithm, "CRC32" if checksum.algorithm == "CRC64NVME" else "CRC64NVME"]
    return ["CRC64NVME"]
