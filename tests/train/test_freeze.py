"""What a pattern names."""

import pytest

from esen.errors import InputError
from esen.models.potential import make_potential
from esen.recipe import ModelSpec
from esen.train.freeze import check_patterns, freeze, matches

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
    with pytest.raises(InputError, match=r"train\.freeze: \[network\] leaves nothing to train"):
        check_patterns(["network"], NAMES)
    check_patterns(["backbone"], NAMES)
