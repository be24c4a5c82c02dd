from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy.ndimage import gaussian_filter

from osteon.evaluation.surface import (
    Distances,
    SurfaceDistances,
    average_distance,
    hausdorff_95,
    surface_dice,
    surface_distances,
)
from osteon.evaluation.values import LabelReader
from osteon.labels import BONE_PORES
from osteon.volume import ArrayVolume


def readers(truth: np.ndarray, labels: np.ndarray) -> tuple[LabelReader, LabelReader]:
    both = [
        LabelReader(ArrayVolume(v.astype(np.uint8)), scheme=BONE_PORES, remap=None, role=role)
        for v, role in ((truth, "truth"), (labels, "labels"))
    ]
    return both[0], both[1]


def distances(
    truth: np.ndarray, labels: np.ndarray, spacing=(1.0, 1.0, 1.0), **more: object
) -> SurfaceDistances:
    return surface_distances(readers(truth, labels), classes=[1], spacing=spacing, **more)[1]


def blob(seed: int, shape: tuple[int, ...] = (22, 24, 26)) -> np.ndarray:
    """A random structure that keeps two voxels away from the edge of the volume."""
    noise = np.random.default_rng(seed).normal(size=shape)
    out = gaussian_filter(noise, 2) > 0.02
    inner = np.zeros(shape, bool)
    inner[tuple(slice(2, -2) for _ in shape)] = True
    return out & inner


def figures(d: SurfaceDistances, tolerance: float) -> list[float]:
    return [average_distance(d), hausdorff_95(d), surface_dice(d, tolerance)]


def monai(truth: np.ndarray, labels: np.ndarray, spacing, tolerance: float) -> list[float]:
    t, p = (torch.from_numpy(v[None, None].astype(np.float32)) for v in (truth, labels))
    options = {"include_background": True, "spacing": list(spacing)}
    return [
        float(compute_average_surface_distance(p, t, symmetric=True, **options)),
        float(compute_hausdorff_distance(p, t, percentile=95, **options)),
        float(compute_surface_dice(p, t, [tolerance], **options)),
    ]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (30.0, 10.0, 12.5)])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_monai(seed: int, spacing) -> None:
    truth, labels = blob(seed), blob(seed) & (np.random.default_rng(9).random((22, 24, 26)) > 0.02)
    labels[12:15, 12:15, 3:22] = True
    tolerance = 1.2 * min(spacing)
    # MONAI computes in single precision.
    assert figures(distances(truth, labels, spacing), tolerance) == pytest.approx(
        monai(truth, labels, spacing, tolerance), rel=1e-5
    )


@pytest.mark.parametrize(("side", "halo"), [(7, 1), (9, 3), (128, 2), (22, 16)])
def test_blocks_equal_the_whole(side: int, halo: int) -> None:
    truth, labels = blob(2), blob(3)
    labels[:, :14] = False  # much of the truth is far from any label
    spacing = (3.0, 1.0, 1.5)
    whole = distances(truth, labels, spacing, side=64, halo=64)
    parts = distances(truth, labels, spacing, side=side, halo=halo)
    for a, b in ((whole.from_truth, parts.from_truth), (whole.from_labels, parts.from_labels)):
        assert a.counts == pytest.approx(b.counts)
    assert max(whole.from_truth.counts) > 10


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (40.0, 10.0, 10.0)])
def test_a_plate_shifted_along_z(spacing) -> None:
    # Plates over the whole volume: two faces each, 3 slices apart. The nearest faces: of truth
    # z = 5, 8 and labels z = 8, 11: distances 3 and 0 from the truth, 0 and 3 from the labels.
    truth, labels = np.zeros((16, 6, 6)), np.zeros((16, 6, 6))
    truth[5:9], labels[8:12] = 1, 1
    d = distances(truth, labels, spacing)
    assert average_distance(d) == pytest.approx(1.5 * spacing[0])
    assert hausdorff_95(d) == pytest.approx(3 * spacing[0])
    assert surface_dice(d, 2.9 * spacing[0]) == pytest.approx(0.5)
    assert surface_dice(d, 3 * spacing[0]) == 1.0  # the tolerance itself is within


def test_spheres_of_two_sizes() -> None:
    grid = np.indices((50, 50, 50)) - 24.5
    r = np.sqrt((grid**2).sum(0))
    d = distances(r < 20, r < 16)
    # Concentric spheres are 4 apart everywhere; the grid blurs that by less than a voxel.
    assert average_distance(d) == pytest.approx(4, abs=0.25)
    assert hausdorff_95(d) == pytest.approx(4, abs=0.6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([4, 7, 50]))
def test_symmetric(seed: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    truth, labels = (rng.random((6, 7, 8)) < 0.2 for _ in range(2))
    one = figures(distances(truth, labels, side=side, halo=1), 1.5)
    assert one == pytest.approx(figures(distances(labels, truth, side=side, halo=1), 1.5))
    assert figures(distances(truth, truth), 0.0) == [0, 0, 1]


def test_a_class_in_neither_or_in_one_only() -> None:
    nothing, something = np.zeros((4, 5, 6)), np.zeros((4, 5, 6))
    something[1:3, 1:3, 1:3] = 1
    assert all(math.isnan(v) for v in figures(distances(nothing, nothing), 1))
    for d in (distances(nothing, something), distances(something, nothing)):
        assert math.isnan(average_distance(d))
        assert math.isnan(hausdorff_95(d))
        assert surface_dice(d, 100) == 0
        assert d.voxels == 8


def test_one_voxel_bones_far_apart() -> None:
    truth, labels = np.zeros((40, 3, 40)), np.zeros((40, 3, 40))
    truth[1, 1, 1] = labels[37, 1, 37] = 1
    d = distances(truth, labels, (2.0, 1.0, 1.0), side=8, halo=2)
    assert average_distance(d) == hausdorff_95(d) == pytest.approx(math.hypot(72, 36))


def test_slices_that_are_no_neighbours_are_measured_in_the_plane() -> None:
    truth, labels = np.zeros((3, 9, 9)), np.zeros((3, 9, 9))
    truth[0, 4, 2] = labels[0, 4, 5] = 1  # 3 apart
    truth[1, 4, 4] = labels[1, 4, 4] = 1
    truth[2, 4, 4] = 1  # no counterpart in its slice, though there is one in the next
    d = distances(truth, labels, contiguous=False, side=4, halo=1)
    assert [v.tolist() for v in d.from_truth.sorted()] == [pytest.approx([0.0, 3.0]), [1, 1]]
    assert d.from_truth.unmatched == 1
    assert surface_dice(d, 1) == pytest.approx(2 / 5)


def test_voxels_without_label_and_the_edge_of_the_volume_make_no_surface() -> None:
    truth, labels = np.ones((5, 5, 9)), np.ones((5, 5, 9))
    truth[:, :, 6:] = 255
    labels[:, :, 7:] = 0  # where nothing is judged
    assert distances(truth, labels).voxels == 0


def test_quantiles_are_those_of_numpy() -> None:
    values = np.random.default_rng(0).integers(0, 30, 501) / 4
    d = Distances()
    d.add(values, 0.25)
    for share in (0, 0.05, 0.5, 0.95, 0.999, 1):
        assert d.quantile(share) == pytest.approx(np.quantile(values, share))
