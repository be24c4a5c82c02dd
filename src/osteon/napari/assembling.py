"""A dataset put together from the layers of the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFormLayout, QLineEdit, QVBoxLayout, QWidget

from osteon.errors import UsageError
from osteon.labels import LabelScheme
from osteon.napari.layers import file_of, scheme_of
from osteon.napari.parts import LayerPicker, Table
from osteon.napari.result import check_covers
from osteon.napari.session import Session
from osteon.workflows.naming import scan_name


@dataclass(frozen=True)
class PairOfLayers:
    """A scan with its labels.

    Attributes:
        name: Name of the scan.
        scan: Its file.
        mask: The file of the labels.
        specimen: The animal, bone or sample.
        scheme: The classes.
    """

    name: str
    scan: Path
    mask: Path
    specimen: str
    scheme: LabelScheme


def save_dataset(pairs: Sequence[PairOfLayers], path: Path) -> Path:
    """Write the manifest of a dataset.

    Args:
        pairs: Scans with their labels.
        path: The file; replaced.

    Returns:
        The file.

    Raises:
        UsageError: If there are none, or their classes differ.
        OutputError: If it cannot be written.
    """
    # Not at the top: a window opens without waiting for it.
    from osteon.datasets import Manifest, ScanRow, slices_apart
    from osteon.datasets.masks import open_file

    if not pairs:
        raise UsageError("no scan was added", mend="choose a scan and its labels, then ‘Add’")
    if len({pair.scheme.names for pair in pairs}) > 1:
        raise UsageError(
            "the labels have different classes", mend="put scans with the same classes together"
        )
    rows = tuple(
        ScanRow(
            name=pair.name,
            image=str(pair.scan.absolute()),
            mask=str(pair.mask.absolute()),
            specimen=pair.specimen,
            contiguous=not slices_apart(open_file(pair.scan, gaps=True)),
        )
        for pair in pairs
    )
    Manifest(pairs[0].scheme, rows).save(path, overwrite=True)
    return path


class Assemble(QWidget):
    """Pairs of layers become a dataset.

    Args:
        viewer: The viewer.
        session: Its session.
    """

    def __init__(self, viewer: Any, session: Session):
        super().__init__()
        self.session = session
        self.scan = LayerPicker(viewer, "image", "the scan")
        self.labels = LayerPicker(viewer, "labels", "its labels")
        self.specimen = QLineEdit()
        self.specimen.setPlaceholderText("the animal: its bones are never split apart")
        self.table = Table()
        self.table.setMaximumHeight(110)
        self.pairs: list[PairOfLayers] = []
        rows = QFormLayout()
        rows.setContentsMargins(8, 0, 0, 0)
        rows.addRow("Scan", self.scan)
        rows.addRow("Labels", self.labels)
        rows.addRow("Specimen", self.specimen)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(rows)
        column.addWidget(self.table)
        self._column = column
        self.clear()

    def put_buttons(self, row: QWidget) -> None:
        """Put the buttons of the widget that this is part of under the fields.

        Args:
            row: The buttons.
        """
        self._column.insertWidget(1, row)

    def add(self) -> None:
        """Add the chosen scan with its labels, as they are now.

        Raises:
            OsteonError: If they do not fit together, or cannot be saved.
        """
        scan, labels = self.scan.needed(), self.labels.needed()
        check_covers(labels, scan)
        path = file_of(scan)
        name = scan_name(path)
        if name in {pair.name for pair in self.pairs}:
            raise UsageError(f"the scan ‘{name}’ is in the dataset already", where=path)
        mask = self.session.labels_file(labels, scan=path)
        specimen = self.specimen.text().strip() or name
        self.pairs.append(PairOfLayers(name, path, mask, specimen, scheme_of(labels)))
        self._show()

    def clear(self) -> None:
        """Begin anew."""
        self.pairs = []
        self._show()

    def _show(self) -> None:
        cells = [[pair.name, pair.specimen, pair.mask.name] for pair in self.pairs]
        self.table.fill(["scan", "specimen", "labels"], cells)
