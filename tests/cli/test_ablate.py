"""`esen ablate`: what a user gets wrong is one line before anything runs."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from esen_cli.app import app

STUDY = """
base: quickstart
variants: {{default: {{}}, direct: {{model.forces.kind: direct}}}}
structures: [mgo.xyz]
tests:
  {tests}
"""
MGO = """2
Lattice="0.0 2.1 2.1 2.1 0.0 2.1 2.1 2.1 0.0" Properties=species:S:1:pos:R:3 pbc="T T T"
Mg 0.0 0.0 0.0
O 2.1 2.1 2.1
"""


def ablate(tests: str, folder: Path, *options: str) -> tuple[int, str]:
    (folder / "my-study.yaml").write_text(STUDY.format(tests=tests), encoding="utf-8")
    (folder / "mgo.xyz").write_text(MGO, encoding="utf-8")
    (folder / "bad.xyz").write_text(MGO.replace("2.1 2.1 2.1\n", "2.1 2.1 oops\n"), encoding="utf-8")
    output = folder / "out"
    result = CliRunner().invoke(
        app, ["ablate", str(folder / "my-study.yaml"), "--output", str(output), *options]
    )
    assert not output.exists()
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "tests, words",
    [
        ("mea: {data: [mgo.xyz]}", ["tests.mea", "did you mean mae?"]),
        ("mae: {dta: [mgo.xyz]}", ["tests.mae", "did you mean 'data'?"]),
        ("mae: {data: [nowhere.xyz]}", ["tests.mae", "nowhere.xyz", "no such file"]),
        ("mae:", ["tests.mae", "DATA"]),
        ("md-drift: {temperature: hot}", ["tests.md-drift", "--temperature"]),
        ("md-drift: {order-test: 3}", ["tests.md-drift.order-test", "true or false"]),
        ("md-drift: {output: x}", ["tests.md-drift", "the study sets this option"]),
        ("fast: {command: md-drft}", ["tests.fast", "did you mean md-drift?"]),
        ("check: {laws: {a: 1}}", ["tests.check.laws", "expected"]),
        ("check: {laws: [rotatin]}", ["tests.check", "did you mean 'rotation'?"]),
        ("md-drift: {supercell: 2x2}", ["tests.md-drift", "--supercell", "2,2,2"]),
        ("md-drift: {timestep: -1}", ["tests.md-drift", "--timestep -1", "above 0"]),
        ("md-drift: {temperature: -1}", ["tests.md-drift", "--temperature -1", "0 or more"]),
        ("md-drift: {supercell: 0x1x1}", ["tests.md-drift", "--supercell", "above 0"]),
        ("md-drift: {timestep: 20, duration: 0.01}", ["tests.md-drift", "--duration 0.01", "one step"]),
        ("md-drift: {max-drift: 0}", ["tests.md-drift", "--max-drift 0", "above 0"]),
        ("md-drift: {protocol: tm23}", ["tests.md-drift", "no data folder"]),
        ("phonons: {displacements: [0]}", ["tests.phonons", "--displacements 0", "between 0 and 1"]),
        ("phonons: {method: hessian, displacement: 0.1}", ["tests.phonons", "--method hessian"]),
        ("elastic: {strain: [0.5]}", ["tests.elastic", "strain 0.5", "at most 0.1"]),
        ("elastic: {fmax: .inf}", ["tests.elastic", "--fmax inf", "more than 0"]),
        ("relax: {symprec: 0}", ["tests.relax", "--symprec 0", "more than 0"]),
        ("elastic: {files: [bad.xyz]}", ["tests.elastic", "bad.xyz"]),
        ("md-drift: {order-test: true, order_test: false}", ["tests.md-drift.order-test", "twice"]),
        ("mae: {data: null}", ["tests.mae.data", "null", "name of a file"]),
        ("mae: {data: [[mgo.xyz]]}", ["tests.mae.data", "name of a file"]),
    ],
)
def test_mistakes_in_tests(tests: str, words: list[str], tmp_path: Path) -> None:
    code, output = ablate(tests, tmp_path)
    assert code == 2
    assert f"my-study.yaml:6: {words[0]}" in output
    for word in words:
        assert word in output


def test_every_mistake_of_a_test_is_a_line(tmp_path: Path) -> None:
    drift = "md-drift: {temperature: -1, timestep: 0, duration: .nan, supercell: 0x1x1}"
    tests = f"{drift}\n  phonons: {{displacements: [2]}}"
    code, output = ablate(tests, tmp_path)
    assert code == 2
    lines = [line.partition("my-study.yaml:")[2] for line in output.splitlines() if "my-study.yaml:" in line]
    assert [line.partition(": expected")[0] for line in lines] == [
        "6: tests.md-drift: --temperature -1.0",
        "6: tests.md-drift: --supercell '0x1x1'",
        "6: tests.md-drift: --timestep 0.0",
        "6: tests.md-drift: --duration nan",
        "7: tests.phonons: --displacements 2",
    ]


def test_every_command_that_tests_a_potential_checks_its_options_before_it_computes(tmp_path: Path) -> None:
    import typer

    from esen_cli.arguments import test_commands
    from esen_cli.output import OptionsAreRight, only_checks

    (tmp_path / "mgo.xyz").write_text(MGO, encoding="utf-8")
    commands = test_commands(typer.main.get_command(app))
    assert len(commands) >= 7
    for name, command in commands.items():
        files = ["--structures", str(tmp_path / "mgo.xyz")] if name == "md-drift" else []
        words = [*files, "--", "no-such-potential", *([] if files else [str(tmp_path / "mgo.xyz")])]
        with command.make_context(name, words) as context, only_checks(), pytest.raises(OptionsAreRight):
            command.invoke(context)


def test_only_names_something_of_the_study(tmp_path: Path) -> None:
    code, output = ablate("check:", tmp_path, "--only", "dirct")
    assert code == 2
    assert "did you mean direct?" in output


def test_data_that_no_chosen_cell_needs_may_be_missing(tmp_path: Path) -> None:
    tests = "check:\n  mae: {data: [nowhere.xyz]}"
    code, output = ablate(tests, tmp_path, "--dry-run", "--only", "default,check")
    assert (code, "nowhere" in output) == (0, False)
    assert "2 cells, " in output  # with the training that the check needs


def test_dry_run_counts_cells_and_measures_steps(tmp_path: Path) -> None:
    code, output = ablate("check:", tmp_path, "--dry-run", "--only", "direct,train")
    assert code == 0
    assert "model.forces.kind=direct" in output
    assert "time of a step" in output
    assert "1 cell, " in output


def test_structures_and_options_become_arguments(tmp_path: Path) -> None:
    import typer

    from esen.recipe.study import Test
    from esen_cli.arguments import command_line

    (tmp_path / "mgo.xyz").write_text(MGO, encoding="utf-8")
    where, file = "here", str(tmp_path / "mgo.xyz")

    def line(command: str, **options: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
        test = Test("", command, command, options, ("mgo.xyz",), where)
        made = command_line(test, typer.main.get_command(app), tmp_path, others=(), need=pytest.fail)
        return made.options, made.arguments

    assert line("elastic") == (("--allow-direct",), (file,))
    assert line("md-drift", order_test=True, supercell="2x2x2") == (
        ("--order-test", "--supercell", "2x2x2", "--structures", file),
        (),
    )
    assert line("phonons", displacements=[0.001, 0.01], plots=False)[0] == (
        *("--displacements", "0.001,0.01"),
        "--no-plots",
        "--allow-direct",
    )
    assert line("check", laws=["curl", "rotation"]) == (("--laws", "curl,rotation"), (file,))
