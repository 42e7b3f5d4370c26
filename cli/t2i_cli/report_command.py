"""`t2i report`: the report page of a run, made again from its bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2i_cli.locations import EndpointOption, UriArgument, open_root
from t2i_cli.reading import UsageProblem
from t2i_cli.terminal import console


def report(
    uri: UriArgument,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the page there. Default: report/index.html below URI.", show_default=False
        ),
    ] = None,
    endpoint: EndpointOption = None,
) -> None:
    """Make a run's report page: loss, evaluation curve, sample grids over time, verdicts, findings.

    A trainer writes it while it runs; this makes it again from what lies in the bucket, e.g. after a run was killed.

    Example: t2i report s3://bucket/jobs/emoji --to emoji.html

    Exit status: 0; 2 for a mistake; 4 if the store cannot be used.
    """
    # Templates and charts are no other command's business.
    from t2i_trainer.report.build import encode, gather, write  # noqa: PLC0415

    store = open_root(uri, endpoint)
    facts = gather(store)
    if facts.is_empty:
        raise UsageProblem(f"{uri}: nothing of a run lies there: name the job's checkpoint.uri")
    if to is None:
        console().print(write(store, facts), soft_wrap=True)
        return
    try:
        to.write_bytes(encode(facts))
    except OSError as error:
        raise UsageProblem(f"{to}: {error.strerror}") from error
    console().print(str(to), soft_wrap=True)
