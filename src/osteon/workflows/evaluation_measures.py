"""The errors that labels make in measures of bone, beside those of a tuned Otsu threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from osteon.errors import InputError
from osteon.evaluation import Evaluation, Pair, ScanEvaluation
from osteon.evaluation.baseline import otsu_labels, tuned_otsu
from osteon.evaluation.measured import LABELS, LEFT_OUT, OTSU, TRUTH, Measured, error_rows, missing
from osteon.evaluation.values import LabelReader
from osteon.events import Reporter
from osteon.labels import BONE_PORES, IGNORE, LabelScheme
from osteon.morphometry import BYTES_PER_VOXEL
from osteon.morphometry import measure as measure_labels
from osteon.settings import MeasureSettings
from osteon.tables.measures import usual
from osteon.volume import Volume, VoxelSize

#: Memory up to which measures are taken without being asked for.
UNASKED_BYTES = 2 * 2**30
#: Of slices that are no neighbours: truth, labels and Otsu's labels, a byte a voxel each.
_PLANAR_BYTES = 4
_Labels = npt.NDArray[np.uint8]


def with_measures(
    result: Evaluation,
    cases: Sequence[tuple[Pair, Volume | None]],
    *,
    settings: MeasureSettings | None = None,
    wanted: bool | None = None,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Add the errors in measures of bone to an evaluation.

    All bones of a scan are measured together. Voxels without a true label are background in
    truth and labels alike. Memory: about 64 bytes a voxel of the scan; of slices that are no
    neighbours 4.

    Args:
        result: The evaluation.
        cases: For each of its scans the pair, and the scan where it is known: then a tuned Otsu
            threshold is measured, too.
        settings: What is measured; ``objects`` and ``contiguous`` are set here.
        wanted: True: always; False: never; None: where up to 2 GiB of memory do.
        reporter: Told of the progress; asked whether to stop.

    Returns:
        The evaluation with more rows and remarks in its scans.

    Raises:
        Stopped: If the reporter was asked to stop.
    """
    if wanted is False:
        return result
    scans = []
    for scan, (pair, image) in zip(result.scans, cases, strict=True):
        needed = math.prod(scan.shape) * (BYTES_PER_VOXEL if _solid(pair) else _PLANAR_BYTES)
        if wanted is None and needed > UNASKED_BYTES:
            said = (
                f"measures of bone were not compared: they take about {needed / 2**30:.1f} GiB of "
                "memory. Ask for them by --measures, or evaluate a part by --slices."
            )
            scans.append(replace(scan, remarks=(*scan.remarks, said)))
            continue
        scans.append(_compared(scan, pair, image, settings or MeasureSettings(), reporter))
    return replace(result, scans=tuple(scans))


def _solid(pair: Pair) -> bool:
    return pair.contiguous and pair.truth.shape[0] > 1


def _compared(
    scan: ScanEvaluation,
    pair: Pair,
    image: Volume | None,
    settings: MeasureSettings,
    reporter: Reporter | None,
) -> ScanEvaluation:
    scheme, reporter = scan.scheme, reporter or Reporter()
    remarks = list(scan.remarks)
    if not {"bone", "pores"} <= set(scheme.names):
        said = "measures of bone were not compared: they need the classes bone and pores."
        return replace(scan, remarks=(*remarks, said))
    settings = settings.model_copy(
        update={
            "objects": False,
            "contiguous": "yes" if _solid(pair) else "no",
            "measures": settings.measures or tuple(n for n in usual() if n not in LEFT_OUT),
        }
    )
    readers = (
        LabelReader(pair.truth, scheme=scheme, remap=pair.remap, role="truth"),
        LabelReader(pair.labels, scheme=scheme, remap=pair.labels_remap, role="labels"),
    )
    truth = _read(readers[0], scheme)
    volumes = {TRUTH: truth, LABELS: _read(readers[1], scheme)}
    if image is not None:
        baseline = _otsu(image, truth, remarks, reporter)
        if baseline is not None:
            volumes[OTSU] = baseline
    found: dict[str, Measured] = {}
    for role, labels in volumes.items():
        labels[truth == IGNORE] = IGNORE
        found[role] = _measured(labels, scan.voxel_size, settings, reporter)
    remarks += missing(found)
    if not _solid(pair):
        remarks.append("slices are no neighbours in space: of the measures, areas alone are given.")
    return replace(scan, more=(*scan.more, *error_rows(found)), remarks=tuple(remarks))


def _read(reader: LabelReader, scheme: LabelScheme) -> _Labels:
    """Read a whole volume as 0 background, 1 bone, 2 pores, 255 not labelled."""
    table = np.zeros(IGNORE + 1, np.uint8)
    table[IGNORE] = IGNORE
    for name in ("bone", "pores"):
        table[scheme.value(name)] = BONE_PORES.value(name)
    out = np.empty(reader.volume.shape, np.uint8)
    for z in range(len(out)):
        out[z] = table[reader.read(slice(z, z + 1))[0]]
    return out


def _otsu(image: Volume, truth: _Labels, remarks: list[str], reporter: Reporter) -> _Labels | None:
    try:
        otsu = tuned_otsu(image, lambda z: truth[z])
    except InputError as error:
        remarks.append(f"there is no Otsu threshold to compare measures with: {error.what}.")
        return None
    remarks.append(f"Otsu, tuned on the truth of this very scan: {otsu}.")
    return otsu_labels(image, otsu, reporter=reporter)


def _measured(
    labels: _Labels, size: VoxelSize, settings: MeasureSettings, reporter: Reporter
) -> Measured:
    names = settings.measures or ()
    try:
        bone = measure_labels(labels, size, settings=settings, reporter=reporter)[0]
    except InputError as error:  # no bone at all, or none in the region: said in the remarks
        return Measured(
            dict.fromkeys(names), dict.fromkeys(names, ""), dict.fromkeys(names, error.what)
        )
    return Measured(
        {name: figure.value for name, figure in bone.figures.items()},
        {name: figure.unit for name, figure in bone.figures.items()},
        {name: figure.note for name, figure in bone.figures.items()},
    )
