"""Which backend runs a network fastest on this machine: measured, remembered, and told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

import numpy as np
import torch

from osteon.backends import TORCH, open_backend
from osteon.backends.precision import TOLERANCE, choose_device, measured
from osteon.backends.torch_backend import purpose_of
from osteon.errors import UsageError
from osteon.networks import NetworkSpec
from osteon.registry import Row
from osteon.settings import PredictSettings
from osteon.tables.choices import AUTO, BACKENDS

#: What is measured, ([z,] y, x): larger than the probe of the arithmetic, as backends differ in
#: how they fill the caches.
EXTENT = {2: (256, 256), 3: (32, 96, 96)}
#: Work that torch is done with in so many seconds is left to it: another backend takes some of
#: them to convert the network.
LITTLE_SECONDS = 30.0


@dataclass(frozen=True)
class Pick:
    """A backend, and why it was picked.

    Attributes:
        name: Its name.
        why: The reason, in words.
    """

    name: str
    why: str


def pick_backend(
    spec: NetworkSpec,
    weights: Mapping[str, torch.Tensor],
    settings: PredictSettings,
    *,
    voxels: int,
) -> Pick:
    """Pick the backend that the settings ask for, or with ``auto`` the fastest on this machine.

    Args:
        spec: The network.
        weights: Its state.
        settings: Backend, device, precision and threads.
        voxels: Voxels that the network is to see: little work is left to torch.

    Returns:
        The backend.

    Raises:
        UsageError: If the device or precision is not to be had on this machine.
    """
    if settings.backend != AUTO:
        return Pick(settings.backend, "it was asked for")
    device = choose_device(settings.device)
    if device.type != "cpu":
        return Pick(TORCH, f"it runs on the GPU ({device})")
    rows = [row for row in BACKENDS if row.name != TORCH and _can(row, settings.precision)]
    there = [row for row in rows if not _lacks(row)]
    if not there:
        missing = "; ".join(
            f'{row.name} is not installed (pip install "osteon[{row.extra}]")' for row in rows
        )
        return Pick(TORCH, missing or f"no other computes in {settings.precision} on the CPU")
    seconds = {TORCH: _seconds(TORCH, spec, weights, settings)}
    work = seconds[TORCH] * voxels / math.prod(EXTENT[spec.dimensions])
    if work < LITTLE_SECONDS:
        return Pick(TORCH, f"the network takes about {work:.0f} s, and another has to be converted")
    refused = []
    for row in there:
        try:
            seconds[row.name] = _seconds(row.name, spec, weights, settings)
        except UsageError as error:
            refused.append(f"; {error.what}")
    fastest = min(seconds.values())
    name = next(name for name, taken in seconds.items() if taken <= fastest * (1 + TOLERANCE))
    told = ", ".join(f"{name} {taken:.2f} s" for name, taken in seconds.items())
    return Pick(name, f"measured: {told}{''.join(refused)}")


def _can(row: Row, precision: str) -> bool:
    kinds = row.capabilities.get("cpu", ("fp32",))
    return precision == "auto" or (isinstance(kinds, tuple) and precision in kinds)


def _lacks(row: Row) -> list[str]:
    """Libraries of a row that are not installed."""
    libraries = row.capabilities.get("libraries", ())
    return [name for name in libraries if find_spec(name) is None]  # type: ignore[attr-defined]


def _versions(row: Row) -> str:
    libraries = row.capabilities.get("libraries") or (TORCH,)
    return ", ".join(f"{name} {metadata.version(name)}" for name in libraries)  # type: ignore[attr-defined]


def _seconds(
    name: str,
    spec: NetworkSpec,
    weights: Mapping[str, torch.Tensor],
    settings: PredictSettings,
) -> float:
    """Seconds of a backend for one input."""
    sides = (
        -(-max(n, least) // step) * step
        for n, least, step in zip(
            EXTENT[spec.dimensions],
            spec.least,
            (spec.depth_divisor, spec.divisor, spec.divisor)[-spec.dimensions :],
            strict=True,
        )
    )
    batch = np.zeros((1, spec.in_channels, *sides), np.float32)

    def prepare() -> Callable[[], object]:
        backend = open_backend(spec, weights, settings.model_copy(update={"backend": name}))
        return lambda: backend.labels(batch)

    about = f"{_versions(BACKENDS.row(name))} | {purpose_of(spec)}"
    asked = f"{settings.precision}, {settings.threads} threads"
    return measured(prepare, key=f"backend {name} | {about} | {asked}")
