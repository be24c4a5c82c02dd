"""The commands about models, and the texts they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.options import AsJson, run_command
from osteon.tables.augmentations import AUGMENTATIONS
from osteon.tables.choices import BACKENDS, RECIPES
from osteon.tables.encoders import ENCODERS
from osteon.tables.losses import LOSSES
from osteon.tables.networks import ARCHITECTURES

if TYPE_CHECKING:
    from osteon.model_file import Model

model_app = typer.Typer(no_args_is_help=True, help="Look at models and what they are made of.")


def describe(model: Model) -> str:
    """Describe a model in words.

    Args:
        model: The model.

    Returns:
        Several lines.
    """
    spec = model.spec
    sizes = spec.ranges.voxel_size_um
    parameters = sum(t.numel() for n, t in model.weights.items() if not n.endswith(_BUFFERS))
    lines = [
        f"model:          {spec.name}",
        f"network:        {spec.network.architecture} with {spec.network.encoder}, {spec.mode}, "
        f"{parameters:,} parameters",
        f"classes:        {', '.join(f'{c.value} {c.name}' for c in spec.labels.classes)}",
        f"protocol:       {spec.labels.protocol}",
        f"normalisation:  {spec.recipe} (version {spec.recipe_version})",
        "fitted to:      "
        + (f"voxels of {_range(sizes)} µm" if sizes else "scans of unknown voxel size")
        + (f", {', '.join(spec.ranges.dtypes)}" if spec.ranges.dtypes else ""),
    ]
    best = spec.provenance.get("best")
    if isinstance(best, dict) and best.get("val_mean_iou") is not None:
        lines.append(
            f"validation:     mean IoU {best['val_mean_iou']:.4f} in epoch {best['epoch']}"
        )
    else:
        lines.append("validation:     not measured")
    lines.append(f"made:           {spec.provenance.get('made', 'unknown')}")
    lines.append(f"weights:        SHA-256 {spec.weights_sha256}")
    return "\n".join(lines)


#: State that is not fitted: statistics of batch normalisation.
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def _range(sizes: tuple[float, float]) -> str:
    low, high = (f"{size:.4g}" for size in sizes)
    return low if low == high else f"{low} to {high}"


def choices() -> dict[str, Any]:
    """Return the tables of choices: title → name → help."""
    tables = (ARCHITECTURES, ENCODERS, LOSSES, RECIPES, AUGMENTATIONS, BACKENDS)
    return {table.name: {row.name: row.help for row in table} for table in tables}


@model_app.command("show")
def model_show(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Model file.")],
    as_json: AsJson = False,
) -> None:
    """Say what a model is, what it was fitted to and how well it scored."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.model_file import load_model

        loaded = load_model(model)
        console.say(describe(loaded))
        return loaded.spec.as_dict()

    run_command("model show", work, as_json=as_json, events=Say.TEXT)


@model_app.command("list")
def model_list(as_json: AsJson = False) -> None:
    """List the architectures, encoders, losses and other choices."""

    def work(console: Console) -> dict[str, Any]:
        tables = choices()
        for title, rows in tables.items():
            console.say(f"{title}:")
            for name, text in rows.items():
                console.say(f"  {name:<28}{text}")
        return tables

    run_command("model list", work, as_json=as_json, events=Say.TEXT)
