"""Multilayer perceptrons with SiLU."""

from itertools import pairwise

from torch import nn


def mlp(*widths: int, bias: bool = True) -> nn.Sequential:
    """Return Linear – SiLU – … – Linear.

    Args:
        widths: number of inputs, width of every hidden layer, and number of outputs.
        bias: whether the linear layers have biases.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.SiLU()]
    return nn.Sequential(*layers[:-1])
