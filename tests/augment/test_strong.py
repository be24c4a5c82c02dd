from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from osteon.augment import Strong, geometric, load_augmentation, recording
from osteon.augment.strong import AFFINE, ELASTIC, GREY
from osteon.errors import UsageError
from osteon.settings import FitSettings

strong = Strong()
SHAPES = [(1, 32, 32), (3, 32, 32), (1, 16, 32, 32), (1, 24, 24, 24)]


def patch(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, shape[1:]).astype(np.uint8)
    return rng.normal(0, 1.5, shape).astype(np.float32), labels


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("clip", [(-5.0, 5.0), (0.0, 1.0)])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_contract(shape, clip, isotropic: bool) -> None:
    image, labels = patch(shape)
    before = image.copy(), labels.copy()
    for seed in range(25):
        out, its = strong(
            image, labels, np.random.default_rng(seed), clip=clip, isotropic=isotropic
        )
        assert (out.shape, out.dtype, out.flags.c_contiguous) == (shape, np.float32, True)
        assert (its.shape, its.dtype, its.flags.c_contiguous) == (shape[1:], np.uint8, True)
        assert np.isfinite(out).all()
        assert clip[0] <= out.min() <= out.max() <= clip[1]
        assert {*np.unique(its)} <= {0, 1, 2, 255}
        out += 1  # what is handed out is not a view of what was given
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_the_generator_s_state_alone_decides() -> None:
    image, labels = patch((1, 32, 32))
    rng = np.random.default_rng(5)
    for _ in range(20):
        state = rng.bit_generator.state
        out, its = strong(image, labels, rng)
        other = np.random.default_rng()
        other.bit_generator.state = state
        again, same = Strong(1.0)(image, labels, other)
        np.testing.assert_array_equal(out, again)
        np.testing.assert_array_equal(its, same)


def test_what_is_ignored_stays_ignored() -> None:
    image, _ = patch((1, 32, 32))
    for seed in range(30):
        _, its = strong(image, np.full((32, 32), 255, np.uint8), np.random.default_rng(seed))
        assert (its == 255).all()


def happened(n: int, **how) -> tuple[Counter[str], int]:
    """Changes by their first word, and patches that nothing but a flip or turn befell."""
    image, labels = patch((1, 8, 8))
    seen: Counter[str] = Counter()
    untouched = 0
    for seed in range(n):
        with recording() as texts:
            Strong(**how)(image, labels, np.random.default_rng(seed))
        names = {text.split()[0] for text in texts} - {"flipped", "turned"}
        seen.update(names)
        untouched += not names
    return seen, untouched


PROBABILITIES = dict(zip(
    ("gamma", "cupping", "blur", "voxels", "sharpened", "noise", "rings", "contrast", "brightness"),
    (p for p, _ in GREY),
    strict=True,
)) | {"rotated": AFFINE, "bent": ELASTIC}  # fmt: skip


@pytest.mark.parametrize("strength", [1.0, 0.5, 2.0])
def test_every_change_happens_as_often_as_stated(strength: float) -> None:
    n = 800
    seen, untouched = happened(n, strength=strength)
    assert set(seen) == set(PROBABILITIES)
    for name, probability in PROBABILITIES.items():
        wanted = min(probability * strength, 0.9)
        error = np.sqrt(wanted * (1 - wanted) / n)
        assert abs(seen[name] / n - wanted) < 4 * error, name
    if strength == 1:
        assert untouched < 0.03 * n


def test_strength_0_is_flips_and_turns() -> None:
    image, labels = patch((1, 16, 16))
    for seed in range(20):
        out, its = Strong(0)(image, labels, np.random.default_rng(seed), clip=(-99, 99))
        wanted = geometric(image, labels, np.random.default_rng(seed))
        np.testing.assert_array_equal(out, wanted[0])
        np.testing.assert_array_equal(its, wanted[1])


def test_channels_are_changed_alike() -> None:
    # Three equal slices stay equal, but for the noise, which is each slice's own.
    image, labels = patch((1, 48, 48))
    equal = 0
    for seed in range(60):
        with recording() as texts:
            out, _ = strong(np.repeat(image, 3, axis=0), labels, np.random.default_rng(seed))
        if any(text.startswith("noise") for text in texts):
            assert (out[0] != out[1]).any()
        else:
            np.testing.assert_array_equal(out[0], out[1])
            np.testing.assert_array_equal(out[0], out[2])
            equal += 1
    assert equal > 20


def test_grey_values_alone_never_touch_labels() -> None:
    image, labels = patch((1, 32, 32))
    checked = 0
    for seed in range(120):
        with recording() as texts:
            _, its = strong(image, labels, np.random.default_rng(seed))
        if not any(text.startswith(("rotated", "bent")) for text in texts):
            moved = geometric(image, labels, np.random.default_rng(seed))[1]
            np.testing.assert_array_equal(its, moved)
            checked += 1
    assert checked > 15


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan")])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(UsageError, match="strength must be 0 to 2"):
        load_augmentation("strong", strength=strength)


def test_shapes_that_do_not_go_together_are_refused() -> None:
    rng = np.random.default_rng(0)
    for shape, labels in (((1, 8, 6), (8, 6)), ((1, 8, 8), (8, 9)), ((8, 8), (8, 8))):
        with pytest.raises(UsageError, match="only square patches"):
            strong(np.zeros(shape, np.float32), np.zeros(labels, np.uint8), rng)


def test_the_setting_of_the_strength() -> None:
    made = FitSettings.model_validate({"augmentation": {"preset": "strong", "strength": 0.5}})
    assert load_augmentation(made.augmentation.preset, made.augmentation.strength) == Strong(0.5)
    for preset in ("none", "geometric", "reference"):
        with pytest.raises(ValidationError, match="needs preset=strong"):
            FitSettings.model_validate({"augmentation": {"preset": preset, "strength": 0.5}})
    with pytest.raises(ValidationError):
        FitSettings.model_validate({"augmentation": {"preset": "strong", "strength": 2.5}})
