"""Make the frames of this folder: molecular dynamics and labels of three molecules by GFN2-xTB.

    OMP_NUM_THREADS=1 python recipes/data/molecules/make.py [FOLDER]

It needs `tblite` and `ase`, and takes about ten minutes on one core. README.md describes what it writes.
"""

import gzip
import io
import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from tblite.ase import TBLite

TRAIN_TEMPERATURES = (100, 300, 500, 800)
"""Temperatures of the training trajectories, in K: the first stays near the relaxed geometry."""
TEST_TEMPERATURE = 500
"""Temperature of the test trajectory, in K."""
FRAMES = 100
"""Frames of one trajectory."""
STEPS_BETWEEN_FRAMES = 100
EQUILIBRATION_STEPS = 2000
TIMESTEP_FS = 0.5
FRICTION_PER_FS = 0.02


def malonaldehyde() -> Atoms:
    """A guess of the planar enol with its O–H···O hydrogen bond."""
    positions = [
        [1.25, 0.00, 0.0],  # O of the hydroxyl
        [1.17, 1.32, 0.0],
        [0.00, 2.02, 0.0],
        [-1.22, 1.36, 0.0],
        [-1.30, 0.12, 0.0],  # O of the aldehyde
        [0.35, -0.40, 0.0],  # H between the oxygens
        [2.13, 1.84, 0.0],
        [0.02, 3.10, 0.0],
        [-2.15, 1.95, 0.0],
    ]
    return Atoms("OC3OH4", positions)


MOLECULES = {
    "ethanol": molecule("CH3CH2OH"),
    "malonaldehyde": malonaldehyde(),
    "acetamide": molecule("CH3CONH2"),
}


def calculator() -> TBLite:
    """GFN2-xTB whose self-consistent charges converge further than by default, for labels without noise."""
    return TBLite(method="GFN2-xTB", accuracy=0.01, max_iterations=500, verbosity=0)


def labelled(atoms: Atoms) -> Atoms:
    """The geometry as the file will hold it, with energy (eV) and forces (eV/Å) that depend on nothing else."""
    frame = Atoms(atoms.numbers, np.round(atoms.positions - atoms.get_center_of_mass(), 8))
    frame.calc = calculator()
    energy, forces = frame.get_potential_energy(), frame.get_forces()
    frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
    return frame


def relaxed(atoms: Atoms) -> Atoms:
    """The nearest minimum of the energy."""
    atoms = atoms.copy()
    atoms.calc = calculator()
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=1000)
    return atoms


def trajectory(start: Atoms, temperature_kelvin: int, seed: int) -> list[Atoms]:
    """Frames of a Langevin trajectory, with labels.

    Args:
        start: the relaxed molecule.
        temperature_kelvin: the temperature of the thermostat.
        seed: of the initial velocities and of the thermostat.
    """
    rng = np.random.default_rng(seed)
    atoms = start.copy()
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature_kelvin, rng=rng)
    dynamics = Langevin(
        atoms,
        TIMESTEP_FS * units.fs,
        temperature_K=temperature_kelvin,
        friction=FRICTION_PER_FS / units.fs,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(EQUILIBRATION_STEPS)
    frames = []
    for _ in range(FRAMES):
        dynamics.run(STEPS_BETWEEN_FRAMES)
        frames.append(labelled(atoms))
    return frames


def save(path: Path, frames: list[Atoms]) -> None:
    """Extended XYZ; compressed without a time of day, so that the same frames are the same file."""
    text = io.StringIO()
    write(text, frames, format="extxyz")
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    print(f"{path.name}: {len(frames)} frames, {path.stat().st_size} bytes", flush=True)


def main(folder: Path) -> None:
    """Write all files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, guess) in enumerate(MOLECULES.items()):
        start = relaxed(guess)
        save(folder / f"{name}.xyz", [labelled(start)])
        runs = [
            trajectory(start, temperature, seed=100 * number + index)
            for index, temperature in enumerate(TRAIN_TEMPERATURES)
        ]
        # One frame of each temperature after the other: the first n frames are a sample of all temperatures.
        save(
            folder / f"{name}_train.xyz.gz", [frame for frames in zip(*runs, strict=True) for frame in frames]
        )
        save(folder / f"{name}_test.xyz.gz", trajectory(start, TEST_TEMPERATURE, seed=100 * number + 99))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
