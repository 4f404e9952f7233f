"""`data:` which frames, and under which names and units their labels stand."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from esen.recipe.base import Spec

SourceFormat = Literal[
    "auto",
    "extxyz",
    "extxyz_zip",
    "mptrj_json",
    "aselmdb",
    "npz",
    "vasp",
    "ase_db",
    "ase_traj",
    "esendata",
]
"""`auto`: each file shows its own, by its name or its beginning."""

StressConvention = Literal["ase", "vasp_kbar", "virial"]
"""`ase`: eV/Å³, tension positive. `vasp_kbar`: kBar, compression positive. `virial`: eV, = −stress × volume."""


class SourceSpec(Spec):
    """A file, a folder, a glob pattern of files, or a training set made by `esen data convert`."""

    path: str
    format: SourceFormat = "auto"
    frames: str = ":"
    """Which frames of each file, as a Python slice: `:`, `::10`, `0:250`."""
    repeat: Annotated[int, Field(ge=1)] = 1
    """How often an epoch sees each frame; for `data.train`."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Of the frames in the loss; for `data.train`."""
    energy_key: str | None = None
    """Name of the energy in these files, where it is not `data.energy_key`; `null`: that. So with the next three."""
    forces_key: str | None = None
    stress_key: str | None = None
    stress_convention: StressConvention | None = None


class ReferencesFileSpec(Spec):
    """Reference energies from a JSON file, `{"H": -1.2, …}` in eV, as `esen data references` writes it."""

    file: str


class DataSpec(Spec):
    """Training, validation and test frames, and how to read them. Relative paths start at the recipe's folder."""

    train: Annotated[tuple[SourceSpec, ...], Field(min_length=1)]
    validation: tuple[SourceSpec, ...] = ()
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Held out of `train` at random (by the seed) where no `validation` is given."""
    test: tuple[SourceSpec, ...] = ()
    references: Literal["least_squares", "isolated_atoms", "none"] | ReferencesFileSpec = "least_squares"
    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    stress_convention: StressConvention = "ase"
    """Where the format does not fix it."""

    @model_validator(mode="after")
    def _only_training_is_weighted(self) -> Self:
        for name, sources in (("validation", self.validation), ("test", self.test)):
            for index, source in enumerate(sources):
                for key in ("repeat", "weight"):
                    if getattr(source, key) != 1:
                        raise ValueError(
                            f"{name}[{index}].{key} must be 1: only frames to train on are repeated or weighted"
                        )
        return self
