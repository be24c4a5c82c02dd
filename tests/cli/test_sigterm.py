"""SIGTERM (the time of a cluster's job is up, ``docker stop``) ends commands as Ctrl-C does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from .calling import call
from .test_stop_and_resume import PATIENCE, digest, start, status, steps, wait_for_step

pytestmark = [
    pytest.mark.timeout(2 * PATIENCE),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking"),
]


def test_a_fit_ends_cleanly_and_resume_goes_on(run: Path, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(cohort, out)
    wait_for_step(process, 2)
    process.send_signal(signal.SIGTERM)
    said, events = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, events
    assert "Traceback" not in events
    assert "stopped early (told to end by the system (SIGTERM))" in said
    assert status(out) == "stopped"
    again = call("fit", cohort / "dataset.toml", "--out", out, "--resume")
    assert again.code == 0, again.err
    assert digest(out) == digest(run)
    assert steps(out) == steps(run)


def test_a_prediction_keeps_what_is_done_and_goes_on(run: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    rng = np.random.default_rng(0)
    tifffile.imwrite(scan, rng.integers(1, 255, (300, 128, 128), dtype=np.uint8))
    fixed = ("--set", "precision=fp32", "--set", "threads=1")
    words = ("predict", scan, "--model", run / "model.safetensors", *fixed, "--out")
    command = [sys.executable, "-c", "from osteon.cli import main; main()"]
    command += [str(word) for word in (*words, tmp_path / "out.tif")]
    with subprocess.Popen(
        [*command, "--events", "jsonl"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)
            if event["stage"] == "predict" and event["kind"] == "progress":
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    last = json.loads(rest.splitlines()[-1])
    assert last["exit_code"] == 130
    assert "run the same command again to go on" in rest
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.tif.osteon-part", "scan.tif"]
    again = call(*words, tmp_path / "out.tif")
    assert again.code == 0, again.err
    assert "of 300 slices were finished before" in again.err
    unbroken = call(*words, tmp_path / "unbroken.tif")
    assert unbroken.code == 0, unbroken.err
    assert not list(tmp_path.glob(".*"))
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "out.tif"), tifffile.imread(tmp_path / "unbroken.tif")
    )


#: As ``osteon``, but every slice is put on the disk by itself, so that a kill falls between them.
SLICE_BY_SLICE = (
    "from osteon.prediction import keeping; keeping.BLOCK_VOXELS = 1; "
    "from osteon.cli import main; main()"
)


def contents(folder: Path, name: str) -> dict[str, bytes]:
    """The labels, and the bytes of all chunks beside them."""
    found = {"labels": tifffile.imread(folder / name).tobytes()}
    for path in folder.glob(f"{name}.*.zarr"):
        for file in path.rglob("c/**/*"):
            if file.is_file():
                found[str(file.relative_to(folder)).removeprefix(name)] = file.read_bytes()
    return found


@pytest.mark.slow
def test_killed_with_three_axes_and_probabilities_it_comes_to_the_same_bytes(
    run: Path, tmp_path: Path
) -> None:
    scan, rng = tmp_path / "scan.tif", np.random.default_rng(3)
    tifffile.imwrite(scan, rng.integers(1, 255, (37, 41, 43), dtype=np.uint8))
    asked = ("axes=3", "probabilities=yes", "uncertainty=yes", "contiguous=yes", "report=no")
    fixed = [w for item in ("precision=fp32", "threads=1", *asked) for w in ("--set", item)]
    words = ["predict", scan, "--model", run / "model.safetensors", *fixed, "--out"]
    code = f"from osteon.prediction import sides; sides.CHUNK = 8; {SLICE_BY_SLICE}"
    command = [sys.executable, "-c", code]
    command += [str(word) for word in (*words, tmp_path / "out.tif")]
    area = tmp_path / ".out.tif.osteon-part"
    # Files: 6 of the pass across y, 6 across x, then 37 slices.
    for moment in (1, int(rng.integers(3, 12)), int(rng.integers(14, 40)), 48):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                if len([*area.glob("side-*"), *area.glob("labels-*.z")]) >= moment:
                    break
                time.sleep(0.001)
            process.kill()
            _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGKILL, said
    for name in ("out.tif", "unbroken.tif"):
        ran = call(*words, tmp_path / name)
        assert ran.code == 0, ran.err
    assert not list(tmp_path.glob(".*"))
    broken, unbroken = (contents(tmp_path, name) for name in ("out.tif", "unbroken.tif"))
    assert len(broken) >= 3
    assert broken == unbroken


def test_a_killed_prediction_goes_on_to_the_same_labels(run: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    rng = np.random.default_rng(1)
    tifffile.imwrite(scan, rng.integers(1, 255, (40, 128, 128), dtype=np.uint8))
    fixed = ("--set", "precision=fp32", "--set", "threads=1")
    words = ["predict", scan, "--model", run / "model.safetensors", *fixed, "--out"]
    command = [sys.executable, "-c", SLICE_BY_SLICE]
    command += [str(word) for word in (*words, tmp_path / "out.tif")]
    # After the first block, somewhere, and before the last; each goes on from the one before.
    for moment in (1, int(rng.integers(5, 30)), 39):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            area = tmp_path / ".out.tif.osteon-part"
            while len(list(area.glob("labels-*.z"))) < moment and process.poll() is None:
                time.sleep(0.001)
            process.kill()
            _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == -signal.SIGKILL, said
        assert not (tmp_path / "out.tif").exists()
        assert len(list(area.glob("labels-*.z"))) >= moment
    for name in ("out.tif", "unbroken.tif"):
        ran = call(*words, tmp_path / name)
        assert ran.code == 0, ran.err
    assert not list(tmp_path.glob(".*"))
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "out.tif"), tifffile.imread(tmp_path / "unbroken.tif")
    )
