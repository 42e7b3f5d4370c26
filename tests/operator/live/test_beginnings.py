"""What an attempt begins with, from the real bucket to the pods on the real API server; and what cannot begin."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

# The file that Diffusers' training scripts write.
UNET = "unet/diffusion_pytorch_model.safetensors"
OTHER_INPUT = {"conv_in.weight": (64, 4, 3, 3)}


def attempt_document(place: Any, number: int = 1) -> dict[str, Any]:
    """What the trainer of an attempt is told."""
    config_map = place.get("configmap", f"emoji-{number}")
    return dict(json.loads(config_map["data"]["attempt.json"]))


def environment(place: Any) -> dict[str, Any]:
    """Variables of the trainer's container, by name."""
    (job,) = place.objects("job.batch")
    entries = job["spec"]["template"]["spec"]["containers"][0]["env"]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def policy(place: Any, **fields: Any) -> dict[str, Any]:
    """The job's checkpoint group with some fields more."""
    return {
        "uri": f"s3://t2i/{place.prefix}",
        "endpoint": place.cluster.s3.endpoint,
        "credentialsSecretRef": {"name": "bucket"},
        "everySteps": 10,
        **fields,
    }


def model(**fields: Any) -> dict[str, Any]:
    """The job's model group with some fields more."""
    encoder = {"uri": "s3://t2i/models/minilm"}
    return {"unet": {"preset": "tiny"}, "textEncoder": encoder, "pixelUnshuffleFactor": 2, **fields}


def test_another_programs_weights_begin_a_run_at_step_0_and_stay_where_they_are(place: Any) -> None:
    place.put_weights(f"checkpoint-5000/{UNET}")
    place.operator.start()
    place.apply()
    place.pod(1)
    document = attempt_document(place)
    assert "resumeFrom" not in document
    weights = document["initialWeights"]
    assert (weights["uri"], weights["folder"]) == (f"s3://t2i/{place.prefix}", "checkpoint-5000")
    assert (weights["verdict"], weights.get("allowPartial", False)) == ("inference-only", False)
    assert weights["endpoint"] == place.cluster.s3.endpoint
    status = place.status()
    assert status["checkpoint"]["matchedParameterShare"] == 1
    assert status["checkpoint"]["storedModel"]
    assert status["attempt"]["initialWeights"]["folder"] == "checkpoint-5000"
    assert place.condition("CheckpointCompatible")["reason"] == "InitialWeights"
    (event,) = place.events("InitialWeights")
    assert event["type"] == "Warning"
    assert "step 0" in event["note"]
    assert f"checkpoint-5000/{UNET}" in place.bucket()


def test_a_warm_start_takes_what_agrees_and_names_what_starts_fresh(place: Any) -> None:
    place.put_weights(f"checkpoint-5000/{UNET}", changed=OTHER_INPUT)
    place.operator.start()
    place.apply(checkpoint=policy(place, onIncompatible="WarmStart"))
    place.pod(1)
    weights = attempt_document(place)["initialWeights"]
    assert (weights["verdict"], weights["allowPartial"]) == ("partial", True)
    status = place.status()
    assert status["attempt"]["initialWeights"]["fresh"] == 1
    assert status["checkpoint"]["firstMismatched"][0]["name"] == "conv_in.weight"
    assert "conv_in.weight" in place.events("InitialWeights")[0]["note"]


def test_initial_weights_come_from_another_prefix_by_a_secret_of_their_own(place: Any) -> None:
    place.put_weights("elsewhere/model.safetensors")
    weights = {
        "uri": f"s3://t2i/{place.prefix}/elsewhere/model.safetensors",
        "credentialsSecretRef": {"name": "models"},
    }
    place.operator.start()
    place.apply(model=model(initialWeights=weights))
    place.reaches("Blocked")
    assert "create secret generic models" in place.condition("CheckpointCompatible")["message"]
    assert place.objects("job.batch") == []

    server = place.cluster.s3
    place.kubectl(
        *("create", "secret", "generic", "models"),
        f"--from-literal=AWS_ACCESS_KEY_ID={server.access_key}",
        f"--from-literal=AWS_SECRET_ACCESS_KEY={server.secret_key}",
    )
    place.pod(1)
    told = attempt_document(place)["initialWeights"]
    assert told["uri"] == weights["uri"]
    assert told["verdict"] == "inference-only"
    assert place.status()["checkpoint"]["uri"] == weights["uri"]
    found = environment(place)
    assert found["T2I_INITIAL_WEIGHTS_AWS_ACCESS_KEY_ID"]["secretKeyRef"]["name"] == "models"
    assert found["AWS_ACCESS_KEY_ID"]["secretKeyRef"]["name"] == "bucket"
    assert server.secret_key not in json.dumps(place.objects("job.batch"))


def test_initial_weights_that_do_not_fit_wait_for_a_decision(place: Any) -> None:
    place.put_weights("elsewhere/model.safetensors", changed=OTHER_INPUT)
    uri = f"s3://t2i/{place.prefix}/elsewhere/model.safetensors"
    place.operator.start()
    place.apply(model=model(initialWeights={"uri": uri}))
    place.reaches("Blocked")
    condition = place.condition("CheckpointCompatible")
    assert (condition["status"], condition["reason"]) == ("False", "InitialWeightsUnusable")
    assert "WarmStart" in condition["message"]
    place.apply(model=model(initialWeights={"uri": uri}), checkpoint=policy(place, onIncompatible="WarmStart"))
    place.pod(1)
    assert attempt_document(place)["initialWeights"]["allowPartial"]


def test_newer_incomplete_checkpoints_are_skipped_counted_and_never_deleted(place: Any) -> None:
    for step in (20, 30):
        place.store.put(f"checkpoints/step-{step:08d}-killed-a1/unet.safetensors", b"half")
    place.operator.start()
    place.apply()
    place.pod(1)
    shown = place.status()["checkpoint"]
    assert (shown["verdict"], shown["skipped"]) == ("incomplete", 2)
    assert shown["skippedReasons"][0]["count"] == 2
    assert shown["skippedReasons"][0]["newest"] == "step-00000030-killed-a1"
    assert len(place.bucket()) == 2


def test_a_latent_space_job_gets_its_verdict_and_the_way_out(place: Any) -> None:
    place.put_old_checkpoint()
    latent = {"unet": {"preset": "stable-diffusion-v1"}, "textEncoder": {"uri": "s3://t2i/models/clip"}}
    place.operator.start()
    data = {"uri": "s3://t2i/data/emoji", "resolution": 512}
    place.apply(model={**latent, "vae": {"uri": "s3://t2i/models/vae"}}, data=data)
    place.reaches("BadConfiguration")
    assert place.status()["checkpoint"]["verdict"] == "foreign"
    assert "model.vae" in place.condition("Succeeded")["message"]
    assert [key for key in place.bucket() if key.startswith("archive/")] == []
