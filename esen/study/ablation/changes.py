"""What has changed in a study since a cell was begun: keys of its recipe, or options of its test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esen.recipe import Recipe
from esen.text import first_few
from esen.train.transfer import changed_keys

Settings = Mapping[str, Any]
"""`recipe` of a training; `command`, `options` and `arguments` of a test."""


def difference(before: Settings, now: Settings) -> str | None:
    """Return in words what differs between two settings of a cell; None if nothing does.

    Keys that a recipe of an earlier version of esen lacks have their defaults.

    >>> difference({"options": ["--duration", "1"]}, {"options": ["--duration", "2", "--order-test"]})
    'options changed (duration 1 → 2, order-test not given → given)'
    """
    if "recipe" in now:
        return _recipe_difference(before.get("recipe"), now["recipe"])
    if before.get("command") != now.get("command"):
        return f"command changed ({before.get('command')} → {now.get('command')})"
    old, new = _values(before), _values(now)
    changed = [
        f"{name} {_shown(old.get(name), new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    return f"options changed ({first_few(changed)})" if changed else None


def _recipe_difference(before: Any, now: Any) -> str | None:
    try:
        earlier = Recipe.model_validate(before)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        return f"the recipe with which it was begun does not fit this version of esen ({place})"
    changed = changed_keys(earlier, Recipe.model_validate(now))
    lines = [f"{key} {_shown([str(old)], [str(new)])}" for key, (old, new) in changed.items()]
    return f"recipe changed ({first_few(lines)})" if lines else None


def _values(settings: Settings) -> dict[str, list[str]]:
    """The values of a test's options by name, and those of its arguments."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in settings.get("options", ()):
        if word.startswith("--"):
            name = word.removeprefix("--")
            found.setdefault(name, [])
        else:
            found[name].append(word)
    return found | {"files": list(settings.get("arguments", ()))}


def _shown(old: Sequence[str] | None, new: Sequence[str] | None) -> str:
    """Two values, of paths only the names unless these are equal."""
    short, other = ([Path(word).name for word in words or ()] for words in (old, new))
    if short == other:
        short, other = list(old or ()), list(new or ())
    return " → ".join(
        "not given" if words is None else ", ".join(shown) or "given"
        for words, shown in ((old, short), (new, other))
    )
