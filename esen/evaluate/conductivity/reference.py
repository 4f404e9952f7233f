"""Files of mode-resolved conductivities in the layout of phononDB-PBE-103: columns that pandas wrote as JSON."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from esen.errors import InputError, typed_line
from esen.evaluate.conductivity.metrics import mean_of_trace
from esen.files import parse_json, write_atomically

_IDS = ("mp_id", "material_id")
_TOTAL = ("kappa_TOT_ave", "kappa_tot_avg", "kappa_TOT_RTA", "kappa_tot_rta")
_MODES = ("mode_kappa_TOT_ave", "mode_kappa_tot_avg", "mode_kappa_TOT", "mode_kappa_tot_rta")
_WEIGHTS = ("weights", "mode_weights")
_FREQUENCIES = ("frequencies", "ph_freqs", "phonon_frequencies")
_GROUPS = ("symm.no", "spg_num", "initial_space_group_number", "init_spg_num")
_AVERAGED = ("_ave", "_avg")
_KELVIN = 300.0
"""Temperature of files that do not name any."""


@dataclass(frozen=True, eq=False)
class ReferenceConductivity:
    """Conductivity that others are compared with: κ and its modes, averaged over the directions.

    Attributes:
        material: its identifier.
        temperatures: in K.
        kappa: total, trace / 3, in W/m/K.
        modes: contributions of the modes at irreducible points; those of a point count all its equivalents, so that
            κ = Σ_qs κ_qs / Σ_q w_q.
        weights: number of points of the mesh that each point stands for.
        frequencies: in THz; None: not known.
        points: in units of the primitive reciprocal lattice; None: not known.
        heat_capacity: of the modes, in eV/K; None: not known.
        mesh: divisions of the Brillouin zone; None: not known.
        label: its name in tables.
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

    def at_one_of(self, temperatures: Sequence[float]) -> "ReferenceConductivity":
        """Return the same at the first of its temperatures that is among those given.

        Args:
            temperatures: in K.

        Raises:
            InputError: none of them is.
        """
        for place, kelvin in enumerate(self.temperatures):
            if np.isclose(temperatures, kelvin).any():
                only = slice(place, place + 1)
                return replace(
                    self,
                    temperatures=self.temperatures[only],
                    kappa=self.kappa[only],
                    modes=self.modes[only],
                    heat_capacity=None if self.heat_capacity is None else self.heat_capacity[only],
                )
        known, wanted = (", ".join(f"{t:g}" for t in values) for values in (self.temperatures, temperatures))
        raise InputError(f"{self.material} is at {known} K, computed are {wanted} K")


def read_reference(path: Path) -> dict[str, ReferenceConductivity]:
    """Read a file such as `2024-11-09-kappas-phononDB-PBE-noNAC.json.gz`, by identifier of the material.

    The names of the columns are those of the benchmark, before and after it moved to Matbench Discovery. Tensors are
    averaged over the directions.

    Raises:
        InputError: the file is missing, is not JSON, or has no such columns.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
            columns = parse_json(file.read())
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
    """Write a file of the same layout atomically, compressed if its name ends in .gz."""
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
    def optional(*names: str) -> Any:
        return next((columns[name].get(row) for name in names if name in columns), None)

    material = str(_pick(columns, _IDS)[1][row])
    try:
        total, kappas = _pick(columns, _TOTAL)
        name, modes = _pick(columns, _MODES)
        temperatures, mesh, group = optional("temperatures"), optional("q_mesh"), optional(*_GROUPS)
        known = {
            "temperatures": np.atleast_1d(_array(_KELVIN if temperatures is None else temperatures)),
            "kappa": np.atleast_1d(_averaged(total, kappas[row])),
            "modes": _averaged(name, modes[row]),
            "weights": _array(_pick(columns, _WEIGHTS)[1][row]),
        }
        frequencies = _optional_array(optional(*_FREQUENCIES))
        _check(**known, frequencies=frequencies)
        return ReferenceConductivity(
            material=material,
            **known,
            frequencies=frequencies,
            points=_optional_array(optional("qpoints", "q_points")),
            heat_capacity=_optional_array(optional("heat_capacity")),
            mesh=None if mesh is None else (int(mesh[0]), int(mesh[1]), int(mesh[2])),
            label=str(optional("name") or ""),
            space_group=None if group is None else int(group),
        )
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{path}: {material} has no usable conductivity ({typed_line(error)})") from error


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


def _optional_array(value: Any) -> Float64[np.ndarray, "*any"] | None:
    return None if value is None else _array(value)


def _averaged(name: str, value: Any) -> Float64[np.ndarray, "*any"]:
    """Average tensors over the directions. A column that is called `_ave` or `_avg` is averaged already."""
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
