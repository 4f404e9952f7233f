"""`data:` which frames, and under which names and units their labels stand."""

from typing import Annotated, Literal

from pydantic import Field

from esen.recipe.base import Spec


class SourceSpec(Spec):
    """A file, a folder, or a glob pattern of files in one format."""

    path: str
    format: Literal["extxyz"] = "extxyz"
    frames: str = ":"
    """Which frames of each file, as a Python slice: `:`, `::10`, `0:250`."""


class DataSpec(Spec):
    """Training, validation and test frames, and how to read them. Relative paths start at the recipe's folder."""

    train: Annotated[tuple[SourceSpec, ...], Field(min_length=1)]
    validation: tuple[SourceSpec, ...] = ()
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Held out of `train` at random (by the seed) where no `validation` is given."""
    test: tuple[SourceSpec, ...] = ()
    references: Literal["least_squares", "none"] = "least_squares"
    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    stress_convention: Literal["ase", "vasp_kbar", "virial"] = "ase"
    """`ase`: eV/Å³, tension positive. `vasp_kbar`: kBar, compression positive. `virial`: eV, = −stress × volume."""
