"""Models, networks and scans as a prediction opens them, in a command or in its workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from osteon.backends import Backend, open_backend
from osteon.datasets.masks import ResizedVolume
from osteon.model_file import Model, load_model
from osteon.prediction import AveragedBackend, check_together
from osteon.settings import PredictSettings
from osteon.volume import Volume
from osteon.workflows.ensembles import model_files


def open_models(names: str | Path | Sequence[str | Path] | None) -> list[Model]:
    """Read the models of a prediction.

    Args:
        names: A file, a run's or a study's folder or a name, or several whose class probabilities
            are averaged; None: the default.

    Returns:
        The models, which fit together.

    Raises:
        OsteonError: If one is missing or damaged, or they do not fit together.
    """
    several = [names] if names is None or isinstance(names, str | Path) else list(names)
    files = [file for name in several or [None] for file in model_files(name)]
    models = [load_model(file) for file in files]
    check_together(models)
    return models


def open_network(models: Sequence[Model], settings: PredictSettings) -> Backend:
    """Make models ready to run as one network.

    Args:
        models: The models.
        settings: Backend, device, precision, threads and views.

    Returns:
        The backend.

    Raises:
        OsteonError: As :func:`osteon.backends.open_backend`.
    """
    return as_one(
        [open_backend(one.spec.network, one.weights, settings) for one in models], models, settings
    )


def as_one(
    members: Sequence[Backend], models: Sequence[Model], settings: PredictSettings
) -> Backend:
    """Return networks as one: itself, or the mean of several or of several views.

    Args:
        members: The networks, ready to run.
        models: Their models.
        settings: The views.
    """
    if len(members) == settings.views == 1:
        return members[0]
    return AveragedBackend(members, views=settings.views, classes=len(models[0].spec.labels))


def sized(volume: Volume, voxel_size: float | None) -> Volume:
    """Return a volume whose voxel size is stated.

    Args:
        volume: The volume.
        voxel_size: In µm, along all axes; None: what its file says.
    """
    return volume if voxel_size is None else ResizedVolume(volume, (voxel_size,) * 3)
