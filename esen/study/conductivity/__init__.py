"""Thermal conductivity of many materials with several potentials, against references."""
