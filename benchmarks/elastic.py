"""Compare elastic constants of EMT metals with second derivatives of the energy, computed independently.

    python benchmarks/elastic.py [--metals Cu Al Ni Au] [--tolerance 0.5]

The reference shares no code with `esen.evaluate.elastic`. It finds the lattice constant where the energy is lowest,
deforms the cell by x → x + εx with the infinitesimal strain ε, and takes mixed second differences of the energy for
all 21 pairs of components,

    C_ij = [U(+i+j) − U(+i−j) − U(−i+j) + U(−i−j)] / (4 h² V0),

at h = 0.002 and 0.004, extrapolated to zero by Richardson's formula. `esen` differentiates the stress of EMT with its
default strains. The bulk modulus of the equation of state is compared with V0 d²U/dV².
The script prints both and the largest relative difference of C11, C12 and C44. It exits with code 1 if the difference
exceeds the tolerance, in percent.
"""

import argparse
import sys
from itertools import combinations_with_replacement, product

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa
from jaxtyping import Float64
from scipy.optimize import minimize_scalar

from esen.data.atoms import from_atoms
from esen.evaluate.elastic import ElasticSpec, elastic_constants
from esen.evaluate.eos import equation_of_state
from esen.evaluate.model import Model
from esen.md.calculator import AsePotential

AXES = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def energy(metal: str, a: float, strain: Float64[np.ndarray, "3 3"]) -> float:
    atoms = bulk(metal, a=a, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = EMT()
    return float(atoms.get_potential_energy())


def lattice_constant(metal: str) -> float:
    start = float(bulk(metal, cubic=True).cell[0, 0])
    flat = np.zeros((3, 3))
    found = minimize_scalar(
        lambda a: energy(metal, a, flat), bounds=(0.95 * start, 1.05 * start), options={"xatol": 1e-10}
    )
    return float(found.x)


def second_difference(metal: str, a: float, i: int, j: int, h: float) -> float:
    total = 0.0
    for one, other in product((1, -1), repeat=2):
        strain = np.zeros((3, 3))
        for (row, column), sign in ((AXES[i], one), (AXES[j], other)):
            strain[row, column] += sign * h / 2
            strain[column, row] += sign * h / 2
        total += one * other * energy(metal, a, strain)
    return total / (4 * h**2 * a**3 * GPa)


def reference(metal: str, a: float) -> Float64[np.ndarray, "6 6"]:
    constants = np.zeros((6, 6))
    for i, j in combinations_with_replacement(range(6), 2):
        fine, coarse = (second_difference(metal, a, i, j, h) for h in (0.002, 0.004))
        constants[i, j] = constants[j, i] = (4 * fine - coarse) / 3
    return constants


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--metals", nargs="+", default=["Cu", "Al", "Ni", "Au"])
    parser.add_argument("--tolerance", type=float, default=0.5, help="in percent")
    options = parser.parse_args()
    worst, model = 0.0, Model(AsePotential(EMT()), EMT())
    print("           C11 (GPa)           C12 (GPa)           C44 (GPa)             B (GPa)   largest")
    print("        esen  reference     esen  reference     esen  reference     EOS  reference  difference")
    for metal in options.metals:
        a = lattice_constant(metal)
        expected = reference(metal, a)
        found = elastic_constants(from_atoms(bulk(metal), metal), model, ElasticSpec())
        state = equation_of_state(found.reference.structure, model, ElasticSpec().relax)
        c = found.stiffness.matrix
        assert np.abs(c - expected).max() < options.tolerance / 100 * c.max(), "a constant that should vanish"
        pairs = [(c[place], expected[place]) for place in ((0, 0), (0, 1), (3, 3))]
        difference = max(abs(mine / theirs - 1) for mine, theirs in pairs)
        worst = max(worst, difference)
        pairs.append((state.bulk, (expected[0, 0] + 2 * expected[0, 1]) / 3))
        numbers = "  ".join(f"{mine:8.3f} {theirs:9.3f}" for mine, theirs in pairs)
        print(f"{metal}   {numbers}  {100 * difference:8.4f} %")
    return int(100 * worst > options.tolerance)


if __name__ == "__main__":
    sys.exit(main())
