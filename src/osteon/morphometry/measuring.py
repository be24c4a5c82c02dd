"""Measure the bones of a label volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError, Stopped, UsageError
from osteon.events import Progress, Reporter
from osteon.labels import IGNORE
from osteon.morphometry.bone import Bone, Sink, no_sink
from osteon.morphometry.compartments import CORTICAL, TRABECULAR, separate
from osteon.morphometry.groups import Figures, Group, section_figures, slices_of
from osteon.morphometry.objects import find_objects
from osteon.morphometry.reading import (
    Box,
    Remap,
    bone_of,
    check_fits,
    judge_contiguity,
    read_labels,
)
from osteon.morphometry.regions import bounding_box, describe, region_mask
from osteon.morphometry.sections import Section
from osteon.morphometry.values import BoneMeasures, Figure, Grid
from osteon.registry import Row
from osteon.settings.measuring import MeasureSettings
from osteon.tables.measures import MEASURES, usual
from osteon.volume import ArrayVolume, Geometry, Volume, VoxelSize

#: Memory of a measurement at its highest, in bytes a voxel of what is read.
BYTES_PER_VOXEL = 64
#: Takes a map of a scan: its name, the box of a bone, values within the box.
MapSink = Callable[[str, Box, npt.NDArray[Any]], None]

_NOT_CONTIGUOUS = "neighbouring slices are not neighbours in space"
_UNKNOWN = "the voxel size is unknown: lengths are in voxels"
_CALIBRATED = "mgha"


class MeasureStopped(Stopped):
    """The measurement was asked to stop: there is no result."""


@dataclass(frozen=True)
class Sources:
    """What goes with a label volume.

    Attributes:
        scan: The scan, for TMD; None: there is none.
        compartments: 1 cortical, 2 trabecular, to be taken in place of one's own; None: none.
        remap: What the values of the labels stand for; None: class values.
        sink: Takes thickness maps and compartments.
    """

    scan: Volume | None = None
    compartments: Volume | None = None
    remap: Remap | None = None
    sink: MapSink | None = None


def measure(
    labels: Volume | npt.NDArray[Any],
    voxel_size_um: VoxelSize | float | None = None,
    *,
    settings: MeasureSettings | None = None,
    sources: Sources | None = None,
    name: str = "scan",
    reporter: Reporter | None = None,
) -> list[BoneMeasures]:
    """Measure the bones of a label volume, one row a bone.

    Memory: about 64 bytes a voxel of the region's box; of a series of slices that are no
    neighbours in space, one slice.

    Args:
        labels: (z, y, x) 0 background, 1 bone, 2 pores, 255 not labelled (counts as background).
        voxel_size_um: Voxel size, one number or (z, y, x); None: the volume's own.
        settings: What is measured; None: the defaults.
        sources: The scan, compartments, remap, and who takes maps.
        name: Name of the scan.
        reporter: Told of the progress; asked whether to stop.

    Returns:
        The bones, the largest first.

    Raises:
        InputError: If the volume holds no labels or no bone, or others do not fit it.
        UsageError: If the region lies outside, or what is asked needs contiguous slices.
        MeasureStopped: If the reporter was asked to stop.
    """
    volume = labels if isinstance(labels, Volume) else ArrayVolume(np.asarray(labels))
    job = _Job(
        volume=volume,
        size=_voxel_size(volume, voxel_size_um),
        settings=settings or MeasureSettings(),
        sources=sources or Sources(),
        name=name,
    )
    if 0 in volume.shape:
        raise InputError(f"the volume is empty: shape {volume.shape}", where=volume.path)
    for other in (job.sources.scan, job.sources.compartments):
        check_fits(volume.shape, job.size, other)
    contiguous, why = True, ""
    if job.settings.contiguous == "auto":
        contiguous, why = judge_contiguity(volume, remap=job.sources.remap)
    elif job.settings.contiguous == "no":
        contiguous, why = False, "as was said"
    rows = _wanted(job.settings)
    reporter = reporter or Reporter()
    if contiguous:
        return _measure_solid(job, rows, reporter)
    return [_measure_slices(job, rows, reporter, why=why)]


@dataclass(frozen=True)
class _Job:
    volume: Volume
    size: VoxelSize
    settings: MeasureSettings
    sources: Sources
    name: str

    @property
    def grid(self) -> Grid:
        return Grid.of(self.size)

    def bone(self, labels: npt.NDArray[np.uint8]) -> Bone:
        bone, outline = bone_of(labels)
        return Bone(bone, outline, None, None, self.grid, self.settings)


def _voxel_size(volume: Volume, given: VoxelSize | float | None) -> VoxelSize:
    if given is None:
        return volume.geometry.voxel_size
    size = (given, given, given) if isinstance(given, int | float) else given
    return Geometry(size).voxel_size  # which refuses sizes that are not positive


def _wanted(settings: MeasureSettings) -> list[Row]:
    chosen = usual() if settings.measures is None else settings.measures
    return [row for row in MEASURES if row.name in chosen]


def _groups(rows: Sequence[Row]) -> dict[str, Group]:
    return {str(row.capabilities["group"]): cast(Group, MEASURES.load(row.name)) for row in rows}


def _measure_solid(job: _Job, rows: list[Row], reporter: Reporter) -> list[BoneMeasures]:
    grid, settings = job.grid, job.settings
    box = bounding_box(settings.region, job.volume.shape, grid.spacing)
    labels = read_labels(job.volume, box, remap=job.sources.remap)
    start = (box[0].start, box[1].start, box[2].start)
    notes = _common_notes(job, labels)
    _, outline = bone_of(labels)
    if not outline.any():
        raise InputError(
            "there is nothing to measure: every voxel is background",
            where=job.volume.path,
            mend="check the labels and the region",
        )
    boxes, own = [tuple(slice(0, n) for n in labels.shape)], [0]
    objects = None
    if settings.objects:
        objects = find_objects(outline, least_share=settings.least_object)
        boxes, own = list(objects.boxes), list(objects.numbers)
        if objects.fragments:
            notes.append(
                f"{objects.fragments} fragments ({objects.fragment_voxels} voxels) were left out"
            )
    groups, out = _groups(rows), []
    with reporter.stage("measure", total=len(own) * len(groups), unit="group") as progress:
        for index, (number, inner) in enumerate(zip(own, boxes, strict=True)):
            within = _grown(cast(Box, inner), outline.shape)
            part = labels[within]
            if objects is not None:
                part = np.where(objects.labels[within] == number, part, 0).astype(np.uint8)
            place = _shifted(within, start)
            bone = _prepare(job, part, place, notes)
            if not bone.inside(bone.outline).any():
                progress.advance(len(groups))
                continue  # this bone does not reach into the region
            figures = _figures(bone, groups, rows, reporter, progress)
            out.append(
                _result(job, figures, number=index + 1 if objects else 0, notes=notes, bone=bone)
            )
    if not out:
        raise InputError(
            "no bone lies within the region",
            where=job.volume.path,
            mend="the region is given in µm (z, y, x) from the first voxel of the volume",
        )
    return out


def _grown(box: Box, shape: tuple[int, ...]) -> Box:
    """Add the voxel around a bone that is background, where the image has it."""
    z, y, x = (
        slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box, shape, strict=True)
    )
    return z, y, x


def _shifted(box: Box, start: tuple[int, int, int]) -> Box:
    z, y, x = (slice(s.start + o, s.stop + o) for s, o in zip(box, start, strict=True))
    return z, y, x


def _prepare(job: _Job, labels: npt.NDArray[np.uint8], place: Box, notes: list[str]) -> Bone:
    """Make a bone of its labels: region, compartments, density."""
    bone, grid, settings = job.bone(labels), job.grid, job.settings
    first = (place[0].start, place[1].start, place[2].start)
    region = region_mask(settings.region, bone.outline, start=first, spacing=grid.spacing)
    compartments = _compartments(job, bone, place, planar=False, notes=notes)
    sink: Sink = no_sink
    take = job.sources.sink
    if take is not None:
        if compartments is not None:
            take("compartments", place, compartments)

        def sink(name: str, values: npt.NDArray[np.float32]) -> None:
            take(name, place, values)

    return replace(
        bone,
        region=region,
        compartments=compartments,
        density=_density(job.sources.scan, place),
        first=place[0].start,
        sink=sink,
    )


def _compartments(
    job: _Job, bone: Bone, place: Box, *, planar: bool, notes: list[str]
) -> npt.NDArray[np.uint8] | None:
    settings, given = job.settings, job.sources.compartments
    if settings.content == "trabecular":
        return None
    if given is not None:
        block = given.read(*place)
        if not np.isin(block, (0, CORTICAL, TRABECULAR)).all():
            raise InputError(
                "a file of compartments holds 0, 1 (cortical) and 2 (trabecular) alone",
                where=given.path,
            )
        return np.where(bone.outline, block, 0).astype(np.uint8)
    if settings.compartments.method == "none":
        return None
    if not job.grid.known:
        note = "compartments are not told apart: their widths in µm need the voxel size"
        if note not in notes:
            notes.append(note)
        return None
    return separate(
        bone.bone,
        bone.outline,
        job.grid.spacing,
        settings=settings.compartments,
        planar=planar,
    )


def _density(scan: Volume | None, place: Box) -> npt.NDArray[Any] | None:
    unit = "" if scan is None else (scan.intensity_unit or "")
    if scan is None or not unit.replace(" ", "").lower().startswith(_CALIBRATED):
        return None
    block = scan.read(*place).astype(np.float32)
    density: npt.NDArray[Any] = block * scan.intensity_scale + scan.intensity_offset
    return density


def _figures(
    bone: Bone, groups: dict[str, Group], rows: list[Row], reporter: Reporter, progress: Progress
) -> Figures:
    found: dict[str, Figure] = {}
    for name, group in groups.items():
        if reporter.stopping:
            raise MeasureStopped("the measurement was stopped")
        found.update(group(bone))
        progress.advance(message=name)
    return {row.name: found[row.name] for row in rows}


def _measure_slices(job: _Job, rows: list[Row], reporter: Reporter, *, why: str) -> BoneMeasures:
    """Measure areas alone, slice after slice."""
    settings = job.settings
    if settings.region.name != "whole":
        raise UsageError(
            f"a region in space cannot be measured: {_NOT_CONTIGUOUS} ({why})",
            where="region",
            mend="measure all slices (region=whole), or say contiguous=yes if they are neighbours",
        )
    planar = {"sections"}
    if not any(row.capabilities["group"] in planar for row in rows):
        raise UsageError(
            f"only areas can be measured: {_NOT_CONTIGUOUS} ({why})",
            where="measures",
            mend="choose areas, such as tt-ar, or say contiguous=yes if the slices are neighbours",
        )
    depth, height, width = job.volume.shape
    found: list[Section] = []
    notes: list[str] = []
    unit = Bone(*(np.zeros((1, 1, 1), np.bool_),) * 2, None, None, job.grid, settings)
    with reporter.stage("measure", total=depth, unit="slice") as progress:
        for z in range(depth):
            if reporter.stopping:
                raise MeasureStopped("the measurement was stopped")
            place = (slice(z, z + 1), slice(0, height), slice(0, width))
            labels = read_labels(job.volume, place, remap=job.sources.remap)
            bone = job.bone(labels)
            compartments = _compartments(job, bone, place, planar=True, notes=notes)
            if compartments is not None and job.sources.sink is not None:
                job.sources.sink("compartments", place, compartments)
            found += slices_of(replace(bone, compartments=compartments, first=z))
            progress.advance()
    if not found:
        raise InputError(
            "there is nothing to measure: every voxel is background", where=job.volume.path
        )
    figures = section_figures(unit, found)
    reason = f"{_NOT_CONTIGUOUS} ({why})"
    said = {
        row.name: figures.get(row.name, unit.grid.figure(row.name, None, "areas alone"))
        for row in rows
    }
    head = [_UNKNOWN] if not job.grid.known else []
    notes = [*head, f"areas alone: {reason}", *notes]
    return replace(_assembled(job, said, 0, notes, found), areas_alone=True)


def _common_notes(job: _Job, labels: npt.NDArray[np.uint8]) -> list[str]:
    notes = [] if job.grid.known else [_UNKNOWN]
    ignored = int(np.count_nonzero(labels == IGNORE))
    if ignored:
        share = ignored / math.prod(labels.shape)
        notes.append(f"{ignored} voxels ({share:.2%}) are not labelled and count as background")
    return notes


def _result(
    job: _Job, figures: Figures, *, number: int, notes: list[str], bone: Bone
) -> BoneMeasures:
    found = slices_of(bone) if "tt-ar" in figures else []
    return _assembled(job, figures, number, notes, found)


def _assembled(
    job: _Job, figures: Figures, number: int, notes: list[str], found: list[Section]
) -> BoneMeasures:
    return BoneMeasures(
        scan=job.name,
        bone=number,
        figures=figures,
        voxel_size=job.size,
        region=describe(job.settings.region),
        notes=tuple(notes),
        sections=tuple(_section_row(job, number, section) for section in found),
    )


def _section_row(job: _Job, number: int, section: Section) -> dict[str, object]:
    values = {
        "tt-ar": section.total,
        "b-ar": section.bone,
        "ct-ar": section.cortex,
        "ct-b-ar": section.cortex_bone,
        "ma-ar": section.marrow,
        "imax": section.largest,
        "imin": section.smallest,
        "j": section.polar,
    }
    row: dict[str, object] = {"scan": job.name, "bone": number, "z": section.z}
    for name, value in values.items():
        figure = job.grid.figure(name, value)
        row[f"{MEASURES.row(name).capabilities['term']} [{figure.unit}]"] = figure.value
    return row
