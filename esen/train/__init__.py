"""Training: frames to batches, the loss, the stages of a run, and what is written of it."""
