"""How long a prediction will take, by a short measurement of its network."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from osteon.prediction.running import Job

#: Extent of what is measured: (y, x) in 2D, (z, y, x) in 3D. Larger inputs take as long a voxel.
PROBE = {2: (256, 256), 3: (64, 64, 64)}


def seconds_of_network(job: Job, slices: int, *, across: Mapping[int, int] | None = None) -> float:
    """Estimate the time that the network takes, by running it twice on a small input.

    Args:
        job: The prediction, with the coarse pass of a scan over.
        slices: Slices of the scan that are to be labelled.
        across: Slices that are to be run across other axes, by axis; they are taken for whole, as
            the overlap of tiles is small.

    Returns:
        Seconds; a first guess, as other work on the machine and larger inputs change it.
    """
    spec, plan = job.spec.network, job.plan
    runs = plan.tiles * (job.seen.shape[0] if spec.dimensions == 2 else 1)
    share = slices / job.volume.shape[0]
    if job.air is not None and job.air.skip:
        share *= 1 - (job.air.saving or 0)
    voxels = _padded(job, extent_at_once(job)) * runs * share
    if plan.context is not None and not plan.context.contiguous:
        # Each slice has a coarse pass of its own; that of a whole scan is over by now.
        voxels += _padded(job, plan.context.shape[1:]) * slices
    for axis, count in (across or {}).items():
        plane = [n for i, n in enumerate(job.seen.shape) if i != axis]
        voxels += count * _padded(job, plane)
    return seconds_per_voxel(job) * voxels


def _padded(job: Job, extent: Sequence[int]) -> int:
    """Voxels of an input of an extent, as it is padded for the network."""
    return math.prod(job.rules.pad(np.broadcast_to(np.float32(0), extent)).shape)


def extent_at_once(job: Job) -> list[int]:
    """Return the extent ([z,] y, x) of what goes through the network at once, before it is padded.

    Args:
        job: The prediction.
    """
    dimensions, plan = job.spec.network.dimensions, job.plan
    sizes = (plan.depth, plan.tile, plan.tile)[-dimensions:]
    whole = job.seen.shape[-dimensions:]
    return [n if size is None else min(n, size) for n, size in zip(whole, sizes, strict=True)]


def seconds_per_voxel(job: Job) -> float:
    """Measure the pace of the network, by running it twice on a small input.

    Args:
        job: The prediction.

    Returns:
        Seconds a voxel of input.
    """
    spec = job.spec.network
    extent = [
        min(n, most) for n, most in zip(extent_at_once(job), PROBE[spec.dimensions], strict=True)
    ]
    small = job.rules.pad(np.zeros((1, spec.in_channels, *extent), np.float32))
    job.backend.run(small)
    start = time.perf_counter()
    job.backend.run(small)
    return (time.perf_counter() - start) / math.prod(small.shape[2:])


def in_words(job: Job, seconds: float) -> str:
    """Describe a plan to a person.

    Args:
        job: The prediction.
        seconds: How long the network will take.
    """
    plan = job.plan
    if plan.depth is not None:
        how = f"{plan.tiles} block(s) of at most {plan.depth} × {plan.tile} × {plan.tile} voxels"
    elif plan.tile is not None:
        how = f"{plan.tiles} tiles a slice of at most {plan.tile} × {plan.tile} pixels"
    else:
        how = "whole slices"
    return f"plan: {how}, {plan.memory / 2**20:.0f} MiB of memory, about {in_time(seconds)} to go"


def in_time(seconds: float) -> str:
    """Write a time as a person reads it.

    Args:
        seconds: Its length.
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
