"""The same answers as tables for people: what lies there, what it is, whether it fits and why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from t2i_api.status import VerdictKind
from t2i_checkpoint.choose import Archive, BeginWith, Choice, Resume, StartFresh
from t2i_checkpoint.passed_over import passed_over_sentence
from t2i_cli.footnotes import Footnotes, uncut_table
from t2i_cli.terminal import count_text, printable, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from t2i_checkpoint.architecture import Architecture
    from t2i_checkpoint.archive_list import ArchiveSummary
    from t2i_checkpoint.inspect import Judgement, Survey
    from t2i_checkpoint.verdict import Verdict

SHOWN_NAMES = 5
_COLOURS = {
    VerdictKind.IDENTICAL: "green",
    VerdictKind.RENAMED: "green",
    VerdictKind.PARTIAL: "yellow",
    VerdictKind.INFERENCE_ONLY: "yellow",
    VerdictKind.ADAPTER: "yellow",
    VerdictKind.INCOMPLETE: "yellow",
    VerdictKind.FOREIGN: "red",
    VerdictKind.UNREADABLE: "red",
}


def cell(text: object, style: str = "") -> Text:
    """Return text of any origin as a table cell: no markup, no control characters."""
    return Text(printable(str(text)), style=style)


def place(judgement: Judgement) -> str:
    """Return how to speak of a checkpoint."""
    return judgement.folder or judgement.name


def verdict_report(
    decisive: Judgement, survey: Survey, choice: Choice, uri: str, differing: Table | None
) -> RenderableType:
    """Return the answer to `verdict`: the decisive checkpoint in full, then a line for each."""
    facts = Table.grid(padding=(0, 2))
    verdict = decisive.verdict
    colour = _COLOURS[verdict.kind]
    for name, value in (
        ("checkpoint", cell(f"{place(decisive)}, step {decisive.step:,}, {size_text(decisive.size_bytes)}")),
        ("verdict", cell(f"{verdict.kind} ({verdict.reason})", f"bold {colour}")),
        ("why", cell(verdict.explanation)),
        ("it is", cell(verdict.stored_model) if verdict.stored_model else None),
        ("agreement", cell(_agreement(verdict)) if verdict.matched or verdict.missing else None),
        ("then", cell(then_text(choice))),
    ):
        if value is not None:
            facts.add_row(Text(name, style="dim"), value)
    parts: list[RenderableType] = [facts]
    if differing is not None:
        parts += [Text(), differing]
    if len(survey.judgements) > 1:
        parts += [Text(), _all_judgements(survey.judgements)]
    parts.append(cost_line(survey, uri))
    return Group(*parts)


def then_text(choice: Choice) -> str:
    """Return what operator and trainer do with it."""
    match choice:
        case Resume():
            return f"training resumes from {place(choice.judgement)}{_passed_over(choice)}"
        case StartFresh():
            return f"training begins at step 0{_passed_over(choice)}"
        case Archive():
            return f"archived first: {', '.join(place(each) for each in choice.judgements)}"
        case BeginWith():
            return f"{choice.message}{_passed_over(choice)}"
        case _:
            return f"the job stops: {choice.message}"


def _passed_over(choice: Resume | StartFresh | BeginWith) -> str:
    sentence = passed_over_sentence(choice.skipped, newer=not isinstance(choice, StartFresh))
    return f"; {sentence}" if sentence else ""


def _agreement(verdict: Verdict) -> str:
    counts = (
        (verdict.matched, "matched"),
        (len(verdict.missing), "missing"),
        (len(verdict.mismatched), "of another shape"),
        (len(verdict.unexpected), "unexpected"),
    )
    listed = ", ".join(f"{count:,} {name}" for count, name in counts if count)
    return f"{verdict.matched_parameter_share:.1%} of the parameters; tensors: {listed}"


def differing_tensors(verdict: Verdict, stored: Architecture, wanted: Architecture) -> Table | None:
    """Return the first tensors that differ, with both shapes; None where none differs."""
    if not (verdict.mismatched or verdict.missing or verdict.unexpected):
        return None
    table = uncut_table(("first differing tensors", "stored", "wanted"))
    for each in verdict.mismatched[:SHOWN_NAMES]:
        table.add_row(cell(each.name), cell(list(each.stored)), cell(list(each.wanted)))
    for name in verdict.missing[:SHOWN_NAMES]:
        table.add_row(cell(name), "-", _shape(wanted, name))
    for name in verdict.unexpected[:SHOWN_NAMES]:
        table.add_row(cell(name), _shape(stored, name), "-")
    return table


def _shape(architecture: Architecture, name: str) -> Text:
    shape = architecture.shape(name)
    return cell("?" if shape is None else list(shape))


def _all_judgements(judgements: Sequence[Judgement]) -> RenderableType:
    table = uncut_table(("checkpoint", "step", "verdict", "why"), numeric=("step", "why"))
    notes = Footnotes()
    for judgement in judgements:
        verdict = judgement.verdict
        kind = cell(verdict.kind, _COLOURS[verdict.kind])
        table.add_row(cell(place(judgement)), f"{judgement.step:,}", kind, notes.number(cell(verdict.explanation)))
    return Group(table, notes.table())


def listing_tables(survey: Survey, archives: Iterable[ArchiveSummary], uri: str) -> RenderableType:
    """Return the answer to `ls`."""
    parts: list[RenderableType] = []
    if survey.judgements:
        notes = Footnotes()
        table = uncut_table(("checkpoint", "step", "written by", "size", "is"), numeric=("step", "size", "is"))
        for judgement in survey.judgements:
            table.add_row(
                cell(place(judgement)),
                f"{judgement.step:,}",
                cell(judgement.format),
                size_text(judgement.size_bytes),
                notes.number(_what_it_is(judgement)),
            )
        parts += [table, notes.table()]
    else:
        parts.append(Text("no checkpoints"))
    shown = list(archives)
    if shown:
        parts += [Text(), archives_table(shown)]
    parts.append(cost_line(survey, uri))
    return Group(*parts)


def archives_table(archives: Iterable[ArchiveSummary]) -> RenderableType:
    """Return a line an archive, and what each holds."""
    table = uncut_table(("archive", "state", "method", "size", "holds"), numeric=("size", "holds"))
    notes = Footnotes()
    for archive in archives:
        why = archive.fault or "; ".join(sorted({each.explanation for each in archive.folders}))
        holds = ", ".join(each.folder for each in archive.folders)
        table.add_row(
            cell(archive.name),
            cell(archive.state),
            cell(archive.method or "-"),
            size_text(archive.size_bytes),
            notes.number(cell(f"{holds}: {why}" if holds else why)),
        )
    return Group(table, notes.table())


def inspection_report(judgement: Judgement, survey: Survey, uri: str) -> RenderableType:
    """Return the answer to `inspect`."""
    facts = Table.grid(padding=(0, 2))
    summary, manifest = judgement.contents_summary, judgement.manifest
    rows: list[tuple[str, object]] = [
        ("checkpoint", place(judgement)),
        ("step", f"{judgement.step:,}"),
        ("written by", judgement.format),
        ("size", f"{size_text(judgement.size_bytes)} in {count_text(len(judgement.objects), 'object')}"),
        ("what it is", _what_it_is(judgement)),
        ("weights", summary.weights),
        ("tensors", f"{summary.tensors:,}, {summary.parameters / 1e6:,.1f} M parameters, {', '.join(summary.dtypes)}"),
        ("EMA", summary.ema),
        ("optimizer", summary.optimizer),
        ("beside it", ", ".join(summary.notes)),
    ]
    if manifest is not None:
        rows += [
            ("predicts", f"{manifest.prediction_type} under {manifest.noise_schedule}"),
            ("latent scale", manifest.latent_scale),
            ("run", f"seed {manifest.seed}, global batch size {manifest.global_batch_size}"),
            ("data", f"{manifest.samples_seen:,} samples seen, epoch {manifest.epoch}"),
            ("saved", f"{manifest.created_at:%Y-%m-%d %H:%M:%S} by {manifest.world_size} processes"),
        ]
    for name, value in rows:
        if value and not (name == "tensors" and not summary.tensors):
            facts.add_row(Text(name, style="dim"), value if isinstance(value, Text) else cell(value))
    objects = uncut_table(("object", "size", "written"), numeric=("size",))
    for info in judgement.objects:
        objects.add_row(cell(info.key), size_text(info.size), f"{info.modified_at:%Y-%m-%d %H:%M:%S}")
    return Group(facts, Text(), objects, cost_line(survey, uri))


def _what_it_is(judgement: Judgement) -> Text:
    verdict = judgement.verdict
    if verdict.kind in {VerdictKind.UNREADABLE, VerdictKind.INCOMPLETE}:
        return cell(f"{verdict.kind} ({verdict.reason}): {verdict.explanation}", _COLOURS[verdict.kind])
    return cell(verdict.stored_model or judgement.label)


def cost_line(survey: Survey, uri: str) -> Text:
    """Return what the look cost: requests, bytes, seconds."""
    read = f"{count_text(survey.requests, 'request')}, {survey.bytes_read / 1024:,.0f} KiB read"
    return Text(printable(f"{uri}: {read}, {survey.seconds:.2f} s"), style="dim")
