"""Which pods a Prometheus scrapes."""

from typing import Any

import pytest

from t2i_dev.demo.discovery import target_group


def _pod(annotations: dict[str, str] | None, address: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "default", "name": "emoji-1-0"}
    if annotations is not None:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "status": {} if address is None else {"podIP": address}}


ASKS = {"prometheus.io/scrape": "true", "prometheus.io/port": "9400"}


@pytest.mark.parametrize(
    ("pod", "target"),
    [
        (_pod(ASKS, "10.0.0.1"), "10.0.0.1:9400"),
        (_pod({"prometheus.io/scrape": "true"}, "10.0.0.1"), "10.0.0.1:80"),
        (_pod({**ASKS, "prometheus.io/scrape": "false"}, "10.0.0.1"), None),
        (_pod(ASKS, None), None),
        (_pod(None, "10.0.0.1"), None),
    ],
)
def test_a_pod_is_scraped_if_it_asks_and_has_an_address(pod: dict[str, Any], target: str | None) -> None:
    group = target_group(pod)
    assert (group and group["targets"][0]) == target
