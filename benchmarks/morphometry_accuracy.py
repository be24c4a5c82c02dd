"""How far measures of bone are off on simulated scans that a model never saw.

    python benchmarks/morphometry_accuracy.py --work FOLDER [--model NAME|FILE] [--scans 15]

Two questions, both of the model's labels and of Otsu's threshold tuned on the truth of each scan
(``osteon.evaluation.baseline``: about the best that Otsu can do, not what it does):

- **Errors.** Scans of 3D bones (a shaft, an end and a vertebra of each of five species), which
  share neither shapes nor scanner with what `bone-pores` was fitted to, under a seed of their own.
  Median and worst error of BV/TV, Tb.Th and Ct.Th against the same measures of the true labels. All
  scans count; those with trabeculae of at least 4 voxels are given apart, too.
- **A group effect.** Eight vertebrae, and the same eight with trabeculae so much thinner that BV/TV
  is about 15 % lower, with other noise; all of one voxel size and by one simulated scanner, which
  is drawn as any. Wanted: the effect of the true labels, its sign and its size within 20 %.

Cortex and trabeculae are told apart anew in truth and labels, by widths that suit the species.
Each scan's figures are kept in ``FOLDER/<name>.json``; what is there is not measured again, so a
run that was stopped goes on. A scan takes about 64 bytes a voxel (100 MB).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from osteon import workflows
from osteon.errors import InputError, OsteonWarning
from osteon.evaluation.baseline import otsu_labels, tuned_otsu
from osteon.events import Reporter
from osteon.files import write_json
from osteon.formats import open_volume
from osteon.labels import IGNORE
from osteon.morphometry import measure
from osteon.settings import CompartmentSettings, MeasureSettings, PredictSettings
from osteon.simulation import SPECIES, ScanSpec, build_scene, draw_scan, make_image
from osteon.simulation.cohort import ANATOMY, IMAGE
from osteon.simulation.randomness import generator
from osteon.volume import ArrayVolume, Geometry

Labels = npt.NDArray[np.uint8]
Result = dict[str, Any]

MEASURES = ("bv-tv", "tb-th", "ct-th")
TERMS = {"bv-tv": "BV/TV", "tb-th": "Tb.Th", "ct-th": "Ct.Th"}
#: The largest median error that is wanted, as a part of the truth.
WANTED = {"bv-tv": 0.05, "tb-th": 0.05, "ct-th": 0.10}
ROLES = ("model", "otsu")
#: Far from the seeds of fits, of tests and of the other benchmarks.
SEED = 606_606
SHAPE = (64, 160, 160)
KINDS = ("vertebra", "end", "shaft")
#: Trabeculae of so many voxels are well resolved.
WELL_RESOLVED = 4.0
#: Of the group effect: species, animals of a group, and their seed.
ANIMAL, GROUP, GROUP_SEED = "burrower", 8, SEED + 1
#: Trabeculae of the second group over those of the first. BV/TV falls by about 15 %.
THINNER = 0.86
EFFECT_WITHIN = 0.20
#: Widths that compartments are told apart by, over the widest canal and trabecula of a species.
CANAL, TRABECULA = 1.0, 1.5


@dataclass(frozen=True)
class Case:
    """A scan to be simulated, labelled and measured.

    Attributes:
        name: Its name.
        spec: The bones, and how they are imaged.
        noise: Number of the random numbers of the image; bones have their own.
    """

    name: str
    spec: ScanSpec
    noise: int

    def make(self) -> tuple[npt.NDArray[Any], Labels]:
        """Make the image and its labels."""
        spec = self.spec
        anatomy = build_scene(
            spec.scene,
            shape=spec.shape,
            voxel_um=spec.voxel_um,
            rng=generator(spec.seed, spec.index, ANATOMY),
        )
        image = make_image(anatomy, spec.imaging, generator(spec.seed, self.noise, IMAGE))
        return image, anatomy.labels


def accuracy_cases(scans: int) -> Iterator[Case]:
    """Scans of all species and kinds, in turn."""
    animals = list(SPECIES)
    for index in range(scans):
        animal, kind = animals[index % len(animals)], KINDS[index % len(KINDS)]
        spec = draw_scan(seed=SEED, index=index, species=animal, kind=kind, shape=SHAPE)
        yield Case(f"error-{index:02d}-{animal}-{spec.kind}", spec, index)


def group_cases() -> Iterator[Case]:
    """Two groups: as drawn, and with thinner trabeculae."""
    voxel, imaging = None, None
    for index in range(GROUP):
        drawn = draw_scan(
            seed=GROUP_SEED,
            index=index,
            species=ANIMAL,
            kind="vertebra",
            shape=SHAPE,
            voxel_size_um=voxel,
        )
        voxel, imaging = voxel or drawn.voxel_um, imaging or drawn.imaging
        control = replace(drawn, imaging=imaging)
        yield Case(f"group-control-{index}", control, index)
        yield Case(f"group-thinner-{index}", _thinner(control), index + GROUP)


def _thinner(spec: ScanSpec) -> ScanSpec:
    bones = []
    for bone in spec.scene.bones:
        network = bone.trabeculae
        if network is not None:
            lost = (1 - THINNER) * network.thickness_um
            # What is lost is gained by the spaces: trabeculae stay where they are.
            network = replace(
                network,
                thickness_um=network.thickness_um - lost,
                spacing_um=network.spacing_um + lost,
            )
        bones.append(replace(bone, trabeculae=network))
    return replace(spec, scene=replace(spec.scene, bones=tuple(bones)))


def settings_for(species: str) -> MeasureSettings:
    """What is measured, with widths of compartments that suit the species."""
    animal = SPECIES[species]
    return MeasureSettings(
        measures=MEASURES,
        objects=False,
        contiguous="yes",
        compartments=CompartmentSettings(
            canal_um=CANAL * animal.canal_um[1], trabecula_um=TRABECULA * animal.thickness_um[1]
        ),
    )


def measured(labels: Labels, spec: ScanSpec) -> dict[str, float | None]:
    """Measure labels; what there is none of, or is not resolved, is None."""
    try:
        (bone,) = measure(labels, spec.voxel_um, settings=settings_for(spec.species))
    except InputError:  # nothing was labelled at all
        return dict.fromkeys(MEASURES)
    return {name: bone.figures[name].value for name in MEASURES}


def predicted(image: npt.NDArray[Any], model: str) -> Labels:
    """Label a scan by the whole command; the backend is not searched for again each time."""
    with tempfile.TemporaryDirectory() as text:
        scan, out = Path(text) / "scan.tif", Path(text) / "labels.npy"
        tifffile.imwrite(scan, image)
        settings = PredictSettings(backend="openvino", report=False)
        workflows.predict([scan], model=model, out=out, settings=settings)
        return open_volume(out).read(slice(None))


def judged(case: Case, model: str) -> Result:
    """Simulate a scan, label and measure it."""
    spec = case.spec
    image, truth = case.make()
    scan = ArrayVolume(image, Geometry((spec.voxel_um,) * 3))
    otsu = tuned_otsu(scan, lambda z: truth[z])
    labels = {
        "truth": truth.copy(),
        "model": predicted(image, model),
        "otsu": otsu_labels(scan, otsu, reporter=Reporter()),
    }
    figures = {}
    for role, values in labels.items():
        values[truth == IGNORE] = IGNORE
        figures[role] = measured(values, spec)
    network = spec.bone.trabeculae
    return {
        "schema": 1,
        "name": case.name,
        "model": model,
        "medium": spec.imaging.around.medium,
        "voxel_um": spec.voxel_um,
        "asked_tb_th_voxels": None if network is None else network.thickness_um / spec.voxel_um,
        "otsu": str(otsu),
        "figures": figures,
    }


def done(case: Case, folder: Path, model: str) -> Result:
    """Return what is known of a scan; work it out where that is not kept yet."""
    path = folder / f"{case.name}.json"
    if path.exists():
        kept: Result = json.loads(path.read_text(encoding="utf-8"))
        if kept["model"] != model:
            raise SystemExit(f"{path} is of the model {kept['model']}: choose another --work")
        return kept
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OsteonWarning)
        found = judged(case, model)
    write_json(path, found)
    print(f"done: {case.name} {found['figures']}", flush=True)
    return found


def error(result: Result, role: str, name: str) -> float | None:
    """(labels − truth) ÷ truth, or None where either has none."""
    truth, value = result["figures"]["truth"][name], result["figures"][role][name]
    if not truth or value is None:
        return None
    return float(value / truth - 1)


def error_rows(results: list[Result], which: str) -> list[str]:
    """Rows of the table of errors."""
    rows = []
    for name in MEASURES:
        for role in ROLES:
            known = [r for r in results if r["figures"]["truth"][name]]
            found = {r["name"]: e for r in known if (e := error(r, role, name)) is not None}
            if not found:
                rows.append(
                    f"| {TERMS[name]} | {which} | {role} | – | – | – | – | 0 of {len(known)} |"
                )
                continue
            worst = max(found, key=lambda scan: abs(found[scan]))
            values = np.array(list(found.values()))
            rows.append(
                f"| {TERMS[name]} | {which} | {role} | {np.median(np.abs(values)):.1%} | "
                f"{np.median(values):+.1%} | {found[worst]:+.1%} ({worst}) | {WANTED[name]:.0%} | "
                f"{len(found)} of {len(known)} |"
            )
    return rows


def effect_rows(results: list[Result]) -> list[str]:
    """Rows of the table of group effects."""
    rows, true = [], {}
    for role in ("truth", *ROLES):
        for name in ("bv-tv", "tb-th"):
            groups = [
                [r["figures"][role][name] for r in results if f"-{group}-" in r["name"]]
                for group in ("control", "thinner")
            ]
            pairs = [[v for v in group if v is not None] for group in groups]
            if not all(pairs):
                rows.append(f"| {TERMS[name]} | {role} | – | – | – | – | – |")
                continue
            means = [float(np.mean(v)) for v in pairs]
            effect = means[1] / means[0] - 1
            true.setdefault(name, effect)
            off = effect / true[name] - 1
            kept = "yes" if abs(off) <= EFFECT_WITHIN else "no"
            verdict = "" if role == "truth" else kept
            rows.append(
                f"| {TERMS[name]} | {role} | {means[0]:.4g} | {means[1]:.4g} | "
                f"{effect:+.1%} | {off:+.0%} | {verdict} |"
            )
    return rows


def report(errors: list[Result], groups: list[Result]) -> str:
    """Write all as markdown."""
    well = [r for r in errors if (r["asked_tb_th_voxels"] or 0) >= WELL_RESOLVED]
    lines = [
        "| measure | scans | labels | median error | median, signed | worst | wanted | given |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *error_rows(errors, "all"),
        *error_rows(well, f"Tb.Th ≥ {WELL_RESOLVED:g} voxels"),
        "",
        "| measure | labels | control | thinner | effect | off the true effect | within 20 % |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(effect_rows(groups) if groups else []),
    ]
    return "\n".join(lines)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of what is done already")
    parser.add_argument("--model", default="bone-pores", help="name or file of a model")
    parser.add_argument("--scans", type=int, default=15, help="scans that errors are taken of")
    parser.add_argument("--no-groups", action="store_true", help="leave the group effect out")
    parser.add_argument("--json", type=Path, help="where all figures go")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    errors = [done(case, given.work, given.model) for case in accuracy_cases(given.scans)]
    cases = [] if given.no_groups else list(group_cases())
    groups = [done(case, given.work, given.model) for case in cases]
    print(report(errors, groups))
    if given.json is not None:
        write_json(given.json, {"schema": 1, "errors": errors, "groups": groups})


if __name__ == "__main__":
    main()
