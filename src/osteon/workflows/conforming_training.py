"""The part of ``osteon conform`` that fits: same seed, same machine, same weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from osteon.events import Reporter
from osteon.settings import FitSettings, SimulateSettings
from osteon.workflows.fitting import fit
from osteon.workflows.opening import open_models
from osteon.workflows.simulating import simulate_scan


def two_fits(folder: Path, reporter: Reporter) -> dict[str, Any]:
    """Fit twice with one seed and compare the weights.

    Args:
        folder: A folder for scan and runs.
        reporter: Told of the progress.

    Returns:
        ``weights_sha256`` of both, and whether they are the ``same``.
    """
    simulate_scan(folder / "learn", settings=SimulateSettings(size=64, slices=8, seed=1))
    settings = FitSettings.model_validate(
        {
            "patches": {"size": 64, "per_slice": 1},
            "validation": {"method": "none"},
            "training": {"epochs": 2, "batch_size": 4, "threads": 1, "workers": 0}
            | {"precision": "fp32"},
        }
    )
    digests = []
    for at in (1, 2):
        run = fit(folder / "learn" / "dataset.toml", out=folder / f"fit{at}", settings=settings)
        digests.append(_digest(open_models(run.model)[0].weights))
        reporter.message("conform", f"fit {at} of 2 done")
    return {"weights_sha256": digests, "same": digests[0] == digests[1]}


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name].numpy()).tobytes())
    return digest.hexdigest()
