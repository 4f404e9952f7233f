"""Fine-tuning: a training that starts where a checkpoint was."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Float64
from pydantic import ValidationError

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.edges import edge_vectors
from esen.models.checkpoint import Checkpoint, read_checkpoint, restore_potential
from esen.models.potential import EsenPotential
from esen.recipe import BatchSpec, ModelSpec, Recipe, at_stage
from esen.recipe.load import merged
from esen.train.carry import carry_over, dtype_of
from esen.train.dataset import Batches, Report, TrainingData
from esen.train.precision import prepared, weights_dtype

_FREE = ("forces.", "dens", "graph.backend")
"""What fine-tuning may change of the network without a word."""
_SAID = ("graph.", "envelope.")
"""The same weights fit; the predictions before the first step are others."""
_MOST_FRAMES = 2000
"""Reference energies are fitted to so many frames, evenly spaced."""


@dataclass(frozen=True, eq=False)
class Initial:
    """What a training starts from.

    Attributes:
        path: of the checkpoint.
        checkpoint: as it was read.
        potential: as it predicts.
    """

    path: Path
    checkpoint: Checkpoint
    potential: EsenPotential

    @classmethod
    def read(cls, path: Path) -> "Initial":
        """From a file of ours.

        Raises:
            InputError: as `read_checkpoint` and `restore_potential`.
        """
        checkpoint = read_checkpoint(path)
        return cls(path, checkpoint, restore_potential(checkpoint, str(path)))

    @property
    def known(self) -> set[int]:
        """Atomic numbers that it was trained on; of an imported one, those with a reference energy."""
        if self.potential.elements is not None:
            return set(self.potential.elements)
        found = set(self.potential.references.nonzero().flatten().tolist())
        return found or set(range(1, self.potential.spec.max_elements))

    def new_elements(self, recipe: Recipe, data: TrainingData) -> tuple[int, ...]:
        """Atomic numbers that it was never shown and the data hold.

        Raises:
            InputError: there are some, and `train.renew` does not say that they may be learned.
        """
        new = tuple(sorted(set(data.references.elements) - self.known))
        if new and "elements" not in recipe.train.renew:
            names = ", ".join(chemical_symbols[z] for z in new)
            raise InputError(
                f"train.init_from: {self.path} was never shown {names}, which data.train holds: leave these frames"
                " out, or write train.renew: [elements] to learn them from random embeddings"
            )
        return new

    def origin(self, recipe: Recipe) -> dict[str, Any]:
        """Where the weights came from, with their licence, and what was done since."""
        step = {
            "from": self.path.name,
            "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "renewed": list(recipe.train.renew),
        }
        earlier = self.checkpoint.origin.get("fine_tuned", [])
        return self.checkpoint.origin | {"fine_tuned": [*earlier, step]}


def inherit_model(recipe: Recipe, model: dict[str, Any], where: str) -> tuple[Recipe, list[str]]:
    """The recipe with what its `model` leaves out taken from a checkpoint; and notes for the user.

    Args:
        recipe: as loaded; returned as it is if it does not start from a checkpoint.
        model: of the checkpoint.
        where: names the checkpoint.

    Raises:
        InputError: the recipe's network is another one; one line a difference.
    """
    if recipe.train.init_from is None:
        return recipe, []
    stated = recipe.model.model_dump(mode="json", exclude_unset=True)
    try:
        source = ModelSpec.model_validate(model)
        spec = ModelSpec.model_validate(merged(source.model_dump(mode="json"), stated))
        changed = Recipe.model_validate(recipe.model_dump() | {"model": spec.model_dump()})
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(
            f"train.init_from: {where}: {problem['msg'].removeprefix('Value error, ')}"
        ) from None
    before, now = _flat(source.model_dump()), _flat(spec.model_dump())
    pairs = {key: (before.get(key), now.get(key)) for key in [*before, *now]}
    pairs = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    wrong = [key for key in pairs if not key.startswith(_FREE + _SAID)]
    if wrong:
        raise InputError(
            "\n".join(
                f"model.{key}: {pairs[key][1]} here, {pairs[key][0]} in {where}: leave it out to take it from there"
                for key in wrong
            )
        )
    said = [key for key in pairs if key.startswith(_SAID) and not key.startswith(_FREE)]
    notes = [
        f"note: model.{key} {pairs[key][0]} → {pairs[key][1]}: before the first step the predictions are not"
        f" those of {where}"
        for key in said
    ]
    return changed, notes


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in section.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return leaves


def initial_potential(initial: Initial, recipe: Recipe, data: TrainingData, report: Report) -> EsenPotential:
    """The potential to fine-tune: the checkpoint's, in the form that the first stage needs.

    Reference energies, scale and heads are kept unless `train.renew` says otherwise.

    Args:
        initial: what to start from.
        recipe: of the run, its model completed by `inherit_model`.
        data: to train on.
        report: told of what may surprise.

    Raises:
        InputError: the frames hold elements that the potential was never shown.
    """
    train, source = recipe.train, initial.potential
    new = initial.new_elements(recipe, data)
    precision = weights_dtype(train.precision)
    if dtype_of(source) != precision:
        found = str(dtype_of(source)).removeprefix("torch.")
        wanted = str(precision).removeprefix("torch.")
        report(f"note: {initial.path} has weights in {found}, the run is in {wanted}")
    spec = at_stage(recipe, 0).model
    potential = prepared(carry_over(source, spec, seed=train.seed, renew=train.renew), train)
    if source.elements is not None:
        potential.elements = tuple(sorted({*source.elements, *data.references.elements}))
    if "scale" in train.renew:
        potential.scale.fill_(data.scale)
    fitted = data.references.elements if "references" in train.renew else new
    if fitted:  # to energies as the checkpoint will predict them
        products = potential.products
        _renew_references(potential.use_products(None), recipe, data, fitted)
        potential.use_products(products)
    return potential


def _renew_references(
    potential: EsenPotential, recipe: Recipe, data: TrainingData, elements: Sequence[int]
) -> None:
    """New E0: those of the data, or by least squares what the network leaves of the labels.

    The fit is of E − (E_predicted − Σ E0), so that a constant per atom between two levels of theory is gone before the
    first step, whatever share of the binding energy the earlier references had taken up.
    """
    place = torch.tensor(elements, device=potential.references.device)
    if recipe.data.references != "least_squares":
        table = torch.from_numpy(np.ascontiguousarray(data.references.energies, dtype=np.float64))
        potential.references[place] = table[list(elements)].to(place.device)
        return
    frames = [s for s in _evenly(data.train) if s.energy is not None]
    if not frames:
        raise InputError("train.renew: references: no frame of data.train has an energy to fit them to")
    potential.references[place] = 0.0
    labels = np.array([s.energy for s in frames], dtype=np.float64)
    counts = np.stack([[np.count_nonzero(s.numbers == z) for z in elements] for s in frames])
    residual = labels - _energies(potential, recipe, frames)
    solution = np.linalg.lstsq(counts.astype(np.float64), residual, rcond=None)[0]
    potential.references[place] = torch.from_numpy(solution).to(place.device)


def _evenly(frames: Sequence[Structure]) -> list[Structure]:
    return [frames[i] for i in range(0, len(frames), -(-len(frames) // _MOST_FRAMES))]


def _energies(
    potential: EsenPotential, recipe: Recipe, frames: list[Structure]
) -> Float64[np.ndarray, " frames"]:
    batches = Batches(frames, potential.cutoff, BatchSpec(atoms=2000), recipe.model.graph.backend)
    found = []
    with torch.no_grad():
        for indices in batches.in_order():
            graph = potential.select_edges(batches.load(indices)[0].to(potential.scale.device))
            energies = potential.atomic_energies(graph, edge_vectors(graph))
            sums = energies.new_zeros(graph.num_structures).index_add(0, graph.structure, energies)
            found.append((sums + potential.offset).cpu().numpy())
    return np.concatenate(found)
