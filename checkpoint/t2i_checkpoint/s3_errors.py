"""What an S3 answer means: error code and HTTP status to our `StoreError` family. Pure; `s3.py` calls it."""

from __future__ import annotations

from t2i_checkpoint.store import (
    AccessDenied,
    AlreadyExists,
    InvalidLocation,
    NotFound,
    NotSupported,
    ObjectChanged,
    StoreError,
    StoreUnavailable,
)

_DENIED = {
    "AccessDenied",
    "InvalidAccessKeyId",
    "XAdminUserNotFound",  # versitygw's word for it
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "AllAccessDisabled",
    "RequestTimeTooSkewed",
}
_LOCATION = {
    "NoSuchBucket",
    "InvalidBucketName",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "KeyTooLongError",
}
_NOT_SUPPORTED = {
    "NotImplemented",
    "MethodNotAllowed",
    "InvalidRequest",
    "InvalidArgument",
    "InvalidPart",
    "MalformedXML",
}
_FORBIDDEN, _NOT_FOUND, _NOT_ALLOWED, _CONFLICT, _PRECONDITION, _NOT_IMPLEMENTED = 403, 404, 405, 409, 412, 501
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_NEEDS = {
    "list": "s3:ListBucket",
    "head": "s3:GetObject and s3:ListBucket",
    "read": "s3:GetObject",
    "download": "s3:GetObject",
    "create": "s3:PutObject",
    "put": "s3:PutObject",
    "upload": "s3:PutObject",
    "copy": "s3:GetObject and s3:PutObject",
    "delete": "s3:DeleteObject",
    "abort": "s3:ListBucketMultipartUploads and s3:AbortMultipartUpload",
}


def translate(  # noqa: PLR0913  # every part of the message is named by the caller
    code: str, status: int, message: str, *, uri: str, operation: str, key: str | None
) -> StoreError:
    """Return the error to raise for an S3 error `code` and HTTP `status` (0 where there was no answer)."""
    said = f"{code} ({status})" if status else code
    if message.strip(". "):
        said += f": {message.rstrip('. ')}"
    kind: type[StoreError]
    if code in _LOCATION or code.startswith(("30", "ParentIsObject", "ObjectParentIsFile")):
        kind, way_out = InvalidLocation, "Check bucket, endpoint and key; the bucket must exist beforehand"
    elif code in _DENIED or status == _FORBIDDEN:
        needs = f": to {operation} needs {_NEEDS[operation]}" if operation in _NEEDS else ""
        kind, way_out = AccessDenied, f"Check the credentials and the bucket's policy{needs}"
    elif code == "PreconditionFailed" or status == _PRECONDITION:
        if operation == "create":
            kind, way_out = AlreadyExists, "Create-only objects are never replaced"
        else:
            kind, way_out = ObjectChanged, "Something replaced the object meanwhile; run again"
    elif code in {"NoSuchKey", "NotFound", "NoSuchUpload"} or status == _NOT_FOUND:
        kind, way_out = NotFound, "Check the key"
    elif status == _CONFLICT and code not in {"ConditionalRequestConflict", "OperationAborted"}:
        kind, way_out = InvalidLocation, "A key must not be the folder of another"
    elif code in _NOT_SUPPORTED or status in {_NOT_ALLOWED, _NOT_IMPLEMENTED}:
        kind, way_out = NotSupported, "The store does not know this request; `t2i doctor` shows what it honours"
    else:
        kind, way_out = StoreUnavailable, "The same call may succeed later"
    return kind(said, uri=uri, operation=operation, key=key, way_out=way_out)
