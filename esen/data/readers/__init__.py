"""Structures from files: one module a format."""

from esen.data.readers.reading import Files, Reading, load_frames, read_structures

__all__ = ["Files", "Reading", "load_frames", "read_structures"]
