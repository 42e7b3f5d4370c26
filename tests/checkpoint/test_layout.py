"""Names below a checkpoint URI are written and read back without loss, and nothing else is taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_checkpoint.layout import (
    FolderName,
    archive_name,
    checkpoint_folder,
    folder_of,
    parse_archive_name,
    parse_folder,
    parse_sample_folder,
    sample_folder,
)

writers = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(st.integers(0, 10**12 - 1), writers)
def test_an_own_folder_reads_back(step: int, writer: str) -> None:
    folder = checkpoint_folder(step, writer)
    assert parse_folder(folder) == FolderName(folder, step, writer)


@given(st.integers(0, 10**12 - 1))
def test_a_folder_of_samples_reads_back(step: int) -> None:
    assert parse_sample_folder(sample_folder(step)) == step


@pytest.mark.parametrize(
    "folder", ["samples/step-5", "samples/step-0000000x", "step-00000005", "samples/step-00000005/a"]
)
def test_what_is_no_folder_of_samples_is_none(folder: str) -> None:
    assert parse_sample_folder(folder) is None


def test_names_sort_by_step() -> None:
    assert checkpoint_folder(5000, "w") == "checkpoints/step-00005000-w"
    assert sample_folder(5000) == "samples/step-00005000"


@given(st.lists(st.tuples(st.integers(0, 10**12 - 1), st.integers(1, 10**6)), max_size=5))
def test_own_folders_age_by_step_and_attempt(written: list[tuple[int, int]]) -> None:
    folders = [parse_folder(checkpoint_folder(step, f"0123abcd-a{attempt}")) for step, attempt in sorted(written)]
    assert folders == sorted((each for each in folders if each is not None), key=lambda each: each.age)


@pytest.mark.parametrize(("step", "writer"), [(-1, "w"), (10**12, "w"), (1, ""), (1, "A"), (1, "a/b"), (1, "-a")])
def test_a_name_that_would_not_read_back_is_refused(step: int, writer: str) -> None:
    with pytest.raises(ValueError, match="writer"):
        checkpoint_folder(step, writer)


@pytest.mark.parametrize(
    ("key", "folder", "step"),
    [
        ("checkpoint-500/unet/x.safetensors", "checkpoint-500", 500),
        ("checkpoint-00005000/model.safetensors", "checkpoint-00005000", 5000),
        ("checkpoints/checkpoint-7/model.safetensors", "checkpoints/checkpoint-7", 7),
        ("checkpoints/step-00000007-w1/MANIFEST.json", "checkpoints/step-00000007-w1", 7),
        ("checkpoints_backup/20251214_custom_unet/checkpoint-5/model.safetensors", None, None),
        ("step-00000007-w1/MANIFEST.json", None, None),
        ("checkpoint-final/model.safetensors", None, None),
        ("checkpoint-5", None, None),
        ("checkpoints/step-7-w1/x", None, None),
        ("archive/20251214T221758Z-x/checkpoint-5/model.safetensors", None, None),
        ("samples/checkpoint-5/x", None, None),
    ],
)
def test_which_keys_belong_to_a_checkpoint(key: str, folder: str | None, step: int | None) -> None:
    found = folder_of(key)
    assert (found and found.folder) == folder
    assert (found and found.step) == step


def test_an_archive_is_named_by_utc_time_and_label() -> None:
    moment = datetime(2025, 12, 14, 23, 17, 58, tzinfo=timezone(timedelta(hours=1)))
    name = archive_name(moment, "custom-unet")
    assert name == "20251214T221758Z-custom-unet"
    assert parse_archive_name(name) == (moment, "custom-unet")


@pytest.mark.parametrize("name", ["", "custom-unet", "20251399T000000Z-x", "20251214T221758Z-", "20251214T221758Z-X"])
def test_other_folders_are_no_archives(name: str) -> None:
    assert parse_archive_name(name) is None


def test_an_archive_needs_a_time_zone_and_a_plain_label() -> None:
    with pytest.raises(ValueError, match="time zone"):
        archive_name(datetime(2025, 1, 1), "x")  # noqa: DTZ001  # the mistake under test
    with pytest.raises(ValueError, match="label"):
        archive_name(datetime(2025, 1, 1, tzinfo=UTC), "a/b")
