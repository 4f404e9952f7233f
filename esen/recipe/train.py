"""`train:` the optimisation of the weights."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from esen.recipe.base import Spec
from esen.recipe.model import ForcesSpec, ModelSpec

MemoryMode = Literal["auto", "lean", "fast"]
"""`fast`: keep everything that derivatives need. `lean`: compute it again. `auto`: choose by the free memory."""

Precision = Literal["float32", "float64", "tf32", "bf16"]
"""`tf32`: float32 whose matrix products a GPU rounds to 10 bits. `bf16`: float32 weights, products of the network's
features in bfloat16 (8 bits). Geometry, energies and loss are float64 in all of them."""

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class BatchSpec(Spec):
    """The size of a batch: a budget of atoms, or a number of structures."""

    atoms: Annotated[int, Field(ge=1)] | None = None
    """Most atoms of a batch."""
    structures: Annotated[int, Field(ge=1)] | None = None
    """Structures of a batch."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.atoms is None) == (self.structures is None):
            raise ValueError("give either `atoms` or `structures`, and null for the other")
        return self


class OptimizerSpec(Spec):
    """AdamW or Muon; biases, norms and embeddings are not decayed."""

    kind: Literal["adamw", "muon"] = "adamw"
    """`muon`: steps of weight matrices are orthogonal matrices; all other weights are trained by AdamW."""
    learning_rate: Positive = 4e-4
    """Learning rate after the warm-up, dimensionless."""
    weight_decay: NonNegative = 1e-3
    """Decoupled weight decay, per unit of the learning rate."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the mean of the gradient per step."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the mean of the squared gradient per step."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the sum of the gradients of matrices per step, for `muon`."""
    clip_norm: Positive = 100.0
    """Largest norm of the gradient; a longer one is scaled down to it."""


class ScheduleSpec(Spec):
    """Linear warm-up from `warmup_factor` × the learning rate, then a cosine down to `final_factor` ×, per step."""

    warmup_epochs: NonNegative = 0.1
    """Length of the warm-up, in epochs."""
    warmup_factor: Annotated[float, Field(ge=0, le=1)] = 0.2
    """First learning rate as a fraction of `learning_rate`."""
    final_factor: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Last learning rate as a fraction of `learning_rate`."""


class LossSpec(Spec):
    """λ_E·ℓ(ΔE/N) + λ_F·(force term) + λ_S·ℓ(Δσ), errors in units of `model scale` as the network sees them."""

    kind: Literal["l1", "huber", "squared"] = "l1"
    """ℓ(r) = |r| for `l1`, r² for `squared`, and for `huber` r²/2δ up to δ and |r| − δ/2 beyond."""
    huber_delta: Positive = 0.01
    """δ of `huber`, in units of the model scale."""
    energy: NonNegative = 20.0
    """Weight λ_E of the energy error per atom, dimensionless."""
    forces: NonNegative = 20.0
    """Weight λ_F of the force error, dimensionless."""
    stress: NonNegative = 5.0
    """Weight λ_S of the stress error, dimensionless; 0 if there are no stresses to learn."""
    force_norm: Literal["l2", "l2_squared"] = "l2"
    """`l2`: mean over atoms of ℓ(‖ΔF‖). `l2_squared`: (1/3N) Σ ‖ΔF‖², whatever `kind` is."""


class DensSpec(Spec):
    """Denoising (DeNS): in some batches the network is shown displaced atoms and the forces they had, and undoes it."""

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a batch is a denoising one."""
    std: Positive = 0.1
    """Standard deviation of each component of a displacement, in Å."""
    coefficient: NonNegative = 10.0
    """Weight of the displacements in the loss, dimensionless; atoms that are not displaced have λ_F instead."""
    corrupt_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    """Probability that an atom is displaced; null: all atoms are."""


class StageSpec(Spec):
    """One optimisation with its own schedule. Keys that it leaves out are as in `train` and `model`."""

    epochs: Annotated[int, Field(ge=0)]
    """Passes over the training frames; 0, with `train.init_from`, only evaluates."""
    forces: ForcesSpec | None = None
    """Replaces `model.forces` in this stage."""
    dens: DensSpec | None = None
    """Denoising in this stage; the network has the parts for it."""
    batch: BatchSpec | None = None
    """Replaces `train.batch` in this stage."""
    optimizer: OptimizerSpec | None = None
    """The keys of `train.optimizer` that differ in this stage."""
    schedule: ScheduleSpec | None = None
    """The keys of `train.schedule` that differ in this stage."""
    loss: LossSpec | None = None
    """The keys of `train.loss` that differ in this stage."""
    freeze: tuple[str, ...] | None = None
    """Replaces `train.freeze` in this stage."""


Renewed = Literal["references", "scale", "heads", "elements"]


class TrainSpec(Spec):
    """Optimisation, from the seed to the last step. The defaults are the paper's (MPTrj-30M)."""

    batch: BatchSpec = BatchSpec(structures=512)
    """Size of the batch of one optimiser step."""
    micro_batch_atoms: Annotated[int, Field(ge=1)] | None = None
    """Most atoms per backward pass; a larger batch is divided and the gradients are added, which saves memory."""
    precision: Precision = "float32"
    """Precision of the network: `tf32` and `bf16` round matrix products on a GPU. Weights are float32, or float64 for
    `float64`; so are the predictions of a checkpoint."""
    compile: bool = False
    """Whether `torch.compile` compiles the steps; it needs a C++ compiler, and minutes at the start of each stage."""
    prefetch: Annotated[int, Field(ge=0)] = 2
    """Batches that are prepared while a step computes; 0: each is prepared when it is needed."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the weights, the order of the frames and the held-out validation frames."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """AdamW and clipping of the gradient."""
    schedule: ScheduleSpec = ScheduleSpec()
    """Learning rate over a stage."""
    loss: LossSpec = LossSpec()
    """Weights of the terms of the loss."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay per step of the exponential moving average of the weights that is validated and saved; 0: no average."""
    init_from: str | None = None
    """Checkpoint, run or imported model to fine-tune; keys that `model` leaves out are taken from it."""
    renew: tuple[Renewed, ...] = ()
    """Parts of it that are not kept: `references` are fitted to this data, `scale` is that of this data, `heads` are
    random again, `elements` that it does not know are learned from random embeddings."""
    freeze: tuple[str, ...] = ()
    """Parts of the network that are not trained, by name: `species`, `blocks.0`, `head`, `blocks.*.norm1`."""
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1)]
    """Stages of the training, one after the other."""
    validate_every_epochs: Annotated[int, Field(ge=1)] = 1
    """Epochs between two validations."""
    memory: MemoryMode = "auto"
    """`fast`; `lean`: less memory, 50 % longer, bitwise identical results; `auto`: by the free memory."""
    checkpoint_minutes: Positive = 10.0
    """Time between checkpoints within an epoch, in minutes; one is also written after every epoch."""

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
        for number, stage in enumerate(self.stages, start=1):
            loss = stage.loss or self.loss
            if not any((loss.energy, loss.forces, loss.stress)):
                raise ValueError(f"loss: all weights of stage {number} are 0, so that nothing is trained")
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
