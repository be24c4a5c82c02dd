"""The weights that a fit starts from: ImageNet's, or those of another model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from osteon.errors import UsageError
from osteon.labels import LabelScheme
from osteon.model_file.contexts import match_context
from osteon.model_file.files import load_model
from osteon.model_file.inflation import inflate, layout_difference
from osteon.model_file.matching import place_classes, place_slices, shared_classes
from osteon.model_file.shapes import Axes, build_aside, channel_axes, class_axes, state_shapes
from osteon.model_file.spec import Model, weights_digest
from osteon.networks import NetworkSpec
from osteon.tables.shipped import shipped_models

RANDOM, IMAGENET = "random", "imagenet"
#: How the names of an encoder's state begin, in 2D and in 3D.
ENCODER = "encoder."
_SETTING = "network.weights"
_MEND = f"choose the same network.architecture and network.encoder, or {_SETTING}=random"
#: What is said of an encoder that was made from a 2D one.
INFLATED = "its 2D kernels were stacked along depth and divided by it"
#: Axes of a 2D kernel: (out, in, y, x).
_KERNEL_AXES = 4
#: Names in a message are cut off after so many.
_MOST_NAMES = 3

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Start:
    """Where the weights of a fit come from.

    Attributes:
        source: ``random``, ``imagenet`` or the path of a model file.
        sha256: Digest of the weights that were read; None if random.
        notes: What was done, for the report: what was taken, changed, left out, begun at random.
        description: What the source says of itself: name, network, classes.
    """

    source: str
    sha256: str | None = None
    notes: tuple[str, ...] = ()
    description: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "notes": list(self.notes),
            "description": dict(self.description),
        }


def start_weights(
    network: nn.Module,
    spec: NetworkSpec,
    weights: str,
    *,
    labels: LabelScheme,
    base: Path | None = None,
) -> Start:
    """Put the weights that a fit starts from into a network; docs/models.md has the rules.

    What the source does not have (new classes, another decoder) stays as the network was built.
    torch's global generator is not touched, whatever the source.

    Args:
        network: The network as built from ``spec``; changed in place, or, on an error, not at all.
        spec: Its description.
        weights: ``random``, ``imagenet``, the name of a model that comes with osteon, or the path
            of a model file.
        labels: The classes that it is fitted to.
        base: Folder that a relative path starts from; None: the current one.

    Returns:
        What was done.

    Raises:
        UsageError: If the source does not fit the network, or there are no such weights.
        InputError: If the source is missing, or cannot be downloaded.
        ModelFileError: If the model file is damaged.
    """
    if weights == RANDOM:
        return Start(RANDOM)
    if weights == IMAGENET:
        state, start = _from_imagenet(network, spec)
    else:
        path = shipped_models().get(weights) or (base or Path()) / weights
        state, start = _from_model(network, spec, path, labels=labels)
    own = network.state_dict()
    network.load_state_dict({**own, **state})
    return start


def check_start(
    spec: NetworkSpec, weights: str, *, labels: LabelScheme, base: Path | None = None
) -> Start:
    """Find out, before anything else is done, whether a fit can start from some weights.

    Args:
        spec: The network.
        weights: As for :func:`start_weights`.
        labels: The classes that it is to be fitted to.
        base: Folder that a relative path starts from.

    Returns:
        What :func:`start_weights` will do.

    Raises:
        OsteonError: As :func:`start_weights`.
    """
    if weights == RANDOM:
        return Start(RANDOM)
    return start_weights(build_aside(spec), spec, weights, labels=labels, base=base)


def encoder_parameters(network: nn.Module, spec: NetworkSpec) -> set[str]:
    """Name the parameters of a network's encoder, to be frozen or fitted more slowly.

    Args:
        network: The network.
        spec: Its description.

    Returns:
        Names as in ``network.named_parameters()``.

    Raises:
        UsageError: If the architecture has no encoder of its own.
    """
    names = {name for name, _ in network.named_parameters() if name.startswith(ENCODER)}
    if not spec.encoder or not names:
        raise UsageError(
            f"{spec.architecture} in {spec.dimensions}D has no encoder of its own",
            where="network.encoder_learning_rate",
            mend="set it to 1, or choose another network.architecture",
        )
    return names


def _from_imagenet(network: nn.Module, spec: NetworkSpec) -> tuple[State, Start]:
    # Imported here: only this source needs the libraries' downloads.
    from osteon.model_file.imagenet import imagenet_encoder

    if not spec.encoder:
        raise _refused(f"{spec.architecture} has no encoder that was fitted to ImageNet")
    own = network.get_submodule("encoder")
    volumetric = spec.dimensions == 3
    if volumetric:
        _check_layout(own, spec.encoder)
    encoder = imagenet_encoder(
        spec.encoder, in_channels=spec.in_channels, like=None if volumetric else own
    )
    found: State = {f"{ENCODER}{name}": t for name, t in encoder.state_dict().items()}
    notes = [f"the encoder {spec.encoder} starts from its ImageNet weights, the rest at random"]
    if volumetric:
        state = inflate(found, _encoder(network.state_dict()))
        notes.append(INFLATED)
    else:
        state = _same_encoder(found, network)
    description = {"encoder": spec.encoder, "in_channels": spec.in_channels}
    return state, Start(IMAGENET, weights_digest(found), tuple(notes), description)


def _from_model(
    network: nn.Module, spec: NetworkSpec, path: Path, *, labels: LabelScheme
) -> tuple[State, Start]:
    model = load_model(path)
    source, digest = model.spec, model.spec.weights_sha256
    model, changed = match_context(model, spec)
    found, own = model.spec, network.state_dict()
    free = _free_axes(spec, own, found.network)
    if free is not None and _fits(model.weights, own, free):
        state, notes = _whole(model, spec, own, free=free, labels=labels)
    elif found.network.dimensions == 2 and spec.dimensions == 3:
        state, notes = _inflated(model, network, spec)
    else:
        state, notes = _encoder_only(model, network, spec)
    description = {
        "name": source.name,
        "mode": source.mode,
        "network": source.network.as_dict(),
        "classes": list(source.labels.names),
    }
    return state, Start(str(path), digest, (*notes, *changed), description)


@dataclass(frozen=True)
class _Free:
    """Axes along which two networks may differ."""

    classes: Axes
    channels: Axes


def _free_axes(spec: NetworkSpec, own: State, other: NetworkSpec) -> _Free | None:
    """None if the networks are of different kinds."""
    kinds = [(n.architecture, n.encoder, n.dimensions, dict(n.options)) for n in (spec, other)]
    if kinds[0] != kinds[1]:
        return None
    shapes = {name: tensor.shape for name, tensor in own.items()}
    same = spec.in_channels == other.in_channels
    return _Free(class_axes(spec, shapes), {} if same else channel_axes(spec, shapes))


def _fits(weights: Mapping[str, torch.Tensor], own: State, free: _Free) -> bool:
    """Whether names and shapes are the same but along the free axes."""
    if weights.keys() != own.keys():
        return False
    for name, tensor in own.items():
        along = {*free.classes.get(name, ()), *free.channels.get(name, ())}
        if weights[name].ndim != tensor.ndim:
            return False
        for axis, (a, b) in enumerate(zip(weights[name].shape, tensor.shape, strict=True)):
            if a != b and axis not in along:
                return False
    return True


def _whole(
    model: Model, spec: NetworkSpec, own: State, *, free: _Free, labels: LabelScheme
) -> tuple[State, list[str]]:
    found = model.spec
    pairs = shared_classes(found.labels.names, labels.names)
    state: State = {}
    for name, weight in model.weights.items():
        if name in free.channels:
            weight = _on_slices(weight, spec.in_channels, name=name, axes=free.channels[name])
        if name in free.classes:
            weight = place_classes(weight, own[name], axes=free.classes[name], pairs=pairs)
        state[name] = weight
    notes = [f"all layers start from the model '{found.name}'"]
    notes += _slices_note(found.network, spec)
    shared = [labels.names[value] for value, _ in pairs]
    new = [name for name in labels.names if name not in shared]
    unused = [name for name in found.labels.names if name not in shared]
    if new:
        notes.append(f"classes new to it start at random: {', '.join(new)}")
    if unused:
        notes.append(f"classes of it that are not used: {', '.join(unused)}")
    return state, notes


def _on_slices(
    weight: torch.Tensor, slices: int, *, name: str, axes: tuple[int, ...]
) -> torch.Tensor:
    if axes != (1,) or weight.ndim != _KERNEL_AXES:
        raise _refused(f"'{name}' is no convolution that can see another number of slices")
    return place_slices(weight, slices)


def _slices_note(of: NetworkSpec, into: NetworkSpec) -> list[str]:
    if of.in_channels == into.in_channels:
        return []
    if of.in_channels < into.in_channels:
        rule = "the new ones weigh nothing at first"
    else:
        rule = "those that fall away are added to the outermost"
    return [
        f"its first layer saw {of.in_channels} neighbouring slices and now sees "
        f"{into.in_channels}: {rule}"
    ]


def _encoder_only(model: Model, network: nn.Module, spec: NetworkSpec) -> tuple[State, list[str]]:
    found = model.spec.network
    _check_encoder(found, spec)
    weights = _encoder(model.weights)
    if found.in_channels != spec.in_channels:
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        for name, axes in channel_axes(spec, shapes).items():
            if name in weights:
                weights[name] = _on_slices(weights[name], spec.in_channels, name=name, axes=axes)
    state = _same_encoder(weights, network)
    notes = [
        f"the encoder {spec.encoder} starts from the model '{model.spec.name}', the rest at "
        f"random: the model's decoder is another ({_title(found)})",
        *_slices_note(found, spec),
    ]
    return state, notes


def _inflated(model: Model, network: nn.Module, spec: NetworkSpec) -> tuple[State, list[str]]:
    found = model.spec.network
    _check_encoder(found, spec)
    _check_layout(network.get_submodule("encoder"), spec.encoder)
    weights = _encoder(model.weights)
    if found.in_channels != spec.in_channels:
        shapes = state_shapes(found)
        for name, axes in channel_axes(found, shapes).items():
            weights[name] = _on_slices(weights[name], spec.in_channels, name=name, axes=axes)
    state = inflate(weights, _encoder(network.state_dict()))
    notes = [
        f"the encoder {spec.encoder} starts from the 2D model '{model.spec.name}', the rest at "
        "random",
        INFLATED,
        *_slices_note(found, spec),
    ]
    return state, notes


def _check_encoder(of: NetworkSpec, into: NetworkSpec) -> None:
    """Raise unless the encoders have the same name, and not a 3D one is to become 2D."""
    if not into.encoder or of.encoder != into.encoder:
        raise _refused(
            f"the model is {_title(of)}, and {_title(into)} is to be fitted: they share no encoder"
            if (of.encoder or into.encoder)
            else f"the model's {_title(of)} has other kernels, strides or patches"
        )
    if of.dimensions == 3 and into.dimensions == 2:
        raise _refused("a 3D model cannot become a 2D one")


def _check_layout(volumetric: nn.Module, name: str) -> None:
    # Imported here: a prediction in 3D does without the library of 2D networks.
    from segmentation_models_pytorch.encoders import get_encoder

    with torch.random.fork_rng(devices=[]):
        flat = get_encoder(name, weights=None)
    difference = layout_difference(flat, volumetric)
    if difference is not None:
        raise _refused(f"the 3D encoder {name} is not the 2D one with another axis: {difference}")


def _same_encoder(weights: State, network: nn.Module) -> State:
    own = _encoder(network.state_dict())
    missing = [name for name in own if name not in weights]
    wrong = [n for n in own if n in weights and weights[n].shape != own[n].shape]
    if missing or wrong:
        raise _refused(
            "the encoders have the same name but other layers: "
            f"{_some([*missing, *wrong])} of the network to be fitted"
        )
    return {name: weights[name] for name in own}


def _encoder(state: Mapping[str, torch.Tensor]) -> State:
    return {name: tensor for name, tensor in state.items() if name.startswith(ENCODER)}


def _title(network: NetworkSpec) -> str:
    parts = [network.architecture]
    if network.encoder:
        parts.append(f"with {network.encoder}")
    if network.decoder_channels:
        parts.append(f"and decoder channels {', '.join(map(str, network.decoder_channels))}")
    return f"{' '.join(parts)} in {network.dimensions}D"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _refused(why: str) -> UsageError:
    return UsageError(f"the fit cannot start from these weights: {why}", where=_SETTING, mend=_MEND)
