"""Every query of every dashboard runs on a real Prometheus over data of a real run, and what comes back makes sense.

The data were scraped from real trainers and the real operator (`make dashboard-data`): a run with an archive and a
restart, one whose loss was NaN, one to compare with, one that is suspended. See t2i_dev/dashboards/recording/jobs.py.
"""

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from t2i_api.metrics import ALL_METRICS, MetricType
from t2i_dev.dashboards.answers import Answer, Answers, Values, ask, options
from t2i_dev.dashboards.dcgm import DCGM_METRICS
from t2i_dev.dashboards.reading import Shown, panels_of, variables_of
from t2i_dev.dashboards.recording import tape
from t2i_dev.dashboards.recording.jobs import CALM, HOT, STORY, WAITING
from t2i_dev.dashboards.write import directory
from t2i_dev.prometheus import Prometheus

RUN, FLEET = "t2i-training-run", "t2i-fleet-and-operator"
# What a CPU run cannot have, or what only trouble brings; those are shown to be asked rightly elsewhere.
NEVER_ON_CPUS = {"Model FLOPs utilisation", "Memory of tensors"}
ONLY_WHILE_IT_LASTS = {"Time left", "As expected", "Longest reconcile now"}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with tape.replayed(tmp_path_factory.mktemp("replay")) as server:
        yield server


@pytest.fixture(scope="module")
def facts() -> tape.Facts:
    return tape.read_facts()


def board(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory() / f"{name}.json").read_text())
    return document


@pytest.fixture(scope="module")
def story(prometheus: Prometheus, facts: tape.Facts) -> Answers:
    """The dashboard of the run that had an archive and a restart, as it stood at the end."""
    return ask(prometheus, board(RUN), facts.window, {"namespace": facts.namespace, "job": STORY})


@pytest.fixture(scope="module")
def hot(prometheus: Prometheus, facts: tape.Facts) -> Answers:
    """The dashboard of the run whose loss was not finite."""
    return ask(prometheus, board(RUN), facts.window, {"namespace": facts.namespace, "job": HOT})


@pytest.fixture(scope="module")
def fleet(prometheus: Prometheus, facts: tape.Facts) -> Answers:
    return ask(prometheus, board(FLEET), facts.window, {})


def panel(name: str, title: str, section: str | None = None) -> Shown:
    """The panel of that title; rows may share titles, so a section can be named."""
    found = [each for each in panels_of(board(name)) if each.title == title and section in (None, each.section)]
    assert len(found) == 1, (title, len(found))
    return found[0]


def of(answers: Answers, name: str, title: str, section: str | None = None) -> tuple[Answer, ...]:
    return answers.panels[panel(name, title, section).number]


def points(answer: Answer) -> list[float]:
    return [value for series in answer.series for _, value in series.samples]


def test_the_reader_can_choose_the_namespace_and_every_job(prometheus: Prometheus, facts: tape.Facts) -> None:
    values: Values = {**facts.window.macros, "namespace": facts.namespace}
    found = {
        each.name: options(prometheus, each, facts.window, values)
        for each in variables_of(board(RUN))
        if each.kind == "query"
    }
    jobs = sorted([STORY, CALM, HOT, WAITING])
    assert found == {"namespace": [facts.namespace], "job": jobs, "compare": jobs}


def test_every_panel_shows_something(story: Answers, hot: Answers, fleet: Answers) -> None:
    shown = {
        (name, each.section, each.title)
        for name, answers in ((RUN, story), (RUN, hot), (FLEET, fleet))
        for each in panels_of(board(name))
        if any(answer.series for answer in answers.panels[each.number])
    }
    wanted = {(name, each.section, each.title) for name in (RUN, FLEET) for each in panels_of(board(name))}
    silent = {title for _, section, title in wanted - shown if not section.startswith("GPUs")}
    assert silent <= NEVER_ON_CPUS | ONLY_WHILE_IT_LASTS


def test_what_is_shown_is_within_what_its_unit_allows(story: Answers, hot: Answers, fleet: Answers) -> None:
    highest = {"percentunit": 1.001, "bool_yes_no": 1.0}
    for name, answers in ((RUN, story), (RUN, hot), (FLEET, fleet)):
        for each in panels_of(board(name)):
            for value in (value for answer in answers.panels[each.number] for value in points(answer)):
                if math.isfinite(value):
                    assert 0 <= value <= highest.get(each.defaults["unit"], math.inf), (each.title, value)


def test_a_figure_is_one_figure(story: Answers, hot: Answers, fleet: Answers) -> None:
    for name, answers in ((RUN, story), (RUN, hot), (FLEET, fleet)):
        for each in panels_of(board(name)):
            if each.kind == "stat":
                assert [len(answer.series) <= 1 for answer in answers.panels[each.number]] == [True], each.title


def test_only_a_loss_is_ever_infinite(story: Answers, hot: Answers, fleet: Answers) -> None:
    for name, answers in ((RUN, story), (RUN, hot), (FLEET, fleet)):
        for each in panels_of(board(name)):
            if each.section not in ("Loss", "Several runs"):
                assert not any(math.isinf(value) for answer in answers.panels[each.number] for value in points(answer))


def test_the_loss_falls_over_time_and_over_steps(story: Answers) -> None:
    _, smoothed = of(story, RUN, "Loss", "Loss")
    values = points(smoothed)
    assert values[-1] < 0.9 * values[0]
    losses, steps = of(story, RUN, "Loss over steps")
    assert {STORY, CALM, HOT} <= set(losses.names)
    assert losses.names == steps.names
    assert all(min(value for _, value in series.samples) < 20 for series in steps.series)


def test_losses_and_steps_are_asked_at_the_same_moments_so_that_grafana_can_join_them(story: Answers) -> None:
    losses, steps = of(story, RUN, "Loss over steps")
    for loss, step in zip(losses.series, steps.series, strict=True):
        assert loss.labels == step.labels
        assert {at for at, _ in loss.samples} <= {at for at, _ in step.samples}


def test_the_run_ends_where_it_was_to_end(story: Answers) -> None:
    (state,) = of(story, RUN, "State")
    assert state.names == ("Completed",)
    (progress,) = of(story, RUN, "Progress")
    assert points(progress) == [1.0]
    (loss,) = of(story, RUN, "Loss", "Run")
    assert 0 < points(loss)[0] < 2
    (expected,) = of(story, RUN, "As expected")
    assert points(expected) in ([1.0], [])


def test_the_time_left_shrinks_while_it_trains(prometheus: Prometheus, facts: tape.Facts, story: Answers) -> None:
    (steps, *_) = of(story, RUN, "Steps that a kill would cost")
    training = [at for at, _ in steps.series[0].samples]
    left = []
    for part in (0.2, 0.4, 0.6, 0.999):
        at = training[int(part * len(training))]
        window = facts.window.__class__(facts.begin, at, facts.window.step, facts.scrape_interval)
        answers = ask(prometheus, board(RUN), window, {"namespace": facts.namespace, "job": STORY})
        (answer,) = of(answers, RUN, "Time left")
        left.append(points(answer)[0] if answer.series else 0.0)
    assert max(left) > left[-1] >= 0


def test_state_and_verdict_follow_the_story(story: Answers) -> None:
    (states,) = of(story, RUN, "State over time")
    assert {"Archiving", "Training", "Restarting", "Completed"} & set(states.names) >= {"Training", "Completed"}
    moments = {name: series.samples[0][0] for name, series in zip(states.names, states.series, strict=True)}
    assert moments["Training"] < moments["Completed"]


def test_every_event_is_marked_once(story: Answers, hot: Answers) -> None:
    marks = [event.annotation.name for event in story.events]
    (restarts,) = of(story, RUN, "Restarts")
    assert len(points(restarts)) == 1
    assert points(restarts)[0] >= 1
    assert marks.count("Restart") == points(restarts)[0]
    assert (marks.count("Archive"), marks.count("Not finite")) == (1, 0)
    assert marks.count("Checkpoint") >= 3
    archive = next(event.at for event in story.events if event.annotation.name == "Archive")
    assert archive < min(event.at for event in story.events if event.annotation.name == "Checkpoint")
    assert "Not finite" in [event.annotation.name for event in hot.events]


def test_steps_that_did_not_count_are_counted(hot: Answers) -> None:
    non_finite, left_out, _ = of(hot, RUN, "Steps that did not count")
    assert max(points(left_out)) >= max(points(non_finite)) >= 1
    (state,) = of(hot, RUN, "State")
    assert state.names == ("NonFiniteLoss",)
    (findings,) = of(hot, RUN, "Findings")
    assert "NonFiniteStep" in {series.labels["finding"] for series in findings.series}


def test_each_rank_has_a_step_time_of_its_own(story: Answers) -> None:
    (times,) = of(story, RUN, "Step time by rank")
    assert times.names == ("rank 0", "rank 1")
    assert all(0 < value < 60 for value in points(times) if math.isfinite(value))


def test_a_checkpoint_ages_until_the_next(story: Answers) -> None:
    (ages,) = of(story, RUN, "Age of the newest checkpoint")
    values = points(ages)
    falls = sum(after < before for before, after in itertools.pairwise(values))
    assert falls >= 3
    unsaved, interval = of(story, RUN, "Steps that a kill would cost")
    assert max(points(unsaved)) <= 3 * max(points(interval))


def test_the_fleet_counts_its_jobs(fleet: Answers) -> None:
    counted = {title: points(of(fleet, FLEET, title)[0]) for title in ("Training", "Failed", "Completed", "Not done")}
    assert counted == {"Training": [0.0], "Failed": [1.0], "Completed": [2.0], "Not done": [1.0]}
    (states, *_) = of(fleet, FLEET, "Every job")
    assert {each.labels["job_name"]: each.labels["reason"] for each in states.series} == {
        STORY: "Completed",
        CALM: "Completed",
        HOT: "NonFiniteLoss",
        WAITING: "Suspended",
    }


def test_states_are_stacked_without_counting_a_job_twice(fleet: Answers) -> None:
    (states,) = of(fleet, FLEET, "Jobs by state")
    by_time: dict[float, float] = {}
    for series in states.series:
        for at, value in series.samples:
            by_time[at] = by_time.get(at, 0) + value
    assert max(by_time.values()) == 4


def test_one_operator_leads_and_reconciles(fleet: Answers) -> None:
    (leaders,) = of(fleet, FLEET, "Leaders")
    assert points(leaders) == [1.0]
    (reconciles,) = of(fleet, FLEET, "Reconciles by outcome")
    assert "ok" in reconciles.names
    (durations, *_) = of(fleet, FLEET, "Duration of a reconcile")
    assert all(value < 10 for value in points(durations) if math.isfinite(value))


def test_the_recording_and_the_list_of_metrics_agree(prometheus: Prometheus, facts: tape.Facts) -> None:
    recorded = set(prometheus.label_values("__name__", '{__name__=~"t2i_.*"}', start=facts.begin, end=facts.end))
    suffixes = {MetricType.HISTOGRAM: ("_bucket", "_count", "_sum")}
    listed = {each.name + suffix for each in ALL_METRICS for suffix in suffixes.get(each.type, ("",))}
    assert recorded <= listed
    never = {name for name in listed - recorded if name.startswith("t2i_")}
    gpu = {"t2i_trainer_model_flops_utilization_ratio"} | {name for name in listed if "_gpu_memory_" in name}
    assert never <= gpu | {"t2i_operator_working_oldest_timestamp_seconds"}
    assert not recorded & {each.name for each in DCGM_METRICS}
