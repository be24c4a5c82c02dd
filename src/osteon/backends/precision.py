"""Which arithmetic is fastest on this machine: measured, never assumed."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from osteon.errors import OutputError, UsageError, warn
from osteon.files import write_json
from osteon.formats.cache import cache_folder
from osteon.locks import locked

#: Height and width of the probe's input: small enough for a slow CPU, large enough to be typical.
PROBE_SIZE = 128
PROBE_BATCH = 2
#: Counted runs; the fastest is taken, as noise only ever adds time.
PROBE_RUNS = 3
#: A candidate this much slower than the fastest is still taken if it comes first in the list:
#: differences below are noise.
TOLERANCE = 0.1
#: Seconds to wait for another process that remembers something: it takes moments.
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Arithmetic:
    """Number format and memory layout of a network's arithmetic.

    Attributes:
        precision: ``fp32``, ``bf16`` or ``fp16``; below fp32 by autocast.
        channels_last: Whether activations are stored ([z,] y, x, channel).
        dimensions: 2 or 3, of the network.
    """

    precision: str
    channels_last: bool
    dimensions: int = 2

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as torch calls it."""
        if not self.channels_last:
            return torch.contiguous_format
        return torch.channels_last if self.dimensions == 2 else torch.channels_last_3d

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """Return the context in which the network runs.

        Args:
            device: The device it runs on.

        Returns:
            An autocast context, or one that does nothing for fp32.
        """
        if self.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(device.type, dtype)

    def __str__(self) -> str:
        return f"{self.precision}, {'channels-last' if self.channels_last else 'channels-first'}"


def candidates(device: torch.device, precision: str, *, dimensions: int = 2) -> list[Arithmetic]:
    """List what may be tried on a device.

    Args:
        device: The device.
        precision: A precision asked for, or ``auto``.
        dimensions: 2 or 3, of the network.

    Returns:
        The candidates; bf16 on a CPU without hardware for it is left out of ``auto``, as it is
        several times slower there and even the probe would take long.

    Raises:
        UsageError: If the device cannot compute in the precision asked for.
    """
    if device.type == "cpu":
        kinds = ["fp32", "bf16"] if _cpu_bf16() else ["fp32"]
        if precision == "fp16":
            raise UsageError(
                "fp16 is not supported on the CPU", mend="choose precision auto, fp32 or bf16"
            )
    elif device.type == "cuda":
        kinds = ["bf16", "fp16", "fp32"] if torch.cuda.is_bf16_supported() else ["fp16", "fp32"]
    else:
        kinds = ["fp16", "fp32"]
    if precision != "auto":
        kinds = [precision]
    return [Arithmetic(kind, layout, dimensions) for kind in kinds for layout in (True, False)]


def _cpu_bf16() -> bool:
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(supported()) if supported is not None else False


def probe(
    run: Callable[[Arithmetic], None],
    device: torch.device,
    precision: str,
    *,
    purpose: str,
    dimensions: int = 2,
) -> tuple[Arithmetic, dict[str, float]]:
    """Measure the candidates and choose: the first that is not clearly slower than the fastest.

    The outcome is remembered in osteon's cache folder, so that noise in the timing does not make
    two runs on one machine differ in their arithmetic, and so in their last bits.

    Args:
        run: Runs the network once as told.
        device: The device, to wait for its queue.
        precision: A precision asked for, or ``auto``.
        purpose: What is run, such as ``fit unet/resnet18``: outcomes are remembered by it.
        dimensions: 2 or 3, of the network.

    Returns:
        The choice, and the seconds of each candidate for the record.

    Raises:
        UsageError: If the device cannot compute in the precision asked for.
    """
    tried = candidates(device, precision, dimensions=dimensions)
    key = " | ".join((purpose, precision, machine_of(device), f"torch {torch.__version__}"))
    timings = remembered(key)
    if timings is None or set(timings) != {str(c) for c in tried}:
        timings = {str(c): _time(run, c, device) for c in tried}
        remember(key, timings)
    limit = min(timings.values()) * (1 + TOLERANCE)
    best = next(c for c in tried if timings[str(c)] <= limit)
    return best, timings


def measured(prepare: Callable[[], Callable[[], object]], *, key: str) -> float:
    """Measure how long something takes on this machine's CPU, once: the outcome is remembered.

    Args:
        prepare: Makes what is measured ready to be called; not called if it was measured before.
        key: What is measured.

    Returns:
        Seconds.
    """
    key = f"{key} | {machine_of(torch.device('cpu'))}"
    known = remembered(key)
    if known is None or "seconds" not in known:
        known = {"seconds": _least(prepare())}
        remember(key, known)
    return known["seconds"]


def _time(run: Callable[[Arithmetic], None], candidate: Arithmetic, device: torch.device) -> float:
    def once() -> None:
        run(candidate)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return _least(once)


def _least(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls, after one in which kernels are chosen and compiled."""
    work()
    seconds = []
    for _ in range(PROBE_RUNS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return round(min(seconds), 4)


def machine_of(device: torch.device) -> str:
    """Describe a machine and its threads: what is measured on it is remembered by that.

    Args:
        device: The device that is measured.
    """
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return (
        f"{device.type} {platform.node()} {platform.machine()}, {torch.get_num_threads()} threads"
    )


def _store() -> Path:
    return cache_folder() / "probes.json"


def remembered(key: str) -> dict[str, float] | None:
    """Return what was measured before.

    Args:
        key: What, on which machine.

    Returns:
        Seconds by name; None if nothing readable is remembered.
    """
    try:
        return {str(name): float(seconds) for name, seconds in _everything()[key].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # nothing remembered, or not readable: it is measured anew


def _everything() -> dict[str, Any]:
    try:
        found = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(key: str, timings: dict[str, float]) -> None:
    """Remember what was measured in osteon's cache folder; warn where that cannot be written.

    Args:
        key: What, on which machine.
        timings: Seconds by name.
    """
    path = _store()
    try:
        # Another process may remember something else at this moment.
        with locked(
            path.with_suffix(".lock"),
            taken="another process has been writing there for long",
            mend="end it, or set OSTEON_CACHE_DIR to another folder",
            patience_s=_PATIENCE_S,
        ):
            write_json(path, {**_everything(), key: timings})
    except OutputError as error:
        warn(
            "probe-not-remembered",
            "the measured choice of arithmetic could not be kept, so the next run may choose "
            f"otherwise ({error.what}); set OSTEON_CACHE_DIR to a writable folder",
            where=path,
        )


def choose_device(name: str) -> torch.device:
    """Turn the name of a device into a device of this machine.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Returns:
        The device; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: If there is no such device here.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"there is no device '{name}'", mend="choose auto, cpu, cuda, cuda:N or mps"
        ) from None
    missing = (
        (device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()))
        or (device.type == "mps" and not mps)
        or device.type not in ("cpu", "cuda", "mps")
    )
    if missing:
        raise UsageError(f"this machine has no device '{name}'", mend="choose --device auto or cpu")
    return device
