"""Slices that somebody has looked through and corrected, as a dataset that a fit can learn from."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from osteon.datasets import Manifest, ScanRow, slices_apart
from osteon.datasets.masks import open_file
from osteon.errors import InputError, UsageError
from osteon.files import remove, write_bytes
from osteon.labels import BONE_PORES, IGNORE, LabelScheme
from osteon.workflows.naming import scan_name

_MANIFEST = "dataset.toml"
#: Digits in the name of a slice's file.
_DIGITS = 6


class Corrections:
    """Reviewed slices of scans: a folder with a manifest, and a folder of slices for each scan.

    The folder of slices says what is reviewed (``<scan>/000012.tif`` is slice 12) and the manifest
    follows it, so a kill between the two loses nothing. Whatever is not reviewed has no label
    there: a fit leaves it out.

    Args:
        folder: ``folder/dataset.toml`` is the manifest; made when the first slice comes.
        scheme: The classes, where there is no manifest yet.

    Raises:
        InputError: If there is a manifest that cannot be read.
    """

    def __init__(self, folder: Path, *, scheme: LabelScheme = BONE_PORES):
        self.folder, self.path = folder, folder / _MANIFEST
        self._manifest = Manifest(scheme, (), self.path)
        if self.path.exists():
            self._manifest = Manifest.load(self.path)
            rows = tuple(self._as_found(row) for row in self._manifest.scans)
            if rows != self._manifest.scans:
                self._save(rows)

    @property
    def scheme(self) -> LabelScheme:
        """The classes."""
        return self._manifest.labels

    @property
    def count(self) -> int:
        """Reviewed slices of all scans."""
        return sum(len(_reviewed(self._masks(row))) for row in self._manifest.scans)

    def reviewed(self, scan: Path) -> tuple[int, ...]:
        """Return the reviewed slices of a scan.

        Args:
            scan: The scan's folder or file.
        """
        row = self._row(scan)
        return () if row is None else _reviewed(self._masks(row))

    def labels(self, scan: Path, z: int) -> npt.NDArray[np.uint8]:
        """Read the labels of a reviewed slice.

        Args:
            scan: The scan.
            z: The slice.

        Returns:
            Label values (y, x).

        Raises:
            InputError: If it is not reviewed.
        """
        row = self._row(scan)
        if row is None or z not in self.reviewed(scan):
            raise InputError(f"slice {z} is not marked as reviewed", where=scan)
        return np.asarray(tifffile.imread(_file(self._masks(row), z)), np.uint8)

    def add(
        self,
        scan: Path,
        z: int,
        labels: npt.NDArray[np.uint8],
        *,
        scheme: LabelScheme | None = None,
        voxel_size: float | None = None,
    ) -> None:
        """Take the labels of a slice as reviewed; those of an earlier review are replaced.

        Args:
            scan: The scan's folder or file.
            z: The slice.
            labels: Label values (y, x); 255 where they are to be left out.
            scheme: The classes that the labels follow; None: those of the corrections.
            voxel_size: Voxel size in µm in place of what the scan's file says.

        Raises:
            UsageError: If the labels do not fit the scan or the classes.
            OutputError: If they cannot be written.
        """
        volume = open_file(scan, gaps=True)
        if not 0 <= z < volume.shape[0] or labels.shape != volume.shape[1:]:
            raise UsageError(
                f"labels of shape {labels.shape} for slice {z} do not fit the scan, which has "
                f"the shape {volume.shape}",
                where=scan,
                mend="choose the labels that belong to this scan",
            )
        self._check_classes(labels, scheme, scan)
        row = self._row(scan)
        if row is None:
            name = self._free_name(scan)
            row = ScanRow(
                name=name,
                image=str(scan.absolute()),
                mask=str(self.folder.absolute() / name),
                specimen=name,
                contiguous=not slices_apart(volume),
                remap={str(IGNORE): "ignore"},
                voxel_size_um=voxel_size,
                notes="slices reviewed in the window of osteon",
            )
        held = io.BytesIO()
        tifffile.imwrite(held, labels, compression="zlib")
        write_bytes(_file(self._masks(row), z), held.getvalue())
        others = [other for other in self._manifest.scans if other.name != row.name]
        self._save((*others, self._as_found(row)))

    def remove(self, scan: Path, z: int) -> None:
        """Take back that a slice is reviewed; a scan without any leaves the manifest.

        Args:
            scan: The scan.
            z: The slice.
        """
        row = self._row(scan)
        if row is None:
            return
        remove(_file(self._masks(row), z))
        self._save(tuple(self._as_found(r) for r in self._manifest.scans))

    def _check_classes(
        self, labels: npt.NDArray[np.uint8], scheme: LabelScheme | None, scan: Path
    ) -> None:
        if not self._manifest.scans and scheme is not None:
            self._manifest = replace(self._manifest, labels=scheme)
        if scheme is not None and scheme.names != self.scheme.names:
            raise UsageError(
                f"the labels have the classes {', '.join(scheme.names)}, and the corrections so "
                f"far {', '.join(self.scheme.names)}",
                where=self.folder,
                mend="choose another work folder for them",
            )
        strange = set(np.unique(labels).tolist()) - set(range(len(self.scheme))) - {IGNORE}
        if strange:
            raise UsageError(
                f"the labels hold {', '.join(map(str, sorted(strange)))}, which is no class",
                where=scan,
                mend=f"paint with 0 to {len(self.scheme) - 1}, or 255 for what is to be left out",
            )

    def _row(self, scan: Path) -> ScanRow | None:
        place = scan.absolute()
        rows = self._manifest.scans
        return next((r for r in rows if self._manifest.resolve(r.image) == place), None)

    def _masks(self, row: ScanRow) -> Path:
        return self._manifest.resolve(row.mask or row.name)

    def _free_name(self, scan: Path) -> str:
        taken = {row.name for row in self._manifest.scans}
        name, number = scan_name(scan), 2
        while name in taken:
            name, number = f"{scan_name(scan)}-{number}", number + 1
        return name

    def _as_found(self, row: ScanRow) -> ScanRow:
        return row.model_copy(update={"mask_slices": _reviewed(self._masks(row))})

    def _save(self, rows: tuple[ScanRow, ...]) -> None:
        kept = tuple(row for row in rows if row.mask_slices)
        self._manifest = replace(self._manifest, scans=kept)
        if kept:
            self._manifest = self._manifest.save(self.path, overwrite=True)
        else:
            remove(self.path)


def _file(folder: Path, z: int) -> Path:
    return folder / f"{z:0{_DIGITS}d}.tif"


def _reviewed(folder: Path) -> tuple[int, ...]:
    found = folder.glob("*.tif") if folder.is_dir() else ()
    return tuple(sorted(int(path.stem) for path in found if path.stem.isdecimal()))
