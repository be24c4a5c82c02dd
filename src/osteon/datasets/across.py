"""Comparing scans with each other: the same slice twice, one specimen under two names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from osteon.datasets.findings import Finding
from osteon.datasets.look import Look

#: Thumbnails that correlate by more than this show the same thing.
SAME = 0.999
#: A scan whose sampled slices look, in so large a share, like another's is probably that one.
SHARE = 0.1
#: Entries of a SkyScan log that together name one acquisition.
_ACQUISITION = ("Filename Prefix", "Study Date and Time")


def compare_scans(looks: list[Look]) -> Iterator[Finding]:
    """Look for data that would leak from training into validation.

    Args:
        looks: What was seen of each scan.

    Yields:
        Errors and warnings.
    """
    yield from _alike_names(looks)
    yield from _twice_within(looks)
    places: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for number, seen in enumerate(looks):
        for z, digest in enumerate(seen.hashes):
            if digest is not None:
                places[digest].append((number, z))
    shared: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for same in places.values():
        for (a, z), (b, w) in combinations(same, 2):
            if a != b:
                shared[a, b].append((z, w))
    for a, b in combinations(range(len(looks)), 2):
        if (a, b) in shared:
            yield _shared(looks[a], looks[b], shared[a, b])
        elif looks[a].pair.row.specimen != looks[b].pair.row.specimen:
            yield from _alike(looks[a], looks[b])


def _shared(a: Look, b: Look, slices: list[tuple[int, int]]) -> Finding:
    z, w = slices[0]
    one, other = a.pair.name, b.pair.name
    what = f"{len(slices)} slice(s) occur in both scans, such as {z} of {one} and {w} of {other}"
    if a.pair.row.specimen == b.pair.row.specimen:
        return Finding(
            "warning",
            "slices-in-two-scans",
            f"{one}, {other}",
            what,
            "remove one of them: they count twice",
        )
    return Finding(
        "error",
        "slices-in-two-scans",
        f"{one}, {other}",
        f"{what}, which are said to be different specimens "
        f"({a.pair.row.specimen}, {b.pair.row.specimen}): a network would be tested on what it "
        "learned",
        "remove one of them, or give both the same specimen",
    )


def _twice_within(looks: list[Look]) -> Iterator[Finding]:
    for seen in looks:
        first: dict[bytes, int] = {}
        for z, digest in enumerate(seen.hashes):
            if digest is not None and first.setdefault(digest, z) != z:
                yield Finding(
                    "warning",
                    "slice-twice",
                    seen.pair.name,
                    f"slice {z} is the same as slice {first[digest]} (there may be more)",
                    "export the scan again, or remove the copies",
                )
                break


def _alike(a: Look, b: Look) -> Iterator[Finding]:
    pair = f"{a.pair.name}, {b.pair.name}"
    specimens = f"{a.pair.row.specimen} and {b.pair.row.specimen}"
    mend = "if they are one specimen, give both the same name of specimen"
    logs = [[s.pair.image.provenance.get(key) for key in _ACQUISITION] for s in (a, b)]
    if all(logs[0]) and logs[0] == logs[1]:
        yield Finding(
            "warning",
            "one-specimen-two-names",
            pair,
            f"both scans come from one acquisition by their logs ({', '.join(map(str, logs[0]))}), "
            f"and are said to be the specimens {specimens}",
            mend,
        )
        return
    if not (a.thumbnails and b.thumbnails):
        return
    alike = np.array(a.thumbnails) @ np.array(b.thumbnails).T > SAME
    share = max(float(alike.any(axis=axis).mean()) for axis in (0, 1))
    if share >= SHARE:
        yield Finding(
            "warning",
            "one-specimen-two-names",
            pair,
            f"{100 * share:.0f} % of the sampled slices of one scan look the same as slices of the "
            f"other, and they are said to be the specimens {specimens}",
            mend,
        )


def _alike_names(looks: list[Look]) -> Iterator[Finding]:
    spelled: dict[str, set[str]] = defaultdict(set)
    for seen in looks:
        specimen = seen.pair.row.specimen
        spelled[re.sub(r"[\s_\-.]+", "", specimen).casefold()].add(specimen)
    for names in spelled.values():
        if len(names) > 1:
            listed = ", ".join(f"'{name}'" for name in sorted(names))
            yield Finding(
                "warning",
                "one-specimen-two-names",
                "specimen",
                f"these names of specimens differ in spelling alone: {listed}",
                "if they are one specimen, spell it alike: otherwise it can be on both sides of a "
                "split",
            )
