"""From pictures to shards: the same bytes every time, gone on with after a kill, and nothing hidden."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.trainer.data.dying_store import DyingStore, tree
from tests.trainer.mortal_store import Killed

from t2i_checkpoint.local import LocalStore
from t2i_trainer.data.shard_file import ShardReader
from t2i_trainer.data.shard_index import INDEX, RECIPE, read_index
from t2i_trainer.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_shards_hold_the_samples_in_the_order_of_the_source(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop = make_workshop("latents")
    done = workshop.encode(LocalStore(tmp_path / "out"))
    assert [shard.samples for shard in done.index.shards] == [3, 3, 3, 1]
    assert done.index.recipe.sample_shape == (8, 8, 8)
    captions = []
    for shard in done.index.shards:
        reader = ShardReader(tmp_path / "out" / shard.path, done.index.recipe, shard.samples, shard.path)
        captions += reader.captions()
    lines = (workshop.source / "metadata.jsonl").read_text().splitlines()
    assert captions == [json.loads(line)["text"] for line in lines]
    assert [report.samples for report in workshop.reports][-1] == 10


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("write", range(1, 12))
def test_killed_at_any_write_a_second_run_ends_with_the_same_bytes(
    make_workshop: Callable[[str], Any],
    tmp_path: Path,
    write: int,
    after: bool,  # noqa: FBT001
) -> None:
    workshop = make_workshop("pixels")
    workshop.encode(LocalStore(tmp_path / "whole"))
    with pytest.raises(Killed):
        workshop.encode(DyingStore(tmp_path / "broken", write, after=after))
    survivor = LocalStore(tmp_path / "broken")
    assert (read_index(survivor) is not None) == (write == 11 and after)
    workshop.encode(survivor)
    assert tree(tmp_path / "broken") == tree(tmp_path / "whole")


def test_a_finished_shard_is_not_read_again(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    with pytest.raises(Killed):
        workshop.encode(DyingStore(tmp_path / "out", 7, after=False))
    for name in ("red-circle.png", "red-square.png", "green-circle.png"):
        (workshop.source / name).unlink()
    done = workshop.encode(LocalStore(tmp_path / "out"))
    assert (done.progress.kept, done.progress.samples, done.index.samples) == (6, 10, 10)


def test_a_finished_set_is_left_alone_and_another_one_is_refused(
    make_workshop: Callable[[str], Any], tmp_path: Path
) -> None:
    workshop, store = make_workshop("pixels"), LocalStore(tmp_path / "out")
    workshop.encode(store)
    before = tree(tmp_path / "out")
    assert workshop.encode(store).progress.kept == 10
    with pytest.raises(TrainerError, match=r"samplesPerShard: 4, there 3.*Nothing was changed"):
        workshop.encode(store, samples_per_shard=4)
    store.delete([INDEX])
    with pytest.raises(TrainerError, match="samplesPerShard: 4, there 3"):
        workshop.encode(store, samples_per_shard=4)
    assert tree(tmp_path / "out") == {name: digest for name, digest in before.items() if name != INDEX}


def test_captions_of_another_field_are_never_mixed_in(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    """Regression: metadata.jsonl stays the same file, so that a broken-off set was gone on with by another field."""
    workshop, store = make_workshop("pixels"), LocalStore(tmp_path / "out")
    rows = [json.loads(line) for line in (workshop.source / "metadata.jsonl").read_text().splitlines()]
    both = "\n".join(json.dumps({**row, "title": "another"}) for row in rows)
    (workshop.source / "metadata.jsonl").write_text(both)
    workshop.encode(store)
    store.delete([INDEX])
    data = workshop.spec.data.model_copy(update={"caption_field": "title"})
    other = replace(workshop, spec=workshop.spec.model_copy(update={"data": data}))
    with pytest.raises(TrainerError, match=r"captionField: title, there text.*Nothing was changed"):
        other.encode(store)


def test_a_damaged_shard_is_made_again_as_the_message_says(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop, store = make_workshop("pixels"), LocalStore(tmp_path / "out")
    shard = workshop.encode(store).index.shards[1]
    before = tree(tmp_path / "out")
    store.delete([INDEX, shard.path, shard.path.replace(".safetensors", ".json")])
    assert workshop.encode(store).progress.kept == 3
    assert tree(tmp_path / "out") == before


def test_what_holds_no_pictures_is_refused_with_a_way_out(make_workshop: Callable[[str], Any], tmp_path: Path) -> None:
    workshop = make_workshop("pixels")
    workshop.empty_source()
    (workshop.source / "readme").write_bytes(b"nothing here")
    with pytest.raises(TrainerError, match=r"holds neither metadata.* nor \*\.tar .* nor \*\.parquet: name the folder"):
        workshop.encode(LocalStore(tmp_path / "out"))
    assert not (tmp_path / "out" / RECIPE).exists()
