"""What a fit will take in memory and time, roughly and beforehand."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from osteon.settings import FitSettings

#: Forward multiply-adds and bytes kept for the backward pass, both for a pixel of the input, and
#: the channels of the stages, of the encoders with one input channel (counted with PyTorch's
#: FLOP counter and saved-tensor hooks), and millions of parameters of a U-Net with them.
_ENCODERS: dict[str, tuple[float, float, tuple[int, ...], float]] = {
    "resnet18": (34576, 434, (64, 64, 128, 256, 512), 14.3),
    "resnet34": (71440, 634, (64, 64, 128, 256, 512), 24.4),
    "resnet50": (79888, 1706, (64, 256, 512, 1024, 2048), 32.5),
}
#: Forward and backward pass together, in forward passes.
_PASSES = 3
#: Parameters, gradients, two moments of Adam, and a copy of the best weights, 4 bytes each.
_BYTES_PER_PARAMETER = 20
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
        memory_bytes: Peak memory on a CPU, in bytes; None for a network that is not known here.
        seconds: Time on this CPU in single precision; the same.
    """

    patches_per_epoch: int
    steps: int
    memory_bytes: float | None
    seconds: float | None


def estimate(
    settings: FitSettings, *, slices: int, cache_bytes: float, flops_per_second: float | None = None
) -> Estimate:
    """Estimate what a fit will take.

    Args:
        settings: The settings.
        slices: Slices that are learned from.
        cache_bytes: Memory that decoded slices will take, in bytes.
        flops_per_second: Speed of convolutions on this CPU; None: taken from a timed matrix
            product (0.1 s).

    Returns:
        The estimate: memory to within about a third, time to within a factor of about three.
    """
    patches = slices * settings.patches.per_slice
    steps = -(-patches // settings.training.batch_size) * settings.training.epochs
    network = settings.network
    known = _ENCODERS.get(network.encoder)
    if known is None or network.architecture != "unet":
        return Estimate(patches, steps, None, None)
    multiply_adds, kept, channels, parameters = known
    more_adds, more_kept = decoder_costs(
        channels, network.decoder_channels or (256, 128, 64, 32, 16)
    )
    pixels = settings.patches.size**2
    speed = flops_per_second or _measure()
    seconds = (multiply_adds + more_adds) * 2 * _PASSES * pixels * patches / speed
    seconds *= settings.training.epochs
    if settings.training.max_minutes is not None:
        seconds = min(seconds, settings.training.max_minutes * 60)
    batch = min(settings.training.batch_size, max(1, patches))
    memory = (kept + more_kept) * pixels * batch * _TRANSIENT
    memory += _BASE_BYTES + cache_bytes + parameters * 1e6 * _BYTES_PER_PARAMETER
    workers = settings.training.workers
    memory += _WORKER_BYTES * (workers if isinstance(workers, int) else 1)
    return Estimate(patches, steps, memory, seconds)


def decoder_costs(encoder: tuple[int, ...], decoder: tuple[int, ...]) -> tuple[float, float]:
    """Count what the decoder of a U-Net takes, for one pixel of the input.

    Each stage doubles the resolution, joins the encoder's features, and has two 3 × 3
    convolutions; inputs of convolutions, normalisations and activations are kept.

    Args:
        encoder: Channels of the encoder's five stages, finest first.
        decoder: Channels of the decoder's five stages, deepest first.

    Returns:
        Multiply-adds of the forward pass, and bytes kept for the backward pass.
    """
    adds = kept = 0.0
    before = encoder[-1]
    for stage, channels in enumerate(decoder):
        skip = encoder[-2 - stage] if stage < len(encoder) - 1 else 0
        area = 4.0 ** (len(decoder) - 1 - stage)
        adds += 9 * ((before + skip) * channels + channels**2) / area
        kept += 4 * (before + skip + 4 * channels) / area
        before = channels
    return adds, kept


def _measure() -> float:
    a = np.ones((_PROBE, _PROBE), np.float32)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return _EFFICIENCY * 2 * _PROBE**3 / best
