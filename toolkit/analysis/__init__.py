"""What bench records say over time and across a fleet: each device against its own past, and against its like.

    records ─┬─ against_past ─▶ Comparison: slower, faster, same, and what changed meanwhile
             └─ outliers     ─▶ Outlier: who lies apart from like devices, and what its record says of why

Pure: from raw samples, by tests that suppose no distribution (`shifts`), with a least effect and a correction for the
number of comparisons.
"""

from toolkit.analysis.outliers import Outlier, find_outliers
from toolkit.analysis.regressions import Comparison, detect_regressions

__all__ = ["Comparison", "Outlier", "detect_regressions", "find_outliers"]
