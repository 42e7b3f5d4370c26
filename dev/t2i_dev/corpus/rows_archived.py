"""What lies in a prefix after an archive: put away is put away, by either method, and never judged again."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from t2i_api.job import DiffusionTrainingJob
from t2i_api.spec_run import ArchiveMethod
from t2i_api.status import VerdictKind
from t2i_checkpoint.archive import plan_archive, run_archive
from t2i_checkpoint.inspect import survey
from t2i_checkpoint.local import LocalStore
from t2i_checkpoint.restore import plan_restore, run_restore
from t2i_checkpoint.wanted import wanted_from
from t2i_dev.corpus.jobs import Task, job_document
from t2i_dev.corpus.own_layout import save_own
from t2i_dev.corpus.row import Row, Then
from t2i_dev.corpus.rows_accelerate import old_unet

_NOW: Final = datetime(2025, 12, 14, 22, 17, 58, tzinfo=UTC)  # when the team of the story did it by hand


def _archive(root: Path, method: ArchiveMethod) -> str:
    store = LocalStore(root)
    wanted = wanted_from(DiffusionTrainingJob.from_object(job_document(Task.TINY, root.as_uri())).spec)
    intent = plan_archive(survey(store, wanted).archivable, now=_NOW, method=method)
    run_archive(store, intent)
    return intent.name


def _archived(method: ArchiveMethod) -> Callable[[Path], None]:
    def build(root: Path) -> None:
        old_unet(root)
        _archive(root, method)

    return build


def _restored(root: Path) -> None:
    old_unet(root)
    store = LocalStore(root)
    run_restore(store, plan_restore(store, _archive(root, ArchiveMethod.MOVE)))


def _archived_then_trained(root: Path) -> None:
    old_unet(root)
    _archive(root, ArchiveMethod.REFERENCE)
    save_own(root, 100)


ROWS: Final = (
    Row("archived-by-move", "the story's end: the old UNet is below archive/",
        _archived(ArchiveMethod.MOVE), None, None, Then.FRESH),
    Row("archived-by-reference", "its bytes lie where they lay, a pointer says that they are archived",
        _archived(ArchiveMethod.REFERENCE), None, None, Then.FRESH),
    Row("archived-then-trained", "a new run beside a referenced folder of a later step",
        _archived_then_trained, VerdictKind.IDENTICAL, "NamesAndShapesMatch", Then.RESUME),
    Row("archived-then-restored", "brought back: it is judged again as on the first day",
        _restored, VerdictKind.FOREIGN, "NamesDiffer", Then.ARCHIVE, says=("home-made UNet",)),
)  # fmt: skip
