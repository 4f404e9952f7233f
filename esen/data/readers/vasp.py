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
from typing import Any, BinaryIO, TextIO
from xml.etree import ElementTree

from ase import Atoms

from esen.data.atoms import from_atoms
from esen.data.readers.frame import RawFrame
from esen.data.readers.opening import opened
from esen.errors import InputError, first_line
from esen.text import encoding_of, first_few

_log = logging.getLogger(__name__)

_STEP_ENDS = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
_LEARNED = "ML FREE ENERGIE"
_STEP_BEGINS = ("Iteration", "POSITION  ", "VOLUME and BASIS")
_KEPT = ("energy", "energy_zero", "stress", "forces", "magmoms")
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
        start = file.buffer.read(64)
        file.buffer.seek(0)
        is_xml = (
            start.decode(encoding_of(start) or "latin-1", errors="replace")
            .lstrip("\ufeff \n")
            .startswith("<")
        )
        steps = _xml_steps(file.buffer, path, learned) if is_xml else _outcar_steps(file, path, learned)
        for atoms, found in steps:
            structure = from_atoms(atoms, f"{path}, frame {count}")
            per_atom = {"forces", "magmoms"} & found.keys()
            structure.arrays.update({name: found.pop(name) for name in per_atom})
            structure.info.update(found)
            yield RawFrame(structure, structure.source, done=done())
            count += 1
    if not count:
        only = f", but {len(learned)} of a machine-learned force field" if learned else ""
        raise InputError(f"{path}: has no complete ionic step of DFT{only}")
    if learned:
        named = first_few([*map(str, learned)], 10)
        words = (
            "%s: steps %s (%d of %d) are of VASP's machine-learned force field, not of DFT, and are left out"
        )
        _log.warning(words, path, named, len(learned), len(learned) + count)


def _xml_steps(file: BinaryIO, path: Path, learned: list[int]) -> Iterator[Step]:
    """Iterate over the steps of a `vasprun.xml`; a step of the force field has no electronic steps."""
    from ase.io.vasp import atoms_from_step

    species: list[str] = []
    pressure, step = 0.0, 0
    try:
        for _, element in ElementTree.iterparse(file):
            if element.tag == "atominfo":
                symbols = element.iterfind("array[@name='atoms']/set/rc/c[1]")
                species = [(symbol.text or "").strip() for symbol in symbols]
            elif element.tag == "parameters":
                pressure = float(element.findtext(".//i[@name='PSTRESS']", "0"))
            elif element.tag == "calculation":
                step += 1
                if element.find("scstep") is None:
                    learned.append(step)
                else:
                    _check_rows(element, len(species))
                    given = {"parameters": {"pstress": pressure}, "atoms": Atoms(species, pbc=True)}
                    yield _results(atoms_from_step(element, (), None, natoms=len(species), **given))
                element.clear()
    except ElementTree.ParseError as error:
        raise _cut_off(path, step - len(learned), first_line(error)) from error


def _check_rows(step: ElementTree.Element, atoms: int) -> None:
    """Refuse a step with fewer or other rows than it has atoms, which ASE would fill with zeros."""
    for place, count in (("structure/varray[@name='positions']", atoms), ("varray[@name='forces']", atoms)):
        rows = [len((row.text or "").split()) for row in step.iterfind(f"{place}/v")]
        if rows != [3] * count and (rows or step.find(place) is not None):
            raise ValueError(f"{place} has not 3 numbers for each of {count} atoms")


def _results(atoms: Atoms) -> Step:
    """Return the labels of a step; the energy is the free energy."""
    found = {name: value for name, value in atoms.calc.results.items() if value is not None}
    found["energy_zero"], found["energy"] = found["energy"], found.pop("free_energy")
    return atoms, {name: found[name] for name in _KEPT if name in found}


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
            yield _results(atoms)
        lines = []
    if any(words in line for line in lines for words in _STEP_BEGINS):
        raise _cut_off(path, step - len(learned), "a step has no energy")


def _cut_off(path: Path, complete: int, why: str) -> InputError:
    cure = f"; to use the {complete} complete frames write frames: ':{complete}'" if complete else ""
    return InputError(
        f"{path}, frame {complete}: the file is cut off or damaged within this step ({why}){cure}"
    )
