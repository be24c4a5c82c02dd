"""The folder of a study: its runs, their state, their logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osteon.errors import InputError, OutputError, UsageError
from osteon.files import write_json
from osteon.locks import locked
from osteon.studies.planning import Plan, Run
from osteon.workflows.record import check_folder, holds_more, machine, now, read_json, versions

#: Schema of ``study.json``.
SCHEMA = 1
_STUDY, _LOCK = "study.json", ".lock"


@dataclass(frozen=True)
class StudyFolder:
    """Where a study keeps its files.

    Attributes:
        path: The folder.
    """

    path: Path

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self.path / "runs" / name

    def log(self, name: str) -> Path:
        """What the process of a run said."""
        return self.path / "logs" / f"{name}.log"

    def record(self, name: str) -> Path:
        """Which process a run was last."""
        return self.path / "logs" / f"{name}.process.json"

    def settings(self, name: str) -> Path:
        """The settings that a run is started with."""
        return self.path / "settings" / f"{name}.yaml"

    @property
    def events(self) -> Path:
        """What was started and ended, when (JSON lines)."""
        return self.path / "events.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other drivers out.

        Raises:
            OutputError: If another driver runs this study, or the folder cannot be written.
        """
        check_folder(self.path)
        with locked(
            self.path / _LOCK,
            taken="this study is being run by another process",
            mend="wait until it ends, or stop it",
        ):
            yield

    def begin(self, plan: Plan) -> None:
        """Write down the runs of a study, or see that those there are the same.

        Args:
            plan: The runs; new ones may join those that are there.

        Raises:
            OutputError: If the folder holds something else.
            UsageError: If a run that was begun has other settings now.
        """
        if (self.path / _STUDY).exists():
            before = {run.name: run for run in self.load()[1]}
            for run in plan.runs:
                old = before.get(run.name)
                begun = (self.run(run.name) / "settings.yaml").exists()
                if old is not None and begun and old.settings != run.settings:
                    raise UsageError(
                        f"the run '{run.name}' was begun with other settings",
                        where=self.path,
                        mend="restore the study file or the dataset, remove the run's folder, or "
                        "choose another --out",
                    )
        elif holds_more(self.path, _STUDY, _LOCK):
            raise OutputError(
                "this folder is not empty and holds no study of osteon",
                where=self.path,
                mend="choose another folder",
            )
        # The first of all: a driver that is killed here leaves a study, or an empty folder.
        write_json(
            self.path / _STUDY,
            {
                "schema": SCHEMA,
                "kind": "study",
                "name": plan.name,
                "dataset": str(plan.dataset),
                "runs": [run.as_dict() for run in plan.runs],
                "notes": list(plan.notes),
                "begun": now(),
                "versions": versions(),
                "machine": machine(),
            },
        )
        for name in ("runs", "logs", "settings"):
            (self.path / name).mkdir(exist_ok=True)

    def load(self) -> tuple[dict[str, Any], list[Run]]:
        """Read what the study is.

        Returns:
            The record, and its runs.

        Raises:
            InputError: If there is no study in this folder, or it is of another schema.
        """
        if not (self.path / _STUDY).is_file():
            raise InputError(
                "there is no study in this folder",
                where=self.path,
                mend="run one: osteon study run STUDY.yaml --out FOLDER",
            )
        data = read_json(self.path / _STUDY)
        if data.get("schema") != SCHEMA:
            raise InputError(
                f"the study has schema {data.get('schema')}, this version reads {SCHEMA}",
                where=self.path / _STUDY,
                mend="update osteon",
            )
        try:
            return data, [Run.from_dict(run) for run in data["runs"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the study's record is damaged: {error}", where=self.path / _STUDY
            ) from None

    def status(self, name: str) -> str:
        """Say how far a run is: waiting, running, stopped, failed or finished.

        Args:
            name: Name of the run.
        """
        record = self.run(name) / "run.json"
        if not record.exists():
            return "failed" if self.failure(name) else "waiting"
        status = str(read_json(record).get("status"))
        return "failed" if self.failure(name) and status != "finished" else status

    def failure(self, name: str) -> str | None:
        """Say why a run failed; None if it did not."""
        path = self.path / "logs" / f"{name}.failed.json"
        return str(read_json(path).get("error")) if path.exists() else None

    def fail(self, name: str, error: str | None) -> None:
        """Write down why a run failed, or forget it.

        Args:
            name: Name of the run.
            error: Why; None: it is to be tried again.
        """
        path = self.path / "logs" / f"{name}.failed.json"
        if error is None:
            path.unlink(missing_ok=True)
        else:
            write_json(path, {"error": error, "when": now()})

    def epochs(self, name: str) -> int:
        """Count the epochs that a run has finished.

        Args:
            name: Name of the run.
        """
        try:
            text = (self.run(name) / "log.csv").read_text(encoding="utf-8")
        except OSError:
            return 0
        return max(0, len(text.splitlines()) - 1)

    def last_words(self, name: str) -> str:
        """Return the last thing of weight that the process of a run said."""
        try:
            lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return _error(lines) or (lines[-1] if lines else "")

    def tell(self, kind: str, **data: object) -> None:
        """Append to the events.

        Args:
            kind: What happened.
            **data: Figures that belong to it.
        """
        line = json.dumps({"when": now(), "kind": kind, **data})
        with self.events.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def _error(lines: Sequence[str]) -> str | None:
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("kind") == "error":
            return str(event.get("message"))
    return None
