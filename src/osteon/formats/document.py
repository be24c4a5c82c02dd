"""The JSON that osteon writes where a format itself cannot hold voxel size, origin or classes.

As ``osteon-volume.json`` in a folder of slices or DICOM files, as ``<name>.npy.json`` beside
an array, inside OME-TIFF and Zarr, and as ``<name>.labels.json`` beside NIfTI and MetaImage.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from osteon.errors import InputError, UsageError
from osteon.formats.base import Intensity, Meta, WriteRequest
from osteon.formats.frames import matrix, vector, voxel_size
from osteon.labels import LabelScheme
from osteon.volume import Geometry

SCHEMA = 1
FOLDER_DOCUMENT = "osteon-volume.json"
#: A document is small; anything larger is not ours and is not parsed.
_MOST_BYTES = 16 * 1024 * 1024


def describe(request: WriteRequest) -> dict[str, Any]:
    """Describe a volume that is being written as JSON-compatible values.

    Args:
        request: What is being written.

    Returns:
        The document; :func:`parse` reads it back.
    """
    meta = request.meta
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "osteon-volume",
        "shape": list(request.shape),
        "dtype": request.dtype.name,
        "voxel_size_um": list(meta.geometry.voxel_size),
        "origin_um": list(meta.geometry.origin),
        "direction": [list(row) for row in meta.geometry.direction],
        "provenance": dict(meta.provenance),
    }
    if meta.intensity != Intensity():
        document["intensity"] = vars(meta.intensity)
    if meta.labels is not None:
        document["labels"] = meta.labels.as_dict()
    return document


def describe_labels(labels: LabelScheme) -> dict[str, Any]:
    """Describe the classes alone, for formats that hold the geometry themselves.

    Args:
        labels: The classes.
    """
    return {"schema": SCHEMA, "kind": "osteon-labels", "labels": labels.as_dict()}


def encode(document: dict[str, Any]) -> bytes:
    """Return a document as UTF-8 JSON.

    Args:
        document: What :func:`describe` or :func:`describe_labels` made.
    """
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def parse(document: Any, path: Path) -> Meta:
    """Read a document.

    Args:
        document: The decoded JSON.
        path: Where it was found, for messages.

    Returns:
        What it says; what it does not say is unknown.

    Raises:
        InputError: If it is damaged or of a newer schema.
    """
    try:
        schema = document["schema"]
        if schema != SCHEMA:
            raise InputError(
                f"this description is of schema {schema}; this osteon reads schema {SCHEMA}",
                where=path,
                mend="update osteon, or remove the description to go on without it",
            )
        scale = document.get("intensity", {})
        labels = document.get("labels")
        return Meta(
            Geometry(
                voxel_size(document.get("voxel_size_um", (None, None, None))),
                vector(document.get("origin_um", (0, 0, 0))),
                matrix(document.get("direction", ((1, 0, 0), (0, 1, 0), (0, 0, 1)))),
            ),
            Intensity(
                float(scale.get("scale", 1.0)), float(scale.get("offset", 0.0)), scale.get("unit")
            ),
            {str(k): str(v) for k, v in document.get("provenance", {}).items()},
            None if labels is None else LabelScheme.from_dict(labels),
        )
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise InputError(
            f"this description is not one of osteon's, or is damaged ({error})",
            where=path,
            mend="remove it to go on without it",
        ) from error


def load(path: Path) -> tuple[Meta, dict[str, Any]] | None:
    """Read a document from a file, if it is there.

    Args:
        path: The JSON file.

    Returns:
        What it says, and the document itself; None where there is no such file.

    Raises:
        InputError: If it is damaged or of a newer schema.
    """
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is too large")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"this description cannot be read ({error})",
            where=path,
            mend="remove it to go on without it",
        ) from error
    return parse(document, path), document


def labels_beside(path: Path) -> Path:
    """Return where the classes of a NIfTI or MetaImage file are kept.

    Args:
        path: The image file.
    """
    return path.with_name(path.name + ".labels.json")
