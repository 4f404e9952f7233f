"""The gradient of a batch: the same however it is divided, and of the loss that is written down."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from esen.graph.batch import make_graph, make_labels
from esen.models.dens import Corruption
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import BatchSpec, ConservativeSpec, DensSpec, DirectSpec, LossSpec, ModelSpec
from esen.recipe.model import ForcesSpec
from esen.train.batches import Batches
from esen.train.dens import displace
from esen.train.step import Objective
from esen.train.targets import LossTerms, label_counts
from tests.train.small import crystals, molecule

SPEC = ModelSpec(
    cutoff=3.5, layers=1, sphere_channels=4, hidden_channels=4, edge_channels=4, max_elements=20, dens=True
)
FRAMES = [
    *crystals(4),
    molecule(8, 12, 8),
    replace(crystals(5)[4], forces=None),
    replace(crystals(6)[5], energy=None),
    replace(crystals(7)[6], stress=None),
]
ALL = list(range(len(FRAMES)))
LOSS = LossSpec(energy=3.0, forces=7.0, stress=2.0)
WEIGHTS = np.linspace(0.1, 2.0, len(FRAMES))


def potential_of(forces: ForcesSpec) -> EsenPotential:
    made = make_potential(SPEC.model_copy(update={"forces": forces}), seed=3, elements=(8, 12)).double()
    made.set_normalisation(0.7, np.full(20, -1.0))
    return made.train()


def batches() -> Batches:
    return Batches(FRAMES, 3.5, BatchSpec(structures=len(FRAMES)))


def gradient(
    potential: EsenPotential, objective: Objective, seed: int | None = None
) -> tuple[LossTerms, dict[str, torch.Tensor]]:
    """Of all frames as one batch; a denoising one where there is a seed."""
    potential.zero_grad()
    random = None if seed is None else np.random.default_rng(seed)
    terms = objective.add_gradient(potential, objective.parts(batches(), ALL, random))
    return terms, {name: p.grad.clone() for name, p in potential.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("forces", [ConservativeSpec(), DirectSpec()], ids=lambda f: f.kind)
@pytest.mark.parametrize("norm", ["l2", "l2_squared"])
@pytest.mark.parametrize("seed", [None, 5], ids=["plain", "denoising"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_a_divided_batch_has_the_gradient_of_the_whole(
    forces: ForcesSpec, norm: str, seed: int | None, weights: np.ndarray | None
) -> None:
    loss, dens = LOSS.model_copy(update={"force_norm": norm}), DensSpec(corrupt_ratio=0.6)
    potential = potential_of(forces)
    whole, expected = gradient(potential, Objective(loss, dens, None, weights), seed)
    assert len(Objective(loss, dens, 4).parts(batches(), ALL)) == 5
    for atoms in (1, 5):
        divided, found = gradient(potential, Objective(loss, dens, atoms, weights), seed)
        assert float(divided.total) == pytest.approx(float(whole.total), rel=1e-13)
        assert divided.named()["denoising"] == pytest.approx(whole.named()["denoising"], rel=1e-13)
        assert found.keys() == expected.keys()
        scale = max(float(g.abs().max()) for g in expected.values())
        for name, value in found.items():
            assert torch.allclose(value, expected[name], rtol=1e-10, atol=1e-13 * scale), name


@pytest.mark.parametrize("forces", [ConservativeSpec(), DirectSpec()], ids=lambda f: f.kind)
def test_the_loss_of_a_denoising_batch(forces: ForcesSpec) -> None:
    """Written out: displaced atoms are asked for their displacement, the others for their force, each once."""
    frames = list(crystals(5))
    dens, loss = DensSpec(std=0.3, coefficient=11.0, corrupt_ratio=0.5), LOSS
    potential, objective = potential_of(forces), Objective(loss, dens)
    random = np.random.default_rng(1)
    (part,) = objective.parts(Batches(frames, 3.5, BatchSpec(structures=5)), range(5), random)
    terms = objective.terms(potential, part, label_counts([part.labels]))

    random = np.random.default_rng(1)
    moved = [displace(frame, dens, random) for frame in frames]
    graph, labels = make_graph([s for s, _ in moved], 3.5), make_labels(frames)
    corrupted = torch.cat([d.corrupted for _, d in moved])
    noise = torch.cat([d.noise for _, d in moved])
    assert 0 < int(corrupted.sum()) < len(corrupted)
    denoised = potential.requires_grad_(False).denoise(graph, Corruption(labels.forces, corrupted))
    denoising = (denoised.noise - noise)[corrupted].norm(dim=1).sum() / 10
    assert terms.named()["denoising"] == pytest.approx(float(denoising), rel=1e-12)
    expected = 11.0 * denoising
    if denoised.prediction is not None:
        force_errors = (denoised.prediction.forces - labels.forces)[~corrupted].norm(dim=1) / 0.7
        energy_errors = (denoised.prediction.energy - labels.energy).abs() / 2 / 0.7
        expected = expected + 7.0 * force_errors.sum() / 10 + 3.0 * energy_errors.mean()
    assert (denoised.prediction is None) == (forces.kind == "conservative")
    assert float(terms.total.detach()) == pytest.approx(float(expected), rel=1e-12)
    assert terms.named()["stress"] == 0.0


def test_the_network_sees_new_edges_and_the_old_forces() -> None:
    frames = list(crystals(3))
    objective = Objective(LOSS, DensSpec(std=0.8))
    (part,) = objective.parts(
        Batches(frames, 3.5, BatchSpec(structures=3)), range(3), np.random.default_rng(0)
    )
    assert part.displacement is not None
    random = np.random.default_rng(0)
    moved = [displace(frame, DensSpec(std=0.8), random)[0] for frame in frames]
    expected = make_graph(moved, 3.5)
    assert torch.equal(part.graph.positions, expected.positions)
    assert torch.equal(part.graph.sender, expected.sender)
    assert part.graph.num_edges != make_graph(frames, 3.5).num_edges
    assert torch.equal(part.labels.forces, make_labels(frames).forces)


def test_frames_without_forces_are_not_displaced() -> None:
    objective = Objective(LOSS, DensSpec())
    noisy, plain = objective.parts(batches(), ALL, np.random.default_rng(0))
    assert noisy.displacement is not None
    assert noisy.graph.num_structures == len(FRAMES) - 1
    assert plain.displacement is None
    assert np.array_equal(plain.graph.positions.numpy(), FRAMES[5].positions)
    terms = objective.terms(potential_of(DirectSpec()), plain, label_counts([noisy.labels, plain.labels]))
    assert terms.named()["energy"] > 0
    assert terms.named()["forces"] == 0


def test_a_weight_is_a_factor_on_the_terms_of_its_frame() -> None:
    """Whatever else is in the batch: the mean is by the number of labels, not by the sum of the weights."""
    potential, one = potential_of(ConservativeSpec()), np.zeros(len(FRAMES))
    one[2] = 0.5
    weighted, found = gradient(potential, Objective(LOSS, weights=one))
    counts = label_counts([make_labels(FRAMES)])
    objective = Objective(LOSS)
    (part,) = objective.parts(batches(), [2])
    potential.zero_grad()
    terms = objective.terms(potential, part, counts)
    (0.5 * terms.total).backward()
    assert float(weighted.total) == pytest.approx(0.5 * float(terms.total.detach()), rel=1e-12)
    for name, p in potential.named_parameters():
        if p.grad is not None:
            assert torch.allclose(found[name], p.grad, rtol=1e-9, atol=1e-12), name


def test_a_batch_without_any_label_that_counts_has_no_gradient() -> None:
    potential = potential_of(ConservativeSpec())
    objective = Objective(LossSpec(energy=0, forces=0, stress=1))
    parts = objective.parts(batches(), [4])  # the molecule has no stress
    potential.zero_grad()
    assert float(objective.add_gradient(potential, parts).total) == 0.0
    assert all(p.grad is None for p in potential.parameters())
