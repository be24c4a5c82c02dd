"""Validation: the same slices every epoch, each voxel counted once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from osteon.backends.precision import Arithmetic
from osteon.datasets import TileSource
from osteon.events import Reporter
from osteon.metrics import confusion_matrix, iou
from osteon.networks import two_pass
from osteon.training.parallel import ALONE, Place, same_buffers, total
from osteon.training.record import class_means


@dataclass(frozen=True)
class Measured:
    """The outcome of a validation.

    Attributes:
        loss: Mean loss of the slices.
        mean_iou: IoU, mean over classes, then over scans.
        class_iou: IoU of each class, mean over the scans in which it occurs.
        confusions: (scan, K, K) counts, rows are truth.
        voxels: Voxels that went through the network, unlabelled and padding among them.
    """

    loss: float
    mean_iou: float
    class_iou: tuple[float, ...]
    confusions: np.ndarray[Any, Any]
    voxels: int = 0


def measure(
    network: nn.Module,
    loss: nn.Module,
    tiles: TileSource,
    *,
    classes: int,
    arithmetic: Arithmetic,
    reporter: Reporter,
    place: Place = ALONE,
    context: int | None = None,
) -> Measured | None:
    """Measure a network on the validation slices. Holds one slice at a time.

    Several processes measure every so-manieth slice each and sum up their counts, so that each
    voxel is counted once.

    Args:
        network: The network; put into evaluation mode and back.
        loss: The loss.
        tiles: The slices.
        classes: Number of classes.
        arithmetic: Number format and memory layout.
        reporter: Told of the progress; a stop request ends the measurement.
        place: Which process this is.
        context: See :func:`logits_of`.

    Returns:
        The figures, or None if it was asked to stop.
    """
    confusions = np.zeros((len(tiles.scans), classes, classes), dtype=np.int64)
    sums = np.zeros(4)  # of losses, items, processes that were asked to stop, voxels
    mine = range(place.rank, len(tiles), place.world)
    was_training, device = network.training, next(network.parameters()).device
    same_buffers(place, network)
    network.train(False)
    with torch.inference_mode(), reporter.stage("validate", total=len(mine), unit="slice") as bar:
        for index in mine:
            if reporter.stopping:
                sums[2] = 1
                break
            image, labels, scan = tiles.item(index)
            tensor = torch.from_numpy(image)[None].to(device)
            with arithmetic.autocast(device):
                tensor = tensor.to(memory_format=arithmetic.memory_format)
                logits = logits_of(network, tensor, context)
            sums[0] += float(loss(logits, torch.from_numpy(labels)[None].to(device)))
            sums[1] += 1
            sums[3] += labels.size
            predicted = logits.argmax(1)[0].to(torch.uint8).cpu().numpy()
            confusions[scan] += confusion_matrix(labels, predicted, classes=classes)
            bar.advance()
    network.train(was_training)
    sums = total(place, torch.from_numpy(sums)).numpy()
    confusions = total(place, torch.from_numpy(confusions)).numpy()
    return None if sums[2] else _scores(confusions, loss=sums[0] / sums[1], voxels=int(sums[3]))


def logits_of(network: nn.Module, image: torch.Tensor, context: int | None) -> torch.Tensor:
    """Run a network over slices as a prediction does.

    Args:
        network: The network.
        image: Slices, tiles or blocks (n, channel, [z,] y, x).
        context: Of a two-scale network, the longest side of its first pass in pixels; where the
            image has no channel for what that found, both passes are made.

    Returns:
        Logits (n, class, [z,] y, x).
    """
    if context is not None and image.shape[1] == 1:
        return two_pass(network, image, context)
    logits: torch.Tensor = network(image)
    return logits


def _scores(confusions: np.ndarray[Any, Any], *, loss: float, voxels: int) -> Measured:
    per_scan = iou(confusions)
    present = ~np.isnan(per_scan)
    means = [float(row[use].mean()) for row, use in zip(per_scan, present, strict=True) if any(use)]
    mean_iou = float(np.mean(means)) if means else math.nan
    return Measured(float(loss), mean_iou, class_means(per_scan), confusions, voxels)
