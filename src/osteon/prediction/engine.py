"""From a scan and a model to labels, written in order of z."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from osteon.backends import Backend
from osteon.errors import Stopped
from osteon.events import Reporter
from osteon.intensity import Statistics, statistics
from osteon.labels import IGNORE
from osteon.model_file import Model, ModelSpec
from osteon.prediction.blocks import run_blocks
from osteon.prediction.checks import check_known, check_ranges, warn_of_tiles
from osteon.prediction.plan import PredictPlan, input_rules, plan_prediction
from osteon.prediction.scale import Slabs, as_seen, check_scale, labels_back
from osteon.prediction.slices import run_slices
from osteon.resampling import ResampledVolume
from osteon.volume import Volume, VolumeWriter


class PredictionStopped(Stopped):
    """The prediction was asked to stop; nothing was put in place."""


@dataclass(frozen=True)
class Predicted:
    """The outcome of a prediction.

    Attributes:
        voxels: Voxels of each class, by name.
        seconds: Wall time from the first read to the last write.
        plan: How the scan went through the network.
        backend: Backend, device and arithmetic.
        statistics: Of the scan's grey values, as normalised.
        resampled: Shape (z, y, x) of the scan as the network saw it, if that was resampled.
    """

    voxels: dict[str, int]
    seconds: float
    plan: PredictPlan
    backend: str
    statistics: Statistics
    resampled: tuple[int, int, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            "voxels": self.voxels,
            "seconds": round(self.seconds, 3),
            "plan": asdict(self.plan),
            "backend": self.backend,
            "statistics": self.statistics.as_dict(),
            "resampled": None if self.resampled is None else list(self.resampled),
        }


def predict(
    model: Model,
    volume: Volume,
    writer: VolumeWriter,
    *,
    backend: Backend,
    memory: int,
    reporter: Reporter | None = None,
) -> Predicted:
    """Segment a scan: slice by slice (2D, 2.5D) or slab by slab (3D).

    Memory: activations of a slice, tile or block, and the slices in flight, as planned beforehand;
    never the whole scan. Each slice is read from disk once.

    Args:
        model: The model; its recipe normalises the scan.
        volume: The scan (z, y, x).
        writer: Takes uint8 labels of the same shape; the caller closes it.
        backend: The model's network, ready to run.
        memory: Memory for activations and slices in flight, in bytes.
        reporter: Told of the progress.

    Returns:
        What was found and how.

    Raises:
        InputError: If the scan is damaged, constant or holds NaN, or its voxel size is needed and
            not known.
        OutputError: If the labels cannot be written.
        UsageError: If the memory allowed does not suffice, or the voxel sizes of scan and model
            are too far apart.
        PredictionStopped: If it was asked to stop.
    """
    reporter = reporter or Reporter()
    start = time.monotonic()
    spec = model.spec
    check_known(model)
    check_scale(volume, spec)
    check_ranges(volume, spec.ranges)
    stats = statistics(volume, spec.recipe, reporter=reporter)
    seen = as_seen(volume, spec, stats)
    plan = plan_prediction(seen, backend, spec=spec, memory=memory)
    warn_of_tiles(volume, spec, plan)
    counts = np.zeros(IGNORE + 1, dtype=np.int64)
    depth = volume.shape[0]
    with (
        reporter.stage("predict", total=depth, unit="slice") as progress,
        closing(_labels(seen, stats, spec, plan=plan, backend=backend)) as slabs,
    ):
        for z, labels in slabs:
            writer.write(z, labels)
            counts += np.bincount(labels.ravel(), minlength=counts.size)
            done = z + labels.shape[0]
            progress.advance(labels.shape[0])
            if reporter.stopping and done < depth:
                raise PredictionStopped(
                    f"stopped after {done} of {depth} slices; nothing was written",
                    where=writer.path,
                    mend="run the command again",
                )
    voxels = {c.name: int(counts[c.value]) for c in spec.labels.classes}
    return Predicted(
        voxels,
        time.monotonic() - start,
        plan,
        backend.description,
        stats,
        None if seen is volume else seen.shape,
    )


def _labels(
    seen: Volume, stats: Statistics, spec: ModelSpec, *, plan: PredictPlan, backend: Backend
) -> Slabs:
    """Labels on the scan's grid, in order of z."""
    if not isinstance(seen, ResampledVolume):
        return _run(seen, stats, spec, plan=plan, backend=backend)
    logits = _run(seen, stats, spec, plan=plan, backend=backend, classes=len(spec.labels))
    return labels_back(seen, logits)


def _run(
    seen: Volume,
    stats: Statistics,
    spec: ModelSpec,
    *,
    plan: PredictPlan,
    backend: Backend,
    classes: int | None = None,
) -> Slabs:
    """Labels (or logits of so many classes) on the network's grid, in order of z."""
    rules = input_rules(spec.network)
    if spec.mode == "3D":
        return run_blocks(seen, stats, backend=backend, plan=plan, rules=rules, classes=classes)
    return run_slices(
        seen,
        stats,
        backend=backend,
        plan=plan,
        channels=spec.network.in_channels,
        rules=rules,
        classes=classes,
    )
