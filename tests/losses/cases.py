"""Batches, and the losses of the table."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch

from osteon.labels import IGNORE
from osteon.settings import LossSettings

KINDS = {kind.model_fields["name"].default: kind for kind in get_args(LossSettings)}

#: Shapes (n, [z,] y, x) of batches in two and three dimensions.
SHAPES = {"2D": (2, 9, 7), "3D": (2, 3, 5, 4)}


def batch(
    seed: int = 0,
    *,
    classes: int = 3,
    shape: tuple[int, ...] = SHAPES["2D"],
    ignored: float = 0,
    present: int | None = None,
    dtype: type = np.float32,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits, and labels of the first ``present`` classes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (shape[0], classes, *shape[1:])).astype(dtype)
    labels = rng.integers(0, present or classes, shape).astype(np.uint8)
    labels[rng.random(shape) < ignored] = IGNORE
    return torch.from_numpy(logits).requires_grad_(), torch.from_numpy(labels)


def value_and_gradient(
    module: torch.nn.Module, logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = logits.detach().clone().requires_grad_()
    value = module(logits, labels)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def hand_worked() -> tuple[torch.Tensor, torch.Tensor]:
    """Two voxels with probabilities (3/4, 1/4) and (1/2, 1/2), of classes 0 and 1."""
    probability = torch.tensor([[0.75, 0.5], [0.25, 0.5]])
    return probability.log().reshape(1, 2, 1, 2), torch.tensor([[[0, 1]]], dtype=torch.uint8)
