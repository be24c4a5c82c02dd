"""A model in situations that must not confuse it: simulated scans, one thing changed at a time.

    python benchmarks/situations.py [--model FILE|NAME]

Prints a row a situation: what was measured, the figure, and what is wanted of it. The tests of the
model that osteon comes with (tests/test_bone_pores.py) call the same functions. Scans are of 3D
bones from the simulator; the shipped model learned from sections of others that it made.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import tifffile
from scipy import ndimage

from osteon import workflows
from osteon.errors import OsteonWarning
from osteon.formats import open_volume
from osteon.labels import BONE_PORES, IGNORE
from osteon.simulation.anatomy import Anatomy
from osteon.simulation.cohort import ScanSpec, draw_scan, make_scan
from osteon.simulation.materials import InteriorSpec, SurroundingsSpec

Array = npt.NDArray[Any]
BACKGROUND, BONE, PORES = (BONE_PORES.value(n) for n in ("background", "bone", "pores"))
SHAPE = (24, 256, 256)
#: A quiet, ordinary scan; what is around the bones is put in by each situation.
MARROW, OUTSIDE = 0.22, {"air": 0.0, "ethanol": 0.12, "saline": 0.17, "muscle": 0.22}
#: Objects of fewer voxels are specks.
SPECK = 200
PAD = 40


@dataclass(frozen=True)
class Figure:
    """What a situation gave.

    Attributes:
        situation: What was done.
        measure: What was measured.
        value: The figure.
        wanted: Its limit.
        least: Whether it must be at least that; else at most.
    """

    situation: str
    measure: str
    value: float
    wanted: float
    least: bool = True

    @property
    def met(self) -> bool:
        """Whether the figure is as wanted."""
        return self.value >= self.wanted if self.least else self.value <= self.wanted


def label(image: Array, model: str) -> Array:
    """Label a scan (z, y, x) by the whole command."""
    with tempfile.TemporaryDirectory() as text:
        scan, out = Path(text) / "scan.tif", Path(text) / "labels.npy"
        tifffile.imwrite(scan, image)
        workflows.predict([scan], model=model, out=out)
        return open_volume(out).read(slice(None))


def plain(spec: ScanSpec, medium: str) -> ScanSpec:
    """The same bones in one medium, with nothing else around or in them."""
    imaging = replace(
        spec.imaging,
        marrow=MARROW,
        outside=OUTSIDE[medium],
        tissue_um=None,
        holder_um=None,
        blur=1.0,
        noise=0.06,
        noise_correlation=0.6,
        cupping=0.0,
        rings=0.0,
        window=(-0.2, 1.25),
        interior=InteriorSpec(),
        around=SurroundingsSpec(medium=medium),
    )
    return replace(spec, imaging=imaging)


def bone(kind: str = "shaft", *, index: int = 0, shape: tuple[int, int, int] = SHAPE) -> ScanSpec:
    return draw_scan(seed=9, index=index, species="burrower", kind=kind, shape=shape)


def iou(truth: Array, labels: Array, value: int) -> float:
    judged = truth != IGNORE
    a, b = (truth == value) & judged, (labels == value) & judged
    return float((a & b).sum() / max(1, (a | b).sum()))


def equal(spec: ScanSpec, model: str) -> Iterator[Figure]:
    """The same scan cropped, padded, in 16 bit, with another window: equal labels."""
    image, _ = make_scan(spec)
    before = label(image, model)
    inner = (slice(None), *[slice(PAD, -PAD)] * 2)
    pad = [(0, 0), (PAD, PAD), (PAD, PAD)]

    def window(gain: float) -> Array:
        middle = float(image.mean())
        return np.clip(np.rint((image - middle) * gain + middle), 0, 255).astype(np.uint8)

    cases: dict[str, tuple[Array, Any, Any]] = {
        f"cropped by {PAD} px": (image[inner], inner, slice(None)),
        "padded by 0": (np.pad(image, pad), slice(None), inner),
        "padded by the minimum": (
            np.pad(image, pad, constant_values=image.min()),
            slice(None),
            inner,
        ),
        "padded by the mean": (
            np.pad(image, pad, constant_values=np.uint8(image.mean())),
            slice(None),
            inner,
        ),
        "16 bit": (image.astype(np.uint16) * 181 + 5000, slice(None), slice(None)),
        "window 30 % narrower": (window(1.3), slice(None), slice(None)),
        "window 30 % wider": (window(0.7), slice(None), slice(None)),
    }
    for name, (other, of_before, of_other) in cases.items():
        found = label(other, model)
        share = float((before[of_before] == found[of_other]).mean())
        yield Figure(f"{spec.kind}, {name}", "equal labels", share, 0.99)


def media(model: str) -> Iterator[Figure]:
    """The same bones in air, ethanol, saline, muscle: IoU of their pores."""
    for kind in ("shaft", "end"):
        for medium in OUTSIDE:
            image, anatomy = make_scan(plain(bone(kind), medium))
            found = iou(anatomy.labels, label(image, model), PORES)
            yield Figure(f"{kind} in {medium}", "IoU of pores", found, 0.9)


def six(model: str) -> Iterator[Figure]:
    """Six bones in a tube of air: objects of all that is not background."""
    index, spec = next(
        (i, s)
        for i in range(200)
        if len((s := bone("several", index=i, shape=(24, 320, 320))).scene.bones) == 6
        and s.scene.gap_um > 0
    )
    del index
    radius = 0.96 * 160 * spec.voxel_um
    spec = plain(spec, "air")
    image, _ = make_scan(replace(spec, imaging=replace(spec.imaging, holder_um=radius)))
    found = label(image, model)
    count = sum(cc3d.statistics(cc3d.connected_components(found > 0))["voxel_counts"][1:] > SPECK)
    yield Figure("six bones in a tube", "objects, less 6", abs(float(count) - 6), 0, least=False)


def canal_of(anatomy: Anatomy) -> Array:
    """Where the vertebral canal is: the largest space of background that slices of bone enclose.

    Smaller ones are lesions that open elsewhere, and pits.
    """
    solid = (anatomy.labels != BACKGROUND).astype(bool)
    filled = np.stack([ndimage.binary_fill_holes(part) for part in solid])
    canal: Array = cc3d.largest_k(filled & ~solid, k=1, connectivity=6) > 0
    return canal


def canal(model: str) -> Iterator[Figure]:
    """The vertebral canal: share of it that is called pores."""
    for index in range(2):
        for medium in ("air", "muscle"):
            spec = plain(bone("arch", index=index, shape=(48, 256, 256)), medium)
            image, anatomy = make_scan(spec)
            where = canal_of(anatomy)
            if not where.any():
                continue
            share = float((label(image, model)[where] == PORES).mean())
            name = f"vertebral canal {index + 1} in {medium}"
            yield Figure(name, "called pores", share, 0.01, least=False)


def cut(model: str) -> Iterator[Figure]:
    """Bones that the field of view cuts, and one that fills it: mean IoU by the protocol."""
    for kind, index in (("interior", 0), ("flat", 1)):
        image, anatomy = make_scan(plain(bone(kind, index=index), "muscle"))
        found = label(image, model)
        if kind == "interior":
            share = float((found != BACKGROUND).mean())
            yield Figure("inside of a bone fills the view", "not background", share, 0.99)
        else:
            values = [iou(anatomy.labels, found, v) for v in (BACKGROUND, BONE, PORES)]
            yield Figure(f"{kind} bone cut by the view", "mean IoU", float(np.mean(values)), 0.9)


def none(model: str) -> Iterator[Figure]:
    """No bone: an empty tube, rods of hydroxyapatite, noise. No bone, or a warning."""
    shape = SHAPE
    y, x = np.mgrid[: shape[1], : shape[2]] - 128.0
    rho = np.hypot(y, x)
    tube = 0.22 * ((rho > 108) & (rho < 116))
    rods = tube.copy()
    for turn, level in zip(
        np.linspace(0, 2 * np.pi, 6)[:5], (0.2, 0.4, 0.6, 0.8, 1.0), strict=True
    ):
        rods[np.hypot(y - 60 * np.sin(turn), x - 60 * np.cos(turn)) < 16] = level
    for name, scene in {"empty tube": tube, "HA phantom": rods, "noise": 0 * tube}.items():
        rng = np.random.default_rng(3)
        image = ndimage.gaussian_filter(np.broadcast_to(scene, shape).astype(float), (0, 1, 1))
        image = image + 0.05 * rng.standard_normal(shape)
        grey = np.clip((image + 0.2) / 1.45 * 255, 0, 255).astype(np.uint8)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = label(grey, model)
        told = [w.message.name for w in caught if isinstance(w.message, OsteonWarning)]
        share = float((found == BONE).mean())
        bad = 0.0 if told else share
        note = f" (warned: {', '.join(sorted(set(told)))})" if told else ""
        yield Figure(f"{name}{note}", "bone, if not warned", bad, 0.001, least=False)


def coarser(model: str) -> Iterator[Figure]:
    """Half and quarter resolution, judged by the labels at full resolution."""
    image, anatomy = make_scan(plain(bone("end", shape=(32, 384, 384)), "muscle"))
    for factor, wanted in ((1, 0.9), (2, 0.85), (4, 0.7)):
        n = tuple(s // factor for s in image.shape)
        blocks = image[: n[0] * factor, : n[1] * factor, : n[2] * factor].astype(np.float32)
        blocks = blocks.reshape(n[0], factor, n[1], factor, n[2], factor).mean((1, 3, 5))
        found = label(np.rint(blocks).astype(np.uint8), model)
        for axis in range(3):
            found = found.repeat(factor, axis)
        values = [iou(anatomy.labels, found, v) for v in (BACKGROUND, BONE, PORES)]
        name = "full resolution" if factor == 1 else f"1/{factor} of the resolution"
        yield Figure(name, "mean IoU", float(np.mean(values)), wanted)


SITUATIONS: dict[str, Callable[[str], Iterator[Figure]]] = {
    "equal shaft": lambda model: equal(plain(bone("shaft"), "air"), model),
    "equal vertebra": lambda model: equal(plain(bone("vertebra"), "muscle"), model),
    "media": media,
    "six": six,
    "canal": canal,
    "cut": cut,
    "none": none,
    "coarser": coarser,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bone-pores")
    parser.add_argument("--only", nargs="+", choices=list(SITUATIONS), default=list(SITUATIONS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| situation | measure | figure | wanted | met |\n| --- | --- | --- | --- | --- |")
    for name in args.only:
        for figure in SITUATIONS[name](args.model):
            sign = "≥" if figure.least else "≤"
            print(
                f"| {figure.situation} | {figure.measure} | {figure.value:.3f} "
                f"| {sign} {figure.wanted:g} | {'yes' if figure.met else 'no'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
