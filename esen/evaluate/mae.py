"""Errors against reference data: mean absolute and root mean square errors of every `Target`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Bool, Float64, Int64

from esen.data.checks import check_known
from esen.data.structure import Structure
from esen.data.targets import ENERGY, STRESS, TARGETS, Target
from esen.errors import InputError, first_line
from esen.evaluate.report import Errors, FrameErrors, GroupErrors, LeftOut, MaeReport, Parity
from esen.evaluate.trends import composition_trend, volume_trend
from esen.graph.batch import make_graph, make_labels, pack_batches
from esen.graph.types import Potential

_MILLI = 1000.0


def evaluate_mae(
    potential: Potential,
    structures: Sequence[Structure],
    *,
    batch_atoms: int = 1024,
    device: torch.device | str = "cpu",
    elements: Collection[int] | None = None,
    group_by: str = "config_type",
    progress: Callable[[int], None] | None = None,
) -> MaeReport:
    """Compare the predictions of a potential with the labels of structures.

    The energy error of a structure with N atoms is ΔE/N; the errors of forces and stress are those of their Cartesian
    components. A mean is over all numbers of its kind. A stress is compared only in cells that are periodic in three
    directions. A structure that the potential refuses, because of an unknown element or because its calculator raises
    an error, is left out and listed in the report.

    Args:
        potential: Maps a graph to a prediction.
        structures: Structures with any of the labels.
        batch_atoms: Structures are predicted together up to this number of atoms.
        device: Where the potential is.
        elements: Atomic numbers that the potential was made for; None if they are not known.
        group_by: Key of `Structure.info` whose values divide the structures into groups.
        progress: Called after each batch with the number of structures done.

    Raises:
        InputError: There are no structures, none can be predicted, or a batch does not fit in memory.

    Example:
        >>> from ase.calculators.emt import EMT
        >>> from esen.md.calculator import AsePotential
        >>> cell = 1.8 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
        >>> copper = Structure(np.array([29]), np.zeros((1, 3)), cell, np.ones(3, dtype=bool), energy=0.0)
        >>> errors = evaluate_mae(AsePotential(EMT()), [copper]).overall.errors
        >>> round(errors["energy"].mae, 3), errors["forces"].count  # meV/atom
        (6.689, 0)
    """
    if not structures:
        raise InputError("evaluation: there are no structures")
    sizes = [len(structure) for structure in structures]
    compared: list[_Pairs] = []
    left_out: list[LeftOut] = []
    for indices in pack_batches(sizes, atoms=batch_atoms, structures=None, order=range(len(sizes))):
        batch = []
        for index in indices:
            try:
                check_known(structures[index], elements)
                batch.append(structures[index])
            except InputError as error:
                left_out.append(_left_out(structures[index], error))
        found, refused = _compare(potential, batch, device) if batch else ([], [])
        compared += found
        left_out += refused
        if progress is not None:
            progress(indices[-1] + 1)
    if not compared:
        first = left_out[0]
        raise InputError(f"{first.source}: {first.reason}; no structure is left to compare")
    return _Pairs.join(compared).report(group_by, tuple(left_out))


def _compare(
    potential: Potential, batch: list[Structure], device: torch.device | str
) -> "tuple[list[_Pairs], list[LeftOut]]":
    """Predict a batch; if the potential refuses it, predict its structures one by one."""
    graph = make_graph(batch, potential.cutoff, potential.backend)
    try:
        prediction = potential(graph.to(device)).to("cpu")
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"evaluation: {graph.num_structures} structures of {graph.num_atoms} atoms and {graph.num_edges} "
            f"edges do not fit in the memory of {device}; use batches of fewer atoms than {graph.num_atoms}"
        ) from error
    except InputError as error:
        if len(batch) == 1:
            return [], [_left_out(batch[0], error)]
        alone = [_compare(potential, [structure], device) for structure in batch]
        return [pairs for found, _ in alone for pairs in found], [one for _, out in alone for one in out]
    labels = make_labels(batch)
    atoms = np.maximum([len(structure) for structure in batch], 1)
    values = {}
    for target in TARGETS:
        pair = np.stack([target.of(labels).numpy(), target.of(prediction).detach().numpy()])
        values[target.name] = pair / atoms if target.error_per_atom else pair
    values[STRESS.name][0, [not structure.pbc.all() for structure in batch]] = np.nan
    return [_Pairs(tuple(batch), values)], []


def _left_out(structure: Structure, error: InputError) -> LeftOut:
    return LeftOut(structure.source, first_line(error).removeprefix(f"{structure.source}: "))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """References (0) and predictions (1) of B structures with N atoms; NaN where there is no reference.

    Attributes:
        structures: The structures.
        values: By target: arrays (2, B, …) or, if the target is one of atoms, (2, N, …); the energy in eV/atom.
    """

    structures: tuple[Structure, ...]
    values: dict[str, Float64[np.ndarray, "2 ..."]]

    @classmethod
    def join(cls, parts: "list[_Pairs]") -> "_Pairs":
        return cls(
            structures=tuple(structure for part in parts for structure in part.structures),
            values={t.name: np.concatenate([part.values[t.name] for part in parts], axis=1) for t in TARGETS},
        )

    @cached_property
    def numbers(self) -> Int64[np.ndarray, " N"]:
        return np.concatenate([structure.numbers for structure in self.structures])

    @cached_property
    def structure_of_atom(self) -> Int64[np.ndarray, " N"]:
        sizes = [len(structure) for structure in self.structures]
        return np.repeat(np.arange(len(sizes)), sizes)

    def report(self, group_by: str, left_out: tuple[LeftOut, ...]) -> MaeReport:
        names = np.array([str(structure.info.get(group_by, "")) for structure in self.structures])
        known = {t.name: ~np.isnan(self.values[t.name][0]) for t in TARGETS}
        finite = {t.name: np.isfinite(self.values[t.name][1]) for t in TARGETS}
        absent = {t.name: np.isnan(self.values[t.name][1][known[t.name]]) for t in TARGETS}
        return MaeReport(
            frames=tuple(self._frame(i, str(name)) for i, name in enumerate(names)),
            atoms=len(self.numbers),
            overall=self._group(np.ones(len(self.structures), bool)),
            elements={chemical_symbols[z]: self._element(z) for z in np.unique(self.numbers).tolist()},
            groups={name: self._group(names == name) for name in sorted(set(names.tolist()) - {""})},
            missing={t.name: int((~self._any(t, known[t.name])).sum()) for t in TARGETS},
            not_finite={t.name: int(self._any(t, known[t.name] & ~finite[t.name]).sum()) for t in TARGETS},
            not_predicted=frozenset(name for name, nan in absent.items() if nan.size and nan.all()),
            parity={t.name: _finite(self.values[t.name]) for t in TARGETS},
            group_by=group_by,
            left_out=left_out,
            volume_trend=volume_trend(self.structures, self._differences(STRESS).trace(axis1=1, axis2=2) / 3),
            composition_trend=composition_trend(self.structures, self._differences(ENERGY)),
        )

    def _differences(self, target: Target) -> Float64[np.ndarray, "..."]:
        """Return predicted − reference in thousandths of the unit; NaN where either is not finite."""
        reference, predicted = self.values[target.name]
        difference = np.full(reference.shape, np.nan)
        both = np.isfinite(reference) & np.isfinite(predicted)
        difference[both] = _MILLI * (predicted[both] - reference[both])
        return difference

    def _any(self, target: Target, components: Bool[np.ndarray, "..."]) -> Bool[np.ndarray, " B"]:
        """Whether any component of the target is marked, for each structure."""
        rows = components.any(axis=tuple(range(1, components.ndim)))
        if not target.of_atoms:
            return np.asarray(rows)
        return np.bincount(self.structure_of_atom[rows], minlength=len(self.structures)) > 0

    def _group(
        self, structures: Bool[np.ndarray, " B"], atoms: Bool[np.ndarray, " N"] | None = None
    ) -> GroupErrors:
        atoms = structures[self.structure_of_atom] if atoms is None else atoms
        return GroupErrors(
            structures=int(structures.sum()),
            errors={
                t.name: _errors(self.values[t.name][:, atoms if t.of_atoms else structures]) for t in TARGETS
            },
        )

    def _element(self, number: int) -> GroupErrors:
        atoms = self.numbers == number
        return self._group(
            np.bincount(self.structure_of_atom[atoms], minlength=len(self.structures)) > 0, atoms
        )

    def _frame(self, i: int, group: str) -> FrameErrors:
        structure = self.structures[i]
        begin, end = np.searchsorted(self.structure_of_atom, [i, i + 1])
        rows = {True: slice(begin, end), False: slice(i, i + 1)}
        pairs = {t.name: self.values[t.name][:, rows[t.of_atoms]] for t in TARGETS}
        reference, predicted = pairs[ENERGY.name][:, 0]
        atoms = max(len(structure), 1)
        return FrameErrors(
            source=structure.source,
            group=group,
            atoms=len(structure),
            energy_reference=float(reference * atoms),
            energy_predicted=float(predicted * atoms),
            energy_error=_MILLI * float(predicted - reference),
            mae={name: _errors(pair).mae for name, pair in pairs.items()},
            largest={name: _largest(pair) for name, pair in pairs.items()},
        )


def _finite(pair: Float64[np.ndarray, "2 ..."]) -> Parity:
    both = np.isfinite(pair).all(axis=0)
    return Parity(reference=pair[0][both], predicted=pair[1][both])


def _errors(pair: Float64[np.ndarray, "2 ..."]) -> Errors:
    """Errors in thousandths of the unit given."""
    parity = _finite(pair)
    difference = _MILLI * (parity.predicted - parity.reference)
    if not difference.size:
        return Errors(mae=np.nan, rmse=np.nan, count=0)
    return Errors(
        mae=float(np.abs(difference).mean()),
        rmse=float(np.sqrt(np.square(difference).mean())),
        count=difference.size,
    )


def _largest(pair: Float64[np.ndarray, "2 ..."]) -> float:
    """Largest absolute error in thousandths of the unit given; infinite if a prediction is not finite."""
    reference, predicted = pair[:, ~np.isnan(pair[0])]
    if not reference.size:
        return np.nan
    return _MILLI * float(np.abs(predicted - reference).max()) if np.isfinite(predicted).all() else np.inf
