"""`t2i-dev demo`: sets up everything, tells the story as it happens, says where to find what it made."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from t2i_api.status import JobStatus
from t2i_dev.cluster import LocalCluster
from t2i_dev.cluster.local_cluster import stop_cluster
from t2i_dev.demo import acts
from t2i_dev.demo.display import training_display
from t2i_dev.demo.environment import DemoEnvironment, demo_environment
from t2i_dev.demo.gallery import Gallery, fetch_gallery
from t2i_dev.demo.plan import DemoPlan, full_plan, short_plan
from t2i_dev.paths import repository_root
from t2i_dev.progress import Progress
from t2i_dev.setup import prepare

CLUSTER_NAME = "demo"


def demo(
    *,
    short: Annotated[bool, typer.Option(help="Train for about a minute: the story without good pictures.")] = False,
    keep: Annotated[bool, typer.Option(help="Leave the cluster running afterwards, to look around.")] = False,
    output: Annotated[Path, typer.Option(help="Folder for pictures and metrics, relative to the checkout.")] = Path(
        "build/demo"
    ),
) -> None:
    """Run the main job end to end: judge and archive an old checkpoint, train on two pods, kill one, resume exactly."""
    progress = Progress()
    plan = short_plan() if short else full_plan()
    directory = repository_root() / output
    shutil.rmtree(directory, ignore_errors=True)
    prepare(progress, images=True)
    stop_cluster(CLUSTER_NAME)
    with progress.stage("start a Kubernetes cluster of its own"):
        cluster = LocalCluster.start(CLUSTER_NAME)
    try:
        with demo_environment(cluster, directory, progress) as environment:
            status, gallery = tell(environment, plan, directory, progress)
            conclude(environment, plan, status, gallery, progress)
    finally:
        if keep:
            progress.say(f"the cluster runs on: t2i-dev cluster env --name {CLUSTER_NAME}")
        else:
            cluster.stop()


def tell(
    environment: DemoEnvironment, plan: DemoPlan, directory: Path, progress: Progress
) -> tuple[JobStatus, Gallery]:
    """The acts in their order, each with what there is to see."""
    with progress.stage("put checkpoints of the old custom UNet into the bucket"):
        old = acts.put_old_checkpoints(environment, plan, directory / "old")
    with progress.stage("kubectl apply; the operator judges what lies there"):
        view = acts.apply_job(environment, plan)
        judged = acts.see_verdict(view, old)
    verdict = judged.verdict
    progress.say(f"  verdict [bold]{verdict.verdict}[/bold] for {verdict.name}: {verdict.explanation}")
    progress.say(f"  only the job asks for: {', '.join(verdict.first_missing[:3])} … ({verdict.missing} in all)")
    progress.say(
        f"  only the checkpoint has: {', '.join(verdict.first_unexpected[:3])} … ({verdict.unexpected} in all)"
    )
    progress.say(f"  archived, every byte verified: {judged.archive.location} ({judged.archive.bytes} bytes)")
    with (
        progress.stage("train on two pods until half-way, then kill one"),
        training_display(progress.console) as watch,
    ):
        killed = acts.kill_half_way(view, plan, watch)
    progress.say(f"  killed {killed.pod} at step {killed.at_step}; last checkpoint: step {killed.committed_step}")
    with progress.stage("the operator starts the next attempt"):
        resumed = acts.see_resume(view, plan)
    progress.say(f"  attempt {resumed.attempt.number} resumes exactly at step {resumed.attempt.resumed_from_step}")
    with progress.stage("train to the end"), training_display(progress.console) as watch:
        status = acts.see_end(view, plan, watch)
    with progress.stage("fetch the pictures"):
        gallery = fetch_gallery(environment.store(plan.job.spec.checkpoint.uri), plan, directory)
    return status, gallery


def conclude(
    environment: DemoEnvironment, plan: DemoPlan, status: JobStatus, gallery: Gallery, progress: Progress
) -> None:
    """What kubectl and Prometheus say at the end, and where everything lies."""
    console: Console = progress.console
    job = plan.job.metadata.name
    console.print(environment.cluster.kubectl("get", "dtj", job, "-o", "wide"), markup=False)
    losses = environment.prometheus.query(f't2i_job_last_loss{{job_name="{job}"}}')
    table = Table("what", "where")
    table.add_row("sample grid", str(gallery.grid))
    table.add_row("losses of every step", str(gallery.metrics))
    table.add_row("in the bucket", plan.job.spec.checkpoint.uri)
    table.add_row("last loss in Prometheus", ", ".join(f"{series.last:.4f}" for series in losses) or "none")
    table.add_row("restarts", str(status.restarts.total))
    for name, words in gallery.rows():
        table.add_row(f"pictures, {name}", words)
    console.print(table)
    progress.summary()
