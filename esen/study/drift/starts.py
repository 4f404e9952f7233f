"""How systems begin: relaxed if the protocol says so, with velocities; kept, so that a run can go on from them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.optimize import LBFGS

from esen.data.masses import masses_of
from esen.data.structure import Structure
from esen.errors import InputError, typed_line
from esen.files import read_arrays, write_arrays
from esen.md.calculator import EsenCalculator
from esen.md.engine import Start
from esen.md.protocols import Protocol, Relaxation
from esen.md.simulate import StoppedError
from esen.md.systems import System
from esen.md.velocities import maxwell_boltzmann, without_drift, without_rotation
from esen.study.potentials import Resolved

_log = logging.getLogger(__name__)


def make_starts(
    resolved: Resolved,
    protocol: Protocol,
    systems: Sequence[System],
    kept: Path,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Start | str]:
    """The start of each system, or why it has none. What was made before is read from `kept`, each as it is made.

    Raises:
        InputError: `kept` is damaged, or an element has no mass.
        StoppedError: `should_stop` said so during a relaxation, which will be begun anew.
    """
    before = read_arrays(kept) if kept.exists() else {}
    starts: list[Start | str] = []
    for number, system in enumerate(systems):
        structure, name = system.structure, f"positions-{number}"
        if name in before:
            structure = replace(structure, positions=before[name])
        elif protocol.relaxation is not None:
            try:
                structure = relaxed(resolved, structure, protocol.relaxation, system.name, should_stop)
            except InputError as error:
                starts.append(f"relaxation: {error}")
                continue
        starts.append(make_start(structure, system.temperature_kelvin, protocol))
        if name not in before:
            before[name] = structure.positions
            write_arrays(kept, before, compressed=False)
    return starts


def make_start(structure: Structure, temperature_kelvin: float, protocol: Protocol) -> Start:
    """Velocities of the protocol's seed, with the momenta taken out that it says.

    Raises:
        InputError: an element has no mass.
    """
    amu = masses_of(structure.numbers)
    momenta = maxwell_boltzmann(amu, temperature_kelvin, protocol.seed)
    if protocol.remove_momentum:
        momenta = without_drift(momenta, amu)
    if protocol.remove_rotation:
        momenta = without_rotation(momenta, amu, structure.positions)
    return Start(structure, amu, momenta)


def relaxed(
    resolved: Resolved,
    structure: Structure,
    how: Relaxation,
    name: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> Structure:
    """The structure after LBFGS of its positions by ASE; a warning where the forces stay larger than asked for.

    A calculator forgets first what it was asked before, so that the result does not depend on it.

    Raises:
        InputError: the potential cannot compute it.
        StoppedError: `should_stop` said so.
    """

    def stop() -> None:
        if should_stop():
            raise StoppedError

    atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
    atoms.calc = resolved.calculator or EsenCalculator(resolved.potential, device=resolved.device)
    if hasattr(resolved.calculator, "reset"):
        resolved.calculator.reset()
    optimizer = LBFGS(atoms, logfile=None)
    optimizer.attach(stop)
    try:
        converged = optimizer.run(fmax=how.fmax, steps=how.steps)
    except (InputError, StoppedError):
        raise
    except Exception as error:  # whatever a foreign calculator meets
        raise InputError(f"{name}: the calculator raised {typed_line(error)}") from error
    if not np.isfinite(atoms.positions).all():
        raise InputError(f"{name}: positions are not finite any more")
    if not converged:
        _log.warning(
            "%s: forces are still above %g eV/Å after %d steps of relaxation", name, how.fmax, how.steps
        )
    return replace(structure, positions=atoms.get_positions())
