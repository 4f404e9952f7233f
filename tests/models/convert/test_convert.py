"""A checkpoint of fairchem 1.x gives what its own calculator gave."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.models.convert import import_published
from esen.models.potential import EsenPotential, make_potential
from esen.recipe.model import ModelSpec

FOLDER = Path(__file__).parent / "checkpoint"
CHECKPOINT = FOLDER / "best_ddp_checkpoint.pt"
DIRECT = FOLDER.parents[1] / "parity" / "l2_direct_efs"
STORED = sorted(path.stem for path in FOLDER.glob("best_*.npz"))
CONSTANTS = ("expand_index", "balance_degree_weight", "distance_expansion.offset")


@pytest.fixture
def content() -> dict[str, Any]:
    return dict(torch.load(CHECKPOINT, weights_only=True))


def save(content: dict[str, Any], folder: Path) -> Path:
    torch.save(content, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def parameters(state: dict[str, torch.Tensor]) -> list[str]:
    """In the order in which fairchem's moving average lists them."""
    return [name for name in state if not name.endswith(CONSTANTS) and ".Jd_" not in name]


def energy(potential: EsenPotential) -> float:
    data = np.load(FOLDER / "best_water.npz")
    water = Structure(data["numbers"], data["positions"], data["cell"], data["pbc"])
    return float(potential(make_graph(water, potential.cutoff)).energy)


@pytest.mark.parametrize("name", STORED)
def test_stored_outputs(name: str) -> None:
    potential = import_published(CHECKPOINT).potential
    data = np.load(FOLDER / f"{name}.npz")
    structure = Structure(data["numbers"], data["positions"], data["cell"], data["pbc"])
    prediction = potential(make_graph(structure, potential.cutoff))
    assert float(prediction.energy) == pytest.approx(float(data["energy"]), rel=2e-5)
    size = max(np.abs(data["forces"]).max(), 0.1)
    assert np.abs(prediction.forces.numpy() - data["forces"]).max() < 2e-5 * size
    if structure.pbc.all():
        difference = prediction.stress[0].numpy() - data["stress"]
        assert np.abs(difference).max() < 2e-5 * np.abs(data["stress"]).max()


def test_units_references_and_elements(content: dict[str, Any]) -> None:
    potential = import_published(CHECKPOINT).potential
    assert float(potential.scale) == pytest.approx(0.6274358)
    table = content["elementrefs"]["energy"]["element_references"]
    assert torch.equal(potential.references, table[:100].double())
    assert potential.elements is None  # the file does not say


def test_elements_without_a_reference_are_named(content: dict[str, Any], tmp_path: Path) -> None:
    assert "Am, Cm, Bk, Cf, Es" in import_published(CHECKPOINT).notes[0]
    table = content["elementrefs"]["energy"]["element_references"]
    table[:] = 0
    table[[8, 12]] = -3.0
    assert import_published(save(content, tmp_path)).notes[0].endswith(": O, Mg")
    content["elementrefs"] = {}
    assert "no reference energies" in import_published(save(content, tmp_path)).notes[0]


@pytest.mark.parametrize("wrapper", ["", "module.", "module.module.module."])
def test_any_number_of_wrappers_and_any_name_of_the_head(
    wrapper: str, content: dict[str, Any], tmp_path: Path
) -> None:
    expected = energy(import_published(CHECKPOINT).potential)
    bare = {name.replace("module.", ""): tensor for name, tensor in content["state_dict"].items()}
    content["state_dict"] = {
        wrapper + name.replace("output_heads.mptrj", "output_heads.my_head"): tensor
        for name, tensor in bare.items()
    }
    heads = content["config"]["model"]["heads"]
    heads["my_head"] = heads.pop("mptrj")
    assert energy(import_published(save(content, tmp_path)).potential) == expected


def test_the_moving_average_is_taken_unless_raw(content: dict[str, Any], tmp_path: Path) -> None:
    state = content["state_dict"]
    averaged = [state[name] + 0.01 * index for index, name in enumerate(parameters(state))]
    content["ema"] = {"decay": 0.9, "num_updates": None, "shadow_params": averaged, "collected_params": []}
    path = save(content, tmp_path)
    average, raw = import_published(path), import_published(path, raw=True)
    assert "average" in average.weights
    assert "--raw" in raw.weights
    assert energy(raw.potential) == energy(import_published(CHECKPOINT).potential)
    first, last = averaged[0], averaged[-1]
    assert torch.equal(average.potential.network.backbone.species.weight, first)
    assert torch.equal(average.potential.network.head[4].bias, last)
    content["ema"]["shadow_params"] = averaged[1:]
    with pytest.raises(InputError, match="--raw"):
        import_published(save(content, tmp_path))


def test_a_mean_of_the_energy_is_added_to_every_structure(content: dict[str, Any], tmp_path: Path) -> None:
    expected = energy(import_published(CHECKPOINT).potential)
    content["normalizers"]["energy"]["mean"] = torch.tensor(0.25)
    imported = import_published(save(content, tmp_path))
    assert energy(imported.potential) == pytest.approx(expected + 0.25)
    assert "0.25 eV" in imported.notes[-1]


def test_units_of_a_direct_model(tmp_path: Path) -> None:
    """Forces and the two parts of the stress have units of their own; the pressure has a mean."""
    spec = {"forces": {"kind": "direct"}, "cutoff": 4.0, "layers": 1, "max_elements": 20} | dict.fromkeys(
        ("sphere_channels", "hidden_channels", "edge_channels"), 4
    )
    potential = make_potential(ModelSpec.model_validate(spec), seed=0).double().eval()
    rng = np.random.default_rng(0)
    crystal = Structure(
        np.array([8, 12]),
        rng.normal(size=(2, 3)),
        np.eye(3) * 3 + rng.normal(size=(3, 3)) / 5,
        np.ones(3, bool),
    )
    graph = make_graph(crystal, potential.cutoff)
    plain = potential(graph)
    assert potential.direct is not None
    potential.direct.units.copy_(torch.tensor([2.0, 3.0, 5.0]))
    potential.direct.pressure.fill_(0.7)
    potential.set_normalisation(1.5, np.zeros(20))
    scaled = potential(graph)
    assert torch.allclose(scaled.forces, 3.0 * plain.forces)
    trace = torch.eye(3) * plain.stress[0].trace() / 3
    others = plain.stress[0] - trace
    assert torch.allclose(scaled.stress[0], 4.5 * trace + 7.5 * others + torch.eye(3) * 0.7 / 3**0.5)
    single = potential.float()(graph)
    assert potential.direct.units.dtype == torch.float64
    assert torch.allclose(single.stress, scaled.stress, atol=1e-5)


def test_a_denoising_model_that_lost_its_head(tmp_path: Path, content: dict[str, Any]) -> None:
    """Its force encoding adds a constant to every atom, here put into the species."""
    config = content["config"]["model"]
    config["backbone"]["model"] = "esen_backbone_dens"
    config["heads"]["mptrj"]["module"] = "esen_mlp_efs_head_dens"
    bias, weight = torch.linspace(0, 1, 16), torch.ones(4, 16, 1)
    prefix = "module.backbone.force_embedding."
    content["state_dict"] |= {prefix + "bias": bias, prefix + "weight": weight}
    without_head = import_published(save(content, tmp_path))
    assert not without_head.potential.spec.dens
    assert any("denoising head" in note for note in without_head.notes)
    head = "module.output_heads.mptrj.denoising_linear."
    content["state_dict"] |= {head + "bias": torch.zeros(1), head + "weight": torch.ones(2, 1, 16)}
    complete = import_published(save(content, tmp_path))
    assert complete.potential.spec.dens
    assert energy(without_head.potential) == pytest.approx(energy(complete.potential), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["state_dict"].pop("module.backbone.norm.affine_bias"), r"norm\.bias "),
        (lambda c: c["state_dict"].update({"module.backbone.more": torch.zeros(1)}), r"\bmore "),
        (lambda c: c["config"]["model"]["backbone"].update(hidden_channels=8), "shape"),
        (lambda c: c["state_dict"]["module.backbone.norm.affine_bias"].fill_(torch.nan), "not finite"),
        (lambda c: c["normalizers"]["forces"].update(mean=torch.tensor(1.0)), r"forces\.mean .*1"),
        (lambda c: c["normalizers"]["energy"].update(rmsd=torch.tensor(0.0)), "rmsd"),
        (lambda c: c["normalizers"]["energy"].update(rmsd=torch.tensor(torch.inf)), "rmsd"),
        (lambda c: c["normalizers"]["energy"].update(mean=torch.tensor(torch.nan)), "rmsd"),
        (lambda c: c["elementrefs"]["energy"]["element_references"].fill_(torch.nan), "not finite"),
        (lambda c: c["config"]["model"]["backbone"].update(num_layers=10**7), "shape"),
        (lambda c: c["elementrefs"].update(forces={}), r"elementrefs\.forces"),
        (lambda c: c.update(elementrefs={"energy": [1, 2]}), r"fairchem 1\.x"),
        (lambda c: c["config"].update(model="esen"), r"config\.model .*'esen'"),
        (lambda c: c["state_dict"].update(more="text"), "tensors"),
    ],
)
def test_what_does_not_fit_is_one_line(
    change: Any, message: str, content: dict[str, Any], tmp_path: Path
) -> None:
    change(content)
    path = save(content, tmp_path)
    with pytest.raises(InputError, match=message) as error:
        import_published(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_forces_of_another_unit_than_the_energy_are_told_of(content: dict[str, Any], tmp_path: Path) -> None:
    content["normalizers"]["forces"]["rmsd"] = torch.tensor(2.0)
    assert "no gradient" in import_published(save(content, tmp_path)).notes[-1]


@pytest.fixture
def direct() -> dict[str, Any]:
    """A direct model of the published code, without units."""
    config = json.loads((DIRECT / "config.json").read_text())
    return {"config": {"model": config}, "state_dict": load_file(DIRECT / "state_dict_f64.safetensors")}


def numbers(**units: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in units.items()}


def test_units_of_a_direct_checkpoint_are_taken_from_its_normalisers(
    direct: dict[str, Any], tmp_path: Path
) -> None:
    """σ = 3 · trace part + 5 · other part + (pressure 0.7) 1/√3; forces by 4; the potential's own scale is 2 eV."""
    data = np.load(DIRECT / "nacl8.npz")
    crystal = Structure(data["numbers"], data["positions"], data["cell"][0], np.ones(3, bool))
    bare = import_published(save(direct, tmp_path)).potential
    assert bare.direct is not None
    assert (bare.direct.units.tolist(), float(bare.direct.pressure)) == ([1.0, 1.0, 1.0], 0.0)
    direct["normalizers"] = {
        "energy": numbers(rmsd=2.0, mean=0.0),
        "forces": numbers(rmsd=4.0, mean=0.0),
        "stress_isotropic": numbers(rmsd=3.0, mean=0.7),
        "stress_anisotropic": numbers(rmsd=5.0, mean=0.0),
    }
    imported = import_published(save(direct, tmp_path))
    assert imported.potential.direct is not None
    assert imported.potential.direct.units.tolist() == [2.0, 1.5, 2.5]
    assert float(imported.potential.direct.pressure) == pytest.approx(0.7)
    assert "network's units" in imported.notes[-1]
    graph = make_graph(crystal, bare.cutoff)
    plain, scaled = bare(graph), imported.potential(graph)
    assert torch.allclose(scaled.forces, 4 * plain.forces)
    trace = torch.eye(3) * plain.stress[0].trace() / 3
    expected = 3 * trace + 5 * (plain.stress[0] - trace) + torch.eye(3) * 0.7 / 3**0.5
    assert torch.allclose(scaled.stress[0], expected)


def test_one_unit_of_the_whole_stress_is_that_of_both_parts(direct: dict[str, Any], tmp_path: Path) -> None:
    direct["normalizers"] = {"stress": numbers(rmsd=3.0, mean=0.0)}
    imported = import_published(save(direct, tmp_path))
    assert imported.potential.direct is not None
    assert imported.potential.direct.units.tolist() == [1.0, 3.0, 3.0]
    assert float(imported.potential.direct.pressure) == 0
    assert not any("network's units" in note for note in imported.notes)
    direct["normalizers"] = {"stress": numbers(rmsd=3.0, mean=0.1)}
    with pytest.raises(InputError, match=r"stress.*0\.1"):
        import_published(save(direct, tmp_path))


def test_normalisers_under_their_older_names(content: dict[str, Any], tmp_path: Path) -> None:
    """`target` was the energy, `grad_target` the forces."""
    expected = import_published(CHECKPOINT).potential
    older = {"target": content["normalizers"]["energy"], "grad_target": content["normalizers"]["forces"]}
    content["normalizers"] = older
    imported = import_published(save(content, tmp_path))
    assert float(imported.potential.scale) == float(expected.scale) != 1.0
    assert energy(imported.potential) == energy(expected)
    assert not any("no gradient" in note for note in imported.notes)
    older["grad_target"]["rmsd"] = torch.tensor(2.0)
    assert "its forces were scaled by 2" in import_published(save(content, tmp_path)).notes[-1]
    older["grad_target"]["mean"] = torch.tensor(1.0)
    with pytest.raises(InputError, match=r"forces\.mean .*1"):
        import_published(save(content, tmp_path))


def test_weights_in_half_precision_become_float32(content: dict[str, Any], tmp_path: Path) -> None:
    expected = energy(import_published(CHECKPOINT).potential)
    content["state_dict"] = {
        name: t.half() if t.is_floating_point() else t for name, t in content["state_dict"].items()
    }
    potential = import_published(save(content, tmp_path)).potential
    assert {p.dtype for p in potential.parameters()} == {torch.float32}
    assert energy(potential) == pytest.approx(expected, rel=1e-2)
