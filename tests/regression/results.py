"""The commands of the regression test, and the numbers that each of them writes.

When the layout of a command's files changes, adapt the function that reads them; the reference numbers stay the same.
"""

import csv
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from esen_cli.app import app

HERE = Path(__file__).parent
INPUTS = ("crystal.xyz", "stretched.xyz", "rattled.xyz", "metals.xyz", "frames.xyz", "tiny.safetensors")

Numbers = dict[str, Any]
"""A number, a word, or nested lists of numbers by their name."""


@dataclass(frozen=True)
class Command:
    """A command line, and how its numbers are read.

    Attributes:
        arguments: of `esen`; `--output` is added.
        read: the numbers in the output folder.
        exit_code: that the command ends with.
    """

    arguments: tuple[str, ...]
    read: Callable[[Path], Numbers]
    exit_code: int = 0

    def run(self, folder: Path) -> Numbers:
        """The numbers that the command writes in `folder`, which is the working directory and holds the inputs."""
        given = [*self.arguments, "--output", str(folder / "output")]
        result = CliRunner().invoke(app, given)
        assert result.exit_code == self.exit_code, result.output
        return without_nan(self.read(folder / "output"))


def copy_inputs(folder: Path) -> None:
    """Structures, frames and the checkpoint."""
    for name in INPUTS:
        shutil.copy(HERE / name, folder)


def without_nan(value: Any) -> Any:
    """JSON has no NaN; null stands for it."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {key: without_nan(part) for key, part in value.items()}
    return [without_nan(part) for part in value] if isinstance(value, list | tuple) else value


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _columns(path: Path, names: tuple[str, ...]) -> Numbers:
    """Columns of a CSV file by their headings."""
    rows = list(csv.DictReader(path.read_text().splitlines()))
    return {name: [float(row[name]) for row in rows] for name in names}


def _flat(values: Mapping[str, Any], prefix: str) -> Numbers:
    """`{"a": {"b": 1}}` as `{"prefix/a/b": 1}`."""
    found: Numbers = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}/{key}")
        else:
            found[f"{prefix}/{key}"] = value
    return found


RELAX_FIELDS = (
    "energy_before",
    "energy",
    "fmax_before",
    "fmax",
    "steps",
    "converged",
    "volume_ratio",
    "displacement",
    "groups",
    "positions",
    "cell",
    "forces",
    "stress",
)


def relax_numbers(output: Path, potential: str, names: tuple[str, ...]) -> Numbers:
    """From the record of each structure."""
    found: Numbers = {}
    for name in names:
        record = _json(output / potential / f"{name}.json")
        found |= _flat({field: record[field] for field in RELAX_FIELDS}, name)
    return found


PHONON_FIELDS = ("values", "max_commensurate", "max_mesh", "imaginary", "lowest", "groups", "converged")
THERMAL_COLUMNS = ("temperature_K", "free_energy_kJ_mol", "entropy_J_K_mol", "heat_capacity_J_K_mol")


def phonon_numbers(output: Path, potentials: tuple[str, ...]) -> Numbers:
    """From the record and the thermal properties that each potential has of the crystal."""
    found: Numbers = {}
    for potential in potentials:
        record = _json(output / potential / "crystal.json")
        found |= _flat({field: record[field] for field in PHONON_FIELDS}, potential)
        thermal = _columns(output / potential / "crystal.thermal.csv", THERMAL_COLUMNS)
        found |= _flat(thermal, f"{potential}/thermal")
    return found


CONDUCTIVITY_FIELDS = (
    "mesh",
    "displaced",
    "temperatures",
    "tensors",
    "kappas",
    "groups",
    "imaginary",
    "lowest",
    "converged",
)


def conductivity_numbers(output: Path, potential: str, material: str) -> Numbers:
    """From the record of the material, and from the modes on the mesh."""
    record = _json(output / potential / f"{material}.json")
    found = _flat({field: record[field] for field in CONDUCTIVITY_FIELDS}, potential)
    with np.load(output / potential / f"{material}.modes.npz") as modes:
        return found | {f"{potential}/frequencies": modes["frequencies"].tolist()}


DRIFT_QUANTITIES = (
    "slope",
    "slope_error",
    "wander",
    "fair",
    "lambench",
    "largest",
    "fluctuation",
    "relative",
    "temperature",
    "temperature_end",
    "duration_ps",
    "rows",
)
SERIES_COLUMNS = ("step", "time_ps", "total_eV", "potential_eV", "kinetic_eV", "temperature_K")


def drift_numbers(output: Path) -> Numbers:
    """The drift of each trajectory, and its energies."""
    found: Numbers = {}
    for row in _json(output / "result.json")["rows"]:
        potential = row["potential"]
        drift = {quantity: row[quantity.removesuffix("_ps")] for quantity in DRIFT_QUANTITIES}
        found |= _flat(drift, f"{potential}/drift")
        series = _columns(output / potential / "structures" / "crystal.csv", SERIES_COLUMNS)
        found |= _flat(series, f"{potential}/series")
    return found


FRAME_COLUMNS = ("energy_predicted", "energy_error", "forces_mae", "forces_max", "stress_mae")


def mae_numbers(output: Path) -> Numbers:
    """Errors over all frames, by element and by frame."""
    content = _json(output / "mae.json")
    found = _flat({key: content[key] for key in ("structures", "overall", "elements")}, "mae")
    return found | _flat(_columns(output / "mae.csv", FRAME_COLUMNS), "frames")


def check_numbers(output: Path) -> Numbers:
    """What was found for each law, and the curves of energies and forces along which smoothness was judged."""
    content = _json(output / "check.json")
    found: Numbers = {}
    for number, finding in enumerate(content["findings"]):
        law = {key: finding[key] for key in ("verdict", "value", "tolerance")}
        found |= _flat(law, f"{number} {finding['law']}")
    for number, curve in enumerate(content["curves"]):
        values = {key: curve[key][:: len(curve[key]) // 10] for key in ("distance", "energy", "force")}
        found |= _flat(values, f"curve {number}")
    return found


_TINY = "tiny.safetensors"
_STILL = ("--no-track", "--no-plots")
_SMALL = ("--fc2", "2,2,2", "--fc3", "2,2,2", "--mesh", "4,4,4", "--temperatures", "300,600", *_STILL)
_DYNAMICS = (
    "--timestep",
    "2",
    "--duration",
    "0.1",
    "--record-every",
    "5",
    "--temperature",
    "300",
    "--no-track",
)
_LAWS = "rotation,supercell,forces,stress,curl,diatomics"

COMMANDS = {
    "relax-emt": Command(
        ("relax", "emt", "metals.xyz", "--fmax", "0.001", "--no-track"),
        lambda output: relax_numbers(output, "emt", ("metals#0", "metals#1")),
    ),
    "relax-checkpoint": Command(
        ("relax", _TINY, "rattled.xyz", "--fmax", "0.001", "--optimizer", "lbfgs", "--no-track"),
        lambda output: relax_numbers(output, "tiny", ("rattled",)),
    ),
    "phonons": Command(
        ("phonons", "emt", "crystal.xyz", "--also", _TINY, "--supercell", "2,2,2", *_STILL),
        lambda output: phonon_numbers(output, ("emt", "tiny")),
    ),
    "phonons-hessian": Command(
        ("phonons", _TINY, "crystal.xyz", "--method", "hessian", "--supercell", "2,2,2", *_STILL),
        lambda output: phonon_numbers(output, ("tiny",)),
    ),
    "conductivity-emt": Command(
        ("conductivity", "emt", "crystal.xyz", *_SMALL),
        lambda output: conductivity_numbers(output, "emt", "crystal"),
    ),
    "conductivity-checkpoint": Command(
        ("conductivity", _TINY, "stretched.xyz", "--no-relax", *_SMALL),
        lambda output: conductivity_numbers(output, "tiny", "stretched"),
    ),
    "md-drift": Command(
        ("md-drift", "emt", _TINY, "--structures", "crystal.xyz", "--supercell", "2,2,2", *_DYNAMICS),
        drift_numbers,
    ),
    "mae": Command(("mae", _TINY, "frames.xyz", "--dtype", "float64"), mae_numbers),
    "check-emt": Command(("check", "emt", "rattled.xyz", "--laws", _LAWS), check_numbers),
    "check-checkpoint": Command(("check", _TINY, "rattled.xyz"), check_numbers),
}
