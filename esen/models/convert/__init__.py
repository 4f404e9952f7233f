"""Checkpoints of fairchem-core 1.x, in which eSEN was published, as potentials of ours. Facts in docs/formats.md."""

from esen.models.convert.convert import Imported, import_published
from esen.models.convert.names import published_weights
from esen.models.convert.network import published_spec
from esen.models.convert.training import published_training

__all__ = ["Imported", "import_published", "published_spec", "published_training", "published_weights"]
