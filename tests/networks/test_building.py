"""Networks: built as described, sized as published, and only with weights of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from osteon.errors import ModelFileError, UsageError
from osteon.networks import NetworkSpec, build_network, load_weights, parameter_count
from osteon.settings import NetworkSettings

TINY = NetworkSpec("unet", "resnet18", 1, 3, (16, 16, 8, 8, 8))

#: torchvision's documentation: ResNet-18 has 11,689,512 parameters with its classifier.
RESNET18, CLASSIFIER = 11_689_512, 512 * 1000 + 1000
TWO_COLOURS_LESS = 2 * 64 * 7 * 7


def unet_parameters(spec: NetworkSpec) -> int:
    """Count by hand: a decoder stage is two 3 × 3 convolutions, each with a batch norm."""
    skips = (256, 128, 64, 64, 0)
    total = RESNET18 - CLASSIFIER - TWO_COLOURS_LESS
    below = 512
    decoder = spec.decoder_channels or (256, 128, 64, 32, 16)  # the paper's
    for skip, out in zip(skips, decoder, strict=True):
        total += (below + skip) * out * 9 + 2 * out + out * out * 9 + 2 * out
        below = out
    return total + below * spec.classes * 9 + spec.classes


@pytest.fixture(scope="module")
def tiny() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(TINY)


def test_the_papers_network_has_the_papers_number_of_parameters() -> None:
    spec = NetworkSpec.from_settings(NetworkSettings(), in_channels=1, classes=3)
    found = parameter_count(build_network(spec))
    assert found == 14_322_227
    assert found == unet_parameters(spec)


def test_fewer_decoder_channels_are_fewer_parameters(tiny: torch.nn.Module) -> None:
    assert parameter_count(tiny) == unet_parameters(TINY)


@pytest.mark.parametrize("quiet", [torch.no_grad, torch.inference_mode])
def test_idle_parameters_are_found_where_gradients_are_off(quiet: Callable[[], Any]) -> None:
    spec = NetworkSpec("pspnet", "resnet18", 1, 3)
    torch.manual_seed(0)
    expected = build_network(spec)
    with quiet():
        torch.manual_seed(0)
        found = build_network(spec)
    idle = {n for n, p in expected.named_parameters() if not p.requires_grad}
    # By hand: PSPNet reads three stages, to an eighth of the resolution; two are left.
    assert {n.split(".")[1] for n in idle} == {"layer3", "layer4"}
    assert {n for n, p in found.named_parameters() if not p.requires_grad} == idle
    assert torch.equal(found.state_dict()["encoder.conv1.weight"], expected.encoder.conv1.weight)


def test_frozen_parameters_are_not_counted() -> None:
    layer = torch.nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    assert parameter_count(layer) == 6


def test_the_same_generator_gives_the_same_weights() -> None:
    def built(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.detach().ravel() for p in build_network(TINY).parameters()])

    first = built(3)
    assert torch.equal(first, built(3))
    assert not torch.equal(first, built(4))


def test_a_description_survives_json() -> None:
    assert NetworkSpec.from_dict(json.loads(json.dumps(TINY.as_dict()))) == TINY


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("architecture"),
        lambda d: d.pop("encoder"),
        lambda d: d.pop("classes"),
        lambda d: d.pop("decoder_channels"),
        lambda d: d.update(surprise=1),
        lambda d: d.update(architecture=5),
        lambda d: d.update(encoder=None),
        lambda d: d.update(architecture="wnet"),
        lambda d: d.update(architecture="vnet"),
        lambda d: d.update(encoder="resnet19"),
        lambda d: d.update(classes=0),
        lambda d: d.update(classes=3.5),
        lambda d: d.update(in_channels=10**9),
        lambda d: d.update(decoder_channels=16),
        lambda d: d.update(decoder_channels=[16, 16, 8, 8, -8]),
        lambda d: d.update(decoder_channels=[10**12] * 5),
        lambda d: d.update(decoder_channels=[float("inf")] * 5),
        lambda d: d.update(decoder_channels=["a"] * 5),
    ],
)
def test_a_garbled_description_is_a_model_file_error(
    change: Callable[[dict[str, Any]], Any],
) -> None:
    data = TINY.as_dict()
    change(data)
    with pytest.raises(ModelFileError):
        NetworkSpec.from_dict(data)


def test_a_description_that_is_no_dictionary_is_a_model_file_error() -> None:
    with pytest.raises(ModelFileError):
        NetworkSpec.from_dict(7)  # type: ignore[arg-type]


def test_a_decoder_of_another_depth_is_refused() -> None:
    with pytest.raises(UsageError, match="has 5 stages in 2D, not 2"):
        build_network(NetworkSpec("unet", "resnet18", 1, 3, (16, 8)))


def test_weights_go_from_one_network_into_another(tiny: torch.nn.Module) -> None:
    other = build_network(TINY).eval()
    load_weights(other, tiny.state_dict())
    image = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(other(image), tiny.eval()(image))


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (lambda w: w.pop("encoder.conv1.weight"), "1 missing, 0 unknown, 0 of another shape"),
        (lambda w: w.update(extra=torch.zeros(1)), "0 missing, 1 unknown, 0 of another shape"),
        (
            lambda w: w.update({"encoder.conv1.weight": torch.zeros(64, 3, 7, 7)}),
            "0 missing, 0 unknown, 1 of another shape",
        ),
    ],
    ids=["missing", "unknown", "shape"],
)
def test_foreign_weights_are_refused_and_nothing_is_changed(
    change: Callable[[dict[str, torch.Tensor]], Any], count: str, tiny: torch.nn.Module
) -> None:
    before = tiny.state_dict()["segmentation_head.0.weight"].clone()
    weights = {k: torch.ones_like(v) for k, v in tiny.state_dict().items()}
    change(weights)
    with pytest.raises(ModelFileError, match=count) as caught:
        load_weights(tiny, weights)
    assert caught.value.where in ("encoder.conv1.weight", "extra")
    assert torch.equal(tiny.state_dict()["segmentation_head.0.weight"], before)
