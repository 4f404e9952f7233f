"""Every potential on every crystal."""

import csv
import importlib
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import phonopy
import pytest
from ase.build import bulk, molecule
from ase.io import write

from esen.errors import InputError
from esen.evaluate.phonons.crystal import Known
from esen.evaluate.phonons.protocol import PROTOCOLS, PhononProtocol
from esen.files import write_json
from esen.models.checkpoint import Checkpoint, save_checkpoint
from esen.study.campaign import CampaignOptions, CampaignResult, CampaignRun, read_record
from esen.study.phonons import (
    COLUMNS,
    ERROR_COLUMNS,
    MeanErrors,
    PhononRecord,
    choose_crystals,
    run_phonons,
)
from esen.study.potentials import PotentialOptions
from esen.study.table import Table
from esen.track import NullTracker
from tests.evaluate.phonons.crystals import NACL
from tests.models.variants import ABLATIONS, VARIANTS, potential_of

FACTORIES = '''
"""Potentials of a user: EMT that counts its calls, one that raises."""

from ase.calculators.emt import EMT

calls = []


class Counting(EMT):
    def calculate(self, *args, **kwargs):
        calls.append(1)
        super().calculate(*args, **kwargs)


class Pushing(EMT):
    """A pressure that no lattice withstands."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = self.results["stress"] * 0 + [-5.0, -5.0, -5.0, 0.0, 0.0, 0.0]


class Raising(EMT):
    def calculate(self, *args, **kwargs):
        raise RuntimeError("no neighbours\\nat all")
'''


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("cu.xyz", bulk("Cu", cubic=True), format="extxyz")
    write("u.xyz", bulk("U", "fcc", a=4.5), format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")
    (tmp_path / "counted.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "counted", raising=False)


QUICK = replace(PROTOCOLS["tight"], relax=None, mesh=(4, 4, 4), temperatures=(0.0, 300.0))
QUIET = CampaignOptions(plots=False, isolated=False)
DRAWING = CampaignOptions(isolated=False)
FAIR = PROTOCOLS["mdr-fair"]


def phonons(
    potentials: Sequence[str],
    inputs: Sequence[str],
    protocol: PhononProtocol = QUICK,
    *,
    options: CampaignOptions = QUIET,
    supercell: str | None = "2,2,2",
    displacements: tuple[float, ...] = (),
    **how: Any,
) -> CampaignResult:
    run = CampaignRun(potentials, Path("out"), NullTracker(), options, PotentialOptions(**how))
    items = choose_crystals(inputs, protocol, supercell=supercell)
    result = run_phonons(run, items, protocol, displacements)
    assert result is not None
    return result


def rows(result: CampaignResult, table: int = 0) -> list[dict[str, str | None]]:
    return result.tables[table].texts()


def test_everything_is_kept() -> None:
    result = phonons(["emt"], ["cu.xyz"], options=DRAWING)
    assert not result.failed
    (record,) = result.records["emt"]
    assert (record.formula, record.atoms, record.supercell_atoms) == ("Cu", 1, 32)
    assert record.values["entropy"] == pytest.approx(31.95, abs=0.1)
    assert rows(result)[0]["verdict"] == "stable"
    assert len(result.tables) == 1
    for path in ("out/emt/cu.json", "out/emt/cu.thermal.csv", "out/cu.bands.png", "out/manifest.json"):
        assert Path(path).stat().st_size > 50
    (row,) = csv.DictReader(Path("out/phonons.csv").read_text().splitlines())
    assert float(row["entropy (J/K/mol)"]) == record.values["entropy"]
    again = phonopy.load("out/emt/cu.phonopy.yaml", log_level=0)
    again.run_qpoints([[0.5, 0.5, 0.0]])
    assert again.force_constants is not None
    assert again.qpoints is not None
    highest = float(np.max(again.qpoints.frequencies)) * 47.9924307
    assert highest <= record.max_commensurate + 1e-3
    assert json.loads(Path("out/result.json").read_text())["settings"]["displacement"] == 0.01


def test_the_reference_is_without_error() -> None:
    result = phonons(["reference", "emt"], [str(NACL)], options=DRAWING, supercell=None)
    record = result.records["reference"][0]
    assert [record.error(quantity) for quantity in record.values] == [0.0] * 4
    assert rows(result, -1)[0]["MAE(S) (J/K/mol)"] == "0"
    assert result.records["emt"][0].failure  # EMT knows neither Na nor Cl
    assert result.failed
    assert Path("out/NaCl.bands.png").exists()


def test_failures_are_recorded_and_the_rest_goes_on() -> None:
    result = phonons(["emt", "counted:Raising", "reference"], ["water.xyz", "u.xyz", "cu.xyz"])
    assert result.failed
    failures = {label: [record.failure for record in mine] for label, mine in result.records.items()}
    assert "phonons need a crystal" in failures["emt"][0]
    assert "the potential does not know U" in failures["emt"][1]
    assert failures["emt"][2] == ""
    assert "the calculator Raising raised RuntimeError: no neighbours" in failures["Raising"][2]
    assert "no force sets" in failures["reference"][2]
    assert sum("water" in line for line in result.lines) == 3
    kept = list(csv.DictReader(Path("out/phonons.csv").read_text().splitlines()))
    assert len(kept) == 9
    assert sum(bool(row["failure"]) for row in kept) == 8


def test_failed_relaxations_are_recorded() -> None:
    relaxing = replace(QUICK, relax="unit")
    result = phonons(["counted:Raising"], ["cu.xyz"], relaxing, displacements=(0.01, 0.02))
    found = [record.failure for record in result.records["Raising"]]
    assert len(found) == 2
    assert all("relaxation ended by RuntimeError: no neighbours" in words for words in found)


def test_a_second_call_computes_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    first = phonons(["counted:Counting"], ["cu.xyz", "water.xyz"])
    counted = importlib.import_module("counted")
    calls = len(counted.calls)
    assert calls > 0
    second = phonons(["counted:Counting"], ["cu.xyz", "water.xyz"])
    assert len(counted.calls) == calls
    assert rows(second) == rows(first)
    assert second.lines == first.lines
    Path("out/Counting/cu.json").unlink()
    assert rows(phonons(["counted:Counting"], ["cu.xyz", "water.xyz"])) == rows(first)
    assert len(counted.calls) > calls


def test_a_yaml_that_was_changed_wants_another_folder() -> None:
    Path("salt.yaml").write_bytes(NACL.read_bytes())
    phonons(["reference"], ["salt.yaml"], supercell=None)
    Path("salt.yaml").write_bytes(NACL.read_bytes() + b"\n")
    with pytest.raises(InputError, match=r"crystals: salt salt\.yaml .*sha256 "):
        phonons(["reference"], ["salt.yaml"], supercell=None)


def test_an_index_may_come_later() -> None:
    Path("pbe").mkdir()
    Path("pbe/mp-1.yaml").write_bytes(NACL.read_bytes())
    (record,) = phonons(["reference"], ["pbe"], supercell=None).records["reference"]
    assert record.error("entropy") == 0
    row = {"mp_id": "mp-1", "max_freq": 1.0, "entropy": 2.0, "free_energy": 3.0, "heat_capacity": 4.0}
    Path("pbe/pbe.json").write_text(json.dumps([row]))
    (record,) = phonons(["reference"], ["pbe"], supercell=None).records["reference"]
    assert record.error("entropy") == pytest.approx(record.values["entropy"] - 2.0)


def test_another_protocol_wants_another_folder() -> None:
    phonons(["emt"], ["cu.xyz"])
    with pytest.raises(InputError, match=r"--output out: .*displacement 0\.01"):
        phonons(["emt"], ["cu.xyz"], replace(QUICK, displacement=0.02))
    with pytest.raises(InputError, match="crystals: cu"):
        phonons(["emt"], ["cu.xyz"], supercell="1,1,1")
    assert len(rows(phonons(["emt", "counted:Counting"], ["cu.xyz"]))) == 2  # more may come
    write("cu.xyz", bulk("Cu", a=3.7, cubic=True), format="extxyz")
    with pytest.raises(InputError, match=r"crystals: cu cu\.xyz, frame 0 .*sha256 "):
        phonons(["emt"], ["cu.xyz"])
    Path("out/manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"manifest\.json"):
        phonons(["emt"], ["cu.xyz"])


def test_several_displacements() -> None:
    result = phonons(["emt"], ["cu.xyz"], displacements=(0.001, 0.01, 0.1))
    names = [record.name for record in result.records["emt"]]
    assert names == ["cu@0.001 Å", "cu@0.01 Å", "cu@0.1 Å"]
    entropies = [record.values["entropy"] for record in result.records["emt"]]
    assert abs(entropies[0] - entropies[1]) < 0.01 < abs(entropies[1] - entropies[2])


def saved(name: str) -> str:
    potential, path = potential_of(name), f"{name}.safetensors"
    recipe = {"model": (VARIANTS | ABLATIONS)[name].model_dump()}
    tensors = {f"weights/{key}": value for key, value in potential.state_dict().items()}
    save_checkpoint(Path(path), Checkpoint(recipe=recipe, elements=(), metrics={}, tensors=tensors))
    return path


def test_direct_forces_are_refused_unless_allowed() -> None:
    weights = saved("direct")
    with pytest.raises(InputError, match=r"gradient.*--allow-direct"):
        phonons([weights], ["cu.xyz"], supercell="1,1,1", device="cpu")
    allowed = replace(QUIET, allow_direct=True)
    with pytest.raises(InputError, match=r"--method hessian: .*direct"):
        phonons([weights], ["cu.xyz"], replace(QUICK, method="hessian"), options=allowed, device="cpu")
    result = phonons([weights], ["cu.xyz"], options=allowed, supercell="1,1,1", device="cpu")
    assert result.records["direct"][0].failure == ""


def test_exact_derivatives_of_a_checkpoint() -> None:
    weights = saved("default")
    result = phonons([weights], ["cu.xyz"], replace(QUICK, method="hessian"), supercell="1,1,1", device="cpu")
    (exact,) = result.records["default"]
    assert (exact.failure, exact.supercell_atoms) == ("", 4)
    unknown = phonons([weights], ["u.xyz"], replace(QUICK, method="hessian"), supercell="1,1,1", device="cpu")
    assert "u.xyz, frame 0: the potential does not know U" in unknown.records["default"][0].failure
    with pytest.raises(InputError, match=r"--method hessian: .*emt"):
        phonons(["emt"], ["cu.xyz"], replace(QUICK, method="hessian"), supercell="1,1,1")


def test_crystals_that_are_relaxed_together_are_as_they_are_alone() -> None:
    weights = saved("default")
    for number, size in enumerate((3.6, 3.65, 3.7, 3.75, 3.8, 3.55, 3.5, 3.45)):
        write(f"cu{number}.xyz", bulk("Cu", a=size), format="extxyz")
    relaxing = replace(QUICK, relax="unit", fmax=0.01, relax_steps=3)
    names = [f"cu{number}.xyz" for number in range(8)]
    how: dict[str, Any] = {"supercell": "1,1,2", "device": "cpu"}
    together = phonons([weights], [names[0], "u.xyz", *names[1:], "water.xyz"], relaxing, **how)
    failures = [record.name for record in together.records["default"] if record.failure]
    assert failures == ["u", "water"]
    shutil.rmtree("out")
    for number in (0, 5):
        (alone,) = phonons([weights], [names[number]], relaxing, **how).records["default"]
        (found,) = (record for record in together.records["default"] if record.name == alone.name)
        for quantity, value in alone.values.items():
            assert found.values[quantity] == pytest.approx(value, rel=1e-6)


def test_pictures_can_be_asked_for_later() -> None:
    phonons(["emt"], ["cu.xyz"])
    assert not Path("out/cu.bands.png").exists()
    phonons(["emt"], ["cu.xyz"], options=DRAWING)
    first = Path("out/emt/cu.bands.npz").read_bytes()
    assert Path("out/cu.bands.png").exists()
    Path("out/emt/cu.bands.npz").write_bytes(first[:99])
    Path("out/cu.bands.png").unlink()
    phonons(["emt"], ["cu.xyz"], options=DRAWING)
    assert Path("out/cu.bands.png").exists()
    assert len(Path("out/emt/cu.bands.npz").read_bytes()) == len(first)


def test_an_index_is_the_only_reference(caplog: pytest.LogCaptureFixture) -> None:
    Path("mdr").mkdir()
    for name in ("mp-1", "mp-2"):
        shutil.copy(NACL, f"mdr/{name}.yaml")
    own = phonons(["reference"], ["mdr"], supercell=None)
    assert rows(own, -1)[0]["crystals"] == "2 of 2"
    row = {"mp_id": "mp-1", "entropy": 70.0, "free_energy": -7.0, "heat_capacity": 48.0, "max_freq": 300.0}
    Path("mdr/pbe.json").write_text(json.dumps([row, row | {"mp_id": "mp-3"}]))
    indexed = phonons(["reference"], ["mdr"], supercell=None)
    assert rows(indexed, -1)[0]["crystals"] == "1 of 2"
    assert float(rows(indexed, -1)[0]["MAE(S) (J/K/mol)"] or 0) > 4
    assert "mdr: 1 of 2 crystals are not in the index and are not compared: mp-2" in caplog.text
    assert "mdr: 1 of 2 rows of the index have no file: mp-3" in caplog.text


def test_potentials_of_an_earlier_call_are_drawn_and_listed_without_loading_them() -> None:
    phonons(["counted:Counting"], ["cu.xyz"], options=DRAWING)
    before = Path("out/cu.bands.png").read_bytes()
    Path("counted.py").unlink()
    sys.modules.pop("counted")
    both = phonons(["counted:Counting", "emt"], ["cu.xyz"], options=DRAWING)
    assert not both.failed
    assert [row["potential"] for row in rows(both)] == ["Counting", "emt"]
    assert Path("out/cu.bands.png").read_bytes() != before


def test_failures_are_computed_anew_where_the_user_asks() -> None:
    assert phonons(["counted:Raising"], ["cu.xyz"]).failed
    text = (
        Path("counted.py")
        .read_text()
        .replace("raise RuntimeError", "pass  #")
        .replace("pass  #", "super().calculate(*args, **kwargs)  #")
    )
    Path("counted.py").write_text(text)
    sys.modules.pop("counted")
    assert phonons(["counted:Raising"], ["cu.xyz"]).failed
    assert not phonons(["counted:Raising"], ["cu.xyz"], options=replace(QUIET, retry=True)).failed


def test_a_crystal_that_flies_apart_is_recorded() -> None:
    relaxing = replace(QUICK, relax="unit")
    result = phonons(["counted:Pushing"], ["cu.xyz"], relaxing)
    assert "not the same crystal after relaxation" in result.records["Pushing"][0].failure
    assert result.failed


def test_a_narrow_supercell_is_noted() -> None:
    result = phonons([saved("default")], ["cu.xyz"], supercell="1,1,1", device="cpu")
    assert "less than twice the cutoff (8 Å)" in result.records["default"][0].notes[0]
    assert any("less than twice the cutoff" in line for line in result.lines)
    assert not result.failed


def test_what_is_tracked() -> None:
    class Kept(NullTracker):
        def metrics(self, values: Mapping[str, float], step: int) -> None:
            kept.update(values)

        def artifact(self, path: Path, folder: str = "") -> None:
            files.append(path.name)

    kept: dict[str, float] = {}
    files: list[str] = []
    items = choose_crystals([str(NACL), "cu.xyz"], QUICK, supercell="2,2,2")
    run_phonons(CampaignRun(["reference"], Path("out"), Kept(), QUIET), items, QUICK)
    assert kept["MAE_entropy_J_per_K_per_mol"] == 0
    assert kept["failed"] == 1
    assert kept["entropy_J_per_K_per_mol/NaCl"] == pytest.approx(75.0, abs=0.5)
    assert files == ["phonons.csv", "result.json", "report.html"]


def test_reference_is_no_name_of_a_potential() -> None:
    Path("reference.safetensors").write_bytes(Path(saved("default")).read_bytes())
    with pytest.raises(InputError, match=r"reference: .*force sets"):
        phonons(["reference.safetensors"], ["cu.xyz"], device="cpu")


VALUES = {"max_frequency": 300.0, "entropy": 75.0, "free_energy": -7.0, "heat_capacity": 48.0}
KNOWN = {"max_frequency": 310.0, "entropy": 74.0, "free_energy": -7.5, "heat_capacity": None}
GOOD = PhononRecord(
    "NaCl", "ClNa", 2, 64, VALUES, KNOWN, 300.0, 6.2, 3, -0.5, (0.5, 0.0, 0.0), (225, 221), False
)
BAD = PhononRecord("UO2", known={"entropy": 1.0}, failure="no uranium")


@pytest.mark.parametrize(
    "record", [replace(GOOD, rmse=0.1), replace(GOOD, rmse=0.2, groups=None, converged=None), BAD]
)
def test_records_round_trip(record: PhononRecord, tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", asdict(record))
    assert repr(read_record(tmp_path / "a.json", PhononRecord)) == repr(record)


def test_errors_are_means_over_what_is_known() -> None:
    other = replace(GOOD, values=VALUES | {"entropy": 77.0}, known=KNOWN | {"max_frequency": None})
    found = MeanErrors("emt", [GOOD, other, BAD])
    assert (found.of("max_frequency"), found.of("entropy")) == (10.0, 2.0)
    assert np.isnan(found.of("heat_capacity"))
    (row,) = Table(ERROR_COLUMNS, [found]).texts()
    assert row["crystals"] == "2 of 3"
    assert row["MAE(ω_max) (K)"] == "10"
    assert row["MAE(C_V) (J/K/mol)"] is None
    assert (row["failed"], row["imaginary"]) == ("1", "2")


def test_the_table() -> None:
    row, bad, stable = Table(COLUMNS, [GOOD, BAD, replace(GOOD, groups=(225, 225), imaginary=0)]).texts()
    assert (row["group"], row["verdict"], row["S"]) == ("225→221", "3 imaginary", "75.000")
    assert (bad["verdict"], bad["atoms"]) == ("failed", None)
    assert (stable["group"], stable["verdict"]) == ("225", "stable")


def test_crystals_of_files_and_folders_in_their_order() -> None:
    Path("pbe").mkdir()
    shutil.copy(NACL, "pbe/Sr.y2o3.yaml")
    chosen = choose_crystals(["cu.xyz", str(NACL), "pbe", "cu.xyz"], FAIR)
    assert [one.name for one in chosen] == ["cu", "NaCl", "Sr.y2o3", "cu-2"]
    assert [one.settings for one in chosen[:2]] == ["supercell: 12 Å wide", "supercell: the file's"]


def test_frames_and_supercells() -> None:
    write("two.xyz", [bulk("Cu", cubic=True), bulk("Cu", a=3.7, cubic=True)], format="extxyz")
    chosen = choose_crystals(["two.xyz"], FAIR, frames=":", supercell="1x2x3")
    assert [one.name for one in chosen] == ["two#0", "two#1"]
    crystal = chosen[1].read()
    assert crystal.supercell.tolist() == np.diag([1, 2, 3]).tolist()
    assert crystal.unitcell.cell[0, 0] == pytest.approx(3.7)
    assert choose_crystals(["cu.xyz"], FAIR, min_width=5.0)[0].read().supercell[0, 0] == 2


def test_references_are_measured_or_of_the_index() -> None:
    measured = choose_crystals([str(NACL)], FAIR)[0].read()
    assert measured.known.entropy == pytest.approx(75.074, abs=1e-3)
    assert measured.known.max_frequency == pytest.approx(299.55, abs=0.01)
    Path("pbe").mkdir()
    for name in ("mp-1", "mp-2"):
        shutil.copy(NACL, f"pbe/{name}.yaml")
    row = {"mp_id": "mp-1", "max_freq": 1.0, "entropy": 2.0, "free_energy": 3.0, "heat_capacity": 4.0}
    Path("pbe.json").write_text(json.dumps([row]))
    one, other = choose_crystals(["pbe"], FAIR)
    assert one.known == one.read().known == Known(1.0, 2.0, 3.0, 4.0)
    assert other.known == Known()


def test_what_cannot_be_used_is_told_when_it_is_read() -> None:
    Path("broken.yaml").write_text("nothing: true\n")
    for file in ("water.xyz", "broken.yaml"):
        with pytest.raises(InputError, match=file):
            choose_crystals([file], FAIR)[0].read()


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["none.cif"], {}, "none.cif: no such file"),
        (["none.yaml"], {}, "none.yaml: no such file"),
        (["run"], {}, "run: the folder of a training"),
        (["cu.xyz"], {"min_width": -1.0}, "--min-width -1"),
        (["cu.xyz"], {"min_width": 5.0, "supercell": "2,2,2"}, "--min-width: the supercell is given"),
        (["cu.xyz"], {"frames": "5:"}, "selects nothing"),
        ([str(NACL)], {"frames": ":"}, "--frames: is for structure files"),
        ([str(NACL)], {"supercell": "2,2,2"}, "--supercell: is for structure files"),
        ([str(NACL)], {"min_width": 9.0}, "--min-width: is for structure files"),
    ],
)
def test_mistakes_are_one_line(inputs: list[str], options: dict[str, Any], message: str) -> None:
    Path("run").mkdir()
    Path("run/last.safetensors").touch()
    with pytest.raises(InputError) as caught:
        choose_crystals(inputs, FAIR, **options)
    assert message in str(caught.value)


def test_without_plots_nothing_is_drawn() -> None:
    phonons(["emt"], ["cu.xyz"], displacements=(0.01, 0.02))
    assert not list(Path("out").rglob("*.png"))
