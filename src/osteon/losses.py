"""Losses: modules called with logits (n, K, y, x) and labels (n, y, x) that return a scalar.

Voxels labelled 255 (:data:`osteon.labels.IGNORE`) have no part in any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from osteon.labels import IGNORE
from osteon.settings import JaccardCrossEntropySettings, JaccardSettings, LossSettings
from osteon.tables.choices import LOSSES

#: Keeps the quotient defined where a class is neither present nor predicted.
EPSILON = 1e-7


def soft_counts(
    logits: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum softmax probabilities over the labelled voxels of a batch.

    Args:
        logits: (n, K, y, x), any float type; computed in float32.
        labels: (n, y, x) integers, 255 is left out.

    Returns:
        Three tensors (K,): probability on voxels of the class (soft true positives), all
        probability of the class, and the number of voxels of the class.
    """
    classes = logits.shape[1]
    valid = labels != IGNORE
    probability = logits.float().softmax(1) * valid.unsqueeze(1)
    index = torch.where(valid, labels, 0).long()
    truth = functional.one_hot(index, classes).movedim(-1, 1) * valid.unsqueeze(1)
    axes = (0, 2, 3)
    return (probability * truth).sum(axes), probability.sum(axes), truth.sum(axes).float()


class JaccardLoss(nn.Module):
    """1 - soft IoU, averaged over all classes; a class that the batch's labels lack counts 0.

    As in segmentation-models-pytorch's ``JaccardLoss`` (multiclass, summed over the batch),
    with ignored voxels left out of both sums.
    """

    def __init__(self, settings: JaccardSettings | None = None):
        super().__init__()

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch."""
        true_positive, predicted, present = soft_counts(logits, labels)
        union = predicted + present - true_positive
        loss = 1 - true_positive / union.clamp_min(EPSILON)
        mask = present > 0
        return (loss * mask).sum() / loss.shape[0]


class JaccardCrossEntropyLoss(nn.Module):
    """Jaccard loss plus weighted cross-entropy (mean over the labelled voxels)."""

    def __init__(self, settings: JaccardCrossEntropySettings):
        super().__init__()
        self.jaccard = JaccardLoss()
        self.weight = settings.cross_entropy_weight

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch."""
        labelled = (labels != IGNORE).sum().clamp_min(1)
        total = functional.cross_entropy(
            logits.float(), labels.long(), ignore_index=IGNORE, reduction="sum"
        )
        loss: torch.Tensor = self.jaccard(logits, labels) + self.weight * total / labelled
        return loss


def build_loss(settings: LossSettings) -> nn.Module:
    """Build the loss that settings ask for.

    Args:
        settings: One row of the loss settings.

    Returns:
        The loss module.
    """
    builder = cast(Callable[[LossSettings], nn.Module], LOSSES.load(settings.name))
    return builder(settings)
