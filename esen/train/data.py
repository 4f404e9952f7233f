"""The frames of a training: read, checked, divided; their reference energies and their scale."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float64, Int64

from esen.data.checks import check_structure
from esen.data.examine import energies_left
from esen.data.frames import FrameList, Frames, Mixture, Subset, as_frames
from esen.data.neighbours import neighbour_list
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
from esen.data.targets import FORCES, STRESS, TARGETS, listed
from esen.errors import InputError
from esen.graph.backends import require_backend
from esen.recipe import Recipe, ReferencesFileSpec, at_stage
from esen.text import first_few

Report = Callable[[str], None]
"""Function that shows one line to the user."""

Indices = Int64[np.ndarray, " _"]

_MANY = 200_000
"""Frames in memory beyond which a training set is recommended."""
_RARE = 3
"""Frames with an element, up to which it is named as hardly trained on."""
_NAMED = 10
"""Elements that a line names."""
_SEARCHED = 1000
"""Evenly spread frames in which two atoms within the cutoff are looked for."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Frames, and what was computed from them before training.

    Attributes:
        train: Frames to fit; a frame of a repeated source stands here several times.
        validation: Frames by which the best weights are chosen.
        references: Reference energies E0 of the elements.
        scale: Unit of the network's energy: root mean square of the force components in eV/Å; where no frame has
            forces, of the energies per atom in eV that the reference energies leave.
    """

    train: Sequence[Structure]
    validation: Sequence[Structure]
    references: References
    scale: float

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the frames, their order and their labels: equal only for the same training."""
        made = hashlib.blake2b(digest_size=16)
        for frames in (self.train, self.validation):
            made.update(f"{len(frames)} frames".encode())
            made.update(as_frames(frames).facts.digests.tobytes())
        return made.hexdigest()

    @property
    def frame_weights(self) -> Float64[np.ndarray, " frames"]:
        """Weight of each training frame in the loss, given by its source."""
        return as_frames(self.train).facts.weights


def load_training_data(recipe: Recipe, report: Report) -> TrainingData:
    """Read, check and divide the frames of a recipe; fit the reference energies to the training frames.

    Raises:
        InputError: Says which file and frame cannot be used and what to write in the recipe; or the backend of the
            recipe's graph is not installed.
    """
    require_backend(recipe.model.graph.backend)
    reading = replace(Reading.of(recipe.data), required=())  # `_check_labels` knows what is needed
    sources = load_frames(recipe.data.train, reading)
    given = load_frames(recipe.data.validation, reading) if recipe.data.validation else []
    for frames in (*sources, *given):
        _check(frames, recipe.model.max_elements)
    all_frames = Mixture(sources)
    in_memory = sum(len(frames) for frames in sources if isinstance(frames, FrameList))
    if in_memory > _MANY:
        report(
            f"note: {in_memory:,} frames are held in memory; `esen data convert` makes a training set of them,"
            " from which frames are read as they are needed"
        )
    if given:
        chosen = np.arange(len(all_frames), dtype=np.int64)
        validation = known_frames(Mixture(given), all_frames.facts.elements_seen(), "validation", report)
    else:
        chosen, held = _hold_out(all_frames, recipe)
        validation = Subset(all_frames, held)
    once = Subset(all_frames, chosen)
    train = Subset(all_frames, _repeated(chosen, sources, recipe))
    _check_labels(once, recipe, report)
    _check_validation_labels(as_frames(validation), recipe)
    _warn_without_edges(once, recipe.model.cutoff, report)
    _warn_of_rare_elements(once, report)
    references = _references(once, all_frames, recipe, report)
    return TrainingData(train, validation, references, _scale(once, references))


def known_frames(
    frames: Sequence[Structure], elements: Collection[int], what: str, report: Report
) -> Sequence[Structure]:
    """Return the frames without those that hold an element of no training frame, for which no prediction is possible.

    Args:
        frames: Frames to choose from.
        elements: Atomic numbers in the training frames.
        what: Purpose of the frames, for messages.
        report: Is told how many frames are left out.

    Raises:
        InputError: Nothing is left.
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


def _check(frames: Frames, max_elements: int) -> None:
    """Refuse impossible frames. Those of a training set were checked when it was made."""
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
    """Return training and validation frames. A frame with an element that no other frame has stays in training."""
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
    """Return the indices of the frames source by source, each as often as its source is repeated."""
    made, end = [], 0
    for source, frames in zip(recipe.data.train, sources, strict=True):
        start, end = end, end + len(frames)
        of_source = chosen[(chosen >= start) & (chosen < end)]
        made.append(np.tile(of_source, source.repeat))
    return np.concatenate(made)


def _check_labels(train: Frames, recipe: Recipe, report: Report) -> None:
    """Refuse training frames without the labels that the loss asks for. Some frames may lack a stress."""
    facts, stages = train.facts, range(len(recipe.train.stages))
    for target in TARGETS:
        name, has = target.name, facts.has(target)
        weight = max(target.of(at_stage(recipe, stage).train.loss) for stage in stages)
        if not weight or has.all():
            continue
        if not has.any():
            key = getattr(recipe.data, f"{name}_key")
            cure = f"write train.loss.{name}: 0 to train without"
            if target is STRESS and not facts.periodic.any():
                why = "is periodic in three directions, so none has a stress"
            else:
                why, cure = f"has {name} under '{key}'", f"{cure}, or name the label in data.{name}_key"
            raise InputError(f"{recipe.data.train[0].path}: no frame {why}: {cure}")
        if target is not STRESS:
            raise InputError(
                f"{train[int(np.flatnonzero(~has)[0])].source}: has no {name}, but train.loss.{name} is {weight:g};"
                f" leave such frames out, or write train.loss.{name}: 0"
            )
        report(f"note: {(~has).sum()} of {len(train)} frames have no stress; they count in energy and forces")


def _check_validation_labels(validation: Frames, recipe: Recipe) -> None:
    """Refuse validation frames by which no best weights can be chosen in some stage."""
    for stage in range(len(recipe.train.stages)):
        weighted = [target for target in TARGETS if target.of(at_stage(recipe, stage).train.loss)]
        if not any(validation.facts.has(target).any() for target in weighted):
            raise InputError(
                f"data.validation: no validation frame has {listed(weighted)}, by which the best weights of stage"
                f" {stage + 1} are chosen; give such frames"
            )


def _warn_without_edges(frames: Frames, cutoff: float, report: Report) -> None:
    """Warn if no training frame has two atoms within the cutoff: then only energies of lone atoms are learned."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _SEARCHED)).round().astype(int))
    for frame in map(frames.structure, places.tolist()):
        if len(neighbour_list(frame.positions, frame.cell, frame.pbc, cutoff)[0]):
            return
    report(
        f"warning: no two atoms of the {len(frames)} frames to train on are within model.cutoff, {cutoff:g} Å:"
        " forces cannot be learned; is the cutoff in Å, and are the positions?"
    )


def _warn_of_rare_elements(frames: Frames, report: Report) -> None:
    """Name elements of which so few frames are trained on that their errors will be large."""
    frames_with = frames.facts.frames_with()
    rare = [f"{chemical_symbols[z]} ({count})" for z, count in frames_with.items() if count <= _RARE]
    if rare:
        report(
            f"warning: elements in {_RARE} or fewer of {len(frames)} frames to train on, which are hardly learned:"
            f" {first_few(rare, _NAMED)}"
        )


def _references(train: Frames, all_frames: Frames, recipe: Recipe, report: Report) -> References:
    """Return the reference energies of the recipe's choice. Isolated atoms may be among the validation frames."""
    elements, choice = recipe.model.max_elements, recipe.data.references
    if isinstance(choice, ReferencesFileSpec):
        return read_references(Path(choice.file), train, elements)
    match choice:
        case "none":
            return no_references(train, elements)
        case "isolated_atoms":
            return isolated_references(all_frames, elements)
        case "least_squares" if not np.isfinite(train.facts.energies).any():
            report(
                "note: no frame has an energy, so the reference energies are 0 and only forces and stress are learned"
            )
            return no_references(train, elements)
        case "least_squares":
            fitted = fit_references(train, elements)
    if fitted.rank_deficient:
        names = ", ".join(chemical_symbols[z] for z in fitted.confounded)
        report(
            f"note: the frames do not fix the reference energies of {names} one by one, only their sums;"
            " other compositions of these elements will have arbitrary energies"
        )
    return fitted


def _scale(frames: Frames, references: References) -> float:
    """Return the unit of the network's energy, as `TrainingData` defines it; 1 if all forces are zero."""
    facts, mean_square = frames.facts, 0.0
    if components := 3 * facts.label_count(FORCES):
        mean_square = facts.force_squares[facts.labelled].sum() / components
    elif np.isfinite(facts.energies).any():
        mean_square = np.nanmean(np.square(energies_left(frames, references)))
    rms = float(np.sqrt(mean_square))
    return rms if rms > 1e-6 else 1.0
