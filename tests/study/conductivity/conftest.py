"""Files and a module of potentials in the working directory of each test."""

import sys
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.io import write

from tests.evaluate.conductivity.materials import RELAXED

FACTORIES = '''
"""Potentials of a user: EMT that counts its calls, and worse ones."""

import os
from pathlib import Path

from ase.calculators.emt import EMT

calls = []


class Counting(EMT):
    def calculate(self, *args, **kwargs):
        calls.append(1)
        super().calculate(*args, **kwargs)


class Dying(EMT):
    """Of aluminium."""

    def calculate(self, atoms, *args, **kwargs):
        if "Al" in atoms.get_chemical_symbols():
            os._exit(9)
        super().calculate(atoms, *args, **kwargs)


class Pushing(EMT):
    """A pressure that no lattice withstands."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["stress"] = self.results["stress"] * 0 + [-5.0, -5.0, -5.0, 0.0, 0.0, 0.0]


class Raising(EMT):
    def calculate(self, *args, **kwargs):
        if not Path("healed").exists():
            raise RuntimeError("no neighbours\\nat all")
        super().calculate(*args, **kwargs)
'''


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("al.xyz", bulk("Al", a=RELAXED), format="extxyz")
    write("cu.xyz", bulk("Cu", a=3.59), format="extxyz")
    write("bcc.xyz", bulk("Cu", "bcc", a=2.85), format="extxyz")
    write("u.xyz", bulk("U", "fcc", a=4.5), format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")
    (tmp_path / "counted.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "counted", raising=False)
