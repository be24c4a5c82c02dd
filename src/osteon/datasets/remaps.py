"""Which classes the values of a mask could stand for."""

from __future__ import annotations

from collections.abc import Iterable

from osteon.labels import BONE_PORES, IGNORE, LabelClass, LabelScheme

#: A mask with more different values is no label image (a grey image, or JPEG).
MOST_VALUES = 32
#: Masks whose values are all below this number classes directly, and may lack some of them.
_DIRECT = 16
#: Okabe–Ito colours after those of bone and pores.
_COLOURS = ((0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


def propose_scheme(masks: Iterable[frozenset[float]]) -> LabelScheme:
    """Propose the classes of a dataset from the values of its masks.

    Args:
        masks: The values that occur in each mask.

    Returns:
        As many classes as are needed: background, bone, pores, class3 …
    """
    direct: set[float] = set()
    count = 2
    seen: set[float] = set()
    for values in masks:
        seen |= values
        kept = values - {IGNORE} if _ignores(values) else values
        if max(kept, default=0) < _DIRECT:
            # Together: 0 and 2 in one mask and 1 in another number three classes.
            direct |= kept
        else:
            count = max(count, len(kept | {0}))
    count = max(count, len(direct | {0}))
    if not seen - {0}:
        count = len(BONE_PORES)
    more = tuple(
        LabelClass(f"class{i}", i, _COLOURS[(i - 3) % len(_COLOURS)]) for i in range(3, count)
    )
    return LabelScheme((*BONE_PORES.classes[:count], *more), BONE_PORES.protocol)


def propose_remap(values: Iterable[float], scheme: LabelScheme) -> dict[str, str]:
    """Propose what the values of one mask stand for: in ascending order.

    Args:
        values: The values that occur in it.
        scheme: The classes.

    Returns:
        A manifest's remap; empty where none is needed, or where none suggests itself.
    """
    found = frozenset(values)
    known = set(range(len(scheme)))
    if found <= known:
        return {}
    ignored = {f"{IGNORE}": "ignore"} if _ignores(found) else {}
    kept = found - {IGNORE} if ignored else found
    if kept <= known:
        return ignored
    # 0 is the background, even where a mask has none of it.
    if len(kept | {0}) > len(scheme):
        return {}
    ranks = {value: number for number, value in enumerate(sorted(kept | {0}))}
    return {f"{v:g}": scheme.names[n] for v, n in ranks.items() if v != n} | ignored


def _ignores(values: frozenset[float]) -> bool:
    """Whether 255 marks what is not labelled: two classes or more are numbered without gaps."""
    rest = values - {IGNORE}
    return len(rest) < len(values) and len(rest) >= 2 and rest == set(range(len(rest)))


def as_toml(remap: dict[str, str]) -> str:
    """Write a remap as in the manifest.

    Args:
        remap: The remap.
    """
    return "remap = { " + ", ".join(f'"{k}" = "{v}"' for k, v in remap.items()) + " }"
