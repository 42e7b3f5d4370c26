"""`t2i report`: the page made again from a folder or bucket, and opened by a browser that has only a signed link."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from PIL import Image

from t2i_checkpoint import layout
from t2i_dev.browser import Browser

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Place

    from t2i_dev.s3_server import S3Server

PROMPT = "a <b>red</b> circle"


def put_run(place: Place) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (24, 24), "red").save(picture, "WEBP")
    folder = layout.sample_folder(20)
    rows = [{"step": step, "loss": 1 / step, "attempt": 1} for step in range(1, 41)]
    place.store.put(layout.METRICS, "".join(json.dumps(row) + "\n" for row in rows).encode())
    place.store.put(f"{folder}/{layout.PROMPTS}", json.dumps({"prompts": [PROMPT]}).encode())
    place.store.put(f"{folder}/{layout.PREVIEW}", picture.getvalue())
    place.store.put(f"{folder}/{layout.GRID}", b"\x89PNG")
    place.put_old()


def test_the_page_is_made_where_the_trainer_writes_it(place: Place) -> None:
    put_run(place)
    ran = place.run("report", place.uri)
    assert ran.status == 0, ran.errors
    assert ran.output.strip() == f"{place.store.uri}/report/index.html"
    page = place.store.read(layout.REPORT).decode()
    assert "a &lt;b&gt;red&lt;/b&gt; circle" in page
    assert "home-made UNet" in page, "what the old checkpoint is"


def test_the_page_can_be_written_elsewhere(directory_place: Place, tmp_path: Path) -> None:
    put_run(directory_place)
    before = directory_place.contents()
    ran = directory_place.run("report", directory_place.uri, "--to", tmp_path / "page.html")
    assert ran.status == 0, ran.errors
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert directory_place.contents() == before
    assert directory_place.run("report", directory_place.uri, "--to", tmp_path / "no" / "page.html").status == 2


def test_a_place_without_a_run_is_a_mistake(place: Place) -> None:
    ran = place.run("report", place.uri)
    assert ran.status == 2
    assert "nothing of a run lies there" in ran.errors
    assert place.contents() == {}


def test_a_folder_that_is_not_there_is_one_mistake(directory_place: Place, tmp_path: Path) -> None:
    ran = directory_place.run("report", tmp_path / "nowhere")
    assert (ran.status, ran.errors.count("\n")) == (2, 1)
    assert "nothing of a run lies there" in ran.errors


def test_a_browser_with_a_signed_link_shows_the_whole_page(s3_place: Place, s3_server: S3Server) -> None:
    put_run(s3_place)
    assert s3_place.run("report", s3_place.uri).status == 0
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4"),
    )
    key = f"{s3_place.uri.removeprefix(f's3://{s3_server.bucket}/')}/{layout.REPORT}"
    link = client.generate_presigned_url("get_object", Params={"Bucket": s3_server.bucket, "Key": key})
    dom = Browser.find().dom(link)
    assert '<div class="linear both" id="loss"><svg' in dom, "shown as a page, not offered as a download"
    assert '<img src="data:image/webp;base64,' in dom
    assert "a &lt;b&gt;red&lt;/b&gt; circle" in dom
