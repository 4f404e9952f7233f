"""Structures from files: one module a format."""

from esen.data.readers.reading import Reading, read_structures

__all__ = ["Reading", "read_structures"]
