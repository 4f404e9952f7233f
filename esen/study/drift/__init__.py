"""`esen md-drift`: whether potentials conserve energy, as a table, plots and files."""

from esen.study.drift.options import DriftOptions
from esen.study.drift.run import DriftResult, run_drift

__all__ = ["DriftOptions", "DriftResult", "run_drift"]
