"""What every row of the tables of recipes and augmentations must do, whoever added it."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from osteon.augment import load_augmentation
from osteon.intensity import Statistics, load_recipe, normalise, statistics
from osteon.registry import Row
from osteon.tables.augmentations import AUGMENTATIONS
from osteon.tables.choices import RECIPES
from osteon.volume import ArrayVolume


@pytest.fixture(params=list(RECIPES), ids=lambda row: row.name)
def recipe(request: pytest.FixtureRequest) -> Row:
    return request.param


@pytest.fixture(params=list(AUGMENTATIONS), ids=lambda row: row.name)
def augmentation(request: pytest.FixtureRequest) -> Row:
    return request.param


SCAN = np.random.default_rng(0).integers(0, 250, (6, 12, 10)).astype(np.uint8)


def test_row_and_implementation_agree(recipe: Row) -> None:
    loaded = load_recipe(recipe.name)
    assert (loaded.name, loaded.version) == (recipe.name, recipe.capabilities["version"])
    assert recipe.help
    assert loaded.clip[0] < loaded.clip[1]


def test_the_order_of_grey_values_is_kept(recipe: Row) -> None:
    found = statistics(ArrayVolume(SCAN), recipe.name)
    steps = np.diff(normalise(np.arange(1, 256, dtype=np.uint8), found))
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)


def test_brightness_and_contrast_of_a_scan_do_not_matter(recipe: Row) -> None:
    inside = np.maximum(SCAN, 1)
    other = inside.astype(np.uint16) * 37 + 500
    a = normalise(inside, statistics(ArrayVolume(inside), recipe.name))
    b = normalise(other, statistics(ArrayVolume(other), recipe.name))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_part_is_normalised_like_the_whole(recipe: Row) -> None:
    found = statistics(ArrayVolume(SCAN), recipe.name)
    whole = normalise(SCAN, found)
    np.testing.assert_array_equal(normalise(SCAN[2:3, 4:9, :5], found), whole[2:3, 4:9, :5])


def test_statistics_are_kept_exactly(recipe: Row) -> None:
    found = statistics(ArrayVolume(SCAN), recipe.name)
    assert statistics(ArrayVolume(SCAN), recipe.name) == found
    assert Statistics.from_dict(json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (1, 8, 16, 16), (1, 16, 16, 16)])
def test_an_augmentation_depends_on_its_generator_alone(augmentation: Row, shape: tuple) -> None:
    augment = pickle.loads(pickle.dumps(load_augmentation(augmentation.name)))  # noqa: S301
    image = np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)
    labels = np.random.default_rng(2).integers(0, 3, shape[1:]).astype(np.uint8)
    results = []
    for seed in (*range(8), *range(8)):
        out, its = augment(image.copy(), labels.copy(), np.random.default_rng(seed), clip=(-5, 5))
        assert (out.shape, out.dtype) == (image.shape, np.float32)
        assert (its.shape, its.dtype) == (labels.shape, np.uint8)
        assert {*np.unique(its)} <= {0, 1, 2, 255}
        assert -5 <= out.min() <= out.max() <= 5
        results.append((out, its))
    for first, again in zip(results[:8], results[8:], strict=True):
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
