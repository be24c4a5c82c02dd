"""2D encoders become 3D ones that give the same on scans that are constant along z."""

from __future__ import annotations

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from monai.networks.nets import FlexibleUNet
from torch import nn

from osteon.errors import UsageError
from osteon.labels import BONE_PORES
from osteon.model_file import Model, ModelSpec, save_model, start_weights
from osteon.model_file.inflation import inflate, layout_difference
from osteon.networks import NetworkSpec, build_network

TINY = (16, 16, 8, 8, 8)


def flat(encoder: str, channels: int = 1) -> nn.Module:
    """A 2D network of the library alone, with statistics in its batch norms."""
    torch.manual_seed(4)
    network = smp.Unet(
        encoder,
        encoder_weights=None,
        in_channels=channels,
        classes=3,
        decoder_channels=TINY,
    )
    with torch.no_grad():
        network(torch.randn(4, channels, 64, 64))
    return network.eval()


def saved(path: Path, network: nn.Module, spec: NetworkSpec) -> str:
    mode = "2D" if spec.in_channels == 1 else "2.5D"
    described = ModelSpec("flat", spec, BONE_PORES, "zscore", 1, mode=mode)
    save_model(path, Model(described, network.state_dict()))
    return str(path)


def test_a_kernel_by_hand() -> None:
    weight = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    (made,) = inflate({"a": weight}, {"a": torch.zeros(1, 1, 3, 2, 2)}).values()
    expected = [[[1 / 3, 2 / 3], [1.0, 2.0]]] * 3
    torch.testing.assert_close(made, torch.tensor([[expected]]))
    norm = torch.tensor([5.0, 7.0])
    assert torch.equal(inflate({"n": norm}, {"n": torch.zeros(2)})["n"], norm)
    for target in (torch.zeros(1, 1, 3, 2, 1), torch.zeros(1, 1, 2)):
        with pytest.raises(UsageError, match="'a' has no counterpart"):
            inflate({"a": weight}, {"a": target})


def check_middle(two: nn.Module, three: nn.Module, *, slices: int = 1) -> None:
    """Compare the first three features on a scan that is constant along z."""
    plane = torch.randn(1, 1, 32, 64, generator=torch.Generator().manual_seed(6))
    depth = 256  # the third feature sees about 50 slices on either side
    with torch.inference_mode():
        expected = two(plane.expand(-1, slices, -1, -1))[1:4]
        found = three(plane[:, :, None].expand(-1, -1, depth, -1, -1))[:3]
    for level, (one, other) in enumerate(zip(expected, found, strict=True)):
        assert other.shape[2] == depth // 2 ** (level + 1)
        middle = other[:, :, other.shape[2] // 2]
        torch.testing.assert_close(middle, one, rtol=1e-3, atol=1e-4)
        assert one.abs().mean() > 0.01
        # At the ends the scan is seen to stop: there it is not the same.
        assert not torch.allclose(other[:, :, 0], one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("slices", [1, 3])
def test_features_are_those_of_the_2d_model_away_from_the_ends(slices: int, tmp_path: Path) -> None:
    two = flat("resnet50", slices)
    spec = NetworkSpec("unet", "resnet50", slices, 3, TINY)
    path = saved(tmp_path / "a.safetensors", two, spec)
    volumetric = NetworkSpec("unet", "resnet50", 1, 3, TINY, 3)
    torch.manual_seed(5)
    three = build_network(volumetric).eval()
    before = {n: t.clone() for n, t in three.state_dict().items()}
    start = start_weights(three, volumetric, path, labels=BONE_PORES)
    assert any("stacked along depth" in note for note in start.notes)
    check_middle(two.encoder, three.encoder, slices=slices)
    for name, tensor in three.state_dict().items():
        if not name.startswith("encoder."):
            assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34"])
def test_a_shallow_resnet_has_the_shortcuts_of_its_2d_form(encoder: str) -> None:
    torch.manual_seed(5)
    three = build_network(NetworkSpec("unet", encoder, 1, 3, TINY, 3)).encoder
    two = flat(encoder).encoder
    assert layout_difference(two, three) is None
    three.load_state_dict(inflate(two.state_dict(), three.state_dict()))
    check_middle(two, three.eval())


def test_an_encoder_of_another_layout_is_refused() -> None:
    # MONAI's own ResNet-18 has shortcuts without weights.
    monai = FlexibleUNet(1, 3, "resnet18", spatial_dims=3, decoder_channels=TINY)
    difference = layout_difference(flat("resnet18").encoder, monai.encoder)
    assert difference == "it has no 'layer2.0.downsample.0'"
    monai = FlexibleUNet(1, 3, "resnet50", spatial_dims=3, decoder_channels=TINY)
    encoder = flat("resnet50").encoder
    assert layout_difference(encoder, monai.encoder) is None
    assert layout_difference(flat("resnet34").encoder, monai.encoder) is not None
    monai.encoder.layer2[0].conv2.stride = (2, 1, 2)
    assert layout_difference(encoder, monai.encoder) == "its 'layer2.0.conv2' is another"
    monai.encoder.layer2[0].conv2.stride = (1, 2, 2)  # the axis that is new may be any
    assert layout_difference(encoder, monai.encoder) is None
    monai.encoder.maxpool = nn.MaxPool3d(2)
    assert layout_difference(encoder, monai.encoder) == "its 'maxpool' is another"
    monai.encoder.maxpool = nn.MaxPool3d(3, 2, 1)
    monai.encoder.bn1.eps = 1e-3
    assert layout_difference(encoder, monai.encoder) == "its 'bn1' is another"
