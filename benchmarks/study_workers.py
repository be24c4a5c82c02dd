"""A study of many small fits on Dask workers that are killed, beside the same fits one by one.

    python benchmarks/study_workers.py [--architectures unet unetplusplus linknet]
        [--sizes 32 64 96] [--seeds 5] [--alone 1] [--workers 2] [--work DIR] [--json]

A grid like the paper's benchmark, of tiny networks, patches and scans: architectures × patch sizes
× seeds, 45 fits by default. First the fits of the first seed (``--alone``: of the first few seeds)
are run one after another without Dask. Then the whole study is run on local Dask workers, which are
processes of one thread each. When a third of it is finished, a worker gets SIGKILL while its fit
goes on; after two thirds another gets it together with its fit, as when a machine goes down.
Printed are how many runs finished and failed, how many were gone on with by another process,
whether any epoch that was on the disk was learned again, and whether scores of runs and scans equal
those of the fits one by one. Exit code 1 if not all is as it should be.

With --work the same command goes on where it was stopped or killed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

#: Columns that say how long something took and how much memory, not what came out.
COSTS = {"seconds", "seconds_per_epoch", "prediction_mvoxel_per_second", "peak_memory_bytes"}
EPOCHS = 3
#: Shares of the runs that are finished when a worker is killed: alone, and with its fit.
KILLS = {"a worker": 1 / 3, "a worker with its fit": 2 / 3}
#: Seconds between two looks: until it is time for it, and then.
SELDOM, OFTEN = 0.5, 0.03


class State:
    """What was done in earlier sittings."""

    def __init__(self, path: Path):
        self._path = path
        self.data: dict[str, Any] = {"seconds": {}, "killed": {}}
        if path.exists():
            self.data = json.loads(path.read_text())

    def put(self, section: str, name: str, value: object) -> None:
        from osteon.files import write_json

        self.data[section][name] = value
        write_json(self._path, self.data)

    def seconds(self, name: str) -> float:
        return float(self.data["seconds"].get(name, 0.0))


def write_study(work: Path, args: argparse.Namespace, *, name: str, seeds: int) -> Path:
    """Write a study file, and the scans that it is of."""
    from osteon.settings import SimulateSettings
    from osteon.workflows import simulate_cohort

    if not (work / "data" / "dataset.toml").exists():
        chosen = SimulateSettings(scans=3, species=3, size=96, slices=8, kinds=("shaft",))
        simulate_cohort(work / "data", settings=chosen, overwrite=True)
    entries = {
        "schema": 1,
        "name": name,
        "dataset": "data/dataset.toml",
        "seeds": list(range(1, seeds + 1)),
        "grid": {"network.architecture": args.architectures, "patches.size": args.sizes},
        "settings": {
            "network": {"encoder": "tu-lcnet_035"},
            "patches": {"per_slice": 1},
            "validation": {"max_slices": 4},
            "training": {
                "epochs": EPOCHS, "batch_size": 4, "threads": 1, "workers": 0, "precision": "fp32",
            },
        },
    }  # fmt: skip
    path = work / f"{name}.yaml"
    path.write_text(yaml.safe_dump(entries))
    return path


def run(plan: Any, out: Path, executor: Any, state: State) -> None:
    """Run what is not finished of a study, and add to its time."""
    from osteon.events import Reporter
    from osteon.studies.running import run_study

    def say(event: Any) -> None:
        if event.kind == "message":
            print(f"{out.name}: {event.message}", file=sys.stderr, flush=True)

    before, started = state.seconds(out.name), time.monotonic()
    try:
        run_study(plan, out=out, executor=executor, reporter=Reporter(say))
    finally:
        state.put("seconds", out.name, before + time.monotonic() - started)


def on_workers(plan: Any, out: Path, workers: int, state: State) -> None:
    """Run a study on local Dask workers, of which two are killed in mid-way."""
    from osteon.studies.executor import DaskExecutor
    from osteon.workflows.dask_cluster import local_cluster

    names = [one.name for one in plan.runs]
    if len(finished(out, names)) == len(names):
        return
    over = threading.Event()
    with local_cluster(workers) as cluster:
        killer = threading.Thread(target=kill_workers, args=(cluster, out, names, state, over))
        killer.start()
        try:
            run(plan, out, DaskExecutor(cluster.scheduler_address, workers), state)
        finally:
            over.set()
            killer.join()


def kill_workers(
    cluster: Any, out: Path, names: Sequence[str], state: State, over: threading.Event
) -> None:
    """Kill a worker whenever the time for it has come, each kind once in all sittings."""
    for what, share in KILLS.items():
        while what not in state.data["killed"] and not over.is_set():
            done = len(finished(out, names))
            if done < share * len(names):
                over.wait(SELDOM)
            elif (name := _kill(cluster, out, with_fit=" fit" in what)) is None:
                over.wait(OFTEN)
            else:
                state.put("killed", what, {"run": name, "finished": done})
                print(f"{out.name}: killed {what} at {name}", file=sys.stderr, flush=True)


def _kill(cluster: Any, out: Path, *, with_fit: bool) -> str | None:
    """SIGKILL of a worker whose fit has an epoch on the disk and is not at its end."""
    for nanny in list(cluster.workers.values()):
        if nanny.pid is None:  # it is just being started again
            continue
        try:
            worker = psutil.Process(nanny.pid)
            for fit in worker.children(recursive=True):
                words = fit.cmdline()
                name = next((Path(w).name for w in words if w.startswith(f"{out}/runs/")), None)
                if name is None or not 1 <= epochs_kept(out, name) < EPOCHS:
                    continue
                worker.kill()
                if with_fit:
                    fit.kill()
                return name
        except psutil.Error:
            continue
    return None


def epochs_kept(out: Path, name: str) -> int:
    log = out / "runs" / name / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


def finished(out: Path, names: Sequence[str]) -> list[str]:
    from osteon.studies.folder import StudyFolder

    return [name for name in names if StudyFolder(out).status(name) == "finished"]


def processes(lines: Sequence[str]) -> list[tuple[int, list[int]]]:
    """Read the log of a run: of each of its processes, where it began and where epochs ended.

    Returns:
        The step that was done when it began, and the steps at which it finished epochs.
    """
    found: list[tuple[int, list[int]]] = []
    for line in lines:
        if not line.startswith("{") or (event := json.loads(line)).get("stage") != "fit":
            continue
        if event["kind"] == "start":
            found.append((event["step"], []))
        elif str(event.get("message", "")).startswith("epoch ") and event["kind"] == "message":
            found[-1][1].append(event["data"]["step"])
    return found


def learned_again(each: Sequence[tuple[int, Sequence[int]]]) -> int:
    """Count epochs that a process had finished and that a later one began before."""
    lost, done = 0, []
    for began, ended in each:
        lost += sum(step > began for step in done)
        done += ended
    return lost


def counted(out: Path) -> dict[str, Any]:
    """Count what became of the runs of a study."""
    from osteon.studies.collecting import collect

    rows = collect(out).runs
    told = [
        processes((out / "logs" / f"{row['run']}.log").read_text().splitlines()) for row in rows
    ]
    return {
        "runs": len(rows),
        "finished": sum(row["status"] == "finished" for row in rows),
        "failed": sum(row["status"] == "failed" for row in rows),
        "gone on with": sum(len(each) > 1 for each in told),
        "finished epochs learned again": sum(map(learned_again, told)),
    }


def scores(out: Path, seeds: int) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Rows of runs and of scans of the first seeds, but for times and memory."""
    from osteon.studies.collecting import collect

    found = collect(out)
    runs, scans = (
        [{k: v for k, v in row.items() if k not in COSTS} for row in rows if row["seed"] <= seeds]
        for rows in (found.runs, found.scans)
    )
    return runs, scans


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    from osteon.studies.executor import LocalExecutor
    from osteon.studies.planning import plan_study

    # Which memory layout is faster is measured once and remembered: both studies must use one.
    os.environ["OSTEON_CACHE_DIR"] = str(work / "cache")
    state = State(work / "state.json")
    alone, spread = work / "alone", work / "workers"
    plan = plan_study(write_study(work, args, name="alone", seeds=args.alone))
    run(plan, alone, LocalExecutor(1), state)
    plan = plan_study(write_study(work, args, name="workers", seeds=args.seeds))
    on_workers(plan, spread, args.workers, state)
    mine, theirs = scores(spread, args.alone), scores(alone, args.alone)
    equal = [
        sum(a == b for a, b in zip(*pair, strict=True)) for pair in zip(mine, theirs, strict=True)
    ]
    return {
        "studies": {
            f"{args.workers} Dask workers": {
                **counted(spread), "seconds": round(state.seconds("workers"))
            },
            "one by one": {**counted(alone), "seconds": round(state.seconds("alone"))},
        },
        "killed": state.data["killed"],
        "compared": {"runs": len(theirs[0]), "scans": len(theirs[1])},
        "equal": {"runs": equal[0], "scans": equal[1]},
    }  # fmt: skip


def show(found: Mapping[str, Any]) -> None:
    studies = found["studies"]
    columns = list(next(iter(studies.values())))
    print(f"|  | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for name, row in studies.items():
        print(f"| {name} | {' | '.join(str(row[column]) for column in columns)} |")
    for what, where in found["killed"].items():
        print(f"killed {what} at {where['run']}, when {where['finished']} runs were finished")
    for what, number in found["equal"].items():
        print(f"equal rows of {what}: {number} of {found['compared'][what]}")


def fault(found: Mapping[str, Any]) -> str | None:
    """Say what is not as it should be."""
    for name, row in found["studies"].items():
        if row["finished"] < row["runs"]:
            return f"{name}: not all runs are finished"
        if row["finished epochs learned again"]:
            return f"{name}: more than the epoch in progress was lost"
    if len(found["killed"]) < len(KILLS):
        return "no worker was killed in mid-way"
    return None if found["equal"] == found["compared"] else "the tables differ"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--architectures", nargs="+", default=["unet", "unetplusplus", "linknet"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[32, 64, 96])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--alone", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="osteon-workers-") as spare:
        work = (args.work or Path(spare)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        found = measure(args, work)
        print(json.dumps(found)) if args.json else show(found)
    if (wrong := fault(found)) is not None:
        sys.exit(wrong)


if __name__ == "__main__":
    main()
