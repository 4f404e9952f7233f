"""The protocols: how a system is prepared, and how long and with which time step it is simulated."""

from dataclasses import dataclass, replace
from typing import Literal

from esen.data.structure import Structure
from esen.md.velocities import degrees_of_freedom

Headline = Literal["slope", "fair", "lambench"]
"""Which definition of the drift is quoted: the slope with its error (esen's own), FAIR's or LAMBench's."""


@dataclass(frozen=True)
class Relaxation:
    """Relaxation of the positions by LBFGS in a fixed cell, before velocities are drawn.

    Attributes:
        fmax: largest force on an atom at which the relaxation ends, in eV/Å.
        steps: largest number of steps.
    """

    fmax: float
    steps: int


@dataclass(frozen=True)
class Protocol:
    """How a system is simulated at constant energy.

    Attributes:
        name: name on the command line.
        timestep_fs: time step of velocity Verlet.
        duration_ps: duration of the simulation.
        record_every: number of steps between two rows of energies.
        relaxation: relaxation before the simulation; None starts from the structures as given.
        remove_momentum: whether the centre of mass is put at rest.
        remove_rotation: whether the angular momentum is removed.
        seed: seed for the initial velocities.
        headline: definition of the drift that the protocol quotes.
        source: publication or program that defines the protocol.
        note: what must be known before its drift is compared with another.
    """

    name: str
    timestep_fs: float
    duration_ps: float
    record_every: int
    relaxation: Relaxation | None
    remove_momentum: bool
    remove_rotation: bool
    seed: int
    headline: Headline
    source: str
    note: str

    @property
    def steps(self) -> int:
        """Number of time steps."""
        return round(1000 * self.duration_ps / self.timestep_fs)

    def freedoms(self, structure: Structure) -> int:
        """Degrees of freedom of a structure whose momentum and rotation are removed as the protocol prescribes."""
        return degrees_of_freedom(
            structure, momentum_removed=self.remove_momentum, rotation_removed=self.remove_rotation
        )


_TM23 = Protocol(
    name="tm23",
    timestep_fs=5.0,
    duration_ps=100.0,
    record_every=10,
    relaxation=Relaxation(fmax=0.05, steps=1000),
    remove_momentum=True,
    remove_rotation=False,
    seed=0,
    headline="slope",
    source="Fu et al., ICML 2025, arXiv:2502.12147; TM23: Owen et al., npj Comput. Mater. 10, 92 (2024)",
    note="27 metals, first frame of each melt test set; velocities at 1.25 melting points after a relaxation, "
    "so the simulation itself runs near half of that temperature",
)

_MD22 = replace(
    _TM23,
    name="md22",
    timestep_fs=1.0,
    source="Fu et al., ICML 2025, arXiv:2502.12147; MD22: Chmiela et al., Sci. Adv. 9, eadf0873 (2023)",
    note="7 molecules, first frame of each; velocities at 500 K, or 400 K for buckyball-catcher and "
    "double-walled_nanotube, after a relaxation, so the simulation itself runs near half of that temperature",
)

_FAIR = (
    "end to end, not a slope: a wander of the energy counts as drift, a steady drift reads 11 to 12 % too small; "
    "FAIR's log rounds to 0.1 meV/atom, esen does not; FAIR gives no seed, here it is 0"
)

_LAMBENCH = Protocol(
    name="lambench",
    timestep_fs=1.0,
    duration_ps=10.0,
    record_every=100,
    relaxation=None,
    remove_momentum=True,
    remove_rotation=True,
    seed=0,
    headline="lambench",
    source="Peng et al., LAMBench, arXiv:2504.19578; the LAMBench repository, tasks/calculator/nve_md",
    note="LAMBench's time is in ASE's unit of 10.18 fs, so its eV/atom/ps are 10.18 times too large; "
    "the structures are the user's: LAMBench's nine do not come with esen",
)

_QUICK = Protocol(
    name="quick",
    timestep_fs=1.0,
    duration_ps=5.0,
    record_every=10,
    relaxation=None,
    remove_momentum=True,
    remove_rotation=False,
    seed=0,
    headline="slope",
    source="esen; lattice constants and molecules from ASE",
    note="5 ps find gross errors, such as direct forces; a smaller drift than the error given needs a longer run",
)

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        _TM23,
        _MD22,
        replace(
            _TM23,
            name="fair-tm23",
            remove_momentum=False,
            headline="fair",
            source="FAIR chemistry, fairchem: NVEMDRunner and NVEMDReducer, configuration nvemd-materials",
            note=_FAIR,
        ),
        replace(
            _MD22,
            name="fair-md22",
            remove_momentum=False,
            headline="fair",
            source="FAIR chemistry, fairchem: NVEMDRunner and NVEMDReducer, configuration nvemd-molecules",
            note=_FAIR,
        ),
        _LAMBENCH,
        _QUICK,
    )
}
"""Protocols by name. `protocol_runs` also knows `fair`, which stands for both of FAIR's."""
