"""A moving average of the weights of a network while it is fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

#: In its first steps an average follows faster, or it would long remember the random start:
#: after n steps the decay is at most (1 + n) / (WARM_UP + n), as in TensorFlow's
#: ExponentialMovingAverage.
WARM_UP = 10


def decay_at(step: int, decay: float) -> float:
    """Return the decay of a step.

    Args:
        step: Steps that have been averaged already.
        decay: The decay in the long run.

    Returns:
        Share of the old average that is kept.
    """
    return min(decay, (1 + step) / (WARM_UP + step))


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """Make a copy of a network that follows it by an exponential moving average.

    Parameters and statistics of batch normalisation are averaged, counters copied (Polyak &
    Juditsky 1992; exponential as in Tarvainen & Valpola 2017).

    Args:
        network: The network.
        decay: Share of the average that is kept in a step, in the long run.

    Returns:
        The average; ``update_parameters(network)`` after each step of the optimiser.
    """
    average = AveragedModel(network, multi_avg_fn=_blend(decay), use_buffers=True)
    average.requires_grad_(False)
    return average


def _blend(decay: float) -> Callable[[Any, Any, Any], None]:
    @torch.no_grad()
    def blend(averages: list[torch.Tensor], current: list[torch.Tensor], count: Any) -> None:
        if not averages[0].is_floating_point():
            for old, new in zip(averages, current, strict=True):
                old.copy_(new)
            return
        torch._foreach_lerp_(averages, current, 1 - decay_at(int(count), decay))

    return blend
