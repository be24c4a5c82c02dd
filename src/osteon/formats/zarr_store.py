"""Zarr arrays (versions 2 and 3) and OME-Zarr images (0.4 and 0.5), level 0 of a pyramid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from osteon.errors import InputError
from osteon.files import writing
from osteon.formats import document
from osteon.formats.base import Meta, Shape, WriteRequest, readable_dtype, reading
from osteon.formats.frames import micrometres, size_or_none, vector
from osteon.formats.targets import PartWriter
from osteon.labels import LabelScheme
from osteon.volume import Access, Array, Geometry, Volume, VolumeWriter

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_OWN = "osteon"  # attribute that holds osteon's document
OME_VERSION = "0.5"
_CHUNK = 256
_CHUNK_DEPTH = 16
_OPAQUE = 255


class _Zarr:
    def matches(self, path: Path) -> bool:
        return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)

    def open(self, path: Path) -> Volume:
        with reading(path, what="the Zarr store"):
            node = zarr.open(path, mode="r")
            if isinstance(node, zarr.Array):
                attributes = dict(node.attrs)
                meta = document.parse(attributes[_OWN], path) if _OWN in attributes else Meta()
                return ZarrVolume(path, node, name="", meta=meta)
            return _open_group(path, node)

    def create(self, request: WriteRequest) -> VolumeWriter:
        return ZarrWriter(request)


def open_levels(path: Path) -> list[Volume]:
    """Open an OME-Zarr image with the smaller copies of itself that it holds.

    Args:
        path: The store.

    Returns:
        The image and its copies, finest first; of a store without a pyramid the image alone. The
        geometry of the copies is not read.

    Raises:
        InputError: If it is damaged or of a kind osteon does not read.
    """
    first = FORMAT.open(path)
    with reading(path, what="the Zarr store"):
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            return [first]
        attributes: dict[str, Any] = dict(node.attrs)
        ome: Any = attributes.get("ome", attributes)
        names = [str(level["path"]) for level in ome["multiscales"][0]["datasets"]]
        arrays = [(name, node[name]) for name in names[1:]]
    smaller = [
        ZarrVolume(path, array, name=name, meta=Meta())
        for name, array in arrays
        if isinstance(array, zarr.Array)
    ]
    return [first, *smaller]


def _open_group(path: Path, group: zarr.Group) -> Volume:
    attributes: dict[str, Any] = dict(group.attrs)
    ome: Any = attributes.get("ome", attributes)
    if not ome.get("multiscales"):
        inside = sorted(name for name, _ in group.members())
        raise InputError(
            f"the Zarr group is not an OME-Zarr image; it holds {', '.join(inside) or 'nothing'}",
            where=path,
            mend="give the folder of the image or array in it",
        )
    scales = ome["multiscales"][0]
    level = scales["datasets"][0]
    name = str(level["path"])
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise InputError(f"'{name}' is not an array", where=path)
    axes = [a if isinstance(a, dict) else {"name": a} for a in scales.get("axes", [])]
    if axes and [str(a["name"]) for a in axes][-2:] != ["y", "x"]:
        raise InputError(
            f"the axes are {', '.join(str(a['name']) for a in axes)}; z, y, x is read",
            where=path,
            mend="export it with the axes in this order",
        )
    for axis, length in zip(axes, array.shape, strict=bool(axes)):
        if axis["name"] not in ("z", "y", "x") and length > 1:
            raise InputError(
                f"the image has {length} entries along '{axis['name']}'",
                where=path,
                mend="export one channel and one time point",
            )
    meta = (
        document.parse(attributes[_OWN], path)
        if _OWN in attributes
        else Meta(_geometry(axes, [level, scales]))
    )
    return ZarrVolume(path, array, name=name, meta=meta)


def _geometry(axes: list[dict[str, Any]], levels: list[dict[str, Any]]) -> Geometry:
    """Combine the transformations of the level with those of the whole, applied after it."""
    names = [str(a["name"]) for a in axes]
    scale = {name: 1.0 for name in names}
    shift = {name: 0.0 for name in names}
    stated = False
    for level in levels:
        for step in level.get("coordinateTransformations", []):
            if step.get("type") == "scale":
                stated = True
                for name, factor in zip(names, step["scale"], strict=True):
                    scale[name] *= float(factor)
                    shift[name] *= float(factor)
            elif step.get("type") == "translation":
                for name, move in zip(names, step["translation"], strict=True):
                    shift[name] += float(move)
    units = {str(a["name"]): micrometres(a.get("unit")) for a in axes}
    sizes: list[float | None] = []
    origin = []
    for name in "zyx":
        unit = units.get(name)
        known = stated and unit is not None and name in scale
        sizes.append(size_or_none(scale[name] * unit) if known and unit is not None else None)
        origin.append(shift[name] * unit if known and unit is not None else 0.0)
    z, y, x = sizes
    return Geometry((z, y, x), vector(origin))


class ZarrVolume(Volume):
    """A Zarr array; a read decodes the chunks it touches.

    Args:
        path: The store that was opened.
        array: The array.
        name: Its path in the store.
        meta: What else the store says.
    """

    def __init__(self, path: Path, array: zarr.Array[Any], *, name: str, meta: Meta):
        shape = tuple(int(n) for n in array.shape)
        extra = len(shape) - 3
        if len(shape) < 2 or any(n > 1 for n in shape[: max(extra, 0)]) or 0 in shape:
            raise InputError(
                f"a volume has 3 axes (z, y, x); this array has the shape {shape}",
                where=path,
                mend="export one channel and one time point as a 3D image",
            )
        self.path = path
        self._flat = len(shape) == 2
        self.shape = _three(shape)
        self.dtype = readable_dtype(np.dtype(array.dtype), path)
        self.access = Access.RANDOM
        self.chunks = _three(tuple(int(n) for n in array.chunks))
        self._name = name
        self._array: zarr.Array[Any] | None = array
        meta.apply(self)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`."""
        z, y, x = self.bounds(z, y, x)
        with reading(self.path, what="the Zarr array"):
            array = self._array
            if array is None:
                array = self._array = zarr.open_array(self.path / self._name, mode="r")
            # Leading axes have the length one.
            block = np.asarray(array[(y, x) if self._flat else (..., z, y, x)])
        shape = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        if self._flat and shape[0] == 0:
            return np.empty(shape, self.dtype)
        return np.array(block, dtype=self.dtype).reshape(shape)


def _three(shape: tuple[int, ...]) -> Shape:
    z, y, x = ((1,) * 3 + shape)[-3:]
    return z, y, x


class ZarrWriter(PartWriter):
    """Writes an OME-Zarr 0.5 image (or label image); holds one row of chunks (16 slices).

    Args:
        request: What is to be written.
    """

    def __init__(self, request: WriteRequest):
        super().__init__(request, any_order=True, folder=True)
        depth, rows, columns = request.shape
        self._depth = min(_CHUNK_DEPTH, depth)
        self._slab: Array | None = None
        self._filled: Any = np.zeros(self._depth, dtype=bool)
        self._slab_start = 0
        with writing(self.path):
            group = zarr.create_group(self.part(request.path), zarr_format=3)
            group.attrs.update(_attributes(request))
            self._array = group.create_array(
                "0",
                shape=request.shape,
                dtype=request.dtype,
                chunks=(self._depth, min(_CHUNK, rows), min(_CHUNK, columns)),
                dimension_names=["z", "y", "x"],
            )

    def _write(self, z0: int, block: Array) -> None:
        # Chunks are several slices deep: written slice by slice each would be coded again
        # every time, so slices are gathered until their row of chunks is whole.
        stop = z0 + block.shape[0]
        z = z0
        while z < stop:
            start = z // self._depth * self._depth
            end = min(start + self._depth, self.shape[0], stop)
            if self._slab is None or start != self._slab_start:
                self._flush()
                size = min(self._depth, self.shape[0] - start)
                self._slab = np.zeros((size, *self.shape[1:]), self.dtype)
                self._filled = np.zeros(size, dtype=bool)
                self._slab_start = start
            self._slab[z - start : end - start] = block[z - z0 : end - z0]
            self._filled[z - start : end - start] = True
            if self._filled.all():
                self._flush()
            z = end

    def _flush(self) -> None:
        if self._slab is None:
            return
        if self._filled.all():
            self._array[self._slab_start : self._slab_start + len(self._slab)] = self._slab
        else:
            for index in np.flatnonzero(self._filled):
                self._array[self._slab_start + int(index)] = self._slab[index]
        self._slab = None

    def _finish(self) -> None:
        self._flush()


def space_axes(geometry: Geometry) -> list[dict[str, str]]:
    """Return the axes z, y and x as OME-Zarr describes them.

    Args:
        geometry: Says whether voxel sizes are known.
    """
    return [
        {"name": name, "type": "space"} | ({} if size is None else {"unit": "micrometer"})
        for name, size in zip("zyx", geometry.voxel_size, strict=True)
    ]


def space_transforms(geometry: Geometry) -> list[dict[str, Any]]:
    """Return the transformations of z, y and x as OME-Zarr describes them.

    Args:
        geometry: Voxel size and origin.
    """
    transforms: list[dict[str, Any]] = [
        {"type": "scale", "scale": [1.0 if s is None else s for s in geometry.voxel_size]}
    ]
    if geometry.known:
        transforms.append({"type": "translation", "translation": list(geometry.origin)})
    return transforms


def _attributes(request: WriteRequest) -> dict[str, Any]:
    geometry = request.meta.geometry
    axes, transforms = space_axes(geometry), space_transforms(geometry)
    ome: dict[str, Any] = {
        "version": OME_VERSION,
        "multiscales": [
            {
                "name": os.path.splitext(request.path.name)[0],
                "axes": axes,
                "datasets": [{"path": "0", "coordinateTransformations": transforms}],
            }
        ],
    }
    if request.meta.labels is not None:
        ome["image-label"] = _image_label(request.meta.labels)
    return {"ome": ome, _OWN: document.describe(request)}


def _image_label(labels: LabelScheme) -> dict[str, Any]:
    return {
        "version": OME_VERSION,
        "colors": [
            {"label-value": c.value, "rgba": [*c.colour, _OPAQUE if c.value else 0]}
            for c in labels.classes
        ],
        "properties": [{"label-value": c.value, "name": c.name} for c in labels.classes],
    }


FORMAT = _Zarr()
