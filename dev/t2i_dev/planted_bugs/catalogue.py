"""The planted bugs: mistakes that look reasonable in a review and cost somebody a checkpoint."""

from t2i_dev.planted_bugs.archiving_bugs import ARCHIVING
from t2i_dev.planted_bugs.places import CHECKPOINT, UNIT, cell
from t2i_dev.planted_bugs.planting import Edit, PlantedBug

_TRAINER = "trainer_image/t2i_trainer/checkpointing"


_SAVING = (
    PlantedBug(
        "rotate before save",
        "lose the older checkpoints when the save is cut off",
        (
            Edit(
                f"{_TRAINER}/save.py",
                "    shutil.rmtree(directory, ignore_errors=True)\n    files = {}\n",
                "    for old in [info.key for info in store.list('checkpoints/step-')]:\n"
                "        store.delete([old])\n"
                "    shutil.rmtree(directory, ignore_errors=True)\n    files = {}\n",
            ),
        ),
        (cell("save", "killed before"),),
    ),
    PlantedBug(
        "trainer retires before it saves",
        "lose the older checkpoints when the save is cut off",
        (
            Edit(
                f"{_TRAINER}/uploader.py",
                "        manifest = publish(store, order)\n",
                "        for info in list(store.list('checkpoints/step-')):\n"
                "            store.delete([info.key])\n"
                "        manifest = publish(store, order)\n",
            ),
        ),
        ("tests/trainer/test_order_of_writes.py",),
    ),
    PlantedBug(
        "manifest before durable files",
        "let a half-written checkpoint look whole",
        (
            Edit(
                f"{_TRAINER}/publish.py",
                "    for file in order.manifest.files:\n",
                "    early = [f.model_copy(update={'sha256': sha256_of(Path(order.sources[f.path]))}) for f in "
                "order.manifest.files]\n"
                "    manifest = order.manifest.model_copy(update={'files': tuple(early)})\n"
                "    store.create(f'{folder}/{layout.MANIFEST}', manifest.to_json())\n"
                "    for file in order.manifest.files:\n",
            ),
            Edit(f"{_TRAINER}/publish.py", "    commit(store, folder, manifest)\n", ""),
        ),
        (cell("save", "killed after"),),
    ),
    PlantedBug(
        "retain one too few",
        "keep one checkpoint less than was asked for",
        (Edit(f"{_TRAINER}/retention.py", "older[retain - 1 :]", "older[retain - 2 :]"),),
        (cell("save", "killed before"),),
    ),
    PlantedBug(
        "retire without a mark",
        "leave half-deleted checkpoints behind for ever",
        (
            Edit(
                f"{_TRAINER}/retention.py",
                "    begun = [each for folder, each in older.items() if folder in marked and "
                "_began(store, folder, newest)]\n",
                "    begun: list[FolderName] = []\n",
            ),
        ),
        (cell("save", "killed after"),),
    ),
    PlantedBug(
        "unchecked per-key errors",
        "believe that objects are deleted which are not",
        (
            Edit(
                f"{CHECKPOINT}/s3.py", 'for error in answer.get("Errors", []):', "for error in list[dict[str, str]]():"
            ),
        ),
        ("tests/dev/faults/test_proxy.py::test_an_error_for_every_key_comes_in_a_200",),
    ),
)

_RESTORING = (
    PlantedBug(
        "restore over existing",
        "replace what somebody put there",
        (
            Edit(
                f"{CHECKPOINT}/restore.py",
                "                create_only=True,\n",
                "                create_only=False,\n",
            ),
        ),
        (f"{UNIT}/test_restore.py::test_what_appears_during_the_restore_is_not_replaced",),
    ),
    PlantedBug(
        "manifest restored first",
        "let half a checkpoint look whole",
        (
            Edit(
                f"{CHECKPOINT}/restore.py",
                "    for rank in sorted({deletion_rank(item.source) for item in manifest.objects}, reverse=True):",
                "    for rank in sorted({deletion_rank(item.source) for item in manifest.objects}):",
            ),
        ),
        (cell("restore", "killed after"),),
    ),
)

BUGS: tuple[PlantedBug, ...] = (*_SAVING, *ARCHIVING, *_RESTORING)
