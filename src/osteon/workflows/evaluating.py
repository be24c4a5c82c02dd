"""``osteon evaluate``: labels against the truth → tables and a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteon.datasets import Manifest, open_pair
from osteon.errors import InputError, OsteonError, UsageError
from osteon.evaluation import Details, Evaluation
from osteon.evaluation import Pair as Judged
from osteon.evaluation import evaluate as judge
from osteon.events import Reporter
from osteon.formats import open_volume
from osteon.labels import BONE_PORES, IGNORE, LabelScheme
from osteon.settings import MeasureSettings
from osteon.volume import Slab, Volume
from osteon.workflows.evaluation_files import labels_of, recorded_scan
from osteon.workflows.evaluation_measures import with_measures
from osteon.workflows.evaluation_writing import Told, check_out, write_evaluation
from osteon.workflows.record import count

Remap = Mapping[int, str]


@dataclass(frozen=True)
class EvaluationRun:
    """The outcome of an evaluation.

    Attributes:
        evaluation: The scores.
        folder: Where tables and report are, or None.
        report: The report, or None.
    """

    evaluation: Evaluation
    folder: Path | None
    report: Path | None

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-compatible summary."""
        return {
            **self.evaluation.summary(),
            "table": self.evaluation.table(),
            "report": None if self.report is None else str(self.report),
        }


@dataclass(frozen=True)
class EvaluateOptions:
    """How labels are compared.

    Attributes:
        slices: First and (excluded) last slice that count; None: all.
        remap: What values of the truth stand for, where they are not class values.
        labels_remap: What values of the labels stand for.
        scan: The scan, to be shown in the report; None: found by the manifest or the record
            beside the labels, where there is one.
        contiguous: Whether neighbouring slices are neighbours in space. None: what the manifest
            says, or yes. If not, surface and topology are measured within slices.
        only_overlap: Leave out surface and topology, which take longer.
        tolerance_um: Within how many µm surfaces count as the same; None: the largest side of a
            voxel.
        measures: Compare measures of bone, too. None: where up to 2 GiB of memory do.
        measuring: What is measured, and how; None: the defaults.
    """

    slices: tuple[int, int] | None = None
    remap: Remap | None = None
    labels_remap: Remap | None = None
    scan: Path | None = None
    contiguous: bool | None = None
    only_overlap: bool = False
    tolerance_um: float | None = None
    measures: bool | None = None
    measuring: MeasureSettings | None = None


@dataclass(frozen=True)
class _Case:
    judged: Judged
    scan: Volume | None


def evaluate(
    truth: str | Path,
    labels: str | Path,
    *,
    out: str | Path | None = None,
    options: EvaluateOptions | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> EvaluationRun:
    """Compare label volumes with the truth: overlap, surface, topology, measures of bone.

    Memory: overlap is streamed in 64 MiB of blocks; surface and topology hold slabs of some
    hundred MiB, centre-lines the box around the bone; measures about 64 bytes a voxel
    (docs/evaluation.md).

    Args:
        truth: A mask; or a dataset manifest (TOML), then ``labels`` is a folder that holds a
            label volume named after each scan (or the one label volume of a single scan).
        labels: The label volume, or the folder of them.
        out: Folder for ``report.html``, the tables (``evaluation.csv`` and ``.json``,
            ``slices.csv``, ``specimens.csv``, ``intervals.csv``,
            ``measure_errors.csv``) and ``figures/``.
        options: Slices, remaps, the scan to be shown.
        overwrite: Replace existing files.
        reporter: Told of the progress.

    Returns:
        The scores and where they were written.

    Raises:
        InputError: If volumes do not go together or hold values that are no class.
        OutputError: If the folder holds an evaluation already or cannot be written.
    """
    options = options or EvaluateOptions()
    folder = None if out is None else Path(out)
    if folder is not None:
        check_out(folder, overwrite=overwrite)
    scheme, cases = _cases(Path(truth), Path(labels), options)
    what = None if options.only_overlap else Details(tolerance_um=options.tolerance_um)
    result = judge((case.judged for case in cases), scheme=scheme, reporter=reporter, what=what)
    result = with_measures(
        result,
        [(case.judged, case.scan) for case in cases],
        settings=options.measuring,
        wanted=False if options.only_overlap else options.measures,
        reporter=reporter,
    )
    if folder is None:
        return EvaluationRun(result, None, None)
    report = write_evaluation(
        result,
        {case.judged.name: (case.judged, case.scan) for case in cases},
        folder,
        told=_told(options),
        overwrite=overwrite,
    )
    return EvaluationRun(result, folder, report)


def _told(options: EvaluateOptions) -> Told:
    return Told(
        first=options.slices[0] if options.slices else 0,
        overlap_only=options.only_overlap,
        measuring=options.measuring or MeasureSettings(),
        settings=_options_dict(options),
    )


def _options_dict(options: EvaluateOptions) -> dict[str, object]:
    return {
        "slices": "all" if options.slices is None else "{}:{}".format(*options.slices),
        "remap": dict(options.remap or {}),
        "labels_remap": dict(options.labels_remap or {}),
        "contiguous": options.contiguous,
        "only_overlap": options.only_overlap,
        "tolerance_um": options.tolerance_um,
        "measures": options.measures,
        "measuring": (options.measuring or MeasureSettings()).model_dump(mode="json"),
    }


def _cases(truth: Path, labels: Path, options: EvaluateOptions) -> tuple[LabelScheme, list[_Case]]:
    part = _part(options.slices)
    if truth.suffix.lower() != ".toml":
        _check_names(options, BONE_PORES)
        found = part(open_volume(labels))
        name = labels.absolute().name.split(".")[0]
        judged = Judged(
            name,
            part(open_volume(truth)),
            found,
            remap=options.remap,
            labels_remap=options.labels_remap,
            contiguous=options.contiguous is not False,
        )
        return BONE_PORES, [_Case(judged, _scan_of(judged, labels, options))]
    _check_manifest_options(options)
    manifest = Manifest.load(truth)
    _check_names(options, manifest.labels)
    rows = [row for row in manifest.scans if row.mask is not None]
    # A manifest's masks are class values already, with 255 where nothing is labelled.
    classes = {c.value: c.name for c in manifest.labels.classes} | {IGNORE: "ignore"}
    cases = []
    for row in rows:
        path = labels_of(row.name, labels, alone=len(rows) == 1)
        pair = open_pair(manifest, row)
        if pair.labels is None:
            continue
        judged = Judged(
            row.name,
            part(pair.labels),
            part(open_volume(path)),
            specimen=row.specimen,
            remap=classes,
            labels_remap=options.labels_remap,
            contiguous=row.contiguous if options.contiguous is None else options.contiguous,
        )
        cases.append(_Case(judged, part(pair.image)))
    if not cases:
        raise InputError("no scan of the manifest has a mask", where=truth)
    return manifest.labels, cases


def _check_manifest_options(options: EvaluateOptions) -> None:
    given = [("--remap", options.remap), ("--scan", options.scan)]
    for name, value in given:
        if value is not None:
            raise UsageError(
                f"{name} does not go with a manifest, which says it for each scan",
                where=name,
                mend="leave it out; a remap is an entry of a scan in the manifest",
            )


def _check_names(options: EvaluateOptions, scheme: LabelScheme) -> None:
    for option, remap in (("remap", options.remap), ("labels-remap", options.labels_remap)):
        for value, name in (remap or {}).items():
            try:
                scheme.value(name)
            except UsageError as error:
                where = f"{option} {value}={name}"
                raise UsageError(error.what, where=where, mend=error.mend) from None


def _part(slices: tuple[int, int] | None) -> Callable[[Volume], Volume]:
    if slices is None:
        return lambda volume: volume
    first, last = slices

    def part(volume: Volume) -> Volume:
        if not 0 <= first < last <= volume.shape[0]:
            raise UsageError(
                f"there are no slices {first}:{last} in a volume of "
                f"{count(volume.shape[0], 'slice')}",
                where=volume.path,
                mend=f"--slices FIRST:LAST+1, within 0:{volume.shape[0]}",
            )
        return Slab(volume, slice(first, last))

    return part


def _scan_of(judged: Judged, labels: Path, options: EvaluateOptions) -> Volume | None:
    """Open the scan that is shown; one that was named has to fit, one that was found may not."""
    part, path = _part(options.slices), options.scan or recorded_scan(labels)
    if path is None:
        return None
    try:
        scan = part(open_volume(path))
    except OsteonError:
        if options.scan is not None:
            raise
        return None
    if scan.shape == judged.truth.shape:
        return scan
    if options.scan is None:
        return None
    raise InputError(
        f"scan and truth differ in shape (z, y, x): {scan.shape} and {judged.truth.shape}",
        where=f"{path} and {judged.truth.path}",
        mend="give the scan that the labels are of, or leave out --scan",
    )
