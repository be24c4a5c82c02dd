"""The processes of a fit on several devices of one machine: started, watched and ended together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO

from osteon.errors import ExitCode, OsteonError, UsageError

_VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
#: How long the other processes may take to end by themselves, and how long the first may hang in
#: an exchange with one that has ended, in seconds.
END_SECONDS, HANG_SECONDS = 60.0, 60.0
#: How long one that has failed may take to say so, after an exchange with it was cut off.
FAIL_SECONDS = 10.0
_POLL_SECONDS = 0.5


def follows() -> bool:
    """Whether this is one of several processes of a fit that another one leads."""
    rank = os.environ.get("RANK") or (
        os.environ.get("SLURM_PROCID") if "SLURM_STEP_ID" in os.environ else None
    )
    return rank not in (None, "0")


@contextmanager
def together(devices: int | str, arguments: Sequence[str]) -> Iterator[None]:
    """Run a block as the first of several processes that fit one network.

    Each of the others runs the same command with its number in the environment (RANK,
    WORLD_SIZE …, as ``torchrun`` has them), and says nothing. Does nothing for a single device,
    or where ``torchrun`` or ``srun`` has started all processes.

    Args:
        devices: How many: GPUs or, on a machine without, processes; ``all`` GPUs.
        arguments: Arguments of the command, without the program.

    Raises:
        UsageError: If there are not so many GPUs.
        OsteonError: If another process failed.
    """
    if "RANK" in os.environ or "SLURM_STEP_ID" in os.environ or devices == 1:
        yield
        return
    count = _count(devices)
    if count == 1:
        yield
        return
    common = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
    }
    with ExitStack() as stack:
        others = _Others(stack)
        before = {name: os.environ.get(name) for name in _VARIABLES}
        stack.callback(_restore, before)
        for rank in range(1, count):
            others.start(arguments, {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        os.environ.update(common, RANK="0", LOCAL_RANK="0")
        others.watch()
        try:
            yield
        except (OsteonError, KeyboardInterrupt):
            others.end()
            raise
        except BaseException:  # an exchange was cut off because another process has failed
            others.end(patience=FAIL_SECONDS)
            others.refuse_failure()
            raise
        others.finish()
        others.refuse_failure()


def _count(devices: int | str) -> int:
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if devices == "all":
        return max(1, gpus)
    count = int(devices)
    if gpus and count > gpus:
        raise UsageError(
            f"{count} devices were asked for, and this machine has {gpus} GPU{'s' * (gpus > 1)}",
            where="training.devices",
            mend=f"choose at most {gpus}",
        )
    return count


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class _Others:
    """The other processes of a fit."""

    def __init__(self, stack: ExitStack):
        self._stack = stack
        self._started: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
        self._over = threading.Event()

    def start(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        said = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", "osteon", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        self._started.append((process, said))
        self._stack.callback(self._kill, process)

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()
        process.wait()

    def watch(self) -> None:
        """End this process if it hangs in an exchange with one that has failed."""
        thread = threading.Thread(target=self._look, name="osteon-others", daemon=True)
        thread.start()
        self._stack.callback(self._over.set)

    def _look(self) -> None:
        while not self._over.wait(_POLL_SECONDS):
            if self._failed() is None:
                continue
            # An exchange notices a lost partner by itself, most of the time.
            if self._over.wait(HANG_SECONDS):
                return
            failure = self._failure() or OsteonError("another process of the fit failed")
            print(f"error: {failure}", file=sys.stderr, flush=True)
            for process, _ in self._started:
                process.kill()
            os._exit(int(failure.exit_code))

    def _failed(self) -> int | None:
        for number, (process, _) in enumerate(self._started, start=1):
            if process.poll() not in (None, 0):
                return number
        return None

    def finish(self) -> None:
        """Wait for the others, which end at the same step."""
        self._over.set()
        for process, _ in self._started:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def end(self, *, patience: float = _POLL_SECONDS) -> None:
        """End the others, after this one has failed or was interrupted."""
        self._over.set()
        deadline = time.monotonic() + patience
        for process, _ in self._started:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.terminate()

    def refuse_failure(self) -> None:
        """Raise if another process failed by itself."""
        failure = self._failure()
        if failure is not None:
            raise failure from None

    def _failure(self) -> OsteonError | None:
        number = self._failed()
        if number is None:
            return None
        process, said = self._started[number - 1]
        if process.returncode < 0:
            why = f"it was ended by signal {-process.returncode}"
        else:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            why = [*lines[-1:], f"exit code {process.returncode}", *told][-1 if told else 0]
        failure = OsteonError(
            f"process {number} of the fit failed: {why}",
            mend="the model and the checkpoint so far are kept: go on with --resume",
        )
        if process.returncode in list(ExitCode):  # its own, for scripts
            failure.exit_code = ExitCode(process.returncode)
        return failure
