"""Put a fitted model among those that osteon comes with, in half precision.

    python tools/ship_model.py RUN --name bone-pores --feature-px 2 24 [--last]
        [--mean-with RUN --share 0.5] [--surface half-maximum]

RUN is the folder of a fit; of its weights those of the best epoch are taken, or, with ``--last``,
the last moving average (the end of a schedule is better than any epoch before it, unless few items
were measured). The thickness range, in pixels, is the one whose bones the model was fitted to;
predictions of thicker bone see the scan reduced. docs/bone-pores.md is the model's card.
With ``--surface`` predictions move the surface of bone (osteon.prediction.surface).
With ``--mean-with`` the weights are the mean of the run's, which count for the share, and those of
the model that it was started from: fine-tuned to a few scans, such a mean keeps more of what the
first model can do elsewhere (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", CVPR).
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from osteon.errors import InputError
from osteon.model_file import HALF_MAXIMUM, Model, load_model, save_model
from osteon.tables.shipped import SUFFIX, shipped_folder

#: The largest file that is shipped.
LARGEST_MIB = 30


#: Name of the moving average in a checkpoint, and of what keeps the log of the epochs.
_AVERAGE, _WATCH = "average.module.", "Watch"


def last_of(run: Path) -> Model:
    """Return the model of a run with its last moving average.

    Args:
        run: The folder of the fit.

    Returns:
        The model; its provenance names the epoch.

    Raises:
        InputError: If the fit kept no moving average.
    """
    model = load_model(run / "model.safetensors")
    path = run / "checkpoints" / "last.ckpt"
    kept = torch.load(path, weights_only=True, map_location="cpu")
    average = {
        name.removeprefix(_AVERAGE): tensor
        for name, tensor in kept["state_dict"].items()
        if name.startswith(_AVERAGE)
    }
    if set(average) != set(model.weights):
        raise InputError("the checkpoint holds no moving average of the weights", where=path)
    # What is shown as the score of the weights is that of the epoch they are of.
    row = dict(kept["callbacks"][_WATCH]["history"][-1])
    values = row.pop("val_iou")
    if values:  # none where nothing was kept back
        row |= {f"val_iou_{n}": v for n, v in zip(model.spec.labels.names, values, strict=True)}
    row = {k: v for k, v in row.items() if not (isinstance(v, float) and math.isnan(v))}
    return Model(replace(model.spec, provenance={**model.spec.provenance, "best": row}), average)


def mean_of(model: Model, other: Model, share: float) -> Model:
    """Return the mean of two models' weights.

    Args:
        model: The one that is described.
        other: Another with the same network.
        share: How much ``model`` counts, 0 to 1.

    Returns:
        The model; its provenance names the other.

    Raises:
        InputError: If the networks are not the same.
    """
    if model.spec.network != other.spec.network:
        raise InputError("a mean takes two models with the same network", where=other.spec.name)
    weights = {
        name: torch.lerp(other.weights[name].double(), tensor.double(), share).to(tensor.dtype)
        for name, tensor in model.weights.items()
    }
    mixed = {"with": other.spec.name, "weights_sha256": other.spec.weights_sha256, "share": share}
    return Model(replace(model.spec, provenance={**model.spec.provenance, "mean": mixed}), weights)


def without_folders(value: Any) -> Any:
    """Return what a model file says of itself with files named, not with where they were."""
    if isinstance(value, dict):
        return {key: without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_folders(one) for one in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value


def main() -> None:
    """Read the arguments and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--feature-px", type=float, nargs=2, default=None)
    parser.add_argument("--last", action="store_true")
    parser.add_argument("--mean-with", type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--surface", choices=[HALF_MAXIMUM])
    args = parser.parse_args()
    model = last_of(args.run) if args.last else load_model(args.run / "model.safetensors")
    if args.mean_with is not None:
        # Of a run, the end of its schedule.
        read = last_of if args.mean_with.is_dir() else load_model
        model = mean_of(model, read(args.mean_with), args.share)
    feature = None if args.feature_px is None else (args.feature_px[0], args.feature_px[1])
    provenance = without_folders(model.spec.provenance)
    spec = replace(
        model.spec, name=args.name, feature_px=feature, surface=args.surface, provenance=provenance
    )
    target = shipped_folder() / f"{args.name}{SUFFIX}"
    save_model(target, Model(spec, model.weights), half=True)
    size = target.stat().st_size / 2**20
    if size > LARGEST_MIB:
        target.unlink()
        raise SystemExit(f"{size:.1f} MiB is more than the {LARGEST_MIB} MiB that are shipped")
    print(f"{target}: {size:.1f} MiB, weights {load_model(target).spec.weights_sha256}")


if __name__ == "__main__":
    main()
