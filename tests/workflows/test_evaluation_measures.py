"""What an evaluation says about measures of bone, on shapes whose measures are known."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from osteon.cli.app import main
from osteon.errors import Stopped
from osteon.evaluation import Details, Pair, evaluate
from osteon.evaluation.measured import (
    LEFT_OUT,
    Measured,
    error_rows,
    error_table,
    missing,
    relative_error,
)
from osteon.events import Reporter
from osteon.labels import IGNORE, LabelClass, LabelScheme
from osteon.morphometry import measure
from osteon.reports import rendering
from osteon.settings import MeasureSettings
from osteon.volume import ArrayVolume, Geometry
from osteon.workflows import evaluation_measures
from osteon.workflows.evaluation_measures import with_measures

CORE = MeasureSettings(content="trabecular", measures=("bv-tv", "tb-th", "tb-sp"))
Labels = npt.NDArray[np.uint8]


def plates(thick: int) -> Labels:
    """Plates an even number of voxels thick every 12 voxels along y, in pores."""
    out = np.full((10, 48, 20), 2, np.uint8)
    for y in range(0, 48, 12):
        out[:, y + 6 - thick // 2 : y + 6 + thick // 2] = 1
    return out


def volume(labels: npt.NDArray[np.generic], size: float | None = 10.0) -> ArrayVolume:
    return ArrayVolume(labels, Geometry((size,) * 3))


def pair(truth: Labels, labels: Labels, *, size: float | None = 10.0, name: str = "a") -> Pair:
    return Pair(name, volume(truth, size), volume(labels, size))


def values(result: object) -> dict[str, float]:
    scan = result.scans[0]  # type: ignore[attr-defined]
    return {str(r["metric"]): float(str(r["value"])) for r in scan.more}


def compared(one: Pair, scan: ArrayVolume | None = None, **more: object) -> object:
    return with_measures(evaluate([one]), [(one, scan)], **{"settings": CORE, **more})  # type: ignore[arg-type]


def test_plates_that_are_labelled_too_thick() -> None:
    # Even plates measure their own thickness exactly: 4 voxels of 12 against 6 of 12.
    found = values(compared(pair(plates(4), plates(6))))
    assert found["truth_bv-tv"] == pytest.approx(4 / 12)
    assert found["bv-tv_error"] == pytest.approx(0.5)
    assert (found["truth_tb-th"], found["predicted_tb-th"]) == pytest.approx((40.0, 60.0))
    assert found["tb-th_error"] == pytest.approx(0.5)
    assert found["tb-sp_error"] == pytest.approx(6 / 8 - 1)
    assert not any(name.startswith("otsu") for name in found)


def test_the_table_has_no_euler_number_of_topology_s() -> None:
    one = pair(plates(4), plates(6))
    result = with_measures(evaluate([one], what=Details()), [(one, None)], settings=CORE)
    assert "truth_euler" in values(result)
    names = {str(r["name"]) for r in error_table(result)}
    assert "tb-th" in names
    assert names.isdisjoint(LEFT_OUT)


def test_the_summary_says_it_in_words() -> None:
    text = compared(pair(plates(4), plates(6))).sentences()[-1]  # type: ignore[attr-defined]
    assert "BV/TV +50.0 %" in text
    assert "Tb.Sp −25.0 %" in text
    assert "Otsu" not in text


def test_several_scans_average_errors_whichever_way() -> None:
    pairs = [pair(plates(4), plates(6)), pair(plates(6), plates(4), name="b")]
    result = with_measures(evaluate(pairs), [(p, None) for p in pairs], settings=CORE)
    # +50 % and −33.3 %: they must not cancel in the summary; the table has the signed mean.
    assert "BV/TV 41.7 %" in result.sentences()[-1]
    assert result.mean_more("bv-tv_error", "bone")[0] == pytest.approx((0.5 - 1 / 3) / 2)


def test_otsu_finds_bone_that_is_bright() -> None:
    truth = plates(4)
    truth[:, :2] = truth[:, -2:] = 0
    truth[:, 2:4] = truth[:, -4:-2] = 1
    truth[:, :, :1] = truth[:, :, -1:] = 0
    truth[:, 4:-4, 1:3] = truth[:, 4:-4, -3:-1] = 1
    rng = np.random.default_rng(0)
    scan = np.where(truth == 1, 200.0, 80.0) + rng.normal(0, 5, truth.shape)
    result = compared(pair(truth, truth), volume(scan.astype(np.float32)))
    found = values(result)
    assert found["bv-tv_error"] == 0
    assert abs(found["otsu_bv-tv_error"]) < 0.01
    assert abs(found["otsu_tb-th_error"]) < 0.01
    assert any("tuned on the truth" in note for note in result.notes())  # type: ignore[attr-defined]


def test_a_scan_without_grey_values_has_no_otsu() -> None:
    one = pair(plates(4), plates(4))
    result = compared(one, volume(np.zeros(one.truth.shape, np.uint8)))
    assert "otsu_bv-tv" not in values(result)
    assert any("too few grey values" in note for note in result.notes())  # type: ignore[attr-defined]


def test_voxels_without_a_true_label_count_in_neither() -> None:
    truth, labels = plates(4), plates(4)
    truth[:, 24:] = IGNORE
    labels[:, 24:] = 1
    assert values(compared(pair(truth, labels)))["bv-tv_error"] == 0


def test_an_unknown_voxel_size_gives_voxels() -> None:
    result = compared(pair(plates(4), plates(6), size=None))
    rows = {str(r["metric"]): r for r in result.scans[0].more}  # type: ignore[attr-defined]
    assert (rows["truth_tb-th"]["value"], rows["truth_tb-th"]["unit"]) == (4.0, "voxel")
    assert rows["tb-th_error"]["value"] == pytest.approx(0.5)
    assert any("the voxel size is unknown" in n for n in result.notes())  # type: ignore[attr-defined]


def test_what_is_not_resolved_is_said() -> None:
    thin = plates(4)
    thin[thin == 1] = 2
    thin[:, 4::12] = 1
    result = compared(pair(plates(4), thin))
    found = values(result)
    assert math.isnan(found["predicted_tb-th"])
    assert math.isnan(found["tb-th_error"])
    assert found["bv-tv_error"] == pytest.approx(-0.75)
    assert any(
        "Tb.Th of the labels cannot be given: not resolved" in n
        for n in result.notes()  # type: ignore[attr-defined]
    )


def test_slices_that_are_no_neighbours_give_areas_alone() -> None:
    one = Pair("a", volume(plates(4)), volume(plates(6)), contiguous=False)
    result = with_measures(evaluate([one]), [(one, None)])
    found = values(result)
    assert found["b-ar_error"] == pytest.approx(0.5)
    assert "tb-th_error" not in found
    assert any("areas alone" in note for note in result.notes())


def test_labels_without_bone_are_an_error_of_a_hundred_per_cent_or_none() -> None:
    result = compared(pair(plates(4), np.zeros_like(plates(4))))
    assert math.isnan(values(result)["tb-th_error"])
    assert any("every voxel is background" in n for n in result.notes())  # type: ignore[attr-defined]


def test_a_truth_of_background_alone_has_no_errors() -> None:
    nothing = np.zeros_like(plates(4))
    for labels in (nothing, plates(4)):
        result = compared(pair(nothing, labels))
        assert not any(name.startswith("truth_") and "tb-th" in name for name in values(result))
        assert not any(name.endswith("_error") and "bv-tv" in name for name in values(result))
        assert any("of the truth cannot be given" in n for n in result.notes())  # type: ignore[attr-defined]


def test_bones_of_one_voxel_have_volumes_and_no_thickness() -> None:
    one, other = np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8)
    one[4, 4, 4] = other[2, 2, 2] = 1  # and do not overlap
    settings = MeasureSettings(measures=("bv", "tt-ar", "ct-th", "tb-th"))
    found = values(compared(pair(one, other), settings=settings))
    assert found["truth_bv"] == found["predicted_bv"] == pytest.approx(1e-6)
    assert found["bv_error"] == found["tt-ar_error"] == 0
    assert "ct-th_error" not in found
    assert "tb-th_error" not in found


def test_conn_d_has_the_correction_for_edges() -> None:
    # A lattice cut by the faces of the volume: Δχ is not 0 there.
    truth = np.full((16, 16, 16), 2, np.uint8)
    for axis in range(3):
        rods = np.moveaxis(truth, axis, 0)
        rods[:, 2:6, 2:6] = rods[:, 10:14, 2:6] = rods[:, 2:6, 10:14] = rods[:, 10:14, 10:14] = 1
    labels = truth.copy()
    labels[6:10, 2:6, 2:6] = 2  # one strut is lost: one connection fewer
    settings = MeasureSettings(content="trabecular", measures=("conn-d",))
    found = values(compared(pair(truth, labels), settings=settings))
    alone = measure(truth, 10.0, settings=settings)[0].figures["conn-d"].value
    assert found["truth_conn-d"] == pytest.approx(alone)
    # 8 nodes and 12 struts between them: χ = 8 − 12 = −4. The 4 × 3 rods end on faces in 24 disks,
    # which count half: Δχ = −12. Connectivity is 1 + 4 + 12; without Δχ it would be 5.
    tv = (16 * 0.01) ** 3
    assert found["truth_conn-d"] * tv == pytest.approx(17)
    assert found["truth_conn-d"] * tv - found["predicted_conn-d"] * tv == pytest.approx(1)


def test_memory_is_not_taken_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_measures, "UNASKED_BYTES", 1000)
    one = pair(plates(4), plates(6))
    result = compared(one)
    assert "bv-tv_error" not in values(result)
    assert any("--measures" in note for note in result.notes())  # type: ignore[attr-defined]
    assert "bv-tv_error" in values(compared(one, wanted=True))
    assert not evaluate([one]).scans[0].more
    assert compared(one, wanted=False).notes() == evaluate([one]).notes()  # type: ignore[attr-defined]


def test_errors_by_hand() -> None:
    assert relative_error(3.0, 2.0) == 0.5
    assert relative_error(-3.0, -2.0) == -0.5
    assert math.isnan(relative_error(None, 2.0))
    assert math.isnan(relative_error(1.0, 0.0))
    units = {"tb-th": "um", "tb-sp": "um"}
    found = {
        "truth": Measured({"tb-th": 50.0, "tb-sp": None}, units, {"tb-sp": "no space"}),
        "predicted": Measured({"tb-th": 49.0, "tb-sp": 4.0}, units),
        "otsu": Measured({"tb-th": None, "tb-sp": 4.0}, units, {"tb-th": "not resolved: x"}),
    }
    rows = {str(r["metric"]): r["value"] for r in error_rows(found)}
    assert rows["tb-th_error"] == pytest.approx(-0.02)
    assert not any("tb-sp" in name for name in rows)
    assert missing(found) == [
        "Tb.Sp of the truth cannot be given: no space.",
        "Tb.Th of Otsu's labels cannot be given: not resolved: x.",
    ]


def test_other_classes_are_not_measured() -> None:
    scheme = LabelScheme(
        (
            LabelClass("background", 0, (0, 0, 0)),
            LabelClass("bone", 1, (1, 1, 1)),
            LabelClass("metal", 2, (2, 2, 2)),
        )
    )
    one = pair(np.minimum(plates(4), 1), np.minimum(plates(6), 1))
    result = with_measures(evaluate([one], scheme=scheme), [(one, None)])
    assert "bv-tv_error" not in values(result)
    assert any("need the classes bone and pores" in note for note in result.notes())


def test_stopping() -> None:
    class Stop(Reporter):
        @property
        def stopping(self) -> bool:
            return True

    one = pair(plates(4), plates(6))
    result = evaluate([one])
    with pytest.raises(Stopped):
        with_measures(result, [(one, None)], settings=CORE, reporter=Stop())


def test_command_writes_table_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rendering, "SIDE", 40)
    for name, labels in (("t", plates(4)), ("l", plates(6)), ("s", plates(4) * 60)):
        scan = labels + np.arange(20, dtype=np.uint8) if name == "s" else labels
        tifffile.imwrite(tmp_path / f"{name}.tif", scan)
    paths = [str(tmp_path / f"{name}.tif") for name in "tls"]
    arguments = ["evaluate", "--truth", paths[0], "--labels", paths[1], "--scan", paths[2]]
    arguments += ["--out", str(tmp_path / "out"), "--set", "content=trabecular"]
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(arguments))
    assert not ended.value.code
    assert "BV/TV +50.0 %" in capsys.readouterr().out
    with (tmp_path / "out" / "measure_errors.csv").open(newline="") as file:
        rows = {r["name"]: r for r in csv.DictReader(file)}
    assert float(rows["tb-th"]["error"]) == pytest.approx(0.5)
    assert rows["tb-th"]["unit"] == "voxel"
    assert rows["tb-th"]["otsu"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Measures of bone" in page
    assert "+50.0%" in page
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert any(r["metric"] == "tb-th_error" for r in record["rows"])
