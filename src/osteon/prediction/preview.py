"""The labels of a single slice, for reports and previews."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osteon.backends import Backend
from osteon.intensity import Statistics
from osteon.model_file import ModelSpec
from osteon.prediction.blocks import BlockRunner
from osteon.prediction.context import slice_context
from osteon.prediction.plan import input_rules, plan_context, plan_prediction
from osteon.prediction.slices import SliceRunner
from osteon.volume import ArrayVolume, Volume

#: Slices of context that a 3D model gets on each side where its patch size is not known.
_DEPTH = 16


@dataclass(frozen=True)
class Preview:
    """What labels single slices.

    Attributes:
        spec: The model.
        backend: Its network, ready to run.
        memory: Memory for activations, in bytes.
    """

    spec: ModelSpec
    backend: Backend
    memory: int

    def labels(
        self, seen: Volume, z: int, *, box: tuple[slice, slice], statistics: Statistics
    ) -> npt.NDArray[np.uint8]:
        """Label a part of one slice with the context that the network sees along z.

        Holds that part of the slices of the context. Within the slice there is no context beyond
        the part, and a model that looks twice sees the part alone in its coarse pass.

        Args:
            seen: The scan on the network's grid.
            z: The slice.
            box: The part (y, x).
            statistics: Of the scan.

        Returns:
            Label values (y, x).

        Raises:
            InputError: If the scan is damaged.
            UsageError: If the memory does not suffice.
        """
        first, last = max(0, z - self._context), min(seen.shape[0], z + self._context + 1)
        part = ArrayVolume(seen.read(slice(first, last), *box))
        coarse = plan_context(part, self.spec, contiguous=False, memory=self.memory)
        plan = plan_prediction(
            part, self.backend, spec=self.spec, memory=self.memory, context=coarse
        )
        rules = input_rules(self.spec.network)
        if self.spec.mode == "3D":
            slabs = BlockRunner(part, statistics, self.backend, plan, rules).run()
        else:
            shape = (part.shape[1], part.shape[2])
            context = (
                None
                if coarse is None
                else slice_context(shape, coarse, backend=self.backend, rules=rules)
            )
            slabs = SliceRunner(
                part, statistics, self.backend, plan, self.spec.slices, rules, context
            ).run()
        with closing(slabs):
            for start, labels in slabs:
                if start <= z - first < start + labels.shape[0]:
                    found: npt.NDArray[np.uint8] = labels[z - first - start]
                    return found
        raise IndexError(f"slice {z} was not labelled")

    @property
    def _context(self) -> int:
        if self.spec.mode == "3D":
            return self.spec.patch_size[0] // 2 if len(self.spec.patch_size) == 3 else _DEPTH
        return self.spec.slices // 2
