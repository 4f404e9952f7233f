"""Stores lie where the user said whatever the folder is called, and no password of their addresses is shown."""

import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url

from esen.errors import InputError
from esen.text import without_secrets
from esen.track.address import absolute_uri, database_file, open_command, words_of

NAMES = ["plain", "why?", "my%20runs", "50%", "a#b", "a b", "Å;'\"", "dots...", "a@b", "=&", "\\"]


@pytest.mark.parametrize("name", NAMES)
def test_the_default_store_lies_in_the_working_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    uri = absolute_uri(None)
    assert make_url(uri).database == str(folder / "mlflow.db")
    assert database_file(uri) == folder / "mlflow.db"
    assert absolute_uri(uri) == uri
    assert without_secrets(uri) == uri
    command = open_command(uri).split(maxsplit=3)[3]
    assert shlex.split(command) == [uri]


def test_relative_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        absolute_uri("sqlite:///my%20runs/x.db?timeout=30") == f"sqlite:///{tmp_path}/my runs/x.db?timeout=30"
    )
    assert absolute_uri("file:./ml%20runs") == f"file://{tmp_path}/ml%20runs"
    assert absolute_uri("mlruns") == f"file://{tmp_path}/mlruns"
    unchanged = (
        "databricks",
        "sqlite://",
        "sqlite:///:memory:",
        "http://h:1",
        "postgresql://h/db",
        "wrong:thing",
    )
    assert [absolute_uri(uri) for uri in unchanged] == list(unchanged)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://alice:s3cret@h:9/x", "http://h:9/x"),
        ("http://alice:s3/cr@et@h:9", "http://h:9"),
        ("http://alice:s3@cr/et@h:9", "http://h:9"),
        ("http://s3cret@h", "http://h"),
        ("http://h:5000/a@b", "http://h:5000/a@b"),
        ("http://u:s3cret@[::1]:5000/", "http://[::1]:5000/"),
        ("mysql+pymysql://u:s3cret@h/db?charset=utf8&ssl_key=s3cret", "mysql+pymysql://h/db?charset=utf8"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Ds3cret", "mssql+pyodbc:///"),
        ("https://b.s3.amazonaws.com/k?X-Amz-Signature=s3cret&x=1", "https://b.s3.amazonaws.com/k"),
        ("alice:s3cret@h", "h"),
        ("tracking.uri=postgresql://u:s3cret@h/db", "tracking.uri=postgresql://h/db"),
        ("sqlite:////home/me@work/x.db", "sqlite:////home/me@work/x.db"),
    ],
)
def test_no_secret_of_an_address_is_shown(given: str, shown: str) -> None:
    assert without_secrets(given) == shown
    assert without_secrets(f"a {given} b") == f"a {shown} b"
    assert "s3cret" not in str(InputError(f"--set {given}: no such key"))
    assert "s3cret" not in words_of(ValueError(f"refused: {given}"), given)


def test_a_password_of_the_environment_is_used_for_the_same_store_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:s3cret@h:5000")
    assert urlsplit(absolute_uri("http://h:5000")).password == "s3cret"
    assert absolute_uri("http://other:5000") == "http://other:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok3n")
    assert words_of(ValueError("bad tok3n"), "http://h") == "bad ***"


def test_what_a_store_says_comes_with_its_cure() -> None:
    said = {
        "Detected out-of-date database schema (found version a)": "mlflow db upgrade sqlite:////x.db",
        "API request failed with error code 401 != 200": "MLFLOW_TRACKING_USERNAME",
        "(e.g., './mlruns') is in maintenance mode": "sqlite:///mlflow.db",
        "one\ntwo": "one",
    }
    for text, cure in said.items():
        words = words_of(ValueError(text), "sqlite:////x.db")
        assert cure in words
        assert "\n" not in words


@pytest.mark.slow
@pytest.mark.parametrize("name", ["why?", "my%20runs"])
def test_mlflow_keeps_everything_in_a_folder_of_that_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    code = (
        "from esen.track import make_tracker\n"
        "with make_tracker(True) as t:\n"
        "    t.params({'a': 1}); t.artifact(__import__('pathlib').Path('file.txt'))\n"
        "assert t.run_id"
    )
    (folder / "file.txt").write_text("kept")
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.read_text() for path in folder.glob("mlruns/**/file.txt")] == ["kept"]
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert database.execute("select count(*) from runs").fetchone() == (1,)
