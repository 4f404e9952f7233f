"""`esen md-drift`: simulate systems at constant energy, and decide whether potentials conserve it."""

from esen.study.drift.choice import DriftOptions, choose_runs
from esen.study.drift.run import run_drift

__all__ = ["DriftOptions", "choose_runs", "run_drift"]
