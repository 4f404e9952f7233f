"""`esen phonons`: harmonic phonons of many crystals with several potentials, against each other and a reference."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula
from jaxtyping import Int64

from esen.data.constraints import ignored_constraints
from esen.data.structure import Structure
from esen.data.structures import read_named_structures
from esen.data.supercells import parse_supercell
from esen.errors import InputError
from esen.evaluate.model import Model, Progress
from esen.evaluate.phonons.bands import Bands, Lines, bands_of, path_of
from esen.evaluate.phonons.crystal import MAX_ATOMS, Crystal, Known, quietly
from esen.evaluate.phonons.inputs import (
    crystal_of_structure,
    crystal_of_yaml,
    folder_crystals,
    is_phonopy_yaml,
    phonopy_of_yaml,
    yaml_name,
)
from esen.evaluate.phonons.properties import QUANTITIES, Quantity, frequency_rmse, measure, values_of
from esen.evaluate.phonons.protocol import PROTOCOLS, THZ_TO_KELVIN, PhononProtocol
from esen.evaluate.phonons.run import Phonons, notes_on, phonons_at, relaxed_crystal
from esen.evaluate.relax import Relaxed
from esen.files import csv_text, read_arrays_as, write_arrays, write_atomically
from esen.study.campaign import (
    REFERENCE,
    CampaignResult,
    CampaignRun,
    Item,
    Job,
    Property,
    Task,
    geometry_digest,
    protocol_lines,
    remark_lines,
    run_campaign,
    uniquely_named,
    write_tables,
)
from esen.study.plots.phonons import bands_plot, convergence_plot, parity_plots
from esen.study.potentials import digest, file_name, is_checkpoint
from esen.study.table import Column, Table
from esen.text import first_few
from esen.train.run_files import LAST

logger = logging.getLogger(__name__)

NAN = float("nan")
MIN_WIDTH = 12.0
"""Å; least width of supercells that are not given."""
FIRST = ":1"
"""Frames of a structure file that are taken if none are named."""

_TOGETHER = 32
"""Crystals that are relaxed together at most; with two to ten atoms each they make a batch."""
_JOBS_PER_PROCESS = 4
"""Jobs of each process at least, so that none waits long for the others."""
_DRAWN = 3
"""Crystals whose figures are named to the user."""


@dataclass(frozen=True)
class PhononRecord:
    """Phonons of one crystal with one potential.

    Attributes:
        name: of the crystal, with the displacement in a study of displacements.
        formula: of the primitive cell.
        atoms: number of atoms of the primitive cell.
        supercell_atoms: number of atoms of the supercell.
        values: the quantities of the MDR benchmark at 300 K, with its own definition of ω_max.
        known: reference values; None where they are not known.
        max_commensurate: ω_max at the points that are commensurate with the supercell, in K.
        max_mesh: ω_max on the mesh, in THz.
        imaginary: number of imaginary modes.
        lowest: lowest frequency, in THz.
        lowest_at: its point, in units of the primitive reciprocal lattice.
        groups: space groups before and after the relaxation; None: not relaxed.
        converged: whether the relaxation converged; None: not relaxed.
        rmse: root mean square error of all frequencies on the mesh against the force sets of the input, in THz.
        notes: remarks on the result.
        failure: why there is no result; empty if there is one.
        potential: label of the potential.
    """

    name: str
    formula: str = ""
    atoms: int = 0
    supercell_atoms: int = 0
    values: dict[str, float] = field(default_factory=dict)
    known: dict[str, float | None] = field(default_factory=dict)
    max_commensurate: float = NAN
    max_mesh: float = NAN
    imaginary: int = 0
    lowest: float = NAN
    lowest_at: tuple[float, ...] = ()
    groups: tuple[int, ...] | None = None
    converged: bool | None = None
    rmse: float = NAN
    notes: tuple[str, ...] = ()
    failure: str = ""
    potential: str = ""

    @property
    def verdict(self) -> str:
        """`failed`, `stable`, or the number of imaginary modes."""
        if self.failure:
            return "failed"
        return f"{self.imaginary} imaginary" if self.imaginary else "stable"

    def error(self, quantity: str) -> float:
        """Return the value of a quantity less its reference; NaN where one is not known."""
        known = self.known.get(quantity)
        return NAN if known is None else self.values.get(quantity, NAN) - known

    @property
    def compared(self) -> bool:
        """Whether any quantity has a reference."""
        return any(np.isfinite(self.error(quantity.name)) for quantity in QUANTITIES)


def _value(quantity: Quantity) -> Callable[[PhononRecord], float]:
    return lambda record: record.values.get(quantity.name, NAN)


def _reference(quantity: Quantity) -> Callable[[PhononRecord], float | None]:
    return lambda record: record.known.get(quantity.name)


def _size(record: PhononRecord) -> str | None:
    return None if record.failure else f"{record.atoms} ({record.supercell_atoms})"


def _groups(record: PhononRecord) -> str | None:
    return None if record.groups is None else "→".join(map(str, dict.fromkeys(record.groups)))


_POTENTIAL: Column[Any] = Column("potential", wraps=True)
COLUMNS: tuple[Column[PhononRecord], ...] = (
    _POTENTIAL,
    Column("crystal", value=lambda r: r.name, wraps=True),
    Column("formula", shown=False),
    Column("size", "atoms", value=_size, stored=False),
    Column("atoms", value=lambda r: r.atoms or None, shown=False),
    Column("supercell_atoms", value=lambda r: r.supercell_atoms or None, shown=False),
    Column("groups", "group", value=_groups, stored=False),
    *(
        column
        for q in QUANTITIES
        for column in (
            Column(q.name, q.symbol, q.unit, _value(q), q.format, tracked=True, brief=q.unit != "K"),
            Column(f"{q.name} reference", value=_reference(q), shown=False),
        )
    ),
    Column("true_max_frequency", "true ω_max", "K", lambda r: r.max_commensurate, ".1f"),
    Column("max_frequency on the mesh", "", "THz", lambda r: r.max_mesh, shown=False),
    Column("lowest", unit="THz", format=".3f", better="more", tracked=True),
    Column("lowest at", value=lambda r: " ".join(f"{x:.4g}" for x in r.lowest_at), shown=False),
    Column("frequency RMSE", "RMSE", "THz", lambda r: r.rmse, ".3f", better="less", tracked=True),
    Column(
        "imaginary",
        value=lambda r: None if r.failure else r.imaginary,
        shown=False,
        better="less",
        tracked=True,
    ),
    Column("converged", shown=False),
    Column("verdict", stored=False, wraps=True),
    Column("notes", value=lambda r: "; ".join(r.notes), shown=False),
    Column("failure", shown=False),
)


@dataclass(frozen=True)
class MeanErrors:
    """Mean absolute errors of one potential against references, as in Table 4 of the paper.

    Attributes:
        potential: its label, with the displacement in a study of displacements.
        records: of all crystals.
    """

    potential: str
    records: Sequence[PhononRecord]

    def of(self, quantity: str) -> float:
        """Return the mean over the crystals with a value and a reference; NaN if there are none."""
        errors = [abs(record.error(quantity)) for record in self.records]
        finite = [error for error in errors if np.isfinite(error)]
        return float(np.mean(finite)) if finite else NAN

    @property
    def compared(self) -> int:
        """Number of crystals with a reference."""
        return sum(record.compared for record in self.records)


def _mean(quantity: Quantity) -> Callable[[MeanErrors], float]:
    return lambda errors: errors.of(quantity.name)


ERROR_COLUMNS: tuple[Column[MeanErrors], ...] = (
    _POTENTIAL,
    Column("crystals", value=lambda e: f"{e.compared} of {len(e.records)}"),
    *(
        Column(f"MAE {q.name}", f"MAE({q.symbol})", q.unit, _mean(q), ".3g", "less", tracked=True)
        for q in QUANTITIES
    ),
    Column("failed", value=lambda e: sum(bool(r.failure) for r in e.records), better="less", tracked=True),
    Column("imaginary", value=lambda e: sum(r.imaginary > 0 for r in e.records), better="less"),
)


@dataclass(frozen=True)
class DisplacementStudy:
    """True ω_max and entropy of one crystal with one potential at several displacements.

    Attributes:
        crystal: its name.
        potential: label of the potential.
        records: by displacement in Å.
    """

    crystal: str
    potential: str
    records: Mapping[float, PhononRecord]

    @property
    def max_frequencies(self) -> dict[float, float]:
        """True ω_max in THz by displacement; NaN where there is none."""
        return {size: record.max_commensurate / THZ_TO_KELVIN for size, record in self.records.items()}

    @property
    def spread(self) -> float:
        """Difference of the largest and smallest ω_max, in per cent of the first."""
        values = np.array(list(self.max_frequencies.values()))
        return float(100 * (values.max() - values.min()) / values[0])


@dataclass(frozen=True, kw_only=True)
class PhononItem(Item[Crystal]):
    """A crystal with the reference values of an index.

    Attributes:
        known: reference values.
        indexed: whether there is an index, which then is the only reference.
    """

    known: Known = field(default_factory=Known)
    indexed: bool = False


def choose_crystals(
    inputs: Sequence[str],
    protocol: PhononProtocol,
    *,
    supercell: str | None = None,
    min_width: float | None = None,
    frames: str = FIRST,
    max_atoms: int = MAX_ATOMS,
) -> list[PhononItem]:
    """Return the crystals of files and folders, in their order.

    Args:
        inputs: structure files, phonopy's yaml (compressed or not), folders of the MDR benchmark.
        protocol: says how symmetry is found and how reference values are measured.
        supercell: of structure files, as `parse_supercell` takes it; None: as large as `min_width` asks for.
        min_width: least width of supercells in Å; None: 12.
        frames: of each structure file, a Python slice.
        max_atoms: largest number of atoms of supercells that are not given.

    Raises:
        InputError: an input is missing or cannot be read, or an option is wrong or for none of the inputs.
    """
    matrix = None if supercell is None else parse_supercell(supercell)
    width = MIN_WIDTH if min_width is None else min_width
    if not 0 < width < np.inf:
        raise InputError(f"--min-width {width:g}: expected a length above 0 in Å, such as 12")
    if matrix is not None and min_width is not None:
        raise InputError("--min-width: the supercell is given by --supercell; leave one of them out")
    found: list[PhononItem] = []
    has_structures = False
    for text in inputs:
        path = Path(text).expanduser()
        if not path.exists():
            raise InputError(
                f"{text}: no such file; expected a structure, a phonopy yaml, or a folder of the MDR benchmark"
            )
        if (path / LAST).is_file():
            raise InputError(f"{text}: the folder of a training, expected structures; give it with --also")
        if path.is_dir():
            files, index = folder_crystals(path)
            read = partial(_yaml_item, protocol=protocol, max_atoms=max_atoms, indexed=bool(index))
            found += [read(file, known=index.get(yaml_name(file))) for file in files]
            _warn_of_index(path, {yaml_name(file) for file in files}, set(index))
        elif is_phonopy_yaml(path):
            found.append(_yaml_item(path, protocol, max_atoms))
        else:
            has_structures = True
            named = read_named_structures(path, frames)
            how = (width if matrix is None else matrix, max_atoms, protocol.symprec)
            found += [_structure_item(structure, name, *how) for name, structure in named]
    given = {"--supercell": supercell, "--min-width": min_width, "--frames": frames != FIRST or None}
    for option, value in given.items():
        if value is not None and not has_structures:
            raise InputError(
                f"{option}: is for structure files, and none is given; a phonopy yaml has its own"
            )
    return uniquely_named(found)


def _yaml_item(
    path: Path, protocol: PhononProtocol, max_atoms: int, known: Known | None = None, indexed: bool = False
) -> PhononItem:
    known = known or Known()
    return PhononItem(
        name=yaml_name(path),
        source=str(path),
        read=partial(_read_yaml, path, protocol, max_atoms, known, indexed),
        hashed=partial(_file_digest, path),
        settings="supercell: the file's",
        known=known,
        indexed=indexed,
    )


def _structure_item(
    structure: Structure,
    name: str,
    supercell: Int64[np.ndarray, "3 3"] | float,
    max_atoms: int,
    symprec: float,
) -> PhononItem:
    size = f"{supercell:g} Å wide" if isinstance(supercell, float) else str(supercell.tolist())
    return PhononItem(
        name=name,
        source=structure.source,
        read=partial(crystal_of_structure, structure, name, supercell, symprec, max_atoms),
        hashed=partial(geometry_digest, structure),
        settings=f"supercell: {size}",
    )


def _file_digest(path: Path) -> str:
    return digest(path.read_bytes())


def _read_yaml(path: Path, protocol: PhononProtocol, max_atoms: int, known: Known, indexed: bool) -> Crystal:
    """Read a crystal with the reference values of the index, or if there is none, of its own force sets."""
    crystal = replace(crystal_of_yaml(path, protocol, max_atoms), known=known)
    if indexed or crystal.reference is None or crystal.known != Known():
        return crystal
    return replace(crystal, known=Known(**values_of(measure(crystal.reference, protocol))))


def _warn_of_index(folder: Path, files: set[str], rows: set[str]) -> None:
    """Warn of crystals that cannot be compared, because they are in the index or in the folder only."""
    if rows and (missing := sorted(files - rows)):
        logger.warning(
            "%s: %d of %d crystals are not in the index and are not compared: %s",
            *(folder, len(missing), len(files), first_few(missing)),
        )
    if absent := sorted(rows - files):
        logger.warning(
            "%s: %d of %d rows of the index have no file: %s",
            *(folder, len(absent), len(rows), first_few(absent)),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class PhononProperty(Property[PhononItem, PhononRecord]):
    """Phonons of crystals.

    Attributes:
        protocol: how all crystals are computed.
        displacements: in Å; several make a study of displacements, and none stands for that of the protocol.
    """

    command = "phonons"
    record = PhononRecord
    items = "crystals"
    has_references = True
    refuse_direct = "so what they give are not phonons"

    protocol: PhononProtocol
    displacements: tuple[float, ...] = ()

    @property
    def is_study(self) -> bool:
        """Whether several displacements are compared."""
        return len(self.displacements) > 1

    @property
    def exact(self) -> bool:
        """Whether second derivatives of the energy are needed."""
        return self.protocol.method == "hessian"

    def displacements_of(self, task: Task[PhononItem]) -> dict[str, float]:
        """Return the displacements of a task in Å, by the names of its records."""
        name, several = task.item.name, self.displacements
        if self.is_study and task.label != REFERENCE:
            return {f"{name}@{displacement:g} Å": displacement for displacement in several}
        return {name: (several or (self.protocol.displacement,))[0]}

    def names(self, task: Task[PhononItem]) -> Sequence[str]:
        """Return one name per displacement."""
        return list(self.displacements_of(task))

    def records(self, task: Task[PhononItem]) -> list[PhononRecord]:
        """Read the records of a task, with the values of the index, which may be newer than the records."""
        found = super().records(task)
        known = asdict(task.item.known)
        return [replace(one, known=known) for one in found] if task.item.indexed else found

    def failed(self, task: Task[PhononItem], name: str, reason: str) -> PhononRecord:
        """Make the record of a crystal without a result."""
        return PhononRecord(name, known=asdict(task.item.known), failure=reason)

    def jobs(self, items: Sequence[PhononItem], processes: int) -> list[Job[PhononItem]]:
        """Put several crystals into a job where the potential takes batches; all potentials follow each other."""
        count = max(1, min(_TOGETHER, len(items) // (_JOBS_PER_PROCESS * processes)))
        jobs: list[Job[PhononItem]] = []
        for start in range(0, len(items), count):
            for label, text in self.potentials.items():
                tasks = [Task(label, item) for item in items[start : start + count]]
                batched = text != REFERENCE and is_checkpoint(text)
                jobs += [tuple(tasks)] if batched else [(task,) for task in tasks]
        return jobs

    def do(
        self, job: Job[PhononItem], model: Model | None, read: Callable[[Item[Any]], Any], progress: Progress
    ) -> None:
        """Relax the crystals of a job together, then displace them one by one."""
        tasks, crystals = [], []
        for (task,) in self.missing(job):
            with self.guarded(task):
                crystal = replace(read(task.item), name=task.item.name)
                if model is not None:
                    model.check_elements(crystal.unitcell)
                tasks.append(task)
                crystals.append(crystal)
        relaxed = self._relaxed(crystals, model)
        for task, given, found in zip(tasks, crystals, relaxed, strict=True):
            with self.guarded(task):
                if isinstance(found, Exception):
                    raise found
                self._displace(task, given, *found, model, progress)
            if self.options.plots:
                self.draw(task.item, given)

    def _relaxed(
        self, crystals: Sequence[Crystal], model: Model | None
    ) -> Sequence[tuple[Crystal, Relaxed | None] | Exception]:
        if model is None or self.protocol.relax is None:
            return [(crystal, None) for crystal in crystals]
        return model.run_all(
            [partial(_relax_crystal, crystal, self.protocol) for crystal in crystals],
            [len(crystal.unitcell) for crystal in crystals],
        )

    def _displace(
        self,
        task: Task[PhononItem],
        given: Crystal,
        at: Crystal,
        relaxed: Relaxed | None,
        model: Model | None,
        progress: Progress,
    ) -> None:
        """Compute and record phonons at each displacement; one may fail where another does not."""
        if relaxed is not None and relaxed.melted:
            raise InputError(f"{at.name}: it is not the same crystal after relaxation: {relaxed.change}")
        lines = self._lines(given) if self.options.plots else None
        for name, displacement in self.displacements_of(task).items():
            if self.is_done(task.label, name):
                continue
            with self.guarded(task, name):
                if model is None:
                    found = _phonons_of_force_sets(at, self.protocol)
                else:
                    protocol = replace(self.protocol, displacement=displacement)
                    found = phonons_at(at, relaxed, model, protocol, progress)
                self._keep(task.label, name, found, lines, model)

    def _keep(self, label: str, name: str, found: Phonons, lines: Lines | None, model: Model | None) -> None:
        """Write the files of one computation; the record last, because it says that the others are there."""
        path, reference = self.path(label, name), found.crystal.reference
        thermal = found.properties.thermal
        columns = (thermal.temperatures, thermal.free_energy, thermal.entropy, thermal.heat_capacity)
        header = ["temperature_K", "free_energy_kJ_mol", "entropy_J_K_mol", "heat_capacity_J_K_mol"]
        rows = [[f"{value:.9g}" for value in row] for row in zip(*columns, strict=True)]
        write_atomically(path.with_suffix(".thermal.csv"), csv_text(header, rows).replace("\r\n", "\n"))
        if lines is not None:
            self._write_bands(path, bands_of(found.phonopy, lines), found.crystal, lines)
        rmse = NAN
        notes: tuple[str, ...] = ()
        if model is not None:
            saved = {"force_constants": True, "force_sets": False}
            quietly(found.phonopy.save, path.with_suffix(".phonopy.yaml"), settings=saved)
            notes = ignored_constraints(found.crystal.unitcell) + notes_on(found.phonopy, model)
            if reference is not None:
                rmse = frequency_rmse(found.phonopy, reference, self.protocol)
        self.write(label, record_of(name, found, rmse, notes))

    # Bands

    def _lines(self, crystal: Crystal) -> Lines | None:
        try:
            return path_of(crystal, self.protocol.symprec)
        except Exception as error:  # of seekpath; the numbers do not need a path
            logger.warning("%s: no path for its bands (%s)", crystal.name, error)
            return None

    def _write_bands(self, record: Path, bands: Bands, crystal: Crystal, lines: Lines) -> None:
        """Write bands beside a record, and once those of the reference."""
        write_arrays(record.with_suffix(".bands.npz"), vars(bands))
        path = self._reference_bands(crystal.name)
        if crystal.reference is not None and not path.exists():
            write_arrays(path, vars(bands_of(crystal.reference, lines)))

    def _reference_bands(self, crystal: str) -> Path:
        return self.path(REFERENCE, crystal).with_suffix(".bands.npz")

    def _bands(self, label: str, name: str, item: PhononItem, given: Crystal | None) -> Bands | None:
        """Read bands, or compute them from the force constants that are kept; None if there are neither."""
        record = self.path(label, name)
        path, saved = record.with_suffix(".bands.npz"), record.with_suffix(".phonopy.yaml")
        with suppress(InputError):  # missing or damaged
            return read_arrays_as(path, Bands)
        if not saved.exists():
            return None
        crystal = replace(given or item.read(), name=item.name)
        lines = self._lines(crystal)
        if lines is None:
            return None
        found = bands_of(phonopy_of_yaml(saved, self.protocol.symprec), lines)
        self._write_bands(record, found, crystal, lines)
        return found

    def figure(self, item: PhononItem) -> Path:
        """Return the path of the figure of a crystal's bands."""
        return self.output / f"{file_name(item.name)}.bands.png"

    def draw(self, item: PhononItem, given: Crystal | None = None) -> None:
        """Draw the bands of all potentials that are computed; the potential that is computed last draws all."""
        panels: dict[str, dict[str, Bands]] = {}
        for label in self.potentials:
            for name, displacement in self.displacements_of(Task(label, item)).items():
                bands = None if label == REFERENCE else self._bands(label, name, item, given)
                if bands is not None:
                    panel, curve = (label, f"{displacement:g} Å") if self.is_study else ("", label)
                    panels.setdefault(panel, {})[curve] = bands
        reference = None
        with suppress(InputError):  # missing or damaged
            reference = read_arrays_as(self._reference_bands(item.name), Bands)
        if panels or reference is not None:
            bands_plot(panels, reference, item.name, self.figure(item))


def _relax_crystal(
    crystal: Crystal, protocol: PhononProtocol, calculator: Any
) -> tuple[Crystal, Relaxed | None]:
    return relaxed_crystal(crystal, calculator, protocol)


def _phonons_of_force_sets(crystal: Crystal, protocol: PhononProtocol) -> Phonons:
    if crystal.reference is None:
        raise InputError(f"{crystal.name}: the input holds no force sets")
    return Phonons(crystal, None, crystal.reference, measure(crystal.reference, protocol))


def record_of(name: str, found: Phonons, rmse: float = NAN, notes: tuple[str, ...] = ()) -> PhononRecord:
    """Make the record of phonons.

    Args:
        name: of the record.
        found: the phonons.
        rmse: root mean square error of the frequencies, in THz.
        notes: remarks on the result.
    """
    p, relaxed, primitive = found.properties, found.relaxed, found.phonopy.primitive
    return PhononRecord(
        name=name,
        formula=str(Formula.from_list(list(primitive.symbols)).format("hill")),
        atoms=len(primitive),
        supercell_atoms=len(found.phonopy.supercell),
        values=values_of(p),
        known=asdict(found.crystal.known),
        max_commensurate=p.max_commensurate,
        max_mesh=p.max_mesh,
        imaginary=p.imaginary,
        lowest=p.lowest,
        lowest_at=p.lowest_at,
        groups=None if relaxed is None else relaxed.groups,
        converged=None if relaxed is None else relaxed.converged,
        rmse=rmse,
        notes=notes,
    )


def run_phonons(
    run: CampaignRun,
    items: Sequence[PhononItem],
    protocol: PhononProtocol,
    displacements: tuple[float, ...] = (),
) -> CampaignResult | None:
    """Compute, record and compare phonons.

    Args:
        run: potentials, folder, options, tracker and processes.
        items: crystals with unique names.
        protocol: how all crystals are computed.
        displacements: in Å; several make a study of displacements, and none stands for that of the protocol.

    Returns:
        The result; None in all processes but the first.

    Raises:
        InputError: a potential cannot be used, or the folder has records of something else.
        Interrupted: by the user.
    """
    work = PhononProperty.of(run, protocol=protocol, displacements=displacements)
    settings = asdict(protocol) | {"displacements": displacements}
    records = run_campaign(work, items, settings, run)
    if records is None:
        return None
    studies = _studies(work, items) if work.is_study else []
    errors = [MeanErrors(label, mine) for label, mine in _comparable(work, records).items()]
    error_table = Table(ERROR_COLUMNS, [one for one in errors if one.compared])
    table, paths = write_tables(
        run,
        work,
        records,
        COLUMNS,
        settings,
        means={label: error_table.metrics(MeanErrors(label, mine)) for label, mine in records.items()},
        paths=_figures(work, items, studies, errors) if run.options.plots else {},
        mean_absolute_errors=error_table,
    )
    tables: list[Table[Any]] = [table]
    if studies:
        tables.append(study_table(studies))
    if error_table.records:
        tables.append(error_table)
    return CampaignResult(
        tables=tables,
        lines=_lines(records, protocol),
        paths=paths,
        records=records,
        failed=any(record.failure for record in table.records),
    )


def _comparable(
    work: PhononProperty, records: Mapping[str, Sequence[PhononRecord]]
) -> Mapping[str, Sequence[PhononRecord]]:
    """Return the records by potential, and in a study by potential and displacement."""
    if not work.is_study:
        return records
    found: dict[str, list[PhononRecord]] = {}
    for label, mine in records.items():
        for record in mine:
            size = record.name.rpartition("@")[2] if label != REFERENCE else ""
            found.setdefault(f"{label}, {size}" if size else label, []).append(record)
    return found


def _studies(work: PhononProperty, items: Sequence[PhononItem]) -> list[DisplacementStudy]:
    """Return the study of each crystal with each potential."""
    tasks = [Task(label, item) for item in items for label in work.potentials if label != REFERENCE]
    return [
        DisplacementStudy(
            task.item.name,
            task.label,
            dict(zip(work.displacements_of(task).values(), work.records(task), strict=True)),
        )
        for task in tasks
    ]


def study_table(studies: Sequence[DisplacementStudy]) -> Table[DisplacementStudy]:
    """Make a table of the true ω_max with one column per displacement."""
    several = len({study.crystal for study in studies}) > 1
    columns: list[Column[DisplacementStudy]] = [
        Column(
            "ω_max (THz) of",
            value=lambda s: f"{s.potential}, {s.crystal}" if several else s.potential,
            wraps=True,
        )
    ]
    for size in studies[0].records:
        columns.append(Column(f"{size:g} Å", value=partial(_max_frequency, size), format=".3f"))
    columns.append(Column("range", value=lambda s: s.spread, format=lambda x: f"{x:.2f} %", better="less"))
    return Table(columns, studies)


def _max_frequency(size: float, study: DisplacementStudy) -> float:
    return study.max_frequencies[size]


def _figures(
    work: PhononProperty,
    items: Sequence[PhononItem],
    studies: Sequence[DisplacementStudy],
    errors: Sequence[MeanErrors],
) -> dict[str, Path]:
    """Draw what concerns several crystals, displacements or calls, and name the figures of a few crystals."""
    paths: dict[str, Path] = {}
    for item in items if len(items) <= _DRAWN else ():
        work.draw(item)  # again, because several calls may have computed the potentials
        if work.figure(item).exists():
            paths[f"bands of {item.name}"] = work.figure(item)
    for item in items if studies else ():
        path = work.output / f"{file_name(item.name)}.convergence.png"
        convergence_plot([study for study in studies if study.crystal == item.name], item.name, path)
        if len(items) <= _DRAWN:
            paths[f"convergence of {item.name}"] = path
    if len(items) > 1 and any(one.compared for one in errors):
        paths["against references"] = work.output / "parity.png"
        parity_plots(errors, paths["against references"])
    return paths


def _lines(records: Mapping[str, Sequence[PhononRecord]], protocol: PhononProtocol) -> list[str]:
    """Return remarks: definitions, the protocol, and what went wrong."""
    lines = [
        "Values are per primitive cell at 300 K: S and C_V in J/K/mol, F in kJ/mol. ω_max is that of the MDR benchmark,"
        " which reads its commensurate"
        " points in the primitive basis; true ω_max is at the points that are commensurate with the supercell.",
        *protocol_lines(protocol, PROTOCOLS),
    ]
    for label, mine in records.items():
        remarks = []
        for record in mine:
            words = [record.failure] if record.failure else list(record.notes)
            if not record.failure and record.converged is False:
                words.append("the relaxation did not converge")
            remarks += [(record.name, one) for one in words]
        lines += remark_lines(label, remarks)
    return lines
