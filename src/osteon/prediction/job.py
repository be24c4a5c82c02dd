"""A prediction that is ready to run: what was decided about it, and the labels of any slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from osteon.backends import Backend
from osteon.events import Reporter
from osteon.intensity import Statistics
from osteon.model_file import Model, ModelSpec
from osteon.prediction.air import Air
from osteon.prediction.auditing import decide_air
from osteon.prediction.checks import (
    check_features,
    check_known,
    check_ranges,
    warn_of_tiles,
)
from osteon.prediction.context import Context, Doubt, scan_context, slice_context, within_bone
from osteon.prediction.contiguity import Contiguity, judge
from osteon.prediction.features import RECIPE, Features
from osteon.prediction.likeness import Likeness, compare, tell
from osteon.prediction.looking import Looks
from osteon.prediction.plan import (
    PredictPlan,
    input_rules,
    plan_context,
    plan_from_dict,
    plan_prediction,
)
from osteon.prediction.running import Job
from osteon.prediction.scale import ScaleChoice, as_seen, check_scale, choose_scale, resampled_to
from osteon.prediction.seams import measure_seams
from osteon.prediction.sides import check_axes, check_neighbours
from osteon.prediction.store import Store
from osteon.prediction.surface import surface_of
from osteon.prediction.wanted import Wanted
from osteon.resampling import resampled_axes
from osteon.volume import Volume


@dataclass(frozen=True)
class Decisions:
    """What is decided about a scan before it is labelled.

    Attributes:
        statistics: Of its grey values.
        features: What it shows; None where the model does not ask.
        scale: The scale it is seen at, if that was chosen by the thickness of bone.
        contiguity: Whether its slices are neighbours in space; None where the model does not ask.
        likeness: How it compares with the scans that the model was fitted to.
        within: Whether it lies within a bone, for models that seek the outline.
    """

    statistics: Statistics
    features: Features | None
    scale: ScaleChoice | None
    contiguity: Contiguity | None
    likeness: Likeness
    within: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible description; :meth:`from_dict` reads it back exactly."""
        return {
            "statistics": self.statistics.as_dict(),
            "features": None if self.features is None else asdict(self.features),
            "scale": None if self.scale is None else asdict(self.scale),
            "contiguity": None if self.contiguity is None else asdict(self.contiguity),
            "likeness": self.likeness.as_dict(),
            "within": self.within,
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
            Likeness.from_dict(data["likeness"]),
            data.get("within", False),
        )


def prepare(
    model: Model,
    volume: Volume,
    *,
    backend: Backend,
    memory: int,
    wanted: Wanted | None = None,
    reporter: Reporter,
    store: Store | None = None,
    looks: Looks | None = None,
) -> Job:
    """Check a scan, decide how it is labelled, and run the coarse pass of models that look twice.

    Args:
        model: The model.
        volume: The scan.
        backend: Its network, ready to run.
        memory: Memory for activations and slices in flight, in bytes.
        wanted: What is to be given beside the labels, and how much is done for it.
        reporter: Told of the progress.
        store: Keeps the decisions; those that it holds are taken.
        looks: Looks at the scan's grey values; None: anew.

    Returns:
        The job.

    Raises:
        OsteonError: As :func:`osteon.prediction.predict`.
    """
    wanted = wanted or Wanted()
    spec = _fitting(model, volume, wanted, reporter=reporter)
    kept = store.kept("decisions") if store else None
    decided = (
        Decisions.from_dict(kept)
        if kept
        else _decide(volume, spec, wanted, looks=looks or Looks(), reporter=reporter)
    )
    tell(volume, decided.likeness, reporter=reporter)
    factor = decided.scale.factor if decided.scale else 1.0
    seen = as_seen(volume, spec, decided.statistics, factor=factor, along_all=wanted.axes > 1)
    surface = surface_of(spec, seen, asked=wanted.surface)
    plan = _planned(
        seen, spec, decided, backend=backend, memory=memory, wanted=wanted,
        beside=surface.memory(volume.shape) if surface else 0,
    )  # fmt: skip
    if kept and store:
        plan = plan_from_dict(store.kept("plan"))
    elif store:
        store.keep(decisions=decided.as_dict(), plan=asdict(plan))
    doubt = Doubt()
    context = within_bone if decided.within else _context(
        seen, decided.statistics, spec, plan=plan, backend=backend, doubt=doubt,
        reporter=reporter, store=store,
    )  # fmt: skip
    job = Job(volume, seen, spec, decided, plan, backend, context, doubt, wanted, surface=surface)
    warn_of_tiles(volume, spec, plan, agreement=_seams(job, store, reporter=reporter))
    return replace(job, air=_air(job, store, reporter=reporter))


def _fitting(model: Model, volume: Volume, wanted: Wanted, *, reporter: Reporter) -> ModelSpec:
    """Check that a scan is one for the model; return the model, at the scale it sees the scan."""
    check_known(model)
    spec = resampled_to(volume, model.spec) if wanted.resample else model.spec
    check_axes(model, wanted)
    check_scale(volume, spec)
    if spec is model.spec:
        check_ranges(volume, spec.ranges, axes=resampled_axes(spec.mode))
        if wanted.resample and spec.voxel_size_um is None and spec.feature_px is None:
            reporter.message("predict", "the scan's voxel size is one of the fit: not resampled")
    return spec


def _planned(
    seen: Volume,
    spec: ModelSpec,
    decided: Decisions,
    *,
    backend: Backend,
    memory: int,
    wanted: Wanted,
    beside: int,
) -> PredictPlan:
    known = decided.contiguity
    coarse = (
        None
        if decided.within
        else plan_context(
            seen, spec, contiguous=known is not None and known.contiguous, memory=memory
        )
    )
    return plan_prediction(
        seen, backend, spec=spec, memory=memory, context=coarse, logits=wanted.logits,
        beside=beside,
    )  # fmt: skip


def _seams(job: Job, store: Store | None, *, reporter: Reporter) -> float | None:
    """How far tiles agree where they overlap, for networks that label by all of their input."""
    if not job.plan.blend:
        return None
    kept = store.kept("seams") if store else None
    if kept is not None:
        return float(kept)
    told = job.taken()
    found = measure_seams(job, reporter=reporter)
    job.taken()  # of what was looked at: it is counted when it is labelled
    job.count(told)
    if store:
        store.keep(seams=found)
    return found


def _air(job: Job, store: Store | None, *, reporter: Reporter) -> Air | None:
    """Whether air is skipped: decided once, before anything is labelled."""
    if not job.wanted.skip_air or job.wanted.axes > 1:
        return None
    kept = store.kept("air") if store else None
    if kept:
        return Air(**kept)
    told = job.taken()
    found = decide_air(job, reporter=reporter)
    job.taken()
    job.count(told)
    if store:
        store.keep(air=asdict(found))
    skipped = "is skipped" if found.skip else "is not skipped"
    reporter.message("predict", f"air {skipped}: {found.why}")
    return found


def _decide(
    volume: Volume,
    spec: ModelSpec,
    wanted: Wanted,
    *,
    looks: Looks,
    reporter: Reporter,
) -> Decisions:
    stats = looks.statistics(volume, spec.recipe, reporter=reporter)
    features, scale = None, None
    if spec.feature_px is not None or spec.recipe == RECIPE:
        features = looks.features(volume, stats)
        scale = _scaled(volume, features, spec, enlarge=wanted.resample, reporter=reporter)
    known = _contiguity(volume, stats, spec, asked=wanted.contiguous, reporter=reporter)
    target = spec.voxel_size_um if wanted.resample else None
    likeness = compare(volume, stats, spec, resampled_um=target)
    if wanted.axes > 1:
        known = known or judge(volume, stats, asked=wanted.contiguous)
        check_neighbours(volume, known)
    within = _within(features, spec, asked=wanted.within, reporter=reporter)
    return Decisions(stats, features, scale, known, likeness, within)


def _within(features: Features | None, spec: ModelSpec, *, asked: str, reporter: Reporter) -> bool:
    """Whether all of a scan lies within a bone; told where it was not asked for."""
    if spec.context is None:
        return False
    if asked != "auto":
        return asked == "yes"
    found = features is not None and features.within_bone
    if found:
        reporter.message(
            "predict",
            "nowhere is there room beside bone, so all that is in view is taken for the inside of "
            "a bone; predict with within_bone=no to say otherwise",
        )
    return found


def _scaled(
    volume: Volume, features: Features, spec: ModelSpec, *, enlarge: bool, reporter: Reporter
) -> ScaleChoice | None:
    check_features(volume, features)
    scale = choose_scale(volume, spec, features, enlarge=enlarge)
    if scale is not None:
        reporter.message("predict", scale.why)
    return scale


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
