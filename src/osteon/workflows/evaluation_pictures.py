"""What the report of an evaluation shows of a scan in space; read in one pass along z."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.evaluation import Evaluation, Pair, ScanEvaluation
from osteon.evaluation.details import spacing_of
from osteon.evaluation.values import LabelReader
from osteon.reports import SlicePicture, pictures
from osteon.reports.evaluation_parts import ScanShape
from osteon.reports.rendering import rendered
from osteon.volume import Volume

#: Planes along each axis that can be leafed through.
FRAMES = 15
#: Scans on the contact sheet.
MOST_ON_SHEET = 60
#: Pixels that a plane is read at; more would not be seen.
_LONGEST = 700
#: Voxels along the longest side of the mask that the surface is drawn from.
_COARSE = 170

#: With fewer slices than this a scan is flat: there is nothing to see along y and x.
_FEWEST_SLICES = 8

#: Ratio of the sides of a pixel from which a plane is stretched.
_SQUARE = 1.02

_Plane = npt.NDArray[Any]
_Planes = tuple[_Plane, _Plane, _Plane]


def scan_shape(scan: ScanEvaluation, pair: Pair, image: Volume | None, *, first: int) -> ScanShape:
    """Read the planes and the surface of a scan.

    Memory: some 45 planes of at most 700 × 700 pixels, and three coarse masks of 170³.

    Args:
        scan: Its evaluation.
        pair: Its truth and labels.
        image: The scan itself; None: planes are black.
        first: Number of the first slice in the file.

    Returns:
        Planes along z, and along y and x and the surfaces if slices are contiguous.
    """
    reading = _Reading(scan, pair, image)
    reading.run()
    planes = {"z": reading.along_z(first)}
    if not pair.contiguous or scan.shape[0] < _FEWEST_SLICES:
        return ScanShape(scan.name, planes)
    planes |= {"y": reading.along("y"), "x": reading.along("x")}
    return ScanShape(scan.name, planes, reading.surfaces())


@dataclass
class _Reading:
    scan: ScanEvaluation
    pair: Pair
    image: Volume | None
    frames: dict[int, _Planes] = field(default_factory=dict)
    lines: dict[str, list[_Planes]] = field(default_factory=lambda: {"y": [], "x": []})

    def __post_init__(self) -> None:
        depth, height, width = self.scan.shape
        scheme = self.scan.scheme
        self._truth = LabelReader(
            self.pair.truth, scheme=scheme, remap=self.pair.remap, role="truth"
        )
        self._labels = LabelReader(
            self.pair.labels, scheme=scheme, remap=self.pair.labels_remap, role="labels"
        )
        counts = self.scan.slices
        used = np.flatnonzero(counts.sum(axis=(1, 2)) - counts[:, 0, 0])
        ends = (int(used[0]), int(used[-1])) if len(used) else (0, depth - 1)
        self.z = _spread(*ends)
        self.places = {"y": _spread(0, height - 1), "x": _spread(0, width - 1)}
        self.step = tuple(-(-n // _LONGEST) for n in self.scan.shape)
        self.factor = -(-max(self.scan.shape) // _COARSE)
        coarse = tuple(-(-n // self.factor) for n in (depth, height, width))
        self.coarse = {name: np.zeros(coarse, np.float32) for name in _MASKS}
        self._weight = np.zeros(coarse[0])

    def run(self) -> None:
        need = set(self.z)
        if self.pair.contiguous:
            need |= set(range(0, self.scan.shape[0], self.step[0]))
        for z in sorted(need):
            one = slice(z, z + 1)
            truth, labels = self._truth.read(one)[0], self._labels.read(one)[0]
            image = (
                np.zeros(truth.shape, np.uint8) if self.image is None else self.image.read(one)[0]
            )
            planes = image, truth, labels
            if z in self.z:
                _, y, x = self.step
                self.frames[z] = _each(planes, lambda p, y=y, x=x: p[::y, ::x].copy())
            if self.pair.contiguous and z % self.step[0] == 0:
                self._keep(z, planes)

    def _keep(self, z: int, planes: _Planes) -> None:
        _, y, x = self.step
        rows, columns = self.places["y"], self.places["x"]
        self.lines["y"].append(_each(planes, lambda p: p[rows][:, ::x]))
        self.lines["x"].append(_each(planes, lambda p: p[::y][:, columns].T))
        value = pictures.focus_class(self.scan.scheme)
        true, labelled = planes[1] == value, planes[2] == value
        judged = planes[1] < len(self.scan.scheme)
        at = z // self.factor
        self._weight[at] += 1
        for name, mask in zip(
            _MASKS,
            (true, labelled & judged, true & ~labelled, labelled & judged & ~true),
            strict=True,
        ):
            self.coarse[name][at] += _squares(mask, self.factor)

    def along_z(self, first: int) -> list[SlicePicture]:
        _, y, x = self.scan.voxel_size
        ratio = (y or 1) * self.step[1] / ((x or 1) * self.step[2]) if y and x else 1.0
        return [
            self._picture(place + first, _square(planes, ratio))
            for place, planes in sorted(self.frames.items())
        ]

    def along(self, axis: str) -> list[SlicePicture]:
        other = 2 if axis == "y" else 1
        size, known = self.scan.voxel_size, self.scan.voxel_mm3 is not None
        z, side = ((size[0] or 1.0), (size[other] or 1.0)) if known else (1.0, 1.0)
        ratio = z * self.step[0] / (side * self.step[other])
        out = []
        for index, place in enumerate(self.places[axis]):
            # z upwards, as in the picture of the surface.
            planes = tuple(
                np.stack([line[role][index] for line in self.lines[axis]])[::-1]
                for role in range(3)
            )
            out.append(self._picture(place, _square((planes[0], planes[1], planes[2]), ratio)))
        return out

    def surfaces(self) -> tuple[pictures.Picture, pictures.Picture]:
        weight = np.maximum(self._weight, 1)[:, np.newaxis, np.newaxis].astype(np.float32)
        share = {name: mask / weight for name, mask in self.coarse.items()}
        spacing, _ = spacing_of(self.scan.voxel_size, contiguous=True)
        truth = rendered(
            share["truth"], spacing=spacing, marked=share["missed"], colour=pictures.MISSED
        )
        labels = rendered(
            share["labels"], spacing=spacing, marked=share["false"], colour=pictures.FALSE
        )
        return truth, labels

    def _picture(self, place: int, planes: _Planes) -> SlicePicture:
        image, truth, labels = planes
        return SlicePicture(self.scan.name, place, image, labels, truth)


_MASKS = ("truth", "labels", "missed", "false")


def typical_pictures(
    scan: ScanEvaluation, pair: Pair, image: Volume | None, *, first: int, most: int = 2
) -> list[SlicePicture]:
    """Read the slices that the rule of :meth:`ScanEvaluation.typical_slices` chooses.

    Args:
        scan: The evaluation of the scan.
        pair: Its truth and labels.
        image: The scan itself; None: black.
        first: Number of the first slice in the file.
        most: At most so many.

    Returns:
        The slices.
    """
    readers = [
        LabelReader(volume, scheme=scan.scheme, remap=remap, role=role)
        for volume, remap, role in (
            (pair.truth, pair.remap, "truth"),
            (pair.labels, pair.labels_remap, "labels"),
        )
    ]
    out = []
    for z, why in scan.typical_slices()[:most]:
        one = slice(z, z + 1)
        truth, labels = (reader.read(one)[0] for reader in readers)
        shown = np.zeros(truth.shape, np.uint8) if image is None else image.read(one)[0]
        note = why if image is not None else f"{why} The scan was not found; name it by --scan."
        size = scan.voxel_size[2]
        out.append(SlicePicture(scan.name, z + first, shown, labels, truth, size, note))
    return out


def contact_sheet(
    result: Evaluation, opened: Mapping[str, tuple[Pair, Volume | None]], *, first: int
) -> list[tuple[str, SlicePicture]]:
    """Read one slice a scan, lowest IoU of bone (or mean IoU) first.

    Args:
        result: The evaluation.
        opened: Name of each scan → truth and labels, and the scan itself.
        first: Number of the first slice in the file.

    Returns:
        Captions and slices of at most MOST_ON_SHEET scans; none for a single scan.
    """
    if len(result.scans) < 2:
        return []
    of = "bone" if "bone" in result.scheme.names else "mean"
    values = result.per_scan("iou", of)
    order = sorted(range(len(values)), key=lambda i: (not math.isnan(values[i]), values[i]))
    out = []
    for index in order[:MOST_ON_SHEET]:
        scan = result.scans[index]
        score = "–" if math.isnan(values[index]) else f"{values[index]:.3f}"
        (typical,) = typical_pictures(scan, *opened[scan.name], first=first, most=1)
        out.append((f"{scan.name} · slice {typical.z} · {of} IoU {score}", typical))
    return out


def _spread(low: int, high: int) -> list[int]:
    return sorted({round(v) for v in np.linspace(low, high, FRAMES).tolist()})


def _each(planes: _Planes, change: Any) -> _Planes:
    return change(planes[0]), change(planes[1]), change(planes[2])


def _squares(mask: _Plane, factor: int) -> npt.NDArray[np.float32]:
    """Average over squares of pixels; those at the far edges may be smaller."""
    out = mask.astype(np.float32)
    for axis in range(2):
        starts = np.arange(0, out.shape[axis], factor)
        sizes = np.diff(np.append(starts, out.shape[axis])).astype(np.float32)
        out = np.add.reduceat(out, starts, axis=axis)
        out /= sizes[:, np.newaxis] if axis == 0 else sizes
    return out


def _square(planes: _Planes, ratio: float) -> _Planes:
    """Repeat or leave out rows and columns until pixels are square: height by width is ratio."""
    height, width = planes[0].shape
    if 1 / _SQUARE < ratio < _SQUARE:
        return planes
    if ratio > 1:
        rows = np.minimum((np.arange(round(height * ratio)) / ratio).astype(int), height - 1)
        return _each(planes, lambda p: p[rows])
    columns = np.minimum((np.arange(round(width / ratio)) * ratio).astype(int), width - 1)
    return _each(planes, lambda p: p[:, columns])
