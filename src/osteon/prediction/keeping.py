"""Labels are compressed and put into the work area in a thread, while the network runs on."""

from __future__ import annotations

import contextlib
import math
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from osteon.errors import OutputError
from osteon.prediction.store import Store

#: Slices are gathered, compressed, until they have so many voxels or took so many seconds; then
#: they are put on the disk together. A kill costs no more work than that.
BLOCK_VOXELS = 16 * 2**20
BLOCK_SECONDS = 10.0
#: Slabs of labels that may be with the thread; then the network waits for the disk.
PENDING = 1
#: Labels hardly change from voxel to voxel: the fastest level makes them 10 to 50 times smaller.
_LEVEL = 1


class Keeper:
    """Takes labels in ascending order; leaving its ``with`` statement puts the last on the disk.

    Holds the slabs that wait, and compressed slices.

    Args:
        store: Where they go.
    """

    def __init__(self, store: Store):
        self._store = store
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="osteon-write")
        self._pending: list[Future[None]] = []
        self._most = max(1, BLOCK_VOXELS // (store.layers * math.prod(store.shape[1:])))
        self._slices: list[bytes] = []
        self._first = 0
        self._note: Counter[str] = Counter()
        self._since = time.monotonic()
        self._failed = False

    def add(self, z: int, stacks: npt.NDArray[np.uint8], *, note: Mapping[str, int]) -> None:
        """Take the next slices.

        Args:
            z: Index of the first.
            stacks: (n, layer, y, x); it must not be changed any more.
            note: Counts that belong to them.

        Raises:
            OutputError: If earlier ones could not be written.
        """
        while len(self._pending) >= PENDING:
            self._pending.pop(0).result()
        self._pending.append(self._pool.submit(self._take, z, stacks, note))

    def _take(self, z: int, stacks: npt.NDArray[np.uint8], note: Mapping[str, int]) -> None:
        if self._failed:
            return
        if self._slices and z != self._first + len(self._slices):
            self._flush()  # a gap: what comes was finished by an earlier start
        if not self._slices:
            self._first = z
        self._slices += [zlib.compress(stack.tobytes(), _LEVEL) for stack in stacks]
        self._note.update(note)
        if len(self._slices) >= self._most or time.monotonic() - self._since >= BLOCK_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._failed or not self._slices:
            return
        try:
            self._store.put(self._first, self._slices, note=dict(self._note))
        except OutputError:
            self._failed = True
            raise
        self._slices, self._note = [], Counter()
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put what was gathered on the disk, whatever has happened.

        Raises:
            OutputError: If that fails and nothing else has gone wrong.
        """
        self._pending.append(self._pool.submit(self._flush))
        self._pool.shutdown(wait=True)
        with contextlib.suppress(OutputError) if error is not None else contextlib.nullcontext():
            for waiting in self._pending:
                waiting.result()
