"""The loop a person goes through: predict, paint, review, fine-tune, see the change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari", reason="the window needs the extra gui")
pytest.importorskip("pytestqt", reason="the window is tested by pytest-qt")

from osteon.datasets import Manifest
from osteon.formats import open_volume
from osteon.settings import FitSettings, load_settings

from .common import PATIENCE_MS, fit_widget, put, wait_for


@pytest.fixture
def predict_widget(viewer: Any, qtbot: Any, scan: Path, tmp_path: Path) -> Any:
    from osteon.napari.predicting import PredictWidget

    put(viewer, scan)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(tmp_path / "work")
    widget.form.field("backend").put("torch")
    return widget


def test_a_prediction_stops_goes_on_and_is_that_of_the_command(
    viewer: Any, qtbot: Any, scan: Path, tmp_path: Path, predict_widget: Any
) -> None:
    import osteon
    from osteon.settings import PredictSettings

    widget = predict_widget
    widget.predict_whole()
    widget.work.stop()
    wait_for(qtbot, widget)
    assert "press ‘Predict the whole scan’ again" in widget.said.text()
    layer = viewer.layers["tube.nrrd: bone-pores"]
    kept = np.flatnonzero(np.asarray(layer.data).any(axis=(1, 2)))
    widget.predict_whole()
    wait_for(qtbot, widget)
    assert "Labels:" in widget.said.text(), widget.said.text()
    settings = PredictSettings(backend="torch")
    [run] = osteon.predict([scan], out=tmp_path / "command.tif", settings=settings)
    assert run.labels is not None
    wanted = open_volume(run.labels).read(slice(None))
    np.testing.assert_array_equal(np.asarray(layer.data), wanted)
    assert set(np.unique(wanted)) == {0, 1, 2}
    assert kept.tolist() == list(range(len(kept)))
    saved = open_volume(tmp_path / "work" / "tube.bone-pores.tif")
    np.testing.assert_array_equal(saved.read(slice(None)), wanted)
    # Some slices give the same as the whole scan.
    layer.data[:] = 0
    widget.first.setValue(2)
    widget.last.setValue(3)
    widget.predict_slab()
    widget.work.stop()
    wait_for(qtbot, widget)
    assert "press ‘Predict slices’ again" in widget.said.text()
    widget.predict_slab()
    wait_for(qtbot, widget)
    np.testing.assert_array_equal(np.asarray(layer.data[2:4]), wanted[2:4])
    assert not np.asarray(layer.data[[0, 1, 4, 5]]).any()


def test_preview_review_and_take_back(
    viewer: Any, qtbot: Any, scan: Path, tmp_path: Path, predict_widget: Any
) -> None:
    from osteon.napari.learning import LearnWidget

    viewer.dims.set_current_step(0, 2)
    predict_widget.doubt.setChecked(True)
    predict_widget.preview()
    wait_for(qtbot, predict_widget)
    assert predict_widget.said.text().startswith("Labelled slice 2.")
    doubt = viewer.layers["uncertainty of tube.nrrd"]
    assert doubt.data[2].max() > 0
    assert not doubt.data[[0, 1, 3, 4, 5]].any()
    layer = viewer.layers["tube.nrrd: bone-pores"]
    widget = LearnWidget(viewer)
    qtbot.addWidget(widget)
    widget.labels.choose(layer)
    widget.paint_with(2)
    assert (layer.mode, layer.selected_label) == ("paint", 2), widget.said.text()
    layer.paint((2, 5, 5), 2)  # what the brush calls
    widget.mark()
    widget.viewer.dims.set_current_step(0, 4)
    widget.mark()
    assert "2, 4" in widget.reviewed.text()
    manifest = Manifest.load(tmp_path / "work" / "corrections" / "dataset.toml")
    assert manifest.scans[0].mask_slices == (2, 4)
    kept = open_volume(manifest.resolve(str(manifest.scans[0].mask)) / "000002.tif")
    np.testing.assert_array_equal(kept.read(slice(0, 1))[0], layer.data[2])
    assert layer.data[2, 5, 5] == 2
    widget.unmark()
    assert "4" not in widget.reviewed.text()


def test_the_most_uncertain_slice_comes_first(viewer: Any, qtbot: Any, predict_widget: Any) -> None:
    from osteon.napari.learning import LearnWidget

    widget = LearnWidget(viewer)
    qtbot.addWidget(widget)
    widget.uncertain.count.setValue(3)
    widget.find()
    wait_for(qtbot, widget)
    ranked = widget.uncertain.ranked()
    assert sorted(ranked) == [1, 3, 5]
    shown = viewer.layers["uncertainty of tube.nrrd"].data
    means = [shown[z].mean() for z in ranked]
    assert means == sorted(means, reverse=True)
    widget.uncertain.picked.emit(ranked[0])
    assert viewer.dims.current_step[0] == ranked[0]


def test_the_uncertainty_of_the_whole_scan_ranks_its_slices(
    viewer: Any, qtbot: Any, tmp_path: Path, predict_widget: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osteon.napari.learning import LearnWidget
    from osteon.napari.predictors import Predictors

    predict_widget.doubt.setChecked(True)
    predict_widget.predict_whole()
    wait_for(qtbot, predict_widget)
    assert "Labels:" in predict_widget.said.text(), predict_widget.said.text()
    written = open_volume(tmp_path / "work" / "tube.bone-pores.tif.uncertainty.ome.zarr")
    values = written.read(slice(None))
    assert values.max() > 0
    name = "uncertainty of tube.nrrd, whole scan"
    np.testing.assert_array_equal(np.asarray(viewer.layers[name].data), values)
    # It is in the file: no slice has to be labelled to find the uncertain ones.
    monkeypatch.setattr(Predictors, "get", None)
    widget = LearnWidget(viewer)
    qtbot.addWidget(widget)
    layer = viewer.layers["tube.nrrd: bone-pores"]
    viewer.add_labels(np.zeros((6, 64, 64), np.uint8), name="other")
    widget.labels.choose(viewer.layers["other"])
    widget.uncertain.count.setValue(4)
    widget.find()
    wait_for(qtbot, widget)
    assert "The 4 most uncertain of all 6 slices" in widget.said.text(), widget.said.text()
    assert widget.labels.layer is layer  # what is to be corrected, not the truth
    means = values.reshape(6, -1).mean(1)
    assert widget.uncertain.ranked() == np.argsort(-means)[:4].tolist()
    assert f"{means.max() / 255:.1%} uncertain" in widget.uncertain.list.item(0).text()
    assert [x.name for x in viewer.layers].count(name) == 1


def test_nothing_reviewed_is_told(viewer: Any, qtbot: Any, predict_widget: Any) -> None:
    from osteon.napari.learning import LearnWidget

    widget = LearnWidget(viewer)
    qtbot.addWidget(widget)
    widget.fine_tune()
    assert "no slice is reviewed yet" in widget.said.text().lower()


def test_the_fit_widget_checks_and_says_what_is_missing(
    viewer: Any, qtbot: Any, scan: Path, mask: Path, tmp_path: Path
) -> None:
    from osteon.napari.fitting import FitWidget

    put(viewer, scan)
    put(viewer, mask)
    widget = FitWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(tmp_path / "work")
    widget.check()
    assert "No dataset was chosen" in widget.said.text()
    assert not widget.start_button.isEnabled()
    widget.add_pair()
    widget.use_pairs()
    assert widget.dataset.path is not None, widget.said.text()
    row = Manifest.load(widget.dataset.path).scans[0]
    assert (row.name, row.specimen) == ("tube", "tube")
    widget.form.field("patches.size").put(64)
    widget.check()
    qtbot.waitUntil(lambda: widget.check_button.isEnabled(), timeout=PATIENCE_MS)
    assert "specimen" in widget.findings.toPlainText()
    assert widget.start_button.isEnabled()
    widget.form.field("seed").put(7)
    assert not widget.start_button.isEnabled()  # what was checked is no longer what is asked for
    widget.run.set_path(tmp_path)
    widget.resume()
    assert "no folder of a run" in widget.said.text()


def quick(settings: FitSettings) -> FitSettings:
    """A few steps of the same fit."""
    steps = ["training.epochs=1", "training.max_minutes=none", "training.batch_size=2",
             "training.workers=0", "training.precision=fp32", "patches.size=64",
             "patches.per_slice=2"]  # fmt: skip
    data = settings.model_dump(mode="json")
    from osteon.settings import apply_overrides

    apply_overrides(data, steps)
    return FitSettings.model_validate(data)


@pytest.mark.slow
def test_fine_tune_and_see_the_change(
    viewer: Any, qtbot: Any, scan: Path, mask: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import osteon
    from osteon.napari.learning import LearnWidget
    from osteon.workflows import fine_tuning

    whole = fine_tuning.fine_tune_settings
    monkeypatch.setattr(fine_tuning, "fine_tune_settings", lambda *a, **k: quick(whole(*a, **k)))
    put(viewer, scan)
    truth = put(viewer, mask)
    widget = LearnWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(tmp_path / "work")
    widget.labels.choose(truth)
    for z in (1, 3):
        viewer.dims.set_current_step(0, z)
        widget.mark()
    widget.fine_tune()
    qtbot.waitUntil(lambda: "The new model" in widget.said.text(), timeout=PATIENCE_MS)
    assert "of the voxels of slice 3 differently" in widget.said.text()
    run = tmp_path / "work" / "fits" / "fit-1"
    assert widget.session.model == run / "model.safetensors"
    assert len(widget.curves.rows) == 1
    changed = viewer.layers["tube.nrrd: changed by fit-1"]
    share = float(np.mean(np.asarray(changed.data[3]) > 0))
    assert f"labels {share:.1%} of the voxels of slice 3" in widget.said.text()
    # The same settings from the command line give the same model.
    settings = load_settings(FitSettings, run / "settings.yaml")
    again = osteon.fit(
        tmp_path / "work" / "corrections" / "dataset.toml",
        out=tmp_path / "again",
        settings=settings,
    )
    from osteon.model_file import load_model, weights_digest

    first, second = (load_model(p) for p in (run / "model.safetensors", again.model))
    assert weights_digest(first.weights) == weights_digest(second.weights)


@pytest.mark.slow
def test_a_fit_is_stopped_and_gone_on_with(
    viewer: Any, qtbot: Any, scan: Path, mask: Path, tmp_path: Path
) -> None:
    widget = fit_widget(viewer, qtbot, scan=scan, mask=mask, work=tmp_path / "work")
    for name, value in {"patches.size": 96, "training.batch_size": 2, "training.epochs": 200,
                        "training.workers": "0", "validation.method": "none",
                        "training.precision": "fp32"}.items():  # fmt: skip
        widget.form.field(name).put(value)
    widget.check()
    qtbot.waitUntil(lambda: widget.start_button.isEnabled(), timeout=PATIENCE_MS)
    widget.start()
    qtbot.waitUntil(lambda: len(widget.curves.rows) >= 2, timeout=PATIENCE_MS)
    assert "Note: Slices smaller than the patch" in widget.warned.text()
    widget.process.stop()
    qtbot.waitUntil(lambda: "was stopped" in widget.said.text(), timeout=PATIENCE_MS)
    run = tmp_path / "work" / "fits" / "fit-1"
    assert (run / "model.safetensors").is_file()
    done = len((run / "log.csv").read_text().splitlines()) - 1
    widget.resume()
    qtbot.waitUntil(lambda: len(widget.curves.rows) >= 1, timeout=PATIENCE_MS)
    assert widget.curves.rows[0]["epoch"] in (done, done + 1)
    widget.process.stop()
    qtbot.waitUntil(lambda: not widget.process.running, timeout=PATIENCE_MS)
