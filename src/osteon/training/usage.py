"""What a fit takes of the machine: memory, GPU, time."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(frozen=True)
class Usage:
    """What a fit took.

    Attributes:
        peak_memory: Largest resident memory of the process, in bytes.
        workers_memory: Largest resident memory of its worker processes together, in bytes, as
            sampled.
        gpu_memory: Largest memory of tensors on the GPU, in bytes; None without one.
        gpu_use: Mean use of the GPU, 0..1, as sampled; None where it cannot be asked.
    """

    peak_memory: int
    workers_memory: int
    gpu_memory: int | None
    gpu_use: float | None


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process(os.getpid()).memory_info().peak_wset)
    try:
        # Not ru_maxrss: on Linux a process begins with the peak of the one that started it.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        pass  # not Linux
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


@dataclass
class UsageMeter:
    """Samples what a fit takes.

    Args:
        device: What the network runs on.
    """

    device: torch.device
    _workers: int = 0
    _gpu: list[float] = field(default_factory=list)

    def sample(self) -> None:
        """Look at the worker processes and the GPU; takes some milliseconds."""
        import psutil

        held = 0
        for child in psutil.Process().children():
            try:
                held += child.memory_info().rss
            except psutil.Error:  # it has just ended
                continue
        self._workers = max(self._workers, held)
        if self.device.type == "cuda":
            try:
                self._gpu.append(torch.cuda.utilization(self.device) / 100)
            except (ModuleNotFoundError, RuntimeError):  # NVIDIA's library for it is missing
                return

    def usage(self) -> Usage:
        """Return what was taken so far."""
        gpu = self.device.type == "cuda"
        return Usage(
            peak_memory(),
            self._workers,
            torch.cuda.max_memory_allocated(self.device) if gpu else None,
            sum(self._gpu) / len(self._gpu) if self._gpu else None,
        )
