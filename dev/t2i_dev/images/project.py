"""The images of this project and what each is built from."""

from t2i_dev.errors import ImageBuildError
from t2i_dev.images.base import ensure_base_image
from t2i_dev.images.build import ImageSource, build_image
from t2i_dev.paths import repository_root
from t2i_dev.progress import Progress

OPERATOR_IMAGE = "localhost/t2i-operator:dev"
TRAINER_IMAGE = "localhost/t2i-trainer:dev"
# Relative to the checkout, which is the context of both.
DOCKERFILES = {OPERATOR_IMAGE: "Dockerfile", TRAINER_IMAGE: "trainer_image/Dockerfile"}
PROJECT_IMAGES = tuple(DOCKERFILES)


def build_project_images(
    progress: Progress, tags: tuple[str, ...] = PROJECT_IMAGES, *, base_image: str | None = None
) -> tuple[str, ...]:
    """Build what changed; returns the tags. `base_image` replaces the one that is made by debootstrap."""
    for tag in tags:
        dockerfile = repository_root() / DOCKERFILES[tag]
        if not dockerfile.exists():
            raise ImageBuildError(f"{dockerfile} does not exist: run from a complete checkout")
        base = base_image or ensure_base_image(progress)
        source = ImageSource(tag, dockerfile, repository_root(), {"BASE_IMAGE": base})
        build_image(source, progress)
    return tags
