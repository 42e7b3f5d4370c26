"""What an attempt finds of the compilations before it."""

from pathlib import Path

from t2i_dev.kill_matrix.compiled_code import CompiledCode


def test_libraries_count_from_when_they_are_begun(tmp_path: Path) -> None:
    code = CompiledCode(tmp_path / "cache")
    assert code.begun() == 0
    folder = tmp_path / "cache" / "compiled" / "ab"
    folder.mkdir(parents=True)
    for name in ("cab.main.so", "cac.main.so.0123.part", "cab.main.cpp", "cad.so.load_ok"):
        (folder / name).touch()
    assert code.begun() == 2


def test_a_cold_start_finds_nothing(tmp_path: Path) -> None:
    code = CompiledCode(tmp_path / "cache")
    (code.root / "compiled").mkdir(parents=True)
    code.forget()
    code.forget()
    assert not code.root.exists()
