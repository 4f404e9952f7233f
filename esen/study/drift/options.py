"""What the user chooses, beside potentials and systems."""

from dataclasses import dataclass, replace

from esen.errors import InputError
from esen.md.files import TrajectoryFormat
from esen.md.protocols import PROTOCOLS, Protocol

THRESHOLD = 0.01
"""meV/atom/ps within which energy is called conserved, where the user names none."""
FRAMES = 100
"""Of a trajectory, where the user does not say how many."""


@dataclass(frozen=True)
class DriftOptions:
    """How the test is done. Nothing here depends on the potential.

    Attributes:
        max_drift: in meV/atom/ps, beyond which the test fails; None: nothing but an explosion fails.
        order_test: how many timesteps, each half of the one before, are compared; 0: none.
        jacobian: at how many places of each trajectory the asymmetry of the forces' Jacobian is measured.
        trajectory: format in which frames are kept; None: they are not.
        frame_every: steps between frames; None: a hundredth of the trajectory.
        batch_atoms: systems of our own potentials go together up to so many atoms.
        skin: of the neighbours, in Å.
    """

    max_drift: float | None = None
    order_test: int = 0
    jacobian: int = 0
    trajectory: TrajectoryFormat | None = None
    frame_every: int | None = None
    batch_atoms: int = 1024
    skin: float = 0.5

    def __post_init__(self) -> None:
        for name in ("max_drift", "frame_every", "batch_atoms", "skin"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name.replace('_', '-')} {value}: expected a number above 0")
        if self.order_test == 1:
            raise InputError("--order-test 1: one timestep shows no order; expected 2 or more")

    @property
    def threshold(self) -> float:
        """What the verdict is about, in meV/atom/ps."""
        return THRESHOLD if self.max_drift is None else self.max_drift


_OPTIONS = {
    "timestep_fs": "--timestep",
    "duration_ps": "--duration",
    "record_every": "--record-every",
}

OWN = replace(
    PROTOCOLS["quick"],
    name="structures",
    duration_ps=10.0,
    source="esen",
    note="the user's structures, as they are",
)
"""How structures of one's own are simulated, where the user does not say otherwise."""


def adapted(
    protocol: Protocol,
    *,
    timestep_fs: float | None = None,
    duration_ps: float | None = None,
    record_every: int | None = None,
    seed: int | None = None,
    relax: bool | None = None,
) -> Protocol:
    """A protocol with what the user wants otherwise; its note then says so.

    Raises:
        InputError: a number is not above 0, or the duration is less than a step.
    """
    given = {
        "timestep_fs": timestep_fs,
        "duration_ps": duration_ps,
        "record_every": record_every,
        "seed": seed,
    }
    changes = {k: v for k, v in given.items() if v is not None and v != getattr(protocol, k)}
    for name, value in changes.items():
        if name != "seed" and not 0 < value < float("inf"):
            raise InputError(f"{_OPTIONS[name]} {value}: expected a number above 0")
    changed: Protocol = replace(protocol, **changes)  # type: ignore[arg-type]  # each of the field's own type
    if relax is not None and relax != (protocol.relaxation is not None):
        changes["relaxation"] = relax
        changed = replace(changed, relaxation=PROTOCOLS["tm23"].relaxation if relax else None)
    if changed.steps < 1:
        raise InputError(
            f"--duration {changed.duration_ps}: less than one step of {changed.timestep_fs} fs; give more"
        )
    if changes and protocol.name != OWN.name:
        said = ", ".join(f"{name} {value}" for name, value in changes.items())
        changed = replace(changed, note=f"NOT the protocol as published: {said}; {protocol.note}")
    return changed
