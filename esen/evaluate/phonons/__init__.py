"""Harmonic phonons: from forces of displaced supercells, or from exact second derivatives, to what is measured."""
