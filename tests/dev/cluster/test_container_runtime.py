from t2i_dev.cluster.container_runtime import unnamed_images

HEADER = "REF TYPE DIGEST SIZE PLATFORMS LABELS"
KIND = "application/vnd.oci.image.manifest.v1+json"


def listing(*images: tuple[str, str]) -> str:
    """As `ctr images list` prints it."""
    return "\n".join([HEADER, *(f"{name} {KIND} {digest} 5.7 GiB linux/amd64 -" for name, digest in images)]) + "\n"


def test_images_whose_tag_moved_on_are_unnamed() -> None:
    """A node kept 5.7 GB for each trainer image that was ever loaded."""
    images = listing(("localhost/t:dev", "sha256:new"), ("sha256:c1", "sha256:old"), ("sha256:c2", "sha256:new"))
    assert unnamed_images(images) == ["sha256:c1"]


def test_two_tags_of_one_image_are_both_kept() -> None:
    assert unnamed_images(listing(("localhost/a:1", "sha256:x"), ("localhost/b:1", "sha256:x"))) == []


def test_an_empty_store_has_none() -> None:
    assert unnamed_images(HEADER + "\n") == []
