"""What is shown of a scan in space: stacks, surfaces, sheets, figures beside the report."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from osteon.labels import BONE_PORES, IGNORE
from osteon.reports import stacks
from osteon.reports.blocks import Section
from osteon.reports.evaluation_parts import ScanShape, shape_tables, trimmed
from osteon.reports.page import write_simple_report
from osteon.reports.pictures import FALSE, SlicePicture
from osteon.reports.rendering import SIDE, rendered
from osteon.reports.saving import write_figures
from osteon.reports.stacks import reduced, sheet, stack


def item(place: int, side: int = 40) -> SlicePicture:
    rng = np.random.default_rng(place)
    image = rng.integers(0, 255, (side, side)).astype(np.uint8)
    truth = np.zeros((side, side), np.uint8)
    truth[5 : 5 + place + 1] = 1
    return SlicePicture("s", place, image, np.roll(truth, 1, axis=0), truth)


def decoded(uri: str) -> np.ndarray:
    return imagecodecs.webp_decode(base64.b64decode(uri.partition(",")[2]))


def test_a_stack_shows_the_middle_without_javascript(tmp_path: Path) -> None:
    block = stack("s · along z", [item(z) for z in range(5)], scheme=BONE_PORES, axis="z")
    assert block is not None
    assert [text for _, text in block.frames] == [f"z = {z}" for z in range(5)]
    assert decoded(block.frames[0][0]).shape == (block.height, block.width, 3)
    write_simple_report(tmp_path / "r.html", title="t", sections=[Section("Planes", [block])])
    page = (tmp_path / "r.html").read_text("utf-8")
    frames = re.findall(r'<img src="data:image/webp[^>]*>', page)
    assert [" hidden" in f for f in frames] == [True, True, False, True, True]
    assert "<script>" in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # no network, no other file
    write_simple_report(tmp_path / "n.html", title="t", sections=[])
    assert "<script>" not in (tmp_path / "n.html").read_text("utf-8")


def test_a_stack_is_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [item(z) for z in range(9)]
    whole = stack("t", items, scheme=BONE_PORES, axis="z")
    assert whole is not None
    size = sum(len(uri) for uri, _ in whole.frames)
    monkeypatch.setattr(stacks, "STACK_BYTES", size * 7 // 10)
    less = stack("t", items, scheme=BONE_PORES, axis="z")
    assert less is not None
    assert [text for _, text in less.frames] == [f"z = {z}" for z in (0, 2, 4, 6, 8)]
    monkeypatch.setattr(stacks, "STACK_BYTES", 1)
    one = stack("t", items, scheme=BONE_PORES, axis="z")
    assert one is not None
    assert len(one.frames) == 1
    assert stack("t", [], scheme=BONE_PORES, axis="z") is None


def test_a_stack_names_voxels_without_a_label() -> None:
    items = [item(z) for z in range(3)]
    whole = stack("t", items, scheme=BONE_PORES, axis="z")
    items[1].truth[:3] = IGNORE
    part = stack("t", items, scheme=BONE_PORES, axis="z")
    assert whole is not None
    assert part is not None
    assert {name for name, _ in part.legend} - {name for name, _ in whole.legend} == {
        "not labelled"
    }


def test_the_paper_around_surfaces_is_cut_off_alike() -> None:
    one, two = (np.full((100, 120, 3), 255, np.uint8) for _ in range(2))
    assert trimmed(one, two)[0].shape == (100, 120, 3)
    one[40:50, 60:70] = 90
    two[45:60, 55:65] = 30
    first, second = trimmed(one, two)
    np.testing.assert_array_equal(first, one[32:68, 47:78])
    np.testing.assert_array_equal(second, two[32:68, 47:78])


def test_pictures_are_reduced_by_averages() -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    assert reduced(picture, 6) is picture
    small = reduced(picture, 3)
    assert small.shape == (2, 3, 3)
    np.testing.assert_array_equal(small[0, 0], np.rint(picture[:2, :2].mean(axis=(0, 1))))


def test_a_contact_sheet_has_a_picture_a_scan() -> None:
    block = sheet([("a · 0.1", item(0)), ("b · 0.9", item(1))], scheme=BONE_PORES)
    assert [p.label for p in block.panels] == ["a · 0.1", "b · 0.9"]
    assert block.small


def ball(shape: tuple[int, int, int], radii: tuple[float, float, float]) -> np.ndarray:
    grid = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    return ((grid / np.array(radii).reshape(3, 1, 1, 1)) ** 2).sum(0) < 1


def drawn(mask: np.ndarray, marked: np.ndarray, spacing=(1.0, 1.0, 1.0)) -> np.ndarray:
    return rendered(
        mask.astype(np.float32), spacing=spacing, marked=marked.astype(np.float32), colour=FALSE
    )


@pytest.mark.parametrize(
    ("shape", "radii", "spacing"),
    [((40, 40, 40), (15, 15, 15), (1.0, 1.0, 1.0)), ((20, 40, 40), (7.5, 15, 15), (2.0, 1.0, 1.0))],
)
def test_a_ball_is_drawn_round_whatever_the_voxels(shape, radii, spacing) -> None:
    mask = ball(shape, radii)
    seen = (drawn(mask, np.zeros(shape), spacing) != 255).any(axis=2)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    step = np.linalg.norm((np.array(shape) + 4) * spacing) / SIDE
    assert width * step == pytest.approx(30, rel=0.06)
    assert height == pytest.approx(width, rel=0.04)
    assert seen.sum() == pytest.approx(np.pi / 4 * height * width, rel=0.03)


def test_errors_are_coloured_on_the_side_that_is_seen_and_z_is_up() -> None:
    mask = ball((40, 40, 40), (15, 15, 15))
    top = mask.copy()
    top[:30] = False
    picture = drawn(mask, top).astype(int)
    green = (picture[..., 1] - picture[..., 0] > 60) & (picture != 255).any(axis=2)
    rows = np.nonzero(green)[0]
    assert len(rows) > 100
    assert rows.max() < SIDE * 0.55  # the high end of z is above
    plain = drawn(mask, np.zeros_like(mask)).astype(int)
    assert (plain[..., 0] >= plain[..., 2]).all()  # bone has no green, no blue
    assert (drawn(np.zeros((5, 5, 5)), np.zeros((5, 5, 5))) == 255).all()


def test_figures_are_written_beside_the_report(tmp_path: Path) -> None:
    surface = np.full((8, 8, 3), 7, np.uint8)
    shapes = [ScanShape("a/b c", {}, (surface, surface))]
    scores = {"a/b c": np.array([[1.0, 0.5, np.nan], [1.0, 0.7, 0.2]])}
    write_figures(tmp_path, shapes, [item(3)], scores, scheme=BONE_PORES)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [
        "a_b_c_surface_labels.png",
        "a_b_c_surface_truth.png",
        "iou_by_slice.svg",
        "s_slice_3_disagreement.png",
        "s_slice_3_labels.png",
        "s_slice_3_scan.png",
        "s_slice_3_truth.png",
    ]
    png = (tmp_path / "a_b_c_surface_truth.png").read_bytes()
    np.testing.assert_array_equal(imagecodecs.png_decode(png), surface)
    import xml.etree.ElementTree as tree

    root = tree.parse(tmp_path / "iou_by_slice.svg").getroot()  # noqa: S314 - our own file
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_tables_of_surface_and_topology_name_units_and_leave_out_what_was_not_measured() -> None:
    def row(name: str, metric: str, value: float, unit: str = "1") -> dict[str, object]:
        return {"scan": "s", "class": name, "metric": metric, "value": value, "unit": unit, "n": 1}

    rows = [
        row("bone", "assd", 12.345, "um"),
        row("bone", "nsd", 0.98765),
        row("all", "surface_tolerance", 10, "um"),
        row("bone", "truth_objects", 1234),
        row("bone", "conn_d_error", -0.4217),
    ]
    surface, topology = shape_tables(rows, ["s"], BONE_PORES)
    assert surface.heading == "Surface"
    cells = [c if isinstance(c, str) else c.text for c in surface.blocks[0].rows[0]]  # type: ignore[union-attr]
    assert cells == ["s", "bone", "12.3 µm", "0.988", "10 µm"]
    cells = [c if isinstance(c, str) else c.text for c in topology.blocks[0].rows[0]]  # type: ignore[union-attr]
    assert cells == ["s", "bone", "1,234", "-42.2%"]
    assert shape_tables(rows[:0], ["s"], BONE_PORES) == []
