from __future__ import annotations

import math
import re
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from osteon.errors import OutputError
from osteon.evaluation import Pair, evaluate
from osteon.labels import BONE_PORES
from osteon.reports import (
    EvaluationReport,
    FitReport,
    SlicePicture,
    write_evaluation_report,
    write_fit_report,
    write_simple_report,
)
from osteon.reports.blocks import Cell, Notes, Section, Table, Text, key_table, number
from osteon.reports.figures import MAX_SCANS, fit_curves, slice_curves
from osteon.volume import ArrayVolume, Geometry

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Reads a page: tags, attributes, the text of the elements, and whether they are balanced."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "defs"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def check_self_contained(self) -> None:
        for tag, attrs in self.tags:
            assert tag not in ("script", "iframe", "object", "embed", "base", "form"), tag
            for name, value in attrs.items():
                assert not name.startswith("on"), name
                if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                    assert (value or "").startswith(("data:", "#")), value
        assert "@import" not in self.source
        assert not re.search(r"url\((?!#|\"#|'#)", self.source)


def labels(shape=(2, 40, 50), seed=0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, shape).astype(np.uint8)
    prediction = np.where(rng.random(shape) < 0.8, truth, 1).astype(np.uint8)
    return rng.normal(100, 20, shape), truth, prediction


def evaluation_report(**more: object) -> EvaluationReport:
    image, truth, prediction = labels()
    size = Geometry((10.0, 10.0, 10.0))
    evaluation = evaluate(
        [
            Pair("first", ArrayVolume(truth, size), ArrayVolume(prediction, size)),
            Pair("second", ArrayVolume(truth), ArrayVolume(truth)),
        ]
    )
    picture = SlicePicture("first", 1, image[1], prediction[1], truth[1], 10.0, "The median.")
    data = {
        "title": "An evaluation",
        "rows": evaluation.table(),
        "confusion": evaluation.pooled,
        "summary": evaluation.sentences(),
        "notes": evaluation.notes(),
        "slices": {s.name: s.slice_scores() for s in evaluation.scans},
        "pictures": [picture],
        "settings": {"outer": {"inner": 3}},
        "versions": {"osteon": "9.9"},
        "files": {"truth": Path("mask.tif")},
    }
    return EvaluationReport(**(data | more))


def history(epochs: int = 5) -> list[dict[str, object]]:
    return [
        {
            "epoch": e,
            "train_loss": 1 / (e + 1),
            "val_loss": 1.1 / (e + 1),
            "val_mean_iou": 0.5 + 0.05 * e,
            "val_iou_background": 0.9,
            "val_iou_bone": 0.61 + 0.05 * e,
            "val_iou_pores": None if e == 0 else 0.4,
            "learning_rate": 1e-3,
            "seconds": 12.5,
        }
        for e in range(epochs)
    ]


def test_evaluation_report_holds_the_figures(tmp_path: Path) -> None:
    data = evaluation_report()
    write_evaluation_report(tmp_path / "r.html", data)
    page = Page(tmp_path / "r.html")
    page.check_self_contained()
    for row in data.rows:
        if row["metric"] in ("iou", "dice", "precision", "recall"):
            assert f"{row['value']:.4f}" in page.words, row
        elif (
            row["unit"] == "voxels" and row["metric"] != "ignored_voxels" and row["scan"] == "first"
        ):
            assert f"{row['value']:,}" in page.words, row
        elif row["unit"] == "mm3" and row["scan"] == "first":
            assert f"{row['value']:.4g}" in page.words, row
    bone = next(
        r["value"]
        for r in data.rows
        if (r["scan"], r["class"], r["metric"]) == ("mean over scans", "bone", "iou")
    )
    assert f"Bone IoU {bone:.3f} over 2 scans" in page.words
    for count in data.confusion.ravel():
        assert f"{count:,}" in page.words
    share = data.confusion[1, 1] / data.confusion[1].sum()
    assert f"{share:.2%}" in page.words
    assert "outer.inner 3" in page.words
    assert "truth mask.tif" in page.words
    assert sum(tag == "img" for tag, _ in page.tags) == 4
    assert "missed bone" in page.words
    assert "100 µm" in page.words  # the scale bar of 500 µm across


def test_fit_report_holds_the_figures(tmp_path: Path) -> None:
    image, truth, prediction = labels()
    data = FitReport(
        title="A fit",
        summary=["It went well."],
        warnings=["Mind the gap."],
        history=history(),
        best_epoch=3,
        split=[
            {"scan": "a", "specimen": "A", "role": "train", "slices": 1200},
            {"scan": "b", "specimen": "B", "role": "validation", "slices": None},
        ],
        pictures=[SlicePicture("b", 0, image[0], prediction[0], truth[0])],
        settings={"patches": {"size": 256, "augment": True}},
    )
    write_fit_report(tmp_path / "r.html", data)
    page = Page(tmp_path / "r.html")
    page.check_self_contained()
    assert "Mean IoU 0.650 validation, epoch 3 Bone IoU 0.760" in page.words
    assert "It went well. Mind the gap." in page.words
    assert "a A train 1,200 b B validation –" in page.words
    assert "patches.size 256 patches.augment yes" in page.words
    assert "0.2500 0.2750 0.6500 0.9000 0.7600 0.4000 0.001 12.5" in page.words  # epoch 3
    assert "No scale bar: the voxel size is unknown." in page.words
    assert sum(tag == "svg" for tag, _ in page.tags) == 1


def test_every_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    image, truth, prediction = labels()
    picture = SlicePicture(evil, 0, image[0], prediction[0], truth[0], 1.0, evil)
    rows = [
        dict(r, scan=evil if r["scan"] == "first" else r["scan"]) for r in evaluation_report().rows
    ]
    extra = {evil: {evil: evil}}
    write_evaluation_report(
        tmp_path / "e.html",
        evaluation_report(
            title=evil, rows=rows, summary=[evil], warnings=[evil], notes=[evil],
            slices={evil: np.full((3, 3), 0.5), "$x^2$ $y$": np.full((3, 3), 0.5)},
            pictures=[picture], settings=extra, versions=extra, files=extra,
        ),
    )  # fmt: skip
    write_fit_report(
        tmp_path / "f.html",
        FitReport(
            title=evil, summary=[evil], warnings=[evil], best_epoch=1,
            history=[dict(h, note=evil) for h in history()],
            split=[{"scan": evil, evil: evil}], pictures=[picture], settings=extra,
        ),
    )  # fmt: skip
    for name in ("e.html", "f.html"):
        page = Page(tmp_path / name)
        page.check_self_contained()
        assert evil in page.words
        assert "<script" not in page.source.lower()
    assert "$x^2$ $y$" in Page(tmp_path / "e.html").words


def test_reports_survive_what_is_missing(tmp_path: Path) -> None:
    nan = {k: math.nan for k in history(1)[0]} | {"epoch": 0}
    for i, records in enumerate(([], [{}], [nan], [{"epoch": 0}], [{"epoch": None}])):
        path = tmp_path / f"{i}.html"
        write_fit_report(path, FitReport("Empty", history=records, best_epoch=0))
        words = Page(path).words
        assert "nan" not in words.lower().split()
        assert "None" not in words
    write_fit_report(tmp_path / "n.html", FitReport("Empty"))
    assert "No epoch was finished." in Page(tmp_path / "n.html").words


def test_an_absent_class_prints_as_a_dash(tmp_path: Path) -> None:
    truth = np.zeros((1, 4, 4), np.uint8)
    evaluation = evaluate([Pair("a", ArrayVolume(truth), ArrayVolume(truth))])
    data = EvaluationReport(
        "None", evaluation.table(), evaluation.pooled, notes=evaluation.notes(),
        slices={"a": evaluation.scans[0].slice_scores()},
        pictures=[SlicePicture("a", 0, np.full((4, 4), np.nan), truth[0], truth[0])],
    )  # fmt: skip
    write_evaluation_report(tmp_path / "r.html", data)
    page = Page(tmp_path / "r.html")
    assert "a 1.0000 – 1.0000 –" in page.words  # mean, bone, background, pores
    assert "Bone IoU – in no scan" in page.words
    assert "nan" not in page.words.lower().split()


def test_an_evaluation_of_no_rows_is_still_a_page(tmp_path: Path) -> None:
    write_evaluation_report(tmp_path / "r.html", EvaluationReport("Nothing", []))
    assert "Mean IoU –" in Page(tmp_path / "r.html").words


def test_a_huge_slice_is_drawn_small_and_fast(tmp_path: Path) -> None:
    image = np.zeros((6000, 9000), np.uint16)
    image[2000:4000] = 40_000
    prediction = (image > 0).astype(np.uint8)
    start = time.process_time()
    write_evaluation_report(
        tmp_path / "r.html",
        evaluation_report(pictures=[SlicePicture("huge", 0, image, prediction, prediction, 2.0)]),
    )
    assert time.process_time() - start < 20  # a second or two, with room for a busy machine
    page = Page(tmp_path / "r.html")
    sizes = {(a["width"], a["height"]) for tag, a in page.tags if tag == "img"}
    assert sizes == {("700", "467")}
    assert len(page.source) < 1_000_000


def test_curves_are_drawn_through_the_figures() -> None:
    svg = fit_curves(history(5), scheme=BONE_PORES, best_epoch=3)
    # A line of 5 epochs has 5 vertices; that of pores begins at its second.
    paths = [p.count("L") + p.count("M") for p in re.findall(r'<path d="(M[^"]*)" clip-path', svg)]
    assert paths.count(5) >= 6  # two losses, mean, background, bone, learning rate
    assert paths.count(4) == 1
    assert "training" in svg
    assert svg.startswith("<svg viewBox")
    assert "metadata" not in svg


def test_curves_by_slice_are_one_panel_a_scan_up_to_a_limit() -> None:
    scans = {f"scan {i}": np.full((4, 3), 0.5) for i in range(MAX_SCANS + 3)}
    svg = slice_curves(scans, scheme=BONE_PORES)
    assert f"scan {MAX_SCANS - 1}<" in svg
    assert f"scan {MAX_SCANS}<" not in svg
    long = slice_curves({f"scan {'x' * 200} {i}": np.ones((2, 3)) for i in "12"}, scheme=BONE_PORES)
    assert "x 1<" in long  # the end of a long name is what tells scans apart
    assert "x 2<" in long
    assert "x" * 50 not in long
    nothing = slice_curves({"all absent": np.full((4, 3), np.nan)}, scheme=BONE_PORES)
    assert "all absent" in nothing


def test_drawing_leaves_the_settings_of_matplotlib_alone() -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 3, "axes.facecolor": "red", "text.usetex": True}):
        before = dict(matplotlib.rcParams)
        svg = slice_curves({"a": np.full((4, 3), 0.5)}, scheme=BONE_PORES)
        assert dict(matplotlib.rcParams) == before
    assert "#ff0000" not in svg


def test_a_simple_report_of_blocks(tmp_path: Path) -> None:
    table = Table(["name", "n"], [["x", number(12_345, ",")], [Cell("y"), number(None)]], "Caption")
    write_simple_report(
        tmp_path / "new" / "r.html",
        title="Simple",
        sections=[Section("Part", [Text(["Words."]), Notes(["Careful."], warning=True), table])],
    )
    page = Page(tmp_path / "new" / "r.html")
    page.check_self_contained()
    assert "Part Words. Careful. Caption name n x 12,345 y –" in page.words
    numbers = [a for tag, a in page.tags if tag in ("td", "th") and a.get("class") == "number"]
    assert len(numbers) == 3  # the column of figures and its heading


def test_settings_are_listed_under_their_dotted_names() -> None:
    nested = {"a": {"b": {"c": 1.5}, "d": (1, "x")}, "e": None, "f": False, "g": {}}
    rows = [[cell.text for cell in row] for row in key_table(nested).rows]
    assert rows == [["a.b.c", "1.5"], ["a.d", "1, x"], ["e", "–"], ["f", "no"], ["g", "–"]]


def test_an_existing_report_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    target.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_fit_report(target, FitReport("New"))
    assert target.read_text() == "mine"
    write_fit_report(target, FitReport("New"), overwrite=True)
    assert "<title>New</title>" in target.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_fit_report(target / "below.html", FitReport("New"))


def test_importing_reports_is_cheap(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys, osteon.reports; "
        "heavy = ('torch', 'matplotlib', 'jinja2', 'osteon.evaluation'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_wild_loss_does_not_flatten_the_others() -> None:
    # 20,000 once and below 2 ever after was seen with a moving batch statistic of a first epoch.
    wild = [
        {"epoch": e, "train_loss": 2.0 / e, "val_loss": v}
        for e, v in enumerate([2e4, 2, 1.5, 1], 1)
    ]
    tame = [{**row, "val_loss": 2.0} for row in wild]
    with_zero = [{**row, "train_loss": 0.0} for row in wild]  # has no logarithm
    titles = [
        "logarithmic" in fit_curves(rows, scheme=BONE_PORES, best_epoch=4)
        for rows in (wild, tame, with_zero)
    ]
    assert titles == [True, False, False]


def test_fit_report_says_what_the_fit_took(tmp_path: Path) -> None:
    write_fit_report(tmp_path / "r.html", FitReport("Fit", costs={"time": "8 min"}))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert re.search(r"What it took.*time.*8 min", page, re.DOTALL)
    write_fit_report(tmp_path / "n.html", FitReport("Fit"))
    assert "What it took" not in (tmp_path / "n.html").read_text(encoding="utf-8")
