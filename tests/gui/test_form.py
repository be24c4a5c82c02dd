"""The forms: every setting is there, none is only there, and YAML goes both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("napari", reason="the window needs the extra gui")
pytest.importorskip("pytestqt", reason="the window is tested by pytest-qt")

from osteon.errors import UsageError
from osteon.settings import (
    FitSettings,
    MeasureSettings,
    PredictSettings,
    load_settings,
    settings_help,
)

pytestmark = pytest.mark.usefixtures("screen")
CHANGED = [
    "mode=3D", "seed=4294967295", "voxel_size=20.5", "patches.size=96", "patches.must_hold=pores",
    "network.decoder_channels=[128, 64, 32, 16, 16]", "network.weights=old.safetensors",
    "loss=focal", "loss.gamma=1.5", "loss.class_weights=[1, 2, 3]", "optimiser=sgd",
    "optimiser.momentum=0.5", "schedule=one-cycle", "schedule.warmup=0.3",
    "validation.specimens=[mouse 1, mouse 2]", "training.max_minutes=12", "training.threads=2",
    "training.devices=all", "training.disk_cache=off", "training.clip_norm=1.0",
    "augmentation.preset=strong", "augmentation.strength=0.5",
]  # fmt: skip


def form_of(kind: Any, qtbot: Any, **more: Any) -> Any:
    from osteon.napari.form import SettingsForm

    form = SettingsForm(kind, **more)
    qtbot.addWidget(form)
    return form


@pytest.mark.parametrize("kind", [FitSettings, PredictSettings, MeasureSettings])
def test_no_setting_is_missing_and_none_is_only_in_the_window(kind: Any, qtbot: Any) -> None:
    form = form_of(kind, qtbot)
    assert form.names() == {name for name, _, _ in settings_help(kind)}
    assert form.settings() == kind()


def test_the_fit_widget_has_all_of_them_too(qtbot: Any) -> None:
    from osteon.napari.fitting import BASIC

    form = form_of(FitSettings, qtbot, basic=BASIC)
    assert form.names() == {name for name, _, _ in settings_help(FitSettings)}
    assert set(BASIC) <= form.names()


def test_settings_survive_the_form_and_the_file(qtbot: Any, tmp_path: Path) -> None:
    settings = load_settings(FitSettings, overrides=CHANGED)
    form = form_of(FitSettings, qtbot)
    form.show_settings(settings)
    assert form.settings() == settings
    form.save(tmp_path / "fit.yaml")
    assert load_settings(FitSettings, tmp_path / "fit.yaml") == settings
    form.reset()
    assert form.settings() == FitSettings()
    form.load(tmp_path / "fit.yaml")
    assert form.settings() == settings


def test_measures_and_clean_up_survive_the_form(qtbot: Any) -> None:
    region = ["region=box", "region.centre_um=[10, 20.5, 30]", "measures=[bv-tv, tb-th]"]
    settings = load_settings(MeasureSettings, overrides=region)
    form = form_of(MeasureSettings, qtbot)
    form.show_settings(settings)
    assert form.settings() == settings
    clean = ["cleanup.smallest.bone=500voxels", "cleanup.largest=[bone]", "contiguous=no"]
    wanted = load_settings(PredictSettings, overrides=clean)
    second = form_of(PredictSettings, qtbot)
    second.show_settings(wanted)
    assert second.settings() == wanted


def test_a_wrong_value_is_named(qtbot: Any) -> None:
    form = form_of(FitSettings, qtbot)
    form.field("voxel_size").put("ten")
    with pytest.raises(UsageError, match="voxel_size = 'ten': expected a number"):
        form.settings()


def test_a_value_is_read_as_set_reads_it(qtbot: Any) -> None:
    form = form_of(FitSettings, qtbot)
    form.field("training.average").widget.setText("0.99")
    form.field("network.decoder_channels").widget.setText("[64, 32, 16, 8, 4]")
    found = form.settings()
    assert found.training.average == 0.99
    assert found.network.decoder_channels == (64, 32, 16, 8, 4)
