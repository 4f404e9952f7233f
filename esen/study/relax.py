"""`esen relax`: relax positions and cells of many structures, in batches where the potential takes them."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from esen.data.constraints import axis_constraints, constraints_beside_axes, named
from esen.data.structure import Structure
from esen.evaluate.model import Model, Progress
from esen.evaluate.relax import Relaxed, RelaxSpec, relax
from esen.files import write_atomically
from esen.graph.batch import pack_batches
from esen.study.campaign import (
    CampaignResult,
    CampaignRun,
    Item,
    Job,
    Property,
    Task,
    run_campaign,
    write_tables,
)
from esen.study.potentials import is_checkpoint
from esen.study.table import Column, Table

NAN = float("nan")
NOTHING_MOVES = "nothing to relax"
VERDICTS = ("converged", "not converged", "melted", "failed", NOTHING_MOVES)

_BATCHES_PER_JOB = 4
"""A job has several batches of structures, so that one that starts takes the place of one that ends."""
_SHOWN = 40
"""Rows and remarks that the terminal shows at most."""


@dataclass(frozen=True)
class RelaxRecord:
    """One structure relaxed with one potential.

    Attributes:
        name: unique in the run.
        source: the file, and the frame.
        formula: of all atoms, in Hill's order.
        atoms: number of atoms.
        energy_before: energy of the given structure, in eV.
        energy: energy of the relaxed structure, in eV.
        fmax_before: largest force on an atom of the given structure, in eV/Å.
        fmax: largest force on an atom of the relaxed structure, in eV/Å.
        steps: number of steps of the optimizer.
        converged: whether the forces fell below the limit.
        melted: whether the relaxed crystal is another crystal than was given.
        change: what has changed most, in words.
        volume_ratio: volume after to volume before; NaN for a molecule.
        displacement: of the atom that moved furthest relative to the lattice, in Å.
        groups: numbers of the space group before and after; 0 where there is none.
        fixed: number of atoms that constraints fix, at least along one direction.
        frozen: whether nothing could move.
        numbers: atomic numbers.
        positions: of the relaxed structure, in Å.
        cell: of the relaxed structure, rows are lattice vectors, in Å.
        pbc: which lattice vectors are periodic.
        forces: that are left, in eV/Å.
        stress: that is left, in eV/Å³ with ASE's sign; None: the calculator gives none, or the cell has no volume.
        direct: whether the forces are not the gradient of the energy.
        failure: why there is no result; empty if there is one.
        potential: label of the potential.
    """

    name: str
    source: str = ""
    formula: str = ""
    atoms: int = 0
    energy_before: float = NAN
    energy: float = NAN
    fmax_before: float = NAN
    fmax: float = NAN
    steps: int = 0
    converged: bool = False
    melted: bool = False
    change: str = ""
    volume_ratio: float = NAN
    displacement: float = NAN
    groups: tuple[int, ...] = ()
    fixed: int = 0
    frozen: bool = False
    numbers: list[int] | None = None
    positions: list[list[float]] | None = None
    cell: list[list[float]] | None = None
    pbc: list[bool] | None = None
    forces: list[list[float]] | None = None
    stress: list[list[float]] | None = None
    direct: bool = False
    failure: str = ""
    potential: str = ""

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        if self.failure:
            return "failed"
        if self.melted:
            return "melted"
        if self.frozen:
            return NOTHING_MOVES
        return "converged" if self.converged else "not converged"

    @property
    def energy_change(self) -> float:
        """Energy of the relaxed structure less that of the given one, in meV/atom."""
        return 1000 * (self.energy - self.energy_before) / max(self.atoms, 1)


def _group(place: int) -> Callable[[RelaxRecord], int | None]:
    return lambda record: (record.groups[place] or None) if record.groups else None


def _groups(record: RelaxRecord) -> str:
    return "→".join(str(group) for group in dict.fromkeys(record.groups) if group)


COLUMNS: tuple[Column[RelaxRecord], ...] = (
    Column("name", wraps=True),
    Column("source", shown=False),
    Column("formula", wraps=True),
    Column("atoms"),
    Column("energy_before", unit="eV", shown=False),
    Column("energy", unit="eV", shown=False, tracked=True),
    Column("steps", value=lambda r: None if r.failure else r.steps, tracked=True),
    Column("fmax_before", unit="eV/Å", shown=False),
    Column("fmax", unit="eV/Å", format=".2g", better="less", tracked=True),
    Column("energy_change", "ΔE", "meV/atom", format=".3f", tracked=True),
    Column("volume_ratio", "V/V0", format=".4f", tracked=True),
    Column("displacement", unit="Å", shown=False),
    Column("groups", "group", value=_groups, stored=False),
    Column("group_before", value=_group(0), shown=False),
    Column("group_after", value=_group(-1), shown=False),
    Column("fixed_atoms", value=attrgetter("fixed"), shown=False),
    Column("converged", shown=False),
    Column("melted", shown=False),
    Column("verdict", wraps=True),
    Column("failure", shown=False),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Relaxation(Property[Item[Structure], RelaxRecord]):
    """Relaxation of structures with one potential.

    Attributes:
        spec: how structures are relaxed.
    """

    command = "relax"
    record = RelaxRecord

    spec: RelaxSpec

    def jobs(self, items: Sequence[Item[Structure]], processes: int) -> list[Job[Item[Structure]]]:
        """Put several batches of structures into a job for a checkpoint, and single structures for a calculator."""
        ((label, given),) = self.potentials.items()
        tasks = [Task(label, item) for item in items]
        if not is_checkpoint(given):
            return [(task,) for task in tasks]
        sizes = [len(item.read()) for item in items]
        per_process = -(-sum(sizes) // processes)
        atoms = max(1, min(_BATCHES_PER_JOB * self.options.batch_atoms, per_process))
        packed = pack_batches(sizes, atoms=atoms, structures=None, order=range(len(sizes)))
        return [tuple(tasks[index] for index in batch) for batch in packed]

    def do(
        self,
        job: Job[Item[Structure]],
        model: Model | None,
        read: Callable[[Item[Any]], Any],
        progress: Progress,
    ) -> None:
        """Relax all structures of a job together, and record each as soon as it ends."""
        assert model is not None
        tasks, structures = [], []
        for (task,) in self.missing(job):
            with self.guarded(task):
                structure = read(task.item)
                model.check_elements(structure)
                tasks.append(task)
                structures.append(structure)
        ended = 0

        def keep(index: int, outcome: Relaxed | Exception) -> None:
            nonlocal ended
            ended += 1
            with self.guarded(tasks[index]):
                if isinstance(outcome, Exception):
                    raise outcome
                self.write(tasks[index].label, record_of(tasks[index], structures[index], outcome, model))
            progress(ended, len(tasks))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ASE and SciPy warn of large steps, whose results are checked
            model.run_all(
                [partial(relax, structure, spec=self.spec) for structure in structures],
                [len(structure) for structure in structures],
                keep,
            )

    def failed(self, task: Task[Item[Structure]], name: str, reason: str) -> RelaxRecord:
        """Make the record of a structure without a result."""
        structure = task.item.read()
        return RelaxRecord(name, structure.source, structure.formula, len(structure), failure=reason)


def run_relax(run: CampaignRun, items: Sequence[Item[Structure]], spec: RelaxSpec) -> CampaignResult | None:
    """Relax structures with one potential and record them.

    Args:
        run: potential, folder, options, tracker and processes.
        items: structures with unique names.
        spec: how structures are relaxed.

    Returns:
        The result; None in all processes but the first.

    Raises:
        InputError: the potential cannot be used, or the folder has records of something else.
        Interrupted: by the user.
    """
    work = Relaxation.of(run, spec=spec)
    settings = asdict(spec) | {"groups_within": spec.found_within}
    columns = [
        replace(c, symbol=f"group ({spec.found_within:g} Å)") if c.name == "groups" else c for c in COLUMNS
    ]
    found = run_campaign(work, items, settings, run)
    if found is None:
        return None
    (records,) = found.values()
    relaxed = run.output / "relaxed.extxyz"
    paths = {"relaxed structures": relaxed} if _write_structures(relaxed, records, items) else {}
    means = {label: _counts(mine) for label, mine in found.items()}
    _, paths = write_tables(run, work, found, columns, settings, means=means, paths=paths)
    shown = records
    if len(records) > _SHOWN:
        shown = sorted(records, key=lambda record: record.verdict == "converged")[:_SHOWN]
    return CampaignResult(
        tables=[Table(columns, shown)],
        lines=_lines(records, paths["table"], items, spec),
        paths=paths,
        records=found,
        failed=any(record.verdict not in ("converged", NOTHING_MOVES) for record in records),
    )


def record_of(task: Task[Item[Structure]], given: Structure, found: Relaxed, model: Model) -> RelaxRecord:
    """Make the record of a relaxed structure."""
    s = found.structure
    assert s.energy is not None
    assert s.forces is not None
    return RelaxRecord(
        name=task.item.name,
        source=s.source,
        formula=given.formula,
        atoms=len(s),
        energy_before=found.energy_before,
        energy=s.energy,
        fmax_before=found.fmax_before,
        fmax=found.fmax,
        steps=found.steps,
        converged=found.converged,
        melted=found.melted,
        change=found.change,
        volume_ratio=found.volume_ratio if s.pbc.any() else NAN,
        displacement=found.displacement,
        groups=found.groups,
        fixed=found.fixed,
        frozen=found.frozen,
        numbers=s.numbers.tolist(),
        positions=s.positions.tolist(),
        cell=s.cell.tolist(),
        pbc=s.pbc.tolist(),
        forces=s.forces.tolist(),
        stress=None if s.stress is None else s.stress.tolist(),
        direct=model.direct,
    )


def atoms_of(record: RelaxRecord, given: Structure) -> Atoms:
    """Return the relaxed structure for ASE, with its energy, forces and stress.

    What the file says of the given structure and of its atoms is kept, except for labels, which are wrong for the
    relaxed structure, and for constraints that extended XYZ cannot hold.

    Args:
        record: of the relaxed structure.
        given: the structure that was relaxed.
    """
    atoms = Atoms(record.numbers, record.positions, cell=record.cell, pbc=record.pbc)
    results = {"energy": record.energy, "forces": np.array(record.forces)}
    if record.stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(np.array(record.stress))
    atoms.calc = SinglePointCalculator(atoms, **results)
    found = {"name": record.name, "converged": record.converged, "melted": record.melted}
    atoms.info = {key: value for key, value in given.info.items() if not _is_label(key)} | found
    for key, values in given.arrays.items():
        if not _is_label(key) and key not in atoms.arrays:
            atoms.set_array(key, values)
    atoms.set_constraint(axis_constraints(given))
    if record.groups[-1]:
        atoms.info["space_group"] = record.groups[-1]
    return atoms


def _is_label(key: str) -> bool:
    return any(word in key.casefold() for word in ("energy", "force", "stress", "virial"))


def _write_structures(path: Path, records: Sequence[RelaxRecord], items: Sequence[Item[Structure]]) -> bool:
    """Write the relaxed structures as extended XYZ; return whether there are any."""
    pairs = zip(records, items, strict=True)
    relaxed = [atoms_of(record, item.read()) for record, item in pairs if not record.failure]
    if relaxed:
        text = io.StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that extended XYZ cannot hold
            ase.io.write(text, relaxed, format="extxyz")
        write_atomically(path, text.getvalue())
    else:
        path.unlink(missing_ok=True)
    return bool(relaxed)


def _counts(records: Sequence[RelaxRecord]) -> dict[str, float]:
    """Return how many structures have each verdict, and the mean number of steps."""
    verdicts = [record.verdict for record in records]
    counts = {name.replace(" ", "_"): float(verdicts.count(name)) for name in VERDICTS}
    steps = [record.steps for record in records if not record.failure]
    return counts | ({"mean_steps": float(np.mean(steps))} if steps else {})


def _lines(
    records: Sequence[RelaxRecord], csv: Path, items: Sequence[Item[Structure]], spec: RelaxSpec
) -> list[str]:
    """Return remarks: how many structures have each verdict, what was fixed, and what went wrong with which."""
    lines = []
    if len(records) > _SHOWN:
        verdicts = [record.verdict for record in records]
        counted = ", ".join(f"{verdicts.count(name)} {name}" for name in VERDICTS if name in verdicts)
        lines.append(
            f"{len(records)} structures: {counted}. The table shows {_SHOWN} of them, those that are not converged"
            f" first; all are in {csv}."
        )
    if any(record.direct for record in records):
        lines.append(
            "The forces of this potential are not the gradient of its energy, so they may vanish where the energy has"
            " no minimum."
        )
    structures = [item.read() for item in items]
    open_cells = sum(structure.pbc.any() and not structure.pbc.all() for structure in structures)
    if spec.cell and open_cells:
        lines.append(f"{open_cells} structures keep their cells: periodic in fewer than three directions.")
    if kinds := named([constraint for structure in structures for constraint in structure.constraints]):
        lines.append(
            f"Constraints of the files are kept ({kinds}): what they fix stays in place, relative to the cell where it"
            " relaxes, and forces along fixed directions do not count."
        )
    if lost := named([c for structure in structures for c in constraints_beside_axes(structure)]):
        lines.append(f"relaxed.extxyz cannot hold all of the constraints ({lost}); set them anew.")
    remarks = [
        f"{record.name}: {record.failure or (record.change if record.melted else 'all atoms and the cell are fixed')}"
        for record in records
        if record.failure or record.melted or record.frozen
    ]
    lines += remarks[:_SHOWN]
    if len(remarks) > _SHOWN:
        lines.append(f"and {len(remarks) - _SHOWN} more, in {csv}")
    return lines
