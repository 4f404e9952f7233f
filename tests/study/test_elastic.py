"""Elastic constants of many crystals with one or several potentials."""

import csv
import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from matplotlib.image import imread

from esen.errors import InputError
from esen.evaluate.elastic import ElasticSpec, elastic_constants
from esen.md.calculator import EsenCalculator
from esen.study.campaign import CampaignOptions, CampaignResult, CampaignRun, structure_items
from esen.study.elastic import run_elastic
from esen.study.potentials import PotentialOptions
from esen.track import NullTracker
from tests.evaluate.phonons.crystals import emt, model_of, structure_of
from tests.models.variants import potential_of
from tests.study.test_relax import saved

HERE = CampaignOptions(isolated=False)
ONE = ElasticSpec(strains=(0.005,))

FACTORIES = '''
"""Potentials of a user: EMT that counts its calls, and EMT whose stress is 5 % too large."""

from ase.calculators.emt import EMT

calls = []


class Counting(EMT):
    def calculate(self, *args, **kwargs):
        calls.append(1)
        super().calculate(*args, **kwargs)


class Wrong(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = 1.05 * self.results["stress"]
'''


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("cu.xyz", bulk("Cu"), format="extxyz")
    slab = bulk("Cu", cubic=True)
    slab.center(vacuum=6.0, axis=2)
    write("slab.xyz", slab, format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")
    write("u.xyz", bulk("U", "fcc", a=4.5), format="extxyz")
    (tmp_path / "user.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "user", raising=False)


def computed(
    potentials: Sequence[str],
    files: Sequence[str],
    options: CampaignOptions = HERE,
    *,
    spec: ElasticSpec = ONE,
    eos: bool = False,
    tracker: Any = None,
    **how: Any,
) -> CampaignResult:
    run = CampaignRun(potentials, Path("out"), tracker or NullTracker(), options, PotentialOptions(**how))
    result = run_elastic(run, structure_items(files), spec, eos=eos)
    assert result is not None
    return result


def test_records_tables_and_files_agree() -> None:
    result = computed(["emt", "user:Counting"], ["cu.xyz"])
    assert not result.failed
    assert result.lines == []
    (copper,) = result.records["emt"]
    expected = elastic_constants(structure_of(bulk("Cu")), emt(), ONE).standard
    assert np.array(copper.stiffness) == pytest.approx(expected.matrix, rel=1e-6, abs=1e-6)
    first, second = result.tables[0].texts()
    assert (first["name"], first["K (GPa)"]) == ("cu", f"{expected.hill.bulk:.2f}")
    assert (second["potential"], second["verdict"]) == ("Counting", "stable")
    assert [table.texts()[3]["yz"] for table in result.tables[1:]] == [f"{expected.matrix[3, 3]:.2f}"] * 2
    rows = list(csv.DictReader(result.paths["table"].read_text().splitlines()))
    assert float(rows[0]["C44 (GPa)"]) == pytest.approx(expected.matrix[3, 3], rel=1e-6)
    found = json.loads(result.paths["result"].read_text())
    assert found["command"] == "elastic"
    assert found["rows"][1]["young_modulus"] == pytest.approx(expected.hill.young)
    assert {one["name"]: one["unit"] for one in found["columns"]}["C66"] == "GPa"


def test_what_is_no_crystal_or_not_known_fails_in_one_line_and_the_rest_goes_on() -> None:
    result = computed(["emt"], ["slab.xyz", "water.xyz", "u.xyz", "cu.xyz"])
    assert result.failed
    assert [record.verdict for record in result.records["emt"]] == ["failed"] * 3 + ["stable"]
    assert [word in line for word, line in zip(("slab", "water", "U"), result.lines, strict=True)] == [
        True
    ] * 3
    assert not any("\n" in line for line in result.lines)
    assert result.tables[0].texts()[0]["K (GPa)"] is None


def test_equations_of_state_are_fitted_and_drawn() -> None:
    result = computed(["user:Wrong"], ["cu.xyz"], eos=True)
    row = result.tables[0].texts()[0]
    assert float(row["B0 (GPa)"] or 0) == pytest.approx(134.4, abs=0.2)
    assert float(row["V0 (Å³)"] or 0) == pytest.approx(11.565, abs=1e-3)
    figure = result.paths["equation of state of cu"]
    assert imread(figure).std() > 0
    # The equation of state is that of the energy. The check by energies shows that the stress is another.
    assert float(row["K (GPa)"] or 0) == pytest.approx(1.05 * 134.4, abs=0.5)
    assert any("not the gradient" in line for line in result.lines)
    figure.unlink()
    computed(["user:Wrong"], ["cu.xyz"], replace(HERE, plots=False), eos=True)
    assert not figure.exists()


def test_a_second_call_computes_nothing_again() -> None:
    first = computed(["user:Counting"], ["cu.xyz"])
    user = importlib.import_module("user")
    calls = len(user.calls)
    assert calls > 12
    again = computed(["user:Counting"], ["cu.xyz"])
    assert len(user.calls) == calls
    assert [table.texts() for table in again.tables] == [table.texts() for table in first.tables]
    with pytest.raises(InputError, match="eos"):
        computed(["user:Counting"], ["cu.xyz"], eos=True)


def test_a_stressed_crystal_is_told() -> None:
    held = replace(ONE, relax=replace(ONE.relax, cell=False))
    write("wide.xyz", bulk("Cu", a=3.65), format="extxyz")
    result = computed(["emt"], ["wide.xyz"], spec=held)
    assert not result.failed
    assert any("stressed" in line for line in result.lines)


def test_a_failed_equation_of_state_keeps_the_constants() -> None:
    held = replace(ONE, relax=replace(ONE.relax, cell=False))
    write("wide.xyz", bulk("Cu", a=3.75), format="extxyz")  # 14 % above the volume of the minimum
    result = computed(["emt"], ["wide.xyz"], spec=held, eos=True)
    assert result.failed
    assert result.records["emt"][0].stiffness is not None
    assert any("minimum" in line for line in result.lines)


def test_an_unstable_crystal_is_no_failure() -> None:
    write("sc.xyz", bulk("Cu", "sc", a=2.4), format="extxyz")
    result = computed(["emt"], ["sc.xyz"])
    assert not result.failed
    row = result.tables[0].texts()[0]
    assert row["verdict"] == "unstable"
    assert float(row["λ_min (GPa)"] or 0) < 0
    assert row["G (GPa)"] is None


def test_unconverged_crystals_are_failures() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.02, seed=0)
    write("loose.xyz", atoms, format="extxyz")
    result = computed(["emt"], ["loose.xyz"], spec=replace(ONE, relax=replace(ONE.relax, steps=2)))
    assert result.failed
    assert result.tables[0].texts()[0]["verdict"] == "not converged"


def test_direct_forces_are_refused_unless_allowed() -> None:
    weights = saved("direct")
    with pytest.raises(InputError, match="--allow-direct"):
        computed([weights], ["cu.xyz"], device="cpu")


def test_a_checkpoint_agrees_with_its_calculator() -> None:

    rough = replace(ONE, relax=replace(ONE.relax, cell=False, steps=1))
    write("one.xyz", Atoms("Cu", cell=2.6 * np.eye(3), pbc=True), format="extxyz")
    result = computed([saved("default")], ["one.xyz"], spec=rough, device="cpu")
    (record,) = result.records["default"]
    calculator = EsenCalculator(potential_of("default"))
    alone = elastic_constants(
        structure_of(Atoms("Cu", cell=2.6 * np.eye(3), pbc=True)), model_of(calculator), rough
    )
    np.testing.assert_allclose(np.array(record.stiffness_in_file), alone.stiffness.matrix, atol=1e-6)


def test_the_metrics_have_units_and_no_potential() -> None:
    class Kept(NullTracker):
        def metrics(self, values: Any, step: int) -> None:
            kept.update(values)

    kept: dict[str, Any] = {}
    computed(["emt"], ["cu.xyz"], tracker=Kept())
    assert kept["bulk_modulus_GPa"] == pytest.approx(134.5, abs=0.1)
