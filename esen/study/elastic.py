"""`esen elastic`: elastic constants, moduli and equations of state of crystals, with one or several potentials."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations_with_replacement
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.elastic import ElasticSpec, Stiffness, elastic_constants
from esen.evaluate.eos import EquationOfState, equation_of_state, fit_birch_murnaghan
from esen.evaluate.model import Model, Progress
from esen.study.campaign import (
    CampaignResult,
    CampaignRun,
    Item,
    Property,
    Task,
    remark_lines,
    run_campaign,
    write_tables,
)
from esen.study.plots.eos import eos_plot
from esen.study.potentials import file_name
from esen.study.table import Column, Table

NAN = float("nan")
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
_SHOWN = 40
"""Rows that the terminal shows at most."""
_FEW = 3
"""Records of which the terminal shows the whole tensor."""
_DOUBTFUL = 0.01
"""Error estimates relative to the largest constant that are worth a remark."""


@dataclass(frozen=True)
class ElasticRecord:
    """Elastic constants of one crystal with one potential.

    Attributes:
        name: unique in the run.
        source: the file, and the frame.
        formula: of all atoms, in Hill's order.
        atoms: number of atoms.
        stiffness: C in Voigt's order xx, yy, zz, yz, xz, xy, in the standard orientation, in GPa; None if there is no
            result.
        stiffness_in_file: the same in the Cartesian axes of the file.
        energy_difference: largest difference between C from stresses and from energies, in GPa.
        asymmetry: largest |C − Cᵀ|, in GPa.
        extrapolation: largest change of C by extrapolation to zero strain, in GPa; NaN for a single strain.
        residual_stress: largest component of the stress of the relaxed crystal, in GPa.
        stressed: whether the residual stress affects C.
        converged: whether the forces fell below the limit in all cells.
        cell: of the relaxed crystal, rows are lattice vectors, in Å.
        volumes: of the equation of state, in Å³; empty if there is none.
        energies: at these volumes, in eV.
        eos_failure: why there is no equation of state; empty if there is one or none was asked for.
        direct: whether the forces are not the gradient of the energy.
        fixed: number of atoms that constraints fix, at least along one direction.
        failure: why there is no result; empty if there is one.
        potential: label of the potential.
    """

    name: str
    source: str = ""
    formula: str = ""
    atoms: int = 0
    stiffness: list[list[float]] | None = None
    stiffness_in_file: list[list[float]] | None = None
    energy_difference: float = NAN
    asymmetry: float = NAN
    extrapolation: float = NAN
    residual_stress: float = NAN
    stressed: bool = False
    converged: bool = False
    cell: list[list[float]] | None = None
    volumes: tuple[float, ...] = ()
    energies: tuple[float, ...] = ()
    eos_failure: str = ""
    direct: bool = False
    fixed: int = 0
    failure: str = ""
    potential: str = ""

    @property
    def tensor(self) -> Stiffness | None:
        """C with its moduli, if there is a result."""
        return None if self.stiffness is None else Stiffness(np.array(self.stiffness))

    @property
    def eos(self) -> EquationOfState | None:
        """The equation of state fitted to `volumes` and `energies`, if there are any."""
        if not self.volumes:
            return None
        return fit_birch_murnaghan(np.array(self.volumes), np.array(self.energies))

    @property
    def verdict(self) -> str:
        """`failed`, `not converged`, `unstable` or `stable`."""
        if self.tensor is None:
            return "failed"
        if not self.converged:
            return "not converged"
        return "stable" if self.tensor.stable else "unstable"


def _column(
    of: Callable[[ElasticRecord], Any],
    name: str,
    symbol: str,
    unit: str,
    value: Callable[[Any], float],
    **how: Any,
) -> Column[ElasticRecord]:
    """Declare a quantity of the tensor or the equation of state, which a record may lack."""

    def value_of(record: ElasticRecord) -> float | None:
        found = of(record)
        return None if found is None else value(found)

    return Column(name, symbol, unit, value_of, ".2f" if unit == "GPa" else ".3f", **how)


_tensor = partial(_column, attrgetter("tensor"))
_eos = partial(_column, attrgetter("eos"))


def _constant(i: int, j: int) -> Column[ElasticRecord]:
    return _tensor(f"C{i + 1}{j + 1}", "", "GPa", lambda tensor: float(tensor.matrix[i, j]), shown=False)


EOS_COLUMNS: tuple[Column[ElasticRecord], ...] = (
    _eos("V0", "", "Å³", lambda eos: eos.volume, tracked=True),
    _eos("E0", "", "eV", lambda eos: eos.energy, tracked=True),
    _eos("B0", "", "GPa", lambda eos: eos.bulk, tracked=True),
    _eos("B0_prime", "B0'", "", lambda eos: eos.derivative, tracked=True),
    _eos("eos_residual", "", "eV", lambda eos: eos.rms, shown=False),
)
COLUMNS: tuple[Column[ElasticRecord], ...] = (
    Column("potential", wraps=True),
    Column("name", wraps=True),
    Column("source", shown=False),
    Column("formula", wraps=True),
    Column("atoms", shown=False),
    Column("fixed_atoms", value=attrgetter("fixed"), shown=False),
    _tensor("bulk_modulus", "K", "GPa", lambda tensor: tensor.hill.bulk, tracked=True),
    _tensor("shear_modulus", "G", "GPa", lambda tensor: tensor.hill.shear, tracked=True),
    _tensor("young_modulus", "E", "GPa", lambda tensor: tensor.hill.young, tracked=True),
    _tensor("poisson_ratio", "ν", "", lambda tensor: tensor.hill.poisson, tracked=True),
    _tensor("anisotropy", "A", "", lambda tensor: tensor.anisotropy, tracked=True),
    _tensor("lowest_eigenvalue", "λ_min", "GPa", lambda tensor: tensor.lowest_eigenvalue, tracked=True),
    _tensor("bulk_modulus_voigt", "", "GPa", lambda tensor: tensor.voigt.bulk, shown=False),
    _tensor("bulk_modulus_reuss", "", "GPa", lambda tensor: tensor.reuss.bulk, shown=False),
    _tensor("shear_modulus_voigt", "", "GPa", lambda tensor: tensor.voigt.shear, shown=False),
    _tensor("shear_modulus_reuss", "", "GPa", lambda tensor: tensor.reuss.shear, shown=False),
    *(_constant(i, j) for i, j in combinations_with_replacement(range(6), 2)),
    Column("energy_difference", unit="GPa", shown=False, better="less", tracked=True),
    Column("asymmetry", unit="GPa", shown=False, better="less", tracked=True),
    Column("extrapolation", unit="GPa", shown=False, better="less"),
    Column("residual_stress", unit="GPa", shown=False, better="less"),
    Column("verdict", wraps=True),
    Column("failure", shown=False),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Elasticity(Property[Item[Structure], ElasticRecord]):
    """Elastic constants of crystals.

    Attributes:
        spec: how they are computed.
        eos: whether an equation of state is computed, too.
    """

    command = "elastic"
    record = ElasticRecord
    refuse_direct = "so that its stress and its energy give different elastic constants"

    spec: ElasticSpec
    eos: bool = False

    def compute(
        self, task: Task[Item[Structure]], content: Structure, model: Model | None, progress: Progress
    ) -> ElasticRecord:
        """Relax and strain one crystal."""
        assert model is not None  # a reference is refused before
        found = elastic_constants(content, model, self.spec, progress)
        crystal = found.reference.structure
        record = ElasticRecord(
            name=task.item.name,
            source=content.source,
            formula=content.formula,
            atoms=len(content),
            stiffness=found.standard.matrix.tolist(),
            stiffness_in_file=found.stiffness.matrix.tolist(),
            energy_difference=found.energy_difference,
            asymmetry=found.asymmetry,
            extrapolation=found.extrapolation,
            residual_stress=float(np.abs(found.residual_stress).max()),
            stressed=found.stressed,
            converged=found.reference.converged and not found.unconverged,
            cell=crystal.cell.tolist(),
            direct=model.direct,
            fixed=found.reference.fixed,
        )
        if not self.eos:
            return record
        try:
            state = equation_of_state(crystal, model, self.spec.relax, progress=progress)
        except InputError as error:
            return replace(record, eos_failure=str(error))
        return replace(
            record,
            volumes=tuple(state.volumes.tolist()),
            energies=tuple(state.energies.tolist()),
            converged=record.converged and not state.unconverged,
        )

    def failed(self, task: Task[Item[Structure]], name: str, reason: str) -> ElasticRecord:
        """Make the record of a crystal without a result."""
        structure = task.item.read()
        return ElasticRecord(name, structure.source, structure.formula, len(structure), failure=reason)


def run_elastic(
    run: CampaignRun, items: Sequence[Item[Structure]], spec: ElasticSpec, *, eos: bool
) -> CampaignResult | None:
    """Compute elastic constants and record them.

    Args:
        run: potentials, folder, options, tracker and processes.
        items: crystals with unique names.
        spec: how the constants are computed.
        eos: whether equations of state are computed, too.

    Returns:
        The result; None in all processes but the first.

    Raises:
        InputError: a potential cannot be used, or the folder has records of something else.
        Interrupted: by the user.
    """
    work = Elasticity.of(run, spec=spec, eos=eos)
    settings = asdict(spec.relax) | {"strains": spec.strains, "energies": spec.energies, "eos": eos}
    found = run_campaign(work, items, settings, run)
    if found is None:
        return None
    columns = (*COLUMNS[:-2], *(EOS_COLUMNS if eos else ()), *COLUMNS[-2:])
    figures = _plots(run.output, items, found) if eos and run.options.plots else {}
    table, paths = write_tables(run, work, found, columns, settings, paths=figures)
    records = table.records
    lines = [line for label, mine in found.items() for line in _lines(label, mine)]
    if len(records) > _SHOWN:
        lines.append(f"and {len(records) - _SHOWN} more, in {paths['table']}")
    tensors = [record for record in records if record.stiffness] if len(records) <= _FEW else []
    return CampaignResult(
        tables=[replace(table, records=records[:_SHOWN]), *map(_tensor_table, tensors)],
        lines=lines,
        paths=paths,
        records=found,
        failed=any(r.verdict in ("failed", "not converged") or r.eos_failure for r in records),
    )


def _tensor_table(record: ElasticRecord) -> Table[Any]:
    """Return a table of C with Voigt's components as headings."""
    rows = [(name, *row) for name, row in zip(VOIGT, record.stiffness or (), strict=False)]
    title = Column[Any](f"{record.potential}, {record.name}: C (GPa)", value=itemgetter(0), wraps=True)
    constants = [Column[Any](VOIGT[j], value=itemgetter(j + 1), format="z.2f") for j in range(6)]
    return Table([title, *constants], rows)


def _lines(label: str, records: Sequence[ElasticRecord]) -> list[str]:
    """Return what failed and what is doubtful."""
    remarks = []
    for r in records:
        told = [r.failure, r.eos_failure]
        if r.fixed:
            told.append(
                f"constraints of the file hold {r.fixed} of {r.atoms} atoms, which do not relax under strain"
            )
        if r.stressed:
            told.append(
                f"these are the constants of a stressed crystal: {r.residual_stress:.2g} GPa are left"
            )
        difference = max(r.energy_difference, r.asymmetry)
        if r.stiffness and difference > _DOUBTFUL * np.abs(r.stiffness).max():
            told.append(
                f"the stress is not the gradient of the energy: constants differ by up to {difference:.2g} GPa"
            )
        remarks += [(r.name, words) for words in told if words]
    return remark_lines(label, remarks)


def _plots(
    output: Path, items: Sequence[Item[Structure]], records: Mapping[str, Sequence[ElasticRecord]]
) -> dict[str, Path]:
    """Draw the equations of state of each crystal; return the paths of the figures of a few."""
    paths = {}
    for item, *computed in zip(items, *records.values(), strict=True):
        states = {record.potential: record.eos for record in computed if record.eos is not None}
        if states:
            path = output / f"{file_name(item.name)}.eos.png"
            eos_plot(states, len(item.read()), item.name, path)
            paths[f"equation of state of {item.name}"] = path
    return paths if len(items) <= _FEW else {}
