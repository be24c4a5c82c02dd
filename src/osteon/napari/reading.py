"""The reader that napari calls: everything that ``osteon`` reads opens as a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from osteon.errors import InputError
from osteon.formats import detect_format
from osteon.napari.layers import layers_of

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Say whether osteon reads a path.

    Args:
        path: A file or folder, or several.

    Returns:
        What opens it as layers; None where it is of no format that osteon knows.
    """
    paths = [path] if isinstance(path, str) else list(path)
    try:
        for one in paths:
            detect_format(one)
    except InputError:
        return None
    return read


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Open volumes as layers, lazily.

    Args:
        path: A folder of slices or a file, or several.

    Returns:
        A layer for each.

    Raises:
        InputError: If one cannot be read; napari shows the message.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [layer for one in paths for layer in layers_of(Path(one))]
