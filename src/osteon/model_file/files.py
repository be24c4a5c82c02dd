"""Reading and writing of model files."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from osteon.errors import InputError, ModelFileError, UsageError
from osteon.files import write_bytes
from osteon.model_file.reference import read_reference
from osteon.model_file.spec import (
    DIGEST,
    KEY,
    SCHEMA,
    Model,
    damaged,
    description_digest,
    parse_description,
    weights_digest,
)

#: How files of ``torch.save`` begin: a zip archive; before torch 1.6, a pickled magic number.
_ZIP = b"PK\x03\x04"
_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: Entry of the description that says how the weights are stored, and what it can say.
STORED, FULL, HALF = "weights_stored_as", "full precision", "half precision"
_MEND = "give the model.safetensors in a run folder of `osteon fit`, or a .pth of the original"


def save_model(path: Path, model: Model, *, half: bool = False) -> Model:
    """Write a model beside the target, then rename it into place.

    In half precision kernels and matrices are rounded to float16 and read back as float32; what
    is of one axis (biases, batch norm) stays as it is. The digest is that of the weights as they
    are read back, so it is the same for such a file and for one in full precision made from it.

    Args:
        path: Target; an existing file is replaced.
        model: The model; its digest is computed here.
        half: Write in half precision.

    Returns:
        The model as :func:`load_model` reads it back, with digest and path.

    Raises:
        OutputError: If the file cannot be written.
        UsageError: If a weight is too large for half precision.
    """
    weights = _apart({k: v.detach().cpu().contiguous() for k, v in model.weights.items()})
    stored = weights
    if half:
        stored = {name: _halved(name, tensor) for name, tensor in weights.items()}
        weights = {name: _doubled(tensor) for name, tensor in stored.items()}
    spec = replace(model.spec, weights_sha256=weights_digest(weights))
    data = {**spec.as_dict(), STORED: HALF if half else FULL}
    data[DIGEST] = description_digest(data)
    header = {KEY: json.dumps(data, sort_keys=True, allow_nan=False)}
    write_bytes(path, save(stored, metadata=header))
    return Model(spec, weights, path)


def _halved(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    made = tensor.half()
    if bool(torch.isinf(made).any()):
        raise UsageError(
            f"the weights '{name}' are too large for half precision",
            where="half",
            mend="save the model in full precision",
        )
    return made


def _doubled(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _apart(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors that share memory: DynUNet has each of its layers under two names."""
    seen: set[int] = set()
    for name, tensor in weights.items():
        place = tensor.untyped_storage().data_ptr()
        if place in seen:
            weights[name] = tensor.clone()
        seen.add(place)
    return weights


def load_model(path: Path) -> Model:
    """Read a model file: osteon's, or a ``.pth`` of the original (known by its content).

    Args:
        path: The file.

    Returns:
        The model, with its weights on the CPU.

    Raises:
        InputError: If there is no such file.
        ModelFileError: If it is neither, is damaged, of a schema that this version cannot read,
            or a file of the original as in :func:`~osteon.model_file.read_reference`.
    """
    check_there(path)
    if _by_torch(path):
        return read_reference(path)
    described = read_description(path)
    spec = parse_description(described, path)
    if described.get(STORED, FULL) not in (FULL, HALF):
        raise damaged(path, f"its weights are stored as {described[STORED]!r}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        raise damaged(path, str(error)) from None
    if described.get(STORED) == HALF:
        weights = {name: _doubled(tensor) for name, tensor in weights.items()}
    if weights_digest(weights) != spec.weights_sha256:
        raise damaged(path, "the weights differ from their recorded digest")
    return Model(spec, weights, path)


def read_description(path: Path) -> dict[str, Any]:
    """Read the description of an osteon model file without its weights.

    Args:
        path: The file.

    Returns:
        The description, migrated to the current schema.

    Raises:
        InputError: If there is no such file.
        ModelFileError: As :func:`load_model`.
    """
    check_there(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError, RuntimeError, struct.error) as error:
        raise ModelFileError(
            f"this is not an osteon model file, or it is damaged: {error}", where=path, mend=_MEND
        ) from None
    if text is None:
        raise ModelFileError("this safetensors file holds no osteon model", where=path, mend=_MEND)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its description is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise damaged(path, "its description is not a JSON object")
    return _migrate(data, path)


def _by_torch(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_LEGACY_TORCH)).startswith((_ZIP, _LEGACY_TORCH))
    except OSError as error:
        raise InputError(
            f"the model file cannot be read: {error.strerror or error}", where=path
        ) from None


def check_there(path: Path) -> None:
    """Raise if there is no file.

    Args:
        path: The model file.

    Raises:
        InputError: If it is missing, or a folder.
    """
    if not path.is_file():
        raise InputError("there is no such model file", where=path, mend=_MEND)


def _migrate(data: dict[str, Any], path: Path) -> dict[str, Any]:
    schema = data.get("schema")
    if (
        schema not in range(1, SCHEMA + 1)
        or not isinstance(schema, int)
        or isinstance(schema, bool)
    ):
        raise ModelFileError(
            f"the model has schema {schema!r}; this version of osteon reads up to {SCHEMA}",
            where=path,
            mend="pip install --upgrade osteon",
        )
    # Checked wherever there is one: a damaged number must not turn the check off.
    if (DIGEST in data or schema != 1) and data.get(DIGEST) != _digest(data, path):
        raise damaged(path, "its description differs from its recorded digest")
    if schema == 1:  # only 2D; scans as they are
        data = {**data, "voxel_size_um": None, "patch_size": []}
        if isinstance(data.get("network"), dict):
            data["network"] = {"dimensions": 2, "options": {}, **data["network"]}
    if schema < 3:  # one scale; scans as they are
        data = {**data, "context": None, "feature_px": None}
    if schema < 4:  # surfaces as the network draws them
        data = {**data, "schema": SCHEMA, "surface": None}
    return data


def _digest(data: dict[str, Any], path: Path) -> str:
    try:
        return description_digest(data)
    except (ValueError, RecursionError) as error:  # NaN, or nested beyond reason
        raise damaged(path, f"its description is not JSON: {error}") from None
