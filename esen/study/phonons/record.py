"""What is kept of one crystal."""

from dataclasses import asdict, dataclass

from esen.evaluate.phonons.crystal import Known
from esen.evaluate.phonons.properties import ROOM, Properties
from esen.evaluate.phonons.run import Phonons

QUANTITIES = {
    "max_frequency": "K",
    "entropy": "J/K/mol",
    "free_energy": "kJ/mol",
    "heat_capacity": "J/K/mol",
}
"""What is compared, in the order of the MDR table."""
SYMBOLS = {"max_frequency": "ω_max", "entropy": "S", "free_energy": "F", "heat_capacity": "C_V"}


@dataclass(frozen=True)
class Record:
    """One crystal of one potential.

    Attributes:
        name: of the crystal.
        formula: of its primitive cell.
        atoms: in the primitive cell.
        supercell_atoms: in the supercell.
        values: what is compared, at 300 K, ω_max as the MDR benchmark has it.
        known: reference values; None where they are not known.
        max_commensurate: ω_max over the true commensurate points, in K.
        max_mesh: ω_max over the mesh, in THz.
        imaginary: modes.
        lowest: frequency in THz.
        lowest_at: where, in the primitive reciprocal lattice.
        groups: space groups before and after relaxation; None: not relaxed.
        converged: whether the relaxation came to its end; None: not relaxed.
        rmse: of all frequencies on the mesh against those of the force sets of the input, in THz.
        notes: what is to be known.
        failure: why there are no values; empty: there are.
    """

    name: str
    formula: str
    atoms: int
    supercell_atoms: int
    values: dict[str, float]
    known: dict[str, float | None]
    max_commensurate: float = float("nan")
    max_mesh: float = float("nan")
    imaginary: int = 0
    lowest: float = float("nan")
    lowest_at: tuple[float, ...] = ()
    groups: tuple[int, ...] | None = None
    converged: bool | None = None
    rmse: float = float("nan")
    notes: tuple[str, ...] = ()
    failure: str = ""

    def error(self, quantity: str) -> float:
        """Value less reference; NaN where one is not known."""
        known = self.known.get(quantity)
        return float("nan") if known is None else self.values.get(quantity, float("nan")) - known


def values_of(properties: Properties) -> dict[str, float]:
    """The four numbers of the MDR benchmark."""
    free_energy, entropy, heat_capacity = properties.thermal.at(ROOM)
    return {
        "max_frequency": properties.max_mdr,
        "entropy": entropy,
        "free_energy": free_energy,
        "heat_capacity": heat_capacity,
    }


def record_of(name: str, found: Phonons, rmse: float = float("nan"), notes: tuple[str, ...] = ()) -> Record:
    """What was found of a crystal.

    Args:
        name: of the crystal, at this displacement.
        found: its phonons.
        rmse: of frequencies, in THz.
        notes: on them.
    """
    p, how = found.properties, found.relaxed
    return Record(
        name=name,
        formula=formula_of(found),
        atoms=len(found.phonopy.primitive),
        supercell_atoms=len(found.phonopy.supercell),
        values=values_of(p),
        known=asdict(found.crystal.known),
        max_commensurate=p.max_commensurate,
        max_mesh=p.max_mesh,
        imaginary=p.imaginary,
        lowest=p.lowest,
        lowest_at=p.lowest_at,
        groups=None if how is None else how.groups,
        converged=None if how is None else how.converged,
        rmse=rmse,
        notes=notes,
    )


def failed(name: str, known: Known, reason: str) -> Record:
    """A crystal of which nothing was found."""
    return Record(name, "", 0, 0, {}, asdict(known), failure=reason)


def formula_of(found: Phonons) -> str:
    """Of the primitive cell, in Hill's order."""
    from ase.formula import Formula

    return str(Formula.from_list(list(found.phonopy.primitive.symbols)).format("hill"))
