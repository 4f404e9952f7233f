"""Protocols of thermal conductivity: all numbers that it depends on, apart from potential and material."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class ConductivityProtocol:
    """How the thermal conductivity is computed.

    Attributes:
        name: as the user writes it.
        relax: whether positions and lattice are relaxed first, by FIRE and `FrechetCellFilter`.
        fmax: largest force that the relaxation may leave, in eV/Å.
        relax_steps: largest number of steps of the relaxation.
        keep_symmetry: whether the relaxation keeps the space group.
        relax_symprec: distance in Å within which that space group is found.
        tilt: whether the relaxation may change the angles of the lattice.
        displacement: in Å, for second and third derivatives. The benchmark's default is 0.01; some results are
            published with other values, such as 0.03 of eSEN-30M-OAM and eSEN-30M-MP. Compare results at the same
            displacement.
        symmetrize: whether force constants of both orders are made to obey translation and permutation.
        symprec: distance in Å within which atoms are equivalent and space groups are compared.
        temperatures: in K.
        isotopes: whether the natural mixture of isotopes scatters.
        boundary_mfp: mean free path between boundaries, in µm.
        transport: form of Wigner's equation (Simoncelli, Marzari, Mauri, Nat. Phys. 15, 809 (2019)), in the
            relaxation-time approximation.
        average: whether integration weights of the tetrahedron method are averaged over degenerate modes and over
            rotated tetrahedra. Without it, rounding chooses among the eigenvectors of degenerate modes: noise of
            1e-12 eV/Å in the forces changes κ of aluminium (EMT, 11³) by 0.3 %, with it by 1e-8. The benchmark does not
            average.
        degenerate: modes closer than this, in THz, count as degenerate, and their coupling as particle-like.
        acoustic_limit: frequency of the three lowest modes at Γ below which they are imaginary, in THz.
        optical_limit: the same for the other modes at Γ.
        other_limit: the same for all modes elsewhere.
        source: who published the protocol.
    """

    name: str
    relax: bool
    fmax: float
    relax_steps: int
    keep_symmetry: bool
    relax_symprec: float
    tilt: bool
    displacement: float
    symmetrize: bool
    symprec: float
    temperatures: tuple[float, ...]
    isotopes: bool
    boundary_mfp: float
    transport: Literal["SMM19"]
    average: bool
    degenerate: float
    acoustic_limit: float
    optical_limit: float
    other_limit: float
    source: str


_PHONONDB = ConductivityProtocol(
    name="phonondb-103",
    relax=True,
    fmax=1e-4,
    relax_steps=300,
    keep_symmetry=True,
    relax_symprec=0.01,
    tilt=False,
    displacement=0.01,
    symmetrize=True,
    symprec=1e-5,
    temperatures=(300.0,),
    isotopes=True,
    boundary_mfp=1e6,
    transport="SMM19",
    average=False,
    degenerate=1e-4,
    acoustic_limit=-0.01,
    optical_limit=0.0,
    other_limit=0.0,
    source="Póta et al., arXiv:2408.00755, as Matbench Discovery runs it (phonondb-v1)",
)

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        _PHONONDB,
        replace(
            _PHONONDB,
            name="tight",
            fmax=1e-5,
            relax_steps=2000,
            relax_symprec=1e-5,
            tilt=True,
            average=True,
            other_limit=-1e-3,  # frequencies of zero are computed as small positive or negative numbers
            source="esen",
        ),
    )
}
"""By name."""
