from pathlib import Path

import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

from esen.data.atoms import from_atoms
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.models.checkpoint import Checkpoint, save_checkpoint
from esen.study.potentials import is_checkpoint, parse_arguments, resolve_potential
from tests.models.variants import VARIANTS, potential_of


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint of a small network, in float32."""
    potential = potential_of("one layer", torch.float32)
    tensors = {f"weights/{name}": value for name, value in potential.state_dict().items()}
    recipe = {"model": VARIANTS["one layer"].model_dump()}
    path = tmp_path / "run" / "best.safetensors"
    path.parent.mkdir()
    save_checkpoint(path, Checkpoint(recipe=recipe, elements=(8, 12), metrics={}, tensors=tensors))
    return path


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory, under a name that no other test imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"calculators_{abs(hash(str(tmp_path)))}"
    lines = [
        "from ase.calculators.emt import EMT",
        "from ase.calculators.calculator import Calculator",
        "from tests.toys import lennard_jones",
        "made = EMT()",
        "number = 3",
        "class Holder:",
        "    factory = EMT",
        "class Broken(Calculator):",
        "    implemented_properties = ['energy', 'forces']",
        "    def calculate(self, *arguments):",
        "        raise RuntimeError('no luck\\nat all')",
        "def fails(size=1):",
        "    raise ValueError(f'size {size} will not do\\nsecond line')",
        "def text():",
        "    return 'a text'",
        "def leaves():",
        "    raise SystemExit(3)",
        "def argues():",
        "    import argparse",
        "    argparse.ArgumentParser().parse_args(['--no-such-option'])",
        "class Leaving(Calculator):",
        "    implemented_properties = ['energy', 'forces']",
        "    def calculate(self, *arguments):",
        "        raise SystemExit",
    ]
    (tmp_path / f"{name}.py").write_text("\n".join(lines))
    (tmp_path / f"{name}_bad.py").write_text("import there_is_no_such_package")
    (tmp_path / f"{name}_script.py").write_text("raise SystemExit('usage: me')")
    return name


def test_emt_and_lj_are_calculators() -> None:
    copper = from_atoms(bulk("Cu"), "Cu")
    emt = resolve_potential("emt")
    assert emt.potential(make_graph(copper, 0.0)).energy == pytest.approx(bulk_energy())
    assert (emt.precision, emt.device, emt.differentiable, emt.rounded) == ("its own", "cpu", None, None)
    assert emt.elements is not None
    assert 29 in emt.elements
    lj = resolve_potential("lj", calculator_args=["rc=5.5", "smooth=false"])
    assert lj.calculator.parameters["rc"] == 5.5
    assert lj.calculator.parameters["smooth"] is False
    assert lj.calculator.parameters["sigma"] == 3.405


def bulk_energy() -> float:
    atoms = bulk("Cu")
    atoms.calc = EMT()
    return float(atoms.get_potential_energy())


def test_checkpoints_and_folders(weights: Path) -> None:
    for text in (str(weights), str(weights.parent)):
        resolved = resolve_potential(text, dtype="float64")
        assert (resolved.precision, resolved.device, resolved.elements) == ("float64", "cpu", (8, 12))
    trained = resolve_potential(str(weights))
    assert trained.precision == "float32"
    assert trained.rounded is None
    graph = make_graph(from_atoms(bulk("MgO", "rocksalt", a=4.2), "MgO"), 4.0)
    forces = resolved.differentiable
    rounded = resolved.rounded
    assert forces is not None
    assert rounded is not None
    assert forces(graph).forces.requires_grad
    assert not resolved.potential(graph).forces.requires_grad
    assert float(rounded(graph).energy) == pytest.approx(float(resolved.potential(graph).energy), rel=1e-5)
    assert float(rounded(graph).energy) != float(resolved.potential(graph).energy)


def test_factories(module: str) -> None:
    for attribute in ("EMT", "made", "Holder.factory"):
        resolved = resolve_potential(f"{module}:{attribute}")
        assert isinstance(resolved.calculator, EMT)
    toy = resolve_potential(f"{module}:lennard_jones", calculator_args=["cutoff=4.5"])
    assert toy.potential.cutoff == 4.5
    assert toy.calculator is None


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("no_such_module_at_all:Thing", [], "there is no module 'no_such_module_at_all'"),
        ("ase.no_such_module:Thing", [], "there is no module 'ase.no_such_module'"),
        ("MODULE_bad:Thing", [], "needs 'there_is_no_such_package', which is not installed"),
        ("MODULE:Thing", [], "has no 'Thing'"),
        ("MODULE:", [], "has no ''"),
        ("MODULE:Holder.other", [], r"has no 'Holder\.other'"),
        ("MODULE:number", [], "gives a int, expected an ASE calculator"),
        ("MODULE:text", [], "gives a str, expected an ASE calculator"),
        ("MODULE:fails", ["size=7"], "making it raised ValueError: size 7 will not do$"),
        ("MODULE:fails", ["colour=red"], "making it raised TypeError: .*colour"),
        ("MODULE:made", ["a=1"], "is no factory, so it takes none"),
        ("MODULE:Holder", ["no_such=1"], "making it raised TypeError"),
        ("emt", ["=1"], "expected KEY=VALUE"),
        ("emt", ["rc"], "expected KEY=VALUE"),
        ("lj", ["rc=1", "rc=2"], "rc is given twice"),
        ("lj", ["sigam=3"], r"args sigam: lj takes epsilon, sigma, rc, ro, smooth; did you mean 'sigma'\?$"),
        ("lj", ["rc=8", "cutoff=3"], "args cutoff: lj takes epsilon, sigma, rc, ro, smooth$"),
        (
            "emt",
            ["asap_cutof=true"],
            r"args asap_cutof: emt takes asap_cutoff; did you mean 'asap_cutoff'\?$",
        ),
        ("MODULE:leaves", [], "leaves: making it raised SystemExit: 3$"),
        ("MODULE:argues", [], "argues: making it raised SystemExit: 2$"),
        ("MODULE_script:Thing", [], "importing .*_script raised SystemExit: usage: me$"),
        ("nothing_here", [], "no such file; expected a checkpoint"),
        ("nothing.safetensors", [], "no such file"),
        ("nothing.safetensors", ["a=1"], "is a checkpoint, which takes none"),
    ],
)
def test_mistakes_are_one_line(module: str, text: str, arguments: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        resolve_potential(text.replace("MODULE", module), calculator_args=arguments)
    assert "\n" not in str(caught.value)


def test_a_dtype_is_for_checkpoints() -> None:
    for text in ("emt", "tests.toys:lennard_jones"):
        with pytest.raises(InputError, match="--dtype float32: is for checkpoints"):
            resolve_potential(text, dtype="float32")


def test_a_calculator_that_fails_is_one_line(module: str) -> None:
    resolved = resolve_potential(f"{module}:Broken")
    with pytest.raises(InputError, match=r"the calculator Broken raised RuntimeError: no luck$"):
        resolved.potential(make_graph(from_atoms(bulk("Cu"), "Cu"), 0.0))
    leaving = resolve_potential(f"{module}:Leaving")
    with pytest.raises(InputError, match=r"the calculator Leaving raised SystemExit$"):
        leaving.potential(make_graph(from_atoms(bulk("Cu"), "Cu"), 0.0))


def test_every_argument_that_emt_and_lj_have_is_taken() -> None:
    given = ["epsilon=1", "sigma=2", "rc=6", "ro=4", "smooth=false"]
    parameters = resolve_potential("lj", calculator_args=given).calculator.parameters
    assert dict(parameters) == {"epsilon": 1, "sigma": 2, "rc": 6, "ro": 4, "smooth": False}
    assert resolve_potential("emt", calculator_args=["asap_cutoff=true"]).calculator.parameters["asap_cutoff"]


def test_values_are_those_of_recipes() -> None:
    given = parse_arguments(["a=1e-4", "b=true", "c=text", "d=[1, 2]", "e=x=y"])
    assert given == {"a": 1e-4, "b": True, "c": "text", "d": [1, 2], "e": "x=y"}
    assert isinstance(given["a"], float)


def test_what_is_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd:name").mkdir()
    assert [is_checkpoint(t) for t in ("runs/a", "a:b.safetensors", "odd:name")] == [True] * 3
    assert [is_checkpoint(t) for t in ("emt", "lj", "ase.calculators.emt:EMT")] == [False] * 3
