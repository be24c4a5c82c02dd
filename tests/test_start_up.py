"""The command line starts at once: help is for those who do not know yet what they want."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "lightning", "matplotlib", "skimage", "scipy", "SimpleITK", "monai",
    "openvino", "onnxruntime", "onnx", "onnxscript", "dask", "distributed", "napari", "qtpy",
)  # fmt: skip
PAGES = (
    [],
    ["fit"],
    ["predict"],
    ["evaluate"],
    ["measure"],
    ["demo"],
    ["gui"],
    ["dataset"],
    ["dataset", "new"],
    ["dataset", "check"],
    ["simulate"],
    ["simulate", "scan"],
    ["simulate", "cohort"],
    ["model"],
    ["model", "show"],
    ["model", "list"],
    ["model", "convert"],
    ["study"],
    ["study", "new"],
    ["study", "plan"],
    ["study", "run"],
    ["study", "report"],
    ["conform"],
    ["conform", "compare"],
)
LIMIT = 1.0  # seconds
_SHOW = """
import contextlib, io, json, sys
from osteon.cli import main
texts = []
for page in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main([*page, "--help"])
    texts.append(out.getvalue())
print(json.dumps([texts, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_no_help_page_imports_anything_heavy() -> None:
    pages = json.dumps(PAGES)
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", _SHOW, pages],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    texts, modules = json.loads(done.stdout)
    assert not set(HEAVY) & set(modules)
    for page, text in zip(PAGES, texts, strict=True):
        assert f"Usage: {' '.join(['osteon', *page])}" in text
        assert max(len(line) for line in text.splitlines()) <= 80
    fit, predict, simulate = (
        texts[PAGES.index(p)] for p in (["fit"], ["predict"], ["simulate", "cohort"])
    )
    assert "training.max_minutes = none" in fit
    assert "in pixels" in fit
    assert "precision = auto" in predict
    assert "size = 192" in simulate


def test_help_takes_less_than_a_second() -> None:
    # Processor time, not wall time: the other is a measure of what else the machine does.
    resource = pytest.importorskip("resource")  # not on Windows

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", "from osteon.cli import main; main(['--help'])"]
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    limit = 2 * LIMIT if os.environ.get("CI") else LIMIT
    assert min(seconds() for _ in range(3)) < limit


@pytest.mark.parametrize("module", ["preparing", "evaluating", "measuring", "simulating"])
def test_stages_without_a_network_do_without_torch(module: str) -> None:
    code = f"import sys, osteon.workflows.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
