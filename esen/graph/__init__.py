"""Inputs and outputs of potentials: graphs, edges, batches, labels and predictions."""
