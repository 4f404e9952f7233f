"""What a training sees: checked frames, reference energies, scale; and their batches, epoch by epoch."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.data import chemical_symbols

from esen.data.checks import check_structure
from esen.data.readers import Reading, read_structures
from esen.data.references import References, fit_references
from esen.data.split import hold_out
from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.backends import require_backend
from esen.graph.batch import collate, make_graphs, make_labels, pack_batches
from esen.graph.types import Graph, Labels
from esen.recipe import BatchSpec, Recipe
from esen.recipe.model import Backend

Report = Callable[[str], None]
"""Takes one line for the user."""

_KEPT_EDGES = 20_000_000  # 40 bytes each: 0.8 GB


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Frames and what was learned of them before training.

    Attributes:
        train: to fit.
        validation: to choose the best weights by.
        references: E0 of the elements.
        scale: root mean square of the force components in eV/Å, the unit of the network's energy.
    """

    train: list[Structure]
    validation: list[Structure]
    references: References
    scale: float

    @cached_property
    def fingerprint(self) -> str:
        """Of the frames, their order and their labels: the same only for the same training."""
        digest = hashlib.blake2b(digest_size=16)
        for frames in (self.train, self.validation):
            digest.update(f"{len(frames)} frames".encode())
            for s in frames:
                for array in (s.numbers, s.positions, s.cell, s.pbc, s.energy, s.forces, s.stress):
                    digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def load_training_data(recipe: Recipe, report: Report) -> TrainingData:
    """Read, check and divide the frames of a recipe; fit the references on those to train on.

    Raises:
        InputError: naming the file and frame, and what to write in the recipe; or the backend of the recipe's graph
            is not installed.
    """
    require_backend(recipe.model.graph.backend)
    reading = Reading.of(recipe.data)
    train = read_structures(recipe.data.train, reading)
    validation = read_structures(recipe.data.validation, reading) if recipe.data.validation else []
    for structure in (*train, *validation):
        check_structure(structure, recipe.model.max_elements)
    if validation:
        validation = known_frames(validation, _elements(train), "validation", report)
    else:
        train, validation = _hold_out(train, recipe)
    _check_stress_labels(train, recipe, report)
    references = _references(train, recipe, report)
    forces = np.concatenate([s.forces for s in train if s.forces is not None])
    rms = float(np.sqrt(np.mean(np.square(forces))))
    return TrainingData(train, validation, references, rms if rms > 1e-6 else 1.0)


def known_frames(
    frames: Sequence[Structure], elements: Collection[int], what: str, report: Report
) -> list[Structure]:
    """The frames without those that hold an element which no training frame has: nothing can be said of them.

    Args:
        frames: to choose from.
        elements: atomic numbers in the training frames.
        what: the frames are for.
        report: told of what is left out.

    Raises:
        InputError: nothing is left.
    """
    known = [s for s in frames if _elements([s]) <= set(elements)]
    if len(known) == len(frames):
        return known
    unknown = sorted(_elements(frames) - set(elements))
    names = ", ".join(chemical_symbols[z] for z in unknown)
    if not known:
        raise InputError(f"data.{what}: every frame holds {names}, which no frame of data.train does")
    report(
        f"note: {len(frames) - len(known)} of {len(frames)} {what} frames are left out: they hold {names},"
        " which no training frame does"
    )
    return known


def _elements(frames: Sequence[Structure]) -> set[int]:
    return set(np.unique(np.concatenate([s.numbers for s in frames])).tolist()) if frames else set()


def _hold_out(frames: list[Structure], recipe: Recipe) -> tuple[list[Structure], list[Structure]]:
    """Frames to train on and to validate by. Frames with an element that no other frame has stay in training."""
    kept, held = hold_out(range(len(frames)), recipe.data.validation_fraction, recipe.train.seed)
    known = _elements([frames[i] for i in kept])
    validation = [i for i in held if _elements([frames[i]]) <= known]
    if not validation:
        raise InputError(
            f"{recipe.data.train[0].path}: {len(frames)} frames cannot be divided so that those for validation"
            " hold no element of their own; give more frames, or data.validation"
        )
    train = sorted(set(range(len(frames))) - set(validation))
    return [frames[i] for i in train], [frames[i] for i in validation]


def _check_stress_labels(train: Sequence[Structure], recipe: Recipe, report: Report) -> None:
    if not recipe.train.loss.stress:
        return
    labelled = sum(s.stress is not None for s in train)
    if not labelled and not any(s.pbc.all() for s in train):
        raise InputError(
            f"{recipe.data.train[0].path}: no frame is periodic in three directions, so none has a stress:"
            " write train.loss.stress: 0"
        )
    if not labelled:
        raise InputError(
            f"{recipe.data.train[0].path}: no periodic frame has a stress under '{recipe.data.stress_key}':"
            " write train.loss.stress: 0 to train without, or name the label in data.stress_key"
        )
    if labelled < len(train):
        report(
            f"note: {len(train) - labelled} of {len(train)} frames have no stress; they count in energy and forces"
        )


def _references(train: Sequence[Structure], recipe: Recipe, report: Report) -> References:
    fitted = fit_references(train, recipe.model.max_elements)
    if recipe.data.references == "none":
        return References(
            np.zeros(recipe.model.max_elements), fitted.elements, fitted.rank, fitted.confounded
        )
    if fitted.rank_deficient:
        names = ", ".join(chemical_symbols[z] for z in fitted.confounded)
        report(
            f"note: the frames do not fix the reference energies of {names} one by one, only their sums;"
            " other compositions of these elements will have arbitrary energies"
        )
    return fitted


class Batches:
    """Graphs and labels of frames, in batches. Graphs are made once and kept, as far as memory allows.

    Args:
        structures: the frames.
        cutoff: of the graph, in Å.
        spec: how large a batch is.
        backend: what finds the edges.
    """

    def __init__(
        self, structures: Sequence[Structure], cutoff: float, spec: BatchSpec, backend: Backend = "vesin"
    ) -> None:
        self.structures = structures
        self.cutoff = cutoff
        self.spec = spec
        self.backend: Backend = backend
        self._graphs: dict[int, Graph] = {}
        self._edges = 0

    def in_order(self) -> list[list[int]]:
        """All frames once, as they come."""
        return self._pack(range(len(self.structures)))

    def shuffled(self, seed: int, epoch: int) -> list[list[int]]:
        """All frames once, in an order that depends on seed and epoch alone, so that a run can be resumed."""
        return self._pack(np.random.default_rng((seed, epoch)).permutation(len(self.structures)).tolist())

    def load(self, indices: Sequence[int]) -> tuple[Graph, Labels]:
        """One batch, on the CPU."""
        structures = [self.structures[i] for i in indices]
        return collate(self._graphs_of(indices)), make_labels(structures)

    def _pack(self, order: Sequence[int]) -> list[list[int]]:
        sizes = [len(s) for s in self.structures]
        return pack_batches(sizes, atoms=self.spec.atoms, structures=self.spec.structures, order=order)

    def _graphs_of(self, indices: Sequence[int]) -> list[Graph]:
        missing = [i for i in indices if i not in self._graphs]
        made = make_graphs([self.structures[i] for i in missing], self.cutoff, self.backend)
        new = dict(zip(missing, made, strict=True))
        graphs = [new[i] if i in new else self._graphs[i] for i in indices]
        for index, graph in new.items():
            if self._edges + graph.num_edges <= _KEPT_EDGES:
                self._edges += graph.num_edges
                self._graphs[index] = graph
        return graphs
