import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from t2i_dev.errors import MissingRequirementError, ToolBuildError
from t2i_dev.paths import go_modules_directory
from t2i_dev.progress import Progress
from t2i_dev.tools import ALL_TOOLS, KUBERNETES, PAUSE, Tool, ensure_tools

QUIET = Progress(quiet=True)


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the Go modules that a test may change."""
    modules = tmp_path / "modules"
    shutil.copytree(go_modules_directory(), modules)
    monkeypatch.setattr("t2i_dev.tools.go_modules_directory", lambda: modules)
    return modules


@pytest.mark.parametrize("tool", ALL_TOOLS, ids=lambda tool: tool.name)
def test_every_tool_is_pinned_with_checksums(tool: Tool) -> None:
    assert tool.version.startswith("v")
    assert tool.name == "pause" or (tool.source / "go.sum").stat().st_size > 0
    assert tool.directory.name.startswith(f"{tool.name}-{tool.version}-")


def test_kubernetes_is_stamped_with_its_version() -> None:
    flags = KUBERNETES.linker_flags()
    assert f"-X k8s.io/component-base/version.gitVersion={KUBERNETES.version}" in flags
    assert "-X k8s.io/client-go/pkg/version.gitMinor=36" in flags


@pytest.mark.parametrize("changed", ["go.mod", "go.sum", "main.go"])
def test_a_changed_input_asks_for_a_new_build(own_modules: Path, changed: str) -> None:
    before = PAUSE.directory
    with (own_modules / "pause" / changed).open("a") as file:
        file.write("\n// changed\n")
    assert PAUSE.directory != before


def test_a_version_that_go_mod_does_not_pin_is_an_error() -> None:
    with pytest.raises(ToolBuildError, match=r"pins no version of example\.com/other"):
        _ = replace(PAUSE, module="example.com/other").version


def test_a_build_that_was_killed_is_done_again_and_a_finished_one_is_not(private_cache: Path) -> None:
    half_done = private_cache / "tools" / ".building-pause"
    half_done.mkdir(parents=True)
    (half_done / "pause").write_text("half a program")
    outdated = private_cache / "tools" / "pause-v0.9.0-000000000000"
    outdated.mkdir()

    ensure_tools([PAUSE], QUIET)

    built = PAUSE.directory / "pause"
    assert built.read_bytes().startswith(b"\x7fELF")
    assert not half_done.exists()
    assert not outdated.exists()
    assert not (private_cache / "go-build").exists(), "the compiler's cache takes gigabytes"
    first = built.stat()
    ensure_tools([PAUSE], QUIET)
    assert built.stat().st_mtime_ns == first.st_mtime_ns


def test_a_module_that_does_not_compile_leaves_nothing_that_looks_built(private_cache: Path, own_modules: Path) -> None:
    (own_modules / "pause" / "main.go").write_text("package main\nfunc main() { undefined() }\n")
    with pytest.raises(ToolBuildError, match="undefined: undefined"):
        ensure_tools([PAUSE], QUIET)
    assert not PAUSE.directory.exists()
    assert private_cache.exists()


@pytest.mark.usefixtures("private_cache")
def test_a_machine_without_go_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingRequirementError, match=r"needs Go 1\.26 or newer on PATH"):
        ensure_tools([PAUSE], QUIET)
