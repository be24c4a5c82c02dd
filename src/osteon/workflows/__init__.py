"""The public API: a stage, its report, its folder. Each is imported on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from osteon.workflows.comparing import ComparisonRun, compare
    from osteon.workflows.demonstrating import Demonstration, demo
    from osteon.workflows.evaluating import EvaluateOptions, EvaluationRun, evaluate
    from osteon.workflows.fitting import FitRun, fit
    from osteon.workflows.measuring import MeasureOptions, MeasureRun, measure
    from osteon.workflows.predicting import PredictionRun, predict
    from osteon.workflows.preparing import check_dataset, new_dataset
    from osteon.workflows.previewing import Preview, preview_dataset
    from osteon.workflows.simulating import simulate_cohort, simulate_scan

__all__ = [
    "ComparisonRun",
    "Demonstration",
    "EvaluateOptions",
    "EvaluationRun",
    "FitRun",
    "MeasureOptions",
    "MeasureRun",
    "PredictionRun",
    "Preview",
    "check_dataset",
    "compare",
    "demo",
    "evaluate",
    "fit",
    "measure",
    "new_dataset",
    "predict",
    "preview_dataset",
    "simulate_cohort",
    "simulate_scan",
]

#: Where each name is defined. Imported on use: a simulation needs no torch, a prediction no
#: training loop, and both start the sooner for it.
_HOMES = {
    "ComparisonRun": "comparing",
    "compare": "comparing",
    "Demonstration": "demonstrating",
    "EvaluateOptions": "evaluating",
    "EvaluationRun": "evaluating",
    "FitRun": "fitting",
    "MeasureOptions": "measuring",
    "MeasureRun": "measuring",
    "PredictionRun": "predicting",
    "Preview": "previewing",
    "check_dataset": "preparing",
    "demo": "demonstrating",
    "evaluate": "evaluating",
    "fit": "fitting",
    "measure": "measuring",
    "new_dataset": "preparing",
    "predict": "predicting",
    "preview_dataset": "previewing",
    "simulate_cohort": "simulating",
    "simulate_scan": "simulating",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'osteon.workflows' has no attribute '{name}'")
    return getattr(importlib.import_module(f"osteon.workflows.{_HOMES[name]}"), name)
