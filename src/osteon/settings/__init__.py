"""Every choice a person can make, once.

The command line, the YAML files and the GUI's forms are made from these
models; field descriptions are the help texts and state units and defaults.
"""

from __future__ import annotations

from osteon.settings.base import Settings, apply_overrides, load_settings
from osteon.settings.cleaning import CleanUpSettings
from osteon.settings.common import Precision
from osteon.settings.data import (
    AugmentationSettings,
    NormalisationSettings,
    PatchSettings,
    ValidationSettings,
)
from osteon.settings.fitting import FitSettings, Mode
from osteon.settings.losses import (
    DiceCrossEntropySettings,
    DiceSettings,
    FocalSettings,
    FocalTverskySettings,
    JaccardCrossEntropySettings,
    JaccardSettings,
    LossSettings,
    LovaszSettings,
    TverskySettings,
)
from osteon.settings.measuring import (
    BoxRegion,
    CompartmentSettings,
    CylinderRegion,
    MeasureSettings,
    RegionSettings,
    SlabRegion,
    WholeRegion,
)
from osteon.settings.network import NetworkSettings
from osteon.settings.optimising import (
    AdamSettings,
    AdamWSettings,
    ConstantSchedule,
    CosineSchedule,
    OneCycleSchedule,
    OptimiserSettings,
    PlateauSchedule,
    ScheduleSettings,
    SgdSettings,
    TrainingSettings,
)
from osteon.settings.predicting import PredictSettings
from osteon.settings.simulating import SimulateSettings
from osteon.settings.words import settings_help

__all__ = [
    "AdamSettings",
    "AdamWSettings",
    "AugmentationSettings",
    "BoxRegion",
    "CleanUpSettings",
    "CompartmentSettings",
    "ConstantSchedule",
    "CosineSchedule",
    "CylinderRegion",
    "DiceCrossEntropySettings",
    "DiceSettings",
    "FitSettings",
    "FocalSettings",
    "FocalTverskySettings",
    "JaccardCrossEntropySettings",
    "JaccardSettings",
    "LossSettings",
    "LovaszSettings",
    "MeasureSettings",
    "Mode",
    "NetworkSettings",
    "NormalisationSettings",
    "OneCycleSchedule",
    "OptimiserSettings",
    "PatchSettings",
    "PlateauSchedule",
    "Precision",
    "PredictSettings",
    "RegionSettings",
    "ScheduleSettings",
    "Settings",
    "SgdSettings",
    "SimulateSettings",
    "SlabRegion",
    "TrainingSettings",
    "TverskySettings",
    "ValidationSettings",
    "WholeRegion",
    "apply_overrides",
    "load_settings",
    "settings_help",
]
