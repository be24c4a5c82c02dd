"""What a fit took: operations, times, memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from osteon.model_file import ModelSpec
from osteon.networks import network_costs
from osteon.training import EpochRow, FitOutcome
from osteon.workflows.record import finite


def fit_costs(spec: ModelSpec, outcome: FitOutcome) -> dict[str, Any]:
    """Return what the reference's model files tell of a fit, and more.

    Args:
        spec: The model.
        outcome: The fit.

    Returns:
        Figures by name, as ``run.json`` has them.
    """
    network, patch = spec.network, spec.patch_size
    counted = network_costs(network, (1, network.in_channels, *patch))
    measuring = [r.val_seconds for r in outcome.history if r.val_seconds == r.val_seconds]
    found: dict[str, Any] = finite(
        {
            "parameters": counted.parameters,
            "gflops_per_patch": counted.flops / 1e9,
            "seconds": outcome.seconds,
            "seconds_per_epoch": [row.seconds for row in outcome.history],
            "validation_seconds": sum(measuring),
            "prediction_mvoxel_per_second": _prediction_speed(outcome.history),
            "epochs": len(outcome.history),
            "peak_memory_bytes": outcome.usage.peak_memory,
            "workers_memory_bytes": outcome.usage.workers_memory,
            "gpu_memory_bytes": outcome.usage.gpu_memory,
            "gpu_use": outcome.usage.gpu_use,
            "device": outcome.device,
            "plan": outcome.plan.as_dict(),
        }
    )
    return found


def _prediction_speed(history: Sequence[EpochRow]) -> float | None:
    """Megavoxels a second of the fastest validation, reading and loss included; None without."""
    speeds = [r.val_voxels / r.val_seconds / 1e6 for r in history if r.val_voxels]
    return max(speeds, default=None)
