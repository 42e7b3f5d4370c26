"""All alerts by the rule group that holds them; a group is a file in the chart."""

from typing import Final

from t2i_dev.alerts import checkpoints, operator, training

GROUPS: Final = {
    "t2i-training": training.ALERTS,
    "t2i-checkpoints": checkpoints.ALERTS,
    "t2i-operator": operator.ALERTS,
}
ALL_ALERTS: Final = tuple(alert for alerts in GROUPS.values() for alert in alerts)
