from pathlib import Path

import pytest
from typer.testing import CliRunner

import esen_cli.shipped
from esen.errors import InputError
from esen.recipe import load_recipe
from esen_cli.app import app
from esen_cli.shipped import find_recipe, shipped_recipes


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with two shipped recipes, and an empty folder to work in."""
    folder = tmp_path / "package" / "recipes"
    (folder / "ablation").mkdir(parents=True)
    (folder / "quickstart.yaml").touch()
    (folder / "ablation" / "bessel.yaml").touch()
    monkeypatch.setattr(esen_cli.shipped, "_PACKAGE", tmp_path / "package")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


def test_every_shipped_recipe_is_valid() -> None:
    shipped = shipped_recipes()
    assert "quickstart" in shipped
    for path in shipped.values():
        load_recipe(path)
        assert path.read_text(encoding="utf-8").startswith("# "), f"{path} begins with its description"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mptrj30m", 30_085_121),
        ("oam30m", 30_161_153),
        ("ablation/base", 3_199_745),
        ("ablation/basis512", 3_392_513),
        ("ablation/bessel", 3_199_755),
        ("ablation/grid6", 3_034_881),
        ("spice3m", 3_199_745),
    ],
)
def test_the_papers_recipes_show_the_papers_counts(name: str, count: int) -> None:
    shown = CliRunner().invoke(app, ["recipe", "show", name])
    assert shown.exit_code == 0, shown.output
    assert f"# parameters: {count:,}\n" in shown.output


def test_shipped_recipes_are_found_by_name(shelf: Path) -> None:
    assert list(shipped_recipes()) == ["ablation/bessel", "quickstart"]
    assert find_recipe("quickstart") == shelf / "quickstart.yaml"
    assert find_recipe("quickstart.yaml") == shelf / "quickstart.yaml"
    assert find_recipe("ablation/bessel") == shelf / "ablation" / "bessel.yaml"


def test_the_recipes_of_a_checkout_lie_beside_the_package(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(esen_cli.shipped, "_PACKAGE", shelf.parent / "esen_cli")
    assert find_recipe("quickstart") == shelf / "quickstart.yaml"


def test_a_file_of_the_user_comes_first(shelf: Path) -> None:
    Path("quickstart.yaml").touch()
    assert find_recipe("quickstart.yaml") == Path("quickstart.yaml")
    assert find_recipe("quickstart") == shelf / "quickstart.yaml"


def test_a_folder_of_the_same_name_does_not_hide_a_recipe(shelf: Path) -> None:
    Path("quickstart").mkdir()
    assert find_recipe("quickstart") == shelf / "quickstart.yaml"
    Path("other").mkdir()
    assert find_recipe("other") == Path("other")  # load_recipe says that it is a folder


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("quikstart", "did you mean quickstart?"),
        ("recipes/quickstart.yaml", "did you mean quickstart?"),
        ("mine", "did you mean mine.yaml?"),
        ("sub/mien.yaml", f"did you mean {Path('sub') / 'mine2.yml'}?"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(shelf: Path, name: str, hint: str) -> None:
    Path("mine.yaml").touch()
    Path("sub").mkdir()
    Path("sub/mine2.yml").touch()
    with pytest.raises(InputError, match="there is no such recipe") as caught:
        find_recipe(name)
    assert hint in str(caught.value)


def test_a_name_like_no_other_has_no_hint(shelf: Path) -> None:
    with pytest.raises(InputError, match=r"^xyz: there is no such recipe \(`esen recipe list`"):
        find_recipe("xyz")
