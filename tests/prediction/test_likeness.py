"""A scan unlike those of the fit is warned of, with figures, and brought to their voxel size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from osteon.errors import InputError, OsteonWarning, UsageError
from osteon.events import Event, Reporter
from osteon.intensity import GreyRange, grey_quantiles, statistics
from osteon.intensity.quantiles import LEVELS
from osteon.model_file import Model, TrainingRanges
from osteon.prediction import Store, keeping, predict_kept, with_grey_values_of_all
from osteon.prediction.features import Features
from osteon.prediction.job import Decisions
from osteon.prediction.likeness import compare
from osteon.prediction.scale import choose_scale, resampled_to
from osteon.prediction.wanted import Wanted
from osteon.volume import Array, ArrayVolume, Geometry, Volume

from .faking import EDGES, NETWORK, PLENTY, SPEC, FakeBackend, MemoryWriter, threshold, zscored
from .test_kept import Killed, Mortal
from .test_quick import Entered

LOW = (-1.5, -1.4, -0.9, -0.3, 0.5, 1.8, 2.1)
HIGH = (-1.2, -1.0, -0.8, -0.1, 0.8, 2.1, 2.5)
FITTED = GreyRange(LEVELS, LOW, HIGH, 4)
MIDDLE = (-1.4, -1.2, -0.85, -0.2, 0.6, 2.0, 2.3)


# --- grey values ------------------------------------------------------------------------------


def changed(level: float, value: float) -> tuple[float, ...]:
    return tuple(value if at == level else own for at, own in zip(LEVELS, MIDDLE, strict=True))


@pytest.mark.parametrize(
    ("level", "value", "outside"),
    [
        # The fit spans -1.5 to 2.5, 4 wide: 0.5 beyond at the ends, 1.0 between them.
        (1, -1.99, False), (1, -2.01, True), (1, -0.71, False), (1, -0.69, True),
        (5, -1.91, True), (95, 2.59, False), (95, 2.61, True), (99, 3.01, True),
        (50, 0.89, False), (50, 0.91, True), (25, -1.89, False), (75, -0.51, True),
    ],
)  # fmt: skip
def test_what_is_outside(level: float, value: float, outside: bool) -> None:
    assert FITTED.farthest(MIDDLE) is None
    found = FITTED.farthest(changed(level, value))
    assert (found is not None) == outside
    if found is not None:
        assert (found.level, found.value) == (level, value)


def test_the_farthest_counts_in_tolerances() -> None:
    # 0.6 beyond at an end are 1.2 tolerances, 1.1 beyond in the middle 1.1.
    both = tuple(3.1 if at == 99 else own for at, own in zip(LEVELS, changed(50, 1.0), strict=True))
    found = FITTED.farthest(both)
    assert found is not None
    assert (found.level, found.low, found.high) == (99, 2.1, 2.5)


def scan(seed: int = 0, shape: tuple[int, int, int] = (9, 60, 48)) -> Array:
    """Air, marrow and bone with noise, and fill (0) around them."""
    rng = np.random.default_rng(seed)
    kind = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    kind /= kind.std()
    values = np.digitize(kind, (0.0, 1.0)) * 60 + 40 + rng.normal(0, 4, shape)
    values = np.clip(values, 1, 255).astype(np.uint8)
    values[:, :, :10] = 0
    return values


def taken(values: Array) -> tuple[float, ...]:
    volume = ArrayVolume(values)
    found = grey_quantiles(volume, statistics(volume, "zscore"))
    assert found is not None
    return found


def test_quantiles_are_those_of_the_normalised_scan_without_its_fill() -> None:
    values = scan(shape=(8, 60, 48))  # so small that all of it is taken
    expected = np.percentile(zscored(values)[values > 0], LEVELS)
    np.testing.assert_allclose(taken(values), expected, atol=1e-5)
    padded = np.pad(values, ((0, 0), (40, 40), (30, 0)))
    np.testing.assert_allclose(taken(padded), expected, atol=1e-5)


def test_a_scan_of_nothing_but_fill_where_it_is_looked_at_has_none() -> None:
    values = np.zeros((33, 8, 8), np.uint8)
    known = ArrayVolume(scan())
    assert grey_quantiles(ArrayVolume(values), statistics(known, "zscore")) is None


def test_the_range_comes_back_from_json() -> None:
    made = GreyRange.of([taken(scan(0)), taken(scan(1))])
    assert made.scans == 2
    assert all(a <= b for a, b in zip(made.low, made.high, strict=True))
    assert GreyRange.from_dict(json.loads(json.dumps(made.as_dict()))) == made
    both = made.joined(FITTED)
    assert both is not None
    assert both.low == tuple(map(min, made.low, FITTED.low))
    assert both.high == tuple(map(max, made.high, FITTED.high))
    assert both.scans == 6
    assert made.joined(replace(FITTED, levels=(*LEVELS[:-1], 98.0))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"percent": [1, 5]},
        {"scans": 0},
        {"low": [math.nan] * 7},
        {"low": [9.0] * 7},
        {"percent": [1, 5, 5, 50, 75, 95, 99]},
        {"percent": [1, 5, 25, 50, 75, 95, 101]},
    ],
)
def test_a_garbled_range_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="intensities"):
        GreyRange.from_dict({**FITTED.as_dict(), **change})


def model(
    mode: str = "2D",
    *,
    sizes: tuple[float, float] | None = None,
    grey: GreyRange | None = None,
) -> Model:
    network = replace(
        NETWORK, dimensions=3 if mode == "3D" else 2, in_channels=3 if mode == "2.5D" else 1
    )
    ranges = TrainingRanges(sizes, ("uint8",), grey)
    return Model(replace(SPEC, mode=mode, network=network, ranges=ranges), {})


def backend(mode: str) -> FakeBackend:
    return FakeBackend(channels=3 if mode == "2.5D" else 1, dimensions=3 if mode == "3D" else 2)


def told_by(
    chosen: Model,
    volume: Volume,
    folder: Path,
    *,
    mode: str = "2D",
    resample: bool = False,
    memory: int = PLENTY,
    full: object = None,
) -> tuple[Array, object, list[str]]:
    messages: list[str] = []

    def listen(event: Event) -> None:
        if event.kind == "message":
            messages.append(event.message or "")

    writer = MemoryWriter(volume.shape)
    with Store(folder, shape=volume.shape, identity={}) as store:
        found = predict_kept(
            chosen, volume, store, open_target=lambda: Entered(writer),  # type: ignore[arg-type,return-value]
            backend=full or backend(mode), memory=memory, wanted=Wanted(resample=resample),  # type: ignore[arg-type]
            measure=False, reporter=Reporter(listen),
        )  # fmt: skip
    return writer.array, found, messages


KNOWN = GreyRange.of([taken(scan(seed)) for seed in range(3)])


def test_a_scan_like_those_of_the_fit_is_not_warned_of(tmp_path: Path) -> None:
    values = scan(7)
    for same in (values, values[:, 10:50, 8:40], np.pad(values, ((0, 0), (30, 30), (30, 30)))):
        _, found, told = told_by(model(grey=KNOWN), ArrayVolume(same), tmp_path / f"{same.size}")
        assert found.likeness.grey == "inside"  # type: ignore[attr-defined]
        assert not any("grey values" in text for text in told)


def test_inverted_grey_values_and_a_narrow_window_are_told_with_figures(tmp_path: Path) -> None:
    values = scan(7)
    inverted = np.where(values > 0, 255 - values, 0).astype(np.uint8)
    narrow = np.where(values > 0, np.clip(values.astype(int) * 3 - 120, 1, 200), 0)
    for i, other in enumerate((inverted, narrow.astype(np.uint8))):
        with pytest.warns(
            OsteonWarning,
            match=r"quantile .* is -?\d\.\d\d, and .* 3 scans .*\[grey-values-outside-training\]",
        ):
            _, found, _ = told_by(model(grey=KNOWN), ArrayVolume(other), tmp_path / f"{i}")
        record = json.loads(json.dumps(found.as_dict()))["likeness"]  # type: ignore[attr-defined]
        assert record["grey"] == "outside"
        assert len(record["quantiles"]) == len(LEVELS)


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    _, found, told = told_by(model(), ArrayVolume(scan()), tmp_path)
    assert found.likeness.grey == found.likeness.voxel_size == "unknown"  # type: ignore[attr-defined]
    assert any("does not say what grey values" in text for text in told)


def test_decisions_come_back_with_the_comparison() -> None:
    volume = ArrayVolume(scan(), geometry=Geometry((30.0, 10.0, None)))
    stats = statistics(volume, "zscore")
    likeness = compare(volume, stats, model(sizes=(10, 20), grey=KNOWN).spec)
    assert likeness.voxel_size == "inside"  # in 2D the distance of slices does not matter
    made = Decisions(stats, None, None, None, likeness)
    assert Decisions.from_dict(json.loads(json.dumps(made.as_dict()))) == made


def test_of_several_models_what_any_was_fitted_to_is_inside() -> None:
    one, two = model(grey=KNOWN), model(grey=FITTED)
    assert with_grey_values_of_all([one]) is one
    joined = with_grey_values_of_all([one, two]).spec.ranges.intensities
    assert joined == KNOWN.joined(FITTED)
    assert with_grey_values_of_all([one, model(), two]).spec.ranges.intensities is None


# --- voxel sizes ------------------------------------------------------------------------------


def smooth(
    shape: tuple[int, int, int], sizes: tuple[float | None, ...], sigma: float = 2
) -> ArrayVolume:
    kind = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=shape), sigma)
    values = (30_000 + 8_000 * (kind - kind.mean()) / kind.std()).astype(np.uint16)
    size = (sizes[0], sizes[1], sizes[2])
    return ArrayVolume(values, geometry=Geometry(size, (5.0, -3.0, 2.0)))


@pytest.mark.parametrize(
    ("mode", "sizes", "fitted", "target"),
    [
        ("2D", (50, 5, 5), (10, 40), 10.0),
        ("2D", (50, 60, 60), (10, 40), 40.0),
        ("2D", (50, 20, 30), (10, 40), None),
        ("2D", (50, 8, 32), (10, 40), 16.0),
        ("2D", (None, 5, 5), (10, 10), 10.0),
        ("2.5D", (20, 5, 5), (10, 12), 10.0),
        ("3D", (11, 11, 11), (10, 12), None),
        ("3D", (40, 40, 20), (10, 12), 12.0),
    ],
)
def test_the_nearest_size_of_the_fit(
    mode: str, sizes: tuple[float | None, ...], fitted: tuple[float, float], target: float | None
) -> None:
    chosen = model(mode, sizes=fitted).spec
    found = resampled_to(smooth((4, 16, 16), sizes), chosen)
    assert found.voxel_size_um == (None if target is None else pytest.approx(target))
    assert (found is chosen) == (target is None)


def test_what_cannot_be_resampled_is_refused_with_the_mend() -> None:
    unknown = smooth((4, 16, 16), (None, None, None))
    with pytest.raises(InputError, match=r"not known(.|\n)*--voxel-size"):
        resampled_to(unknown, model(sizes=(10, 20)).spec)
    volume = smooth((4, 16, 16), (5, 5, 5))
    with pytest.raises(UsageError, match=r"does not say what(.|\n)*fit with voxel_size"):
        resampled_to(volume, model().spec)
    with pytest.raises(UsageError, match="no one size to resample to"):
        resampled_to(volume, model("3D", sizes=(10, 40)).spec)
    with pytest.raises(UsageError, match="more than 16 times"):
        resampled_to(volume, model(sizes=(90, 90)).spec)
    own = replace(model(sizes=(10, 10)).spec, voxel_size_um=20.0)
    assert resampled_to(volume, own) is own


@pytest.mark.parametrize("mode", ["2D", "3D"])
def test_labels_come_back_on_the_scans_own_grid(mode: str, tmp_path: Path) -> None:
    # The fake's logits are linear in the grey values, so these may be resampled in their place:
    # from voxels of 5 (z: 10) µm to 20 and back, over a prime number of voxels.
    volume = smooth((13, 61, 47), (10.0, 5.0, 5.0), sigma=6)
    chosen = model(mode, sizes=(20, 20))
    labels, found, told = told_by(chosen, volume, tmp_path / "a", mode=mode, resample=True)
    assert labels.shape == volume.shape
    # round(13 / 2), 61 / 4, 47 / 4; z stays as it is in 2D
    assert found.resampled == (13 if mode == "2D" else 7, 15, 12)  # type: ignore[attr-defined]
    assert found.likeness.voxel_size == "outside"  # type: ignore[attr-defined]
    assert found.likeness.resampled_um == 20  # type: ignore[attr-defined]
    assert any("10 × 5 × 5 µm are resampled to 20 µm" in text for text in told)
    named = Model(replace(chosen.spec, voxel_size_um=20.0), {})
    with pytest.warns(OsteonWarning, match="voxel-size-outside-training"):
        expected, _, _ = told_by(named, volume, tmp_path / "b", mode=mode)
    np.testing.assert_array_equal(labels, expected)
    grey = zscored(volume.array).astype(np.float64)
    # So smooth that hardly anything is lost on the way: what is not near a border must be right.
    clear = np.abs(grey[..., np.newaxis] - EDGES).min(-1) > 0.3
    assert clear.mean() > 0.4
    assert (labels[clear] == threshold(grey)[clear]).mean() > 0.98
    assert {int(v) for v in np.unique(labels)} == {0, 1, 2}


def test_a_killed_one_goes_on_to_the_same_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "BLOCK_VOXELS", 1)
    volume = smooth((13, 61, 47), (10.0, 5.0, 5.0))
    chosen = model("2.5D", sizes=(20, 20))
    expected, _, _ = told_by(chosen, volume, tmp_path / "whole", mode="2.5D", resample=True)
    mortal = Mortal(backend("2.5D"), 4)
    with pytest.raises(Killed):
        told_by(chosen, volume, tmp_path / "area", mode="2.5D", resample=True, full=mortal)
    assert list((tmp_path / "area").glob("labels-*.z"))
    labels, found, _ = told_by(chosen, volume, tmp_path / "area", mode="2.5D", resample=True)
    np.testing.assert_array_equal(labels, expected)
    assert found.likeness.resampled_um == 20  # type: ignore[attr-defined]


def test_without_asking_it_is_warned_of_and_stays(tmp_path: Path) -> None:
    volume = smooth((3, 61, 47), (10.0, 5.0, 5.0))
    with pytest.warns(OsteonWarning, match=r"of 5 µm lie outside .*20 to 20 µm.*--resample"):
        labels, found, _ = told_by(model(sizes=(20, 20)), volume, tmp_path)
    assert found.resampled is None  # type: ignore[attr-defined]
    np.testing.assert_array_equal(labels, threshold(zscored(volume.array)))


def test_thin_bone_is_enlarged_only_if_asked() -> None:
    wants = replace(SPEC, feature_px=(4.0, 16.0))
    seen = Features(thickness_px=2.5, bone_share=0.3, metal_share=0.0, strength=9.0)
    volume = ArrayVolume(scan())
    for enlarge, factor in ((False, 1.0), (True, 2.5 / 4)):
        with pytest.warns(OsteonWarning, match="bone-too-thin"):
            choice = choose_scale(volume, wants, seen, enlarge=enlarge)
        assert choice is not None
        assert choice.factor == factor
    assert "enlarged 1.60 times" in choice.why
    thick = choose_scale(volume, wants, replace(seen, thickness_px=24.0), enlarge=True)
    assert thick is not None
    assert thick.factor == 1.5
