"""Velocity Verlet at constant energy for several systems in one batch."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from ase import units
from jaxtyping import Float64
from torch import Tensor

from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Potential
from esen.md.engine import (
    FARTHEST,
    HBAR,
    HOTTEST_KINETIC,
    NOT_FINITE,
    TOO_FAR,
    TOO_HOT,
    Arrays,
    Failure,
    Snapshot,
    Start,
    earlier_forces,
    progress_arrays,
    progress_of,
    refusal,
    shadow_correction,
)
from esen.md.verlet_list import SKIN, VerletList


class BatchNve:
    """Integrates systems by velocity Verlet, all in one batch on the device of the potential.

        p ← p + F Δt/2,    r ← r + p Δt/m,    F ← −∂E/∂r,    p ← p + F Δt/2.

    In float64, with the operations of ASE's `VelocityVerlet` in the same order. F has only the components along which
    constraints let an atom move, so fixed atoms stay where they are.

    Args:
        potential: evaluates graphs.
        starts: one or more systems; they are not changed.
        timestep_fs: Δt.
        device: where the potential is.
        skin: of the neighbour list, in Å.

    Raises:
        InputError: the batch does not fit in memory.
    """

    def __init__(
        self,
        potential: Potential,
        starts: Sequence[Start],
        timestep_fs: float,
        *,
        device: str = "cpu",
        skin: float = SKIN,
    ) -> None:
        self.potential, self.starts, self.device = potential, tuple(starts), device
        self.timestep = timestep_fs * units.fs
        self.step = 0
        self.failures: dict[int, Failure] = {}
        self._skin = skin
        self._live = list(range(len(starts)))
        self._positions = self._of_starts(lambda start: start.structure.positions)
        self._momenta = self._of_starts(lambda start: start.momenta)
        self._arrange()
        self._forces = torch.zeros_like(self._positions)
        unknown = torch.full_like(self._positions, torch.nan)
        self._earlier = (unknown, unknown)
        self._energy = self._forces.new_zeros(len(self._live))
        self._lost = torch.zeros(len(self._live), dtype=torch.bool, device=device)
        self._compute(0)

    @property
    def live(self) -> Sequence[int]:
        """See `Engine`."""
        return self._live

    @property
    def searches(self) -> int:
        """Number of neighbour searches since the last change of the number of systems."""
        return self._list.searches

    def advance(self, steps: int = 1) -> None:
        """See `Engine`."""
        for _ in range(steps):
            if not self._live:
                return
            self._momenta = self._momenta + (0.5 * self.timestep) * self._free_forces()
            self._positions = self._positions + self.timestep * self._momenta / self._masses
            self._earlier = (self._forces, self._earlier[0])
            self._compute(self.step + 1)
            self._momenta = self._momenta + (0.5 * self.timestep) * self._free_forces()
            self.step += 1

    def observe(self) -> tuple[Tensor, Tensor]:
        """See `Engine`."""
        self._stop(self._lost, NOT_FINITE, self.step)
        kinetic = self._kinetic()
        hot = kinetic > HOTTEST_KINETIC * self._counts
        self._stop(hot, TOO_HOT, self.step)
        return self._energy, kinetic[~hot]

    def invariants(self) -> tuple[Tensor, Tensor]:
        """See `Engine`."""
        forces = self._free_forces()
        correction = shadow_correction(self._momenta, self._masses, forces, self._earlier, self.timestep)
        turned = self._angular_momenta(self._positions, self._momenta) - self._angular_start
        shadow = self._energy + self._kinetic() + self._sums(correction.sum(dim=1))
        return shadow, turned.norm(dim=1) / HBAR

    def snapshot(self, system: int) -> Snapshot:
        """See `Engine`."""
        place = self._live.index(system)
        mine = self._structure == place
        positions, momenta, forces = (
            tensor[mine].cpu().numpy() for tensor in (self._positions, self._momenta, self._forces)
        )
        return Snapshot(positions, momenta, forces, float(self._energy[place]))

    def save(self) -> Arrays:
        """See `Engine`."""
        tensors = {"positions": self._positions, "momenta": self._momenta, "forces": self._forces}
        tensors |= {"forces_before": self._earlier[0], "forces_before_that": self._earlier[1]}
        tensors |= {"energy": self._energy, "lost": self._lost}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        return arrays | progress_arrays(self.step, self._live, self.failures)

    def restore(self, arrays: Arrays) -> None:
        """See `Engine`."""
        self.step, self._live, self.failures = progress_of(arrays)
        self._positions, self._momenta = (self._tensor(arrays[name]) for name in ("positions", "momenta"))
        self._arrange()
        self._forces, self._energy = (self._tensor(arrays[name]) for name in ("forces", "energy"))
        self._lost = self._tensor(arrays["lost"])
        before, before_that = earlier_forces(arrays)
        self._earlier = (self._tensor(before), self._tensor(before_that))

    def _free_forces(self) -> Float64[Tensor, "N 3"]:
        return self._forces if self._free is None else torch.einsum("nij,nj->ni", self._free, self._forces)

    def _kinetic(self) -> Float64[Tensor, " B"]:
        return 0.5 * self._sums((self._momenta.square() / self._masses).sum(dim=1))

    def _angular_momenta(
        self, positions: Float64[Tensor, "N 3"], momenta: Float64[Tensor, "N 3"]
    ) -> Float64[Tensor, "B 3"]:
        """Return the angular momenta about the centres of mass; NaN where they are not conserved."""
        centres = self._sums(self._masses * positions) / self._sums(self._masses)
        angular = self._sums(torch.linalg.cross(positions - centres[self._structure], momenta))
        free = [self.starts[system].rotates_freely for system in self._live]
        return angular.masked_fill(
            ~torch.tensor(free, dtype=torch.bool, device=self.device)[:, None], torch.nan
        )

    def _compute(self, step: int) -> None:
        """Compute forces and energies at the positions, which belong to `step`; stop systems that have none."""
        lost = self._lost
        moved = self._list.displacements(self._positions).masked_fill(lost[self._structure], torch.inf)
        limit = FARTHEST + self._skin / 2  # atoms may have moved by half a skin since the last search
        farthest = float(moved.max()) if len(moved) else 0.0
        if not farthest <= limit:
            far = (self._sums((~(moved <= limit)).double()) > 0) & ~lost
            self._stop(lost, NOT_FINITE, self.step)
            self._stop(far[~lost], TOO_FAR, step)
            farthest = max(self._list.displacements(self._positions).tolist(), default=0.0)
        if not self._live:
            return
        try:
            prediction = self.potential(self._list.graph(self._positions, farthest))
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"out of memory: {len(self._live)} systems of {len(self._positions)} atoms together; "
                "put fewer atoms into a batch with --batch-atoms"
            ) from error
        except Exception as error:  # a foreign potential raises anything; ours, an unknown element
            self._stop_refused(error, step)
            self._compute(step)
            return
        self._forces, self._energy = prediction.forces.detach(), prediction.energy.detach()
        self._lost = ~(self._sums(self._forces.square().sum(dim=1)).isfinite() & self._energy.isfinite())

    def _stop_refused(self, error: Exception, step: int) -> None:
        """Evaluate each system by itself, and stop those that the potential refuses.

        Raises:
            Exception: `error`, if the potential refuses none of them.
        """
        reasons: dict[int, str] = {}
        for place in range(len(self._live)):
            mine = self._structure == place
            structure = replace(self._list.structures[place], positions=self._positions[mine].cpu().numpy())
            graph = make_graph(structure, self.potential.cutoff, self.potential.backend)
            try:
                self.potential(graph.to(self.device))
            except Exception as alone:
                reasons[place] = refusal(alone)
        if not reasons:
            raise error
        for place in sorted(reasons, reverse=True):
            which = torch.arange(len(self._live), device=self.device) == place
            self._stop(which, reasons[place], step)

    def _stop(self, which: Tensor, reason: str, step: int) -> None:
        """Take systems out of the batch and record why."""
        if not bool(which.any()):
            return
        keep = ~which
        for place in torch.nonzero(which).flatten().tolist():
            self.failures[self._live[place]] = Failure(step, reason)
        atoms = keep[self._structure]
        self._live = [self._live[place] for place in torch.nonzero(keep).flatten().tolist()]
        self._positions, self._momenta, self._forces = (
            tensor[atoms] for tensor in (self._positions, self._momenta, self._forces)
        )
        self._earlier = (self._earlier[0][atoms], self._earlier[1][atoms])
        self._energy, self._lost = self._energy[keep], self._lost[keep]
        self._arrange()

    def _arrange(self) -> None:
        """Derive masses, free directions, indices and the neighbour list from the list of live systems."""
        structures = [self.starts[system].structure for system in self._live]
        counts = [len(structure) for structure in structures]
        self._counts = torch.tensor(counts, dtype=torch.int64, device=self.device)
        self._structure = torch.repeat_interleave(torch.arange(len(counts), device=self.device), self._counts)
        self._masses = self._of_starts(lambda start: start.masses[:, None])
        self._angular_start = self._angular_momenta(
            self._of_starts(lambda start: start.structure.positions),
            self._of_starts(lambda start: start.momenta),
        )
        self._free: Tensor | None = None
        if any(self.starts[system].free is not None for system in self._live):
            self._free = self._of_starts(_directions)
        now = self._positions.cpu().split(counts)
        self._list = VerletList(
            [replace(s, positions=p.numpy()) for s, p in zip(structures, now, strict=True)],
            self.potential.cutoff,
            self.potential.backend,
            self.device,
            self._skin,
        )

    def _of_starts(self, values: Callable[[Start], np.ndarray]) -> Tensor:
        arrays = [values(self.starts[system]) for system in self._live]
        return self._tensor(np.concatenate(arrays) if arrays else np.zeros((0, 3)))

    def _sums(self, of_atoms: Float64[Tensor, "N *rest"]) -> Float64[Tensor, "B *rest"]:
        zeros = of_atoms.new_zeros((len(self._live), *of_atoms.shape[1:]))
        return zeros.index_add(0, self._structure, of_atoms)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(array, device=self.device)


def _directions(start: Start) -> np.ndarray:
    return np.tile(np.eye(3), (len(start.structure), 1, 1)) if start.free is None else start.free
