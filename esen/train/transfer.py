"""Weights that pass from one network to another: from stage to stage, and from a checkpoint to its fine-tuning."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from pydantic import ValidationError

from esen.errors import InputError
from esen.models.checkpoint import Checkpoint, read_checkpoint, restore_potential
from esen.models.dens import without_denoising
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import BatchSpec, ModelSpec, Recipe, at_stage
from esen.recipe.load import flatten, merged
from esen.recipe.recipe import WHOLE
from esen.train.batches import Batches
from esen.train.data import Report, TrainingData
from esen.train.precision import prepared, weights_dtype

_HEADS = ("network.head.", "direct.", "noise.")
_FREE = ("model.forces.", "model.dens", "model.graph.backend")
"""Keys that fine-tuning may change without a note."""
_NOTED = ("model.graph.", "model.envelope.")
"""Keys with which the same weights fit, but give other predictions before the first step."""
_MOST_FRAMES = 2000
"""Reference energies are fitted to so many frames, evenly spaced."""


def carry_over(
    source: EsenPotential, spec: ModelSpec, *, seed: int, renew: Collection[str] = ()
) -> EsenPotential:
    """Return a potential of another kind with the weights that both kinds have, bit for bit.

    Heads that the source lacks are drawn from the seed; those that only the source has are dropped. Where the parts
    for denoising are dropped, the constant that the encoding of forces added to every atom becomes part of the species
    embedding, so that energies do not change.

    Args:
        source: Is not changed.
        spec: Differs from that of the source in forces, denoising, graph or envelope alone.
        seed: Seed of new weights.
        renew: If it holds `heads`, all heads are drawn anew.

    Raises:
        InputError: The energy of one is the sum over atoms, that of the other their mean.
    """
    made = make_potential(spec, seed=seed, elements=source.elements).to(dtype_of(source))
    if made.mean_energy != source.mean_energy:
        raise InputError(
            "the weights to start from give the mean of the atoms' energies (forces: energy: mean), not their sum:"
            " keep forces: {kind: direct, energy: mean}"
        )
    weights = source.state_dict()
    if source.spec.dens and not spec.dens:
        weights = without_denoising(weights)
    ours = made.state_dict()
    if "heads" in renew:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(_HEADS)}
    common = {name: t for name, t in weights.items() if name in ours and t.shape == ours[name].shape}
    made.load_state_dict(ours | common)
    made.network.backbone.memory = source.network.backbone.memory
    return made.to(source.scale.device)


def dtype_of(potential: EsenPotential) -> torch.dtype:
    """Return the precision of the network."""
    return next(potential.network.parameters()).dtype


@dataclass(frozen=True, eq=False)
class Initial:
    """The checkpoint that `train.init_from` names.

    Attributes:
        path: Its file.
        checkpoint: Its content.
        potential: The potential in it.
    """

    path: Path
    checkpoint: Checkpoint
    potential: EsenPotential

    @classmethod
    def read(cls, path: Path) -> "Initial":
        """Read a checkpoint.

        Raises:
            InputError: As `read_checkpoint` and `restore_potential`.
        """
        checkpoint = read_checkpoint(path)
        return cls(path, checkpoint, restore_potential(checkpoint, str(path)))

    @property
    def known(self) -> set[int]:
        """Atomic numbers that it was trained on; for an imported potential, those with a reference energy."""
        if self.potential.elements is not None:
            return set(self.potential.elements)
        found = set(self.potential.references.nonzero().flatten().tolist())
        return found or set(range(1, self.potential.spec.max_elements))

    def new_elements(self, recipe: Recipe, data: TrainingData) -> tuple[int, ...]:
        """Return the atomic numbers in the data that the potential was not trained on.

        Raises:
            InputError: There are some, and `train.renew` does not say that they may be learned.
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
        """Return where the weights came from, with their licence and each fine-tuning since."""
        step = {
            "from": self.path.name,
            "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(),
            "renewed": list(recipe.train.renew),
        }
        earlier = self.checkpoint.origin.get("fine_tuned", [])
        return self.checkpoint.origin | {"fine_tuned": [*earlier, step]}


def inherit_model(recipe: Recipe, model: dict[str, Any], where: str) -> tuple[Recipe, list[str]]:
    """Fill in what `model` of the recipe leaves out from a checkpoint; return the recipe and notes for the user.

    Args:
        recipe: As loaded; returned unchanged if it does not start from a checkpoint.
        model: `model` of the checkpoint.
        where: Name of the checkpoint for messages.

    Raises:
        InputError: The recipe asks for another network; one line per difference.
    """
    if recipe.train.init_from is None:
        return recipe, []
    stated = recipe.model.model_dump(mode="json", exclude_unset=True)
    try:
        source = ModelSpec.model_validate(model)
        spec = ModelSpec.model_validate(merged(source.model_dump(mode="json"), stated))
        changed = Recipe.model_validate(recipe.model_dump(context=WHOLE) | {"model": spec.model_dump()})
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(
            f"train.init_from: {where}: {problem['msg'].removeprefix('Value error, ')}"
        ) from None
    pairs = changed_keys(changed.model_copy(update={"model": source}), changed)
    pairs = {key: pair for key, pair in pairs.items() if not key.startswith(_FREE)}
    wrong = [
        f"{key}: {ours} here, {theirs} in {where}: leave it out to take it from there"
        for key, (theirs, ours) in pairs.items()
        if not key.startswith(_NOTED)
    ]
    if wrong:
        raise InputError(*wrong)
    return changed, [
        f"note: {key} {theirs} → {ours}: before the first step the predictions are not those of {where}"
        for key, (theirs, ours) in pairs.items()
    ]


def changed_keys(before: Recipe, now: Recipe) -> dict[str, tuple[Any, Any]]:
    """Return each key with another value, with the value before and now; `none` where there is no such key."""
    old, new = flatten(before), flatten(now)
    pairs = {key: (old.get(key, "none"), new.get(key, "none")) for key in [*old, *new]}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1] and set(pair) != {"none", "null"}}


def initial_potential(initial: Initial, recipe: Recipe, data: TrainingData, report: Report) -> EsenPotential:
    """Return the potential to fine-tune: that of the checkpoint, in the form that the first stage needs.

    Reference energies, scale and heads are kept unless `train.renew` says otherwise.

    Args:
        initial: The checkpoint to start from.
        recipe: Recipe of the run, its model completed by `inherit_model`.
        data: Training data.
        report: Is told if the precision of the weights changes.

    Raises:
        InputError: The frames hold elements that the potential was not trained on.
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
    """Set new E0: those of the data, or by least squares what the network leaves of the labels.

    The fit is to E − (E_predicted − Σ E0), so that a constant per atom between two levels of theory is removed before
    the first step, whatever share of the binding energy the earlier references contained. New elements keep E0 = 0 if
    no frame has an energy.
    """
    place = torch.tensor(elements, device=potential.references.device)
    if recipe.data.references != "least_squares":
        table = torch.from_numpy(np.ascontiguousarray(data.references.energies, dtype=np.float64))
        potential.references[place] = table[list(elements)].to(place.device)
        return
    spaced = range(0, len(data.train), -(-len(data.train) // _MOST_FRAMES))
    frames = [frame for frame in map(data.train.__getitem__, spaced) if frame.energy is not None]
    if not frames and "references" not in recipe.train.renew:
        return
    if not frames:
        raise InputError("train.renew: references: no frame of data.train has an energy to fit them to")
    potential.references[place] = 0.0
    labels = np.array([s.energy for s in frames], dtype=np.float64)
    counts = np.stack([[np.count_nonzero(s.numbers == z) for z in elements] for s in frames])
    batches = Batches(frames, potential.cutoff, BatchSpec(atoms=2000), recipe.model.graph.backend)
    graphs = (batches.load(indices)[0].to(potential.scale.device) for indices in batches.in_order())
    predicted = torch.cat([potential.eval()(graph).energy.detach().cpu() for graph in graphs]).numpy()
    solution = np.linalg.lstsq(counts.astype(np.float64), labels - predicted, rcond=None)[0]
    potential.references[place] = torch.from_numpy(solution).to(place.device)
