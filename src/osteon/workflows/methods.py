"""Paragraphs for the methods section of a paper; [FILL IN] where osteon cannot know."""

from __future__ import annotations

from collections.abc import Sequence

from osteon.evaluation import Evaluation, ScanEvaluation
from osteon.evaluation.measured import LEFT_OUT, TRUTH
from osteon.morphometry import describe
from osteon.settings import MeasureSettings
from osteon.settings.measuring import CompartmentSettings, WholeRegion
from osteon.tables.measures import MEASURES
from osteon.volume import VoxelSize

#: Groups of measures, what is said of them, and the source; in this order.
_SAID = (
    (
        ("tb-th", "tb-sp", "ct-th"),
        "by maximal spheres (Hildebrand and Rüegsegger 1997, 10.1046/j.1365-2818.1997.1340694.x) "
        "as in BoneJ (Doube et al. 2010, 10.1016/j.bone.2010.08.023)",
    ),
    (("tb-n",), "is one over the mean local thickness of the space between mid-axes"),
    (("tb-n-ratio",), "is the ratio alone"),
    (
        ("conn-d",),
        "by the Euler number of the purified bone (Odgaard and Gundersen 1993, "
        "10.1016/8756-3282(93)90245-6)",
    ),
    (
        ("da", "da-ratio"),
        "by mean intercept lengths (Harrigan and Mann 1984, 10.1007/BF00540446)",
    ),
    (
        ("smi",),
        "by dilating the surface (Hildebrand and Rüegsegger 1997, 10.1080/01495739708936692)",
    ),
    (("bs", "bs-bv"), "by marching cubes"),
    (("ct-po",), "counts pores from one voxel on"),
)
#: What needs the compartments.
_COMPARTMENTS = ("trabecular", "cortical")


def scanning(sizes: Sequence[VoxelSize], by: str) -> str:
    """Say how scans were made and labelled.

    Args:
        sizes: Voxel size of each scan in µm (z, y, x), None along an axis where unknown.
        by: What labelled them, in words.
    """
    known = sorted({" × ".join(f"{v:g}" for v in size if v) for size in sizes if all(size)})
    voxel = " or ".join(f"{size} µm (z × y × x)" for size in known) or "[FILL IN] µm"
    if known and not all(all(size) for size in sizes):
        voxel += " and [FILL IN] µm"
    return (
        "Scans were made of [FILL IN: species, bone, preparation] in [FILL IN: medium] on a [FILL "
        "IN: scanner] at [FILL IN] kVp and [FILL IN] µA with a [FILL IN] filter; the voxel size "
        f"was {voxel}. Reconstruction and filtering: [FILL IN]. Voxels were labelled by {by}."
    )


def measuring(
    settings: MeasureSettings,
    names: Sequence[str],
    *,
    version: str,
    known: bool = True,
    planar: bool = False,
    given: bool = False,
) -> str:
    """Say what was measured, where, and how.

    Args:
        settings: How it was measured.
        names: Names of the measures that were taken.
        version: Version of osteon.
        known: Whether voxel sizes are known.
        planar: Whether slices are no neighbours in space, so that areas alone were taken.
        given: Whether compartments were read from a file.
    """
    terms = ", ".join(str(MEASURES.row(name).capabilities["term"]) for name in names)
    text = [
        f"{terms} were measured with osteon {version}, by the definitions of Bouxsein et al. 2010 "
        f"(10.1002/jbmr.141), in {_place(settings)}"
        + (", each bone on its own." if settings.objects else ", all bones of a scan together.")
    ]
    if not known:
        text.append("Where the voxel size was not known lengths are in voxels.")
    if planar:
        text.append("Slices are no neighbours in space: areas alone were taken, slice by slice.")
    for members, words in _SAID:
        own = [str(MEASURES.row(n).capabilities["term"]) for n in members if n in names]
        if own:
            text.append(f"{' and '.join(own)}: {words}.")
    if any(n.startswith(("tb-th", "tb-sp", "ct-th")) for n in names):
        least = settings.resolved_voxels
        text.append(f"A mean thickness below {least:g} voxels counts as not resolved.")
    needs = {need for name in names for need in MEASURES.row(name).capabilities["needs"]}  # type: ignore[attr-defined]
    if needs & set(_COMPARTMENTS) and known:
        text.append(_separation(settings, given=given))
    return " ".join(text)


def _place(settings: MeasureSettings) -> str:
    if isinstance(settings.region, WholeRegion):
        return "all that was scanned"
    return f"a volume of interest ({describe(settings.region)}; [FILL IN: why there])"


def _separation(settings: MeasureSettings, *, given: bool) -> str:
    if settings.content == "trabecular":
        return "The volume of interest holds trabecular bone alone."
    if given:
        return "Cortical and trabecular compartments were [FILL IN: drawn or corrected, by whom]."
    widths: CompartmentSettings = settings.compartments
    if widths.method == "none":
        return "Cortical and trabecular bone were not told apart."
    return (
        "Cortical and trabecular compartments were told apart after Buie et al. 2007 "
        f"(10.1016/j.bone.2007.07.007), with distances in µm: spaces under {widths.canal_um:g} µm "
        f"wide, or smaller than {widths.least_share:.3g} of the largest, are pores of the cortex; "
        f"bone under {widths.trabecula_um:g} µm thick between spaces is trabecular. They were "
        "[FILL IN: looked at, corrected by hand]."
    )


def of_measures(
    settings: MeasureSettings,
    names: Sequence[str],
    sizes: Sequence[VoxelSize],
    *,
    version: str,
    given: bool = False,
    planar: bool = False,
) -> list[str]:
    """Write the paragraphs of a measurement.

    Args:
        settings: How it was measured.
        names: Names of the measures.
        sizes: Voxel size of each scan in µm (z, y, x).
        version: Version of osteon.
        given: Whether compartments were read from a file.
        planar: Whether areas alone were taken.

    Returns:
        Paragraphs.
    """
    known = all(all(size) for size in sizes)
    said = measuring(settings, names, version=version, known=known, planar=planar, given=given)
    return [
        scanning(sizes, "[FILL IN: model, version and hash, or method]"),
        f"{said} Quality control: [FILL IN].",
    ]


def of_evaluation(
    result: Evaluation,
    settings: MeasureSettings,
    *,
    version: str,
    overlap_only: bool,
    models: Sequence[str] = (),
) -> list[str]:
    """Write the paragraphs of an evaluation.

    Args:
        result: The evaluation.
        settings: How measures of bone were taken.
        version: Version of osteon.
        overlap_only: Whether surface, topology and measures were left out.
        models: Names and hashes of the models that made the labels, where they are known.

    Returns:
        Paragraphs.
    """
    scans = result.scans
    classes = ", ".join(scans[0].scheme.names)
    by = (
        f"{_by(models)} as {classes}; the truth was labelled by [FILL IN: who, how, blinded or not]"
    )
    paragraphs = [
        scanning([s.voxel_size for s in scans], by),
        _judged(scans, version, overlap_only),
    ]
    names = [
        name
        for name in MEASURES.names()
        if name not in LEFT_OUT  # rows of topology have such names, too
        and any(r["metric"] == f"{TRUTH}_{name}" for s in scans for r in s.more)
        and any(r["metric"] == f"{name}_error" for s in scans for r in s.more)
    ]
    if names:
        otsu = any(str(r["metric"]).startswith("otsu_") for s in scans for r in s.more)
        paragraphs.append(_errors(settings, names, scans, version=version, otsu=otsu))
    return paragraphs


def _errors(
    settings: MeasureSettings,
    names: Sequence[str],
    scans: Sequence[ScanEvaluation],
    *,
    version: str,
    otsu: bool,
) -> str:
    text = measuring(
        settings.model_copy(update={"objects": False}),
        names,
        version=version,
        known=all(s.voxel_mm3 is not None for s in scans),
        planar=all(MEASURES.row(n).capabilities["group"] == "sections" for n in names),
    )
    text += " The measures were taken of truth and labels alike; an error is labels ÷ truth − 1."
    if otsu:
        text += (
            " The baseline is Otsu's threshold (Otsu 1979, 10.1109/TSMC.1979.4310076), its number "
            "of classes, smoothing and closing tuned on the truth of each scan."
        )
    return text


def _judged(scans: Sequence[ScanEvaluation], version: str, overlap_only: bool) -> str:
    n, specimens = len(scans), len({s.specimen or s.name for s in scans})
    judged = (
        f"Labels of {n} scan{'s' if n > 1 else ''} of {specimens} specimen"
        f"{'s' if specimens > 1 else ''} were compared with the truth with osteon {version}. True "
        "positives, false positives and false negatives were summed over each scan before IoU and "
        "Dice were computed; means are over classes, then over scans; classes in neither truth nor "
        "labels were left out."
    )
    if specimens > 1:
        judged += " Intervals are 95 % percentile bootstrap intervals over specimens."
    if not overlap_only:
        judged += (
            " Surface distances are between surface voxels (average symmetric surface distance, "
            "95th percentile of the Hausdorff distance, normalised surface Dice at a tolerance of "
            f"{_tolerance(scans)}). Topology was compared by the number of objects and the Euler "
            "number (26-connected) and by centre-line Dice."
        )
    return (
        f"{judged} Slices shown were chosen by a rule: those with the median and the lowest bone "
        "IoU among slices with at least a tenth as much bone as the fullest. Quality control: "
        "[FILL IN]."
    )


def _by(models: Sequence[str]) -> str:
    if not models:
        return "[FILL IN: model, version and hash, or method]"
    return f"the model{'s' if len(models) > 1 else ''} {' and '.join(models)}"


def _tolerance(scans: Sequence[ScanEvaluation]) -> str:
    found = sorted(
        {
            (float(str(r["value"])), "µm" if r["unit"] == "um" else "voxel")
            for s in scans
            for r in s.more
            if r["metric"] == "surface_tolerance"
        }
    )
    return " or ".join(f"{value:g} {unit}" for value, unit in found) or "[FILL IN]"
