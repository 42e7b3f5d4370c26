"""`python -m t2i_dev.dashboards.write` puts the dashboards into the chart; `make dashboards`."""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from t2i_dev.dashboards.fleet import fleet_and_operator
from t2i_dev.dashboards.later_versions import complete
from t2i_dev.dashboards.training_run import training_run
from t2i_dev.paths import repository_root


def directory() -> Path:
    """Return where the chart has its dashboards."""
    return repository_root() / "charts" / "t2i-operator" / "dashboards"


def documents() -> dict[str, str]:
    """Return every dashboard: file name -> JSON."""
    boards = (training_run(), fleet_and_operator())
    plain: list[dict[str, Any]] = [complete(json.loads(json.dumps(board, cls=JSONEncoder))) for board in boards]
    return {f"{board['uid']}.json": json.dumps(board, indent=2, sort_keys=True) + "\n" for board in plain}


def main() -> None:
    """Write the files, and remove those of dashboards that are no more."""
    wanted = documents()
    directory().mkdir(exist_ok=True)
    for stale in directory().glob("*.json"):
        if stale.name not in wanted:
            stale.unlink()
    for name, text in wanted.items():
        (directory() / name).write_text(text)


if __name__ == "__main__":
    main()
