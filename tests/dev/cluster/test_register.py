from pathlib import Path

import pytest
from pydantic import ValidationError

from t2i_dev.cluster import register
from t2i_dev.cluster.register import Registration
from t2i_dev.errors import ClusterStateError

pytestmark = pytest.mark.usefixtures("private_cache")


def registration(name: str, directory: str, slot: int | None = None) -> Registration:
    return Registration(name=name, directory=Path(directory), slot=slot, owner=None)


def test_clusters_are_found_by_name_until_removed() -> None:
    a, b = registration("a", "/x/a", 0), registration("b", "/x/b")
    register.add(a)
    register.add(b)
    assert register.registrations() == [a, b]
    assert register.find("b") == b
    register.remove("a")
    assert register.registrations() == [b]
    assert register.find("a") is None


@pytest.mark.parametrize(
    ("name", "directory", "message"),
    [
        ("a", "/x/other", "a cluster named a exists in /x/a: stop it first"),
        ("other", "/x/a", "/x/a already belongs to the cluster a: choose another"),
    ],
)
def test_a_name_and_a_directory_belong_to_one_cluster(name: str, directory: str, message: str) -> None:
    register.add(registration("a", "/x/a"))
    with pytest.raises(ClusterStateError, match=message):
        register.add(registration(name, directory))


@pytest.mark.parametrize("name", ["", "A", "a/b", "-a", "a-", "..", "a" * 41])
def test_names_that_are_no_plain_labels_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        registration(name, "/x")
