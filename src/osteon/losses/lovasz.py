"""Lovász-Softmax loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from osteon.losses.base import SegmentationLoss, Voxels
from osteon.settings import LovaszSettings


class LovaszLoss(SegmentationLoss):
    """Lovász-Softmax: the Lovász extension of the Jaccard loss, over the classes present.

    Berman et al. 2018, "The Lovász-Softmax loss: a tractable surrogate for the optimization of
    the intersection-over-union measure in neural networks", eq. 8, 9 and 11, Algorithm 1: of each
    class the errors m_i (1 - p_i on its voxels, p_i elsewhere) are sorted downwards and multiplied
    by the growth of the Jaccard loss with each. As published, the (weighted) mean is over the
    classes that the batch's labels have, and the batch is taken as one image.

    The published code (which segmentation-models-pytorch has) counts in float32, which is inexact
    above 2^24 voxels, takes the growth as a difference of nearly equal numbers (the gradient of
    half a million voxels is 1 % off), returns an empty tensor where all is ignored and has no
    class weights. Here the counts are whole numbers, and the growth is in closed form.

    Args:
        settings: Without parameters.
        weights: Weights of the classes; None: equal.
    """

    def __init__(
        self, settings: LovaszSettings | None = None, weights: Sequence[float] | None = None
    ):
        super().__init__(weights)

    def compute(self, voxels: Voxels) -> torch.Tensor:
        """Compute the loss of a checked batch; see :meth:`SegmentationLoss.compute`."""
        valid = voxels.valid.flatten()
        logits = voxels.logits.movedim(1, 0).flatten(1)
        labels = voxels.labels.flatten()
        if not bool(valid.all()):
            logits, labels = logits[:, valid], labels[valid]
        probability = logits.softmax(0)
        weights = [1.0] * len(logits) if self.weights is None else self.weights.tolist()
        total, weight = probability.sum() * 0, 0.0
        for number, of_class in enumerate(probability):
            truth = labels == number
            if weights[number] > 0 and bool(truth.any()):
                total = total + weights[number] * _extension(of_class, truth)
                weight += weights[number]
        return total / weight if weight else total


def _extension(probability: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Compute the loss of one class from its probability and truth (P,)."""
    errors = torch.where(truth, 1 - probability, probability)
    order = _descending(errors.detach())
    growth = torch.empty_like(errors).scatter_(0, order, _growth(truth[order], errors.dtype))
    return (errors * growth).sum()


def _growth(truth: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Say by how much each further mistake raises the Jaccard loss 1 - I/U.

    With I the voxels of the class not yet mistaken and U those plus all mistaken: a mistake on
    the class takes 1 of I, so that the loss grows by 1/U; one elsewhere adds 1 to U (U after
    it), so that it grows by I/(U - 1) - I/U = I/(U·(U - 1)).

    Args:
        truth: (P,) bool, in the order of the errors; some are true.
        dtype: Type of the result.

    Returns:
        (P,) of the type.
    """
    missed = truth.cumsum(0)  # whole numbers: exact
    rank = torch.arange(1, len(truth) + 1, device=truth.device)
    union = missed[-1] + rank - missed
    intersection = (missed[-1] - missed).to(dtype)
    before = (union - 1).to(dtype)
    union = union.to(dtype)
    # Where truth is false, U - 1 is at least the number of voxels of the class: not 0.
    elsewhere = intersection / union / before
    return torch.where(truth, 1 / union, elsewhere)


def _descending(errors: torch.Tensor) -> torch.Tensor:
    """Sort errors in 0..1 downwards, equal ones in their order; return the indexes."""
    if errors.dtype == torch.float32 and errors.device.type == "cpu":
        # The bits of floats that are not negative are in the order of their values, and torch
        # sorts whole numbers several times faster on a CPU (benchmarks/losses.py).
        return torch.sort(-errors.view(torch.int32), stable=True).indices
    return torch.sort(errors, descending=True, stable=True).indices
