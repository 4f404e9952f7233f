"""Every structure with one potential."""

import csv
import importlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from esen.errors import InputError
from esen.evaluate.relax import RelaxSpec, relax
from esen.md.calculator import EsenCalculator
from esen.models.checkpoint import Checkpoint, save_checkpoint
from esen.study.relax.choose import choose_inputs
from esen.study.relax.run import RelaxOptions, RelaxResult, run_relax
from esen.study.relax.work import make_jobs
from esen.track import NullTracker
from tests.models.variants import ABLATIONS, VARIANTS, potential_of

HERE = RelaxOptions(isolated=False)


def relaxed(
    potential: str,
    files: Sequence[str],
    spec: RelaxSpec = RelaxSpec(),  # noqa: B008  # frozen
    options: RelaxOptions = HERE,
    **how: Any,
) -> RelaxResult:
    result = run_relax(
        potential, choose_inputs(files), spec, options, output=Path("out"), tracker=NullTracker(), **how
    )
    assert result is not None
    return result


def saved(name: str) -> str:
    potential, path = potential_of(name), f"{name}.safetensors"
    recipe = {"model": (VARIANTS | ABLATIONS)[name].model_dump()}
    tensors = {f"weights/{key}": value for key, value in potential.state_dict().items()}
    save_checkpoint(Path(path), Checkpoint(recipe=recipe, elements=(), metrics={}, tensors=tensors))
    return path


def test_everything_is_kept() -> None:
    result = relaxed("emt", ["metals.xyz", "cu.cif"])
    assert not result.failed
    assert [record.name for record in result.records] == ["metals#0", "metals#1", "metals#2", "cu"]
    assert [row["verdict"] for row in result.rows] == ["converged"] * 4
    assert result.lines == []
    for name in ("metals#0", "cu"):
        assert json.loads(Path(f"out/emt/{name}.json").read_text())["converged"] is True
    frames = ase.io.read(result.paths["relaxed"], ":")
    assert [len(atoms) for atoms in frames] == [1, 1, 1, 4]
    for atoms, record in zip(frames, result.records, strict=True):
        assert atoms.get_potential_energy() == pytest.approx(record.energy, abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), np.array(record.forces), atol=1e-8)
        np.testing.assert_allclose(
            atoms.get_stress(voigt=False), np.array(record.stress), atol=1e-12, rtol=1e-9
        )
        np.testing.assert_allclose(atoms.cell.array, np.array(record.cell), atol=1e-9)
        assert atoms.info["name"] == record.name
        assert bool(atoms.info["converged"])
        assert atoms.info["space_group"] == 225
    rows = list(csv.DictReader(result.paths["structure by structure"].read_text().splitlines()))
    assert [row["name"] for row in rows] == [record.name for record in result.records]
    assert [float(row["energy (eV)"]) for row in rows] == [record.energy for record in result.records]
    assert {row["group_after"] for row in rows} == {"225"}


def test_failures_are_recorded_and_the_rest_goes_on() -> None:
    result = relaxed("counted:Raising", ["water.xyz", "metals.xyz"])
    assert result.failed
    assert [record.verdict for record in result.records] == ["converged", "converged", "failed", "converged"]
    assert result.lines == [
        "metals#1: metals.xyz, frame 1: relaxation ended by RuntimeError: no neighbours",
    ]
    assert [atoms.info["name"] for atoms in ase.io.read("out/relaxed.extxyz", ":")] == [
        "water",
        "metals#0",
        "metals#2",
    ]
    rows = list(csv.DictReader(Path("out/relax.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows] == ["converged", "converged", "failed", "converged"]
    assert rows[2]["energy (eV)"] == rows[2]["group_before"] == ""


@pytest.mark.parametrize(
    ("potential", "words"),
    [("counted:Nothing", "energy or forces are not finite"), ("emt", "the potential does not know U")],
)
def test_what_has_no_result(potential: str, words: str) -> None:
    result = relaxed(potential, ["u.xyz"] if potential == "emt" else ["metals.xyz"])
    assert words in " ".join(record.failure for record in result.records)
    assert result.failed


def test_melting_is_told() -> None:
    result = relaxed("counted:repelling", ["cu.cif"])
    assert result.failed
    assert result.records[0].verdict == "melted"
    assert result.lines[0].startswith("cu: its volume is ")
    (atoms,) = ase.io.read("out/relaxed.extxyz", ":")
    assert bool(atoms.info["melted"])


def test_no_result_at_all_leaves_no_structures() -> None:
    relaxed("emt", ["cu.cif"])
    assert Path("out/relaxed.extxyz").exists()
    assert "relaxed" not in relaxed("emt", ["u.xyz"]).paths
    assert not Path("out/relaxed.extxyz").exists()


def test_a_second_call_computes_nothing_anew() -> None:
    spec = RelaxSpec(steps=3)
    first = relaxed("counted:Counting", ["metals.xyz"], spec)
    counted = importlib.import_module("counted")
    calls = len(counted.calls)
    assert calls > 0
    again = relaxed("counted:Counting", ["metals.xyz"], spec)
    assert len(counted.calls) == calls
    assert again.rows == first.rows
    Path("out/Counting/metals#1.json").unlink()
    assert relaxed("counted:Counting", ["metals.xyz", "cu.cif"], spec).rows[:3] == first.rows
    assert len(counted.calls) > calls
    with pytest.raises(InputError, match="--output out: was computed with settings: steps 3, now 4"):
        relaxed("counted:Counting", ["metals.xyz"], replace(spec, steps=4))
    with pytest.raises(InputError, match=r"was computed with structures: cu cu\.cif, frame 0"):
        Path("cu.cif").write_text(Path("cu.cif").read_text().replace("3.61", "3.62"))
        relaxed("counted:Counting", ["cu.cif"], spec)


def test_failures_are_computed_anew_if_the_user_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert relaxed("counted:Raising", ["metals.xyz"]).failed
    counted = importlib.import_module("counted")
    monkeypatch.setattr(counted, "Raising", counted.Counting)
    assert relaxed("counted:Raising", ["metals.xyz"]).failed
    assert not counted.calls
    assert not relaxed("counted:Raising", ["metals.xyz"], options=replace(HERE, retry=True)).failed
    assert counted.calls


def test_a_checkpoint_is_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, spec, sizes = saved("default"), RelaxSpec(fmax=1e-9, steps=3), []
    potential = potential_of("default")
    original = type(potential).forward

    def forward(self: Any, graph: Any) -> Any:
        sizes.append((graph.num_structures, graph.num_atoms))
        return original(self, graph)

    files = ["cu.cif", "water.xyz", "u.xyz", "metals.xyz"]
    with monkeypatch.context() as patch:
        patch.setattr(type(potential), "forward", forward)
        result = relaxed(weights, files, spec, replace(HERE, batch_atoms=7), device="cpu")
    assert [record.verdict for record in result.records][2] == "failed"
    assert "u.xyz, frame 0: the potential does not know U" in result.records[2].failure
    known = [record for record in result.records if record.name in ("cu", "water", "metals#0", "metals#2")]
    assert [record.steps for record in known] == [3] * 4
    assert max(atoms for _, atoms in sizes) == 7  # 4 of copper and 3 of water
    assert sizes[0] == (2, 7)
    for record, one in zip(result.records, choose_inputs(files), strict=True):
        if not record.failure:
            alone = relax(one.structure, EsenCalculator(potential), spec)
            assert record.energy == pytest.approx(alone.structure.energy, abs=1e-8)
            np.testing.assert_allclose(np.array(record.positions), alone.structure.positions, atol=1e-8)


def test_direct_forces_are_told() -> None:
    result = relaxed(saved("direct"), ["water.xyz"], RelaxSpec(steps=1), device="cpu")
    assert any("are not the gradient of its energy" in line for line in result.lines)


def test_what_is_tracked() -> None:
    class Kept(NullTracker):
        def params(self, values: Any) -> None:
            kept.update(values)

        def metrics(self, values: Any, step: int) -> None:
            kept.update(values)

        def artifact(self, path: Path, folder: str = "") -> None:
            files.append(path.name)

    kept: dict[str, Any] = {}
    files: list[str] = []
    inputs = choose_inputs(["cu.cif", "u.xyz"])
    result = run_relax("emt", inputs, RelaxSpec(steps=99), HERE, output=Path("out"), tracker=Kept())
    assert (kept["potential"], kept["steps"], kept["structures"]) == ("emt", 99, 2)
    assert (kept["converged"], kept["failed"], kept["melted"], kept["not_converged"]) == (1, 1, 0, 0)
    assert result is not None
    assert kept["mean_steps"] == result.records[0].steps > 0
    assert files == ["relax.csv", "relaxed.extxyz"]


def test_jobs() -> None:
    inputs = choose_inputs(["metals.xyz", "cu.cif"])
    assert [len(job) for job in make_jobs(inputs, "emt", batch_atoms=512, processes=1)] == [1] * 4
    weights = "a.safetensors"
    assert [len(job) for job in make_jobs(inputs, weights, batch_atoms=512, processes=1)] == [4]
    assert [len(job) for job in make_jobs(inputs, weights, batch_atoms=512, processes=2)] == [3, 1]
    assert [len(job) for job in make_jobs(inputs, weights, batch_atoms=1, processes=1)] == [3, 1]
