"""Scans with their labels: a mask brought onto the image's grid, remapped, read lazily."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from osteon.datasets.manifest import Manifest, ScanRow
from osteon.datasets.placing import place
from osteon.datasets.pores import METHOD, derive
from osteon.errors import InputError, OsteonError, OsteonWarning, UsageError
from osteon.formats import open_volume
from osteon.labels import IGNORE, LabelScheme
from osteon.volume import Access, Array, Geometry, Volume

#: Values that an error message lists.
_LISTED = 8


class UnknownLabelError(InputError):
    """A mask has values that are no class."""


@dataclass(eq=False)
class MaskVolume(Volume):
    """Labels on the grid of an image: uint8 class values, 255 where nothing is labelled.

    Neighbouring slices of the mask are read together, as much as is asked for; one at a time where
    pores are derived. Pickles like the volume it wraps.

    Attributes:
        mask: The mask as it is in the file.
        image_shape: (z, y, x) of the image.
        image_geometry: Geometry of the image, which is the labels' too.
        scheme: The classes.
        row: The manifest's row.
        source: For each image slice the slice of the mask, -1 where there is none.
        corner: (y, x) of the mask's first pixel in the image.
    """

    mask: Volume
    image_shape: tuple[int, int, int]
    image_geometry: Geometry
    scheme: LabelScheme
    row: ScanRow
    source: tuple[int, ...]
    corner: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.path = self.mask.path
        self.shape = self.image_shape
        self.dtype = np.dtype(np.uint8)
        self.geometry = self.image_geometry
        self.access = Access.SLICE if self.row.derive_pores else self.mask.access
        self.chunks = (1, *self.image_shape[1:])
        self.labels = self.scheme
        self.provenance = dict(self.mask.provenance)
        if self.row.derive_pores:
            self.provenance["pores"] = METHOD
        self._values = {float(k): self.scheme.value(v) for k, v in self.row.remap.items()}
        self._table = self._lookup()

    @property
    def labelled(self) -> tuple[int, ...]:
        """Indexes of the image slices that the mask covers, at least in part."""
        return tuple(z for z, where in enumerate(self.source) if where >= 0)

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read labels; see :meth:`osteon.volume.Volume.read`.

        Raises:
            UnknownLabelError: If the mask has values that are no class; the message says how to
                remap them.
            InputError: If the file is damaged, or has pores where they are to be derived.
        """
        z, y, x = self.bounds(z, y, x)
        shape = (z.stop - z.start, y.stop - y.start, x.stop - x.start)
        labels = np.full(shape, IGNORE, dtype=np.uint8)
        own, place = zip(
            *(
                _shift(wanted, start=start, length=length)
                for wanted, start, length in zip(
                    (y, x), self.corner, self.mask.shape[1:], strict=True
                )
            ),
            strict=True,
        )
        if all(s.stop > s.start for s in own):
            for i, where in _blocks(self.source[z], together=not self.row.derive_pores):
                labels[(i, *place)] = self._read_block(where, own[0], own[1])
        return labels

    def _read_block(self, where: slice, y: slice, x: slice) -> npt.NDArray[np.uint8]:
        if not self.row.derive_pores:
            return self._classes(self.mask.read(where, y, x), where.start)
        labels = self._classes(self.mask.read(where), where.start)[0]
        bone, pores = self.scheme.value("bone"), self.scheme.value("pores")
        if (labels == pores).any():
            raise InputError(
                f"the mask of scan '{self.row.name}' has pores already, so they cannot be derived",
                where=f"{self.path}, slice {where.start}",
                mend="remove derive_pores from the manifest",
            )
        return derive(labels, bone=bone, pores=pores)[np.newaxis, y, x]

    def _lookup(self) -> npt.NDArray[np.int16] | None:
        if self.mask.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            return None
        return self._codes(np.arange(2 ** (8 * self.mask.dtype.itemsize), dtype=np.float64))

    def _codes(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
        """Class of each value; -1 where it is none."""
        codes = np.full(values.shape, -1, dtype=np.int16)
        for number in range(len(self.scheme)):
            codes[values == number] = number
        for value, number in self._values.items():
            codes[values == value] = number
        return codes

    def _classes(self, block: Array, first: int) -> npt.NDArray[np.uint8]:
        """Classes of a block (z, y, x) of the mask that begins with the slice ``first``."""
        if self._table is not None:
            codes = self._table[block]
        else:
            unique, inverse = np.unique(block, return_inverse=True)
            codes = self._codes(unique.astype(np.float64))[inverse].reshape(block.shape)
        if codes.min(initial=0) < 0:
            bad = int(np.flatnonzero((codes < 0).any(axis=(1, 2)))[0])
            self._refuse(np.unique(block[bad][codes[bad] < 0]), first + bad)
        return codes.astype(np.uint8)

    def _refuse(self, values: Array, where: int) -> None:
        names = [f"{v:g}" for v in values[:_LISTED].astype(np.float64)]
        more = f" and {len(values) - _LISTED} more" if len(values) > _LISTED else ""
        proposal = ", ".join(f'"{name}" = "bone"' for name in names[:2])
        raise UnknownLabelError(
            f"the mask of scan '{self.row.name}' has values that are no class: "
            f"{', '.join(names)}{more}",
            where=f"{self.path}, slice {where}",
            mend=f"say in the manifest what they are, such as remap = {{ {proposal} }}; "
            f"the classes are {', '.join(self.scheme.names)}, or ignore",
        )


def _blocks(source: Sequence[int], *, together: bool) -> list[tuple[slice, slice]]:
    """Places in the result, and the neighbouring slices of the mask that go there."""
    blocks: list[tuple[slice, slice]] = []
    for i, where in enumerate(source):
        if where < 0:
            continue
        into, read = blocks[-1] if blocks else (slice(0, 0), slice(0, 0))
        if together and blocks and (into.stop, read.stop) == (i, where):
            blocks[-1] = slice(into.start, i + 1), slice(read.start, where + 1)
        else:
            blocks.append((slice(i, i + 1), slice(where, where + 1)))
    return blocks


def _shift(wanted: slice, *, start: int, length: int) -> tuple[slice, slice]:
    """What of the mask is wanted along an axis, and where in the result it goes."""
    first, last = max(wanted.start, start), min(wanted.stop, start + length)
    last = max(first, last)
    return slice(first - start, last - start), slice(first - wanted.start, last - wanted.start)


@dataclass(eq=False)
class ResizedVolume(Volume):
    """A volume whose voxel size the manifest states; everything else is the file's."""

    inner: Volume
    voxel_size: tuple[float, float, float]

    def __post_init__(self) -> None:
        inner = self.inner
        self.path, self.shape, self.dtype = inner.path, inner.shape, inner.dtype
        self.access, self.chunks = inner.access, inner.chunks
        self.geometry = replace(inner.geometry, voxel_size=self.voxel_size)
        self.intensity_scale = inner.intensity_scale
        self.intensity_offset = inner.intensity_offset
        self.intensity_unit = inner.intensity_unit
        self.provenance, self.labels = inner.provenance, inner.labels
        self.slice_numbers = inner.slice_numbers

    def read(self, z: slice, y: slice = slice(None), x: slice = slice(None)) -> Array:
        """Read a block; see :meth:`osteon.volume.Volume.read`."""
        return self.inner.read(z, y, x)


@dataclass(frozen=True)
class Pair:
    """A scan and its labels, opened.

    Attributes:
        row: The manifest's row.
        image: The scan.
        labels: Its labels on the scan's grid, or None.
    """

    row: ScanRow
    image: Volume
    labels: MaskVolume | None

    @property
    def name(self) -> str:
        """Name of the scan."""
        return self.row.name

    @property
    def labelled(self) -> tuple[int, ...]:
        """Indexes of the slices that have labels and are to be used."""
        return () if self.labels is None else self.labels.labelled


def open_pair(manifest: Manifest, row: ScanRow) -> Pair:
    """Open a scan and its mask.

    Args:
        manifest: The dataset.
        row: One of its rows.

    Returns:
        The pair; no voxel has been read.

    Raises:
        InputError: If a file is missing or damaged, or the mask does not fit the scan.
    """
    # A gap in the numbering is worth a warning only where the manifest does not say so itself.
    image = _open(manifest, row.image, f"the scan '{row.name}'", gaps=not row.contiguous)
    if row.voxel_size_um is not None:
        one = row.voxel_size_um
        image = ResizedVolume(image, one if isinstance(one, tuple) else (one, one, one))
    if row.slices is not None and row.slices[1] > image.shape[0]:
        raise InputError(
            f"scan '{row.name}' has {image.shape[0]} slices; the manifest asks for "
            f"{row.slices[0]}..{row.slices[1]}",
            where=image.path,
            mend="correct the entry slices",
        )
    if row.mask is None:
        return Pair(row, image, None)
    some = not row.contiguous or row.mask_slices != "all"
    mask = _open(manifest, row.mask, f"the mask of scan '{row.name}'", gaps=some)
    source, corner = place(row, image, mask)
    first, last = row.slices or (0, image.shape[0])
    source = [where if first <= z < last else -1 for z, where in enumerate(source)]
    _check_scheme(row, manifest.labels, mask)
    labels = MaskVolume(
        mask, image.shape, image.geometry, manifest.labels, row, tuple(source), corner
    )
    return Pair(row, image, labels)


def open_pairs(manifest: Manifest, names: Sequence[str] | None = None) -> tuple[Pair, ...]:
    """Open the scans that have a mask.

    Args:
        manifest: The dataset.
        names: Names of the scans wanted; None: all with a mask.

    Returns:
        The pairs, in the order of the manifest or of ``names``.

    Raises:
        InputError: See :func:`open_pair`; or if a named scan, or every scan, has no mask.
        UsageError: If there is no scan of a name.
    """
    rows = [row for row in manifest.scans if row.mask is not None]
    if names is not None:
        rows = [manifest.row(name) for name in names]
    without = [row.name for row in rows if row.mask is None]
    if without or not rows:
        raise InputError(
            f"scan '{without[0]}' has no mask" if without else "no scan of the dataset has a mask",
            where=manifest.path,
            mend="add the entry mask to the scans to be learned from",
        )
    return tuple(open_pair(manifest, row) for row in rows)


def open_file(path: Path, *, gaps: bool) -> Volume:
    """Open a volume.

    Args:
        path: The file or folder.
        gaps: Whether gaps in the numbering of slices are known, and no warning is wanted.

    Returns:
        The volume.

    Raises:
        InputError: See :func:`osteon.formats.open_volume`.
    """
    with warnings.catch_warnings():
        if gaps:
            warnings.filterwarnings("ignore", r".*\[gap-in-numbering\]", OsteonWarning)
        return open_volume(path)


def _open(manifest: Manifest, text: str, what: str, *, gaps: bool) -> Volume:
    path = manifest.resolve(text)
    if not path.exists():
        raise InputError(
            f"{what} is not there", where=path, mend="correct the path in the manifest"
        )
    try:
        return open_file(path, gaps=gaps)
    except OsteonError as error:
        raise type(error)(f"{what}: {error.what}", where=error.where, mend=error.mend) from error


def _check_scheme(row: ScanRow, scheme: LabelScheme, mask: Volume) -> None:
    if row.derive_pores and not {"bone", "pores"} <= set(scheme.names):
        raise InputError(
            f"scan '{row.name}': deriving pores needs classes called bone and pores",
            where=mask.path,
        )


def scan_shapes(pairs: Sequence[Pair]) -> dict[str, tuple[int, ...]]:
    """Return the labelled slices of each scan, as splits need them.

    Args:
        pairs: The opened scans.

    Returns:
        Slice indexes by name of the scan.

    Raises:
        UsageError: If two pairs have the same name.
    """
    shapes: dict[str, tuple[int, ...]] = {pair.name: pair.labelled for pair in pairs}
    if len(shapes) != len(pairs):
        raise UsageError("two scans have the same name")
    return shapes
