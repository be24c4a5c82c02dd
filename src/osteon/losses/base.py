"""What all losses share: their input, the ignored voxels and the weights of the classes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from osteon.errors import InputError, UsageError
from osteon.labels import IGNORE


@dataclass(frozen=True)
class Voxels:
    """A batch that was checked, with the logits of ignored voxels taken out.

    Attributes:
        logits: (n, K, [z,] y, x), float32 (float64 stays float64); 0 where ignored.
        labels: (n, [z,] y, x), whole numbers, 255 where ignored.
        valid: (n, [z,] y, x), bool: voxels that are labelled.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    valid: torch.Tensor

    @property
    def truth(self) -> torch.Tensor:
        """(n, K, [z,] y, x), bool: the class of each voxel; of no class where ignored."""
        # Compared, not one_hot: that makes eight bytes a voxel and class.
        numbers = torch.arange(
            self.logits.shape[1], dtype=self.labels.dtype, device=self.labels.device
        )
        each = numbers.view(1, -1, *[1] * (self.labels.ndim - 1))
        return self.labels.unsqueeze(1) == each


def labelled_voxels(logits: torch.Tensor, labels: torch.Tensor) -> Voxels:
    """Check a batch and take out what is ignored.

    Ignored voxels are replaced before anything is computed: multiplied by 0 afterwards, an
    infinite or NaN logit among them would still spoil value and gradient.

    Args:
        logits: (n, K, [z,] y, x), any float type.
        labels: (n, [z,] y, x), whole numbers; 255 is ignored.

    Returns:
        The batch.

    Raises:
        InputError: If the shapes do not go together, or a label is no class.
    """
    if logits.ndim < 3 or (logits.shape[0], *logits.shape[2:]) != tuple(labels.shape):
        raise InputError(
            f"logits of shape {tuple(logits.shape)} do not go with labels of shape "
            f"{tuple(labels.shape)}: (n, K, [z,] y, x) and (n, [z,] y, x) are needed"
        )
    valid = labels != IGNORE
    classes = logits.shape[1]
    strange = valid & ((labels >= classes) | (labels < 0))
    if bool(strange.any()):
        raise InputError(
            f"the labels have {int(labels[strange][0])}, which is none of {classes} classes"
        )
    full = logits if logits.dtype == torch.float64 else logits.float()
    return Voxels(torch.where(valid.unsqueeze(1), full, 0), labels, valid)


def check_weights(weights: Sequence[float], classes: int | None, *, where: str) -> None:
    """Check the weights of the classes.

    Args:
        weights: One a class.
        classes: How many classes there are; None: not known yet.
        where: The setting they come from.

    Raises:
        UsageError: If there are too many or too few, or they cannot be weights.
    """
    if classes is not None and len(weights) != classes:
        raise UsageError(
            f"{len(weights)} class weights are given, but there are {classes} classes",
            where=where,
            mend="give one weight for each class, in the order of the classes",
        )
    if not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise UsageError(
            f"class weights must be finite, not negative and not all 0, not {list(weights)}",
            where=where,
        )


class SegmentationLoss(nn.Module, ABC):
    """A loss called with logits (n, K, [z,] y, x) and labels (n, [z,] y, x): a scalar.

    Ignored voxels (255) have no part, whatever their logits, NaN included; a batch of nothing
    else gives 0 and gradients of 0. A NaN or +∞ logit of a labelled voxel makes the loss NaN,
    which training looks for. Computed in float32 whatever the logits are, without
    operations that autocast would lower; float64 stays float64.

    Args:
        weights: Weights of the classes; None: equal.
    """

    weights: torch.Tensor | None

    def __init__(self, weights: Sequence[float] | None = None):
        super().__init__()
        made = None if weights is None else torch.tensor(tuple(weights), dtype=torch.float32)
        # Not persistent: they belong to the settings and the data, not to the fitted state.
        self.register_buffer("weights", made, persistent=False)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch.

        Args:
            logits: (n, K, [z,] y, x), any float type.
            labels: (n, [z,] y, x), whole numbers; 255 is ignored.

        Raises:
            InputError: If the shapes do not go together, or a label is no class.
            UsageError: If there are more or fewer class weights than classes.
        """
        if self.weights is not None and len(self.weights) != logits.shape[1]:
            check_weights(self.weights.tolist(), logits.shape[1], where="loss.class_weights")
        return self.compute(labelled_voxels(logits, labels))

    @abstractmethod
    def compute(self, voxels: Voxels) -> torch.Tensor:
        """Compute the loss of a checked batch.

        Args:
            voxels: The batch.

        Returns:
            A scalar of the type of ``voxels.logits``.
        """

    def mean_over_classes(self, losses: torch.Tensor) -> torch.Tensor:
        """Take the (weighted) mean over all classes.

        Args:
            losses: (K,).

        Returns:
            Σ wₖ·lossₖ / Σ wₖ; over all K classes, present or not.
        """
        if self.weights is None:
            return losses.sum() / losses.shape[0]
        weights = self.weights.to(losses)
        return (losses * weights).sum() / weights.sum()
