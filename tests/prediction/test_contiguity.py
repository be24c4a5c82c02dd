"""Whether slices are neighbours in space."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from osteon.intensity import statistics
from osteon.prediction.contiguity import judge
from osteon.volume import ArrayVolume


def struts(
    depth: int, *, size: float, noise: float, spacing: int = 1, seed: int = 0
) -> npt.NDArray[np.uint16]:
    """Trabeculae of a size in pixels, every so many slices of them."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(depth * spacing, 120, 130)), size)
    bone = ndimage.gaussian_filter((field > 0.4 * field.std()).astype(float), 1)[::spacing]
    return (5000 + 1000 * (bone + noise * rng.normal(size=bone.shape))).astype(np.uint16)


def contiguous(scan: npt.NDArray[np.uint16], **more: object) -> bool:
    volume = ArrayVolume(scan)
    for name, value in more.items():
        setattr(volume, name, value)
    return judge(volume, statistics(volume, "zscore")).contiguous


@pytest.mark.parametrize("size", [2.0, 5.0, 9.0])
@pytest.mark.parametrize("noise", [0.02, 0.25])
def test_a_scan_is_told_from_picked_slices(size: float, noise: float) -> None:
    assert contiguous(struts(12, size=size, noise=noise))
    assert not contiguous(struts(10, size=size, noise=noise, spacing=12))


def test_gaps_in_the_numbers_and_few_slices_tell() -> None:
    scan = struts(12, size=5, noise=0.02)
    assert contiguous(scan, slice_numbers=tuple(range(3, 15)))
    assert not contiguous(scan, slice_numbers=(*range(3, 14), 20))
    assert not contiguous(scan[:7])


@pytest.mark.parametrize("asked", ["yes", "no"])
def test_what_is_said_holds(asked: str) -> None:
    volume = ArrayVolume(struts(2, size=5, noise=0.02))
    found = judge(volume, statistics(volume, "zscore"), asked=asked)
    assert found.contiguous is (asked == "yes")
    assert found.ratio is None


def test_the_same_scan_is_judged_alike() -> None:
    volume = ArrayVolume(struts(30, size=3, noise=0.1))
    stats = statistics(volume, "zscore")
    assert judge(volume, stats) == judge(volume, stats)


def test_the_ratio_by_hand() -> None:
    # Slices that move by 2 pixels along x each: half of the step of 4 along x, none along y, and
    # the mean of both steps is what they are compared with.
    ramp = np.arange(200.0)
    volume = ArrayVolume(np.stack([np.tile(ramp + 2 * z, (50, 1)) for z in range(9)]))
    stats = statistics(volume, "zscore")
    assert judge(volume, stats).ratio == pytest.approx(2 / (4 / 2), rel=0.1)
