"""Grey windows, types, JPEG and fields of view."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage.exposure import rescale_intensity

from osteon.errors import UsageError
from osteon.simulation.physics import window
from osteon.simulation.randomness import generator


def noisy(shape=(64, 80)):
    return generator(1).normal(0.5, 0.4, shape).astype(np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_window_is_that_of_scikit_image(dtype):
    image = noisy()
    top = np.iinfo(dtype).max
    expected = rescale_intensity(
        image.astype(float), in_range=(-0.2, 1.1), out_range=(0.0, float(top))
    )
    got = window.to_grey(image, black=-0.2, white=1.1, dtype=dtype)
    assert got.dtype == dtype
    assert np.abs(got.astype(float) - expected).max() <= 0.51
    assert got.min() == 0
    assert got.max() == top


def test_hounsfield_units_of_air_water_and_bone():
    image = np.array([[0.0, 0.17, 1.0, 20.0]], dtype=np.float32)
    # Bone: 1000 × (1 − 0.17) / 0.17 = 4882.
    np.testing.assert_array_equal(
        window.to_hounsfield(image, water=0.17), [[-1000, 0, 4882, 32767]]
    )


def test_jpeg_is_pillows_and_loses_more_at_lower_quality():
    image = window.to_grey(noisy(), black=-0.5, white=1.5)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="jpeg", quality=60)
    got = window.compress_jpeg(image, quality=60)
    np.testing.assert_array_equal(got, np.asarray(Image.open(io.BytesIO(file.getvalue()))))
    loss = [
        np.abs(window.compress_jpeg(image, quality=q).astype(int) - image).mean() for q in (30, 90)
    ]
    assert loss[0] > 3 * loss[1] > 0
    np.testing.assert_array_equal(
        window.compress_jpeg(np.stack([image, image[::-1]]), quality=60)[0], got
    )


def test_a_field_of_view_is_filled_outside_alone():
    image = (generator(2).integers(40, 200, (3, 40, 60))).astype(np.uint8)
    # Voxels within 20 of the middle (19.5, 29.5).
    y, x = np.mgrid[:40, :60]
    inside = (y - 19.5) ** 2 + (x - 29.5) ** 2 <= 400
    for fill, level in (
        ("zero", 0),
        ("minimum", image[:, inside].min()),
        ("mean", round(float(image[:, inside].mean()))),
        ("value", 255),
    ):
        got = window.circular_field_of_view(image, fill=fill, value=300.4)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got[:, inside], image[:, inside])
        assert (got[:, ~inside] == level).all()
    moved = window.circular_field_of_view(image, radius=0.25, centre=(0, 0))
    # Within 5 voxels of a corner lie 26 of the lattice points of a quarter disk.
    assert (
        (moved[0] > 0).sum() == sum((y * y + x * x <= 25) for y in range(6) for x in range(6)) == 26
    )


def test_writing_joins_window_field_of_view_and_jpeg():
    image = noisy()
    spec = window.OutputSpec(black=0.0, white=1.0, radius=0.9, fill="value", level=0.4)
    got = window.write_grey(image, spec)
    assert got[0, 0] == 102  # 0.4 × 255
    assert got[32, 40] == np.clip(np.rint(image[32, 40] * 255), 0, 255)
    low = window.write_grey(
        image, window.OutputSpec(black=0.0, white=1.0, radius=0.9, fill="value", level=0.4, jpeg=30)
    )
    np.testing.assert_array_equal(low, window.compress_jpeg(got, quality=30))
    same = window.write_grey(image, window.OutputSpec(dtype="float32"))
    np.testing.assert_array_equal(same, image)
    signed = window.write_grey(
        image, window.OutputSpec(dtype="int16", water=0.2, radius=0.5, fill="minimum")
    )
    assert signed.dtype == np.int16
    assert signed[0, 0] == signed.min() < -1000


def test_drawn_outputs_are_seeded_and_of_every_kind():
    drawn = [window.draw_output(generator(i), noise=0.1) for i in range(300)]
    assert drawn[3] == window.draw_output(generator(3), noise=0.1)
    assert {s.fill for s in drawn} == set(window.FILLS)
    assert np.mean([s.jpeg is not None for s in drawn]) == pytest.approx(0.15, abs=0.06)
    assert np.mean([s.radius is not None for s in drawn]) == pytest.approx(0.3, abs=0.08)
    assert all(-0.4 <= s.black <= 0.1 and 0.85 <= s.white <= 1.9 for s in drawn)
    assert all(window.draw_output(generator(i), dtype="uint16").jpeg is None for i in range(100))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: window.to_grey(noisy(), black=1, white=1), "ascend"),
        (lambda: window.to_grey(noisy(), black=0, white=1, dtype="int16"), "uint8 or uint16"),
        (lambda: window.to_hounsfield(noisy(), water=0), "positive"),
        (lambda: window.compress_jpeg(noisy(), quality=50), "uint8"),
        (lambda: window.compress_jpeg(np.zeros((8, 8), np.uint8), quality=99), "1 to 95"),
        (lambda: window.circular_field_of_view(noisy(), fill="max"), "fills no"),
        (lambda: window.circular_field_of_view(noisy(), radius=0), "positive radius"),
        (lambda: window.circular_field_of_view(noisy(), centre=(900, 0)), "no voxel"),
        (lambda: window.OutputSpec(dtype="uint32"), "type"),
        (lambda: window.OutputSpec(dtype="uint16", jpeg=50), "JPEG"),
        (lambda: window.OutputSpec(level=2), "level"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(UsageError, match=words):
        call()
