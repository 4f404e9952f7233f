import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esen.recipe import Recipe, load_recipe
from esen.recipe.shipped import shipped_recipes, shipped_studies
from esen_cli.app import app

RECIPE = """\
# mine
data: {train: [{path: a.xyz}], test: [{path: '*.xyz'}]}
train: {batch: {atoms: 64}, stages: [{epochs: 1}]}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE)
    return path


def test_show_prints_the_whole_recipe_and_its_cost(mine: Path) -> None:
    result = CliRunner().invoke(app, ["recipe", "show", str(mine), "--set", "model.cutoff=5"])
    assert result.exit_code == 0
    shown = mine.with_name("shown.yaml")
    shown.write_text(result.stdout, encoding="utf-8")
    assert load_recipe(shown) == load_recipe(mine, ["model.cutoff=5"])
    comments = [line for line in result.stdout.splitlines() if line.startswith("#")]
    assert comments[0] == "# parameters: 3,199,745"
    assert "about 31 within 5 Å, estimated at 0.06 atoms/Å³" in comments[2]
    assert "for 64 atoms (6 × forward)" in comments[4]
    assert comments[5] == f"# data paths start at: {mine.parent}"


def test_show_says_how_many_atoms_a_structure_is_taken_for(mine: Path) -> None:
    arguments = ["recipe", "show", str(mine), "--set", "train.batch={structures: 512}"]
    result = CliRunner().invoke(app, arguments)
    assert "16,384 atoms (512 structures, taken as 32 atoms each)" in result.stdout


@pytest.mark.parametrize(("atoms", "unit"), [(1, "GFLOP"), (10**4, "TFLOP"), (10**7, "PFLOP")])
def test_the_cost_of_a_step_has_a_readable_unit(mine: Path, atoms: int, unit: str) -> None:
    result = CliRunner().invoke(app, ["recipe", "show", str(mine), "--set", f"train.batch.atoms={atoms}"])
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("# one training step")]
    value, said = line.split(": ")[1].split()[:2]
    assert said == unit
    assert 0.01 < float(value) < 1000


def test_validate_says_ok_and_warns_of_data_that_is_not_there(mine: Path) -> None:
    result = CliRunner().invoke(app, ["recipe", "validate", str(mine)])
    assert result.exit_code == 0
    assert result.stdout == f"{mine}: ok\n"
    assert result.stderr == "".join(
        f"warning: {mine}: no data at {mine.parent / name}\n" for name in ("a.xyz", "*.xyz")
    )
    (mine.parent / "a.xyz").touch()
    assert CliRunner().invoke(app, ["recipe", "validate", str(mine)]).stderr == ""


def test_validate_warns_of_what_is_not_trained(mine: Path) -> None:
    (mine.parent / "a.xyz").touch()
    arguments = ["recipe", "validate", str(mine), "--set", "data.test=[]", "--set", "model.dens=true"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {mine}: model.dens is true, but no stage")
    trained = CliRunner().invoke(app, [*arguments, "--set", "train.stages.0.dens={}"])
    assert trained.stderr == ""


def test_validate_checks_every_recipe(mine: Path) -> None:
    bad = mine.with_name("bad.yaml")
    bad.write_text(RECIPE + "modle: 1\ntrak: 2\n")
    (mine.parent / "a.xyz").touch()
    result = CliRunner().invoke(app, ["recipe", "validate", str(bad), "no-such-thing", str(mine)])
    assert result.exit_code == 2
    assert result.stdout == f"{mine}: ok\n"
    said = result.stderr.splitlines()
    assert said[0].startswith(f"error: {bad}:4: modle: no such key; did you mean 'model'?")
    assert said[1].startswith(f"error: {bad}:5: trak: no such key; did you mean 't")
    assert said[2].startswith("error: no-such-thing: there is no such recipe")
    assert len(said) == 3


def test_validate_takes_settings(mine: Path) -> None:
    result = CliRunner().invoke(app, ["recipe", "validate", str(mine), "--set", "model.lmx=3"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --set model.lmx=3: no such key; did you mean 'lmax'?")


def test_the_schema_is_json() -> None:
    result = CliRunner().invoke(app, ["recipe", "schema"])
    schema = json.loads(result.stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    required = Recipe.model_json_schema()["required"]
    assert schema["anyOf"] == [{"required": required}, {"required": ["extends"]}]
    assert required == ["data", "train"]
    assert "extends" in schema["properties"]
    assert not schema["additionalProperties"]


def test_list_describes_every_shipped_recipe_and_study() -> None:
    result = CliRunner().invoke(app, ["recipe", "list"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    shipped = shipped_recipes() | shipped_studies()
    assert "ablation/small-study" in shipped
    for line, (name, path) in zip(lines, shipped.items(), strict=True):
        description = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert line.startswith(f"{name} ")
        assert line.endswith(description)
