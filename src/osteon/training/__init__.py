"""Fitting a network: the only package that imports Lightning."""

from __future__ import annotations

from osteon.training.data import FitData
from osteon.training.fitting import FitOutcome, fit
from osteon.training.parallel import Place, agree, meet, place
from osteon.training.plan import FitPlan
from osteon.training.record import EpochRow, FitFolder
from osteon.training.usage import peak_memory

__all__ = [
    "EpochRow",
    "FitData",
    "FitFolder",
    "FitOutcome",
    "FitPlan",
    "Place",
    "agree",
    "fit",
    "meet",
    "peak_memory",
    "place",
]
