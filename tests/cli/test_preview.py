from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from .calling import call, refused, setting, write_cohort

SMALL = setting("patches.size=32", "augmentation.preset=strong")


def test_a_picture_and_its_json(tmp_path: Path) -> None:
    manifest = write_cohort(tmp_path / "data")
    out = tmp_path / "sheet.png"
    ran = call("dataset", "preview", manifest, "--out", out, "--count", 3, "--json", *SMALL)
    assert ran.code == 0, ran.err
    assert ran.json["preview"] == str(out)
    assert [p["scan"] for p in ran.json["patches"]] == ["a", "b", "b"]
    with Image.open(out) as picture:
        assert picture.width > 4 * 256
    ran = call("dataset", "preview", manifest, "--out", out, *SMALL)
    refused(ran, 4, "exists already", "sheet.png", "--overwrite")
    ran = call("dataset", "preview", manifest, "--out", out, "--overwrite", "--count", 1, *SMALL)
    assert ran.code == 0, ran.err
    assert f"{out}: 1 patch of 1 scan" in ran.out


def test_a_page_named_after_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_cohort(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert call("dataset", "preview", manifest, "--count", 2, *SMALL).code == 0
    assert (tmp_path / "dataset-preview.png").is_file()
    ran = call("dataset", "preview", manifest, "--out", "sheet.html", "--count", 2, *SMALL)
    assert ran.code == 0, ran.err
    assert "strong" in (tmp_path / "sheet.html").read_text(encoding="utf-8")


def test_messages(tmp_path: Path) -> None:
    manifest = write_cohort(tmp_path / "data")
    out = tmp_path / "sheet.png"
    preview = ("dataset", "preview", manifest, "--out")
    refused(call(*preview, tmp_path / "sheet.pdf"), 2, "PNG picture or an HTML page", "sheet.pdf")
    refused(call(*preview, out, "--count", 0), 2, "1 to 60 patches", "--count")
    refused(call(*preview, out, *setting("patches.size=33")), 2, "patches.size")
    refused(call(*preview, manifest / "x.png", *SMALL), 4, "a folder is needed", "x.png")
    refused(call("dataset", "preview", tmp_path / "no.toml", "--out", out), 3, "no.toml")
    strength = setting("augmentation.strength=0.5")
    refused(call(*preview, out, *strength), 2, "strength=0.5 needs preset=strong")
    assert not out.exists()
