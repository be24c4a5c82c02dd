"""What a model file describes: the network, its classes, its grey values, what it was fitted to."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from osteon.errors import ModelFileError, OsteonError
from osteon.intensity import GreyRange
from osteon.labels import LabelScheme
from osteon.networks import ContextSpec, NetworkSpec
from osteon.networks.context import BACKGROUND, CHANNELS

#: Schema of the description; files of older schemas are migrated when read.
SCHEMA = 4
#: Key of the description in the safetensors metadata.
KEY = "osteon"
#: Entry of the description with the digest of all its others.
DIGEST = "description_sha256"
#: Name of the class that a context tells apart from all others.
OUTSIDE = "background"
#: The surface of bone is where grey values are half-way; see :mod:`osteon.prediction.surface`.
HALF_MAXIMUM = "half-maximum"
#: How a network looks at a scan.
MODES = ("2D", "2.5D", "3D")


@dataclass(frozen=True)
class TrainingRanges:
    """What the model was fitted to: outside of it, prediction warns.

    Attributes:
        voxel_size_um: Smallest and largest voxel size, or None where unknown.
        dtypes: Types of the scans.
        intensities: Quantiles of their normalised grey values; None in files that were written
            before there were any, and where slices were simulated.
    """

    voxel_size_um: tuple[float, float] | None = None
    dtypes: tuple[str, ...] = ()
    intensities: GreyRange | None = None


@dataclass(frozen=True)
class ModelSpec:
    """What inference needs to know of a model.

    Attributes:
        name: Name of the model.
        network: The network.
        labels: The classes.
        recipe: Name of the normalisation recipe.
        recipe_version: Version of the recipe.
        mode: ``2D``, ``2.5D`` or ``3D``.
        ranges: What it was fitted to.
        weights_sha256: Digest of the weights, to detect damage.
        provenance: Settings, versions, data hashes and scores of the fit; for people.
        voxel_size_um: Voxel size in µm that scans are resampled to first (in 2D within the
            slice alone); None: they stay as they are.
        patch_size: (y, x) or, in 3D, (z, y, x) of the patches it was fitted with, in pixels;
            empty where unknown.
        context: How its second channel is made (2D alone): the network runs twice, see
            :mod:`osteon.networks.context`; None: it has none.
        feature_px: Smallest and largest mean thickness of bone, in pixels, that it was fitted to;
            scans of thicker bone are reduced first. None: scans stay as they are.
        surface: ``half-maximum``: the surface of bone is moved to where the scan's grey values are
            half-way between both sides. None: it stays where the network draws it, which has
            learned where the labels of its fit have it.
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
    voxel_size_um: float | None = None
    patch_size: tuple[int, ...] = ()
    context: ContextSpec | None = None
    feature_px: tuple[float, float] | None = None
    surface: str | None = None

    @property
    def slices(self) -> int:
        """Neighbouring slices that the network sees at once: its channels in 2.5D, else 1."""
        return self.network.in_channels if self.mode == "2.5D" else 1

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
            "voxel_size_um": self.voxel_size_um,
            "patch_size": list(self.patch_size),
            "context": None if self.context is None else {"longest": self.context.longest},
            "feature_px": None if self.feature_px is None else list(self.feature_px),
            "surface": self.surface,
            "training_ranges": {
                "voxel_size_um": list(ranges.voxel_size_um) if ranges.voxel_size_um else None,
                "dtypes": list(ranges.dtypes),
                "intensities": None if ranges.intensities is None else ranges.intensities.as_dict(),
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


def description_digest(data: Mapping[str, Any]) -> str:
    """Digest a description, whatever the order of its entries.

    Args:
        data: The description; its own digest, if there, does not count.

    Returns:
        SHA-256 of its JSON with sorted names, without spaces, all but ASCII escaped.
    """
    rest = {name: value for name, value in data.items() if name != DIGEST}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def parse_description(data: Mapping[str, Any], path: Path) -> ModelSpec:
    """Turn the description of a model file into its spec.

    Args:
        data: The description, of the current schema.
        path: The file, for messages.

    Returns:
        The spec.

    Raises:
        ModelFileError: If an entry is missing, unknown, or contradicts another.
    """
    try:
        spec = _spec(data)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise damaged(path, f"its description lacks or garbles {error}") from None
    except OsteonError as error:
        raise damaged(path, error.what) from None
    fault = contradiction(spec)
    if fault is not None:
        raise damaged(path, fault)
    return spec


def contradiction(spec: ModelSpec) -> str | None:
    """Say what in a description contradicts what.

    Args:
        spec: The description.

    Returns:
        One sentence, or None if it is sound.
    """
    network, patch = spec.network, spec.patch_size
    if spec.mode not in MODES:
        return f"there is no mode '{spec.mode}'"
    if network.classes != len(spec.labels):
        return "the network and the label scheme differ in the number of classes"
    if (spec.mode == "3D") != (network.dimensions == 3):
        return f"a network of {network.dimensions} dimensions does not work in {spec.mode}"
    if spec.mode == "2.5D" and (network.in_channels < 3 or network.in_channels % 2 == 0):
        return f"2.5D needs an odd number of slices from 3, not {network.in_channels}"
    fault = _channels(spec)
    if fault is not None:
        return fault
    if patch and (len(patch) != network.dimensions or min(patch) < 1):
        return f"patches of {' × '.join(map(str, patch))} do not belong to a {spec.mode} network"
    if spec.surface not in (None, HALF_MAXIMUM):
        return f"there is no surface '{spec.surface}'"
    return _scale(spec.voxel_size_um, spec.feature_px)


def _scale(size: float | None, feature: tuple[float, float] | None) -> str | None:
    if size is not None and not (math.isfinite(size) and size > 0):
        return f"a voxel size must be positive, not {size} µm"
    if feature is not None and not 0 < feature[0] < feature[1] < math.inf:
        return f"{feature} is no range of thicknesses in pixels"
    if feature is not None and size is not None:
        return "a model wants either a voxel size or a thickness in pixels, not both"
    return None


def _channels(spec: ModelSpec) -> str | None:
    channels = spec.network.in_channels
    if spec.context is None:
        if spec.mode != "2.5D" and channels != 1:
            return f"a {spec.mode} network sees one grey value a voxel, not {channels}"
        return None
    if spec.mode != "2D":
        return f"a context goes with 2D, not with {spec.mode}"
    if channels != CHANNELS:
        return f"a network with context has {CHANNELS} channels, not {channels}"
    if spec.labels.names[BACKGROUND] != OUTSIDE:
        return (
            f"a context tells '{OUTSIDE}' apart, and class 0 is '{spec.labels.names[BACKGROUND]}'"
        )
    return None


def _spec(data: Mapping[str, Any]) -> ModelSpec:
    ranges = data["training_ranges"]
    sizes, size = ranges["voxel_size_um"], data["voxel_size_um"]
    # An addition to schema 3: a reader that does not know it lacks a warning, nothing else.
    grey = ranges.get("intensities")
    context, feature = data["context"], data["feature_px"]
    provenance = data.get("provenance", {})
    if not isinstance(provenance, dict):
        raise TypeError("'provenance'")
    return ModelSpec(
        name=str(data["name"]),
        network=NetworkSpec.from_dict(data["network"]),
        labels=LabelScheme.from_dict(data["labels"]),
        recipe=str(data["normalisation"]["recipe"]),
        recipe_version=int(data["normalisation"]["version"]),
        mode=str(data["mode"]),
        ranges=TrainingRanges(
            (float(sizes[0]), float(sizes[1])) if sizes else None,
            tuple(str(d) for d in ranges["dtypes"]),
            None if grey is None else GreyRange.from_dict(grey),
        ),
        weights_sha256=str(data["weights_sha256"]),
        provenance=cast(dict[str, Any], provenance),
        voxel_size_um=None if size is None else float(size),
        patch_size=tuple(int(n) for n in data["patch_size"]),
        context=None if context is None else ContextSpec(context["longest"]),
        feature_px=None if feature is None else (float(feature[0]), float(feature[1])),
        surface=data["surface"],
    )


def damaged(path: Path, why: str) -> ModelFileError:
    """Describe a damaged model file.

    Args:
        path: The file.
        why: How it shows.

    Returns:
        The error to be raised.
    """
    return ModelFileError(
        f"the model file is damaged: {why}", where=path, mend="copy it again from its source"
    )
