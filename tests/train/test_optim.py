"""What is decayed, how the learning rate runs, what the average is."""

import pytest
import torch

from esen.errors import InputError
from esen.models.potential import make_potential
from esen.recipe.model import ModelSpec
from esen.recipe.train import OptimizerSpec, ScheduleSpec
from esen.train.optim import (
    check_patterns,
    freeze,
    learning_rate_factor,
    make_average,
    make_optimizer,
    matches,
    orthogonal,
)

SMALL = {"sphere_channels": 4, "hidden_channels": 5, "edge_channels": 6, "max_elements": 20}


@pytest.mark.parametrize("radial", ["gaussian", "bessel"])
def test_matrices_are_decayed_and_nothing_else(radial: str) -> None:
    spec = ModelSpec.model_validate(SMALL | {"lmax": 2, "mmax": 2, "radial": {"kind": radial}})
    potential = make_potential(spec, seed=0)
    decayed, free = make_optimizer(potential, OptimizerSpec(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    names = {id(parameter): name for name, parameter in potential.named_parameters()}
    assert sorted(names) == sorted(id(p) for group in (decayed, free) for p in group["params"])  # each once
    not_decayed = {names[id(p)] for p in free["params"]}
    assert {name for name in names.values() if name.endswith("bias")} <= not_decayed
    assert all(p.ndim > 1 for p in decayed["params"])
    tables = {name for name in names.values() if "species" in name or "norm" in name}
    assert {names[id(p)] for p in free["params"] if p.ndim > 1} <= tables <= not_decayed


def test_the_recipe_reaches_the_optimiser() -> None:
    spec = OptimizerSpec(learning_rate=0.1, beta1=0.7, beta2=0.8)
    for group in make_optimizer(make_potential(ModelSpec(**SMALL), seed=0), spec).param_groups:
        assert (group["lr"], group["betas"]) == (0.1, (0.7, 0.8))


@pytest.mark.parametrize("warmup", [0.0, 0.1, 2.0, 5.0])
def test_the_schedule_is_continuous_rises_falls_and_ends(warmup: float) -> None:
    spec, epochs = ScheduleSpec(warmup_epochs=warmup, warmup_factor=0.2, final_factor=0.05), 5
    rates = [learning_rate_factor(spec, epochs * i / 1000, epochs) for i in range(1001)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(1.0, abs=1e-2)
    assert rates[0] == pytest.approx(0.2 if warmup else 1.0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(abs(a - b) for a, b in zip(rates[1:], rates[:-1], strict=True)) < 0.05 or warmup == 5.0
    assert rates[-1] == pytest.approx(0.05 if warmup < 5 else 1.0)


def test_the_schedule_stays_at_its_end_beyond_the_last_epoch() -> None:
    spec = ScheduleSpec(final_factor=0.3)
    assert learning_rate_factor(spec, 7.0, 3) == pytest.approx(0.3)


def test_a_warm_up_longer_than_the_stage_does_not_divide_by_zero() -> None:
    spec = ScheduleSpec(warmup_epochs=4, warmup_factor=0.0)
    assert learning_rate_factor(spec, 1.0, 2) == pytest.approx(0.25)


def test_the_average_begins_at_the_weights_and_follows_them() -> None:
    potential = make_potential(ModelSpec(**SMALL), seed=0)
    average = make_average(potential, 0.75)
    name, weights = next(iter(potential.named_parameters()))
    averaged = dict(average.module.named_parameters())[name]
    first = weights.detach().clone()
    average.update_parameters(potential)
    assert torch.equal(averaged, first)
    with torch.no_grad():
        weights += 1.0
    average.update_parameters(potential)  # the first update after the copy: d = min(0.75, 2 / 11)
    assert torch.allclose(averaged, first + (1 - 2 / 11))
    for _ in range(60):  # (1 + n) / (10 + n) is above 0.75 from n = 26 on
        average.update_parameters(potential)
    before = averaged.detach().clone()
    with torch.no_grad():
        dict(potential.named_parameters())[name].add_(1.0)
    average.update_parameters(potential)
    assert torch.allclose(averaged, 0.75 * before + 0.25 * (first + 2.0))


POTENTIAL = make_potential(ModelSpec(sphere_channels=4, hidden_channels=4, edge_channels=4), seed=0)
NAMES = [name for name, _ in POTENTIAL.named_parameters()]


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("species", {"network.backbone.species.weight"}),
        (
            "blocks.1.norm?",
            {f"network.backbone.blocks.1.norm{i}.{part}" for i in (1, 2) for part in ("weight", "bias")},
        ),
        ("*_species", {f"network.backbone.{end}_species.weight" for end in ("sender", "receiver")}),
        ("head.4", {"network.head.4.weight", "network.head.4.bias"}),
        (
            "norm1",
            {f"network.backbone.blocks.{i}.norm1.{part}" for i in (0, 1) for part in ("weight", "bias")},
        ),
        ("blocks.2", set()),
        ("speci", set()),
    ],
)
def test_parts_stand_one_after_another(pattern: str, named: set[str]) -> None:
    assert {name for name in NAMES if matches(pattern, name)} == named


def test_freezing_is_undone_by_another_choice() -> None:
    freeze(POTENTIAL, ["blocks", "head"])
    trained = {name for name, p in POTENTIAL.named_parameters() if p.requires_grad}
    assert trained
    assert not any("blocks" in name or "head" in name for name in trained)
    freeze(POTENTIAL, [])
    assert all(p.requires_grad for p in POTENTIAL.parameters())


def test_a_pattern_that_names_nothing_is_told_what_there_is() -> None:
    with pytest.raises(InputError) as error:
        check_patterns(["species", "block.0"], NAMES)
    assert str(error.value) == (
        "train.freeze: 'block.0' names no part of the network; there are species, sender_species,"
        " receiver_species, edge_degree, blocks.0, blocks.1, norm, head"
    )


def test_something_must_be_trained() -> None:
    with pytest.raises(InputError, match=r"train\.freeze.*nothing to train"):
        check_patterns(["network"], NAMES)
    check_patterns(["backbone"], NAMES)


def test_orthogonal_keeps_the_singular_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 7, 4), (5, 5), (4, 9)):
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        u, _, vh = torch.linalg.svd(x, full_matrices=False)
        inside = u.mT @ orthogonal(x) @ vh.mT
        values = inside.diagonal(dim1=-2, dim2=-1)
        assert torch.allclose(inside, torch.diag_embed(values), atol=1e-12)
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    assert torch.equal(orthogonal(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_muon_steps_matrices_and_leaves_the_rest_to_adamw() -> None:
    spec = OptimizerSpec(kind="muon", learning_rate=1e-2, weight_decay=0.1, momentum=0.5)
    potential, other = (make_potential(ModelSpec(**SMALL), seed=0) for _ in range(2))
    muon, adamw = (
        make_optimizer(potential, spec),
        make_optimizer(other, spec.model_copy(update={"kind": "adamw"})),
    )
    assert [len(group["params"]) > 0 for group in muon.param_groups] == [True, True, True]
    generator = torch.Generator().manual_seed(1)
    stepped = {id(weight) for weight in muon.param_groups[0]["params"]}
    assert all(min(weight.shape[-2:]) > 1 for weight in muon.param_groups[0]["params"])
    before = {name: weight.detach().clone() for name, weight in potential.named_parameters()}
    gradients = [
        {name: torch.randn(w.shape, generator=generator) for name, w in before.items()} for _ in range(2)
    ]
    for gradient in gradients:
        for module in (potential, other):
            for name, weight in module.named_parameters():
                weight.grad = gradient[name].clone()
        muon.step()
        adamw.step()
    theirs = dict(other.named_parameters())
    for name, weight in potential.named_parameters():
        if id(weight) not in stepped:
            assert torch.equal(weight, theirs[name])
            continue
        first, second = (gradient[name] for gradient in gradients)
        expected, buffer = before[name], torch.zeros_like(first)
        for gradient in (first, second):
            buffer = 0.5 * buffer + gradient
            step = 0.2 * max(weight.shape[-2:]) ** 0.5 * orthogonal(gradient + 0.5 * buffer)
            expected = (1 - 1e-3) * expected - 1e-2 * step
        assert torch.allclose(weight, expected, atol=1e-6)
    stack = next(weight for weight in muon.param_groups[0]["params"] if weight.ndim == 3)
    one_by_one = torch.stack([orthogonal(matrix) for matrix in stack.detach()])
    assert torch.allclose(orthogonal(stack.detach()), one_by_one, atol=1e-6)
