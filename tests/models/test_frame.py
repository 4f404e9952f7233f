"""The layout of features in the edge frame, and the rotation back."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esen.graph.batch import make_graph
from esen.graph.edges import edge_vectors
from esen.models.frame import EdgeFrame
from esen.models.wigner import edge_wigner
from tests.models.rotations import block_rotation, rolled, wigner
from tests.models.variants import chiral_molecule, potential_of, triclinic_crystal

shapes = pytest.mark.parametrize(("lmax", "mmax"), [(1, 0), (2, 2), (3, 1), (4, 3)])
CHANNELS = 3


def frame_of(lmax: int, mmax: int) -> EdgeFrame:
    """Return the frame of two structures without envelope, so that the inverse is that of the rotation."""
    graph = make_graph([chiral_molecule(), triclinic_crystal()], 3.0)
    vectors = edge_vectors(graph)
    wigner = edge_wigner(vectors / vectors.norm(dim=1, keepdim=True), lmax, mmax)
    backbone = potential_of("default").network.backbone
    (frame,) = backbone.edge_chunks(graph, vectors).frames
    return replace(frame, wigner=wigner, inverse=tuple(d.mT for d in wigner))


def features(frame: EdgeFrame) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    count = (frame.lmax + 1) ** 2
    return torch.randn(frame.num_atoms, count, CHANNELS, generator=generator, dtype=torch.float64)


@shapes
def test_to_edges_puts_orders_and_degrees_in_their_places(lmax: int, mmax: int) -> None:
    frame = frame_of(lmax, mmax)
    x = features(frame)
    assert (frame.lmax, frame.mmax) == (lmax, mmax)
    orders = frame.to_edges(x)
    assert len(orders) == mmax + 1
    for m, order in enumerate(orders):
        for sign in range(order.shape[1]):
            for row, l in enumerate(range(m, lmax + 1)):
                index = min(l, mmax) + (-m if sign else m)
                turned = torch.einsum("ek,nkc->enc", frame.wigner[l][:, index], x[:, l * l : (l + 1) ** 2])
                edges = torch.arange(len(turned))
                both = torch.cat([turned[edges, frame.sender], turned[edges, frame.receiver]], dim=1)
                assert torch.allclose(order[:, sign, row], both, rtol=0, atol=1e-14)


@pytest.mark.parametrize("lmax", [1, 2, 4])
def test_to_atoms_undoes_the_rotation_and_adds_up(lmax: int) -> None:
    """With all orders D is orthogonal, and every atom receives the sum of its neighbours' features."""
    frame = frame_of(lmax, lmax)
    x = features(frame)
    senders = [order[..., :CHANNELS] for order in frame.to_edges(x)]
    expected = torch.zeros_like(x).index_add(0, frame.receiver, x[frame.sender])
    assert torch.allclose(frame.to_atoms(senders), expected, rtol=0, atol=1e-13)


@shapes
def test_axial_messages_are_messages_without_orders_above_zero(lmax: int, mmax: int) -> None:
    frame = frame_of(lmax, mmax)
    orders = [torch.zeros_like(order[..., :CHANNELS]) for order in frame.to_edges(features(frame))]
    axial = torch.randn(orders[0].shape[0], lmax + 1, CHANNELS, dtype=torch.float64)
    orders[0] = axial.unsqueeze(1)
    assert torch.allclose(frame.axial_to_atoms(axial), frame.to_atoms(orders), rtol=0, atol=1e-14)


@shapes
def test_another_roll_about_the_edge_turns_pairs_of_orders(lmax: int, mmax: int) -> None:
    """A roll by φ rotates (+m, −m) by mφ, which commutes with `SO2Linear`; so the network is invariant to it."""
    frame = frame_of(lmax, mmax)
    rows = [slice(l - min(l, mmax), l + min(l, mmax) + 1) for l in range(lmax + 1)]
    roll = [wigner(l, 0.7, 0, 0)[rows[l], rows[l]] for l in range(lmax + 1)]
    turned = replace(frame, wigner=tuple(r @ d for r, d in zip(roll, frame.wigner, strict=True)))
    x = features(frame)
    angle = torch.full((len(frame.sender),), 0.7, dtype=torch.float64)
    for ours, expected in zip(turned.to_edges(x), rolled(frame.to_edges(x), angle), strict=True):
        assert torch.allclose(ours, expected, rtol=0, atol=1e-13)


@shapes
def test_turning_everything_turns_only_the_roll(lmax: int, mmax: int) -> None:
    """The axial features of an edge do not change when features and edges are rotated together."""
    frame = frame_of(lmax, mmax)
    x, dense = features(frame), block_rotation(lmax)
    matrix = block_rotation(1)[1:, 1:]
    graph = make_graph([chiral_molecule(), triclinic_crystal()], 3.0)
    vectors = edge_vectors(graph) @ matrix.T
    wigner = edge_wigner(vectors / vectors.norm(dim=1, keepdim=True), lmax, mmax)
    turned = replace(frame, wigner=wigner)
    assert torch.allclose(turned.to_edges(dense @ x)[0], frame.to_edges(x)[0], rtol=0, atol=1e-13)
