"""Stored outputs against ours, and in which units a stress is compared."""

import json
from collections.abc import Callable
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
from esen.models.potential import EsenPotential
from esen.study.import_compare import IN_NETWORK_UNITS, Comparison, compare, stored_outputs

DIRECT = Path(__file__).parents[1] / "models" / "parity" / "l2_direct_efs"
UNITS = {
    "energy": (2.0, 0.0),
    "forces": (4.0, 0.0),
    "stress_isotropic": (3.0, 0.7),
    "stress_anisotropic": (5.0, 0.0),
}


@pytest.fixture(scope="module")
def potential(tmp_path_factory: pytest.TempPathFactory) -> EsenPotential:
    """A direct model whose energy, forces and both parts of the stress have units of their own."""
    content = {
        "config": {"model": json.loads((DIRECT / "config.json").read_text())},
        "state_dict": load_file(DIRECT / "state_dict_f64.safetensors"),
        "normalizers": {
            name: {"rmsd": torch.tensor(unit), "mean": torch.tensor(mean)}
            for name, (unit, mean) in UNITS.items()
        },
    }
    path = tmp_path_factory.mktemp("direct") / "checkpoint.pt"
    torch.save(content, path)
    return import_published(path).potential


@pytest.fixture
def store(potential: EsenPotential, tmp_path: Path) -> Callable[..., Path]:
    """Writes what the potential gives of a crystal, with changes."""
    given = dict(np.load(DIRECT / "nacl8.npz"))
    geometry = {name: given[name] for name in ("numbers", "positions")}
    geometry |= {"cell": given["cell"][0], "pbc": np.ones(3, bool)}
    crystal = Structure(geometry["numbers"], geometry["positions"], geometry["cell"], geometry["pbc"])
    prediction = potential(make_graph(crystal, potential.cutoff))
    outputs = {name: getattr(prediction, name).numpy() for name in ("energy", "forces", "stress")}

    def write(**changes: Any) -> Path:
        np.savez(tmp_path / "crystal.npz", **(geometry | outputs | changes))
        return tmp_path / "crystal.npz"

    return write


def of(comparisons: tuple[Comparison, ...]) -> dict[str, bool]:
    return {comparison.quantity: comparison.agrees for comparison in comparisons}


def test_a_stress_in_our_units_is_compared_in_them(
    potential: EsenPotential, store: Callable[..., Path]
) -> None:
    assert of(compare(potential, [store()])) == {"energy": True, "forces": True, "stress": True}


def test_a_stress_in_the_units_of_the_network_is_called_so(
    potential: EsenPotential, store: Callable[..., Path]
) -> None:
    """(σ − 0.7 1/√3) with its trace part divided by 3 and the other by 5: as the published calculator gives it."""
    stress = np.load(store())["stress"][0] - 0.7 * np.eye(3) / np.sqrt(3)
    trace = np.eye(3) * stress.trace() / 3
    unscaled = trace / 3 + (stress - trace) / 5
    before = potential.state_dict()
    (*_, found) = compare(potential, [store(stress=unscaled)])
    assert (found.quantity, found.agrees) == (IN_NETWORK_UNITS, True)
    assert found.size == pytest.approx(np.abs(unscaled).max())
    after = potential.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_stress_that_fits_neither_way_is_told_of_in_our_units(
    potential: EsenPotential, store: Callable[..., Path]
) -> None:
    stress = 1.1 * np.load(store())["stress"]
    comparisons = compare(potential, [store(stress=stress)])
    assert of(comparisons) == {"energy": True, "forces": True, "stress": False}
    assert comparisons[-1].difference == pytest.approx(0.1 / 1.1, rel=1e-6)


def test_a_difference_is_relative_to_the_largest_value(
    potential: EsenPotential, store: Callable[..., Path]
) -> None:
    forces = np.load(store())["forces"].copy()
    size = np.abs(forces).max()
    forces[np.unravel_index(np.abs(forces).argmin(), forces.shape)] += 3e-5 * max(size, 0.1)
    found = {c.quantity: c for c in compare(potential, [store(forces=forces)])}["forces"]
    assert (found.agrees, found.outputs) == (False, "crystal.npz")
    assert found.difference == pytest.approx(3e-5, rel=1e-3)
    assert not Comparison("", "energy", 1.0, float("nan")).agrees


def test_the_precision_of_the_potential_is_restored(
    potential: EsenPotential, store: Callable[..., Path]
) -> None:
    path = store()
    single = import_of_single(potential)
    compare(single, [path])
    assert {p.dtype for p in single.parameters()} == {torch.float32}


def import_of_single(potential: EsenPotential) -> EsenPotential:
    made = EsenPotential(potential.spec)
    made.load_state_dict(potential.state_dict())
    return made.float().eval().requires_grad_(False)


def test_files_that_do_not_fit_are_one_line(
    potential: EsenPotential, store: Callable[..., Path], tmp_path: Path
) -> None:
    for changes, words in (
        ({"forces": np.zeros((2, 3))}, r"forces .*\(2, 3\).*\(8, 3\)"),
        ({"pbc": np.ones(4)}, "stored outputs"),
        ({"positions": np.zeros((2, 3))}, "stored outputs"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            compare(potential, [store(**changes)])
        assert "\n" not in str(caught.value)
    geometry = {
        name: array
        for name, array in np.load(store()).items()
        if name in ("numbers", "positions", "cell", "pbc")
    }
    np.savez(tmp_path / "bare.npz", **geometry)
    with pytest.raises(InputError, match=r"bare\.npz"):
        compare(potential, [tmp_path / "bare.npz"])


def test_files_and_folders_of_them(tmp_path: Path) -> None:
    for name in ("b.npz", "a.npz"):
        np.savez(tmp_path / name, x=np.zeros(1))
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    assert stored_outputs([tmp_path]) == files
    assert stored_outputs([files[1], tmp_path]) == [files[1], *files]
    (tmp_path / "empty").mkdir()
    for missing in ("empty", "none.npz"):
        with pytest.raises(InputError, match=missing):
            stored_outputs([tmp_path / missing])
