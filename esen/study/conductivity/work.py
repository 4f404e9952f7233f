"""One material with one potential: what is computed, and the files that it leaves."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from esen.evaluate.conductivity.material import Material
from esen.evaluate.conductivity.protocol import ConductivityProtocol
from esen.evaluate.conductivity.run import (
    Conductivity,
    conductivity_at,
    reference_conductivity,
    relaxed_material,
)
from esen.evaluate.conductivity.transport import unscattered_share
from esen.evaluate.model import Model
from esen.evaluate.phonons.crystal import widths_of
from esen.study.conductivity.choose import Input
from esen.study.conductivity.modes import Modes, modes_of
from esen.study.conductivity.record import Record, failed, record_of
from esen.study.materials.arrays import read_arrays, write_arrays
from esen.study.materials.failures import reason_of
from esen.study.materials.models import models_of
from esen.study.materials.options import MaterialOptions
from esen.study.materials.records import read_record, write_record
from esen.study.potentials import PotentialOptions, file_name

UNSCATTERED = 0.01
"""The share of κ above which it is said that modes are not scattered."""


@dataclass(frozen=True)
class ConductivityOptions(MaterialOptions):
    """What the user chooses, beside potentials, materials and protocol.

    Attributes:
        reference: file of conductivities that all are compared with.
    """

    reference: Path | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """A material with a potential.

    Attributes:
        label: of the potential.
        material: to be read.
    """

    label: str
    material: Input


@dataclass(frozen=True, eq=False)
class ConductivityWork:
    """All that is to be known to do a part in any process.

    Attributes:
        potentials: as the user gave them.
        how: of `resolve_potential`.
        protocol: of all materials.
        options: likewise.
        output: folder of all files.
        wanted: labels of the potentials that have something to compute.
    """

    potentials: tuple[str, ...]
    how: PotentialOptions
    protocol: ConductivityProtocol
    options: ConductivityOptions
    output: Path
    wanted: tuple[str, ...] = ()

    def begin(self) -> Callable[[Part], None]:
        """Load the potentials."""
        models = models_of(
            self.potentials,
            self.how,
            wanted=self.wanted,
            exact=False,
            allow_direct=self.options.allow_direct,
            batch_atoms=self.options.batch_atoms,
        )
        return lambda part: self._do(part, models[part.label])

    def missing(self, job: Part) -> list[Part]:
        """The material, if it has no record, or if its modes have been removed."""
        path = self.path(job)
        there = path.exists() and (_modes_path(path).exists() or bool(self.record(job).failure))
        return [] if there else [job]

    def give_up(self, job: Part, reason: str) -> None:
        """Record that nothing came of it."""
        self._write(job, failed(job.material.name, reason))

    def name(self, job: Part) -> str:
        """For the user."""
        return f"{job.label}, {job.material.name}"

    def path(self, part: Part) -> Path:
        """Of a record; what else is kept of it has the same stem."""
        return self.output / file_name(part.label) / f"{file_name(part.material.name)}.json"

    def record(self, part: Part) -> Record:
        """What is recorded of a material."""
        return read_record(self.path(part), Record)

    def modes(self, part: Part) -> Modes | None:
        """What is kept of its modes; None: nothing."""
        path = _modes_path(self.path(part))
        return read_arrays(path, Modes) if path.exists() else None

    def _do(self, part: Part, model: Model | None) -> None:
        material = None
        try:
            material = part.material.load(self.protocol.symprec)
            with warnings.catch_warnings():
                # Of ASE and SciPy, of steps that are too large, and of phono3py: seen in the result.
                warnings.simplefilter("ignore")
                self._compute(part, material, model)
        except (
            Exception
        ) as error:  # spglib, phono3py and foreign calculators end this material, not the others
            reason = reason_of(error, self.path(part).with_suffix(".traceback.txt"))
            self._write(part, failed(part.material.name, reason, material))

    def _compute(self, part: Part, material: Material, model: Model | None) -> None:
        if model is None:
            self._keep(part, reference_conductivity(material, self.protocol))
            return
        model.check_elements(material.unitcell)
        relaxed = None
        if self.protocol.relax:
            start = material
            material, relaxed = relaxed_material(material, model.calculator, self.protocol)
            if relaxed.melted:
                words = f"it is not the same crystal after relaxation: {relaxed.change}"
                self._write(part, failed(start.name, words, start, melted=True))
                return
        found = conductivity_at(material, relaxed, model, self.protocol)
        self._keep(part, found, notes_on(material, model))

    def _keep(self, part: Part, found: Conductivity, notes: tuple[str, ...] = ()) -> None:
        """Files of one computation; the record last, because it says that all are there."""
        path = self.path(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(_modes_path(path), modes_of(found))
        if found.transport is not None:
            share = unscattered_share(found.transport, self.protocol)
            if share > UNSCATTERED:
                notes += (
                    f"{share:.0%} of κ is carried by modes that nothing but the boundary scatters: the mesh is too"
                    " coarse to find their partners, or it is too cold",
                )
        self._write(part, record_of(found, notes))

    def _write(self, part: Part, record: Record) -> None:
        path = self.path(part)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, record)


def notes_on(material: Material, model: Model) -> tuple[str, ...]:
    """What is to be known of a result: whether a supercell is narrower than the forces reach."""
    reach = 2 * model.potential.cutoff
    notes = []
    for order, matrix in (("second", material.fc2_supercell), ("third", material.fc3_supercell)):
        width = float(widths_of(matrix.T @ material.unitcell.cell).min())
        if width < reach:
            notes.append(
                f"the supercell for {order} derivatives is {width:.2f} Å wide, less than twice the cutoff"
                f" ({reach:g} Å): a displaced atom is felt together with its images"
            )
    return tuple(notes)


def _modes_path(record: Path) -> Path:
    return record.with_suffix(".modes.npz")
