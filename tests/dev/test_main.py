import pytest
from typer.testing import CliRunner

from t2i_dev import setup
from t2i_dev.errors import ClusterStateError, MissingRequirementError
from t2i_dev.main import app, commands
from t2i_dev.progress import Progress

pytestmark = pytest.mark.usefixtures("private_cache")


@pytest.mark.parametrize("command", [[], ["cluster"], ["images"], ["setup"], ["tools"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    result = CliRunner().invoke(commands, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_status_of_nothing() -> None:
    assert CliRunner().invoke(commands, ["cluster", "status"]).output == "no clusters\n"


def test_stopping_what_does_not_run_is_no_error() -> None:
    result = CliRunner().invoke(commands, ["cluster", "down", "--name", "absent"])
    assert result.exit_code == 0
    assert "there is no cluster absent" in result.output


def test_entering_what_does_not_run_names_the_command_that_starts_it() -> None:
    result = CliRunner().invoke(commands, ["cluster", "env", "--name", "absent"])
    assert isinstance(result.exception, ClusterStateError)
    assert "t2i-dev cluster up --name absent" in str(result.exception)


def test_an_error_is_one_message_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["t2i-dev", "cluster", "env", "--name", "absent"])
    with pytest.raises(SystemExit, match="1"):
        app()
    assert capsys.readouterr().err.startswith("error: no cluster absent runs")


def test_an_unknown_image_is_answered_with_the_known_ones() -> None:
    result = CliRunner().invoke(commands, ["images", "build", "trainr"])
    assert result.exit_code == 2
    assert "operator, trainer" in result.output


def test_a_user_who_may_not_install_packages_is_told_which_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingRequirementError, match=r"containerd .*runc.*As root on Debian: apt-get install"):
        setup.install_packages(Progress(quiet=True))
