"""The one way to a Dask cluster: its library, its scheduler, its client."""

from __future__ import annotations

import logging
from typing import Any

from osteon.errors import DependencyError, UsageError

#: Seconds in which a scheduler must answer.
CONNECT_SECONDS = 10
#: Workers that a task may take down with it before that counts as its fault.
DEATHS = 3


def dask_library() -> Any:
    """Return the module ``distributed``, set up for osteon.

    Raises:
        DependencyError: If Dask is not installed.
    """
    try:
        import dask
        import distributed
    except ImportError:
        raise DependencyError(
            "spreading work over workers needs Dask",
            where="--workers, --dask",
            mend='pip install "osteon[cluster]"',
        ) from None
    # Its remarks on workers that end slowly are for developers; what matters is told as an error.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    dask.config.set({"distributed.scheduler.allowed-failures": DEATHS - 1})
    return distributed


def connect(address: str) -> Any:
    """Return a client of a running scheduler; the caller closes it.

    Args:
        address: Such as ``tcp://node7:8786``.

    Raises:
        DependencyError: If Dask is not installed.
        UsageError: If the scheduler does not answer.
    """
    try:
        return dask_library().Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the Dask scheduler cannot be reached: {error}",
            where=f"--dask {address}",
            mend="give the address that `dask scheduler` prints, such as tcp://node7:8786, and "
            "check that it runs there",
        ) from error


def local_cluster(workers: int) -> Any:
    """Start worker processes on this machine, each doing one task at a time; the caller closes it.

    Args:
        workers: Their number.

    Raises:
        DependencyError: If Dask is not installed.
    """
    return dask_library().LocalCluster(
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None,
        memory_limit=0,
    )  # fmt: skip
