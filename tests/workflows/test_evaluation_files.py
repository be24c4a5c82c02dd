from __future__ import annotations

from pathlib import Path

import pytest

from osteon.errors import UsageError
from osteon.workflows.evaluation_files import labels_of


def test_what_a_prediction_writes_beside_labels_is_no_label_volume(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npy.osteon.json", "a.npy.report.html"):
        (tmp_path / name).touch()
    assert labels_of("a", tmp_path, alone=False) == tmp_path / "a.npy"
    (tmp_path / "a.tif").touch()
    with pytest.raises(UsageError, match="several"):
        labels_of("a", tmp_path, alone=False)
