"""`t2i-dev images …`: build the project's images and bring them into a cluster, without a registry."""

from typing import Annotated

import typer

from t2i_dev.cluster.local_cluster import DEFAULT_NAME, LocalCluster
from t2i_dev.images.load import load_images
from t2i_dev.images.project import DOCKERFILES, OPERATOR_IMAGE, TRAINER_IMAGE, build_project_images
from t2i_dev.progress import Progress

app = typer.Typer(no_args_is_help=True, help="The images of operator and trainer, without a registry.")
SHORT_NAMES = {"operator": OPERATOR_IMAGE, "trainer": TRAINER_IMAGE}
Which = Annotated[
    list[str] | None, typer.Argument(help=f"Which: {', '.join(SHORT_NAMES)}. All by default.", show_default=False)
]
BaseImage = Annotated[str | None, typer.Option(help="Use this base image instead of the one made by debootstrap.")]


@app.command()
def build(which: Which = None, base_image: BaseImage = None) -> None:
    """Build what changed since the last build; the first time takes minutes, a change of code seconds."""
    progress = Progress()
    for tag in build_project_images(progress, _tags(which), base_image=base_image):
        progress.say(f"{tag} is built (from {DOCKERFILES[tag]})")


@app.command()
def load(which: Which = None, name: Annotated[str, typer.Option(help="The cluster.")] = DEFAULT_NAME) -> None:
    """Import built images into a cluster's node; only layers that it has not seen yet travel."""
    progress = Progress()
    load_images(LocalCluster.attach(name), _tags(which), progress)
    progress.say(f"the cluster {name} has {', '.join(_tags(which))}")


def _tags(which: list[str] | None) -> tuple[str, ...]:
    unknown = [each for each in which or () if each not in SHORT_NAMES]
    if unknown:
        raise typer.BadParameter(f"no image {unknown[0]!r}: choose from {', '.join(SHORT_NAMES)}")
    return tuple(SHORT_NAMES[each] for each in which or SHORT_NAMES)
