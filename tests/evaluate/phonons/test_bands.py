"""Labels of bands stand at the points of these names, in whatever basis a crystal is given."""

import numpy as np
import pytest
import seekpath
from ase import Atoms
from ase.calculators.lj import LennardJones

from esen.evaluate.phonons.bands import bands_of, path_of
from esen.evaluate.phonons.crystal import make_phonopy
from esen.evaluate.phonons.force_constants import by_displacements
from esen.evaluate.phonons.inputs import crystal_of_structure
from tests.evaluate.phonons.crystals import TIGHT, model_of, structure_of

CENTRED = {
    "P": np.eye(3),
    "A": [[1, 0, 0], [0, 0.5, 0.5], [0, -0.5, 0.5]],
    "C": [[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]],
    "I": [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
    "F": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
}
LATTICES = [
    ("P", (3, 3, 3, 90, 90, 90)),
    ("F", (4, 4, 4, 90, 90, 90)),
    ("I", (3, 3, 3, 90, 90, 90)),
    ("P", (3, 3, 4, 90, 90, 90)),
    ("I", (3, 3, 4.5, 90, 90, 90)),
    ("I", (4.5, 4.5, 3, 90, 90, 90)),
    ("P", (3, 3.7, 4.6, 90, 90, 90)),
    ("A", (3, 3.7, 4.6, 90, 90, 90)),
    ("C", (3.3, 5.2, 4.1, 90, 90, 90)),
    ("I", (3.5, 4.4, 5.7, 90, 90, 90)),
    ("F", (4, 5, 6.6, 90, 90, 90)),
    ("P", (3.1, 3.1, 4.9, 90, 90, 120)),
    ("P", (3.4, 3.4, 3.4, 52, 52, 52)),
    ("P", (3.4, 3.4, 3.4, 100, 100, 100)),
    ("P", (3.2, 3.9, 4.7, 90, 109, 90)),
    ("C", (5.1, 6.3, 6.9, 90, 115, 90)),
    ("A", (5.1, 6.3, 4.9, 90, 115, 90)),
    ("P", (3.1, 3.9, 4.8, 75, 80, 85)),
    ("P", (3.1, 3.9, 4.8, 95, 100, 105)),
]
SKEWED = np.array([[1, 0, 0], [1, 1, 0], [-1, 1, 1]])


def lattice(centring: str, parameters: tuple[float, ...]) -> Atoms:
    found = Atoms("Cu", cell=parameters, pbc=True)
    found.set_cell(np.array(CENTRED[centring]) @ found.cell.array)
    return found


def rotated(atoms: Atoms) -> Atoms:
    """The same crystal in a skewed basis, turned in space, with two primitive cells per cell."""
    found = atoms.copy()
    found.set_cell(SKEWED @ atoms.cell.array)
    found.rotate(37, (1, 2, 3), rotate_cell=True)
    return found.repeat((2, 1, 1))


@pytest.mark.parametrize(("centring", "parameters"), LATTICES)
def test_labels_in_all_lattices(centring: str, parameters: tuple[float, ...]) -> None:
    atoms = lattice(centring, parameters)
    known = seekpath.get_path((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers))
    reciprocal = np.array(known["reciprocal_primitive_lattice"]) / (2 * np.pi)
    coordinates = known["point_coords"]
    expected = np.array([coordinates[name] for line in known["path"] for name in line]) @ reciprocal
    crystal = crystal_of_structure(structure_of(rotated(atoms)), "made", np.eye(3, dtype=np.int64), 1e-5)
    primitive = make_phonopy(crystal, 1e-5).primitive.cell
    ends = [point for line in path_of(crystal, 1e-5).points for point in (line[0], line[-1])]
    found = np.array(ends) @ np.linalg.inv(primitive).T
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-9)  # lengths and angles


def test_frequencies_at_the_labels_do_not_depend_on_the_basis() -> None:
    model = model_of(LennardJones(sigma=3.5, rc=5.2, smooth=True))
    bands = []
    for atoms in (lattice("C", (5.1, 6.3, 6.9, 90, 115, 90)), rotated(lattice("C", LATTICES[15][1]))):
        crystal = crystal_of_structure(structure_of(atoms), "made", 10.5, 1e-5)
        phonons = make_phonopy(crystal, 1e-5)
        by_displacements(phonons, TIGHT, model.forces)
        bands.append(bands_of(phonons, path_of(crystal, 1e-5)))
    one, other = bands
    assert one.labels.tolist() == other.labels.tolist()
    np.testing.assert_allclose(one.distances, other.distances, atol=1e-9)
    np.testing.assert_allclose(one.frequencies, other.frequencies, atol=2e-3)  # by differences
