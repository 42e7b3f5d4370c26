"""What `helm test` asks of an installation; here of its own pages; tests/charts asks the API server."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from t2i_operator import install_check
from t2i_operator.http_server import HttpServer


async def test_an_operator_that_is_not_ready_fails_with_its_own_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(install_check, "_PAUSE_SECONDS", 0.0)
    server = HttpServer(CollectorRegistry(), lambda: "the cluster does not know DiffusionTrainingJob")
    await server.start("127.0.0.1", 0)
    try:
        with pytest.raises(
            install_check.CheckError, match=r"/readyz: 503: not ready: the cluster does not know .* kubectl logs"
        ):
            await install_check.check(f"http://127.0.0.1:{server.port}", [], None)
    finally:
        await server.close()


def test_an_operator_that_does_not_answer_fails_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install_check, "_PAUSE_SECONDS", 0.0)
    assert install_check.main(["--operator", "http://127.0.0.1:9"]) == 1
    assert "http://127.0.0.1:9/healthz: " in capsys.readouterr().err


async def test_a_cluster_that_cannot_be_asked_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_check, "_PAUSE_SECONDS", 0.0)
    server = HttpServer(CollectorRegistry(), lambda: "")
    await server.start("127.0.0.1", 0)
    try:
        arguments = ["--operator", f"http://127.0.0.1:{server.port}", "--kubeconfig", "/nonexistent"]
        assert await asyncio.to_thread(install_check.main, arguments) == 1
    finally:
        await server.close()
