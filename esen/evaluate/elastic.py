"""Elastic constants of a crystal with relaxed ions, from its stress under small strains; energies check them.

Conventions:
    A strain is the Lagrangian strain tensor E. Rows of the cell and positions are multiplied by the symmetric
    deformation gradient F = (1 + 2E)^(1/2), so that no strain contains a rotation. Ions relax at the strained cell. The
    work-conjugate stress is the second Piola–Kirchhoff stress S = det(F) F⁻¹ σ F⁻¹, where σ is the Cauchy stress. The
    elastic constants are

        C_ij = ∂S_i/∂η_j = (1/V0) ∂²U/∂η_i∂η_j,

    in Voigt's order xx, yy, zz, yz, xz, xy with engineering shear strains: η = (E_xx, E_yy, E_zz, 2E_yz, 2E_xz, 2E_xy).
    U is the energy after relaxation of the ions. At zero stress this equals ∂σ_i/∂ε_j, with the infinitesimal strain ε.
    At another stress the two differ by that stress; the constants here stay symmetric.

    The Cartesian axes are those of the structure. `Elastic.standard` has the constants in the standard orientation, for
    comparison with published ones: x along a and y in the plane of a and b of the conventional cell, as spglib
    standardises it.

Source: D. C. Wallace, Thermodynamics of Crystals (1972), chapter 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, count
from typing import Any

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError
from ase.units import GPa
from jaxtyping import Float64

from esen.data.constraints import held_atoms_only
from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.model import Model, Progress, no_progress
from esen.evaluate.relax import Relaxed, RelaxSpec, fractional, relax

TIGHT = RelaxSpec(fmax=1e-5, steps=2000, keep_symmetry=True, symprec=1e-5, optimizer="lbfgs")
"""How crystals are relaxed unless told otherwise: forces of 1e-4 eV/Å change constants by about 0.1 GPa."""
ROWS, COLUMNS = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
"""Where the six components of Voigt's order stand in a tensor."""
_PLACES = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
"""Where the components of a tensor stand in Voigt's order."""
LARGEST_STRAIN = 0.1
"""Larger strains are outside of any linear range."""
VACUUM = 6.0
"""Å. A crystal has no gap of this width between its lattice planes; slabs and molecules in boxes do."""
_NEGLIGIBLE = 1e-3
"""Residual stress relative to the largest elastic constant. Elastic constants change by a few times the stress."""
_ORIENTATION_SYMPREC = 1e-3
"""Å. Larger than what relaxation leaves, because the orientation does not depend on small displacements."""
_KELVIN = np.sqrt([1.0, 1, 1, 2, 2, 2])


@dataclass(frozen=True)
class ElasticSpec:
    """How elastic constants are computed.

    Attributes:
        relax: how the crystal is relaxed before it is strained. Ions of strained cells use the same tolerance.
        strains: magnitudes of the strain components η. Each component is strained by ± each magnitude.
        energies: whether all 21 constants are computed from energies, too, which takes 42 strains instead of 12 per
            magnitude; otherwise only the six on the diagonal, which cost nothing.

    Raises:
        InputError: no strain is given, one is given twice, or one is outside of the linear range.
    """

    relax: RelaxSpec = TIGHT
    strains: tuple[float, ...] = (0.0025, 0.005)
    energies: bool = False

    def __post_init__(self) -> None:
        known = len(set(self.strains)) == len(self.strains) > 0
        if not known or not all(0 < size <= LARGEST_STRAIN for size in self.strains):
            given = ", ".join(map(str, self.strains))
            raise InputError(
                f"strain {given}: expected different numbers above 0, at most {LARGEST_STRAIN:g}"
            )


@dataclass(frozen=True)
class Moduli:
    """Moduli of a polycrystal whose grains have any orientation with equal probability.

    Attributes:
        bulk: K, in GPa.
        shear: G, in GPa.
    """

    bulk: float
    shear: float

    @property
    def young(self) -> float:
        """Young's modulus 9KG / (3K + G), in GPa."""
        return 9 * self.bulk * self.shear / (3 * self.bulk + self.shear)

    @property
    def poisson(self) -> float:
        """Poisson's ratio (3K − 2G) / (6K + 2G)."""
        return (3 * self.bulk - 2 * self.shear) / (6 * self.bulk + 2 * self.shear)


@dataclass(frozen=True, eq=False)
class Stiffness:
    """The tensor of elastic constants and what follows from it.

    Attributes:
        matrix: C, symmetric, in GPa.
    """

    matrix: Float64[np.ndarray, "6 6"]

    def rotated(self, rotation: Float64[np.ndarray, "3 3"]) -> "Stiffness":
        """Return the tensor in the axes x' = Rx: C'_abcd = R_ai R_bj R_ck R_dl C_ijkl."""
        tensor = self.matrix[_PLACES][:, :, _PLACES]
        turned = np.einsum("ai,bj,ck,dl,ijkl->abcd", *[rotation] * 4, tensor)
        return Stiffness(turned[ROWS, COLUMNS][:, ROWS, COLUMNS])

    @property
    def lowest_eigenvalue(self) -> float:
        """The smallest eigenvalue of C in Kelvin's notation, in GPa; above 0 the crystal is stable (Born).

        Kelvin's notation multiplies shear components by √2, so that eigenvalues do not depend on the orientation:
        C11 + 2 C12, C11 − C12 and 2 C44 of a cubic crystal. Their signs are those of the eigenvalues in Voigt's.
        Source: F. Mouhat and F.-X. Coudert, Phys. Rev. B 90, 224104 (2014).
        """
        return float(np.linalg.eigvalsh(_KELVIN[:, None] * self.matrix * _KELVIN)[0])

    @property
    def stable(self) -> bool:
        """Whether every strain costs energy."""
        return self.lowest_eigenvalue > 0

    @property
    def voigt(self) -> Moduli:
        """Upper bounds: all grains have the same strain.

        9K = C11 + C22 + C33 + 2 (C12 + C13 + C23);
        15G = C11 + C22 + C33 − (C12 + C13 + C23) + 3 (C44 + C55 + C66).
        """
        axial, mixed, shear = _sums(self.matrix)
        return Moduli((axial + 2 * mixed) / 9, (axial - mixed + 3 * shear) / 15)

    @property
    def reuss(self) -> Moduli:
        """Lower bounds: all grains have the same stress. NaN where the crystal is unstable.

        With the compliances s = C⁻¹: 1/K = s11 + s22 + s33 + 2 (s12 + s13 + s23);
        15/G = 4 (s11 + s22 + s33) − 4 (s12 + s13 + s23) + 3 (s44 + s55 + s66).
        """
        if not self.stable:
            return Moduli(np.nan, np.nan)
        axial, mixed, shear = _sums(np.linalg.inv(self.matrix))
        return Moduli(1 / (axial + 2 * mixed), 15 / (4 * axial - 4 * mixed + 3 * shear))

    @property
    def hill(self) -> Moduli:
        """Means of Voigt's and Reuss's K and G; NaN where the crystal is unstable."""
        voigt, reuss = self.voigt, self.reuss
        return Moduli((voigt.bulk + reuss.bulk) / 2, (voigt.shear + reuss.shear) / 2)

    @property
    def anisotropy(self) -> float:
        """A = 5 G_V/G_R + K_V/K_R − 6; 0 for an isotropic crystal, NaN for an unstable one.

        Source: S. I. Ranganathan and M. Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008).
        """
        voigt, reuss = self.voigt, self.reuss
        return 5 * voigt.shear / reuss.shear + voigt.bulk / reuss.bulk - 6


@dataclass(frozen=True, eq=False)
class Elastic:
    """Elastic constants of one crystal and the errors that the calculation itself shows.

    Attributes:
        reference: the crystal before it was strained, and how it was relaxed.
        stiffness: C in the axes of the structure, symmetrised.
        asymmetry: the largest |C − Cᵀ| before that, in GPa. It is zero where the stress is the gradient of an energy.
        from_energies: C from second differences of energies, in GPa; NaN where it was not computed.
        extrapolation: the largest change of C from the smallest strain to the limit of zero strain, in GPa; NaN for a
            single magnitude.
        residual_stress: σ of the reference, in GPa.
        unconverged: how many of the strained cells did not reach the tolerance of the forces.
    """

    reference: Relaxed
    stiffness: Stiffness
    asymmetry: float
    from_energies: Float64[np.ndarray, "6 6"]
    extrapolation: float
    residual_stress: Float64[np.ndarray, "6"]
    unconverged: int

    @property
    def standard(self) -> Stiffness:
        """C in the standard orientation."""
        return self.stiffness.rotated(standard_rotation(self.reference.structure))

    @property
    def energy_difference(self) -> float:
        """The largest difference between the constants from stresses and those from energies, in GPa."""
        return float(np.nanmax(np.abs(self.from_energies - self.stiffness.matrix)))

    @property
    def stressed(self) -> bool:
        """Whether the residual stress exceeds 0.1 % of the largest constant, so that it affects all of them."""
        return bool(np.abs(self.residual_stress).max() > _NEGLIGIBLE * np.abs(self.stiffness.matrix).max())


def elastic_constants(
    structure: Structure, model: Model, spec: ElasticSpec, progress: Progress = no_progress
) -> Elastic:
    """Relax a crystal, strain it, and differentiate its stress and energy.

    The quotients (S(η) − S(−η)) / 2η and (U(η) + U(−η) − 2U(0)) / η²V0 have errors of the second order in η. With
    several magnitudes, a least-squares fit of C + a η² removes this order. Atoms that constraints fix move with the
    lattice and do not relax, so that the constants are those of a crystal in which they are held.

    Args:
        structure: a crystal in any cell, periodic in three directions.
        model: the potential. Strained cells are relaxed together where it takes batches.
        spec: how.
        progress: is called with the numbers of strained cells that are done, and of all.

    Raises:
        InputError: the structure is no crystal, it or a strained cell becomes another crystal on relaxation, or the
            potential does not know an element, fails or gives no stress.
    """
    check_crystal(structure)
    model.check_elements(structure)
    structure = held_atoms_only(structure, "elastic constants")
    (reference,) = relax_crystals({"relaxation": structure}, model, spec.relax)
    crystal = reference.structure
    directions = np.eye(6)
    if spec.energies:
        directions = np.vstack([directions, [directions[i] + directions[j] for i, j in _pairs()]])
    etas = [sign * size * axis for axis in directions for size in spec.strains for sign in (1, -1)]
    strained = {f"the strain {_words(eta)}": strain(crystal, eta) for eta in etas}
    held = replace(spec.relax, cell=False, keep_symmetry=False)
    found = relax_crystals(strained, model, held, progress)
    shape = (len(directions), len(spec.strains), 2)
    stresses = np.reshape(
        [_conjugate_stress(one.structure, eta) for one, eta in zip(found, etas, strict=True)], (*shape, 6)
    )
    energies = np.array([one.structure.energy for one in (reference, *found)], dtype=np.float64)
    sizes = np.array(spec.strains)
    slopes = (stresses[:6, :, 0] - stresses[:6, :, 1]) / (2 * sizes[:, None] * GPa)
    work = np.reshape(energies[1:] - energies[0], shape).sum(axis=2)
    curvatures = work / (sizes**2 * crystal.volume * GPa)
    stiffness = _at_zero(spec.strains, slopes, weight=1)
    change = float(np.abs(stiffness - slopes[:, sizes.argmin()]).max())
    return Elastic(
        reference=reference,
        stiffness=Stiffness((stiffness + stiffness.T) / 2),
        asymmetry=float(np.abs(stiffness - stiffness.T).max()),
        from_energies=_from_curvatures(_at_zero(spec.strains, curvatures, weight=2)),
        extrapolation=change if len(sizes) > 1 else np.nan,
        residual_stress=_conjugate_stress(crystal, np.zeros(6)) / GPa,
        unconverged=sum(not one.converged for one in found),
    )


def relax_crystals(
    structures: Mapping[str, Structure], model: Model, spec: RelaxSpec, progress: Progress = no_progress
) -> list[Relaxed]:
    """Relax crystals, together where the potential takes batches.

    Args:
        structures: by what happens to them, for messages.
        model: the potential.
        spec: how.
        progress: is called with the numbers of structures that are done, and of all.

    Raises:
        InputError: one of them fails or becomes another crystal.
    """
    ended = count(1)
    outcomes = model.run_all(
        [partial(relax, structure, spec=spec) for structure in structures.values()],
        [len(structure) for structure in structures.values()],
        lambda index, outcome: progress(next(ended), len(structures)),
    )
    found = []
    for (name, structure), outcome in zip(structures.items(), outcomes, strict=True):
        if isinstance(outcome, Relaxed):
            has_stress = outcome.structure.stress is not None
        else:
            has_stress = not isinstance(outcome.__cause__, PropertyNotImplementedError)
        if not has_stress:
            raise InputError(
                f"{structure.source}: the potential gives no stress, which elastic constants need"
            )
        if isinstance(outcome, Exception):
            raise outcome
        if outcome.melted:
            raise InputError(f"{structure.source}: it is not the same crystal after {name}: {outcome.change}")
        found.append(outcome)
    return found


def strain(structure: Structure, components: Float64[np.ndarray, "6"]) -> Structure:
    """Return the structure under the Lagrangian strain η, with ions moved as the lattice is."""
    gradient = _deformation_gradient(components)
    return replace(structure, cell=structure.cell @ gradient, positions=structure.positions @ gradient)


def standard_rotation(structure: Structure) -> Float64[np.ndarray, "3 3"]:
    """Return R of x' = Rx from the axes of a crystal to those of its standard orientation."""
    import spglib

    cell: Any = (structure.cell, fractional(structure), structure.numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=_ORIENTATION_SYMPREC)
    return np.eye(3) if found is None else np.array(found.std_rotation_matrix, dtype=np.float64)


def _deformation_gradient(components: Float64[np.ndarray, "6"]) -> Float64[np.ndarray, "3 3"]:
    """F = (1 + 2E)^(1/2)."""
    twice = np.eye(3) + components[_PLACES] * (1 + np.eye(3))  # shear components are 2E already
    values, vectors = np.linalg.eigh(twice)
    return np.asarray(vectors * np.sqrt(values) @ vectors.T)


def _conjugate_stress(structure: Structure, components: Float64[np.ndarray, "6"]) -> Float64[np.ndarray, "6"]:
    """S in eV/Å³ of a strained structure."""
    inverse = np.linalg.inv(_deformation_gradient(components))
    stress = inverse @ structure.stress @ inverse / np.linalg.det(inverse)
    return np.asarray(stress[ROWS, COLUMNS])


def _at_zero(strains: tuple[float, ...], quotients: Any, *, weight: int) -> Any:
    """The limit C of quotients C + a η² at zero strain; their errors are taken as proportional to η^−weight.

    Args:
        strains: magnitudes η.
        quotients: the second axis is that of the magnitudes.
        weight: the power of η that the quotients were divided by.
    """
    size = np.array(strains) / max(strains)
    basis = np.stack([np.ones_like(size), size**2], axis=1)[:, : len(size)]
    scaled = size**weight
    limit = np.linalg.pinv(scaled[:, None] * basis)[0] * scaled
    return np.tensordot(limit, quotients, axes=(0, 1))


def _from_curvatures(curvatures: Float64[np.ndarray, " D"]) -> Float64[np.ndarray, "6 6"]:
    """C by polarisation: dᵀCd is known along the axes and, where computed, along the sums of two of them."""
    stiffness = np.full((6, 6), np.nan)
    np.fill_diagonal(stiffness, curvatures[:6])
    for (i, j), value in zip(_pairs(), curvatures[6:], strict=False):
        stiffness[i, j] = stiffness[j, i] = (value - curvatures[i] - curvatures[j]) / 2
    return stiffness


def _pairs() -> list[tuple[int, int]]:
    return list(combinations(range(6), 2))


def _sums(tensor: Float64[np.ndarray, "6 6"]) -> tuple[float, float, float]:
    """11 + 22 + 33, 12 + 13 + 23 and 44 + 55 + 66."""
    diagonal = np.diag(tensor)
    mixed = tensor[0, 1] + tensor[0, 2] + tensor[1, 2]
    return float(diagonal[:3].sum()), float(mixed), float(diagonal[3:].sum())


def _words(components: Float64[np.ndarray, "6"]) -> str:
    names = ("xx", "yy", "zz", "yz", "xz", "xy")
    return ", ".join(f"{name} {value:+}" for name, value in zip(names, components, strict=True) if value)


def check_crystal(structure: Structure) -> None:
    """Raise an InputError for anything but a crystal that fills its cell."""
    if not structure.pbc.all():
        raise InputError(
            f"{structure.source}: elastic constants need a crystal, periodic in three directions"
        )
    if not len(structure):
        raise InputError(f"{structure.source}: there are no atoms")
    planes = np.sort(fractional(structure) % 1, axis=0)
    gaps = np.diff(planes, axis=0, append=planes[:1] + 1).max(axis=0)
    widths = gaps / np.linalg.norm(np.linalg.inv(structure.cell), axis=0)
    if widths.max() > VACUUM:
        raise InputError(
            f"{structure.source}: a gap of {widths.max():.1f} Å along lattice vector {'abc'[int(widths.argmax())]}:"
            " a slab or molecule in vacuum has no elastic constants"
        )
