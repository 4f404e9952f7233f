"""VASP's `vasprun.xml` and `OUTCAR`: complete ionic steps of DFT, with ASE's signs and units.

`energy` is the free energy (TOTEN), whose derivatives are the forces and the stress. The energy extrapolated to zero
smearing is kept as `energy_zero`. Steps of VASP's machine-learned force field are left out with a warning: their
energies and forces are no labels.
"""

import logging
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO
from xml.etree import ElementTree

import numpy as np
from ase import Atoms, units

from esen.data.atoms import from_atoms
from esen.data.readers.frame import RawFrame, reals
from esen.data.readers.opening import opened
from esen.errors import InputError, first_line

_log = logging.getLogger(__name__)

_STEP_ENDS = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
_LEARNED = "ML FREE ENERGIE"
_STEP_BEGINS = ("Iteration", "POSITION  ", "VOLUME and BASIS")
_KBAR_PER_PRESSURE = -0.1 * units.GPa
Step = tuple[Atoms, dict[str, Any]]
"""Atoms, and their labels by the names that readers give them."""


def vasp_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the ionic steps of a `vasprun.xml` or an `OUTCAR` (which of the two, its first character shows).

    Raises:
        InputError: the file has no complete step of DFT, is damaged, or ends within a step.
    """
    learned: list[int] = []
    count = 0
    with opened(path) as (file, done):
        is_xml = file.read(1).lstrip() == "<"
        file.seek(0)
        for atoms, found in (_xml_steps if is_xml else _outcar_steps)(file, path, learned):
            structure = from_atoms(atoms, f"{path}, frame {count}")
            structure.arrays.update(
                {name: found.pop(name) for name in ("forces", "magmoms") if name in found}
            )
            structure.info.update(found)
            yield RawFrame(structure, structure.source, done=done())
            count += 1
    if not count:
        only = (
            f", but {len(learned)} of a machine-learned force field, which are no labels" if learned else ""
        )
        raise InputError(f"{path}: has no complete ionic step of DFT{only}")
    if learned:
        steps = ", ".join(map(str, learned[:10])) + (", …" if len(learned) > 10 else "")
        _log.warning(
            "%s: %d of %d steps are of VASP's machine-learned force field, not of DFT, and are left out: steps %s",
            path,
            len(learned),
            len(learned) + count,
            steps,
        )


def _xml_steps(file: TextIO, path: Path, learned: list[int]) -> Iterator[Step]:
    """Iterate over the steps of a `vasprun.xml`; a step of the force field has no electronic steps."""
    species: list[str] = []
    pressure, step = 0.0, 0
    try:
        for _, element in ElementTree.iterparse(file):
            if element.tag == "atominfo":
                species = [_text(entry[0]) for entry in element.iterfind("array[@name='atoms']/set/rc")]
            elif element.tag == "parameters":
                given = element.find(".//i[@name='PSTRESS']")
                pressure = 0.0 if given is None else float(_text(given))
            elif element.tag == "calculation":
                step += 1
                if element.find("scstep") is None:
                    learned.append(step)
                else:
                    yield _xml_step(element, species, pressure)
                element.clear()
    except ElementTree.ParseError as error:
        raise _cut_off(path, step - len(learned), first_line(error)) from error


def _xml_step(step: ElementTree.Element, species: list[str], pressure: float) -> Step:
    def rows(place: str, count: int, *, required: bool = True) -> np.ndarray | None:
        found = step.find(place)
        if found is None and not required:
            return None
        lines = [] if found is None else [_text(row).split() for row in found.iterfind("v")]
        return reals([[float(word) for word in line] for line in lines], (count, 3), place)

    cell = rows("structure/crystal/varray[@name='basis']", 3)
    atoms = Atoms(species, cell=cell, pbc=True)
    atoms.set_scaled_positions(rows("structure/varray[@name='positions']", len(species)))
    # In `calculation/energy`, e_fr_energy includes pV, and e_0_energy may be wrong; those of `scstep` lack corrections
    # for dispersion. So the difference of the two is taken from there.
    energy = _energy(step, "energy", "e_fr_energy") - pressure * 1e-22 / 1.60217733e-19 * np.linalg.det(
        atoms.cell
    )
    last = step.findall("scstep")[-1]
    smearing = _energy(last, "energy", "e_0_energy") - _energy(last, "energy", "e_fr_energy")
    found: dict[str, Any] = {"energy": float(energy), "energy_zero": float(energy + smearing)}
    stress = rows("varray[@name='stress']", 3, required=False)
    if stress is not None:
        found["stress"] = (_KBAR_PER_PRESSURE * stress).reshape(9)[[0, 4, 8, 5, 2, 1]]
    forces = rows("varray[@name='forces']", len(species), required=False)
    return atoms, found if forces is None else found | {"forces": forces}


def _energy(element: ElementTree.Element, place: str, name: str) -> float:
    found = element.find(f"{place}/i[@name='{name}']")
    if found is None:
        raise ValueError(f"a step has no {name}")
    return float(_text(found))


def _text(element: ElementTree.Element) -> str:
    return (element.text or "").strip()


def _outcar_steps(file: TextIO, path: Path, learned: list[int]) -> Iterator[Step]:
    """Iterate over the steps of an `OUTCAR`, each of which ends with its energy."""
    from ase.io.vasp_parsers.vasp_outcar_parsers import OutcarChunkParser, OutcarHeaderParser

    lines: list[str] = []
    for line in file:
        lines.append(line)
        if "Iteration" in line:
            break
    else:
        raise InputError(f"{path}: the file ends before the first step")
    header = OutcarHeaderParser().build(lines)
    lines, step = [lines[-1]], 0
    for line in file:
        lines.append(line)
        if _STEP_ENDS not in line:
            continue
        lines += islice(file, 4)
        step += 1
        if _LEARNED in line:
            learned.append(step)
        elif not lines[-1].endswith("\n") and "sigma" not in lines[-1]:
            raise _cut_off(path, step - 1 - len(learned), "the energy is missing")
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of stresses that did not fit into their columns
                atoms = OutcarChunkParser(header=header).build(lines)
            results = {name: value for name, value in atoms.calc.results.items() if value is not None}
            results["energy_zero"], results["energy"] = results["energy"], results.pop("free_energy")
            kept = ("energy", "energy_zero", "stress", "forces", "magmoms")
            yield atoms, {name: results[name] for name in kept if name in results}
        lines = []
    if any(words in line for line in lines for words in _STEP_BEGINS):
        raise _cut_off(path, step - len(learned), "a step has no energy")


def _cut_off(path: Path, complete: int, why: str) -> InputError:
    cure = f"; to use the {complete} complete frames write frames: ':{complete}'" if complete else ""
    return InputError(
        f"{path}, frame {complete}: the file is cut off or damaged within this step ({why}){cure}"
    )
