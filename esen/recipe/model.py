"""`model:` the network, one union a design choice of the paper."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esen.recipe.base import Spec


class CutoffGraphSpec(Spec):
    """Every pair of atoms, images included, closer than the cutoff."""

    kind: Literal["cutoff"] = "cutoff"


class NearestGraphSpec(Spec):
    """Of those, the `k` nearest of each atom, and what is as near as the last (the paper's "neighbor limit")."""

    kind: Literal["knn"] = "knn"
    k: Annotated[int, Field(ge=1)] = 20


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


Resolution = Annotated[int, Field(ge=4, multiple_of=2)]


class GridSpec(Spec):
    """The paper's "discrete": feed-forwards on a grid of points; gates along edges."""

    kind: Literal["grid"] = "grid"
    resolution: Resolution | None = None
    """Points along either angle, at least 2(lmax+1). null: 2(lmax+1), and one more around the axis."""


class GridEdgesSpec(Spec):
    """A grid along edges too: the energy then depends on the frame of each edge."""

    kind: Literal["grid_edges"] = "grid_edges"
    resolution: Resolution | None = None


class ConservativeSpec(Spec):
    """Forces and stress as derivatives of the energy."""

    kind: Literal["conservative"] = "conservative"


class DirectSpec(Spec):
    """Forces and stress from heads of their own: no derivative of the energy (the paper's ablation and first stage)."""

    kind: Literal["direct"] = "direct"


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

    @model_validator(mode="after")
    def _mmax_within_lmax(self) -> "ModelSpec":
        if self.mmax > self.lmax:
            raise ValueError(f"mmax is {self.mmax}, but it cannot exceed lmax, which is {self.lmax}")
        if isinstance(self.forces, DirectSpec) and self.lmax < 2:
            raise ValueError(
                f"forces.kind is direct, whose stress needs lmax 2 or more, but lmax is {self.lmax}"
            )
        resolution = None if isinstance(self.nonlinearity, GateSpec) else self.nonlinearity.resolution
        if resolution is not None and resolution < 2 * (self.lmax + 1):
            raise ValueError(
                f"nonlinearity.resolution is {resolution}, but lmax {self.lmax} needs at least {2 * (self.lmax + 1)}"
            )
        return self
