"""With named namespaces the operator works without a single cluster-scoped right, shown by the API server's own log.

The operator runs as a process with the token of the chart's service account and the environment of its Deployment.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from t2i_operator import install_check

pytestmark = pytest.mark.cluster

JOBS = "training.t2i.dev/diffusiontrainingjobs"


def requests_of(installed: Any) -> Iterator[dict[str, Any]]:
    """Yield every request that the API server completed for the operator's service account."""
    for line in installed.cluster.audit_log.read_text().splitlines():
        event = json.loads(line)
        if event["user"]["username"] == installed.account:
            yield event


def test_it_works_in_its_namespaces_alone_and_reads_no_secret_that_no_job_names(
    installed: Any, team: str, eventually: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, s3 = installed.cluster, installed.cluster.s3
    for name in ("bucket", "of-somebody-else", "named-but-not-granted"):
        cluster.kubectl(
            *("create", "secret", "generic", name, f"--namespace={team}"),
            f"--from-literal=AWS_ACCESS_KEY_ID={s3.access_key}",
            f"--from-literal=AWS_SECRET_ACCESS_KEY={s3.secret_key}",
        )
    rule = {"namespaces": [team], "endpoints": [s3.endpoint], "locations": ["s3://t2i/{namespace}", "s3://t2i/data"]}
    values = {
        "watchNamespaces": [team],
        "userRoles": {"create": False},
        "storage": {"credentialSecrets": {team: ["bucket", "of-somebody-else"]}, "allow": [rule]},
    }
    installed.install("--take-ownership", values=values)

    def submit(name: str, secret: str, uri: str, namespace: str = team) -> None:
        document = installed.job(namespace, name, uri=uri, endpoint=s3.endpoint, credentialsSecretRef={"name": secret})
        document["spec"]["model"]["textEncoder"]["uri"] = "s3://t2i/data/encoder"
        eventually(lambda: cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(document)), "the job is taken")

    def state(name: str, condition: str) -> str:
        raw = installed.get("diffusiontrainingjob", name, namespace=team)
        found = {each["type"]: each["reason"] for each in raw.get("status", {}).get("conditions", [])}
        return str(found.get(condition, ""))

    submit("trains", "bucket", f"s3://t2i/{team}/trains")
    submit("outside", "bucket", "s3://t2i/another-team/run")
    submit("not-granted", "named-but-not-granted", f"s3://t2i/{team}/not-granted")
    submit("elsewhere", "bucket", "s3://t2i/elsewhere", namespace=installed.namespace)
    operator = installed.start_operator()

    eventually(lambda: installed.get("jobs.batch", namespace=team)["items"], f"a Job:\n{operator.lines()}")
    assert state("trains", "Admitted") == "Admitted"
    eventually(lambda: state("outside", "CheckpointCompatible") == "StorageNotAllowed", "the rules refuse one job")
    assert state("outside", "Succeeded") == "Blocked"
    eventually(lambda: state("not-granted", "CheckpointCompatible") == "CredentialsMissing", "RBAC refuses one Secret")
    raw = installed.get("diffusiontrainingjob", "elsewhere", namespace=installed.namespace)
    assert not raw.get("status")
    assert operator.page("/readyz") == "ok\n"

    # What `helm test` asks, with the same rights.
    arguments = ["--operator", operator.url(), "--namespace", team, "--kubeconfig", str(operator.kubeconfig)]
    assert install_check.main(arguments) == 0
    assert f"ok: 3 job(s) in {team}" in capsys.readouterr().out
    # Nothing cluster-wide is asked for, and what is allowed is allowed by a binding in a namespace. (The log leaves out
    # leases and events: the operator would not be ready, or would have said so, without them.)
    asked = list(requests_of(installed))
    of_resources = [each for each in asked if "objectRef" in each]
    assert {each["objectRef"].get("namespace") for each in of_resources} == {team}
    reasons = {each["annotations"]["authorization.k8s.io/reason"] for each in of_resources}
    assert all(not reason or "RoleBinding" in reason for reason in reasons), reasons
    assert not any("ClusterRoleBinding" in reason for reason in reasons), reasons
    secrets = [each for each in of_resources if each["objectRef"]["resource"] == "secrets"]
    assert {(each["verb"], each["objectRef"]["name"]) for each in secrets} == {
        ("get", "bucket"),
        ("get", "named-but-not-granted"),
    }
    refused = {each["objectRef"]["name"] for each in secrets if each["responseStatus"]["code"] == 403}
    assert refused == {"named-but-not-granted"}
    denied = [each for each in of_resources if each["responseStatus"]["code"] == 403 and each not in secrets]
    assert denied == []
    # And the authorizer, asked directly.
    everywhere = (("list", JOBS), ("watch", "batch/jobs"), ("get", "/secrets"), ("list", "/namespaces"))
    asked_for = [*((verb, resource, {}) for verb, resource in everywhere), ("list", JOBS, {"namespace": "default"})]
    assert set(installed.allowed(asked_for).values()) == {False}
    assert "Forbidden" not in operator.lines()


def test_all_rights_in_one_namespace_are_enough_to_install_it_there(
    installed: Any, eventually: Callable[..., Any]
) -> None:
    own = installed.namespace
    flags = ("--clusterrole=cluster-admin", "--user=lead", f"--namespace={own}")
    installed.cluster.kubectl("create", "rolebinding", "lead", *flags)
    eventually(lambda: installed.may("create", "rbac.authorization.k8s.io/roles", user="lead", namespace=own), "rights")
    values = {
        "watchNamespaces": [own],
        "crds": {"enabled": False},
        "userRoles": {"create": False},
        "storage": {"credentialNamespaces": [own]},
    }

    installed.install("--kube-as-user=lead", values=values, take_ownership=False)
    installed.install("replicas=2", "--kube-as-user=lead", values=values, take_ownership=False)
    assert eventually(lambda: installed.may("list", JOBS, namespace=own), "the operator has its rights")
    installed.run("uninstall", installed.release, "--kube-as-user=lead")

    assert not installed.get("deployment")["items"]
    refused = [("create", "rbac.authorization.k8s.io/clusterroles", {}), ("list", "/pods", {"namespace": "default"})]
    assert set(installed.allowed(refused, user="lead").values()) == {False}
