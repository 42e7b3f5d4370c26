import json
import os
import subprocess
import sys

import pytest

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import AccessDenied, Credentials, Store
from t2i_dev.s3_server import S3Server
from t2i_dev.story.prepare import DATA_PREFIX, TEXT_ENCODER_PREFIX, prepare_bucket, upload_pictures
from t2i_dev.story.text_encoder import packaged_files
from t2i_dev.story.upload import Uploaded


def test_everything_lies_where_the_examples_look_and_a_second_run_sends_nothing(store: Store) -> None:
    first = prepare_bucket(store)
    assert (first.pictures, first.text_encoder) == (Uploaded(185, 0), Uploaded(8, 0))
    listed = {info.key: info.size for info in store.list(f"{DATA_PREFIX}/")}
    rows = [json.loads(line) for line in store.read(f"{DATA_PREFIX}/metadata.jsonl").splitlines()]
    assert set(listed) == {f"{DATA_PREFIX}/{row['file_name']}" for row in rows} | {f"{DATA_PREFIX}/metadata.jsonl"}
    assert {"file_name": "red_heart-sky_blue.png", "text": "red heart on a sky blue background"} in rows
    for name, path in packaged_files().items():
        stored = store.head(f"{TEXT_ENCODER_PREFIX}/{name}")
        assert stored is not None
        assert stored.size == path.stat().st_size
    written = store.traffic.bytes_written
    second = prepare_bucket(store)
    assert (second.pictures, second.text_encoder) == (Uploaded(0, 185), Uploaded(0, 8))
    assert store.traffic.bytes_written == written


def test_a_picture_of_equal_size_and_other_content_is_replaced(store: Store) -> None:
    upload_pictures(store, "data")
    right = store.read("data/red_heart-white.png")
    store.put("data/red_heart-white.png", bytes(len(right)))
    assert upload_pictures(store, "data") == Uploaded(1, 184)
    assert store.read("data/red_heart-white.png") == right


def test_a_failed_upload_leaves_no_metadata_behind(s3_server: S3Server, store: Store) -> None:
    wrong = open_store(store.uri, endpoint=s3_server.endpoint, credentials=Credentials(s3_server.access_key, "wrong"))
    with pytest.raises(AccessDenied):
        upload_pictures(wrong, "data")
    assert store.head("data/metadata.jsonl") is None


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("nowhere://x", "Write s3://bucket/prefix"), ("s3://missing-bucket", "missing-bucket")],
)
def test_the_command_says_what_is_wrong_without_a_traceback(s3_server: S3Server, uri: str, expected: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "t2i_dev.story.prepare", uri],
        env={**os.environ, **s3_server.environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert expected in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
