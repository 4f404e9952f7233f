"""`model:` the network, one union a design choice of the paper."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esen.recipe.base import Spec

Backend = Literal["vesin", "torch_cluster", "nvalchemi"]
"""Which library finds the neighbours. The edges are the same; it is a matter of speed and hardware only."""


class CutoffGraphSpec(Spec):
    """Every pair of atoms, images included, no further apart than the cutoff."""

    kind: Literal["cutoff"] = "cutoff"
    backend: Backend = "vesin"
    """Library that finds the neighbours; the edges are the same. `torch_cluster` and `nvalchemi` are extra installs."""


class NearestGraphSpec(Spec):
    """Of those, the `k` nearest of each atom, and what is as near as the last (the paper's "neighbor limit")."""

    kind: Literal["knn"] = "knn"
    k: Annotated[int, Field(ge=1)] = 20
    backend: Backend = "vesin"
    """As of `cutoff`."""


class GaussianSpec(Spec):
    """Gaussians centred evenly on [0, cutoff], σ = `width` × spacing."""

    kind: Literal["gaussian"] = "gaussian"
    count: Annotated[int, Field(ge=2)] = 10
    width: Annotated[float, Field(gt=0)] = 2.0


class BesselSpec(Spec):
    """Spherical Bessel functions with learnable frequencies and an envelope of their own."""

    kind: Literal["bessel"] = "bessel"
    count: Annotated[int, Field(ge=1)] = 10


class PolynomialEnvelopeSpec(Spec):
    """The polynomial of order `p` whose value and first two derivatives vanish at the cutoff."""

    kind: Literal["polynomial"] = "polynomial"
    p: Annotated[int, Field(ge=2)] = 5


class SmoothEnvelopeSpec(Spec):
    """exp(−t^p / (1 − t^p)): every derivative vanishes at the cutoff."""

    kind: Literal["smooth"] = "smooth"
    p: Annotated[int, Field(ge=2)] = 2


class NoEnvelopeSpec(Spec):
    """No envelope: messages jump as an atom crosses the cutoff (the paper's ablation)."""

    kind: Literal["none"] = "none"


class GateSpec(Spec):
    """Gated nonlinearities: exactly equivariant."""

    kind: Literal["gate"] = "gate"


Resolution = Annotated[int, Field(json_schema_extra={"minimum": 4, "multipleOf": 2})]
"""Checked by `ModelSpec`, which knows lmax and so the nearest that are allowed."""


class GridSpec(Spec):
    """The paper's "discrete": feed-forwards on a grid of points; gates along edges."""

    kind: Literal["grid"] = "grid"
    resolution: Resolution | None = None
    """Points along either angle, at least 2(lmax+1). null: 2(lmax+1), and one more around the axis."""


class GridEdgesSpec(Spec):
    """A grid along edges too: the energy then depends on the frame of each edge."""

    kind: Literal["grid_edges"] = "grid_edges"
    resolution: Resolution | None = None
    feed_forward: Literal["grid", "gate"] = "grid"
    """On a grid as well, or gated."""


class ConservativeSpec(Spec):
    """Forces and stress as derivatives of the energy."""

    kind: Literal["conservative"] = "conservative"


class StressHeadSpec(Spec):
    """What the heads of a direct stress have in common."""

    ends: Literal["both", "receiver"] = "both"
    """Whose features an edge reads."""
    mlp: Literal["edge", "atom"] = "edge"
    """Whether the networks act before the mean over an atom's edges, or after."""
    layers: Annotated[int, Field(ge=1)] = 2
    """Of the networks."""
    sum_over: Annotated[float, Field(gt=0)] | None = None
    """null: the mean over atoms. A number: their sum divided by it."""


class Rank2StressSpec(StressHeadSpec):
    """A symmetric tensor from scalars and l = 2 of the edges."""

    kind: Literal["rank2"] = "rank2"


class OuterStressSpec(StressHeadSpec):
    """The nine components of v ⊗ v, each by itself: not equivariant. For imported models that were trained so."""

    kind: Literal["outer"] = "outer"


class NoStressSpec(Spec):
    """No stress is predicted."""

    kind: Literal["none"] = "none"


StressSpec = Annotated[Rank2StressSpec | OuterStressSpec | NoStressSpec, Field(discriminator="kind")]


class DirectSpec(Spec):
    """Forces and stress from heads of their own: no derivative of the energy (the paper's ablation and first stage)."""

    kind: Literal["direct"] = "direct"
    stress: StressSpec = Rank2StressSpec()
    energy: Literal["sum", "mean"] = "sum"
    """Of the atoms' energies. `mean` is for imported models that were trained so."""


RadialSpec = Annotated[GaussianSpec | BesselSpec, Field(discriminator="kind")]
ForcesSpec = Annotated[ConservativeSpec | DirectSpec, Field(discriminator="kind")]
GraphSpec = Annotated[CutoffGraphSpec | NearestGraphSpec, Field(discriminator="kind")]
NonlinearitySpec = Annotated[GateSpec | GridSpec | GridEdgesSpec, Field(discriminator="kind")]
EnvelopeSpec = Annotated[
    PolynomialEnvelopeSpec | SmoothEnvelopeSpec | NoEnvelopeSpec, Field(discriminator="kind")
]


class ModelSpec(Spec):
    """The eSEN network. The defaults are the paper's two-layer ablation base (3,199,745 parameters)."""

    cutoff: Annotated[float, Field(gt=0)] = 6.0
    lmax: Annotated[int, Field(ge=1, le=8)] = 2
    mmax: Annotated[int, Field(ge=0, le=8)] = 2
    layers: Annotated[int, Field(ge=1)] = 2
    sphere_channels: Annotated[int, Field(ge=1)] = 128
    hidden_channels: Annotated[int, Field(ge=1)] = 128
    edge_channels: Annotated[int, Field(ge=1)] = 128
    max_elements: Annotated[int, Field(ge=2, le=119)] = 100
    graph: GraphSpec = CutoffGraphSpec()
    radial: RadialSpec = GaussianSpec()
    envelope: EnvelopeSpec = PolynomialEnvelopeSpec()
    nonlinearity: NonlinearitySpec = GateSpec()
    forces: ForcesSpec = ConservativeSpec()
    dens: bool = False
    """Parts for denoising (DeNS): forces can be shown to the network, and it can say how atoms were displaced."""

    @model_validator(mode="after")
    def _mmax_within_lmax(self) -> "ModelSpec":
        if self.mmax > self.lmax:
            raise ValueError(f"mmax is {self.mmax}, but it cannot exceed lmax, which is {self.lmax}")
        rank2 = isinstance(self.forces, DirectSpec) and isinstance(self.forces.stress, Rank2StressSpec)
        if rank2 and self.lmax < 2:
            raise ValueError(
                f"forces.kind is direct, whose stress (rank2) needs lmax 2 or more, but lmax is {self.lmax}"
            )
        resolution = None if isinstance(self.nonlinearity, GateSpec) else self.nonlinearity.resolution
        if resolution is not None:
            _check_resolution(resolution, self.lmax)
        return self


def _check_resolution(resolution: int, lmax: int) -> None:
    least = 2 * (lmax + 1)
    if resolution < least or resolution % 2:
        nearest = sorted({max(least, resolution - 1), max(least, resolution + 1)})
        raise ValueError(
            f"nonlinearity.resolution is {resolution}, but must be even and, with lmax {lmax}, at least {least};"
            f" write {' or '.join(map(str, nearest if resolution > least else [least]))}"
        )
