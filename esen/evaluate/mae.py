"""Errors against reference data: mean absolute and root mean square, of energy, forces and stress."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Bool, Float64, Int64

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.report import Counts, Errors, FrameErrors, GroupErrors, MaeReport, Parity
from esen.graph.batch import make_graph, make_labels, pack_batches
from esen.graph.types import Potential, Prediction

_MILLI = 1000.0


def evaluate_mae(
    potential: Potential,
    structures: Sequence[Structure],
    *,
    batch_atoms: int = 1024,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> MaeReport:
    """Compare a potential with the labels of structures.

    The energy error of a structure is ΔE/N; the errors of forces and stress are those of their components.
    Every mean is over all numbers of its kind. A stress is compared only where all three vectors are periods.

    Args:
        potential: anything that maps a graph to a prediction.
        structures: with labels, or some of them.
        batch_atoms: structures are predicted together up to this number of atoms.
        device: where the potential is.
        progress: called after each batch, with the number of structures done.

    Raises:
        InputError: there is no structure, or a batch does not fit in memory.
    """
    if not structures:
        raise InputError("evaluation: there are no structures")
    sizes = [len(structure) for structure in structures]
    done: list[_Pairs] = []
    for indices in pack_batches(sizes, atoms=batch_atoms, structures=None, order=range(len(sizes))):
        batch = [structures[i] for i in indices]
        done.append(_compare(batch, _predict(potential, batch, device)))
        if progress is not None:
            progress(indices[-1] + 1)
    return _Pairs.join(done).report()


def _predict(potential: Potential, batch: list[Structure], device: torch.device | str) -> Prediction:
    graph = make_graph(batch, potential.cutoff, potential.backend)
    try:
        return potential(graph.to(device)).to("cpu")
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"evaluation: {graph.num_structures} structures of {graph.num_atoms} atoms and {graph.num_edges} "
            f"edges do not fit in the memory of {device}; use batches of fewer atoms than {graph.num_atoms}"
        ) from error


def _compare(batch: list[Structure], prediction: Prediction) -> "_Pairs":
    labels = make_labels(batch)
    stress = labels.stress.numpy().copy()
    stress[[not s.pbc.all() for s in batch]] = np.nan
    atoms = np.maximum([len(s) for s in batch], 1)
    return _Pairs(
        structures=tuple(batch),
        energy=np.stack([labels.energy.numpy(), prediction.energy.detach().numpy()]) / atoms,
        forces=np.stack([labels.forces.numpy(), prediction.forces.detach().numpy()]),
        stress=np.stack([stress, prediction.stress.detach().numpy()]),
    )


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Reference (0) and prediction (1) of B structures with N atoms; NaN where the reference says nothing."""

    structures: tuple[Structure, ...]
    energy: Float64[np.ndarray, "2 B"]  # eV/atom
    forces: Float64[np.ndarray, "2 N 3"]
    stress: Float64[np.ndarray, "2 B 3 3"]

    @classmethod
    def join(cls, parts: "list[_Pairs]") -> "_Pairs":
        return cls(
            structures=tuple(s for part in parts for s in part.structures),
            energy=np.concatenate([part.energy for part in parts], axis=1),
            forces=np.concatenate([part.forces for part in parts], axis=1),
            stress=np.concatenate([part.stress for part in parts], axis=1),
        )

    @cached_property
    def numbers(self) -> Int64[np.ndarray, " N"]:
        return np.concatenate([s.numbers for s in self.structures])

    @cached_property
    def frame(self) -> Int64[np.ndarray, " N"]:
        """Which structure each atom belongs to."""
        return np.repeat(np.arange(len(self.structures)), [len(s) for s in self.structures])

    @cached_property
    def config_types(self) -> list[str]:
        return [str(s.info.get("config_type", "")) for s in self.structures]

    def report(self) -> MaeReport:
        labelled = ~np.isnan(self.energy[0]), self._any(~np.isnan(self.forces[0])), self._known_stress()
        diverged = (
            labelled[0] & ~np.isfinite(self.energy[1]),
            self._any(~np.isnan(self.forces[0]) & ~np.isfinite(self.forces[1])),
            labelled[2] & ~np.isfinite(self.stress[1]).all(axis=(1, 2)),
        )
        return MaeReport(
            frames=tuple(self._frame(i) for i in range(len(self.structures))),
            atoms=len(self.numbers),
            overall=self._group(np.ones(len(self.structures), bool)),
            elements={chemical_symbols[z]: self._element(z) for z in np.unique(self.numbers).tolist()},
            config_types={
                name: self._group(np.array([name == other for other in self.config_types]))
                for name in sorted(set(self.config_types) - {""})
            },
            missing=Counts(*(int((~known).sum()) for known in labelled)),
            not_finite=Counts(*(int(bad.sum()) for bad in diverged)),
            energy=_finite(self.energy),
            forces=_finite(self.forces),
            stress=_finite(self.stress),
        )

    def _any(self, components: Bool[np.ndarray, "N 3"]) -> Bool[np.ndarray, " B"]:
        """Whether it is so for a component of any atom of the structure."""
        return np.bincount(self.frame[components.any(axis=1)], minlength=len(self.structures)) > 0

    def _known_stress(self) -> Bool[np.ndarray, " B"]:
        return np.asarray(~np.isnan(self.stress[0]).all(axis=(1, 2)))

    def _group(
        self, frames: Bool[np.ndarray, " B"], atoms: Bool[np.ndarray, " N"] | None = None
    ) -> GroupErrors:
        atoms = frames[self.frame] if atoms is None else atoms
        return GroupErrors(
            energy=_errors(self.energy[:, frames]),
            forces=_errors(self.forces[:, atoms]),
            stress=_errors(self.stress[:, frames]),
        )

    def _element(self, number: int) -> GroupErrors:
        atoms = self.numbers == number
        return self._group(np.bincount(self.frame[atoms], minlength=len(self.structures)) > 0, atoms)

    def _frame(self, i: int) -> FrameErrors:
        structure = self.structures[i]
        begin, end = np.searchsorted(self.frame, [i, i + 1])
        forces = self.forces[:, begin:end]
        reference, predicted = self.energy[:, i] * max(len(structure), 1)
        return FrameErrors(
            source=structure.source,
            config_type=self.config_types[i],
            atoms=len(structure),
            energy_reference=float(reference),
            energy_predicted=float(predicted),
            energy_error=_MILLI * float(self.energy[1, i] - self.energy[0, i]),
            forces_mae=_errors(forces).mae,
            forces_max=_MILLI * float(np.abs(forces[1] - forces[0]).max(initial=0.0)),
            stress_mae=_errors(self.stress[:, i]).mae,
        )


def _finite(pair: Float64[np.ndarray, "2 ..."]) -> Parity:
    both = np.isfinite(pair).all(axis=0)
    return Parity(reference=pair[0][both], predicted=pair[1][both])


def _errors(pair: Float64[np.ndarray, "2 ..."]) -> Errors:
    """In thousandths of the unit given."""
    parity = _finite(pair)
    difference = _MILLI * (parity.predicted - parity.reference)
    if not difference.size:
        return Errors(mae=np.nan, rmse=np.nan, count=0)
    return Errors(
        mae=float(np.abs(difference).mean()),
        rmse=float(np.sqrt(np.square(difference).mean())),
        count=difference.size,
    )
