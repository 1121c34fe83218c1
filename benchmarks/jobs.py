"""What one measurement is, and what comes of it. Python's own packages only: all workers read it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Kind = Literal["step", "count", "masked", "values", "loading", "machine", "command", "optimizer"]
Mode = Literal["inference", "training", "gradients"]
Precision = Literal["32", "bf16"]
Status = Literal["measured", "does not fit", "too slow", "not installed", "failed"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One measurement, done in a process of its own."""

    kind: Kind
    """`step`: time and memory of a model's step. `count`: its operations. `masked`: a step of masked auto-encoding.
    `values`: how far its numbers are from the formulas. `loading`: a recipe's data beside its step. `machine`: what the
    machine can do. `command`: a command's start. `optimizer`: how long the weights of a model take to be moved."""
    name: str = ""
    """IMPLEMENTATION:VARIANT of a model, OPTIMIZER:VARIANT, a recipe's name, or a command's words."""
    side: int = 0
    """Pixels along each side of the picture."""
    batch: int = 1
    """Pictures in a step, B."""
    mode: Mode = "inference"
    """`training`: forward, mean squared error, backward and AdamW. `gradients`: the same without AdamW."""
    ratio: float = 0.0
    """Share of the pixels that is hidden, for `masked` and `values`."""
    compared: float = 1.0
    """Share of the hidden pixels that is read out and compared, for `masked`."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    precision: Precision = "32"
    """`bf16`: matrix products in bfloat16, by autocast."""

    @property
    def implementation(self) -> str:
        """The part of a model's name before the colon."""
        return self.name.partition(":")[0]

    @property
    def variant(self) -> str:
        """The part of a model's name behind the colon."""
        return self.name.partition(":")[2]

    def described(self) -> str:
        """In a few words, for people."""
        if self.kind in ("machine", "loading", "command", "optimizer"):
            return f"{self.kind} {self.name}".strip()
        if self.kind == "values":
            return f"{self.name}, values, {self.side} x {self.side}, {self.device}, {self.precision}"
        words = [self.name, self.mode, f"{self.side} x {self.side}"]
        if self.batch > 1:
            words.append(f"batch {self.batch}")
        if self.kind == "masked":
            words.append(f"{self.ratio:.0%} hidden")
            words += [f"{self.compared:.0%} of them compared"] * (self.compared < 1)
        if self.kind == "count":
            words.append("(operations)")
        return " ".join(words)

    def to_json(self) -> str:
        """For the command line of a worker."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a job."""

    status: Status
    """`measured`, or why not."""
    note: str = ""
    """In one line, where it was not measured."""
    wall: float = 0.0
    """Seconds of the whole process."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """What was measured, by name; seconds, bytes, operations, operations a second. See `docs/benchmarks.md`."""
