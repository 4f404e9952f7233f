"""Training: frames to batches, the loss, the stages of a run, and the files it writes."""
