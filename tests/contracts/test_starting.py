"""Every network can start from a model of its own kind, its classes matched by name."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch

from osteon.labels import LabelClass, LabelScheme
from osteon.model_file import Model, ModelSpec, load_model, save_model, start_weights
from osteon.networks import NetworkSpec, build_network
from osteon.settings import NetworkSettings
from osteon.tables.networks import ARCHITECTURES

ENCODERS = {"dpt": "tu-vit_tiny_patch16_224"}


def scheme(names: str) -> LabelScheme:
    return LabelScheme(tuple(LabelClass(n, i, (i, 0, 0)) for i, n in enumerate(names)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "dimensions"),
    [
        (row.name, dimensions)
        for row in ARCHITECTURES
        for dimensions in cast(tuple[int, ...], row.capabilities["dimensions"])
    ],
)
def test_classes_are_matched_by_name(architecture: str, dimensions: int, tmp_path: Path) -> None:
    sides = (128, 128) if dimensions == 2 else (32, 64, 64)
    settings = NetworkSettings(
        architecture=architecture, encoder=ENCODERS.get(architecture, "resnet18")
    )

    def spec_of(classes: int) -> NetworkSpec:
        return NetworkSpec.from_settings(
            settings, in_channels=1, classes=classes, dimensions=dimensions, patch=sides
        )

    spec, wider = spec_of(3), spec_of(4)
    torch.manual_seed(1)
    source = build_network(spec)
    with torch.no_grad():
        source(torch.randn(2, 1, *sides))
    path = tmp_path / "model.safetensors"
    mode = f"{dimensions}D"
    described = ModelSpec("a", spec, scheme("abc"), "zscore", 1, mode=mode)
    save_model(path, Model(described, source.state_dict()))
    assert load_model(path).spec.network == spec
    network = build_network(spec)
    start = start_weights(network, spec, str(path), labels=scheme("cab"))
    assert start.notes == ("all layers start from the model 'a'",)
    image = torch.randn(1, 1, *sides)
    with torch.inference_mode():
        found, expected = network.eval()(image), source.eval()(image)
    torch.testing.assert_close(found[:, [1, 2, 0]], expected)
    # With a class more, all but the last layers are the same, and the class is named.
    more = start_weights(build_network(wider), wider, str(path), labels=scheme("abxc"))
    assert "classes new to it start at random: x" in more.notes
