"""Between this package and ASE, both ways."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from jaxtyping import Float64

from esen.data.atoms import from_atoms
from esen.data.checks import check_structure
from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Graph, Potential, Prediction
from esen.models.checkpoint import load_potential
from esen.models.memory import memory_mode
from esen.recipe.model import Backend
from esen.recipe.train import MemoryMode

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class EsenCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """A potential as an ASE calculator: energy, free_energy, forces, stress, energies, in ASE's units.

    The stress exists only where all three lattice vectors are periods. There is no electronic temperature, so
    the free energy is the energy. A change of positions, cell, periods or elements calls the potential anew;
    charges, magnetic moments, constraints and `info` do not.

    Args:
        potential: a checkpoint's path, a run's folder, or any potential.
        dtype: of a checkpoint's weights; None: as they were trained.
        device: `cpu`, `cuda`, …; `auto`: a checkpoint goes to the GPU if there is one, a potential stays.
        memory: of a checkpoint: `fast`; `lean`, for large systems; `auto`, by the memory that is free.

    Raises:
        InputError: the checkpoint cannot be read, the device or mode is not there, or, on use, the potential does not
            know an element or its prediction is not finite, as for two atoms in one place.
    """

    name = "esen"
    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress", "energies"]
    ignored_changes: ClassVar[set[str]] = {"initial_charges", "initial_magmoms"}

    def __init__(
        self,
        potential: str | Path | Potential,
        *,
        dtype: Literal["float32", "float64"] | None = None,
        device: str = "auto",
        memory: MemoryMode = "auto",
    ) -> None:
        super().__init__()
        memory = memory_mode(memory)
        self.potential: Potential
        if isinstance(potential, str | Path):
            self.device = choose_device(device)
            weights = find_weights(Path(potential))
            self.potential = load_potential(
                weights, dtype=choose_dtype(dtype), device=self.device, memory=memory
            )
        else:
            if dtype is not None:
                raise InputError("EsenCalculator: dtype is for a checkpoint; this potential has its own")
            if memory != "auto":
                raise InputError(
                    "EsenCalculator: memory is for a checkpoint; call the potential's use_memory"
                )
            self.device = _device_of(potential) if device == "auto" else choose_device(device)
            self.potential = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """All properties at once: the energy alone costs nearly as much."""
        super().calculate(atoms, properties, system_changes)
        structure = from_atoms(self.atoms, "the atoms of the calculator")
        if not len(structure):
            nothing = {"energy": 0.0, "free_energy": 0.0, "forces": np.zeros((0, 3)), "energies": np.zeros(0)}
            self.results = nothing | ({"stress": np.zeros(6)} if structure.pbc.all() else {})
            return
        graph = make_graph([structure], self.potential.cutoff, self.potential.backend).to(self.device)
        prediction = self.potential(graph).to("cpu")
        energy = float(prediction.energy[0])
        if not (np.isfinite(energy) and bool(prediction.forces.isfinite().all())):
            raise InputError(_why_not_finite(structure))
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": prediction.forces.detach().numpy(),
            "energies": prediction.energies.detach().numpy(),
        }
        stress = prediction.stress[0].detach().numpy()
        if structure.pbc.all() and np.isfinite(stress).all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """A property of `atoms`, from memory if nothing has moved.

        Raises:
            PropertyNotImplementedError: for the stress of what is not periodic in three directions.
        """
        about = self.atoms if atoms is None else atoms
        if name == "stress" and about is not None and not about.pbc.all():
            raise PropertyNotImplementedError(
                "esen: a stress needs a cell that is periodic in three directions"
            )
        return super().get_property(name, atoms, allow_calculation)


class AsePotential:
    """Any ASE calculator as a potential, one structure after the other.

    The calculator finds its own neighbours, so no edges are needed and the cutoff may be 0. Energies per atom
    are the calculator's if it has them; otherwise the energy is spread evenly, which says nothing of an atom.
    A stress that the calculator does not offer is NaN; without three periods it is zero.
    """

    def __init__(self, calculator: Calculator, cutoff: float = 0.0) -> None:
        self.calculator, self.cutoff = calculator, cutoff
        self.backend: Backend = "vesin"

    def __call__(self, graph: Graph) -> Prediction:
        """Predict; the tensors are on the graph's device."""
        on_cpu = graph.to("cpu")
        single = [self._predict(_atoms(on_cpu, i)) for i in range(graph.num_structures)]
        energy, forces, stress, energies = zip(*single, strict=True)
        return Prediction(
            energy=torch.tensor(energy, dtype=torch.float64),
            forces=torch.from_numpy(np.concatenate(forces)),
            stress=torch.from_numpy(np.stack(stress)),
            energies=torch.from_numpy(np.concatenate(energies)),
        ).to(graph.positions.device)

    def _predict(
        self, atoms: Atoms
    ) -> tuple[float, Float64[np.ndarray, "N 3"], Float64[np.ndarray, "3 3"], Float64[np.ndarray, " N"]]:
        offered = self.calculator.implemented_properties
        energy = float(self.calculator.get_property("energy", atoms))
        forces = np.array(self.calculator.get_property("forces", atoms), dtype=np.float64)
        if forces.shape != (len(atoms), 3):
            raise InputError(
                f"the calculator gives forces of the shape {forces.shape}, expected {(len(atoms), 3)}"
            )
        stress = np.zeros((3, 3))
        if atoms.pbc.all():
            stress += self._stress(atoms) if "stress" in offered else np.nan
        return energy, forces, stress, self._energies(atoms, energy)

    def _energies(self, atoms: Atoms, energy: float) -> Float64[np.ndarray, " N"]:
        """The calculator's, where it has them: some say that they do and do not."""
        if "energies" in self.calculator.implemented_properties:
            with suppress(PropertyNotImplementedError):
                return np.array(self.calculator.get_property("energies", atoms), dtype=np.float64)
        return np.full(len(atoms), energy / max(len(atoms), 1))

    def _stress(self, atoms: Atoms) -> Float64[np.ndarray, "3 3"]:
        stress = np.array(self.calculator.get_property("stress", atoms), dtype=np.float64)
        return voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress


def choose_device(name: str) -> str:
    """`auto`: the GPU if there is one.

    Raises:
        InputError: if there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {name!r} is not there: {str(error).splitlines()[0]}; use cpu or auto"
        ) from None
    return name


def choose_dtype(name: str | None) -> torch.dtype | None:
    """The precision of a name; None stays None.

    Raises:
        InputError: it is neither float32 nor float64.
    """
    if name is not None and name not in _DTYPES:
        raise InputError(f"dtype is {name!r}, expected {' or '.join(_DTYPES)}")
    return None if name is None else _DTYPES[name]


def find_weights(potential: Path) -> Path:
    """The checkpoint itself, or the best one of a run's folder.

    Raises:
        InputError: there is none.
    """
    if potential.is_dir():
        for name in ("best.safetensors", "last.safetensors"):
            if (potential / name).is_file():
                return potential / name
        raise InputError(f"{potential}: the folder has no best.safetensors and no last.safetensors")
    if not potential.is_file():
        raise InputError(f"{potential}: no such file; expected a checkpoint (.safetensors) or a run's folder")
    return potential


def _device_of(potential: Potential) -> str:
    if isinstance(potential, torch.nn.Module):
        for weights in potential.parameters():
            return str(weights.device)
    return "cpu"


def _why_not_finite(structure: Structure) -> str:
    try:
        check_structure(structure, len(chemical_symbols))
    except InputError as error:
        return str(error)
    return f"{structure.source}: the potential's prediction is not finite; the atoms may be far too close"


def _atoms(graph: Graph, i: int) -> Atoms:
    mine = graph.structure == i
    return Atoms(
        numbers=graph.numbers[mine].numpy(),
        positions=graph.positions[mine].numpy(),
        cell=graph.cell[i].numpy(),
        pbc=graph.pbc[i].numpy(),
    )
