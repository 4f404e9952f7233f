"""Experiment tracking: the settings, metrics and files of a run are sent to MLflow, or discarded.

Tracking neither stops nor slows a run: a background thread imports MLflow, opens the store and sends what the run
has reported. The first failure is logged as one warning of the logger `esen.track`; the thread then tries again at
growing intervals. Metrics that no store accepts before the run ends are lost, so training also writes its own
`metrics.jsonl`.
"""

from esen.track.mlflow_tracker import make_tracker
from esen.track.study_run import StudyRun, cell_of_study
from esen.track.tracker import NullTracker, Status, Tracker

__all__ = ["NullTracker", "Status", "StudyRun", "Tracker", "cell_of_study", "make_tracker"]
