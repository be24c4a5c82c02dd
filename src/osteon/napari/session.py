"""What the widgets of one window share: the work folder, models, labels that can be painted in."""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from osteon.errors import OutputError
from osteon.files import writing
from osteon.napari.layers import KEY, geometry_of, known, scheme_of
from osteon.napari.lazy import LazyArray
from osteon.napari.writing import save
from osteon.tables.shipped import DEFAULT_MODEL, shipped_models
from osteon.workflows.naming import scan_name

#: Slices that are copied at once.
_SLICES = 16
_sessions: dict[int, Session] = {}


class Session(QObject):
    """The state of one window."""

    folder_changed = Signal()
    models_changed = Signal()

    def __init__(self, viewer: Any):
        super().__init__()
        self._viewer = weakref.ref(viewer)  # a closed window is not kept alive
        self._folder: Path | None = None
        self._models: list[Path] = []
        self.model: str | Path = DEFAULT_MODEL
        #: What labels slices, of the last scans and models (osteon.napari.predictors).
        self.predictors: Any = None

    def belongs_to(self, viewer: Any) -> bool:
        """Whether this is the session of a window.

        Args:
            viewer: Its viewer.
        """
        return self._viewer() is viewer

    @property
    def models(self) -> list[str | Path]:
        """Models to choose from: those that come with osteon, then those of this window."""
        names = sorted(shipped_models(), key=lambda name: (name != DEFAULT_MODEL, name))
        return [*names, *self._models]

    def add_model(self, path: Path) -> None:
        """Add a model, and choose it.

        Args:
            path: Its file.
        """
        if path not in self._models:
            self._models.append(path)
        self.model = path
        self.models_changed.emit()

    def choose_model(self, model: str | Path) -> None:
        """Choose a model in all widgets.

        Args:
            model: One of :attr:`models`.
        """
        if model != self.model:
            self.model = model
            self.models_changed.emit()

    @property
    def chosen_folder(self) -> Path | None:
        """The work folder that was chosen; None: the one beside the scan."""
        return self._folder

    def choose_folder(self, folder: Path | None) -> None:
        """Choose the work folder.

        Args:
            folder: The folder; None: the one beside the scan.
        """
        if folder != self._folder:
            self._folder = folder
            self.folder_changed.emit()

    def folder(self, scan: Path | None = None) -> Path:
        """Return the work folder: the chosen one, or ``<scan>-osteon`` beside the scan.

        Args:
            scan: The scan, where no folder was chosen.

        Raises:
            OutputError: If there is neither.
        """
        if self._folder is not None:
            return self._folder
        if scan is None:
            raise OutputError(
                "it is not said where results go", mend="choose a work folder in ‘Predict’"
            )
        name = scan_name(scan)
        place = scan.absolute().parent
        # Not into a dataset's own folder, where only scan and mask are expected.
        place = place.parent if place.name == name else place
        return place / f"{name}-osteon"

    def new(self, kind: str, *, scan: Path | None = None, suffix: str = "") -> Path:
        """Return a name in the work folder that is not taken: ``fits/fit-2``.

        Args:
            kind: What it is, such as ``fit``.
            scan: As for :meth:`folder`.
            suffix: Of a file.
        """
        folder = self.folder(scan) / f"{kind}s"
        number = 1
        while any((folder / f"{kind}-{number}{end}").exists() for end in {suffix, ".yaml"}):
            number += 1
        return folder / f"{kind}-{number}{suffix}"

    def labels_file(self, layer: Any, *, scan: Path | None = None) -> Path:
        """Return a file that holds the labels of a layer as they are now.

        Args:
            layer: A labels layer; labels that may have been painted in are saved.
            scan: As for :meth:`folder`.

        Raises:
            OutputError: If they cannot be saved.
        """
        path = known(layer).get("path")
        if isinstance(layer.data, LazyArray) and path is not None:
            return Path(path)
        name = "".join(c if c.isalnum() or c in "-._" else "-" for c in layer.name)
        target = self.folder(scan) / "now" / f"{name}.tif"
        return save(layer.data, target, geometry=geometry_of(layer), scheme=scheme_of(layer))


def session_of(viewer: Any) -> Session:
    """Return the session of a window.

    Args:
        viewer: Its viewer, also as napari hands it to plugins.
    """
    found = _sessions.get(id(viewer))
    if found is None or not found.belongs_to(viewer):
        found = _sessions[id(viewer)] = Session(viewer)
    return found


def unwrapped(viewer: Any) -> Any:
    """Return the viewer itself, not the proxy that napari hands to plugins.

    Args:
        viewer: The viewer, or the proxy.
    """
    return getattr(viewer, "__wrapped__", viewer)


def canvas(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Open labels that are kept in a file while they are painted in; made if they are not there.

    What is painted is the file's content at once, so a crash of the window loses none of it, and
    the next window goes on with it; and labels may be larger than the memory.

    Args:
        path: The file (.npy); one of another shape is replaced.
        shape: (z, y, x).

    Returns:
        Labels backed by the file, all 0 where it is new.

    Raises:
        OutputError: If there is no room for it, or the place is not writable.
    """
    size = int(np.prod(shape))
    with contextlib.suppress(OSError, ValueError):
        there: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r+", allow_pickle=False)
        if there.shape == shape and there.dtype == np.uint8:
            return there
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
    if size > free:
        raise OutputError(
            f"labels that can be painted in take {size / 2**20:.0f} MiB, and the disk has "
            f"{free / 2**20:.0f} MiB left",
            where=path,
            mend="make room, or choose a work folder on another disk",
        )
    with writing(path):
        path.unlink(missing_ok=True)
        made = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        # Claimed now: a disk that is full later would end the window without a word.
        if hasattr(os, "posix_fallocate"):
            with path.open("rb+") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return made


def make_paintable(layer: Any, path: Path) -> None:
    """Let a labels layer that is read from a file be painted in; the file stays as it is.

    Args:
        layer: The labels layer.
        path: Where the copy is kept (.npy); where there is one of an earlier window, a number is
            added to the name.

    Raises:
        OutputError: If there is no room for it.
    """
    if isinstance(layer.data, np.ndarray):
        return
    z, y, x = (int(n) for n in layer.data.shape)
    number, place = 2, path
    while place.exists():
        place, number = path.with_stem(f"{path.stem}-{number}"), number + 1
    copy = canvas(place, (z, y, x))
    for start in range(0, z, _SLICES):
        copy[start : start + _SLICES] = layer.data[start : start + _SLICES]
    layer.data = copy
    with contextlib.suppress(KeyError):
        layer.metadata[KEY]["path"] = None
