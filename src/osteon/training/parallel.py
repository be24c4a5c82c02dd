"""Several processes that fit one network: who they are, and how they agree.

Each process has one device and the same weights; a batch is shared out among them and their
gradients are averaged (distributed data parallel). Process 0 alone writes files, tells of the
progress and decides; the others follow. Processes are started by ``training.devices``, by
``torchrun`` or by SLURM's ``srun``; all say who they are in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch import distributed

from osteon.backends.precision import choose_device
from osteon.errors import UsageError

#: How long a process waits for the others: process 0 may be reading large scans meanwhile.
PATIENCE = timedelta(hours=12)

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Which of the processes this one is.

    Attributes:
        rank: Its number, from 0.
        world: How many there are.
        local_rank: Its number on its machine, from 0; also its GPU's.
        local_world: How many there are on a machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1

    @property
    def leads(self) -> bool:
        """Whether it writes files and decides."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """How many machines there are."""
        return max(1, self.world // self.local_world)


ALONE = Place()


def place(environment: Mapping[str, str] | None = None) -> Place:
    """Read from the environment which process this is.

    Args:
        environment: The environment; None: this process's.

    Returns:
        The place; of a single process where nothing is said.

    Raises:
        UsageError: If what is said cannot be understood.
    """
    env = os.environ if environment is None else environment
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if "RANK" not in env or "WORLD_SIZE" not in env:
        if "SLURM_STEP_ID" not in env or env.get("SLURM_NTASKS", "1") == "1":
            return ALONE
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
    try:
        rank, world = int(env[names[0]]), int(env[names[1]])
        local_rank = int(env.get(names[2], rank))
        local_world = int(env.get(names[3], world))
    except (KeyError, ValueError):
        raise UsageError(
            "the environment does not say which process of a fit this is",
            where=", ".join(f"{name}={env.get(name)}" for name in names),
            mend="start it by torchrun, or by srun with --ntasks-per-node",
        ) from None
    if not (0 <= rank < world and 0 <= local_rank < local_world <= world):
        raise UsageError(
            f"process {rank} of {world} ({local_rank} of {local_world} here) is impossible",
            where=", ".join(names),
        )
    return Place(rank, world, local_rank, local_world)


def join(where: Place, device: torch.device) -> None:
    """Meet the other processes; does nothing for a single one or when they have met.

    Args:
        where: The place of this process.
        device: Its device.

    Raises:
        UsageError: If the environment does not say where to meet.
    """
    if where.world == 1 or distributed.is_initialized():
        return
    if "MASTER_ADDR" not in os.environ and "SLURM_STEP_ID" in os.environ:
        slurm = SLURMEnvironment(auto_requeue=False)
        os.environ["MASTER_ADDR"] = slurm.main_address
        os.environ["MASTER_PORT"] = str(slurm.main_port)
    if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
        raise UsageError(
            "the environment does not say where the processes of the fit meet",
            where="MASTER_ADDR, MASTER_PORT",
            mend="start it by torchrun or srun",
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        rank=where.rank,
        world_size=where.world,
        timeout=PATIENCE,
    )


def device_of(where: Place) -> torch.device:
    """Choose the device of a process: a GPU of its own where there are GPUs.

    Args:
        where: The place of the process.

    Returns:
        The device.

    Raises:
        UsageError: If there are fewer GPUs than processes on this machine.
    """
    if where.world > 1 and torch.cuda.is_available():
        return choose_device(f"cuda:{where.local_rank}")
    return choose_device("auto")


def meet() -> Place:
    """Find out which process this is and meet the others.

    Returns:
        The place of this process.

    Raises:
        UsageError: As :func:`place` and :func:`join`.
    """
    where = place()
    join(where, device_of(where))
    return where


def agree(where: Place, decide: Callable[[], T]) -> T:
    """Let process 0 find something out and tell it to all.

    Args:
        where: The place of this process.
        decide: Called in process 0 alone.

    Returns:
        What it returned there.

    Raises:
        Exception: What it raised there; the same in all processes.
    """
    if where.world == 1:
        return decide()
    box: list[Any] = [None, None]
    if where.leads:
        try:
            box[0] = decide()
        except Exception as error:  # told to the others, or they would wait for ever
            box[1] = error
    distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    if box[1] is not None:
        raise box[1]
    result: T = box[0]
    return result


def total(where: Place, values: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over all processes.

    Args:
        where: The place of this process.
        values: A tensor on the CPU; not changed.

    Returns:
        The sum, the same in all processes.
    """
    if where.world == 1:
        return values
    summed = values.clone()
    distributed.all_reduce(summed)
    return summed


def same_buffers(where: Place, network: torch.nn.Module) -> None:
    """Give all processes the buffers of process 0: each has seen other patches.

    Args:
        where: The place of this process.
        network: The network; its buffers (statistics of batch normalisation) are replaced.
    """
    if where.world > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


class Processes(ClusterEnvironment):
    """The same for Lightning.

    Args:
        where: The place of this process.
    """

    def __init__(self, where: Place):
        self._where = where

    @property
    def creates_processes_externally(self) -> bool:
        """They are there already."""
        return True

    @property
    def main_address(self) -> str:
        """Where process 0 is."""
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        """Its port."""
        return int(os.environ.get("MASTER_PORT", "0"))

    @staticmethod
    def detect() -> bool:
        """It is chosen by name, never detected."""
        return False

    def world_size(self) -> int:
        """How many processes there are."""
        return self._where.world

    def set_world_size(self, size: int) -> None:
        """It does not change."""

    def global_rank(self) -> int:
        """Number of this process."""
        return self._where.rank

    def set_global_rank(self, rank: int) -> None:
        """It does not change."""

    def local_rank(self) -> int:
        """Its number on its machine."""
        return self._where.local_rank

    def node_rank(self) -> int:
        """Number of its machine."""
        return self._where.rank // self._where.local_world
