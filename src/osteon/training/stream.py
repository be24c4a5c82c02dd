"""The stream of batches: which patches come when, in how many processes.

A fit is one long stream of batches, counted from 0. Batch ``b`` belongs to epoch
``b // batches_per_epoch``; the order within an epoch is a permutation that depends on (seed,
epoch) alone. So the position is a single number, and a fit that goes on from batch ``b`` sees
what it would have seen unbroken, whatever the number of workers.
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

#: (epoch, index) of a patch: all that a worker needs to know to make it.
Key = tuple[int, int]
Batch = tuple[torch.Tensor, torch.Tensor]


class _Items(Dataset[Batch]):
    def __init__(self, source: PatchSource):
        self._source = source

    def __getitem__(self, key: Key) -> Batch:
        image, labels = self._source.item(*key)
        return torch.from_numpy(image), torch.from_numpy(labels)


class _Order:
    """Keys of the batches from a position to the end of the fit."""

    def __init__(self, items: int, *, batch_size: int, seed: int, total: int):
        self._items, self._batch_size, self._seed = items, batch_size, seed
        self._total = total
        self.per_epoch = math.ceil(items / batch_size)
        self.position = 0

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for batch in range(self.position, self._total):
            if batch // self.per_epoch != epoch:
                epoch = batch // self.per_epoch
                order = np.random.default_rng([self._seed, epoch]).permutation(self._items)
            first = batch % self.per_epoch * self._batch_size
            yield [(epoch, int(i)) for i in order[first : first + self._batch_size]]


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    # Ctrl-C reaches every process of the terminal; a worker that dies of it would kill the fit.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class BatchStream:
    """The batches of a fit, as an iterable with a position that can be kept and restored.

    Args:
        source: Where patches come from.
        batch_size: Patches in a batch; the last of an epoch may have fewer.
        seed: Seed of the order.
        total: Batches of the whole fit.
        workers: Processes that make patches; 0 is the calling process. They are spawned.

    Attributes:
        consumed: Batches that the network has learned from; not those merely read ahead.
    """

    def __init__(
        self, source: PatchSource, *, batch_size: int, seed: int, total: int, workers: int
    ):
        self._order = _Order(len(source), batch_size=batch_size, seed=seed, total=total)
        self._total = total
        self.consumed = 0
        self._loader: DataLoader[Batch] = DataLoader(
            _Items(source),
            batch_sampler=self._order,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_leave_interrupts_to_the_main_process if workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
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
