"""The window: what opens how, the widgets, and their errors. Networks run in the other modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari", reason="the window needs the extra gui")
pytest.importorskip("pytestqt", reason="the window is tested by pytest-qt")

from osteon.errors import InputError
from osteon.formats import open_volume

from .common import evaluate_widget, put, wait_for


def test_a_scan_lies_in_micrometres_and_is_read_slice_by_slice(
    viewer: Any, scan: Path, bone: Any
) -> None:
    from osteon.napari.launching import add_scan

    layer = add_scan(viewer, scan)
    assert layer.scale.tolist() == [20, 20, 20]
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    assert viewer.scale_bar.visible
    viewer.dims.set_current_step(0, 4)
    np.testing.assert_array_equal(np.asarray(layer.data[4]), bone[0][4])
    assert not isinstance(layer.data, np.ndarray)


def test_an_unknown_voxel_size_is_shown_as_pixels(viewer: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", np.arange(4 * 9 * 9, dtype=np.uint16).reshape(4, 9, 9))
    layer = put(viewer, tmp_path / "grey.npy")
    assert {str(unit) for unit in layer.units} == {"pixel"}


def test_labels_open_with_their_classes(viewer: Any, mask: Path) -> None:
    layer = put(viewer, mask)
    assert layer._type_string == "labels"
    assert layer.colormap.color_dict[1][:3] == pytest.approx([230 / 255, 159 / 255, 0])
    assert list(layer.features["class"]) == ["background", "bone", "pores", "not labelled"]


def test_a_pyramid_opens_with_all_its_levels(viewer: Any, tmp_path: Path) -> None:
    ome_zarr = pytest.importorskip("ome_zarr.writer")
    import zarr

    grey = np.random.default_rng(1).integers(0, 999, (4, 64, 64), dtype=np.uint16)
    store = tmp_path / "scan.zarr"
    steps = [[{"type": "scale", "scale": [5.0, 5.0 * f, 5.0 * f]}] for f in (1, 2)]
    ome_zarr.write_multiscale(
        [grey, grey[:, ::2, ::2]], zarr.open_group(store, mode="w"),
        axes=[{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"],
        coordinate_transformations=steps,
    )  # fmt: skip
    layer = put(viewer, store)
    assert layer.multiscale
    assert [tuple(level.shape) for level in layer.data] == [(4, 64, 64), (4, 32, 32)]
    np.testing.assert_array_equal(np.asarray(layer.data[1][2]), grey[2, ::2, ::2])


def test_labels_are_saved_in_every_format_that_keeps_them(
    viewer: Any, mask: Path, bone: Any, tmp_path: Path
) -> None:
    from osteon.napari.writing import write_labels

    layer = put(viewer, mask)
    data, meta, _ = layer.as_layer_data_tuple()
    for suffix in (".tif", ".nrrd", ".zarr"):
        [written] = write_labels(str(tmp_path / f"saved{suffix}"), data, meta)
        again = open_volume(written)
        np.testing.assert_array_equal(again.read(slice(None)), bone[1])
        assert again.geometry.voxel_size == (20.0, 20.0, 20.0)
        assert again.labels is not None
        assert again.labels.names == ("background", "bone", "pores")


def test_what_is_no_scan_is_left_to_others(tmp_path: Path) -> None:
    from osteon.napari.reading import get_reader

    (tmp_path / "notes.txt").write_text("no scan")
    assert get_reader(str(tmp_path / "notes.txt")) is None
    assert get_reader(str(tmp_path / "missing.tif")) is None


def test_the_manifest_names_what_there_is() -> None:
    from importlib import import_module, resources

    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(str(resources.files("osteon.napari") / "napari.yaml"))
    for command in manifest.contributions.commands or []:
        module, _, name = str(command.python_name).partition(":")
        assert hasattr(import_module(module), name), command.id
    assert len(manifest.contributions.widgets or []) == 4


def test_predict_without_a_scan_or_with_a_layer_of_no_file(viewer: Any, qtbot: Any) -> None:
    from osteon.napari.predicting import PredictWidget

    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.preview()
    assert widget.said.text().startswith("There is no image layer to be used as the scan")
    viewer.add_image(np.zeros((3, 8, 8)), name="drawn")
    widget.preview()
    assert "comes from no file" in widget.said.text()
    assert "What to do: save it" in widget.said.text()


def test_predict_with_a_model_that_is_gone(
    viewer: Any, qtbot: Any, scan: Path, tmp_path: Path
) -> None:
    from osteon.napari.predicting import PredictWidget

    put(viewer, scan)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.add_model(tmp_path / "fit-1" / "model.safetensors")
    for action in (widget.preview, widget.predict_whole):
        action()
        wait_for(qtbot, widget)
        assert "model.safetensors" in widget.said.text()
        assert "bug" not in widget.said.text()


def test_a_full_disk_is_told(
    viewer: Any, qtbot: Any, scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osteon.napari import session

    put(viewer, scan)
    monkeypatch.setattr(session.shutil, "disk_usage", lambda _: type("U", (), {"free": 10})())
    from osteon.napari.learning import LearnWidget

    widget = LearnWidget(viewer)
    qtbot.addWidget(widget)
    layer = viewer.add_labels(_Lazy(), name="read")
    widget.labels.choose(layer)
    widget.paint_with(1)
    assert "the disk has 0 MiB left" in widget.said.text()
    assert "What to do: make room" in widget.said.text()


class _Lazy:
    """Labels that are read from somewhere."""

    shape, dtype, ndim, size = (6, 64, 64), np.dtype(np.uint8), 3, 6 * 64 * 64

    def __getitem__(self, key: Any) -> Any:
        return np.zeros(self.shape, self.dtype)[key]


def test_labels_of_another_shape_are_refused(viewer: Any, qtbot: Any, scan: Path) -> None:
    from osteon.napari.learning import LearnWidget

    put(viewer, scan)
    viewer.add_labels(np.zeros((6, 64, 32), np.uint8), name="other")
    widget = LearnWidget(viewer)
    qtbot.addWidget(widget)
    widget.mark()
    assert "(6, 64, 32) and (6, 64, 64)" in widget.said.text()


def test_evaluate_two_layers(viewer: Any, qtbot: Any, scan: Path, mask: Path, bone: Any,
                             tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    import osteon
    from osteon.napari import evaluating

    put(viewer, scan)
    truth = put(viewer, mask)
    wrong = bone[1].copy()
    wrong[2, 20:40, 20:40] = 0
    found = viewer.add_labels(wrong, name="found")
    widget = evaluate_widget(viewer, qtbot, truth=truth, found=found, work=tmp_path / "work")
    widget.evaluate()
    wait_for(qtbot, widget)
    # The same by the public function, as the command line calls it.
    np.save(tmp_path / "found.npy", wrong)
    options = osteon.EvaluateOptions(only_overlap=True)
    same = osteon.evaluate(mask, tmp_path / "found.npy", options=options).evaluation
    cells = [[widget.table.item(i, j).text() for j in range(2)] for i in range(4)]
    names = ["background", "bone", "pores"]
    assert cells[:3] == [[n, f"{same.mean('iou', n)[0]:.3f}"] for n in names]
    overlay = viewer.layers["where found differs"]
    np.testing.assert_array_equal(np.asarray(overlay.data) > 0, wrong != bone[1])
    opened: list[Path] = []
    monkeypatch.setattr(evaluating, "open_in_browser", lambda path: opened.append(path) or True)
    widget.open_report()
    assert opened[0].name == "report.html"
    assert opened[0].is_file()


def test_evaluate_refuses_what_does_not_go_together(viewer: Any, qtbot: Any, mask: Path) -> None:
    from osteon.napari.evaluating import EvaluateWidget

    truth = put(viewer, mask)
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    widget.evaluate()
    assert "truth and labels are the same layer" in widget.said.text().lower()
    small = viewer.add_labels(np.zeros((2, 3, 4), np.uint8), name="small")
    widget.truth.choose(truth)
    widget.labels.choose(small)
    widget.evaluate()
    assert "(6, 64, 64) and (2, 3, 4)" in widget.said.text()


def test_measure_gives_the_figures_of_the_command(
    viewer: Any, qtbot: Any, mask: Path, tmp_path: Path
) -> None:
    import osteon
    from osteon.napari.evaluating import EvaluateWidget

    put(viewer, mask)
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    widget.session.choose_folder(tmp_path / "work")
    widget.measure()
    wait_for(qtbot, widget)
    bones = osteon.measure(mask).bones
    shown = {widget.table.item(i, 0).text(): widget.table.item(i, 2).text()
             for i in range(widget.table.rowCount())}  # fmt: skip
    assert len(shown) == len(bones[0].figures)
    value = bones[0].figures["ct-th"].value
    assert value is not None
    assert shown["Ct.Th"] == f"{value:.4g}"
    known = [cell != "–" for cell in shown.values()]
    assert known == sorted(known, reverse=True)  # what could not be measured is at the end


def test_a_scan_that_is_gone_is_told(tmp_path: Path) -> None:
    from osteon.napari.layers import layers_of

    with pytest.raises(InputError, match="no such file"):
        layers_of(tmp_path / "gone.tif")


def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osteon.cli import main

    with pytest.raises(SystemExit) as end:
        main(["gui", str(tmp_path / "gone")])
    assert end.value.code == 3
    assert "there is no such file or folder" in capsys.readouterr().err
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(SystemExit) as end:
        main(["gui"])
    assert end.value.code == 6
    assert "there is no screen" in capsys.readouterr().err


class _Running:
    """Work that never ends by itself."""

    def __init__(self) -> None:
        self.running, self.asked_to_stop = True, False

    def stop(self) -> None:
        self.asked_to_stop = True
        self.running = False

    def wait(self, seconds: float = 0) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "closes", "stops"), [("stay", False, False), ("stop", True, True),
                                    ("leave", True, False)]
)  # fmt: skip
def test_the_window_asks_before_it_closes_over_work(
    screen: None,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    closes: bool,
    stops: bool,
) -> None:
    from qtpy.QtWidgets import QMainWindow, QWidget

    from osteon.napari import closing

    window, widget, runs = QMainWindow(), QWidget(), _Running()
    qtbot.addWidget(window)
    window.setCentralWidget(widget)
    asked = []
    monkeypatch.setattr(closing, "ask", lambda _, what, goes_on: asked.append(what) or answer)
    closing.keep_from_closing(widget, runs, "A fit", goes_on=True)
    qtbot.wait(50)
    window.show()
    assert window.close() is closes
    assert asked == ["A fit"]
    assert runs.asked_to_stop is stops
    runs.running = False
    asked.clear()
    assert window.close()
    assert asked == []


def test_what_was_painted_outlives_the_window(
    viewer: Any, qtbot: Any, scan: Path, mask: Path, tmp_path: Path
) -> None:
    from osteon.labels import BONE_PORES
    from osteon.napari.result import labels_layer
    from osteon.napari.session import make_paintable, session_of

    session = session_of(viewer)
    session.choose_folder(tmp_path / "work")
    image = put(viewer, scan)
    layer = labels_layer(viewer, session, image, name="tube: m", scheme=BONE_PORES)
    layer.data[3, 5, 6] = 2
    # What a kill leaves: the file, and nothing else.
    viewer.layers.remove(layer)
    again = labels_layer(viewer, session, image, name="tube: m", scheme=BONE_PORES)
    assert np.argwhere(np.asarray(again.data)).tolist() == [[3, 5, 6]]
    truth = put(viewer, mask)
    copies = [tmp_path / "work" / "now" / name for name in ("t.npy", "t-2.npy")]
    for copy in copies:
        truth.data = layers_data(mask)
        make_paintable(truth, copies[0])
        truth.data[0, 0, 0] = 1
        assert np.load(copy)[0, 0, 0] == 1
    assert open_volume(mask).read(slice(0, 1))[0, 0, 0] == 0


def layers_data(path: Path) -> Any:
    from osteon.napari.layers import layers_of

    return layers_of(path)[0][0]


_OPEN = """
import json, sys
from pathlib import Path
from npe2 import PluginManager
from osteon.napari.launching import open_window
manager = PluginManager.instance()
manager.discover()
if "osteon" not in manager:
    sys.exit(77)
viewer = open_window([Path(sys.argv[1])])
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QTabBar
QTest.qWait(200)
bars = viewer.window._qt_window.findChildren(QTabBar)
tabs = [bar.tabText(i) for bar in bars for i in range(bar.count())]
print(json.dumps({"tabs": tabs, "layers": [layer.name for layer in viewer.layers]}))
viewer.close()
"""


@pytest.mark.slow
def test_the_window_opens_with_its_widgets(screen: None, scan: Path) -> None:
    from osteon.napari import launching

    words = [sys.executable, "-W", "ignore", "-c", _OPEN, str(scan)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("osteon was installed before it had a window: install it again")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert set(launching.WIDGETS) <= set(shown["tabs"])
    assert shown["layers"] == ["tube.nrrd"]


def test_messages_name_what_is_in_the_window(tmp_path: Path) -> None:
    from osteon.errors import OutputError
    from osteon.files import refuse_existing
    from osteon.napari.work import in_words

    with pytest.raises(OutputError) as error:
        refuse_existing(tmp_path, overwrite=False)
    text = in_words(error.value)
    assert "tick ‘Replace what exists’" in text
    assert "--" not in text
    assert in_words(ZeroDivisionError("x")).startswith("This is a bug in osteon.")


def test_the_sample_is_a_bone_with_its_labels(
    viewer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from osteon.napari import samples
    from osteon.settings import SimulateSettings

    small = SimulateSettings(kinds=("shaft",), size=64, slices=8, seed=7)
    monkeypatch.setattr(samples, "SAMPLE", small)
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix: str(tmp_path))
    for data, keywords, kind in samples.simulated_bone():
        getattr(viewer, f"add_{kind}")(data, **keywords)
    assert [layer._type_string for layer in viewer.layers] == ["image", "labels"]
    image, labels = (np.asarray(layer.data) for layer in viewer.layers)
    assert image.shape == labels.shape == (8, 64, 64)
    assert image[labels == 1].mean() > image[labels == 0].mean()
    assert viewer.layers[0].scale[0] > 1  # µm


def test_the_bar_tells_the_time_left(screen: None, qtbot: Any) -> None:
    from osteon.events import Event
    from osteon.napari.parts import ProgressRow

    row = ProgressRow()
    qtbot.addWidget(row)
    row.begin()
    row.tell(Event("progress", "predict", 3, 12, "slice", 150.0))
    assert (row.bar.value(), row.bar.maximum(), row.left.text()) == (3, 12, "2 min left")
    asked: list[int] = []
    row.stopped.connect(lambda: asked.append(1))
    row.button.click()
    assert asked == [1]
    row.tell(Event("progress", "predict", 4, 12, "slice", 100.0))
    assert row.left.text() == "stopping …"  # until it has stopped
