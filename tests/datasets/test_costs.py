"""What a fit will take: worked by hand, and against a fit that was measured."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from osteon.datasets import estimate
from osteon.settings import FitSettings, NetworkSettings, PatchSettings, TrainingSettings
from osteon.workflows.preparing import patch_costs


@dataclass(frozen=True)
class Counted:
    parameters: int = 10**7
    flops: int = 2 * 10**9
    activation_bytes: int = 3 * 10**6


def settings(**more: Any) -> FitSettings:
    return FitSettings(
        patches=PatchSettings(size=64, per_slice=3),
        training=TrainingSettings(epochs=5, batch_size=4, workers=0).model_copy(update=more),
    )


def test_time_is_three_forward_passes_of_every_patch() -> None:
    found = estimate(settings(), slices=10, cache_bytes=0, costs=Counted(), flops_per_second=1e10)
    assert (found.patches_per_epoch, found.steps) == (30, 5 * 8)
    assert found.seconds == pytest.approx(3 * 0.2 * 30 * 5)


def test_minutes_limit_the_time() -> None:
    limited = settings(max_minutes=2.0)
    found = estimate(limited, slices=10**6, cache_bytes=0, costs=Counted(), flops_per_second=1e10)
    assert found.seconds == 120


def test_without_the_networks_costs_memory_and_time_are_open() -> None:
    found = estimate(settings(), slices=10, cache_bytes=0)
    assert (found.steps, found.memory_bytes, found.seconds) == (40, None, None)


def test_accumulated_batches_are_one_step() -> None:
    # By hand: 30 patches are 7.5 batches of 4, and 3.75 steps of two batches: 4 an epoch.
    assert estimate(settings(accumulate=2), slices=10, cache_bytes=0).steps == 5 * 4


def test_in_3d_patches_are_counted_for_stacks_of_slices() -> None:
    base = settings()
    patches = base.patches.model_copy(update={"depth": 32})
    volumetric = base.model_copy(update={"mode": "3D", "patches": patches})
    # By hand: 160 slices are 5 stacks of 32, of 3 patches each.
    assert estimate(volumetric, slices=160, cache_bytes=0).patches_per_epoch == 15


def test_memory_is_that_of_batch_weights_cache_and_libraries() -> None:
    def memory(**more: Any) -> float:
        found = estimate(
            settings(**more), slices=100, cache_bytes=5e8, costs=Counted(), flops_per_second=1e9
        )
        assert found.memory_bytes is not None
        return found.memory_bytes

    # By hand: four patches and a third more; 20 bytes a parameter; the cache; the libraries.
    assert memory() == pytest.approx(4 * 3e6 * 1.3 + 1e7 * 20 + 5e8 + 600e6)
    assert memory(average=0.99) - memory() == pytest.approx(4e7)
    assert memory(batch_size=8) - memory() == pytest.approx(4 * 3e6 * 1.3)


@pytest.mark.parametrize(
    ("mode", "network", "flops"),
    [
        # By hand: the first convolution sees 5 slices instead of 1; all else is the same.
        ("2.5D", {}, lambda flat: flat + 4 * 2 * 64 * 49 * 32 * 32),
        ("3D", {"architecture": "vnet"}, None),
    ],
)
def test_a_patch_has_the_shape_of_its_mode(mode: str, network: dict, flops: Any) -> None:
    base = settings()
    patches = base.patches.model_copy(update={"slices": 5})
    chosen = FitSettings(mode=mode, patches=patches, network=NetworkSettings(**network))
    counted = patch_costs(chosen, classes=3)
    if flops is not None:
        assert counted.flops == flops(patch_costs(base, classes=3).flops)
    else:
        deeper = chosen.model_copy(update={"patches": patches.model_copy(update={"depth": 64})})
        assert patch_costs(deeper, classes=3).flops == 2 * counted.flops


FIT = """
import torch
from osteon.networks import build_network, NetworkSpec
torch.set_num_threads(1)
network = build_network(NetworkSpec("unet", "resnet18", 1, 3))
optimiser = torch.optim.Adam(network.parameters())
for _ in range(2):
    loss = network(torch.randn(8, 1, 256, 256)).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
best = {k: v.clone() for k, v in network.state_dict().items()}
import lightning
# Not ru_maxrss: on Linux a process begins with its parent's peak.
print(1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is told in KiB on Linux alone")
def test_memory_is_what_a_fit_takes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIT], capture_output=True, text=True, check=True, timeout=280
    )
    chosen = FitSettings(training=TrainingSettings(batch_size=8, workers=0))
    costs = patch_costs(chosen, classes=3)
    found = estimate(chosen, slices=100, cache_bytes=0, costs=costs, flops_per_second=1e9)
    assert found.memory_bytes == pytest.approx(int(done.stdout), rel=1 / 3)
