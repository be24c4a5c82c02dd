"""Networks, built from a minimal description that is kept in the model file.

Networks come from segmentation-models-pytorch (Iakubovskii 2019). Inputs are
(batch, channel, y, x) float32 tensors; outputs are logits (batch, class, y, x).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import segmentation_models_pytorch as smp
import torch
from torch import nn

from osteon.errors import ModelFileError, UsageError
from osteon.settings import NetworkSettings
from osteon.tables.choices import ARCHITECTURES, ENCODERS

#: A description with more channels than this is garbled: it would only exhaust the memory.
MOST_CHANNELS = 1024
#: The paper's decoder (and that of segmentation-models-pytorch), deepest stage first.
UNET_DECODER = (256, 128, 64, 32, 16)


@dataclass(frozen=True)
class NetworkSpec:
    """All that is needed to build a network again.

    Attributes:
        architecture: Name in the table of networks.
        encoder: Name in the table of encoders; empty for an architecture without one.
        in_channels: Channels of the input (1 in 2D and 3D, the number of slices in 2.5D).
        classes: Classes of the output.
        decoder_channels: Channels of the decoder's stages, deepest first; None: the
            architecture's own.
        dimensions: 2 for inputs (n, c, y, x), 3 for (n, c, z, y, x).
        options: What else the builder was given (strides per axis, size of the input, …): names
            to JSON-compatible values.
    """

    architecture: str
    encoder: str
    in_channels: int
    classes: int
    decoder_channels: tuple[int, ...] | None = None
    dimensions: int = 2
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_settings(
        cls, settings: NetworkSettings, *, in_channels: int, classes: int
    ) -> NetworkSpec:
        """Describe the network that settings ask for.

        Args:
            settings: The network settings.
            in_channels: Channels of the input.
            classes: Classes of the output.

        Returns:
            The description.
        """
        return cls(
            settings.architecture,
            settings.encoder,
            in_channels,
            classes,
            settings.decoder_channels,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> NetworkSpec:
        """Read a description from a model file.

        Args:
            data: What :meth:`as_dict` gave.

        Returns:
            The description.

        Raises:
            ModelFileError: If an entry is missing, unknown or of the wrong kind.
        """
        try:
            fields = dict(data)
            channels = fields.pop("decoder_channels")
            if not isinstance(channels, list | None):
                raise TypeError("decoder_channels is not a list")
            if not isinstance(fields.get("options", {}), dict):
                raise TypeError("options are not a mapping")
            if fields.get("dimensions", 2) not in (2, 3):
                raise ValueError("a network has 2 or 3 dimensions")
            if not (isinstance(fields["architecture"], str) and isinstance(fields["encoder"], str)):
                raise TypeError("architecture and encoder are not names")
            decoder = None if channels is None else tuple(int(c) for c in channels)
            spec = cls(**fields, decoder_channels=decoder)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(
                f"the description of the network cannot be read: {error}"
            ) from error
        counts = (spec.in_channels, spec.classes, *(spec.decoder_channels or ()))
        if not all(isinstance(n, int) and 0 < n <= MOST_CHANNELS for n in counts):
            raise ModelFileError("the network's channels or classes are out of range")
        try:
            ARCHITECTURES.row(spec.architecture)
            ENCODERS.row(spec.encoder)
        except UsageError as error:
            raise ModelFileError(
                f"{error.what} in this version of osteon", mend="pip install --upgrade osteon"
            ) from error
        return spec

    def as_dict(self) -> dict[str, object]:
        """Return a JSON-compatible description."""
        decoder = self.decoder_channels
        return {**asdict(self), "decoder_channels": None if decoder is None else list(decoder)}

    @property
    def divisor(self) -> int:
        """Height and width of an input must be multiples of this."""
        return cast(int, ENCODERS.row(self.encoder).capabilities["divisor"])

    @property
    def global_context(self) -> bool:
        """Whether a label may depend on the whole input, however large."""
        return bool(ARCHITECTURES.row(self.architecture).capabilities["global_context"])


def build_network(spec: NetworkSpec) -> nn.Module:
    """Build a network with random weights (from torch's global generator).

    Args:
        spec: The description.

    Returns:
        The network, on the CPU, in training mode.

    Raises:
        UsageError: If the architecture or encoder is unknown or they do not go together.
    """
    builder = cast(Callable[[NetworkSpec], nn.Module], ARCHITECTURES.load(spec.architecture))
    return builder(spec)


def build_unet(spec: NetworkSpec) -> nn.Module:
    """Build a U-Net (Ronneberger et al. 2015) with the spec's encoder.

    Args:
        spec: The description.

    Returns:
        The network.

    Raises:
        UsageError: If the encoder does not fit.
    """
    try:
        network: nn.Module = smp.Unet(
            smp_encoder(spec.encoder),
            encoder_weights=None,
            in_channels=spec.in_channels,
            classes=spec.classes,
            decoder_channels=spec.decoder_channels or UNET_DECODER,
        )
    except (KeyError, ValueError) as error:
        raise UsageError(f"U-Net cannot be built with encoder '{spec.encoder}': {error}") from error
    return network


def smp_encoder(name: str) -> str:
    """Return segmentation-models-pytorch's name of an encoder.

    Args:
        name: Name in the table of encoders.

    Returns:
        The name that the library uses.
    """
    return ENCODERS.row(name).name


def parameter_count(network: nn.Module) -> int:
    """Count the parameters that are fitted.

    Args:
        network: A network.

    Returns:
        The number of parameters with gradients.
    """
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights into a network; names and shapes must match exactly.

    Args:
        network: The network.
        weights: Its state, by name.

    Raises:
        ModelFileError: If a tensor is missing, unknown or of another shape.
    """
    state = network.state_dict()
    missing, unknown = state.keys() - weights.keys(), weights.keys() - state.keys()
    wrong = [k for k in state.keys() & weights.keys() if state[k].shape != weights[k].shape]
    if missing or unknown or wrong:
        raise ModelFileError(
            "the weights do not belong to this network: "
            f"{len(missing)} missing, {len(unknown)} unknown, {len(wrong)} of another shape",
            where=", ".join(sorted([*missing, *unknown, *wrong])[:3]),
        )
    network.load_state_dict(dict(weights))
