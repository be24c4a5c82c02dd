"""The choice of arithmetic: by a clock that the test moves, remembered, never guessed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from osteon.backends import precision
from osteon.backends.precision import Arithmetic, candidates, choose_device, probe
from osteon.errors import OsteonWarning, UsageError
from osteon.formats.cache import VARIABLE

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
BF16_LAST, BF16_FIRST = Arithmetic("bf16", True), Arithmetic("bf16", False)
FP32_LAST, FP32_FIRST = Arithmetic("fp32", True), Arithmetic("fp32", False)


class Machine:
    """A network whose runs take as long as the test says; the first run of each takes longer."""

    def __init__(self, **seconds: float):
        self.now = 0.0
        self.seconds = seconds
        self.runs: list[Arithmetic] = []
        self.disturbed: Callable[[int], float] = lambda run: 0.0

    def __call__(self, arithmetic: Arithmetic) -> None:
        warm = arithmetic in self.runs
        self.runs.append(arithmetic)
        layout = "last" if arithmetic.channels_last else "first"
        took = self.seconds[f"{arithmetic.precision}_{layout}"] + self.disturbed(len(self.runs))
        self.now += took if warm else 100.0


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(precision, "_cpu_bf16", lambda: True)


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Arithmetic]:
    def run(machine: Machine, *, asked: str = "auto", purpose: str = "test") -> Arithmetic:
        clock = SimpleNamespace(perf_counter=lambda: machine.now)
        monkeypatch.setattr(precision, "time", clock)
        return probe(machine, CPU, asked, purpose=purpose)[0]

    return run


Probed = Callable[..., Arithmetic]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((1.0, 1.0, 1.0, 1.0), FP32_LAST),
        ((1.09, 1.0, 5.0, 5.0), FP32_LAST),  # within 10 %: the first of the list
        ((1.11, 1.0, 5.0, 5.0), FP32_FIRST),
        ((1.11, 1.09, 1.0, 5.0), FP32_FIRST),
        ((9.0, 9.0, 1.2, 1.0), BF16_FIRST),
        ((9.0, 9.0, 1.05, 1.0), BF16_LAST),
        ((1.0, 9.0, 0.95, 0.92), FP32_LAST),
    ],
)
def test_the_first_that_is_not_clearly_slower_is_taken(
    seconds: tuple[float, ...], expected: Arithmetic, probed: Probed
) -> None:
    names = ("fp32_last", "fp32_first", "bf16_last", "bf16_first")
    assert probed(Machine(**dict(zip(names, seconds, strict=True)))) == expected


def test_a_single_disturbed_run_does_not_matter(probed: Probed) -> None:
    machine = Machine(fp32_last=1.0, fp32_first=2.0, bf16_last=2.0, bf16_first=2.0)
    machine.disturbed = lambda run: 50.0 if run % 3 == 0 else 0.0
    assert probed(machine) == FP32_LAST


def test_a_precision_that_is_asked_for_is_kept(probed: Probed) -> None:
    machine = Machine(bf16_last=9.0, bf16_first=3.0, fp32_last=1.0, fp32_first=1.0)
    assert probed(machine, asked="bf16") == BF16_FIRST
    assert {a.precision for a in machine.runs} == {"bf16"}


EVEN = {"fp32_last": 1.0, "fp32_first": 2.0, "bf16_last": 2.0, "bf16_first": 2.0}
TURNED = {"fp32_last": 2.0, "fp32_first": 1.0, "bf16_last": 2.0, "bf16_first": 2.0}


def test_a_choice_is_remembered(probed: Probed) -> None:
    assert probed(Machine(**EVEN)) == FP32_LAST
    later = Machine(**TURNED)
    assert probed(later) == FP32_LAST
    assert later.runs == []


def test_what_is_remembered_is_of_one_purpose_and_one_precision(probed: Probed) -> None:
    probed(Machine(**EVEN))
    assert probed(Machine(**TURNED), purpose="other") == FP32_FIRST
    assert probed(Machine(**TURNED), asked="fp32") == FP32_FIRST
    assert probed(Machine(**TURNED)) == FP32_LAST


def test_another_number_of_threads_is_measured_anew(
    probed: Probed, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed(Machine(**EVEN))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert probed(Machine(**TURNED)) == FP32_FIRST


def test_other_candidates_are_measured_anew(
    probed: Probed, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed(Machine(**EVEN))
    monkeypatch.setattr(precision, "_cpu_bf16", lambda: False)
    assert probed(Machine(**TURNED)) == FP32_FIRST


@pytest.mark.parametrize("content", ["", "[]", "7", '{"x": 1}', "\0"])
def test_a_damaged_memory_is_measured_anew(content: str, probed: Probed, tmp_path: Path) -> None:
    probed(Machine(**EVEN))
    (store,) = tmp_path.rglob("probes.json")
    key = next(iter(json.loads(store.read_text())))
    for damaged in (content, json.dumps({key: content}), json.dumps({key: {"fp32": "fast"}})):
        store.write_text(damaged)
        assert probed(Machine(**TURNED)) == FP32_FIRST
    assert probed(Machine(**EVEN)) == FP32_FIRST  # and remembered again


def test_an_unwritable_cache_is_warned_of(
    probed: Probed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file"))
    with pytest.warns(OsteonWarning, match=r"OSTEON_CACHE_DIR.*\[probe-not-remembered\]"):
        assert probed(Machine(**TURNED)) == FP32_FIRST


_REMEMBER = """
import sys
from osteon.backends.precision import remember
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    remember(f"{sys.argv[1]} {number}", {"fp32": number})
"""


def test_two_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    many = 40
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _REMEMBER, name, str(many)],
            env={**os.environ, VARIABLE: str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # both at once
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    (store,) = tmp_path.rglob("probes.json")
    wanted = {f"{name} {i}": {"fp32": i} for name in ("one", "other") for i in range(many)}
    assert json.loads(store.read_text()) == wanted


def test_timings_are_told_for_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(**EVEN)
    monkeypatch.setattr(precision, "time", SimpleNamespace(perf_counter=lambda: machine.now))
    _, timings = probe(machine, CPU, "auto", purpose="record")
    assert timings == {
        "fp32, channels-last": 1.0,
        "fp32, channels-first": 2.0,
        "bf16, channels-last": 2.0,
        "bf16, channels-first": 2.0,
    }


# --- candidates and devices -------------------------------------------------------------------


def kinds(device: torch.device, asked: str = "auto") -> list[str]:
    return list(dict.fromkeys(a.precision for a in candidates(device, asked)))


def test_bf16_without_hardware_is_tried_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert kinds(CPU) == ["fp32", "bf16"]
    monkeypatch.setattr(precision, "_cpu_bf16", lambda: False)
    assert kinds(CPU) == ["fp32"]
    assert kinds(CPU, "bf16") == ["bf16"]


def test_fp16_on_the_cpu_is_refused() -> None:
    with pytest.raises(UsageError, match="fp16 is not supported on the CPU"):
        candidates(CPU, "fp16")


def test_gpus_try_half_precision_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert kinds(CUDA) == ["bf16", "fp16", "fp32"]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert kinds(CUDA) == ["fp16", "fp32"]
    assert kinds(MPS) == ["fp16", "fp32"]


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_the_arithmetic_is_what_it_is_called(name: str, dtype: torch.dtype) -> None:
    layer = torch.nn.Conv2d(1, 2, 3)
    with Arithmetic(name, False).autocast(CPU):
        assert layer(torch.zeros(1, 1, 8, 8)).dtype == dtype
    assert layer.weight.dtype == torch.float32


def gpus(monkeypatch: pytest.MonkeyPatch, *, cuda: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(0, False, "cpu"), (2, False, "cuda"), (0, True, "mps")]
)
def test_auto_takes_a_gpu_where_there_is_one(
    cuda: int, expected: str, monkeypatch: pytest.MonkeyPatch, *, mps: bool
) -> None:
    gpus(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device("auto") == torch.device(expected)
    assert choose_device("cpu") == CPU


def test_a_gpu_is_chosen_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, cuda=2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UsageError, match="no device 'cuda:2'"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "tpu", "", "cuda:-1", "meta", "xpu"])
def test_a_device_that_is_not_here_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch)
    with pytest.raises(UsageError, match=f"no device '{name}'") as caught:
        choose_device(name)
    assert "cpu" in str(caught.value.mend)
