"""The model file: one safetensors file with the weights and a JSON description.

The description holds what inference needs and nothing more; the settings of the fit ride
along as provenance and are never validated again. Nothing in the file is executed.
"""

from __future__ import annotations

from osteon.model_file.files import load_model, read_description, save_model
from osteon.model_file.reference import read_reference
from osteon.model_file.reference_writing import write_reference
from osteon.model_file.spec import (
    HALF_MAXIMUM,
    KEY,
    SCHEMA,
    Model,
    ModelSpec,
    TrainingRanges,
    weights_digest,
)
from osteon.model_file.starting import (
    Start,
    check_start,
    encoder_parameters,
    start_weights,
)
from osteon.networks import ContextSpec

__all__ = [
    "HALF_MAXIMUM",
    "KEY",
    "SCHEMA",
    "ContextSpec",
    "Model",
    "ModelSpec",
    "Start",
    "TrainingRanges",
    "check_start",
    "encoder_parameters",
    "load_model",
    "read_description",
    "read_reference",
    "save_model",
    "start_weights",
    "weights_digest",
    "write_reference",
]
