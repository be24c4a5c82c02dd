"""What happens between the steps: epochs, validation, the best weights, checkpoints, stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors.torch import save

from osteon.datasets import TileSource
from osteon.errors import InputError, OutputError
from osteon.events import Progress, Reporter
from osteon.files import replacing, write_bytes
from osteon.training.boards import Board
from osteon.training.data import FitData
from osteon.training.measuring import Measured, measure
from osteon.training.module import FitModule
from osteon.training.parallel import ALONE, Place, agree
from osteon.training.plan import FitPlan
from osteon.training.record import MEND, EpochRow, FitFolder, write_log, write_scan_scores
from osteon.training.stream import BatchStream
from osteon.training.usage import UsageMeter

#: Longest time between two checkpoints: what a killed fit loses at most.
CHECKPOINT_SECONDS = 300.0
#: Seconds between looks at the loss: each look waits for the GPU.
LOSS_SECONDS = 0.5
#: Seconds between looks at memory and GPU: each walks through all processes of the machine.
USAGE_SECONDS = 5.0

Weights = Mapping[str, torch.Tensor]


class Watch(pl.Callback):
    """Ends epochs, measures, keeps the best weights, saves checkpoints, stops when asked.

    Args:
        stream: The batches.
        data: Slices to validate on, classes.
        plan: The plan.
        folder: Where files are kept.
        reporter: Told of the progress.
        on_best: Called with the weights and the row of an epoch that is the best so far.
        patience: Epochs without a better score after which the fit ends; None: it never does.
        place: Which process this is; the first alone writes and decides.
    """

    def __init__(
        self,
        stream: BatchStream,
        data: FitData,
        *,
        plan: FitPlan,
        folder: FitFolder,
        reporter: Reporter,
        on_best: Callable[[Weights, EpochRow], None] | None = None,
        patience: int | None = None,
        place: Place = ALONE,
    ):
        self._patience, self.place = patience, place
        self.stream, self._tiles, self.plan = stream, data.tiles, plan
        self._labels, self.folder, self.reporter = data.labels, folder, reporter
        self._on_best, self._context = on_best, data.context
        self.history: list[EpochRow] = []
        self.best_epoch: int | None = None
        self.stopped: str | None = None
        self.converged: str | None = None
        self.meter = UsageMeter(torch.device("cpu"))
        self._board: Board | None = None
        self._step = 0
        self._progress: Progress | None = None
        self._epoch_start = self._saved_at = self._looked_at = time.monotonic()
        self._metered_at = -math.inf
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
        """Measure an epoch whose validation was interrupted, be it the last."""
        step = self._step = trainer.global_step
        self.meter = UsageMeter(pl_module.device)
        if self.place.leads:
            self._board = Board(self.folder, self._labels.names, step=step)
        if step and self._ends_epoch(step) and len(self.history) < self._epoch(step):
            self._end_epoch(trainer, _fit_module(pl_module))
        elif self._has_converged() or step == self.plan.total_steps:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finish the log."""
        if self._board is not None:
            self._board.close()

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
        if step == self._step:
            return  # gradients are being accumulated
        self._step = self.stream.consumed = step
        module = _fit_module(pl_module)
        module.end_step()
        stopping, saving = agree(self.place, lambda: self._orders(outputs, step))
        if self._progress is not None:
            self._progress.advance(message=self._text)
        if self._ends_epoch(step):
            self._end_epoch(trainer, module)
        elif stopping:
            self._stop(trainer)
        elif saving:
            self._save(trainer)

    def _orders(self, outputs: Any, step: int) -> tuple[bool, bool]:
        """Whether to stop and whether to save; what is wrong is raised in all processes alike."""
        self._look_at_loss(outputs, step)
        return self.reporter.stopping, time.monotonic() - self._saved_at > CHECKPOINT_SECONDS

    def _ends_epoch(self, step: int) -> bool:
        return step % self.plan.steps_per_epoch == 0 or step == self.plan.total_steps

    def _epoch(self, step: int) -> int:
        return math.ceil(step / self.plan.steps_per_epoch)

    def _look_at_loss(self, outputs: Any, step: int) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOSS_SECONDS:
            return
        self._looked_at = now
        if now - self._metered_at >= USAGE_SECONDS:
            self._metered_at = now
            self.meter.sample()
        # Lightning divides the loss of a batch by the batches of a step.
        loss = float(outputs["loss"]) * self.plan.accumulate
        if not math.isfinite(loss):
            raise self._diverged(f"the loss became {loss} at step {step}")
        if self._board is not None:
            self._board.loss(step, loss)
        self._text = f"epoch {self._epoch(step)}/{self.plan.epochs}, loss {loss:.3f}"

    def _diverged(self, what: str) -> InputError:
        return InputError(
            f"{what}: the fit has diverged",
            where=self.folder.path,
            # Resumed, it would take the same steps again.
            mend="start another with a lower optimiser.learning_rate, or with "
            "training.precision=fp32; the best model so far is kept",
        )

    def _end_epoch(self, trainer: pl.Trainer, module: FitModule) -> None:
        step = trainer.global_step
        # Saved before the validation too: it can take long, and nothing is to be learned twice.
        self._save(trainer)
        measured, started = None, time.monotonic()
        if self._tiles is not None:
            measured = self._measure(module, self._tiles)
            if measured is None:
                self._stop(trainer, save=False)
                return
        row = self._row(trainer, module, measured, time.monotonic() - started)
        self.history.append(row)
        module.end_epoch(row.val_mean_iou)
        if self.place.leads:
            write_log(self.folder.log, self.history, self._labels.names)
        if self._better(row):
            self.best_epoch = row.epoch
            if self._tiles is not None and measured is not None and self.place.leads:
                write_scan_scores(
                    self.folder.scans, self._tiles.scans, measured.confusions, self._labels.names
                )
            self._keep_best(module, row)
        self._tell(row)
        self._save(trainer)
        if self._has_converged() or step == self.plan.total_steps:
            trainer.should_stop = True
        elif agree(self.place, lambda: self.reporter.stopping):
            self._stop(trainer, save=False)

    def _measure(self, module: FitModule, tiles: TileSource) -> Measured | None:
        return measure(
            module.measured,
            module.loss,
            tiles,
            classes=len(self._labels),
            arithmetic=self.plan.arithmetic,
            reporter=self.reporter,
            place=self.place,
            context=self._context,
        )

    def _has_converged(self) -> bool:
        if self._patience is None or self.best_epoch is None:
            return False
        waited = len(self.history) - self.best_epoch
        if waited < self._patience:
            return False
        self.converged = f"no better validation score in {waited} epochs"
        return True

    def _row(
        self, trainer: pl.Trainer, module: FitModule, measured: Measured | None, took: float
    ) -> EpochRow:
        now, step = time.monotonic(), trainer.global_step
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
            val_seconds=took if measured else math.nan,
            val_voxels=measured.voxels if measured else 0,
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
        if not self.place.leads:
            return
        # A copy: the live weights go on changing.
        weights = {k: v.detach().cpu().clone() for k, v in module.measured.state_dict().items()}
        contiguous = {k: v.contiguous() for k, v in weights.items()}
        write_bytes(self.folder.best, save(contiguous), mend=MEND)
        if self._on_best is not None:
            self._on_best(contiguous, row)

    def _tell(self, row: EpochRow) -> None:
        text = f"epoch {row.epoch}/{self.plan.epochs}: training loss {row.train_loss:.4f}"
        if self._tiles is not None:
            classes = ", ".join(
                f"{name} {value:.3f}"
                for name, value in zip(self._labels.names, row.val_iou, strict=True)
            )
            best = " (best so far)" if self.best_epoch == row.epoch else ""
            text += f", validation mean IoU {row.val_mean_iou:.4f} ({classes}){best}"
        if self._board is not None:
            self._board.epoch(row)
        self.reporter.message("fit", text, **row.flat(self._labels.names))

    def _save(self, trainer: pl.Trainer) -> None:
        if not _fit_module(trainer.lightning_module).is_finite():  # the same in all processes
            raise self._diverged(f"the weights became infinite or NaN by step {self._step}")
        self._saved_at = time.monotonic()
        if not self.place.leads:
            trainer.save_checkpoint(self.folder.last)  # takes part, writes nothing
            return
        try:
            with replacing(self.folder.last, mend=MEND) as partial:
                trainer.save_checkpoint(partial)
        except RuntimeError as error:  # so torch reports a full disk
            raise OutputError(
                f"the checkpoint cannot be written: {error}", where=self.folder.last, mend=MEND
            ) from None

    def _stop(self, trainer: pl.Trainer, *, save: bool = True) -> None:
        if save:
            self._save(trainer)
        self.stopped = self.reporter.stop.reason or "asked to stop"
        trainer.should_stop = True


def _fit_module(module: pl.LightningModule) -> FitModule:
    if not isinstance(module, FitModule):
        raise TypeError("the fit's callbacks need a FitModule")
    return module
