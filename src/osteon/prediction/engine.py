"""From a scan and a model to labels, written in order of z."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.events import Reporter
from osteon.intensity import Statistics, statistics
from osteon.labels import IGNORE
from osteon.model_file import Model, ModelSpec
from osteon.prediction.blocks import run_blocks
from osteon.prediction.checks import (
    check_features,
    check_known,
    check_ranges,
    warn_of_tiles,
)
from osteon.prediction.context import Context, Doubt, scan_context, slice_context
from osteon.prediction.contiguity import Contiguity, judge
from osteon.prediction.features import RECIPE, Features, look
from osteon.prediction.plan import PredictPlan, input_rules, plan_context, plan_prediction
from osteon.prediction.scale import (
    ScaleChoice,
    Slabs,
    as_seen,
    check_scale,
    choose_scale,
    labels_back,
)
from osteon.prediction.slices import run_slices
from osteon.prediction.stopping import heed
from osteon.resampling import ResampledVolume
from osteon.volume import Volume, VolumeWriter


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
        contiguity: Whether its slices are neighbours in space; None where the model does not ask.
        features: What the scan shows; None where the model does not ask.
        scale: The scale it was seen at, if that was chosen by the thickness of bone.
    """

    voxels: dict[str, int]
    seconds: float
    plan: PredictPlan
    backend: str
    statistics: Statistics
    resampled: tuple[int, int, int] | None = None
    contiguity: Contiguity | None = None
    features: Features | None = None
    scale: ScaleChoice | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description."""
        return {
            "voxels": self.voxels,
            "seconds": round(self.seconds, 3),
            "plan": asdict(self.plan),
            "backend": self.backend,
            "statistics": self.statistics.as_dict(),
            "resampled": None if self.resampled is None else list(self.resampled),
            "contiguity": None if self.contiguity is None else asdict(self.contiguity),
            "features": None if self.features is None else asdict(self.features),
            "scale": None if self.scale is None else asdict(self.scale),
        }


def predict(
    model: Model,
    volume: Volume,
    writer: VolumeWriter,
    *,
    backend: Backend,
    memory: int,
    contiguous: str = "auto",
    reporter: Reporter | None = None,
) -> Predicted:
    """Segment a scan: slice by slice (2D, 2.5D) or slab by slab (3D).

    Memory: activations of a slice, tile or block, and the slices in flight, as planned beforehand;
    never the whole scan. Each slice is read from disk once, or twice where a model's context comes
    from the whole scan.

    Args:
        model: The model; its recipe normalises the scan.
        volume: The scan (z, y, x).
        writer: Takes uint8 labels of the same shape; the caller closes it.
        backend: The model's network, ready to run.
        memory: Memory for activations and slices in flight, in bytes.
        contiguous: Whether neighbouring slices are neighbours in space (``yes``, ``no``; ``auto``:
            judged from the image). Only models with a context ask.
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
    features, scale = _looked_at(volume, stats, spec, reporter=reporter)
    seen = as_seen(volume, spec, stats, factor=scale.factor if scale else 1.0)
    known = _contiguity(volume, stats, spec, asked=contiguous, reporter=reporter)
    plan = _planned(seen, spec, known, backend=backend, memory=memory)
    warn_of_tiles(volume, spec, plan)
    doubt = Doubt()
    context = _context(
        seen, stats, spec, plan=plan, backend=backend, doubt=doubt, reporter=reporter
    )
    slabs = _labels(seen, stats, spec, plan=plan, backend=backend, context=context)
    counts = _write(slabs, writer, depth=volume.shape[0], reporter=reporter)
    doubt.tell(volume)
    voxels = {c.name: int(counts[c.value]) for c in spec.labels.classes}
    return Predicted(
        voxels,
        time.monotonic() - start,
        plan,
        backend.description,
        stats,
        None if seen is volume else seen.shape,
        known,
        features,
        scale,
    )


def _planned(
    seen: Volume, spec: ModelSpec, known: Contiguity | None, *, backend: Backend, memory: int
) -> PredictPlan:
    contiguous = known is not None and known.contiguous
    coarse = plan_context(seen, spec, contiguous=contiguous, memory=memory)
    return plan_prediction(seen, backend, spec=spec, memory=memory, context=coarse)


def _write(
    labels_in_order: Slabs, writer: VolumeWriter, *, depth: int, reporter: Reporter
) -> npt.NDArray[np.int64]:
    """Write labels as they come; return the voxels of each value."""
    counts = np.zeros(IGNORE + 1, dtype=np.int64)
    with (
        reporter.stage("predict", total=depth, unit="slice") as progress,
        closing(labels_in_order) as slabs,
    ):
        for z, labels in slabs:
            writer.write(z, labels)
            counts += np.bincount(labels.ravel(), minlength=counts.size)
            done = z + labels.shape[0]
            progress.advance(labels.shape[0])
            if done < depth:
                heed(reporter, f"{done} of {depth} slices", where=writer.path)
    return counts


def _looked_at(
    volume: Volume, stats: Statistics, spec: ModelSpec, *, reporter: Reporter
) -> tuple[Features | None, ScaleChoice | None]:
    if spec.feature_px is None and spec.recipe != RECIPE:
        return None, None
    features = look(volume, stats)
    check_features(volume, features)
    scale = choose_scale(volume, spec, features)
    if scale is not None:
        reporter.message("predict", scale.why)
    return features, scale


def _contiguity(
    volume: Volume, stats: Statistics, spec: ModelSpec, *, asked: str, reporter: Reporter
) -> Contiguity | None:
    if spec.context is None:
        return None
    found = judge(volume, stats, asked=asked)
    seen = "as one piece of space" if found.contiguous else "each on its own"
    how = "" if asked != "auto" else "; predict with contiguous=yes or no to say otherwise"
    reporter.message("predict", f"the outline is sought in slices {seen}: {found.why}{how}")
    return found


def _context(
    seen: Volume,
    stats: Statistics,
    spec: ModelSpec,
    *,
    plan: PredictPlan,
    backend: Backend,
    doubt: Doubt,
    reporter: Reporter,
) -> Context | None:
    """The coarse pass of a model that looks twice."""
    if plan.context is None:
        return None
    rules = input_rules(spec.network)
    if plan.context.contiguous:
        return scan_context(
            seen,
            stats,
            plan.context,
            backend=backend,
            rules=rules,
            doubt=doubt,
            reporter=reporter,
        )
    shape = (seen.shape[1], seen.shape[2])
    return slice_context(shape, plan.context, backend=backend, rules=rules, doubt=doubt)


def _labels(
    seen: Volume,
    stats: Statistics,
    spec: ModelSpec,
    *,
    plan: PredictPlan,
    backend: Backend,
    context: Context | None,
) -> Slabs:
    """Labels on the scan's grid, in order of z."""
    if not isinstance(seen, ResampledVolume):
        return _run(seen, stats, spec, plan=plan, backend=backend, context=context)
    classes = len(spec.labels)
    logits = _run(seen, stats, spec, plan=plan, backend=backend, context=context, classes=classes)
    return labels_back(seen, logits)


def _run(
    seen: Volume,
    stats: Statistics,
    spec: ModelSpec,
    *,
    plan: PredictPlan,
    backend: Backend,
    context: Context | None,
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
        channels=spec.slices,
        rules=rules,
        classes=classes,
        context=context,
    )
