"""Tracking: what a run was given and what it reached, kept by MLflow or by nobody.

Tracking never stops a run and never slows it: a background thread imports MLflow, opens the store and sends
what the run has handed over. A failure is one warning of the logger `esen.track`; then the thread tries
again, ever more rarely. What no store takes is lost, so a training also writes its own `metrics.jsonl`.
"""

from esen.track.mlflow_tracker import MlflowTracker, make_tracker
from esen.track.tracker import NullTracker, Status, Tracker

__all__ = ["MlflowTracker", "NullTracker", "Status", "Tracker", "make_tracker"]
