"""Units and frames: how other formats say where a volume lies, and how osteon says it.

osteon: µm, LPS, order (z, y, x). ITK, NRRD, MetaImage, DICOM: mm, LPS, order (x, y, z).
NIfTI: RAS instead of LPS. Reversing the order of the axes turns one into the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.errors import warn
from osteon.formats.base import WriteRequest
from osteon.volume import UNKNOWN_SIZE, Geometry, Matrix, Vector, VoxelSize

MM = 1000.0  # µm in a millimetre

_UNITS = {
    "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3,
    "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "micrometre": 1.0, "\\u00b5m": 1.0,
    "mm": MM, "millimeter": MM, "millimetre": MM,
    "cm": 1e4, "centimeter": 1e4, "centimetre": 1e4,
    "m": 1e6, "meter": 1e6, "metre": 1e6,
    "inch": 25400.0, "in": 25400.0,
    "angstrom": 1e-4, "å": 1e-4,
}  # fmt: skip


def micrometres(unit: str | None) -> float | None:
    """Return how many µm a unit of length has; None for an unknown unit.

    Args:
        unit: Its name or symbol, singular or plural, in any case.
    """
    if unit is None:
        return None
    name = unit.strip().strip('"').lower()
    return _UNITS.get(name, _UNITS.get(name.removesuffix("s")))


def size_or_none(value: float | None) -> float | None:
    """Return a voxel size if it is one: positive and finite.

    Args:
        value: µm, or something else.
    """
    if value is None or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def vector(values: npt.ArrayLike) -> Vector:
    """Return three numbers as a tuple.

    Args:
        values: Three numbers.
    """
    a, b, c = (float(v) + 0.0 for v in np.asarray(values, dtype=np.float64))
    return a, b, c


def matrix(values: npt.ArrayLike) -> Matrix:
    """Return nine numbers as three rows.

    Args:
        values: (3, 3) numbers.
    """
    a, b, c = (vector(row) for row in np.asarray(values, dtype=np.float64))
    return a, b, c


def from_itk(
    spacing: npt.ArrayLike,
    *,
    origin: npt.ArrayLike = (0.0, 0.0, 0.0),
    direction: npt.ArrayLike = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    unit: float = MM,
) -> Geometry:
    """Build a geometry from ITK's terms.

    Args:
        spacing: Along (x, y, z); what is not positive is unknown.
        origin: LPS, (x, y, z).
        direction: (3, 3), the columns are the directions of x, y and z, LPS.
        unit: µm in a unit of spacing and origin.

    Returns:
        The geometry in µm, (z, y, x).
    """
    # The last digits of a length computed from mm or from a rotated step are rounding, not size.
    sizes = [float(f"{s * unit:.12g}") for s in np.asarray(spacing, dtype=np.float64)]
    x, y, z = (size_or_none(s) for s in sizes)
    return Geometry(
        (z, y, x),
        vector(np.asarray(origin, dtype=np.float64)[::-1] * unit),
        matrix(np.asarray(direction, dtype=np.float64)[::-1, ::-1]),
    )


def from_columns(columns: npt.ArrayLike, *, origin: npt.ArrayLike, unit: float = MM) -> Geometry:
    """Build a geometry from the steps from voxel to voxel.

    Args:
        columns: (3, 3), column i is the step along axis i of (x, y, z), LPS.
        origin: LPS, (x, y, z).
        unit: µm in a unit of both.

    Returns:
        The geometry in µm, (z, y, x).
    """
    steps = np.asarray(columns, dtype=np.float64)
    sizes = np.linalg.norm(steps, axis=0)
    if not np.all(np.isfinite(steps)) or np.any(sizes == 0):
        return Geometry(UNKNOWN_SIZE)
    return from_itk(sizes, origin=origin, direction=steps / sizes, unit=unit)


@dataclass(frozen=True)
class ItkFrame:
    """A geometry in ITK's terms: (x, y, z), LPS, in mm."""

    spacing: npt.NDArray[np.float64]
    origin: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]

    @property
    def columns(self) -> npt.NDArray[np.float64]:
        """The steps from voxel to voxel, (3, 3)."""
        return np.asarray(self.direction * self.spacing, dtype=np.float64)


def to_itk(geometry: Geometry) -> ItkFrame:
    """Express a geometry with a known voxel size in ITK's terms.

    Args:
        geometry: In µm, (z, y, x).

    Returns:
        Spacing, origin and direction in mm, (x, y, z).
    """
    sizes = [s if s is not None else MM for s in geometry.voxel_size]
    return ItkFrame(
        np.array(sizes[::-1], dtype=np.float64) / MM,
        np.array(geometry.origin[::-1], dtype=np.float64) / MM,
        np.array(geometry.direction, dtype=np.float64)[::-1, ::-1].copy(),
    )


def itk_or_none(request: WriteRequest, name: str) -> ItkFrame | None:
    """Express the geometry of a write request in ITK's terms, or say that it cannot be.

    Args:
        request: What is to be written.
        name: Name of the format, for the warning.

    Returns:
        The frame; None where the voxel size is not known along every axis, which these
        formats cannot say by axis: then nothing is written, rather than a guess.
    """
    geometry = request.meta.geometry
    if geometry.known:
        return to_itk(geometry)
    if geometry.voxel_size != UNKNOWN_SIZE:
        warn(
            "voxel-size-not-written",
            f"{name} cannot hold a voxel size that is known along some axes only "
            f"{geometry.voxel_size} µm (z, y, x); none was written",
            where=request.path,
        )
    return None


def voxel_size(values: Any) -> VoxelSize:
    """Return three voxel sizes, unknown where they are None or not positive.

    Args:
        values: Three numbers or None, µm, (z, y, x).
    """
    z, y, x = (size_or_none(None if v is None else float(v)) for v in values)
    return z, y, x
