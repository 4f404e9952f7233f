"""What is kept of one material."""

from dataclasses import asdict, dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from esen.data.structure import Structure
from esen.evaluate.conductivity.compare import Score
from esen.evaluate.conductivity.material import Material
from esen.evaluate.conductivity.metrics import mean_of_trace
from esen.evaluate.conductivity.run import Conductivity
from esen.study.materials.records import plain

KAPPAS = {"diagonal": "κ_RTA", "particle": "κ_P", "coherence": "κ_C", "total": "κ"}
"""Conductivities by their names in records, with their symbols."""

Tensors = list[list[float]]


@dataclass(frozen=True)
class Record:
    """One material of one potential.

    Attributes:
        name: of the material.
        label: what the file calls it, if anything.
        formula: reduced.
        atoms: in the primitive cell.
        supercell_atoms: in the supercells for second and third derivatives.
        mesh: divisions of the Brillouin zone.
        displaced: supercells with displaced atoms for second and third derivatives; zeros for force sets.
        temperatures: in K, those of all conductivities.
        tensors: W/m/K, xx, yy, zz, yz, xz, xy at each temperature, by the names of `KAPPAS`.
        kappas: their traces / 3.
        groups: numbers of the space group before and after relaxation.
        imaginary: how many modes of the mesh are.
        lowest: frequency in THz.
        lowest_at: where, in the primitive reciprocal lattice.
        converged: whether the relaxation came to its end; None: not relaxed.
        force_sets: whether the input has force sets of a reference method.
        notes: what is to be known.
        reason: why there is no conductivity though nothing failed; empty: there is one.
        failure: why there is no result; empty: there is.
        melted: whether that is because the relaxation ended at another crystal.
        reference: where the reference is from; empty: there is none.
        reference_kelvin: its temperature, at which they are compared.
        reference_kappa: its total.
        srme: 0 to 2, mode by mode.
        srd: −2 to 2, in total.
        spectrum: Wasserstein-1 distance of the frequencies in THz.
        score_reason: why there is nothing to compare.
    """

    name: str
    label: str = ""
    formula: str = ""
    atoms: int = 0
    supercell_atoms: tuple[int, ...] = ()
    mesh: tuple[int, ...] = ()
    displaced: tuple[int, ...] = ()
    temperatures: tuple[float, ...] = ()
    tensors: dict[str, Tensors] | None = None
    kappas: dict[str, list[float]] | None = None
    groups: tuple[int, ...] = ()
    imaginary: int = 0
    lowest: float = float("nan")
    lowest_at: tuple[float, ...] = ()
    converged: bool | None = None
    force_sets: bool = False
    notes: tuple[str, ...] = ()
    reason: str = ""
    failure: str = ""
    melted: bool = False
    reference: str = ""
    reference_kelvin: float = float("nan")
    reference_kappa: float = float("nan")
    srme: float = float("nan")
    srd: float = float("nan")
    spectrum: float = float("nan")
    score_reason: str = ""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.failure:
            return "melted" if self.melted else "failed"
        if self.imaginary:
            return "imaginary"
        return "group changed" if self.reason else "ok"

    @property
    def sre(self) -> float:
        """|SRD|, 0 to 2."""
        return abs(self.srd)

    @property
    def score(self) -> Score | None:
        """Against the reference; None: there is none."""
        if not np.isfinite(self.srme):
            return None
        spectrum = self.spectrum if np.isfinite(self.spectrum) else None
        return Score(self.srme, self.srd, spectrum, self.imaginary > 0, self.score_reason or None)

    def kappa(self, which: str, kelvin: float) -> float:
        """Trace / 3 of a conductivity in W/m/K; NaN where there is none."""
        places = np.nonzero(np.isclose(self.temperatures, kelvin))[0]
        return float(self.kappas[which][places[0]]) if self.kappas and len(places) else float("nan")

    def same(self, other: "Record") -> bool:
        """Whether they say the same, in a file."""
        return bool(plain(asdict(self)) == plain(asdict(other)))


def record_of(found: Conductivity, notes: tuple[str, ...] = ()) -> Record:
    """What was found of a material."""
    material, transport, harmonic = found.material, found.transport, found.harmonic
    tensors = {} if transport is None else {name: getattr(transport, name) for name in KAPPAS}
    return Record(
        name=material.name,
        label=material.label,
        formula=formula_of(material.unitcell),
        atoms=harmonic.frequencies.shape[1] // 3,
        supercell_atoms=_supercell_atoms(material),
        mesh=material.mesh,
        displaced=found.displacements,
        temperatures=() if transport is None else tuple(transport.temperatures.tolist()),
        tensors={name: value.tolist() for name, value in tensors.items()} or None,
        kappas={name: mean_of_trace(value).tolist() for name, value in tensors.items()} or None,
        groups=found.groups,
        imaginary=harmonic.imaginary,
        lowest=harmonic.lowest,
        lowest_at=harmonic.lowest_at,
        converged=None if found.relaxed is None else found.relaxed.converged,
        force_sets=material.reference is not None,
        notes=notes,
        reason=found.reason or "",
    )


def failed(name: str, reason: str, material: Material | None = None, *, melted: bool = False) -> Record:
    """A material of which nothing was found, with what is known of it if it could be read."""
    if material is None:
        return Record(name, failure=reason, melted=melted)
    formula, has = formula_of(material.unitcell), material.reference is not None
    return Record(
        name, material.label, formula, force_sets=has, failure=reason, melted=melted, mesh=material.mesh
    )


def formula_of(structure: Structure) -> str:
    """Reduced, in Hill's order."""
    symbols = [chemical_symbols[number] for number in structure.numbers]
    return str(Formula.from_list(symbols).reduce()[0].format("hill"))


def _supercell_atoms(material: Material) -> tuple[int, ...]:
    matrices = (material.fc2_supercell, material.fc3_supercell)
    return tuple(len(material.unitcell) * abs(round(float(np.linalg.det(matrix)))) for matrix in matrices)
