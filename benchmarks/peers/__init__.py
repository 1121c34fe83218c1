"""Who takes part. A new one costs a file here and a line in `PEERS`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

OURS = "hiperceiver"
COMPILED = "compiled"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One implementation."""

    module: str
    """Where it is made. PyTorch: `make_model(variant, side)` gives a module from (B, M, 3) to (B, M, 3). JAX:
    `make_step(job)` gives a `benchmarks.steps.Step`."""
    variants: tuple[str, ...]
    """What it can be made as; the tiny ones are for tests."""
    needs: tuple[str, ...] = ()
    """Packages to import."""
    install: str = "'hiperceiver[bench]'"
    """What pip is told to install them."""
    framework: Literal["torch", "jax"] = "torch"
    """What it is written in."""
    against: str | None = None
    """Variant of ours that it is compared with. None: the one of the same name."""


_FLAT = ("perceiver-io-50m", "perceiver-io-150m", "perceiver-io-mini")
_OURS = ("hip-16", "hip-256", "hip-16x3", "hip-mini", "hip-micro", "hip-nano", *_FLAT)

PEERS: dict[str, Peer] = {
    OURS: Peer(module="benchmarks.peers.ours", variants=_OURS),
    COMPILED: Peer(module="benchmarks.peers.compiled", variants=_OURS),
    "perceiver-pytorch": Peer(
        module="benchmarks.peers.lucidrains", variants=_FLAT, needs=("perceiver_pytorch", "einops")
    ),
    "transformers": Peer(module="benchmarks.peers.huggingface", variants=_FLAT, needs=("transformers",)),
    "vit": Peer(module="benchmarks.peers.vit", variants=("base", "tiny"), needs=("transformers",), against="hip-16"),
    "jax": Peer(
        module="benchmarks.peers.jax_reference",
        variants=("hip-16", "hip-256", "hip-mini", *_FLAT),
        needs=("jax", "haiku", "chex", "einshape"),
        install="jax dm-haiku chex einshape",
        framework="jax",
    ),
}

DEFAULT = (
    "hiperceiver:hip-16",
    "jax:hip-16",
    "vit:base",
    "hiperceiver:hip-256",
    "jax:hip-256",
    "hiperceiver:perceiver-io-50m",
    "perceiver-pytorch:perceiver-io-50m",
    "transformers:perceiver-io-50m",
    "jax:perceiver-io-50m",
)
"""Models that are compared where none are named, in the order of the table."""


def check_name(name: str) -> None:
    """Refuse what is not IMPLEMENTATION:VARIANT.

    Raises:
        ValueError: unknown implementation or variant.
    """
    known = [f"{implementation}:{variant}" for implementation, peer in PEERS.items() for variant in peer.variants]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"--models: expected names among {', '.join(known)}; got {name!r}{hint}")


def ours_for(name: str) -> str:
    """The model of ours that a model is compared with; ours is compared with itself."""
    implementation, _, variant = name.partition(":")
    return f"{OURS}:{PEERS[implementation].against or variant}"


def counted_as(name: str) -> str:
    """The model whose operations are counted for this one: the counter does not see into what is compiled."""
    return ours_for(name) if name.startswith(f"{COMPILED}:") else name


def is_jax(name: str) -> bool:
    """Whether a model is one of the JAX reference."""
    return PEERS[name.partition(":")[0]].framework == "jax"
