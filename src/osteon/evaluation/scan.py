"""How the voxels of one scan were labelled."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from osteon.evaluation.files import Row
from osteon.labels import LabelScheme
from osteon.metrics import Counts, Scores, scores
from osteon.tables.metrics import METRICS
from osteon.volume import VoxelSize

_UM3_PER_MM3 = 1e9

#: Slices with less of a class than this part of the fullest are not typical of the scan.
_FULL_ENOUGH = 0.1


@dataclass(frozen=True)
class ScanEvaluation:
    """How the voxels of one scan were labelled.

    Attributes:
        name: Name of the scan.
        scheme: The classes.
        slices: int64 (z, K, K): a confusion matrix for each slice, rows true classes.
        shape: (z, y, x) in voxels.
        voxel_size: µm along (z, y, x), None where unknown.
        ignored: Voxels without a true label: they are not counted.
        truth_path: Where the truth was read from.
        labels_path: Where the labels were read from.
        specimen: The specimen the scan is of; None: the scan stands for itself.
        more: Further figures of the scan, as rows of the tidy table: surface, topology,
            measures. The same (class, metric) occurs once.
        remarks: What a reader of these figures should know.
    """

    name: str
    scheme: LabelScheme
    slices: Counts = field(repr=False)
    shape: tuple[int, int, int]
    voxel_size: VoxelSize
    ignored: int
    truth_path: str = ""
    labels_path: str = ""
    specimen: str | None = None
    more: tuple[Row, ...] = field(default=(), repr=False)
    remarks: tuple[str, ...] = ()

    @cached_property
    def confusion(self) -> Counts:
        """int64 (K, K): voxels of the whole scan, rows true classes, columns predicted ones."""
        total: Counts = self.slices.sum(axis=0, dtype=np.int64)
        return total

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Metric → float64 (K,), NaN for a class in neither truth nor labels."""
        return scores(self.confusion)

    @property
    def voxel_mm3(self) -> float | None:
        """Volume of a voxel in mm³, None where its size is unknown along an axis."""
        z, y, x = self.voxel_size
        return None if z is None or y is None or x is None else z * y * x / _UM3_PER_MM3

    def slice_scores(self, metric: str = "iou") -> Scores:
        """Score each slice by itself, to show where along z the errors are.

        These are never averaged: the score of the scan is made from its summed counts.

        Args:
            metric: A metric of the table.

        Returns:
            float64 (z, K), NaN where a class is in neither truth nor labels of the slice.
        """
        return scores(self.slices)[METRICS.row(metric).name]

    def typical_slices(self, name: str = "bone") -> list[tuple[int, str]]:
        """Choose slices to show by a rule, so that nobody picks the beautiful ones.

        Args:
            name: The class that counts; the second class of the scheme if there is no such one.

        Returns:
            Index along z and why: the slices with the median and the lowest IoU of the class,
            among those with at least a tenth as much of it as the fullest; the slice with most
            labelled voxels if the truth has none of it.
        """
        index = self.scheme.value(name) if name in self.scheme.names else 1
        name = self.scheme.names[index]
        true = self.slices[:, index].sum(axis=1)
        if not true.any():
            z = int(np.argmax(self.slices.sum(axis=(1, 2))))
            return [(z, f"The truth has no {name}; this slice has most labelled voxels.")]
        full = np.flatnonzero(true >= true.max() * _FULL_ENOUGH)
        order = full[np.argsort(scores(self.slices[full])["iou"][:, index], kind="stable")]
        median, lowest = int(order[len(order) // 2]), int(order[0])
        out = [(median, f"The slice with the median {name} IoU.")]
        if lowest != median:
            out.append((lowest, f"The slice with the lowest {name} IoU."))
        return out
