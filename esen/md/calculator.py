"""A potential as an ASE calculator, and an ASE calculator as a potential."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from jaxtyping import Float64

from esen import __version__
from esen.data.atoms import from_atoms
from esen.data.checks import check_elements, check_structure, overlap
from esen.data.structure import Structure
from esen.errors import InputError, first_line
from esen.files import sha256_of
from esen.graph.batch import make_graph
from esen.graph.edges import edge_vectors
from esen.graph.types import Graph, Potential, Prediction
from esen.models.captured import captured
from esen.models.checkpoint import load_potential
from esen.models.memory import memory_mode
from esen.recipe.model import Backend
from esen.recipe.train import MemoryMode

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class EsenCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """A potential as an ASE calculator.

    Properties, in ASE's units: `energy` and `free_energy` (eV; they are equal, because there is no electronic
    temperature), `forces` (eV/Å), `stress` (eV/Å³, tension positive, Voigt order xx, yy, zz, yz, xz, xy) and `energies`
    (eV per atom). The stress exists wherever the cell has a volume, periodic or not: in a slab, V includes the vacuum.
    All properties are computed at once and kept until positions, cell, periodicity or elements change; charges,
    magnetic moments, constraints and `info` do not matter.

    Threads may share a calculator: a lock lets one of them compute at a time. `copy.deepcopy` and `pickle` work.

    On a GPU, a checkpoint's predictions for the same number of atoms are replayed from a CUDA graph, which holds the
    memory of all intermediate results. With the environment variable `ESEN_CUDA_GRAPHS=0` they are not.

    Attributes:
        parameters: Where a checkpoint comes from, as ASE keeps it in databases and trajectories: `checkpoint` (path),
            `sha256`, `dtype` and `esen` (version).

    Args:
        potential: Path of a checkpoint or of a run's folder, or any `Potential`.
        dtype: Precision of a checkpoint; None keeps that of training.
        device: `cpu`, `cuda`, …; with `auto`, a checkpoint is put on the GPU if there is one, and a `Potential` stays
            where it is.
        memory: Memory mode of a checkpoint: `fast`, `lean` for large systems, or `auto` by the memory that is free.

    Raises:
        InputError: The checkpoint cannot be read, the device or mode does not exist, or, on use, the potential does not
            know an element or its prediction is not finite, as for two atoms in one place.

    Example:
        >>> from ase.build import bulk
        >>> atoms = bulk("MgO", "rocksalt", a=4.2)
        >>> atoms.calc = EsenCalculator("runs/quickstart")  # doctest: +SKIP
        >>> atoms.get_potential_energy()  # doctest: +SKIP
        -11.9
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
        """Load a checkpoint, or take a potential as it is. See the class for the arguments."""
        super().__init__()
        self._lock = RLock()
        self._warned = False
        memory = memory_mode(memory)
        self.potential: Potential
        self._predict: Potential
        if isinstance(potential, str | Path):
            self.device = choose_device(device)
            weights = find_weights(Path(potential))
            loaded = load_potential(weights, dtype=choose_dtype(dtype), device=self.device, memory=memory)
            self.potential = loaded
            self._predict = captured(loaded)
            self.parameters.update(
                checkpoint=str(weights.absolute()),
                sha256=sha256_of(weights),
                dtype=str(next(loaded.parameters()).dtype).removeprefix("torch."),
                esen=__version__,
            )
            return
        if dtype is not None:
            raise InputError("EsenCalculator: dtype is for a checkpoint; this potential has its own")
        if memory != "auto":
            raise InputError("EsenCalculator: memory is for a checkpoint; call the potential's use_memory")
        self.device = _device_of(potential) if device == "auto" else choose_device(device)
        self.potential = self._predict = potential

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute all properties at once, because the energy alone costs nearly as much."""
        with self._lock:
            super().calculate(atoms, properties, system_changes)
            self.results = self._results(from_atoms(self.atoms, "the atoms of the calculator"))

    def _results(self, structure: Structure) -> dict[str, Any]:
        if not len(structure):
            nothing = {"energy": 0.0, "free_energy": 0.0, "forces": np.zeros((0, 3)), "energies": np.zeros(0)}
            return nothing | ({"stress": np.zeros(6)} if structure.has_volume else {})
        check_elements(structure, len(chemical_symbols))
        graph = make_graph([structure], self.potential.cutoff, self.potential.backend)
        prediction = self._predict(graph.to(self.device)).to("cpu")
        energy = float(prediction.energy[0])
        if not (np.isfinite(energy) and bool(prediction.forces.isfinite().all())):
            raise InputError(_why_not_finite(structure))
        if not self._warned:
            self._warn_of_overlap(graph)
        results = {
            "energy": energy,
            "free_energy": energy,
            "forces": prediction.forces.detach().numpy(),
            "energies": prediction.energies.detach().numpy(),
        }
        stress = prediction.stress[0].detach().numpy()
        if np.isfinite(stress).all():
            results["stress"] = full_3x3_to_voigt_6_stress(stress)
        return results

    def _warn_of_overlap(self, graph: Graph) -> None:
        """Warn once of atoms so close that no potential was trained on them."""
        pair = overlap(
            graph.numbers.numpy(),
            graph.receiver.numpy(),
            graph.sender.numpy(),
            edge_vectors(graph).norm(dim=1).numpy(),
        )
        if pair is not None:
            i, j, distance = pair
            names = [f"{chemical_symbols[int(graph.numbers[k])]} (atom {k})" for k in (i, j)]
            warnings.warn(
                f"{' and '.join(names)} are {distance:.3f} Å apart, less than half the sum of their covalent radii:"
                " the prediction may have no meaning",
                stacklevel=2,
            )
            self._warned = True

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Return a property of `atoms`, computed if anything has changed since the last time.

        Raises:
            PropertyNotImplementedError: The stress of atoms whose cell has no volume is asked for.
        """
        with self._lock:
            about = self.atoms if atoms is None else atoms
            if name == "stress" and about is not None and not from_atoms(about, "").has_volume:
                raise PropertyNotImplementedError(
                    "esen: a stress is an energy per volume, and the cell of these atoms has no volume"
                )
            return super().get_property(name, atoms, allow_calculation)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: everything but the lock."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, with a lock of its own."""
        self.__dict__.update(state)
        self._lock = RLock()


class AsePotential:
    """An ASE calculator as a potential, which predicts one structure after the other.

    The calculator finds its own neighbours, so no edges are needed and the cutoff may be 0. Energies per atom are the
    calculator's if it has them; otherwise the total energy is divided evenly. The stress is NaN if the calculator has
    none or the cell no volume.

    Args:
        calculator: Any ASE calculator with energy and forces.
        cutoff: Cutoff of the graphs that the potential is given, in Å.
    """

    def __init__(self, calculator: Calculator, cutoff: float = 0.0) -> None:
        self.calculator, self.cutoff = calculator, cutoff
        self.backend: Backend = "vesin"

    def __call__(self, graph: Graph) -> Prediction:
        """Predict; the tensors are on the graph's device.

        Raises:
            InputError: The forces have the wrong shape.
        """
        on_cpu = graph.to("cpu")
        single = [self._predict(_atoms(on_cpu, i)) for i in range(graph.num_structures)]
        energy, forces, stress, energies = zip(*single, strict=True)
        return Prediction.of_stress(
            on_cpu,
            torch.tensor(energy, dtype=torch.float64),
            torch.from_numpy(np.concatenate(forces)),
            torch.from_numpy(np.stack(stress)),
            torch.from_numpy(np.concatenate(energies)),
        ).to(graph.positions.device)

    def _predict(
        self, atoms: Atoms
    ) -> tuple[float, Float64[np.ndarray, "N 3"], Float64[np.ndarray, "3 3"], Float64[np.ndarray, " N"]]:
        energy = float(self.calculator.get_property("energy", atoms))
        forces = np.array(self.calculator.get_property("forces", atoms), dtype=np.float64)
        if forces.shape != (len(atoms), 3):
            raise InputError(
                f"the calculator gives forces of the shape {forces.shape}, expected {(len(atoms), 3)}"
            )
        none = np.full((3, 3), np.nan)
        try:
            stress = self._optional("stress", atoms, none) if from_atoms(atoms, "").has_volume else none
        except Exception:
            if atoms.pbc.all():
                raise
            stress = none  # a calculator may know the stress of crystals only
        return (
            energy,
            forces,
            voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress,
            self._optional("energies", atoms, np.full(len(atoms), energy / max(len(atoms), 1))),
        )

    def _optional(
        self, name: str, atoms: Atoms, otherwise: Float64[np.ndarray, "..."]
    ) -> Float64[np.ndarray, "..."]:
        """A property, or `otherwise`; some calculators list a property and then do not have it."""
        if name in self.calculator.implemented_properties:
            with suppress(PropertyNotImplementedError):
                return np.array(self.calculator.get_property(name, atoms), dtype=np.float64)
        return otherwise


def choose_device(name: str) -> str:
    """Return the device of a name; `auto` is the GPU if there is one, otherwise the CPU.

    Raises:
        InputError: There is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} is not there: {first_line(error)}; use cpu or auto") from None
    return name


def choose_dtype(name: str | None) -> torch.dtype | None:
    """Return the precision of a name; None stays None.

    Raises:
        InputError: The name is neither float32 nor float64.
    """
    if name is not None and name not in _DTYPES:
        raise InputError(f"dtype is {name!r}, expected {' or '.join(_DTYPES)}")
    return None if name is None else _DTYPES[name]


def find_weights(potential: Path) -> Path:
    """Return the checkpoint itself, or the best one of a run's folder.

    Raises:
        InputError: There is no checkpoint.
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
