"""`/progress` and `/metrics` tell over real HTTP what the loop noted last, under the names that dashboards use."""

from __future__ import annotations

import logging
import math
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from t2i_api.findings import Finding, Severity
from t2i_api.metrics import TRAINER_METRICS, trainer
from t2i_api.metrics.labels import Caption
from t2i_api.progress import MAXIMUM_FRESH_NAMES, Progress, TrainerPhase
from t2i_api.status import VerdictKind
from t2i_checkpoint.manifest import InitialWeightsFacts, Manifest, ManifestFile
from t2i_dev.ports import free_ports
from t2i_trainer.http_server import serve
from t2i_trainer.rank_figures import RankFigures
from t2i_trainer.step_result import StepResult
from t2i_trainer.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from t2i_api.metrics import Metric

SAVED_AT = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)


def manifest(step: int) -> Manifest:
    """Only what telemetry reads."""
    files = (ManifestFile(path="unet.safetensors", size=12, sha256="ab" * 32),)
    known: dict[str, Any] = {"step": step, "created_at": SAVED_AT, "files": files}
    return Manifest.model_construct(**known)


@pytest.fixture
def telemetry() -> Telemetry:
    progress = Progress(attempt=2, world_size=4, target_steps=100, updated_at=datetime.now(UTC))
    return Telemetry(progress, global_batch_size=8)


@pytest.fixture
def address(telemetry: Telemetry) -> Iterator[str]:
    (port,) = free_ports(1)
    server = serve(telemetry, port)
    assert server is not None
    yield f"http://127.0.0.1:{port}"
    server.shutdown()
    server.server_close()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # loopback
        content: bytes = answer.read()
        return content


def stepped(telemetry: Telemetry, step: int, loss: float) -> None:
    telemetry.stepped(StepResult(step=step, loss=loss, gradient_norm=0.25, learning_rate=1e-3, seconds=0.5))


def test_a_loss_that_is_no_number_is_not_logged_as_zero(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        stepped(telemetry, 100, math.nan)
    assert "step 100 of 100: loss not finite" in caplog.text


def test_progress_follows_the_loop(telemetry: Telemetry, address: str) -> None:
    telemetry.resumed(manifest(40), "step-00000040-w", 0.5)
    telemetry.enter(TrainerPhase.TRAINING)
    stepped(telemetry, 41, 0.3)
    progress = Progress.model_validate_json(fetch(f"{address}/progress"))
    assert (progress.step, progress.loss, progress.resumed_from_step) == (41, 0.3, 40)
    assert (progress.last_checkpoint, progress.samples_seen) == ("step-00000040-w", 41 * 8)
    assert progress.loss_smoothed == pytest.approx(0.98 * 0.5 + 0.02 * 0.3)
    assert progress.seconds_per_step == 0.5
    assert progress.images_per_second == 16
    assert progress.eta_seconds == pytest.approx(59 * 0.5)


def test_every_promised_metric_is_exported_with_its_help(telemetry: Telemetry, address: str) -> None:
    telemetry.enter(TrainerPhase.TRAINING)
    stepped(telemetry, 1, 0.5)
    text = fetch(f"{address}/metrics").decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert {
        name: (family.type, family.documentation) for name, family in found.items() if not name.endswith("_created")
    } == {metric.family: (metric.type.value, metric.help) for metric in TRAINER_METRICS}
    assert found["t2i_trainer_loss"].samples[0].value == 0.5
    assert found["t2i_trainer_images"].samples[0].value == 8


@pytest.mark.parametrize(
    "metric", [trainer.NON_FINITE, trainer.SKIPPED, trainer.ROLLBACKS, trainer.CHECKPOINT_FAILURES, trainer.IMAGES]
)
def test_what_rules_count_is_there_before_the_first_event(telemetry: Telemetry, metric: Metric) -> None:
    """A counter that appears with its first event shows no increase."""
    assert f"\n{metric.name} 0.0\n" in telemetry.exposition().decode()


@pytest.mark.parametrize(
    "metric",
    [trainer.LOSS, trainer.EXPECTED_END, trainer.CHECKPOINT_TIMESTAMP, trainer.AS_EXPECTED, trainer.EVALUATION_STEP],
)
def test_what_is_not_known_yet_has_no_sample(telemetry: Telemetry, metric: Metric) -> None:
    assert f"\n{metric.name} " not in telemetry.exposition().decode()


def test_only_rank_0_speaks_of_the_run(telemetry: Telemetry) -> None:
    other = Telemetry(telemetry.progress, 8, RankFigures(rank=3))
    stepped(other, 1, 0.5)
    found = {family.name for family in text_string_to_metric_families(other.exposition().decode())}
    assert found == {metric.family for metric in trainer.RANK_METRICS}


def test_the_expected_end_is_a_time(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    stepped(telemetry, 90, 0.5)
    text = telemetry.exposition().decode()
    assert "t2i_trainer_expected_end_timestamp_seconds 1005.0" in text
    assert "t2i_trainer_step_timestamp_seconds 1000.0" in text


def test_a_phase_is_one_and_the_others_are_not(telemetry: Telemetry) -> None:
    telemetry.enter(TrainerPhase.SAVING)
    text = telemetry.exposition().decode()
    assert 't2i_trainer_phase{phase="Saving"} 1.0' in text
    assert 't2i_trainer_phase{phase="Starting"} 0.0' in text


def test_a_resumed_run_knows_its_checkpoint(telemetry: Telemetry) -> None:
    telemetry.resumed(manifest(40), "step-00000040-w", 0.5)
    text = telemetry.exposition().decode()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert found["t2i_trainer_checkpoint_step"].samples[0].value == 40
    assert found["t2i_trainer_loss_smoothed"].samples[0].value == 0.5
    assert found["t2i_trainer_checkpoint_timestamp_seconds"].samples[0].value == SAVED_AT.timestamp()
    assert "t2i_trainer_checkpoint_bytes_total 0.0" in text


def test_what_a_save_cost_is_counted_and_so_is_one_that_failed(telemetry: Telemetry) -> None:
    telemetry.blocked_by_save(0.02)
    telemetry.saved(manifest(40), 4.0, 3.5)
    telemetry.save_failed()
    telemetry.drew("s3://bucket/grid.png")
    text = telemetry.exposition().decode()
    for line in (
        "t2i_trainer_checkpoint_bytes_total 12.0",
        "t2i_trainer_checkpoint_seconds_sum 4.0",
        "t2i_trainer_checkpoint_upload_seconds_sum 3.5",
        't2i_trainer_checkpoint_blocked_seconds_bucket{le="0.03"} 1.0',
        "t2i_trainer_checkpoint_failures_total 1.0",
        "t2i_trainer_sample_grids_total 1.0",
    ):
        assert line in text


def test_the_evaluation_is_told_by_caption_with_its_step(telemetry: Telemetry) -> None:
    telemetry.noticed.evaluated(50, {Caption.RIGHT: 0.25, Caption.WRONG: 0.5, Caption.NULL: 0.75})
    text = telemetry.exposition().decode()
    assert 't2i_trainer_evaluation_loss{caption="wrong"} 0.5' in text
    assert "t2i_trainer_evaluation_step 50.0" in text


def test_a_step_that_is_not_finite_leaves_the_smoothed_loss_alone(telemetry: Telemetry, address: str) -> None:
    stepped(telemetry, 1, 0.5)
    telemetry.stepped(
        StepResult(step=2, loss=float("nan"), gradient_norm=float("inf"), learning_rate=1e-3, finite=False)
    )
    progress = Progress.model_validate_json(fetch(f"{address}/progress"))
    assert (progress.step, progress.loss, progress.loss_smoothed, progress.gradient_norm) == (2, None, 0.5, None)
    text = fetch(f"{address}/metrics").decode()
    assert "t2i_trainer_loss NaN" in text
    assert "t2i_trainer_gradient_norm +Inf" in text
    assert "t2i_trainer_loss_smoothed 0.5" in text


def test_a_warm_start_is_told_with_the_first_names_of_what_is_fresh(telemetry: Telemetry, address: str) -> None:
    fresh = tuple(f"layer.{number}" for number in range(30))
    facts = InitialWeightsFacts(uri="s3://b/p", folder="checkpoint-5", verdict=VerdictKind.PARTIAL, step=5, fresh=fresh)
    telemetry.began_with(facts, 70)
    told = Progress.model_validate_json(fetch(f"{address}/progress")).warm_start
    assert told is not None
    assert (told.loaded, told.fresh, told.fresh_names) == (70, 30, list(fresh[:MAXIMUM_FRESH_NAMES]))
    assert (told.folder, told.step, told.verdict) == ("checkpoint-5", 5, VerdictKind.PARTIAL)


def test_it_can_be_kept_to_one_address(telemetry: Telemetry) -> None:
    """Pods that are plain processes of one machine share its addresses."""
    (port,) = free_ports(1)
    server = serve(telemetry, port, "127.0.0.2")
    assert server is not None
    assert fetch(f"http://127.0.0.2:{port}/healthz") == b"ok\n"
    with pytest.raises(urllib.error.URLError, match="refused"):
        fetch(f"http://127.0.0.1:{port}/healthz")
    server.shutdown()
    server.server_close()


def test_other_paths_are_not_found(address: str) -> None:
    assert fetch(f"{address}/healthz") == b"ok\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(f"{address}/secrets")


def test_a_taken_port_does_not_stop_the_training(telemetry: Telemetry, address: str) -> None:
    assert serve(telemetry, int(address.rpartition(":")[2])) is None


def test_what_a_run_notices_is_told_once_a_name_and_counted_each_time(telemetry: Telemetry, address: str) -> None:
    for step in (3, 9):
        telemetry.found(Finding(name="LatentScale", severity=Severity.ERROR, step=step, sentence="Too small."))
    telemetry.expects(as_expected=False, sentence="Loss 0.9.")
    progress = Progress.model_validate_json(fetch(f"{address}/progress"))
    assert [(each.name, each.step) for each in progress.findings] == [("LatentScale", 3)]
    assert (progress.as_expected, progress.expectation) == (False, "Loss 0.9.")
    text = fetch(f"{address}/metrics").decode()
    assert 't2i_trainer_findings_total{finding="LatentScale",severity="Error"} 2.0' in text
    assert "t2i_trainer_loss_as_expected 0.0" in text
