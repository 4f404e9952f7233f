"""One material from its unit cell to its conductivity."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.conductivity.force_constants import displace, third_by_displacements
from esen.evaluate.conductivity.material import make_phono3py
from esen.evaluate.conductivity.modes import modes_of
from esen.evaluate.conductivity.run import conductivity_at, imaginary_modes, relaxed_material
from esen.evaluate.model import Model, Progress, no_progress
from esen.evaluate.phonons.crystal import from_phonopy
from esen.md.calculator import AsePotential
from tests.evaluate.conductivity.materials import (
    PUBLISHED,
    TIGHT,
    Counted,
    alloy,
    aluminium,
    coarse,
    emt,
    material_of,
    simple_cubic,
)
from tests.evaluate.phonons.crystals import model_of


def test_aluminium_of_the_issue() -> None:
    """8.07 W/m/K of the single modes on 11³, from 37 supercells with displacements for third derivatives."""
    start = material_of(bulk("Al", a=4.0, cubic=True), 3, 2, 11, "Al")
    material, how = relaxed_material(start, EMT(), TIGHT)
    assert how.converged
    assert how.groups == (225, 225)
    seen: list[tuple[int, int]] = []
    found = conductivity_at(material, how, emt(), TIGHT, lambda done, of: seen.append((done, of)))
    assert found.reason is None
    assert found.displacements == (1, 37)
    assert (seen[0], seen[-1]) == ((1, 38), (38, 38))
    assert found.transport is not None
    assert found.transport.diagonal[0, 0] == pytest.approx(8.0712, abs=1e-3)
    np.testing.assert_allclose(
        found.transport.diagonal[0], [found.transport.diagonal[0, 0]] * 3 + [0] * 3, atol=1e-9
    )
    assert found.transport.coherence[0, 0] < 0.02 * found.transport.mean[0]


def test_phono3py_itself_gives_the_same() -> None:
    found = coarse()
    assert found.transport is not None
    direct = make_phono3py(aluminium(), 1e-5)
    direct.generate_displacements(distance=TIGHT.displacement)
    forces_of = emt().forces

    def forces(cells: Sequence[object]) -> np.ndarray:
        return np.array(forces_of([from_phonopy(cell, "direct") for cell in cells]))  # type: ignore[arg-type]

    direct.phonon_forces = forces(direct.phonon_supercells_with_displacements)
    direct.forces = forces(direct.supercells_with_displacements)
    direct.produce_fc2()
    direct.symmetrize_fc2()
    direct.produce_fc3()
    direct.symmetrize_fc3()
    totals = {}
    for transport in (None, "SMM19"):
        direct.init_phph_interaction(symmetrize_tetrahedra=True, average_degenerate_weights=True)
        direct.run_thermal_conductivity(
            temperatures=[300], is_isotope=True, boundary_mfp=1e6, transport_type=transport
        )
        totals[transport] = direct.thermal_conductivity.kappa[0]
    np.testing.assert_allclose(found.transport.diagonal, totals[None], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.transport.total, totals["SMM19"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.harmonic.points, direct.thermal_conductivity.qpoints, atol=1e-12)
    np.testing.assert_array_equal(found.harmonic.weights, direct.thermal_conductivity.grid_weights)


def test_modes_sum_to_the_total() -> None:
    found = conductivity_at(alloy(), None, emt(), replace(PUBLISHED, temperatures=(200.0, 400.0)))
    transport, weights = found.transport, found.harmonic.weights
    assert transport is not None
    assert weights.sum() == np.prod(found.material.mesh)
    np.testing.assert_allclose(transport.total, transport.particle + transport.coherence)
    np.testing.assert_allclose(transport.modes.sum(axis=(1, 2)) / weights.sum(), transport.total, atol=1e-10)
    assert transport.mean.shape == (2,)
    assert transport.mean[0] > transport.mean[1]  # hotter phonons scatter more
    assert transport.total[0, 0] != pytest.approx(transport.total[0, 2], rel=0.01)  # tetragonal
    assert (transport.coherence[:, :3] > 0).all()


def test_single_modes_are_kinetic_theory() -> None:
    """κ = Σ C v² τ / (3 N V): units of what is kept of the modes."""
    found = coarse()
    transport, weights = found.transport, found.harmonic.weights
    assert transport is not None
    moving = found.harmonic.frequencies > 1e-3
    volume = make_phono3py(found.material, 1e-5).primitive.volume * 1e-30
    speed = np.linalg.norm(transport.velocities, axis=-1) * 100
    each = (
        transport.heat_capacity[0]
        * 1.602176634e-19
        * speed**2
        * np.where(moving, modes_of(found).lifetimes[0], 0)
        * 1e-12
    )
    kappa = (each.sum(axis=1) * weights).sum() / (3 * weights.sum() * volume)
    assert kappa == pytest.approx(transport.diagonal[0, :3].mean(), rel=1e-5)


def test_an_unstable_material_is_a_verdict_and_costs_little() -> None:
    calculator = Counted()
    found = conductivity_at(simple_cubic(), None, model_of(calculator), PUBLISHED)
    assert found.transport is None
    assert found.harmonic.imaginary > 0
    assert found.harmonic.lowest < -0.5
    assert found.reason is not None
    assert found.reason.startswith("imaginary modes: -")
    assert found.displacements[1] > calculator.calls == found.displacements[0]


def test_another_space_group_is_a_verdict() -> None:
    material = aluminium()
    _, how = relaxed_material(material, EMT(), PUBLISHED)
    how = replace(how, groups=(225, 139))
    calculator = Counted()
    found = conductivity_at(material, how, model_of(calculator), PUBLISHED)
    assert (found.transport, found.reason) == (None, "the space group changed from 225 to 139")
    assert calculator.calls == found.displacements[0]


def test_the_relaxation_of_the_benchmark_keeps_angles() -> None:
    atoms = bulk("Al", cubic=True)
    atoms.set_cell([[4.1, 0.0, 0.0], [0.0, 4.0, 0.0], [0.2, 0.0, 4.0]], scale_atoms=True)
    material, how = relaxed_material(material_of(atoms, 1, 1, 2), EMT(), PUBLISHED)
    assert how.groups[0] == how.groups[1] != 225
    angle = material.unitcell.cell[2, 0] / material.unitcell.cell[2, 2]
    assert angle == pytest.approx(0.05, abs=0.01)
    assert material.unitcell.cell[0, 0] != pytest.approx(4.1, abs=0.01)


def test_batches_and_progress() -> None:
    """Progress is reported after each batch."""
    seen: list[tuple[int, int]] = []
    material, single = aluminium(fc3=1), replace(emt(), batch_atoms=1)
    forces = []
    for model in (single, emt()):
        phono3py = make_phono3py(material, 1e-5)
        displace(phono3py, TIGHT)
        third_by_displacements(phono3py, TIGHT, model, lambda done, of: seen.append((done, of)))
        forces.append(phono3py.forces)
    assert seen == [*((number, 7) for number in range(1, 8)), (7, 7)]
    np.testing.assert_allclose(*forces, atol=1e-10)


def test_rounding_does_not_matter_where_weights_are_means() -> None:
    class Noisy(Model):
        def forces(
            self, structures: Sequence[Structure], progress: Progress = no_progress
        ) -> list[np.ndarray]:
            rng, exact = np.random.default_rng(0), super().forces(structures, progress)
            return [found + 1e-12 * rng.normal(size=found.shape) for found in exact]

    found = conductivity_at(aluminium(), None, Noisy(AsePotential(EMT()), EMT()), TIGHT).transport
    exact = coarse().transport
    assert found is not None
    assert exact is not None
    assert found.mean[0] != exact.mean[0]
    np.testing.assert_allclose(found.mean, exact.mean, rtol=1e-6)


def test_nothing_is_printed_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    conductivity_at(aluminium(mesh=2), None, emt(), TIGHT)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_done_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^Al: .*Al"):
        conductivity_at(aluminium(), None, replace(emt(), elements=(29,)), TIGHT)
    with pytest.raises(InputError, match=r"^Al: phono3py .*cell"):
        conductivity_at(replace(aluminium(), primitive=np.eye(3) * 0.3), None, emt(), TIGHT)

    class Broken(LennardJones):
        def calculate(self, *args: object, **kwargs: object) -> None:
            super().calculate(*args, **kwargs)
            self.results["forces"] = self.results["forces"] * np.nan

    with pytest.raises(InputError, match=r"Al: displacement 1 .*second.*not finite"):
        conductivity_at(aluminium(), None, model_of(Broken(rc=3.0)), TIGHT)


def test_limits_of_imaginary_modes() -> None:
    points = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    fine = np.array([[-0.0099, 0.0, 0.0, 1.0], [0.0, 1.0, 2.0, 3.0]])
    assert imaginary_modes(points, fine, PUBLISHED) == 0
    for place, value in (((0, 0), -0.0101), ((0, 3), -1e-9), ((1, 0), -1e-9), ((1, 2), np.nan)):
        bad = fine.copy()
        bad[place] = value
        assert imaginary_modes(points, bad, PUBLISHED) == 1, (place, value)
    almost = fine - np.array([[0.0], [0.5e-3]])
    assert (imaginary_modes(points, almost, PUBLISHED), imaginary_modes(points, almost, TIGHT)) == (1, 0)


def test_atoms_that_do_not_feel_each_other_have_no_conductivity() -> None:
    calculator = LennardJones(sigma=0.1, epsilon=1.0, rc=0.5)
    with pytest.raises(InputError, match="all force constants vanish"):
        conductivity_at(simple_cubic(), None, model_of(calculator), PUBLISHED)
