"""Mode-resolved conductivities in files, as phononDB-PBE-103 has them: columns that pandas wrote as JSON."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from esen.errors import InputError
from esen.evaluate.conductivity.metrics import mean_of_trace
from esen.evaluate.conductivity.run import Conductivity
from esen.files import write_atomically

_IDS = ("mp_id", "material_id")
_TOTAL = ("kappa_TOT_ave", "kappa_tot_avg", "kappa_TOT_RTA", "kappa_tot_rta")
_MODES = ("mode_kappa_TOT_ave", "mode_kappa_tot_avg", "mode_kappa_TOT", "mode_kappa_tot_rta")
_WEIGHTS = ("weights", "mode_weights")
_FREQUENCIES = ("frequencies", "ph_freqs", "phonon_frequencies")
_GROUPS = ("symm.no", "spg_num", "initial_space_group_number", "init_spg_num")
_AVERAGED = ("_ave", "_avg")


@dataclass(frozen=True, eq=False)
class ReferenceConductivity:
    """What is compared: κ and its modes, means over the directions.

    Attributes:
        material: its identifier.
        temperatures: in K.
        kappa: total, trace / 3, in W/m/K.
        modes: contributions of the modes at irreducible points, each counting all equivalent points; κ = Σ_qs / Σ_q w.
        weights: how many points of the mesh each stands for.
        frequencies: in THz; None: not known.
        points: in units of the primitive reciprocal lattice; None: not known.
        heat_capacity: of the modes, in eV/K; None: not known.
        mesh: divisions of the Brillouin zone; None: not known.
        label: what it is called in tables.
        space_group: its number; None: not known.
    """

    material: str
    temperatures: Float64[np.ndarray, " T"]
    kappa: Float64[np.ndarray, " T"]
    modes: Float64[np.ndarray, "T Q s"]
    weights: Float64[np.ndarray, " Q"]
    frequencies: Float64[np.ndarray, "Q s"] | None = None
    points: Float64[np.ndarray, "Q 3"] | None = None
    heat_capacity: Float64[np.ndarray, "T Q s"] | None = None
    mesh: tuple[int, int, int] | None = None
    label: str = ""
    space_group: int | None = None


def reference_of(found: Conductivity) -> ReferenceConductivity:
    """Of a conductivity that was computed, so that it may be compared, or written for others to be.

    Raises:
        InputError: there is none.
    """
    if found.transport is None:
        raise InputError(f"{found.material.name}: has no conductivity ({found.reason})")
    return ReferenceConductivity(
        material=found.material.name,
        temperatures=found.transport.temperatures,
        kappa=found.transport.mean,
        modes=mean_of_trace(found.transport.modes),
        weights=found.harmonic.weights,
        frequencies=found.harmonic.frequencies,
        points=found.harmonic.points,
        heat_capacity=found.transport.heat_capacity,
        mesh=found.material.mesh,
        label=found.material.label,
        space_group=found.groups[1],
    )


def read_reference(path: Path) -> dict[str, ReferenceConductivity]:
    """A file as `2024-11-09-kappas-phononDB-PBE-noNAC.json.gz`, by identifier.

    Names of columns are those of the benchmark, before and after it moved to Matbench Discovery; tensors are
    averaged over the directions.

    Raises:
        InputError: it is not such a file.
    """
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            columns = json.load(file)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(columns, dict) or not all(isinstance(column, dict) for column in columns.values()):
        raise InputError(f"{path}: expected columns of rows, as pandas writes a table")
    for names in (_IDS, _TOTAL, _MODES, _WEIGHTS):
        if not set(names) & set(columns):
            raise InputError(
                f"{path}: has no column {' or '.join(names[:2])}; it has {', '.join(columns) or 'none'}"
            )
    found: dict[str, ReferenceConductivity] = {}
    for row in _pick(columns, _IDS)[1]:
        one = _row(path, columns, row)
        if one.material in found:
            raise InputError(f"{path}: has {one.material} twice")
        found[one.material] = one
    return found


def write_reference(path: Path, materials: Sequence[ReferenceConductivity]) -> None:
    """A file of the same layout, packed where its name ends in .gz, written at once or not at all."""
    table: dict[str, dict[str, Any]] = {}
    for number, one in enumerate(materials):
        row = {
            "mp_id": one.material,
            "frequencies": one.frequencies,
            "qpoints": one.points,
            "temperatures": one.temperatures,
            "weights": one.weights.astype(np.int64),
            "heat_capacity": one.heat_capacity,
            "q_mesh": one.mesh,
            "name": one.label,
            "symm.no": one.space_group,
            "kappa_TOT_ave": one.kappa,
            "mode_kappa_TOT_ave": one.modes,
        }
        for key, value in row.items():
            plain = value.tolist() if isinstance(value, np.ndarray) else value
            table.setdefault(key, {})[str(number)] = plain
    content = json.dumps(table).encode()
    write_atomically(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _row(path: Path, columns: Mapping[str, Any], row: str) -> ReferenceConductivity:
    material = str(_pick(columns, _IDS)[1][row])
    try:
        total, kappas = _pick(columns, _TOTAL)
        name, modes = _pick(columns, _MODES)
        mesh = columns.get("q_mesh", {}).get(row)
        known = {
            "temperatures": np.atleast_1d(_array(columns.get("temperatures", {}).get(row, [300.0]))),
            "kappa": np.atleast_1d(_averaged(total, kappas[row])),
            "modes": _averaged(name, modes[row]),
            "weights": _array(_pick(columns, _WEIGHTS)[1][row]),
        }
        frequencies = _known(columns, _FREQUENCIES, row)
        _check(**known, frequencies=frequencies)
        return ReferenceConductivity(
            material=material,
            **known,
            frequencies=frequencies,
            points=_known(columns, ("qpoints", "q_points"), row),
            heat_capacity=_known(columns, ("heat_capacity",), row),
            mesh=None if mesh is None else (int(mesh[0]), int(mesh[1]), int(mesh[2])),
            label=str(columns.get("name", {}).get(row) or ""),
            space_group=_group(columns, row),
        )
    except (ValueError, TypeError, KeyError, IndexError) as error:
        words = str(error).splitlines()[0] if isinstance(error, ValueError) else repr(error).splitlines()[0]
        raise InputError(f"{path}: {material} has no usable conductivity ({words})") from error


def _check(
    temperatures: np.ndarray,
    kappa: np.ndarray,
    modes: np.ndarray,
    weights: np.ndarray,
    frequencies: np.ndarray | None,
) -> None:
    if modes.ndim != 3 or modes.shape[:2] != (len(kappa), len(weights)):
        raise ValueError(
            f"modes of shape {modes.shape} with {len(kappa)} temperatures and {len(weights)} points"
        )
    if len(temperatures) != len(kappa):
        raise ValueError(f"{len(temperatures)} temperatures and {len(kappa)} conductivities")
    if not np.isfinite(kappa).all() or not np.isfinite(modes).all() or kappa.min() < 0:
        raise ValueError("not finite, or negative")
    if not np.isfinite(weights).all() or weights.min() <= 0:
        raise ValueError("its weights are not positive")
    if frequencies is not None and (
        frequencies.shape != modes.shape[1:] or not np.isfinite(frequencies).all()
    ):
        raise ValueError(
            f"frequencies of shape {frequencies.shape}, or not finite, with modes of {modes.shape[1:]}"
        )


def _pick(columns: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Mapping[str, Any]]:
    name = next(name for name in names if name in columns)
    return name, columns[name]


def _known(
    columns: Mapping[str, Any], names: tuple[str, ...], row: str
) -> Float64[np.ndarray, "*any"] | None:
    value = next((columns[name].get(row) for name in names if name in columns), None)
    return None if value is None else _array(value)


def _group(columns: Mapping[str, Any], row: str) -> int | None:
    value = next((columns[name].get(row) for name in _GROUPS if name in columns), None)
    return None if value is None else int(value)


def _averaged(name: str, value: Any) -> Float64[np.ndarray, "*any"]:
    """Tensors to their means over the directions; what is named so is one already."""
    found = _array(value)
    if name.endswith(_AVERAGED):
        return found
    if found.shape[-2:] == (3, 3):
        return np.asarray(np.trace(found, axis1=-2, axis2=-1) / 3)
    if found.shape[-1] != 6:
        raise ValueError(f"{name} has shape {found.shape}, expected tensors of 6 or 3 × 3 components")
    return mean_of_trace(found)


def _array(value: Any) -> Float64[np.ndarray, "*any"]:
    if value is None:
        raise ValueError("a value is missing")
    return np.asarray(value, dtype=np.float64)
