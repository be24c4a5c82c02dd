from __future__ import annotations

import pytest
import torch
from segmentation_models_pytorch import Unet
from torch.utils.flop_counter import FlopCounterMode

from osteon.datasets import estimate
from osteon.datasets.costs import _ENCODERS, decoder_costs
from osteon.settings import (
    FitSettings,
    NetworkSettings,
    PatchSettings,
    TrainingSettings,
)
from osteon.tables.encoders import ENCODERS


def settings(encoder: str = "resnet18", channels=(256, 128, 64, 32, 16)) -> FitSettings:
    return FitSettings(
        network=NetworkSettings(encoder=encoder, decoder_channels=channels),
        patches=PatchSettings(size=64, per_slice=3),
        training=TrainingSettings(epochs=5, batch_size=4, workers=0),
    )


@pytest.mark.parametrize("encoder", ENCODERS.names())
@pytest.mark.parametrize("channels", [(256, 128, 64, 32, 16), (64, 48, 32, 16, 8)])
def test_time_follows_pytorch_s_flop_counter(encoder: str, channels: tuple) -> None:
    network = Unet(
        encoder, encoder_weights=None, in_channels=1, classes=3, decoder_channels=channels
    ).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 64, 64))
    flops = counter.get_total_flops()
    found = estimate(settings(encoder, channels), slices=10, cache_bytes=0, flops_per_second=1e9)
    assert found.patches_per_epoch == 30
    assert found.steps == 5 * 8
    # Forward and backward: three forward passes; the head of 3 classes is left out (below 1 %).
    assert found.seconds == pytest.approx(3 * flops * 30 * 5 / 1e9, rel=0.02)
    parameters = sum(p.numel() for p in network.parameters())
    if channels[0] == 256:
        assert _ENCODERS[encoder][3] * 1e6 == pytest.approx(parameters, rel=0.01)


def test_memory_follows_what_pytorch_keeps() -> None:
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() > 1000 and not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    channels = (128, 64, 48, 32, 16)
    network = Unet(
        "resnet18", encoder_weights=None, in_channels=1, classes=3, decoder_channels=channels
    )
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _result = network(torch.zeros(2, 1, 128, 128))
    per_pixel = sum(kept.values()) / 2 / 128**2
    encoder = _ENCODERS["resnet18"]
    assert encoder[1] + decoder_costs(encoder[2], channels)[1] == pytest.approx(per_pixel, rel=0.05)


def test_minutes_and_unknown_networks() -> None:
    base = settings()
    minutes = base.training.model_copy(update={"max_minutes": 2.0})
    limited = base.model_copy(update={"training": minutes})
    assert estimate(limited, slices=10**6, cache_bytes=0, flops_per_second=1e9).seconds == 120
    network = base.network.model_copy(update={"encoder": "another"})
    unknown = estimate(base.model_copy(update={"network": network}), slices=10, cache_bytes=0)
    assert (unknown.steps, unknown.memory_bytes, unknown.seconds) == (40, None, None)


def test_memory_grows_with_batch_and_cache() -> None:
    base = estimate(settings(), slices=100, cache_bytes=0, flops_per_second=1e9)
    more = estimate(settings(), slices=100, cache_bytes=5e8, flops_per_second=1e9)
    assert more.memory_bytes - base.memory_bytes == pytest.approx(5e8)
    # By hand: four patches of 64 px, 1,270 bytes a pixel, a third more; parameters; libraries.
    expected = 4 * 64**2 * 1270 * 1.3 + 14.3e6 * 20 + 600e6
    assert base.memory_bytes == pytest.approx(expected, rel=1e-3)
