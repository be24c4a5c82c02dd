"""The voxels of a cache entry: a Zarr array, one file a slab of slices, small chunks in each.

It is an ordinary Zarr (version 3) array with shards, which any Zarr library opens. Osteon writes
it by zarr-python, and reads it by itself: for a patch of 256² pixels the library's machinery took
5 to 10 times as long as opening, reading and decoding (benchmarks/cache.py).
"""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec

from osteon.formats.base import Shape
from osteon.volume import Array

#: Height and width of a chunk: a patch of 256² lies in 9 chunks at most, 2.3 times its pixels.
_CHUNK = 128
#: Slices of a chunk: 2.5D and 3D blocks need neighbours, patches of one slice do not.
_DEPTH = 8
#: A slab in memory is no larger, unless one slice is.
_SLAB_BYTES = 32 << 20
#: A shard ends with the offset and length of each chunk, and a checksum of 4 bytes.
_CHECKSUM_BYTES = 4
_ABSENT = (1 << 64) - 1
_DATA = "voxels.zarr"


def chunk_shape(shape: Shape, itemsize: int) -> Shape:
    """Choose the chunks of a volume.

    Args:
        shape: (z, y, x).
        itemsize: Bytes of a voxel.

    Returns:
        Shape of a chunk; its depth is that of a slab, too.
    """
    slice_bytes = shape[1] * shape[2] * itemsize
    depth = max(1, min(_DEPTH, _SLAB_BYTES // slice_bytes, shape[0]))
    return depth, min(_CHUNK, shape[1]), min(_CHUNK, shape[2])


def packed_size(block: Array) -> int:
    """Return how many bytes a block takes when it is packed as in the cache.

    Args:
        block: Some slices (z, y, x).
    """
    packed = imagecodecs.blosc_encode(
        block.tobytes(),
        level=1,
        compressor="lz4",
        shuffle="bitshuffle",
        typesize=block.dtype.itemsize,
    )
    return len(packed)


class Shards:
    """The voxels in the folder of an entry.

    Args:
        folder: The folder.
        shape: (z, y, x).
        dtype: Type of the voxels, native byte order.
    """

    def __init__(self, folder: Path, shape: Shape, dtype: np.dtype[Any]):
        self.folder, self.shape, self.dtype = folder, shape, dtype
        self.chunks = chunk_shape(shape, dtype.itemsize)
        _, rows, columns = self.chunks
        self._grid = -(-shape[1] // rows), -(-shape[2] // columns)
        self._indexes: dict[int, tuple[tuple[int, int], ...]] = {}
        self._lock = threading.Lock()

    @property
    def slabs(self) -> int:
        """Number of slabs, each a file."""
        return -(-self.shape[0] // self.chunks[0])

    def create(self) -> zarr.Array[Any]:
        """Make the array; slabs of ``chunks[0]`` whole slices are then assigned to it.

        Raises:
            OSError: If it cannot be written.
        """
        depth, rows, columns = self.chunks
        return zarr.create_array(
            str(self.folder / _DATA),
            shape=self.shape,
            dtype=self.dtype,
            chunks=self.chunks,
            shards=(depth, self._grid[0] * rows, self._grid[1] * columns),
            compressors=BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
            config={"write_empty_chunks": True},
        )

    def whole(self) -> bool:
        """Whether the file of every slab is there: cleaners of disks remove files."""
        return all(self._file(slab).is_file() for slab in range(self.slabs))

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """Read a block.

        Args:
            z: Slices, explicit and within the volume.
            y: Rows.
            x: Columns.

        Returns:
            A new array (z, y, x).

        Raises:
            OSError: If a file is missing or cannot be read.
            ValueError: If it is damaged.
            imagecodecs.BloscError: The same.
        """
        out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), self.dtype)
        if not out.size:
            return out
        depth = self.chunks[0]
        for slab in range(z.start // depth, -(-z.stop // depth)):
            start, stop = max(z.start, slab * depth), min(z.stop, (slab + 1) * depth)
            part = out[start - z.start : stop - z.start]
            self._slab(slab, part, slice(start - slab * depth, stop - slab * depth), y, x)
        return out

    def _slab(self, slab: int, out: Array, z: slice, y: slice, x: slice) -> None:
        _, rows, columns = self.chunks
        with self._file(slab).open("rb", buffering=0) as file:
            index = self._index(slab, file)
            for j in range(y.start // rows, -(-y.stop // rows)):
                for i in range(x.start // columns, -(-x.stop // columns)):
                    chunk = self._chunk(file, *index[j * self._grid[1] + i])
                    to_y, from_y = _overlap(y, j * rows, rows)
                    to_x, from_x = _overlap(x, i * columns, columns)
                    out[:, to_y, to_x] = chunk[z, from_y, from_x]

    def _chunk(self, file: Any, offset: int, length: int) -> Array:
        if offset == _ABSENT:
            return np.zeros(self.chunks, self.dtype)
        file.seek(offset)
        data = file.read(length)
        if len(data) < length:
            raise ValueError(f"the chunk at byte {offset} is truncated")
        decoded = imagecodecs.blosc_decode(data, numthreads=1)
        little = np.frombuffer(decoded, self.dtype.newbyteorder("<"))
        return np.asarray(little.reshape(self.chunks), dtype=self.dtype)

    def _index(self, slab: int, file: Any) -> tuple[tuple[int, int], ...]:
        with self._lock:
            found = self._indexes.get(slab)
        if found is None:
            count = math.prod(self._grid)
            size = 16 * count + _CHECKSUM_BYTES
            end = file.seek(-size, 2)
            table = np.frombuffer(file.read(size), "<u8", count=2 * count)
            found = tuple((int(offset), int(length)) for offset, length in table.reshape(-1, 2))
            if any(offset != _ABSENT and offset + length > end for offset, length in found):
                raise ValueError("its table of chunks is damaged")
            with self._lock:
                self._indexes[slab] = found
        return found

    def _file(self, slab: int) -> Path:
        return self.folder / _DATA / "c" / str(slab) / "0" / "0"


def _overlap(wanted: slice, start: int, length: int) -> tuple[slice, slice]:
    """Where the wanted part of a chunk goes, and where in the chunk it lies."""
    first, last = max(wanted.start, start), min(wanted.stop, start + length)
    return slice(first - wanted.start, last - wanted.start), slice(first - start, last - start)
