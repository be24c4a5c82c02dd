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
from osteon.datasets import PatchSource, TileSource
from osteon.errors import InputError, UsageError
from osteon.labels import IGNORE
from osteon.networks import NetworkSpec
from osteon.settings import FitSettings
from osteon.training.measuring import logits_of

#: Schema of ``plan.json``.
SCHEMA = 1
#: Patches of a timed step: enough to be typical, few enough not to waste the budget.
TIMED_PATCHES = 8
#: Share of the time budget that is planned for; the rest is for checkpoints, the report and noise.
BUDGET_SHARE = 0.95
#: Loading may take this share of a step before worker processes pay for their start.
INLINE_LOADING = 0.05
MOST_WORKERS = 8
#: Input of the probe in 3D.
PROBE_DEPTH, PROBE_SIZE_3D = 32, 64
#: What can be measured, kept as best, and put into the model.
WEIGHTS, AVERAGE = "weights", "moving average of the weights"


@dataclass(frozen=True)
class Machine:
    """Where a fit runs.

    Attributes:
        device: The device of this process.
        processes: Processes that a batch is shared out among.
        processes_here: Those of them on this machine, which share its cores.
        started: ``time.monotonic()`` at the start of the fit: the budget counts from there.
    """

    device: torch.device
    processes: int
    processes_here: int
    started: float


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
        dimensions: 2 or 3, of the network.
        accumulate: Batches of a step.
        processes: Processes that a batch is shared out among.
        measured: What is measured and kept: the weights, or their moving average.
        idle_weights: Whether some weights have no part in the result, so that processes must not
            wait for each other's gradients of them.
    """

    total_steps: int
    steps_per_epoch: int
    precision: str
    channels_last: bool
    threads: int
    workers: int
    seconds_per_step: float | None
    probe: Mapping[str, float]
    dimensions: int = 2
    accumulate: int = 1
    processes: int = 1
    measured: str = WEIGHTS
    idle_weights: bool = False

    @property
    def epochs(self) -> int:
        """Epochs, the last of which may be a part of one."""
        return math.ceil(self.total_steps / self.steps_per_epoch)

    @property
    def arithmetic(self) -> Arithmetic:
        """Number format and memory layout."""
        return Arithmetic(self.precision, self.channels_last, self.dimensions)

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
    tiles: TileSource | None,
    *,
    settings: FitSettings,
    spec: NetworkSpec,
    machine: Machine,
    context: int | None = None,
) -> FitPlan:
    """Measure what ``auto`` and ``max_minutes`` leave open, and settle it.

    Args:
        network: The network, on its device; it is not changed.
        loss: The loss.
        source: Patches to learn from.
        tiles: Slices to validate on, or None.
        settings: Settings of the fit.
        spec: Description of the network.
        machine: Where and since when it runs.
        context: See :class:`osteon.training.FitData`.

    Returns:
        The plan.
    """
    training = settings.training
    if isinstance(training.threads, int):
        torch.set_num_threads(training.threads)
    trial = _Trial(copy.deepcopy(network), loss, spec, machine.device)
    arithmetic, timings = probe(
        trial.run_probe,
        machine.device,
        training.precision,
        purpose=f"fit {spec.architecture}/{spec.encoder}/{spec.decoder_channels}",
        dimensions=spec.dimensions,
    )
    if training.batch_size < 2 * machine.processes:
        trial.refuse_single_patches(source, arithmetic)
    step_items = training.batch_size * training.accumulate
    per_epoch = math.ceil(len(source) / step_items)
    total = training.epochs * per_epoch
    seconds, workers = None, training.workers
    if training.max_minutes is not None or workers == "auto":
        loading, computing = trial.time_patches(source, arithmetic)
        if workers == "auto":
            workers = _workers(loading, computing, processes=machine.processes_here)
        patch = computing + (0.0 if workers else loading)
        seconds = patch * step_items / machine.processes
        if training.max_minutes is not None:
            validation = trial.time_tile(tiles, arithmetic, context) * len(tiles) if tiles else 0.0
            left = (training.max_minutes * 60 - (time.monotonic() - machine.started)) * BUDGET_SHARE
            validation /= machine.processes
            total = min(total, steps_within(left, seconds, validation, per_epoch))
    return FitPlan(
        total_steps=total,
        steps_per_epoch=per_epoch,
        precision=arithmetic.precision,
        channels_last=arithmetic.channels_last,
        threads=torch.get_num_threads(),
        workers=int(workers),
        seconds_per_step=seconds,
        probe=timings,
        dimensions=spec.dimensions,
        accumulate=training.accumulate,
        processes=machine.processes,
        measured=WEIGHTS if training.average is None else AVERAGE,
        idle_weights=machine.processes > 1 and trial.has_idle_weights(arithmetic),
    )


def describe(plan: FitPlan, batch_size: int) -> str:
    """Say in words what was settled.

    Args:
        plan: The plan.
        batch_size: Patches of a batch.

    Returns:
        One line.
    """
    patches = f"{batch_size} patches"
    if plan.accumulate > 1:
        patches = f"{plan.accumulate} × {patches}"
    parts = [
        f"{_count(plan.total_steps, 'step')} of {patches} "
        f"({_count(plan.epochs, 'epoch')} of {_count(plan.steps_per_epoch, 'step')})",
        str(plan.arithmetic),
        _count(plan.threads, "thread"),
        _count(plan.workers, "worker process", "es") if plan.workers else "no worker process",
    ]
    if plan.processes > 1:
        parts.append(f"shared by {plan.processes} processes")
    if plan.measured != WEIGHTS:
        parts.append(f"measured and kept: the {plan.measured}")
    return "plan: " + ", ".join(parts)


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{plural if number != 1 else ''}"


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


def _workers(loading: float, computing: float, *, processes: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if loading <= INLINE_LOADING * computing:
        return 0
    return max(
        1, min(MOST_WORKERS, (cores or 2) // processes - 1, math.ceil(loading / computing) + 1)
    )


class _Trial:
    """Steps on a throw-away copy of the network, to be timed."""

    def __init__(
        self, network: nn.Module, loss: nn.Module, spec: NetworkSpec, device: torch.device
    ):
        self._network, self._loss, self._device = network, loss, device
        edges: tuple[int, ...] = (PROBE_SIZE, PROBE_SIZE)
        if spec.dimensions == 3:
            edges = (PROBE_DEPTH, PROBE_SIZE_3D, PROBE_SIZE_3D)
        required = spec.options.get("patch")
        if required is not None:  # networks that take inputs of one size alone
            edges = tuple(required)
        self._image_shape = (PROBE_BATCH, spec.in_channels, *edges)
        self._label_shape = (PROBE_BATCH, *edges)

    def run_probe(self, arithmetic: Arithmetic) -> None:
        images = torch.zeros(self._image_shape, device=self._device)
        labels = torch.zeros(self._label_shape, dtype=torch.uint8, device=self._device)
        self._step(images, labels, arithmetic)

    def has_idle_weights(self, arithmetic: Arithmetic) -> bool:
        """Whether weights have no part in the result, as those of PSPNet's deepest stages."""
        images = torch.zeros(self._image_shape, device=self._device)
        with arithmetic.autocast(self._device):
            self._network.train()(images).sum().backward()
        idle = any(p.grad is None for p in self._network.parameters() if p.requires_grad)
        self._network.zero_grad()
        return idle

    def _step(self, images: torch.Tensor, labels: torch.Tensor, arithmetic: Arithmetic) -> None:
        self._network.train().to(memory_format=arithmetic.memory_format)
        with arithmetic.autocast(self._device):
            logits = self._network(images.to(memory_format=arithmetic.memory_format))
        self._loss(logits, labels).backward()
        self._network.zero_grad()

    def refuse_single_patches(self, source: PatchSource, arithmetic: Arithmetic) -> None:
        """Raise if the network cannot learn from one patch at a time."""
        image, labels = source.item(0, 0)
        try:
            self._step(
                torch.from_numpy(image)[None].to(self._device),
                torch.from_numpy(labels)[None].to(self._device),
                arithmetic,
            )
        except ValueError as error:  # so torch's batch normalisation refuses
            raise UsageError(
                "this network cannot learn from single patches: its batch normalisation needs "
                "more than one",
                where="training.batch_size",
                mend="set training.batch_size to at least 2 for each device",
            ) from error

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

    def time_tile(self, tiles: TileSource, arithmetic: Arithmetic, context: int | None) -> float:
        """Seconds to measure one validation slice."""
        self._network.eval()
        start = time.perf_counter()
        image, labels, _ = tiles.item(len(tiles) // 2)
        tensor = torch.from_numpy(image)[None].to(self._device)
        with torch.inference_mode(), arithmetic.autocast(self._device):
            tensor = tensor.to(memory_format=arithmetic.memory_format)
            logits = logits_of(self._network, tensor, context)
            truth = torch.from_numpy(labels)[None].to(self._device)
            if bool((truth != IGNORE).any()):
                self._loss(logits, truth).item()
        return time.perf_counter() - start
