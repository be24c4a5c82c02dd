"""Simulated scans and cohorts, written as any scanner's would be.

A scan is made whole in memory: about 50 bytes a voxel at the peak (4.5 GB for 450³ voxels).
Everything about scan number ``index`` follows from (seed, index) and what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from osteon.errors import UsageError
from osteon.events import Progress, Reporter
from osteon.formats import open_writer
from osteon.labels import BONE_PORES, LabelScheme
from osteon.simulation.anatomy import Anatomy, BoneSpec, build_anatomy
from osteon.simulation.grids import Shape
from osteon.simulation.imaging import ImagingSpec, draw_imaging, make_image
from osteon.simulation.randomness import generator
from osteon.simulation.species import SPECIES, draw_bone, species_of
from osteon.volume import ArrayVolume, Geometry

#: Streams of random numbers of one scan: what is imaged does not change what is there.
SPECIFICATION, ANATOMY, IMAGE = range(3)
#: Default size of a scan in voxels (z, y, x).
DEFAULT_SHAPE: Shape = (128, 192, 192)
#: Slices that are handed to a writer at once.
SLICES_PER_BLOCK = 16
#: Share of scans in a tube, of those whose bone leaves room for one.
IN_TUBE = 0.4
#: Radius of the tube over half the field of view.
TUBE_RADIUS = 0.96


@dataclass(frozen=True)
class Output:
    """What is written.

    Attributes:
        suffix: Ending of the files, such as ``.nii.gz``; empty for folders of TIFF slices.
        dtype: Type of the grey values, ``uint8`` or ``uint16``.
        overwrite: Replace what exists.
    """

    suffix: str = ""
    dtype: str = "uint8"
    overwrite: bool = False


@dataclass(frozen=True)
class ScanSpec:
    """Everything that one simulated scan is made from.

    Attributes:
        species: Name of the species.
        index: Number of the scan under its seed.
        seed: The seed.
        shape: (z, y, x) in voxels.
        voxel_um: Voxel size in µm.
        bone: The bone.
        imaging: How it is imaged.
    """

    species: str
    index: int
    seed: int
    shape: Shape
    voxel_um: float
    bone: BoneSpec
    imaging: ImagingSpec


@dataclass(frozen=True)
class SimulatedScan:
    """A written scan, as a row of a dataset manifest.

    Attributes:
        name: Name of the scan.
        image: The scan: a folder of slices or a file.
        mask: Its labels: 0 background, 1 bone, 2 pores.
        specimen: Name of the specimen; no two scans share one.
        species: Name of the species.
        site: The bone: ``shaft``, ``end`` or ``vertebra``.
        voxel_size_um: Voxel size in µm, the same along all axes.
        notes: How it came about, for a person.
    """

    name: str
    image: Path
    mask: Path
    specimen: str
    species: str
    site: str
    voxel_size_um: float
    notes: str


def draw_scan(
    *,
    seed: int = 0,
    index: int = 0,
    species: str = "burrower",
    shape: Shape = DEFAULT_SHAPE,
    voxel_size_um: float | None = None,
    dtype: str = "uint8",
) -> ScanSpec:
    """Draw what a scan is made from, without making it.

    Args:
        seed: Seed of the scan, not negative.
        index: Number of the scan under the seed, not negative.
        species: A key of :data:`osteon.simulation.SPECIES`.
        shape: (z, y, x) in voxels.
        voxel_size_um: Voxel size in µm; drawn from the species' range by default.
        dtype: Type of the grey values, ``uint8`` or ``uint16``.

    Returns:
        The specification.

    Raises:
        UsageError: If there is no such species or no bone of it fits the field of view.
    """
    rng = generator(seed, index, SPECIFICATION)
    bone, voxel = draw_bone(species_of(species), rng, shape=shape, voxel_um=voxel_size_um)
    imaging = draw_imaging(rng, dtype=dtype)
    radius = bone.envelope.radius_um
    if imaging.tissue_um is not None:
        # Drawn as a share of the bone's radius.
        imaging = replace(imaging, tissue_um=imaging.tissue_um * radius)
    tube = TUBE_RADIUS * min(shape[1:]) * voxel / 2
    offset = float(np.hypot(*bone.envelope.centre_um[1:]))
    if 1.35 * radius + offset < 0.9 * tube and rng.random() < IN_TUBE:
        imaging = replace(imaging, holder_um=tube)
    return ScanSpec(species, index, seed, shape, voxel, bone, imaging)


def make_scan(spec: ScanSpec) -> tuple[npt.NDArray[Any], Anatomy]:
    """Make a scan in memory.

    Args:
        spec: What it is made from.

    Returns:
        The image (z, y, x) and the bone with its labels; about 50 bytes a voxel are held.

    Raises:
        UsageError: If the bone does not fit the field of view.
    """
    rng = generator(spec.seed, spec.index, ANATOMY)
    anatomy = build_anatomy(spec.bone, shape=spec.shape, voxel_um=spec.voxel_um, rng=rng)
    return make_image(anatomy, spec.imaging, generator(spec.seed, spec.index, IMAGE)), anatomy


def simulate_scan(
    out: Path,
    *,
    seed: int = 0,
    index: int = 0,
    species: str = "burrower",
    shape: Shape = DEFAULT_SHAPE,
    voxel_size_um: float | None = None,
    output: Output | None = None,
    reporter: Reporter | None = None,
) -> SimulatedScan:
    """Simulate one scan and write ``out/scan`` and ``out/mask``.

    Args:
        out: Folder of the scan; made where missing.
        seed: Seed of the scan, not negative.
        index: Number of the scan under the seed, not negative.
        species: A key of :data:`osteon.simulation.SPECIES`.
        shape: (z, y, x) in voxels.
        voxel_size_um: Voxel size in µm; drawn from the species' range by default.
        output: Format and type of what is written.
        reporter: Told of the progress.

    Returns:
        The row of the manifest; its name is the folder's.

    Raises:
        UsageError: If there is no such species or no bone of it fits the field of view.
        OutputError: If something is there already, or cannot be written.
    """
    output = output or Output()
    spec = draw_scan(
        seed=seed,
        index=index,
        species=species,
        shape=shape,
        voxel_size_um=voxel_size_um,
        dtype=output.dtype,
    )
    with (reporter or Reporter()).stage("simulate", total=3, unit="step") as progress:
        return _write_scan(Path(out), spec, output, progress)


def simulate_cohort(
    out: Path,
    *,
    scans: int = 20,
    species: Sequence[str] = tuple(SPECIES),
    shape: Shape = DEFAULT_SHAPE,
    seed: int = 0,
    output: Output | None = None,
    reporter: Reporter | None = None,
) -> list[SimulatedScan]:
    """Simulate scans of several species, in turn, and write ``out/<name>/scan`` and ``mask``.

    Args:
        out: Folder of the cohort; made where missing.
        scans: How many.
        species: Keys of :data:`osteon.simulation.SPECIES`.
        shape: (z, y, x) of each scan in voxels.
        seed: Seed of the cohort: scan number k depends on it, k and its species alone.
        output: Format and type of what is written.
        reporter: Told of the progress; a stop is heeded between scans.

    Returns:
        One row a scan; fewer than asked for only if a stop was asked for.

    Raises:
        UsageError: If a species is unknown or none is given, or a bone does not fit.
        OutputError: If something is there already, or cannot be written.
    """
    if scans < 1 or not species:
        raise UsageError("a cohort has at least one scan and one species")
    for name in species:
        species_of(name)
    output, reporter = output or Output(), reporter or Reporter()
    rows: list[SimulatedScan] = []
    with reporter.stage("simulate", total=3 * scans, unit="step") as progress:
        for index in range(scans):
            if reporter.stopping:
                break
            kind = species[index % len(species)]
            spec = draw_scan(seed=seed, index=index, species=kind, shape=shape, dtype=output.dtype)
            name = f"{kind}-{index + 1:02d}"
            rows.append(_write_scan(Path(out) / name, spec, output, progress))
    return rows


def _write_scan(folder: Path, spec: ScanSpec, output: Output, progress: Progress) -> SimulatedScan:
    image, anatomy = make_scan(spec)
    progress.advance(message=folder.name)
    paths = [folder / f"{part}{output.suffix}" for part in ("scan", "mask")]
    parts = zip(paths, (image, anatomy.labels), (None, BONE_PORES), strict=True)
    for path, array, scheme in parts:
        _write(path, array, spec=spec, scheme=scheme, overwrite=output.overwrite)
        progress.advance(message=folder.name)
    return SimulatedScan(
        name=folder.name,
        image=paths[0],
        mask=paths[1],
        specimen=f"{spec.species}-{spec.seed}-{spec.index}",
        species=spec.species,
        site=spec.bone.envelope.shape,
        voxel_size_um=spec.voxel_um,
        notes=f"simulated (seed {spec.seed}, scan {spec.index})",
    )


def _write(
    path: Path,
    array: npt.NDArray[Any],
    *,
    spec: ScanSpec,
    scheme: LabelScheme | None,
    overwrite: bool,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    geometry = Geometry((spec.voxel_um,) * 3)
    like = ArrayVolume(array, geometry)
    writer = open_writer(path, like=like, dtype=array.dtype, labels=scheme, overwrite=overwrite)
    with writer:
        for z in range(0, array.shape[0], SLICES_PER_BLOCK):
            writer.write(z, array[z : z + SLICES_PER_BLOCK])
