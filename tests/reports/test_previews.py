from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from osteon.errors import OutputError, UsageError
from osteon.labels import BONE_PORES
from osteon.reports import previews
from osteon.reports.pictures import UNLABELLED
from osteon.reports.previews import PatchPair, write_preview


def pair(name: str = "a", *, side: int = 256, value: float = 0.0) -> PatchPair:
    """Left half black, right half white; the lower half is bone, a strip is not labelled."""
    image = np.full((side, side), -1.0, np.float32)
    image[:, side // 2 :] = 1
    labels = np.zeros((side, side), np.uint8)
    labels[side // 2 :] = 1
    after = labels.copy()
    after[: side // 4] = 255
    return PatchPair(name, "slice 3", image, labels, image + value, after, ("blur 1 px",), 20.0)


def cell(sheet: np.ndarray, number: int, *, row: int = 0) -> np.ndarray:
    left = previews._RIM + number * (previews._CELL + previews._GAP)
    top = previews._HEAD + (row + 1) * previews._CAPTION - 4 + row * previews._CELL
    return sheet[top : top + previews._CELL, left : left + previews._CELL]


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"), int)


@pytest.mark.parametrize("side", [64, 256, 1024])
def test_the_four_pictures_of_a_row(tmp_path: Path, side: int) -> None:
    write_preview(tmp_path / "s.png", [pair(side=side)], scheme=BONE_PORES, title="Patches")
    sheet = read(tmp_path / "s.png")
    # Pixels well inside of each quarter: (y, x) of the cell.
    upper_left, lower_right, strip = (100, 60), (200, 200), (30, 60)
    before, labels, after, its = (cell(sheet, n) for n in range(4))
    for picture in (before, after):
        np.testing.assert_array_equal(picture[upper_left], [0, 0, 0])
        np.testing.assert_array_equal(picture[lower_right], [255, 255, 255])
    bone = BONE_PORES.classes[1].colour
    for picture in (labels, its):
        np.testing.assert_array_equal(picture[upper_left], [0, 0, 0])
        # Half bone's colour, half white.
        np.testing.assert_allclose(picture[lower_right], (np.array(bone) + 255) / 2, atol=1)
    np.testing.assert_array_equal(labels[strip], [0, 0, 0])
    np.testing.assert_allclose(its[strip], 0.7 * np.array(UNLABELLED), atol=1)


def test_all_rows_share_a_window(tmp_path: Path) -> None:
    # The second is half as bright: it must not be stretched to white.
    faint = pair("b")
    faint = PatchPair("b", "slice 4", *(v / 2 for v in (faint.before,)), *(
        faint.before_labels, faint.after / 2, faint.after_labels))  # fmt: skip
    write_preview(tmp_path / "s.png", [pair(), faint], scheme=BONE_PORES, title="Patches")
    picture = cell(read(tmp_path / "s.png"), 0, row=1)
    np.testing.assert_allclose(picture[200, 200], 255 * 0.75, atol=1)
    np.testing.assert_allclose(picture[100, 60], 255 * 0.25, atol=1)


def test_long_sheets_have_two_halves(tmp_path: Path) -> None:
    sizes = []
    for rows in (6, 7):
        write_preview(tmp_path / f"{rows}.png", [pair()] * rows, scheme=BONE_PORES, title="Patches")
        sizes.append(read(tmp_path / f"{rows}.png").shape)
    assert sizes[1][1] > 1.9 * sizes[0][1]
    assert sizes[1][0] < 0.8 * sizes[0][0]


def test_the_page_names_what_was_done(tmp_path: Path) -> None:
    rows = [pair("one & only"), pair("two")]
    path = tmp_path / "s.html"
    write_preview(path, rows, scheme=BONE_PORES, title="Patches", notes=["Seed: 42."])
    page = path.read_text(encoding="utf-8")
    assert len(re.findall(r"<img\b", page)) == 8
    for text in ("one &amp; only · slice 3", "blur 1 px", "Seed: 42.", "not labelled", "pores"):
        assert text in page
    assert "http" not in re.sub(r"data:\S+|xmlns\S+", "", page)


def test_names_with_mathematics_and_without_end_are_drawn(tmp_path: Path) -> None:
    rows = [pair("$\\frac{$ " + "x" * 300)]
    write_preview(tmp_path / "s.png", rows, scheme=BONE_PORES, title="$\\alpha")
    assert read(tmp_path / "s.png").any()


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet", "sheet.png.txt"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="PNG picture or an HTML page"):
        write_preview(tmp_path / name, [pair()], scheme=BONE_PORES, title="Patches")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["s.png", "s.html", "S.PNG"])
def test_nothing_is_replaced_unasked(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_preview(path, [pair()], scheme=BONE_PORES, title="Patches")
    assert path.read_text() == "mine"
    write_preview(path, [pair()], scheme=BONE_PORES, title="Patches", overwrite=True)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("name", ["s.png", "s.html"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="file is where a folder is needed"):
        write_preview(tmp_path / "file" / name, [pair()], scheme=BONE_PORES, title="Patches")


def test_no_patches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no patches"):
        write_preview(tmp_path / "s.png", [], scheme=BONE_PORES, title="Patches")
