"""What a fit will take in memory and time, roughly and beforehand."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from osteon.settings import FitSettings

#: Forward and backward pass together, in forward passes.
_PASSES = 3
#: Parameters, gradients, two moments of Adam, and a copy of the best weights, 4 bytes each.
_BYTES_PER_PARAMETER = 20
#: A moving average of the weights.
_BYTES_OF_AVERAGE = 4
#: Python with PyTorch and its libraries loaded; and a process that reads patches.
_BASE_BYTES, _WORKER_BYTES = 600e6, 250e6
#: Gradients of activations beside the activations kept.
_TRANSIENT = 1.3
#: Speed of convolutions beside that of a matrix product (measured: 0.3 to 0.5).
_EFFICIENCY = 0.4
_PROBE = 1024


@dataclass(frozen=True)
class Estimate:
    """What a fit will take.

    Attributes:
        patches_per_epoch: Patches in an epoch.
        steps: Steps of the optimiser in all.
        memory_bytes: Peak memory on a CPU, in bytes; None where the network's costs are not known.
        seconds: Time on this CPU in single precision; the same.
    """

    patches_per_epoch: int
    steps: int
    memory_bytes: float | None
    seconds: float | None


class Costs(Protocol):
    """What a network takes for one patch, such as ``osteon.networks.NetworkCosts``."""

    @property
    def parameters(self) -> int:
        """Parameters that are fitted."""

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward pass, two for each multiply-add."""

    @property
    def activation_bytes(self) -> int:
        """Bytes that a forward pass keeps for the backward pass, in single precision."""


def estimate(
    settings: FitSettings,
    *,
    slices: int,
    cache_bytes: float,
    costs: Costs | None = None,
    flops_per_second: float | None = None,
) -> Estimate:
    """Estimate what a fit will take.

    Args:
        settings: The settings.
        slices: Slices that are learned from.
        cache_bytes: Memory that decoded slices will take, in bytes.
        costs: What the network takes for one patch of these settings; None: memory and time are
            left open.
        flops_per_second: Speed of convolutions on this CPU; None: taken from a timed matrix
            product (0.1 s).

    Returns:
        The estimate: memory to within about a third, time to within a factor of about three.
    """
    training = settings.training
    patches = slices * settings.patches.per_slice
    if settings.mode == "3D":  # as many for each stack of slices as deep as a patch
        patches = max(1, round(patches / settings.patches.depth))
    steps = -(-patches // (training.batch_size * training.accumulate)) * training.epochs
    if costs is None:
        return Estimate(patches, steps, None, None)
    speed = flops_per_second or cpu_speed()
    seconds = costs.flops * _PASSES * patches * training.epochs / speed
    if training.max_minutes is not None:
        seconds = min(seconds, training.max_minutes * 60)
    batch = min(training.batch_size, max(1, patches))
    memory = costs.activation_bytes * batch * _TRANSIENT
    copies = _BYTES_PER_PARAMETER + (_BYTES_OF_AVERAGE if training.average is not None else 0)
    memory += _BASE_BYTES + cache_bytes + costs.parameters * copies
    workers = training.workers
    memory += _WORKER_BYTES * (workers if isinstance(workers, int) else 1)
    return Estimate(patches, steps, memory, seconds)


def cpu_speed() -> float:
    """Time a matrix product (0.1 s): floating-point operations of convolutions a second here."""
    a = np.ones((_PROBE, _PROBE), np.float32)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return _EFFICIENCY * 2 * _PROBE**3 / best
