"""Addresses of MLflow's stores: absolute, with any name of a folder, and without secrets where they are shown."""

import os
import re
from pathlib import Path
from shlex import quote
from urllib.parse import unquote, urlsplit

from esen.errors import first_line
from esen.text import without_secrets

_SQLITE = re.compile(r"sqlite(\+\w+)?:///(?!:memory:)(?P<path>[^?]+)(\?(?P<options>.*))?")


def absolute_uri(uri: str | None) -> str:
    """Return the address of the store, independent of a later change of the working directory.

    `$MLFLOW_TRACKING_URI` is the store where no other is named. If it is the same store with a password, it is used.

    >>> absolute_uri("sqlite:////data/mlflow.db")
    'sqlite:////data/mlflow.db'
    """
    known = os.environ.get("MLFLOW_TRACKING_URI") or None
    if known is not None and uri in {None, without_secrets(known)}:
        uri = known
    if uri is None:
        return sqlite_uri(Path("mlflow.db").absolute())
    path = database_file(uri)
    if path is not None:
        options = uri.partition("?")[2]
        return sqlite_uri(path) + (f"?{options}" if options else "")
    kind = re.match(r"[\w+.-]+:", uri)
    if uri.startswith("file:") or (kind is None and not uri.startswith(("databricks", "uc"))):
        return Path(unquote(urlsplit(uri).path) if kind else uri).expanduser().absolute().as_uri()
    return uri


def sqlite_uri(path: Path) -> str:
    """Return the address of a database file. SQLAlchemy decodes `%`, and ends the path at `?`.

    Of an address that begins with `sqlite:///`, MLflow 3.17 makes the folder without decoding it, beside the right one;
    it leaves `sqlite+pysqlite:///`, which means the same, alone.
    """
    text = str(path).replace("%", "%25").replace("?", "%3F")
    return f"sqlite{'' if text == str(path) else '+pysqlite'}:///{text}"


def database_file(uri: str) -> Path | None:
    """Return the absolute path of an SQLite database; None if the store is something else."""
    found = _SQLITE.fullmatch(uri)
    if found is None or "uri=true" in (found["options"] or ""):
        return None
    return Path(unquote(found["path"])).absolute()


def open_command(uri: str) -> str:
    """Return the command that shows a store which is not a server."""
    return f"mlflow ui --backend-store-uri {quote(without_secrets(uri))}"


def words_of(error: BaseException, uri: str) -> str:
    """Return what a store said, in one line, with the cure if it is known, and without the secrets of the address."""
    text = str(error)
    shown = without_secrets(uri)
    cures = {
        "out-of-date database schema": "the database is of another version of MLflow; copy it, then run:"
        f" mlflow db upgrade {quote(shown)}",
        "Can't locate revision": "the database was written by a later version of MLflow; upgrade MLflow",
        "in maintenance mode": "MLflow keeps no runs in plain files any more; name a database, such as"
        " sqlite:///mlflow.db, or set MLFLOW_ALLOW_FILE_STORE=true",
        r"error code 40[13]\b": "the server refuses access; give $MLFLOW_TRACKING_USERNAME and"
        " $MLFLOW_TRACKING_PASSWORD, $MLFLOW_TRACKING_TOKEN, or $MLFLOW_TRACKING_URI with both",
        r"Read timed out|error code 5\d\d|Max retries": "the server does not answer, or answers with an error",
    }
    words = next((cure for pattern, cure in cures.items() if re.search(pattern, text)), first_line(error))
    for secret in _secrets(uri):
        words = words.replace(secret, "***")
    return without_secrets(words)[:300]


def _secrets(uri: str) -> list[str]:
    """Return the secrets of an address and of the environment as they stand there and decoded, the longest first."""
    found = [value for key, value in os.environ.items() if re.match(r"MLFLOW_TRACKING_(PASSWORD|TOKEN)", key)]
    authority, _, query = (uri.partition("://")[2] or uri).partition("?")
    user, at, _ = authority.rpartition("@")
    found += [user, user.partition(":")[2]] if at else []
    found += [
        part.partition("=")[2] for part in query.split("&") if without_secrets(f"a://b?{part}") == "a://b"
    ]
    both = {text for secret in found for text in (secret, unquote(secret))}
    return sorted((text for text in both if len(text) > 3), key=len, reverse=True)
