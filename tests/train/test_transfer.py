"""Fine-tuning: what is kept of a checkpoint, what is renewed, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.models.checkpoint import Checkpoint, load_potential, read_checkpoint, save_checkpoint, with_prefix
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import DirectSpec, ModelSpec, Recipe
from esen.train.data import load_training_data
from esen.train.resume import read_resumable
from esen.train.run_files import read_metrics
from esen.train.state import Progress
from esen.train.transfer import Initial, carry_over, dtype_of, inherit_model, initial_potential
from tests.train.small import crystals, molecule, recipe_of, train, write_frames

GRAPH = make_graph(list(crystals(4)), 3.5)
ORIGIN = {"file": "a.pt", "licence": {"source": "LICENSE", "text": "Do no evil"}}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "train.xyz", crystals(10))


@pytest.fixture(scope="module")
def source(frames: Path) -> Path:
    """A trained potential of Mg and O, with an origin."""
    folder = frames.parent / "source"
    train(recipe_of(frames, train__stages=[{"epochs": 1}]), folder)
    path = folder / "best.safetensors"
    save_checkpoint(path, replace(read_checkpoint(path), origin=ORIGIN))
    return path


def fine_tuning(frames: Path, source: Path, model: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    """A recipe that leaves out its model."""
    changes = {"train__init_from": str(source), "train__stages": [{"epochs": 0}]} | changes
    return Recipe.model_validate(
        recipe_of(frames, **changes).model_dump(mode="json", exclude_unset=True) | {"model": model or {}}
    )


def tune(recipe: Recipe, folder: Path) -> tuple[Progress, list[str]]:
    """As `esen train` does; with what it says of the start."""
    assert recipe.train.init_from is not None
    initial = Initial.read(Path(recipe.train.init_from))
    recipe, notes = inherit_model(recipe, initial.checkpoint.recipe["model"], "it")
    return train(recipe, folder, initial=initial), notes


def test_no_steps_change_no_bit(frames: Path, source: Path, tmp_path: Path) -> None:
    tune(fine_tuning(frames, source), tmp_path)
    before, after = load_potential(source), load_potential(tmp_path / "best.safetensors")
    for expected, found in zip(vars(before(GRAPH)).values(), vars(after(GRAPH)).values(), strict=True):
        assert torch.equal(expected, found)
    assert before.state_dict().keys() == after.state_dict().keys()
    assert read_checkpoint(tmp_path / "last.safetensors").progress["step"] == 0


def test_errors_before_the_first_step_are_those_of_the_source(
    frames: Path, source: Path, tmp_path: Path
) -> None:
    recipe = fine_tuning(frames, source, train__stages=[{"epochs": 1}])
    tune(recipe, tmp_path)
    validations = [r for r in read_metrics(tmp_path / "metrics.jsonl") if "validation/loss" in r]
    assert [row["step"] for row in validations] == [0, 3]
    expected = read_checkpoint(source).metrics  # of the same frames: seed and fraction are the same
    assert validations[0]["validation/forces_mae"] == pytest.approx(
        expected["validation/forces_mae"], rel=1e-5
    )


def test_a_fine_tuning_that_makes_things_worse_leaves_the_source_the_best(
    frames: Path, source: Path, tmp_path: Path
) -> None:
    rate = {"learning_rate": 1.0, "clip_norm": 1e9}
    tune(fine_tuning(frames, source, train__stages=[{"epochs": 1}], train__optimizer=rate), tmp_path)
    best = load_potential(tmp_path / "best.safetensors")
    assert torch.equal(best(GRAPH).energy, load_potential(source)(GRAPH).energy)


def test_the_model_is_that_of_the_checkpoint(frames: Path, source: Path) -> None:
    model = read_checkpoint(source).recipe["model"]
    completed, notes = inherit_model(fine_tuning(frames, source), model, "it")
    assert completed.model == recipe_of(frames).model
    assert notes == []
    plain = recipe_of(frames)
    assert inherit_model(plain, {}, "it") == (plain, [])


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        ({"cutoff": 5.0}, ["model.cutoff: 5.0 here, 3.5 in it: leave it out to take it from there"]),
        (
            {"layers": 3, "radial": {"kind": "bessel", "count": 9}},
            [
                "model.layers: 3 here, 1 in it: leave it out to take it from there",
                "model.radial.kind: bessel here, gaussian in it: leave it out to take it from there",
                "model.radial.count: 9 here, 4 in it: leave it out to take it from there",
                "model.radial.width: none here, 2.0 in it: leave it out to take it from there",
            ],
        ),
        (
            {"forces": {"kind": "direct"}},
            ["train.init_from: it: forces.kind is direct, whose stress (rank2) needs"],
        ),
    ],
)
def test_another_network_is_refused_line_by_line(
    model: dict[str, Any], lines: list[str], frames: Path, source: Path
) -> None:
    with pytest.raises(InputError) as error:
        inherit_model(fine_tuning(frames, source, model), read_checkpoint(source).recipe["model"], "it")
    found = str(error.value).splitlines()
    assert len(found) == len(lines)
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True))


@pytest.mark.parametrize(
    ("model", "notes"),
    [
        ({"graph": {"kind": "cutoff", "backend": "torch_cluster"}, "dens": True}, 0),
        ({"envelope": {"kind": "smooth", "p": 5}}, 1),
        ({"graph": {"kind": "knn", "k": 9}}, 2),
    ],
)
def test_what_the_weights_fit_is_legal(model: dict[str, Any], notes: int, frames: Path, source: Path) -> None:
    checkpoint = read_checkpoint(source)
    completed, said = inherit_model(fine_tuning(frames, source, model), checkpoint.recipe["model"], "it")
    assert len(said) == notes
    assert all("the predictions are not those of it" in note for note in said)
    data = load_training_data(fine_tuning(frames, source), lambda _: None)
    initial_potential(Initial.read(source), completed, data, pytest.fail)


def test_where_the_weights_came_from_is_kept(frames: Path, source: Path, tmp_path: Path) -> None:
    tune(fine_tuning(frames, source, train__renew=["references"]), tmp_path / "one")
    for name in ("best", "last"):
        origin = read_checkpoint(tmp_path / "one" / f"{name}.safetensors").origin
        assert origin["licence"] == ORIGIN["licence"]
        assert [step["renewed"] for step in origin["fine_tuned"]] == [["references"]]
    tune(fine_tuning(frames, tmp_path / "one" / "best.safetensors"), tmp_path / "two")
    again = read_checkpoint(tmp_path / "two" / "best.safetensors").origin
    assert again["licence"] == ORIGIN["licence"]
    assert len(again["fine_tuned"]) == 2
    json.dumps(again)


def potential_of(recipe: Recipe) -> EsenPotential:
    assert recipe.train.init_from is not None
    initial = Initial.read(Path(recipe.train.init_from))
    recipe, _ = inherit_model(recipe, initial.checkpoint.recipe["model"], "it")
    return initial_potential(initial, recipe, load_training_data(recipe, lambda _: None), lambda _: None)


def shifted(structures: tuple[Structure, ...], oxygen: float, magnesium: float) -> list[Structure]:
    """Labels of another level of theory: a constant an atom."""
    return [
        replace(s, energy=s.energy + oxygen * (s.numbers == 8).sum() + magnesium * (s.numbers == 12).sum())
        for s in structures
        if s.energy is not None
    ]


def test_new_references_take_up_a_shift_between_levels_of_theory(source: Path, tmp_path: Path) -> None:
    """Of MgO and of O alone, so that both constants are fixed."""
    old = load_potential(source)
    alone = [
        replace(molecule(8, 8), positions=np.array([[0, 0, 0], [0, 0, z]])) for z in (1.5, 1.7, 1.9, 2.1)
    ]
    predicted = [
        replace(s, energy=float(old(make_graph(s, 3.5)).energy[0])) for s in (*crystals(8, seed=2), *alone)
    ]
    path = write_frames(tmp_path / "new.xyz", shifted(tuple(predicted), oxygen=7.0, magnesium=-2.5))
    kept = potential_of(fine_tuning(path, source))
    assert torch.equal(kept.references, old.references)
    new = potential_of(fine_tuning(path, source, train__renew=["references"]))
    change = new.references - old.references
    assert change[8] == pytest.approx(7.0, abs=1e-4)
    assert change[12] == pytest.approx(-2.5, abs=1e-4)
    assert torch.equal(new.references[13:], old.references[13:])
    assert torch.equal(new.scale, old.scale)
    rounded = potential_of(fine_tuning(path, source, train__renew=["references"], train__precision="bf16"))
    assert rounded.products == torch.bfloat16
    assert torch.equal(rounded.references, new.references)  # of energies as the checkpoint will predict them
    none = potential_of(fine_tuning(path, source, train__renew=["references"], data__references="none"))
    assert not none.references[[8, 12]].any()


def test_the_scale_and_the_heads_are_renewed_where_asked(frames: Path, source: Path) -> None:
    old = load_potential(source)
    new = potential_of(
        fine_tuning(frames, source, train__renew=["scale", "heads"], data__validation_fraction=0.5)
    )
    assert float(new.scale) != float(old.scale)
    assert not torch.equal(new.network.head[0].weight, old.network.head[0].weight)
    assert torch.equal(new.network.backbone.species.weight, old.network.backbone.species.weight)


def test_new_elements_are_refused_unless_they_may_be_learned(source: Path, tmp_path: Path) -> None:
    path = write_frames(tmp_path / "iron.xyz", [*crystals(6), *[molecule(26, 8)] * 3])
    with pytest.raises(InputError, match=r"Fe, .*train\.renew: \[elements\]"):
        potential_of(fine_tuning(path, source))
    learned = potential_of(fine_tuning(path, source, train__renew=["elements"]))
    assert learned.elements == (8, 12, 26)
    old = load_potential(source)
    assert torch.equal(learned.references[:26], old.references[:26])
    assert learned.references[26] != 0
    graph = make_graph(molecule(26, 8), 3.5)
    energy = float(learned.eval()(graph).energy[0])
    assert energy == pytest.approx(-2.0, abs=1e-4)  # the label: the only new element takes up the rest


def test_of_an_imported_potential_the_elements_with_a_reference_are_known(tmp_path: Path) -> None:
    spec = recipe_of(Path("none.xyz")).model
    made = make_potential(spec, seed=0)
    references = np.zeros(spec.max_elements)
    references[[8, 12]] = -1.0
    made.set_normalisation(1.0, references)
    path = tmp_path / "best.safetensors"
    recipe = {"model": spec.model_dump(mode="json")}
    save_checkpoint(path, Checkpoint(recipe, (), {}, with_prefix("weights", made.state_dict())))
    assert Initial.read(path).known == {8, 12}
    frames = write_frames(tmp_path / "a.xyz", crystals(6))
    assert potential_of(fine_tuning(frames, path)).elements is None
    iron = write_frames(tmp_path / "b.xyz", [*crystals(6), *[molecule(26, 8)] * 3])
    with pytest.raises(InputError, match=r"\bFe\b"):
        potential_of(fine_tuning(iron, path))


def test_another_precision_is_said(frames: Path, source: Path) -> None:
    recipe = fine_tuning(frames, source, train__precision="float64")
    initial = Initial.read(source)
    recipe, _ = inherit_model(recipe, initial.checkpoint.recipe["model"], "it")
    said: list[str] = []
    potential = initial_potential(initial, recipe, load_training_data(recipe, lambda _: None), said.append)
    assert [line.split(" has ")[1] for line in said] == ["weights in float32, the run is in float64"]
    assert potential.network.head[0].weight.dtype == torch.float64


def test_a_resumed_fine_tuning_does_not_need_its_source(frames: Path, source: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(source.read_bytes())
    recipe = fine_tuning(frames, moved, train__stages=[{"epochs": 1}])
    tune(recipe, tmp_path / "run")
    moved.unlink()
    resumed = read_resumable(tmp_path / "run", recipe)
    assert resumed is not None
    longer = fine_tuning(frames, moved, train__stages=[{"epochs": 2}])
    completed, _ = inherit_model(longer, resumed.progress["model"], "it")
    train(completed, tmp_path / "run", resumed=resumed)
    last = read_checkpoint(tmp_path / "run" / "last.safetensors")
    assert (last.progress["step"], last.origin["licence"]) == (6, ORIGIN["licence"])
    other = fine_tuning(frames, source, train__stages=[{"epochs": 2}])
    with pytest.raises(InputError, match=r"train\.init_from = .*moved\.safetensors"):
        read_resumable(tmp_path / "run", other)


PLAIN = ModelSpec(
    cutoff=3.5, layers=1, sphere_channels=4, hidden_channels=4, edge_channels=4, max_elements=20
)
DENS = PLAIN.model_copy(update={"dens": True})
DIRECT = PLAIN.model_copy(update={"forces": DirectSpec()})
BOTH = DENS.model_copy(update={"forces": DirectSpec()})
GRAPH = make_graph(list(crystals(3)), 3.5)


def trained(spec: ModelSpec) -> EsenPotential:
    """With a force encoding whose bias is not zero, as after training."""
    made = make_potential(spec, seed=5, elements=(8, 12)).double()
    made.set_normalisation(0.3, np.linspace(0, 1, 20))
    made.offset.fill_(0.25)
    if spec.dens:
        with torch.no_grad():
            made.network.backbone.force_encoding.linear.bias.normal_(
                generator=torch.Generator().manual_seed(0)
            )
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("source", [PLAIN, DENS, DIRECT, BOTH], ids=["plain", "dens", "direct", "both"])
@pytest.mark.parametrize("target", [PLAIN, DENS, DIRECT, BOTH], ids=["plain", "dens", "direct", "both"])
def test_common_weights_are_the_same_bits_and_the_energy_does_not_change(
    source: ModelSpec, target: ModelSpec
) -> None:
    before = trained(source)
    after = carry_over(before, target, seed=1).eval()
    assert after.spec == target
    assert after.elements == (8, 12)
    ours, theirs = after.state_dict(), before.state_dict()
    folded = {"network.backbone.species.weight"} if source.dens and not target.dens else set()
    for name in (ours.keys() & theirs.keys()) - folded:
        assert torch.equal(ours[name], theirs[name]), name
    new = ours.keys() - theirs.keys()
    assert all(name.startswith(("direct.", "noise.", "network.backbone.force_encoding.")) for name in new)
    assert torch.allclose(after(GRAPH).energy, before(GRAPH).energy, rtol=1e-12)
    if source.forces == target.forces:
        assert torch.allclose(after(GRAPH).forces, before(GRAPH).forces, rtol=1e-9, atol=1e-12)


def test_the_source_is_not_changed_nor_shared() -> None:
    source = trained(DENS)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    after = carry_over(source, PLAIN, seed=1)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.state_dict().items())


def test_new_heads_follow_from_the_seed() -> None:
    source = trained(PLAIN)
    first, again, other = (carry_over(source, BOTH, seed=seed).state_dict() for seed in (1, 1, 2))
    head = "direct.forces.linear.weight"
    assert torch.equal(first[head], again[head])
    assert not torch.equal(first[head], other[head])


def test_heads_can_be_drawn_anew() -> None:
    source = trained(DIRECT)
    after = carry_over(source, DIRECT, seed=1, renew=("heads",))
    for name, tensor in after.state_dict().items():
        is_head = name.startswith(("network.head.", "direct.")) and tensor.any() and "norm" not in name
        if is_head and "bias" not in name and name not in ("direct.units", "direct.pressure"):
            assert not torch.equal(tensor, source.state_dict()[name]), name
        elif not name.startswith(("network.head.", "direct.")):
            assert torch.equal(tensor, source.state_dict()[name]), name


def test_precision_is_kept() -> None:
    assert dtype_of(carry_over(trained(DENS), PLAIN, seed=1)) == torch.float64
    assert dtype_of(carry_over(trained(DENS).float(), PLAIN, seed=1)) == torch.float32


def test_a_mean_of_energies_cannot_become_a_sum() -> None:
    mean = PLAIN.model_copy(update={"forces": DirectSpec(energy="mean")})
    with pytest.raises(InputError, match="the mean"):
        carry_over(trained(mean), PLAIN, seed=1)
