import pytest

from t2i_dev.cluster.requirements import missing_for_node, require
from t2i_dev.errors import MissingRequirementError


def test_a_user_without_root_is_told_what_works_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MissingRequirementError, match=r"lacks root .*cluster up --no-node") as caught:
        require(node=True)
    assert "set KUBECONFIG" in str(caught.value)


def test_another_operating_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert missing_for_node() == ["Linux (this is darwin)"]


def test_missing_programs_are_named_by_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    missing = "; ".join(missing_for_node())
    for package in ("containerd", "runc", "iproute2", "nftables"):
        assert f"the program of package {package}" in missing


def test_a_control_plane_needs_openssl_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingRequirementError, match=r"the control plane: it lacks the program of package openssl\."):
        require(node=False)
