"""What is measured, in which order. Python's own packages only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["device", "values", "throughput", "profile", "cost", "compiled"]
Mode = Literal["inference", "training"]
Precision = Literal["32", "bf16"]
Status = Literal["measured", "does not fit", "too slow", "not installed", "no time left", "failed"]

PARTS: tuple[Part, ...] = ("device", "values", "throughput", "profile", "cost", "compiled")
SIDES = (224, 384, 512, 1024, 2048)
"""Of the pictures of the paper's cost table."""
COST_BATCH = 8
MODELS = ("hip-16", "hip-16:fourier", "hip-256", "perceiver-io-50m", "resnet-50", "vit-b")
VALUES_SIDE = 64
_LIMIT, _COMPILED_LIMIT = 90.0, 240.0


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measurement."""

    part: Part
    """`device`: what the card can do. `values`: how far numbers are from the formulas. `throughput`: steps of masked
    auto-encoding without masks; `compiled`: the same through `torch.compile`. `profile`: where the time of such a step
    goes. `cost`: steps of a classification."""
    model: str = ""
    """A variant of ours, VARIANT:fourier, `resnet-50` or `vit-b`."""
    side: int = 0
    """Pixels along each side of the picture."""
    batch: int = 0
    """Pictures in a step."""
    mode: Mode = "training"
    """`training`: forward, loss, backward, AdamW."""
    precision: Precision = "bf16"
    """`bf16`: by autocast."""
    device: str = "cuda"
    """`cuda` or `cpu`."""

    @property
    def limit(self) -> float:
        """The most seconds that it may take."""
        return _COMPILED_LIMIT if self.part == "compiled" else _LIMIT

    def described(self) -> str:
        """In a few words, for people."""
        if self.part == "device":
            return f"{self.device}, {self.precision}"
        if self.part == "values":
            return f"values, {self.model}, {self.precision}"
        return f"{self.part}, {self.model}, {self.mode}, {self.side} x {self.side}, batch {self.batch}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def plan(
    *,
    device: str,
    precision: Precision,
    models: Sequence[str] = MODELS,
    sides: Sequence[int] = SIDES,
    batches: Sequence[int] = (64, 256),
    parts: Sequence[Part] = PARTS,
) -> list[Measurement]:
    """All measurements: what matters most first, the device again after them, and what must be compiled last.

    Args:
        device: `cuda` or `cpu`.
        precision: of all parts but `values`, which has both.
        models: those of the cost table; the first one, which is ours, is that of the other parts.
        sides: of the cost table.
        batches: of the throughput, whose pictures have the first of the sides.
        parts: which.
    """
    common: dict[str, Any] = {"device": device, "precision": precision}
    first = dict(common, model=models[0], side=sides[0])
    rate = Measurement(part="device", **common)
    values = [
        Measurement(part="values", model=models[0], side=VALUES_SIDE, batch=2, device=device, precision=each)
        for each in ("32", "bf16")
    ]
    parts_of_steps: tuple[Part, Part] = ("throughput", "compiled")
    modes: tuple[Mode, Mode] = ("training", "inference")
    eager, compiled = (
        [Measurement(part=part, batch=batch, mode=mode, **first) for batch in batches for mode in modes]
        for part in parts_of_steps
    )
    profile = Measurement(part="profile", batch=batches[0], **first)
    cost = [
        Measurement(part="cost", model=model, side=side, batch=COST_BATCH, **common)
        for side in sides
        for model in models
    ]
    return [each for each in (rate, *values, *eager, profile, *cost, rate, *compiled) if each.part in parts]
