"""What is checked before a scan is predicted."""

from __future__ import annotations

from collections.abc import Sequence

from osteon.errors import UsageError, warn
from osteon.intensity import load_recipe
from osteon.model_file import Model, ModelSpec, TrainingRanges
from osteon.networks.context import CHANNELS
from osteon.prediction.features import METAL_SHARE, Features
from osteon.prediction.plan import PredictPlan
from osteon.volume import Volume

#: A voxel size this far outside the training range is worth a warning.
SIZE_TOLERANCE = 1.25
#: What helps where a scan is unlike those that a model was fitted to.
FINE_TUNE = (
    "look at the labels with care; fine-tuning the model to a few labelled slices of such scans "
    "helps (network.weights)"
)
_UPGRADE = "pip install --upgrade osteon"


def sizes_outside(
    volume: Volume, ranges: TrainingRanges, *, axes: Sequence[int] = (0, 1, 2)
) -> bool | None:
    """Say whether a scan's voxel size lies outside what a model was fitted to.

    Args:
        volume: The scan.
        ranges: The model's training ranges.
        axes: The axes of (z, y, x) that matter.

    Returns:
        Whether one is more than 1.25 times beyond; None where model or scan do not say it.
    """
    sizes = [s for axis in axes if (s := volume.geometry.voxel_size[axis]) is not None]
    if ranges.voxel_size_um is None or not sizes:
        return None
    low, high = ranges.voxel_size_um
    return min(sizes) < low / SIZE_TOLERANCE or max(sizes) > high * SIZE_TOLERANCE


def check_ranges(
    volume: Volume, ranges: TrainingRanges, *, axes: Sequence[int] = (0, 1, 2)
) -> None:
    """Warn where a scan's voxel size lies outside what the model was fitted to.

    Args:
        volume: The scan.
        ranges: The model's training ranges.
        axes: The axes of (z, y, x) that matter.
    """
    if ranges.voxel_size_um is None or not sizes_outside(volume, ranges, axes=axes):
        return
    sizes = [s for axis in axes if (s := volume.geometry.voxel_size[axis]) is not None]
    low, high = ranges.voxel_size_um
    told = " to ".join(f"{s:g}" for s in sorted({min(sizes), max(sizes)}))
    warn(
        "voxel-size-outside-training",
        f"the scan's voxels of {told} µm lie outside what the model was fitted to "
        f"({low:g} to {high:g} µm); look at the result with care, predict with --resample, or fit "
        "to such scans",
        where=volume.path,
    )


def check_known(model: Model) -> None:
    """Refuse a model that this version cannot run as it was fitted.

    Args:
        model: The model.

    Raises:
        UsageError: If its recipe, mode, channels or dimensions are not known or do not go together.
    """
    spec = model.spec
    if load_recipe(spec.recipe).version != spec.recipe_version:
        raise UsageError(
            f"the model's recipe {spec.recipe} is of version {spec.recipe_version}, which this "
            "version of osteon does not know",
            where=model.path,
            mend=_UPGRADE,
        )
    channels, dimensions = spec.network.in_channels, spec.network.dimensions
    fits = {
        "2D": dimensions == 2 and channels == (1 if spec.context is None else CHANNELS),
        "2.5D": dimensions == 2 and channels > 1 and channels % 2 == 1,
        "3D": dimensions == 3 and channels == 1,
    }
    if not fits.get(spec.mode, False):
        raise UsageError(
            f"the model works in {spec.mode} with {channels} channels and {dimensions} dimensions; "
            "this version of osteon predicts in 2D and 3D with one channel, in 2D with the context "
            "as the second, and in 2.5D with an odd number of slices as channels",
            where=model.path,
            mend=_UPGRADE,
        )


def check_features(volume: Volume, features: Features) -> None:
    """Warn of what a scan shows that a model of bone cannot be trusted with.

    Args:
        volume: The scan.
        features: What it shows.
    """
    if features.strength == 0:
        warn(
            "no-bone-like-edges",
            "the scan has no edges that stand out of the noise as those of bone do: it seems to "
            f"hold none, or its grey window hides it. {FINE_TUNE.capitalize()}",
            where=volume.path,
        )
    if features.metal_share > METAL_SHARE:
        warn(
            "metal",
            f"{features.metal_share:.2%} of the scan is far brighter than bone (metal, or bone in "
            f"a scan whose edges are of something else): streaks can pass for bone. {FINE_TUNE}",
            where=volume.path,
        )


def warn_of_tiles(
    volume: Volume, spec: ModelSpec, plan: PredictPlan, *, agreement: float | None = None
) -> None:
    """Warn where a network that sees its whole input gets a scan in parts.

    Args:
        volume: The scan.
        spec: The model.
        plan: How the scan goes through the network.
        agreement: Share of voxels around the edges of parts that neighbouring parts label alike.
    """
    if not spec.network.global_context or plan.whole:
        return
    part, whole = ("blocks", "the whole scan") if plan.depth else ("tiles", "whole slices")
    measured = (
        ""
        if agreement is None
        else f" (neighbouring {part} label {1 - agreement:.2%} of the voxels around their common "
        "edge differently; there they are blended)"
    )
    warn(
        "global-context-in-tiles",
        f"the network ({spec.network.architecture}) labels a voxel by all that it is given, and "
        f"the scan goes through it in {part}: labels can differ from those of {whole}, most of all "
        f"at the edges of {part}{measured}; more memory makes them larger",
        where=volume.path,
    )
