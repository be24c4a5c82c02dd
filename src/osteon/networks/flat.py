"""2D networks, from segmentation-models-pytorch. Their state keeps the library's names."""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn

from osteon.networks.building import cannot_build
from osteon.networks.spec import NetworkSpec
from osteon.tables.networks import form
from osteon.tables.timm import TIMM


class Pan(smp.PAN):  # type: ignore[misc]
    """A PAN whose inputs may be small.

    Its pyramid halves features at a sixteenth of the resolution three times, so that inputs
    below 128 px fail in the library: here they are padded by their edge, and the logits cropped.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the logits.

        Args:
            x: (n, c, y, x).

        Returns:
            (n, K, y, x).
        """
        height, width = x.shape[-2:]
        least = form("pan", 2).least
        more = (0, max(0, least - width), 0, max(0, least - height))
        if any(more):
            x = nn.functional.pad(x, more, mode="replicate")
        logits: torch.Tensor = super().forward(x)
        return logits[..., :height, :width]


_CLASSES: dict[str, type[nn.Module]] = {
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "fpn": smp.FPN,
    "pspnet": smp.PSPNet,
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "linknet": smp.Linknet,
    "manet": smp.MAnet,
    "pan": Pan,
    "upernet": smp.UPerNet,
    "segformer": smp.Segformer,
    "dpt": smp.DPT,
}
#: What the library calls the channels of the decoder, where there is but one number.
_ONE_CHANNEL = {
    "pspnet": "psp_out_channels",
    "deeplabv3": "decoder_channels",
    "deeplabv3plus": "decoder_channels",
    "pan": "decoder_channels",
    "upernet": "decoder_channels",
    "segformer": "decoder_segmentation_channels",
}


def build_flat(spec: NetworkSpec) -> nn.Module:
    """Build a 2D network.

    Args:
        spec: The description.

    Returns:
        The network.

    Raises:
        UsageError: If the library refuses the encoder or the decoder's channels.
    """
    name = spec.architecture
    more: dict[str, Any] = {}
    if spec.decoder_channels is not None:
        if name in _ONE_CHANNEL:
            more[_ONE_CHANNEL[name]] = spec.decoder_channels[0]
        else:
            more["decoder_channels"] = spec.decoder_channels
    if name == "dpt":
        more["dynamic_img_size"] = True  # position embeddings follow the size of the input
    if spec.encoder.startswith(f"{TIMM}swin"):
        more["strict_img_size"] = False  # windows are padded to the size of the input
    try:
        return _CLASSES[name](
            spec.encoder,
            encoder_weights=None,
            in_channels=spec.in_channels,
            classes=spec.classes,
            **more,
        )
    # timm's models refuse in many ways: an unknown option is a TypeError, no features at several
    # resolutions a RuntimeError.
    except (KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise cannot_build(spec, error) from error
