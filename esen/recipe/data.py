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
"""`auto`: the format of each file is found by its name or its first bytes."""

StressConvention = Literal["ase", "vasp_kbar", "virial"]
"""`ase`: eV/Å³, tension positive. `vasp_kbar`: kBar, compression positive. `virial`: eV, = −stress × volume."""


class SourceSpec(Spec):
    """A file, a folder, a glob pattern of files, or a training set made by `esen data convert`."""

    path: str
    """File, folder or glob pattern; a relative path starts at the recipe's folder."""
    format: SourceFormat = "auto"
    """File format; `auto` finds it by each file's name or first bytes."""
    frames: str = ":"
    """Which frames of each file, as a Python slice: `:`, `::10`, `0:250`."""
    repeat: Annotated[int, Field(ge=1)] = 1
    """How often an epoch sees each frame; for `data.train` only."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Factor of these frames in the loss, dimensionless; for `data.train` only."""
    energy_key: str | None = None
    """Name of the energy in these files; `null`: `data.energy_key`."""
    forces_key: str | None = None
    """Name of the forces in these files; `null`: `data.forces_key`."""
    stress_key: str | None = None
    """Name of the stress in these files; `null`: `data.stress_key`."""
    stress_convention: StressConvention | None = None
    """Unit and sign of the stress in these files; `null`: `data.stress_convention`."""


class ReferencesFileSpec(Spec):
    """Reference energies from a JSON file, `{"H": -1.2, …}` in eV, as `esen data references` writes it."""

    file: str
    """Path of the JSON file of energies in eV; a relative path starts at the recipe's folder."""


class DataSpec(Spec):
    """Training, validation and test frames, and how to read them. Relative paths start at the recipe's folder."""

    train: Annotated[tuple[SourceSpec, ...], Field(min_length=1)]
    """Frames to train on."""
    validation: tuple[SourceSpec, ...] = ()
    """Frames by which the best weights are chosen; if empty, `validation_fraction` of `train` is held out."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Fraction of `train` that is held out at random (by the seed) if `validation` is empty, dimensionless."""
    test: tuple[SourceSpec, ...] = ()
    """Frames for the errors after training."""
    references: Literal["least_squares", "isolated_atoms", "none"] | ReferencesFileSpec = "least_squares"
    """Energy of each element (eV) that is subtracted from the labels: fitted to `train`, taken from the frames of one
    atom, zero, or read from a file."""
    energy_key: str = "energy"
    """Name of the total energy in the files (eV)."""
    forces_key: str = "forces"
    """Name of the forces in the files (eV/Å)."""
    stress_key: str = "stress"
    """Name of the stress in the files, in the unit of `stress_convention`."""
    stress_convention: StressConvention = "ase"
    """Unit and sign of the stress if the format does not fix them. `ase`: eV/Å³, tension positive; `vasp_kbar`: kBar,
    compression positive; `virial`: eV, −stress × volume."""

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
