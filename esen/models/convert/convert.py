"""Convert a published checkpoint to a potential: network, weights, units and reference energies."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from esen.errors import InputError
from esen.models.checkpoint import precision_of
from esen.models.convert.names import moving_average, published_weights
from esen.models.convert.read import read_published
from esen.models.convert.settings import published_spec
from esen.models.cost import parameter_count
from esen.models.dens import without_denoising
from esen.models.potential import EsenPotential
from esen.recipe.model import ModelSpec

_LEGACY = {"target": "energy", "grad_target": "forces"}
_RECORDED = ("epoch", "step", "best_val_metric", "primary_metric", "val_metrics")


@dataclass(frozen=True, eq=False)
class Imported:
    """An imported checkpoint.

    Attributes:
        potential: The potential, in the precision of the file, or in float32 if that is half precision.
        config: The published configuration, unchanged.
        weights: Which weights were taken, in words.
        progress: Epoch, step and validation errors of the training, if the file has them.
        notes: Assumptions, and reasons why our numbers may differ.
    """

    potential: EsenPotential
    config: dict[str, Any]
    weights: str
    progress: dict[str, Any]
    notes: tuple[str, ...]


def import_published(path: Path, *, raw: bool = False) -> Imported:
    """Read a checkpoint of fairchem 1.x.

    Args:
        path: The `.pt` file.
        raw: Take the trained weights instead of their moving average.

    Raises:
        InputError: As `read_published` and `published_spec`, or the weights do not fit the configuration.
    """
    content = read_published(path)
    try:
        return _convert(content, raw)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:  # of another shape
        raise InputError(f"{path}: not as fairchem 1.x writes checkpoints ({error!r})") from error


def _convert(content: dict[str, Any], raw: bool) -> Imported:
    model = content["config"].get("model")
    if not isinstance(model, Mapping):
        raise InputError(f"config.model is {model!r}, expected the settings of a network")
    spec = published_spec(model)
    weights, words = _choose_weights(content, raw)
    notes: list[str] = []
    if spec.dens and not any(name.startswith("noise.") for name in weights):
        spec, weights = spec.model_copy(update={"dens": False}), without_denoising(weights)
        notes.append(
            "its denoising head was gone: what the force encoding adds to every atom is now part of the species"
        )
    if spec.graph.kind == "knn":
        notes.append(
            f"neighbours were limited to about {spec.graph.k}, all within 0.01 Å² of the next kept too; esen keeps"
            " the k nearest and exact ties, so that edges can differ"
        )
    references = _references(content, spec.max_elements)
    notes += _about_elements(references)
    _check_size(spec, weights)
    potential = EsenPotential(spec)
    _load(potential, weights)
    normalizers = {_LEGACY.get(k, k): v for k, v in (content.get("normalizers") or {}).items()}
    scale, offset = _unit(normalizers, "energy")
    potential.set_normalisation(scale, references.numpy())
    potential.offset.fill_(offset)
    if offset:
        notes.append(
            f"its energies have a mean: {offset:g} eV is added to every structure, whatever its size"
        )
    notes += _set_units(potential, normalizers, scale)
    progress = {key: content[key] for key in _RECORDED if content.get(key) is not None}
    return Imported(potential.eval().requires_grad_(False), content["config"], words, progress, tuple(notes))


def _check_size(spec: ModelSpec, weights: Mapping[str, Tensor]) -> None:
    """Compare the number of weights with the configuration before a network is made, which might not fit in memory."""
    held = sum(tensor.numel() for tensor in weights.values())
    asked = parameter_count(spec)
    if not asked / 2 <= held <= 2 * asked + 10_000:
        raise InputError(
            "its weights do not fit its configuration, which is of a network of another shape:"
            f" {held:,} numbers for {asked:,} parameters"
        )


def _choose_weights(content: Mapping[str, Any], raw: bool) -> tuple[dict[str, Tensor], str]:
    state, ema = content["state_dict"], content.get("ema")
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError("state_dict holds something other than tensors")
    if not isinstance(ema, Mapping) or not ema.get("shadow_params"):
        words = "the only weights of the file; best checkpoints of fairchem hold the moving average where there was one"
    elif raw:
        words = "weights as they were trained (--raw); the file has a moving average too"
    else:
        state, words = moving_average(state, ema), f"moving average of the weights (decay {ema.get('decay')})"
    return published_weights(state), words


def _load(potential: EsenPotential, weights: dict[str, Tensor]) -> None:
    potential.to(precision_of(weights))
    tensors = potential.state_dict()
    ours = {name: tensors[name] for name in tensors if name.startswith(("network.", "noise."))}
    ours |= {name: p for name, p in potential.named_parameters() if name.startswith("direct.")}
    for name in sorted(ours.keys() | weights.keys()):
        problem = None
        if name not in weights:
            problem = "is missing"
        elif name not in ours:
            problem = "has no place in the network"
        elif weights[name].shape != ours[name].shape:
            problem = f"has the shape {tuple(weights[name].shape)}, expected {tuple(ours[name].shape)}"
        if problem is not None:
            raise InputError(f"its weights do not fit its configuration: {name} {problem}")
        if not bool(weights[name].isfinite().all()):
            raise InputError(f"{name} holds values that are not finite")
    potential.load_state_dict(weights, strict=False)


def _references(content: Mapping[str, Any], count: int) -> Tensor:
    """Return E0 by atomic number, in eV."""
    tables = content.get("elementrefs") or {}
    for key in tables:
        if key != "energy":
            raise InputError(f"elementrefs.{key}: references of anything but the energy are not supported")
    references = torch.zeros(count, dtype=torch.float64)
    if "energy" in tables:
        table = tables["energy"]["element_references"].double().flatten()[:count]
        references[: len(table)] = table
        if not bool(references.isfinite().all()):
            raise InputError("elementrefs.energy holds values that are not finite")
    return references


def _about_elements(references: Tensor) -> list[str]:
    """Return a note on the elements that were probably in the training data, which the file does not list."""
    seen = references.nonzero().flatten().tolist()
    if not seen:
        return ["it has no reference energies, so that which elements it was trained on is not known"]
    if len(seen) > len(references) // 2:
        names = ", ".join(chemical_symbols[z] for z in range(1, len(references)) if z not in seen)
        return [f"without a reference energy, so probably not in its training data: {names}"] if names else []
    names = ", ".join(chemical_symbols[z] for z in seen)
    return [f"only these have a reference energy, others were probably not in its training data: {names}"]


def _unit(normalizers: Mapping[str, Any], target: str) -> tuple[float, float]:
    """Return the root mean square and the mean by which a target was normalised; 1 and 0 if it was not."""
    if target not in normalizers:
        return 1.0, 0.0
    values = normalizers[target]
    unit, mean = values.get("rmsd", values.get("std")), values.get("mean", 0.0)
    sizes = [torch.as_tensor(value, dtype=torch.float64).numel() for value in (unit, mean)]
    if unit is None or sizes != [1, 1] or not (0 < float(unit) < inf and isfinite(float(mean))):
        raise InputError(f"normalizers.{target} is {values!r}, expected a positive rmsd and a mean")
    return float(unit), float(mean)


def _set_units(potential: EsenPotential, normalizers: Mapping[str, Any], scale: float) -> list[str]:
    forces, shift = _unit(normalizers, "forces")
    if shift:
        raise InputError(
            f"normalizers.forces.mean is {shift:g}: it adds a constant to every component of every force"
        )
    if potential.direct is None:
        if abs(forces / scale - 1) > 1e-6 and "forces" in normalizers:
            return [
                f"its forces were scaled by {forces:g}, its energy by {scale:g}: there they are no gradient; esen's are"
            ]
        return []
    decomposed = not normalizers.keys().isdisjoint(("stress_isotropic", "stress_anisotropic"))
    isotropic, pressure = _unit(normalizers, "stress_isotropic" if decomposed else "stress")
    anisotropic, other = _unit(normalizers, "stress_anisotropic" if decomposed else "stress")
    if other:
        raise InputError(
            f"a mean of the stress, {other:g}, is added to components that turn with the crystal"
        )
    units = torch.tensor([forces, isotropic, anisotropic], dtype=torch.float64) / scale
    potential.direct.units.copy_(units)
    potential.direct.pressure.fill_(pressure)
    if not decomposed:
        return []
    return [
        "the published calculator gives the stress of this direct model in the network's units; here it is in eV/Å³"
    ]
