"""Lattice thermal conductivity: from forces of displaced supercells to phonon–phonon scattering (phono3py)."""
