"""Fine-tuning, as `esen train` shows it: what it starts from, and the errors before and after."""

from pathlib import Path

from rich import box
from rich.table import Table

from esen.files import write_atomically
from esen.md.calculator import find_weights
from esen.models.checkpoint import Checkpoint, read_checkpoint
from esen.recipe import Recipe
from esen.recipe.advice import advice
from esen.train.best import BEST
from esen.train.dataset import Report
from esen.train.fit import check_freezing
from esen.train.initial import Initial, inherit_model
from esen.train.record import read_rows
from esen.train.resume import run_model

_ERRORS = (
    ("loss", "loss", ""),
    ("energy_mae", "energy", "meV/atom"),
    ("forces_mae", "forces", "meV/Å"),
    ("stress_mae", "stress", "meV/Å³"),
)


def complete_recipe(
    recipe: Recipe, resumed: Checkpoint | None, report: Report
) -> tuple[Recipe, Initial | None]:
    """The recipe with what its model leaves out, and what to start from; None if there is nothing of the kind.

    A run that is resumed goes on from its own checkpoint, and the one that it started from is no longer needed.

    Raises:
        InputError: the checkpoint cannot be read, the recipe's network is another one, or `train.freeze` names no
            part of it.
    """
    for line in advice(recipe):
        report(f"warning: {line}")
    initial: Initial | None = None
    notes: list[str] = []
    if recipe.train.init_from is not None and resumed is not None:
        recipe, _ = inherit_model(recipe, run_model(resumed), "the checkpoint to go on from")
    elif recipe.train.init_from is not None:
        initial = Initial.read(find_weights(Path(recipe.train.init_from)))
        recipe, notes = inherit_model(recipe, initial.checkpoint.recipe["model"], str(initial.path))
    check_freezing(recipe)
    for note in notes:
        report(note)
    return recipe, initial


def keep_licence(initial: Initial | None, folder: Path) -> None:
    """Write the licence of imported weights beside those that come of them.

    Raises:
        OSError: it cannot be written.
    """
    text = initial.checkpoint.origin.get("licence", {}).get("text", "") if initial is not None else ""
    if text:
        write_atomically(folder / "LICENSE", text.encode())


def before_and_after(folder: Path) -> Table:
    """Validation errors before the first step and of the best weights of the last stage, as a table."""
    rows = read_rows(folder / "metrics.jsonl")
    before = next((row for row in rows if row["step"] == 0), {})
    after = read_checkpoint(folder / BEST).metrics if (folder / BEST).exists() else {}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("validation error", "before", "after", ""):
        table.add_column(title, justify="left" if title in ("validation error", "") else "right")
    for key, name, unit in _ERRORS:
        cells = [errors.get(f"validation/{key}") for errors in (before, after)]
        if any(cell is not None for cell in cells):
            table.add_row(name, *("–" if cell is None else f"{cell:.4g}" for cell in cells), unit)
    return table
