"""Sample data: a bone that osteon simulates, with its exact labels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from osteon.napari.layers import layers_of
from osteon.settings import SimulateSettings
from osteon.workflows import simulate_scan

#: Small, so that it is there in seconds.
SAMPLE = SimulateSettings(kinds=("vertebra",), size=128, slices=24, seed=7)


def simulated_bone() -> list[tuple[Any, dict[str, Any], str]]:
    """Simulate a vertebra into a new folder for temporary files, and open it.

    Returns:
        The scan and its labels, as layers.

    Raises:
        OutputError: If the folder cannot be written.
    """
    folder = Path(tempfile.mkdtemp(prefix="osteon-sample-")) / "simulated-bone"
    manifest = simulate_scan(folder, settings=SAMPLE)
    row = manifest.scans[0]
    layers = layers_of(manifest.resolve(row.image))
    if row.mask is not None:
        layers += layers_of(manifest.resolve(row.mask))
    return layers
