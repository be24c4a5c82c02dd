"""Time of each loss, forward and backward, against segmentation-models-pytorch or torch.

Both are given the same 8 × 3 × 256 × 256 logits in float32 on one core, in turn, so that other
work on the machine slows both; the time is the processor's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch.nn import functional

from osteon.labels import IGNORE
from osteon.losses import build_loss
from osteon.settings import (
    DiceCrossEntropySettings,
    DiceSettings,
    FocalSettings,
    FocalTverskySettings,
    JaccardCrossEntropySettings,
    JaccardSettings,
    LossSettings,
    LovaszSettings,
    TverskySettings,
)

ROUNDS = 21
#: Share of the voxels that are not labelled, in the second pair of columns.
SPARSE = 0.9

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def others() -> list[tuple[LossSettings, str, Loss]]:
    """Return each loss's settings, and what it is held against."""
    made = {
        name: getattr(smp.losses, f"{name}Loss")("multiclass", ignore_index=IGNORE)
        for name in ("Jaccard", "Dice", "Lovasz", "Focal")
    }
    tversky = smp.losses.TverskyLoss("multiclass", alpha=1.25, beta=1.25, ignore_index=IGNORE)

    def entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels, ignore_index=IGNORE)

    def both(first: Loss, second: Loss) -> Loss:
        return lambda logits, labels: first(logits, labels) + second(logits, labels)

    return [
        (JaccardSettings(), "smp", made["Jaccard"]),
        (DiceSettings(), "smp", made["Dice"]),
        (TverskySettings(), "smp", tversky),
        (LovaszSettings(), "smp", made["Lovasz"]),
        (FocalSettings(), "smp (of sigmoids)", made["Focal"]),
        (FocalTverskySettings(), "smp, both", both(made["Focal"], tversky)),
        (DiceCrossEntropySettings(), "smp + torch", both(made["Dice"], entropy)),
        (JaccardCrossEntropySettings(), "smp + torch", both(made["Jaccard"], entropy)),
    ]


def seconds(loss: Loss, logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the processor time of one step."""
    logits = logits.clone().requires_grad_()
    started = time.process_time()
    loss(logits, labels).backward()
    return time.process_time() - started


def compare(ours: Loss, other: Loss, logits: torch.Tensor, labels: torch.Tensor) -> list[str]:
    """Return the milliseconds of ours, of the other, and the ratio, as text."""
    long = labels.long()  # the others take nothing else
    times = [(seconds(ours, logits, labels), seconds(other, logits, long)) for _ in range(ROUNDS)]
    mine, theirs = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    return [f"{mine:.0f}", f"{theirs:.0f}", f"{theirs / mine:.1f}"]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logits = 2 * torch.randn(8, 3, 256, 256)
    dense = torch.randint(0, 3, (8, 256, 256), dtype=torch.uint8)
    sparse = dense.masked_fill(torch.rand(dense.shape) < SPARSE, IGNORE)
    print("| loss | ms | other | ms | × faster | ms, 10 % labelled | other, ms | × faster |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for settings, name, other in others():
        ours = build_loss(settings)
        first, second, ratio = compare(ours, other, logits, dense)
        rest = compare(ours, other, logits, sparse)
        print("|", " | ".join([settings.name, first, name, second, ratio, *rest]), "|")


if __name__ == "__main__":
    main()
