"""Every structure with one potential."""

import csv
import importlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixCartesian, FixedPlane
from ase.io import write

from esen.errors import InputError
from esen.evaluate.relax import RelaxSpec, relax
from esen.md.calculator import EsenCalculator
from esen.models.checkpoint import Checkpoint, save_checkpoint
from esen.study.campaign import CampaignOptions, CampaignResult, CampaignRun, structure_items
from esen.study.potentials import PotentialOptions
from esen.study.relax import COLUMNS, Relaxation, RelaxRecord, run_relax
from esen.study.table import Table
from esen.track import NullTracker
from tests.models.variants import ABLATIONS, VARIANTS, potential_of

HERE = CampaignOptions(isolated=False)

FACTORIES = '''
"""Potentials of a user: EMT that counts its calls, one that raises, one that gives no numbers, one that repels."""

import numpy as np
from ase.calculators.emt import EMT

from esen.md.calculator import EsenCalculator
from tests.toys import PairPotential

calls = []


class Counting(EMT):
    def calculate(self, *args, **kwargs):
        calls.append(len(self.results))
        super().calculate(*args, **kwargs)


class Raising(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.atoms.numbers[0] == 47:
            raise RuntimeError("no neighbours\\nat all")


class Nothing(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.atoms.numbers[0] == 47:
            self.results["forces"] = np.full((len(self.atoms), 3), np.nan)


def repelling():
    return EsenCalculator(PairPotential(lambda r: 5 * (6 - r) ** 2, cutoff=6.0))
'''


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    strained = []
    for seed, metal in enumerate(("Cu", "Ag", "Al")):
        atoms = bulk(metal)
        atoms.set_cell(atoms.cell * (1.01 + 0.01 * seed), scale_atoms=True)
        strained.append(atoms)
    write("metals.xyz", strained, format="extxyz")
    write("cu.cif", bulk("Cu", cubic=True))
    write("u.xyz", bulk("U", "fcc", a=4.5), format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")
    (tmp_path / "counted.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "counted", raising=False)


def relaxed(
    potential: str,
    files: Sequence[str],
    spec: RelaxSpec = RelaxSpec(),  # noqa: B008  # frozen
    options: CampaignOptions = HERE,
    **how: Any,
) -> CampaignResult:
    run = CampaignRun([potential], Path("out"), NullTracker(), options, PotentialOptions(**how))
    result = run_relax(run, structure_items(files), spec)
    assert result is not None
    return result


def records(result: CampaignResult) -> list[RelaxRecord]:
    (found,) = result.records.values()
    return list(found)


def saved(name: str) -> str:
    potential, path = potential_of(name), f"{name}.safetensors"
    recipe = {"model": (VARIANTS | ABLATIONS)[name].model_dump()}
    tensors = {f"weights/{key}": value for key, value in potential.state_dict().items()}
    save_checkpoint(Path(path), Checkpoint(recipe=recipe, elements=(), metrics={}, tensors=tensors))
    return path


def test_everything_is_kept() -> None:
    result = relaxed("emt", ["metals.xyz", "cu.cif"])
    assert not result.failed
    assert [record.name for record in records(result)] == ["metals#0", "metals#1", "metals#2", "cu"]
    assert [row["verdict"] for row in result.tables[0].texts()] == ["converged"] * 4
    assert result.lines == []
    for name in ("metals#0", "cu"):
        assert json.loads(Path(f"out/emt/{name}.json").read_text())["converged"] is True
    frames = ase.io.read(result.paths["relaxed structures"], ":")
    assert [len(atoms) for atoms in frames] == [1, 1, 1, 4]
    for atoms, record in zip(frames, records(result), strict=True):
        assert atoms.get_potential_energy() == pytest.approx(record.energy, abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), np.array(record.forces), atol=1e-8)
        np.testing.assert_allclose(
            atoms.get_stress(voigt=False), np.array(record.stress), atol=1e-12, rtol=1e-9
        )
        np.testing.assert_allclose(atoms.cell.array, np.array(record.cell), atol=1e-9)
        assert atoms.info["name"] == record.name
        assert bool(atoms.info["converged"])
        assert atoms.info["space_group"] == 225
    rows = list(csv.DictReader(result.paths["table"].read_text().splitlines()))
    assert [row["name"] for row in rows] == [record.name for record in records(result)]
    assert [float(row["energy (eV)"]) for row in rows] == [record.energy for record in records(result)]
    assert {row["group_after"] for row in rows} == {"225"}


def test_failures_are_recorded_and_the_rest_goes_on() -> None:
    result = relaxed("counted:Raising", ["water.xyz", "metals.xyz"])
    assert result.failed
    assert [record.verdict for record in records(result)] == ["converged", "converged", "failed", "converged"]
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
    assert words in " ".join(record.failure for record in records(result))
    assert result.failed


def test_melting_is_told() -> None:
    result = relaxed("counted:repelling", ["cu.cif"])
    assert result.failed
    assert records(result)[0].verdict == "melted"
    assert result.lines[0].startswith("cu: its volume is ")
    (atoms,) = ase.io.read("out/relaxed.extxyz", ":")
    assert bool(atoms.info["melted"])


def test_no_result_at_all_leaves_no_structures() -> None:
    relaxed("emt", ["cu.cif"])
    assert Path("out/relaxed.extxyz").exists()
    assert "relaxed structures" not in relaxed("emt", ["u.xyz"]).paths
    assert not Path("out/relaxed.extxyz").exists()


def test_a_second_call_computes_nothing_anew() -> None:
    spec = RelaxSpec(steps=3)
    first = relaxed("counted:Counting", ["metals.xyz"], spec)
    counted = importlib.import_module("counted")
    calls = len(counted.calls)
    assert calls > 0
    again = relaxed("counted:Counting", ["metals.xyz"], spec)
    assert len(counted.calls) == calls
    assert again.tables[0].texts() == first.tables[0].texts()
    Path("out/Counting/metals#1.json").unlink()
    assert (
        relaxed("counted:Counting", ["metals.xyz", "cu.cif"], spec).tables[0].texts()[:3]
        == first.tables[0].texts()
    )
    assert len(counted.calls) > calls
    with pytest.raises(InputError, match=r"--output out: .*steps 3.*4"):
        relaxed("counted:Counting", ["metals.xyz"], replace(spec, steps=4))
    with pytest.raises(InputError, match=r"structures: cu cu\.cif, frame 0"):
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
    assert [record.verdict for record in records(result)][2] == "failed"
    assert "u.xyz, frame 0: the potential does not know U" in records(result)[2].failure
    known = [record for record in records(result) if record.name in ("cu", "water", "metals#0", "metals#2")]
    assert [record.steps for record in known] == [3] * 4
    assert max(atoms for _, atoms in sizes) == 7  # 4 of copper and 3 of water
    assert sizes[0] == (2, 7)
    for record, one in zip(records(result), structure_items(files), strict=True):
        if not record.failure:
            alone = relax(one.read(), EsenCalculator(potential), spec)
            assert record.energy == pytest.approx(alone.structure.energy, abs=1e-8)
            np.testing.assert_allclose(np.array(record.positions), alone.structure.positions, atol=1e-8)


def test_direct_forces_are_told() -> None:
    result = relaxed(saved("direct"), ["water.xyz"], RelaxSpec(steps=1), device="cpu")
    assert any("not the gradient" in line for line in result.lines)


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
    items = structure_items(["cu.cif", "u.xyz"])
    result = run_relax(CampaignRun(["emt"], Path("out"), Kept(), HERE), items, RelaxSpec(steps=99))
    assert (kept["potentials"], kept["steps"], kept["structures"]) == (["emt"], 99, 2)
    assert kept["fmax_eV_per_A/cu"] < 0.01
    assert (kept["converged"], kept["failed"], kept["melted"], kept["not_converged"]) == (1, 1, 0, 0)
    assert result is not None
    assert kept["mean_steps"] == records(result)[0].steps > 0
    assert files == ["relaxed.extxyz", "relax.csv", "result.json", "report.html"]


@pytest.mark.parametrize(
    ("potential", "atoms", "processes", "expected"),
    [
        ("emt", 512, 1, [1] * 4),
        ("a.safetensors", 512, 1, [4]),
        ("a.safetensors", 512, 2, [3, 1]),
        ("a.safetensors", 1, 1, [3, 1]),
    ],
)
def test_jobs(potential: str, atoms: int, processes: int, expected: list[int]) -> None:
    items = structure_items(["metals.xyz", "cu.cif"])
    options = replace(HERE, batch_atoms=atoms)
    work = Relaxation.of(CampaignRun([potential], Path("out"), NullTracker(), options), spec=RelaxSpec())
    assert [len(job) for job in work.jobs(items, processes)] == expected


def test_what_the_file_says_of_a_structure_is_kept() -> None:
    atoms = bulk("Cu")
    atoms.info = {"config_type": "fcc", "mp_id": "mp-30", "REF_energy": -3.7}
    atoms.set_tags([7])
    write("tagged.xyz", atoms, format="extxyz")
    relaxed("emt", ["tagged.xyz"])
    found = ase.io.read("out/relaxed.extxyz")
    assert (found.info["config_type"], found.info["mp_id"]) == ("fcc", "mp-30")
    assert found.get_tags().tolist() == [7]
    assert "REF_energy" not in found.info  # of the structure before


def test_constraints_and_masses_stay_in_the_relaxed_structures() -> None:
    slab = fcc111("Cu", (1, 1, 3), a=3.6, vacuum=6.0, periodic=True)
    slab.set_masses([63.0, 65.0, 63.5])
    slab.set_constraint([FixAtoms([0]), FixCartesian([1], mask=(True, True, False))])
    slab.info = {}
    skewed = slab.copy()
    skewed.set_constraint(FixedPlane([0], (1, 1, 1)))
    held = slab.copy()
    held.set_constraint(FixAtoms([0, 1, 2]))
    for name, atoms in (("slab", slab), ("skewed", skewed), ("held", held)):
        write(f"{name}.traj", atoms)
    result = relaxed("emt", ["slab.traj", "skewed.traj", "held.traj"], RelaxSpec(cell=False, fmax=0.05))
    assert not result.failed
    assert [(r.verdict, r.fixed) for r in records(result)] == [
        ("converged", 2),
        ("converged", 1),
        ("nothing to relax", 3),
    ]
    kept, lost, frozen = ase.io.read(result.paths["relaxed structures"], index=":")
    assert kept.get_masses().tolist() == [63.0, 65.0, 63.5]
    np.testing.assert_allclose(kept.positions[0], slab.positions[0], atol=1e-8)

    masks = {index: c.mask.tolist() for c in kept.constraints for index in c.index.tolist()}

    assert (masks[0], masks[1], masks[2]) == ([True] * 3, [True, True, False], [False] * 3)
    assert not lost.constraints
    assert frozen.constraints[0].index.tolist() == [0, 1, 2]
    text = " ".join(result.lines)
    assert "FixAtoms, FixCartesian, FixedPlane" in text
    assert "cannot hold all of the constraints (FixedPlane)" in text
    assert "held: " in text


def test_space_groups_are_judged_by_what_the_forces_allow() -> None:
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.rattle(0.004, seed=1)
    write("nearly.traj", atoms)
    coarse = relaxed("emt", ["nearly.traj"], RelaxSpec(fmax=0.05))
    assert records(coarse)[0].groups == (225, 225)
    assert "group (0.05 Å)" in coarse.tables[0].texts()[0]
    shutil.rmtree("out")
    tight = relaxed("emt", ["nearly.traj"], RelaxSpec(fmax=0.05, symprec=1e-4))
    assert records(tight)[0].groups[0] == 1


def test_the_table() -> None:
    good = RelaxRecord(
        "a", "a.xyz, frame 0", "Cu", 1, energy_before=-1.0, energy=-1.25, fmax_before=1.0, fmax=0.00123,
        steps=7, converged=True, volume_ratio=0.98765, displacement=0.1, groups=(139, 225),
    )  # fmt: skip
    row, failed = Table(COLUMNS, [good, RelaxRecord("b", failure="it is ill")]).texts()
    assert row == {
        "name": "a",
        "formula": "Cu",
        "atoms": "1",
        "steps": "7",
        "fmax (eV/Å)": "0.0012",
        "ΔE (meV/atom)": "-250.000",
        "V/V0": "0.9877",
        "group": "139→225",
        "verdict": "converged",
    }
    assert (failed["fmax (eV/Å)"], failed["group"], failed["verdict"]) == (None, None, "failed")


def test_of_many_structures_the_bad_ones_are_shown_first() -> None:
    write("many.xyz", [*[bulk("Cu", a=3.61)] * 41, bulk("U", "fcc", a=4.5)], format="extxyz")
    result = relaxed("emt", ["many.xyz"], RelaxSpec(fmax=10.0))
    names = [row["name"] for row in result.tables[0].texts()]
    assert names == ["many#41", *(f"many#{number}" for number in range(39))]
    assert "41 converged, 1 failed" in result.lines[0]
    assert len(records(result)) == 42
