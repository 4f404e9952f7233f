"""`model:` the network, one union a design choice of the paper."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from esen.recipe.base import Spec

Backend = Literal["vesin", "torch_cluster", "nvalchemi"]
"""The library that finds the neighbours. The edges are the same; only speed and hardware differ."""


class CutoffGraphSpec(Spec):
    """Every pair of atoms, images included, no further apart than the cutoff."""

    kind: Literal["cutoff"] = "cutoff"
    """Which of the choices this section is."""
    backend: Backend = "vesin"
    """Library that finds the neighbours; the edges are the same. `torch_cluster` and `nvalchemi` are extra installs."""


class NearestGraphSpec(Spec):
    """The `k` nearest of these neighbours, and any as near as the last (the paper's "neighbor limit")."""

    kind: Literal["knn"] = "knn"
    """Which of the choices this section is."""
    k: Annotated[int, Field(ge=1)] = 20
    """Neighbours per atom."""
    backend: Backend = "vesin"
    """Library that finds the neighbours, as for `kind: cutoff`."""


class GaussianSpec(Spec):
    """Gaussians centred evenly on [0, cutoff], σ = `width` × spacing."""

    kind: Literal["gaussian"] = "gaussian"
    """Which of the choices this section is."""
    count: Annotated[int, Field(ge=2)] = 10
    """Number of Gaussians."""
    width: Annotated[float, Field(gt=0)] = 2.0
    """Standard deviation of the Gaussians in units of the spacing of their centres, dimensionless."""


class BesselSpec(Spec):
    """Spherical Bessel functions with learnable frequencies and an envelope of their own."""

    kind: Literal["bessel"] = "bessel"
    """Which of the choices this section is."""
    count: Annotated[int, Field(ge=1)] = 10
    """Number of Bessel functions."""


class PolynomialEnvelopeSpec(Spec):
    """The polynomial of order `p` whose value and first two derivatives vanish at the cutoff."""

    kind: Literal["polynomial"] = "polynomial"
    """Which of the choices this section is."""
    p: Annotated[int, Field(ge=2)] = 5
    """Order of the polynomial."""


class SmoothEnvelopeSpec(Spec):
    """exp(−t^p / (1 − t^p)): every derivative vanishes at the cutoff."""

    kind: Literal["smooth"] = "smooth"
    """Which of the choices this section is."""
    p: Annotated[int, Field(ge=2)] = 2
    """Power of the reduced distance t = r/cutoff."""


class NoEnvelopeSpec(Spec):
    """No envelope: messages jump as an atom crosses the cutoff (the paper's ablation)."""

    kind: Literal["none"] = "none"
    """Which of the choices this section is."""


class GateSpec(Spec):
    """Gated nonlinearities: exactly equivariant."""

    kind: Literal["gate"] = "gate"
    """Which of the choices this section is."""


Resolution = Annotated[int, Field(json_schema_extra={"minimum": 4, "multipleOf": 2})]
"""`ModelSpec` checks it, since the smallest resolution depends on lmax."""


class GridSpec(Spec):
    """The paper's "discrete": feed-forwards on a grid of points; gates along edges."""

    kind: Literal["grid"] = "grid"
    """Which of the choices this section is."""
    resolution: Resolution | None = None
    """Points along either angle, even, at least 2(lmax+1). null: 2(lmax+1), and one more around the axis."""


class GridEdgesSpec(Spec):
    """A grid along edges too: the energy then depends on the frame of each edge."""

    kind: Literal["grid_edges"] = "grid_edges"
    """Which of the choices this section is."""
    resolution: Resolution | None = None
    """Points along either angle, even, at least 2(lmax+1). null: 2(lmax+1), and one more around the axis."""
    feed_forward: Literal["grid", "gate"] = "grid"
    """Whether the feed-forward networks act on a grid too, or are gated."""


class SmoothFrameSpec(Spec):
    """A smooth function of the direction of the edge: the same input gives the same bits."""

    kind: Literal["smooth"] = "smooth"
    """Which of the choices this section is."""


class RandomFrameSpec(Spec):
    """A random roll about each edge, drawn at every call, as in the published code: with `grid_edges`, noise."""

    kind: Literal["random"] = "random"
    """Which of the choices this section is."""


class ConservativeSpec(Spec):
    """Forces and stress as derivatives of the energy."""

    kind: Literal["conservative"] = "conservative"
    """Which of the choices this section is."""


class StressHeadSpec(Spec):
    """Options of both heads of a direct stress."""

    ends: Literal["both", "receiver"] = "both"
    """The atoms whose features an edge reads."""
    mlp: Literal["edge", "atom"] = "edge"
    """Whether the networks act before the mean over an atom's edges (`edge`) or after it (`atom`)."""
    layers: Annotated[int, Field(ge=1)] = 2
    """Layers of the networks."""
    sum_over: Annotated[float, Field(gt=0)] | None = None
    """Number by which the sum over atoms is divided; null: the number of atoms."""


class Rank2StressSpec(StressHeadSpec):
    """A symmetric tensor from scalars and l = 2 of the edges."""

    kind: Literal["rank2"] = "rank2"
    """Which of the choices this section is."""


class OuterStressSpec(StressHeadSpec):
    """The nine components of v ⊗ v, each by itself: not equivariant. For imported models that were trained so."""

    kind: Literal["outer"] = "outer"
    """Which of the choices this section is."""


class NoStressSpec(Spec):
    """No stress is predicted."""

    kind: Literal["none"] = "none"
    """Which of the choices this section is."""


StressSpec = Annotated[Rank2StressSpec | OuterStressSpec | NoStressSpec, Field(discriminator="kind")]


class DirectSpec(Spec):
    """Forces and stress from heads of their own: no derivative of the energy (the paper's ablation and first stage)."""

    kind: Literal["direct"] = "direct"
    """Which of the choices this section is."""
    stress: StressSpec = Rank2StressSpec()
    """The head that predicts the stress (eV/Å³)."""
    energy: Literal["sum", "mean"] = "sum"
    """Whether the total energy is the sum or the mean of the atoms' energies; `mean` is for imported models."""


RadialSpec = Annotated[GaussianSpec | BesselSpec, Field(discriminator="kind")]
ForcesSpec = Annotated[ConservativeSpec | DirectSpec, Field(discriminator="kind")]
GraphSpec = Annotated[CutoffGraphSpec | NearestGraphSpec, Field(discriminator="kind")]
NonlinearitySpec = Annotated[GateSpec | GridSpec | GridEdgesSpec, Field(discriminator="kind")]
EdgeFrameSpec = Annotated[SmoothFrameSpec | RandomFrameSpec, Field(discriminator="kind")]
EnvelopeSpec = Annotated[
    PolynomialEnvelopeSpec | SmoothEnvelopeSpec | NoEnvelopeSpec, Field(discriminator="kind")
]


class ModelSpec(Spec):
    """The eSEN network. The defaults are the paper's two-layer ablation base (3,199,745 parameters)."""

    cutoff: Annotated[float, Field(gt=0)] = 6.0
    """Largest distance of neighbours, in Å."""
    lmax: Annotated[int, Field(ge=1, le=8)] = 2
    """Highest degree l of the spherical harmonics."""
    mmax: Annotated[int, Field(ge=0, le=8)] = 2
    """Highest order m in the convolutions, at most lmax."""
    layers: Annotated[int, Field(ge=1)] = 2
    """Number of blocks; each lets an atom see one more cutoff away."""
    sphere_channels: Annotated[int, Field(ge=1)] = 128
    """Channels of the features of an atom."""
    hidden_channels: Annotated[int, Field(ge=1)] = 128
    """Channels inside the convolutions and feed-forward networks."""
    edge_channels: Annotated[int, Field(ge=1)] = 128
    """Channels of the radial networks and of the species of an edge."""
    max_elements: Annotated[int, Field(ge=2, le=119)] = 100
    """Atomic numbers below this have an embedding."""
    graph: GraphSpec = CutoffGraphSpec()
    """Which pairs of atoms exchange messages."""
    radial: RadialSpec = GaussianSpec()
    """Functions of the distance that the radial networks read."""
    envelope: EnvelopeSpec = PolynomialEnvelopeSpec()
    """How messages vanish at the cutoff."""
    nonlinearity: NonlinearitySpec = GateSpec()
    """Nonlinearities of the features with l > 0."""
    edge_frame: EdgeFrameSpec = SmoothFrameSpec()
    """How the frame of an edge, in which messages are computed, is turned about the edge."""
    forces: ForcesSpec = ConservativeSpec()
    """Where forces (eV/Å) and stress (eV/Å³) come from."""
    dens: bool = False
    """Whether the network has the parts for denoising (DeNS): an encoding of forces, and a head for displacements."""

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
