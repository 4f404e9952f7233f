"""Thermal conductivity of one material, from its unit cell."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from jaxtyping import Float64
from phono3py import Phono3py
from phonopy.phonon.grid import get_ir_grid_points

from esen.data.constraints import ignored_constraints, without_constraints
from esen.errors import InputError, first_line
from esen.evaluate.conductivity.force_constants import (
    displace,
    produce_second,
    produce_third,
    second_by_displacements,
    third_by_displacements,
    use_force_sets,
)
from esen.evaluate.conductivity.isotopes import without_isotopes
from esen.evaluate.conductivity.material import Material, make_phono3py
from esen.evaluate.conductivity.protocol import ConductivityProtocol
from esen.evaluate.conductivity.transport import Transport, solve, unscattered_share
from esen.evaluate.model import Model, Progress, no_progress
from esen.evaluate.phonons.crystal import (
    check_bound,
    check_several_atoms,
    narrow_supercell,
    quietly,
    to_phonopy,
)
from esen.evaluate.relax import Relaxed, RelaxSpec, relax, space_group

Forecast = Callable[[tuple[int, int], tuple[int, int], float], None]
"""Called with the numbers of supercells for second and third derivatives, those of their atoms, and the time in s."""
_UNSCATTERED = 0.01
"""Share of κ above which modes without scattering are remarked."""


@dataclass(frozen=True, eq=False)
class Harmonic:
    """Phonons on the mesh.

    Attributes:
        points: irreducible points, in units of the primitive reciprocal lattice.
        weights: number of points of the mesh that each of them stands for.
        frequencies: in THz, imaginary ones negative.
        imaginary: number of imaginary modes on the whole mesh.
        lowest: the lowest frequency.
        lowest_at: its point.
    """

    points: Float64[np.ndarray, "Q 3"]
    weights: Float64[np.ndarray, " Q"]
    frequencies: Float64[np.ndarray, "Q s"]
    imaginary: int
    lowest: float
    lowest_at: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Conductivity:
    """Thermal conductivity of one material.

    Attributes:
        material: with the cell that it was computed at.
        relaxed: the relaxation that led there; None: the cell was taken as it is.
        groups: numbers of the space group before and after the relaxation.
        harmonic: phonons on the mesh.
        displacements: number of supercells for second and for third derivatives; zeros for force sets.
        transport: None where `reason` says why there is no conductivity.
    """

    material: Material
    relaxed: Relaxed | None
    groups: tuple[int, int]
    harmonic: Harmonic
    displacements: tuple[int, int]
    transport: Transport | None

    @property
    def reason(self) -> str | None:
        """Why there is no conductivity; None if there is one."""
        if self.harmonic.imaginary:
            at = ", ".join(f"{x:.3g}" for x in self.harmonic.lowest_at)
            return f"imaginary modes: {self.harmonic.lowest:.3f} THz at ({at})"
        if self.groups[0] != self.groups[1]:
            return f"the space group changed from {self.groups[0]} to {self.groups[1]}"
        return None


def relaxed_material(
    material: Material, calculator: Any, protocol: ConductivityProtocol
) -> tuple[Material, Relaxed]:
    """Relax the unit cell without constraints. The space groups before and after are those at `protocol.symprec`.

    Raises:
        InputError: the calculator raises, or what it gives is not finite.
    """
    spec = RelaxSpec(
        fmax=protocol.fmax,
        steps=protocol.relax_steps,
        tilt=protocol.tilt,
        keep_symmetry=protocol.keep_symmetry,
        symprec=protocol.relax_symprec,
    )
    found = relax(without_constraints(material.unitcell), calculator, spec)
    groups = tuple(space_group(cell, protocol.symprec) for cell in (material.unitcell, found.structure))
    found = replace(found, groups=(groups[0], groups[1]))
    unit = replace(found.structure, constraints=material.unitcell.constraints)
    return replace(material, unitcell=unit), found


def conductivity_at(
    material: Material,
    relaxed: Relaxed | None,
    model: Model,
    protocol: ConductivityProtocol,
    progress: Progress = no_progress,
    forecast: Forecast = lambda supercells, atoms, seconds: None,
) -> Conductivity:
    """Displace the atoms of the material as it is, and solve. Third derivatives are for stable materials alone.

    Args:
        material: at the cell at which the conductivity is computed.
        relaxed: the relaxation that led there.
        model: the potential.
        protocol: how the conductivity is computed.
        progress: is called with the number of displaced supercells done and of all, of both orders.
        forecast: is called once, after the first forces.

    Raises:
        InputError: the potential cannot compute the material, or phono3py cannot use it.
    """
    model.check_elements(material.unitcell)
    phono3py = make_phono3py(material, protocol.symprec)
    for supercell in (phono3py.phonon_supercell, phono3py.supercell):
        check_several_atoms(material.name, supercell)
    group = space_group(material.unitcell, protocol.symprec)
    sizes = displace(phono3py, protocol)
    atoms = len(phono3py.phonon_supercell), len(phono3py.supercell)
    started, told = perf_counter(), False

    def proceeded(before: int, done: int, of: int) -> None:
        nonlocal told
        if not told:
            told = True
            forecast(
                sizes, atoms, (perf_counter() - started) / (done * atoms[0]) * float(np.dot(sizes, atoms))
            )
        progress(before + done, sum(sizes))

    try:
        second_by_displacements(phono3py, protocol, model, partial(proceeded, 0))
        check_bound(material.name, phono3py.fc2)
        found = Conductivity(
            material=material,
            relaxed=relaxed,
            groups=(group, group) if relaxed is None else relaxed.groups,
            harmonic=harmonic(phono3py, protocol),
            displacements=sizes,
            transport=None,
        )
        if found.reason is not None:
            return found
        third_by_displacements(phono3py, protocol, model, partial(proceeded, sizes[0]))
    except InputError as error:
        where = "" if str(error).startswith(material.name) else f"{material.name}: "
        raise InputError(f"{where}{error}") from error
    return replace(found, transport=solve(phono3py, protocol, material.name))


def reference_conductivity(material: Material, protocol: ConductivityProtocol) -> Conductivity:
    """Compute the conductivity of the reference method from the force sets of the material, by the same steps.

    Raises:
        InputError: there are no force sets, or phono3py cannot use them.
    """
    if material.reference is None:
        raise InputError(f"{material.name}: has no force sets of a reference method")
    phono3py = make_phono3py(material, protocol.symprec, single=material.reference.second is None)
    use_force_sets(phono3py, material.reference, material.name)
    group = space_group(material.unitcell, protocol.symprec)
    try:
        produce_second(phono3py, protocol)
        check_bound(material.name, phono3py.fc2)
        found = Conductivity(material, None, (group, group), harmonic(phono3py, protocol), (0, 0), None)
        if found.reason is not None:
            return found
        produce_third(phono3py, protocol)
    except InputError:
        raise
    except Exception as error:  # of phono3py and symfc, by whatever name
        raise InputError(
            f"{material.name}: phono3py cannot use its force sets ({first_line(error)})"
        ) from error
    return replace(found, transport=solve(phono3py, protocol, material.name))


def harmonic(phono3py: Phono3py, protocol: ConductivityProtocol) -> Harmonic:
    """Compute the phonons on the whole mesh with a phono3py that has second derivatives."""
    quietly(phono3py.init_phph_interaction, symmetrize_fc3q=False)
    quietly(phono3py.run_phonon_solver)
    every, _, addresses = phono3py.get_phonon_data()
    grid = phono3py.grid
    assert grid is not None
    points = np.array(addresses @ grid.QDinv.T, dtype=np.float64)
    irreducible, weights, _ = get_ir_grid_points(grid)
    chosen = grid.grg2bzg[irreducible]
    place = np.unravel_index(int(np.nanargmin(every)), every.shape)[0] if np.isfinite(every).any() else 0
    x, y, z = (float(value) for value in points[place])
    return Harmonic(
        points=points[chosen],
        weights=np.array(weights, dtype=np.float64),
        frequencies=np.array(every[chosen], dtype=np.float64),
        imaginary=imaginary_modes(points, np.array(every, dtype=np.float64), protocol),
        lowest=float(every[place].min()),
        lowest_at=(x, y, z),
    )


def imaginary_modes(
    points: Float64[np.ndarray, "Q 3"],
    frequencies: Float64[np.ndarray, "Q s"],
    protocol: ConductivityProtocol,
) -> int:
    """Count the modes whose frequency is below the limits of the protocol or not a number.

    >>> from esen.evaluate.conductivity.protocol import PROTOCOLS
    >>> points = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    >>> frequencies = np.array([[-0.009, 0.0, 0.0, 5.0], [-1e-9, 1.0, 2.0, 3.0]])
    >>> imaginary_modes(points, frequencies, PROTOCOLS["phonondb-103"])
    1
    """
    at_gamma = np.abs(points).max(axis=1) < 1e-8
    limits = np.full(frequencies.shape, protocol.other_limit)
    limits[at_gamma, :3] = protocol.acoustic_limit
    limits[at_gamma, 3:] = protocol.optical_limit
    return int(((frequencies < limits) | np.isnan(frequencies)).sum())


def isotope_notes(material: Material, protocol: ConductivityProtocol) -> list[str]:
    """Return which elements have no scattering by isotopes, although the protocol includes it."""
    return without_isotopes(to_phonopy(material.unitcell, material.masses)) if protocol.isotopes else []


def notes_on(found: Conductivity, model: Model | None, protocol: ConductivityProtocol) -> tuple[str, ...]:
    """Return remarks on a result: narrow supercells, and modes that nothing scatters.

    Args:
        found: the result.
        model: the potential; None for force sets, whose supercells are not judged.
        protocol: how it was computed.
    """
    material = found.material
    notes = [*ignored_constraints(material.unitcell), *isotope_notes(material, protocol)]
    for order, matrix in (("second", material.fc2_supercell), ("third", material.fc3_supercell)):
        if model is not None:
            cell = matrix.T @ material.unitcell.cell
            name = f"the supercell for {order} derivatives"
            notes += narrow_supercell(cell, 2 * model.potential.cutoff, name)
    share = 0.0 if found.transport is None else unscattered_share(found.transport, protocol)
    if share > _UNSCATTERED:
        notes.append(
            f"{share:.0%} of κ is carried by modes that nothing but the boundary scatters: the mesh is too coarse to"
            " find their partners, or the temperature is too low"
        )
    return tuple(notes)
