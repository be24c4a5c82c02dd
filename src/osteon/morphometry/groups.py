"""The measures, in groups that share their work. Each group takes a bone and gives its figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from osteon.morphometry.bone import Bone
from osteon.morphometry.fabric import fabric
from osteon.morphometry.model_index import structure_model_index
from osteon.morphometry.ridge import Mask
from osteon.morphometry.sections import Section
from osteon.morphometry.sections import sections as slice_by_slice
from osteon.morphometry.surface import surface_area
from osteon.morphometry.thickness import Thickness, local_thickness, mid_axes
from osteon.morphometry.topology import euler_number, purify
from osteon.morphometry.values import NOT_RESOLVED, Figure
from osteon.tables.measures import MEASURES

Figures = dict[str, Figure]
Group = Callable[[Bone], Figures]

#: Voxels that a canal must be wide to be seen whole (docs/labelling.md).
CANAL_VOXELS = 3
_FILLS = "the structure fills the region, so that it has no thickness"
_NONE = "there is no {} compartment"
_DOUBTED = "where bone is dense it says little of rods and plates (docs/morphometry.md)"


def volumes(bone: Bone) -> Figures:
    """TV, BV and their ratio: counted voxels."""
    total, solid = _count(bone.inside(bone.outline)), _count(bone.inside(bone.bone))
    voxel, figure = bone.grid.voxel, bone.grid.figure
    return {
        "tv": figure("tv", total * voxel),
        "bv": figure("bv", solid * voxel),
        "compactness": figure("compactness", solid / total if total else None),
    }


def surfaces(bone: Bone) -> Figures:
    """BS and BS/BV."""
    if min(bone.bone.shape) < 2:
        return _missing(bone, "surfaces", "the region is one voxel thick")
    area = surface_area(bone.bone, bone.grid.spacing, within=bone.region)
    solid = _count(bone.inside(bone.bone)) * bone.grid.voxel
    figure = bone.grid.figure
    return {
        "bs": figure("bs", area),
        "bs-bv": figure("bs-bv", area / solid if solid else None, "" if solid else "no bone"),
    }


def sections(bone: Bone) -> Figures:
    """Areas and moments, means over the slices that the bone is in."""
    return section_figures(bone, slices_of(bone))


def slices_of(bone: Bone) -> list[Section]:
    """Measure each slice of a bone within the region."""
    compartments = bone.compartments
    if compartments is not None and bone.region is not None:
        compartments = np.where(bone.region, compartments, 0).astype(np.uint8)
    return slice_by_slice(
        bone.inside(bone.bone),
        bone.inside(bone.outline),
        bone.grid.spacing,
        compartments=compartments,
        first=bone.first,
    )


def section_figures(bone: Bone, found: list[Section]) -> Figures:
    """Average the measures of slices.

    Args:
        bone: Gives the units, and whether compartments are told apart.
        found: The slices; at least one.
    """
    figure = bone.grid.figure

    def mean(values: list[float]) -> float | None:
        return float(np.mean(values)) if values else None

    total = mean([s.total for s in found])
    cortex = mean([s.cortex for s in found if s.cortex is not None])
    solid = mean([s.cortex_bone for s in found if s.cortex_bone is not None])
    marrow = mean([s.marrow for s in found if s.marrow is not None])
    note = "" if cortex is not None else _NONE.format("cortical")
    return {
        "tt-ar": figure("tt-ar", total),
        "b-ar": figure("b-ar", mean([s.bone for s in found])),
        "ct-ar": figure("ct-ar", cortex, note),
        "ct-b-ar": figure("ct-b-ar", solid, note),
        "ct-ar-tt-ar": figure("ct-ar-tt-ar", cortex / total if cortex and total else cortex, note),
        "ma-ar": figure("ma-ar", marrow, note),
        "imax": figure("imax", mean([s.largest for s in found])),
        "imin": figure("imin", mean([s.smallest for s in found])),
        "j": figure("j", mean([s.polar for s in found])),
    }


def trabecular(bone: Bone) -> Figures:
    """BV/TV, Tb.Th, Tb.Sp and Tb.N as BV/TV ÷ Tb.Th, in the trabecular compartment.

    Thicknesses, which take long, only where they are asked for.
    """
    whole = bone.trabecular
    total = _count(bone.inside(whole))
    if total == 0:
        return _missing(bone, "trabecular", _NONE.format("trabecular"))
    solid = _count(bone.inside(whole & bone.bone))
    figure, share = bone.grid.figure, solid / total
    out = {
        "tb-tv": figure("tb-tv", total * bone.grid.voxel),
        "bv-tv": figure("bv-tv", share),
    }
    if _asked(bone, "tb-th", "tb-n-ratio"):
        thick = _thickness(bone, whole & bone.bone, "tb-th", out)
        number = share / thick if thick else None
        out["tb-n-ratio"] = figure("tb-n-ratio", number, "" if number else "Tb.Th is missing")
    if _asked(bone, "tb-sp"):  # the widest spheres, and so most of the time
        _thickness(bone, whole & ~bone.bone, "tb-sp", out)
    return out


def _asked(bone: Bone, *starts: str) -> bool:
    """Whether a measure whose name starts so is wanted."""
    chosen = bone.settings.measures
    return chosen is None or any(name.startswith(starts) for name in chosen)


def _thickness(bone: Bone, mask: Mask, name: str, out: Figures) -> float | None:
    """Put mean, SD and largest into ``out``; return the mean if it is resolved."""
    figure = bone.grid.figure
    keys = [key for key in (name, f"{name}-sd", f"{name}-max") if key in MEASURES]
    values = bone.thickness(mask, name)
    if values is None or values.size == 0:
        note = _FILLS if values is None else "there is none in the region"
        out.update({key: figure(key, None, note) for key in keys})
        return None
    found = Thickness.of(values)
    coarsest = max(bone.grid.spacing)
    if found.mean < bone.settings.resolved_voxels * coarsest:
        note = f"{NOT_RESOLVED}: below {bone.settings.resolved_voxels:g} voxels in the mean"
        out.update({key: figure(key, None, note) for key in keys})
        return None
    for key, value in zip(keys, (found.mean, found.sd, found.largest), strict=False):
        out[key] = figure(key, value)
    return found.mean


def spacing(bone: Bone) -> Figures:
    """Tb.N, direct: 1 / mean thickness of the space between the mid-axes of trabeculae."""
    whole = bone.trabecular
    if not bone.inside(whole).any():
        return _missing(bone, "spacing", _NONE.format("trabecular"))
    working = bone.grid.working
    between = whole & ~mid_axes(whole & bone.bone, working)
    if between.all():
        return _missing(bone, "spacing", "there are no trabeculae")
    values = local_thickness(between, working)[bone.inside(between)]
    if values.size == 0:
        return _missing(bone, "spacing", "there is no space between mid-axes")
    mean = float(values.mean(dtype=np.float64)) * min(bone.grid.spacing)
    return {"tb-n": bone.grid.figure("tb-n", 1 / mean)}


def connectivity(bone: Bone) -> Figures:
    """Conn.D, and the Euler number it is made of."""
    region = bone.inside(bone.trabecular)
    total = _count(region)
    if total == 0:
        return _missing(bone, "connectivity", _NONE.format("trabecular"))
    box = _box(region)
    region = region[box]
    pure = purify(bone.bone[box] & region)
    found = euler_number(pure.mask)
    upright = bool(region.all())
    number = found.corrected if upright else float(found.number)
    note = "" if upright else "without Δχ: the region is no upright box"
    solid = _count(pure.mask) + pure.removed - pure.filled
    figure = bone.grid.figure
    return {
        "conn-d": figure("conn-d", (1 - number) / (total * bone.grid.voxel), note),
        "euler": figure("euler", float(found.number)),
        "particles": figure("particles", pure.removed / solid if solid else None),
    }


def anisotropy(bone: Bone) -> Figures:
    """DA from 0 to 1, and as a ratio."""
    region = bone.inside(bone.trabecular)
    if not region.any():
        return _missing(bone, "anisotropy", _NONE.format("trabecular"))
    found = fabric(bone.bone, bone.grid.working, within=region)
    if found is None:
        return _missing(bone, "anisotropy", "there is too little surface of bone")
    figure = bone.grid.figure
    return {"da": figure("da", found.degree), "da-ratio": figure("da-ratio", found.ratio)}


def model_index(bone: Bone) -> Figures:
    """SMI of trabecular bone."""
    region = bone.inside(bone.trabecular)
    if not region.any():
        return _missing(bone, "model_index", _NONE.format("trabecular"))
    found = structure_model_index(bone.bone, bone.grid.working, within=region)
    note = "there is too little surface of bone" if found is None else _DOUBTED
    return {"smi": bone.grid.figure("smi", found, note)}


def cortical(bone: Bone) -> Figures:
    """Ct.Th: local thickness of the cortex, its pores filled."""
    if not bone.inside(bone.cortical).any():
        return _missing(bone, "cortical", _NONE.format("cortical"))
    out: Figures = {}
    _thickness(bone, bone.cortical, "ct-th", out)
    return out


def porosity(bone: Bone) -> Figures:
    """Ct.Po, where canals are wide enough to be seen."""
    cortex = bone.inside(bone.cortical)
    total = _count(cortex)
    if total == 0:
        return _missing(bone, "porosity", _NONE.format("cortical"))
    least = bone.settings.narrowest_canal_um / CANAL_VOXELS
    if not bone.grid.known or max(bone.grid.spacing) > least:
        size = f"need voxels of {least:.3g} µm"
        canal = f"canals of {bone.settings.narrowest_canal_um:g} µm {size}"
        return _missing(bone, "porosity", f"{NOT_RESOLVED}: {canal}")
    share = _count(cortex & ~bone.bone) / total
    return {"ct-po": bone.grid.figure("ct-po", share, "pores from one voxel")}


def mineral(bone: Bone) -> Figures:
    """TMD of bone without the voxels at its surface, which hold something else in part."""
    if bone.density is None:
        return _missing(bone, "mineral", "there is no scan in mgHA/cm³")
    core = bone.bone.copy()
    for axis in range(3):
        lines = np.moveaxis(core, axis, 0)
        solid = np.moveaxis(bone.bone, axis, 0)
        lines[1:] &= solid[:-1]
        lines[:-1] &= solid[1:]
    values = bone.density[bone.inside(core)]
    if values.size == 0:
        return _missing(bone, "mineral", f"{NOT_RESOLVED}: all bone is at its surface")
    return {"tmd": bone.grid.figure("tmd", float(values.mean(dtype=np.float64)))}


def _missing(bone: Bone, group: str, note: str) -> Figures:
    names = [row.name for row in MEASURES if row.capabilities["group"] == group]
    return {name: bone.grid.figure(name, None, note) for name in names}


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    found = []
    for axis in range(3):
        at = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        found.append(slice(int(at[0]), int(at[-1]) + 1))
    return found[0], found[1], found[2]
