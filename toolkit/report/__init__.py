"""The report: one page that answers which model to ship, on which device, and whether to trust it; also as CSV and Markdown."""

from toolkit.report.recommendation import Recommendation
from toolkit.report.render.write import Report, recommend, write_report

__all__ = ["Recommendation", "Report", "recommend", "write_report"]
