"""The settings of a fit that goes on from a model, with a few slices that somebody corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from osteon.model_file import ModelSpec, load_model
from osteon.settings import FitSettings
from osteon.tables.networks import DEFAULT_ENCODER
from osteon.tables.shipped import find_model

#: Patches to choose where the model does not say, and a batch that fits into a small computer.
_PATCH, _BATCH = 256, 8
#: Lower than for a fit from nothing: what the model knows is to be kept.
_LEARNING_RATE = 3e-4
#: The limit in minutes ends the fit long before.
_EPOCHS = 1000
#: Patches of each reviewed slice in an epoch.
_PER_SLICE = 16


def fine_tune_settings(model: str | Path | None = None, *, minutes: float = 10.0) -> FitSettings:
    """Return settings that fit a model further, with the network and the recipe that it has.

    Everything is learned from, nothing kept back to measure: reviewed slices are few. See
    docs/bone-pores.md for the choice.

    Args:
        model: A file, or the name of a model that comes with osteon; None: the default.
        minutes: Limit of the fit.

    Returns:
        The settings.

    Raises:
        OsteonError: If the model cannot be read.
    """
    file = find_model(model)
    spec = load_model(file).spec
    return FitSettings.model_validate(
        {
            "mode": spec.mode,
            "voxel_size": spec.voxel_size_um,
            # What is reviewed was mostly labelled by that model, with its surface.
            "surface": spec.surface or "network",
            "network": _network(spec, file),
            "patches": _patches(spec),
            "normalisation": {"recipe": spec.recipe},
            "loss": "jaccard-ce",
            "optimiser": {"name": "adamw", "learning_rate": _LEARNING_RATE},
            "validation": {"method": "none"},
            "training": {"epochs": _EPOCHS, "max_minutes": minutes, "batch_size": _BATCH},
        }
    )


def _network(spec: ModelSpec, file: Path) -> dict[str, Any]:
    network = spec.network
    return {
        "architecture": network.architecture,
        "encoder": network.encoder or DEFAULT_ENCODER,
        "weights": str(file.absolute()),
        "context": spec.context is not None,
        "decoder_channels": network.decoder_channels,
    }


def _patches(spec: ModelSpec) -> dict[str, Any]:
    chosen: dict[str, Any] = {"size": _PATCH, "per_slice": _PER_SLICE}
    if spec.patch_size:
        chosen["size"] = spec.patch_size[-1]
    if spec.mode == "3D" and spec.patch_size:
        chosen["depth"] = spec.patch_size[0]
    if spec.mode == "2.5D":
        chosen["slices"] = spec.slices
    return chosen
