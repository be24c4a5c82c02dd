"""Geometry against SciPy's affine transform, warped one-hot labels, and the sign of volumes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from osteon.augment.geometry import draw_affine, draw_displacement, places, resample
from osteon.augment.strong import MAX_STRENGTH

SHAPES = [(48, 48), (16, 32, 32)]


def blobs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Labels 0, 1, 2 in blobs, and some that are ignored."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    labels = np.digitize(smooth, np.quantile(smooth, [0.4, 0.7])).astype(np.uint8)
    labels[..., :4, :9] = 255
    return labels


def drawn(shape, seed: int, *, strength: float = 1.0, isotropic: bool = True):
    rng = np.random.default_rng(seed)
    how = {"strength": strength, "isotropic": isotropic}
    return draw_affine(rng, shape, **how), draw_displacement(rng, shape, **how)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_affine_change_is_scipy_s(shape: tuple[int, ...]) -> None:
    labels = blobs(shape)
    image = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    for seed in range(8):
        matrix, _ = drawn(shape, seed)
        out, its = resample(image, labels, places(shape, matrix, None))
        middle = (np.array(shape) - 1) / 2
        how = {"matrix": matrix, "offset": middle - matrix @ middle}
        for channel, result in zip(image, out, strict=True):
            wanted = ndimage.affine_transform(channel, **how, order=1, mode="reflect")
            np.testing.assert_allclose(result, wanted, atol=2e-4)
        wanted = ndimage.affine_transform(labels, **how, order=0, mode="grid-constant", cval=255)
        # Where a place lies within rounding of the border of two voxels, either is right.
        assert (its != wanted).mean() < 2e-3


def test_rotation_scale_and_shear_have_their_distributions() -> None:
    rng, seen = np.random.default_rng(0), []
    for _ in range(3000):
        matrix = draw_affine(rng, (64, 64), strength=1, isotropic=True)
        seen.append((matrix, 1 / np.sqrt(np.linalg.det(matrix))))
    scales = np.array([scale for _, scale in seen])
    assert 0.7 <= scales.min() < 0.705
    assert 1.39 < scales.max() <= 1.4
    # Log-uniform: as often smaller as larger than the middle of the logarithms.
    assert abs((scales < np.sqrt(0.7 * 1.4)).mean() - 0.5) < 0.04
    # The second column is not sheared: it tells the angle, which is uniform over the circle.
    angles = np.degrees([np.arctan2(-m[0, 1], m[1, 1]) for m, _ in seen])
    counts, _ = np.histogram(angles, bins=12, range=(-180, 180))
    assert ((counts - 250) ** 2 / 250).sum() < 31.3  # chi-square, 11 degrees of freedom, 99.9 %
    shears = []
    for (matrix, scale), angle in zip(seen, np.radians(angles), strict=True):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        left = scale * turn.T @ matrix
        np.testing.assert_allclose([left[0, 0], left[0, 1], left[1, 1]], [1, 0, 1], atol=1e-9)
        shears.append(left[1, 0])
    assert 0.099 < np.abs(shears).max() <= 0.1


def outside(where: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(shape, bool)
    for n, place in zip(shape, where, strict=True):
        out |= (place < -0.5) | (place > n - 0.5)
    return out


def calm(labels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Where all the voxels that a place is interpolated from have one label."""
    same = ndimage.maximum_filter(labels, 3) == ndimage.minimum_filter(labels, 3)
    nearest = ndimage.map_coordinates(same.astype(np.uint8), where, order=0, mode="nearest")
    return (nearest == 1) & ~outside(where, labels.shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_labels_follow_the_geometry(shape: tuple[int, ...]) -> None:
    labels = blobs(shape)
    one_hot, counted = np.stack([labels == v for v in (0, 1, 2, 255)]).astype(np.float32), 0
    for seed in range(8):
        matrix, field = drawn(shape, seed)
        where = places(shape, matrix, field)
        warped, its = resample(one_hot, labels, where)
        out = outside(where, shape)
        assert (its[out] == 255).all()
        assert (its[~out] == 255).mean() < 0.2
        argmax = np.array([0, 1, 2, 255], np.uint8)[warped.argmax(axis=0)]
        certain = calm(labels, where)
        np.testing.assert_array_equal(its[certain], argmax[certain])
        # At boundaries too the nearest voxel's class mostly has the largest weight.
        assert (its == argmax)[~out].mean() > 0.95
        counted += int(certain.sum())
    assert counted > 4000


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_made_of_its_labels_stays_so(shape: tuple[int, ...]) -> None:
    labels = blobs(shape)
    image = np.array([0, 1, 2] + [9] * 253, np.float32)[labels][np.newaxis]
    checked = 0
    for seed in range(8):
        where = places(shape, *drawn(shape, seed))
        out, its = resample(image, labels, where)
        inner = calm(labels, where) & (its != 255)
        np.testing.assert_allclose(out[0][inner], its[inner], atol=1e-4)
        checked += int(inner.sum())
    assert checked > 4000


@pytest.mark.parametrize("shape", [(64, 64), (16, 48, 48)])
@pytest.mark.parametrize("strength", [1.0, MAX_STRENGTH])
def test_the_elastic_field_never_folds(shape: tuple[int, ...], strength: float) -> None:
    least, most = np.inf, 0.0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        field = draw_displacement(rng, shape, strength=strength, isotropic=True)
        jacobian = np.stack([np.stack(np.gradient(field[i])) for i in range(len(shape))]) + np.eye(
            len(shape)
        ).reshape(*[len(shape)] * 2, *[1] * len(shape))
        determinant = np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1)))
        least, most = min(least, determinant.min()), max(most, np.abs(field).max())
    assert least > 0
    assert most > 1  # it does bend


def test_a_folding_field_would_be_noticed() -> None:
    rng = np.random.default_rng(0)
    field = 8 * draw_displacement(rng, (64, 64), strength=2, isotropic=True)
    jacobian = np.stack([np.stack(np.gradient(f)) for f in field]) + np.eye(2)[..., None, None]
    assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() < 0


def test_z_is_never_mixed_where_voxels_are_not_isotropic() -> None:
    shape = (8, 32, 32)
    labels = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None], shape).copy()
    image = labels[np.newaxis].astype(np.float32)
    mixed = 0
    for seed in range(20):
        out, its = resample(image, labels, places(shape, *drawn(shape, seed, isotropic=False)))
        np.testing.assert_array_equal(out, image)
        assert ((its == labels) | (its == 255)).all()
        free, _ = resample(image, labels, places(shape, *drawn(shape, seed, isotropic=True)))
        mixed += (free != image).any()
    assert mixed == 20


def test_a_tilt_moves_the_sides_by_a_quarter_of_the_depth_at_most() -> None:
    for shape in ((32, 256, 256), (64, 64, 64)):
        steepest = 0.0
        for seed in range(300):
            rng = np.random.default_rng(seed)
            matrix = draw_affine(rng, shape, strength=1, isotropic=True)
            slope = np.abs(matrix[0, 1:]) / matrix[0, 0]
            steepest = max(steepest, slope.max())
        most = min(np.tan(np.radians(15)), 0.5 * shape[0] / shape[1])
        assert 0.9 * most < steepest < 1.05 * most
