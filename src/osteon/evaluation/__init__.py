"""Evaluation: label volumes against the truth → a tidy table (scan, class, metric, value, n).

Overlap is streamed, so that memory does not grow with the scan; surface and topology
(:class:`Details`) say how much they hold. The rules — what is summed,
what a mean is over, what an absent class counts — are in docs/evaluation.md.
"""

from osteon.evaluation.details import Details
from osteon.evaluation.result import SCHEMA, Evaluation
from osteon.evaluation.scan import ScanEvaluation
from osteon.evaluation.stream import (
    SLAB_BYTES,
    EvaluationStopped,
    Pair,
    evaluate,
    evaluate_pair,
)
from osteon.evaluation.values import Remap
from osteon.metrics import MEAN_CLASS, MEAN_SCANS, POOLED_SCANS

__all__ = [
    "MEAN_CLASS",
    "MEAN_SCANS",
    "POOLED_SCANS",
    "SCHEMA",
    "SLAB_BYTES",
    "Details",
    "Evaluation",
    "EvaluationStopped",
    "Pair",
    "Remap",
    "ScanEvaluation",
    "evaluate",
    "evaluate_pair",
]
