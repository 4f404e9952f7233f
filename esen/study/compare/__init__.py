"""`esen compare`: the results of all commands as one table, with means over seeds and differences to a base."""

from esen.study.compare.comparison import Comparison, compare, split_names
from esen.study.compare.measurements import Measurement, Measurements, read_measurements
from esen.study.compare.run import write_comparison

__all__ = [
    "Comparison",
    "Measurement",
    "Measurements",
    "compare",
    "read_measurements",
    "split_names",
    "write_comparison",
]
