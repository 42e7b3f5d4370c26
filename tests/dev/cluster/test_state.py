import json
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from t2i_dev.cluster.layout import ControlPlaneAddresses, Files
from t2i_dev.cluster.state import ClusterState, Component, load, save
from t2i_dev.processes import spawn

ADDRESSES = ControlPlaneAddresses("127.0.0.1", "127.0.0.1", 1, 2, 3, "10.253.0.0/24", "10.253.0.1")


def state_in(directory: Path, **changes: object) -> ClusterState:
    state = ClusterState(
        name="a",
        directory=directory,
        slot=None,
        addresses=ADDRESSES,
        s3_endpoint="http://127.0.0.1:4",
        s3_access_key="AK",
        s3_secret_key="SK",
    )
    return state.model_copy(update=changes)


def sleeping(directory: Path, name: str = "sleep") -> Component:
    process = spawn(["sleep", "60"], log=directory / "log")
    return Component(name=name, argv=("sleep", "60"), environment={}, process=process)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    component = sleeping(tmp_path)
    component.process.stop()
    state = state_in(tmp_path).with_component(component)
    save(state)
    assert load(tmp_path) == state


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    save(state_in(tmp_path))
    assert stat.S_IMODE(Files(tmp_path).state.stat().st_mode) == 0o600


def test_nothing_is_loaded_where_nothing_was_saved(tmp_path: Path) -> None:
    assert load(tmp_path) is None


def test_a_state_of_another_version_is_refused_with_the_field(tmp_path: Path) -> None:
    save(state_in(tmp_path))
    path = Files(tmp_path).state
    path.write_text(json.dumps({**json.loads(path.read_text()), "surprise": 1}))
    with pytest.raises(ValidationError, match="surprise"):
        load(tmp_path)


def test_a_cluster_is_alive_only_when_ready_and_with_every_component(tmp_path: Path) -> None:
    component = sleeping(tmp_path)
    starting = state_in(tmp_path).with_component(component)
    running = starting.model_copy(update={"ready": True})
    assert not starting.alive
    assert running.alive
    component.process.stop()
    assert not running.alive


def test_a_restarted_component_replaces_the_old_one(tmp_path: Path) -> None:
    first, second = sleeping(tmp_path), sleeping(tmp_path)
    state = state_in(tmp_path).with_component(first).with_component(second)
    assert state.components == (second,)
    for each in (first, second):
        each.process.stop()


def test_an_unknown_component_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    component = sleeping(tmp_path, "etcd")
    component.process.stop()
    with pytest.raises(KeyError, match=r"no component 'kublet'; there are \['etcd'\]"):
        state_in(tmp_path).with_component(component).component("kublet")
