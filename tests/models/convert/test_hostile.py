"""A damaged or malicious checkpoint is imported as it was written, or refused in one line; nothing of it is run."""

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from esen.errors import InputError
from esen.models.convert import import_published

CHECKPOINT = Path(__file__).parent / "checkpoint" / "best_ddp_checkpoint.pt"
SOUND = CHECKPOINT.read_bytes()
SLOW = pytest.mark.slow


def outcome(path: Path) -> dict[str, torch.Tensor] | None:
    """Return the weights of an import; None if it was refused."""
    try:
        return import_published(path).potential.state_dict()
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith(f"{path}: ")
        assert len(str(error)) < 2000
        return None


@pytest.mark.parametrize("count", [6, pytest.param(150, marks=SLOW)])
def test_a_bit_that_flipped_is_noticed_or_changes_nothing(count: int, tmp_path: Path) -> None:
    path, generator = tmp_path / "a.pt", random.Random(4)
    path.write_bytes(SOUND)
    expected = outcome(path)
    assert expected is not None
    for _ in range(count):
        damaged = bytearray(SOUND)
        damaged[generator.randrange(len(SOUND))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        found = outcome(path)
        assert found is None or all(torch.equal(found[name], expected[name]) for name in expected)


def with_pickle(change: Any) -> bytes:
    """Return the checkpoint with another pickle, as a whole archive with right checksums."""
    made = io.BytesIO()
    with zipfile.ZipFile(CHECKPOINT) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return made.getvalue()


@pytest.mark.parametrize("count", [12, pytest.param(400, marks=SLOW)])
def test_other_pickles(count: int, tmp_path: Path) -> None:
    generator, path = random.Random(5), tmp_path / "a.pt"

    def change(content: bytes) -> bytes:
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(len(damaged))
            match generator.randrange(3):
                case 0:
                    damaged[place] = generator.randrange(256)
                case 1:
                    del damaged[place : place + generator.randint(1, 9)]
                case 2:
                    damaged[place:place] = generator.choice(
                        [b"(", b"]", b"}", b"R", b"0", b"2", b"cos\nsystem\n"]
                    )
        return bytes(damaged)

    for _ in range(count):
        path.write_bytes(with_pickle(change))
        outcome(path)


DEEP: list[Any] = []
for _ in range(400):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    *(
        None,
        -1,
        0,
        10**30,
        1e308,
        float("nan"),
        "",
        "x\x1b[31m\n" * 300,
        [],
        {},
        {1: 2},
        (),
        b"x",
        True,
        DEEP,
    ),
    *(torch.zeros(0), torch.full((3,), float("inf")), torch.zeros(2, dtype=torch.complex64), 3.5, "gaussian"),
)


PARTS = ("file", "config", "model", "backbone", "normalizers", "energy", "elementrefs", "ema", "state_dict")


@pytest.mark.parametrize("count", [12, pytest.param(400, marks=SLOW)])
def test_other_values(count: int, tmp_path: Path) -> None:
    path, generator = tmp_path / "a.pt", random.Random(6)
    for _ in range(count):
        content = torch.load(CHECKPOINT, weights_only=True)
        model, part = content["config"]["model"], generator.choice(PARTS)
        content["ema"] = {"decay": 0.99, "shadow_params": list(content["state_dict"].values())}
        places = {
            "file": content,
            "model": model,
            "backbone": model["backbone"],
            "energy": content["normalizers"]["energy"],
        }
        place = places.get(part) or content[part]
        place[generator.choice(list(place))] = generator.choice(VALUES)
        torch.save(content, path)
        outcome(path)
