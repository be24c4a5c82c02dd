"""What happens between the steps: epochs, validation, the best weights, checkpoints, stopping."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors.torch import save

from osteon.backends.precision import Arithmetic
from osteon.datasets import GridTiles
from osteon.errors import InputError, OutputError
from osteon.events import Progress, Reporter
from osteon.labels import LabelScheme
from osteon.training.measuring import Measured, measure
from osteon.training.module import FitModule
from osteon.training.plan import FitPlan
from osteon.training.record import EpochRow, write_log
from osteon.training.stream import BatchStream

#: Longest time between two checkpoints: what a killed fit loses at most.
CHECKPOINT_SECONDS = 300.0
#: Seconds between looks at the loss: each look waits for the GPU.
LOSS_SECONDS = 0.5

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class FitFolder:
    """Where a fit keeps its files.

    Attributes:
        path: The run folder.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """The plan that was settled before the first step (JSON)."""
        return self.path / "plan.json"

    @property
    def last(self) -> Path:
        """The checkpoint that a fit goes on from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights of the best epoch."""
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def log(self) -> Path:
        """The table of epochs (CSV)."""
        return self.path / "log.csv"

    @property
    def stop_file(self) -> Path:
        """A file by this name ends the fit cleanly."""
        return self.path / "STOP"


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside its target, then rename it.

    Args:
        path: The target.
        data: Its content.

    Raises:
        OutputError: If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: Exception) -> OutputError:
    return OutputError(
        f"cannot write: {getattr(error, 'strerror', None) or error}",
        where=path,
        mend="free some disk space or choose a writable folder, then go on with --resume",
    )


class Watch(pl.Callback):
    """Ends epochs, measures, keeps the best weights, saves checkpoints, stops when asked.

    Args:
        stream: The batches.
        tiles: Slices to validate on, or None.
        plan: The plan.
        labels: The classes.
        folder: Where files are kept.
        reporter: Told of the progress.
        on_best: Called with the weights and the row of an epoch that is the best so far.
    """

    def __init__(
        self,
        stream: BatchStream,
        tiles: GridTiles | None,
        *,
        plan: FitPlan,
        labels: LabelScheme,
        folder: FitFolder,
        reporter: Reporter,
        on_best: Callable[[Weights, EpochRow], None] | None,
    ):
        self._stream, self._tiles, self._plan = stream, tiles, plan
        self._labels, self._folder, self.reporter = labels, folder, reporter
        self._on_best = on_best
        self.history: list[EpochRow] = []
        self.best_epoch: int | None = None
        self.stopped: str | None = None
        self._progress: Progress | None = None
        self._epoch_start = self._saved_at = self._looked_at = time.monotonic()
        self._text = ""

    def follow(self, progress: Progress) -> None:
        """Advance a progress bar with the steps.

        Args:
            progress: The bar.
        """
        self._progress = progress

    def state_dict(self) -> dict[str, Any]:
        """Return history and best epoch, for the checkpoint."""
        rows = [{**asdict(row), "val_iou": list(row.val_iou)} for row in self.history]
        return {"history": rows, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take history and best epoch from a checkpoint."""
        self.history = [
            EpochRow(**{**row, "val_iou": tuple(row["val_iou"])}) for row in state_dict["history"]
        ]
        self.best_epoch = state_dict["best_epoch"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure an epoch whose validation was interrupted."""
        step = trainer.global_step
        if step and self._ends_epoch(step) and len(self.history) < self._epoch(step):
            self._end_epoch(trainer, _fit_module(pl_module))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the step; end the epoch, save or stop where it is time to."""
        step = trainer.global_step
        self._stream.consumed = step
        self._look_at_loss(outputs, step)
        if self._progress is not None:
            self._progress.advance(message=self._text)
        if self._ends_epoch(step):
            self._end_epoch(trainer, _fit_module(pl_module))
        elif self.reporter.stopping:
            self._stop(trainer)
        elif time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self._save(trainer)

    def _ends_epoch(self, step: int) -> bool:
        return step % self._plan.steps_per_epoch == 0 or step == self._plan.total_steps

    def _epoch(self, step: int) -> int:
        return math.ceil(step / self._plan.steps_per_epoch)

    def _look_at_loss(self, outputs: Any, step: int) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOSS_SECONDS:
            return
        self._looked_at = now
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            raise InputError(
                f"the loss became {loss} at step {step}: the fit has diverged",
                where=self._folder.path,
                mend="lower optimiser.learning_rate, or set training.precision=fp32; "
                "--resume goes on from the last checkpoint",
            )
        self._text = f"epoch {self._epoch(step)}/{self._plan.epochs}, loss {loss:.3f}"

    def _end_epoch(self, trainer: pl.Trainer, module: FitModule) -> None:
        step = trainer.global_step
        # Saved before the validation too: it can take long, and nothing is to be learned twice.
        self._save(trainer)
        measured = None
        if self._tiles is not None:
            measured = measure(
                module.network,
                module.loss,
                self._tiles,
                classes=len(self._labels),
                arithmetic=Arithmetic(self._plan.precision, self._plan.channels_last),
                device=module.device,
                reporter=self.reporter,
            )
            if measured is None:
                self._stop(trainer, save=False)
                return
        row = self._row(trainer, module, measured, step)
        self.history.append(row)
        write_log(self._folder.log, self.history, self._labels.names)
        if self._better(row):
            self.best_epoch = row.epoch
            self._keep_best(module, row)
        self._tell(row)
        self._save(trainer)
        if self.reporter.stopping and step < self._plan.total_steps:
            self._stop(trainer, save=False)

    def _row(
        self, trainer: pl.Trainer, module: FitModule, measured: Measured | None, step: int
    ) -> EpochRow:
        now = time.monotonic()
        seconds, self._epoch_start = now - self._epoch_start, now
        return EpochRow(
            epoch=self._epoch(step),
            step=step,
            train_loss=module.take_mean_loss(),
            val_loss=measured.loss if measured else math.nan,
            val_mean_iou=measured.mean_iou if measured else math.nan,
            val_iou=measured.class_iou if measured else (),
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=seconds,
        )

    def _better(self, row: EpochRow) -> bool:
        if self._tiles is None:
            return True  # without validation the last weights are kept
        if math.isnan(row.val_mean_iou):
            return False
        if self.best_epoch is None:
            return True
        return row.val_mean_iou > self.history[self.best_epoch - 1].val_mean_iou

    def _keep_best(self, module: FitModule, row: EpochRow) -> None:
        # A copy: the live weights go on changing.
        weights = {k: v.detach().cpu().clone() for k, v in module.network.state_dict().items()}
        contiguous = {k: v.contiguous() for k, v in weights.items()}
        write_bytes(self._folder.best, save(contiguous))
        if self._on_best is not None:
            self._on_best(contiguous, row)

    def _tell(self, row: EpochRow) -> None:
        text = f"epoch {row.epoch}/{self._plan.epochs}: training loss {row.train_loss:.4f}"
        if self._tiles is not None:
            classes = ", ".join(
                f"{name} {value:.3f}"
                for name, value in zip(self._labels.names, row.val_iou, strict=True)
            )
            best = " (best so far)" if self.best_epoch == row.epoch else ""
            text += f", validation mean IoU {row.val_mean_iou:.4f} ({classes}){best}"
        self.reporter.message("fit", text, **row.flat(self._labels.names))

    def _save(self, trainer: pl.Trainer) -> None:
        partial = self._folder.last.with_name(".last.ckpt.partial")
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            trainer.save_checkpoint(partial)
            partial.replace(self._folder.last)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            with contextlib.suppress(OSError):
                partial.unlink()
            raise _unwritable(self._folder.last, error) from None
        self._saved_at = time.monotonic()

    def _stop(self, trainer: pl.Trainer, *, save: bool = True) -> None:
        if save:
            self._save(trainer)
        self.stopped = self.reporter.stop.reason or "asked to stop"
        trainer.should_stop = True


def _fit_module(module: pl.LightningModule) -> FitModule:
    if not isinstance(module, FitModule):
        raise TypeError("the fit's callbacks need a FitModule")
    return module
