"""How thermal conductivity is computed: every number that it depends on, apart from potential and material."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class ConductivityProtocol:
    """How.

    Attributes:
        name: as the user writes it.
        relax: whether positions and lattice are relaxed first, by FIRE and `FrechetCellFilter`.
        fmax: the largest force that may be left, in eV/Å.
        relax_steps: at most.
        keep_symmetry: whether the relaxation keeps the space group.
        relax_symprec: to which that one is found, in Å.
        tilt: whether the relaxation may change the angles of the lattice, too.
        displacement: in Å, for second and third derivatives. The benchmark's default is 0.01; results published with
            other values exist, such as 0.03 of eSEN-30M-OAM: compare at the same one.
        symmetrize: make force constants of second and third order obey translation and permutation.
        symprec: to which atoms are equivalent and space groups are compared, in Å.
        temperatures: in K.
        isotopes: whether the natural mixture of isotopes scatters.
        boundary_mfp: mean free path between boundaries, in µm.
        transport: of Wigner's equation (Simoncelli, Marzari, Mauri, Nat. Phys. 15, 809 (2019)), in the
            relaxation-time approximation.
        average: integration weights of the tetrahedron method as means over degenerate modes and over rotated
            tetrahedra. Without it rounding decides among the eigenvectors of degenerate modes: noise of 1e-12 eV/Å in
            the forces moves κ of aluminium (EMT, 11³) by 0.3 %, with it by 1e-8. The benchmark does without.
        degenerate: modes closer than this count as one, in THz: what they exchange is particle-like.
        acoustic_limit: frequency of the three lowest modes at Γ below which they are imaginary, in THz.
        optical_limit: that of the others at Γ.
        other_limit: that of all modes elsewhere.
        source: whose protocol it is.
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
            other_limit=-1e-3,  # as for phonons: frequencies of zero are found as ± a little
            source="esen",
        ),
    )
}
"""By name."""
