"""Structures: reading, checking, reference energies. Knows numpy and ASE, but not torch."""
