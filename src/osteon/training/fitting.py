"""``fit``: from patches to the weights of the best epoch."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy
from safetensors.torch import load_file
from torch import nn

from osteon.allocator import keep_freed_memory
from osteon.datasets import PatchSource
from osteon.errors import InputError
from osteon.events import Reporter
from osteon.files import write_json
from osteon.losses import build_loss
from osteon.model_file import Start, encoder_parameters, start_weights
from osteon.networks import NetworkSpec, build_network
from osteon.settings import FitSettings
from osteon.training.data import FitData
from osteon.training.module import FitModule
from osteon.training.parallel import Place, Processes, agree, device_of, meet
from osteon.training.plan import FitPlan, Machine, describe, make_plan
from osteon.training.record import MEND, EpochRow, FitFolder
from osteon.training.signals import KeepSigterm, interruptible
from osteon.training.stream import BatchStream, Order
from osteon.training.usage import Usage
from osteon.training.watch import Watch, Weights

_PRECISION: dict[str, Any] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
_ACCELERATOR = {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}


@dataclass(frozen=True)
class FitOutcome:
    """What a fit gave.

    Attributes:
        weights: State of the network: of the best epoch; the current ones where none was measured.
        history: One row an epoch.
        best_epoch: The epoch that the weights are of, from 1; None before the first validation.
        stopped: Who or what asked it to end early, or None.
        converged: Why it ended early by itself, or None.
        plan: The plan it followed.
        seconds: Wall time of this call.
        usage: Memory and GPU that it took.
        device: What it ran on.
        start: Where its first weights came from; None if it went on with others.
    """

    weights: Weights
    history: tuple[EpochRow, ...]
    best_epoch: int | None
    stopped: str | None
    converged: str | None
    plan: FitPlan
    seconds: float
    usage: Usage
    device: str
    start: Start | None = None


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
    keep_freed_memory()
    where = meet()
    device = device_of(where)
    reporter = reporter or Reporter()
    resume = agree(where, lambda: resume and folder.last.exists())
    network, start = _network(spec, data, settings, resume=resume)
    network = network.to(device)
    loss = build_loss(settings.loss, classes=spec.classes, class_weights=data.class_weights).to(
        device
    )

    def settle() -> FitPlan:
        if resume:
            return _recorded_plan(folder, where)
        machine = Machine(device, where.world, where.local_world, started)
        return _new_plan(folder, network, loss, data, settings=settings, spec=spec, machine=machine)

    plan = agree(where, settle)
    torch.set_num_threads(plan.threads)
    reporter.message("fit", describe(plan, settings.training.batch_size), **plan.as_dict())
    watch = Watch(
        _stream(data.source, settings, plan, where),
        data,
        plan=plan,
        folder=folder,
        reporter=reporter,
        on_best=on_best,
        patience=settings.training.patience,
        place=where,
    )
    module = _module(network, loss, plan, settings=settings, spec=spec, rank=where.rank)
    with _repeatable(device), interruptible():
        _run(module, watch, resume=resume, clip_norm=settings.training.clip_norm)
    return FitOutcome(
        weights=_final_weights(watch, module, folder),
        history=tuple(watch.history),
        best_epoch=watch.best_epoch,
        stopped=watch.stopped,
        converged=watch.converged,
        plan=plan,
        seconds=time.monotonic() - started,
        usage=watch.meter.usage(),
        device=str(device),
        start=start,
    )


def _network(
    spec: NetworkSpec, data: FitData, settings: FitSettings, *, resume: bool
) -> tuple[nn.Module, Start | None]:
    """Build the network; a fit that is gone on with gets its weights from the checkpoint."""
    torch.manual_seed(settings.seed)
    network = build_network(spec)
    if resume:
        return network, None
    return network, start_weights(network, spec, settings.network.weights, labels=data.labels)


def _new_plan(
    folder: FitFolder,
    network: nn.Module,
    loss: nn.Module,
    data: FitData,
    *,
    settings: FitSettings,
    spec: NetworkSpec,
    machine: Machine,
) -> FitPlan:
    plan = make_plan(
        network,
        loss,
        data.source,
        data.tiles,
        settings=settings,
        spec=spec,
        machine=machine,
        context=data.context,
    )
    write_json(folder.plan, plan.as_dict(), mend=MEND)
    return plan


def _module(
    network: nn.Module,
    loss: nn.Module,
    plan: FitPlan,
    *,
    settings: FitSettings,
    spec: NetworkSpec,
    rank: int,
) -> FitModule:
    alike = settings.network.encoder_learning_rate == 1
    return FitModule(
        network,
        loss,
        settings=settings,
        total_steps=plan.total_steps,
        arithmetic=plan.arithmetic,
        encoder=set() if alike else encoder_parameters(network, spec),
        rank=rank,
    )


def _stream(source: PatchSource, settings: FitSettings, plan: FitPlan, where: Place) -> BatchStream:
    order = Order(
        len(source),
        batch_size=settings.training.batch_size,
        accumulate=plan.accumulate,
        seed=settings.seed,
        total=plan.total_steps,
        place=where,
    )
    return BatchStream(
        source, order, total=plan.total_steps * plan.accumulate, workers=plan.workers
    )


def _run(module: FitModule, watch: Watch, *, resume: bool, clip_norm: float | None) -> None:
    plan, folder = watch.plan, watch.folder
    with _quiet_lightning():
        trainer = pl.Trainer(
            **_hardware(module, plan, watch.place),
            max_epochs=1,  # a fit is one stream; osteon's epochs are counted in steps
            min_epochs=0,
            # The watch ends the fit: a limit here would keep a fit that was killed in its last
            # validation from beginning, and so from measuring.
            max_steps=-1,
            accumulate_grad_batches=plan.accumulate,
            gradient_clip_val=clip_norm,
            callbacks=[watch, KeepSigterm()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=folder.path,
        )
        done = _steps_done(folder) if resume else 0
        with watch.reporter.stage("fit", total=plan.total_steps, done=done) as progress:
            watch.follow(progress)
            trainer.fit(
                module,
                watch.stream,
                ckpt_path=folder.last if resume else None,
                weights_only=True,  # nothing read from a file is executed
            )


def _hardware(module: FitModule, plan: FitPlan, where: Place) -> dict[str, Any]:
    device = next(module.network.parameters()).device
    chosen: dict[str, Any] = {
        "accelerator": _ACCELERATOR[device.type],
        "precision": _PRECISION[plan.precision],
        # Always said: in a job of SLURM Lightning would else requeue it in its own way.
        "plugins": [Processes(where)],
    }
    if where.world == 1:
        return {**chosen, "devices": [device.index or 0] if device.type == "cuda" else 1}
    return {
        **chosen,
        "devices": where.local_world,
        "num_nodes": where.nodes,
        "strategy": DDPStrategy(find_unused_parameters=plan.idle_weights),
    }


@contextmanager
def _repeatable(device: torch.device) -> Iterator[None]:
    """Choose repeatable algorithms on a GPU, where there are any; on a CPU all are."""
    if device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        cudnn.deterministic, cudnn.benchmark = before


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


def _recorded_plan(folder: FitFolder, where: Place) -> FitPlan:
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
    plan = FitPlan.from_dict(data)
    if plan.processes != where.world:
        raise InputError(
            f"the fit was begun by {plan.processes} processes and would go on by {where.world}",
            where=folder.plan,
            mend=f"start {plan.processes} (training.devices, torchrun or srun), or a new fit",
        )
    return plan


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
    return {k: v.detach().cpu().contiguous() for k, v in module.measured.state_dict().items()}
