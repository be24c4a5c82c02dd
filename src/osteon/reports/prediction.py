"""The report of a prediction: what was found in a scan, with pictures to judge it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osteon.labels import BONE_PORES, LabelScheme
from osteon.reports.blocks import Cell, Section, Table, Text, number
from osteon.reports.common import class_cell, picture_panels, record_section
from osteon.reports.page import write_simple_report
from osteon.reports.pictures import SlicePicture

_UM3_PER_MM3 = 1e9


@dataclass(frozen=True)
class PredictionReport:
    """What the report of a prediction shows.

    Attributes:
        title: The heading of the page.
        summary: Sentences that say what was labelled, by what, and where it is.
        warnings: What the reader must know before the rest.
        scheme: The classes.
        voxels: Voxels of each class, by name.
        voxel_um3: Volume of a voxel in µm³; None where the voxel size is unknown.
        pictures: Slices of the scan with their labels.
        how: How the scan went through the network, nested.
        settings: Every setting, nested.
        versions: Versions of the software, and the machine.
        files: What was read and written.
    """

    title: str
    summary: Sequence[str] = ()
    warnings: Sequence[str] = ()
    scheme: LabelScheme = BONE_PORES
    voxels: Mapping[str, int] = field(default_factory=dict)
    voxel_um3: float | None = None
    pictures: Sequence[SlicePicture] = ()
    how: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, object] = field(default_factory=dict)


def write_prediction_report(
    path: str | Path, data: PredictionReport, *, overwrite: bool = False
) -> None:
    """Write the report of a prediction as one HTML file.

    Args:
        path: The target, ``.html``; written beside it and renamed.
        data: What it shows.
        overwrite: Replace an existing file.

    Raises:
        OutputError: If the file exists or cannot be written.
    """
    sections = [_found(data)]
    if data.pictures:
        text = Text(
            [
                "Slices at even distances through the scan, chosen by that rule alone. Nothing "
                "here says how right the labels are: compare them with the scan, and evaluate "
                "some slices that you labelled yourself (osteon evaluate) before you publish."
            ]
        )
        panels = [picture_panels(picture, scheme=data.scheme) for picture in data.pictures]
        sections.append(Section("Slices", [text, *panels]))
    sections.append(
        record_section(
            settings={"prediction": data.how, "settings": data.settings},
            versions=data.versions,
            files=data.files,
        )
    )
    write_simple_report(
        path,
        title=data.title,
        sections=sections,
        summary=data.summary,
        warnings=data.warnings,
        overwrite=overwrite,
    )


def _found(data: PredictionReport) -> Section:
    total = sum(data.voxels.values())
    inside = total - data.voxels.get(data.scheme.names[0], 0)
    rows = []
    for c in data.scheme.classes:
        count = data.voxels.get(c.name, 0)
        share = 100 * count / total if total else None
        of_inside = 100 * count / inside if inside and c.value else None
        volume = None if data.voxel_um3 is None else count * data.voxel_um3 / _UM3_PER_MM3
        rows.append(
            [
                class_cell(data.scheme, c.value),
                number(count, ",d"),
                number(share, ".1f"),
                number(of_inside, ".1f"),
                number(volume, ".4g"),
            ]
        )
    head = [
        "class",
        "voxels",
        "% of the scan",
        f"% of all but {data.scheme.names[0]}",
        "volume, mm³",
    ]
    caption = "" if data.voxel_um3 is not None else "The voxel size is unknown, so are volumes."
    rows_of_cells: list[list[Cell | str]] = [list(row) for row in rows]
    return Section("What was found", [Table(head, rows_of_cells, caption)])
