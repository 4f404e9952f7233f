import os
import subprocess
import sys
from pathlib import Path

import pytest

from esen.errors import InputError
from esen.recipe import (
    BesselSpec,
    CutoffGraphSpec,
    DataSpec,
    GaussianSpec,
    ModelSpec,
    NearestGraphSpec,
    NoEnvelopeSpec,
    Recipe,
    SourceSpec,
    StageSpec,
    TrainSpec,
    load_recipe,
    resolve_paths,
)
from esen.recipe.load import file_schema
from esen.recipe.shipped import find_recipe

GOOD = """\
# a recipe
model:
  lmax: 2
  radial: {kind: gaussian, count: 12, width: 3}
data:
  train:
    - path: a.xyz
train:
  batch: {atoms: 100}
  optimizer:
    learning_rate: 1e-4
  stages:
    - epochs: 2
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    return path


def _lines(path: Path, text: str | bytes, *overrides: str) -> list[str]:
    """The messages on a recipe, without the folder."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        load_recipe(path, overrides)
    return str(caught.value).replace(f"{path.parent}{os.sep}", "").splitlines()


def test_a_recipe_is_read_with_its_defaults(good: Path) -> None:
    recipe = load_recipe(good)
    assert recipe.train.optimizer.learning_rate == 1e-4
    assert recipe.model == ModelSpec(radial=GaussianSpec(count=12, width=3.0))
    assert isinstance(recipe.model.cutoff, float)
    assert recipe.data.train == (SourceSpec(path="a.xyz"),)


def test_both_kinds_of_graph_have_a_backend(good: Path) -> None:
    assert load_recipe(good).model.graph == CutoffGraphSpec(backend="vesin")
    keys = ["model.graph.kind=knn", "model.graph.k=9", "model.graph.backend=torch_cluster"]
    assert load_recipe(good, keys).model.graph == NearestGraphSpec(k=9, backend="torch_cluster")
    assert load_recipe(good, ["model.graph.backend=nvalchemi"]).model.graph == CutoffGraphSpec(
        backend="nvalchemi"
    )


def test_a_whole_number_is_a_number(good: Path) -> None:
    recipe = load_recipe(good, ["model.cutoff=5"])
    assert recipe.model.cutoff == 5.0
    assert isinstance(recipe.model.cutoff, float)


def test_every_mistake_has_its_line_in_the_order_of_the_file(good: Path) -> None:
    text = (
        GOOD.replace("lmax: 2", "nonlinearity: {kind: gird}")
        .replace("path: a.xyz", "pth: a.xyz")
        .replace("batch:", "bacth:")
        .replace("1e-4", '"1e-4"')
    )
    lines = _lines(good, text)
    assert lines[0] == (
        "good.yaml:3: model.nonlinearity.kind: 'gird' is not a choice here;"
        " expected 'gate', 'grid' or 'grid_edges'; did you mean 'grid'?"
    )
    assert lines[1] == "good.yaml:7: data.train[0].path: this key is missing; expected text"
    assert lines[2].startswith("good.yaml:7: data.train[0].pth: no such key; did you mean 'path'?")
    assert lines[3].startswith("good.yaml:9: train.bacth: no such key; did you mean 'batch'?")
    assert lines[4] == (
        "good.yaml:11: train.optimizer.learning_rate: given '1e-4' (text), "
        "expected a number > 0; write 0.0001, without quotes"
    )
    assert len(lines) == 5


def test_a_missing_section_names_the_file(good: Path) -> None:
    (line,) = _lines(good, "data: {train: [{path: a.xyz}]}\n")
    assert line.startswith("good.yaml:1: train: this key is missing; expected a section (keys: batch, ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "good.yaml: the recipe is empty"),
        (b"# only a comment\n", "good.yaml: the recipe is empty"),
        (b"- a\n", "good.yaml:1: expected a recipe, sections such as `model:`"),
        (b"\njust text\n", "good.yaml:2: expected a recipe, sections such as `model:`"),
        (b"model:\n\tlmax: 2\n", "good.yaml:2: not valid YAML"),
        (b"model: {lmax: 2\n", "good.yaml:2: not valid YAML"),
        (b"model: 1\nmodel: 2\n", "good.yaml:2: the key 'model' stands twice; the first is on line 1"),
        (b"ok: 1\n\xff\xfe\x00", "good.yaml:2: expected a YAML file in UTF-8, but it holds the byte 0xff"),
        (b"\x1f\x8b\x08\x00", "good.yaml:1: expected a YAML file in UTF-8"),
        (b"a\x00b", "good.yaml:1: holds the character '\\x00'"),
        (b" " * 2_000_000, "good.yaml: expected a recipe, a YAML file, but this is over 100,000 bytes"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_line(good: Path, content: bytes, message: str) -> None:
    (line,) = _lines(good, content)
    assert line.startswith(message)


def test_a_byte_order_mark_is_no_mistake(good: Path) -> None:
    good.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_recipe(good).model.lmax == 2


def test_the_folder_of_a_run_is_named_with_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(InputError, match=r"the folder of a run; its recipe is \S+/recipe\.yaml"):
        load_recipe(tmp_path)


def test_a_file_that_is_not_there(good: Path) -> None:
    with pytest.raises(InputError, match=r"goood\.yaml: .*did you mean .*good\.yaml\?"):
        load_recipe(good.with_name("goood.yaml"))
    with pytest.raises(InputError, match=r"did you mean .*good.yaml\?"):
        load_recipe(good.with_name("good"))
    with pytest.raises(InputError, match="no such recipe"):
        load_recipe(good.parent / "none" / "good.yaml")
    with pytest.raises(InputError, match="directory"):
        load_recipe(good.parent)
    with pytest.raises(InputError, match="Not a directory"):
        load_recipe(good / "x.yaml")
    with pytest.raises(InputError, match=r"null byte"):
        load_recipe(Path("a\0b"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read(good: Path) -> None:
    good.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        load_recipe(good)


def test_settings(good: Path) -> None:
    recipe = load_recipe(
        good,
        [
            "model.lmax=3",
            "train.stages[0].epochs=5",
            "train.optimizer={learning_rate: 1e-2}",
            "data.test.0.path=*.xyz",
        ],
    )
    assert recipe.model.lmax == 3
    assert recipe.train.stages == (StageSpec(epochs=5),)
    assert recipe.train.optimizer.learning_rate == 0.01
    assert recipe.data.test == (SourceSpec(path="*.xyz"),)
    assert load_recipe(good, ["model.lmax=3", "model.lmax=4"]).model.lmax == 4


def test_a_setting_changes_the_kind(good: Path) -> None:
    assert load_recipe(good, ["model.radial.kind=bessel"]).model.radial == BesselSpec(count=12)
    assert load_recipe(good, ["model.envelope.kind=none"]).model.envelope == NoEnvelopeSpec()
    # whatever their order, the keys are those of the new kind
    recipe = load_recipe(good, ["model.radial.count=5", "model.radial.kind=bessel"])
    assert recipe.model.radial == BesselSpec(count=5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.lmx=3", "--set model.lmx=3: no such key; did you mean 'lmax'? (keys here: "),
        ("modl.lmax=3", "--set modl.lmax=3: modl: no such key; did you mean 'model'? (keys here: "),
        ("model.lmax=1", "--set model.lmax=1: model: mmax is 2, but it cannot exceed lmax, which is 1"),
        (
            "model.lmax=1e-4",
            "--set model.lmax=1e-4: given 0.0001 (a number), expected a whole number ≥ 1, ≤ 8",
        ),
        ("model.lmax=", "--set model.lmax=: given nothing (null), expected a whole number"),
        (
            "model.radial.kind=besel",
            "--set model.radial.kind=besel: 'besel' is not a choice here; expected 'gaussian'",
        ),
        (
            "model.radial={count: 3}",
            "--set model.radial={count: 3}: `kind` is missing; expected 'gaussian' or ",
        ),
        ("data.train.1.frames=:5", "--set data.train.1.frames=:5: data.train[1].path: this key is missing"),
        ("train.batch.structures=4", "--set train.batch.structures=4: train.batch: give either `atoms` or "),
        (
            "train.batch={atoms: 0}",
            "--set train.batch={atoms: 0}: train.batch.atoms: given 0 (a whole number)",
        ),
        ("train.seed.x=1", "--set train.seed.x=1: train.seed: given a section, expected a whole number"),
        ("model", "--set model: expected KEY=VALUE"),
        ("model=[", "--set model=[: not valid YAML"),
    ],
)
def test_a_mistake_in_a_setting_names_the_setting(good: Path, setting: str, message: str) -> None:
    (line,) = _lines(good, GOOD, setting)
    assert line.startswith(message)


def test_a_key_of_the_other_kind_is_a_mistake_even_where_the_kind_is_set_later(good: Path) -> None:
    (line,) = _lines(good, GOOD, "model.radial.width=3", "model.radial.kind=bessel")
    assert line.startswith("--set model.radial.width=3: no such key for kind 'bessel'")


def test_a_mistake_of_the_file_is_not_blamed_on_a_setting_beside_it(good: Path) -> None:
    text = GOOD.replace("kind: gaussian, ", "").replace("    - path: a.xyz", "    - frames: ':5'")
    lines = _lines(good, text, "model.radial.width=2", "data.train.0.format=extxyz")
    assert lines == [
        "good.yaml:4: model.radial: `kind` is missing; expected 'gaussian' or 'bessel'",
        "good.yaml:7: data.train[0].path: this key is missing; expected text",
    ]


def test_an_alias_is_set_apart_from_its_anchor(good: Path) -> None:
    good.write_text(GOOD.replace("- epochs: 2", "- &first {epochs: 2}\n    - *first"))
    stages = load_recipe(good, ["train.stages.1.epochs=7"]).train.stages
    assert [stage.epochs for stage in stages] == [2, 7]


def test_data_paths_start_at_the_folder_of_the_recipe(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    recipe = load_recipe(
        good,
        [
            "data.test=[{path: sub/*.xyz}, {path: /abs/b.xyz}, {path: ~/c.xyz}]",
            "data.validation.0.path=v.xyz",
        ],
    )
    resolved = resolve_paths(recipe, good.parent)
    assert resolved.data.train[0].path == str(good.parent / "a.xyz")
    assert resolved.data.validation[0].path == str(good.parent / "v.xyz")
    assert [source.path for source in resolved.data.test] == [
        str(good.parent / "sub" / "*.xyz"),
        "/abs/b.xyz",
        "/home/me/c.xyz",
    ]
    assert resolved.model == recipe.model
    assert resolve_paths(resolved, Path("elsewhere")) == resolved


def test_a_pattern_below_a_folder_with_brackets_still_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "[1]"
    folder.mkdir()
    (folder / "a.xyz").touch()
    recipe = Recipe(
        data=DataSpec(train=(SourceSpec(path="*.xyz"), SourceSpec(path="a.xyz"))),
        train=TrainSpec(stages=(StageSpec(epochs=1),)),
    )
    monkeypatch.chdir(tmp_path)
    pattern, plain = resolve_paths(recipe, Path("[1]")).data.train
    root = Path(pattern.path).anchor
    assert list(Path(root).glob(str(Path(pattern.path).relative_to(root)))) == [folder / "a.xyz"]
    assert Path(plain.path).is_file()


def test_recipes_need_neither_torch_nor_numpy() -> None:
    code = "import esen.recipe, sys; print([m for m in ('torch', 'numpy', 'ase') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_wrong_between_keys_is_told_at_the_key_it_is_about(tmp_path: Path) -> None:
    text = GOOD.replace("lmax: 2\n", "lmax: 2\n  nonlinearity:\n    kind: grid\n    resolution: 7\n")
    words = "model: nonlinearity.resolution is 7, but must be even and, with lmax 2, at least 6; write 6 or 8"
    assert _lines(tmp_path / "a.yaml", text) == [f"a.yaml:6: {words}"]
    (line,) = _lines(tmp_path / "a.yaml", text, "model.nonlinearity.resolution=9")
    assert line.startswith("--set model.nonlinearity.resolution=9: model: nonlinearity.resolution is 9")
    (line,) = _lines(tmp_path / "a.yaml", GOOD, "model.mmax=3")
    assert line == "--set model.mmax=3: model: mmax is 3, but it cannot exceed lmax, which is 2"


def test_every_key_has_a_description() -> None:
    schema = file_schema()
    sections = {"Recipe": schema} | schema["$defs"]
    keys = {
        f"{name}.{key}": value for name, one in sections.items() for key, value in one["properties"].items()
    }
    assert len(keys) > 80
    assert [key for key, value in keys.items() if not value.get("description")] == []
    assert "Å" in keys["ModelSpec.cutoff"]["description"]


def test_of_many_mistakes_twenty_are_listed(good: Path) -> None:
    lines = _lines(good, GOOD + "".join(f"key{number}: 1\n" for number in range(500)))
    assert len(lines) == 21
    assert all(f"key{number}: no such key" in line for number, line in enumerate(lines[:20]))
    assert "480" in lines[20]


@pytest.mark.parametrize("key", ["optimizer", "loss"])
def test_another_kind_of_optimiser_or_loss_keeps_the_other_keys_of_the_base(key: str, tmp_path: Path) -> None:
    kind = {"optimizer": "muon", "loss": "huber"}[key]
    path = tmp_path / "child.yaml"
    path.write_text(f"extends: quickstart\ntrain:\n  {key}: {{kind: {kind}}}\n")
    base, child = (getattr(load_recipe(find_recipe(name)).train, key) for name in ("quickstart", str(path)))
    assert child == base.model_copy(update={"kind": kind})
    given = getattr(load_recipe(find_recipe("quickstart"), [f"train.{key}.kind={kind}"]).train, key)
    assert given == child
    with pytest.raises(InputError, match=kind):
        load_recipe(find_recipe("quickstart"), [f"train.{key}.kind={kind}s"])
