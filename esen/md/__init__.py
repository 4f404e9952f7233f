"""Moving atoms: the calculator for ASE."""
