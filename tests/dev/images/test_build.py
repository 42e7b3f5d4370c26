import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from t2i_dev.errors import ImageBuildError
from t2i_dev.images.base import base_tag, ensure_base_image
from t2i_dev.images.build import ImageSource, build_image, input_digest
from t2i_dev.images.buildah import image_id
from t2i_dev.images.layout import blob_path, is_pushed, manifest_descriptor, read_json
from t2i_dev.progress import Progress

TAG = "localhost/t2i-dev-build-test:1"
QUIET = Progress(quiet=True)


@pytest.fixture
def source(tmp_path: Path) -> ImageSource:
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY code.py /code.py\n")
    (tmp_path / "code.py").write_text("print('first')\n")
    return ImageSource(TAG, tmp_path / "Dockerfile", tmp_path, {"BASE_IMAGE": base_tag()})


def test_every_input_counts(source: ImageSource) -> None:
    seen = {input_digest(source), input_digest(replace(source, build_args={"BASE_IMAGE": "other"}))}
    (source.context / "code.py").write_text("print('second')\n")
    seen.add(input_digest(source))
    (source.context / "new.py").write_text("")
    seen.add(input_digest(source))
    source.dockerfile.write_text(source.dockerfile.read_text() + "USER 1\n")
    seen.add(input_digest(source))
    assert len(seen) == 5


def test_what_git_ignores_does_not_count(source: ImageSource) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=source.context, check=True)
    (source.context / ".gitignore").write_text("ignored/\n")
    before = input_digest(source)
    (source.context / "ignored").mkdir()
    (source.context / "ignored" / "file").write_text("x")
    assert input_digest(source) == before


def test_a_change_of_code_adds_one_small_layer_and_leaves_the_others(source: ImageSource) -> None:
    ensure_base_image(QUIET)
    build_image(source, QUIET)
    first = read_json(manifest_descriptor(TAG)["digest"])
    (source.context / "code.py").write_text("print('second')\n")
    build_image(source, QUIET)
    second = read_json(manifest_descriptor(TAG)["digest"])
    assert second["layers"][:-1] == first["layers"][:-1]
    assert second["layers"][-1]["digest"] != first["layers"][-1]["digest"]
    assert second["layers"][-1]["size"] < 10_000
    assert all(blob_path(layer["digest"]).stat().st_size == layer["size"] for layer in second["layers"])
    assert not blob_path(first["layers"][-1]["digest"]).exists(), "blobs that no image uses are removed"


def test_an_image_whose_inputs_are_unchanged_is_not_built_again(source: ImageSource) -> None:
    ensure_base_image(QUIET)
    build_image(source, QUIET)
    before = image_id(TAG)
    progress = Progress(quiet=True)
    build_image(source, progress)
    assert image_id(TAG) == before
    assert progress.seconds == {}


def test_a_failing_step_is_reported_with_its_output(source: ImageSource) -> None:
    ensure_base_image(QUIET)
    source.dockerfile.write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN echo no such package; exit 7\n")
    with pytest.raises(ImageBuildError, match=r"(.*\n)*.*no such package"):
        build_image(replace(source, tag="localhost/t2i-dev-failing:1"), QUIET)
    assert not is_pushed("localhost/t2i-dev-failing:1")


def test_an_image_that_was_never_built_is_named_with_the_command_that_builds_it() -> None:
    with pytest.raises(ImageBuildError, match="localhost/never:1 was not built: t2i-dev images build"):
        manifest_descriptor("localhost/never:1")
