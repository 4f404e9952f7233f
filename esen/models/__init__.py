"""The eSEN network: its mathematics, the potential that it makes, and checkpoints of it."""
