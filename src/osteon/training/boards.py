"""The log for TensorBoard, beside the table of epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from osteon.errors import OutputError
from osteon.training.record import MEND, EpochRow, FitFolder


class Board:
    """Writes scalars into the run folder; ``tensorboard --logdir RUN`` shows them.

    Args:
        folder: The run folder.
        classes: Names of the classes.
        step: The step that the fit starts or goes on with: what an interrupted fit had logged
            beyond it is hidden.

    Raises:
        OutputError: If the log cannot be written; so do the methods.
    """

    def __init__(self, folder: FitFolder, classes: Sequence[str], *, step: int):
        from torch.utils.tensorboard import SummaryWriter  # a second to import

        self._folder, self._classes = folder, classes
        try:
            self._writer: Any = SummaryWriter(str(folder.boards), purge_step=step + 1)
        except OSError as error:
            raise self._unwritable(error) from None

    def loss(self, step: int, loss: float) -> None:
        """Log the loss of a step."""
        self._add({"loss/step": loss}, step)

    def epoch(self, row: EpochRow) -> None:
        """Log an epoch."""
        values = {
            "loss/training": row.train_loss,
            "loss/validation": row.val_loss,
            "IoU/mean": row.val_mean_iou,
            "learning rate": row.learning_rate,
            "seconds/epoch": row.seconds,
        }
        values |= {
            f"IoU/{name}": value
            for name, value in zip(self._classes, row.val_iou, strict=bool(row.val_iou))
        }
        self._add(values, row.step)

    def _add(self, values: dict[str, float], step: int) -> None:
        try:
            for name, value in values.items():
                if not math.isnan(value):
                    self._writer.add_scalar(name, value, step)
            self._writer.flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def close(self) -> None:
        """Finish the log."""
        try:
            self._writer.close()
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"the log for TensorBoard cannot be written: {error.strerror or error}",
            where=self._folder.boards,
            mend=MEND,
        )
