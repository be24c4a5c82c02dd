"""The surface of bone lies half-way between the grey values of both sides, wherever drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from osteon.errors import UsageError
from osteon.events import Reporter
from osteon.labels import LabelClass, LabelScheme
from osteon.model_file import HALF_MAXIMUM, Model
from osteon.prediction import Wanted, prepare, surface
from osteon.prediction.surface import BAND, Surface, surface_of
from osteon.prediction.wanted import layered
from osteon.volume import ArrayVolume

from .faking import MODEL, PLENTY, SPEC, FakeBackend, MemoryWriter, run

Labels = npt.NDArray[np.uint8]
SIDE = 160
OTHERS = (0, 2)
MOVED = Model(replace(SPEC, surface=HALF_MAXIMUM), {})


def ring(outer: float, inner: float, side: int = SIDE) -> Labels:
    """Bone between two circles, pores in the inner one."""
    y, x = np.indices((side, side)) - (side - 1) / 2
    radius = np.hypot(y, x)
    return np.where(radius > outer, 0, np.where(radius > inner, 1, 2)).astype(np.uint8)


def imaged(
    labels: Labels, greys: tuple[float, float, float], blur: float = 1.5
) -> npt.NDArray[np.float32]:
    """The scan of a structure: a grey value for each class, and the blur of the scanner."""
    made: npt.NDArray[np.float32] = ndimage.gaussian_filter(
        np.array(greys, np.float32)[labels], blur
    )
    return made


@pytest.mark.parametrize("off", [-1.5, -1, 0, 1, 1.5])
@pytest.mark.parametrize("greys", [(20, 200, 90), (90, 200, 90), (110, 200, 60)])
def test_circles_come_out_as_large_as_they_are(off: float, greys: tuple[int, int, int]) -> None:
    """Areas within 2.5 % of the truth: a line within 0.3 pixels. Drawn, they are up to 8 % off."""
    truth, drawn = ring(50, 30), ring(50 + off, 30 - off)
    found = Surface(1, OTHERS).moved(imaged(truth, greys), drawn)
    for value in range(3):
        assert (found == value).sum() == pytest.approx((truth == value).sum(), rel=0.025)
    assert (found != truth).mean() < 0.005


@pytest.mark.parametrize(("side", "shade", "most"), [(640, 0.5, 0.0005), (SIDE, 0.5, 0.004)])
def test_shade_does_not_move_it(side: int, shade: float, most: float) -> None:
    """Over a large bone hardly at all, over a small one, of the window's size, a little."""
    outer, inner = side * 5 // 16, side * 3 // 16
    truth = ring(outer, inner, side)
    ramp = np.linspace(1 - shade, 1 + shade, side, dtype=np.float32)
    found = Surface(1, OTHERS).moved(
        imaged(truth, (20, 200, 90)) * ramp, ring(outer + 1, inner - 1, side)
    )
    assert (found != truth).mean() < most


@pytest.mark.parametrize(("wide", "blur"), [(4, 1.5), (5, 2.0)])
def test_narrow_gaps_are_not_drawn_wider_for_being_narrow(wide: int, blur: float) -> None:
    """They hardly show as dark as marrow: open marrow tells, though it is 60 pixels away."""
    truth = np.full((SIDE, SIDE), 2, np.uint8)
    truth[:, : SIDE - 40] = 1
    for first in range(20, SIDE - 60, 24):
        truth[:, first : first + wide] = 2
    found = Surface(1, OTHERS).moved(imaged(truth, (20, 200, 90), blur), truth)
    gaps = np.s_[20:-20, 10 : SIDE - 60]
    assert (found[gaps] == 2).sum() == pytest.approx((truth[gaps] == 2).sum(), rel=0.1)


def test_the_unit_of_grey_values_does_not_matter() -> None:
    image = np.rint(imaged(ring(50, 30), (20, 200, 90)))
    drawn = ring(51, 29)
    plain = Surface(1, OTHERS).moved(image.astype(np.uint8), drawn)
    for other in (image.astype(np.uint16) * 16 + 1000, image.astype(np.float64) * 4 - 512):
        np.testing.assert_array_equal(Surface(1, OTHERS).moved(other, drawn), plain)


def test_what_is_far_from_a_surface_stays() -> None:
    """A body that the network does not call bone, and a void that it does, are left to it."""
    truth = ring(50, 30)
    image = imaged(truth, (20, 200, 90))
    image[5:15, 5:15] = 200
    image[75:85, 30:50] = 200
    drawn = ring(50, 30)
    drawn[75:85, 45:47] = 1
    found = Surface(1, OTHERS).moved(image, drawn)
    assert (found[5:15, 5:15] == 0).all()
    changed = found != drawn
    near = ndimage.distance_transform_cdt(drawn != 1, "taxicab") <= BAND
    near &= ndimage.distance_transform_cdt(drawn == 1, "taxicab") <= BAND
    assert not changed[~near].any()


def test_a_line_that_hardly_shows_is_taken_from_both_sides() -> None:
    """What was bone goes to the class beside it."""
    drawn = ring(50, 30)
    found = Surface(1, OTHERS).moved(imaged(ring(48.5, 31.5), (20, 200, 90)), drawn)
    y, x = np.indices(drawn.shape) - (SIDE - 1) / 2
    radius = np.hypot(y, x)
    assert (found[(radius > 49.5)] == 0).all()
    assert (found[(radius < 30.5)] == 2).all()


@pytest.mark.parametrize("greys", [(200, 90, 200), (100, 100, 100)])
def test_bone_that_is_not_brighter_stays(greys: tuple[int, int, int]) -> None:
    drawn = ring(51, 29)
    found = Surface(1, OTHERS).moved(imaged(ring(50, 30), greys), drawn)
    np.testing.assert_array_equal(found, drawn)


@pytest.mark.parametrize("drawn", [np.zeros, np.ones])
def test_one_class_alone_stays(drawn: type) -> None:
    labels = drawn((40, 50), np.uint8)
    image = np.random.default_rng(0).normal(0, 1, (40, 50)).astype(np.float32)
    np.testing.assert_array_equal(Surface(1, OTHERS).moved(image, labels), labels)


def test_lengths_go_with_the_pixels_of_the_network() -> None:
    """Seen four times reduced, a surface may be 10 pixels off."""
    truth, drawn = ring(200, 120, 640), ring(210, 110, 640)
    image = imaged(truth, (20, 200, 90), blur=6)
    found = Surface(1, OTHERS, factor=4.0).moved(image, drawn)
    assert (found != truth).mean() < 0.006
    assert (Surface(1, OTHERS).moved(image, drawn) != truth).mean() > 0.01


@pytest.mark.parametrize("factor", [1.0, 2.3])
def test_strips_change_nothing(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    truth = ring(190, 60, 433)
    image = imaged(truth, (20, 200, 90)) + rng.normal(0, 30, truth.shape).astype(np.float32)
    drawn = ring(191, 61, 433)
    by = Surface(1, OTHERS, factor)
    monkeypatch.setattr(surface, "_ROWS", 1 << 20)
    whole = by.moved(image, drawn)
    monkeypatch.setattr(surface, "_ROWS", 64)
    np.testing.assert_array_equal(by.moved(image, drawn), whole)
    assert by.memory((433, 433)) > 0


# --- in a prediction -------------------------------------------------------------------------


def scan() -> npt.NDArray[np.uint16]:
    """Slices of rings of several sizes, noisy."""
    rng = np.random.default_rng(2)
    slices = [imaged(ring(40 + z, 20 + z), (1000, 9000, 3000)) for z in range(7)]
    return np.rint(np.stack(slices) + rng.normal(0, 300, (7, SIDE, SIDE))).astype(np.uint16)


def test_a_model_that_asks_for_it_gets_it_and_others_do_not() -> None:
    image = scan()
    plain, _ = run(image, FakeBackend())
    moved, _ = run(image, FakeBackend(), model=MOVED)
    by = Surface(1, OTHERS)
    expected = np.stack([by.moved(*pair) for pair in zip(image, plain, strict=True)])
    np.testing.assert_array_equal(moved, expected)
    assert (moved != plain).any()


@pytest.mark.parametrize(
    ("model", "asked", "same"), [(MOVED, "network", MODEL), (MODEL, HALF_MAXIMUM, MOVED)]
)
def test_what_is_asked_for_comes_first(model: Model, asked: str, same: Model) -> None:
    from osteon.prediction import predict

    image = ArrayVolume(scan())
    writers = [MemoryWriter(image.shape) for _ in range(2)]
    predict(model, image, writers[0], backend=FakeBackend(), memory=PLENTY,
            wanted=Wanted(surface=asked))  # fmt: skip
    predict(same, image, writers[1], backend=FakeBackend(), memory=PLENTY)
    np.testing.assert_array_equal(writers[0].array, writers[1].array)


def test_parts_and_what_is_beside_agree_with_the_whole() -> None:
    """Slices do not depend on each other, and probabilities stay as the network says them."""
    image = ArrayVolume(scan())
    wanted = Wanted(probabilities=True)
    job = prepare(MOVED, image, backend=FakeBackend(), memory=PLENTY, reporter=Reporter())
    whole = np.concatenate([slab.copy() for _, slab in job.labels(slice(0, 7))])
    part = np.concatenate([slab.copy() for _, slab in job.labels(slice(3, 5))])
    np.testing.assert_array_equal(part, whole[3:5])
    both = prepare(
        MOVED, image, backend=FakeBackend(), memory=PLENTY, wanted=wanted, reporter=Reporter()
    )
    stacks = np.concatenate([slab.copy() for _, slab in both.results(slice(0, 7))])
    np.testing.assert_array_equal(stacks[:, 0], whole)
    logits = np.concatenate([slab.copy() for _, slab in both.logits(slice(0, 7))])
    np.testing.assert_array_equal(stacks[:, 1:], layered(logits, wanted)[:, 1:])


def test_a_model_without_bone_cannot_have_it_moved() -> None:
    scheme = LabelScheme(
        (LabelClass("background", 0, (0, 0, 0)), LabelClass("tooth", 1, (1, 1, 1)))
    )
    spec = replace(SPEC, labels=scheme)
    image = ArrayVolume(scan())
    assert surface_of(spec, image) is None
    with pytest.raises(UsageError, match="no class 'bone'") as caught:
        surface_of(spec, image, asked=HALF_MAXIMUM)
    assert caught.value.mend is not None
    assert "surface=network" in caught.value.mend
