"""The plan of a fit: steps, arithmetic, workers and threads, settled once and recorded."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from osteon.backends.precision import PROBE_BATCH, PROBE_SIZE, Arithmetic, probe
from osteon.datasets import GridTiles, PatchSource
from osteon.errors import InputError
from osteon.events import Reporter
from osteon.labels import IGNORE
from osteon.settings import FitSettings

#: Schema of ``plan.json``.
SCHEMA = 1
#: Patches of a timed step: enough to be typical, few enough not to waste the budget.
TIMED_PATCHES = 8
#: Share of the time budget that is planned for; the rest is for checkpoints, the report and noise.
BUDGET_SHARE = 0.95
#: Loading may take this share of a step before worker processes pay for their start.
INLINE_LOADING = 0.05
MOST_WORKERS = 8


@dataclass(frozen=True)
class FitPlan:
    """What was settled before the first step; a resumed fit follows the same plan.

    Attributes:
        total_steps: Steps of the optimiser in all.
        steps_per_epoch: Steps of an epoch.
        precision: Number format of the arithmetic.
        channels_last: Memory layout of the arithmetic.
        threads: CPU threads of the arithmetic.
        workers: Processes that make patches.
        seconds_per_step: Measured; None if nothing needed measuring.
        probe: Seconds of each arithmetic that was tried.
    """

    total_steps: int
    steps_per_epoch: int
    precision: str
    channels_last: bool
    threads: int
    workers: int
    seconds_per_step: float | None
    probe: Mapping[str, float]

    @property
    def epochs(self) -> int:
        """Epochs, the last of which may be a part of one."""
        return math.ceil(self.total_steps / self.steps_per_epoch)

    @property
    def arithmetic(self) -> Arithmetic:
        """Number format and memory layout."""
        return Arithmetic(self.precision, self.channels_last)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary; :meth:`from_dict` reads it back."""
        return {"schema": SCHEMA, **asdict(self), "probe": dict(self.probe)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FitPlan:
        """Build a plan from :meth:`as_dict`.

        Args:
            data: The dictionary.

        Returns:
            The plan.

        Raises:
            InputError: If it is not a plan.
        """
        fields = dict(data)
        schema = fields.pop("schema", SCHEMA)  # the first plans said none
        if schema != SCHEMA:
            raise InputError(
                f"the plan of the fit has schema {schema!r}; this version reads {SCHEMA}",
                mend="go on with the version of osteon that started the fit",
            )
        try:
            return cls(**fields)
        except TypeError as error:
            raise InputError(f"the plan of the fit cannot be read: {error}") from None


def make_plan(
    network: nn.Module,
    loss: nn.Module,
    source: PatchSource,
    tiles: GridTiles | None,
    *,
    settings: FitSettings,
    device: torch.device,
    started: float,
    reporter: Reporter,
) -> FitPlan:
    """Measure what ``auto`` and ``max_minutes`` leave open, and settle it.

    Args:
        network: The network, on its device; it is not changed.
        loss: The loss.
        source: Patches to learn from.
        tiles: Slices to validate on, or None.
        settings: Settings of the fit.
        device: The device.
        started: ``time.monotonic()`` at the start of the fit: the budget counts from there.
        reporter: Told what was settled.

    Returns:
        The plan.
    """
    training, net = settings.training, settings.network
    if isinstance(training.threads, int) and training.threads > 0:
        torch.set_num_threads(training.threads)
    trial = _Trial(copy.deepcopy(network), loss, device)
    arithmetic, timings = probe(
        trial.run_probe,
        device,
        training.precision,
        purpose=f"fit {net.architecture}/{net.encoder}/{net.decoder_channels}",
    )
    per_epoch = math.ceil(len(source) / training.batch_size)
    total = training.epochs * per_epoch
    seconds, workers = None, training.workers
    if training.max_minutes is not None or workers == "auto":
        loading, computing = trial.time_patches(source, arithmetic)
        if workers == "auto":
            workers = _workers(loading, computing)
        patch = computing + (0.0 if workers else loading)
        seconds = patch * training.batch_size
        if training.max_minutes is not None:
            validation = trial.time_tile(tiles, arithmetic) * len(tiles) if tiles else 0.0
            left = (training.max_minutes * 60 - (time.monotonic() - started)) * BUDGET_SHARE
            total = min(total, steps_within(left, seconds, validation, per_epoch))
    plan = FitPlan(
        total,
        per_epoch,
        arithmetic.precision,
        arithmetic.channels_last,
        torch.get_num_threads(),
        int(workers),
        seconds,
        timings,
    )
    reporter.message(
        "fit",
        f"plan: {plan.total_steps} steps of {training.batch_size} patches "
        f"({plan.epochs} epochs of {per_epoch}), {arithmetic}, {plan.threads} threads, "
        f"{plan.workers} workers",
        **plan.as_dict(),
    )
    return plan


def steps_within(seconds: float, step: float, validation: float, per_epoch: int) -> int:
    """Count the steps that fit into a time with a validation after each epoch, begun or whole.

    Args:
        seconds: Time to be filled.
        step: Seconds of a step.
        validation: Seconds of a validation.
        per_epoch: Steps of an epoch.

    Returns:
        The largest number of steps; at least 1.
    """
    whole = max(0, int(seconds // (per_epoch * step + validation)))
    rest = seconds - whole * (per_epoch * step + validation) - validation
    return max(1, whole * per_epoch + max(0, min(per_epoch, int(rest // step))))


def _workers(loading: float, computing: float) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if loading <= INLINE_LOADING * computing:
        return 0
    return max(1, min(MOST_WORKERS, (cores or 2) - 1, math.ceil(loading / computing) + 1))


class _Trial:
    """Steps on a throw-away copy of the network, to be timed."""

    def __init__(self, network: nn.Module, loss: nn.Module, device: torch.device):
        self._network, self._loss, self._device = network, loss, device
        self._channels = next(p for p in network.parameters() if p.ndim == 4).shape[1]

    def run_probe(self, arithmetic: Arithmetic) -> None:
        shape = (PROBE_BATCH, self._channels, PROBE_SIZE, PROBE_SIZE)
        images = torch.zeros(shape, device=self._device)
        labels = torch.zeros(
            (PROBE_BATCH, PROBE_SIZE, PROBE_SIZE), dtype=torch.uint8, device=self._device
        )
        self._step(images, labels, arithmetic)

    def _step(self, images: torch.Tensor, labels: torch.Tensor, arithmetic: Arithmetic) -> None:
        self._network.train().to(memory_format=arithmetic.memory_format)
        with arithmetic.autocast(self._device):
            logits = self._network(images.to(memory_format=arithmetic.memory_format))
        self._loss(logits, labels).backward()
        self._network.zero_grad()

    def time_patches(self, source: PatchSource, arithmetic: Arithmetic) -> tuple[float, float]:
        """Seconds to load and to learn from one patch."""
        count = min(TIMED_PATCHES, len(source))
        source.item(0, 0)  # the first opens files and imports decoders
        start = time.perf_counter()
        items = [source.item(0, i * len(source) // count) for i in range(count)]
        loading = (time.perf_counter() - start) / count
        images = torch.stack([torch.from_numpy(i[0]) for i in items]).to(self._device)
        labels = torch.stack([torch.from_numpy(i[1]) for i in items]).to(self._device)
        seconds = []
        for _ in range(2):  # the first allocates memory and warms the caches
            start = time.perf_counter()
            self._step(images, labels, arithmetic)
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            seconds.append((time.perf_counter() - start) / count)
        return loading, seconds[-1]

    def time_tile(self, tiles: GridTiles, arithmetic: Arithmetic) -> float:
        """Seconds to measure one validation slice."""
        self._network.eval()
        start = time.perf_counter()
        image, labels, _ = tiles.item(len(tiles) // 2)
        tensor = torch.from_numpy(image)[None].to(self._device)
        with torch.inference_mode(), arithmetic.autocast(self._device):
            logits = self._network(tensor.to(memory_format=arithmetic.memory_format))
            truth = torch.from_numpy(labels)[None].to(self._device)
            if bool((truth != IGNORE).any()):
                self._loss(logits, truth).item()
        return time.perf_counter() - start
