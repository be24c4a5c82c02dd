"""Where a mask lies on its scan: all of it, some slices by number or index, or a cropped part."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from osteon.datasets.manifest import ScanRow
from osteon.errors import InputError
from osteon.volume import Volume

#: A crop's origin must lie on the image's grid within this share of a voxel.
GRID_TOLERANCE = 0.1
#: Voxel sizes of image and mask that differ by less than this share are the same.
SIZE_TOLERANCE = 1e-3


def place(row: ScanRow, image: Volume, mask: Volume) -> tuple[list[int], tuple[int, int]]:
    """Find where a mask lies on the grid of its scan.

    Args:
        row: The manifest's row.
        image: The scan.
        mask: The mask, as it is in the file.

    Returns:
        For each slice of the scan the slice of the mask, -1 where there is none; and (y, x) of
        the mask's first pixel in the scan.

    Raises:
        InputError: If the mask does not fit; the message gives both shapes and what would mend it.
    """
    if row.mask_slices != "all":
        if mask.shape[1:] != image.shape[1:]:
            raise _misfit(row, image, mask)
        return _by_slices(row, image, mask), (0, 0)
    origin = row.mask_origin
    if origin is None and mask.shape != image.shape:
        origin = _derived_origin(image, mask)
        if origin is None:
            raise _misfit(row, image, mask)
    z, y, x = origin or (0, 0, 0)
    ends = [s + n for s, n in zip((z, y, x), mask.shape, strict=True)]
    if min(z, y, x) < 0 or any(e > n for e, n in zip(ends, image.shape, strict=True)):
        raise InputError(
            f"the mask of scan '{row.name}', {mask.shape} at {(z, y, x)}, reaches beyond the scan, "
            f"{image.shape} (z, y, x)",
            where=mask.path,
            mend="correct mask_origin" if row.mask_origin else "state mask_origin in the manifest",
        )
    source = [i - z if z <= i < ends[0] else -1 for i in range(image.shape[0])]
    return source, (y, x)


def _by_slices(row: ScanRow, image: Volume, mask: Volume) -> list[int]:
    if row.mask_slices == "number":
        return _by_number(row, image, mask)
    indexes = [int(i) for i in row.mask_slices]
    if len(indexes) != mask.shape[0] or max(indexes) >= image.shape[0]:
        raise InputError(
            f"scan '{row.name}': mask_slices has {len(indexes)} indexes up to {max(indexes)}; the "
            f"mask has {mask.shape[0]} slices and the scan {image.shape[0]}",
            where=mask.path,
            mend="give one index, counted from 0, for each slice of the mask",
        )
    source = [-1] * image.shape[0]
    for where, z in enumerate(indexes):
        source[z] = where
    return source


def _by_number(row: ScanRow, image: Volume, mask: Volume) -> list[int]:
    for what, volume in (("scan", image), ("mask", mask)):
        numbers = volume.slice_numbers
        if numbers is None or len(set(numbers)) != len(numbers):
            raise InputError(
                f"scan '{row.name}': its {what} has no numbers (one for each slice) to match by",
                where=volume.path,
                mend="name the slices by number, or list their indexes in mask_slices",
            )
    places = {number: where for where, number in enumerate(mask.slice_numbers or ())}
    strangers = sorted(set(places) - set(image.slice_numbers or ()))
    if strangers:
        raise InputError(
            f"scan '{row.name}': the mask has a slice {strangers[0]} that the scan has not",
            where=mask.path,
            mend="remove it, or number the slices of scan and mask alike",
        )
    return [places.get(number, -1) for number in image.slice_numbers or ()]


def _derived_origin(image: Volume, mask: Volume) -> tuple[int, int, int] | None:
    """Where a cropped mask lies by its own origin; None where the files do not say."""
    a, b = image.geometry, mask.geometry
    # Two origins of zero are more likely unknown than the crop at the scan's very corner.
    if not (a.known and b.known) or a.origin == b.origin == (0.0, 0.0, 0.0):
        return None
    sizes = np.array(a.voxel_size, dtype=np.float64)
    same = np.allclose(sizes, np.array(b.voxel_size, dtype=np.float64), rtol=SIZE_TOLERANCE)
    if not same or not np.allclose(a.direction, b.direction, atol=SIZE_TOLERANCE):
        return None
    step = np.linalg.solve(np.array(a.direction), np.array(b.origin) - np.array(a.origin)) / sizes
    if np.abs(step - np.rint(step)).max() > GRID_TOLERANCE:
        return None
    z, y, x = (int(v) for v in np.rint(step))
    return z, y, x


def _misfit(row: ScanRow, image: Volume, mask: Volume) -> InputError:
    mend = "export the mask on the scan's grid, or state mask_origin or mask_slices in the manifest"
    numbers = set(mask.slice_numbers or ())
    if numbers and numbers < set(image.slice_numbers or ()) and mask.shape[1:] == image.shape[1:]:
        mend = 'the mask has some of the scan\'s slices: say mask_slices = "number" in the manifest'
    for order in permutations(range(3)):
        if order != (0, 1, 2) and tuple(mask.shape[i] for i in order) == image.shape:
            axes = ", ".join("zyx"[i] for i in order)
            mend = f"the axes seem to be swapped: as ({axes}) the mask would fit; export it again"
            break
    return InputError(
        f"scan '{row.name}': the mask has the shape {mask.shape}, the scan {image.shape} (z, y, x)",
        where=mask.path,
        mend=mend,
    )
