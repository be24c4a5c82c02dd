"""Hashes of what a volume holds, whatever file it is in."""

from __future__ import annotations

import hashlib

import numpy as np

from osteon.events import Reporter
from osteon.volume import Array, Volume


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
    digest = hashlib.sha256(f"{volume.shape} {volume.dtype.name}".encode())
    depth = volume.shape[0]
    with (reporter or Reporter()).stage("hash", total=depth, unit="slice") as progress:
        for z in range(depth):
            digest.update(_bytes(volume.read(slice(z, z + 1))))
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


def _bytes(block: Array) -> bytes:
    # Little-endian on every machine.
    return np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).tobytes()
