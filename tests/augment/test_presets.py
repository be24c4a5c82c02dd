from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from osteon.augment import geometric, load_augmentation, recording, reference
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


#: Of version 0.1.0, before augmentation knew 3D: sha256 of the results of 40 seeds and of the
#: generator's next bytes.
DIGESTS = {
    ("none", 1, (-5.0, 5.0)): "88d58f9a7321a47a50b53985a2197866",
    ("none", 1, (0.0, 1.0)): "88d58f9a7321a47a50b53985a2197866",
    ("none", 3, (-5.0, 5.0)): "9dd8c14fc4a00adde7d4049ba20eb3fa",
    ("none", 3, (0.0, 1.0)): "9dd8c14fc4a00adde7d4049ba20eb3fa",
    ("geometric", 1, (-5.0, 5.0)): "b0421f2f12822b26e8383abeebffde78",
    ("geometric", 1, (0.0, 1.0)): "b0421f2f12822b26e8383abeebffde78",
    ("geometric", 3, (-5.0, 5.0)): "bad6171ac66fbcb5acfed30756f7bf50",
    ("geometric", 3, (0.0, 1.0)): "bad6171ac66fbcb5acfed30756f7bf50",
    ("reference", 1, (-5.0, 5.0)): "bc3c461b46e685ab74929b961a537d79",
    ("reference", 1, (0.0, 1.0)): "e249a83f7c813f5fec1c6c6de06476e8",
    ("reference", 3, (-5.0, 5.0)): "6522d18f33911fde697e557850721c66",
    ("reference", 3, (0.0, 1.0)): "4362b38dbbbd007ced9c4a9674e15aef",
}


@pytest.mark.parametrize(("name", "channels", "clip"), DIGESTS)
def test_2d_results_are_those_of_version_0_1(name: str, channels: int, clip: tuple) -> None:
    digest = hashlib.sha256()
    image = np.random.default_rng(11).normal(0, 1.5, (channels, 24, 24)).astype(np.float32)
    labels = np.random.default_rng(12).integers(0, 3, (24, 24)).astype(np.uint8)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        out, its = load_augmentation(name)(image.copy(), labels.copy(), rng, clip=clip)
        for part in (out.tobytes(), its.tobytes(), rng.bytes(8)):
            digest.update(part)
    assert digest.hexdigest()[:32] == DIGESTS[name, channels, clip]


def symmetries(shape: tuple[int, int, int], *, isotropic: bool, seeds: int) -> Counter[tuple]:
    """How often each signed permutation of (z, y, x) is seen; labels number the voxels."""
    labels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    image = labels[np.newaxis].astype(np.float32)
    seen: Counter[tuple] = Counter()
    for seed in range(seeds):
        moved, its = geometric(image, labels, np.random.default_rng(seed), isotropic=isotropic)
        np.testing.assert_array_equal(moved[0], its)
        assert (its.shape, its.dtype, moved.dtype) == (shape, np.uint8, np.float32)
        assert its.flags.c_contiguous
        assert moved.flags.c_contiguous
        # Where a step along each output axis leads in the input: ±1 = x, ±2 = y, ±4 … by strides.
        steps = tuple(int(np.diff(its.astype(int), axis=a).flat[0]) for a in range(3))
        seen[steps] += 1
    return seen


def test_geometry_in_3d_has_seven_equal_chances() -> None:
    n = 2100
    # A cube of 3: steps along z, y, x are 9, 3, 1.
    seen = symmetries((3, 3, 3), isotropic=False, seeds=n)
    wanted = {
        (9, 3, 1),  # nothing
        (-9, 3, 1),
        (9, -3, 1),
        (9, 3, -1),  # flips
        (9, -3, -1),
        (9, 1, -3),
        (9, -1, 3),  # turns about z, and no other
    }
    assert set(seen) == wanted
    # Chi-square with 6 degrees of freedom: 22.5 is its 99.9 % quantile.
    assert sum((count - n / 7) ** 2 / (n / 7) for count in seen.values()) < 22.5


def test_isotropic_cubes_are_turned_about_every_axis() -> None:
    seen = symmetries((3, 3, 3), isotropic=True, seeds=700)
    quarter = [s for s in seen if tuple(map(abs, s)) != (9, 3, 1)]
    assert len(quarter) == 6  # 90 and 270 degrees about each of three axes
    half = [s for s in seen if tuple(map(abs, s)) == (9, 3, 1) and np.prod(np.sign(s)) > 0]
    assert sorted(half) == sorted([(9, 3, 1), (9, -3, -1), (-9, 3, -1), (-9, -3, 1)])
    assert len(seen) == 13  # and three flips


def test_a_flat_block_keeps_its_shape() -> None:
    # Quarter turns about y and x would change the shape; half turns would not.
    seen = symmetries((2, 4, 4), isotropic=True, seeds=600)
    assert {tuple(map(abs, s)) for s in seen} == {(16, 4, 1), (16, 1, 4)}
    assert (-16, 4, -1) in seen
    assert (-16, -4, 1) in seen


def test_reference_in_3d_is_the_geometry_then_the_paper_s_shift_and_scale() -> None:
    image = np.random.default_rng(0).normal(0, 1, (1, 4, 4, 4)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 3, (4, 4, 4)).astype(np.uint8)
    changed = 0
    for seed in range(60):
        moved, its = geometric(image, labels, np.random.default_rng(seed))
        out, same = reference(image, labels, np.random.default_rng(seed), clip=(-9, 9))
        np.testing.assert_array_equal(its, same)
        scale, shift = np.polyfit(moved.ravel(), out.ravel(), 1)
        np.testing.assert_allclose(out, scale * moved + shift, atol=1e-5)
        assert 0.7499 < scale < 1.2501
        assert abs(shift) < 0.1876
        changed += scale != pytest.approx(1, abs=1e-5) or shift != pytest.approx(0, abs=1e-5)
    assert 24 < changed < 52  # 1 - 0.6² = 0.64 of 60


def test_what_happened_is_told_while_somebody_listens() -> None:
    image, seen = np.full((1, 2, 2), 1.0, np.float32), set()
    for seed in range(40):
        with recording() as happened:
            out, its = reference(image, CORNERS, np.random.default_rng(seed))
        seen.update(text.split()[0] for text in happened)
        turned = next((t for t in happened if t.startswith("turned")), "")
        # A turn by 90 degrees is anticlockwise, as np.rot90 and the pictures have it.
        expected = {"turned by 90°": [2, 4, 1, 3], "turned by 270°": [3, 1, 4, 2]}
        if turned in expected:
            assert its.ravel().tolist() == expected[turned]
        assert any(t.startswith(("brightness", "contrast")) for t in happened) == (out != 1).any()
    assert seen == {"flipped", "turned", "brightness", "contrast"}


@pytest.mark.parametrize("name", ["none", "geometric", "reference"])
def test_a_preset_without_strength_refuses_one(name: str) -> None:
    assert load_augmentation(name, strength=1.0) is load_augmentation(name)
    with pytest.raises(UsageError, match="no strength"):
        load_augmentation(name, strength=0.5)
