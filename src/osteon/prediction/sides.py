"""2D models along three axes: the scan is seen in slices across y and x as well.

The passes across y and x come first. Each leaves files in the work area, every one with the class
probabilities of some neighbouring slices, which count as finished once they have their name; the
pass across z then takes the mean of all three. For the passes the scan is copied into small chunks
(unless it is stored in such already), as a slice across y or x has a row of every slice across z.
"""

from __future__ import annotations

import json
import math
import threading
import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec

from osteon.errors import OutputError, UsageError
from osteon.files import remove, replacing, writing
from osteon.model_file import Model
from osteon.prediction.contiguity import Contiguity
from osteon.prediction.scale import Slabs
from osteon.prediction.store import SCHEMA, Store
from osteon.prediction.wanted import Wanted, softmax
from osteon.volume import Access, Array, Volume

Quantised = npt.NDArray[np.uint16]
#: Axes that slices are seen across beside z.
AXES = (1, 2)
#: Stored value of a probability of one.
FULL = 65535
#: Side of the chunks of the copy; slices that are run and kept together at most.
CHUNK = 64
#: Slices across z of a piece of a file.
DEEP = 8
#: The slices that are run and kept together take at most this share of the memory.
SHARE = 8
#: Smallest probability whose logarithm is taken.
_LEAST = np.float32(1e-12)
_COPY = "turned.zarr"


def check_axes(model: Model, wanted: Wanted) -> None:
    """Refuse three axes for models that cannot see along them.

    Args:
        model: The model.
        wanted: What is wanted.

    Raises:
        UsageError: If the model is not 2D.
    """
    if wanted.axes == 1 or model.spec.mode == "2D":
        return
    why = {
        "2.5D": "its neighbouring slices lie along z",
        "3D": "it sees all three axes at once",
    }.get(model.spec.mode, "it is not 2D")
    raise UsageError(
        f"a {model.spec.mode} model is not run along three axes: {why}",
        where=model.path,
        mend="leave out axes=3, or give a 2D model",
    )


def check_neighbours(volume: Volume, known: Contiguity) -> None:
    """Refuse three axes for slices that are not neighbours in space.

    Args:
        volume: The scan.
        known: Whether they are.

    Raises:
        UsageError: If they are not.
    """
    if not known.contiguous:
        raise UsageError(
            "the slices are not neighbours in space, so the scan cannot be seen along three axes: "
            f"{known.why}",
            where=volume.path,
            mend="leave out axes=3; or, if they are neighbours, say contiguous=yes",
        )


class SideVolume(Volume):
    """A volume whose slices lie across another axis; holds the slices that were read last.

    Args:
        source: The volume (z, y, x).
        axis: 1: slices (z, x) across y; 2: slices (z, y) across x.
        bundle: Slices that are read at once.
    """

    def __init__(self, source: Volume, axis: int, *, bundle: int):
        self.source, self.axis, self.bundle = source, axis, bundle
        self._order = (axis, *(i for i in range(3) if i != axis))
        a, b, c = self._order
        self.shape = source.shape[a], source.shape[b], source.shape[c]
        sizes = source.geometry.voxel_size
        self.geometry = replace(source.geometry, voxel_size=(sizes[a], sizes[b], sizes[c]))
        self.path, self.dtype, self.provenance = source.path, source.dtype, source.provenance
        self.access = source.access
        self.chunks = (bundle, self.shape[1], self.shape[2])
        self._held: tuple[int, Array] | None = None
        self._lock = threading.Lock()

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`."""
        z, y, x = self.bounds(z, y, x)
        out = np.empty((z.stop - z.start, y.stop - y.start, x.stop - x.start), self.dtype)
        for i in range(z.start, z.stop):
            first = i // self.bundle * self.bundle
            with self._lock:
                if self._held is None or self._held[0] != first:
                    self._held = None  # so that two are not held at once
                    self._held = first, self._across(first)
                out[i - z.start] = self._held[1][i - first, y, x]
        return out

    def _across(self, first: int) -> Array:
        last = min(first + self.bundle, self.shape[0])
        ranges = [slice(None)] * 3
        ranges[self.axis] = slice(first, last)
        return self.source.read(*ranges).transpose(self._order)


class _Copy(Volume):
    """A volume that was copied into small chunks."""

    def __init__(self, like: Volume, array: zarr.Array[Any]):
        self.path, self.shape, self.dtype = like.path, like.shape, like.dtype
        self.geometry, self.provenance = like.geometry, like.provenance
        self.access, self.chunks = Access.RANDOM, (CHUNK, CHUNK, CHUNK)
        self._array = array

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        return np.asarray(self._array[self.bounds(z, y, x)])


def in_chunks(volume: Volume, folder: Path) -> Volume:
    """Copy a volume into small chunks, if it is not stored so already.

    An earlier copy is made anew: it may not be whole. Memory: 64 slices.

    Args:
        volume: The volume.
        folder: Where the copy goes.

    Raises:
        OutputError: If there is too little room.
    """
    remove_copy(folder)
    rows, columns = (min(c, n) for c, n in zip(volume.chunks[1:], volume.shape[1:], strict=True))
    small = rows < volume.shape[1] and columns < volume.shape[2]
    if volume.access is Access.RANDOM and (small or math.prod(volume.shape) <= CHUNK**3):
        return volume
    with writing(folder / _COPY):
        array = zarr.create_array(
            str(folder / _COPY),
            shape=volume.shape,
            dtype=volume.dtype,
            chunks=tuple(min(CHUNK, n) for n in volume.shape),
            compressors=BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle"),
        )
        for z in range(0, volume.shape[0], CHUNK):
            part = slice(z, min(z + CHUNK, volume.shape[0]))
            array[part] = volume.read(part)
    return _Copy(volume, array)


def remove_copy(folder: Path) -> None:
    """Remove the copy of a volume, if there is one.

    Args:
        folder: Where it is.
    """
    if (folder / _COPY).exists():
        remove(folder / _COPY)


def bundle_of(shape: tuple[int, int, int], axis: int, *, classes: int, memory: int) -> int:
    """Return how many slices across an axis are run and kept together.

    Args:
        shape: (z, y, x) as the network sees it.
        axis: The axis.
        classes: Number of classes.
        memory: Memory for activations and slices in flight, in bytes.
    """
    plane = math.prod(n for i, n in enumerate(shape) if i != axis)
    # Grey values as they are read and turned, and probabilities.
    each = plane * (2 * np.dtype(np.float64).itemsize + 2 * classes * np.dtype(np.uint16).itemsize)
    return max(1, min(CHUNK, memory // SHARE // each))


def quantised(logits: npt.NDArray[np.float32]) -> Quantised:
    """Return class probabilities as whole numbers, 65535 standing for 1.

    Args:
        logits: (class, y, x).
    """
    found: Quantised = np.rint(softmax(logits, axis=0) * np.float32(FULL)).astype(np.uint16)
    return found


def put(folder: Path, axis: int, part: slice, odds: Quantised) -> None:
    """Put the probabilities of some slices across an axis on the disk; then they are finished.

    Args:
        folder: The work area.
        axis: The axis.
        part: The slices.
        odds: (class, slice, z, y or x).

    Raises:
        OutputError: If that fails.
    """
    pieces = [
        imagecodecs.blosc_encode(
            np.ascontiguousarray(odds[:, :, z : z + DEEP]).tobytes(),
            level=1, compressor="lz4", shuffle="bitshuffle", typesize=odds.dtype.itemsize,
        )
        for z in range(0, odds.shape[2], DEEP)
    ]  # fmt: skip
    head = {
        "schema": SCHEMA,
        "shape": list(odds.shape),
        "sizes": [len(piece) for piece in pieces],
        "crc32": [zlib.crc32(piece) for piece in pieces],
    }
    mend = "make room if the disk is full; run the same command again to go on"
    path = folder / f"side-{axis}-{part.start:08d}-{part.stop:08d}.blosc"
    with replacing(path, mend=mend) as partial, partial.open("wb") as file:
        file.write(json.dumps(head).encode() + b"\n")
        file.writelines(pieces)


def unfinished(store: Store, axis: int, *, length: int, bundle: int) -> list[slice]:
    """Return the slices across an axis that are not on the disk yet, bundle by bundle.

    Args:
        store: The work area.
        axis: The axis.
        length: Number of slices across it.
        bundle: Slices that are kept together.
    """
    parts = [slice(i, min(i + bundle, length)) for i in range(0, length, bundle)]
    there = {path.name for path in store.folder.glob(f"side-{axis}-*.blosc")}
    return [p for p in parts if f"side-{axis}-{p.start:08d}-{p.stop:08d}.blosc" not in there]


class Sides:
    """The finished probabilities across y and x; holds 8 slices across z of them.

    Args:
        folder: The work area.
        shape: (z, y, x) as the network sees it.
        classes: Number of classes.
    """

    def __init__(self, folder: Path, *, shape: tuple[int, int, int], classes: int):
        self._folder, self._shape, self._classes = folder, shape, classes
        self._held: tuple[int, Sequence[Quantised]] | None = None

    def averaged(self, logits: Slabs) -> Slabs:
        """Give logarithms of the mean of probabilities along all axes.

        Args:
            logits: Slabs (n, class, y, x) across z.

        Raises:
            OutputError: If a file was damaged; it is removed, so that the next start makes it anew.
        """
        with closing(logits):
            for z0, slab in logits:
                made = np.empty(slab.shape, np.float32)
                for i, one in enumerate(slab):
                    odds = softmax(one, axis=0)
                    for side in self._at(z0 + i):
                        odds += side * np.float32(1 / FULL)
                    odds /= np.float32(1 + len(AXES))
                    made[i] = np.log(np.maximum(odds, _LEAST))
                yield z0, made

    def _at(self, z: int) -> list[Quantised]:
        piece = z // DEEP
        if self._held is None or self._held[0] != piece:
            self._held = None
            self._held = piece, [self._piece(axis, piece) for axis in AXES]
        return [side[:, z - piece * DEEP] for side in self._held[1]]

    def _piece(self, axis: int, piece: int) -> Quantised:
        """Probabilities (class, z, y, x) of up to 8 slices across z."""
        deep = min(DEEP, self._shape[0] - piece * DEEP)
        out = np.empty((self._classes, deep, *self._shape[1:]), np.uint16)
        for path in sorted(self._folder.glob(f"side-{axis}-*.blosc")):
            first, last = (int(n) for n in path.stem.split("-")[2:])
            found = _read(path, piece)
            if axis == 1:
                out[:, :, first:last] = found.transpose(0, 2, 1, 3)
            else:
                out[..., first:last] = found.transpose(0, 2, 3, 1)
        return out


def _read(path: Path, piece: int) -> Quantised:
    """Read (class, slice, z, y or x) of a piece."""
    with path.open("rb") as file:
        head = json.loads(file.readline())
        sizes = head["sizes"]
        file.seek(sum(sizes[:piece]), 1)
        data = file.read(sizes[piece])
    if len(data) != sizes[piece] or zlib.crc32(data) != head["crc32"][piece]:
        remove(path)
        raise OutputError(
            "finished probabilities are damaged on the disk",
            where=path,
            mend="run the same command again: they are made anew",
        )
    classes, bundle, depth, other = head["shape"]
    deep = min(DEEP, depth - piece * DEEP)
    values = np.frombuffer(imagecodecs.blosc_decode(data), np.uint16)
    return values.reshape(classes, bundle, deep, other)
