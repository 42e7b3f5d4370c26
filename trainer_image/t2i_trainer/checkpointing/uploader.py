"""The process that publishes checkpoints while training goes on: orders come by standard input, answers go back.

Python started afresh, without torch: tens of megabytes beside a trainer of many gigabytes. It lives exactly as long as
the trainer: signals to stop are the trainer's to hear, and when the trainer is gone it is killed at once, because a
newer attempt may be at work by then and whatever this one would still retire or overwrite could be that one's.
"""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback

from t2i_api.progress import ExitCode
from t2i_checkpoint.manifest import ManifestError
from t2i_checkpoint.open import open_store
from t2i_checkpoint.store import StoreError
from t2i_trainer.checkpointing.order import SaveOrder, SaveOutcome
from t2i_trainer.checkpointing.other_writers import OtherWriters
from t2i_trainer.checkpointing.publish import publish
from t2i_trainer.checkpointing.retention import retire_checkpoints
from t2i_trainer.child import end_with
from t2i_trainer.errors import TrainerError, store_exit_code

# Training comes first where cores are few.
_NICENESS = 10


def main() -> None:
    """Carry out orders until standard input ends."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    end_with(options.parent)
    os.nice(_NICENESS)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("t2i_trainer").setLevel(logging.INFO)
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    watch = OtherWriters()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
        while True:
            outcome = carry_out(orders.get(), options.uri, options.endpoint, options.region, watch)
            answers.write(outcome.model_dump_json().encode() + b"\n")
            answers.flush()


def carry_out(line: bytes, uri: str, endpoint: str | None, region: str | None, watch: OtherWriters) -> SaveOutcome:
    """Publish one checkpoint and retire old ones; never raises."""
    started = time.monotonic()
    try:
        order = SaveOrder.model_validate_json(line)
        store = open_store(uri, endpoint=endpoint, region=region)
        manifest = publish(store, order)
        retire_checkpoints(store, manifest, order.retain, watch)
        return SaveOutcome(seconds=time.monotonic() - started, manifest=manifest)
    except TrainerError as error:
        code, message = error.code, str(error)
    except StoreError as error:
        code, message = store_exit_code(error), str(error)
    except ManifestError as error:
        code, message = ExitCode.CRASHED, f"{error.reason}: {error}"
    except Exception as error:  # noqa: BLE001  # the process's boundary: the trainer must hear of whatever it is
        traceback.print_exc()
        code, message = ExitCode.CRASHED, f"{type(error).__name__}: {error}"
    return SaveOutcome(seconds=time.monotonic() - started, code=code, message=message)


def _listen(orders: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        orders.put(line)
    os._exit(0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Publishes the checkpoints of a training run; started by it.")
    parser.add_argument("--uri", required=True)
    parser.add_argument("--endpoint")
    parser.add_argument("--region")
    parser.add_argument("--parent", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
