"""`osteon conform`: what it says of labels that differ, and the table of several machines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osteon.errors import InputError, OutputError
from osteon.workflows import conforming
from osteon.workflows.conforming import AGREEMENT, conforms, golden_labels
from osteon.workflows.conforming_table import compare_conformity
from osteon.workflows.opening import open_models


def case(name: str, agreement: float | None, **more: Any) -> dict[str, Any]:
    """A case as it is written."""
    return {"case": name, "agreement": agreement, "golden": agreement, "seconds": 1.0} | {
        "iou": {"background": 0.99, "bone": 0.9, "pores": 0.8},
        "note": "",
        **more,
    }


def write(path: Path, cases: list[dict[str, Any]], **more: Any) -> Path:
    """A file as `osteon conform` writes it."""
    record = {
        "schema": 1,
        "kind": "conformity",
        "model": {"name": "m", "weights_sha256": "a"},
        "scan_sha256": "s",
        "cases": cases,
        "training": None,
        "conforms": conforms(cases, None),
        "versions": {"torch": "2.9"},
        "machine": {"processor": "Z80", "system": "CP/M"},
    }
    path.write_text(json.dumps({**record, **more}))
    return path


def test_what_conforms() -> None:
    assert conforms([case("a", 1.0), case("b", AGREEMENT)], None)
    assert not conforms([case("a", 1.0), case("b", AGREEMENT - 1e-6)], None)
    assert conforms([case("a", 1.0), case("b", None)], None)  # it could not run here
    assert not conforms([case("b", None)], None)
    assert not conforms([case("a", 1.0)], {"same": False})


def test_machines_are_put_side_by_side(tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", [case("torch", 1.0)])
    two = write(
        tmp_path / "two.json",
        [case("torch", 1.0), case("int8", 0.99), case("gpu", None, note="could not run: none")],
        scan_sha256="t",
        training={"same": True},
    )
    table = compare_conformity([one, two], out=tmp_path / "out")
    assert not table.conforms
    assert [row["machine"] for row in table.rows] == ["one", "two", "two", "two"]
    said = table.markdown()
    assert "| two | int8 | 99.0000 % |" in said
    assert "| two | gpu | could not run: none |" in said
    assert "two: Z80, CP/M, torch 2.9; two fits with one seed gave the same weights" in said
    assert "its simulated scan differs" in said
    assert "NOT everywhere 99.9% of the voxels (least 99.0000%)" in said
    with (tmp_path / "out/conformity.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[2]["agreement"] == "0.99"
    assert "Not every machine gives the same labels" in (tmp_path / "out/report.html").read_text()
    with pytest.raises(OutputError):
        compare_conformity([one], out=tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"kind": "fit"}, "no conformity"),
        ({"schema": 9}, "no conformity"),
        ({"model": {"name": "n", "weights_sha256": "b"}}, "different models"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, more: dict[str, Any], what: str) -> None:
    good = write(tmp_path / "good.json", [case("torch", 1.0)])
    bad = write(tmp_path / "bad.json", [case("torch", 1.0)], **more)
    with pytest.raises(InputError, match=what):
        compare_conformity([good, bad])
    with pytest.raises(InputError, match="no such file"):
        compare_conformity([tmp_path / "gone.json"])


def test_the_golden_labels_are_of_the_shipped_model_alone() -> None:
    (model,) = open_models(None)
    shape = (conforming.SCAN.slices, conforming.SCAN.size, conforming.SCAN.size)
    scan = np.zeros(shape, np.uint8)
    golden = golden_labels(model, scan)
    assert golden is not None
    assert golden.shape == shape
    assert set(np.unique(golden)) == {0, 1, 2}  # all classes are there to be told apart
    assert golden_labels(model, scan[:, :64]) is None
