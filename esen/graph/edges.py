"""Edge vectors and neighbour lists."""

from jaxtyping import Float64
from torch import Tensor

from esen.data.neighbours import neighbour_list
from esen.graph.types import Graph


def edge_vectors(graph: Graph) -> Float64[Tensor, "E 3"]:
    """From receiver to the sender's image, in Å: r_sender + shift · cell − r_receiver.

    The formula stands nowhere else.
    """
    cell = graph.cell[graph.structure[graph.receiver]]  # (E, 3, 3)
    offset = (graph.shift.unsqueeze(1) @ cell).squeeze(1)
    return graph.positions[graph.sender] + offset - graph.positions[graph.receiver]


__all__ = ["edge_vectors", "neighbour_list"]
