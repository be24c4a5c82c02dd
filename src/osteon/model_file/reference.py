"""The original's model files (BONe DLFit, Lee et al. 2026): ``.pth`` of torch, read safely.

Such a file holds ``{"model_state": state, "metadata": {…}}``; the state has the names of
segmentation-models-pytorch, the metadata are plain values, NumPy scalars and paths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from osteon.errors import ModelFileError, OsteonError, UsageError, warn
from osteon.labels import BONE_PORES, LabelClass, LabelScheme
from osteon.model_file.shapes import channel_axes, class_axes, state_shapes
from osteon.model_file.spec import Model, ModelSpec, contradiction, weights_digest
from osteon.model_file.unpickling import load_pickled
from osteon.networks import NetworkSpec
from osteon.tables.choices import RECIPES
from osteon.tables.encoders import ENCODERS
from osteon.tables.networks import ARCHITECTURES

#: The original's names of the architectures → those of the table.
ARCHITECTURE_NAMES = {
    "U-Net": "unet",
    "UNet++": "unetplusplus",
    "FPN": "fpn",
    "PSPNet": "pspnet",
    "DeepLabV3+": "deeplabv3plus",
    "Linknet": "linknet",
    "MAnet": "manet",
    "UPerNet": "upernet",
    "Segformer": "segformer",
}
#: The original's names of the normalisations → those of the recipes.
RECIPE_NAMES = {"ZScore": "reference-zscore-positive", "minMax": "reference-minmax-positive"}
#: An entry of ours among the metadata, which the original leaves alone: it knows no class names.
CLASS_NAMES = "class_names"
#: Protocol of labels of which nothing is known.
UNKNOWN_PROTOCOL = "unknown"
#: Okabe–Ito colours, for classes without one.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178))
#: What data-parallel and compiled networks put before the names of their state.
_WRAPPERS = ("module.", "_orig_mod.")
#: What the original appends to the name of a model.
_SCORE = re.compile(r"_best_epoch_.*$")
_3D = "its 3D networks come from a library that is no longer kept, which osteon does not have"
#: Metadata nested deeper, or of more values, are cut off.
_DEEPEST, _MOST_VALUES = 8, 10_000

Metadata = Mapping[str, Any]
State = dict[str, torch.Tensor]


def read_reference(path: Path) -> Model:
    """Read a ``.pth`` of the original; nothing in it is executed.

    Memory: the whole file.

    Args:
        path: The file.

    Returns:
        The model, with its weights on the CPU, byte for byte; its metadata are the provenance. Its
        three classes are taken for background, bone and pores, other numbers are ``class0`` …

    Raises:
        ModelFileError: If it is no such file or damaged, holds more than weights and plain
            metadata, is of a 3D network, or does not say which network it is.
    """
    data = load_pickled(path)
    if not isinstance(data, dict) or not isinstance(data.get("model_state"), dict):
        raise ModelFileError(
            "this file of torch is not a model of the original: it has no 'model_state'",
            where=path,
            mend="give a .pth that the original's training has written",
        )
    metadata = data.get("metadata")
    if not isinstance(metadata, dict):
        raise ModelFileError(
            "the file holds weights but no 'metadata': it does not say which network they are of",
            where=path,
        )
    try:
        return _model(_state(data["model_state"]), _Plainer()(metadata), path)
    except OsteonError as error:
        raise ModelFileError(error.what, where=path, mend=error.mend) from None


def _model(state: State, metadata: Metadata, path: Path) -> Model:
    network = _network(state, metadata)
    _check_state(state, network)
    recipe = _recipe(metadata, path)
    spec = ModelSpec(
        name=_SCORE.sub("", path.stem),
        network=network,
        labels=_labels(network.classes, metadata),
        recipe=recipe,
        recipe_version=int(str(RECIPES.row(recipe).capabilities["version"])),
        mode=_mode(metadata, network.in_channels),
        weights_sha256=weights_digest(state),
        provenance=_provenance(metadata),
        patch_size=_patch_size(metadata),
    )
    fault = contradiction(spec)
    if fault is not None:
        raise ModelFileError(fault)
    return Model(spec, state, path)


def _state(found: Mapping[object, object]) -> State:
    state: State = {}
    for name, tensor in found.items():
        if not isinstance(name, str) or not _is_plain(tensor):
            raise ModelFileError(f"'{name}' among the weights is no plain tensor")
        state[name] = tensor.detach()  # type: ignore[attr-defined]
    for wrapper in _WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state


def _is_plain(value: object) -> bool:
    return (
        type(value) in (torch.Tensor, torch.nn.Parameter)
        and isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_complex())
    )


def _network(state: State, metadata: Metadata) -> NetworkSpec:
    volumetric = str(metadata.get("is_3d")).lower() in ("true", "1") or _text(
        metadata, "mode"
    ).upper().startswith("3D")
    if volumetric or any(name.startswith("encoder.") and t.ndim == 5 for name, t in state.items()):
        raise ModelFileError(
            f"this is a 3D model of the original: {_3D}",
            mend="fit a 3D network of osteon to the same scans",
        )
    architecture, encoder = _architecture(metadata), _encoder(metadata)
    classes, channels = _integer(metadata, "num_classes"), _integer(metadata, "in_channels")
    # What is not known is told by the tensors that depend on it; any number finds those.
    guess = NetworkSpec(architecture, encoder, channels or 1, classes or 2)
    shapes = state_shapes(guess) if channels is None or classes is None else {}
    if channels is None:
        channels = _length(state, channel_axes(guess, shapes), "in_channels")
    if classes is None:
        classes = _length(state, class_axes(guess, shapes), "num_classes")
    spec = replace(guess, in_channels=channels, classes=classes)
    return NetworkSpec.from_dict(spec.as_dict())  # its checks of range hold here too


def _length(state: State, axes: Mapping[str, tuple[int, ...]], name: str) -> int:
    lengths = {
        int(state[tensor].shape[axis])
        for tensor, along in axes.items()
        for axis in along
        if tensor in state and state[tensor].ndim > axis
    }
    if len(lengths) != 1:
        raise ModelFileError(f"the metadata lack '{name}', and the weights do not tell it")
    return lengths.pop()


def _architecture(metadata: Metadata) -> str:
    given = _text(metadata, "model_arch")
    if not given:
        raise ModelFileError("the metadata lack 'model_arch': they do not say which network it is")
    for theirs, ours in ARCHITECTURE_NAMES.items():
        if _letters(given) == _letters(theirs) and ours in ARCHITECTURES:
            return ARCHITECTURES.row(ours).name
    known = ", ".join(n for n, o in ARCHITECTURE_NAMES.items() if o in ARCHITECTURES)
    raise ModelFileError(
        f"osteon does not know the original's architecture '{given}'", mend=f"known are: {known}"
    )


def _letters(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def _encoder(metadata: Metadata) -> str:
    given = _text(metadata, "backbone")
    if not given:
        raise ModelFileError("the metadata lack 'backbone': they do not say which encoder it has")
    try:
        return ENCODERS.row(given).name
    except UsageError as error:
        raise ModelFileError(
            f"osteon does not know the encoder '{given}'", mend=error.mend
        ) from None


def _check_state(state: State, network: NetworkSpec) -> None:
    expected = state_shapes(network)
    missing, unknown = expected.keys() - state.keys(), state.keys() - expected.keys()
    wrong = [n for n in expected.keys() & state.keys() if expected[n] != state[n].shape]
    if missing or unknown or wrong:
        names = ", ".join(sorted([*missing, *unknown, *wrong])[:3])
        raise ModelFileError(
            "the weights do not belong to the network of the metadata, "
            f"{network.architecture} with {network.encoder}, {network.in_channels} channels and "
            f"{network.classes} classes: {len(missing)} missing, {len(unknown)} unknown, "
            f"{len(wrong)} of another shape ({names})"
        )


def _recipe(metadata: Metadata, path: Path) -> str:
    given = _text(metadata, "normalization")
    for theirs, ours in RECIPE_NAMES.items():
        if _letters(given) == _letters(theirs):
            return ours
    if given:
        raise ModelFileError(f"osteon does not know the original's normalisation '{given}'")
    ours = RECIPE_NAMES["ZScore"]
    warn(
        "reference-normalisation-unknown",
        f"the file does not say how grey values were normalised; '{ours}' is taken, the original's "
        "default",
        where=path,
    )
    return ours


def _mode(metadata: Metadata, channels: int) -> str:
    given = _text(metadata, "mode").upper()
    return given or ("2D" if channels == 1 else "2.5D")


def _labels(classes: int, metadata: Metadata) -> LabelScheme:
    names = metadata.get(CLASS_NAMES)
    if isinstance(names, list) and len(names) == classes:
        known = {c.name: c.colour for c in BONE_PORES.classes}
        found = [str(name) for name in names]
        if tuple(found) == BONE_PORES.names:
            return BONE_PORES
        return _scheme(found, known)
    return (
        BONE_PORES if classes == len(BONE_PORES) else _scheme([f"class{i}" for i in range(classes)])
    )


def _scheme(
    names: list[str], known: Mapping[str, tuple[int, int, int]] | None = None
) -> LabelScheme:
    colours = [(0, 0, 0), *(_COLOURS[i % len(_COLOURS)] for i in range(len(names) - 1))]
    return LabelScheme(
        tuple(
            LabelClass(name, value, (known or {}).get(name, colour))
            for value, (name, colour) in enumerate(zip(names, colours, strict=True))
        ),
        UNKNOWN_PROTOCOL,
    )


def _patch_size(metadata: Metadata) -> tuple[int, ...]:
    given = metadata.get("patch_size")
    sides = given if isinstance(given, list) else [given, given]
    known = [side for side in map(_whole, sides) if side is not None and side > 0]
    return tuple(known) if len(known) == 2 else ()


def _provenance(metadata: Metadata) -> dict[str, Any]:
    best: dict[str, Any] = {
        "epoch": metadata.get("best_epoch"),
        "val_mean_iou": metadata.get("best_val_score"),
    }
    measured = all(isinstance(v, int | float) for v in best.values())
    return {"reference": dict(metadata), **({"best": best} if measured else {})}


def _text(metadata: Metadata, name: str) -> str:
    value = metadata.get(name)
    return "" if value is None else str(value).strip()


def _integer(metadata: Metadata, name: str) -> int | None:
    value = metadata.get(name)
    if value is None or value == "":
        return None
    number = _whole(value)
    if number is None or number < 1:
        raise ModelFileError(f"'{name}' in the metadata is no number of anything: {value!r}")
    return number


def _whole(value: object) -> int | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and number == int(number) else None


class _Plainer:
    """Turns metadata into what JSON can hold; a file cannot make it endless.

    A list that holds itself, or holds another a thousand times that holds another …, is small in
    the file and without end when written out.
    """

    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def __call__(self, value: object, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return "…"
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        if isinstance(value, Mapping):
            return {str(k): self(v, depth + 1) for k, v in value.items() if self._left > 0}
        if isinstance(value, list | tuple | set | frozenset):
            return [self(v, depth + 1) for v in value if self._left > 0]
        if isinstance(value, torch.Tensor):
            return f"a tensor {tuple(value.shape)}"
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
