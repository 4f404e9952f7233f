"""Files and a module of potentials in the working directory of each test."""

import sys
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.io import write

FACTORIES = '''
"""Potentials of a user: EMT that counts its calls, one that raises, one that gives no numbers, one that repels."""

import numpy as np
from ase.calculators.emt import EMT

from esen.md.calculator import EsenCalculator
from tests.toys import PairPotential

calls = []


class Counting(EMT):
    def calculate(self, *args, **kwargs):
        calls.append(len(self.results))
        super().calculate(*args, **kwargs)


class Raising(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.atoms.numbers[0] == 47:
            raise RuntimeError("no neighbours\\nat all")


class Nothing(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.atoms.numbers[0] == 47:
            self.results["forces"] = np.full((len(self.atoms), 3), np.nan)


def repelling():
    return EsenCalculator(PairPotential(lambda r: 5 * (6 - r) ** 2, cutoff=6.0))
'''


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    strained = []
    for seed, metal in enumerate(("Cu", "Ag", "Al")):
        atoms = bulk(metal)
        atoms.set_cell(atoms.cell * (1.01 + 0.01 * seed), scale_atoms=True)
        strained.append(atoms)
    write("metals.xyz", strained, format="extxyz")
    write("cu.cif", bulk("Cu", cubic=True))
    write("u.xyz", bulk("U", "fcc", a=4.5), format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")
    (tmp_path / "counted.py").write_text(FACTORIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "counted", raising=False)
