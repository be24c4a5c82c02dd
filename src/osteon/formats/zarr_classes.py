"""Class probabilities as one OME-Zarr 0.5 image with an axis of channels, one for each class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from osteon.errors import UsageError
from osteon.files import output_error, remove, temporary, writing
from osteon.formats.targets import check_free, put_in_place
from osteon.formats.zarr_store import OME_VERSION, space_axes, space_transforms
from osteon.labels import LabelScheme
from osteon.volume import Geometry

_CHUNK, _DEPTH = 256, 8
#: Stored value of a probability of 1.
_FULL = 255


class ClassWriter:
    """Writes (class, z, y, x), uint8, slice by slice, beside the target; holds 8 slices.

    :meth:`close` renames it when all slices are there, :meth:`abort` removes it.

    Args:
        path: The target.
        shape: (z, y, x) in voxels.
        labels: The classes, in order.
        geometry: Where the volume lies.
        overwrite: Whether an existing target is replaced.

    Raises:
        OutputError: If something is there and may not be replaced, or it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        shape: tuple[int, int, int],
        labels: LabelScheme,
        geometry: Geometry,
        overwrite: bool = False,
    ):
        self.path, self._classes = Path(path).absolute(), len(labels)
        check_free(self.path, overwrite=overwrite, folder=True)
        self._part = temporary(self.path)
        self._shape, self._next = shape, 0
        depth, rows, columns = (
            min(most, n) for most, n in zip((_DEPTH, _CHUNK, _CHUNK), shape, strict=True)
        )
        self._slab: npt.NDArray[np.uint8] = np.zeros((self._classes, depth, *shape[1:]), np.uint8)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            group = zarr.create_group(self._part, zarr_format=3)
            group.attrs.update(_attributes(self.path, labels, geometry))
            self._array = group.create_array(
                "0",
                shape=(self._classes, *shape),
                dtype=np.uint8,
                chunks=(1, depth, rows, columns),
                dimension_names=["c", "z", "y", "x"],
            )

    def write(self, z: int, layers: npt.NDArray[np.uint8]) -> None:
        """Write a slice; they come in ascending order.

        Args:
            z: Its index.
            layers: (class, y, x).

        Raises:
            OutputError: If it cannot be written; what was written is removed.
            UsageError: If it is not the next slice, or of another shape.
        """
        if z != self._next or layers.shape != (self._classes, *self._shape[1:]):
            raise UsageError(
                f"slice {self._next} is next, not {z} of {layers.shape}", where=self.path
            )
        depth = self._slab.shape[1]
        self._slab[:, z % depth] = layers
        self._next += 1
        if self._next % depth == 0 or self._next == self._shape[0]:
            start = z // depth * depth
            try:
                self._array[:, start : self._next] = self._slab[:, : self._next - start]
            except OSError as error:
                self.abort()
                raise output_error(error, self.path) from error

    def close(self) -> None:
        """Rename what was written over its target.

        Raises:
            OutputError: If it cannot be renamed.
            UsageError: If slices are missing.
        """
        if self._next != self._shape[0]:
            self.abort()
            raise UsageError(
                f"{self._shape[0] - self._next} slices were not written", where=self.path
            )
        try:
            put_in_place(self._part, self.path)
        except OSError as error:
            self.abort()
            raise output_error(error, self.path) from error

    def abort(self) -> None:
        """Remove what was written."""
        if self._part.exists():
            remove(self._part)


def _attributes(path: Path, labels: LabelScheme, geometry: Geometry) -> dict[str, Any]:
    transforms = [
        {**step, kind: [1.0 if kind == "scale" else 0.0, *step[kind]]}
        for step in space_transforms(geometry)
        for kind in (step["type"],)
    ]
    channels = [
        {
            "label": c.name,
            "color": "".join(f"{level:02X}" for level in c.colour) if c.value else "FFFFFF",
            "active": True,
            "window": {"min": 0, "max": _FULL, "start": 0, "end": _FULL},
        }
        for c in labels.classes
    ]
    ome = {
        "version": OME_VERSION,
        "multiscales": [
            {
                "name": os.path.splitext(path.name)[0],
                "axes": [{"name": "c", "type": "channel"}, *space_axes(geometry)],
                "datasets": [{"path": "0", "coordinateTransformations": transforms}],
            }
        ],
        "omero": {"channels": channels},
    }
    return {"ome": ome, "osteon": {"schema": 1, "kind": "probabilities", "one": _FULL}}
