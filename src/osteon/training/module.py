"""The network as Lightning sees it: a step, the optimiser, the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn

from osteon.backends.precision import Arithmetic
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

#: A warm-up starts at this share of the highest learning rate and a one-cycle ends near zero.
WARMUP_START = 0.04
ONE_CYCLE_END = 1e-3


def build_optimiser(
    settings: OptimiserSettings, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Build the optimiser that settings ask for.

    Args:
        settings: One row of the optimiser settings.
        parameters: What is fitted.

    Returns:
        The optimiser.
    """
    if isinstance(settings, AdamSettings):
        return torch.optim.Adam(parameters, lr=settings.learning_rate)
    if isinstance(settings, AdamWSettings):
        return torch.optim.AdamW(
            parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


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
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        settings: FitSettings,
        total_steps: int,
        arithmetic: Arithmetic,
    ):
        super().__init__()
        self.network = network.to(memory_format=arithmetic.memory_format)
        self.loss = loss
        self._settings = settings
        self._total_steps = total_steps
        self._layout = arithmetic.memory_format
        # Buffers, so that a fit that is resumed within an epoch reports the whole epoch's loss.
        self.register_buffer("loss_sum", torch.zeros(()))
        self.register_buffer("loss_count", torch.zeros((), dtype=torch.int64))
        self.loss_sum: torch.Tensor
        self.loss_count: torch.Tensor

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make torch's randomness (dropout) a function of seed and step."""
        torch.manual_seed(self._settings.seed * 2**31 + self.global_step)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """Return the loss of a batch of images (n, c, y, x) and labels (n, y, x)."""
        images, labels = batch
        logits = self.network(images.to(memory_format=self._layout))
        loss: torch.Tensor = self.loss(logits, labels)
        self.loss_sum += loss.detach().float()
        self.loss_count += 1
        return loss

    def take_mean_loss(self) -> float:
        """Return the mean loss since the last call and start anew."""
        mean = float(self.loss_sum / self.loss_count.clamp_min(1))
        self.loss_sum.zero_()
        self.loss_count.zero_()
        return mean

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build the optimiser and its schedule over the steps."""
        optimiser = build_optimiser(self._settings.optimiser, self.network.parameters())
        factor = learning_rate_factor(
            self._settings.schedule,
            highest=self._settings.optimiser.learning_rate,
            total=self._total_steps,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
