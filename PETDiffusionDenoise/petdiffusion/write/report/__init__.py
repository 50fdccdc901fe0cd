"""The report of one case: a single HTML file that opens anywhere, offline, and prints.

report = CaseReport(title, images, ...)
html = case_report(report)
"""

from .model import DENOISED, LOW, REFERENCE, SD, CaseReport
from .page import case_report
from .result import of_result

__all__ = ["DENOISED", "LOW", "REFERENCE", "SD", "CaseReport", "case_report", "of_result"]
