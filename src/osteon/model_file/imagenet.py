"""The weights of encoders that were fitted to ImageNet, by the code of the libraries."""

from __future__ import annotations

import warnings
from typing import Any

import timm
import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from segmentation_models_pytorch.encoders import TimmUniversalEncoder, TimmViTEncoder, encoders
from segmentation_models_pytorch.encoders import get_encoder as smp_encoder
from torch import nn

from osteon.errors import InputError, UsageError

#: How segmentation-models-pytorch calls encoders of timm.
_TIMM = "tu-"
#: Stages of an encoder, where nothing says otherwise.
_DEPTH = 5
_RANDOM = "start from network.weights=random"


def imagenet_encoder(name: str, *, in_channels: int, like: nn.Module | None = None) -> nn.Module:
    """Return a 2D encoder with its ImageNet weights; they are downloaded once and kept.

    The weights of the three colours are summed for one channel, and repeated in turn and scaled
    for several (``patch_first_conv`` of segmentation-models-pytorch; timm's ``adapt_input_conv``).

    Args:
        name: Name of the encoder.
        in_channels: Channels of the input.
        like: The encoder of the network, which may have fewer stages; None: all.

    Returns:
        The encoder.

    Raises:
        UsageError: If there are no such weights.
        InputError: If they are not on this machine and cannot be downloaded, or are damaged.
    """
    repository = _repository(name)
    depth = int(getattr(like, "_depth", _DEPTH))
    try:
        # A library's remark on an encoder's name is not for the user.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _load(name, in_channels=in_channels, depth=depth, like=like)
    except (OSError, HfHubHTTPError) as error:
        raise InputError(
            f"the ImageNet weights of {name} are not on this machine and cannot be downloaded "
            f"({type(error).__name__})",
            where=f"network.weights=imagenet: {repository} of huggingface.co",
            mend=f"connect to the internet once; or run `hf download {repository}` on a machine "
            "that is connected, copy its folder ~/.cache/huggingface here and set HF_HOME to it; "
            f"or {_RANDOM}",
        ) from None
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"the downloaded ImageNet weights of {name} are damaged: {_first_line(error)}",
            where=f"network.weights=imagenet: {repository} of huggingface.co",
            mend=f"run `hf cache rm model/{repository}`, so that they are downloaded again",
        ) from None


def _load(name: str, *, in_channels: int, depth: int, like: nn.Module | None) -> nn.Module:
    encoder: nn.Module
    if not name.startswith(_TIMM):
        encoder = smp_encoder(name, in_channels=in_channels, depth=depth, weights="imagenet")
        return encoder
    more: dict[str, Any] = {"pretrained": True, "in_channels": in_channels, "depth": depth}
    if isinstance(like, TimmViTEncoder):
        more["depth"] = len(like.output_strides)
        encoder = TimmViTEncoder(name.removeprefix(_TIMM), dynamic_img_size=True, **more)
    else:
        encoder = TimmUniversalEncoder(name.removeprefix(_TIMM), **more)
    return encoder


def _repository(name: str) -> str:
    """Where the weights are; raises if there are none."""
    if name.startswith(_TIMM):
        plain = name.removeprefix(_TIMM)
        if timm.is_model(plain) and timm.models.is_model_pretrained(plain):
            config = timm.models.get_pretrained_cfg(plain)
            return str(getattr(config, "hf_hub_id", None) or f"timm/{plain}")
    else:
        found = encoders.get(name, {}).get("pretrained_settings", {}).get("imagenet")
        if found is not None:
            return str(found["repo_id"])
    raise UsageError(
        f"there are no ImageNet weights of {name}", where="network.weights=imagenet", mend=_RANDOM
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
