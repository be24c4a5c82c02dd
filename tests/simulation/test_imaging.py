"""Grey values, noise and blur measured back on phantoms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from osteon.errors import UsageError
from osteon.simulation import BoneSpec, EnvelopeSpec, ImagingSpec, build_anatomy, make_image
from osteon.simulation.randomness import generator

VOXEL = 10.0
#: Black is -0.5 and white 1.5: one unit of attenuation is half the range of the type.
PLAIN = ImagingSpec(
    marrow=0.3, bone_variation=0, marrow_variation=0, blur=0, noise=0, window=(-0.5, 1.5)
)
UNIT = 65535 / 2


@pytest.fixture(scope="module")
def block():
    """A box of 560 µm with a cortex of 150 µm in a field of 960 µm."""
    envelope = EnvelopeSpec("vertebra", radius_um=280.0, length_um=560.0, exponent=100.0)
    spec = BoneSpec(envelope, cortex_um=150.0, cortex_variation=0.0)
    return build_anatomy(spec, shape=(96, 96, 96), voxel_um=VOXEL, rng=generator(1))


def image_of(anatomy, **changes):
    spec = replace(PLAIN, dtype="uint16", **changes)
    return make_image(anatomy, spec, generator(2)).astype(float) / UNIT - 0.5


def test_materials_have_their_attenuation(block):
    image = image_of(block, outside=0.12)
    deep = [ndimage.binary_erosion(block.labels == k, iterations=3) for k in range(3)]
    for where, expected in zip(deep, (0.12, 1.0, 0.3), strict=True):
        np.testing.assert_allclose(image[where], expected, atol=1e-4)


def test_noise_is_as_specified(block):
    image = image_of(block, noise=0.08, noise_correlation=0.8)
    for k in range(3):
        deep = ndimage.binary_erosion(block.labels == k, iterations=3)
        assert image[deep].std() == pytest.approx(0.08, rel=0.05)


@pytest.mark.parametrize("blur", [0.6, 1.0, 1.8])
def test_blur_is_as_specified(block, blur):
    image = image_of(block, blur=blur)
    # The edge from air to bone along x, in the middle of a face: 0 to 1 at x = 20.
    line = image[40:56, 40:56, 10:28].mean((0, 1))
    spread = np.diff(line)
    x = np.arange(len(spread))
    mean = (spread * x).sum() / spread.sum()
    variance = (spread * (x - mean) ** 2).sum() / spread.sum()
    # The edge lies on a voxel boundary: a step between two voxels has no width of its own.
    assert np.sqrt(variance) == pytest.approx(blur, rel=0.05)
    assert mean + 10 + 0.5 == pytest.approx(19.5, abs=0.05)


def test_cupping_and_window(block):
    cupped = image_of(block, cupping=0.3)
    np.testing.assert_allclose(cupped[48, 48, 48], 0.3 * 0.7, atol=5e-3)
    clipped = make_image(block, replace(PLAIN, window=(0.1, 0.9)), generator(2))
    assert set(np.unique(clipped[40])) >= {0, 64, 255}  # 0.3 lies at a quarter: 63.75


def test_tissue_layer_and_tube(block):
    layer = image_of(block, outside=0.25, tissue_um=100.0)
    # The bone ends at x = 20; 10 voxels of tissue, then air.
    np.testing.assert_allclose(layer[48, 48, 12:18], 0.25, atol=1e-3)
    np.testing.assert_allclose(layer[48, 48, 2:8], 0.0, atol=1e-3)
    tube = image_of(block, outside=0.12, holder_um=450.0, holder=0.2)
    assert tube[48, 48, 1] == pytest.approx(0.0, abs=1e-3)
    assert tube[48, 48, 4] == pytest.approx(0.2, abs=1e-3)
    assert tube[48, 48, 10] == pytest.approx(0.12, abs=1e-3)


def test_what_is_imaged_follows_its_own_seed(block):
    spec = replace(PLAIN, noise=0.05, rings=0.02)
    a, b, c = (make_image(block, spec, generator(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).mean() > 0.5


def test_wrong_specifications_are_user_errors():
    with pytest.raises(UsageError, match="float64"):
        ImagingSpec(dtype="float64")
    with pytest.raises(UsageError, match="ascend"):
        ImagingSpec(window=(1.0, 1.0))
