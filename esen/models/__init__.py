"""The eSEN network, the potential built from it, and its checkpoints."""
