"""Short tests of potentials that take no time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.io import write

from esen.md.protocols import Protocol
from esen.md.systems import System
from esen.study.campaign import CampaignResult
from esen.study.drift import DriftOptions, choose_runs, run_drift
from esen.study.drift.report import OrderTest, Trajectory
from esen.track import NullTracker

FACTORIES = '''
"""Potentials of a user: springs that may swirl, raise, or return NaN; and a pair potential."""

import os
import signal

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from tests.toys import morse


class Springs(Calculator):
    implemented_properties = ["energy", "forces"]

    def __init__(self, swirl=0.0, fails_at=10**9, how="raise"):
        super().__init__()
        self.swirl, self.fails_at, self.how, self.calls, self.first = swirl, fails_at, how, 0, None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.first is None or len(self.first) != len(self.atoms):
            self.first = self.atoms.positions.copy()
        away = self.atoms.positions - self.first
        forces = -away + self.swirl * np.stack([-away[:, 1], away[:, 0], 0 * away[:, 0]], axis=1)
        self.results = {"energy": 0.5 * float((away**2).sum()), "forces": forces}
        self.calls += 1
        if self.calls > self.fails_at:
            if self.how == "signal":
                os.kill(os.getpid(), signal.SIGINT)
            if self.how == "raise":
                raise RuntimeError("no neighbours\\nat all")
            self.results["forces"] = np.nan * forces


def swirling():
    return Springs(swirl=0.1)


def pairs():
    return morse(elements=frozenset({13, 29}))
'''


def files(folder: Path) -> None:
    """`cu.xyz`, `al.xyz` and `u.xyz`, and the module `mine`."""
    for name, atoms in {"cu": bulk("Cu", cubic=True), "al": bulk("Al"), "u": Atoms("U")}.items():
        atoms.rattle(0.05, seed=1)
        write(folder / f"{name}.xyz", atoms, format="extxyz")
    (folder / "mine.py").write_text(FACTORIES)


def runs_of(*structures: str, **changes: Any) -> list[tuple[Protocol, list[System]]]:
    given = {"duration_ps": 0.1, "timestep_fs": 2.0, "record_every": 2} | changes
    return choose_runs(
        structures or ("cu.xyz", "al.xyz"),
        "",
        temperature_kelvin=300.0,
        changes=given,
    )


@dataclass(frozen=True, eq=False)
class Found:
    """A result, taken apart."""

    result: CampaignResult

    @property
    def trajectories(self) -> list[Trajectory]:
        return [t for mine in self.result.records.values() for t in mine]

    @property
    def rows(self) -> list[dict[str, str | None]]:
        return self.result.tables[0].texts()

    @property
    def orders(self) -> list[OrderTest]:
        return list(self.result.tables[1].records)


def drift_of(
    potentials: Sequence[str],
    output: Path,
    *structures: str,
    options: DriftOptions | None = None,
    resume: bool = False,
    plots: bool = False,
    changes: dict[str, Any] | None = None,
    **how: Any,
) -> Found:
    """Drawing takes longer than everything else, so that figures are drawn only if they are asked for."""
    result = run_drift(
        potentials,
        runs_of(*structures, **(changes or {})),
        replace(options or DriftOptions(), plots=plots),
        output=output,
        resume=resume,
        tracker=how.pop("tracker", NullTracker()),
        **how,
    )
    return Found(result)
