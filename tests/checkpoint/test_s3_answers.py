"""What is told of an object, so that a browser shows what it can show."""

import pytest

from t2i_checkpoint.s3_answers import content_type


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("report/index.html", "text/html"),
        ("samples/step-00000020/grid.png", "image/png"),
        ("samples/step-00000020/grid-small.webp", "image/webp"),
        ("checkpoints/step-00000020-w/MANIFEST.json", "application/json"),
        ("unet/diffusion_pytorch_model.safetensors", "application/octet-stream"),
        ("no-ending", "application/octet-stream"),
    ],
)
def test_an_object_has_the_media_type_of_its_ending(key: str, expected: str) -> None:
    assert content_type(key) == expected
