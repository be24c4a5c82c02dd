"""Simulated scans and cohorts, written as any scanner's would be.

A scan is made whole in memory: about 60 bytes a voxel at the peak (5.5 GB for 450³ voxels).
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
from osteon.simulation.anatomy import (
    Anatomy,
    BoneSpec,
    GrowthPlate,
    Hole,
    SceneSpec,
    build_scene,
)
from osteon.simulation.drawing import KINDS, draw_scene, kind_of
from osteon.simulation.grids import Shape
from osteon.simulation.imaging import ImagingSpec, draw_imaging, make_image
from osteon.simulation.materials import draw_interior, draw_surroundings
from osteon.simulation.randomness import generator
from osteon.simulation.species import SPECIES, species_of
from osteon.volume import ArrayVolume, Geometry

#: Streams of random numbers of one scan: what is imaged does not change what is there.
SPECIFICATION, ANATOMY, IMAGE = range(3)
#: Default size of a scan in voxels (z, y, x).
DEFAULT_SHAPE: Shape = (128, 192, 192)
#: Slices that are handed to a writer at once.
SLICES_PER_BLOCK = 16
#: Share of scans in a tube, of those whose bones leave room for one: of one bone, of several.
IN_TUBE, SEVERAL_IN_TUBE = 0.4, 0.8
#: How much wider than its radius a bone's lobes make it.
LOBED = 1.35
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
        kind: What it shows, a key of :data:`osteon.simulation.KINDS`.
        shape: (z, y, x) in voxels.
        voxel_um: Voxel size in µm.
        scene: The bones.
        imaging: How they are imaged.
    """

    species: str
    index: int
    seed: int
    kind: str
    shape: Shape
    voxel_um: float
    scene: SceneSpec
    imaging: ImagingSpec

    @property
    def bone(self) -> BoneSpec:
        """The first bone."""
        return self.scene.bones[0]


@dataclass(frozen=True)
class SimulatedScan:
    """A written scan, as a row of a dataset manifest.

    Attributes:
        name: Name of the scan.
        image: The scan: a folder of slices or a file.
        mask: Its labels: 0 background, 1 bone, 2 pores; 255 where ``unjudged``.
        specimen: Name of the specimen; no two scans share one.
        species: Name of the species.
        site: What it shows, a key of :data:`osteon.simulation.KINDS`.
        voxel_size_um: Voxel size in µm, the same along all axes.
        notes: How it came about, for a person.
        unjudged: Whether there are voxels of no class (255), such as growth-plate cartilage.
    """

    name: str
    image: Path
    mask: Path
    specimen: str
    species: str
    site: str
    voxel_size_um: float
    notes: str
    unjudged: bool = False


def draw_scan(
    *,
    seed: int = 0,
    index: int = 0,
    species: str = "burrower",
    shape: Shape = DEFAULT_SHAPE,
    voxel_size_um: float | None = None,
    kind: str | None = None,
    dtype: str = "uint8",
) -> ScanSpec:
    """Draw what a scan is made from, without making it.

    Args:
        seed: Seed of the scan, not negative.
        index: Number of the scan under the seed, not negative.
        species: A key of :data:`osteon.simulation.SPECIES`.
        shape: (z, y, x) in voxels.
        voxel_size_um: Voxel size in µm; drawn from the species' range by default.
        kind: What it shows, a key of :data:`osteon.simulation.KINDS`; by default they take turns
            in a shuffled order. One that does not fit the field of view gives way to a shaft.
        dtype: Type of the grey values, ``uint8`` or ``uint16``.

    Returns:
        The specification.

    Raises:
        UsageError: If there is no such species or kind, or no bone of it fits the field of view.
    """
    rng = generator(seed, index, SPECIFICATION)
    wanted = kind_of(seed=seed, index=index) if kind is None else kind
    scene, voxel, shown = draw_scene(
        species_of(species), wanted, rng, shape=shape, voxel_um=voxel_size_um
    )
    imaging = draw_imaging(rng, dtype=dtype)
    radius = scene.bones[0].envelope.radius_um
    if imaging.tissue_um is not None:
        # Drawn as a share of the bone's radius.
        imaging = replace(imaging, tissue_um=imaging.tissue_um * radius)
    medium, view = imaging.around.medium, min(shape[1:]) * voxel
    imaging = replace(
        imaging,
        around=draw_surroundings(rng, medium=medium, voxel_um=voxel, view_um=view),
        interior=draw_interior(rng, dry=medium == "dry", voxel_um=voxel, view_um=view),
    )
    tube = TUBE_RADIUS * view / 2
    chance = SEVERAL_IN_TUBE if len(scene.bones) > 1 else IN_TUBE
    if _needs(scene) < 0.9 * tube and rng.random() < chance:
        imaging = replace(imaging, holder_um=tube)
    return ScanSpec(species, index, seed, shown, shape, voxel, scene, imaging)


def _needs(scene: SceneSpec) -> float:
    """Radius in µm around the axis of the field of view that about holds the bones."""
    out = 0.0
    for envelope in (bone.envelope for bone in scene.bones):
        reach = LOBED * envelope.radius_um
        if envelope.arch is not None:
            reach += envelope.arch.canal_um + envelope.arch.spinous_um
        out = max(out, reach + float(np.hypot(*envelope.centre_um[1:])))
    return out


def make_scan(spec: ScanSpec) -> tuple[npt.NDArray[Any], Anatomy]:
    """Make a scan in memory.

    Args:
        spec: What it is made from.

    Returns:
        The image (z, y, x) and the bones with their labels; about 60 bytes a voxel are held.

    Raises:
        UsageError: If the bone does not fit the field of view.
    """
    rng = generator(spec.seed, spec.index, ANATOMY)
    anatomy = build_scene(spec.scene, shape=spec.shape, voxel_um=spec.voxel_um, rng=rng)
    return make_image(anatomy, spec.imaging, generator(spec.seed, spec.index, IMAGE)), anatomy


def simulate_scan(
    out: Path,
    *,
    seed: int = 0,
    index: int = 0,
    species: str = "burrower",
    kind: str | None = None,
    shape: Shape = DEFAULT_SHAPE,
    output: Output | None = None,
    reporter: Reporter | None = None,
) -> SimulatedScan:
    """Simulate one scan and write ``out/scan`` and ``out/mask``.

    Args:
        out: Folder of the scan; made where missing.
        seed: Seed of the scan, not negative.
        index: Number of the scan under the seed, not negative.
        species: A key of :data:`osteon.simulation.SPECIES`.
        kind: See :func:`draw_scan`.
        shape: (z, y, x) in voxels.
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
        kind=kind,
        shape=shape,
        dtype=output.dtype,
    )
    with (reporter or Reporter()).stage("simulate", total=3, unit="step") as progress:
        return _write_scan(Path(out), spec, output, progress)


def simulate_cohort(
    out: Path,
    *,
    scans: int = 20,
    species: Sequence[str] = tuple(SPECIES),
    kinds: Sequence[str] = (),
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
        kinds: What scans show in turn, keys of :data:`osteon.simulation.KINDS`; none: all of them,
            some more often than others.
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
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(
                f"there is no kind of simulated scan '{kind}'",
                where="kinds",
                mend=f"choose some of: {', '.join(KINDS)}",
            )
    output, reporter = output or Output(), reporter or Reporter()
    rows: list[SimulatedScan] = []
    with reporter.stage("simulate", total=3 * scans, unit="step") as progress:
        for index in range(scans):
            if reporter.stopping:
                break
            animal = species[index % len(species)]
            spec = draw_scan(
                seed=seed,
                index=index,
                species=animal,
                kind=kinds[index % len(kinds)] if kinds else None,
                shape=shape,
                dtype=output.dtype,
            )
            name = f"{animal}-{index + 1:02d}"
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
        site=spec.kind,
        voxel_size_um=spec.voxel_um,
        notes=_notes(spec),
        unjudged=not anatomy.judged,
    )


def _notes(spec: ScanSpec) -> str:
    """How a scan came about, and which of the labelling rules that leave a choice it has."""
    notes = [f"simulated (seed {spec.seed}, scan {spec.index})", f"in {spec.imaging.around.medium}"]
    features = [feature for bone in spec.scene.bones for feature in bone.features]
    if any(isinstance(f, Hole) for f in features):
        notes.append(f"closed across openings under {spec.bone.closed_below_um:.0f} µm")
    if any(isinstance(f, GrowthPlate) and f.calcified > 0 for f in features):
        notes.append("calcified cartilage is labelled bone")
    return "; ".join(notes)


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
