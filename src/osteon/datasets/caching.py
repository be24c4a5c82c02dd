"""The disk cache for a dataset's pairs: image and mask, whatever they are wrapped in."""

from __future__ import annotations

from dataclasses import replace

from osteon.datasets.masks import MaskVolume, Pair, ResizedVolume
from osteon.events import Reporter
from osteon.formats.cache import for_random_reads
from osteon.settings.optimising import DiskCache
from osteon.volume import Volume


def cached_pair(
    pair: Pair, *, choice: DiskCache, memory_bytes: int, reporter: Reporter | None = None
) -> Pair:
    """Return a pair that is read from copies on disk where that pays.

    Args:
        pair: The opened scan and labels.
        choice: The setting ``training.disk_cache``; see
            :func:`osteon.formats.cache.for_random_reads`.
        memory_bytes: Memory that decoded slices of this pair may take, image and labels.
        reporter: Told of the progress (stage ``cache``) and asked whether to stop.

    Returns:
        The pair, of which image, mask or both may be read from a copy; voxels, geometry and
        labels are the same.

    Raises:
        InputError: If a file is damaged.
        OutputError: See :func:`osteon.formats.cache.cached_copy`.
        Stopped: If it was asked to stop while a copy was made.
    """
    # Both are needed for a patch: if one does not fit into memory beside the other, neither does.
    voxels = pair.image.nbytes + (0 if pair.labels is None else pair.labels.nbytes)
    fits = voxels <= memory_bytes

    def through(volume: Volume) -> Volume:
        allowed = volume.nbytes if fits else 0
        return for_random_reads(volume, choice=choice, memory_bytes=allowed, reporter=reporter)

    image = pair.image
    if isinstance(image, ResizedVolume):
        image = replace(image, inner=through(image.inner))
    else:
        image = through(image)
    labels = pair.labels
    if isinstance(labels, MaskVolume):
        labels = replace(labels, mask=through(labels.mask))
    return replace(pair, image=image, labels=labels)
