"""What `t2i checkpoint archive` is to do: which checkpoints, how, and what becomes of archives that were begun before.

The same command may be repeated after any kill: a checkpoint that lies in an archive which was begun is finished there,
and one that lies in a finished archive is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from t2i_api.spec_run import ArchiveMethod, OnIncompatible
from t2i_api.status import VerdictKind
from t2i_checkpoint.archive import ArchiveIntent, run_archive, unfinished_archives
from t2i_checkpoint.archive_decision import load_decision
from t2i_checkpoint.archive_documents import ArchiveAbandonment
from t2i_checkpoint.archive_list import ArchiveState, list_archives
from t2i_checkpoint.archive_resume import finish_archives
from t2i_checkpoint.choose import Archive, Stop, choose, keeps_its_place
from t2i_checkpoint.inspect import Judgement, survey, survey_location
from t2i_checkpoint.probe import probe
from t2i_cli.locations import open_root
from t2i_cli.reading import UsageProblem, read_job, wanted_of
from t2i_cli.tables import place
from t2i_cli.terminal import note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from t2i_checkpoint.archive_progress import ProgressCallback
    from t2i_checkpoint.store import Store
    from t2i_checkpoint.verdict import Wanted


class RefusedError(UsageProblem):
    """What was asked for would not be safe; nothing was changed."""

    exit_code = 3


@dataclass(frozen=True)
class Asked:
    """What the command line says; None: as the job says."""

    uri: str | None
    job_file: Path | None
    folders: tuple[str, ...]
    method: ArchiveMethod | None
    label: str | None
    endpoint: str | None


@dataclass(frozen=True)
class Order:
    """What to archive and how; `wanted` and `policy` where a job is given.

    `begun` are archives that an earlier process left and this one finishes first; `others` are left to whoever began
    them, for without a job nobody can say whether they are still right. `already` says where named checkpoints lie.
    """

    store: Store
    begun: tuple[ArchiveIntent, ...]
    others: tuple[ArchiveIntent, ...]
    judgements: tuple[Judgement, ...]
    method: ArchiveMethod
    label: str | None
    already: Mapping[str, str] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    wanted: Wanted | None = None
    policy: OnIncompatible = OnIncompatible.ARCHIVE


@dataclass(frozen=True)
class Finished:
    """What became of the archives that were begun before, by name."""

    finished: tuple[str, ...] = ()
    given_up: Mapping[str, str] = field(default_factory=dict)  # and why
    waiting: tuple[str, ...] = ()


def order_of(asked: Asked) -> Order:
    """Look at store and job; raises UsageProblem, RefusedError, ArchiveError and StoreError. Changes nothing."""
    job = None if asked.job_file is None else read_job(asked.job_file)
    if job is None and not asked.folders:
        raise UsageProblem("say what to archive: --job FILE for what cannot fit that job, or --folder NAME")
    root = job.spec.checkpoint.uri if asked.uri is None and job is not None else asked.uri
    if root is None:
        raise UsageProblem("name the checkpoint URI: t2i checkpoint archive URI --folder NAME")
    store = open_root(root, asked.endpoint, job)
    unfinished = tuple(unfinished_archives(store))
    named = _Named.of(store, asked.folders, unfinished)
    if job is None:
        mine = tuple(each for each in unfinished if _folders(each) & named.begun)
        return Order(
            store,
            begun=mine,
            others=tuple(each for each in unfinished if each not in mine),
            judgements=named.judgements,
            method=asked.method or ArchiveMethod.MOVE,
            label=asked.label,
            already=named.already,
            named=named.begun,
        )
    wanted, checkpoint = wanted_of(job), job.spec.checkpoint
    judgements = named.judgements if asked.folders else _unfit(store, wanted, checkpoint.on_incompatible)
    begun = {folder for intent in unfinished for folder in _folders(intent)}
    return Order(
        store,
        begun=unfinished,
        others=(),
        judgements=tuple(each for each in judgements if each.folder not in begun),
        method=asked.method or checkpoint.archive.method,
        label=asked.label or checkpoint.archive.label,
        already=named.already,
        named=named.begun,
        wanted=wanted,
        policy=checkpoint.on_incompatible,
    )


def finish_begun(order: Order, report: ProgressCallback) -> Finished:
    """Finish what was begun before, unless that became wrong; returns what really happened."""
    if not order.begun:
        return Finished()
    if order.wanted is None:
        return Finished(tuple(run_archive(order.store, each, report).name for each in order.begun))

    def keep(judgement: Judgement) -> bool:
        # What a person names goes, whatever it is.
        return judgement.folder not in order.named and keeps_its_place(judgement, order.policy)

    def why_not_move() -> tuple[str, ...]:
        return probe(order.store).reasons

    finish_archives(order.store, order.wanted, report, keep=keep, why_not_move=why_not_move)
    return _became(order)


def _became(order: Order) -> Finished:
    """Read what was decided, whoever decided it."""
    left = {intent.name for intent in unfinished_archives(order.store)}
    finished, given_up = list[str](), dict[str, str]()
    for name in (intent.name for intent in order.begun if intent.name not in left):
        decision = load_decision(order.store, name)
        if isinstance(decision, ArchiveAbandonment):
            given_up[name] = decision.why
        elif decision is not None:
            finished.append(name)
    return Finished(tuple(finished), given_up, tuple(each.name for each in order.begun if each.name in left))


def safe_method(store: Store, asked: ArchiveMethod) -> ArchiveMethod:
    """Return `asked`, or Reference where the store cannot move safely: then the user is told."""
    if asked is ArchiveMethod.REFERENCE:
        return asked
    abilities = probe(store)
    if (warning := abilities.warning(asked)) is not None:
        note(f"warning: {warning}")
    return abilities.safe_method


@dataclass(frozen=True)
class _Named:
    """Where the checkpoints are that `--folder` names: still in their place, in an archive that was begun, or gone."""

    judgements: tuple[Judgement, ...] = ()
    begun: frozenset[str] = frozenset()
    already: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, folders: tuple[str, ...], unfinished: tuple[ArchiveIntent, ...]) -> _Named:
        if not folders:
            return cls()
        started = {name: folder for intent in unfinished for folder in _folders(intent) for name in _names(folder)}
        found = {place(each): each for each in survey_location(store, None).judgements}
        by_name = {each.name: each for each in found.values()} | found
        judgements, begun, already = list[Judgement](), set[str](), dict[str, str]()
        for folder in dict.fromkeys(each.strip("/") for each in folders):
            if folder in started:
                begun.add(started[folder])
            elif folder in by_name:
                judgements.append(_requested(by_name[folder]))
            elif (archived := _archive_of(store, folder)) is not None:
                already[folder] = archived
            else:
                there = ", ".join(found) or "none"
                raise UsageProblem(f"--folder {folder}: no such checkpoint below {store.uri}; there are: {there}")
        return cls(tuple(judgements), frozenset(begun), already)


def _archive_of(store: Store, name: str) -> str | None:
    """Return the newest finished archive that holds a checkpoint of that name."""
    for archive in list_archives(store):
        if archive.state is ArchiveState.COMPLETED and any(name in _names(each.folder) for each in archive.folders):
            return archive.name
    return None


def _names(folder: str) -> tuple[str, str]:
    """Return how a person may call it: the whole path or its last part."""
    return folder, folder.rpartition("/")[2]


def _folders(intent: ArchiveIntent) -> set[str]:
    return {each.folder for each in intent.folders}


def _unfit(store: Store, wanted: Wanted, policy: OnIncompatible) -> tuple[Judgement, ...]:
    """Return what the operator would archive for this job; refuses as it does where something blocks."""
    choice = choose(survey(store, wanted), policy)
    if isinstance(choice, Stop):
        raise RefusedError(f"{choice.message}. To archive one all the same, name it: --folder NAME")
    return choice.judgements if isinstance(choice, Archive) else ()


def _requested(judgement: Judgement) -> Judgement:
    """Say that a person, and no comparison, sends it away; what could not be read keeps its verdict and is refused."""
    verdict = judgement.verdict
    if verdict.kind in {VerdictKind.UNREADABLE, VerdictKind.INCOMPLETE}:
        return judgement
    what = verdict.stored_model or judgement.label
    asked = replace(verdict, kind=VerdictKind.FOREIGN, reason="ArchivedOnRequest", explanation=f"on request: {what}")
    return replace(judgement, verdict=asked)
