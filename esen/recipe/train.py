"""`train:` how the weights are found."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from esen.recipe.base import Spec

MemoryMode = Literal["auto", "lean", "fast"]
"""`fast`: keep all that is needed for derivatives. `lean`: compute it once more. `auto`: by the memory that is free."""

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class BatchSpec(Spec):
    """The size of a batch: a budget of atoms, or a number of structures."""

    atoms: Annotated[int, Field(ge=1)] | None = None
    structures: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.atoms is None) == (self.structures is None):
            raise ValueError("give either `atoms` or `structures`, and null for the other")
        return self


class OptimizerSpec(Spec):
    """AdamW; biases, norms and embeddings are not decayed."""

    learning_rate: Positive = 4e-4
    weight_decay: NonNegative = 1e-3
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    clip_norm: Positive = 100.0


class ScheduleSpec(Spec):
    """Linear warm-up from `warmup_factor` × the learning rate, then a cosine down to `final_factor` ×, per step."""

    warmup_epochs: NonNegative = 0.1
    warmup_factor: Annotated[float, Field(ge=0, le=1)] = 0.2
    final_factor: Annotated[float, Field(ge=0, le=1)] = 0.01


class LossSpec(Spec):
    """λ_E·|ΔE|/N + λ_F·(force term) + λ_S·|Δσ|, errors in units of `model scale` as the network sees them."""

    energy: NonNegative = 20.0
    forces: NonNegative = 20.0
    stress: NonNegative = 5.0
    force_norm: Literal["l2", "l2_squared"] = "l2"
    """`l2`: mean over atoms of ‖ΔF‖. `l2_squared`: (1/3N) Σ ‖ΔF‖²."""


class StageSpec(Spec):
    """One pass of optimisation with its own schedule."""

    epochs: Annotated[int, Field(ge=1)]


class TrainSpec(Spec):
    """Optimisation, from the seed to the last step. The defaults are the paper's (MPTrj-30M)."""

    batch: BatchSpec = BatchSpec(structures=512)
    precision: Literal["float32", "float64"] = "float32"
    seed: Annotated[int, Field(ge=0)] = 0
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    loss: LossSpec = LossSpec()
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the exponential moving average of the weights, which is what is validated and saved; 0: none."""
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1)]
    validate_every_epochs: Annotated[int, Field(ge=1)] = 1
    memory: MemoryMode = "auto"
    """`fast`, or `lean`: a fraction of the memory for half as much time again, and the same numbers."""
    checkpoint_minutes: Positive = 10.0
    """A checkpoint is written after every epoch, and within an epoch after this many minutes."""
