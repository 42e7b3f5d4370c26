"""What a runbook page must hold: its opening line, which is made of the alert, and four headings."""

from typing import Final

from t2i_dev.alerts.alert import Alert

HEADINGS: Final = ("Meaning", "Impact", "Diagnosis", "Mitigation")
_INDEX: Final = "How to read and run this page: [runbooks](README.md)."


def head_of(alert: Alert) -> str:
    """Return the line below the title: how soon, after how long, at which number, and where that is changed."""
    after = "at once" if alert.lasting == "0m" else f"after {alert.lasting}"
    number = "" if alert.threshold is None else f" Threshold {alert.threshold.value:g}: {alert.threshold.meaning}."
    return f"Severity {alert.severity}, fires {after}.{number} Values: `alerts.{alert.name}`. {_INDEX}"


def row_of(alert: Alert) -> str:
    """Return the alert's row in the table of docs/runbooks/README.md."""
    number = "" if alert.threshold is None else f"{alert.threshold.value:g}: {alert.threshold.meaning}"
    return f"| [{alert.name}]({alert.name}.md) | {alert.severity} | {alert.lasting} | {number} |"
