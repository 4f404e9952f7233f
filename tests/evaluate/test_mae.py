"""Errors, on potentials whose errors are known."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.mae import evaluate_mae
from esen.graph.batch import make_graph
from esen.graph.types import Graph, Potential, Prediction
from tests.toys import lennard_jones


def crystal(seed: int, numbers: Sequence[int] = (12, 8, 8, 12), **info: str) -> Structure:
    generator = np.random.default_rng(seed)
    return Structure(
        numbers=np.array(numbers, dtype=np.int64),
        positions=generator.uniform(0, 6, (len(numbers), 3)),
        cell=6.0 * np.eye(3) + generator.normal(0, 0.2, (3, 3)),
        pbc=np.array([True, True, True]),
        info=dict(info),
        source=f"made.xyz, frame {seed}",
    )


def labelled(potential: Potential, structure: Structure) -> Structure:
    truth = potential(make_graph(structure, potential.cutoff))
    return replace(
        structure,
        energy=float(truth.energy[0]),
        forces=truth.forces.numpy(),
        stress=truth.stress[0].numpy(),
    )


class Off:
    """The truth, wrong by what the test says."""

    def __init__(
        self, truth: Potential, energy: float = 0.0, forces: float = 0.0, stress: float = 0.0
    ) -> None:
        self.truth, self.cutoff, self.backend = truth, truth.cutoff, truth.backend
        self.energy, self.forces, self.stress = energy, forces, stress

    def __call__(self, graph: Graph) -> Prediction:
        exact = self.truth(graph)
        atoms = torch.bincount(graph.structure, minlength=graph.num_structures)
        # Oxygen's forces are wrong by twice as much.
        weight = torch.where(graph.numbers == 8, 2.0, 1.0)[:, None].double()
        return Prediction(
            energy=exact.energy + self.energy * atoms,
            forces=exact.forces + self.forces * weight,
            stress=exact.stress - self.stress,
            energies=exact.energies,
            virial=exact.virial,
        )


def test_the_graphs_are_made_by_the_backend_of_the_potential(torch_cluster_searches: list[int]) -> None:
    truth = lennard_jones()
    frames = [labelled(truth, crystal(i)) for i in range(3)]
    exact = evaluate_mae(truth, frames, batch_atoms=8)
    truth.backend = "torch_cluster"
    assert evaluate_mae(truth, frames, batch_atoms=8).to_json() == exact.to_json()
    assert torch_cluster_searches == [2, 1]


def test_the_truth_has_no_error() -> None:
    truth = lennard_jones()
    report = evaluate_mae(truth, [labelled(truth, crystal(i)) for i in range(3)])
    for errors in report.overall.errors.values():
        assert errors.mae == pytest.approx(0, abs=1e-9)
        assert errors.rmse == pytest.approx(0, abs=1e-9)
    assert report.overall.errors["energy"].count == 3
    assert report.overall.errors["forces"].count == 3 * 4 * 3
    assert report.overall.errors["stress"].count == 3 * 9


def test_units_and_elements() -> None:
    truth = lennard_jones()
    frames = [labelled(truth, crystal(0)), labelled(truth, crystal(1, (12, 12)))]
    report = evaluate_mae(Off(truth, energy=0.001, forces=0.01, stress=0.002), frames)
    assert report.overall.errors["energy"].mae == pytest.approx(1.0)  # meV/atom
    assert report.overall.errors["forces"].mae == pytest.approx((4 * 10 + 2 * 20) / 6)  # meV/Å
    assert report.overall.errors["forces"].rmse == pytest.approx(np.sqrt((4 * 100 + 2 * 400) / 6))
    assert report.overall.errors["stress"].mae == pytest.approx(2.0)  # meV/Å³
    assert list(report.elements) == ["O", "Mg"]
    assert report.elements["O"].errors["forces"].mae == pytest.approx(20.0)
    assert report.elements["Mg"].errors["forces"].mae == pytest.approx(10.0)
    assert (report.elements["O"].errors["energy"].count, report.elements["Mg"].errors["energy"].count) == (
        1,
        2,
    )
    assert report.groups == {}
    assert [f.largest["forces"] for f in report.frames] == pytest.approx([20.0, 10.0])
    assert report.frames[0].energy_predicted - report.frames[0].energy_reference == pytest.approx(0.004)
    assert report.frames[1].source == "made.xyz, frame 1"


def test_config_types_are_told_apart() -> None:
    truth = lennard_jones()
    frames = [
        labelled(truth, crystal(0, (8, 8), config_type="oxygen")),
        labelled(truth, crystal(1, (12, 12, 12), config_type="magnesium")),
        labelled(truth, crystal(2, (12, 8))),
    ]
    report = evaluate_mae(Off(truth, forces=0.01), frames)
    assert list(report.groups) == ["magnesium", "oxygen"]
    assert report.groups["oxygen"].errors["forces"].mae == pytest.approx(20.0)
    assert report.groups["magnesium"].errors["forces"].mae == pytest.approx(10.0)
    assert report.groups["magnesium"].errors["forces"].count == 9
    assert report.overall.errors["energy"].count == 3


def test_a_missing_label_is_left_out_and_counted() -> None:
    truth = lennard_jones()
    whole, no_stress, no_forces = (labelled(truth, crystal(i)) for i in range(3))
    frames = [whole, replace(no_stress, stress=None), replace(no_forces, forces=None, energy=None)]
    report = evaluate_mae(Off(truth, energy=0.001, forces=0.0, stress=0.001), frames)
    assert report.missing == {"energy": 1, "forces": 1, "stress": 1}
    assert (report.overall.errors["energy"].count, report.overall.errors["stress"].count) == (2, 18)
    assert report.overall.errors["forces"].count == 2 * 12
    assert report.overall.errors["energy"].mae == pytest.approx(1.0)
    assert report.not_finite["energy"] == 0
    assert np.isnan(report.frames[2].energy_error)


def test_the_stress_of_a_slab_is_not_compared() -> None:
    truth = lennard_jones()
    slab = replace(labelled(truth, crystal(0)), pbc=np.array([True, True, False]))
    report = evaluate_mae(truth, [slab])
    assert report.overall.errors["stress"].count == 0
    assert report.missing["stress"] == 1


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_diverged_prediction_is_counted_and_not_averaged(wrong: float) -> None:
    truth = lennard_jones()
    frames = [labelled(truth, crystal(0)), labelled(truth, crystal(1, (8,)))]

    class Diverged(Off):
        def __call__(self, graph: Graph) -> Prediction:
            prediction = super().__call__(graph)
            forces = prediction.forces.clone()
            forces[-1, 0] = wrong
            energy = prediction.energy.clone()
            energy[-1] = wrong
            return replace(prediction, forces=forces, energy=energy)

    report = evaluate_mae(Diverged(truth, energy=0.001, forces=0.01), frames)
    assert report.not_finite == {"energy": 1, "forces": 1, "stress": 0}
    assert report.overall.errors["energy"].mae == pytest.approx(1.0)
    assert report.overall.errors["energy"].count == 1
    assert report.overall.errors["forces"].count == 5 * 3 - 1
    assert np.isfinite(report.overall.errors["forces"].rmse)
    assert np.isfinite(report.parity["forces"].predicted).all()


def test_batches_change_nothing_but_are_used() -> None:
    truth = lennard_jones()
    frames = [labelled(truth, crystal(i, (8,) * (i + 1))) for i in range(5)]
    wrong = Off(truth, forces=0.01)
    done: list[int] = []
    one = evaluate_mae(wrong, frames, batch_atoms=1, progress=done.append)
    assert done == [1, 2, 3, 4, 5]
    done.clear()
    all_together = evaluate_mae(wrong, frames, batch_atoms=100, progress=done.append)
    assert done == [5]
    assert one.overall.errors["forces"].rmse == pytest.approx(all_together.overall.errors["forces"].rmse)
    np.testing.assert_allclose(
        one.parity["energy"].predicted, all_together.parity["energy"].predicted, rtol=1e-12
    )
    assert [f.atoms for f in one.frames] == [1, 2, 3, 4, 5]


def test_json_has_every_group_and_no_nan() -> None:
    truth = lennard_jones()
    frame = replace(labelled(truth, crystal(0, config_type="bulk")), stress=None)
    values = json.loads(json.dumps(evaluate_mae(truth, [frame]).to_json(), allow_nan=False))
    assert values["structures"] == 1
    assert values["overall"]["stress"] == {"mae": None, "rmse": None, "count": 0}
    assert values["elements"]["O"]["forces"]["count"] == 6
    assert set(values["config_types"]) == {"bulk"}
    assert values["missing"] == {"energy": 0, "forces": 0, "stress": 1}


def test_groups_of_another_key() -> None:
    truth = lennard_jones()
    frames = [labelled(truth, crystal(i, temperature=300 * (1 + i % 2))) for i in range(3)]
    report = evaluate_mae(truth, frames, group_by="temperature")
    assert {name: group.structures for name, group in report.groups.items()} == {"300": 2, "600": 1}
    assert set(report.to_json()["groups"]) == {"300", "600"}


class Picky(Off):
    """A potential that refuses structures with three atoms."""

    def __call__(self, graph: Graph) -> Prediction:
        if 3 in torch.bincount(graph.structure).tolist():
            raise InputError("three atoms are too many")
        return super().__call__(graph)


def test_a_structure_that_the_potential_refuses_is_left_out() -> None:
    truth = lennard_jones()
    frames = [labelled(truth, crystal(i, (8,) * (2 + i % 2))) for i in range(5)]
    alone = evaluate_mae(Off(truth, forces=0.01), [frames[i] for i in (0, 2, 4)])
    report = evaluate_mae(Picky(truth, forces=0.01), frames, batch_atoms=100)
    assert [one.source for one in report.left_out] == ["made.xyz, frame 1", "made.xyz, frame 3"]
    assert {one.reason for one in report.left_out} == {"three atoms are too many"}
    assert report.to_json()["left_out"][0]["source"] == "made.xyz, frame 1"
    assert [frame.source for frame in report.frames] == [frame.source for frame in alone.frames]
    assert report.overall == alone.overall
    with pytest.raises(InputError, match="frame 1: three atoms"):
        evaluate_mae(Picky(truth), [frames[1]])


def test_a_structure_with_an_unknown_element_is_left_out() -> None:
    truth = lennard_jones()
    frames = [labelled(truth, crystal(0)), labelled(truth, crystal(1, (8, 26)))]
    done: list[int] = []
    report = evaluate_mae(truth, frames, elements=(8, 12), batch_atoms=4, progress=done.append)
    assert [(one.source, "Fe" in one.reason) for one in report.left_out] == [("made.xyz, frame 1", True)]
    assert (len(report.frames), done) == (1, [1, 2])
    assert "left_out" not in evaluate_mae(truth, frames[:1]).to_json()


def test_a_target_that_the_potential_does_not_predict() -> None:
    truth = lennard_jones()
    report = evaluate_mae(Off(truth, stress=float("nan")), [labelled(truth, crystal(i)) for i in range(2)])
    assert report.not_predicted == {"stress"}
    assert report.not_finite["stress"] == 2
    assert report.overall.errors["stress"].count == 0


@pytest.mark.parametrize("label", ["energy", "forces", "stress"])
def test_one_label_is_enough(label: str) -> None:
    truth = lennard_jones()
    whole = labelled(truth, crystal(0))
    others = dict.fromkeys({"energy", "forces", "stress"} - {label})
    report = evaluate_mae(Off(truth, energy=0.001, forces=0.01, stress=0.001), [replace(whole, **others)])
    assert [name for name, errors in report.overall.errors.items() if errors.count] == [label]
    assert report.overall.structures == 1


def test_nothing_to_evaluate_is_said() -> None:
    with pytest.raises(InputError, match="no structures"):
        evaluate_mae(lennard_jones(), [])


def test_too_large_a_batch_names_its_size() -> None:
    truth = lennard_jones()

    class Greedy(Off):
        def __call__(self, graph: Graph) -> Prediction:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InputError, match=r"4 atoms and \d+ edges .*4"):
        evaluate_mae(Greedy(truth), [labelled(truth, crystal(0))])
