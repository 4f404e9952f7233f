"""The recipe of a run as the user gave it: the name of the run, and which run `--resume` goes on with."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from esen.errors import InputError
from esen.files import LOCK, read_json, write_json
from esen.models.checkpoint import read_checkpoint
from esen.recipe import Recipe, load_recipe, resolve_paths
from esen.recipe.load import flatten, unchanged_recipe
from esen.text import without_secrets
from esen.train.resume import is_finished, run_model
from esen.train.run_files import LAST

SOURCE = "source.json"
"""File in the folder of a run that says which recipe the user gave, and what `--set` changed."""
_LONGEST_NAME = 120


@dataclass(frozen=True)
class RunSource:
    """The recipe of a training, as the user gave it.

    Attributes:
        recipe: the file.
        overrides: what `--set` changes, in the order of the command.
    """

    recipe: Path
    overrides: tuple[str, ...] = ()

    def load(self) -> Recipe:
        """Return the recipe with absolute paths.

        Raises:
            InputError: as `load_recipe`.
        """
        return resolve_paths(load_recipe(self.recipe, self.overrides), self.recipe.parent)

    @property
    def command(self) -> str:
        """The command that trains by it."""
        options = [part for text in self.overrides for part in ("--set", text)]
        return shlex.join(["esen", "train", str(self.recipe), *options])

    def name(self, recipe: Recipe) -> str:
        """Return the name of the recipe with what differs from it: `quickstart lmax=3 seed=1`.

        A recipe that extends another is compared with that one.

        Args:
            recipe: as it was loaded.
        """
        before = self.base()
        now = flatten(recipe)
        words = [self.recipe.stem]
        for key, value in now.items():
            kind = f"{key.rpartition('.')[0]}.kind"
            of_new_kind = key not in before and before.get(kind) != now.get(kind)
            if before.get(key) == value or of_new_kind or key.startswith("tracking."):
                continue
            shown = (
                Path(value).name
                if isinstance(value, str)
                else f"{value:g}"
                if isinstance(value, float)
                else value
            )
            words.append(f"{_short(key, len(recipe.train.stages))}={shown}")
        name = " ".join(words)
        return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 2]} …"

    def keep(self, folder: Path) -> None:
        """Write it to the folder of a run, so that it can be resumed by the recipe's name and compared with it."""
        overrides = [without_secrets(text) for text in self.overrides]
        kept = {"recipe": str(self.recipe.absolute()), "set": overrides, "base": self.base()}
        write_json(folder / SOURCE, kept)

    def base(self) -> dict[str, str | int | float | bool]:
        """Return the values by key of the recipe without `--set`; of that which it extends, if it extends one."""
        return flatten(resolve_paths(unchanged_recipe(self.recipe), self.recipe.parent))

    def resuming(self, folder: Path) -> "RunSource":
        """Return the source with what `--set` changed when the run in the folder was started, before what it says now.

        The recipe in the folder of a run holds those changes already.
        """
        if self.recipe.absolute().parent == folder.absolute():
            return self
        return RunSource(self.recipe, (*_kept(folder)[1], *self.overrides))


def unfinished_run(source: RunSource, runs: Path) -> Path:
    """Return the run to resume: the recipe's own folder if it is a run, else the newest run of it that is unfinished.

    Runs that were started with the same `--set` come first.

    Args:
        source: the recipe, and what the user changes.
        runs: folder of all runs.

    Raises:
        InputError: There is no such run, all are finished, or the newest one that is not is being trained now.
    """
    recipe = source.recipe
    if (recipe.parent / LAST).is_file():
        return recipe.parent
    name = recipe.stem
    mine = [folder for folder in runs.glob("*") if _is_run_of(recipe, folder)]
    if not mine:
        raise InputError(
            f"--resume: {runs}/ has no run of {name}; leave out --resume, or name the run with --output"
        )
    mine.sort(key=lambda folder: _file_of(folder).stat().st_mtime, reverse=True)
    unfinished = [folder for folder in mine if not _finished(folder)]
    if not unfinished:
        raise InputError(
            f"--resume: {', '.join(map(str, mine))}: finished: nothing is left to resume; leave out --resume"
            f" to train anew, or evaluate again with: esen train {shlex.quote(str(mine[0] / 'recipe.yaml'))} --resume"
        )
    unfinished.sort(key=lambda folder: not set(source.overrides) <= set(_kept(folder)[1]))
    newest, *others = unfinished
    if _running(newest):
        more = f"; also unfinished: {', '.join(map(str, others))} (name it with --output)" if others else ""
        raise InputError(f"--resume: {newest} is being trained by another process{more}")
    return newest


def _is_run_of(recipe: Path, folder: Path) -> bool:
    named = re.fullmatch(rf"{re.escape(recipe.stem)}(-\d+)?", folder.name) is not None
    kept = _kept(folder)[0]
    elsewhere = not kept or not os.path.isfile(kept)  # noqa: PTH113  # the recipe was moved; a text may be no path
    return _file_of(folder).is_file() and (Path(kept) == recipe.absolute() or (elsewhere and named))


def _file_of(folder: Path) -> Path:
    """The last checkpoint; the recipe of a run that was stopped before its first one."""
    return folder / LAST if (folder / LAST).is_file() else folder / "recipe.yaml"


def _finished(folder: Path) -> bool:
    """Whether no epoch is left, and the evaluation is done."""
    if not (folder / "summary.json").exists():
        return False
    try:
        checkpoint = read_checkpoint(folder / LAST)
        recipe = Recipe.model_validate(checkpoint.recipe | {"model": run_model(checkpoint)})
        return is_finished(checkpoint, recipe)
    except (InputError, ValidationError, KeyError):
        return False  # damaged: reported when it is resumed


def _running(folder: Path) -> bool:
    try:
        with FileLock(folder / LOCK, blocking=False):
            return False
    except Timeout:
        return True


def _kept(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The recipe's file and what `--set` changed; nothing if it is not known."""
    try:
        known = read_json(folder / SOURCE, "")
        recipe, changes = str(known["recipe"]), known["set"]
    except (InputError, KeyError):
        return "", ()
    return (recipe, tuple(map(str, changes))) if isinstance(changes, list) else ("", ())


def _short(key: str, stages: int) -> str:
    """Return the end of a key that tells what it is.

    >>> _short("model.radial.kind", 1), _short("train.stages.0.epochs", 1), _short("train.stages.0.epochs", 2)
    ('radial', 'epochs', 'stages.0.epochs')
    """
    kept = key.partition(".")[2].removesuffix(".kind")
    return kept.removeprefix("stages.0.") if stages == 1 else kept
