"""Fitting a network: the only package that imports Lightning."""

from __future__ import annotations

from osteon.training.fitting import FitData, FitOutcome, fit, peak_memory
from osteon.training.plan import FitPlan
from osteon.training.record import EpochRow
from osteon.training.watch import FitFolder

__all__ = ["EpochRow", "FitData", "FitFolder", "FitOutcome", "FitPlan", "fit", "peak_memory"]
