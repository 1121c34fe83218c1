"""The published JAX reference, from a checkout that the user names; nothing of it is in this repository.

Runs in an interpreter that has JAX, dm-haiku, chex and einshape, and imports nothing of ours. Steps are compiled; the
time of that is told apart. AdamW is written out here, so that nothing more must be installed.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import haiku as hk  # pyright: ignore[reportMissingImports]
import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]

from benchmarks.jobs import Job
from benchmarks.timing import Step

_VARIANTS = {
    "hip-16": ("HiP", "16"),
    "hip-256": ("HiP", "256"),
    "hip-mini": ("HiP", "Mini"),
    "perceiver-io-50m": ("PerceiverIO", "io_c_50m"),
    "perceiver-io-150m": ("PerceiverIO", "io_c_150m"),
    "perceiver-io-mini": ("PerceiverIO", "io_mini"),
}
"""Our name -> its class, and its name of the variant."""
_RATE, _DECAY, _BETAS, _EPSILON = 1e-4, 0.05, (0.9, 0.95), 1e-8


def make_step(job: Job) -> Step:
    """Compile one step of it."""
    architecture, variant = _VARIANTS[job.variant]
    perceiver = _import_checkout(Path(os.environ["BENCHMARKS_REFERENCE"]))

    def reconstruct(x: jax.Array) -> jax.Array:
        model = perceiver.build_perceiver(architecture, variant)
        is_training = job.mode != "inference"
        return model("dataset", {"image": x}, is_training=is_training)["input_reconstruction"]["image"]

    transformed = hk.transform(reconstruct)
    key = jax.random.PRNGKey(0)
    x = jax.random.normal(key, (job.batch, job.side**2, 3))
    weights = jax.jit(transformed.init)(key, x)
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(weights))
    started = time.perf_counter()
    if job.mode == "inference":
        infer = jax.jit(transformed.apply).lower(weights, key, x).compile()
        compiled = time.perf_counter() - started
        return Step(
            run=lambda: jax.block_until_ready(infer(weights, key, x)),
            num_parameters=num_parameters,
            compile_seconds=compiled,
        )

    def loss(weights: Any, x: jax.Array) -> jax.Array:
        return jnp.mean((transformed.apply(weights, key, x) - x) ** 2)

    if job.mode == "gradients":
        derive = jax.jit(jax.grad(loss)).lower(weights, x).compile()
        compiled = time.perf_counter() - started
        return Step(
            run=lambda: jax.block_until_ready(derive(weights, x)),
            num_parameters=num_parameters,
            compile_seconds=compiled,
        )

    def update(state: Any, x: jax.Array) -> Any:
        weights, first, second, count = state
        gradient = jax.grad(loss)(weights, x)
        count = count + 1
        first = jax.tree.map(lambda m, g: _BETAS[0] * m + (1 - _BETAS[0]) * g, first, gradient)
        second = jax.tree.map(lambda v, g: _BETAS[1] * v + (1 - _BETAS[1]) * g**2, second, gradient)

        def moved(w: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            m, v = m / (1 - _BETAS[0] ** count), v / (1 - _BETAS[1] ** count)
            return w - _RATE * (m / (jnp.sqrt(v) + _EPSILON) + _DECAY * w)

        return jax.tree.map(moved, weights, first, second), first, second, count

    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [(weights, zeros, jax.tree.map(jnp.zeros_like, weights), jnp.zeros(()))]
    train = jax.jit(update, donate_argnums=0).lower(state[0], x).compile()  # the state is changed in place
    compiled = time.perf_counter() - started

    def run() -> None:
        state[0] = jax.block_until_ready(train(state[0], x))

    return Step(run=run, num_parameters=num_parameters, compile_seconds=compiled)


def _import_checkout(folder: Path) -> Any:
    """The checkout as the package that its own imports call `hierarchical_perceiver`, whatever its folder is called."""
    package = "hierarchical_perceiver"
    spec = spec_from_file_location(package, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    if not (folder / "__init__.py").exists():
        spec.loader = None  # a folder without it is a package too
    sys.modules[package] = module_from_spec(spec)
    from hierarchical_perceiver import perceiver  # pyright: ignore[reportMissingImports]

    return perceiver
