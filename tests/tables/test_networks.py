"""Which architecture goes with which encoder, mode, decoder and patch: known without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from osteon.errors import UsageError
from osteon.networks import NetworkSpec
from osteon.settings import FitSettings, NetworkSettings, load_settings
from osteon.tables.networks import check_decoder, check_pair, check_patch, divisor_of, encoder_of


@pytest.mark.parametrize(
    ("architecture", "encoder", "dimensions", "reason"),
    [
        ("unetplusplus", "mit_b0", 2, "no features at half the resolution"),
        ("linknet", "mit_b5", 2, "no features at half the resolution"),
        ("deeplabv3", "vgg16_bn", 2, "cannot be dilated"),
        ("pan", "xception", 2, "cannot be dilated"),
        ("dpt", "resnet18", 2, "plain vision transformer"),
        ("dpt", "tu-resnet18", 2, "plain vision transformer"),
        ("dpt", "tu-vit_small_patch14_dinov2", 2, "tokens of 14 px"),
        ("unet", "tu-vit_tiny_patch16_224", 2, "all but DPT"),
        ("unet", "tu-coatnet_0_224", 2, "one size of input"),
        ("unet", "resnet200", 2, "works in 3D alone"),
        ("unet", "mit_b0", 3, "works in 2D alone"),
        ("unet", "tu-resnet18", 3, "works in 2D alone"),
        ("vnet", "resnet18", 2, "does not work in 2D"),
        ("fpn", "resnet18", 3, "does not work in 3D"),
        ("vnet", "resnet34", 3, "no exchangeable encoder in 3D"),
        ("unetplusplus", "resnet34", 3, "no exchangeable encoder in 3D"),
        ("unet", "tu-resnet19", 2, "timm has no model 'resnet19'"),
    ],
)
def test_impossible_pairs_are_refused_with_the_reason(
    architecture: str, encoder: str, dimensions: int, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        check_pair(architecture, encoder, dimensions)


def test_v_net_takes_no_three_channels() -> None:
    check_pair("vnet", "", 3, 4)
    with pytest.raises(UsageError, match="channels, not 3"):
        check_pair("vnet", "", 3, 3)


def test_an_encoder_that_was_not_chosen_is_left_out_where_there_is_none() -> None:
    assert encoder_of("vnet", "resnet18", dimensions=3) == ""
    assert encoder_of("vnet", "", dimensions=3) == ""
    assert encoder_of("unet", "", dimensions=3) == "resnet18"
    assert encoder_of("U-Net", "ResNet34", dimensions=2) == "resnet34"
    spec = NetworkSpec.from_settings(
        NetworkSettings(architecture="V-Net"), in_channels=1, classes=2, dimensions=3
    )
    assert (spec.architecture, spec.encoder) == ("vnet", "")


@pytest.mark.parametrize(
    ("architecture", "channels", "dimensions", "reason"),
    [
        ("unet", (8, 8), 2, "has 5 stages in 2D, not 2"),
        ("segformer", (8, 8), 2, "has 1 stage in 2D, not 2"),
        ("linknet", (8,), 2, "cannot be chosen in 2D"),
        ("unetplusplus", (8, 8, 8, 8, 8), 3, "cannot be chosen in 3D"),
    ],
)
def test_a_decoder_of_another_kind_is_refused(
    architecture: str, channels: tuple[int, ...], dimensions: int, reason: str
) -> None:
    check_decoder(architecture, None, dimensions=dimensions)
    with pytest.raises(UsageError, match=reason):
        check_decoder(architecture, channels, dimensions=dimensions)


@pytest.mark.parametrize(
    ("architecture", "patch", "reason"),
    [
        ("pan", (96, 128), "multiples of 16, at least 128"),
        ("unet", (48, 64), "multiples of 32, not 48 × 64"),
        ("swinunetr", (64, 32, 64), "at least 64 high and wide"),
        ("vnet", (24, 32, 32), "multiples of 16, not 24 × 32 × 32"),
    ],
)
def test_a_patch_that_the_network_cannot_see_is_refused(
    architecture: str, patch: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        check_patch(architecture, "", patch)


def test_divisors_are_the_networks_coarsest_grid() -> None:
    found = {a: divisor_of(a, "resnet18", dimensions=2) for a in ("unet", "pspnet", "deeplabv3+")}
    assert found == {"unet": 32, "pspnet": 8, "deeplabv3+": 16}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.architecture=dpt"], "plain vision transformer"),
        (["network.architecture=unet++", "network.encoder=mit_b0"], "half the resolution"),
        (["network.encoder=tu-resnt18"], "did you mean tu-resnet18"),
        (["network.architecture=fpn", "network.decoder_channels=[8]"], "cannot be chosen"),
        (["mode=3D", "network.encoder=mit_b0"], "2D alone"),
        (["network.architecture=vnet"], "2D"),
    ],
)
def test_settings_refuse_it_before_anything_starts(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings(FitSettings, overrides=overrides)


def test_none_of_this_imports_torch() -> None:
    code = (
        "import sys; from osteon.settings import NetworkSettings; "
        "NetworkSettings(encoder='tu-convnext_tiny'); print('torch' in sys.modules, "
        "'timm' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240
    )
    assert done.stdout.split() == ["False", "False"]
