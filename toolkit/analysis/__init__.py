"""Regressions and outliers in bench records: each device compared with its own past and with similar devices.

    records ─┬─ against_past ─▶ Comparison: slower, faster, same, and what changed meanwhile
             └─ outliers     ─▶ Outlier: a device that differs from similar ones, and possible causes

Pure: from raw samples, by tests that suppose no distribution (`shifts`), with a least effect and a correction for the
number of comparisons.
"""

from toolkit.analysis.outliers import Outlier, find_outliers
from toolkit.analysis.regressions import Regression, detect_regressions

__all__ = ["Outlier", "Regression", "detect_regressions", "find_outliers"]
