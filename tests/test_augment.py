from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from osteon.augment import geometric, load_augmentation, reference
from osteon.errors import UsageError

N = 6000
CORNERS = np.array([[1, 2], [3, 4]], np.uint8)


def samples(n: int, value: float = 1.0):
    """The same patch of one value, augmented n times: (geometry as labels, shift and scale)."""
    image = np.full((1, 2, 2), value, np.float32)
    for seed in range(n):
        yield reference(image, CORNERS, np.random.default_rng(seed))


def test_geometry_has_the_frequencies_of_the_paper() -> None:
    seen = Counter(labels.tobytes() for _, labels in samples(N))
    # Written out: none, flip along x, flip along y, turned by 90, 180, 270 degrees.
    wanted = ["1234", "2143", "3412", "2413", "4321", "3142"]
    assert set(seen) == {bytes(int(c) for c in w) for w in wanted}
    expected = N / 6
    # Chi-square with 5 degrees of freedom: 20.5 is its 99.9 % quantile.
    assert sum((count - expected) ** 2 / expected for count in seen.values()) < 20.5


def test_image_and_labels_move_together() -> None:
    labels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    image = (labels[None] / 64).astype(np.float32)
    for seed in range(60):
        moved, its = reference(image, labels, np.random.default_rng(seed), clip=(-9, 9))
        # Whatever shift and scale: the order of the grey values is the labels'.
        assert (np.argsort(moved.ravel()) == np.argsort(its.ravel())).all()
        assert moved.flags.c_contiguous
        assert its.flags.c_contiguous
        assert (moved.dtype, its.dtype) == (np.float32, np.uint8)


def test_shift_and_scale_have_the_paper_s_distribution() -> None:
    # Of 0 only the shift is seen, scaled or not; of a large value the scale dominates.
    zeros = np.array([image.max() for image, _ in samples(N, 0.0)])
    share = (zeros != 0).mean()
    assert abs(share - 0.4) < 4 * np.sqrt(0.24 / N)
    assert abs(zeros).max() <= 0.15 * 1.25
    assert abs(zeros).max() > 0.15
    image = np.full((1, 2, 2), 1000.0, np.float32)
    high = np.array(
        [
            reference(image, CORNERS, np.random.default_rng(seed), clip=(0, 2000))[0].max()
            for seed in range(N)
        ]
    )
    scale = high / 1000
    scaled = np.abs(scale - 1) > 2e-4
    assert abs(scaled.mean() - 0.4) < 4 * np.sqrt(0.24 / N)
    assert 0.7495 < scale.min() < 0.76
    assert 1.24 < scale.max() < 1.2505
    # Uniform in 0.75..1.25: mean 1, SD 0.5/sqrt(12).
    assert scale[scaled].mean() == pytest.approx(1, abs=0.012)
    assert scale[scaled].std() == pytest.approx(0.5 / np.sqrt(12), abs=0.006)


@pytest.mark.parametrize("clip", [(-5.0, 5.0), (0.0, 1.0)])
def test_values_are_clipped(clip: tuple[float, float]) -> None:
    image = np.array([[[-90, 0.5], [0.5, 90]]], np.float32)
    for seed in range(40):
        out, _ = reference(image, CORNERS, np.random.default_rng(seed), clip=clip)
        assert (out.min(), out.max()) == clip


def test_the_input_is_not_changed() -> None:
    image, labels = np.ones((1, 4, 4), np.float32), np.ones((4, 4), np.uint8)
    for seed in range(30):
        out, _ = reference(image, labels, np.random.default_rng(seed))
        out += 1
    assert (image == 1).all()


def test_a_patch_that_is_not_square_is_refused() -> None:
    with pytest.raises(UsageError, match="square"):
        reference(
            np.zeros((1, 4, 6), np.float32), np.zeros((4, 6), np.uint8), np.random.default_rng(0)
        )


def test_none_changes_nothing() -> None:
    image = np.random.default_rng(0).normal(0, 9, (1, 3, 5)).astype(np.float32)
    out, labels = load_augmentation("none")(image, CORNERS, np.random.default_rng(0))
    np.testing.assert_array_equal(out, image)
    np.testing.assert_array_equal(labels, CORNERS)


def test_geometric_moves_pixels_with_their_labels_and_keeps_grey_values() -> None:
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    seen = set()
    for seed in range(60):
        moved, its = geometric(image, labels, np.random.default_rng(seed))
        np.testing.assert_array_equal(moved[0], its)  # each pixel still has its own label
        seen.add(tuple(its[[0, 0, -1, -1], [0, -1, 0, -1]]))
    # Nothing, two flips and three turns: six different sets of corners.
    assert len(seen) == 6
