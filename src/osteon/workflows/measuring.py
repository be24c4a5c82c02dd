"""``osteon measure``: a label volume → measures of its bones, as CSV, JSON and a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import osteon
from osteon.errors import OutputError, UsageError
from osteon.evaluation.files import write_csv, write_json
from osteon.events import Reporter
from osteon.files import write_text
from osteon.formats import open_volume, open_writer
from osteon.morphometry import (
    BYTES_PER_VOXEL,
    COMPARTMENTS,
    NOT_RESOLVED,
    BoneMeasures,
    Sources,
    bounding_box,
)
from osteon.morphometry import measure as measure_labels
from osteon.reports.blocks import NONE
from osteon.settings import MeasureSettings
from osteon.tables.measures import MEASURES, unit_text
from osteon.volume import Geometry, Volume
from osteon.workflows.methods import of_measures
from osteon.workflows.record import check_folder, machine, versions

SCHEMA = 1
_TABLE, _SECTIONS, _RECORD, _METHODS, _COMPARTMENTS = (
    "measures.csv",
    "sections.csv",
    "measures.json",
    "methods.txt",
    "compartments.nrrd",
)
#: Thickness maps, by the measure they are of.
_MAPS = ("tb-th", "tb-sp", "ct-th")
#: Memory above which it is said beforehand.
_WORTH_SAYING = 2**30
_SLICES_PER_BLOCK = 16


@dataclass(frozen=True)
class MeasureOptions:
    """What goes with a measurement.

    Attributes:
        scan: The scan, for TMD where its intensities are mgHA/cm³.
        compartments: File of compartments (1 cortical, 2 trabecular), such as an edited
            ``compartments.nrrd`` of an earlier measurement.
        voxel_size: Voxel size in µm in place of what the file says; None: the file's.
        remap: What values of the labels stand for; None: class values.
        maps: Also write maps of local thickness.
    """

    scan: Path | None = None
    compartments: Path | None = None
    voxel_size: float | None = None
    remap: Mapping[int, str] | None = None
    maps: bool = False


@dataclass(frozen=True)
class MeasureRun:
    """The outcome of a measurement.

    Attributes:
        bones: One entry a bone.
        folder: Where tables are, or None.
        files: What was written.
    """

    bones: Sequence[BoneMeasures]
    folder: Path | None
    files: tuple[Path, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible summary."""
        return {
            "bones": [bone.as_dict() for bone in self.bones],
            "files": [str(path) for path in self.files],
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the heads and the lines of the measures as text, a line a measure."""
        heads = ["measure", "unit", *(f"bone {b.bone}" if b.bone else "all" for b in self.bones)]
        lines = [
            [
                str(MEASURES.row(name).capabilities["term"]),
                unit_text(first.unit),
                *(_cell(bone, name) for bone in self.bones),
            ]
            for name, first in self.bones[0].figures.items()
        ]
        return heads, lines

    @property
    def notes(self) -> list[str]:
        """What is to be known of the measures, each once."""
        return list(dict.fromkeys(n for b in self.bones for n in (*b.notes, *b.said())))

    def format_table(self) -> str:
        """Return the measures as text, one line a measure and a column a bone."""
        heads, rows = self.table()
        lines = [heads, *rows]
        widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
        text = [
            "  ".join(
                cell.ljust(w) if k < 2 else cell.rjust(w)
                for k, (cell, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*text, *(f"note: {note}" for note in self.notes)])


def _cell(bone: BoneMeasures, name: str) -> str:
    figure = bone.figures[name]
    if figure.value is not None:
        return f"{figure.value:.4g}"
    return NONE if figure.resolved else NOT_RESOLVED


def measure(
    labels: str | Path,
    *,
    out: str | Path | None = None,
    settings: MeasureSettings | None = None,
    options: MeasureOptions | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> MeasureRun:
    """Measure the bones of a label volume.

    The region's box is held in memory, at about 64 bytes a voxel; where neighbouring slices are
    not neighbours in space, one slice.

    Args:
        labels: The label volume.
        out: Folder for ``measures.csv`` (a row a bone), ``sections.csv`` (a row a slice),
            ``measures.json``, ``methods.txt`` (a methods paragraph), ``compartments.nrrd`` and,
            where asked for, maps of thickness.
        settings: What is measured.
        options: The scan, compartments, voxel size, remap, maps.
        overwrite: Replace existing files.
        reporter: Told of the progress.

    Returns:
        The measures and where they were written.

    Raises:
        InputError: If volumes do not go together, or hold no labels or no bone.
        OutputError: If the folder holds measures already or cannot be written.
        UsageError: If the region lies outside, or maps are asked for without a folder.
    """
    options, settings = options or MeasureOptions(), settings or MeasureSettings()
    reporter = reporter or Reporter()
    folder = None if out is None else Path(out)
    if folder is None and options.maps:
        raise UsageError("maps need a folder", where="--maps", mend="name it by --out")
    if folder is not None:
        _check_out(folder, overwrite=overwrite)
    volume = open_volume(labels)
    _tell_memory(volume, settings, options, reporter)
    size = options.voxel_size
    geometry = volume.geometry if size is None else Geometry((size,) * 3)
    maps = _Maps(volume, kept=_MAPS if options.maps else (), compartments=folder is not None)
    bones = measure_labels(
        volume,
        geometry.voxel_size,
        settings=settings,
        sources=_sources(options, maps),
        name=Path(labels).absolute().name.split(".")[0],
        reporter=reporter,
    )
    if folder is None:
        return MeasureRun(bones, None)
    files = _write(bones, folder, settings=settings, options=options, overwrite=overwrite)
    files += maps.write(folder, geometry, overwrite=overwrite)
    return MeasureRun(bones, folder, tuple(files))


def _sources(options: MeasureOptions, maps: _Maps) -> Sources:
    """Open what goes with the labels."""
    scan, compartments = (
        None if path is None else open_volume(path) for path in (options.scan, options.compartments)
    )
    return Sources(scan=scan, compartments=compartments, remap=options.remap, sink=maps.take)


def _check_out(folder: Path, *, overwrite: bool) -> None:
    check_folder(folder)
    names = (_TABLE, _SECTIONS, _RECORD, _METHODS, _COMPARTMENTS, *(f"{m}.nrrd" for m in _MAPS))
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise OutputError(
            f"there are measures in this folder already ({', '.join(there)})",
            where=folder,
            mend="choose another folder, or replace them by --overwrite",
        )


def _tell_memory(
    volume: Volume, settings: MeasureSettings, options: MeasureOptions, reporter: Reporter
) -> None:
    if settings.contiguous == "no":
        return
    size = options.voxel_size
    known = volume.geometry.known or size is not None
    spacing = tuple(size or s or 1.0 for s in volume.geometry.voxel_size) if known else (1.0,) * 3
    box = bounding_box(settings.region, volume.shape, (spacing[0], spacing[1], spacing[2]))
    needed = BYTES_PER_VOXEL * math.prod(s.stop - s.start for s in box)
    if needed > _WORTH_SAYING:
        reporter.message(
            "measure", f"this may take up to {needed / 2**30:.1f} GiB of memory", bytes=needed
        )


def _write(
    bones: Sequence[BoneMeasures],
    folder: Path,
    *,
    settings: MeasureSettings,
    options: MeasureOptions,
    overwrite: bool,
) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    table, by_slice, record = folder / _TABLE, folder / _SECTIONS, folder / _RECORD
    write_csv(table, [bone.row() for bone in bones], overwrite=overwrite)
    written = [table]
    rows = [dict(row) for bone in bones for row in bone.sections]
    if rows:
        write_csv(by_slice, rows, overwrite=overwrite)
        written.append(by_slice)
    data = {
        "bones": [bone.as_dict() for bone in bones],
        "settings": settings.model_dump(mode="json"),
        "options": {
            "scan": None if options.scan is None else str(options.scan),
            "compartments": None if options.compartments is None else str(options.compartments),
            "voxel_size_um": options.voxel_size,
            "remap": {str(k): v for k, v in (options.remap or {}).items()},
        },
        "versions": versions(),
        "machine": machine(),
    }
    write_json(record, "measures", SCHEMA, data, overwrite=overwrite)
    methods = folder / _METHODS
    write_text(methods, "\n\n".join(_methods(bones, settings, options)) + "\n")
    return [*written, record, methods]


def _methods(
    bones: Sequence[BoneMeasures], settings: MeasureSettings, options: MeasureOptions
) -> list[str]:
    """Write the methods paragraphs of what was measured."""
    names = [
        name
        for name in bones[0].figures
        if any(bone.figures[name].value is not None for bone in bones)
    ]
    return of_measures(
        settings,
        names or list(bones[0].figures),
        [bone.voxel_size for bone in bones],
        version=osteon.__version__,
        given=options.compartments is not None,
        planar=any(bone.areas_alone for bone in bones),
    )


class _Maps:
    """Gathers the maps of all bones on the grid of the scan, and writes them."""

    def __init__(self, volume: Volume, *, kept: Sequence[str], compartments: bool):
        self._volume = volume
        self._kept = {*kept, *(["compartments"] if compartments else [])}
        self._maps: dict[str, npt.NDArray[Any]] = {}

    def take(self, name: str, box: tuple[slice, slice, slice], values: npt.NDArray[Any]) -> None:
        """Take the map of one bone; where bones' boxes overlap each keeps its own voxels."""
        if name not in self._kept:
            return
        if name not in self._maps:
            self._maps[name] = np.zeros(self._volume.shape, values.dtype)
        np.maximum(self._maps[name][box], values, out=self._maps[name][box])

    def write(self, folder: Path, geometry: Geometry, *, overwrite: bool) -> list[Path]:
        """Write what was gathered as NRRD."""
        written = []
        for name, values in self._maps.items():
            path = folder / f"{name}.nrrd"
            scheme = COMPARTMENTS if name == "compartments" else None
            like = _Like(self._volume, geometry)
            writer = open_writer(
                path, like=like, dtype=values.dtype, labels=scheme, overwrite=overwrite
            )
            with writer:
                for z in range(0, values.shape[0], _SLICES_PER_BLOCK):
                    writer.write(z, values[z : z + _SLICES_PER_BLOCK])
            written.append(path)
        return written


class _Like(Volume):
    """Where a map lies: on the grid of the labels, its values in µm."""

    def __init__(self, volume: Volume, geometry: Geometry):
        self.path, self.shape, self.dtype = volume.path, volume.shape, volume.dtype
        self.geometry, self.access, self.chunks = geometry, volume.access, volume.chunks
        self.provenance, self.slice_numbers = {}, volume.slice_numbers

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> npt.NDArray[Any]:
        """Hold nothing: a map is written, not read."""
        raise NotImplementedError
