from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from osteon.datasets import Finding, Manifest, ScanRow, check, new_manifest, open_pair
from osteon.datasets.orientation import orientation
from osteon.errors import InputError
from osteon.events import Event, Reporter, StopToken
from osteon.labels import BONE_PORES
from osteon.settings import FitSettings, NormalisationSettings, PatchSettings, ValidationSettings

from .conftest import phantom, write_slices

SHARED = Path(__file__).parents[3] / "shared" / "data"
SMALL = FitSettings(patches=PatchSettings(size=32))


class Data:
    """Builds a dataset scan by scan and has it checked."""

    def __init__(self, folder: Path):
        self.folder, self.rows = folder, []

    def add(self, image: np.ndarray, mask: np.ndarray | None, **entries) -> str:
        name = entries.pop("name", f"scan{len(self.rows)}")
        row = {
            "name": name,
            "specimen": name,
            "image": write_slices(self.folder / name / "s", image),
        }
        if mask is not None:
            first = entries.pop("mask_first", 0)
            row["mask"] = write_slices(self.folder / name / "m", mask, first=first)
        self.rows.append(ScanRow.model_validate(row | entries))
        return name

    def check(self, settings: FitSettings = SMALL, **more) -> list[Finding]:
        manifest = Manifest(BONE_PORES, tuple(self.rows), self.folder / "d.toml")
        return check(manifest, settings=settings, **more)

    def find(self, name: str, settings: FitSettings = SMALL) -> Finding:
        found = [f for f in self.check(settings) if f.name == name]
        assert len(found) == 1, found
        return found[0]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """A dataset with one good scan in it."""
    made = Data(tmp_path)
    made.add(*phantom(0), name="good")
    return made


def names(findings: list[Finding]) -> set[str]:
    return {f.name for f in findings if f.severity != "note"}


def test_a_good_dataset_has_notes_alone(data: Data) -> None:
    image, labels = phantom(1)
    data.add(np.roll(image, 5, axis=2), np.roll(labels, 5, axis=2))
    found = data.check()
    assert {f.severity for f in found} == {"note"}
    assert {f.name for f in found} == {"what-a-fit-takes"}


def test_every_finding_says_what_where_and_how_to_mend(data: Data) -> None:
    image, labels = phantom(1)
    data.add(image, labels[:, ::-1])
    data.add(image, (labels == 1).astype(np.uint8) * 255)
    for finding in data.check():
        assert finding.text
        assert finding.where
        assert finding.mend or finding.severity == "note"


def test_errors_come_first(data: Data) -> None:
    data.add(*phantom(1), slices=[0, 99])
    data.add(phantom(2)[0], None)
    severities = [f.severity for f in data.check()]
    assert severities[0] == "error"
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_masks_of_another_shape_or_missing(data: Data) -> None:
    image, labels = phantom(1)
    data.add(image, labels[:, :30])
    data.rows.append(ScanRow(name="gone", specimen="gone", image="nowhere"))
    found = [f for f in data.check() if f.name == "cannot-open"]
    assert [f.severity for f in found] == ["error", "error"]
    assert "(6, 30, 48)" in found[0].text
    assert "gone" in found[1].text


def test_0_and_255_or_gaps_offer_the_remap(data: Data) -> None:
    image, labels = phantom(1)
    data.add(image, (labels == 1).astype(np.uint8) * 255)
    found = data.find("labels-need-remap")
    assert found.severity == "error"
    assert "0, 255" in found.text
    assert 'remap = { "255" = "bone" }' in found.mend
    data.rows[-1] = data.rows[-1].model_copy(update={"remap": {"255": "bone"}})
    assert "labels-need-remap" not in names(data.check())
    image, labels = phantom(2)
    data.add(image, np.choose(labels, [0, 50, 100]).astype(np.uint8))
    assert '"50" = "bone", "100" = "pores"' in data.find("labels-need-remap").mend


def test_a_grey_picture_as_mask(data: Data) -> None:
    image, _ = phantom(1)
    data.add(image, np.random.default_rng(0).integers(0, 250, image.shape).astype(np.uint8))
    assert data.find("mask-is-grey").severity == "error"


FLIPS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flipped along x": lambda a: a[:, :, ::-1],
    "flipped along y": lambda a: a[:, ::-1],
    "turned by 180°": lambda a: a[:, ::-1, ::-1],
    "the slices in reverse order": lambda a: a[::-1],
    "flipped along x and the slices in reverse order": lambda a: a[::-1, :, ::-1],
}
SQUARE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "with y and x swapped": lambda a: a.transpose(0, 2, 1),
    "turned by 90°": lambda a: np.rot90(a, -1, axes=(1, 2)),
    "turned by 270°": lambda a: np.rot90(a, 1, axes=(1, 2)),
    "with y and x swapped and turned by 180°": lambda a: a.transpose(0, 2, 1)[:, ::-1, ::-1],
}


@pytest.mark.parametrize("flip", FLIPS)
def test_flipped_masks_are_seen(data: Data, flip: str) -> None:
    image, labels = phantom(1)
    data.add(image, np.ascontiguousarray(FLIPS[flip](labels)))
    found = data.find("mask-flipped")
    assert found.where == "scan1"
    assert f"better {flip}:" in found.text


@pytest.mark.parametrize("flip", SQUARE)
def test_turned_masks_are_seen_on_square_slices(data: Data, flip: str) -> None:
    image, labels = phantom(1, shape=(4, 48, 48))
    data.add(image, np.ascontiguousarray(SQUARE[flip](labels)))
    assert f"better {flip}:" in data.find("mask-flipped").text


def test_the_agreement_by_hand(pair) -> None:
    # One slice, classes of means 1 and 3 and variance 1 within: eta² = 1 / (1 + 1).
    image = np.zeros((1, 40, 40), np.uint8)
    image[:, :20:2], image[:, 1:20:2], image[:, 20::2], image[:, 21::2] = 0, 2, 2, 4
    labels = np.zeros_like(image)
    labels[:, 20:] = 1
    assert orientation(pair(image, labels)).as_is == pytest.approx(0.5)


def test_an_unrelated_mask(data: Data) -> None:
    image = np.random.default_rng(0).integers(1, 200, (6, 40, 48)).astype(np.uint8)
    data.add(image, phantom(1)[1])
    assert data.find("mask-unrelated").severity == "warning"


def test_missing_classes_are_fine_in_some_and_an_error_in_all(data: Data) -> None:
    image, labels = phantom(1)
    data.add(image, np.minimum(labels, 1))
    found = data.find("class-missing-in-some")
    assert found.severity == "note"
    assert "'pores' does not occur in scan1" in found.text
    data.rows = data.rows[1:]
    found = data.find("class-missing")
    assert (found.severity, "derive_pores" in found.mend) == ("error", True)


def test_empty_masks_and_slices(data: Data) -> None:
    image, labels = phantom(1)
    data.add(image, np.zeros_like(labels))
    assert data.find("empty-mask").severity == "warning"
    labels = labels.copy()
    labels[2:4] = 0
    data.add(phantom(2)[0], labels)
    assert "2 of 6 labelled slices have background alone: 2, 3" in data.find("empty-slices").text


def test_colour_slices(data: Data) -> None:
    image, labels = phantom(1)
    colour = np.stack([image, image, image // 2], axis=-1)
    data.add(image, labels)
    for z, page in enumerate(colour):
        tifffile.imwrite(data.folder / "scan1" / "s" / f"{z:04d}.tif", page, photometric="rgb")
    found = data.find("colour-slices")
    assert found.severity == "warning"
    assert "three times the memory" in found.mend


def test_slices_in_two_scans(data: Data) -> None:
    image, labels = phantom(0)
    other, _ = phantom(1)
    other[2] = image[4]
    data.add(other, labels, name="b")
    found = data.find("slices-in-two-scans")
    assert found.severity == "error"
    assert "1 slice(s) occur in both scans, such as 4 of good and 2 of b" in found.text
    data.rows[1] = data.rows[1].model_copy(update={"specimen": "good"})
    assert data.find("slices-in-two-scans").severity == "warning"


def test_a_slice_twice_in_one_scan(data: Data) -> None:
    image, labels = phantom(1)
    image[5] = image[1]
    data.add(image, labels)
    assert "slice 5 is the same as slice 1" in data.find("slice-twice").text


def test_one_specimen_under_two_names_with_other_grey_values(data: Data) -> None:
    image, labels = phantom(0)
    rng = np.random.default_rng(5)
    other = image.astype(np.uint16) * 120 + 4000 + rng.integers(0, 200, image.shape)
    data.add(other.astype(np.uint16), labels)
    found = data.find("one-specimen-two-names")
    assert "100 % of the sampled slices" in found.text
    data.rows[1] = data.rows[1].model_copy(update={"specimen": "good"})
    assert "one-specimen-two-names" not in names(data.check())


def test_one_specimen_spelled_twice(data: Data) -> None:
    image, labels = phantom(1)
    data.add(np.roll(image, 5, axis=2), np.roll(labels, 5, axis=2), specimen="Good ")
    assert "'Good ', 'good'" in data.find("one-specimen-two-names").text


def test_constant_and_nan_slices(data: Data) -> None:
    image, labels = phantom(1)
    image[[0, 3]] = 7
    data.add(image, labels)
    assert "2 of 6 slices are constant: 0, 3" in data.find("constant-slices").text
    floats = phantom(2)[0].astype(np.float32)
    floats[2, 0, :3] = np.nan
    data.add(floats, phantom(2)[1])
    found = data.find("cannot-normalise")
    assert found.severity == "error"
    assert "NaN" in found.text


def test_nan_beyond_the_sample_for_statistics(data: Data) -> None:
    image, labels = (np.repeat(a, 30, axis=0) for a in phantom(1))
    floats = image + np.random.default_rng(0).normal(0, 1, image.shape)
    floats = floats.astype(np.float32)
    floats[0, 5, 5] = np.inf  # slices 1, 4, 7 … are the sample of 180
    data.add(floats, labels)
    found = data.find("nan")
    assert found.severity == "error"
    assert "1 NaN or infinite values in slices 0" in found.text


def test_nan_outside_a_circular_field_of_view_is_fill(data: Data) -> None:
    image, labels = phantom(1)
    floats = image.astype(np.float32)
    floats[:, :4] = np.nan
    data.add(floats, labels)
    assert data.find("nan-is-fill").severity == "note"
    assert not names(data.check())


def test_a_constant_scan(data: Data) -> None:
    data.add(np.full((6, 40, 48), 9, np.uint8), phantom(1)[1])
    assert "constant" in data.find("cannot-normalise").text


def test_signed_data_and_the_recipe_of_the_original(data: Data) -> None:
    image, labels = phantom(1)
    data.add((image.astype(np.int16) - 100), labels)
    settings = SMALL.model_copy(
        update={"normalisation": NormalisationSettings(recipe="reference-zscore-positive")}
    )
    assert "choose normalisation.recipe=zscore" in data.find("few-positive-voxels", settings).mend
    assert "few-positive-voxels" not in names(data.check())


def test_bone_darker_than_the_rest(data: Data) -> None:
    image, labels = phantom(1)
    data.add(255 - image, labels)
    assert [f.severity for f in data.check() if f.name == "bone-is-dark"] == ["warning"] * 2


def test_numbers_that_differ(data: Data) -> None:
    data.add(*phantom(1), mask_first=3)
    assert "slice 0 is 0 in the scan and 3 in the mask" in data.find("numbers-differ").text


def test_gaps_in_the_numbering(data: Data) -> None:
    data.add(*phantom(1))
    for kind in "sm":
        (data.folder / "scan1" / kind / "0003.tif").unlink()
    found = [f for f in data.check() if f.name == "gap-in-numbering"]
    assert len(found) == 1
    assert "(in 2 places)" in found[0].text
    assert "contiguous = false" in found[0].mend


def test_a_damaged_slice(data: Data) -> None:
    # Compressed slices: the header is whole, the data are not.
    image, labels = phantom(1)
    data.add(image, labels)
    for kind, name in (("s", "cannot-read"), ("m", "cannot-read-mask")):
        path = data.folder / "scan1" / kind / "0002.tif"
        whole = path.read_bytes()
        tifffile.imwrite(path, image[2], compression="zlib")
        packed = bytearray(path.read_bytes())
        with tifffile.TiffFile(path) as tif:
            start, n = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
        packed[start : start + n] = b"\xff" * n
        path.write_bytes(bytes(packed))
        found = data.find(name)
        assert found.severity == "error"
        assert "0002.tif" in found.where
        path.write_bytes(whole)


def test_splits_that_cannot_be_made(data: Data) -> None:
    found = data.find("cannot-split")
    assert "validation.method=slabs" in found.mend
    slabs = SMALL.model_copy(update={"validation": ValidationSettings(method="slabs", gap=1)})
    assert "optimistic" in data.find("split", slabs).text


def test_no_masks_at_all(tmp_path: Path) -> None:
    data = Data(tmp_path)
    data.add(phantom(1)[0], None)
    assert data.find("no-labels").severity == "error"
    assert data.find("no-mask").severity == "note"


def test_derived_pores_are_said(data: Data) -> None:
    image, labels = phantom(1)
    data.add(image, (labels == 1).astype(np.uint8), derive_pores=True)
    assert "pores derived from bone" in data.find("pores-derived").text
    assert "class-missing-in-some" not in {f.name for f in data.check()}


def test_small_slices(data: Data) -> None:
    assert "40 × 48 px are padded" in data.find("slice-smaller-than-patch", FitSettings()).text


def test_progress_counts_every_slice_and_it_can_be_stopped(data: Data) -> None:
    data.add(*phantom(1))
    events: list[Event] = []
    data.check(reporter=Reporter(events.append))
    assert [e.total for e in events if (e.kind, e.stage) == ("start", "check")] == [12]
    assert [e.step for e in events if (e.kind, e.stage) == ("end", "check")] == [12]
    token = StopToken()
    token.request()
    found = data.check(reporter=Reporter(stop=token))
    assert "stopped" in {f.name for f in found}


def test_errors_that_a_fit_would_meet_are_the_doctor_s(data: Data) -> None:
    image, labels = phantom(1)
    data.add(image, (labels == 1).astype(np.uint8) * 255)
    assert "error" in {f.severity for f in data.check()}
    manifest = Manifest(BONE_PORES, tuple(data.rows))
    with pytest.raises(InputError):
        open_pair(manifest, data.rows[1]).labels.read(slice(0, 1))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real scans in ../shared/data are not here")
def test_real_scans_are_healthy(tmp_path: Path) -> None:
    made = new_manifest(SHARED / "vertebra", specimen_regex=r"(S\d)_", contiguous=False)
    assert len(made.scans) == 12
    assert {row.specimen for row in made.scans} == {f"S{i}" for i in range(1, 7)}
    two = Manifest(made.labels, made.scans[:1] + made.scans[-1:])
    assert not names(check(two.save(tmp_path / "d.toml")))
    one = new_manifest(SHARED / "bone-qim3d")
    slabs = FitSettings(
        patches=PatchSettings(size=128), validation=ValidationSettings(method="slabs", share=0.25)
    )
    assert not names(check(one, settings=slabs))
