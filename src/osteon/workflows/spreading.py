"""A prediction spread over processes of this machine or of a cluster, by Dask.

The command that was given (the driver) decides how a scan is labelled and puts that into the work
area beside the target; each task labels a part of the slices, reading what context it needs by
itself, and puts it there as a file of its own. The driver then writes the labels as ever. So a
worker that dies loses the part it was at, which another one takes, and a driver that dies loses
nothing that is on the disk.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osteon.backends import Backend
from osteon.errors import InputError, OsteonError, OsteonWarning, UsageError
from osteon.events import Reporter
from osteon.files import parse_memory
from osteon.formats import open_volume
from osteon.model_file import Model, load_model
from osteon.prediction import Elsewhere, Store, keep_part, prepare
from osteon.settings import PredictSettings
from osteon.workflows.dask_cluster import DEATHS, connect, dask_library, local_cluster
from osteon.workflows.opening import open_network, sized
from osteon.workflows.predicting_beside import wanted_of

#: Parts that each worker gets, so that one that is slow does not keep the others waiting ...
PARTS_PER_WORKER = 6
#: ... and the fewest slices of a part: its context is read once more by each.
LEAST_SLICES = 4
#: Seconds to wait for a sign of the workers before the driver looks whether it is to stop.
_PATIENCE = 1.0


@dataclass(frozen=True)
class Workers:
    """Who labels the parts of a scan.

    Attributes:
        count: Processes that are started on this machine; 0: none.
        address: Address of a running Dask scheduler, such as ``tcp://node7:8786``.
    """

    count: int = 0
    address: str | None = None

    def __post_init__(self) -> None:
        if self.count < 0 or (self.count > 0) == (self.address is not None):
            raise UsageError(
                "give either a number of workers of this machine or the address of a scheduler",
                where="--workers, --dask",
                mend="such as --workers 4, or --dask tcp://node7:8786",
            )


@dataclass(frozen=True)
class Task:
    """What a worker must know to label a part of a scan.

    Attributes:
        scan: The scan's absolute path, which all workers see.
        voxel_size: As for :func:`osteon.workflows.predict`.
        models: Absolute paths of the model files.
        settings: How it is predicted.
        area: The work area.
        identity: What the work area must be of.
        backend: The driver's backend, in words.
        part: First slice and the one after the last.
    """

    scan: Path
    voxel_size: float | None
    models: tuple[Path, ...]
    settings: PredictSettings
    area: Path
    identity: Mapping[str, Any]
    backend: str
    part: tuple[int, int]


def label_part(task: Task) -> tuple[int, int]:
    """Label a part of a scan into its work area. Runs in a worker.

    Args:
        task: What to do.

    Returns:
        The part.

    Raises:
        OsteonError: As :func:`osteon.workflows.predict`; and if the worker does not see the files.
    """
    _check_seen(task)
    models, backend = _network(task.models, task.settings)
    _check_alike(backend, task.backend)
    volume = sized(open_volume(task.scan), task.voxel_size)
    wanted = wanted_of(task.settings)
    layers = wanted.layers(len(models[0].spec.labels))
    with Store.joined(
        task.area, shape=volume.shape, identity=task.identity, layers=layers
    ) as store:
        # What there is to warn of was told by the command that was given.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OsteonWarning)
            job = prepare(
                models[0], volume, backend=backend, memory=parse_memory(task.settings.memory),
                wanted=wanted, reporter=Reporter(), store=store,
            )  # fmt: skip
        keep_part(job, store, slice(*task.part))
    return task.part


def _check_seen(task: Task) -> None:
    """Refuse a task whose files this worker does not see."""
    kinds = {
        "folder that the labels are written into": (task.area, "--out"),
        "scan": (task.scan, "the scan"),
        **{f"model file {path.name}": (path, "the model") for path in task.models},
    }
    for what, (path, which) in kinds.items():
        if not path.exists():
            raise InputError(
                f"the worker on {platform.node()} does not see the {what}",
                where=path,
                mend=f"put {which} on a disk that all workers share, under the same path; the same "
                "command then goes on from here",
            )


#: The network of the last task of this process: opening it takes longer than many a part.
_opened: dict[tuple[object, ...], tuple[list[Model], Backend]] = {}


def _network(paths: Sequence[Path], settings: PredictSettings) -> tuple[list[Model], Backend]:
    key = (*((p, p.stat().st_mtime_ns) for p in paths), settings.model_dump_json())
    if key not in _opened:
        _opened.clear()
        models = [load_model(path) for path in paths]
        _opened[key] = models, open_network(models, settings)
    return _opened[key]


def _check_alike(backend: Backend, asked: str) -> None:
    """The memory layout may differ from machine to machine; device and precision may not."""
    own, other = (text.split(", channels")[0] for text in (backend.description, asked))
    if own != other:
        raise UsageError(
            f"a worker would compute by '{own}', the command that was given by '{other}'",
            where="--workers, --dask",
            mend="give --device and --set precision=… that all machines have, such as --device "
            "cpu --set precision=fp32",
        )


def spread(whole: Task, workers: Workers, *, reporter: Reporter) -> Elsewhere:
    """Return what has the missing parts of a scan labelled by workers.

    Args:
        whole: The task of the whole scan.
        workers: Who they are.
        reporter: Told of them.

    Returns:
        A function of the missing ranges of slices that gives each part when it is finished, in any
        order, and None now and then; closing it ends the work.
    """

    def run(missing: Sequence[slice]) -> Generator[slice | None, None, None]:
        with _client(workers, reporter=reporter) as (client, count):
            yield from _finished(client, whole, divided(missing, count))

    return run


def divided(missing: Sequence[slice], workers: int) -> list[slice]:
    """Divide ranges of slices into parts for workers.

    Args:
        missing: Ranges, ascending.
        workers: Their number.

    Returns:
        Parts, ascending, that together are the ranges.
    """
    total = sum(gap.stop - gap.start for gap in missing)
    length = max(LEAST_SLICES, -(-total // (PARTS_PER_WORKER * max(workers, 1))))
    return [
        slice(start, min(start + length, gap.stop))
        for gap in missing
        for start in range(gap.start, gap.stop, length)
    ]


def _finished(
    client: Any, whole: Task, parts: Sequence[slice]
) -> Generator[slice | None, None, None]:
    from distributed import KilledWorker, wait

    tasks = [replace(whole, part=(part.start, part.stop)) for part in parts]
    waiting = {client.submit(label_part, task, pure=False) for task in tasks}
    try:
        while waiting:
            try:
                done = wait(  # type: ignore[no-untyped-call]
                    waiting, timeout=_PATIENCE, return_when="FIRST_COMPLETED"
                ).done
            except TimeoutError:
                yield None
                continue
            for future in done:
                waiting.discard(future)
                try:
                    yield slice(*future.result())
                except KilledWorker as error:
                    raise OsteonError(
                        f"{DEATHS} workers died over the same part of the scan",
                        where="--workers, --dask",
                        mend="they may have too little memory: give a smaller --memory or fewer "
                        "--workers; the same command goes on from here",
                    ) from error
    finally:
        client.cancel(list(waiting))


class _client:
    """The scheduler's client and the number of its workers, while a ``with`` statement lasts."""

    def __init__(self, workers: Workers, *, reporter: Reporter):
        self._workers, self._reporter = workers, reporter

    def __enter__(self) -> tuple[Any, int]:
        self._cluster = None
        address = self._workers.address
        if address is None:
            count = self._workers.count
            # One task at a time in each, which has its share of the processor's threads.
            self._cluster = local_cluster(count)
            self._client = dask_library().Client(self._cluster)
            self._reporter.message("predict", f"{count} worker processes on this machine")
            return self._client, count
        self._client = connect(address)
        count = len(self._client.scheduler_info(n_workers=-1)["workers"])
        self._reporter.message("predict", f"{count} workers at {address}")
        return self._client, count

    def __exit__(self, *error: object) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def own_threads(settings: PredictSettings, workers: Workers) -> PredictSettings:
    """Return the settings of a worker: processes of one machine share its threads.

    Args:
        settings: How the scan is predicted.
        workers: Who labels it.
    """
    if workers.count == 0 or settings.threads != "auto":
        return settings
    share = max(1, (os.cpu_count() or 1) // workers.count)
    return settings.model_copy(update={"threads": share})
