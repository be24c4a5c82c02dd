"""The plan of a prediction: how much goes through the network at once, within the memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osteon.backends import Backend
from osteon.coarse import coarse_grid, coarse_length
from osteon.errors import UsageError
from osteon.model_file import ModelSpec
from osteon.networks import NetworkSpec
from osteon.patches import pad_to, pad_to_multiple
from osteon.prediction.scale import axes_back
from osteon.resampling import ResampledVolume
from osteon.resampling.volume import READ_BYTES
from osteon.volume import Array, Volume

#: Context around a tile, in pixels. A fitted U-Net/ResNet-18 labels tiles as whole slices (all of
#: 410,000 voxels measured); with random weights 99.7 % to 99.9 % agree, 99.99 % with 192 px.
HALO = 128
#: Context around a block along each axis, in voxels; docs/prediction.md says what was measured.
BLOCK_HALO = 32
#: Largest extent of a block, in voxels: beyond, hardly any context is computed twice.
LARGEST_BLOCK = 512
#: Around the edges of cores tiles and blocks of networks that label by all of their input are
#: blended over so many pixels or voxels either way: what one of them labels with less context
#: counts less. Networks that see no farther than the halo need none: there the core is exact.
BLEND, BLOCK_BLEND = 32, 8
#: Arrays of logits beside those of a slice: exponentials, probabilities, what is blended.
_LOGIT_COPIES = 4
#: Slices that are in memory at once beside the activations: being read, run and written.
SLICES_IN_FLIGHT = 3
#: Arrays of a block beside its activations, float32: stored, normalised, padded, in float64.
_BLOCK_COPIES = 6
#: Copies of a plane that resampling makes on the way.
_PLANE_COPIES = 3
_FLOAT = 4
#: Largest small volume of the coarse pass, in bytes, and its largest share of the memory.
CONTEXT_BYTES = 64 * 2**20
CONTEXT_SHARE = 8
#: A small volume is looked at along all axes if its shortest side has so many voxels.
SHORTEST_SIDE = 64
#: Planes that bringing the context to a slice takes, float32.
_CONTEXT_PLANES = 3


@dataclass(frozen=True)
class ContextPlan:
    """What the coarse pass of a model that looks twice sees.

    Attributes:
        contiguous: Whether the scan is seen whole; else each slice on its own.
        factor: Size of a coarse voxel along y and x, in voxels.
        depth_factor: The same along z; 1 where slices are seen on their own.
        shape: (z, y, x) of what is held at once, in coarse voxels.
        axes: Axes that slices are taken across, of (z, y, x).
    """

    contiguous: bool
    factor: float
    depth_factor: float
    shape: tuple[int, int, int]
    axes: tuple[int, ...]

    @property
    def held(self) -> int:
        """Bytes that are held while slices are labelled."""
        return math.prod(self.shape) * _FLOAT


@dataclass(frozen=True)
class PredictPlan:
    """How a scan goes through the network.

    Attributes:
        tile: Height and width that are read at once, in pixels; None: whole slices.
        halo: Context around each tile or block within the slice, in pixels.
        tiles: Number of tiles of a slice, or of blocks (3D) of the whole scan.
        memory: Estimated memory of activations and slices in flight, in bytes.
        depth: Slices that are read at once (3D); None: slice by slice.
        depth_halo: Context around each block along z, in slices.
        context: The coarse pass of a model that looks twice.
        blend: Pixels or voxels on either side of the edges of cores over which logits are blended;
            0: what a tile or block gives for its core is kept as it is.
        classes: Number of classes.
    """

    tile: int | None
    halo: int
    tiles: int
    memory: int
    depth: int | None = None
    depth_halo: int = 0
    context: ContextPlan | None = None
    blend: int = 0
    classes: int = 0

    @property
    def whole(self) -> bool:
        """Whether a slice (3D: the scan) goes through the network at once."""
        return self.tiles == 1


def plan_from_dict(data: Mapping[str, Any]) -> PredictPlan:
    """Build a plan from ``dataclasses.asdict`` of it, read from JSON.

    Args:
        data: The description.
    """
    coarse = data["context"]
    if coarse is not None:
        tuples = {name: tuple(coarse[name]) for name in ("shape", "axes")}
        coarse = ContextPlan(**{**coarse, **tuples})
    return PredictPlan(**{**data, "context": coarse})


@dataclass(frozen=True)
class InputRules:
    """What inputs a network takes.

    Attributes:
        divisors: What each axis ([z,] y, x) must be a multiple of.
        least: What each axis must have at least, in voxels.
    """

    divisors: tuple[int, ...]
    least: tuple[int, ...]

    def pad(self, array: Array) -> Array:
        """Pad the last axes of an array at their ends by its edge, as the network needs it."""
        return pad_to(pad_to_multiple(array, self.divisors), self.least)


def input_rules(network: NetworkSpec) -> InputRules:
    """Return what inputs a network takes.

    Args:
        network: The network.
    """
    steps = (network.depth_divisor, network.divisor, network.divisor)[3 - network.dimensions :]
    return InputRules(steps, network.least)


def plan_context(
    seen: Volume, spec: ModelSpec, *, contiguous: bool, memory: int
) -> ContextPlan | None:
    """Lay out the coarse pass of a model that looks twice.

    Args:
        seen: The scan as the network sees it.
        spec: The model.
        contiguous: Whether its slices are neighbours in space.
        memory: Memory for activations and slices in flight, in bytes.

    Returns:
        The coarse grid; None for other models. Slices that are neighbours are reduced along z as
        within the slice, so that coarse voxels are cubes (where voxel sizes are unknown, those of
        the scan are taken for cubes).
    """
    if spec.context is None:
        return None
    depth, height, width = seen.shape
    factor, (rows, columns) = coarse_grid((height, width), spec.context.longest)
    if not contiguous:
        return ContextPlan(False, factor, 1.0, (1, rows, columns), (0,))
    most = min(CONTEXT_BYTES, memory // CONTEXT_SHARE) // _FLOAT
    along, _, across = seen.geometry.voxel_size
    ratio = across / along if along and across else 1.0
    while True:
        deep = max(1.0, factor * ratio)
        shape = (
            coarse_length(depth, deep),
            coarse_length(height, factor),
            coarse_length(width, factor),
        )
        if math.prod(shape) <= most or max(shape) == 1:
            break
        factor *= max(1.01, (math.prod(shape) / most) ** (1 / 3))
    return ContextPlan(
        True, factor, deep, shape, (0, 1, 2) if min(shape) >= SHORTEST_SIDE else (0,)
    )


def plan_prediction(
    seen: Volume,
    backend: Backend,
    *,
    spec: ModelSpec,
    memory: int,
    context: ContextPlan | None = None,
    logits: bool = False,
    beside: int = 0,
) -> PredictPlan:
    """Decide how much of a scan goes through the network at once.

    Args:
        seen: The scan as the network sees it: as it is, or resampled.
        backend: Tells the memory of the activations.
        spec: The model.
        memory: Memory for activations and slices in flight, in bytes.
        context: The coarse pass, which takes a part of the memory.
        logits: Whether logits of the scan are needed, not its labels alone.
        beside: What else takes memory meanwhile, in bytes.

    Returns:
        The plan.

    Raises:
        UsageError: If not even the smallest tile or block fits; the message says what would.
    """
    if spec.mode == "3D":
        return _plan_blocks(seen, backend, spec=spec, memory=memory, logits=logits, beside=beside)
    return _plan_slices(
        seen, backend, spec=spec, memory=memory, context=context, logits=logits, beside=beside
    )


def _plan_slices(
    seen: Volume,
    backend: Backend,
    *,
    spec: ModelSpec,
    memory: int,
    context: ContextPlan | None,
    logits: bool,
    beside: int,
) -> PredictPlan:
    _, height, width = seen.shape
    classes = len(spec.labels)
    divisor = spec.network.divisor
    channels = spec.network.in_channels
    # Stored and normalised image, labels, each for the slices in flight; and the neighbours.
    slices = beside + height * width * (seen.dtype.itemsize + _FLOAT + 1) * SLICES_IN_FLIGHT
    slices += height * width * _FLOAT * (channels - 1) + _of_resampling(seen, classes)
    of_logits = height * width * classes * _FLOAT * _LOGIT_COPIES
    slices += of_logits * logits
    cost = backend.bytes_per_pixel + _FLOAT * (channels - 1)
    rules = input_rules(spec.network)
    if context is not None:
        slices += context.held + _CONTEXT_PLANES * height * width * _FLOAT
    coarse = _of_context(context, rules, cost)
    padded = math.prod(_padded(n, -1, rules) for n in (height, width))
    whole = max(slices + padded * cost, coarse)
    if whole <= memory:
        return PredictPlan(None, 0, 1, whole, context=context, classes=classes)
    blend = BLEND if spec.network.global_context else 0
    slices += of_logits if blend and not logits else 0
    size = math.isqrt(max(0, memory - slices) // cost) // divisor * divisor
    # Below three halos almost all that is computed would be thrown away.
    smallest = 3 * HALO // divisor * divisor
    if size < smallest:
        _refuse(seen, max(coarse, min(whole, slices + smallest**2 * cost)))
    tiles = _count(height, size, HALO, divisor) * _count(width, size, HALO, divisor)
    needed = max(coarse, slices + size**2 * cost)
    return PredictPlan(size, HALO, tiles, needed, context=context, blend=blend, classes=classes)


def _of_context(context: ContextPlan | None, rules: InputRules, cost: int) -> int:
    """Memory of the coarse pass itself: what was reduced, found, is found anew; activations."""
    if context is None:
        return 0
    planes = [[n for i, n in enumerate(context.shape) if i != axis] for axis in context.axes]
    largest = max(math.prod(_padded(n, -1, rules) for n in plane) for plane in planes)
    return 3 * context.held + largest * cost


def _plan_blocks(
    seen: Volume, backend: Backend, *, spec: ModelSpec, memory: int, logits: bool, beside: int
) -> PredictPlan:
    """Of the blocks that fit, choose the one that computes the fewest voxels twice."""
    rules = input_rules(spec.network)
    depth, *plane = seen.shape
    classes = len(spec.labels)
    fixed = beside + _of_resampling(seen, classes)
    kept = classes * _FLOAT if logits or isinstance(seen, ResampledVolume) else 1
    blend = BLOCK_BLEND if spec.network.global_context else 0
    # The slab being run, its predecessor while it is moved on, what is made of it, and the labels
    # of the one before, which are being kept.
    per_slice = math.prod(plane) * (2 * seen.dtype.itemsize + kept + 1)
    cost = backend.bytes_per_pixel + _BLOCK_COPIES * _FLOAT + classes * _FLOAT
    found: list[tuple[int, int, PredictPlan]] = []
    least = None
    for z, side in _blocks(seen.shape, rules, spec):
        within = [min(side, _padded(n, 1, rules)) for n in plane]
        blocks = math.prod(
            _count(n, size, BLOCK_HALO, step)
            for n, size, step in zip(seen.shape, (z, side, side), rules.divisors, strict=True)
        )
        over = blend if blocks > 1 else 0
        slab = per_slice + (math.prod(plane) * 2 * classes * _FLOAT if over else 0)
        needed = fixed + min(z, depth) * slab + z * math.prod(within) * cost
        least = needed if least is None else min(least, needed)
        if needed > memory:
            continue
        plan = PredictPlan(
            side, BLOCK_HALO, blocks, needed, z, BLOCK_HALO, blend=over, classes=classes
        )
        found.append((blocks * z * math.prod(within), needed, plan))
    if not found:
        _refuse(seen, least or 0)
    return min(found, key=lambda entry: entry[:2])[2]


def _blocks(shape: Sequence[int], rules: InputRules, spec: ModelSpec) -> list[tuple[int, int]]:
    """Depth and side (height and width) that blocks may have."""
    wholes = [_padded(n, axis, rules) for axis, n in ((0, shape[0]), (1, max(shape[1:])))]
    if spec.network.global_context and spec.patch_size:
        # Such a network was fitted to so much context, and labels by it.
        fitted = (spec.patch_size[0], spec.patch_size[-1])
        least = [2 * BLOCK_HALO + step for step in rules.divisors]
        z, side = (
            min(whole, -(-max(n, a, b) // step) * step)
            for whole, n, a, b, step in zip(
                wholes, fitted, least, rules.least, rules.divisors, strict=False
            )
        )
        return [(z, side)]
    choices = []
    for whole, step, least_side in zip(wholes, rules.divisors, rules.least, strict=False):
        smallest = min(whole, max(least_side, -(-2 * BLOCK_HALO // step) * step + step))
        largest = min(whole, max(LARGEST_BLOCK, smallest))
        choices.append(range(smallest, largest + 1, step))
    return [(z, side) for z in choices[0] for side in choices[1]]


def _padded(n: int, axis: int, rules: InputRules) -> int:
    """An axis as the network needs it, if it goes through whole."""
    step = rules.divisors[axis]
    return max(rules.least[axis], -(-n // step) * step)


def _of_resampling(seen: Volume, classes: int) -> int:
    """Memory to read a slice on the model's grid and to bring logits back to the scan's."""
    if not isinstance(seen, ResampledVolume):
        return 0
    own, plane = math.prod(seen.source.shape[1:]), math.prod(seen.shape[1:])
    reading = max(READ_BYTES, own * seen.source.dtype.itemsize) + seen.dtype.itemsize * (
        _PLANE_COPIES * own + (seen.maps[0].taps + 1) * plane
    )
    taps = axes_back(seen)[0].taps
    back = classes * _FLOAT * (2 * plane + (taps + 1 + _PLANE_COPIES) * own)
    return reading + back


def _count(n: int, size: int, halo: int, divisor: int) -> int:
    """Tiles along an axis; see :func:`osteon.patches.tile_grid`."""
    if n <= size:
        return 1
    step = (size - 2 * halo) // divisor * divisor
    return 1 + math.ceil(math.ceil((n - size) / divisor) * divisor / step)


def _refuse(seen: Volume, needed: int) -> None:
    _, height, width = seen.shape
    raise UsageError(
        f"the scan's slices of {height} × {width} do not fit into the memory allowed",
        where=seen.path,
        mend=f"allow at least {needed / 2**20:.0f} MiB: --memory {-(-needed // 2**20)}MiB",
    )
