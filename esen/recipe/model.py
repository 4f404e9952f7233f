"""`model:` the network, one union a design choice of the paper."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esen.recipe.base import Spec


class CutoffGraphSpec(Spec):
    """Every pair of atoms, images included, closer than the cutoff."""

    kind: Literal["cutoff"] = "cutoff"


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


class NoEnvelopeSpec(Spec):
    """No envelope: messages jump as an atom crosses the cutoff (the paper's ablation)."""

    kind: Literal["none"] = "none"


class GateSpec(Spec):
    """Gated nonlinearities: exactly equivariant."""

    kind: Literal["gate"] = "gate"


class ConservativeSpec(Spec):
    """Forces and stress as derivatives of the energy."""

    kind: Literal["conservative"] = "conservative"


RadialSpec = Annotated[GaussianSpec | BesselSpec, Field(discriminator="kind")]
EnvelopeSpec = Annotated[PolynomialEnvelopeSpec | NoEnvelopeSpec, Field(discriminator="kind")]


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
    graph: CutoffGraphSpec = CutoffGraphSpec()
    radial: RadialSpec = GaussianSpec()
    envelope: EnvelopeSpec = PolynomialEnvelopeSpec()
    nonlinearity: GateSpec = GateSpec()
    forces: ConservativeSpec = ConservativeSpec()

    @model_validator(mode="after")
    def _mmax_within_lmax(self) -> "ModelSpec":
        if self.mmax > self.lmax:
            raise ValueError(f"mmax is {self.mmax}, but it cannot exceed lmax, which is {self.lmax}")
        return self
