"""What osteon warns of is seen in the window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari", reason="the window needs the extra gui")
pytest.importorskip("pytestqt", reason="the window is tested by pytest-qt")

from osteon.errors import OsteonWarning, warn
from osteon.events import Reporter

from .common import PATIENCE_MS, evaluate_widget, fit_widget, put, wait_for


def test_work_tells_warnings_each_time_and_not_on_the_console(
    screen: None, qtbot: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    from osteon.napari.noting import Warned
    from osteon.napari.work import Work

    work, warned = Work(), Warned()
    qtbot.addWidget(warned)
    warned.follow(work)

    def task(reporter: Reporter, give: Any) -> str:
        for _ in range(2):
            warn("odd", "this is odd; give it by --voxel-size", where="scan.tif")
        return "done"

    for _ in range(2):
        with qtbot.waitSignal(work.ended, timeout=PATIENCE_MS):
            work.start(task)
        assert warned.text() == "Note: This is odd; fill in ‘Voxel size’ (scan.tif)"
        assert warned.isVisibleTo(warned.parentWidget())
    assert "odd" not in capfd.readouterr().err


def test_only_the_thread_that_warns_is_heard() -> None:
    import threading

    from osteon.napari.warned import hearing

    mine: list[OsteonWarning] = []
    others: list[OsteonWarning] = []

    def other() -> None:
        with hearing(others.append):
            warn("theirs", "of the other")

    with hearing(mine.append):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        warn("mine", "of this one")
    assert [one.name for one in mine] == ["mine"]
    assert [one.name for one in others] == ["theirs"]
    with pytest.warns(OsteonWarning, match="of nobody"):
        warn("nobody", "of nobody")  # nobody listens any more: as ever


def test_a_gap_in_the_slices_is_seen_when_the_scan_is_opened(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    import tifffile

    from osteon.napari.predicting import PredictWidget

    folder = tmp_path / "gappy"
    folder.mkdir()
    for z in (1, 2, 4):
        tifffile.imwrite(folder / f"{z:03}.tif", np.full((16, 16), z, np.uint16))
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    assert not widget.warned.text()
    layer = put(viewer, folder)
    assert widget.warned.text().startswith("Note: "), layer.metadata
    assert "between 2 and 4" in widget.warned.text()
    viewer.layers.remove(layer)
    assert not widget.warned.text()


def test_a_scan_without_bone_is_told_by_each_preview_and_by_the_whole_prediction(
    viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    from osteon.napari.predicting import PredictWidget

    noise = np.random.default_rng(0).normal(100, 5, (6, 64, 64)).clip(0, 255)
    np.save(tmp_path / "noise.npy", noise.astype(np.uint8))
    put(viewer, tmp_path / "noise.npy")
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(tmp_path / "work")
    widget.form.field("backend").put("torch")
    # The second preview finds its model ready: made by the first, as it could be by the warm-up.
    for action in (widget.preview, widget.preview, widget.predict_whole):
        widget.warned.forget()
        action()
        wait_for(qtbot, widget)
        assert "no edges that stand out" in widget.warned.text(), widget.said.text()


def test_an_evaluation_tells_that_voxel_sizes_differ(
    viewer: Any, qtbot: Any, mask: Path, bone: Any, tmp_path: Path
) -> None:
    from osteon.formats import open_writer
    from osteon.labels import BONE_PORES
    from osteon.volume import ArrayVolume, Geometry

    other = tmp_path / "found.nrrd"
    volume = ArrayVolume(bone[1], Geometry((30.0,) * 3))
    with open_writer(other, like=volume, labels=BONE_PORES) as writer:
        writer.write(0, bone[1])
    truth, found = put(viewer, mask), put(viewer, other)
    widget = evaluate_widget(viewer, qtbot, truth=truth, found=found, work=tmp_path / "work")
    widget.evaluate()
    wait_for(qtbot, widget)
    assert "Note: Voxel sizes (z, y, x) differ" in widget.warned.text(), widget.said.text()


def test_a_measurement_tells_that_slices_are_missing(
    viewer: Any, qtbot: Any, bone: Any, tmp_path: Path
) -> None:
    import tifffile

    from osteon.napari.evaluating import EvaluateWidget

    folder = tmp_path / "mask"
    folder.mkdir()
    for z, plane in zip((1, 2, 3, 5, 6, 7), bone[1], strict=True):
        tifffile.imwrite(folder / f"{z:03}.tif", plane)
    layer = put(viewer, folder)
    if layer._type_string != "labels":  # nothing in such a folder says that it holds labels
        viewer.layers.remove(layer)
        layer = viewer.add_labels(layer.data, name="mask", metadata=layer.metadata)
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(tmp_path / "work")
    widget.measured.choose(layer)
    widget.warned.forget()
    widget.measure()
    wait_for(qtbot, widget)
    assert "between 3 and 5" in widget.warned.text(), widget.said.text()


def test_a_check_of_data_tells_that_patches_are_larger_than_slices(
    viewer: Any, qtbot: Any, scan: Path, mask: Path, tmp_path: Path
) -> None:
    widget = fit_widget(viewer, qtbot, scan=scan, mask=mask, work=tmp_path / "work")
    widget.form.field("patches.size").put(96)
    widget.check()
    qtbot.waitUntil(lambda: widget.check_button.isEnabled(), timeout=PATIENCE_MS)
    found = widget.findings.toPlainText() + widget.warned.text()
    assert "are padded to the patch of 96 px" in found, found


def test_refused_memory_is_no_bug() -> None:
    from osteon.napari.work import in_words

    for error in (MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")):
        words = in_words(error)
        assert words.startswith("There is not enough memory")
        assert "What to do: close other programs" in words
        assert "--memory" not in words
        assert "press the button again" in words
    assert "bug" in in_words(RuntimeError("shape mismatch"))
