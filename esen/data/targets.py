"""Energy, forces and stress: the quantities that potentials are trained on and judged by, each declared once.

Code that treats all three alike (data checks, facts of frames, the loss, validation, tables of errors) iterates over
`TARGETS` instead of naming them. The declaration is physical: name, shape, units, and what an error is. It lies in
`esen.data`, the lowest package that knows labels, because `graph`, `train` and `evaluate` all read it and `evaluate`
must not import `train`. What a target contributes to the loss is declared in `esen/train/targets.py`.

`Structure`, `Labels` and `Prediction` have a field of the same name for each target. A missing label is None in a
`Structure` and NaN in `Labels`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A quantity with reference values.

    Attributes:
        name: Field of `Structure`, `Labels` and `Prediction`; key of `train.loss`; metrics are `{name}_mae`.
        symbol: Symbol in the head of a table.
        unit: Unit of labels and predictions.
        error_unit: Unit of its errors: 1e-3 of the unit of a label, for the energy per atom.
        of_atoms: Whether each atom has a value; otherwise each structure has one.
        components: Shape of one value.
        error_per_atom: Whether the error of a structure is divided by its number of atoms, as for the total energy.
    """

    name: str
    symbol: str
    unit: str
    error_unit: str
    of_atoms: bool
    components: tuple[int, ...]
    error_per_atom: bool = False

    def shape(self, atoms: int) -> tuple[int, ...]:
        """Return the shape of the label of one structure with so many atoms.

        >>> [target.shape(5) for target in TARGETS]
        [(), (5, 3), (3, 3)]
        """
        return (atoms, *self.components) if self.of_atoms else self.components

    def of(self, source: Any) -> Any:
        """Return the field of this target in a `Structure`, `Labels`, `Prediction` or `LossSpec`."""
        return getattr(source, self.name)

    def error(self, predicted: Any, reference: Any, atoms: Any) -> Any:
        """Return predicted − reference, divided by the number of atoms of the structure for the energy.

        Args:
            predicted: Array or tensor of predictions, in `unit`.
            reference: Labels of the same shape.
            atoms: Number of atoms of each structure.
        """
        difference = predicted - reference
        return difference / atoms if self.error_per_atom else difference


ENERGY = Target("energy", "E", "eV", "meV/atom", of_atoms=False, components=(), error_per_atom=True)
FORCES = Target("forces", "F", "eV/Å", "meV/Å", of_atoms=True, components=(3,))
STRESS = Target("stress", "σ", "eV/Å³", "meV/Å³", of_atoms=False, components=(3, 3))

TARGETS = (ENERGY, FORCES, STRESS)


def listed(targets: Iterable[Target]) -> str:
    """Return the names of targets for a message.

    >>> listed(TARGETS), listed([FORCES])
    ('energy, forces or stress', 'forces')
    """
    *most, last = (target.name for target in targets)
    return f"{', '.join(most)} or {last}" if most else last
