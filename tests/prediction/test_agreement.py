"""Tiles and blocks of networks with random weights against the whole scan at once.

The networks have strides, as U-Nets do, and see no farther than the halo. Deeper ones see farther:
what their labels differ by is measured in docs/prediction.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from torch import nn

from osteon.model_file import Model
from osteon.prediction import plan as plan_module
from osteon.volume import Array

from .faking import NETWORK, SPEC, run

Images = npt.NDArray[np.float32]


class SmallUNet(nn.Module):
    """Two levels down and up again: a label depends on voxels up to 20 away."""

    def __init__(self, channels: int, dimensions: int):
        super().__init__()
        conv: Any = nn.Conv2d if dimensions == 2 else nn.Conv3d
        self.first = conv(channels, 8, 3, padding=1)
        self.down = nn.ModuleList(conv(8, 8, 3, stride=2, padding=1) for _ in range(2))
        self.deep = conv(8, 8, 3, padding=1)
        self.up = nn.ModuleList(conv(16, 8, 3, padding=1) for _ in range(2))
        self.last = conv(8, 3, 1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = [torch.relu(self.first(image))]
        for layer in self.down:
            features.append(torch.relu(layer(features[-1])))
        found = torch.relu(self.deep(features.pop()))
        for layer in self.up:
            large = nn.functional.interpolate(found, scale_factor=2)
            found = torch.relu(layer(torch.cat([large, features.pop()], 1)))
        return self.last(found - found.mean(1, keepdim=True))


@dataclass
class Direct:
    """A network run without more ado."""

    network: nn.Module
    bytes_per_pixel: int = 300
    description: str = "direct"
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, batch: Images) -> Images:
        self.seen.append(batch.shape[2:])
        with torch.inference_mode():
            logits: Images = self.network(torch.from_numpy(batch)).numpy()
        return logits

    def labels(self, batch: Images) -> npt.NDArray[np.uint8]:
        return self.run(batch).argmax(1).astype(np.uint8)


def struts(shape: tuple[int, int, int]) -> Array:
    """Bone-like struts in noise."""
    rng = np.random.default_rng(11)
    bone = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    image = 12_000 + 20_000 * (bone > bone.std() / 5) + rng.normal(0, 3_000, shape)
    return np.clip(image, 1, 60_000).astype(np.uint16)


CASES = {"2.5D": (3, (4, 211, 307), 32), "3D": (1, (37, 131, 157), 32)}


def agreement(mode: str, halo: int, monkeypatch: pytest.MonkeyPatch) -> float:
    channels, shape, _ = CASES[mode]
    dimensions = 3 if mode == "3D" else 2
    torch.manual_seed(5)
    backend = Direct(SmallUNet(channels, dimensions).eval())
    network = replace(NETWORK, in_channels=channels, dimensions=dimensions)
    model = Model(replace(SPEC, mode=mode, network=network), {})
    scan = struts(shape)
    whole, found = run(scan, backend, model=model)
    assert found.plan.whole
    assert np.sort(np.bincount(whole.ravel(), minlength=3))[-2] > 0.05 * scan.size
    monkeypatch.setattr(plan_module, "HALO" if mode == "2.5D" else "BLOCK_HALO", halo)
    parts, cut = run(scan, backend, int(found.plan.memory * 0.85), model=model)
    assert cut.plan.tiles >= 2
    return float((whole == parts).mean())


@pytest.mark.parametrize("mode", CASES)
def test_parts_agree_with_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not all: sums in another order (smaller inputs) may turn a near tie.
    assert agreement(mode, CASES[mode][2], monkeypatch) >= 0.9999


def test_without_a_halo_seams_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    assert agreement("3D", 0, monkeypatch) < 0.999
