"""A study file → its runs: which scans validate, how many epochs, what it will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osteon.datasets import (
    Manifest,
    Split,
    cpu_speed,
    estimate,
    folds,
    open_pairs,
    scan_shapes,
    split,
)
from osteon.errors import UsageError
from osteon.settings import FitSettings, ValidationSettings
from osteon.studies.file import Group, StudySettings, groups, load_study

if TYPE_CHECKING:
    from osteon.networks import NetworkCosts

#: Bytes a parameter that a run leaves on the disk, in single precision: the model, the best
#: weights, and a checkpoint with two moments of Adam.
BYTES_PER_PARAMETER = 20


@dataclass(frozen=True)
class Run:
    """One fit of a study.

    Attributes:
        name: Name of the run and its folder.
        group: Name of its group of settings.
        fold: Number of the fold from 1; None without folds.
        seed: Seed of the fit.
        choices: What sets the group apart.
        settings: All settings.
    """

    name: str
    group: str
    fold: int | None
    seed: int
    choices: Mapping[str, Any]
    settings: FitSettings

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary; :meth:`from_dict` reads it back."""
        return {
            "name": self.name,
            "group": self.group,
            "fold": self.fold,
            "seed": self.seed,
            "choices": dict(self.choices),
            "settings": self.settings.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Run:
        """Build a run from :meth:`as_dict`.

        Args:
            data: The dictionary.
        """
        return cls(**{**data, "settings": FitSettings.model_validate(data["settings"])})


@dataclass(frozen=True)
class Plan:
    """The runs of a study and what they will take.

    Attributes:
        name: Name of the study.
        dataset: The manifest.
        runs: The runs, in the order in which they are started.
        seconds: Time of all runs one after another on this CPU, without validation, within a
            factor of about three.
        disk_bytes: Disk that they will take, in bytes.
        notes: What a reader has to know.
    """

    name: str
    dataset: Path
    runs: tuple[Run, ...]
    seconds: float
    disk_bytes: float
    notes: tuple[str, ...] = ()

    def sentences(self, *, workers: int = 1) -> list[str]:
        """Return the plan in words.

        Args:
            workers: Runs at a time.
        """
        at_once = min(workers, len(self.runs))
        hours = self.seconds / 3600
        return [
            f"{len(self.runs)} runs of {self.dataset}",
            f"about {hours:.2g} hours of fitting on this CPU one after another, without "
            f"validation, to within a factor of about three; {at_once} at a time "
            "share the same processor",
            f"about {self.disk_bytes / 2**30:.2g} GiB of disk",
            *self.notes,
        ]


def plan_study(path: Path) -> Plan:
    """Make the runs of a study; opens the scans, reads no voxels.

    The validation scans are written into each run's settings, so that they do not depend on the
    seed of a fit and are the same voxels for all groups.

    Args:
        path: The study file.

    Returns:
        The plan.

    Raises:
        InputError: If the study file or the dataset cannot be read.
        UsageError: If settings do not go together, or there are fewer specimens than folds.
    """
    study = load_study(path)
    dataset = (path.absolute().parent / Path(study.dataset).expanduser()).resolve()
    made = groups(study, where=path)
    manifest = Manifest.load(dataset)
    shapes = scan_shapes(open_pairs(manifest))
    divisions = _divisions(study, manifest, shapes, made)
    costs = {group.name: _costs(group.settings, len(manifest.labels)) for group in made}
    runs, seconds, disk, notes = [], 0.0, 0.0, []
    speed = cpu_speed()  # once: a busy machine would else give each run another
    for group in made:
        for fold, division in divisions[group.name]:
            epochs, note = _epochs(study, group, division, costs, made[0].name)
            notes += [note] if note and note not in notes else []
            slices = sum(len(part.slices) for part in division.training)
            for seed in study.seeds:
                settings = _decided(group.settings, manifest, division, seed=seed, epochs=epochs)
                name = "-".join([group.name, *([f"fold{fold}"] if fold else []), f"seed{seed}"])
                runs.append(Run(name, group.name, fold, seed, group.choices, settings))
                taken = estimate(
                    settings,
                    slices=slices,
                    cache_bytes=0,
                    costs=costs[group.name],
                    flops_per_second=speed,
                )
                seconds += taken.seconds or 0.0
                disk += costs[group.name].parameters * BYTES_PER_PARAMETER
    return Plan(study.name, dataset, tuple(runs), seconds, disk, tuple(notes))


Divisions = dict[str, list[tuple[int | None, Split]]]


def _divisions(
    study: StudySettings, manifest: Manifest, shapes: Mapping[str, Any], made: Sequence[Group]
) -> Divisions:
    if study.folds is None:
        out: Divisions = {}
        for group in made:
            chosen = group.settings.validation
            out[group.name] = [(None, split(manifest, chosen, seed=study.fold_seed, shapes=shapes))]
        return out
    k = study.folds
    if k == "specimens":
        k = len({row.specimen for row in manifest.scans if shapes.get(row.name)})
    made_folds = folds(manifest, k=k, seed=study.fold_seed, shapes=shapes)
    numbered: list[tuple[int | None, Split]] = list(enumerate(made_folds, start=1))
    return {group.name: numbered for group in made}


def _decided(
    settings: FitSettings, manifest: Manifest, division: Split, *, seed: int, epochs: int
) -> FitSettings:
    validation = settings.validation
    if validation.method == "specimens":
        names = {part.scan for part in division.validation}
        specimens = sorted({row.specimen for row in manifest.scans if row.name in names})
        validation = ValidationSettings.model_validate(
            {**validation.model_dump(), "specimens": specimens}
        )
    return settings.model_copy(
        update={
            "seed": seed,
            "validation": validation,
            "training": settings.training.model_copy(update={"epochs": epochs}),
        }
    )


def _epochs(
    study: StudySettings,
    group: Group,
    division: Split,
    costs: Mapping[str, NetworkCosts],
    first: str,
) -> tuple[int, str | None]:
    """How many epochs make runs equal, and what rounding them means."""
    settings = group.settings
    if study.equal == "epochs" or study.patches is None:
        return settings.training.epochs, None
    for name, stands in (
        ("mode=3D", settings.mode == "3D"),
        ("patches.skip_empty", settings.patches.skip_empty),
        ("simulation.items", settings.simulation.items > 0),
        ("training.max_minutes", settings.training.max_minutes is not None),
        ("training.patience", settings.training.patience is not None),
    ):
        if stands:
            raise UsageError(
                f"with equal={study.equal} the patches of an epoch must be known beforehand, and "
                f"{name} does not allow it",
                where=f"group {group.name}",
                mend="leave it out, or choose equal: epochs",
            )
    wanted: float = study.patches
    if study.equal == "compute":
        wanted *= costs[first].flops / costs[group.name].flops
    an_epoch = sum(len(part.slices) for part in division.training) * settings.patches.per_slice
    epochs = max(1, round(wanted / an_epoch))
    off = epochs * an_epoch / wanted - 1
    note = None
    if abs(off) > 0.05:  # what nobody would call equal
        note = (
            f"group {group.name}: {epochs} whole epochs are {epochs * an_epoch} patches, "
            f"{off:+.0%} beside the {wanted:.0f} asked for"
        )
    return epochs, note


def _costs(settings: FitSettings, classes: int) -> NetworkCosts:
    # Imported here: it needs torch, and a mistake in the study file is told before that.
    from osteon.networks import NetworkSpec, network_costs

    patches, volumetric = settings.patches, settings.mode == "3D"
    plane: tuple[int, ...] = (patches.size, patches.size)
    shape = (patches.depth, *plane) if volumetric else plane
    spec = NetworkSpec.from_settings(
        settings.network,
        in_channels=settings.in_channels,
        classes=classes,
        dimensions=3 if volumetric else 2,
        patch=shape,
    )
    return network_costs(spec, (1, spec.in_channels, *shape))
