import os
from pathlib import Path

import pytest

from esen.errors import InputError
from esen_cli.output import (
    chosen_folder,
    fresh_folder,
    not_a_run,
    print_paths,
    print_table,
    result_folder,
    writable,
)


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run_folder(name: str, file: str, seconds: float) -> Path:
    folder = Path("runs") / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).touch()
    os.utime(folder / file, (seconds, seconds))
    return folder


def test_a_fresh_folder_is_one_that_is_not_there() -> None:
    assert fresh_folder("a") == Path("runs/a")
    Path("runs/a").mkdir(parents=True)
    assert fresh_folder("a") == Path("runs/a-2")
    Path("runs/a-2").touch()
    assert fresh_folder("a") == Path("runs/a-3")
    assert not Path("runs/a-3").exists()


def test_a_run_is_not_written_over() -> None:
    folder = _run_folder("a", "last.safetensors", 100)
    with pytest.raises(InputError, match=f"--output {folder}.*--resume"):
        chosen_folder(folder, resume=False)
    assert chosen_folder(folder, resume=True) == folder
    with pytest.raises(InputError, match=r"new.*--resume"):
        chosen_folder(Path("new"), resume=True)
    assert chosen_folder(Path("new"), resume=False) == Path("new")
    begun = _run_folder("b", "recipe.yaml", 100)
    assert chosen_folder(begun, resume=True) == begun


def test_a_file_cannot_hold_a_run() -> None:
    Path("file").touch()
    for folder in (Path("file"), Path("file/deeper/run")):
        with pytest.raises(InputError, match="is a file"):
            writable(folder)


def test_a_folder_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return False

    monkeypatch.setattr(os, "access", refuse)
    with pytest.raises(InputError, match=r"new/run: .*permission"):
        writable(Path("new/run"))
    assert asked == [(Path.cwd(), os.W_OK | os.X_OK)]


def test_rows_are_a_table_and_paths_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("energy", 0.123456, "meV/atom"), ("atoms", 1064, "")])
    print_paths({"weights": Path("runs/a/best.safetensors")})
    said = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert said == [
        ["energy", "0.1235", "meV/atom"],
        ["atoms", "1,064"],
        ["weights", "runs/a/best.safetensors"],
    ]


def test_named_rows_have_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"element": "Mg", "forces": 1.5}, {"element": "O", "forces": None}])
    said = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]
    assert said == [["element", "forces"], ["Mg", "1.5"], ["O", "–"]]


def test_no_rows_and_a_long_path(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([])
    print_paths({"log": Path("x" * 200)})
    assert capsys.readouterr().out == f"log  {'x' * 200}\n"


def test_markup_in_a_name_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"[bold]": "[red]MgO[/red]", "verdict": "FAIL"}], styles={"FAIL": "bold red"})
    printed = capsys.readouterr().out
    assert "[bold]" in printed
    assert "[red]MgO[/red]" in printed


def test_a_recipe_of_the_users_own_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"recipe\.yaml"):
        chosen_folder(tmp_path, resume=False)


def test_results_of_a_run_are_not_overwritten(tmp_path: Path) -> None:
    assert not_a_run(tmp_path) == tmp_path
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(InputError, match="overwritten"):
        not_a_run(tmp_path)


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert result_folder(Path("~/cu"), "relax") == tmp_path / "cu"
