"""Models with a context, of a thickness, and in half precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from osteon.errors import ModelFileError, UsageError
from osteon.labels import BONE_PORES, LabelClass, LabelScheme
from osteon.model_file import (
    ContextSpec,
    Model,
    ModelSpec,
    load_model,
    save_model,
    weights_digest,
    write_reference,
)
from osteon.model_file.spec import contradiction
from osteon.networks import NetworkSpec, build_network

NETWORK = NetworkSpec("unet", "resnet18", 2, 3)
SPEC = ModelSpec(
    "a", NETWORK, BONE_PORES, "edges", 1, context=ContextSpec(192), feature_px=(3.0, 24.0)
)
ONE = {"a": torch.ones(1)}


def test_context_and_thickness_come_back(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    written = save_model(path, Model(SPEC, ONE))
    found = load_model(path).spec
    assert found == written.spec
    assert (found.context, found.feature_px, found.slices) == (
        ContextSpec(192),
        (3.0, 24.0),
        1,
    )


OTHER_NAMES = LabelScheme(
    tuple(
        LabelClass(name, value, (0, 0, 0)) for value, name in enumerate(("bone", "air", "marrow"))
    )
)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"network": replace(NETWORK, in_channels=1)}, "with context has 2 channels, not 1"),
        ({"network": replace(NETWORK, in_channels=3)}, "with context has 2 channels, not 3"),
        ({"context": None}, "sees one grey value a voxel, not 2"),
        (
            {"mode": "2.5D", "network": replace(NETWORK, in_channels=3)},
            "goes with 2D, not with 2.5D",
        ),
        ({"labels": OTHER_NAMES}, "class 0 is 'bone'"),
        ({"feature_px": (5.0, 5.0)}, "no range of thicknesses"),
        ({"feature_px": (0.0, 5.0)}, "no range of thicknesses"),
        ({"feature_px": (1.0, float("inf"))}, "no range of thicknesses"),
        ({"feature_px": (float("nan"), 5.0)}, "no range of thicknesses"),
        ({"voxel_size_um": 10.0}, "not both"),
    ],
)
def test_contradictions_are_told(change: dict[str, object], told: str) -> None:
    assert contradiction(SPEC) is None
    fault = contradiction(replace(SPEC, **change))
    assert fault is not None
    assert told in fault


def test_a_contradicting_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, Model(replace(SPEC, context=None), ONE))
    with pytest.raises(ModelFileError, match="one grey value a voxel"):
        load_model(path)


def test_the_originals_programs_cannot_look_twice(tmp_path: Path) -> None:
    spec = replace(SPEC, recipe="reference-zscore-positive", feature_px=None)
    with pytest.raises(UsageError, match="looks at each slice twice"):
        write_reference(tmp_path / "m.pth", Model(spec, ONE))


def state() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=rng) * 1e-3,
        "norm.running_var": torch.tensor([1e-9, 1e9]),  # would not survive as float16
        "norm.num_batches_tracked": torch.tensor(70_000),
        "conv.bias": torch.tensor([1 / 3]),
    }


def test_half_precision_by_another_library(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    written = save_model(path, Model(SPEC, state()), half=True)
    stored = load_file(path)
    assert stored["conv.weight"].dtype == torch.float16
    expected = {name: tensor.numpy() for name, tensor in state().items()}
    rounded = expected["conv.weight"].astype(np.float16)
    np.testing.assert_array_equal(stored["conv.weight"].numpy(), rounded)
    found = load_model(path)
    assert found.weights["conv.weight"].dtype == torch.float32
    np.testing.assert_array_equal(found.weights["conv.weight"], rounded.astype(np.float32))
    for name in ("norm.running_var", "norm.num_batches_tracked", "conv.bias"):
        assert torch.equal(found.weights[name], state()[name])
        assert found.weights[name].dtype == state()[name].dtype
    assert found.spec.weights_sha256 == weights_digest(found.weights) == written.spec.weights_sha256
    assert found.spec == written.spec


def test_full_and_half_precision_of_the_same_weights_have_one_digest(tmp_path: Path) -> None:
    half = save_model(tmp_path / "half.safetensors", Model(SPEC, state()), half=True)
    full = save_model(tmp_path / "full.safetensors", load_model(tmp_path / "half.safetensors"))
    again = save_model(tmp_path / "again.safetensors", full, half=True)
    assert half.spec == full.spec == again.spec == load_model(tmp_path / "full.safetensors").spec
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "half.safetensors"
    ).read_bytes()
    assert load_file(tmp_path / "full.safetensors")["conv.weight"].dtype == torch.float32


def test_weights_too_large_for_half_precision_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'conv.weight' are too large"):
        save_model(
            tmp_path / "m.safetensors",
            Model(SPEC, {"conv.weight": torch.full((2, 2), 7e4)}),
            half=True,
        )
    assert not (tmp_path / "m.safetensors").exists()


def test_the_shipped_kind_of_model_is_small_enough(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, Model(SPEC, build_network(NETWORK).state_dict()), half=True)
    assert path.stat().st_size < 30 * 10**6
