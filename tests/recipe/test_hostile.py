"""Recipes that are damaged or made to harm: each is a recipe or ends in lines that name the file, within seconds."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esen.errors import InputError
from esen.recipe import dump_recipe, load_recipe
from esen.recipe.shipped import find_recipe

SECONDS = 10.0
"""Time that reading any file may take on a busy machine."""
SOUND = find_recipe("quickstart").read_text(encoding="utf-8")
LINES = SOUND.splitlines()

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES: dict[str, str | bytes] = {
    "bomb": BOMB,
    "bomb of sections": "a: &a {x: 1}\n"
    + "".join(f"m{i}: &m{i} {{<<: [*a, *a], y: *a}}\n" for i in range(2000)),
    "chain of merges": "m0: &m0 {x: 1}\n"
    + "".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 40)),
    "anchor in itself": "model: &a\n  lmax: *a\n",
    "merge of itself": "model: &a\n  <<: *a\n",
    "deep lists": "[" * 45_000,
    "deep sections": "{a: " * 20_000,
    "deep blocks": "".join(f"{' ' * i}a:\n" for i in range(400)),
    "deep dashes": "- " * 45_000,
    "python": "model: !!python/object/apply:os.system ['touch /tmp/esen-was-here']\n",
    "other tags": "model: !!binary aGVsbG8=\n",
    "own tag": "%TAG ! tag:x,2000:\n---\nmodel: !x {}\n",
    "twice": f"{SOUND}\nmodel: {{}}\n",
    "NUL": SOUND.replace("model:", "mod\0el:"),
    "bell": SOUND.replace("model:", "mod\x07el:"),
    "line separator": SOUND.replace("model:", "mod\u2028el:"),
    "direction": SOUND.replace("model:", "mod\u202eel:"),
    "huge integer": f"{SOUND}\nevaluate: {{mae: {'9' * 5000}}}\n",
    "huge integer as key": f"{SOUND}\n{'9' * 5000}: 1\n",
    "huge hexadecimal": f"{SOUND}\nevaluate: 0x{'f' * 9000}\n",
    "infinite": f"{SOUND}\nevaluate: .inf\n",
    "tabs": SOUND.replace("  ", "\t"),
    "UTF-16": SOUND.encode("utf-16"),
    "UTF-32": SOUND.encode("utf-32"),
    "latin-1": f"# Å\n{SOUND}".encode("latin-1"),
    "marked": b"\xef\xbb\xbf" + SOUND.encode(),
    "marked twice": b"\xef\xbb\xbf\xef\xbb\xbf" + SOUND.encode(),
    "Mac lines": SOUND.replace("\n", "\r"),
    "Windows lines": SOUND.replace("\n", "\r\n"),
    "surrogate": SOUND.replace("model:", '"\\ud800":'),
    "only a comment": "# nothing\n",
    "list": "[1, 2]\n",
    "text": "hello\n",
    "two documents": f"{SOUND}\n---\n{SOUND}",
    "directive": f"%YAML 9.9\n---\n{SOUND}",
    "keys of all kinds": "? [a]\n: 1\n? {b: 1}\n: 2\n? null\n: 3\n",
    "long line": f"model: {'x' * 95_000}\n",
    "many keys": "".join(f"a{i}: 1\n" for i in range(10_000)),
    "many colons": "a: " * 30_000,
    "many quotes": "'" * 95_000,
    "many anchors": "".join(f"a{i}: &a{i} 1\n" for i in range(6_000)),
    "many brackets": "[],{}," * 15_000,
    "many lines of nothing": "\n" * 95_000,
    "open quote": f'{SOUND}\nevaluate: "' + "x\n" * 40_000,
    "many comments": "#\n" * 45_000,
    "many errors": "model: {" + "".join(f"k{i}: 1, " for i in range(9_000)) + "}\n",
    "100 MB": b"a: 1\n" * 20_000_000,
}


def judged(load: Callable[[], object], name: str) -> str | None:
    """Return the lines of the error, None if there is none; no other error is raised, and it takes a moment."""
    start = time.monotonic()
    try:
        load()
        message = None
    except InputError as error:
        message = str(error)
        assert 1 <= len(message.splitlines()) <= 21
        assert all(name in line and line.isprintable() for line in message.splitlines()), message
        assert all(len(line) < 1000 for line in message.splitlines())
    assert time.monotonic() - start < SECONDS
    return message


SLOW = {"many keys", "bomb of sections", "many errors", "many anchors", "deep lists"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in FILES]
)
def test_a_file_made_to_harm(name: str, tmp_path: Path) -> None:
    path, content = tmp_path / "a.yaml", FILES[name]
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    message = judged(lambda: load_recipe(path), "a.yaml")
    assert (message is None) == (
        name in {"marked", "marked twice", "Mac lines", "Windows lines", "UTF-16", "UTF-32"}
    )
    assert not Path("/tmp/esen-was-here").exists()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "a\0b", tmp_path / ("x" * 300)):
        assert judged(lambda path=path: load_recipe(path), "")  # type: ignore[misc]
        child = tmp_path / "child.yaml"
        child.write_text(f"extends: {str(path)!r}\n")
        assert judged(lambda child=child: load_recipe(child), "child.yaml")  # type: ignore[misc]


@pytest.mark.parametrize(
    "extends",
    [
        "a.yaml",
        "./a.yaml",
        "b.yaml",
        "none.yaml",
        ".",
        "..",
        "/dev/zero",
        "''",
        "3",
        "[a.yaml]",
        "null",
        "~",
        '"a\\0"',
    ],
)
def test_a_recipe_that_extends_what_it_cannot(extends: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"extends: {extends}\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    assert judged(lambda: load_recipe(tmp_path / "a.yaml"), ".yaml")


VALUES = (
    *(
        "1e999",
        "-1",
        "0",
        "''",
        "null",
        "[]",
        "{}",
        "true",
        ".nan",
        "-.inf",
        "x: y",
        "[[[]]]",
        "*a",
        "&a 1",
        "!!int 3",
    ),
    *(
        "0o7777777",
        "1" * 400,
        "1e-400",
        "2026-11-27",
        "'\\x1b[31m[/red]'",
        '"\\x1b]8;;"',
        "{kind: none}",
        "{kind: 3}",
    ),
)


def mutated(generator: random.Random) -> str:
    """Return the shipped recipe with one to three mutations."""
    lines = list(LINES)
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(len(lines))
        line = lines[at]
        match generator.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, generator.choice(lines))
            case 2:
                lines[at] = line.partition(":")[0] + ": " + generator.choice(VALUES)
            case 3:
                lines[at] = " " * generator.randrange(9) + line.lstrip()
            case 4:
                place = generator.randrange(len(line) + 1)
                lines[at] = (
                    line[:place] + chr(generator.choice([0, 9, 27, 34, 58, 123, 0x202E])) + line[place:]
                )
            case 5:
                lines = lines[: at + 1]
            case 6:
                lines[at] = line.replace(":", generator.choice(["", " :", "::", ": &x", ": *x"]), 1)
            case 7:
                place = generator.randrange(len(line) + 1)
                lines[at] = line[:place]
        lines = lines or [""]
    return "\n".join(lines)


@pytest.mark.parametrize("count", [20, pytest.param(600, marks=pytest.mark.slow)])
def test_mutated_recipes(count: int, tmp_path: Path) -> None:
    generator, path = random.Random(3), tmp_path / "a.yaml"
    for _ in range(count):
        path.write_text(mutated(generator), encoding="utf-8")
        if judged(lambda: load_recipe(path), "a.yaml") is None:  # then it is a recipe, which can be written
            again = tmp_path / "b.yaml"
            again.write_text(dump_recipe(load_recipe(path)), encoding="utf-8")
            assert load_recipe(again) == load_recipe(path)


@pytest.mark.parametrize(
    "value", [*VALUES, BOMB, "[" * 5_000, "{a: " * 900, "\0", "\x1b[31m", "\udce9", "'", "9" * 9000]
)
def test_overrides(value: str) -> None:
    for key in ("model.lmax", "data", "train.stages.0.epochs", "evaluate"):
        judged(lambda key=key: load_recipe(find_recipe("quickstart"), [f"{key}={value}"]), "")  # type: ignore[misc]
