"""What measuring gives: figures with units, and why a figure is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from osteon.morphometry.ridge import Spacing
from osteon.registry import Row
from osteon.tables.measures import MEASURES, VOXEL_UNITS, term_of
from osteon.volume import VoxelSize

#: What stands in tables in place of a number that the voxels are too coarse for.
NOT_RESOLVED = "not resolved"
#: µm in a millimetre.
_UM_PER_MM = 1000.0


@dataclass(frozen=True)
class Figure:
    """One measure of one bone.

    Attributes:
        value: The number in ``unit``; None where there is none.
        unit: ``um``, ``mm2``, ``voxel`` … ; ``1`` for a ratio.
        note: Why there is none, or what is to be known of it.
    """

    value: float | None
    unit: str
    note: str = ""

    @property
    def resolved(self) -> bool:
        """Whether the voxels are fine enough for it."""
        return not self.note.startswith(NOT_RESOLVED)


@dataclass(frozen=True)
class Grid:
    """The size of voxels, or that it is unknown.

    Attributes:
        spacing: Along (z, y, x) in µm; (1, 1, 1) where unknown.
        known: Whether it is known.
    """

    spacing: Spacing
    known: bool

    @classmethod
    def of(cls, size: VoxelSize) -> Grid:
        """Make it of a voxel size; one that is unknown along an axis is unknown."""
        z, y, x = size
        if z is None or y is None or x is None:
            return cls((1.0, 1.0, 1.0), known=False)
        return cls((float(z), float(y), float(x)), known=True)

    @property
    def voxel(self) -> float:
        """Volume of a voxel."""
        return math.prod(self.spacing)

    @property
    def working(self) -> Spacing:
        """The spacing in units of the finest axis.

        Distances between cubic voxels are whole numbers squared then, which is exact and fast.
        """
        z, y, x = (s / min(self.spacing) for s in self.spacing)
        return z, y, x

    def figure(self, name: str, value: float | None, note: str = "") -> Figure:
        """Give a number its unit.

        Args:
            name: Name of the measure in :data:`osteon.tables.measures.MEASURES`.
            value: The number, in µm or voxels to the power of the measure; NaN and None: none.
            note: What is to be known of it.
        """
        row = MEASURES.row(name)
        power = cast(int, row.capabilities["power"])
        if value is not None and not math.isfinite(value):
            value = None
        if not self.known:
            own = power == 0 and row.capabilities["unit"] != "1"  # a density, not a ratio
            return Figure(value, unit_of(row) if own else VOXEL_UNITS[power], note)
        if value is not None and power not in (0, 1):
            value /= _UM_PER_MM**power
        return Figure(value, unit_of(row), note)


def unit_of(row: Row) -> str:
    """Return the unit of a measure where the voxel size is known."""
    return str(row.capabilities["unit"])


@dataclass(frozen=True)
class BoneMeasures:
    """The measures of one bone.

    Attributes:
        scan: Name of the scan.
        bone: Number of the bone in the scan, from 1, by size; 0: all bones together.
        figures: Name of the measure → figure.
        voxel_size: µm along (z, y, x), None where unknown.
        region: What was measured, in words.
        notes: What is to be known of all figures.
        sections: One row a slice: areas and moments, with units in the names of the columns.
        areas_alone: Whether slices are no neighbours in space, so that nothing else was measured.
    """

    scan: str
    bone: int
    figures: Mapping[str, Figure]
    voxel_size: VoxelSize
    region: str
    notes: tuple[str, ...] = ()
    sections: Sequence[Mapping[str, object]] = field(default_factory=tuple)
    areas_alone: bool = False

    def row(self) -> dict[str, object]:
        """Return one row of a table: a column a measure, its unit in the name.

        What has no value is None; the column ``notes`` says why.
        """
        z, y, x = self.voxel_size
        out: dict[str, object] = {
            "scan": self.scan,
            "bone": self.bone,
            "region": self.region,
            "voxel_z_um": z,
            "voxel_y_um": y,
            "voxel_x_um": x,
        }
        for name, figure in self.figures.items():
            out[f"{term_of(name)} [{figure.unit}]"] = figure.value
        out["notes"] = "; ".join([*self.notes, *self.said()])
        return out

    def said(self) -> list[str]:
        """Return the notes of figures; those of the same words together."""
        terms: dict[str, list[str]] = {}
        for name, figure in self.figures.items():
            if figure.note:
                terms.setdefault(figure.note, []).append(term_of(name))
        return [f"{', '.join(names)}: {note}" for note, names in terms.items()]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            "scan": self.scan,
            "bone": self.bone,
            "region": self.region,
            "voxel_size_um": list(self.voxel_size),
            "measures": {
                name: {
                    "term": term_of(name),
                    "value": figure.value,
                    "unit": figure.unit,
                    "note": figure.note or None,
                }
                for name, figure in self.figures.items()
            },
            "notes": list(self.notes),
        }
