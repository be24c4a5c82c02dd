"""Losses of regions: soft Jaccard, Dice and Tversky, from soft counts over the whole batch.

Why not those of segmentation-models-pytorch or MONAI, which the tests hold these against:
both multiply by the mask after the softmax, so that a NaN under it spoils value and gradient.
segmentation-models-pytorch sums in the type of the logits and takes longer
(benchmarks/losses.py); MONAI's give a class that the labels lack a loss of 1, and its Tversky
loss has no class weights.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch

from osteon.losses.base import SegmentationLoss, Voxels, labelled_voxels
from osteon.settings import DiceSettings, JaccardSettings, TverskySettings

#: Keeps the quotient defined where a class is neither present nor predicted.
EPSILON = 1e-7

Counts = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def soft_counts(logits: torch.Tensor, labels: torch.Tensor) -> Counts:
    """Sum softmax probabilities over the labelled voxels of a batch.

    Args:
        logits: (n, K, [z,] y, x), any float type; computed in float32, or float64.
        labels: (n, [z,] y, x) whole numbers, 255 is left out.

    Returns:
        Three tensors (K,): probability on voxels of the class (soft true positives), all
        probability of the class, and the number of voxels of the class.

    Raises:
        InputError: If the shapes do not go together, or a label is no class.
    """
    return _counts(labelled_voxels(logits, labels))


def _counts(voxels: Voxels) -> Counts:
    probability = voxels.logits.softmax(1)
    truth, valid = voxels.truth, voxels.valid.unsqueeze(1)
    axes = (0, *range(2, probability.ndim))
    return (
        torch.where(truth, probability, 0).sum(axes),
        torch.where(valid, probability, 0).sum(axes),
        truth.sum(axes).to(probability.dtype),
    )


class RegionLoss(SegmentationLoss):
    """The (weighted) mean over all classes of 1 - score.

    A class that the batch's labels lack counts 0 and stays in the mean's denominator, with its
    weight, as in segmentation-models-pytorch: its score would say nothing, and the voxels falsely
    given to it are missing in the scores of the others.
    """

    def compute(self, voxels: Voxels) -> torch.Tensor:
        """Compute the loss of a checked batch; see :meth:`SegmentationLoss.compute`."""
        true_positive, predicted, present = _counts(voxels)
        loss = 1 - self.score(true_positive, predicted, present)
        return self.mean_over_classes(loss * (present > 0))

    @abstractmethod
    def score(
        self, true_positive: torch.Tensor, predicted: torch.Tensor, present: torch.Tensor
    ) -> torch.Tensor:
        """Compute the scores of the classes.

        Args:
            true_positive: (K,) probability on voxels of the class.
            predicted: (K,) all probability of the class.
            present: (K,) number of voxels of the class.

        Returns:
            (K,), 1 at best.
        """


class JaccardLoss(RegionLoss):
    """1 - soft IoU, averaged over all classes; a class that the batch's labels lack counts 0.

    IoU = TP / (predicted + present - TP), with TP the sum of a class's probability over its
    voxels: Rahman & Wang 2016, "Optimizing intersection-over-union in deep neural networks for
    image segmentation", eq. 3–5. As in segmentation-models-pytorch's ``JaccardLoss`` (multiclass,
    summed over the batch), with ignored voxels left out of both sums.

    Args:
        settings: Without parameters.
        weights: Weights of the classes; None: equal.
    """

    def __init__(
        self, settings: JaccardSettings | None = None, weights: Sequence[float] | None = None
    ):
        super().__init__(weights)

    def score(
        self, true_positive: torch.Tensor, predicted: torch.Tensor, present: torch.Tensor
    ) -> torch.Tensor:
        """Compute the soft IoU of the classes; see :meth:`RegionLoss.score`."""
        union = predicted + present - true_positive
        return true_positive / union.clamp_min(EPSILON)


class DiceLoss(RegionLoss):
    """1 - soft Dice, averaged over all classes; a class that the batch's labels lack counts 0.

    Dice = 2·TP / (predicted + present), without squares: Sudre et al. 2017, "Generalised Dice
    overlap as a deep learning loss function", Section 2.1 (the form of Milletari et al. 2016,
    V-Net, squares the sums below). As in segmentation-models-pytorch's ``DiceLoss``.

    Args:
        settings: Without parameters.
        weights: Weights of the classes; None: equal.
    """

    def __init__(
        self, settings: DiceSettings | None = None, weights: Sequence[float] | None = None
    ):
        super().__init__(weights)

    def score(
        self, true_positive: torch.Tensor, predicted: torch.Tensor, present: torch.Tensor
    ) -> torch.Tensor:
        """Compute the soft Dice of the classes; see :meth:`RegionLoss.score`."""
        return 2 * true_positive / (predicted + present).clamp_min(EPSILON)


class TverskyLoss(RegionLoss):
    """1 - Tversky index, averaged over all classes; a class that the labels lack counts 0.

    Index = TP / (TP + α·FP + β·FN), with FP = predicted - TP and FN = present - TP: Salehi et al.
    2017, "Tversky loss function for image segmentation using 3D fully convolutional deep
    networks", eq. 3–4. α = β = 1/2 is Dice, α = β = 1 is Jaccard. As in
    segmentation-models-pytorch's ``TverskyLoss`` with γ = 1.

    Args:
        settings: α weighs false positives, β false negatives.
        weights: Weights of the classes; None: equal.
    """

    def __init__(
        self, settings: TverskySettings | None = None, weights: Sequence[float] | None = None
    ):
        super().__init__(weights)
        settings = settings or TverskySettings()
        self.alpha, self.beta = settings.alpha, settings.beta

    def score(
        self, true_positive: torch.Tensor, predicted: torch.Tensor, present: torch.Tensor
    ) -> torch.Tensor:
        """Compute the Tversky index of the classes; see :meth:`RegionLoss.score`."""
        false = self.alpha * (predicted - true_positive) + self.beta * (present - true_positive)
        return true_positive / (true_positive + false).clamp_min(EPSILON)
