"""The model file: one safetensors file with the weights and a JSON description.

The description holds what inference needs and nothing more; the settings of the fit ride
along as provenance and are never validated again. Nothing in the file is executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from osteon.errors import InputError, ModelFileError, OsteonError, OutputError
from osteon.labels import LabelScheme
from osteon.networks import NetworkSpec

#: Schema of the description; files of older schemas are migrated when read.
SCHEMA = 1
#: Key of the description in the safetensors metadata.
KEY = "osteon"


@dataclass(frozen=True)
class TrainingRanges:
    """What the model was fitted to: outside of it, prediction warns.

    Attributes:
        voxel_size_um: Smallest and largest voxel size, or None where unknown.
        dtypes: Types of the scans.
    """

    voxel_size_um: tuple[float, float] | None = None
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """What inference needs to know of a model.

    Attributes:
        name: Name of the model.
        network: The network.
        labels: The classes.
        recipe: Name of the normalisation recipe.
        recipe_version: Version of the recipe.
        mode: ``2D``.
        ranges: What it was fitted to.
        weights_sha256: Digest of the weights, to detect damage.
        provenance: Settings, versions, data hashes and scores of the fit; for people.
    """

    name: str
    network: NetworkSpec
    labels: LabelScheme
    recipe: str
    recipe_version: int
    mode: str = "2D"
    ranges: TrainingRanges = TrainingRanges()
    weights_sha256: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON-compatible description that is written to the file."""
        ranges = self.ranges
        return {
            "schema": SCHEMA,
            "name": self.name,
            "mode": self.mode,
            "network": self.network.as_dict(),
            "labels": self.labels.as_dict(),
            "normalisation": {"recipe": self.recipe, "version": self.recipe_version},
            "training_ranges": {
                "voxel_size_um": list(ranges.voxel_size_um) if ranges.voxel_size_um else None,
                "dtypes": list(ranges.dtypes),
            },
            "weights_sha256": self.weights_sha256,
            "provenance": dict(self.provenance),
        }


@dataclass(frozen=True)
class Model:
    """A model in memory.

    Attributes:
        spec: The description.
        weights: State of the network by name, on the CPU.
        path: The file it was read from, if any.
    """

    spec: ModelSpec
    weights: Mapping[str, torch.Tensor]
    path: Path | None = None


def weights_digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Digest weights: equal weights give equal digests on every machine.

    Args:
        weights: Tensors by name.

    Returns:
        SHA-256 over names, types, shapes and bytes, in the order of the names.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_model(path: Path, model: Model) -> Model:
    """Write a model beside the target, then rename it into place.

    Args:
        path: Target; an existing file is replaced.
        model: The model; its digest is computed here.

    Returns:
        The model as written, with digest and path.

    Raises:
        OutputError: If the file cannot be written.
    """
    weights = {k: v.detach().cpu().contiguous() for k, v in model.weights.items()}
    spec = replace(model.spec, weights_sha256=weights_digest(weights))
    header = {KEY: json.dumps(spec.as_dict(), sort_keys=True, allow_nan=False)}
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(save(weights, metadata=header))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise OutputError(
            f"the model cannot be written: {error.strerror or error}",
            where=path,
            mend="choose another folder, or free some disk space",
        ) from None
    return Model(spec, weights, path)


def load_model(path: Path) -> Model:
    """Read a model file.

    Args:
        path: The file.

    Returns:
        The model, with its weights on the CPU.

    Raises:
        InputError: If there is no such file.
        ModelFileError: If it is not an osteon model, is damaged, or of a schema that this
            version cannot read.
    """
    data = read_description(path)
    spec = _parse(data, path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError) as error:
        raise _damaged(path, str(error)) from None
    if weights_digest(weights) != spec.weights_sha256:
        raise _damaged(path, "the weights differ from their recorded digest")
    return Model(spec, weights, path)


def read_description(path: Path) -> dict[str, Any]:
    """Read the description of a model file without its weights.

    Args:
        path: The file.

    Returns:
        The description, migrated to the current schema.

    Raises:
        InputError: If there is no such file.
        ModelFileError: As :func:`load_model`.
    """
    if not path.is_file():
        raise InputError(
            "there is no such model file",
            where=path,
            mend="give the model.safetensors in a run folder of `osteon fit`",
        )
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            text = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError, RuntimeError, struct.error) as error:
        raise ModelFileError(
            f"this is not an osteon model file, or it is damaged: {error}",
            where=path,
            mend="give the model.safetensors in a run folder of `osteon fit`",
        ) from None
    if text is None:
        raise ModelFileError("this safetensors file holds no osteon model", where=path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its description is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise _damaged(path, "its description is not a JSON object")
    return _migrate(data, path)


def _migrate(data: dict[str, Any], path: Path) -> dict[str, Any]:
    schema = data.get("schema")
    if schema != SCHEMA:
        raise ModelFileError(
            f"the model has schema {schema!r}; this version of osteon reads up to {SCHEMA}",
            where=path,
            mend="pip install --upgrade osteon",
        )
    return data


def _parse(data: dict[str, Any], path: Path) -> ModelSpec:
    try:
        ranges = data["training_ranges"]
        sizes = ranges["voxel_size_um"]
        provenance = data.get("provenance", {})
        if not isinstance(provenance, dict):
            raise TypeError("'provenance'")
        spec = ModelSpec(
            name=str(data["name"]),
            network=NetworkSpec.from_dict(data["network"]),
            labels=LabelScheme.from_dict(data["labels"]),
            recipe=str(data["normalisation"]["recipe"]),
            recipe_version=int(data["normalisation"]["version"]),
            mode=str(data["mode"]),
            ranges=TrainingRanges(
                (float(sizes[0]), float(sizes[1])) if sizes else None,
                tuple(str(d) for d in ranges["dtypes"]),
            ),
            weights_sha256=str(data["weights_sha256"]),
            provenance=cast(dict[str, Any], provenance),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise _damaged(path, f"its description lacks or garbles {error}") from None
    except OsteonError as error:
        raise _damaged(path, error.what) from None
    if spec.network.classes != len(spec.labels):
        raise _damaged(path, "the network and the label scheme differ in the number of classes")
    return spec


def _damaged(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"the model file is damaged: {why}", where=path, mend="copy it again from its source"
    )
