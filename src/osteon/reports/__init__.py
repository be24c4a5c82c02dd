"""Reports: tables and pictures → one self-contained HTML file. No torch, no network.

A report is a list of sections made of blocks (``osteon.reports.blocks``); one template draws
them all. A new report composes blocks and calls :func:`write_simple_report`.
"""

from osteon.reports.blocks import Section
from osteon.reports.evaluation import EvaluationReport, write_evaluation_report
from osteon.reports.fit import FitReport, write_fit_report
from osteon.reports.page import write_simple_report
from osteon.reports.pictures import (
    SlicePicture,
    slice_disagreement,
    slice_overlay,
    slice_picture,
)

__all__ = [
    "EvaluationReport",
    "FitReport",
    "Section",
    "SlicePicture",
    "slice_disagreement",
    "slice_overlay",
    "slice_picture",
    "write_evaluation_report",
    "write_fit_report",
    "write_simple_report",
]
