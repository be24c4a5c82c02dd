"""The data doctor: what is wrong with a dataset, in plain words, before a fit finds out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from osteon.datasets.across import compare_scans
from osteon.datasets.costs import Costs, estimate
from osteon.datasets.findings import Finding, ordered
from osteon.datasets.judging import of_error, of_image, of_labels
from osteon.datasets.look import Look, look
from osteon.datasets.manifest import Manifest, ScanRow
from osteon.datasets.masks import Pair, open_pair
from osteon.datasets.pores import METHOD
from osteon.datasets.splits import split
from osteon.errors import InputError, OsteonError, OsteonWarning
from osteon.events import Reporter
from osteon.labels import LabelScheme
from osteon.settings import FitSettings

#: What to do about the warnings that opening and reading scans can give.
_MENDS = {
    "colour-slices": "export the slices as 8- or 16-bit grey: colour takes three times the memory",
    "gap-in-numbering": "add the missing slices, or say contiguous = false in the manifest",
}
_GIB = 2**30


def check(
    manifest: Manifest,
    *,
    settings: FitSettings | None = None,
    costs: Costs | None = None,
    reporter: Reporter | None = None,
) -> list[Finding]:
    """Examine a dataset.

    Reads every slice of every scan and mask once, one at a time, and the samples for statistics
    and orientation again; keeps 16 bytes a slice and 64 small pictures a scan.

    Args:
        manifest: The dataset.
        settings: Settings of the fit that is planned; None: the defaults.
        costs: What its network takes for one patch; None: memory and time are not estimated.
        reporter: Told of the progress; where it is stopping, the rest is left out, which a
            finding says.

    Returns:
        The findings, errors first. A dataset without errors can be fitted.
    """
    settings = settings or FitSettings()
    reporter = reporter or Reporter()
    findings: list[Finding] = []
    opened: list[Pair] = []
    for row in manifest.scans:
        with _collected(row.name, findings):
            pair = _opened(manifest, row, findings)
        if pair is not None:
            opened.append(pair)
            findings += _at_opening(pair)
    total = sum(pair.image.shape[0] for pair in opened)
    looks: list[Look] = []
    with reporter.stage("check", total=total, unit="slice") as progress:

        def advance() -> bool:
            progress.advance()
            return not reporter.stopping

        for pair in opened:
            if reporter.stopping:
                break
            looks += _examine(pair, manifest.labels, settings, advance, findings)
    if reporter.stopping:
        findings.append(
            Finding("note", "stopped", _name(manifest), "the check was stopped: the rest is unseen")
        )
    findings += _classes(looks, manifest.labels, _name(manifest))
    findings += compare_scans(looks)
    findings += _plan(manifest, settings, looks, costs)
    return ordered(findings)


def _name(manifest: Manifest) -> str:
    return "dataset" if manifest.path is None else str(manifest.path)


class _collected:
    """Turns the warnings within into findings, one for each name."""

    def __init__(self, where: str, findings: list[Finding]):
        self._where, self._findings = where, findings
        self._catcher = warnings.catch_warnings(record=True)

    def __enter__(self) -> None:
        caught = self._catcher.__enter__()
        self._caught = [] if caught is None else caught
        warnings.simplefilter("always", OsteonWarning)

    def __exit__(self, *error: object) -> None:
        self._catcher.__exit__(None, None, None)
        places: dict[str, dict[str | None, str]] = {}
        for item in self._caught:
            if isinstance(item.message, OsteonWarning):
                of_name = places.setdefault(item.message.name, {})
                of_name.setdefault(item.message.where, item.message.text)
            else:
                warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
        for name, texts in places.items():
            self._add(name, texts)

    def _add(self, name: str, texts: dict[str | None, str]) -> None:
        # Reading tells again what opening told.
        for finding in [f for f in self._findings if f.name == name]:
            if finding.where == self._where or finding.where.startswith(f"{self._where}: "):
                self._findings.remove(finding)
        place, text = next(iter(texts.items()))
        where = self._where if place is None else f"{self._where}: {place}"
        times = f" (in {len(texts)} places)" if len(texts) > 1 else ""
        self._findings.append(Finding("warning", name, where, text + times, _MENDS.get(name, "")))


def _opened(manifest: Manifest, row: ScanRow, findings: list[Finding]) -> Pair | None:
    try:
        return open_pair(manifest, row)
    except OsteonError as error:
        findings.append(of_error("cannot-open", row.name, error))
        return None


def _at_opening(pair: Pair) -> Iterator[Finding]:
    name = pair.name
    if pair.labels is None:
        yield Finding("note", "no-mask", name, "the scan has no mask and is not learned from")
        return
    image, mask = pair.image.slice_numbers, pair.labels.mask.slice_numbers
    paired = pair.row.mask_slices == "all" and pair.image.shape == pair.labels.mask.shape
    if paired and image and mask and image != mask:
        z = next(i for i, (a, b) in enumerate(zip(image, mask, strict=True)) if a != b)
        yield Finding(
            "warning",
            "numbers-differ",
            name,
            f"scan and mask have {len(image)} slices each, numbered differently: slice {z} is "
            f"{image[z]} in the scan and {mask[z]} in the mask; they are paired in order",
            "number them alike, or look at the overlay",
        )
    if pair.row.derive_pores:
        yield Finding("note", "pores-derived", name, METHOD)
    if not pair.labelled:
        yield Finding(
            "error",
            "nothing-labelled",
            name,
            "no slice that is used has labels",
            "correct slices, mask_slices or mask_origin",
        )


def _examine(
    pair: Pair,
    scheme: LabelScheme,
    settings: FitSettings,
    advance: Callable[[], bool],
    findings: list[Finding],
) -> list[Look]:
    with _collected(pair.name, findings):
        try:
            seen = look(pair, scheme, advance)
        except InputError as error:
            findings.append(of_error("cannot-read", pair.name, error))
            return []
        findings += of_image(seen, settings)
        if pair.labels is not None:
            findings += of_labels(seen, scheme)
    return [seen]


def _classes(looks: list[Look], scheme: LabelScheme, where: str) -> Iterator[Finding]:
    usable = [s for s in looks if s.pair.labels is not None and s.counts.sum() > 0]
    if not usable:
        return
    for value, name in enumerate(scheme.names):
        lacking = [s.pair.name for s in usable if not s.counts[value]]
        if len(lacking) == len(usable):
            yield Finding(
                "error",
                "class-missing",
                where,
                f"no mask has any '{name}'",
                f"remove the class from [labels] of the manifest, or label {name}"
                + ("; or say derive_pores = true" if name == "pores" else ""),
            )
        elif lacking:
            yield Finding(
                "note",
                "class-missing-in-some",
                where,
                f"'{name}' does not occur in {', '.join(lacking)}, which is fine",
            )


def _plan(
    manifest: Manifest, settings: FitSettings, looks: list[Look], costs: Costs | None
) -> Iterator[Finding]:
    shapes = {s.pair.name: s.pair.labelled for s in looks if s.pair.labelled}
    if not shapes:
        if looks:
            yield Finding(
                "error",
                "no-labels",
                _name(manifest),
                "no scan has labels: there is nothing to learn from",
                "add masks to the manifest",
            )
        return
    try:
        made = split(manifest, settings.validation, seed=settings.seed, shapes=shapes)
    except OsteonError as error:
        yield of_error("cannot-split", _name(manifest), error)
        return
    for note in made.notes:
        yield Finding("note", "split", _name(manifest), note)
    slices = {part.scan: len(part.slices) for part in made.training}
    yield _takes(settings, looks, slices, costs)


def _takes(
    settings: FitSettings, looks: list[Look], slices: dict[str, int], costs: Costs | None
) -> Finding:
    bytes_needed = sum(
        slices[s.pair.name]
        * int(np.prod(s.pair.image.shape[1:]))
        * (s.pair.image.dtype.itemsize + 1)
        for s in looks
        if s.pair.name in slices
    )
    found = estimate(settings, slices=sum(slices.values()), cache_bytes=bytes_needed, costs=costs)
    text = f"{found.patches_per_epoch} patches an epoch, {found.steps} steps in all"
    if found.memory_bytes is not None and found.seconds is not None:
        text += (
            f"; a fit takes about {found.memory_bytes / _GIB:.1f} GiB of memory and, on this "
            f"processor in single precision, {_duration(found.seconds)} (within a factor of three; "
            "much less on a GPU)"
        )
    reading = sum(s.seconds for s in looks)
    text += f". Reading all slices once took {_duration(reading)}"
    return Finding(
        "note",
        "what-a-fit-takes",
        "fit",
        text,
        "less memory: training.batch_size; less time: training.max_minutes or training.epochs",
    )


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"
