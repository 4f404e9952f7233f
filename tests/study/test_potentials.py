import hashlib
from pathlib import Path

import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

from esen.data.atoms import from_atoms
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.models.checkpoint import Checkpoint, save_checkpoint
from esen.study.potentials import (
    PotentialOptions,
    distinct,
    file_name,
    is_checkpoint,
    labelled,
    parse_arguments,
    potential_sources,
    resolve_all,
    resolve_potential,
)
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


def described(potentials: list[str], how: PotentialOptions) -> dict[str, str]:
    return {label: str(source) for label, source in potential_sources(potentials, how).items()}


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


@pytest.mark.parametrize(("frame", "stateful"), [("smooth", False), ("random", True)])
def test_random_edge_frames_are_a_state(frame: str, stateful: bool, tmp_path: Path) -> None:
    spec = VARIANTS["default"].model_copy(update={"edge_frame": {"kind": frame}})
    path = tmp_path / "best.safetensors"
    weights = {f"weights/{name}": tensor for name, tensor in potential_of("default").state_dict().items()}
    recipe = {"model": spec.model_dump(mode="json", warnings=False)}
    save_checkpoint(path, Checkpoint(recipe=recipe, elements=(8,), metrics={}, tensors=weights))
    assert resolve_potential(str(path)).stateful == stateful
    assert resolve_potential("emt").stateful


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
        ("no_such_module_at_all:Thing", [], "module 'no_such_module_at_all'"),
        ("ase.no_such_module:Thing", [], r"module 'ase\.no_such_module'"),
        ("MODULE_bad:Thing", [], "'there_is_no_such_package'.*installed"),
        ("MODULE:Thing", [], "'Thing'"),
        ("MODULE:", [], "''"),
        ("MODULE:Holder.other", [], r"'Holder\.other'"),
        ("MODULE:number", [], " int, .*ASE calculator"),
        ("MODULE:text", [], " str, .*ASE calculator"),
        ("MODULE:fails", ["size=7"], "ValueError: size 7 will not do$"),
        ("MODULE:fails", ["colour=red"], "TypeError: .*colour"),
        ("MODULE:made", ["a=1"], "factory"),
        ("MODULE:Holder", ["no_such=1"], "Holder: .*TypeError"),
        ("emt", ["=1"], "KEY=VALUE"),
        ("emt", ["rc"], "KEY=VALUE"),
        ("lj", ["rc=1", "rc=2"], "rc .*twice"),
        ("lj", ["sigam=3"], r"args sigam: lj .*epsilon, sigma, rc, ro, smooth.*did you mean 'sigma'\?$"),
        ("lj", ["rc=8", "cutoff=3"], "args cutoff: lj .*epsilon, sigma, rc, ro, smooth$"),
        (
            "emt",
            ["asap_cutof=true"],
            r"args asap_cutof: emt .*did you mean 'asap_cutoff'\?$",
        ),
        ("MODULE:leaves", [], "leaves: .*SystemExit: 3$"),
        ("MODULE:argues", [], "argues: .*SystemExit: 2$"),
        ("MODULE_script:Thing", [], "_script .*SystemExit: usage: me$"),
        ("nothing_here", [], "nothing_here: .*checkpoint"),
        ("nothing.safetensors", [], r"nothing\.safetensors: no such file"),
        ("nothing.safetensors", ["a=1"], "checkpoint"),
    ],
)
def test_mistakes_are_one_line(module: str, text: str, arguments: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        resolve_potential(text.replace("MODULE", module), calculator_args=arguments)
    assert "\n" not in str(caught.value)


def test_a_dtype_is_for_checkpoints() -> None:
    for text in ("emt", "tests.toys:lennard_jones"):
        with pytest.raises(InputError, match=r"--dtype float32: .*checkpoints"):
            resolve_potential(text, dtype="float32")


def test_a_calculator_that_fails_is_one_line(module: str) -> None:
    resolved = resolve_potential(f"{module}:Broken")
    with pytest.raises(InputError, match=r"Broken .*RuntimeError: no luck$"):
        resolved.potential(make_graph(from_atoms(bulk("Cu"), "Cu"), 0.0))
    leaving = resolve_potential(f"{module}:Leaving")
    with pytest.raises(InputError, match=r"Leaving .*SystemExit$"):
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


def test_short_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mgo").mkdir(parents=True)
    given = ["runs/mgo", "emt", "mace.calculators:mace_mp", "my.pot:Thing", "w/small.safetensors"]
    assert labelled(given) == dict(zip(["mgo", "emt", "mace_mp", "Thing", "small"], given, strict=True))
    assert list(labelled(["a/best.safetensors", "a/last.safetensors", "b/best.safetensors"])) == [
        "a",
        "a-last",
        "b",
    ]


def test_no_two_labels_are_one_folder() -> None:
    texts = ["m:a b", "n:a_b", "o:A_B", "m:a b", "emt", "x:emt-2", "emt"]
    labels = labelled(texts)
    assert list(labels.values()) == texts
    assert list(labels) == ["a b", "a_b-2", "A_B-3", "a b-4", "emt", "emt-2", "emt-3"]
    assert len({file_name(label).casefold() for label in labels}) == len(texts)


def test_distinct_leaves_what_is_distinct() -> None:
    assert distinct(["MgO#0", "MgO#1", "MgO"]) == ["MgO#0", "MgO#1", "MgO"]
    assert distinct(["a/b", "a_b", "a b", "a_b-2"]) == ["a/b", "a_b-2", "a b-3", "a_b-2-2"]
    assert distinct([]) == []


@pytest.mark.parametrize("text", ["../../etc", "a/b", ".", "..", "", "C:\\x", "a\nb", "~", "*?", "Å-1 {x}"])
def test_every_name_is_a_file_in_its_folder(text: str, tmp_path: Path) -> None:
    path = tmp_path / f"{file_name(text)}.csv"
    path.write_text("")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert not path.name.startswith(".")


def test_a_checkpoint_that_was_trained_anew_is_another(tmp_path: Path) -> None:
    weights = tmp_path / "mgo" / "best.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    first = described([str(weights), "emt", "lj"], {"calculator_args": ["lj:rc=8.0"]})
    assert (first["emt"], first["lj"]) == ("emt", "lj (rc=8.0)")
    assert first["mgo"] == f"{weights} (float64, sha256 7692c3ad3540)"
    weights.write_bytes(b"two")
    assert described([str(weights)], {})["mgo"] != first["mgo"]


def test_what_identifies_a_potential(weights: Path) -> None:
    how: PotentialOptions = {"calculator_args": ["lj:rc=8.0"]}
    sources = potential_sources([str(weights.parent), "lj", "emt"], how)
    assert sources["run"].path == weights
    assert sources["run"].sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (sources["run"].dtype, sources["lj"].arguments) == ("float64", ("rc=8.0",))
    assert (sources["emt"].path, sources["emt"].sha256, sources["emt"].dtype) == (None, None, None)
    assert potential_sources([str(weights)], {}, default_dtype=None)["run"].dtype is None


def test_several_potentials_share_options_where_they_apply(weights: Path) -> None:
    how: PotentialOptions = {"calculator_args": ["lj:rc=8.0", "emt:asap_cutoff=true"], "memory": "lean"}
    resolved = resolve_all([str(weights), "lj", "emt"], how)
    assert list(resolved) == ["run", "lj", "emt"]
    assert resolved["run"].precision == "float64"
    assert resolved["lj"].calculator.parameters["rc"] == 8.0
    assert resolved["emt"].calculator.parameters["asap_cutoff"] is True
    assert list(resolve_all(["lj", "emt"], how | {"memory": "auto"}, only=["emt"])) == ["emt"]
    trained = resolve_all([str(weights)], {"dtype": None}, default_dtype=None)
    assert trained["run"].precision == "float32"


@pytest.mark.parametrize(
    ("potentials", "how", "words"),
    [
        (["emt"], {"dtype": "float32"}, "--dtype"),
        (["emt"], {"memory": "lean"}, "--memory"),
        (["w"], {"calculator_args": ["rc=8.0"]}, "w .*checkpoint"),
        (["emt", "lj"], {"calculator_args": ["eam:rc=8.0"]}, "'eam'"),
        (["emt", "w"], {"calculator_args": ["w:rc=8.0"]}, "w .*checkpoint"),
        (["emt", "lj"], {"calculator_args": ["rc=8.0"]}, "emt "),
    ],
)
def test_options_that_apply_to_no_potential(potentials: list[str], how: PotentialOptions, words: str) -> None:
    with pytest.raises(InputError, match=words):
        resolve_all(potentials, how)
