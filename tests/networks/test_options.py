"""Kernels, strides and sizes of networks that are planned by the shape of patch and voxels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets.unetr import UNETR

from osteon.errors import ModelFileError, UsageError
from osteon.networks import NetworkSpec, build_network
from osteon.networks.options import plan_options, plan_stages
from osteon.settings import NetworkSettings


def spec_of(architecture: str, **more: Any) -> NetworkSpec:
    return NetworkSpec.from_settings(
        NetworkSettings(architecture=architecture),
        in_channels=1,
        classes=3,
        dimensions=3,
        **more,
    )


def test_cubes_are_halved_along_all_axes() -> None:
    # As nnU-Net plans 128³ voxels (BraTS): five halvings, down to 4³.
    kernels, strides = plan_stages((128, 128, 128), (1.0, 1.0, 1.0))
    assert strides == [[1, 1, 1], *[[2, 2, 2]] * 5]
    assert kernels == [[3, 3, 3]] * 6


def test_long_voxels_wait_until_the_others_are_as_long() -> None:
    # nnU-Net's published plan of the prostate (Isensee et al. 2021): patches of 20 × 320 × 256,
    # voxels of 3.6 × 0.62 × 0.62 mm; its sixth halving within the slice is one more than here.
    kernels, strides = plan_stages((20, 320, 256), (3.6, 0.62, 0.62))
    assert strides == [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
    assert kernels == [[1, 3, 3], [1, 3, 3], *[[3, 3, 3]] * 4]


@pytest.mark.parametrize("voxel_size", [None, (None, None, None), (None, 2.0, 2.0)])
def test_unknown_voxels_are_taken_for_cubes(voxel_size: Any) -> None:
    patch = (32, 64, 64)
    cubes = plan_options("dynunet", patch, (7.0, 7.0, 7.0))
    assert plan_options("dynunet", patch, voxel_size) == cubes
    assert plan_options("dynunet", patch, (14.1, 7.0, 7.0)) != cubes


@pytest.mark.parametrize("depth", [32, 64, 96])
@pytest.mark.parametrize("size", [32, 96, 160, 224, 256])
@pytest.mark.parametrize("ratio", [0.25, 1.0, 2.5, 6.0])
def test_every_patch_of_the_settings_can_be_planned(depth: int, size: int, ratio: float) -> None:
    patch = (depth, size, size)
    spec = spec_of("dynunet", patch=patch, voxel_size=(ratio, 1.0, 1.0))
    assert NetworkSpec.from_dict(spec.as_dict()) == spec
    assert depth % spec.depth_divisor == size % spec.divisor == 0
    assert size >= spec.least[-1]


def test_divisors_of_an_anisotropic_network_differ() -> None:
    spec = spec_of("dynunet", patch=(32, 64, 64), voxel_size=(2.0, 1.0, 1.0))
    # By hand: within the slice 64 → 4, across it 32 → 4.
    assert (spec.depth_divisor, spec.divisor) == (8, 16)


def test_a_network_that_is_planned_needs_a_patch() -> None:
    with pytest.raises(UsageError, match="planned"):
        spec_of("dynunet")


def test_more_tokens_than_can_be_attended_to_are_refused() -> None:
    with pytest.raises(UsageError, match="tokens"):
        spec_of("unetr", patch=(128, 2048, 2048))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"kernels": [[3, 3, 3]] * 3},
        {"kernels": [[3, 3, 3]] * 3, "strides": [[1, 1, 1]] * 4},
        {"kernels": [[3, 3, 3]] * 3, "strides": [[2, 2, 2]] * 3},
        {"kernels": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 10**9]]},
        {"kernels": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, True]]},
        {"kernels": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2.0]]},
        {"kernels": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2]]},
        {"kernels": [[3, 3, 3]] * 9, "strides": [[1, 1, 1], *[[2, 2, 2]] * 8]},
        {"kernels": [[3, 3, 3]] * 2, "strides": [[1, 1, 1], [2, 2, 2]]},
        {"kernels": "333", "strides": "122"},
    ],
)
def test_garbled_strides_are_a_model_file_error(change: dict[str, Any]) -> None:
    good = spec_of("dynunet", patch=(32, 64, 64)).as_dict()
    with pytest.raises(ModelFileError, match="options"):
        NetworkSpec.from_dict({**good, "options": change})


@pytest.mark.parametrize(
    "patch", [None, [32, 64], [32, 64, 60], [0, 64, 64], [32, 64, "64"], [2048, 2048, 2048]]
)
def test_a_garbled_size_is_a_model_file_error(patch: Any) -> None:
    good = spec_of("unetr", patch=(32, 64, 64)).as_dict()
    with pytest.raises(ModelFileError, match="options"):
        NetworkSpec.from_dict({**good, "options": {"patch": patch}})


def test_unetr_is_monai_s_at_the_size_it_was_made_for() -> None:
    torch.manual_seed(0)
    ours = build_network(spec_of("unetr", patch=(32, 32, 48))).eval()
    theirs = UNETR(1, 3, (32, 32, 48)).eval()
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert {name.split(".")[3] for name in missing.missing_keys} == {"norm_cross_attn"}  # unused
    image = torch.randn(1, 1, 32, 32, 48)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image))


def test_unetr_stretches_its_positions_over_another_size() -> None:
    network = build_network(spec_of("unetr", patch=(32, 32, 64)))
    ramp = torch.tensor([0.0, 1.0, 2.0, 3.0])  # over the four tokens along x
    positions = ramp.expand(2, 2, 4).reshape(1, 16, 1).expand(1, 16, 768)
    with torch.no_grad():
        network.vit.patch_embedding.position_embeddings.copy_(positions)
    seen = network._positions(torch.Size((2, 2, 8))).reshape(2, 2, 8, 768)
    # By hand: middles of tokens half as long, beyond the first and last middle the edge's value.
    expected = torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0])
    torch.testing.assert_close(seen[1, 0, :, 5], expected)
