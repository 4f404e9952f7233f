"""The SO(2) convolution of eSCN: linear maps between features of the same order |m| about the edge.

Source: Passaro and Zitnick, "Reducing SO(3) convolutions to SO(2)" (2023).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from esen.models.concatenation import split

Orders = list[Float[Tensor, "E _sign _degrees _C"]]
"""Features in the edge frame, one tensor per order |m|, in the layout of `frame.py`.

Sizes with a leading underscore differ between the tensors.
"""


def radial_weights(lmax: int, mmax: int, channels: int) -> int:
    """Return the number of radial weights of an edge: one per degree, order |m| and channel."""
    return channels * sum(lmax - m + 1 for m in range(mmax + 1))


class SO2Linear(nn.Module):
    """The linear map of degrees and channels at each |m| that commutes with rotations about the edge.

        m = 0:  y_0 = W_0 x_0 + b
        m > 0:  y_{+m} = Wr x_{+m} − Wi x_{−m},   y_{−m} = Wr x_{−m} + Wi x_{+m}

    where x_m runs over (degree, channel). For m > 0 it is a complex matrix Wr + i Wi, computed as one real product.

    Args:
        lmax: highest degree.
        mmax: highest order.
        inputs: number of input channels.
        outputs: number of output channels.
        extra: number of additional scalars computed from m = 0 (the gates).
    """

    def __init__(self, lmax: int, mmax: int, inputs: int, outputs: int, extra: int = 0) -> None:
        super().__init__()
        self.extra = extra
        self.axial = nn.Linear((lmax + 1) * inputs, extra + (lmax + 1) * outputs)
        self.weights = nn.ParameterList()  # for m = 1, 2, …: [Wr; Wi]
        for m in range(1, mmax + 1):
            degrees = lmax - m + 1
            bound = (degrees * inputs) ** -0.5 / 2**0.5
            weight = torch.empty(2 * degrees * outputs, degrees * inputs).uniform_(-bound, bound)
            self.weights.append(nn.Parameter(weight))

    def forward(
        self, orders: Orders, radial: Float[Tensor, "E weights"] | None = None
    ) -> tuple[Float[Tensor, "E extra"], Orders]:
        """Multiply the features by radial weights, if there are any, and apply the linear map.

        Args:
            orders: features in the edge frame.
            radial: a factor for every (|m|, degree, channel), the same for +m and −m.

        Returns:
            The additional scalars and the features.
        """
        if radial is not None:
            sizes = [x.shape[2] * x.shape[3] for x in orders]
            orders = [
                x * w.view(-1, 1, *x.shape[2:])
                for x, w in zip(orders, split(radial, sizes, dim=1), strict=True)
            ]
        axial = self.axial(orders[0].flatten(1))
        degrees = orders[0].shape[2]
        extra, first = split(axial, [self.extra, axial.shape[1] - self.extra], dim=1)
        mixed = [first.unflatten(1, (1, degrees, -1))]
        for x, weight in zip(orders[1:], self.weights, strict=True):
            real, imaginary = weight.chunk(2)  # each (degrees * outputs, degrees * inputs)
            matrix = torch.cat([torch.cat([real, -imaginary], 1), torch.cat([imaginary, real], 1)])
            mixed.append(nn.functional.linear(x.flatten(1), matrix).unflatten(1, (2, x.shape[2], -1)))
        return extra, mixed
