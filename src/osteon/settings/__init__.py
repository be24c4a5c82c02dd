"""Every choice a person can make, once.

The command line, the YAML files and the GUI's forms are made from these
models; field descriptions are the help texts and state units and defaults.
"""

from __future__ import annotations

from osteon.settings.base import Settings, apply_overrides, load_settings, settings_help
from osteon.settings.fitting import (
    AdamSettings,
    AdamWSettings,
    AugmentationSettings,
    ConstantSchedule,
    CosineSchedule,
    FitSettings,
    JaccardCrossEntropySettings,
    JaccardSettings,
    LossSettings,
    NetworkSettings,
    NormalisationSettings,
    OneCycleSchedule,
    OptimiserSettings,
    PatchSettings,
    Precision,
    ScheduleSettings,
    SgdSettings,
    TrainingSettings,
    ValidationSettings,
)
from osteon.settings.predicting import PredictSettings
from osteon.settings.simulating import SimulateSettings

__all__ = [
    "AdamSettings",
    "AdamWSettings",
    "AugmentationSettings",
    "ConstantSchedule",
    "CosineSchedule",
    "FitSettings",
    "JaccardCrossEntropySettings",
    "JaccardSettings",
    "LossSettings",
    "NetworkSettings",
    "NormalisationSettings",
    "OneCycleSchedule",
    "OptimiserSettings",
    "PatchSettings",
    "Precision",
    "PredictSettings",
    "ScheduleSettings",
    "Settings",
    "SgdSettings",
    "SimulateSettings",
    "TrainingSettings",
    "ValidationSettings",
    "apply_overrides",
    "load_settings",
    "settings_help",
]
