"""esen: smooth, energy-conserving interatomic potentials, and the physical tests that prove it."""

__version__ = "0.1.0"
