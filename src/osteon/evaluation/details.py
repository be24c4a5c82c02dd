"""Surface and topology of one scan → rows of the tidy table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from osteon.errors import Stopped, UsageError
from osteon.evaluation.files import Row
from osteon.evaluation.rows import row
from osteon.evaluation.surface import (
    Spacing,
    average_distance,
    hausdorff_95,
    surface_dice,
    surface_distances,
)
from osteon.evaluation.tiles import Readers
from osteon.evaluation.topology import (
    MAX_CENTRELINE_VOXELS,
    Bools,
    Centrelines,
    ReadMask,
    Topology,
    topology,
    topology_of_slices,
)
from osteon.evaluation.values import LabelReader
from osteon.events import Reporter
from osteon.labels import IGNORE, LabelScheme
from osteon.volume import VoxelSize

_BONE = "bone"


@dataclass(frozen=True)
class Details:
    """What is measured of a scan besides the overlap.

    Attributes:
        surface: Distances between surfaces.
        topology: Objects, Euler number, connections, centre-lines.
        tolerance_um: Within how many µm surfaces count as the same; None: the largest side of a
            voxel.
    """

    surface: bool = True
    topology: bool = True
    tolerance_um: float | None = None


@dataclass
class _Scan:
    readers: Readers
    scheme: LabelScheme
    voxel_size: VoxelSize
    contiguous: bool
    reporter: Reporter

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.readers[0].volume.shape


def details(
    readers: Readers,
    *,
    what: Details,
    voxel_size: VoxelSize,
    contiguous: bool,
    reporter: Reporter,
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Measure surface and topology of every class but the first. Memory: see the two modules.

    Args:
        readers: Truth and labels, of the same shape.
        what: What is measured.
        voxel_size: µm along (z, y, x); None where unknown.
        contiguous: Whether neighbouring slices are neighbours in space; if not, everything is
            measured within slices.
        reporter: Told of the progress; asked whether to stop.

    Returns:
        Rows of the tidy table without a scan's name, and remarks for the reader.

    Raises:
        UsageError: If a tolerance in µm is given and the voxel size is unknown.
        Stopped: If the reporter was asked to stop.
    """
    scan = _Scan(readers, readers[0].scheme, voxel_size, contiguous, reporter)
    rows: list[Row] = []
    remarks: list[str] = []
    if not contiguous and (what.surface or what.topology):
        remarks.append(
            "the slices are not contiguous: surface and topology are those of single slices, "
            "counted together."
        )
    if what.surface:
        _surface(scan, what.tolerance_um, rows, remarks)
    if what.topology:
        _topology(scan, rows, remarks)
    return tuple(rows), tuple(remarks)


def spacing_of(voxel_size: VoxelSize, *, contiguous: bool) -> tuple[Spacing, str]:
    """Return the distance of voxels and its unit.

    Args:
        voxel_size: µm along (z, y, x); None where unknown.
        contiguous: Whether the distance along z counts.

    Returns:
        Spacing in µm and ``um``; or 1, 1, 1 and ``voxels`` if a side that counts is unknown.
    """
    z, y, x = voxel_size
    if not contiguous and z is None:
        z = y
    if z is None or y is None or x is None:
        return (1.0, 1.0, 1.0), "voxels"
    return (z, y, x), "um"


def _surface(scan: _Scan, tolerance: float | None, rows: list[Row], remarks: list[str]) -> None:
    spacing, unit = spacing_of(scan.voxel_size, contiguous=scan.contiguous)
    if tolerance is None:
        tolerance = max(spacing if scan.contiguous else spacing[1:])
    elif unit != "um":
        raise UsageError(
            "a tolerance in µm needs a known voxel size, and this scan has none",
            where=scan.readers[0].volume.path,
            mend="leave the tolerance out: it is then one voxel",
        )
    classes = [c.value for c in scan.scheme.classes[1:]]
    found = surface_distances(
        scan.readers,
        classes=classes,
        spacing=spacing,
        contiguous=scan.contiguous,
        reporter=scan.reporter,
    )
    rows.append(row("", "all", "surface_tolerance", tolerance, unit=unit))
    for value in classes:
        d, name = found[value], scan.scheme.names[value]
        rows += [
            row("", name, "assd", average_distance(d), unit=unit),
            row("", name, "hd95", hausdorff_95(d), unit=unit),
            row("", name, "nsd", surface_dice(d, tolerance)),
        ]
        lonely = sum(p.unmatched for p in (d.from_truth, d.from_labels))
        if lonely:
            where = "its slice" if not scan.contiguous else "the scan"
            remarks.append(
                f"{lonely:,} of {d.voxels:,} surface voxels of {name} have no counterpart in "
                f"{where}: they count in the surface Dice but have no distance."
            )


def _topology(scan: _Scan, rows: list[Row], remarks: list[str]) -> None:
    classes = [c.value for c in scan.scheme.classes[1:]]
    bone = scan.scheme.value(_BONE) if _BONE in scan.scheme.names else None
    lines = math.prod(scan.shape) <= MAX_CENTRELINE_VOXELS or not scan.contiguous
    steps = 2 * len(classes) + (bone is not None and lines)
    with scan.reporter.stage("topology", total=steps, unit="step") as progress:
        for value in classes:
            name = scan.scheme.names[value]
            both = []
            for index in range(2):
                both.append(_hang_together(scan, index, value, purify=value == bone))
                progress.advance()
            rows += _topology_rows(name, both[0], both[1])
        if bone is not None and lines:
            rows += _centreline_rows(scan, bone)
            progress.advance()
        elif bone is not None:
            remarks.append(
                f"centre-lines (clDice) were not computed: they need the scan in memory, and it "
                f"has more than {MAX_CENTRELINE_VOXELS:,} voxels. Evaluate a part of it for them."
            )


def _hang_together(scan: _Scan, index: int, value: int, *, purify: bool) -> Topology:
    read = _stopping(mask_of(scan.readers, index, value), scan.reporter)
    if scan.contiguous:
        return topology(read, scan.shape, purify=purify)
    return topology_of_slices(read, scan.shape[0])


def mask_of(readers: Readers, index: int, value: int) -> ReadMask:
    """Return what reads the mask of a class, without voxels that have no true label.

    Args:
        readers: Truth and labels.
        index: 0 for the truth, 1 for the labels.
        value: The class.

    Returns:
        A function of first and last slice.
    """
    truth: LabelReader = readers[0]

    def read(start: int, stop: int) -> Bools:
        z = slice(start, stop)
        own: Bools = readers[index].read(z) == value
        if index:
            own &= truth.read(z) != IGNORE
        return own

    return read


def _stopping(read: ReadMask, reporter: Reporter) -> ReadMask:
    def careful(start: int, stop: int) -> Bools:
        if reporter.stopping:
            raise Stopped("stopped while the topology was counted")
        return read(start, stop)

    return careful


def _topology_rows(name: str, truth: Topology, labels: Topology) -> list[Row]:
    rows = []
    for role, found in (("truth", truth), ("predicted", labels)):
        rows.append(row("", name, f"{role}_objects", found.objects, unit="1"))
        rows.append(row("", name, f"{role}_euler", found.euler, unit="1"))
        if found.connectivity is not None:
            rows.append(row("", name, f"{role}_connectivity", found.connectivity, unit="1"))
    rows.append(row("", name, "objects_error", labels.objects - truth.objects))
    rows.append(row("", name, "euler_error", labels.euler - truth.euler))
    if truth.connectivity is not None and labels.connectivity is not None:
        off = labels.connectivity - truth.connectivity
        share = off / truth.connectivity if truth.connectivity else math.nan
        rows.append(row("", name, "conn_d_error", share))
    return rows


def _centreline_rows(scan: _Scan, bone: int) -> list[Row]:
    lines = Centrelines()
    truth, labels = (
        _stopping(mask_of(scan.readers, index, bone), scan.reporter) for index in range(2)
    )
    if scan.contiguous:
        lines.add(truth(0, scan.shape[0]), labels(0, scan.shape[0]))
    else:
        for z in range(scan.shape[0]):
            lines.add(np.asarray(truth(z, z + 1)[0]), np.asarray(labels(z, z + 1)[0]))
    found, right, both = lines.scores()
    name = scan.scheme.names[bone]
    return [
        row("", name, "cldice", both),
        row("", name, "centreline_found", found),
        row("", name, "centreline_right", right),
    ]
