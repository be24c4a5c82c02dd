"""Pairs on another grid: image and labels stay together, and labelled slices are the right ones."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from osteon.datasets.resampled import fill_of, resample_pair
from osteon.errors import InputError, OsteonWarning, UsageError
from osteon.intensity import normalise, statistics
from osteon.volume import ArrayVolume, Geometry

from .conftest import phantom

ALL = slice(None)
SIZES = {"voxel_size_um": [20.0, 10.0, 10.0]}


@pytest.fixture
def stats():
    return lambda made: statistics(made.image, "zscore")


def test_in_2d_slices_are_averaged_and_labels_go_with_them(pair, stats) -> None:
    image, labels = phantom()
    made = pair(image, labels[2:4], mask_first=2, mask_slices="number", **SIZES)
    new = resample_pair(made, 20.0, mode="2D", statistics=stats(made))
    assert new.image.shape == new.labels.shape == (6, 20, 24)
    assert new.image.geometry == new.labels.geometry
    assert new.labelled == (2, 3)
    expected = image[3].reshape(20, 2, 24, 2).mean((1, 3))
    np.testing.assert_allclose(new.image.read(slice(3, 4))[0], expected, rtol=1e-6)
    found = new.labels.read(ALL)
    assert (found[[0, 1, 4, 5]] == 255).all()
    for value in range(3):
        share = (labels[3] == value).reshape(20, 2, 24, 2).mean((1, 3))
        assert (found[3][share > 0.5] == value).all()


def test_in_3d_slices_are_made_between_the_slices(pair, stats) -> None:
    image, labels = phantom()
    made = pair(image, labels, **SIZES)
    new = resample_pair(made, 10.0, mode="3D", statistics=stats(made))
    assert new.image.shape == new.labels.shape == (12, 40, 48)
    assert new.labelled == tuple(range(12))
    between = (image[1].astype(float) * 3 + image[2]) / 4  # centre of slice 3: 1.25 of the scan's
    np.testing.assert_allclose(new.image.read(slice(3, 4))[0], between, rtol=1e-6)
    np.testing.assert_array_equal(new.labels.read(ALL), np.repeat(labels, 2, axis=0))


def test_labelled_slices_far_apart_stay_labelled_when_refined(pair, stats) -> None:
    image, labels = phantom()
    made = pair(image, labels[[1, 4]], mask_slices=[1, 4], **SIZES)
    new = resample_pair(made, 10.0, mode="2.5D", statistics=stats(made))
    assert new.labelled == (2, 3, 8, 9)
    found = new.labels.read(ALL)
    np.testing.assert_array_equal(found[[2, 3, 8, 9]], labels[[1, 1, 4, 4]])
    assert (np.delete(found, [2, 3, 8, 9], axis=0) == 255).all()


def test_slices_that_are_lost_are_told(pair, stats) -> None:
    image, labels = phantom()
    made = pair(image, labels[[0, 1, 4]], mask_slices=[0, 1, 4], voxel_size_um=10.0)
    with pytest.warns(OsteonWarning, match=r"1 of 3 labelled .*\[labelled-slices-lost\]"):
        new = resample_pair(made, 30.0, mode="3D", statistics=stats(made))
    assert new.labelled == (0,)  # of slices 0, 1 and 2; slice 4 is a third of its new one
    part = pair(image, labels[[4]], mask_slices=[4], voxel_size_um=10.0)
    with pytest.raises(UsageError, match="no labelled slice") as caught:
        resample_pair(part, 30.0, mode="3D", statistics=stats(part))
    assert "mode=2D" in str(caught.value.mend)


@pytest.mark.parametrize("fill", [-1000.0, math.nan])
def test_it_is_the_resampled_of_the_normalised(fill: float, pair, stats) -> None:
    image, labels = phantom()
    values = image.astype(np.float32) - 300
    values[:, :, :11] = fill
    made = replace(
        pair(image, labels), image=ArrayVolume(values, geometry=Geometry((10.0, 10.0, 10.0)))
    )
    made = replace(made, labels=None)
    own = stats(made)
    assert fill_of(own) is not None
    new = resample_pair(made, 20.0, mode="3D", statistics=own)
    found = normalise(new.image.read(ALL), own)
    expected = normalise(values, own).reshape(3, 2, 20, 2, 24, 2).mean((1, 3, 5))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_same_voxel_size_is_the_same_pair(pair, stats) -> None:
    made = pair(*phantom(), voxel_size_um=10.0)
    assert resample_pair(made, 10.0, mode="3D", statistics=stats(made)) is made


def test_it_pickles(pair, stats) -> None:
    made = pair(*phantom(), **SIZES)
    new = resample_pair(made, 25.0, mode="3D", statistics=stats(made))
    other = pickle.loads(pickle.dumps(new))  # noqa: S301
    np.testing.assert_array_equal(other.labels.read(ALL), new.labels.read(ALL))
    assert other.labelled == new.labelled


def test_an_unknown_voxel_size_names_the_entry(pair, stats) -> None:
    made = pair(*phantom())
    with pytest.raises(InputError, match="not known") as caught:
        resample_pair(made, 20.0, mode="2D", statistics=stats(made))
    assert "voxel_size_um" in str(caught.value.mend)
