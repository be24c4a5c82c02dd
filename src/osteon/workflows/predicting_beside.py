"""Class probabilities and uncertainty: volumes beside the labels, written before them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from osteon.formats import open_writer
from osteon.formats.zarr_classes import ClassWriter
from osteon.labels import LabelScheme
from osteon.prediction import Store, Wanted
from osteon.prediction.wanted import FULL
from osteon.settings import PredictSettings
from osteon.volume import Volume, VolumeWriter
from osteon.workflows.predicting_kept import sweep

#: Decision in the journal that the volumes were begun to be put in place: they are ours then.
_BEGUN = "beside"
_NAMES = ("probabilities", "uncertainty")


def wanted_of(settings: PredictSettings) -> Wanted:
    """Return what a prediction is to give, by its settings.

    Args:
        settings: The settings.
    """
    return Wanted(
        probabilities=settings.probabilities,
        uncertainty=settings.uncertainty,
        axes=settings.axes,
        skip_air=settings.skip_air,
        resample=settings.resample,
        contiguous=settings.contiguous,
        within=settings.within_bone,
        surface=settings.surface,
    )


def beside_paths(target: Path, wanted: Wanted) -> dict[str, Path]:
    """Return what is written beside a label volume, by name.

    Args:
        target: The label volume.
        wanted: What is wanted.
    """
    return {
        name: target.with_name(f"{target.name}.{name}.ome.zarr")
        for name in _NAMES
        if getattr(wanted, name)
    }


@dataclass(frozen=True)
class BesideTarget:
    """Where probabilities and uncertainty of a scan go.

    Attributes:
        paths: By name.
        volume: The scan.
        labels: Its classes.
        overwrite: Whether existing volumes are replaced.
    """

    paths: dict[str, Path]
    volume: Volume
    labels: LabelScheme
    overwrite: bool

    def check(self, store: Store) -> None:
        """Raise now, not after the work, if they cannot be written.

        Args:
            store: The work area: knows whether what is there is its own.

        Raises:
            OutputError: If something is there and may not be replaced.
        """
        for path in self.paths.values():
            sweep(path)
        if self.paths and not store.kept(_BEGUN):
            self._writer(overwrite=self.overwrite).abort()

    def open(self, store: Store) -> _BesideWriter:
        """Begin to write them.

        Args:
            store: The work area, which notes that they are its own.

        Raises:
            OutputError: If they cannot be written.
        """
        writer = self._writer(overwrite=self.overwrite or bool(store.kept(_BEGUN)))
        store.keep(**{_BEGUN: True})
        return writer

    def _writer(self, *, overwrite: bool) -> _BesideWriter:
        shape, geometry = self.volume.shape, self.volume.geometry
        writer = _BesideWriter(len(self.labels))
        try:
            if "probabilities" in self.paths:
                writer.probabilities = ClassWriter(
                    self.paths["probabilities"],
                    shape=shape,
                    labels=self.labels,
                    geometry=geometry,
                    overwrite=overwrite,
                )
            if "uncertainty" in self.paths:
                like = copy.copy(self.volume)
                like.intensity_scale, like.intensity_offset = 1 / FULL, 0.0
                like.intensity_unit, like.slice_numbers = None, None
                writer.uncertainty = open_writer(
                    self.paths["uncertainty"], like=like, overwrite=overwrite
                )
        except BaseException:
            writer.abort()
            raise
        return writer


class _BesideWriter:
    """Takes the layers beside the labels, slice by slice.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int):
        self._classes = classes
        self.probabilities: ClassWriter | None = None
        self.uncertainty: VolumeWriter | None = None

    def write(self, z: int, layers: npt.NDArray[np.uint8]) -> None:
        """Take (layer, y, x) of a slice, in ascending order."""
        if self.probabilities is not None:
            self.probabilities.write(z, layers[: self._classes])
        if self.uncertainty is not None:
            self.uncertainty.write(z, layers[-1:])

    def _writers(self) -> Sequence[ClassWriter | VolumeWriter]:
        return [w for w in (self.probabilities, self.uncertainty) if w is not None]

    def abort(self) -> None:
        """Remove what was written."""
        for writer in self._writers():
            writer.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put them in place, or on an error remove what was written."""
        if error is not None:
            self.abort()
            return
        for writer in self._writers():
            writer.close()
