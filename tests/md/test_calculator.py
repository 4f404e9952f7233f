"""Between this package and ASE, both ways."""

import hashlib
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.db import connect
from ase.filters import FrechetCellFilter
from ase.io import Trajectory
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Potential
from esen.md.calculator import AsePotential, EsenCalculator, choose_device, choose_dtype
from esen.models.checkpoint import Checkpoint, save_checkpoint, with_prefix
from esen.models.potential import make_potential
from esen.recipe import ModelSpec
from esen.recipe.train import MemoryMode
from tests.toys import PairPotential, lennard_jones, morse


def copper(potential: PairPotential | None = None) -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.9, cubic=True)
    atoms.rattle(0.05, seed=3)
    atoms.calc = EsenCalculator(potential or morse())
    return atoms


def calls(atoms: Atoms) -> int:
    return atoms.calc.potential.calls  # type: ignore[no-any-return]


def test_properties_are_those_of_the_potential() -> None:
    atoms = copper()
    structure = Structure(
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions,
        cell=np.array(atoms.cell),
        pbc=atoms.pbc,
    )
    exact = morse()(make_graph(structure, 5.0))
    assert atoms.get_potential_energy() == pytest.approx(float(exact.energy[0]), rel=1e-14)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), exact.forces.numpy(), atol=1e-14)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), exact.stress[0].numpy(), atol=1e-14)
    assert atoms.get_stress().shape == (6,)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    assert calls(atoms) == 1


def test_the_graph_is_made_by_the_backend_of_the_potential(torch_cluster_searches: list[int]) -> None:
    potential = morse()
    potential.backend = "torch_cluster"
    assert copper(potential).get_potential_energy() == copper().get_potential_energy()
    assert torch_cluster_searches == [1]


def test_stress_is_the_derivative_of_the_energy_in_ases_sign() -> None:
    atoms = copper()
    cell, strain = np.array(atoms.cell), 1e-5
    ends = []
    for sign in (1, -1):
        stretched = copper()
        stretched.set_cell(cell @ np.diag([1, 1, 1 + sign * strain]), scale_atoms=True)
        ends.append(stretched.get_potential_energy())
    assert atoms.get_stress()[2] == pytest.approx(
        (ends[0] - ends[1]) / (2 * strain) / atoms.get_volume(), rel=1e-6
    )


def test_nothing_is_computed_twice() -> None:
    atoms = copper()
    atoms.get_forces()
    atoms.get_stress()
    atoms.set_initial_magnetic_moments([1.0] * 4)
    atoms.set_initial_charges([0.1] * 4)
    atoms.info["config_type"] = "bulk"
    atoms.get_potential_energy()
    atoms.copy()
    assert calls(atoms) == 1


@pytest.mark.parametrize("change", ["positions", "cell", "pbc", "numbers", "atom added"])
def test_a_changed_structure_is_computed_anew(change: str) -> None:
    atoms = copper()
    before = atoms.get_potential_energy()
    if change == "positions":
        atoms.positions[0, 0] += 1e-8
    elif change == "cell":
        atoms.cell[0, 0] += 0.1
    elif change == "pbc":
        atoms.pbc[2] = False
    elif change == "numbers":
        atoms.numbers[0] = 13
    else:
        atoms += Atoms("Cu", positions=[[1.0, 1.0, 1.0]])
    after = atoms.get_potential_energy()
    assert calls(atoms) == 2
    assert (after == before) == (change == "numbers")  # the toy treats all elements alike


def test_results_cannot_be_spoilt_from_outside() -> None:
    atoms = copper()
    atoms.get_forces()[:] = 0
    assert np.abs(atoms.get_forces()).max() > 0.01
    assert calls(atoms) == 1


def test_one_calculator_serves_several_structures() -> None:
    calculator = EsenCalculator(morse())
    one, two = copper(), bulk("Cu", a=3.7)
    expected = one.get_potential_energy()
    one.calc = two.calc = calculator
    assert (one.get_potential_energy(), len(two.get_forces()), len(one.get_forces())) == (expected, 1, 4)


def test_threads_may_share_a_calculator() -> None:
    """Without a lock, a thread gets the results of another one's atoms."""
    calculator = EsenCalculator(morse())

    def measure(atoms: Atoms) -> list[tuple[float, float]]:
        found = []
        for _ in range(8):
            atoms.positions[0, 0] += 0.01
            found.append((atoms.get_potential_energy(), float(atoms.get_forces().sum(axis=1)[0])))
        return found

    def crystals(shared: bool) -> list[Atoms]:
        made = [bulk("Cu", "fcc", a=3.6 + 0.1 * i, cubic=True) for i in range(4)]
        for atoms in made:
            atoms.calc = calculator if shared else EsenCalculator(morse())
        return made

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(measure, crystals(shared=True)))
    assert together == [measure(atoms) for atoms in crystals(shared=False)]


def test_a_copied_calculator_computes(run_folder: Path) -> None:
    atoms = copper()
    atoms.calc = EsenCalculator(run_folder)
    for copied in (deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc))):
        other = copper()
        other.calc = copied
        assert other.get_potential_energy() == atoms.get_potential_energy()


def test_databases_keep_where_a_checkpoint_came_from(run_folder: Path) -> None:
    atoms = copper()
    atoms.calc = EsenCalculator(run_folder, dtype="float64")
    atoms.get_potential_energy()
    with connect(run_folder / "crystals.json") as database:
        database.write(atoms)
    kept = connect(run_folder / "crystals.json").get(1)
    weights = run_folder / "best.safetensors"
    assert kept.calculator == "esen"
    assert kept.calculator_parameters["checkpoint"] == str(weights)
    assert kept.calculator_parameters["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert kept.calculator_parameters["dtype"] == "float64"
    assert kept.energy == atoms.get_potential_energy()


def test_the_help_of_the_calculator_is_its_own() -> None:
    help_text = inspect.getdoc(EsenCalculator.__init__)
    assert help_text is not None
    assert "restart" not in help_text


def test_stress_needs_a_volume() -> None:
    slab = fcc111("Cu", (2, 2, 2), vacuum=5.0)
    slab.calc = EsenCalculator(morse())
    within = slab.get_stress()
    slab.pbc = True
    np.testing.assert_allclose(
        within, slab.get_stress(), rtol=0, atol=1e-12
    )  # the vacuum is wider than the cutoff
    slab.pbc = [True, True, False]
    for cell in ([*slab.cell[:2], [0, 0, 0]], [*slab.cell[:2], slab.cell[0] - slab.cell[1]]):
        slab.set_cell(cell)
        slab.get_forces()
        with pytest.raises(PropertyNotImplementedError, match="has no volume"):
            slab.get_stress()
        assert "stress" not in slab.calc.results


@pytest.mark.parametrize("pbc", [(True, True, False), (False, True, False), (False, False, False)])
def test_stress_of_slabs_and_wires_is_the_derivative_of_their_energy(pbc: Any) -> None:
    """Against central differences in float64, on a triclinic cell; through both directions of the adapters."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(
        atoms.cell.array + np.array([[0, 0.3, 0.1], [0.2, 0, -0.2], [0.1, 0.4, 3.0]]), scale_atoms=False
    )
    atoms.rattle(0.1, seed=1)
    atoms.pbc, atoms.calc = pbc, EsenCalculator(AsePotential(EsenCalculator(morse())))
    stress = atoms.get_stress(voigt=False)
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[i, j] += 0.5e-4
        strain[j, i] += 0.5e-4
        energies = []
        for sign in (1, -1):
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=False)
            strained.positions = atoms.positions @ (np.eye(3) + sign * strain)
            strained.calc = atoms.calc
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / 2e-4 / atoms.get_volume()
        assert stress[i, j] == pytest.approx(slope, abs=1e-8)
    assert np.abs(stress).max() > 1e-3


def test_no_atoms() -> None:
    nothing = Atoms(cell=[3, 3, 3], pbc=True, calculator=EsenCalculator(morse()))
    assert nothing.get_potential_energy() == 0.0
    assert nothing.get_forces().shape == (0, 3)
    assert nothing.get_stress().tolist() == [0.0] * 6
    assert calls(nothing) == 0


def test_an_unknown_element_is_said_and_leaves_nothing_behind() -> None:
    atoms = copper(morse(elements=frozenset({29})))
    atoms.get_forces()
    atoms.numbers[0] = 79
    for _ in range(2):
        with pytest.raises(InputError, match="79"):
            atoms.get_forces()
    atoms.numbers[0] = 29
    assert len(atoms.get_forces()) == 4


def test_two_atoms_in_one_place_are_said(run_folder: Path) -> None:
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 0]])
    atoms.calc = EsenCalculator(run_folder)
    with pytest.raises(InputError, match=r"atoms 0 and 1 .*0\.000 Å"):
        atoms.get_potential_energy()
    atoms.positions[1, 0] = 2.0
    assert np.isfinite(atoms.get_potential_energy())


def test_cell_relaxation_and_trajectory(tmp_path: Path) -> None:
    atoms = copper()
    with Trajectory(tmp_path / "relax.traj", "w", atoms) as trajectory:
        optimiser = FIRE(FrechetCellFilter(atoms), trajectory=trajectory, logfile=None)
        assert optimiser.run(fmax=0.01, steps=300)
    assert np.abs(atoms.get_stress()).max() < 1e-3
    with Trajectory(tmp_path / "relax.traj") as trajectory:
        assert trajectory[-1].get_potential_energy() == pytest.approx(atoms.get_potential_energy())


def test_molecular_dynamics_conserves_energy() -> None:
    atoms = copper()
    atoms.set_momenta(np.random.default_rng(0).normal(0, 1.0, (4, 3)))
    before = atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=0.5 * units.fs).run(100)
    assert abs(atoms.get_kinetic_energy()) > 0.01
    assert atoms.get_total_energy() == pytest.approx(before, abs=1e-4)
    assert calls(atoms) == 101


def test_dtype_is_for_checkpoints() -> None:
    with pytest.raises(InputError, match="dtype"):
        EsenCalculator(morse(), dtype="float64")


def test_unknown_dtype_is_said() -> None:
    with pytest.raises(InputError, match=r"dtype .*'fp32'"):
        choose_dtype("fp32")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A folder as a training leaves it: a small network that knows copper."""
    spec = ModelSpec(
        cutoff=4.0, lmax=1, mmax=1, layers=1, sphere_channels=4, hidden_channels=4, edge_channels=4
    )
    checkpoint = Checkpoint(
        recipe={"model": spec.model_dump(mode="json")},
        elements=(29,),
        metrics={},
        tensors=with_prefix("weights", make_potential(spec, seed=0, elements=(29,)).state_dict()),
    )
    save_checkpoint(tmp_path / "best.safetensors", checkpoint)
    return tmp_path


def test_a_checkpoint_is_a_calculator(run_folder: Path, recwarn: pytest.WarningsRecorder) -> None:
    atoms, precise = copper(), copper()
    atoms.calc = EsenCalculator(run_folder, device="cpu")
    precise.calc = EsenCalculator(str(run_folder / "best.safetensors"), dtype="float64", device="cpu")
    assert atoms.get_potential_energy() == pytest.approx(precise.get_potential_energy(), rel=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), precise.get_forces(), atol=1e-5)
    assert np.abs(precise.get_forces()).max() > 1e-4
    assert np.abs(precise.get_forces().sum(axis=0)).max() < 1e-12
    assert atoms.get_forces().dtype == np.float64
    assert not recwarn.list
    atoms.numbers[0] = 79
    with pytest.raises(InputError, match="Au"):
        atoms.get_forces()


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        EsenCalculator(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_missing_device(name: str) -> None:
    with pytest.raises(InputError, match=f"device '{name}'"):
        choose_device(name)


def test_auto_device_is_there() -> None:
    assert torch.zeros(1, device=choose_device("auto")).sum() == 0


def structure_of(atoms: Atoms) -> Structure:
    return Structure(
        numbers=atoms.numbers.astype(np.int64),
        positions=atoms.positions,
        cell=np.array(atoms.cell),
        pbc=atoms.pbc,
    )


def test_any_ase_calculator_is_a_potential() -> None:
    crystal, slab = bulk("Cu", cubic=True), fcc111("Al", (2, 2, 2), vacuum=5.0)
    crystal.rattle(0.05)
    slab.rattle(0.05)
    potential = AsePotential(EMT())
    assert isinstance(potential, Potential)
    both = potential(make_graph([structure_of(crystal), structure_of(slab)], potential.cutoff))
    crystal.calc, slab.calc = EMT(), EMT()
    assert both.energy.tolist() == [crystal.get_potential_energy(), slab.get_potential_energy()]
    np.testing.assert_array_equal(
        both.forces.numpy(), np.concatenate([crystal.get_forces(), slab.get_forces()])
    )
    np.testing.assert_array_equal(both.stress[0].numpy(), crystal.get_stress(voigt=False))
    np.testing.assert_array_equal(both.stress[1].numpy(), slab.get_stress(voigt=False))
    torch.testing.assert_close(both.virial[0], both.stress[0] * crystal.get_volume(), rtol=1e-14, atol=0)
    np.testing.assert_array_equal(both.energies[:4].numpy(), crystal.get_potential_energies())


def test_there_and_back_again() -> None:
    """Our potential as an ASE calculator as a potential."""
    structure = structure_of(copper())
    graph = make_graph(structure, 5.0)
    once, twice = morse()(graph), AsePotential(EsenCalculator(morse()))(graph)
    for name in ("energy", "forces", "stress", "energies"):
        torch.testing.assert_close(getattr(twice, name), getattr(once, name), rtol=0, atol=1e-15)


def test_what_a_calculator_does_not_offer() -> None:
    class OnlyEnergyAndForces(LennardJones):  # type: ignore[misc]
        implemented_properties = ("energy", "forces")

    atoms = bulk("Ar", a=1.7, cubic=True)
    prediction = AsePotential(OnlyEnergyAndForces())(make_graph(structure_of(atoms), 0.0))
    assert prediction.energies.tolist() == pytest.approx([float(prediction.energy[0]) / 4] * 4)
    assert prediction.stress.isnan().all()


def test_a_stress_that_is_listed_and_not_there() -> None:
    class Listed(EMT):  # type: ignore[misc]  # ASE has no types
        def get_property(self, name: str, *args: object, **kwargs: object) -> object:
            if name == "stress":
                raise PropertyNotImplementedError
            return super().get_property(name, *args, **kwargs)

    prediction = AsePotential(Listed())(make_graph(structure_of(bulk("Cu")), 0.0))
    assert prediction.stress.isnan().all()
    assert prediction.forces.isfinite().all()


def test_forces_of_another_shape_are_one_line() -> None:
    class Wrong(EMT):  # type: ignore[misc]  # ASE has no types
        def calculate(self, *args: object, **kwargs: object) -> None:
            super().calculate(*args, **kwargs)
            self.results["forces"] = self.results["forces"][:-1]

    frame = Structure(
        np.array([29, 29]), np.array([[0, 0, 0], [0, 0, 2.4]]), np.zeros((3, 3)), np.zeros(3, dtype=bool)
    )
    with pytest.raises(InputError, match=r"forces .*\(1, 3\).*\(2, 3\)"):
        AsePotential(Wrong())(make_graph(frame, 0.0))


def test_memory_is_checked_and_is_for_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="use_memory"):
        EsenCalculator(morse(), memory="lean")
    asked: list[str] = []

    def refuse(name: str) -> MemoryMode:
        asked.append(name)
        raise InputError(f"memory is {name!r}")

    monkeypatch.setattr("esen.md.calculator.memory_mode", refuse)  # the type checker would come before it
    for potential in (morse(), "no such file"):
        with pytest.raises(InputError, match=r"memory .*'fast'"):
            EsenCalculator(potential, memory="fast")
    assert asked == ["fast", "fast"]


def test_atoms_that_are_far_too_close_are_named_once():
    calculator = EsenCalculator(lennard_jones())
    atoms = Atoms("CuO", [[0, 0, 0], [0.8, 0, 0]], calculator=calculator)
    with pytest.warns(
        UserWarning, match=r"(Cu|O) .atom [01]. and (Cu|O) .atom [01]. are 0.800 Å apart"
    ) as caught:
        atoms.get_potential_energy()
    assert len(caught) == 1
    atoms.positions[1, 0] = 0.7
    atoms.get_potential_energy()  # warnings are errors here


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("Cu", cell=1e-3 * np.eye(3), pbc=True), "pairs within"),
        (Atoms("Cu", cell=[1e-3, 50, 50], pbc=[True, False, False]), "pairs within"),
        (Atoms("X2", [[0, 0, 0], [0, 0, 2]]), "atom 0 has atomic number 0"),
        (Atoms(numbers=[8, 119], positions=[[0, 0, 0], [0, 0, 2]]), "atom 1 has atomic number 119"),
    ],
)
def test_what_cannot_be_computed_is_said_before(atoms, words):
    atoms.calc = EsenCalculator(lennard_jones())
    with pytest.raises(InputError, match=words):
        atoms.get_potential_energy()
