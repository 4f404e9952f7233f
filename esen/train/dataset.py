"""What a training sees: checked frames, reference energies, scale; and their batches, epoch by epoch."""

import hashlib
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float64, Int64

from esen.data.checks import check_structure
from esen.data.frames import FrameList, Frames, Mixture, Subset, as_frames
from esen.data.readers import Reading, load_frames
from esen.data.references import (
    References,
    fit_references,
    isolated_references,
    no_references,
    read_references,
)
from esen.data.split import hold_out
from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.backends import require_backend
from esen.graph.batch import collate, make_graphs, make_labels, pack_batches
from esen.graph.types import Graph, Labels
from esen.recipe import BatchSpec, Recipe, ReferencesFileSpec
from esen.recipe.model import Backend
from esen.train.sparse import warn_without_edges

Report = Callable[[str], None]
"""Takes one line for the user."""

Indices = Int64[np.ndarray, " _"]

_MANY = 200_000
"""Frames in memory beyond which a training set is recommended."""
_KEPT_EDGES = 20_000_000  # 40 bytes each: 0.8 GB


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Frames and what was learned of them before training.

    Attributes:
        train: to fit; a frame of a repeated source stands here several times.
        validation: to choose the best weights by.
        references: E0 of the elements.
        scale: root mean square of the force components in eV/Å, the unit of the network's energy.
    """

    train: Sequence[Structure]
    validation: Sequence[Structure]
    references: References
    scale: float

    @cached_property
    def fingerprint(self) -> str:
        """Of the frames, their order and their labels: the same only for the same training."""
        made = hashlib.blake2b(digest_size=16)
        for frames in (self.train, self.validation):
            made.update(f"{len(frames)} frames".encode())
            made.update(as_frames(frames).facts.digests.tobytes())
        return made.hexdigest()

    @property
    def frame_weights(self) -> Float64[np.ndarray, " frames"]:
        """The weight of each training frame in the loss, as its source says."""
        return as_frames(self.train).facts.weights


def load_training_data(recipe: Recipe, report: Report) -> TrainingData:
    """Read, check and divide the frames of a recipe; fit the references on those to train on.

    Raises:
        InputError: naming the file and frame, and what to write in the recipe; or the backend of the recipe's graph
            is not installed.
    """
    require_backend(recipe.model.graph.backend)
    required = tuple(name for name in ("energy", "forces") if _weight(recipe, name))
    reading = replace(Reading.of(recipe.data), required=required)
    sources = load_frames(recipe.data.train, reading)
    given = load_frames(recipe.data.validation, reading) if recipe.data.validation else []
    for frames in (*sources, *given):
        _check(frames, recipe.model.max_elements)
    all_frames = Mixture(sources)
    _tell_of_memory(sources, report)
    if given:
        chosen = np.arange(len(all_frames), dtype=np.int64)
        validation = known_frames(Mixture(given), all_frames.facts.elements_seen(), "validation", report)
    else:
        chosen, held = _hold_out(all_frames, recipe)
        validation = Subset(all_frames, held)
    once = Subset(all_frames, chosen)
    train = Subset(all_frames, _repeated(chosen, sources, recipe))
    _check_labels(once, recipe)
    _check_stress_labels(once, recipe, report)
    warn_without_edges(recipe, once, report)
    references = _references(once, all_frames, recipe, report)
    facts = once.facts
    squares, components = facts.force_squares[facts.labelled].sum(), 3 * facts.atoms[facts.labelled].sum()
    rms = float(np.sqrt(squares / components)) if components else 0.0
    return TrainingData(train, validation, references, rms if rms > 1e-6 else 1.0)


def known_frames(
    frames: Sequence[Structure], elements: Collection[int], what: str, report: Report
) -> Sequence[Structure]:
    """The frames without those that hold an element which no training frame has: nothing can be said of them.

    Args:
        frames: to choose from.
        elements: atomic numbers in the training frames.
        what: the frames are for.
        report: told of what is left out.

    Raises:
        InputError: nothing is left.
    """
    given = as_frames(frames)
    known = given.facts.within(elements)
    if known.all():
        return frames
    unknown = sorted(set(given.facts.elements_seen()) - set(elements))
    names = ", ".join(chemical_symbols[z] for z in unknown)
    if not known.any():
        raise InputError(f"data.{what}: every frame holds {names}, which no frame of data.train does")
    report(
        f"note: {(~known).sum()} of {len(frames)} {what} frames are left out: they hold {names},"
        " which no training frame does"
    )
    return Subset(given, np.flatnonzero(known))


def _tell_of_memory(sources: Sequence[Frames], report: Report) -> None:
    count = sum(len(frames) for frames in sources if isinstance(frames, FrameList))
    if count > _MANY:
        report(
            f"note: {count:,} frames are held in memory; `esen data convert` makes a training set of them,"
            " from which frames are read as they are needed"
        )


def _check(frames: Frames, max_elements: int) -> None:
    """Refuse frames that cannot be true. Those of a training set were checked when it was made."""
    if isinstance(frames, Mixture):
        for part in frames.parts:
            _check(part, max_elements)
        return
    suspects = np.arange(len(frames))
    if not isinstance(frames, FrameList):
        suspects = np.flatnonzero(~frames.facts.within(range(max_elements)))
    for index in suspects.tolist():
        check_structure(frames[index], max_elements)


def _hold_out(frames: Frames, recipe: Recipe) -> tuple[Indices, Indices]:
    """Frames to train on and to validate by. Frames with an element that no other frame has stay in training."""
    kept, held = hold_out(range(len(frames)), recipe.data.validation_fraction, recipe.train.seed)
    facts = frames.facts
    known = facts.take(np.array(kept, dtype=np.int64)).elements_seen()
    validation = np.array(held, dtype=np.int64)
    validation = validation[facts.within(known)[validation]]
    if not len(validation):
        raise InputError(
            f"{recipe.data.train[0].path}: {len(frames)} frames cannot be divided so that those for validation"
            " hold no element of their own; give more frames, or data.validation"
        )
    return np.setdiff1d(np.arange(len(frames), dtype=np.int64), validation, assume_unique=True), validation


def _repeated(chosen: Indices, sources: Sequence[Frames], recipe: Recipe) -> Indices:
    """The numbers of the frames, each as often as its source is repeated; those of a source together."""
    made, end = [], 0
    for source, frames in zip(recipe.data.train, sources, strict=True):
        start, end = end, end + len(frames)
        of_source = chosen[(chosen >= start) & (chosen < end)]
        made.append(np.tile(of_source, source.repeat))
    return np.concatenate(made)


def _weight(recipe: Recipe, name: str) -> float:
    """The largest weight that a label has in the loss of any stage."""
    return max(float(getattr(stage.loss or recipe.train.loss, name)) for stage in recipe.train.stages)


def _check_labels(train: Frames, recipe: Recipe) -> None:
    """Every frame of a training set has the labels that the loss asks for; of other files that is known by now."""
    facts = train.facts
    for name, has in (("energy", np.isfinite(facts.energies)), ("forces", facts.labelled)):
        weight = _weight(recipe, name)
        if weight and not has.all():
            where = train[int(np.flatnonzero(~has)[0])].source
            raise InputError(
                f"{where}: has no {name}, but train.loss.{name} is {weight:g}; leave such frames out,"
                f" or write train.loss.{name}: 0"
            )


def _check_stress_labels(train: Frames, recipe: Recipe, report: Report) -> None:
    if not _weight(recipe, "stress"):
        return
    facts = train.facts
    labelled = int(facts.stressed.sum())
    if not labelled and not facts.periodic.any():
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


def _references(train: Frames, all_frames: Frames, recipe: Recipe, report: Report) -> References:
    """As the recipe says. Isolated atoms may be among the frames held out for validation."""
    elements, choice = recipe.model.max_elements, recipe.data.references
    if isinstance(choice, ReferencesFileSpec):
        return read_references(Path(choice.file), train, elements)
    match choice:
        case "none":
            return no_references(train, elements)
        case "isolated_atoms":
            return isolated_references(all_frames, elements)
        case "least_squares":
            fitted = fit_references(train, elements)
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
        self.structures = as_frames(structures)
        self.cutoff = cutoff
        self.spec = spec
        self.backend: Backend = backend
        self._graphs: dict[int, Graph] = {}
        self._edges = 0
        self._keeping = threading.Lock()  # batches may be made in another thread

    def in_order(self) -> list[list[int]]:
        """All frames once, as they come."""
        return self._pack(range(len(self.structures)))

    def shuffled(self, seed: int, epoch: int) -> list[list[int]]:
        """All frames once, in an order that depends on seed and epoch alone, so that a run can be resumed."""
        return self._pack(np.random.default_rng((seed, epoch)).permutation(len(self.structures)).tolist())

    def load(self, indices: Sequence[int]) -> tuple[Graph, Labels]:
        """One batch, on the CPU."""
        structures = [self.structures[i] for i in indices]
        return collate(self._graphs_of(indices, structures)), make_labels(structures)

    def _pack(self, order: Sequence[int]) -> list[list[int]]:
        sizes = self.structures.atoms.tolist()
        return pack_batches(sizes, atoms=self.spec.atoms, structures=self.spec.structures, order=order)

    def _graphs_of(self, indices: Sequence[int], structures: Sequence[Structure]) -> list[Graph]:
        missing = {i: s for i, s in zip(indices, structures, strict=True) if i not in self._graphs}
        made = make_graphs(list(missing.values()), self.cutoff, self.backend)
        new = dict(zip(missing, made, strict=True))
        graphs = [new[i] if i in new else self._graphs[i] for i in indices]
        with self._keeping:
            for index, graph in new.items():
                if index not in self._graphs and self._edges + graph.num_edges <= _KEPT_EDGES:
                    self._edges += graph.num_edges
                    self._graphs[index] = graph
        return graphs
