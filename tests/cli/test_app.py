import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import esen
import esen_cli.app
from esen.errors import InputError
from esen_cli.app import app, print_error


def _run(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "esen_cli.app", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def _raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `esen recipe list` end in this error."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("esen.recipe.shipped.shipped_recipes", fail)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["mae", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom esen_cli.app import app\n"
        f"try:\n    app({arguments!r})\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'mlflow', 'ruamel', 'rich', 'ase', 'matplotlib', 'esen.recipe'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def all_commands() -> list[list[str]]:
    """The words that call each command."""
    group: Any = get_command(app)
    found = []
    for name, command in group.commands.items():
        below = getattr(command, "commands", None)
        found += [[name]] if below is None else [[name, each] for each in below]
    return found


@pytest.mark.parametrize("words", all_commands(), ids=" ".join)
def test_the_help_of_a_command_has_an_example_and_no_types_of_python(words: list[str]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"]).stdout
    assert f"Example: esen {' '.join(words)}" in shown
    assert re.findall(r"<(?:str|path|int|float|list)\b[^>|]*>", shown) == []


def test_help_groups_options_and_has_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    wide = _run("check", "--help").stdout
    monkeypatch.setenv("COLUMNS", "60")
    narrow = _run("check", "--help").stdout
    panels = [line for line in wide.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert panels == [
        "Arguments:",
        "Potentials:",
        "Structures:",
        "Device:",
        "Output:",
        "Tracking:",
        "Options:",
    ]
    assert max(map(len, wide.splitlines())) > 100
    assert max(map(len, narrow.splitlines())) <= 60


def test_commands_are_completed() -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout
    asked = {"_ESEN_COMPLETE": "complete_bash", "COMP_WORDS": "esen ph", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from esen_cli.app import app; app(prog_name='esen')"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | asked,
    )
    assert done.stdout.split() == ["phonons"]


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"esen {esen.__version__}\n"


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    done = _run("trian")
    assert done.returncode == 2
    assert "Did you mean 'train'?" in done.stderr


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = _run("recipe", "validate", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path / 'none.yaml'}: there is no such recipe")
    assert done.stderr.count("\n") == 1


def test_every_line_of_an_error_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(InputError("first", "second"), monkeypatch)
    result = CliRunner().invoke(app, ["recipe", "list"])
    assert result.exit_code == 2
    assert result.stderr == "error: first\nerror: second\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: No space left on device; "),
        (
            OSError(errno.ENOSPC, "No space left on device", "run/last"),
            "run/last: the disk is full: No space left",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "run/last"), "run/last: permission denied\n"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a"), "a: no such file or directory\n"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: OSError, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raising(error, monkeypatch)
    result = CliRunner().invoke(app, ["recipe", "list"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [OSError("CUDA driver"), RuntimeError("a defect")])
def test_a_defect_of_the_program_keeps_its_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raising(error, monkeypatch)
    result = CliRunner().invoke(app, ["recipe", "list"])
    assert result.exception is error


def test_an_interrupt_is_one_line_and_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(KeyboardInterrupt(), monkeypatch)
    result = CliRunner().invoke(app, ["recipe", "list"])
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "esen_cli.app", "recipe", "schema"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.stderr == ""


def test_errors_are_red_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_error("x")
    assert capsys.readouterr().err == "error: x\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    print_error("x")
    assert capsys.readouterr().err == "\x1b[31m\x1b[1merror: \x1b[0mx\n"
    monkeypatch.setenv("NO_COLOR", "1")
    print_error("x")
    assert capsys.readouterr().err == "error: x\n"


def test_main_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["esen", "--version"])
    with pytest.raises(SystemExit) as end:
        esen_cli.app.main()
    assert end.value.code == 0
    assert capsys.readouterr().out == f"esen {esen.__version__}\n"
