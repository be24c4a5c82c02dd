from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from osteon.errors import InputError, OsteonWarning, UsageError
from osteon.events import Reporter
from osteon.morphometry import (
    BYTES_PER_VOXEL,
    BoneMeasures,
    MeasureStopped,
    Sources,
    local_thickness,
    measure,
)
from osteon.settings import MeasureSettings, load_settings
from osteon.tables.measures import MEASURES, usual
from osteon.volume import ArrayVolume, Geometry

from .shapes import foam, grid, lattice, sphere


def chosen(*overrides: str) -> MeasureSettings:
    return load_settings(MeasureSettings, overrides=overrides)


def core(bone: np.ndarray) -> np.ndarray:
    """A core of trabecular bone: what is not bone is marrow."""
    return np.where(bone, 1, 2).astype(np.uint8)


def values(bone: BoneMeasures) -> dict[str, float | None]:
    return {name: figure.value for name, figure in bone.figures.items()}


def shaft(turns: int = 0) -> np.ndarray:
    """A tube of bone along z, radius 20 and 14 voxels, with a pore through its wall's middle."""
    _, y, x = grid((24, 50, 60))
    radius = np.hypot(y, x)
    labels = np.where(radius <= 20, 1, 0)
    labels[(radius <= 14) | (np.hypot(y - 17, x) <= 1.5)] = 2
    return np.rot90(labels, turns, axes=(1, 2)).astype(np.uint8)


def test_a_lattice_gives_back_what_it_is() -> None:
    # Square rods 4 voxels wide, 12 apart, 10 µm voxels.
    cells, period, width = 3, 12, 4
    bone = lattice(cells, period=period, width=width)
    (found,) = measure(core(bone), 10.0, settings=chosen("content=trabecular"))
    got = values(found)
    share = (3 * width**2 * period - 2 * width**3) / period**3
    total = (cells * period * 0.01) ** 3
    assert got["bv-tv"] == pytest.approx(share)
    assert got["compactness"] == pytest.approx(share)
    assert got["tv"] == pytest.approx(total)
    assert got["bv"] == pytest.approx(share * total)
    assert got["conn-d"] == pytest.approx((1 + 2 * cells**3) / total)
    assert found.figures["conn-d"].note == ""
    assert got["particles"] == 0
    assert got["da"] == pytest.approx(0, abs=0.02)
    assert got["da-ratio"] == pytest.approx(1, abs=0.01)
    assert got["tb-th"] == pytest.approx(float(local_thickness(bone)[bone].mean()) * 10)
    assert 40 <= got["tb-th"] <= 70  # rods of 40 µm, thicker where they cross
    assert got["tb-n-ratio"] == pytest.approx(share / got["tb-th"] * 1000)
    # Between mid-axes the largest sphere touches four edges of a cube: period × √2.
    assert got["tb-n"] == pytest.approx(1000 / (period * 10 * np.sqrt(2)), rel=0.1)
    assert got["ct-th"] is None
    assert "no cortical compartment" in found.figures["ct-th"].note


def test_plates_have_the_number_that_they_are_apart() -> None:
    bone = np.zeros((60, 30, 30), bool)
    for z in range(3, 60, 10):
        bone[z : z + 4] = True
    (found,) = measure(core(bone), 20.0, settings=chosen("content=trabecular"))
    got = values(found)
    assert got["tb-th"] == pytest.approx(80)
    assert got["tb-th-sd"] == 0
    assert got["tb-sp-max"] == pytest.approx(120)
    assert got["tb-n"] == pytest.approx(1000 / 200, rel=0.05)
    assert got["tb-n-ratio"] == pytest.approx(0.4 / 80 * 1000)


@pytest.mark.parametrize("size", [(10.0, 10.0, 10.0), (20.0, 10.0, 10.0)])
def test_a_shaft_by_its_formulas(size: tuple[float, float, float]) -> None:
    (found,) = measure(shaft(), size, settings=chosen("narrowest_canal_um=40"))
    got = values(found)
    total, inner = np.pi * 0.2**2, np.pi * 0.14**2
    assert got["tt-ar"] == pytest.approx(total, rel=0.01)
    assert got["ct-ar"] == pytest.approx(total - inner, rel=0.03)
    assert got["ma-ar"] == pytest.approx(inner, rel=0.02)
    assert got["ct-ar-tt-ar"] == pytest.approx(1 - inner / total, rel=0.02)
    pore = np.count_nonzero(shaft()[0] == 2) * 1e-4 - got["ma-ar"]
    assert got["ct-b-ar"] == pytest.approx(got["ct-ar"] - pore, rel=0.01)
    assert got["imax"] == pytest.approx(np.pi * (0.2**4 - 0.14**4) / 4, rel=0.03)
    assert got["j"] == pytest.approx(got["imax"] + got["imin"])
    assert got["ct-th"] == pytest.approx(60, abs=10)  # within a voxel
    if size[0] == 10:
        assert got["ct-po"] == pytest.approx(pore / got["ct-ar"], rel=0.01)
    else:
        assert "not resolved" in found.figures["ct-po"].note
    assert got["bv-tv"] == 0
    assert got["tb-th"] is None


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_image_changes_nothing(turns: int) -> None:
    (one,), (other,) = measure(shaft(), 10.0), measure(shaft(turns), 10.0)
    for name, value in values(one).items():
        assert values(other)[name] == (None if value is None else pytest.approx(value, rel=1e-3))


def test_bones_are_measured_each_on_its_own() -> None:
    labels = np.zeros((24, 50, 140), np.uint8)
    labels[:, :, :60] = shaft()
    labels[4:20, 10:40, 70:100] = 1
    labels[5, 5, 120] = 1  # a crumb
    found = measure(labels, 10.0)
    assert [b.bone for b in found] == [1, 2]
    (alone,) = measure(shaft(), 10.0)
    for name, value in values(alone).items():
        assert values(found[0])[name] == (None if value is None else pytest.approx(value))
    assert values(found[1])["bv"] == pytest.approx(16 * 30 * 30 * 1e-6)
    assert "1 fragments (1 voxels) were left out" in found[0].notes
    (together,) = measure(labels, 10.0, settings=chosen("objects=no"))
    assert together.bone == 0
    assert values(together)["bv"] == pytest.approx(np.count_nonzero(labels == 1) * 1e-6)


def test_an_unknown_voxel_size_is_said() -> None:
    (found,) = measure(core(lattice(2)), settings=chosen("content=trabecular"))
    (known,) = measure(core(lattice(2)), 1000.0, settings=chosen("content=trabecular"))
    assert any("unknown" in note for note in found.notes)
    assert found.figures["tb-th"].unit == "voxel"
    assert found.figures["conn-d"].unit == "1/voxel3"
    assert values(found)["conn-d"] == pytest.approx(values(known)["conn-d"])
    assert values(found)["bv"] == pytest.approx(values(known)["bv"])
    assert values(found)["tb-th"] == pytest.approx(values(known)["tb-th"] / 1000)
    (bone,) = measure(shaft())
    assert bone.figures["ct-ar"].value is None
    assert any("compartments are not told apart" in note for note in bone.notes)


def test_slices_from_far_apart_give_areas_alone() -> None:
    labels = np.concatenate([shaft()[:1], np.roll(shaft()[:1], 30, axis=2), shaft(2)[:1]] * 3)
    (found,) = measure(labels, 10.0)
    assert found.figures["tt-ar"].value == pytest.approx(np.pi * 0.2**2, rel=0.01)
    assert found.figures["ct-ar"].value == pytest.approx(np.pi * (0.2**2 - 0.14**2), rel=0.03)
    assert found.figures["tb-th"].value is None
    assert any("not neighbours" in note for note in found.notes)
    assert len(found.sections) == 9
    (said,) = measure(shaft(), 10.0, settings=chosen("contiguous=no"))
    assert said.figures["tv"].value is None
    with pytest.raises(UsageError, match="only areas"):
        measure(labels, 10.0, settings=chosen("measures=[tb-th]"))
    with pytest.raises(UsageError, match="region in space"):
        measure(labels, 10.0, settings=chosen("region=slab"))
    (insisted,) = measure(labels, 10.0, settings=chosen("contiguous=yes", "measures=[tv]"))
    assert insisted.figures["tv"].value is not None


def test_regions_are_read_and_measured_alone() -> None:
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[sphere(28, (60, 60, 60))] = 2
    stripes = labels[:, :, ::5]
    stripes[stripes == 2] = 1
    settings = chosen(
        "content=trabecular",
        "region.name=box",
        "region.centre_um=[295, 295, 295]",
        "region.size_um=[200, 100, 100]",
    )
    (found,) = measure(labels, 10.0, settings=settings)
    assert found.figures["tv"].value == pytest.approx(0.2 * 0.1 * 0.1)
    assert found.figures["bv-tv"].value == pytest.approx(0.2)
    away = chosen("region.name=box", "region.size_um=[50, 50, 50]")
    with pytest.raises(InputError, match="nothing to measure"):
        measure(labels, 10.0, settings=away)


def test_compartments_can_be_given() -> None:
    labels = shaft()
    drawn = np.where(labels > 0, 1, 0).astype(np.uint8)
    drawn[10:, labels[10] == 2] = 2
    sources = Sources(compartments=ArrayVolume(drawn))
    (found,) = measure(labels, 10.0, sources=sources)
    assert found.figures["tb-tv"].value == pytest.approx(np.count_nonzero(drawn == 2) * 1e-6)
    with pytest.raises(InputError, match="alone"):
        measure(labels, 10.0, sources=Sources(compartments=ArrayVolume(drawn * 3)))
    with pytest.raises(InputError, match="shape"):
        measure(labels, 10.0, sources=Sources(compartments=ArrayVolume(drawn[1:])))


def test_mineral_density_needs_a_calibrated_scan() -> None:
    labels = shaft()
    grey = np.where(labels == 1, 1000, 100).astype(np.int16)
    edge = (labels == 1) & (local_thickness(labels == 1) > 0)
    scan = ArrayVolume(grey)
    assert edge.any()
    (bare,) = measure(labels, 10.0, sources=Sources(scan=scan))
    assert bare.figures["tmd"].value is None
    scan.intensity_unit, scan.intensity_scale, scan.intensity_offset = "mgHA/cm3", 0.9, -50.0
    (found,) = measure(labels, 10.0, sources=Sources(scan=scan))
    assert found.figures["tmd"].value == pytest.approx(1000 * 0.9 - 50)
    assert found.figures["tmd"].unit == "mgHA/cm3"
    with pytest.raises(InputError, match="shape"):
        measure(labels, 10.0, sources=Sources(scan=ArrayVolume(grey[:, 1:])))


def test_what_voxels_are_too_coarse_for_is_said() -> None:
    bone = np.zeros((40, 20, 20), bool)
    bone[::8] = True  # sheets of one voxel
    (found,) = measure(core(bone), 10.0, settings=chosen("content=trabecular"))
    assert found.figures["tb-th"].value is None
    assert not found.figures["tb-th"].resolved
    assert found.figures["tb-sp"].resolved
    assert "Tb.Th, Tb.Th.SD, Tb.Th.max: not resolved" in str(found.row()["notes"])
    (forced,) = measure(
        core(bone), 10.0, settings=chosen("content=trabecular", "resolved_voxels=0")
    )
    assert forced.figures["tb-th"].value == pytest.approx(20)


def test_odd_volumes_have_defined_results() -> None:
    nothing = np.zeros((10, 10, 10), np.uint8)
    with pytest.raises(InputError, match="every voxel is background"):
        measure(nothing, 10.0)
    with pytest.raises(InputError, match="empty"):
        measure(nothing[:0], 10.0)
    one = nothing.copy()
    one[5, 5, 5] = 1
    (found,) = measure(one, 10.0)
    assert found.figures["bv"].value == pytest.approx(1e-6)
    assert found.figures["ct-th"].value is None
    (pores,) = measure(nothing + 2, 10.0, settings=chosen("content=trabecular"))
    assert pores.figures["bv-tv"].value == 0
    assert pores.figures["tb-sp"].value is None
    (full,) = measure(nothing + 1, 10.0, settings=chosen("content=trabecular"))
    assert full.figures["bv-tv"].value == 1
    assert full.figures["tb-th"].value is None
    (flat,) = measure(shaft()[0], 10.0)
    assert flat.figures["tt-ar"].value == pytest.approx(np.pi * 0.2**2, rel=0.01)


def test_foreign_values_are_refused_and_remapped() -> None:
    labels = np.where(shaft() == 1, 255, np.where(shaft() == 2, 7, 0)).astype(np.uint8)
    with pytest.raises(InputError, match="the values 7, which are no classes"):
        measure(labels, 10.0)
    remap = {0: "background", 255: "bone", 7: "pores"}
    (found,) = measure(labels, 10.0, sources=Sources(remap=remap))
    assert values(found) == values(measure(shaft(), 10.0)[0])
    with pytest.raises(InputError, match="the remap does not name"):
        measure(labels, 10.0, sources=Sources(remap={0: "background", 255: "bone"}))
    with pytest.raises(UsageError, match="no class 'marrow'"):
        measure(labels, 10.0, sources=Sources(remap={**remap, 7: "marrow"}))
    with pytest.raises(UsageError, match="must be positive"):
        measure(labels, -1.0)


def test_voxels_without_a_label_count_as_background() -> None:
    labels = shaft()
    labels[:, :5] = 255
    (found,) = measure(labels, 10.0)
    assert any("not labelled" in note for note in found.notes)


def test_a_volume_brings_its_own_voxel_size(tmp_path: Path) -> None:
    volume = ArrayVolume(shaft(), Geometry((10.0, 10.0, 10.0)))
    maps: dict[str, tuple[int, ...]] = {}
    sources = Sources(sink=lambda name, box, block: maps.update({name: block.shape}))
    (found,) = measure(volume, sources=sources, name="left")
    assert found.scan == "left"
    assert values(found) == values(measure(shaft(), 10.0)[0])
    assert {"compartments", "ct-th", "tb-sp"} <= set(maps)


def test_only_what_is_asked_for_is_measured() -> None:
    (found,) = measure(shaft(), 10.0, settings=chosen("measures=[tt-ar, CT-TH]"))
    assert list(found.figures) == ["tt-ar", "ct-th"]
    (everything,) = measure(shaft(), 10.0)
    assert list(everything.figures) == usual() == [n for n in MEASURES.names() if n != "smi"]


def test_leaving_thicknesses_out_changes_nothing_else() -> None:
    bone = core(lattice(2))
    settings = ("content=trabecular",)
    (everything,) = measure(bone, 10.0, settings=chosen(*settings))
    for name in ("bv-tv", "tb-sp-max", "tb-n-ratio", "tb-th-sd"):
        (alone,) = measure(bone, 10.0, settings=chosen(*settings, f"measures=[{name}]"))
        assert values(alone) == {name: values(everything)[name]}


def test_other_voxel_sizes_are_warned_of_and_the_labels_win(
    recwarn: pytest.WarningsRecorder,
) -> None:
    labels = shaft()
    drawn = np.where(labels > 0, 1, 0).astype(np.uint8)
    other = Sources(compartments=ArrayVolume(drawn, Geometry((5.0, 5.0, 5.0))))
    with pytest.warns(OsteonWarning, match="5 × 5 × 5 µm .* the labels 10 × 10 × 10"):
        (found,) = measure(labels, 10.0, sources=other)
    recwarn.clear()
    for size in (10.05, None):  # less than 1 % apart; unknown
        same = ArrayVolume(drawn, Geometry((size,) * 3))
        assert values(measure(labels, 10.0, sources=Sources(compartments=same))[0]) == values(found)
    assert not recwarn.list


def wall_by_circles(ring: np.ndarray, outer: float, inner: float, shift: float) -> np.ndarray:
    """Local thickness of the ring between two circles, the inner one shifted along x.

    Circles that touch both have their centres on an ellipse whose foci are those of the two.
    """
    angle = np.linspace(0, 2 * np.pi, 2000)
    half = (outer + inner) / 2
    x = shift / 2 + half * np.cos(angle)
    y = np.sqrt(half**2 - shift**2 / 4) * np.sin(angle)
    radius = outer - np.hypot(y, x)
    middle = (np.array(ring.shape) - 1) / 2
    at = np.argwhere(ring) - middle
    covered = np.hypot(at[:, :1] - y, at[:, 1:] - x) <= radius
    return np.where(covered, 2 * radius, 0).max(axis=1)


@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_ct_th_of_a_wall_that_varies_is_that_of_maximal_circles(shift: float) -> None:
    outer, inner, n = 45.0, 33.0, 96
    middle = np.arange(n) - (n - 1) / 2
    y, x = np.meshgrid(middle, middle, indexing="ij")
    slice_ = np.where(np.hypot(y, x) > outer, 0, np.where(np.hypot(y, x - shift) > inner, 1, 2))
    labels = np.repeat(slice_[np.newaxis].astype(np.uint8), 6, axis=0)
    (found,) = measure(labels, 10.0, settings=chosen("measures=[ct-th]"))
    walls = wall_by_circles(slice_ == 1, outer, inner, shift)
    true = float(walls[walls > 0].mean())
    # As in BoneJ up to a voxel too thick, and never too thin.
    assert 0 <= found.figures["ct-th"].value / 10 - true <= 1
    # Ct.Th weighs by volume and by spheres: it is no mean of the wall's depth.
    assert true / (outer - inner) == pytest.approx(1 if shift == 0 else 1.09, abs=0.02)


def test_it_stops_when_asked_to() -> None:
    reporter = Reporter()
    reporter.stop.request()
    for setting in ("yes", "no"):
        with pytest.raises(MeasureStopped):
            measure(shaft(), 10.0, settings=chosen(f"contiguous={setting}"), reporter=reporter)


def test_memory_is_within_what_is_said() -> None:
    z, y, x = grid((48, 90, 90))
    labels = np.where(np.hypot(y, x) <= 40, 2, 0).astype(np.uint8)
    labels[foam(labels.shape, share=0.25) & (labels == 2)] = 1
    labels[(np.hypot(y, x) <= 40) & (np.hypot(y, x) > 34) & (z < 99)] = 1
    tracemalloc.start()
    measure(labels, 10.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BYTES_PER_VOXEL * labels.size * 1.25  # a small volume has more rim
