"""The network as Lightning sees it: a step, the optimiser, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from posixpath import commonpath
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from osteon.backends.precision import Arithmetic
from osteon.errors import UsageError
from osteon.settings import (
    AdamSettings,
    AdamWSettings,
    ConstantSchedule,
    CosineSchedule,
    FitSettings,
    OptimiserSettings,
    PlateauSchedule,
    ScheduleSettings,
)
from osteon.training.averaging import moving_average

#: A warm-up starts at this share of the highest learning rate and a one-cycle ends near zero.
WARMUP_START = 0.04
ONE_CYCLE_END = 1e-3


def parameter_groups(
    network: nn.Module, encoder: Collection[str], *, learning_rate: float, encoder_share: float
) -> list[dict[str, Any]]:
    """Sort what is fitted by its learning rate.

    Args:
        network: The network.
        encoder: Names of the encoder's parameters.
        learning_rate: Of all others.
        encoder_share: Learning rate of the encoder as a share of it; 0 freezes the encoder.

    Returns:
        Groups for an optimiser; one where all have the same learning rate.

    Raises:
        UsageError: If the network has no encoder that could be treated apart.
    """
    if encoder_share == 1:
        return [{"params": list(network.parameters()), "lr": learning_rate}]
    if not encoder:
        raise UsageError(
            "this network has no encoder that could have a learning rate of its own",
            where=f"network.encoder_learning_rate={encoder_share:g}",
            mend="leave it at 1, or choose an architecture with an encoder",
        )
    named = dict(network.named_parameters())
    inside = [named[name] for name in named if name in encoder]
    outside = [named[name] for name in named if name not in encoder]
    if encoder_share == 0:
        for parameter in inside:
            parameter.requires_grad_(False)
        return [{"params": outside, "lr": learning_rate}]
    return [
        {"params": outside, "lr": learning_rate},
        {"params": inside, "lr": learning_rate * encoder_share},
    ]


def build_optimiser(
    settings: OptimiserSettings, groups: list[dict[str, Any]]
) -> torch.optim.Optimizer:
    """Build the optimiser that settings ask for.

    Args:
        settings: One row of the optimiser settings.
        groups: What is fitted, with learning rates: :func:`parameter_groups`.

    Returns:
        The optimiser.
    """
    if isinstance(settings, AdamSettings):
        return torch.optim.Adam(groups)
    if isinstance(settings, AdamWSettings):
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    return torch.optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)


def learning_rate_factor(
    settings: ScheduleSettings, *, highest: float, total: int
) -> Callable[[int], float]:
    """Return the learning rate of each step as a share of the highest.

    Args:
        settings: One row of the schedule settings.
        highest: The highest learning rate.
        total: Steps of the fit.

    Returns:
        A function of the step, from 0.
    """
    if isinstance(settings, ConstantSchedule | PlateauSchedule):
        return lambda step: 1.0
    if isinstance(settings, CosineSchedule):
        end = min(1.0, settings.final_learning_rate / highest)
        return lambda step: _cosine(step / total, end)
    rising = max(1, round(settings.warmup * total))

    def one_cycle(step: int) -> float:
        if step < rising:
            return WARMUP_START + (1 - WARMUP_START) * step / rising
        return _cosine((step - rising) / max(1, total - rising), ONE_CYCLE_END)

    return one_cycle


def _cosine(part: float, end: float) -> float:
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))


class FitModule(pl.LightningModule):
    """A network with its loss, optimiser and schedule.

    Args:
        network: The network.
        loss: Called with logits and labels.
        settings: Settings of the fit.
        total_steps: Steps of the fit, for the schedule.
        arithmetic: Memory layout of the inputs.
        encoder: Names of the encoder's parameters.
        rank: Number of this process among those of the fit.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        settings: FitSettings,
        total_steps: int,
        arithmetic: Arithmetic,
        encoder: Collection[str] = (),
        rank: int = 0,
    ):
        super().__init__()
        self.network = network.to(memory_format=arithmetic.memory_format)
        self.loss = loss
        self._settings, self._total_steps, self._rank = settings, total_steps, rank
        self._layout = arithmetic.memory_format
        self._groups = parameter_groups(
            network,
            encoder,
            learning_rate=settings.optimiser.learning_rate,
            encoder_share=settings.network.encoder_learning_rate,
        )
        self._frozen = _frozen_layers(network, encoder) if self._freezes else []
        decay = settings.training.average
        self.average = None if decay is None else moving_average(self.network, decay)
        self._plateau: ReduceLROnPlateau | None = None
        self._seen: Mapping[str, Any] | None = None
        # Buffers, so that a fit that is resumed within an epoch reports the whole epoch's loss.
        self.register_buffer("loss_sum", torch.zeros(()))
        self.register_buffer("loss_count", torch.zeros((), dtype=torch.int64))
        self.loss_sum: torch.Tensor
        self.loss_count: torch.Tensor

    @property
    def _freezes(self) -> bool:
        return self._settings.network.encoder_learning_rate == 0

    @property
    def measured(self) -> nn.Module:
        """The network that is measured and kept: the moving average where there is one."""
        return self.network if self.average is None else self.average.module

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make torch's randomness (dropout) a function of seed, step, batch and process."""
        batch_of_step = batch_idx % self._settings.training.accumulate
        state = np.random.SeedSequence(
            [self._settings.seed, self.global_step, batch_of_step, self._rank]
        )
        seed = int(state.generate_state(1, np.uint64)[0] >> np.uint64(1))
        if self.device.type == "cpu":
            # torch.manual_seed writes down a stack for GPUs not in use: a millisecond a step.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        for layer in self._frozen:
            layer.train(False)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss of images (n, c, [z,] y, x) and labels (n, [z,] y, x)."""
        images, labels = batch
        logits = self.network(images.to(memory_format=self._layout))
        loss: torch.Tensor = self.loss(logits, labels)
        self.loss_sum += loss.detach().float()
        self.loss_count += 1
        return loss

    def is_finite(self) -> bool:
        """Whether all weights are numbers; a network that is not can learn nothing more."""
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())

    def end_step(self) -> None:
        """Let the moving average follow."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def end_epoch(self, score: float) -> None:
        """Let the schedule see a validation.

        Args:
            score: Mean IoU; NaN without validation.
        """
        if self._plateau is not None and not math.isnan(score):
            self._plateau.step(score)

    def take_mean_loss(self) -> float:
        """Return the mean loss since the last call and start anew."""
        mean = float(self.loss_sum / self.loss_count.clamp_min(1))
        self.loss_sum.zero_()
        self.loss_count.zero_()
        return mean

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser and its schedule over the steps."""
        settings = self._settings.schedule
        optimiser = build_optimiser(self._settings.optimiser, self._groups)
        if isinstance(settings, PlateauSchedule):
            # Stepped by validations, which are not Lightning's: see end_epoch.
            self._plateau = ReduceLROnPlateau(
                optimiser,
                mode="max",
                factor=settings.factor,
                patience=settings.patience,
                threshold=0.0,
                min_lr=settings.final_learning_rate,
            )
            if self._seen is not None:  # Lightning reads the checkpoint before it asks for this
                self._plateau.load_state_dict(dict(self._seen))
            return optimiser
        factor = learning_rate_factor(
            settings, highest=self._settings.optimiser.learning_rate, total=self._total_steps
        )
        schedule = LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the schedule has seen."""
        if self._plateau is not None:
            checkpoint["plateau"] = self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it; the optimiser's state brings the learning rate back."""
        self._seen = checkpoint.get("plateau")


def _frozen_layers(network: nn.Module, encoder: Collection[str]) -> list[nn.Module]:
    """Layers of the encoder whose behaviour differs in training: normalisation and dropout."""
    kinds = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    if not encoder:
        return []
    prefix = commonpath([name.replace(".", "/") for name in encoder]).replace("/", ".") + "."
    return [
        module
        for name, module in network.named_modules()
        if isinstance(module, kinds) and name.startswith(prefix)
    ]
