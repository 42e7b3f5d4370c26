"""What a run begins with besides a resume: weights that fit, weights that fit in part, weights from elsewhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from t2i_api.conditions import State
from t2i_api.status import VerdictKind as V
from t2i_operator.observed import ArchiveFacts, FailedAction
from t2i_operator.plan import CreateAttempt, StartArchive

NewWorld = Callable[..., Any]
WARM = {"spec.checkpoint.onIncompatible": "WarmStart"}
ELSEWHERE = {
    "spec.model.initialWeights": {
        "uri": "s3://models/sd15",
        "endpoint": "https://s3.example",
        "credentialsSecretRef": {"name": "models"},
    }
}


@pytest.mark.parametrize("kind", [V.RENAMED, V.INFERENCE_ONLY])
def test_weights_of_another_program_are_taken_and_that_is_said_loudly(new_world: NewWorld, kind: V) -> None:
    world = new_world(bucket={5000: kind})
    assert world.until(State.TRAINING)
    weights = world.created[0].initial_weights
    assert (weights.uri, weights.folder, weights.verdict) == ("s3://t2i/emoji", "checkpoint-5000", kind)
    assert not weights.allow_partial
    assert weights.credentials_secret is None
    assert world.condition("CheckpointCompatible") == ("True", "InitialWeights")
    assert "with the weights of checkpoint-5000" in world.status.message
    loud = [event for event in world.events if event.reason == "InitialWeights"]
    assert [event.type for event in loud] == ["Warning"]
    for words in ("step 0", "checkpoint-5000", f"because {kind}", "Optimizer"):
        assert words in loud[0].message
    # They stay where they are, and the job's own checkpoints are resumed from then on.
    world.train()
    world.end_pods(137)
    world.until(State.TRAINING)
    assert world.created[-1] == CreateAttempt(attempt=2, resume_from="step-00000010-w1")
    assert world.bucket[5000] is kind


def test_before_its_first_checkpoint_a_restarted_run_begins_with_the_same_weights(new_world: NewWorld) -> None:
    world = new_world(bucket={5000: V.RENAMED})
    world.until(State.TRAINING)
    world.end_pods(137)
    world.until(State.TRAINING)
    assert [action.initial_weights.folder for action in world.created] == ["checkpoint-5000", "checkpoint-5000"]


def test_a_warm_start_says_what_starts_fresh(new_world: NewWorld) -> None:
    world = new_world(WARM, {5000: V.PARTIAL})
    world.until(State.TRAINING)
    weights = world.created[0].initial_weights
    assert (weights.allow_partial, weights.fresh) == (True, 1)
    assert any("conv_in.weight" in event.message for event in world.events if event.reason == "InitialWeights")
    assert world.status.checkpoint.verdict == "partial"
    assert world.status.checkpoint.stored_model == "home-made UNet"
    assert not world.archived


def test_without_a_warm_start_a_partial_fit_is_archived_like_a_foreign_one(new_world: NewWorld) -> None:
    world = new_world(bucket={5000: V.PARTIAL})
    world.until(State.TRAINING)
    assert world.archived == {5000: V.PARTIAL}
    assert world.created[0].initial_weights is None
    assert world.condition("CheckpointCompatible") == ("True", "Archived")


def test_a_warm_start_archives_what_is_foreign_first(new_world: NewWorld) -> None:
    world = new_world(WARM, {6000: V.FOREIGN, 5000: V.PARTIAL})
    world.until(State.TRAINING)
    assert world.archived == {6000: V.FOREIGN}
    assert world.created[0].initial_weights.folder == "checkpoint-5000"
    assert world.status.archive.checkpoints == 1
    assert "Archived" in world.said


def test_initial_weights_come_from_where_the_job_says(new_world: NewWorld) -> None:
    world = new_world(ELSEWHERE)
    world.elsewhere = {7: V.RENAMED}
    world.until(State.TRAINING)
    weights = world.created[0].initial_weights
    assert (weights.uri, weights.endpoint, weights.credentials_secret) == (
        "s3://models/sd15",
        "https://s3.example",
        "models",
    )
    assert (world.status.checkpoint.uri, world.status.checkpoint.verdict) == ("s3://models/sd15", "renamed")
    # The job asked for it, so it is no warning.
    assert [event.type for event in world.events if event.reason == "InitialWeights"] == ["Normal"]


def test_initial_weights_that_do_not_fit_block_the_job_until_that_is_mended(new_world: NewWorld) -> None:
    world = new_world(ELSEWHERE)
    world.elsewhere = {7: V.PARTIAL}
    world.until(State.BLOCKED)
    assert world.condition("CheckpointCompatible") == ("False", "InitialWeightsUnusable")
    assert "WarmStart" in world.status.message
    assert not world.created
    world.changes.update(WARM)
    world.until(State.TRAINING)
    assert world.created[0].initial_weights.allow_partial


def test_a_killed_operator_creates_what_was_decided_not_what_the_spec_says_now(new_world: NewWorld) -> None:
    world = new_world(ELSEWHERE)
    world.elsewhere = {7: V.RENAMED}
    world.until(State.STARTING)
    world.changes["spec.model.initialWeights"] = {"uri": "s3://models/other"}
    world.forget()
    world.reconcile()
    assert world.created[0].initial_weights.uri == "s3://models/sd15"


def test_a_latent_space_job_gets_its_verdict_but_nothing_is_moved_for_it(new_world: NewWorld) -> None:
    latent = {"spec.model": {"unet": {"preset": "stable-diffusion-v1"}, "textEncoder": {"uri": "s3://models/clip"}}}
    latent["spec.model"]["vae"] = {"uri": "s3://models/vae"}
    world = new_world(latent, {5000: V.FOREIGN})
    world.until(State.BAD_CONFIGURATION)
    assert world.status.checkpoint.verdict == "foreign"
    assert "model.vae" in world.status.message
    assert (world.bucket, world.created) == ({5000: V.FOREIGN}, [])


def test_skipped_checkpoints_are_counted_by_reason(new_world: NewWorld) -> None:
    world = new_world(bucket={40: V.INCOMPLETE, 30: V.INCOMPLETE, 10: V.IDENTICAL})
    world.until(State.TRAINING)
    shown = world.status.checkpoint
    assert shown.skipped == 2
    assert [(item.reason, item.count, item.newest) for item in shown.skipped_reasons] == [
        ("Reason", 2, "step-00000040-w1")
    ]
    started = next(event.message for event in world.events if event.reason == "AttemptStarted")
    assert "2 newer checkpoints passed over: 2 incomplete (Reason), newest step-00000040-w1" in started


def test_a_resume_that_passes_over_newer_complete_checkpoints_says_which_and_why(new_world: NewWorld) -> None:
    # Was: only incomplete ones were counted; a newer one without an optimizer was passed over without a word.
    world = new_world(bucket={50: V.INFERENCE_ONLY, 40: V.INCOMPLETE, 30: V.INFERENCE_ONLY, 10: V.IDENTICAL})
    world.until(State.TRAINING)
    assert world.created[0].resume_from == "step-00000010-w1"
    shown = world.status.checkpoint
    assert shown.skipped == 3
    assert [(item.verdict, item.count, item.newest, item.explanation) for item in shown.skipped_reasons] == [
        ("inference-only", 2, "checkpoint-50", "because inference-only"),
        ("incomplete", 1, "step-00000040-w1", "because incomplete"),
    ]
    words = (
        "3 newer checkpoints passed over: 2 inference-only (WeightsWithoutResumeState), newest checkpoint-50: because "
        "inference-only; 1 incomplete (Reason), step-00000040-w1: because incomplete"
    )
    loud = [event for event in world.events if event.reason == "CheckpointsPassedOver"]
    assert [(event.type, event.message) for event in loud] == [("Warning", words)]
    assert words in world.status.condition("CheckpointCompatible").message
    assert words in world.status.condition("Admitted").message


def test_an_archive_that_was_given_up_is_not_said_to_hold_anything(new_world: NewWorld) -> None:
    # Was: the location in the status was taken for an archive that had been committed.
    world = new_world(bucket={5: V.FOREIGN})
    world.until(State.ARCHIVING)
    world.reconcile()
    assert world.status.archive.location
    world.fail_archive()
    world.bucket.clear()  # somebody moved it away meanwhile
    world.until(State.TRAINING)
    assert world.condition("CheckpointCompatible") == ("True", "NoCheckpoint")
    assert world.status.archive.location not in world.status.condition("CheckpointCompatible").message
    assert "Archived" not in world.said


def test_the_status_follows_an_archive_but_is_not_written_for_every_byte(new_world: NewWorld) -> None:
    world = new_world(bucket={5: V.FOREIGN})
    world.until(State.ARCHIVING)
    world.reconcile()
    running: ArchiveFacts = replace(
        world.archive, bytes_total=13_800_000_000, bytes_done=1_200_000_000, method="Move",
        bytes_per_second=120e6, eta_seconds=105.0,
    )  # fmt: skip
    world.archive = running
    world.reconcile()
    shown = world.status.archive
    assert (shown.method, shown.bytes_per_second, shown.eta) == ("Move", 120_000_000, "1m45s")
    assert "1.2 GB of 13.8 GB, 120.0 MB/s, 1m45s left" in world.status.message
    world.archive = replace(running, bytes_done=1_300_000_000, eta_seconds=104.0)
    assert world.reconcile().status_may_wait
    world.finish_archive()
    assert not world.reconcile().status_may_wait


def test_a_store_that_is_not_safe_to_move_on_gets_a_pointer_and_one_warning(new_world: NewWorld) -> None:
    world = new_world(bucket={5: V.FOREIGN})
    world.until(State.ARCHIVING)
    world.archive = replace(world.archive, method="Reference", warning="the store ignores If-None-Match on PUT: ...")
    for _ in range(3):
        world.reconcile()
    assert "by a pointer" in world.status.message
    assert world.status.archive.warning.startswith("the store ignores")
    assert world.said.count("StoreNotSafe") == 1


def test_what_the_api_server_refuses_shows_in_the_conditions_until_it_is_done(new_world: NewWorld) -> None:
    world = new_world()
    world.until(State.STARTING)
    refused = FailedAction(action="CreateAttempt", message='Job "emoji-1" is invalid: spec.template: label too long')
    world.failed_action = refused
    plan = world.reconcile(killed_after=1)
    assert isinstance(plan.actions[0], CreateAttempt)
    assert world.condition("Running") == ("False", "CreateAttemptFailed")
    assert world.state is State.BLOCKED
    assert "label too long" in world.status.message
    again = world.reconcile(killed_after=1)
    assert again.status == plan.status
    world.failed_action = None
    world.until(State.TRAINING)
    assert world.condition("Running") == ("True", "Training")


def test_an_action_that_is_not_wanted_any_more_has_not_failed(new_world: NewWorld) -> None:
    world = new_world(bucket={5: V.FOREIGN})
    world.until(State.ARCHIVING)
    world.failed_action = FailedAction(action="CreateAttempt", message="refused")
    plan = world.reconcile()
    assert not [action for action in plan.actions if isinstance(action, StartArchive | CreateAttempt)]
    assert world.state is State.ARCHIVING
