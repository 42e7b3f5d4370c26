"""The objects of `-o json`: field names are stable, counts are numbers, names come as lists that are cut. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from t2i_checkpoint.choose import Archive, BeginWith, Choice, Resume, StartFresh

if TYPE_CHECKING:
    from t2i_checkpoint.archive_list import ArchiveSummary
    from t2i_checkpoint.inspect import Judgement, Survey
    from t2i_checkpoint.probe import StoreAbilities
    from t2i_checkpoint.verdict import Verdict

LISTED_NAMES = 16
_ACTIONS = {Resume: "Resume", StartFresh: "StartFresh", BeginWith: "InitialWeights", Archive: "Archive"}


def verdict_document(uri: str, survey: Survey, decisive: Judgement | None, choice: Choice | None) -> dict[str, Any]:
    """Return the object of `verdict`: the decisive checkpoint's fields at the top, all of them in `checkpoints`."""
    document: dict[str, Any] = {"uri": uri}
    document |= _nothing() if decisive is None else _judged(decisive)
    document |= {
        "bytesRead": survey.bytes_read,
        "requests": survey.requests,
        "seconds": round(survey.seconds, 3),
        "then": None if choice is None else choice_document(choice),
        "checkpoints": [_judged(each) | _cost(each) for each in survey.judgements],
    }
    return document


def choice_document(choice: Choice) -> dict[str, Any]:
    """Return what operator and trainer do with what lies there."""
    judgements = choice.judgements if isinstance(choice, Archive) else ()
    skipped = choice.skipped if isinstance(choice, Resume | StartFresh | BeginWith) else ()
    return {
        "action": action(choice),
        "message": getattr(choice, "message", None),
        "archives": [judgement.folder for judgement in judgements],
        "passedOver": [
            {"folder": each.folder, "verdict": each.verdict.kind.value, "reason": str(each.verdict.reason)}
            for each in skipped
        ],
    }


def action(choice: Choice) -> str:
    """Return one word: Resume, StartFresh, InitialWeights, Archive or Stop."""
    return _ACTIONS.get(type(choice), "Stop")


def listing_document(uri: str, survey: Survey, archives: tuple[ArchiveSummary, ...]) -> dict[str, Any]:
    """Return the object of `ls`."""
    return {
        "uri": uri,
        "checkpoints": [_described(judgement) for judgement in survey.judgements],
        "archives": [archive_document(archive) for archive in archives],
        "bytesRead": survey.bytes_read,
        "requests": survey.requests,
    }


def inspection_document(uri: str, judgement: Judgement, survey: Survey) -> dict[str, Any]:
    """Return the object of `inspect`."""
    manifest = judgement.manifest
    return {
        "uri": uri,
        **_described(judgement),
        "objects": [
            {"key": info.key, "sizeBytes": info.size, "modifiedAt": info.modified_at.isoformat()}
            for info in judgement.objects
        ],
        "manifest": None if manifest is None else manifest.model_dump(mode="json", by_alias=True, exclude={"files"}),
        "bytesRead": survey.bytes_read,
        "requests": survey.requests,
    }


def archive_document(archive: ArchiveSummary) -> dict[str, Any]:
    """Return one archive."""
    return {
        "name": archive.name,
        "label": archive.label,
        "createdAt": archive.created_at.isoformat(),
        "state": archive.state.value,
        "method": None if archive.method is None else archive.method.value,
        "folders": [
            {"folder": each.folder, "step": each.step, "verdict": each.verdict, "explanation": each.explanation}
            for each in archive.folders
        ],
        "objects": archive.objects,
        "sizeBytes": archive.size_bytes,
        "restorable": archive.restorable,
        "fault": archive.fault,
    }


def abilities_document(uri: str, abilities: StoreAbilities, promises: dict[str, bool]) -> dict[str, Any]:
    """Return the object of `doctor`."""
    return {
        "uri": uri,
        "abilities": promises,
        "safeMethod": abilities.safe_method.value,
        "reasons": list(abilities.reasons),
        "notes": list(abilities.notes),
    }


def _judged(judgement: Judgement) -> dict[str, Any]:
    place = {
        "folder": judgement.folder,
        "step": judgement.step,
        "format": judgement.format.value,
        "sizeBytes": judgement.size_bytes,
    }
    return place | _verdict(judgement.verdict)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    renaming = verdict.renaming
    return {
        "verdict": verdict.kind.value,
        "reason": str(verdict.reason),
        "explanation": verdict.explanation,
        "resumable": verdict.resumable,
        "storedModel": verdict.stored_model or None,
        "matched": verdict.matched,
        "missing": len(verdict.missing),
        "unexpected": len(verdict.unexpected),
        "mismatched": len(verdict.mismatched),
        "matchedParameterShare": verdict.matched_parameter_share,
        "firstMissing": list(verdict.missing[:LISTED_NAMES]),
        "firstUnexpected": list(verdict.unexpected[:LISTED_NAMES]),
        "firstMismatched": [
            {"name": each.name, "stored": list(each.stored), "wanted": list(each.wanted)}
            for each in verdict.mismatched[:LISTED_NAMES]
        ],
        "meaningDifferences": [
            {"field": each.field, "stored": each.stored, "wanted": each.wanted} for each in verdict.meaning_differences
        ],
        "renaming": None if renaming is None else {"name": str(renaming.name), "described": renaming.described},
        "fresh": len(verdict.fresh),
        "firstFresh": list(verdict.fresh[:LISTED_NAMES]),
    }


def _nothing() -> dict[str, Any]:
    names = ("folder", "step", "format", "verdict", "reason", "storedModel", "renaming")
    counts = ("sizeBytes", "matched", "missing", "unexpected", "mismatched", "fresh")
    lists = ("firstMissing", "firstUnexpected", "firstMismatched", "meaningDifferences", "firstFresh")
    return {
        **dict.fromkeys(names),
        **dict.fromkeys(counts, 0),
        **{name: [] for name in lists},
        "explanation": "there is no checkpoint: training begins at step 0",
        "resumable": False,
        "matchedParameterShare": 0.0,
    }


def _described(judgement: Judgement) -> dict[str, Any]:
    verdict, summary = judgement.verdict, judgement.contents_summary
    readable = verdict.reason == "NotCompared"
    return {
        "folder": judgement.folder,
        "name": judgement.name,
        "step": judgement.step,
        "format": judgement.format.value,
        "sizeBytes": judgement.size_bytes,
        "storedModel": verdict.stored_model or None,
        "label": judgement.label,
        "weights": summary.weights,
        "tensors": summary.tensors,
        "parameters": summary.parameters,
        "dtypes": list(summary.dtypes),
        "ema": summary.ema,
        "optimizer": summary.optimizer,
        "notes": list(summary.notes),
        "fault": None if readable else {"kind": verdict.kind.value, "reason": str(verdict.reason)},
        "explanation": verdict.explanation,
    }


def _cost(judgement: Judgement) -> dict[str, int]:
    return {"bytesRead": judgement.bytes_read, "requests": judgement.requests}
