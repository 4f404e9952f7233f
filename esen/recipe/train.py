"""`train:` how the weights are found."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from esen.recipe.base import Spec
from esen.recipe.model import ForcesSpec, ModelSpec

MemoryMode = Literal["auto", "lean", "fast"]
"""`fast`: keep all that is needed for derivatives. `lean`: compute it once more. `auto`: by the memory that is free."""

Precision = Literal["float32", "float64", "tf32", "bf16"]
"""`tf32`: float32 whose matrix products a GPU rounds to 10 bits. `bf16`: float32 weights, products of the network's
features in bfloat16 (8 bits). Geometry, energies and loss are float64 in all of them."""

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


class DensSpec(Spec):
    """Denoising (DeNS): in some batches the network is shown displaced atoms and the forces they had, and undoes it."""

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """That a batch is one of these."""
    std: Positive = 0.1
    """Of each component of a displacement, in Å."""
    coefficient: NonNegative = 10.0
    """λ of the displacements; it stands where λ_F does for atoms that are not displaced."""
    corrupt_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    """Probability that an atom is displaced. null: all are."""


class StageSpec(Spec):
    """One pass of optimisation with its own schedule. What it leaves out is as in `train` and `model`."""

    epochs: Annotated[int, Field(ge=0)]
    """0, with `train.init_from`, only evaluates."""
    forces: ForcesSpec | None = None
    """In place of `model.forces`."""
    dens: DensSpec | None = None
    """Denoising; the network has the parts for it in this stage."""
    batch: BatchSpec | None = None
    optimizer: OptimizerSpec | None = None
    schedule: ScheduleSpec | None = None
    loss: LossSpec | None = None
    freeze: tuple[str, ...] | None = None


Renewed = Literal["references", "scale", "heads", "elements"]


class TrainSpec(Spec):
    """Optimisation, from the seed to the last step. The defaults are the paper's (MPTrj-30M)."""

    batch: BatchSpec = BatchSpec(structures=512)
    micro_batch_atoms: Annotated[int, Field(ge=1)] | None = None
    """A batch with more atoms is done in parts whose gradients are added: the same step in less memory."""
    precision: Precision = "float32"
    """`float64`; `tf32`, of GPUs; `bf16`: products in bfloat16. Weights are float32 but for `float64`, and so is what a
    checkpoint predicts."""
    compile: bool = False
    """Steps run through `torch.compile`: minutes at the start of each stage, and a compiler is needed."""
    prefetch: Annotated[int, Field(ge=0)] = 2
    """How many batches are made ready while a step computes. 0: each is made when its turn comes."""
    seed: Annotated[int, Field(ge=0)] = 0
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    loss: LossSpec = LossSpec()
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the exponential moving average of the weights, which is what is validated and saved; 0: none."""
    init_from: str | None = None
    """A checkpoint, a run or an imported model to fine-tune; what `model` leaves out is taken from it."""
    renew: tuple[Renewed, ...] = ()
    """What is not kept of it: `references`, fitted to this data's level of theory; `scale`; `heads`, random again;
    `elements`: those it does not know are learned from random embeddings."""
    freeze: tuple[str, ...] = ()
    """Parts that are not trained, by their names: `species`, `blocks.0`, `head`, `blocks.*.norm1`."""
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1)]
    validate_every_epochs: Annotated[int, Field(ge=1)] = 1
    memory: MemoryMode = "auto"
    """`fast`, or `lean`: a fraction of the memory for half as much time again, and the same numbers."""
    checkpoint_minutes: Positive = 10.0
    """A checkpoint is written after every epoch, and within an epoch after this many minutes."""

    @field_validator("stages", mode="after")
    @classmethod
    def _fill_sections(cls, stages: tuple[StageSpec, ...], info: ValidationInfo) -> tuple[StageSpec, ...]:
        """A stage's section states what differs from that of the training."""
        return tuple(_filled(stage, info.data) for stage in stages)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.compile and self.memory == "lean":
            raise ValueError("compile: true keeps all in memory, memory: lean does not; take one of them")
        if self.init_from is None and self.renew:
            raise ValueError("renew is about the checkpoint of init_from, which is missing")
        if self.init_from is None and not all(stage.epochs for stage in self.stages):
            raise ValueError("stages: epochs: 0 is for init_from, which is missing; give at least 1")
        return self


def stage_model(model: ModelSpec, stage: StageSpec) -> ModelSpec:
    """The network of a stage: with its forces, and with the parts for denoising if it denoises."""
    changes: dict[str, object] = {} if stage.forces is None else {"forces": stage.forces}
    if stage.dens is not None:
        changes["dens"] = True
    return model.model_copy(update=changes)


def _filled(stage: StageSpec, train: dict[str, Any]) -> StageSpec:
    changes: dict[str, Any] = {}
    for name in ("optimizer", "schedule", "loss"):
        section = getattr(stage, name)
        if section is not None and name in train:
            stated = section.model_fields_set
            values = {
                key: getattr(section if key in stated else train[name], key)
                for key in type(section).model_fields
            }
            changes[name] = type(section).model_construct(_fields_set=stated, **values)
    return stage.model_copy(update=changes)
