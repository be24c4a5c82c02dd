"""The settings of the optimisation: optimiser, learning-rate schedule, length and machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from osteon.settings.base import Settings
from osteon.settings.common import Precision, at_least_one

#: When scans that are slow to read in parts are copied to the disk cache.
DiskCache = Literal["auto", "on", "off"]


class AdamSettings(Settings):
    """Adam (Kingma & Ba 2015)."""

    name: Literal["adam"] = "adam"
    learning_rate: float = Field(1e-3, description="Learning rate at its highest.", gt=0, le=1)


class AdamWSettings(Settings):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(1e-3, description="Learning rate at its highest.", gt=0, le=1)
    weight_decay: float = Field(0.01, description="Decoupled weight decay.", ge=0, le=1)


class SgdSettings(Settings):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = Field(1e-2, description="Learning rate at its highest.", gt=0, le=10)
    momentum: float = Field(0.9, description="Momentum.", ge=0, lt=1)
    weight_decay: float = Field(0.0, description="L2 penalty.", ge=0, le=1)


OptimiserSettings = AdamSettings | AdamWSettings | SgdSettings


class CosineSchedule(Settings):
    """Cosine annealing over all steps (Loshchilov & Hutter 2017)."""

    name: Literal["cosine"] = "cosine"
    final_learning_rate: float = Field(1e-6, description="Learning rate at the end.", ge=0, le=1)


class OneCycleSchedule(Settings):
    """A warm-up, then cosine annealing (Smith & Topin 2019)."""

    name: Literal["one-cycle"] = "one-cycle"
    warmup: float = Field(
        0.2, description="Share of the steps in which the learning rate rises.", gt=0, lt=1
    )


class ConstantSchedule(Settings):
    """The same learning rate throughout."""

    name: Literal["constant"] = "constant"


class PlateauSchedule(Settings):
    """Lower the learning rate when the validation's mean IoU has stopped rising."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(0.5, description="What the learning rate is multiplied by.", gt=0, lt=1)
    patience: int = Field(3, description="Epochs without a better score before that.", ge=0)
    final_learning_rate: float = Field(1e-6, description="Lowest learning rate.", ge=0, le=1)


ScheduleSettings = CosineSchedule | OneCycleSchedule | PlateauSchedule | ConstantSchedule


class TrainingSettings(Settings):
    """How long and how the network is fitted."""

    epochs: int = Field(25, description="Epochs.", ge=1, le=100_000)
    max_minutes: float | None = Field(
        None,
        description="Time for the whole fit with its validation, in minutes: turned once, by "
        "timing the first steps, into a number of steps, which is recorded. None: all epochs.",
        gt=0,
    )
    batch_size: int = Field(
        32,
        description="Patches that go through the network at once, over all devices.",
        ge=1,
        le=4096,
    )
    accumulate: int = Field(
        1,
        description="Batches in a step of the optimiser: their gradients are averaged.",
        ge=1,
        le=1024,
    )
    clip_norm: float | None = Field(
        None,
        description="Largest norm of the gradient; longer ones are shortened. None: any.",
        gt=0,
    )
    patience: int | None = Field(
        None,
        description="Stop early after so many epochs without a better validation score. None: "
        "never.",
        ge=1,
    )
    average: float | None = Field(
        None,
        description="Decay a step of a moving average of the weights, such as 0.999; the average "
        "is what is measured, kept as best and put into the model. None: the weights themselves.",
        gt=0,
        lt=1,
    )
    devices: int | Literal["all"] = Field(
        1, description="GPUs on this machine (or processes, on a CPU) that a batch is shared by."
    )
    workers: int | Literal["auto"] = Field(
        "auto",
        description="Processes that read and augment patches (0: the main process). The result "
        "does not depend on it.",
    )
    threads: int | Literal["auto"] = Field(
        "auto", description="CPU threads of the network's arithmetic; recorded."
    )
    precision: Precision = Field(
        "auto", description="Arithmetic; auto: the fastest by a short measured probe."
    )
    cache: str = Field(
        "1GiB",
        description="Memory for decoded slices, over all workers; slices beyond are re-read.",
    )
    disk_cache: DiskCache = Field(
        "auto",
        description="Copy on disk (`osteon cache show`) of scans that are slow to read in parts: "
        "auto: of those that do not fit into `cache` and would be read more than 3 times faster; "
        "on: of all; off: only of those that cannot be read otherwise (.nii.gz).",
    )

    @field_validator("disk_cache", mode="before")
    @classmethod
    def _switch(cls, value: object) -> object:
        # YAML reads the words on and off as true and false.
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("workers")
    @classmethod
    def _count(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 0:
            raise ValueError("cannot be negative")
        return value

    @field_validator("devices")
    @classmethod
    def _devices(cls, value: int | str) -> int | str:
        return at_least_one(value)

    @field_validator("threads")
    @classmethod
    def _threads(cls, value: int | str) -> int | str:
        return at_least_one(value)
