"""The chart's README, made of Chart.yaml and of the comments in values.yaml: a value is documented where it stands.

A comment belongs to the key below it. A mapping none of whose keys has one (resources) is one value.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from t2i_dev.paths import repository_root

_HEAD = """\
# {name}

{description} Installing, upgrading, removing: [docs/install.md](../../docs/install.md).

Chart {version}, operator {app}, Kubernetes {kubernetes}, Helm 3 or 4. This page is made of the comments in
`values.yaml` (`make chart-readme`). A name that is not in it is refused.

| value | default | what it does |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Value:
    """One value: its dotted path, its default as JSON, its comment in one line."""

    path: str
    default: str
    text: str


def document(text: str) -> list[Value]:
    """Return every value of a values.yaml, in its order."""
    lines = text.splitlines()
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise TypeError("values.yaml is no mapping")
    return list(_values(root, lines, ""))


def readme(chart: Path) -> str:
    """Return the whole page."""
    about: dict[str, Any] = yaml.safe_load((chart / "Chart.yaml").read_text())
    head = _HEAD.format(
        name=about["name"],
        description=about["description"],
        version=about["version"],
        app=about["appVersion"],
        kubernetes=about["kubeVersion"].removesuffix("-0"),
    )
    rows = [_row(value) for value in document((chart / "values.yaml").read_text())]
    return head + "\n".join(rows) + "\n"


def _values(mapping: yaml.MappingNode, lines: list[str], path: str) -> Iterator[Value]:
    for key, value in mapping.value:
        name, comment = f"{path}{key.value}", _comment(lines, key)
        if isinstance(value, yaml.MappingNode) and any(_comment(lines, each) for each, _ in value.value):
            yield from _values(value, lines, f"{name}.")
        else:
            default = yaml.safe_load(yaml.serialize(value))
            yield Value(name, json.dumps(default, ensure_ascii=False), comment)


def _comment(lines: list[str], key: yaml.Node) -> str:
    """Return the comment right above a key, at its indentation."""
    mark = " " * key.start_mark.column + "# "
    found: list[str] = []
    number = key.start_mark.line - 1
    while number >= 0 and lines[number].startswith(mark):
        found.append(lines[number].removeprefix(mark).strip())
        number -= 1
    return " ".join(reversed(found))


def _row(value: Value) -> str:
    text = value.text.replace("|", "\\|").replace("<", "&lt;")
    return f"| `{value.path}` | `{value.default}` | {text} |"


def main() -> None:
    """Write the page (make chart-readme)."""
    chart = repository_root() / "charts" / "t2i-operator"
    (chart / "README.md").write_text(readme(chart))
    sys.stdout.write(f"{chart / 'README.md'}\n")


if __name__ == "__main__":
    main()
