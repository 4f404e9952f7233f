"""Force constants: from the forces of displaced supercells, or exactly."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64
from phonopy import Phonopy
from torch import Tensor

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.phonons.crystal import from_phonopy, quietly
from esen.evaluate.phonons.protocol import PhononProtocol
from esen.graph.batch import make_graph
from esen.graph.types import Potential

Forces = Callable[[Sequence[Structure]], list[np.ndarray]]
"""Computes the forces on the atoms of structures, (N, 3) in eV/Å each."""


def by_displacements(phonons: Phonopy, protocol: PhononProtocol, forces_of: Forces) -> None:
    """Give phonopy the force constants by central differences, with the symmetry-distinct displacements alone.

    Raises:
        InputError: a force is not finite.
    """
    phonons.generate_displacements(
        distance=protocol.displacement, is_diagonal=protocol.diagonal, is_plusminus="auto"
    )
    cells = phonons.supercells_with_displacements or []
    structures = [from_phonopy(cell, f"displacement {number}") for number, cell in enumerate(cells, start=1)]
    forces = forces_of(structures)
    for structure, found in zip(structures, forces, strict=True):
        if not np.isfinite(found).all():
            raise InputError(f"{structure.source}: its forces are not finite")
    if protocol.subtract_mean:
        forces = [found - found.mean(axis=0) for found in forces]
    phonons.forces = np.array(forces)
    quietly(phonons.produce_force_constants, calculate_full_force_constants=False)
    if protocol.symmetrize:
        quietly(phonons.symmetrize_force_constants, show_drift=False)


def by_hessian(phonons: Phonopy, differentiable: Potential, device: str, batch_atoms: int = 512) -> None:
    """Give phonopy the exact force constants Φ_ij = ∂²E/∂r_i ∂r_j of the undisplaced supercell.

    Args:
        phonons: of the crystal.
        differentiable: a potential whose forces can be differentiated by the positions.
        device: where it is.
        batch_atoms: rows are computed together up to so many atoms.

    Raises:
        InputError: one of them is not finite.
    """
    supercell = from_phonopy(phonons.supercell, "supercell")
    rows = hessian_rows(differentiable, supercell, phonons.primitive.p2s_map.tolist(), device, batch_atoms)
    if not np.isfinite(rows).all():
        raise InputError("supercell: second derivatives of its energy are not finite")
    phonons.force_constants = rows
    # eSEN knows left from right, so that the mirrors of a crystal hold for its energy only as well as they were
    # learnt. Displacements are spread over the crystal by all its operations, mirrors too, which takes the mean over
    # them. The projection onto the space group does the same here; it keeps translation and permutation, which
    # symmetrising these afterwards would not do without breaking the others a little.
    quietly(phonons.symmetrize_force_constants, use_symfc_projector=True, show_drift=False)


def hessian_rows(
    differentiable: Potential, structure: Structure, atoms: Sequence[int], device: str, batch_atoms: int = 512
) -> Float64[np.ndarray, "k N 3 3"]:
    """Compute Φ_iα,jβ = −∂F_iα/∂r_jβ in eV/Å² for some atoms i and all j, one backward pass per row.

    Rows are computed together up to `batch_atoms` atoms. In a cell narrower than twice the reach of the network, atoms
    j stand for all their images, as they do in displaced supercells.
    """
    graph = make_graph(structure, differentiable.cutoff, differentiable.backend).to(device)
    positions = graph.positions.clone().requires_grad_()
    with torch.enable_grad():
        forces = differentiable(replace(graph, positions=positions)).forces
    components = forces[torch.tensor(atoms, device=device)].reshape(-1)
    at_once = max(1, batch_atoms // max(1, len(structure)))
    rows = [
        _rows(components[start : start + at_once], positions, last=start + at_once >= len(components))
        for start in range(0, len(components), at_once)
    ]
    found = -np.concatenate(rows).reshape(len(atoms), 3, len(structure), 3)
    return np.ascontiguousarray(found.transpose(0, 2, 1, 3))


def _rows(components: Tensor, positions: Tensor, *, last: bool) -> np.ndarray:
    """Differentiate several components by all positions in one batched backward pass."""
    directions = torch.eye(len(components), dtype=components.dtype, device=components.device)
    (rows,) = torch.autograd.grad(
        components,
        positions,
        directions,
        is_grads_batched=True,
        retain_graph=not last,
        materialize_grads=True,
    )
    return np.asarray(rows.cpu().numpy(), dtype=np.float64)
