"""The process that makes the page while training goes on: started for one page, ended by it.

Python started afresh, without torch; at the lowest priority while there are steps to take. Whatever it meets is a line
in the log: a page is never worth a step.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import StoreError
from t2i_trainer.child import end_with
from t2i_trainer.report.build import gather, write
from t2i_trainer.report.history import Newer


def main() -> None:
    """Make one page."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    end_with(options.parent)
    os.nice(options.nice)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    newer = Newer(options.after_step, tuple(options.rows.read_bytes().splitlines()))
    try:
        store = open_store(options.uri, endpoint=options.endpoint, region=options.region)
        write(store, gather(store, newer))
    except StoreError as error:
        logging.getLogger("t2i_trainer").warning("the report page was not written: %s", error)
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Makes the report page of a training run; started by it.")
    parser.add_argument("--uri", required=True)
    parser.add_argument("--endpoint")
    parser.add_argument("--region")
    parser.add_argument("--rows", type=Path, required=True, help="rows of metrics.jsonl that are not in the store yet")
    parser.add_argument("--after-step", type=int, required=True, help="the step that those rows go on from")
    parser.add_argument("--nice", type=int, default=0, help="how much to stand back")
    parser.add_argument("--parent", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
