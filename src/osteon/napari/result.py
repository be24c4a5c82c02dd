"""The labels layer that a prediction fills while it runs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from osteon.errors import UsageError
from osteon.events import Reporter
from osteon.formats import open_pyramid, open_volume
from osteon.labels import LabelScheme
from osteon.napari.layers import (
    KEY,
    MAGENTA,
    check_same_shape,
    file_of,
    geometry_of,
    known,
    labels_keywords,
    scale_of,
)
from osteon.napari.lazy import LazyArray
from osteon.napari.session import Session, canvas
from osteon.volume import Geometry
from osteon.workflows.naming import scan_name

#: Slices that are copied at once.
_SLICES = 16
#: Uncertainty of 1 as it is shown, and what does not show yet: all surfaces are a little uncertain.
FULL, _SURE = 255, 64


def labels_layer(
    viewer: Any, session: Session, scan: Any, *, name: str, scheme: LabelScheme
) -> Any:
    """Return the labels layer of a name, empty or as it was; made over the scan if need be.

    Args:
        viewer: The viewer.
        session: Its session.
        scan: The scan's layer.
        name: Name of the labels layer.
        scheme: The classes.

    Raises:
        OutputError: If there is no room for its file.
        UsageError: If a layer of this name is of another shape.
    """
    if name in viewer.layers:
        layer = viewer.layers[name]
        check_same_shape(layer, finest(scan))
        return layer
    geometry = geometry_of(scan)
    path = file_of(scan)
    z, y, x = (int(n) for n in finest(scan).data.shape)
    safe = "".join(c if c.isalnum() or c in "-._" else "-" for c in name)
    data = canvas(session.folder(path) / "now" / f"{safe}.npy", (z, y, x))
    hide_labels(viewer)
    return viewer.add_labels(data, **labels_keywords(name, geometry, scheme))


class _Finest:
    """The finest level of an image layer."""

    def __init__(self, layer: Any):
        self.name = layer.name
        self.data = layer.data[0] if layer.multiscale else layer.data


def finest(layer: Any) -> _Finest:
    """Return the finest level of an image layer, with its name.

    Args:
        layer: The layer.
    """
    return _Finest(layer)


def hide_labels(viewer: Any) -> None:
    """Hide labels and what was made of them: colours over colours cannot be told apart.

    Args:
        viewer: The viewer.
    """
    for layer in viewer.layers:
        if layer._type_string == "labels" or known(layer).get("derived"):
            layer.visible = False


def check_covers(labels: Any, scan: Any) -> None:
    """Refuse labels that do not cover the voxels of a scan.

    Args:
        labels: A labels layer.
        scan: An image layer.

    Raises:
        UsageError: If they differ in shape.
    """
    check_same_shape(labels, finest(scan))


class Growing:
    """Shows what a running prediction has finished.

    Args:
        layer: The labels layer.
        target: The label volume that is being made.
    """

    def __init__(self, layer: Any, target: Path):
        self.layer, self.target = layer, target
        self._seen: set[str] = set()

    def look(self) -> int:
        """Show what is new.

        Returns:
            How many slices there were.
        """
        # By now the prediction runs, and with it PyTorch is there.
        from osteon.prediction import new_slices, work_area

        count = 0
        # The work area is another thread's, which may remove it at any time.
        with contextlib.suppress(OSError):
            for z, labels in new_slices(work_area(self.target), self._seen):
                self.layer.data[z] = labels[0]
                count += 1
        if count:
            self.layer.refresh()
        return count


def show_file(layer: Any, path: Path, reporter: Reporter) -> None:
    """Put the labels of a file into a layer that can be painted in; may run in a thread.

    Args:
        layer: The labels layer; to be refreshed when this has ended.
        path: The label volume.
        reporter: Told of the progress.

    Raises:
        InputError: If it cannot be read.
    """
    volume, data = open_volume(path), layer.data
    with reporter.stage("show", total=volume.shape[0], unit="slice") as progress:
        for z in range(0, volume.shape[0], _SLICES):
            last = min(z + _SLICES, volume.shape[0])
            data[z:last] = volume.read(slice(z, last))
            progress.advance(last - z)


def show_whole_uncertainty(viewer: Any, scan: Any, path: Path) -> Any:
    """Show how uncertain the labels of a whole scan are, read where it is looked at.

    Args:
        viewer: The viewer.
        scan: The scan's layer.
        path: The volume of the uncertainty, 0 to 255.

    Returns:
        The layer.

    Raises:
        InputError: If it cannot be read.
        UsageError: If it is of another shape.
    """
    name = f"uncertainty of {scan.name}, whole scan"
    levels = [LazyArray(level) for level in open_pyramid(path)]
    if levels[0].shape != tuple(finest(scan).data.shape):
        raise UsageError(
            f"the uncertainty is of another shape, {levels[0].shape}", where=path,
            mend="predict the whole scan again",
        )  # fmt: skip
    if name in viewer.layers:
        viewer.layers.remove(name)
    for layer in viewer.layers:
        if layer._type_string == "image" and known(layer).get("derived"):
            layer.visible = False  # of single slices: twice as strong otherwise
    data = levels if len(levels) > 1 else levels[0]
    return _add_uncertainty(viewer, data, name, geometry_of(scan), multiscale=len(levels) > 1)


def _add_uncertainty(
    viewer: Any, data: Any, name: str, geometry: Geometry, *, multiscale: bool = False
) -> Any:
    from napari.utils import Colormap

    seen_through = Colormap([(*MAGENTA, 0.0), (*MAGENTA, 1.0)], name="osteon uncertainty")
    return viewer.add_image(
        data, name=name, colormap=seen_through, blending="translucent_no_depth",
        contrast_limits=(_SURE, FULL), multiscale=multiscale, **scale_of(geometry),
        metadata={KEY: {"geometry": geometry, "derived": True}},
    )  # fmt: skip


def show_uncertainty(viewer: Any, scan: Any, z: int, uncertainty: Any) -> Any:
    """Show how uncertain a slice is, in a layer that holds the slices looked at so far.

    Args:
        viewer: The viewer.
        scan: The scan's layer.
        z: The slice.
        uncertainty: (y, x), 0 to 1.

    Returns:
        The layer.
    """
    name = f"uncertainty of {scan.name}"
    if name not in viewer.layers:
        # Zeros take no memory until something is written over them.
        data = np.zeros(finest(scan).data.shape, np.uint8)
        _add_uncertainty(viewer, data, name, geometry_of(scan))
    layer = viewer.layers[name]
    layer.data[z] = np.round(uncertainty * FULL).astype(np.uint8)
    layer.refresh()
    return layer


def whole_target(session: Session, scan: Path, model: str | Path) -> Path:
    """Return where the labels of a whole scan go.

    Args:
        session: The session.
        scan: The scan.
        model: Name or file of the model.
    """
    return session.folder(scan) / f"{scan_name(scan)}.{model_name(model)}.tif"


def model_name(model: str | Path) -> str:
    """Return what a model is called in names of layers and files.

    Args:
        model: The name of a model that comes with osteon, or a file.
    """
    path = Path(model)
    if isinstance(model, str):
        return model
    return path.parent.name if path.name == "model.safetensors" else path.stem
