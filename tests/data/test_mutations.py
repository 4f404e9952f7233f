"""Damaged files of every format: each is read, or refused in one line that names it; nothing else happens."""

import random
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from esen.data.readers import Files, Reading, load_structures
from esen.data.readers.formats import format_of_name
from esen.data.structures import read_structures
from esen.errors import InputError

SAMPLES = Path(__file__).parent / "formats"
WORDS = [*b"99999999999 -1 0 nan 1e400 1e300 1_0 \xff\xfe ***** \x00".split(b" "), b"", b"{" * 3000]


def frames() -> list[Atoms]:
    made = []
    for number in range(3):
        atoms = bulk("NaCl", "rocksalt", a=5.6 + number)
        atoms.info["identifier"] = f"run-{number}"
        atoms.set_array("tags", np.array([number, 7]))
        forces = np.full((2, 3), 0.1 * number)
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0 - number, forces=forces, stress=np.arange(6.0))
        made.append(atoms)
    return made


def by_ase(name: str, kind: str, count: int = 3) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        images = frames()[:count]
        for atoms in images:
            atoms.calc = None if kind not in ("extxyz", "traj") else atoms.calc
        options = {"masses": True} if kind == "lammps-data" else {}
        write(path, images if count > 1 else images[0], format=kind, **options)

    return make


def database(path: Path) -> None:
    with ase.db.connect(path) as rows:
        for atoms in frames():
            rows.write(atoms)


def archive(path: Path) -> None:
    with TemporaryDirectory() as folder, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        write(Path(folder) / "a.xyz", frames(), format="extxyz")
        file.write(Path(folder) / "a.xyz", "a.xyz")


def copied(name: str) -> Callable[[Path], None]:
    return lambda path: path.write_bytes((SAMPLES / name).read_bytes()) and None


def dump(path: Path) -> None:
    rows = "1 1 Cu 0 0 0\n2 1 Cu 1.8 1.8 0\n"
    path.write_text(
        "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 3.6\n0 3.6\n0 3.6\n"
        f"ITEM: ATOMS id type element x y z\n{rows}"
    )


MAKERS = {
    "a.xyz": by_ase("a.xyz", "extxyz"),
    "a.zip": archive,
    "POSCAR": by_ase("POSCAR", "vasp", 1),
    "a.cif": by_ase("a.cif", "cif", 1),
    "a.traj": by_ase("a.traj", "traj"),
    "a.db": database,
    "a.json": database,
    "a.xsf": by_ase("a.xsf", "xsf"),
    "a.pdb": by_ase("a.pdb", "proteindatabank"),
    "a.lammps-data": by_ase("a.lammps-data", "lammps-data", 1),
    "a.dump": dump,
    "vasprun.xml": copied("vasprun.xml"),
    "OUTCAR": copied("OUTCAR"),
    "a.npz": copied("md22_layout_GFN2_ethanol.npz"),
    "MPtrj.json": copied("mptrj.json"),
    "a.aselmdb": copied("sample.aselmdb"),
}


@cache
def whole(name: str) -> bytes:
    with TemporaryDirectory() as folder:
        MAKERS[name](Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Damage a file as disks, editors and programs do."""
    at, to = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    line_at = content.rfind(b"\n", 0, at) + 1
    line_end = content.find(b"\n", at) + 1 or len(content)
    word = chance.choice(WORDS)
    numbers = [
        i for i in range(max(at - 200, 0), min(at + 200, len(content))) if content[i : i + 1].isdigit()
    ]
    place = chance.choice(numbers) if numbers else at
    return chance.choice(
        [
            lambda: content[:at],
            lambda: content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :],
            lambda: content[:at] + bytes([content[at - 1] ^ 1 << chance.randrange(8)]) + content[at + 1 :],
            lambda: content[:line_at] + content[line_end:],
            lambda: content[:line_end] + content[line_at:line_end] + content[line_end:],
            lambda: content[:at] + content[to:],
            lambda: content[:place] + word + content[place + 1 :],
            lambda: content[:place] + word + content[place + 1 :],
            lambda: content[:at] + word + content[at:],
            lambda: content[:at] + bytes(min(to - at, 64)) + content[at + 64 :],
            lambda: content.replace(b"\n", b"\r\n"),
            lambda: content.decode("latin-1").encode("utf-16"),
        ]
    )()


def attack(name: str, seed: int, folder: Path) -> None:
    path = folder / name
    path.write_bytes(mutated(whole(name), random.Random(f"{name} {seed}")))
    reads = [lambda: [s for _, s in read_structures(path, ":")]]
    if format_of_name(path):
        reads.append(lambda: load_structures([Files(str(path))], Reading(required=())))
    for read in reads:
        start = perf_counter()
        try:
            found = read()
        except InputError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)
        else:
            assert found
        assert perf_counter() - start < 10


@pytest.mark.parametrize("name", MAKERS)
def test_whole_files_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(whole(name))
    assert read_structures(tmp_path / name, ":")


@pytest.mark.parametrize("name", MAKERS)
def test_damaged_files(tmp_path: Path, name: str) -> None:
    for seed in range(5):
        attack(name, seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_many_damaged_files(tmp_path: Path, name: str) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(100):
        attack(name, seed, tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB
