"""What all sources of patches share: the scans they use, what they may see, what patches hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from osteon.datasets.masks import MaskVolume, Pair
from osteon.datasets.resampled import ResampledMask
from osteon.datasets.splits import Part
from osteon.errors import InputError, UsageError, warn
from osteon.intensity import Statistics, load_recipe
from osteon.labels import IGNORE, LabelScheme
from osteon.patches import Place
from osteon.settings import Mode, PatchSettings, ValidationSettings
from osteon.volume import Array

#: The name, beside those of the classes, of every class but the first.
FOREGROUND = "foreground"
#: Voxel sizes that differ by no more than this factor count as equal.
ISOTROPIC_WITHIN = 1.1
#: Half of a resampled slice, less the rounding of its weights.
HALF = 0.5 - 1e-5


def check_mode(pairs: Sequence[Pair], mode: Mode) -> None:
    """Refuse scans whose neighbouring slices are no neighbours where these are seen together.

    Args:
        pairs: The opened scans; no voxel is read.
        mode: How a network sees them.

    Raises:
        InputError: If a scan is marked ``contiguous = false`` and the mode is 2.5D or 3D.
    """
    loose = [pair.name for pair in pairs if not pair.row.contiguous]
    if mode != "2D" and loose:
        raise InputError(
            f"{mode} needs scans whose neighbouring slices are neighbours in space; the manifest "
            "says otherwise (contiguous = false) of: " + ", ".join(loose),
            mend="fit in 2D (mode=2D), or leave these scans out of the dataset",
        )


def labels_of(pair: Pair) -> MaskVolume:
    """Return the labels of a scan that must have some.

    Args:
        pair: The scan.

    Raises:
        UsageError: If it has no mask.
    """
    if pair.labels is None:
        raise UsageError(f"scan '{pair.name}' has no mask", mend="leave it out of the split")
    return pair.labels


def used_pairs(pairs: Sequence[Pair], parts: Sequence[Part]) -> tuple[Pair, ...]:
    """Return the scans that parts name, in the order of the parts.

    Args:
        pairs: The opened scans.
        parts: The parts.

    Raises:
        UsageError: If a part's scan is missing, or has no labels where the part is.
    """
    by_name = {pair.name: pair for pair in pairs}
    for part in parts:
        if part.scan not in by_name:
            raise UsageError(f"the split names a scan '{part.scan}' that was not opened")
        pair = by_name[part.scan]
        strangers = set(part.slices) - set(pair.labelled)
        if strangers:
            raise UsageError(
                f"the split names slice {min(strangers)} of scan '{part.scan}', which has no labels"
            )
    return tuple(by_name[name] for name in dict.fromkeys(part.scan for part in parts))


def matching_statistics(
    pairs: Sequence[Pair], statistics: Mapping[str, Statistics], recipe: str
) -> tuple[Statistics, ...]:
    """Return the statistics of scans, in their order.

    Args:
        pairs: The scans.
        statistics: By name of the scan.
        recipe: Name of the recipe they have to be of.

    Raises:
        UsageError: If those of a scan are missing or of another recipe.
    """
    for pair in pairs:
        found = statistics.get(pair.name)
        if found is None or found.recipe != load_recipe(recipe).name:
            raise UsageError(
                f"there are no statistics of scan '{pair.name}' by the recipe '{recipe}'",
                mend="take them by osteon.datasets.scan_statistics",
            )
    return tuple(statistics[pair.name] for pair in pairs)


def without_empty(parts: Sequence[Part], empty: Mapping[str, Collection[int]]) -> list[Part]:
    """Leave slices out of parts, and parts of which nothing is left.

    Args:
        parts: The parts.
        empty: By name of the scan, the slices to be left out.

    Raises:
        InputError: If nothing is left at all.
    """
    left = [
        Part(part.scan, tuple(z for z in part.slices if z not in empty.get(part.scan, ())))
        for part in parts
    ]
    left = [part for part in left if part.slices]
    if not left:
        raise InputError(
            "every labelled slice to learn from is all background, so none is left",
            where=", ".join(dict.fromkeys(part.scan for part in parts)),
            mend="look at the masks; or keep such slices (patches.skip_empty=false)",
        )
    return left


def slices_to_use(pair: Pair) -> range:
    """Return the slices of a scan that the manifest lets be used, labelled or not.

    Args:
        pair: The scan; if resampled, a slice may be used if half of it comes from such slices.
    """
    if pair.row.slices is None:
        return range(pair.image.shape[0])
    first, stop = pair.row.slices
    if not isinstance(pair.labels, ResampledMask):
        return range(first, stop)
    axis = pair.labels.axis
    own = np.minimum(axis.first[:, np.newaxis] + np.arange(axis.taps), axis.length - 1)
    share = np.where((own >= first) & (own < stop), axis.weights, 0).sum(axis=1)
    usable = np.flatnonzero(share >= HALF)
    return range(int(usable[0]), int(usable[-1]) + 1)


def visible_slices(pair: Pair, parts: Iterable[Part], validation: ValidationSettings) -> range:
    """Return the slices of a scan whose image a patch to learn from may show.

    With slabs, validation begins ``gap`` slices behind the last slice that is learned from: the
    gap may be seen, what is measured may not. Else the whole scan is learned from.

    Args:
        pair: The scan.
        parts: What is learned from; parts of other scans are passed over.
        validation: How validation was kept apart.
    """
    whole = slices_to_use(pair)
    if validation.method != "slabs":
        return whole
    last = max(part.slices[-1] for part in parts if part.scan == pair.name)
    return range(whole.start, min(whole.stop, last + validation.gap + 1))


def runs(slices: Iterable[int]) -> list[range]:
    """Return the stretches of slices without a gap.

    Args:
        slices: Ascending slice indexes.
    """
    ordered = list(slices)
    if not ordered:
        return []
    starts = [ordered[0], *(b for a, b in pairwise(ordered) if b != a + 1)]
    stops = [*(a + 1 for a, b in pairwise(ordered) if b != a + 1), ordered[-1] + 1]
    return [range(start, stop) for start, stop in zip(starts, stops, strict=True)]


def isotropic(pair: Pair) -> bool:
    """Tell whether voxels are as long along z as along y and x, within 10 %, or unknown.

    Args:
        pair: The scan.
    """
    sizes = [s for s in pair.image.geometry.voxel_size if s is not None]
    return len(sizes) < 3 or max(sizes) <= min(sizes) * ISOTROPIC_WITHIN


@dataclass(frozen=True)
class Held:
    """What a share of the patches must hold.

    Attributes:
        classes: Values of the classes; a voxel of any of them will do.
        share: Share of the patches of a slice or run.
    """

    classes: tuple[int, ...]
    share: float

    @classmethod
    def from_settings(cls, patches: PatchSettings, labels: LabelScheme) -> Held:
        """Read the settings by the classes there are.

        Args:
            patches: The settings.
            labels: The classes.

        Raises:
            UsageError: If there is no class of the name.
        """
        if patches.must_hold in labels.names:
            return cls((labels.value(patches.must_hold),), patches.share)
        if patches.must_hold != FOREGROUND:
            raise UsageError(
                f"there is no class '{patches.must_hold}'",
                where="patches.must_hold",
                mend=f"use one of: {', '.join((*labels.names, FOREGROUND))}",
            )
        return cls(tuple(c.value for c in labels.classes[1:]), patches.share)

    def count(self, patches: int) -> int:
        """Return how many of so many patches must hold a class; halves are rounded up.

        Args:
            patches: Number of patches.
        """
        return math.floor(self.share * patches + 0.5)

    def warn_of_none(self, counts: Iterable[int]) -> None:
        """Say so where the share is too small for a single patch.

        Args:
            counts: Numbers of patches of the slices or runs.
        """
        if self.share and not any(self.count(n) for n in counts):
            warn(
                "share-too-small",
                f"a share of {self.share:g} of the patches of a slice is less than half a patch: "
                "no patch is placed by what it holds",
                where="patches.share",
            )

    def voxels(self, labels: Array) -> npt.NDArray[np.bool_]:
        """Return where labels are of one of the classes.

        Args:
            labels: uint8 labels, any shape.
        """
        table = np.zeros(IGNORE + 1, dtype=bool)
        table[list(self.classes)] = True
        found: npt.NDArray[np.bool_] = table[labels]
        return found


class VoxelDraw:
    """Draws voxels of wanted classes: a slice of some at random, then any such voxel of it.

    Every slice that has one is as likely as another, and so is every such voxel of a slice.
    Holds a mask of one slice.

    Args:
        slices: The slices to choose from.
        wanted: Gives the wanted voxels (y, x) of a slice, or None where it has none.
        rng: The random generator.
    """

    def __init__(
        self,
        slices: Sequence[int],
        *,
        wanted: Callable[[int], npt.NDArray[np.bool_] | None],
        rng: np.random.Generator,
    ):
        self._left, self._wanted, self._rng = list(slices), wanted, rng
        self._z = -1

    def turn(self) -> bool:
        """Go to a slice at random; False if none has such a voxel."""
        while self._left:
            chosen = int(self._rng.integers(len(self._left)))
            z = self._left[chosen]
            if z == self._z:
                return True
            mask = self._wanted(z)
            if mask is not None:
                self._z, self._mask = z, mask
                self._until = np.cumsum(np.count_nonzero(mask, axis=1))
                return True
            del self._left[chosen]
        return False

    def voxel(self) -> Place:
        """Return a voxel (z, y, x) of the slice."""
        number = int(self._rng.integers(self._until[-1]))
        y = int(np.searchsorted(self._until, number, side="right"))
        columns = np.flatnonzero(self._mask[y])
        return self._z, y, int(columns[number - self._until[y]])  # counted from the row's end
