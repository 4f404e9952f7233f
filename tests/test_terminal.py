"""Text of files cannot control the terminal, and streams that lack letters or are closed do not end a command."""

import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import BarColumn
from rich.table import Table
from typer.testing import CliRunner

from esen.errors import InputError, first_line, typed_line
from esen.terminal import make_console, prepare_streams, progress_bar
from esen.text import printable
from esen.train.progress import TrainDisplay, reporter
from esen_cli.app import app
from esen_cli.output import print_paths, print_table, say

HOSTILE = "a[/red][bold]\x1b[31m\x1b]8;;http://x\x1b\\\r\x07\x9b2J\u202e\u2066:smile:\udce9b"
SHOWN = r"a[/red][bold]\x1b[31m\x1b]8;;http://x\x1b\\r\x07\x9b2J\u202e\u2066:smile:\xe9b"
OWN_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What Rich itself writes to a terminal: styles, and movements of a progress bar."""


def terminal(**options: object) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return make_console(file=stream, force_terminal=True, width=300, **options), stream


def is_clean(text: str) -> bool:
    return all(line.isprintable() for line in OWN_CODES.sub("", text).replace("\r", "").split("\n"))


def test_control_characters_are_shown() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable(SHOWN) == SHOWN
    assert printable("Å³ · κ 原 👍\u00a0\u2009x") == "Å³ · κ 原 👍\u00a0\u2009x"
    assert printable("a\nb\tc\u2028d\0") == r"a\nb\tc\u2028d\x00"


def test_lines_of_an_error_are_those_that_were_given() -> None:
    assert str(InputError(f"{HOSTILE}\n: wrong")) == rf"{SHOWN}\n: wrong"
    assert str(InputError("one", "two\n")) == "one\ntwo\\n"
    assert str(InputError()) == ""
    assert first_line(ValueError("x\x1b[31m\ny")) == r"x\x1b[31m"
    assert typed_line(ValueError("x\x1b[31m\ny")) == r"ValueError: x\x1b[31m"


def test_a_console_shows_text_as_it_is() -> None:
    console, stream = terminal()
    table = Table(HOSTILE)
    table.add_row(HOSTILE)
    console.print(HOSTILE.replace("\udce9", ""), table)
    reporter(console)(HOSTILE)
    assert is_clean(stream.getvalue())
    assert stream.getvalue().count("[/red][bold]\\x1b[31m") == 4
    assert stream.getvalue().splitlines()[-1] == SHOWN


def test_a_bar_shows_names_as_they_are() -> None:
    console, stream = terminal()
    with progress_bar("{task.description}", BarColumn(), on=console) as bar:
        task = bar.add_task(HOSTILE, total=2)
        bar.update(task, description=f"{HOSTILE} again", completed=1)
        bar.refresh()
    assert is_clean(stream.getvalue())
    assert "[/red][bold]" in stream.getvalue()


def test_the_display_of_a_training_shows_lines_as_they_are() -> None:
    console, stream = terminal()
    with TrainDisplay(console, (1,), 1) as display:
        display.line(HOSTILE)
    assert SHOWN in stream.getvalue()
    assert is_clean(stream.getvalue())


def test_what_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{f"name {HOSTILE}": HOSTILE, "κ (W/m/K)": 1.0}])
    print_paths({HOSTILE: Path(HOSTILE)})
    say(f"{HOSTILE}\n")
    shown = capsys.readouterr().out
    assert is_clean(shown)
    assert shown.count("[/red][bold]") == 5


@pytest.mark.parametrize(
    "arguments",
    [[HOSTILE], ["recipe", HOSTILE], ["recipe", "show", HOSTILE], ["relax", "emt", f"--{HOSTILE}"]],
    ids=str,
)
def test_errors_are_one_printable_line(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "[/red][bold]" in result.stderr
    assert is_clean(result.stderr)


def test_warnings_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    last_resort = logging.StreamHandler(stream)
    monkeypatch.setattr(logging, "lastResort", last_resort)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    prepare_streams()
    last_resort.handle(logging.makeLogRecord({"msg": f"%s{HOSTILE}", "args": ("x",)}))
    assert stream.getvalue() == f"x{SHOWN}\n"


def run(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    esen = f"{sys.executable} -m esen_cli.app"
    return subprocess.run(
        ["bash", "-c", command.format(esen=esen)],
        env=os.environ | environment,
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp437:strict"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1"},
    ],
    ids=str,
)
def test_streams_that_lack_letters(environment: dict[str, str]) -> None:
    done = run("{esen} phonons --help && {esen} recipe validate é; test $? = 2", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"error: ")


@pytest.mark.parametrize("end", [">&-", "2>&-", ">&- 2>&- <&-", "| head -c 1", "2>&- | head -c 1"])
def test_streams_that_are_closed(end: str) -> None:
    done = run(f"set -o pipefail; {{esen}} phonons --help {end}")
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0 or "head" in end


def test_a_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    monkeypatch.setattr(logging, "lastResort", handler)
    prepare_streams()
    for name in ("esen.study.mae", "library"):
        handler.handle(logging.makeLogRecord({"name": name, "msg": "a\nb\x1b.xyz"}))
    assert capsys.readouterr().err == "a\\nb\\x1b.xyz\na\nb\\x1b.xyz\n"
