"""Velocity Verlet at constant energy with an ASE calculator."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ase import units
from ase.calculators.calculator import Calculator
from torch import Tensor

from esen.data.atoms import to_atoms
from esen.data.constraints import projected
from esen.errors import InputError
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

_RESET_EVERY = 20
"""Steps after which the calculator must forget its internal state."""


class AseNve:
    """Integrates one system with an ASE calculator, with the operations of ASE's `VelocityVerlet` in the same order.

    A calculator may keep a neighbour list for some steps, and sum over it in an order that depends on when the list was
    made. For a trajectory to have the same bits when it is resumed, or when the calculator was used before, the
    calculator is reset at the start and every 20 steps. `save` returns the state at the last reset, from which
    `restore` repeats the steps since. This is exact for calculators whose `reset` leaves nothing behind, as ASE's own.

    Args:
        calculator: computes this system only.
        start: is not changed.
        timestep_fs: Δt.
    """

    def __init__(self, calculator: Any, start: Start, timestep_fs: float) -> None:
        self.start = start
        self.step = 0
        self.failures: dict[int, Failure] = {}
        structure = start.structure
        self._atoms = to_atoms(structure)
        self._free = start.free
        self._atoms.set_masses(start.masses)
        self._atoms.set_momenta(start.momenta)
        self._angular_start = self._atoms.get_angular_momentum()
        self._atoms.calc = calculator
        self._timestep = timestep_fs * units.fs
        self._forces = np.full((len(structure), 3), np.nan)
        self._earlier = (self._forces, self._forces)
        self._energy = np.nan
        self._forget()
        self._guarded(self._compute)
        self._saved = self._reset()

    @property
    def live(self) -> Sequence[int]:
        """See `Engine`."""
        return [] if self.failures else [0]

    def advance(self, steps: int = 1) -> None:
        """See `Engine`."""
        for _ in range(steps):
            if self.failures:
                return
            self.step += 1
            self._guarded(self._move)
            if self.step % _RESET_EVERY == 0:
                self._saved = self._reset()

    def observe(self) -> tuple[Tensor, Tensor]:
        """See `Engine`."""
        kinetic = float(self._atoms.get_kinetic_energy())
        if not self.failures and kinetic > HOTTEST_KINETIC * len(self._atoms):
            self.failures[0] = Failure(self.step, TOO_HOT)
        values = ([], []) if self.failures else ([self._energy], [kinetic])
        return torch.tensor(values[0], dtype=torch.float64), torch.tensor(values[1], dtype=torch.float64)

    def invariants(self) -> tuple[Tensor, Tensor]:
        """See `Engine`."""
        atoms, momenta = self._atoms, self._atoms.get_momenta()
        forces, masses = projected(self._forces, self._free), self.start.masses[:, None]
        correction = shadow_correction(momenta, masses, forces, self._earlier, self._timestep)
        shadow = self._energy + float(atoms.get_kinetic_energy()) + float(correction.sum())
        turned = np.nan
        if self.start.rotates_freely:
            turned = float(np.linalg.norm(atoms.get_angular_momentum() - self._angular_start)) / HBAR
        values = ([], []) if self.failures else ([shadow], [turned])
        return torch.tensor(values[0], dtype=torch.float64), torch.tensor(values[1], dtype=torch.float64)

    def snapshot(self, system: int) -> Snapshot:
        """See `Engine`."""
        return Snapshot(
            self._atoms.get_positions(), self._atoms.get_momenta(), self._forces.copy(), self._energy
        )

    def save(self) -> Arrays:
        """See `Engine`."""
        return self._saved | progress_arrays(self.step, self.live, self.failures)

    def restore(self, arrays: Arrays) -> None:
        """See `Engine`."""
        self._saved = {name: arrays[name] for name in self._saved if name in arrays}
        self._atoms.set_positions(arrays["positions"])
        self._atoms.set_momenta(arrays["momenta"])
        self._forces, self._energy = arrays["forces"], float(arrays["energy"][0])
        self._earlier = earlier_forces(arrays)
        self._forget()
        step, _, failures = progress_of(arrays)
        if not failures:
            self.step, self.failures = int(arrays["renewed"]), {}
            self.advance(step - self.step)
        else:
            self.step, self.failures = step, failures

    def _reset(self) -> Arrays:
        """Reset the calculator and return the state from which the trajectory can be continued."""
        self._forget()
        return {
            "positions": self._atoms.get_positions(),
            "momenta": self._atoms.get_momenta(),
            "forces": self._forces.copy(),
            "forces_before": self._earlier[0].copy(),
            "forces_before_that": self._earlier[1].copy(),
            "energy": np.array([self._energy]),
            "renewed": np.array(self.step),
        }

    def _forget(self) -> None:
        calculator = self._atoms.calc
        if isinstance(calculator, Calculator):
            calculator.reset()

    def _move(self) -> None:
        """Make one step, as `BatchNve`."""
        momenta = self._atoms.get_momenta() + 0.5 * self._timestep * projected(self._forces, self._free)
        moves = self._timestep * momenta / self._atoms.get_masses()[:, None]
        if not np.abs(moves).max() <= FARTHEST:
            raise InputError(TOO_FAR)
        self._atoms.set_positions(self._atoms.get_positions() + moves)
        self._atoms.set_momenta(momenta)
        self._earlier = (self._forces, self._earlier[0])
        self._compute()
        kick = 0.5 * self._timestep * projected(self._forces, self._free)
        self._atoms.set_momenta(self._atoms.get_momenta() + kick)

    def _compute(self) -> None:
        self._forces = np.array(self._atoms.get_forces(), dtype=np.float64)
        self._energy = float(self._atoms.get_potential_energy())
        if not (np.isfinite(self._forces).all() and np.isfinite(self._energy)):
            raise InputError(NOT_FINITE)

    def _guarded(self, action: Callable[[], None]) -> None:
        """Stop the system if the action raises an error."""
        try:
            action()
        except Exception as error:  # a foreign calculator may raise anything
            self.failures[0] = Failure(self.step, refusal(error))
