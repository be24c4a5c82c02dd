"""A prediction that is ready to run: what was decided about it, and the labels of any slices."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from osteon.backends import Backend
from osteon.events import Reporter
from osteon.intensity import Statistics, statistics
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
from osteon.prediction.plan import (
    PredictPlan,
    input_rules,
    plan_context,
    plan_from_dict,
    plan_prediction,
)
from osteon.prediction.scale import (
    ScaleChoice,
    Slabs,
    as_seen,
    axes_back,
    check_scale,
    choose_scale,
    labels_back,
    logits_back,
)
from osteon.prediction.slices import run_slices
from osteon.prediction.store import Store
from osteon.resampling import ResampledVolume
from osteon.volume import Volume


@dataclass(frozen=True)
class Decisions:
    """What is decided about a scan before it is labelled.

    Attributes:
        statistics: Of its grey values.
        features: What it shows; None where the model does not ask.
        scale: The scale it is seen at, if that was chosen by the thickness of bone.
        contiguity: Whether its slices are neighbours in space; None where the model does not ask.
    """

    statistics: Statistics
    features: Features | None
    scale: ScaleChoice | None
    contiguity: Contiguity | None

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description; :meth:`from_dict` reads it back exactly."""
        return {
            "statistics": self.statistics.as_dict(),
            "features": None if self.features is None else asdict(self.features),
            "scale": None if self.scale is None else asdict(self.scale),
            "contiguity": None if self.contiguity is None else asdict(self.contiguity),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decisions:
        """Build decisions from :meth:`as_dict`.

        Args:
            data: The description.
        """
        features, scale, known = (data[name] for name in ("features", "scale", "contiguity"))
        return cls(
            Statistics.from_dict(data["statistics"]),
            None if features is None else Features(**features),
            None if scale is None else ScaleChoice(**scale),
            None if known is None else Contiguity(**known),
        )


@dataclass(frozen=True)
class Job:
    """A scan that is ready to be labelled.

    Attributes:
        volume: The scan.
        seen: The scan as the network sees it.
        spec: The model.
        decisions: What was decided.
        plan: How it goes through the network.
        backend: The network.
        context: Gives the context of each slice to models that look twice.
        doubt: Counts how decided the coarse pass is.
    """

    volume: Volume
    seen: Volume
    spec: ModelSpec
    decisions: Decisions
    plan: PredictPlan
    backend: Backend
    context: Context | None
    doubt: Doubt

    def labels(self, part: slice) -> Slabs:
        """Label some slices, each as if all were labelled.

        Args:
            part: Slices of the scan.

        Yields:
            First slice and labels (n, y, x), uint8, ascending without gaps.
        """
        if isinstance(self.seen, ResampledVolume):
            logits = self._run(_needed(self.seen, part), classes=len(self.spec.labels))
            return labels_back(self.seen, logits, part)
        return _within(self._run(part), part)

    def logits(self, part: slice) -> Slabs:
        """Give what the network says of some slices, each as if all were labelled.

        Args:
            part: Slices of the scan.

        Yields:
            First slice and logits (n, class, y, x), float32, on the scan's grid, ascending
            without gaps; the class of the highest is the label.
        """
        classes = len(self.spec.labels)
        if isinstance(self.seen, ResampledVolume):
            needed = _needed(self.seen, part)
            return logits_back(self.seen, self._run(needed, classes=classes), part)
        return _within(self._run(part, classes=classes), part)

    def _run(self, part: slice, *, classes: int | None = None) -> Slabs:
        """Labels (or logits of so many classes) of at least a part, on the network's grid."""
        rules, stats = input_rules(self.spec.network), self.decisions.statistics
        if self.spec.mode == "3D":
            return run_blocks(
                self.seen, stats, backend=self.backend, plan=self.plan, rules=rules,
                classes=classes, part=part,
            )  # fmt: skip
        return run_slices(
            self.seen, stats, backend=self.backend, plan=self.plan, channels=self.spec.slices,
            rules=rules, classes=classes, context=self.context, part=part,
        )  # fmt: skip


def _needed(seen: ResampledVolume, part: slice) -> slice:
    """Slices of the network's grid that slices of the scan are made of."""
    axis = axes_back(seen)[0]
    last = min(int(axis.first[part.stop - 1]) + axis.taps, seen.shape[0])
    return slice(int(axis.first[part.start]), last)


def _within(slabs: Slabs, part: slice) -> Slabs:
    """Leave out what a block holds beyond a part."""
    with closing(slabs):
        for z, slab in slabs:
            first, last = max(z, part.start), min(z + slab.shape[0], part.stop)
            yield first, slab[first - z : last - z]


def prepare(
    model: Model,
    volume: Volume,
    *,
    backend: Backend,
    memory: int,
    contiguous: str = "auto",
    reporter: Reporter,
    store: Store | None = None,
) -> Job:
    """Check a scan, decide how it is labelled, and run the coarse pass of models that look twice.

    Args:
        model: The model.
        volume: The scan.
        backend: Its network, ready to run.
        memory: Memory for activations and slices in flight, in bytes.
        contiguous: See :func:`osteon.prediction.predict`.
        reporter: Told of the progress.
        store: Keeps the decisions; those that it holds are taken.

    Returns:
        The job.

    Raises:
        OsteonError: As :func:`osteon.prediction.predict`.
    """
    spec = model.spec
    check_known(model)
    check_scale(volume, spec)
    check_ranges(volume, spec.ranges)
    kept = store.kept("decisions") if store else None
    decided = (
        Decisions.from_dict(kept)
        if kept
        else _decide(volume, spec, contiguous=contiguous, reporter=reporter)
    )
    factor = decided.scale.factor if decided.scale else 1.0
    seen = as_seen(volume, spec, decided.statistics, factor=factor)
    known = decided.contiguity
    coarse = plan_context(
        seen, spec, contiguous=known is not None and known.contiguous, memory=memory
    )
    plan = plan_prediction(seen, backend, spec=spec, memory=memory, context=coarse)
    if kept and store:
        plan = plan_from_dict(store.kept("plan"))
    elif store:
        store.keep(decisions=decided.as_dict(), plan=asdict(plan))
    warn_of_tiles(volume, spec, plan)
    doubt = Doubt()
    context = _context(
        seen, decided.statistics, spec, plan=plan, backend=backend, doubt=doubt,
        reporter=reporter, store=store,
    )  # fmt: skip
    return Job(volume, seen, spec, decided, plan, backend, context, doubt)


def _decide(volume: Volume, spec: ModelSpec, *, contiguous: str, reporter: Reporter) -> Decisions:
    stats = statistics(volume, spec.recipe, reporter=reporter)
    features, scale = _looked_at(volume, stats, spec, reporter=reporter)
    known = _contiguity(volume, stats, spec, asked=contiguous, reporter=reporter)
    return Decisions(stats, features, scale, known)


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
    store: Store | None,
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
            store=store,
        )
    shape = (seen.shape[1], seen.shape[2])
    return slice_context(shape, plan.context, backend=backend, rules=rules, doubt=doubt)
