"""Scans and labels as layers of napari: where they lie, their colours, the files they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError, OsteonWarning, UsageError
from osteon.formats import open_pyramid
from osteon.labels import BONE_PORES, BRIGHTEST, IGNORE, LabelScheme
from osteon.napari.lazy import LazyArray
from osteon.napari.warned import hearing
from osteon.volume import Geometry, Volume

#: Where a layer's metadata keep what osteon knows of it.
KEY = "osteon"
#: Of what is to be seen over the colours of labels and the grey of a scan alike.
MAGENTA = (0.9, 0.2, 0.6)
#: Shares of the grey values of the middle slice between which it is shown, in per cent.
_DARKEST, _BRIGHTEST = 0.5, 99.8
#: Label volumes have few values; more mean a grey image.
_MOST_LABELS = 32
_AXES = ("z", "y", "x")
_IGNORED = (0.6, 0.6, 0.6, 0.35)


def scale_of(geometry: Geometry) -> dict[str, Any]:
    """Return where a volume lies, as keywords of a layer: µm if known, else voxels.

    Args:
        geometry: Its geometry.
    """
    if not geometry.known:
        return {"scale": (1.0, 1.0, 1.0), "units": ("pixel",) * 3, "axis_labels": _AXES}
    sizes = tuple(float(s or 1) for s in geometry.voxel_size)
    return {"scale": sizes, "units": ("um",) * 3, "axis_labels": _AXES}


def colours(scheme: LabelScheme) -> dict[int | None, Any]:
    """Return the colours of classes for a labels layer; the first, the background, is clear.

    Args:
        scheme: The classes.
    """
    found: dict[int | None, Any] = {None: (0.0, 0.0, 0.0, 0.0), 0: (0.0, 0.0, 0.0, 0.0)}
    for one in scheme.classes[1:]:
        found[one.value] = (*(level / BRIGHTEST for level in one.colour), 1.0)
    found[IGNORE] = _IGNORED
    return found


def named(scheme: LabelScheme) -> dict[str, list[Any]]:
    """Return the features of a labels layer, which napari shows under the pointer.

    Args:
        scheme: The classes.
    """
    names = [*scheme.names, "not labelled"]
    return {"index": [*range(len(scheme)), IGNORE], "class": names}


def labels_keywords(
    name: str, geometry: Geometry, scheme: LabelScheme, *, path: Path | None = None
) -> dict[str, Any]:
    """Return the keywords of a labels layer.

    Args:
        name: Its name.
        geometry: Where it lies.
        scheme: Its classes.
        path: The file that holds just these labels, if any.
    """
    return {
        "name": name,
        "metadata": {KEY: {"path": path, "scheme": scheme, "geometry": geometry}},
        "colormap": colours(scheme),
        "features": named(scheme),
        "opacity": 0.5,
        **scale_of(geometry),
    }


def layers_of(path: Path) -> list[tuple[Any, dict[str, Any], str]]:
    """Open a scan or label volume as a layer, lazily and with its pyramid where it has one.

    Args:
        path: A folder of slices, or a file.

    Returns:
        One layer, as napari's readers give it; its metadata have what was warned of.

    Raises:
        InputError: If it cannot be read.
    """
    told: list[OsteonWarning] = []
    with hearing(told.append):
        layer = _opened(path)
    layer[1]["metadata"][KEY]["warned"] = tuple(dict.fromkeys(map(str, told)))
    return [layer]


def _opened(path: Path) -> tuple[Any, dict[str, Any], str]:
    levels = open_pyramid(path)
    volume = levels[0]
    data = [LazyArray(level) for level in levels]
    if _is_labels(volume):
        scheme = volume.labels or BONE_PORES
        keywords = labels_keywords(_name(path), volume.geometry, scheme, path=path)
        return data[0], keywords, "labels"
    middle = data[-1][data[-1].shape[0] // 2]
    keywords = {
        "name": _name(path),
        "metadata": {KEY: {"path": path, "geometry": volume.geometry}},
        "colormap": "gray",
        "contrast_limits": _contrast(middle),
        **scale_of(volume.geometry),
    }
    if len(data) > 1:
        return data, {**keywords, "multiscale": True}, "image"
    return data[0], keywords, "image"


def _is_labels(volume: Volume) -> bool:
    """Whether a volume is of labels: it says so, or its middle slice looks so."""
    if volume.labels is not None:
        return True
    if volume.dtype != np.uint8:
        return False
    middle = volume.shape[0] // 2
    values = np.unique(volume.read(slice(middle, middle + 1)))
    few = set(values.tolist()) <= {*range(len(BONE_PORES)), IGNORE}
    return bool(few) and len(values) <= _MOST_LABELS


def _contrast(plane: npt.NDArray[Any]) -> tuple[float, float]:
    low, high = (float(v) for v in np.percentile(plane, (_DARKEST, _BRIGHTEST)))
    return (low, high) if high > low else (low, low + 1)


def _name(path: Path) -> str:
    name = path.absolute().name
    return f"{path.absolute().parent.name}/{name}" if name.lower() in ("scan", "mask") else name


def known(layer: Any) -> dict[str, Any]:
    """Return what osteon knows of a layer; empty if it did not make it.

    Args:
        layer: A layer.
    """
    found = layer.metadata.get(KEY, {})
    return found if isinstance(found, dict) else {}


def file_of(layer: Any) -> Path:
    """Return the file of a scan's layer.

    Args:
        layer: An image layer.

    Raises:
        InputError: If it comes from no file that osteon reads.
    """
    path = known(layer).get("path") or layer.source.path
    if path is None:
        raise InputError(
            "this layer comes from no file",
            where=layer.name,
            mend="save it (File > Save Selected Layers) and open the saved file",
        )
    return Path(path)


def geometry_of(layer: Any) -> Geometry:
    """Return where a layer lies; the voxel size is unknown unless osteon opened it.

    Args:
        layer: A layer.
    """
    found = known(layer).get("geometry")
    return found if isinstance(found, Geometry) else Geometry()


def scheme_of(layer: Any) -> LabelScheme:
    """Return the classes of a labels layer; background, bone and pores where it does not say.

    Args:
        layer: A labels layer.
    """
    found = known(layer).get("scheme")
    return found if isinstance(found, LabelScheme) else BONE_PORES


def check_same_shape(first: Any, second: Any) -> None:
    """Refuse two layers that do not cover the same voxels.

    Args:
        first: A layer.
        second: Another.

    Raises:
        UsageError: If they differ in shape.
    """
    shapes = [tuple(layer.data.shape) for layer in (first, second)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"the two layers differ in shape (z, y, x): {shapes[0]} and {shapes[1]}",
            where=f"{first.name} and {second.name}",
            mend="choose layers that belong to the same scan",
        )
