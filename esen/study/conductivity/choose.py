"""Which materials are computed, and in which sizes: from what the user names to inputs that are read in their turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from esen.data.structure import Structure
from esen.data.structures import read_named_structures
from esen.data.supercells import parse_supercell
from esen.errors import InputError
from esen.evaluate.conductivity.inputs import (
    Sizes,
    is_of_benchmark,
    is_phono3py_yaml,
    material_of_benchmark,
    material_of_structure,
    material_of_yaml,
    name_of_yaml,
)
from esen.evaluate.conductivity.material import Material
from esen.evaluate.phonons.inputs import is_phonopy_yaml
from esen.study.materials.manifest import geometry_digest
from esen.study.phonons import FIRST
from esen.study.potentials import digest, distinct

ALL = ":"
"""The frames of a file of the benchmark that are taken if none are named; of others it is the first."""


@dataclass(frozen=True)
class Input:
    """A material that is read when it is its turn.

    Attributes:
        name: unique among those of a run; that of references.
        source: the file, and the frame.
        read: reads it, with the distance in Å to which atoms are equivalent; raises InputError where it cannot be used.
            It can be sent to another process.
        hashed: by what its content is known again.
        sizes: supercells and mesh, in words.
        of_benchmark: whether it is a frame of phononDB-PBE-103.
        is_crystal: whether it is periodic in three directions, as far as is known before it is read.
    """

    name: str
    source: str
    read: Callable[[float], Material]
    hashed: str
    sizes: str
    of_benchmark: bool = False
    is_crystal: bool = True

    @property
    def described(self) -> str:
        """What its numbers depend on."""
        return f"{self.source} ({self.hashed}), supercells: {self.sizes}"

    def load(self, symprec: float) -> Material:
        """The material.

        Args:
            symprec: to which atoms are equivalent, in Å.

        Raises:
            InputError: the file cannot be used.
        """
        return replace(self.read(symprec), name=self.name)


@dataclass(frozen=True)
class Wanted:
    """Sizes as the user gives them; None: not given.

    Attributes:
        fc2: supercell for second derivatives, N,N,N or nine numbers.
        fc3: the same for third derivatives.
        fc2_width: least width of the supercell in Å.
        fc3_width: the same.
        mesh: N,N,N or a length in Å.
    """

    fc2: str | None = None
    fc3: str | None = None
    fc2_width: float | None = None
    fc3_width: float | None = None
    mesh: str | None = None

    def sizes(self) -> Sizes:
        """Those that are not given are usual ones.

        Raises:
            InputError: one cannot be.
        """
        usual = Sizes()
        return Sizes(
            fc2=_supercell("--fc2", self.fc2, self.fc2_width),
            fc3=_supercell("--fc3", self.fc3, self.fc3_width),
            fc2_width=_width("--fc2-width", self.fc2_width, usual.fc2_width),
            fc3_width=_width("--fc3-width", self.fc3_width, usual.fc3_width),
            mesh=usual.mesh if self.mesh is None else parse_mesh(self.mesh),
        )


def choose_inputs(
    inputs: Sequence[str], wanted: Wanted | None = None, *, frames: str | None = None
) -> list[Input]:
    """The materials of files, in their order.

    Args:
        inputs: structure files, those of phononDB-PBE-103 among them, and phono3py's yaml (packed or not).
        wanted: sizes where the files do not say.
        frames: of each structure file, a Python slice; None: all of the benchmark, the first of others.

    Raises:
        InputError: an input is missing or cannot be read, none is a crystal, or an option is wrong or for none of the
            inputs.
    """
    wanted = wanted or Wanted()
    sizes = wanted.sizes()
    found: list[Input] = []
    for text in inputs:
        path = Path(text).expanduser()
        if not path.is_file():
            problem = "is a folder" if path.is_dir() else "no such file"
            raise InputError(f"{text}: {problem}; expected a file of structures, or a phono3py yaml")
        if is_phono3py_yaml(path):
            read = partial(material_of_yaml, path, sizes)
            words = f"the file's, mesh {_of_mesh(sizes)}"
            found.append(Input(name_of_yaml(path), str(path), read, _of_files(path), words))
        elif is_phonopy_yaml(path):
            raise InputError(
                f"{text}: a yaml that does not name phono3py; expected a name such as phono3py_disp.yaml"
            )
        else:
            found += [_of_frame(name, structure, sizes) for name, structure in _frames(path, frames)]
    if not any(one.is_crystal for one in found):
        raise InputError(f"{found[0].source}: conductivity needs a crystal, periodic in three directions")
    _refuse_idle(found, wanted, frames)
    names = distinct([one.name for one in found])
    return [replace(one, name=name) for one, name in zip(found, names, strict=True)]


def parse_mesh(text: str) -> tuple[int, int, int] | float:
    """`11,11,11`, or a length in Å.

    Raises:
        InputError: it is neither.

    >>> parse_mesh("11,11,9"), parse_mesh("50")
    ((11, 11, 9), 50.0)
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1 and 0 < values[0] < np.inf:
        return values[0]
    if len(values) == 3 and all(1 <= value < np.inf and value == int(value) for value in values):
        return int(values[0]), int(values[1]), int(values[2])
    raise InputError(
        f"--mesh {text}: expected three whole numbers above 0, such as 11,11,11, or a length in Å, such as 50"
    )


def _frames(path: Path, frames: str | None) -> list[tuple[str, Structure]]:
    if frames is not None:
        return read_named_structures(path, frames)
    first = read_named_structures(path, FIRST)
    return read_named_structures(path, ALL) if _is_of_benchmark(first[0][1]) else first


def _of_files(path: Path) -> str:
    """Of a yaml and the force sets beside it."""
    beside = sorted(path.parent.glob("FORCES_FC[23]*"))
    return digest(b"".join(one.read_bytes() for one in (path, *beside) if one.is_file()))


def _is_of_benchmark(structure: Structure) -> bool:
    """One of the supercells is enough: that the other is missing is said."""
    return is_of_benchmark(structure) or not {"fc2_supercell", "fc3_supercell"}.isdisjoint(structure.info)


def _of_frame(name: str, structure: Structure, sizes: Sizes) -> Input:
    if _is_of_benchmark(structure):
        material = material_of_benchmark(structure)
        read = partial(_of_benchmark, structure)
        known = digest(f"{geometry_digest(structure)} {sorted(structure.info.items())}".encode())
        return Input(material.name, structure.source, read, known, "the file's", of_benchmark=True)
    words = [
        f"{order} {f'{width:g} Å wide' if matrix is None else matrix.tolist()}"
        for order, matrix, width in (
            ("fc2", sizes.fc2, sizes.fc2_width),
            ("fc3", sizes.fc3, sizes.fc3_width),
        )
    ]
    return Input(
        name,
        structure.source,
        partial(material_of_structure, structure, name, sizes),
        geometry_digest(structure),
        ", ".join([*words, f"mesh {_of_mesh(sizes)}"]),
        is_crystal=bool(structure.pbc.all()),
    )


def _of_benchmark(structure: Structure, symprec: float) -> Material:
    return material_of_benchmark(structure)


def _of_mesh(sizes: Sizes) -> str:
    if isinstance(sizes.mesh, tuple):
        return " × ".join(map(str, sizes.mesh))
    return f"{sizes.mesh:g} Å"


def _supercell(option: str, text: str | None, width: float | None) -> Int64[np.ndarray, "3 3"] | None:
    if text is None:
        return None
    if width is not None:
        raise InputError(f"{option}-width: the supercell is given by {option}; leave one of them out")
    return parse_supercell(text, option)


def _width(option: str, given: float | None, usual: float) -> float:
    value = usual if given is None else given
    if not 0 < value < np.inf:
        raise InputError(f"{option} {value:g}: expected a length above 0 in Å, such as {usual:g}")
    return value


def _refuse_idle(inputs: Sequence[Input], wanted: Wanted, frames: str | None) -> None:
    """Options that would change nothing are mistakes."""
    files = [not one.of_benchmark and not is_phono3py_yaml(Path(one.source)) for one in inputs]
    if not any(files):
        for name, value in vars(wanted).items():
            if value is not None and name != "mesh":
                option = "--" + name.replace("_", "-")
                raise InputError(
                    f"{option}: is for structure files without supercells of their own, and none is given"
                )
    if wanted.mesh is not None and all(one.of_benchmark for one in inputs):
        raise InputError("--mesh: frames of phononDB-PBE-103 have their own; leave it out")
    if frames is not None and not any(
        is_file or one.of_benchmark for is_file, one in zip(files, inputs, strict=True)
    ):
        raise InputError("--frames: is for structure files, and none is given; a yaml is one material")
