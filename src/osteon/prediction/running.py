"""A scan that is ready to be labelled: the labels of any slices, and what is wanted beside."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from osteon.backends import Backend
from osteon.model_file import ModelSpec
from osteon.prediction.air import Air, Skipped
from osteon.prediction.blocks import BlockRunner
from osteon.prediction.context import Context, Doubt
from osteon.prediction.plan import InputRules, PredictPlan, input_rules
from osteon.prediction.scale import Slabs, axes_back, logits_back
from osteon.prediction.sides import Sides
from osteon.prediction.slices import SliceRunner
from osteon.prediction.surface import Surface, with_surface
from osteon.prediction.wanted import Wanted, highest, layered
from osteon.resampling import ResampledVolume
from osteon.volume import Volume

if TYPE_CHECKING:
    from osteon.prediction.job import Decisions


@dataclass(frozen=True)
class Job:
    """A scan that is ready to be labelled.

    Attributes:
        volume: The scan.
        seen: The scan as the network sees it.
        spec: The model.
        decisions: What was decided.
        plan: How it goes through the network.
        backend: The network.
        context: Gives the context of each slice to models that look twice.
        doubt: Counts how decided the coarse pass is.
        wanted: What is to be given.
        air: Whether air is skipped and how it is told; None: that was not asked for.
        skipped: Counts what is not run.
        sides: Probabilities along the other two axes, where they are wanted and finished.
        surface: Moves the surface of bone; None: it stays where the network draws it.
    """

    volume: Volume
    seen: Volume
    spec: ModelSpec
    decisions: Decisions
    plan: PredictPlan
    backend: Backend
    context: Context | None
    doubt: Doubt
    wanted: Wanted = field(default_factory=Wanted)
    air: Air | None = None
    skipped: Skipped = field(default_factory=Skipped)
    sides: Sides | None = None
    surface: Surface | None = None

    @property
    def rules(self) -> InputRules:
        """What inputs the network takes."""
        return input_rules(self.spec.network)

    def labels(self, part: slice) -> Slabs:
        """Label some slices, each as if all were labelled.

        Args:
            part: Slices of the scan.

        Yields:
            First slice and labels (n, y, x), uint8, ascending without gaps.
        """
        return self._surfaced(self._labels(part))

    def _labels(self, part: slice) -> Slabs:
        if isinstance(self.seen, ResampledVolume) or self.sides is not None:
            return _labelled(self.logits(part))
        return _within(self._run(part), part)

    def logits(self, part: slice) -> Slabs:
        """Give what the network says of some slices, each as if all were labelled.

        Args:
            part: Slices of the scan.

        Yields:
            First slice and logits (n, class, y, x), float32, on the scan's grid, ascending
            without gaps; the class of the highest is the label.
        """
        if not isinstance(self.seen, ResampledVolume):
            return _within(self._averaged(part), part)
        axis = axes_back(self.seen)[0]
        last = min(int(axis.first[part.stop - 1]) + axis.taps, self.seen.shape[0])
        needed = slice(int(axis.first[part.start]), last)
        return logits_back(self.seen, self._averaged(needed), part)

    def results(self, part: slice) -> Slabs:
        """Label some slices, and give what is wanted beside the labels, as the network says it.

        Args:
            part: Slices of the scan.

        Yields:
            First slice and (n, layer, y, x), uint8, as of :func:`osteon.prediction.wanted.layered`.
        """
        return self._surfaced(self._results(part))

    def _results(self, part: slice) -> Slabs:
        with closing(self.logits(part) if self.wanted.beside else self._labels(part)) as slabs:
            for z, slab in slabs:
                yield z, layered(slab, self.wanted) if self.wanted.beside else slab[:, np.newaxis]

    def _surfaced(self, slabs: Slabs) -> Slabs:
        return slabs if self.surface is None else with_surface(slabs, self.volume, self.surface)

    def slice_runner(self) -> SliceRunner:
        """Return what runs the slices of the scan (2D, 2.5D)."""
        return SliceRunner(
            self.seen, self.decisions.statistics, self.backend, self.plan, self.spec.slices,
            self.rules, self.context, self.air, self.skipped,
        )  # fmt: skip

    def block_runner(self) -> BlockRunner:
        """Return what runs the blocks of the scan (3D)."""
        return BlockRunner(
            self.seen, self.decisions.statistics, self.backend, self.plan, self.rules, self.air,
            self.skipped,
        )  # fmt: skip

    def taken(self) -> dict[str, int]:
        """Return what was counted since this was asked last, and begin anew."""
        return {**self.doubt.taken(), **self.skipped.taken()}

    def count(self, counted: Mapping[str, int]) -> None:
        """Add what :meth:`taken` returned."""
        self.doubt.count(counted)
        self.skipped.count(counted)

    def _averaged(self, part: slice) -> Slabs:
        """Logits of a part on the network's grid, the mean along all axes that are wanted."""
        logits = self._run(part, classes=len(self.spec.labels))
        return logits if self.sides is None else self.sides.averaged(logits)

    def _run(self, part: slice, *, classes: int | None = None) -> Slabs:
        """Labels (or logits of so many classes) of at least a part, on the network's grid."""
        runner = self.block_runner() if self.spec.mode == "3D" else self.slice_runner()
        return runner.run(part, classes=classes)


def _labelled(logits: Slabs) -> Slabs:
    with closing(logits):
        for z, slab in logits:
            yield z, highest(slab)


def _within(slabs: Slabs, part: slice) -> Slabs:
    """Leave out what a block holds beyond a part."""
    with closing(slabs):
        for z, slab in slabs:
            first, last = max(z, part.start), min(z + slab.shape[0], part.stop)
            if first >= last:
                continue
            yield first, slab[first - z : last - z]
