"""Planted bugs of archiving: what would leave a checkpoint whole nowhere."""

from t2i_dev.planted_bugs.places import CHECKPOINT, UNIT, cell
from t2i_dev.planted_bugs.planting import Edit, PlantedBug

_DECISION = f"{UNIT}/test_archive_decision.py"
_FORGED = f"{UNIT}/test_archive_forged.py"

ARCHIVING: tuple[PlantedBug, ...] = (
    PlantedBug(
        "delete before commit",
        "leave a checkpoint whole nowhere",
        (
            Edit(
                f"{CHECKPOINT}/archive.py",
                "        return commit(store, intent, manifest), objects\n",
                "        store.delete([entry.source for entry in intent.entries])\n"
                "        return commit(store, intent, manifest), objects\n",
            ),
        ),
        (cell("archive-move", "killed after"),),
    ),
    PlantedBug(
        "delete before verify",
        "delete sources whose copies are gone or damaged",
        (
            Edit(f"{CHECKPOINT}/archive.py", "        expect_archive_whole(store, manifest)\n", ""),
            Edit(f"{CHECKPOINT}/archive_source.py", "    _expect_archived(store, item)\n    try:", "    try:"),
        ),
        (f"{UNIT}/test_archive.py::test_an_archive_that_lost_an_object_deletes_nothing",),
    ),
    PlantedBug(
        "a commit that lies there is believed",
        "delete a good checkpoint because of forged documents",
        (
            Edit(
                f"{CHECKPOINT}/archive.py",
                "            copies = compare_with_sources(store, intent, manifest, concurrency)\n",
                "            copies = manifest.objects\n",
            ),
        ),
        (_FORGED,),
    ),
    PlantedBug(
        "a CRC proves whose copy it is",
        "delete a good checkpoint because of forged bytes with its CRC",
        (Edit(f"{CHECKPOINT}/archive_verify.py", '_UNFORGEABLE = {"SHA256"}', '_UNFORGEABLE = {"SHA256", "CRC32"}'),),
        (f"{_FORGED}::test_forged_bytes_with_the_very_crc_of_the_source_are_found_out",),
    ),
    PlantedBug(
        "an exchanged intent is carried out",
        "delete by a plan that somebody replaced",
        (Edit(f"{CHECKPOINT}/archive.py", "        expect_recorded(store, intent)\n", ""),),
        (_FORGED,),
    ),
    PlantedBug(
        "a move where DELETE ignores its condition",
        "delete what somebody wrote at that instant",
        (
            Edit(
                f"{CHECKPOINT}/probe.py",
                "tuple(why for name, why in needed.items() if not getattr(self, name))",
                "tuple(w for name, w in needed.items() if not getattr(self, name) and name != 'conditional_delete')",
            ),
        ),
        (f"{UNIT}/test_probe.py::test_each_broken_promise_is_found",),
    ),
    PlantedBug(
        "a refused probe is an answer",
        "remember a missing permission as the store's fault",
        (
            Edit(
                f"{CHECKPOINT}/probe.py",
                "            if _is_no_answer(error):\n                raise",
                "            if name is None:\n                raise",
            ),
        ),
        (f"{UNIT}/test_probe.py::test_a_missing_permission_is_no_answer",),
    ),
    PlantedBug(
        "deletions follow links",
        "delete one checkpoint through another one's name",
        (Edit(f"{CHECKPOINT}/local.py", '            expect_no_linked_folder(self._root, key, "delete")\n', ""),),
        (f"{UNIT}/test_local.py::test_nothing_is_read_written_or_deleted_through_a_linked_folder",),
    ),
    PlantedBug(
        "half a listing is judged",
        "take the first objects of a prefix for all of them",
        (
            Edit(
                f"{CHECKPOINT}/listing.py",
                "            raise TooManyObjects(\n",
                "            return\n            raise TooManyObjects(\n",
            ),
        ),
        (f"{UNIT}/test_listing.py",),
    ),
    PlantedBug(
        "size-only verification",
        "commit a damaged copy and delete its source",
        (
            Edit(
                f"{CHECKPOINT}/archive_verify.py",
                "    ours, theirs = store.checksum(destination_key), store.checksum(source.key)\n",
                "    if copied.size == source.size:\n        return Verified(copied, 'size', 'checksum')\n"
                "    ours, theirs = store.checksum(destination_key), store.checksum(source.key)\n",
            ),
        ),
        (cell("archive-move", "the copy is damaged"),),
    ),
    PlantedBug(
        "ETag compared instead of checksum",
        "never archive what was written in parts",
        (
            Edit(
                f"{CHECKPOINT}/archive_verify.py",
                "    ours, theirs = store.checksum(destination_key), store.checksum(source.key)\n",
                "    if copied.etag != source.etag:\n        return None\n"
                "    ours, theirs = store.checksum(destination_key), store.checksum(source.key)\n",
            ),
        ),
        (cell("archive-move-multipart", "killed before"),),
    ),
    PlantedBug(
        "prefix delete instead of listed keys",
        "delete the neighbours whose names begin alike",
        (
            Edit(
                f"{CHECKPOINT}/archive_source.py",
                "        store.delete_unchanged(info)\n",
                "        store.delete([each.key for each in store.list(entry.source.partition('/')[0])])\n",
            ),
        ),
        (cell("archive-move", "answer lost"),),
    ),
    PlantedBug(
        "no fresh look at the source",
        "archive something else than was judged",
        (
            Edit(
                f"{CHECKPOINT}/archive_source.py",
                "    expected = {entry.source: entry for entry in intent.entries}\n    seen: set[str] = set()\n",
                "    expected = {entry.source: entry for entry in intent.entries}\n    seen: set[str] = set()\n"
                "    if expected:\n        return\n",
            ),
        ),
        (f"{UNIT}/test_archive.py::test_a_source_that_changed_since_its_verdict_is_left_alone",),
    ),
    PlantedBug(
        "delete without a look at the object",
        "delete what was written there meanwhile",
        (
            Edit(
                f"{CHECKPOINT}/archive_source.py",
                "    if item is None or not entry.is_unchanged(info):\n"
                "        raise SourceChangedError(_replaced(entry))\n    _expect",
                "    if item is None:\n        return\n    _expect",
            ),
            Edit(f"{CHECKPOINT}/archive_source.py", "store.delete_unchanged(info)", "store.delete([info.key])"),
            Edit(
                f"{CHECKPOINT}/archive_source.py",
                "        if now is not None and not expected[key].is_unchanged(now):\n",
                "        if now is not None and not gone_is_fine and not expected[key].is_unchanged(now):\n",
            ),
        ),
        (cell("archive-move", "a source is replaced"),),
    ),
    PlantedBug(
        "intent not create-only",
        "let two archives of one name mix",
        (
            Edit(
                f"{CHECKPOINT}/archive_decision.py",
                "        store.create(key, intent.to_json())\n",
                "        store.put(key, intent.to_json())\n",
            ),
        ),
        ("tests/crash/test_same_name.py",),
    ),
    PlantedBug(
        "commit not create-only",
        "commit what another process has given up",
        (
            Edit(
                f"{CHECKPOINT}/archive_decision.py",
                "        store.create(intent.root + layout.MANIFEST, manifest.to_json())\n",
                "        store.put(intent.root + layout.MANIFEST, manifest.to_json())\n",
            ),
        ),
        (f"{_DECISION}::test_an_archiver_that_was_stopped_before_its_commit_cannot_commit_what_was_given_up",),
    ),
    PlantedBug(
        "copy without source condition",
        "archive bytes that were never judged",
        (Edit(f"{CHECKPOINT}/s3_copy.py", "                CopySourceIfMatch=f'\"{source_etag}\"',\n", ""),),
        (f"{UNIT}/test_s3.py", f"{UNIT}/test_probe.py"),
    ),
    PlantedBug(
        "manifest deleted last",
        "let half a checkpoint look whole",
        (
            Edit(
                f"{CHECKPOINT}/archive_source.py",
                "    for rank in sorted({deletion_rank(entry.source) for entry in intent.entries}):",
                "    for rank in sorted({deletion_rank(entry.source) for entry in intent.entries}, reverse=True):",
            ),
        ),
        (cell("archive-move", "killed after"),),
    ),
    PlantedBug(
        "completed before deleted",
        "leave sources behind that nobody finishes deleting",
        (
            Edit(
                f"{CHECKPOINT}/archive.py",
                "        expect_archive_whole(store, manifest)\n",
                "        mark(store, intent.root + layout.COMPLETED)\n        expect_archive_whole(store, manifest)\n",
            ),
        ),
        (cell("archive-move", "killed after"),),
    ),
    PlantedBug(
        "archiving unreadable",
        "move away what nobody could read",
        (
            Edit(
                f"{CHECKPOINT}/verdict_value.py",
                "self.kind in {VerdictKind.FOREIGN, VerdictKind.PARTIAL}",
                "self.kind in {VerdictKind.FOREIGN, VerdictKind.PARTIAL, VerdictKind.UNREADABLE}",
            ),
        ),
        (f"{UNIT}/test_archive_plan.py::test_only_what_was_read_and_cannot_serve_is_planned",),
    ),
    PlantedBug(
        "unfinished archives forgotten",
        "leave what a killed process began",
        (
            Edit(
                f"{CHECKPOINT}/archive_resume.py",
                "    intents = unfinished_archives(store)\n    if not intents:",
                "    intents = unfinished_archives(store)\n    if intents or not intents:",
            ),
        ),
        (cell("archive-move", "killed after"),),
    ),
    PlantedBug(
        "archived in place, judged again",
        "archive the same checkpoint at every preflight",
        (
            Edit(
                f"{CHECKPOINT}/archive_reference.py",
                "layout.parse_archive_name(name) is not None and REFERENCE in found",
                "layout.parse_archive_name(name) is None and REFERENCE in found",
            ),
        ),
        (cell("archive-reference", "killed before"),),
    ),
)
