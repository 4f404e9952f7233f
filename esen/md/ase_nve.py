"""Velocity Verlet at constant energy with an ASE calculator."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet
from torch import Tensor

from esen.errors import InputError
from esen.md.engine import (
    FARTHEST,
    NOT_FINITE,
    TOO_FAR,
    TOO_HOT,
    Arrays,
    Failure,
    Snapshot,
    Start,
    hottest_kinetic,
    refused,
    restored_failures,
    saved_failures,
)

_RENEWED = 20
"""Steps after which the calculator must forget what it knows."""


class AseNve:
    """One system of an ASE calculator, by ASE's own `VelocityVerlet`.

    A calculator may keep a list of neighbours for some steps, and sum over it in an order that depends on when it was
    made. So that a trajectory has the same bits when it is resumed, or follows another of the same calculator, it is
    reset at the start and every 20 steps; what is saved is the state at the last reset, from which `restore` makes the
    steps again. That is exact for calculators whose `reset` leaves nothing behind, as of ASE's own.

    Args:
        calculator: of the system alone; it may keep what it likes between calls.
        start: not changed.
        timestep_fs: Δt.
    """

    def __init__(self, calculator: Any, start: Start, timestep_fs: float) -> None:
        self.start = start
        self.step = 0
        self.failures: dict[int, Failure] = {}
        structure = start.structure
        self._atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
        self._atoms.set_masses(start.masses)
        self._atoms.set_momenta(start.momenta)
        self._atoms.calc = calculator
        self._dynamics = VelocityVerlet(self._atoms, timestep=timestep_fs * units.fs)
        self._forces = np.full((len(structure), 3), np.nan)
        self._energy = np.nan
        self._reset()  # of what it knows from another system
        self._attempt(self._look)
        self._renewed = self._renew()

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
            self._attempt(self._one)
            if self.step % _RENEWED == 0:
                self._renewed = self._renew()

    def observe(self) -> tuple[Tensor, Tensor]:
        """See `Engine`."""
        if not self.failures and self._kinetic() > hottest_kinetic(float(len(self._atoms))):
            self.failures[0] = Failure(self.step, TOO_HOT)
        if self.failures:
            return torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
        values = (self._energy, self._kinetic())
        potential, kinetic = (torch.tensor([value], dtype=torch.float64) for value in values)
        return potential, kinetic

    def snapshot(self, system: int) -> Snapshot:
        """See `Engine`."""
        return Snapshot(
            self._atoms.get_positions(), self._atoms.get_momenta(), self._forces.copy(), self._energy
        )

    def save(self) -> Arrays:
        """See `Engine`."""
        return self._renewed | saved_failures(self.step, self.live, self.failures)

    def restore(self, arrays: Arrays) -> None:
        """See `Engine`."""
        self._renewed = {name: arrays[name] for name in self._renewed}
        self._atoms.set_positions(arrays["positions"])
        self._atoms.set_momenta(arrays["momenta"])
        self._forces, self._energy = arrays["forces"], float(arrays["energy"][0])
        self._reset()
        step, _, failures = restored_failures(arrays)
        if not failures:
            self.step, self.failures = int(arrays["renewed"]), {}
            self.advance(step - self.step)
        else:
            self.step, self.failures = step, failures

    def _renew(self) -> Arrays:
        """Let the calculator forget; what is needed to go on from here."""
        self._reset()
        state = {"positions": self._atoms.get_positions(), "momenta": self._atoms.get_momenta()}
        return state | {
            "forces": self._forces.copy(),
            "energy": np.array([self._energy]),
            "renewed": np.array(self.step),
        }

    def _reset(self) -> None:
        calculator = self._atoms.calc
        if isinstance(calculator, Calculator):
            calculator.reset()

    def _kinetic(self) -> float:
        return float(self._atoms.get_kinetic_energy())

    def _one(self) -> None:
        momenta = self._atoms.get_momenta() + 0.5 * self._dynamics.dt * self._forces
        moves = self._dynamics.dt * momenta / self._atoms.get_masses()[:, None]
        if not np.abs(moves).max() <= FARTHEST:
            raise InputError(TOO_FAR)
        self._dynamics.step(self._forces)
        self._look()

    def _look(self) -> None:
        """The forces and energy of where the atoms are, which the calculator has just computed."""
        self._forces = np.array(self._atoms.get_forces(), dtype=np.float64)
        self._energy = float(self._atoms.get_potential_energy())
        if not (np.isfinite(self._forces).all() and np.isfinite(self._energy)):
            raise InputError(NOT_FINITE)

    def _attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # whatever a foreign calculator meets
            self.failures[0] = Failure(self.step, refused(error))
