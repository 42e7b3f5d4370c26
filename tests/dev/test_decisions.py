"""Decisions are referred to by number, so each number is one decision's."""

from __future__ import annotations

from collections import Counter

from t2i_dev.paths import repository_root

DECISIONS = repository_root() / "docs" / "decisions"


def test_each_number_is_one_decisions_and_its_title_says_so() -> None:
    pages = [path for path in DECISIONS.glob("*.md") if path.name[0].isdigit()]
    numbers = Counter(path.name[:4] for path in pages)
    assert [number for number, times in numbers.items() if times > 1] == []
    titles = {path.name: path.read_text().partition("\n")[0] for path in pages}
    assert {name: title for name, title in titles.items() if name[:4] not in title} == {}
