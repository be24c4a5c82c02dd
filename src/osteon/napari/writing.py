"""The writers that napari calls: layers become files in osteon's formats, with their voxel size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from osteon.formats import open_writer
from osteon.labels import LabelScheme
from osteon.napari.layers import KEY
from osteon.volume import Access, Geometry, Volume

#: Slices that are read and written at once.
_SLICES = 16


@dataclass
class LayerVolume(Volume):
    """The data of a layer as a volume, which may be read from disk or painted in."""

    data: Any
    geometry: Geometry = field(default_factory=Geometry)
    path: Path = Path("<layer>")

    def __post_init__(self) -> None:
        if self.data.ndim == 2:
            self.data = np.asarray(self.data)[np.newaxis]
        z, y, x = (int(n) for n in self.data.shape[-3:])
        self.shape, self.dtype = (z, y, x), np.dtype(self.data.dtype)
        self.access, self.chunks, self.provenance = Access.RANDOM, (1, y, x), {}

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Any:
        """Return a copy of a block; see :meth:`osteon.volume.Volume.read`."""
        return np.array(self.data[self.bounds(z, y, x)])


def save(
    data: Any,
    path: Path,
    *,
    geometry: Geometry,
    scheme: LabelScheme | None,
    overwrite: bool = True,
) -> Path:
    """Write the data of a layer, a few slices at a time.

    Args:
        data: (z, y, x).
        path: The target; its suffix says the format, none: a folder of slices.
        geometry: Where it lies.
        scheme: The classes of labels; None for a scan.
        overwrite: Whether an existing file is replaced.

    Returns:
        The path.

    Raises:
        OutputError: If it cannot be written.
        UsageError: If the format cannot hold it.
    """
    volume = LayerVolume(data, geometry)
    dtype = np.dtype(np.uint8) if scheme is not None else volume.dtype
    writer = open_writer(path, like=volume, dtype=dtype, labels=scheme, overwrite=overwrite)
    with writer:
        for z in range(0, volume.shape[0], _SLICES):
            block = volume.read(slice(z, min(z + _SLICES, volume.shape[0])))
            writer.write(z, block.astype(writer.dtype, copy=False))
    return path


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer.

    Args:
        path: The target.
        data: Labels.
        meta: The attributes of the layer.

    Returns:
        What was written.

    Raises:
        OsteonError: If it cannot be written; napari shows the message.
    """
    from osteon.labels import BONE_PORES

    told = _known(meta)
    scheme = told.get("scheme") or BONE_PORES
    return [str(save(data, Path(path), geometry=_geometry(meta), scheme=scheme))]


def write_image(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write an image layer; of a pyramid the finest level.

    Args:
        path: The target.
        data: Grey values, or a list of levels.
        meta: The attributes of the layer.

    Returns:
        What was written.

    Raises:
        OsteonError: If it cannot be written; napari shows the message.
    """
    finest = data[0] if meta.get("multiscale") else data
    return [str(save(finest, Path(path), geometry=_geometry(meta), scheme=None))]


def _known(meta: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = meta.get("metadata", {}).get(KEY, {})
    return found


def _geometry(meta: dict[str, Any]) -> Geometry:
    found = _known(meta).get("geometry")
    return found if isinstance(found, Geometry) else Geometry()
