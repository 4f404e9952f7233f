"""`esen conductivity`: thermal conductivity of many materials with several potentials, against references."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from esen.data.structure import Structure
from esen.data.structures import read_named_structures
from esen.data.supercells import parse_supercell
from esen.errors import InputError
from esen.evaluate.conductivity.compare import Score, score
from esen.evaluate.conductivity.inputs import (
    Sizes,
    is_of_benchmark,
    is_phono3py_yaml,
    material_of_benchmark,
    material_of_structure,
    material_of_yaml,
    phono3py_name,
)
from esen.evaluate.conductivity.material import Material
from esen.evaluate.conductivity.metrics import mean_of_trace, spectrum_distance
from esen.evaluate.conductivity.modes import Modes, modes_of
from esen.evaluate.conductivity.protocol import PROTOCOLS, ConductivityProtocol
from esen.evaluate.conductivity.reference import ReferenceConductivity, read_reference, write_reference
from esen.evaluate.conductivity.run import (
    Conductivity,
    conductivity_at,
    isotope_notes,
    notes_on,
    reference_conductivity,
    relaxed_material,
)
from esen.evaluate.model import Model, Progress
from esen.evaluate.phonons.crystal import MAX_ATOMS
from esen.evaluate.phonons.inputs import is_phonopy_yaml
from esen.files import read_arrays_as, write_arrays
from esen.study.campaign import (
    REFERENCE,
    CampaignResult,
    CampaignRun,
    Item,
    Property,
    Task,
    geometry_digest,
    is_failure,
    protocol_lines,
    remark_lines,
    run_campaign,
    uniquely_named,
    write_tables,
)
from esen.study.plots.conductivity import carriers_of, carriers_of_reference, modes_plot, parity_plot
from esen.study.potentials import digest, file_name
from esen.study.table import Column, Table
from esen.terminal import make_console
from esen.text import duration, first_few

logger = logging.getLogger(__name__)

NAN = float("nan")
KAPPAS = {"diagonal": "κ_RTA", "particle": "κ_P", "coherence": "κ_C", "total": "κ"}
"""Conductivities by their names in records, with their symbols."""
COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Components of a tensor, in the order of records."""
FORCE_SETS = "the force sets of the input"
"""Source of a reference that is computed from them."""

FIRST = ":1"
"""Frames of a structure file that are taken if none are named."""

_UNIT = "W/m/K"
_DRAWN = 3
"""Materials whose figures are named to the user."""


@dataclass(frozen=True)
class ConductivityRecord:
    """Thermal conductivity of one material with one potential.

    Attributes:
        name: of the material.
        label: its name in the file, if there is one.
        formula: reduced formula.
        atoms: number of atoms of the primitive cell.
        supercell_atoms: number of atoms of the supercells for second and third derivatives.
        mesh: divisions of the Brillouin zone.
        displaced: number of displaced supercells for second and third derivatives; zeros for force sets.
        temperatures: in K, those of all conductivities.
        tensors: in W/m/K at each temperature, with the components of `COMPONENTS`, by the names of `KAPPAS`.
        kappas: trace / 3 of the tensors.
        groups: numbers of the space group before and after the relaxation.
        imaginary: number of imaginary modes on the mesh.
        lowest: lowest frequency, in THz.
        lowest_at: its point, in units of the primitive reciprocal lattice.
        converged: whether the relaxation converged; None: not relaxed.
        force_sets: whether the input has force sets of a reference method.
        notes: remarks on the result.
        reason: why there is no conductivity although nothing failed; empty if there is one.
        failure: why there is no result; empty if there is one.
        melted: whether it failed because the relaxation ended at another crystal.
        reference: source of the reference; empty if there is none.
        reference_kelvin: temperature of the reference, at which both are compared, in K.
        reference_kappa: total conductivity of the reference, in W/m/K.
        srme: symmetric relative mean error mode by mode, from 0 to 2.
        srd: symmetric relative difference of the totals, from −2 to 2.
        spectrum: Wasserstein-1 distance of the frequencies, in THz.
        score_reason: why the conductivities cannot be compared; empty if they can.
        potential: label of the potential.
    """

    name: str
    label: str = ""
    formula: str = ""
    atoms: int = 0
    supercell_atoms: tuple[int, ...] = ()
    mesh: tuple[int, ...] = ()
    displaced: tuple[int, ...] = ()
    temperatures: tuple[float, ...] = ()
    tensors: dict[str, list[list[float]]] | None = None
    kappas: dict[str, list[float]] | None = None
    groups: tuple[int, ...] = ()
    imaginary: int = 0
    lowest: float = NAN
    lowest_at: tuple[float, ...] = ()
    converged: bool | None = None
    force_sets: bool = False
    notes: tuple[str, ...] = ()
    reason: str = ""
    failure: str = ""
    melted: bool = False
    reference: str = ""
    reference_kelvin: float = NAN
    reference_kappa: float = NAN
    srme: float = NAN
    srd: float = NAN
    spectrum: float = NAN
    score_reason: str = ""
    potential: str = ""

    @property
    def verdict(self) -> str:
        """`ok`, `imaginary`, `group changed`, `melted` or `failed`."""
        if self.failure:
            return "melted" if self.melted else "failed"
        if self.imaginary:
            return "imaginary"
        return "group changed" if self.reason else "ok"

    @property
    def compared(self) -> bool:
        """Whether there is a reference."""
        return bool(np.isfinite(self.srme))

    def kappa(self, which: str, kelvin: float) -> float:
        """Return trace / 3 of a conductivity in W/m/K; NaN if there is none."""
        places = np.nonzero(np.isclose(self.temperatures, kelvin))[0]
        return float(self.kappas[which][places[0]]) if self.kappas and len(places) else NAN


@dataclass(frozen=True)
class ConductivityRow:
    """A record at one of its temperatures; a record without a conductivity has one row without a temperature.

    Attributes:
        record: of a material.
        place: index of the temperature.
    """

    record: ConductivityRecord
    place: int = 0

    @property
    def name(self) -> str:
        """Name of the material."""
        return self.record.name

    @property
    def kelvin(self) -> float:
        """The temperature in K; NaN if there is no conductivity."""
        return self.record.temperatures[self.place] if self.record.temperatures else NAN

    def score(self, name: str) -> float:
        """Return a number of the comparison; NaN at temperatures other than that of the reference."""
        elsewhere = self.record.temperatures and not np.isclose(self.kelvin, self.record.reference_kelvin)
        return NAN if elsewhere else float(getattr(self.record, name))


def rows_of(records: Sequence[ConductivityRecord]) -> list[ConductivityRow]:
    """Return one row for each temperature of each record."""
    return [ConductivityRow(r, place) for r in records for place in range(len(r.temperatures) or 1)]


def _of(name: str) -> Callable[[ConductivityRow], Any]:
    return attrgetter(f"record.{name}")


def _entry(name: str, place: int) -> Callable[[ConductivityRow], Any]:
    """Return what gives one entry of a tuple of the record, or None if the tuple is empty."""
    return lambda row: getattr(row.record, name)[place] if getattr(row.record, name) else None


def _kappa(which: str) -> Callable[[ConductivityRow], float]:
    return lambda row: row.record.kappa(which, row.kelvin)


def _component(index: int) -> Callable[[ConductivityRow], float | None]:
    return lambda row: row.record.tensors["total"][row.place][index] if row.record.tensors else None


def _score(name: str) -> Callable[[ConductivityRow], float]:
    return lambda row: row.score(name)


def _title(row: ConductivityRow) -> str:
    name, label = row.record.name, row.record.label
    return name if label in ("", name) else f"{name} {label}"


def significant(value: float) -> str:
    """Return a number with four significant digits.

    >>> significant(119.0), significant(0.00012345)
    ('119.0', '0.000123')
    """
    return format(value, "#.4g" if 1e-3 <= abs(value) < 1e4 else ".3g").rstrip(".")


COLUMNS: tuple[Column[ConductivityRow], ...] = (
    Column("potential", value=_of("potential"), wraps=True),
    Column("material", value=_of("name"), shown=False),
    Column("title", "material", value=_title, stored=False, wraps=True),
    Column("label", value=_of("label"), shown=False),
    Column("formula", value=_of("formula"), shown=False),
    Column("atoms", value=lambda row: row.record.atoms or None, shown=False),
    Column("groups", "group", "", lambda r: "→".join(map(str, dict.fromkeys(r.record.groups))), stored=False),
    Column("divisions", "mesh", "", lambda row: "×".join(map(str, row.record.mesh)), stored=False),
    Column("mesh", value=lambda row: " ".join(map(str, row.record.mesh)), shown=False),
    Column("group before", value=_entry("groups", 0), shown=False),
    Column("group after", value=_entry("groups", -1), shown=False),
    Column("temperature", "T", "K", lambda row: row.kelvin, "g"),
    *(Column(name, symbol, _UNIT, _kappa(name), significant, brief=True) for name, symbol in KAPPAS.items()),
    Column("kappa", "", _UNIT, _kappa("total"), shown=False, stored=False, tracked=True),
    *(Column(name, value=_component(i), shown=False) for i, name in enumerate(COMPONENTS)),
    Column("reference", "", _UNIT, _score("reference_kappa"), significant, brief=True),
    Column("SRD", value=_score("srd"), shown=False),
    Column("SRE", value=lambda row: abs(row.score("srd")), format=".3f", better="less"),
    Column("SRME", value=_score("srme"), format=".3f", better="less", tracked=True),
    Column("spectrum distance", "", "THz", _score("spectrum"), shown=False, better="less"),
    Column(
        "imaginary",
        value=lambda row: None if row.record.failure else row.record.imaginary,
        shown=False,
        better="less",
    ),
    Column("lowest", "", "THz", _of("lowest"), shown=False),
    Column("lowest at", value=lambda row: " ".join(f"{x:.4g}" for x in row.record.lowest_at), shown=False),
    Column("fc2 supercells", value=_entry("displaced", 0), shown=False),
    Column("fc3 supercells", value=_entry("displaced", 1), shown=False),
    Column("converged", value=_of("converged"), shown=False),
    Column("verdict", value=_of("verdict"), wraps=True),
    Column("reason", value=_of("reason"), shown=False),
    Column("notes", value=lambda row: "; ".join(row.record.notes), shown=False),
    Column("failure", value=_of("failure"), shown=False),
)


def columns_of(protocol: ConductivityProtocol) -> list[Column[ConductivityRow]]:
    """Return the columns for a protocol; one temperature is stated beneath the table."""
    several = len(protocol.temperatures) > 1
    return [replace(c, shown=several) if c.name == "temperature" else c for c in COLUMNS]


@dataclass(frozen=True)
class ConductivitySummary:
    """Means and rates of one potential over the materials with a reference; rates are over all if none has one.

    Attributes:
        potential: its label.
        materials: number of materials.
        compared: number of materials with a reference.
        srme: κ_SRME, the mean of the SRME.
        sre: κ_SRE.
        srd: κ_SRD.
        spectrum: mean distance of the spectra that are known, in THz.
        failure_rate: share of materials without a conductivity that can be compared.
        imaginary_rate: share of materials with imaginary modes.
        verdicts: number of materials with each verdict.
    """

    potential: str
    materials: int
    compared: int
    srme: float
    sre: float
    srd: float
    spectrum: float
    failure_rate: float
    imaginary_rate: float
    verdicts: dict[str, int]


def summarize(label: str, records: Sequence[ConductivityRecord]) -> ConductivitySummary:
    """Summarize the records of a potential."""
    compared = [record for record in records if record.compared]
    failed = [bool(record.score_reason) for record in compared] or [r.verdict != "ok" for r in records]
    verdicts = [record.verdict for record in records]
    return ConductivitySummary(
        potential=label,
        materials=len(records),
        compared=len(compared),
        srme=_mean([record.srme for record in compared]),
        sre=_mean([abs(record.srd) for record in compared]),
        srd=_mean([record.srd for record in compared]),
        spectrum=_mean([record.spectrum for record in compared if np.isfinite(record.spectrum)]),
        failure_rate=_mean(failed),
        imaginary_rate=_mean([record.imaginary > 0 for record in compared or records]),
        verdicts={name: verdicts.count(name) for name in dict.fromkeys(("ok", *verdicts))},
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else NAN


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _verdicts(summary: ConductivitySummary) -> str:
    return ", ".join(f"{count} {name}" for name, count in summary.verdicts.items())


SUMMARY_COLUMNS: tuple[Column[ConductivitySummary], ...] = (
    Column("potential", wraps=True),
    Column("materials"),
    Column("compared"),
    Column("mean_SRME", "κ_SRME", "", attrgetter("srme"), ".3f", "less", tracked=True),
    Column("mean_SRE", "κ_SRE", "", attrgetter("sre"), ".3f", "less", tracked=True),
    Column("mean_SRD", "κ_SRD", "", attrgetter("srd"), ".3f", tracked=True),
    Column("mean_spectrum", "spectrum", "THz", attrgetter("spectrum"), ".3f", "less", tracked=True),
    Column("failure_rate", "failure rate", format=_percent, better="less", tracked=True),
    Column("imaginary_rate", "imaginary rate", format=_percent, better="less", tracked=True),
    Column("verdicts", value=_verdicts, wraps=True),
)


# Items


@dataclass(frozen=True, kw_only=True)
class ConductivityItem(Item[Material]):
    """A material that is read when its turn comes.

    Attributes:
        of_benchmark: whether it is a frame of phononDB-PBE-103.
    """

    of_benchmark: bool = False


@dataclass(frozen=True)
class SizeOptions:
    """Supercells and mesh as the user gives them; None: not given.

    Attributes:
        fc2: supercell for second derivatives, as `parse_supercell` takes it.
        fc3: the same for third derivatives.
        fc2_width: least width of the supercell for second derivatives, in Å.
        fc3_width: the same for third derivatives.
        mesh: N,N,N or a length in Å.
        max_atoms: largest number of atoms of supercells that are not given.
    """

    fc2: str | None = None
    fc3: str | None = None
    fc2_width: float | None = None
    fc3_width: float | None = None
    mesh: str | None = None
    max_atoms: int = MAX_ATOMS

    def sizes(self) -> Sizes:
        """Return what was given, with usual values for the rest.

        Raises:
            InputError: a value is wrong.
        """
        usual = Sizes()
        widths = (("--fc2", self.fc2, self.fc2_width), ("--fc3", self.fc3, self.fc3_width))
        for option, supercell, width in widths:
            if width is not None and not 0 < width < np.inf:
                raise InputError(f"{option}-width {width:g}: expected a length above 0 in Å, such as 12")
            if width is not None and supercell is not None:
                raise InputError(f"{option}-width: the supercell is given by {option}; leave one of them out")
        return Sizes(
            fc2=None if self.fc2 is None else parse_supercell(self.fc2, "--fc2"),
            fc3=None if self.fc3 is None else parse_supercell(self.fc3, "--fc3"),
            fc2_width=usual.fc2_width if self.fc2_width is None else self.fc2_width,
            fc3_width=usual.fc3_width if self.fc3_width is None else self.fc3_width,
            mesh=usual.mesh if self.mesh is None else parse_mesh(self.mesh),
            max_atoms=self.max_atoms,
        )


def choose_materials(
    inputs: Sequence[str],
    given: SizeOptions | None = None,
    *,
    frames: str | None = None,
    symprec: float = PROTOCOLS["tight"].symprec,
) -> list[ConductivityItem]:
    """Return the materials of files, in their order.

    Args:
        inputs: structure files, those of phononDB-PBE-103 among them, and phono3py's yaml (compressed or not).
        given: sizes of materials whose file has none.
        frames: of each structure file, a Python slice; None: all frames of the benchmark, the first of other files.
        symprec: distance in Å within which atoms are equivalent; that of the protocol.

    Raises:
        InputError: an input is missing or cannot be read, none is a crystal, or an option is wrong or for none of the
            inputs.
    """
    given = given or SizeOptions()
    sizes = given.sizes()
    found: list[ConductivityItem] = []
    yamls, structures = 0, []
    for text in inputs:
        path = Path(text).expanduser()
        if not path.is_file():
            problem = "is a folder" if path.is_dir() else "no such file"
            raise InputError(f"{text}: {problem}; expected a structure file or a phono3py yaml")
        if is_phono3py_yaml(path):
            found.append(_yaml_item(path, sizes, symprec))
            yamls += 1
        elif is_phonopy_yaml(path):
            raise InputError(f"{text}: the name is not that of a phono3py yaml, such as phono3py_disp.yaml")
        else:
            for name, structure in _frames(path, frames):
                found.append(_structure_item(name, structure, sizes, symprec))
                structures.append(structure)
    if not yamls and not any(structure.pbc.all() for structure in structures):
        raise InputError(f"{found[0].source}: conductivity needs a crystal, periodic in three directions")
    _refuse_unused(found, given, yamls, None if structures else frames)
    return uniquely_named(found)


def parse_mesh(text: str) -> tuple[int, int, int] | float:
    """Parse `11,11,11`, or a length in Å.

    Raises:
        InputError: it is neither.

    >>> parse_mesh("11,11,9"), parse_mesh("50")
    ((11, 11, 9), 50.0)
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1 and 0 < values[0] < np.inf:
        return values[0]
    if len(values) == 3 and all(1 <= value < np.inf and value == int(value) for value in values):
        return int(values[0]), int(values[1]), int(values[2])
    raise InputError(
        f"--mesh {text}: expected three whole numbers above 0, such as 11,11,11, or a length in Å, such as 50"
    )


def _frames(path: Path, frames: str | None) -> list[tuple[str, Structure]]:
    first = read_named_structures(path, FIRST if frames is None else frames)
    if frames is None and is_of_benchmark(first[0][1]):
        return read_named_structures(path, ":")
    return first


def _yaml_item(path: Path, sizes: Sizes, symprec: float) -> ConductivityItem:
    return ConductivityItem(
        name=phono3py_name(path),
        source=str(path),
        read=partial(material_of_yaml, path, sizes, symprec),
        hashed=partial(_yaml_digest, path),
        settings=f"supercells: the file's, mesh {sizes.mesh_text}",
    )


def _structure_item(name: str, structure: Structure, sizes: Sizes, symprec: float) -> ConductivityItem:
    if is_of_benchmark(structure):
        return ConductivityItem(
            name=material_of_benchmark(structure).name,
            source=structure.source,
            read=partial(material_of_benchmark, structure),
            hashed=partial(_frame_digest, structure),
            settings="supercells: the file's",
            of_benchmark=True,
        )
    orders = (("fc2", sizes.fc2, sizes.fc2_width), ("fc3", sizes.fc3, sizes.fc3_width))
    words = [
        f"{order} {width:g} Å wide" if matrix is None else f"{order} {matrix.tolist()}"
        for order, matrix, width in orders
    ]
    return ConductivityItem(
        name=name,
        source=structure.source,
        read=partial(material_of_structure, structure, name, sizes, symprec),
        hashed=partial(geometry_digest, structure),
        settings=f"supercells: {', '.join(words)}, mesh {sizes.mesh_text}",
    )


def _yaml_digest(path: Path) -> str:
    """Return the digest of a yaml and the force sets beside it."""
    beside = sorted(path.parent.glob("FORCES_FC[23]*"))
    return digest(b"".join(one.read_bytes() for one in (path, *beside) if one.is_file()))


def _frame_digest(structure: Structure) -> str:
    return digest(f"{geometry_digest(structure)} {sorted(structure.info.items())}".encode())


def _refuse_unused(
    items: Sequence[ConductivityItem], given: SizeOptions, yamls: int, frames: str | None
) -> None:
    """Refuse options that concern none of the items; `frames` is None if it concerns one."""
    of_benchmark = sum(item.of_benchmark for item in items)
    if yamls + of_benchmark == len(items):
        for name, value in vars(given).items():
            if value is not None and name not in ("mesh", "max_atoms"):
                option = "--" + name.replace("_", "-")
                raise InputError(
                    f"{option}: is for structure files without supercells of their own, and none is given"
                )
    if given.mesh is not None and of_benchmark == len(items):
        raise InputError("--mesh: frames of phononDB-PBE-103 have their own; leave it out")
    if frames is not None:
        raise InputError("--frames: is for structure files, and none is given; a yaml is one material")


# References


@dataclass(frozen=True, eq=False)
class References:
    """References by material: those of a file, and those of force sets where the file has none.

    Attributes:
        found: the references.
        sources: where each of them comes from.
        file: the file; None: there is none.
        count: number of materials in the file.
    """

    found: dict[str, ReferenceConductivity] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    count: int = 0

    def with_force_sets(self, more: Mapping[str, ReferenceConductivity]) -> "References":
        """Add the references of force sets for materials that have none."""
        new = {name: one for name, one in more.items() if name not in self.found}
        return replace(self, found=self.found | new, sources=self.sources | dict.fromkeys(new, FORCE_SETS))


def read_references(path: Path | None, names: Sequence[str], protocol: ConductivityProtocol) -> References:
    """Read the references of the materials of a run.

    Args:
        path: of the file; None: there is none.
        names: of the materials.
        protocol: of the run, at whose temperatures conductivities are compared.

    Raises:
        InputError: the file cannot be used, has none of the materials, or is at temperatures that are not computed.
    """
    if path is None:
        return References()
    if not path.is_file():
        raise InputError(f"--reference {path}: no such file; expected conductivities such as kappas.json.gz")
    every = read_reference(path)
    found = {name: every[name] for name in names if name in every}
    if not found:
        raise InputError(
            f"--reference {path}: has none of the materials {first_few(names)}; it has {first_few(list(every))}"
        )
    sources = dict.fromkeys(found, str(path))
    try:
        found = {name: one.at_one_of(protocol.temperatures) for name, one in found.items()}
    except InputError as error:
        raise InputError(f"--reference {path}: {error}; add it to --temperatures") from error
    return References(found, sources, path, len(every))


# The property


@dataclass(frozen=True, eq=False, kw_only=True)
class ConductivityProperty(Property[ConductivityItem, ConductivityRecord]):
    """Thermal conductivity of materials.

    Attributes:
        protocol: how it is computed.
    """

    command = "conductivity"
    record = ConductivityRecord
    items = "materials"
    has_references = True
    refuse_direct = "so what they give are not phonons"

    protocol: ConductivityProtocol

    def compute(
        self, task: Task[ConductivityItem], content: Material, model: Model | None, progress: Progress
    ) -> ConductivityRecord:
        """Compute one material, and write its modes beside the record."""
        material, relaxed = replace(content, name=task.item.name), None
        for note in isotope_notes(material, self.protocol):
            logger.warning("%s: %s", material.name, note)
        with warnings.catch_warnings():
            # ASE, SciPy and phono3py warn of large steps and small numbers, which the result shows.
            warnings.simplefilter("ignore")
            if model is None:
                found = reference_conductivity(material, self.protocol)
            else:
                model.check_elements(material.unitcell)
                given = material
                if self.protocol.relax:
                    material, relaxed = relaxed_material(material, model.calculator, self.protocol)
                if relaxed is not None and relaxed.melted:
                    failure = f"it is not the same crystal after relaxation: {relaxed.change}"
                    return replace(described(given), failure=failure, melted=True)
                say = partial(_forecast, f"{task.label}, {material.name}")
                found = conductivity_at(material, relaxed, model, self.protocol, progress, say)
            write_arrays(self.modes_path(task.label, task.item.name), vars(modes_of(found)))
            return record_of(found, notes_on(found, model, self.protocol))

    def failed(self, task: Task[ConductivityItem], name: str, reason: str) -> ConductivityRecord:
        """Make the record of a material without a result, with what its file says if it can be read."""
        record = ConductivityRecord(name)
        with suppress(Exception):  # of spglib or phono3py, and then that is the reason
            record = described(replace(task.item.read(), name=name))
        return replace(record, failure=reason)

    def is_done(self, label: str, name: str) -> bool:
        """Whether there is a record, and the modes of a record that is not that of a failure."""
        path = self.path(label, name)
        return path.exists() and (self.modes_path(label, name).exists() or is_failure(path, self.record))

    def modes_path(self, label: str, name: str) -> Path:
        """Return the path of the modes of a record."""
        return self.path(label, name).with_suffix(".modes.npz")

    def modes(self, record: ConductivityRecord) -> Modes | None:
        """Read the modes of a record; None if it failed.

        Raises:
            InputError: the file is damaged.
        """
        path = self.modes_path(record.potential, record.name)
        return None if record.failure else read_arrays_as(path, Modes)

    def conductivities(self, records: Sequence[ConductivityRecord]) -> dict[str, ReferenceConductivity]:
        """Read the conductivities of records by name, as others are compared with them."""
        found = {}
        for record in records:
            modes = self.modes(record)
            if modes is not None:
                found[record.name] = modes.as_reference(record.name, record.label, record.groups[-1])
        return {name: one for name, one in found.items() if one is not None}

    def scored(
        self,
        records: Sequence[ConductivityRecord],
        conductivities: Mapping[str, ReferenceConductivity],
        references: References,
    ) -> list[ConductivityRecord]:
        """Compare records with references, which may be newer, and write the records whose score has changed.

        Args:
            records: of one potential.
            conductivities: of the same potential, by material.
            references: of all materials.
        """
        found = []
        for record in records:
            reference, scores = references.found.get(record.name), dict(_NOT_COMPARED)
            if reference is not None:
                one = self._score(record, conductivities.get(record.name), reference)
                scores |= {
                    "reference": references.sources[record.name],
                    "reference_kelvin": float(reference.temperatures[0]),
                    "reference_kappa": float(reference.kappa[0]),
                    "srme": one.srme,
                    "srd": one.srd,
                    "spectrum": one.spectrum,
                    "score_reason": one.reason,
                }
            found.append(replace(record, **scores))
            if repr(found[-1]) != repr(record):  # NaN is not equal to itself
                self.write(record.potential, found[-1])
        return found

    def _score(
        self,
        record: ConductivityRecord,
        predicted: ReferenceConductivity | None,
        reference: ReferenceConductivity,
    ) -> Score:
        if predicted is not None:
            return score(predicted, reference)
        modes = self.modes(record)
        if modes is None or reference.frequencies is None or not np.isfinite(modes.frequencies).all():
            return Score(reason=record.failure or record.reason)
        spectrum = (modes.frequencies, modes.weights, reference.frequencies, reference.weights)
        return Score(spectrum=spectrum_distance(*spectrum), reason=record.reason)


_COMPARISON = ("reference", "reference_kelvin", "reference_kappa", "srme", "srd", "spectrum", "score_reason")
_NOT_COMPARED = {name: getattr(ConductivityRecord(""), name) for name in _COMPARISON}


def _forecast(name: str, supercells: tuple[int, int], atoms: tuple[int, int], seconds: float) -> None:
    """Show how much work a material is."""
    line = (
        f"{name}: displaced supercells: {supercells[0]} of {atoms[0]} atoms for second derivatives, {supercells[1]} of"
        f" {atoms[1]} for third; the forces of all take about {duration(seconds)}"
    )
    make_console().print(line, soft_wrap=True)


def described(material: Material) -> ConductivityRecord:
    """Make a record of what is known of a material before anything is computed."""
    symbols = [chemical_symbols[number] for number in material.unitcell.numbers]
    return ConductivityRecord(
        name=material.name,
        label=material.label,
        formula=str(Formula.from_list(symbols).reduce()[0].format("hill")),
        mesh=material.mesh,
        force_sets=material.reference is not None,
    )


def record_of(found: Conductivity, notes: tuple[str, ...] = ()) -> ConductivityRecord:
    """Make the record of a conductivity.

    Args:
        found: the conductivity.
        notes: remarks on it.
    """
    material, transport, harmonic = found.material, found.transport, found.harmonic
    tensors = {} if transport is None else {name: getattr(transport, name) for name in KAPPAS}
    sizes = [abs(round(float(np.linalg.det(m)))) for m in (material.fc2_supercell, material.fc3_supercell)]
    return replace(
        described(material),
        atoms=harmonic.frequencies.shape[1] // 3,
        supercell_atoms=tuple(len(material.unitcell) * size for size in sizes),
        displaced=found.displacements,
        temperatures=() if transport is None else tuple(transport.temperatures.tolist()),
        tensors={name: value.tolist() for name, value in tensors.items()} or None,
        kappas={name: mean_of_trace(value).tolist() for name, value in tensors.items()} or None,
        groups=found.groups,
        imaginary=harmonic.imaginary,
        lowest=harmonic.lowest,
        lowest_at=harmonic.lowest_at,
        converged=None if found.relaxed is None else found.relaxed.converged,
        notes=notes,
        reason=found.reason or "",
    )


# The run


def run_conductivity(
    run: CampaignRun,
    items: Sequence[ConductivityItem],
    protocol: ConductivityProtocol,
    reference: Path | None = None,
) -> CampaignResult | None:
    """Compute, record and compare conductivities.

    The potential `reference` stands for the force sets of the input. Other potentials are compared with them where the
    file of references has no conductivity.

    Args:
        run: potentials, folder, options, tracker and processes.
        items: materials with unique names.
        protocol: how all materials are computed.
        reference: file of conductivities that all records are compared with, also those of earlier calls.

    Returns:
        The result; None in all processes but the first.

    Raises:
        InputError: a potential or the references cannot be used, or the folder has records of something else.
        Interrupted: by the user.
    """
    of_file = read_references(reference, [item.name for item in items], protocol)
    work = ConductivityProperty.of(run, protocol=protocol)
    computed = run_campaign(work, items, asdict(protocol), run)
    if computed is None:
        return None
    conductivities = {label: work.conductivities(mine) for label, mine in computed.items()}
    references = of_file.with_force_sets(conductivities.get(REFERENCE, {}))
    records = {  # force sets are not compared with themselves
        label: work.scored(mine, conductivities[label], of_file if label == REFERENCE else references)
        for label, mine in computed.items()
    }
    summary = Table(SUMMARY_COLUMNS, [summarize(label, mine) for label, mine in records.items()])
    run.tracker.params({"reference": str(reference or "")})
    table, paths = write_tables(
        run,
        work,
        {label: rows_of(mine) for label, mine in records.items()},
        columns_of(protocol),
        asdict(protocol),
        means={one.potential: summary.metrics(one) for one in summary.records},
        paths=_figures(work, records, references) if run.options.plots else {},
        step=lambda row: round(row.kelvin) if np.isfinite(row.kelvin) else 0,
        reference={
            "file": references.file,
            "materials of the file": references.count,
            "without reference": [item.name for item in items if item.name not in references.found],
        },
        summary={one.potential: asdict(one) for one in summary.records},
    )
    for label, mine in conductivities.items():
        if mine:
            paths[f"as --reference, of {label}"] = path = run.output / file_name(label) / "kappas.json.gz"
            write_reference(path, list(mine.values()))
    several = len(items) > 1 or any(one.compared for one in summary.records)
    return CampaignResult(
        tables=[table, summary] if several else [table],
        lines=_lines(records, protocol, references),
        paths=paths,
        records=records,
        failed=any(row.record.failure for row in table.records),
    )


def _figures(
    work: ConductivityProperty,
    records: Mapping[str, Sequence[ConductivityRecord]],
    references: References,
) -> dict[str, Path]:
    """Draw all figures, because several calls may have computed the records, and name those of a few materials."""
    paths: dict[str, Path] = {}
    materials = list(zip(*records.values(), strict=True))
    for mine in materials:
        path = work.output / f"{file_name(mine[0].name)}.modes.png"
        if _draw_modes(work, mine, references, path) and len(materials) <= _DRAWN:
            paths[f"modes of {mine[0].name}"] = path
    compared = {label: [r for r in mine if r.compared] for label, mine in records.items()}
    if len({record.name for mine in compared.values() for record in mine}) > 1:
        paths["against references"] = work.output / "parity.png"
        shown = {label: mine for label, mine in compared.items() if mine}
        parity_plot(shown, paths["against references"])
    return paths


def _draw_modes(
    work: ConductivityProperty, records: Sequence[ConductivityRecord], references: References, path: Path
) -> bool:
    """Draw the modes of one material with all potentials; return whether there was something to draw."""
    name, kelvin = records[0].name, work.protocol.temperatures[0]
    curves = {}
    for record in records:
        modes = work.modes(record)
        carriers = None if modes is None else carriers_of(modes)
        if carriers is not None:
            curves[record.potential] = carriers
    beneath, reference = None, references.found.get(name)
    if reference is not None and np.isclose(reference.temperatures[0], kelvin):
        beneath = carriers_of_reference(reference)
    if references.sources.get(name) == FORCE_SETS and REFERENCE in curves:
        beneath = curves.pop(REFERENCE)  # with its lifetimes
    if not curves and beneath is None:
        path.unlink(missing_ok=True)
        return False
    modes_plot(curves, beneath, f"{name}, {kelvin:g} K", path)
    return True


def _lines(
    records: Mapping[str, Sequence[ConductivityRecord]],
    protocol: ConductivityProtocol,
    references: References,
) -> list[str]:
    """Return remarks: definitions, the protocol, the references, and what went wrong."""
    at = " K, ".join(f"{kelvin:g}" for kelvin in protocol.temperatures)
    lines = [
        f"κ in W/m/K at {at} K, trace / 3: κ = κ_P (particles) + κ_C (coherences) is that of Wigner's equation in the"
        " relaxation-time approximation; κ_RTA is that of the Peierls-Boltzmann equation, from each mode alone.",
        *protocol_lines(protocol, PROTOCOLS),
        *_reference_lines(records, references),
    ]
    for label, mine in records.items():
        lines += remark_lines(label, [(record.name, words) for record in mine for words in _remarks(record)])
    return lines


def _reference_lines(
    records: Mapping[str, Sequence[ConductivityRecord]], references: References
) -> list[str]:
    every = [record for mine in records.values() for record in mine]
    compared = {record.name for record in every if record.compared}
    lines = []
    if references.file is not None:
        here = sum(source != FORCE_SETS for source in references.sources.values())
        lines.append(f"reference: {here} of the {references.count} materials of {references.file}")
        if here < references.count:
            lines.append(
                f"{references.count - here} of them are not in this run and not in its means; those of a benchmark are"
                " over all its materials"
            )
    own = [name for name, source in references.sources.items() if source == FORCE_SETS and name in compared]
    if own:
        lines.append(f"reference of {first_few(own)}: {FORCE_SETS}")
    without = [name for name in dict.fromkeys(r.name for r in every) if name not in references.found]
    if compared and without:
        lines.append(f"no reference, and not in the means: {first_few(without)}")
    sets = dict.fromkeys(record.name for record in every if record.force_sets)
    unused = [name for name in sets if name in without and REFERENCE not in records]
    if unused:
        lines.append(f"{first_few(unused)}: the input has force sets; --also reference compares with them")
    if compared:
        lines.append(
            "SRME and SRE are between 0 and 2, the value of a material without a conductivity. Means and rates are over"
            " the materials with a reference, including those without a conductivity."
        )
    return lines


def _remarks(record: ConductivityRecord) -> list[str]:
    if record.failure:
        return [record.failure]
    words = [record.reason] if record.reason else []
    if record.score_reason and record.score_reason != record.reason:
        words.append(f"counts as failed: {record.score_reason}")
    words += record.notes
    if record.converged is False:
        words.append("the relaxation did not converge")
    return words
