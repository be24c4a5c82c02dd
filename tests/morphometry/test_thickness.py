from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from osteon.morphometry import local_thickness, mid_axes
from osteon.morphometry.painting import paint
from osteon.morphometry.ridge import distance_ridge
from osteon.morphometry.thickness import squared_distance

from .shapes import CUBIC, Mask, Spacing, foam, grid, sphere, turned

SPACINGS = (CUBIC, (2.0, 1.0, 1.5))


def painted(mask: Mask, spacing: Spacing) -> np.ndarray:
    """The definition by brute force: every sphere, every voxel."""
    background = np.argwhere(~mask) * spacing
    places = np.stack([a.ravel() for a in np.indices(mask.shape)], axis=1) * spacing
    out = np.zeros(mask.size)
    for centre in np.argwhere(mask) * spacing:
        radius2 = ((background - centre) ** 2).sum(axis=1).min()
        inside = ((places - centre) ** 2).sum(axis=1) <= radius2 + 1e-6
        out[inside] = np.maximum(out[inside], 2 * np.sqrt(radius2))
    return out.reshape(mask.shape)


def cleaned(values: np.ndarray, mask: Mask) -> np.ndarray:
    """BoneJ's clean-up, voxel by voxel: flag what borders on zero, average inner neighbours."""
    steps = [s for s in product((-1, 0, 1), repeat=3) if any(s)]

    def around(place: np.ndarray) -> list[tuple[int, ...]]:
        near = [tuple(place + np.array(s)) for s in steps]
        return [p for p in near if all(0 <= i < n for i, n in zip(p, values.shape, strict=True))]

    border = np.zeros(values.shape, bool)
    for place in np.argwhere(values > 0):
        border[tuple(place)] = any(values[p] == 0 for p in around(place))
    out = values.copy()
    for place in np.argwhere(border):
        inner = [values[p] for p in around(place) if values[p] > 0 and not border[p]]
        if inner:
            out[tuple(place)] = np.mean(inner)
    return np.where(mask, out, 0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_it_is_the_definition_on_any_grid(spacing: Spacing, share: float) -> None:
    mask = foam((13, 15, 17), seed=3, share=share)
    expected = painted(mask, spacing)
    plain = local_thickness(mask, spacing, clean=False)
    np.testing.assert_allclose(plain, np.where(mask, expected, 0), rtol=1e-6)
    np.testing.assert_allclose(local_thickness(mask, spacing), cleaned(expected, mask), rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(arrays(np.bool_, (4, 5, 6)), st.sampled_from(SPACINGS))
def test_it_is_the_definition_of_any_mask(mask: Mask, spacing: Spacing) -> None:
    if mask.all():
        with pytest.raises(ValueError, match="fills the image"):
            local_thickness(mask, spacing)
        return
    found = local_thickness(mask, spacing, clean=False)
    expected = np.where(mask, painted(mask, spacing), 0) if mask.any() else np.zeros(mask.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_turning_the_image_by_a_right_angle_turns_the_map() -> None:
    mask = foam((20, 24, 22), seed=1)
    found = local_thickness(mask, (1.0, 2.0, 1.5))
    np.testing.assert_allclose(
        local_thickness(mask.transpose(2, 0, 1), (1.5, 1.0, 2.0)),
        found.transpose(2, 0, 1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        local_thickness(mask[::-1, :, ::-1], (1.0, 2.0, 1.5)), found[::-1, :, ::-1], rtol=1e-5
    )


def test_scale_is_a_factor() -> None:
    mask = foam((20, 20, 20), seed=2)
    np.testing.assert_allclose(
        local_thickness(mask, (7.3,) * 3), 7.3 * local_thickness(mask), rtol=1e-5
    )


@pytest.mark.parametrize(("width", "expected"), [(1, 2), (2, 2), (3, 4), (4, 4), (7, 8), (10, 10)])
def test_plates_are_as_wide_as_bonej_says(width: int, expected: float) -> None:
    mask = np.zeros((30, 24, 24), bool)
    mask[8 : 8 + width] = True
    np.testing.assert_allclose(local_thickness(mask)[mask], expected)


@pytest.mark.parametrize("spacing", [CUBIC, (2.0, 1.0, 1.0)])
def test_a_sphere_is_as_thick_as_it_is_wide(spacing: Spacing) -> None:
    shape = (round(50 / spacing[0]), 50, 50)
    mask = sphere(18.0, shape, spacing)
    values = local_thickness(mask, spacing)[mask]
    # The staircase of voxels holds no sphere of quite that size.
    assert values.mean() == pytest.approx(36, rel=0.05)
    assert values.max() == pytest.approx(36, abs=2 * max(spacing))


@pytest.mark.parametrize("spacing", [CUBIC, (1.6, 1.0, 1.0)])
def test_a_turned_rod_and_a_turned_plate(spacing: Spacing) -> None:
    shape = (round(60 / spacing[0]), 60, 60)
    z, y, x = turned(shape, spacing)
    rod, plate = y**2 + x**2 <= 6.0**2, np.abs(z) <= 5.0
    for mask, width in ((rod, 12.0), (plate, 10.0)):
        mean = local_thickness(mask, spacing)[mask].mean()
        assert mean == pytest.approx(width, abs=max(spacing))


@pytest.mark.slow  # porespy compiles itself for half a minute
@pytest.mark.parametrize("marrow", [False, True])
def test_another_library_finds_the_same(marrow: bool) -> None:
    porespy = pytest.importorskip("porespy")
    porespy.settings.tqdm["disable"] = True
    mask = foam((48, 48, 48), seed=4) ^ marrow
    find, ours = porespy.filters.local_thickness, local_thickness(mask, clean=False)
    # Of all radii that there are, by dilation and not by painting.
    radii = np.unique(np.sqrt(squared_distance(mask, CUBIC)[mask]))
    exact = 2 * np.asarray(find(mask, method="legacy", sizes=radii, smooth=False))
    np.testing.assert_allclose(ours[mask], exact[mask], rtol=1e-5)
    # Its default takes whole radii alone, so it is smaller, by less than a voxel of radius.
    whole = 2 * find(mask, smooth=False)[mask]
    assert (ours[mask] >= whole - 1e-4).all()
    assert 0 < (ours[mask] - whole).mean() < 2


def test_the_ridge_leaves_spheres_out_and_changes_nothing() -> None:
    mask = sphere(7.0, (20, 20, 20))
    spheres = distance_ridge(squared_distance(mask, CUBIC), CUBIC)
    assert len(spheres.classes) < np.count_nonzero(mask) / 2
    plain = local_thickness(mask, clean=False)
    np.testing.assert_allclose(plain, np.where(mask, painted(mask, CUBIC), 0), rtol=1e-6)


def test_a_structure_across_three_slabs_is_painted_as_a_whole() -> None:
    mask = foam((61, 25, 27), seed=6, share=0.6)
    for spacing in SPACINGS:
        squared = squared_distance(mask, spacing)
        one = distance_ridge(squared, spacing)
        three = distance_ridge(squared, spacing, threads=3)
        np.testing.assert_array_equal(one.classes, three.classes)
        np.testing.assert_array_equal(paint(three, threads=3), paint(one))
        assert 2 * np.sqrt(one.squared[-1]) / spacing[0] / 2 < 61 // 3  # there were three slabs


def test_edges_of_the_image_are_no_surface() -> None:
    whole = np.zeros((20, 40, 40), bool)
    whole[6:14] = True
    part = whole[:, 10:20, 10:20]
    np.testing.assert_array_equal(local_thickness(part), local_thickness(whole)[:, :10, :10])


def test_nothing_has_no_thickness() -> None:
    assert not local_thickness(np.zeros((3, 4, 5), bool)).any()
    one = np.zeros((3, 4, 5), bool)
    one[1, 2, 2] = True
    assert local_thickness(one, (4.0, 4.0, 4.0))[1, 2, 2] == 8  # BoneJ's two voxels


@pytest.mark.parametrize("width", [4, 5])
def test_mid_surfaces_of_plates_are_one_voxel_thick(width: int) -> None:
    mask = np.zeros((40, 20, 20), bool)
    for z in range(3, 40, 10):
        mask[z : z + width] = True
    axes = mid_axes(mask, CUBIC)
    assert np.count_nonzero(axes) == 4 * 20 * 20
    assert set(np.flatnonzero(axes.any(axis=(1, 2)))) <= {5, 15, 25, 35, 4, 14, 24, 34}


def test_the_mid_axis_of_a_rod_lies_in_its_middle() -> None:
    _, y, x = grid((30, 31, 31))
    rod = y**2 + x**2 <= 7.0**2
    axes = mid_axes(rod, CUBIC)
    assert np.hypot(y[axes], x[axes]).max() <= 1.5
    assert axes.any(axis=(1, 2)).all()
