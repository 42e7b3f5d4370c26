"""Log lines for people and machines: one line a record, `time level logger message key=value …` (logfmt at its end)."""

import json
import logging
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class KeyValueFormatter(logging.Formatter):
    """Formats a record with everything that `extra` carried as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback below it if there is one."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        extra = {key: value for key, value in record.__dict__.items() if key not in _STANDARD and key[0] != "_"}
        # Kopf attaches whole settings and bodies for its own handlers; lines stay short.
        pairs = "".join(
            f" {key}={_text(value)}" for key, value in extra.items() if isinstance(value, str | int | float)
        )
        message = record.getMessage().replace("\n", "\\n")
        line = f"{time} {record.levelname:<7} {record.name.removeprefix('t2i_operator.')}: {message}{pairs}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(*, verbose: bool) -> None:
    """Log to standard error; `verbose` shows what is asked of the API server and of Kopf too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "asyncio", "s3transfer", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("kopf").setLevel(logging.INFO if verbose else logging.WARNING)


def _text(value: str | float) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\n') else text
