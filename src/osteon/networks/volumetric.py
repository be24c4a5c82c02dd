"""3D networks, from MONAI (Cardoso et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.networks.nets.attentionunet import AttentionUnet
from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus
from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.flexible_unet import FlexibleUNet
from monai.networks.nets.segresnet import SegResNet
from monai.networks.nets.swin_unetr import SwinUNETR
from monai.networks.nets.unetr import UNETR
from monai.networks.nets.vnet import VNet
from torch import nn

from osteon.networks.building import cannot_build
from osteon.networks.spec import NetworkSpec

#: The decoder of the paper's 2D network, kept in 3D: deepest stage first.
_UNET_DECODER = (256, 128, 64, 32, 16)
_ATTENTION_CHANNELS = (16, 32, 64, 128, 256)
_SEGRESNET_FILTERS = 16
_SWIN_FEATURES = 24


class UnetPlusPlus(BasicUNetPlusPlus):
    """A UNet++ without the heads of deep supervision, which are not used here."""

    def __init__(self, in_channels: int, classes: int):
        super().__init__(3, in_channels, classes)
        self.final_conv_0_1 = self.final_conv_0_2 = self.final_conv_0_3 = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the logits.

        Args:
            x: (n, c, z, y, x).

        Returns:
            (n, K, z, y, x).
        """
        logits: torch.Tensor = super().forward(x)[-1]
        return logits


class Unetr(UNETR):
    """A UNETR whose inputs may have another size than the patches it was fitted to.

    The position embedding is interpolated to the input's grid of tokens, as vision transformers
    do (Dosovitskiy et al. 2021, section 3.2).
    """

    def __init__(self, in_channels: int, classes: int, patch: Sequence[int]):
        super().__init__(in_channels, classes, tuple(patch))
        for block in self.vit.blocks:  # there for decoders, without a part here
            block.norm_cross_attn = nn.Identity()
            block.cross_attn = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the logits.

        Args:
            x: (n, c, z, y, x).

        Returns:
            (n, K, z, y, x).
        """
        embedding = self.vit.patch_embedding
        tokens = embedding.patch_embeddings(x)
        grid = tokens.shape[2:]
        tokens = tokens.flatten(2).transpose(1, 2) + self._positions(grid)
        tokens, hidden = embedding.dropout(tokens), []
        for block in self.vit.blocks:
            tokens = block(tokens)
            hidden.append(tokens)
        deepest = self.vit.norm(tokens)

        def features(layer: torch.Tensor) -> torch.Tensor:
            return torch.unflatten(layer.transpose(1, 2), 2, grid)

        up = self.decoder5(features(deepest), self.encoder4(features(hidden[9])))
        up = self.decoder4(up, self.encoder3(features(hidden[6])))
        up = self.decoder3(up, self.encoder2(features(hidden[3])))
        logits: torch.Tensor = self.out(self.decoder2(up, self.encoder1(x)))
        return logits

    def _positions(self, grid: torch.Size) -> torch.Tensor:
        known: torch.Tensor = self.vit.patch_embedding.position_embeddings
        if tuple(grid) == tuple(self.feat_size):
            return known
        volume = torch.unflatten(known.transpose(1, 2), 2, self.feat_size)
        resized = nn.functional.interpolate(volume, size=grid, mode="trilinear")
        return resized.flatten(2).transpose(1, 2)


def _unet(spec: NetworkSpec) -> nn.Module:
    network = FlexibleUNet(
        spec.in_channels,
        spec.classes,
        spec.encoder,
        pretrained=False,
        decoder_channels=spec.decoder_channels or _UNET_DECODER,
        spatial_dims=3,
    )
    for layer in (network.encoder.layer2, network.encoder.layer3, network.encoder.layer4):
        _learn_shortcut(layer[0])
    return network


def _learn_shortcut(block: Any) -> None:
    """Give a block of ResNet-18 or -34 the shortcut of He et al. 2016, option B.

    MONAI's is a strided pooling padded with zeros, taken of ``.data``: no gradient passes it, and
    it has no counterpart in the 2D networks whose weights a 3D network can start from.
    """
    if isinstance(block.downsample, nn.Module):
        return
    convolution = block.conv1
    block.downsample = nn.Sequential(
        nn.Conv3d(
            convolution.in_channels,
            convolution.out_channels,
            kernel_size=1,
            stride=convolution.stride,
            bias=False,
        ),
        nn.BatchNorm3d(convolution.out_channels),
    )


def _attention_unet(spec: NetworkSpec) -> nn.Module:
    strides = (2,) * (len(_ATTENTION_CHANNELS) - 1)
    return AttentionUnet(3, spec.in_channels, spec.classes, _ATTENTION_CHANNELS, strides)


def _segresnet(spec: NetworkSpec) -> nn.Module:
    return SegResNet(3, _SEGRESNET_FILTERS, spec.in_channels, spec.classes)


def _dynunet(spec: NetworkSpec) -> nn.Module:
    strides = spec.options["strides"]
    return DynUNet(3, spec.in_channels, spec.classes, spec.options["kernels"], strides, strides[1:])


def _vnet(spec: NetworkSpec) -> nn.Module:
    return VNet(3, spec.in_channels, spec.classes)


def _swinunetr(spec: NetworkSpec) -> nn.Module:
    return SwinUNETR(spec.in_channels, spec.classes, feature_size=_SWIN_FEATURES, spatial_dims=3)


_BUILDERS: dict[str, Callable[[NetworkSpec], nn.Module]] = {
    "unet": _unet,
    "unetplusplus": lambda spec: UnetPlusPlus(spec.in_channels, spec.classes),
    "attention-unet": _attention_unet,
    "segresnet": _segresnet,
    "dynunet": _dynunet,
    "vnet": _vnet,
    "unetr": lambda spec: Unetr(spec.in_channels, spec.classes, spec.options["patch"]),
    "swinunetr": _swinunetr,
}


def build_volumetric(spec: NetworkSpec) -> nn.Module:
    """Build a 3D network.

    Args:
        spec: The description.

    Returns:
        The network.

    Raises:
        UsageError: If the library refuses the channels.
    """
    try:
        return _BUILDERS[spec.architecture](spec)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise cannot_build(spec, error) from error
