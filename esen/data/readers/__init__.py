"""Readers of structures with labels, one module per format."""

from esen.data.readers.labels import Reading
from esen.data.readers.sources import Files, load_frames, load_structures

__all__ = ["Files", "Reading", "load_frames", "load_structures"]
