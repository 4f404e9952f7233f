"""Conversion of checkpoints of fairchem-core 1.x, in which eSEN was published; docs/formats.md has the details."""

from esen.models.convert.convert import Imported, import_published
from esen.models.convert.names import published_weights
from esen.models.convert.settings import published_spec, published_training

__all__ = ["Imported", "import_published", "published_spec", "published_training", "published_weights"]
