"""Interiors: sizes measured back, and the labelling protocol."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from osteon.simulation.stream import interiors, scene
from osteon.simulation.stream.fields import Frame
from osteon.simulation.stream.interiors import Sizes, draw_bone, draw_texture
from osteon.simulation.stream.outlines import KINDS, Outline, draw_outline

FRAME = Frame(256)


def disk(radius: float) -> Outline:
    y, x = FRAME.grid
    return Outline("star", (radius - np.hypot(y, x)).astype(np.float32), radius, 0.0)


def chords(mask: np.ndarray) -> float:
    """Mean length of runs along both axes, in pixels; an independent measure of size."""
    starts = sum(int((np.diff(mask.astype(np.int8), axis=a, prepend=0) == 1).sum()) for a in (0, 1))
    return 2 * mask.sum() / max(starts, 1)


def only(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(interiors, "INTERIORS", {kind: 1.0})


@pytest.mark.parametrize("texture", ["mosaic", "labyrinth", "sponge", "rods"])
@pytest.mark.parametrize(("thickness", "spacing"), [(4.0, 12.0), (8.0, 16.0)])
def test_trabeculae_are_as_thick_and_far_apart_as_asked_for(
    texture: str, thickness: float, spacing: float
) -> None:
    sizes = Sizes(3, thickness, spacing)
    bone, space = [], []
    for seed in range(6):
        mask = draw_texture(FRAME, np.random.default_rng(seed), sizes, texture=texture) >= 0
        # Twice the distance transform at its ridges is the width of what is there.
        for found, phase in ((bone, mask), (space, ~mask)):
            depth = ndimage.distance_transform_edt(phase)
            ridge = (depth == ndimage.maximum_filter(depth, 5)) & (depth > 1)
            found.append(2 * depth[ridge].mean() - 1)
    # Single draws vary, as bones do; a slice through rods shows wider gaps than there are in space.
    assert np.mean(bone) == pytest.approx(thickness, rel=0.5)
    assert 0.5 * spacing < np.mean(space) < 3 * spacing


def test_thicker_and_denser_when_asked_for() -> None:
    def density(thickness: float, spacing: float) -> float:
        return float(
            np.mean(
                [
                    draw_texture(FRAME, np.random.default_rng(s), Sizes(3, thickness, spacing)) >= 0
                    for s in range(10)
                ]
            )
        )

    thin, middle, thick = density(2, 14), density(4, 12), density(8, 8)
    assert thin < 0.6 * middle
    assert middle < 0.7 * thick


def test_a_hollow_bone_has_the_cortex_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "hollow")
    found = []
    for seed in range(20):
        bone = draw_bone(FRAME, np.random.default_rng(seed), disk(100), Sizes(12, 3, 9))
        ring = bone.bone >= 0
        # Area of a ring of thickness t on a disk of radius r: π (2 r t - t²).
        found.append(100 - np.sqrt(max(100**2 - ring.sum() / np.pi, 0)))
    assert np.median(found) == pytest.approx(12, rel=0.15)


@pytest.mark.parametrize("kind", list(interiors.INTERIORS))
def test_bone_stays_within_the_envelope_and_pores_apart_from_the_outside(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, kind)
    for seed in range(12):
        bone = draw_bone(FRAME, np.random.default_rng(seed), disk(90), Sizes(8, 4, 12))
        inside, mineral = bone.depth >= 0, bone.bone >= 0
        assert not (mineral & ~inside).any()
        assert (bone.faint <= bone.bone + 1e-5).all()
        if bone.ignore.any():  # growth plates and cracks may cut the cortex
            continue
        rim = inside & (bone.depth < 1) & (np.abs(bone.depth - disk(90).depth) < 0.1)
        lesion = np.abs(bone.depth - disk(90).depth).max() > 0.1
        assert lesion or mineral[rim].mean() > 0.98


def test_narrow_canals_are_seen_but_labelled_bone(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "compact")
    widths = []
    for seed in range(20):
        bone = draw_bone(FRAME, np.random.default_rng(seed), disk(110), Sizes(60, 4, 12))
        hidden = (bone.faint < 0) & (bone.bone >= 0) & ~bone.ignore
        if hidden.any():
            width = 2 * ndimage.distance_transform_edt(hidden).max()
            widths.append(width)
    assert len(widths) > 5
    assert np.median(widths) <= interiors.MIN_CANAL + 1  # now and then two run into one


@pytest.mark.parametrize("kind", [*KINDS, "ring"])
def test_outlines_are_of_the_size_asked_for(kind: str) -> None:
    areas = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        if kind == "ring":
            made = [
                draw_outline(FRAME, np.random.default_rng(k), radius=60, centre=(0, 0), kind="band")
                for k in range(8 * seed, 8 * seed + 8)
            ]
            rings = [m for m in made if m.kind == "ring"]
            assert rings
            # What a ring encloses is outside.
            assert all(m.depth[110:146, 110:146].max() < 0 for m in rings[:1])
            continue
        outline = draw_outline(FRAME, rng, radius=60, centre=(0, 0), kind=kind)
        inside = outline.depth > 0
        areas.append(inside.sum())
        y, x = np.nonzero(inside)
        if len(y):
            # Long ones reach three half widths from the middle, and a dome and bends beyond it.
            assert np.hypot(y - 127.5, x - 127.5).max() < 60 * 3.6
    if areas:
        assert 0.02 * np.pi * 60**2 < np.median(areas) < 4 * np.pi * 60**2


def test_most_vertebrae_have_a_canal_that_is_outside() -> None:
    closed = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        depth = draw_outline(FRAME, rng, radius=60, centre=(0, 0), kind="vertebra").depth
        parts, count = ndimage.label(depth <= 0)
        beyond = parts[0, 0]
        canals = [n for n in range(1, count + 1) if n != beyond and (parts == n).sum() > 100]
        closed += bool(canals)
    assert closed >= 14  # some are open: the arch is cut, or the body is apart


def test_bones_around_a_gap_are_neighbours_at_equal_distances() -> None:
    found = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        middles = scene._around_a_gap(FRAME, rng, 6, 20.0, "whole")
        if not middles:
            continue
        found += 1
        y, x = np.asarray(middles).T
        np.testing.assert_allclose(np.hypot(y, x), np.hypot(y[0], x[0]), rtol=1e-9)
        steps = np.hypot(y - np.roll(y, 1), x - np.roll(x, 1))
        np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
        assert 30 + scene.PACKED_GAP[0] <= steps[0] <= 40 + scene.PACKED_GAP[1]
    assert 5 <= found <= 25
