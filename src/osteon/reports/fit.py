"""The report of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osteon.labels import BONE_PORES, LabelScheme
from osteon.reports.blocks import (
    Block,
    Cell,
    Figure,
    Folded,
    Section,
    Table,
    Text,
    Tiles,
    as_number,
    figure_text,
    key_table,
    number,
)
from osteon.reports.common import picture_panels, record_section
from osteon.reports.figures import fit_curves
from osteon.reports.page import write_simple_report
from osteon.reports.pictures import SlicePicture

#: Columns of the split that hold text; the rest are figures.
_NUMBER_SPECS = {"learning_rate": ".3g", "seconds": ".1f", "epoch": "g"}


@dataclass(frozen=True)
class FitReport:
    """What the report of a fit shows.

    Attributes:
        title: The heading of the page.
        summary: Sentences that say what was fitted and how well it went.
        warnings: What the reader must know before the rest.
        history: A row an epoch: ``epoch``, ``train_loss``, ``val_loss``, ``val_mean_iou``,
            ``val_iou_<class>``, ``learning_rate``, ``seconds``; None or NaN where unknown.
        best_epoch: The epoch whose weights were kept, as in ``history``.
        scheme: The classes.
        split: A row a scan: ``scan``, ``specimen``, ``role``, ``slices`` (columns as given).
        pictures: Validation slices.
        settings: Every setting, nested.
        costs: What the fit took: time, memory, arithmetic; in words.
        versions: Versions of the software, and the machine.
        files: What was read and written.
    """

    title: str
    summary: Sequence[str] = ()
    warnings: Sequence[str] = ()
    history: Sequence[Mapping[str, object]] = ()
    best_epoch: int | None = None
    scheme: LabelScheme = BONE_PORES
    split: Sequence[Mapping[str, object]] = ()
    pictures: Sequence[SlicePicture] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    costs: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, object] = field(default_factory=dict)


def write_fit_report(path: str | Path, data: FitReport, *, overwrite: bool = False) -> None:
    """Write the report of a fit as one HTML file.

    Args:
        path: The target, ``.html``; written beside it and renamed.
        data: What it shows.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If the file exists or cannot be written.
    """
    sections = [_validation(data), _curves(data)]
    if data.pictures:
        text = Text(
            [
                "Slices of scans that the weights were not fitted on. In the map of disagreement "
                "the scan is dimmed and only errors are coloured."
            ]
        )
        panels = [picture_panels(p, scheme=data.scheme, role="prediction") for p in data.pictures]
        sections.append(Section("Validation slices", [text, *panels]))
    if data.split:
        caption = "Which scans the weights were fitted on, and which chose the best epoch."
        sections.append(Section("Scans", [records_table(data.split, caption)]))
    if data.costs:
        sections.append(Section("What it took", [key_table(data.costs)]))
    sections.append(
        record_section(settings=data.settings, versions=data.versions, files=data.files)
    )
    write_simple_report(
        path,
        title=data.title,
        sections=sections,
        summary=data.summary,
        warnings=data.warnings,
        overwrite=overwrite,
    )


def _best(data: FitReport) -> Mapping[str, object]:
    for row in data.history:
        if data.best_epoch is not None and as_number(row.get("epoch")) == data.best_epoch:
            return row
    return {}


def _validation(data: FitReport) -> Section:
    best = _best(data)
    if not best:
        return Section("Result", [Text(["No epoch was validated: there is no score."])])
    epoch = f"epoch {data.best_epoch}"
    tiles = [("Mean IoU", figure_text(best.get("val_mean_iou"), ".3f"), f"validation, {epoch}")]
    # Bone first: it is the class that the measures are made from.
    names = sorted(data.scheme.names, key=lambda name: name != "bone")
    for name in names:
        tiles.append(
            (
                f"{name.capitalize()} IoU",
                figure_text(best.get(f"val_iou_{name}"), ".3f"),
                "validation",
            )
        )
    text = (
        "IoU (intersection over union) is the number of voxels labelled alike over the number "
        "labelled so by either; 1 is perfect. The epoch was chosen by these scores, so expect a "
        "little less on new specimens."
    )
    return Section("Result", [Tiles(tiles), Text([text])])


def _curves(data: FitReport) -> Section:
    if not data.history:
        return Section("Course of the fit", [Text(["No epoch was finished."])])
    svg = fit_curves(data.history, scheme=data.scheme, best_epoch=data.best_epoch)
    caption = "Loss, validation IoU and learning rate by epoch."
    if data.best_epoch is not None:
        caption += f" Dotted line: epoch {data.best_epoch}, whose weights were kept."
    strong = [
        i
        for i, row in enumerate(data.history)
        if data.best_epoch is not None and as_number(row.get("epoch")) == data.best_epoch
    ]
    table = records_table(data.history, "The kept epoch is in bold.", strong=strong)
    blocks: list[Block] = [Figure(svg, caption), Folded("Figures of every epoch", [table])]
    return Section("Course of the fit", blocks)


def records_table(
    records: Sequence[Mapping[str, object]], caption: str = "", *, strong: Sequence[int] = ()
) -> Table:
    """Lay out a list of records; figures are right-aligned, what is missing is a dash.

    Args:
        records: Column → figure or text; records may lack columns.
        caption: What the table shows.
        strong: Indices of records that stand out.

    Returns:
        The table.
    """
    columns = list(dict.fromkeys(key for record in records for key in record))
    texts = {k for k in columns if any(isinstance(r.get(k), str) for r in records)}
    rows = [
        [_cell(record.get(key), key, text=key in texts) for key in columns] for record in records
    ]
    head = [key.replace("_", " ").replace(" iou", " IoU") for key in columns]
    return Table(head, rows, caption, strong=strong, narrow=len(columns) > 6)


def _cell(value: object, key: str, *, text: bool) -> Cell:
    if text:
        return Cell("–" if value is None else str(value))
    whole = isinstance(value, int) and not isinstance(value, bool)
    return number(value, ",d" if whole else _NUMBER_SPECS.get(key, ".4f"))
