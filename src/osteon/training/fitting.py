"""``fit``: from patches to the weights of the best epoch."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors.torch import load_file

from osteon.backends.precision import choose_device
from osteon.datasets import GridTiles, PatchSource
from osteon.errors import InputError
from osteon.events import Reporter
from osteon.labels import LabelScheme
from osteon.losses import build_loss
from osteon.networks import NetworkSpec, build_network
from osteon.settings import FitSettings
from osteon.training.module import FitModule
from osteon.training.plan import FitPlan, make_plan
from osteon.training.record import EpochRow
from osteon.training.stream import BatchStream
from osteon.training.watch import FitFolder, Watch, Weights, write_bytes

_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_ACCELERATOR = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}


@dataclass(frozen=True)
class FitData:
    """What a network is fitted to.

    Attributes:
        source: Patches to learn from.
        tiles: Slices to validate on after each epoch; None keeps the last weights.
        labels: The classes.
    """

    source: PatchSource
    tiles: GridTiles | None
    labels: LabelScheme


@dataclass(frozen=True)
class FitOutcome:
    """What a fit gave.

    Attributes:
        weights: State of the network: of the best epoch; the current ones where none was measured.
        history: One row an epoch.
        best_epoch: The epoch that the weights are of, from 1; None before the first validation.
        stopped: Why it ended early, or None.
        plan: The plan it followed.
        seconds: Wall time of this call.
        peak_memory: Largest resident memory of this process, in bytes.
        device: What it ran on.
    """

    weights: Weights
    history: tuple[EpochRow, ...]
    best_epoch: int | None
    stopped: str | None
    plan: FitPlan
    seconds: float
    peak_memory: int
    device: str


def fit(
    spec: NetworkSpec,
    data: FitData,
    settings: FitSettings,
    *,
    folder: FitFolder,
    resume: bool = False,
    reporter: Reporter | None = None,
    on_best: Callable[[Weights, EpochRow], None] | None = None,
) -> FitOutcome:
    """Fit a network to patches and keep the weights of the epoch with the best validation IoU.

    Memory: the network with its optimiser, the activations of a batch, and the slices that the
    source keeps; never a whole scan.

    Args:
        spec: The network.
        data: What is learned from and measured.
        settings: Settings of the fit.
        folder: Where plan, log and checkpoints are kept.
        resume: Go on from the folder's last checkpoint, by its recorded plan.
        reporter: Told of the progress; a stop request ends the fit cleanly.
        on_best: Called with the weights and the row of each epoch that is the best so far.

    Returns:
        The outcome.

    Raises:
        InputError: If the data are damaged, the loss diverges or a checkpoint cannot be read.
        OutputError: If the folder cannot be written.
        UsageError: If device or precision are not to be had.
    """
    started = time.monotonic()
    reporter = reporter or Reporter()
    device = choose_device("auto")
    torch.manual_seed(settings.seed)
    network = build_network(spec).to(device)
    loss = build_loss(settings.loss)
    resume = resume and folder.last.exists()
    if resume:
        plan = _recorded_plan(folder)
        torch.set_num_threads(plan.threads)
    else:
        plan = make_plan(
            network,
            loss,
            data.source,
            data.tiles,
            settings=settings,
            device=device,
            started=started,
            reporter=reporter,
        )
        write_bytes(folder.plan, json.dumps(plan.as_dict(), indent=1).encode())
    stream = _stream(data.source, settings, plan)
    watch = Watch(
        stream,
        data.tiles,
        plan=plan,
        labels=data.labels,
        folder=folder,
        reporter=reporter,
        on_best=on_best,
    )
    module = FitModule(
        network,
        loss,
        settings=settings,
        total_steps=plan.total_steps,
        arithmetic=plan.arithmetic,
    )
    _run(module, stream, watch, plan=plan, device=device, folder=folder, resume=resume)
    return FitOutcome(
        _final_weights(watch, module, folder),
        tuple(watch.history),
        watch.best_epoch,
        watch.stopped,
        plan,
        time.monotonic() - started,
        peak_memory(),
        str(device),
    )


def _stream(source: PatchSource, settings: FitSettings, plan: FitPlan) -> BatchStream:
    return BatchStream(
        source,
        batch_size=settings.training.batch_size,
        seed=settings.seed,
        total=plan.total_steps,
        workers=plan.workers,
    )


def _run(
    module: FitModule,
    stream: BatchStream,
    watch: Watch,
    *,
    plan: FitPlan,
    device: torch.device,
    folder: FitFolder,
    resume: bool,
) -> None:
    with _quiet_lightning():
        trainer = pl.Trainer(
            accelerator=_ACCELERATOR[device.type],
            devices=[device.index or 0] if device.type == "cuda" else 1,
            precision=_PRECISION[plan.precision],
            max_epochs=1,  # a fit is one stream; osteon's epochs are counted in steps
            min_epochs=0,
            max_steps=plan.total_steps,
            callbacks=[watch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=folder.path,
        )
        done = _steps_done(folder) if resume else 0
        reporter = watch.reporter
        with reporter.stage("fit", total=plan.total_steps, done=done) as progress:
            watch.follow(progress)
            trainer.fit(
                module,
                stream,
                ckpt_path=folder.last if resume else None,
                weights_only=True,  # nothing read from a file is executed
            )


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    # Its hints (number of workers, loggers) are not for osteon's users.
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", module=r"torch\.optim\.lr_scheduler")
        try:
            yield
        finally:
            logger.setLevel(level)


def _recorded_plan(folder: FitFolder) -> FitPlan:
    try:
        data = json.loads(folder.plan.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the plan of the fit cannot be read: {error}",
            where=folder.plan,
            mend="start the fit anew in another folder",
        ) from None
    if not isinstance(data, Mapping):
        raise InputError("the plan of the fit cannot be read", where=folder.plan)
    return FitPlan.from_dict(data)


def _steps_done(folder: FitFolder) -> int:
    try:
        state = torch.load(folder.last, weights_only=True, map_location="cpu", mmap=True)
        return int(state["global_step"])
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            f"the checkpoint cannot be read: {type(error).__name__}",
            where=folder.last,
            mend="start anew in another folder; the best model so far is in model.safetensors",
        ) from None


def _final_weights(watch: Watch, module: FitModule, folder: FitFolder) -> Weights:
    if watch.best_epoch is not None:
        return load_file(folder.best)
    return {k: v.detach().cpu().contiguous() for k, v in module.network.state_dict().items()}


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process(os.getpid()).memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
