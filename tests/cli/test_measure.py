from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from .calling import call, phantom, refused, setting, write_slices


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    _, array = phantom(1, shape=(12, 40, 48))
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.02, 0.02, 0.02))  # mm
    path = tmp_path / "femur.nrrd"
    sitk.WriteImage(image, str(path))
    return path


def test_tables_compartments_and_maps_are_written(labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = call("measure", "--labels", labels, "--out", out, "--maps")
    assert ran.code == 0, ran.err
    assert "Ct.Th" in ran.out
    with (out / "measures.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    assert float(row["BV [mm3]"]) == pytest.approx(np.count_nonzero(array == 1) * 0.02**3)
    assert (row["scan"], row["bone"], float(row["voxel_z_um"])) == ("femur", "1", 20.0)
    record = json.loads((out / "measures.json").read_text())
    assert (record["kind"], record["schema"]) == ("measures", 1)
    measured = record["bones"][0]["measures"]
    assert measured["ct-th"]["value"] == pytest.approx(float(row["Ct.Th [um]"]))
    parts = sitk.ReadImage(str(out / "compartments.nrrd"))
    assert parts.GetSpacing() == pytest.approx((0.02, 0.02, 0.02), rel=1e-6)
    assert set(np.unique(sitk.GetArrayFromImage(parts))) == {0, 1, 2}
    thick = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "ct-th.nrrd")))
    inside = sitk.GetArrayFromImage(parts) == 1
    assert thick[inside].mean() == pytest.approx(measured["ct-th"]["value"], rel=1e-4)
    with (out / "sections.csv").open(encoding="utf-8") as file:
        assert [r["z"] for r in csv.DictReader(file)] == [str(z) for z in range(12)]
    methods = (out / "methods.txt").read_text(encoding="utf-8")
    assert "20 × 20 × 20 µm" in methods
    assert "Ct.Th: by maximal spheres" in methods
    assert "[FILL IN] kVp" in methods
    refused(call("measure", "--labels", labels, "--out", out), 4, "--overwrite")


def test_edited_compartments_are_read_back(labels: Path, tmp_path: Path) -> None:
    first = call("measure", "--labels", labels, "--out", tmp_path / "a", "--json").json
    drawn = tmp_path / "a" / "compartments.nrrd"
    again = call("measure", "--labels", labels, "--compartments", drawn, "--json").json
    assert again["bones"] == first["bones"]
    image = sitk.ReadImage(str(drawn))
    edited = sitk.GetArrayFromImage(image)
    edited[edited == 2] = 1
    sitk.WriteImage(sitk.GetImageFromArray(edited), str(tmp_path / "edited.nrrd"))
    moved = call(
        "measure", "--labels", labels, "--compartments", tmp_path / "edited.nrrd", "--json"
    ).json
    got = moved["bones"][0]["measures"]
    assert got["ma-ar"]["value"] == 0
    assert got["bv-tv"]["value"] is None


def test_settings_and_mistakes(labels: Path, tmp_path: Path) -> None:
    few = call("measure", "--labels", labels, *setting("measures=[tv]"), "--json").json
    assert list(few["bones"][0]["measures"]) == ["tv"]
    wrong = call("measure", "--labels", labels, *setting("measures=[tb-thick]"))
    refused(wrong, 2, "tb-th")
    refused(call("measure", "--labels", labels, "--maps"), 2, "--out")
    region = setting("region.name=box", "region.centre_um=[99999,0,0]")
    refused(call("measure", "--labels", labels, *region), 2, "outside")
    refused(call("measure", "--labels", tmp_path / "femut.nrrd"), 3, "femur.nrrd")
    scan = write_slices(tmp_path / "scan", np.zeros((3, 4, 5), np.uint8))
    refused(call("measure", "--labels", labels, "--scan", scan), 3, "shape")


def test_an_output_that_lacks_letters_gets_question_marks(labels: Path) -> None:
    words = [sys.executable, "-m", "osteon", "measure", "--labels", labels, "--events", "none"]
    ran = subprocess.run(
        words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"Tt\.Ar +mm\? ", ran.stdout)


def test_slices_without_a_voxel_size_are_measured_in_voxels(tmp_path: Path) -> None:
    _, array = phantom(2, shape=(12, 40, 48))
    folder = write_slices(tmp_path / "mask", array * 100)
    refused(call("measure", "--labels", folder), 3, "--remap")
    remap = [w for v in ("0=background", "100=bone", "200=pores") for w in ("--remap", v)]
    ran = call("measure", "--labels", folder, *remap)
    assert ran.code == 0, ran.err
    assert "the voxel size is unknown" in ran.out
    assert "voxel³" in ran.out
    sized = call("measure", "--labels", folder, *remap, "--voxel-size", 20, "--json").json
    assert sized["bones"][0]["measures"]["ct-th"]["unit"] == "um"
