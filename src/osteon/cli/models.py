"""The commands about models, and the texts they print."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osteon.cli.console import Console, Say
from osteon.cli.options import AsJson, run_command, settings_of
from osteon.registry import Row
from osteon.tables.augmentations import AUGMENTATIONS
from osteon.tables.choices import BACKENDS, RECIPES
from osteon.tables.encoders import ENCODERS
from osteon.tables.losses import LOSSES
from osteon.tables.networks import ARCHITECTURES, dimensions_of
from osteon.tables.shipped import DEFAULT_MODEL, find_model, shipped_models
from osteon.tables.timm import TIMM, timm_names

if TYPE_CHECKING:
    from osteon.model_file import Model
    from osteon.settings import FitSettings

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
        f"network:        {_pair(spec.network.architecture, spec.network.encoder)}, {spec.mode}, "
        f"{parameters:,} parameters",
        f"classes:        {', '.join(f'{c.value} {c.name}' for c in spec.labels.classes)}",
        f"protocol:       {spec.labels.protocol}",
        f"normalisation:  {spec.recipe} (version {spec.recipe_version})",
        "fitted to:      "
        + (f"voxels of {_range(sizes)} µm" if sizes else "scans of unknown voxel size")
        + (f", {', '.join(spec.ranges.dtypes)}" if spec.ranges.dtypes else ""),
    ]
    grey = spec.ranges.intensities
    if grey is not None:
        of = f"{grey.scans} scan{'s' if grey.scans > 1 else ''}"
        lines.append(
            f"grey values:    {grey.low[0]:.2f} to {grey.high[-1]:.2f}, normalised "
            f"({grey.levels[0]:g} to {grey.levels[-1]:g} %, {of})"
        )
    if spec.mode == "2.5D":
        lines.append(f"sees:           {spec.network.in_channels} neighbouring slices at once")
    if spec.patch_size:
        lines.append(f"patches:        {' × '.join(map(str, spec.patch_size))} voxels")
    if spec.voxel_size_um is not None:
        lines.append(f"resampled:      every scan, to {spec.voxel_size_um:g} µm")
    if spec.context is not None:
        lines.append(
            f"looks twice:    first at the whole, at most {spec.context.longest} pixels wide, for "
            "the outline of bones"
        )
    if spec.feature_px is not None:
        low, high = spec.feature_px
        lines.append(f"bone:           {low:g} to {high:g} pixels thick on average")
    if spec.surface is not None:
        lines.append("surface:        moved to where grey values are half-way between both sides")
    source = (spec.provenance.get("start") or {}).get("source", "random")
    if source != "random":
        lines.append(f"started from:   {source}")
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


_MIB = 2**20
#: Title of the models that come with osteon.
_MODELS = "models"
#: Columns of a listing, and of its names.
_WIDTH, _INDENT = 100, 22
#: State that is not fitted: statistics of batch normalisation.
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def _range(sizes: tuple[float, float]) -> str:
    low, high = (f"{size:.4g}" for size in sizes)
    return low if low == high else f"{low} to {high}"


def choices() -> dict[str, Any]:
    """Return the models that come with osteon and the tables of choices: title → name → help."""
    tables = (ARCHITECTURES, ENCODERS, LOSSES, RECIPES, AUGMENTATIONS, BACKENDS)
    named = {table.name: {row.name: row.help for row in table} for table in tables}
    return {_MODELS: {name: _about(name) for name in shipped_models()}, **named}


def _about(name: str) -> str:
    default = "what `osteon predict` uses; " if name == DEFAULT_MODEL else ""
    return f"{default}`osteon model show {name}` describes it"


@model_app.command("show")
def model_show(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Model file, or the name of a model that comes with osteon."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a model is, what it was fitted to and how well it scored."""

    def work(console: Console) -> dict[str, Any]:
        from osteon.model_file import load_model

        loaded = load_model(find_model(model))
        console.say(describe(loaded))
        return loaded.spec.as_dict()

    run_command("model show", work, as_json=as_json, events=Say.TEXT)


def _pair(architecture: str, encoder: str) -> str:
    return f"{architecture} with {encoder}" if encoder else architecture


def encoder_lines() -> list[str]:
    """List the encoders in columns, family by family."""
    families: dict[str, list[str]] = {}
    for row in ENCODERS:
        families.setdefault(str(row.capabilities["family"]), []).append(_with_dimensions(row))
    lines = []
    for family, names in families.items():
        text = textwrap.wrap(
            "  ".join(names), _WIDTH - _INDENT, break_long_words=False, break_on_hyphens=False
        )
        lines += [
            f"  {family if first else '':<{_INDENT - 2}}{line}"
            for first, line in zip([True] + [False] * len(text), text, strict=False)
        ]
    lines.append(
        f"  {'timm':<{_INDENT - 2}}{TIMM}NAME: {len(timm_names())} models of timm, such as"
    )
    lines.append(f"  {'':<{_INDENT - 2}}{TIMM}convnext_tiny, or {TIMM}vit_tiny_patch16_224 for DPT")
    return lines


def _with_dimensions(row: Row) -> str:
    works_in = row.capabilities["dimensions"]
    return {(2, 3): f"{row.name} (2D, 3D)", (3,): f"{row.name} (3D)"}.get(works_in, row.name)  # type: ignore[call-overload,no-any-return]


def costs_of(settings: FitSettings, *, classes: int) -> dict[str, Any]:
    """Count what the network of settings takes for one patch.

    Args:
        settings: Settings of a fit.
        classes: Classes of its labels.

    Returns:
        Parameters, GFLOPs, memory in bytes, and what the table says of it.

    Raises:
        UsageError: If architecture, encoder, mode and patch do not go together.
    """
    from osteon.workflows.preparing import patch_costs, patch_shape, patch_spec

    spec, costs = patch_spec(settings, classes=classes), patch_costs(settings, classes=classes)
    return {
        "architecture": spec.architecture,
        "encoder": spec.encoder,
        "mode": settings.mode,
        "patch": list(patch_shape(settings)),
        "classes": classes,
        "parameters": costs.parameters,
        "gflops": costs.flops / 1e9,
        "activation_bytes": costs.activation_bytes,
        "divisor": spec.divisor,
        "depth_divisor": spec.depth_divisor,
        "global_context": spec.global_context,
    }


def _cost_lines(found: dict[str, Any]) -> list[str]:
    patch = " × ".join(str(n) for n in found["patch"])
    sides = f"height and width multiples of {found['divisor']}"
    if found["mode"] == "3D":
        sides += f", depth of {found['depth_divisor']}"
    return [
        f"{_pair(found['architecture'], found['encoder'])}, {found['mode']}, {found['classes']} "
        f"classes, one patch of {patch}:",
        f"  parameters:   {found['parameters']:,}",
        f"  arithmetic:   {found['gflops']:.4g} GFLOPs forward (a multiply-add is two)",
        f"  activations:  {found['activation_bytes'] / _MIB:,.0f} MiB kept in training, in single "
        "precision",
        f"  input:        {sides}",
        "  sees:         "
        + (
            "the whole input, so that tiles and whole slices can differ"
            if found["global_context"]
            else "its surroundings alone"
        ),
    ]


@model_app.command("list")
def model_list(
    architecture: Annotated[
        str | None, typer.Option("--architecture", help="Count what this network takes.")
    ] = None,
    encoder: Annotated[str | None, typer.Option("--encoder", help="With this encoder.")] = None,
    mode: Annotated[str, typer.Option("--mode", help="2D, 2.5D or 3D.")] = "2D",
    patch: Annotated[
        int, typer.Option("--patch", help="Height and width of a patch, in pixels.")
    ] = 256,
    depth: Annotated[int, typer.Option("--depth", help="Depth of a patch, in slices (3D).")] = 32,
    classes: Annotated[
        int, typer.Option("--classes", help="Number of classes.", min=2, max=255)
    ] = 3,
    as_json: AsJson = False,
) -> None:
    """List the choices there are; with --architecture or --encoder, what a network takes."""

    def work(console: Console) -> dict[str, Any]:
        if architecture is None and encoder is None:
            return _listed(console)
        named = {
            "network.architecture": architecture,
            "network.encoder": encoder,
            "mode": mode,
            "patches.size": patch,
            "patches.depth": depth,
        }
        found = costs_of(settings_of("FitSettings", None, None, **named), classes=classes)
        for line in _cost_lines(found):
            console.say(line)
        return found

    run_command("model list", work, as_json=as_json, events=Say.TEXT)


def _listed(console: Console) -> dict[str, Any]:
    tables = choices()
    for title, rows in tables.items():
        console.say(f"{title}:" if rows else f"{title}: none come with this osteon")
        if title == ENCODERS.name:
            for line in encoder_lines():
                console.say(line)
            continue
        for name, text in rows.items():
            console.say(f"  {name:<28}{text}{_modes(name) if title == ARCHITECTURES.name else ''}")
    return tables


def _modes(architecture: str) -> str:
    modes = {2: "2D, 2.5D", 3: "3D"}
    return f" [{', '.join(modes[d] for d in dimensions_of(architecture))}]"
