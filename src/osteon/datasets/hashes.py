"""Hashes of what a volume holds, whatever file it is in."""

from __future__ import annotations

import hashlib

import numpy as np

from osteon.events import Reporter
from osteon.volume import Array, Volume


class ContentHash:
    """The hash of a volume's shape, type and voxels, fed slice by slice.

    The same voxels give the same hash in every format and on every machine.

    Args:
        volume: The volume that the slices will be of; nothing is read.
    """

    def __init__(self, volume: Volume):
        self._digest = hashlib.sha256(f"{volume.shape} {volume.dtype.name}".encode())

    def add(self, block: Array) -> None:
        """Take in the next slices.

        Args:
            block: (z, y, x) of the volume's type; all slices, in order, none twice.
        """
        self._digest.update(_bytes(block))

    def hexdigest(self) -> str:
        """Return the SHA-256 of what was taken in, as 64 hexadecimal digits."""
        return self._digest.hexdigest()


def content_hash(volume: Volume, reporter: Reporter | None = None) -> str:
    """Hash shape, type and voxels of a volume, one slice in memory at a time.

    The same voxels give the same hash in every format and on every machine.

    Args:
        volume: The volume.
        reporter: Told of the progress.

    Returns:
        SHA-256 as 64 hexadecimal digits.

    Raises:
        InputError: If the volume is damaged.
    """
    digest = ContentHash(volume)
    depth = volume.shape[0]
    with (reporter or Reporter()).stage("hash", total=depth, unit="slice") as progress:
        for z in range(depth):
            digest.add(volume.read(slice(z, z + 1)))
            progress.advance()
    return digest.hexdigest()


def slice_hash(block: Array) -> bytes:
    """Hash the shape, type and voxels of a slice.

    Args:
        block: (…, y, x), any type.

    Returns:
        16 bytes.
    """
    digest = hashlib.sha256(f"{block.shape[-2:]} {block.dtype.name}".encode())
    digest.update(_bytes(block))
    return digest.digest()[:16]


def _bytes(block: Array) -> memoryview:
    # Little-endian on every machine; a view, so that a slice is held once where it is already.
    return np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).reshape(-1).data
