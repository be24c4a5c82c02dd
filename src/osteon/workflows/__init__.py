"""The public API: a stage, its report, its folder."""

from __future__ import annotations

from osteon.workflows.demonstrating import Demonstration, demo
from osteon.workflows.evaluating import EvaluationRun, evaluate
from osteon.workflows.fitting import FitRun, fit
from osteon.workflows.predicting import PredictionRun, predict
from osteon.workflows.preparing import check_dataset, new_dataset
from osteon.workflows.simulating import simulate_cohort, simulate_scan

__all__ = [
    "Demonstration",
    "EvaluationRun",
    "FitRun",
    "PredictionRun",
    "check_dataset",
    "demo",
    "evaluate",
    "fit",
    "new_dataset",
    "predict",
    "simulate_cohort",
    "simulate_scan",
]
