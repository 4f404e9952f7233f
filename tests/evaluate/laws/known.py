"""Potentials that break one law by a known amount, and structures to see it on."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from esen.data.structure import Structure
from esen.evaluate.laws.law import Finding, Outcome
from esen.evaluate.laws.run import make_case
from esen.evaluate.laws.subject import Case, Subject
from esen.graph.types import Graph, Potential, Prediction
from esen.recipe.model import Backend
from tests.toys import PairPotential, lennard_jones

CUTOFF = 5.0
SIGMA, EPSILON = 2.5, 0.05


class Changed:
    """A potential whose predictions are changed afterwards."""

    def __init__(self, base: Potential, change: Callable[[Graph, Prediction], Prediction]) -> None:
        self.base, self.change = base, change
        self.cutoff = base.cutoff
        self.backend: Backend = "vesin"

    def __call__(self, graph: Graph) -> Prediction:
        return self.change(graph, self.base(graph))


def smooth() -> PairPotential:
    """Obeys every law."""
    return lennard_jones(EPSILON, SIGMA, CUTOFF)


def fading(r: Tensor) -> Tensor:
    """What `PairPotential` multiplies the pair energy by."""
    return (1 - (r / CUTOFF) ** 2) ** 3


def phi(r: Tensor) -> Tensor:
    """Lennard-Jones."""
    return 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6)


def cut_at(place: float, order: int) -> PairPotential:
    """Zero beyond `place`, where the derivative of that order is the first to jump: from that of φ · `fading`."""

    def pair(r: Tensor) -> Tensor:
        here = torch.tensor(place, dtype=torch.float64)
        kept = phi(r) * fading(r)
        for lower in range(order):
            kept = kept - derivative_at(here, lower) * (r - here) ** lower / max(1, lower)
        inside = torch.where(r < here, r, torch.ones_like(r))  # where the division is harmless
        return torch.where(r < here, kept / fading(inside), torch.zeros_like(r))

    return PairPotential(pair, CUTOFF)


def derivative_at(place: Tensor, order: int) -> Tensor:
    """Of φ · `fading`."""
    r = place.clone().requires_grad_()
    value = phi(r) * fading(r)
    for _ in range(order):
        (value,) = torch.autograd.grad(value, r, create_graph=True)
    return value.detach()


def swirling(strength: float) -> Changed:
    """Adds ε (−y, x, 0) to the forces."""

    def change(graph: Graph, prediction: Prediction) -> Prediction:
        r = graph.positions
        swirl = torch.stack([-r[:, 1], r[:, 0], torch.zeros_like(r[:, 0])], dim=1)
        return replace(prediction, forces=prediction.forces + strength * swirl)

    return Changed(smooth(), change)


def crystal(seed: int = 0) -> Structure:
    """Four rattled atoms in a skewed cell that is smaller than the cutoff."""
    cell = np.array([[4.0, 0.2, 0.0], [0.0, 4.1, 0.3], [0.1, 0.0, 3.9]])
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    jitter = 0.05 * np.random.default_rng(seed).normal(size=(4, 3))
    return Structure(
        np.array([18, 18, 10, 18]), sites @ cell + jitter, cell, np.ones(3, bool), source="crystal"
    )


def molecule() -> Structure:
    """Three atoms in no cell."""
    positions = np.array([[0.0, 0, 0], [2.7, 0.3, 0], [0.4, 2.5, 0.9]])
    return Structure(
        np.array([18, 18, 10]), positions, np.zeros((3, 3)), np.zeros(3, bool), source="molecule"
    )


def single_atom(*, periodic: bool) -> Structure:
    """One atom, alone or in a small cell."""
    cell = 3.0 * np.eye(3) if periodic else np.zeros((3, 3))
    return Structure(np.array([18]), np.zeros((1, 3)), cell, np.full(3, periodic), source="one atom")


def case_of(potential: Potential, structure: Structure | None = None, **more: object) -> Case:
    """The first look at a structure, by default the crystal."""
    subject = Subject(potential, **more)  # type: ignore[arg-type]
    return make_case(subject, crystal() if structure is None else structure, seed=1)


def only(outcome: Outcome | Sequence[Finding], law: str) -> Finding:
    """The one finding of a law."""
    findings = outcome.findings if isinstance(outcome, Outcome) else outcome
    (found,) = [finding for finding in findings if finding.law == law]
    return found
