"""Parts that several reports share: groups of pictures, the record of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from osteon.labels import IGNORE, LabelScheme
from osteon.metrics import confusion_matrix, iou
from osteon.reports import pictures
from osteon.reports.blocks import Cell, Folded, Panel, Panels, Section, Table, key_table, number
from osteon.reports.pictures import Colour, Picture, SlicePicture


def picture_panels(item: SlicePicture, *, scheme: LabelScheme, role: str = "labels") -> Panels:
    """Draw a slice: the scan, the truth, the prediction, and where they disagree.

    Args:
        item: The slice.
        scheme: The classes.
        role: What the prediction is called.

    Returns:
        Two pictures without a truth, four and a table of errors with one.
    """
    window = pictures.contrast_window(item.image)
    bar = pictures.scale_bar(item.image.shape[1], item.pixel_um)

    def panel(label: str, picture: Picture, legend: Sequence[tuple[str, Colour]] = ()) -> Panel:
        height, width = picture.shape[:2]
        return Panel(label, pictures.data_uri(picture), width, height, bar, legend)

    classes = [(c.name, c.colour) for c in scheme.classes[1:]]
    panels = [panel("Scan", pictures.slice_picture(item.image, window=window))]
    table = None
    if item.truth is not None:
        legend = list(classes)
        if (item.truth == IGNORE).any():
            legend.append(("not labelled", pictures.UNLABELLED))
        drawn = pictures.slice_overlay(item.image, item.truth, scheme=scheme, window=window)
        panels.append(panel("Truth", drawn, legend))
    drawn = pictures.slice_overlay(item.image, item.prediction, scheme=scheme, window=window)
    panels.append(panel(role.capitalize(), drawn, classes))
    if item.truth is not None:
        focus = pictures.focus_class(scheme)
        drawn = pictures.slice_disagreement(
            item.image, item.truth, item.prediction, focus=focus, window=window
        )
        legend = pictures.disagreement_legend(scheme, focus)
        panels.append(panel("Disagreement", drawn, legend))
        table = _errors(item.truth, item.prediction, scheme)
    note = item.note if bar else f"{item.note} No scale bar: the voxel size is unknown.".strip()
    return Panels(f"{item.scan} · slice {item.z}", panels, note, table)


def _errors(truth: Picture, prediction: Picture, scheme: LabelScheme) -> Table:
    counts = confusion_matrix(
        np.ascontiguousarray(truth, np.uint8),
        np.ascontiguousarray(prediction, np.uint8),
        classes=len(scheme),
    )
    values = iou(counts)
    rows = []
    for c in scheme.classes:
        hits, true = int(counts[c.value, c.value]), int(counts[c.value].sum())
        labelled = int(counts[:, c.value].sum())
        figures = [number(n, ",") for n in (true, labelled, true - hits, labelled - hits)]
        rows.append([class_cell(scheme, c.value), number(values[c.value]), *figures])
    head = ["class", "IoU in this slice", "true pixels", "labelled", "missed", "false"]
    return Table(head, rows, narrow=True)


def class_cell(scheme: LabelScheme, value: int) -> Cell:
    """Make the cell that names a class and shows its colour.

    Args:
        scheme: The classes.
        value: Value of the class.

    Returns:
        The cell.
    """
    c = scheme.classes[value]
    return Cell(c.name, colour=c.colour)


def record_section(
    *,
    settings: Mapping[str, object],
    versions: Mapping[str, object],
    files: Mapping[str, object],
    heading: str = "How this was made",
) -> Section:
    """Lay out the record of a run: what is needed to do it again.

    Args:
        settings: Every setting, nested; folded away, under the dotted names of ``--set``.
        versions: Versions of the software, and the machine.
        files: What was read and written, with hashes where there are any.
        heading: Heading of the section.

    Returns:
        The section; without what is empty.
    """
    blocks = []
    if files:
        blocks.append(Folded("Files", [key_table(files, head="file")]))
    if settings:
        blocks.append(Folded("Settings", [key_table(settings, head="setting")]))
    if versions:
        blocks.append(Folded("Software and machine", [key_table(versions)]))
    return Section(heading, blocks)
