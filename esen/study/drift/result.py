"""What was found, potential by potential and system by system."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from esen.md.drift import Drift, Series, Verdict
from esen.md.engine import Failure
from esen.md.protocols import Protocol


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One system of one potential.

    Attributes:
        potential: what it is called.
        protocol: how it was simulated.
        system: its name.
        formula: of its atoms.
        atoms: how many.
        temperature_kelvin: of the initial velocities.
        series: the energies; None: it never began.
        drift: what they say.
        verdict: to the threshold of the run.
        failure: why it ended early.
        path: of the energies.
        asymmetry: λ of the forces' Jacobian along the trajectory, where it was asked for.
    """

    potential: str
    protocol: Protocol
    system: str
    formula: str
    atoms: int
    temperature_kelvin: float
    series: Series | None
    drift: Drift | None
    verdict: Verdict
    failure: Failure | None
    path: Path
    asymmetry: tuple[float, ...] = ()

    @property
    def failure_time_ps(self) -> float | None:
        """When it ended early."""
        return None if self.failure is None else self.failure.step * self.protocol.timestep_fs / 1000

    def to_json(self) -> dict[str, Any]:
        """Plain data; NaN becomes null."""
        failure = None if self.failure is None else {**asdict(self.failure), "time_ps": self.failure_time_ps}
        return {
            "potential": self.potential,
            "protocol": self.protocol.name,
            "system": self.system,
            "formula": self.formula,
            "atoms": self.atoms,
            "temperature_kelvin": self.temperature_kelvin,
            "verdict": self.verdict,
            "drift": None if self.drift is None else plain(asdict(self.drift)),
            "failure": failure,
            "jacobian_asymmetry": plain(list(self.asymmetry)),
            "energies": self.path.name,
        }


@dataclass(frozen=True, eq=False)
class OrderTest:
    """The same start of one system at several timesteps.

    Attributes:
        potential: what it is called.
        system: its name.
        timesteps_fs: falling.
        fluctuations: σ(E)/√N of each, in meV.
        order: the exponent p of fluctuation ∝ Δtᵖ, where the integrator makes it.
        between: the exponents between neighbours.
        duration_ps: of each trajectory.
    """

    potential: str
    system: str
    timesteps_fs: tuple[float, ...]
    fluctuations: tuple[float, ...]
    order: float
    between: tuple[float, ...]
    duration_ps: float

    def to_json(self) -> dict[str, Any]:
        """Plain data; NaN becomes null."""
        return dict(plain(asdict(self)))

    @property
    def floor(self) -> str | None:
        """Where the fluctuation stops to fall as Δt², in words; None where it is not known."""
        if math.isnan(self.order):
            return None
        for finer, exponent in zip(self.timesteps_fs[1:], self.between, strict=True):
            if exponent < 1.5:
                return f"does not fall as Δt² any more at {finer:g} fs"
        return f"none down to {self.timesteps_fs[-1]:g} fs"


def plain(value: Any) -> Any:
    """For JSON: numbers that are none become null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def mean_drift(trajectories: Sequence[Trajectory], quantity: str = "slope") -> float:
    """Mean of |drift| over the systems that have one; NaN where none has."""
    values = [abs(getattr(t.drift, quantity)) for t in trajectories if t.drift is not None]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
