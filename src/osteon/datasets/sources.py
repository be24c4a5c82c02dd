"""Where patches come from: random ones to learn from, fixed ones to measure by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from osteon.augment import Image, Labels
from osteon.datasets.blocks import BlockPatches
from osteon.datasets.grid import GridTiles
from osteon.datasets.masks import Pair
from osteon.datasets.random_patches import NONE_EMPTY
from osteon.datasets.slices import SlicePatches
from osteon.datasets.splits import Part
from osteon.events import Reporter
from osteon.intensity import Statistics, statistics
from osteon.labels import LabelScheme
from osteon.settings import FitSettings


class TileSource(Protocol):
    """What a network is measured by: the same items in every epoch."""

    @property
    def scans(self) -> tuple[str, ...]:
        """Names of the scans (or kinds of slices) that figures are taken over."""

    def __len__(self) -> int:
        """Items."""

    def item(self, index: int) -> tuple[Image, Labels, int]:
        """Return one item.

        Args:
            index: 0 to ``len(tiles) - 1``.

        Returns:
            Image (channel, [z,] y, x), float32, normalised; labels ([z,] y, x), uint8, 255 = not
            measured; and the index in :attr:`scans`.
        """


class PatchSource(Protocol):
    """What a network is fitted to; picklable, so that spawned processes can have it."""

    def __len__(self) -> int:
        """Items of an epoch."""

    def item(self, epoch: int, index: int) -> tuple[Image, Labels]:
        """Return one item, a function of (seed, epoch, index) alone.

        Args:
            epoch: Epoch, from 0.
            index: 0 to ``len(source) - 1``.

        Returns:
            Image (channel, [z,] y, x), float32, normalised; labels ([z,] y, x), uint8, 255 =
            ignored. Every item of a source has the same shape.
        """


def scan_statistics(
    pairs: Sequence[Pair], recipe: str, *, reporter: Reporter | None = None
) -> dict[str, Statistics]:
    """Take the statistics of several scans.

    Args:
        pairs: The scans.
        recipe: Name of the normalisation recipe.
        reporter: Told of the progress.

    Returns:
        Statistics by name of the scan.

    Raises:
        InputError: See :func:`osteon.intensity.statistics`.
    """
    return {pair.name: statistics(pair.image, recipe, reporter=reporter) for pair in pairs}


def patch_source(
    pairs: Sequence[Pair],
    parts: Sequence[Part],
    *,
    settings: FitSettings,
    statistics: Mapping[str, Statistics],
    labels: LabelScheme,
    cache_bytes: int,
    empty: Mapping[str, Collection[int]] = NONE_EMPTY,
) -> PatchSource:
    """Return the patches that a fit learns from, by its mode.

    Args:
        pairs: The opened scans.
        parts: The slices to be learned from.
        settings: Settings of the fit.
        statistics: Of each scan, by name.
        labels: The classes.
        cache_bytes: Memory for decoded slices in each process, in bytes.
        empty: By name of the scan, slices whose labels are all background; left out with
            ``patches.skip_empty``.

    Returns:
        The source; no voxel has been read.

    Raises:
        UsageError: If a part's scan is missing or has no labels, statistics do not match, or
            there is no class ``patches.must_hold``.
        InputError: If every slice is empty, or a scan's slices are no neighbours (2.5D, 3D).
    """
    made: type[SlicePatches] | type[BlockPatches]
    made = BlockPatches if settings.mode == "3D" else SlicePatches
    return made(
        pairs,
        parts,
        settings=settings,
        statistics=statistics,
        labels=labels,
        cache_bytes=cache_bytes,
        empty=empty,
    )


def validation_tiles(
    pairs: Sequence[Pair],
    parts: Sequence[Part],
    *,
    settings: FitSettings,
    statistics: Mapping[str, Statistics],
    divisor: int,
    depth_divisor: int = 1,
) -> GridTiles | None:
    """Return what a fit is measured by after each epoch, by its mode.

    Args:
        pairs: The opened scans.
        parts: The slices to be measured.
        settings: Settings of the fit.
        statistics: Of each scan, by name.
        divisor: What the network needs height and width of its input to be a multiple of.
        depth_divisor: The same of the depth (3D alone).

    Returns:
        The slices, tiles or blocks; None where there is nothing to be measured.

    Raises:
        UsageError: If a part's scan is missing or has no labels, or statistics do not match.
        InputError: If a scan's neighbouring slices are no neighbours (2.5D, 3D).
    """
    if not parts:
        return None
    return GridTiles(
        pairs,
        parts,
        settings=settings,
        statistics=statistics,
        divisor=(depth_divisor, divisor, divisor),
    )
