"""The stream of batches: which patches come when, in how many processes.

A fit is one long stream of steps of the optimiser, counted from 0. Step ``s`` belongs to epoch
``s // steps_per_epoch``; the order within an epoch is a permutation that depends on (seed,
epoch) alone. So the position is a single number, and a fit that goes on from step ``s`` sees
what it would have seen unbroken, whatever the number of workers. A step has ``accumulate``
batches, and each is shared out among the processes of a fit.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from osteon.datasets import PatchSource
from osteon.training.parallel import ALONE, Place

#: (epoch, index) of a patch: all that a worker needs to know to make it.
Key = tuple[int, int]
Batch = tuple[torch.Tensor, torch.Tensor]


class _Items(Dataset[Batch]):
    def __init__(self, source: PatchSource):
        self._source = source

    def __getitem__(self, key: Key) -> Batch:
        image, labels = self._source.item(*key)
        return torch.from_numpy(image), torch.from_numpy(labels)


class Order:
    """Keys of the batches of one process, from a position to the end of the fit.

    Args:
        items: Items of an epoch.
        batch_size: Items of a batch, over all processes.
        accumulate: Batches of a step.
        seed: Seed of the order.
        total: Steps of the whole fit.
        place: Which process this is.

    Attributes:
        position: The step that it starts with.
    """

    def __init__(
        self,
        items: int,
        *,
        batch_size: int,
        accumulate: int,
        seed: int,
        total: int,
        place: Place = ALONE,
    ):
        self._items, self._seed, self._total, self._place = items, seed, total, place
        self._accumulate = accumulate
        # Batch normalisation can learn nothing from a single patch; some networks refuse it.
        self._least = min(2, max(1, batch_size // place.world))
        self._step_items = batch_size * accumulate
        self.per_epoch = math.ceil(items / self._step_items)
        self.position = 0

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.position, self._total):
            if step // self.per_epoch != epoch:
                epoch = step // self.per_epoch
                order = np.random.default_rng([self._seed, epoch]).permutation(self._items)
            first = step % self.per_epoch * self._step_items
            items = order[first : first + self._step_items]
            for batch in self._shares(items, self._accumulate, self._least * self._place.world):
                mine = self._shares(batch, self._place.world, self._least)[self._place.rank]
                yield [(epoch, int(i)) for i in mine]

    @staticmethod
    def _shares(items: Any, count: int, least: int) -> list[Any]:
        """Cut items into equal shares; the last of an epoch may be too few: then some repeat."""
        if len(items) < count * least:
            items = np.resize(items, count * least)
        return np.array_split(items, count)


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    # Ctrl-C reaches every process of the terminal; a worker that dies of it would kill the fit.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # SLURM and others tell all processes of a job to end; the main process ends the workers.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class BatchStream:
    """The batches of a fit, as an iterable with a position that can be kept and restored.

    Args:
        source: Where patches come from.
        order: Which patches come when.
        total: Batches of the whole fit in this process.
        workers: Processes that make patches; 0 is the calling process. They are spawned.

    Attributes:
        consumed: Steps that the network has learned from; not those merely read ahead.
    """

    def __init__(self, source: PatchSource, order: Order, *, total: int, workers: int):
        self._order = order
        self._total = total
        self.consumed = 0
        self._loader: DataLoader[Batch] = DataLoader(
            _Items(source),
            batch_sampler=order,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_leave_interrupts_to_the_main_process if workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self._order.per_epoch

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[Batch]:
        self._order.position = self.consumed
        return iter(self._loader)

    def state_dict(self) -> dict[str, Any]:
        """Return the position, for Lightning's checkpoint."""
        return {"consumed": self.consumed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a position.

        Args:
            state: What :meth:`state_dict` gave.
        """
        self.consumed = int(state["consumed"])
