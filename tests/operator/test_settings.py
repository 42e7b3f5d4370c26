"""Options: command line over environment over defaults, and a sentence for every mistake."""

import pytest

from t2i_operator.settings import parse


def test_defaults_watch_all_namespaces() -> None:
    settings = parse([], {})
    assert settings.namespaces == ()
    assert (settings.metrics_port, settings.lease_seconds, settings.ambient_credentials) == (8080, 15, False)


def test_the_environment_gives_what_the_command_line_does_not() -> None:
    environ = {
        "T2I_NAMESPACE": "team-a, team-b,team-a",
        "T2I_METRICS_PORT": "9000",
        "T2I_TRAINER_IMAGE": "registry.example/trainer:1",
        "T2I_AMBIENT_CREDENTIALS": "true",
        "T2I_LEASE_SECONDS": "30",
        "POD_NAME": "t2i-operator-abc",
        "POD_NAMESPACE": "t2i-system",
    }
    settings = parse(["--metrics-port", "9001"], environ)
    assert settings.namespaces == ("team-a", "team-b")
    assert (settings.metrics_port, settings.lease_seconds) == (9001, 30)
    assert (settings.identity, settings.lease_namespace) == ("t2i-operator-abc", "t2i-system")
    assert settings.trainer_image == "registry.example/trainer:1"
    assert settings.ambient_credentials


@pytest.mark.parametrize(("interval", "linger"), [("15s", 30.0), ("1m", 120.0), ("0", 0.0)])
def test_a_pod_stays_for_two_scrapes(interval: str, linger: float) -> None:
    assert parse([], {"T2I_SCRAPE_INTERVAL": interval}).trainer_defaults.linger_seconds == linger
    assert parse([], {}).trainer_defaults.linger_seconds == 0


def test_two_processes_without_a_pod_name_never_share_an_identity() -> None:
    assert parse([], {}).identity != parse([], {}).identity


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["--metrics-port", "70000"], {}, "not within 0 to 65535"),
        ([], {"T2I_WORKERS": "many"}, "no whole number"),
        (["--namespace", "Team_A"], {}, "'Team_A' is no namespace"),
        (["--scrape-interval", "15"], {}, "'15' is no duration: write 15s"),
        (["--nmespace", "a"], {}, "unrecognized arguments"),
    ],
)
def test_a_mistake_is_refused_with_the_value_and_the_way_out(
    arguments: list[str], environ: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        parse(arguments, environ)
    assert refused.value.code == 2
    assert words in capsys.readouterr().err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], {})
    text = capsys.readouterr().out
    for word in ("examples:", "T2I_<OPTION>", "--kubeconfig", "kubectl apply -f crds/"):
        assert word in text
