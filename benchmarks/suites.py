"""What is measured for each WHAT of the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from benchmarks.commands import COMMANDS
from benchmarks.jobs import Job, Mode, Precision
from benchmarks.peers import DEFAULT, OURS, counted_as, is_jax, ours_for
from benchmarks.session import Series

MODES: tuple[Mode, ...] = ("inference", "training")
"""Those that are measured where nothing else is said."""
MASKS = ((0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (0.75, 1.0), (0.85, 1.0), (0.9, 1.0), (0.85, 0.25))
"""Share of the pixels that is hidden, and share of those that is compared."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asks for."""

    models: tuple[str, ...] | None = None
    """IMPLEMENTATION:VARIANT of what is compared. None: each suite's own."""
    sides: tuple[int, ...] | None = None
    """Pixels along a side of the pictures. None: each suite's own."""
    batches: tuple[int, ...] = (1,)
    """Pictures in a step."""
    modes: tuple[Mode, ...] = MODES
    """Which steps."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    precision: str = "32"
    """`32` or `bf16`."""
    has_reference: bool = False
    """Whether there is a checkout of the JAX reference; without one, suites of their own leave it out."""

    def job(self, **fields: Any) -> Job:
        """A job on this device in this precision."""
        return Job(device=self.device, precision=self.precision, **fields)  # pyright: ignore[reportArgumentType]

    def ours(self, *variants: str) -> list[str]:
        """These variants of ours; or those of ours that the user named."""
        if self.models is None:
            return [f"{OURS}:{variant}" for variant in variants]
        return [name for name in self.models if name.startswith(f"{OURS}:")]


def peers(options: Options) -> list[Series]:
    """Every model at every side, ours and its peers alternating; the machine is measured between sides and modes."""
    default = [name for name in DEFAULT if options.has_reference or not is_jax(name)]
    series = []
    for side in options.sides or (224, 512, 1024, 2048, 4096):
        for batch in options.batches:
            for mode in options.modes:
                if series:
                    series.append(machine(options))
                for names in _together(options.models or default):
                    jobs = [options.job(kind="step", name=n, side=side, batch=batch, mode=mode) for n in names]
                    series.append(Series(jobs=tuple(jobs), once=counts(jobs)))
    return series


def counts(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """What counts the operations of these steps, where that can be done."""
    counted = [
        replace(job, kind="count", precision="32", name=counted_as(job.name)) for job in jobs if not is_jax(job.name)
    ]
    return tuple(dict.fromkeys(counted))


def machine(options: Options) -> Series:
    """What the machine can do, now."""
    return Series(once=(options.job(kind="machine"),))


def _together(models: Sequence[str]) -> list[list[str]]:
    """Models that are compared with the same one of ours."""
    groups: dict[str, list[str]] = {}
    for name in models:
        groups.setdefault(ours_for(name), []).append(name)
    return list(groups.values())


def masking(options: Options) -> list[Series]:
    """Training steps of masked auto-encoding at growing ratios, and with few of the hidden pixels compared."""
    series = []
    for side in options.sides or (224, 1024):
        for batch in options.batches:
            for name in options.ours("hip-16", "hip-256"):
                step = options.job(kind="masked", name=name, side=side, batch=batch, mode="training")
                series.append(Series(jobs=tuple(replace(step, ratio=r, compared=share) for r, share in MASKS)))
    return series


def tokens(options: Options) -> list[Series]:
    """HiP-256 at growing sides: 0.25 M to 16.8 M tokens."""
    series = []
    for name in options.ours("hip-256"):
        for side in options.sides or (512, 1024, 2048, 4096):
            for batch in options.batches:
                jobs = [
                    options.job(kind="step", name=name, side=side, batch=batch, mode=mode) for mode in options.modes
                ]
                series.append(Series(jobs=tuple(jobs), once=counts(jobs)))
    return series


def values(options: Options) -> list[Series]:
    """How far numbers are from the formulas: on the CPU and on the device, in both precisions."""
    series = []
    for name in options.ours("hip-nano", "hip-16", "hip-256"):
        for side in options.sides or (64,):
            job = Job(kind="values", name=name, side=side, batch=2, ratio=0.75)
            series += [
                Series(once=(replace(job, device=device, precision=precision),))
                for device in dict.fromkeys(("cpu", options.device))
                for precision in get_args(Precision)
            ]
    return series


def loading(options: Options) -> list[Series]:
    """Every recipe whose data comes with the package."""
    from benchmarks.loading import built_in_recipes

    return [Series(jobs=(Job(kind="loading", name=name, device=options.device),)) for name in built_in_recipes()]


def startup(options: Options) -> list[Series]:
    """Commands, one after the other in every round."""
    return [Series(jobs=tuple(Job(kind="command", name=name) for name in COMMANDS))]


def optimizers(options: Options) -> list[Series]:
    """Each optimizer on the same weights, one after the other in every round."""
    from benchmarks.optimizers import NAMES

    variants = [name.partition(":")[2] for name in options.ours("hip-nano", "hip-mini")]
    return [
        Series(jobs=tuple(options.job(kind="optimizer", name=f"{each}:{variant}", side=32, batch=32) for each in NAMES))
        for variant in variants
    ]


SUITES: dict[str, Callable[[Options], list[Series]]] = {
    "peers": peers,
    "masking": masking,
    "tokens": tokens,
    "values": values,
    "loading": loading,
    "startup": startup,
    "optimizers": optimizers,
}
"""Name -> its series. `benchmarks.report` has a table for each."""
