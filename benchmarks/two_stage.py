"""Compare two-stage training (direct forces with DeNS, then conservative) with conservative training, for three seeds.

    python benchmarks/two_stage.py                             # 270 frames of MgO that come with esen
    python benchmarks/two_stage.py --mptrj FRAMES.xyz.gz       # 1000 frames of MPtrj from your own file
    taskset -c 0 python benchmarks/two_stage.py --variant conservative &         # both at once, on one core each
    taskset -c 1 python benchmarks/two_stage.py --variant "two stages, DeNS"

Both variants have the same network, frames, batches, learning rate and number of epochs. Test errors are those of
`best.safetensors`, from the conservative stage. The time is that of `fit`, including validation; the CPU time is that
of this process, with one thread. The variants take turns unless one is named. Rows are appended to --output as they
are measured, and runs that it already contains are not repeated.
"""

import argparse
import json
import time
from io import StringIO
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from esen.data.readers import Reading, load_structures
from esen.evaluate.mae import evaluate_mae
from esen.models.checkpoint import load_potential
from esen.recipe import Recipe
from esen.track import NullTracker
from esen.train.data import known_frames, load_training_data
from esen.train.fit import fit

SEEDS = (0, 1, 2)
MGO_EPOCHS, MPTRJ_EPOCHS = 10, 5
MGO = Path(__file__).parents[1] / "recipes" / "data" / "mgo"
VARIANTS = ("conservative", "two stages, DeNS")


def stages_of(variant: str, epochs: int) -> list[dict[str, Any]]:
    """Return the stages of a variant, divided as in the paper: 60 % direct and 40 % conservative epochs."""
    if variant == "conservative":
        return [{"epochs": epochs}]
    direct = 6 * epochs // 10
    return [{"epochs": direct, "forces": {"kind": "direct"}, "dens": {}}, {"epochs": epochs - direct}]


def mgo_recipe(stages: list[dict[str, Any]], seed: int) -> Recipe:
    """Return the quickstart recipe with half the channels and two frames per batch."""
    return Recipe.model_validate(
        {
            "model": {"cutoff": 4.0, "sphere_channels": 16, "hidden_channels": 16, "edge_channels": 16},
            "data": {
                "train": [{"path": str(MGO / "MgO_train1.xyz.gz")}],
                "test": [{"path": str(MGO / "MgO_test1.xyz.gz")}],
            },
            "train": {
                "batch": {"structures": 2},
                "seed": seed,
                "optimizer": {"learning_rate": 5e-3},
                "loss": {"stress": 200},
                "ema": 0.99,
                "stages": stages,
            },
        }
    )


def mptrj_recipe(path: Path, stages: list[dict[str, Any]], seed: int) -> Recipe:
    """Return a recipe with 800 training, 100 validation and 100 test frames, in the order of the file."""

    def frames(some: str) -> list[dict[str, str]]:
        return [{"path": str(path), "frames": some}]

    return Recipe.model_validate(
        {
            "model": {"cutoff": 4.5, "sphere_channels": 16, "hidden_channels": 16, "edge_channels": 16},
            "data": {"train": frames("0:800"), "validation": frames("800:900"), "test": frames("900:1000")},
            "train": {
                "batch": {"structures": 4},
                "seed": seed,
                "optimizer": {"learning_rate": 5e-3},
                "ema": 0.99,
                "stages": stages,
            },
        }
    )


def measure(recipe: Recipe) -> dict[str, float]:
    """Train and evaluate on the test frames; return errors in meV/atom, meV/Å and meV/Å³, and times in s."""
    data = load_training_data(recipe, lambda _: None)
    test = load_structures(recipe.data.test, Reading.of(recipe.data))
    test = known_frames(test, data.references.elements, "test", lambda _: None)
    with TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        fit(
            recipe,
            data,
            Path(folder),
            tracker=NullTracker(),
            device=torch.device("cpu"),
            console=Console(file=StringIO()),
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        report = evaluate_mae(load_potential(Path(folder) / "best.safetensors"), test)
        errors = {name: group.mae for name, group in report.overall.errors.items()}
    return errors | {"wall": wall, "cpu": cpu}


def number(value: float) -> str:
    """Format a number below ten with two decimals, and a larger one as an integer."""
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def show(title: str, rows: list[dict[str, Any]]) -> Table:
    """Return a table with one row per run, and the mean and standard deviation of each variant."""
    table = Table(title=title)
    columns = {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³", "wall": "s", "cpu": "s"}
    table.add_column("variant")
    table.add_column("seed")
    for name, unit in columns.items():
        table.add_column(f"{name}, {unit}", justify="right")
    for variant in VARIANTS:
        mine = [row for row in rows if row["variant"] == variant]
        for row in mine:
            table.add_row(variant, str(row["seed"]), *(number(row[name]) for name in columns))
        if len(mine) > 1:
            cells = [[row[name] for row in mine] for name in columns]
            table.add_row(
                variant,
                "mean ± sd",
                *(f"{number(mean(c))} ± {number(stdev(c))}" for c in cells),
                end_section=True,
            )
    return table


def main() -> None:
    """Measure the runs that are missing from the output file, and print all runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mptrj", type=Path, help="1000 frames of MPtrj with energy, forces and stress")
    parser.add_argument("--variant", choices=VARIANTS, action="append", help="measure only this variant")
    parser.add_argument("--output", type=Path, default=Path("two_stage.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    title = "MgO" if options.mptrj is None else "MPtrj"
    text = options.output.read_text() if options.output.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    done = {(row["data"], row["variant"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for variant in options.variant or VARIANTS:
            if (title, variant, seed) in done:
                continue
            if options.mptrj is None:
                recipe = mgo_recipe(stages_of(variant, MGO_EPOCHS), seed)
            else:
                recipe = mptrj_recipe(options.mptrj, stages_of(variant, MPTRJ_EPOCHS), seed)
            rows.append({"data": title, "variant": variant, "seed": seed} | measure(recipe))
            with options.output.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    Console(width=120).print(show(title, [row for row in rows if row["data"] == title]))


if __name__ == "__main__":
    main()
