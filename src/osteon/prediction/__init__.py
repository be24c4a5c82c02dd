"""Prediction: a scan and a model → a label volume, streamed from disk to disk.

In 2D and 2.5D slices go through the network whole where the memory allows it, else as tiles with
a halo; in 3D blocks with a halo do. A model that has a voxel size sees the scan resampled to it,
and the labels come back on the scan's own grid. What is held is planned before anything is run.
"""

from __future__ import annotations

from osteon.prediction.averaging import AveragedBackend, check_together
from osteon.prediction.checks import check_ranges
from osteon.prediction.cleanup import CleanUp, plan_cleanup
from osteon.prediction.engine import (
    Beside,
    Elsewhere,
    Predicted,
    keep_part,
    predict,
    predict_kept,
)
from osteon.prediction.job import prepare
from osteon.prediction.likeness import with_grey_values_of_all
from osteon.prediction.looking import Looks
from osteon.prediction.plan import HALO, ContextPlan, PredictPlan, plan_prediction
from osteon.prediction.running import Job
from osteon.prediction.stopping import PredictionStopped
from osteon.prediction.store import Store, new_slices, slices_in, work_area
from osteon.prediction.wanted import Wanted

__all__ = [
    "HALO",
    "AveragedBackend",
    "Beside",
    "CleanUp",
    "ContextPlan",
    "Elsewhere",
    "Job",
    "Looks",
    "PredictPlan",
    "Predicted",
    "PredictionStopped",
    "Store",
    "Wanted",
    "check_ranges",
    "check_together",
    "keep_part",
    "new_slices",
    "plan_cleanup",
    "plan_prediction",
    "predict",
    "predict_kept",
    "prepare",
    "slices_in",
    "with_grey_values_of_all",
    "work_area",
]
