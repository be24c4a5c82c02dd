"""``osteon simulate``: simulated scans with exact labels and a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from osteon.datasets import Manifest, ScanRow
from osteon.errors import OutputError
from osteon.events import Reporter
from osteon.labels import BONE_PORES, IGNORE
from osteon.settings import SimulateSettings
from osteon.simulation import SPECIES, Output, SimulatedScan
from osteon.simulation import simulate_cohort as make_cohort
from osteon.simulation import simulate_scan as make_scan
from osteon.workflows.record import check_folder


def simulate_scan(
    out: str | Path,
    *,
    settings: SimulateSettings | None = None,
    index: int = 0,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Manifest:
    """Simulate one scan with its labels. It is made whole in memory (about 60 bytes a voxel).

    Args:
        out: Folder for ``scan``, ``mask`` and ``dataset.toml``.
        settings: Size and seed; the number of scans does not matter.
        index: Number of the scan under the seed; each is another bone.
        overwrite: Replace what exists.
        reporter: Told of the progress.

    Returns:
        The saved manifest, of one row.

    Raises:
        OutputError: If the folder exists or cannot be written.
    """
    settings = settings or SimulateSettings()
    species = list(SPECIES)[index % settings.species]
    out = _fresh(Path(out), overwrite)
    scan = make_scan(
        out,
        seed=settings.seed,
        index=index,
        species=species,
        kind=settings.kinds[index % len(settings.kinds)] if settings.kinds else None,
        shape=_shape(settings),
        output=Output(overwrite=overwrite),
        reporter=reporter,
    )
    return _manifest([scan], out, overwrite)


def simulate_cohort(
    out: str | Path,
    *,
    settings: SimulateSettings | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Manifest:
    """Simulate scans of several made-up species, with labels and a manifest.

    Each scan is made whole in memory (about 60 bytes a voxel), one after the other.

    Args:
        out: Folder; each scan is a folder ``<name>/scan`` and ``<name>/mask`` in it.
        settings: Number, size, species and seed.
        overwrite: Replace what exists.
        reporter: Told of the progress.

    Returns:
        The saved manifest, ``out/dataset.toml``.

    Raises:
        OutputError: If the folder exists or cannot be written.
    """
    settings = settings or SimulateSettings()
    out = _fresh(Path(out), overwrite)
    scans = make_cohort(
        out,
        scans=settings.scans,
        species=list(SPECIES)[: settings.species],
        kinds=settings.kinds or (),
        shape=_shape(settings),
        seed=settings.seed,
        output=Output(overwrite=overwrite),
        reporter=reporter,
    )
    return _manifest(scans, out, overwrite)


def _shape(settings: SimulateSettings) -> tuple[int, int, int]:
    return settings.slices, settings.size, settings.size


def _fresh(out: Path, overwrite: bool) -> Path:
    check_folder(out)
    if (out / "dataset.toml").exists() and not overwrite:
        raise OutputError(
            "there is a dataset in this folder already",
            where=out,
            mend="choose another folder, or replace it by --overwrite",
        )
    return out


def _manifest(scans: Sequence[SimulatedScan], out: Path, overwrite: bool) -> Manifest:
    rows = tuple(
        ScanRow(
            name=scan.name,
            image=_within(out, scan.image),
            mask=_within(out, scan.mask),
            specimen=scan.specimen,
            remap={str(IGNORE): "ignore"} if scan.unjudged else {},
            voxel_size_um=scan.voxel_size_um,
            species=scan.species,
            site=scan.site,
            notes=scan.notes,
        )
        for scan in scans
    )
    return Manifest(BONE_PORES, rows, out / "dataset.toml").save(
        out / "dataset.toml", overwrite=overwrite
    )


def _within(out: Path, path: Path) -> str:
    return path.absolute().relative_to(out.absolute()).as_posix()
