"""``osteon dataset``: manifests and their examination."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from osteon.datasets import Finding, Manifest, check, new_manifest
from osteon.errors import OutputError
from osteon.events import Reporter
from osteon.settings import FitSettings

if TYPE_CHECKING:
    from osteon.networks import NetworkCosts, NetworkSpec


def new_dataset(
    folder: str | Path,
    *,
    out: str | Path,
    specimen_regex: str | None = None,
    contiguous: bool = True,
    overwrite: bool = False,
) -> Manifest:
    """Make a manifest of the scans below a folder, ``folder/<name>/{scan,mask}``.

    Args:
        folder: The folder.
        out: The manifest to write (TOML).
        specimen_regex: Its first group, found in a scan's name, is the specimen; None: each scan
            is a specimen of its own.
        contiguous: Whether neighbouring slices are neighbours in space.
        overwrite: Replace an existing manifest.

    Returns:
        The saved manifest.

    Raises:
        InputError: If there is no scan, or a file is damaged.
        OutputError: If the manifest exists or cannot be written.
        UsageError: If the expression is wrong.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise OutputError(
            "this manifest exists already", where=out, mend="choose another name, or --overwrite"
        )
    manifest = new_manifest(Path(folder), specimen_regex=specimen_regex, contiguous=contiguous)
    return manifest.save(out, overwrite=overwrite)


def check_dataset(
    dataset: str | Path,
    *,
    settings: FitSettings | None = None,
    reporter: Reporter | None = None,
) -> list[Finding]:
    """Examine a dataset for what would spoil a fit. Reads every slice once.

    Args:
        dataset: The manifest.
        settings: Settings of the fit that is planned.
        reporter: Told of the progress.

    Returns:
        The findings, the gravest first.

    Raises:
        InputError: If the manifest cannot be read.
        UsageError: If the network of the settings cannot be built.
    """
    manifest, settings = Manifest.load(Path(dataset)), settings or FitSettings()
    return check(
        manifest,
        settings=settings,
        costs=patch_costs(settings, classes=len(manifest.labels)),
        reporter=reporter or Reporter(),
    )


def patch_shape(settings: FitSettings) -> tuple[int, ...]:
    """Return the shape of a patch, (y, x) or (z, y, x), in voxels.

    Args:
        settings: Settings of a fit.
    """
    patches = settings.patches
    plane = (patches.size, patches.size)
    return (patches.depth, *plane) if settings.mode == "3D" else plane


def patch_spec(settings: FitSettings, *, classes: int) -> NetworkSpec:
    """Describe the network of a fit before its data are known.

    Args:
        settings: Settings of the fit.
        classes: Classes of its labels.

    Returns:
        The description; of a network that follows the voxels' shape, as if they were cubes.

    Raises:
        UsageError: If architecture, encoder, mode and patch do not go together.
    """
    # Imported here: making a manifest does not wait for torch.
    from osteon.networks import NetworkSpec

    shape = patch_shape(settings)
    return NetworkSpec.from_settings(
        settings.network,
        in_channels=settings.in_channels,
        classes=classes,
        dimensions=len(shape),
        patch=shape,
    )


def patch_costs(settings: FitSettings, *, classes: int) -> NetworkCosts:
    """Count what the network of a fit takes for one patch.

    Args:
        settings: Settings of the fit.
        classes: Classes of its labels.

    Returns:
        The costs of :func:`patch_spec`'s network.

    Raises:
        UsageError: If architecture, encoder, mode and patch do not go together.
    """
    from osteon.networks import network_costs

    spec = patch_spec(settings, classes=classes)
    return network_costs(spec, (1, spec.in_channels, *patch_shape(settings)))
