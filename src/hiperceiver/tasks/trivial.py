"""What trivial answers reach on the tokens that a masked auto-encoder reconstructs. Needs SciPy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree, QhullError

from hiperceiver.modality import Batch
from hiperceiver.tasks.losses import mean_spread, weighted_mean
from hiperceiver.tasks.masked_autoencoding import byte_values, evaluation_generator

if TYPE_CHECKING:
    from hiperceiver.tasks.masked_autoencoding import MaskedAutoencoding

MOST_TOKENS = 2**20
"""Tokens of the examples that are looked at, about: of a larger set every k-th example, so that it takes seconds."""
_COST_OF_VOLUMES = 4  # a token in a volume takes a few times the 2 microseconds of one in a plane
_NUM_FITTED, _FITTED_AT_ONCE = 12, 2**15  # visible tokens around one in a volume; tokens at once
_MOST_AXES = 3  # of places between which is interpolated


class TrivialAnswers:
    """What answers without a model reach on the hidden tokens of an evaluation, masked as there.

    - `nearest`: the visible token whose place is nearest; of equally near ones always the same.
    - `interpolation`: linear between visible tokens. Along a line between those on both sides; in a plane within the
      triangles of their Delaunay triangulation, as `scipy.interpolate.griddata` does it; in a volume, where that takes
      minutes, a linear function of the place that is fitted to the 12 nearest ones, which count 1 / distance^2. Beyond
      the outermost visible tokens of a line or plane, and on grids of more than 3 axes, it is the nearest one.
    - `most_frequent`, of bytes: the one that is hidden most often.

    Places are those of the modality's grid, or coordinates that are positions and so stay visible. Where no token of a
    modality is visible in an example, the answer is 0.

    `num_examples` are in the set; of many every k-th is looked at, about `MOST_TOKENS` tokens in all, a quarter of that
    in volumes.
    """

    def __init__(self, task: MaskedAutoencoding, num_examples: int):
        self.task = task
        cost = sum(_cost(task, name) for name in task.model.input_names)
        self.every = max(1, math.ceil(num_examples / max(MOST_TOKENS // cost, 1)))
        self.seconds = 0.0
        """Time that it has taken."""
        self._num_met = 0
        self._sums = {name: _Sums(task.byte_coding(name)) for name in task.model.input_names}

    def add(self, batch: Batch) -> None:
        """Look at a batch of the evaluation, whose batches come in their order."""
        rows = [row for row in range(len(batch)) if (self._num_met + row) % self.every == 0]
        generators = [evaluation_generator(self._num_met + row) for row in rows]
        self._num_met += len(batch)
        if not rows:
            return
        started = time.monotonic()
        batch = batch.take(rows)
        drawn = self.task.draw_mask(batch.to(self.task.device), generators)
        is_masked, batch = {name: each.cpu() for name, each in drawn.is_masked.items()}, batch.to("cpu")
        for name, targets in self.task.targets(batch).items():
            is_present, count = batch.is_present(name), self.task.num_position_channels[name]
            grid = self.task.model.modalities[name].grid
            for row, target in enumerate(targets.double().numpy()):
                is_hidden = (is_masked[name][row] & is_present[row]).numpy()
                is_visible = (~is_masked[name][row] & is_present[row]).numpy()
                places = batch.inputs[name][row, :, :count].double().numpy() if count else None
                self._sums[name].add(target, is_visible, is_hidden, grid, places)
        self.seconds += time.monotonic() - started

    def metrics(self) -> dict[str, float]:
        """By the names of the task's own metrics: `explained_by_nearest`, `accuracy_image_by_nearest` and so on."""
        weights, each = self.task.term_weights, {name: sums.results() for name, sums in self._sums.items()}
        has_any = {name: sums.count > 0 for name, sums in self._sums.items()}
        results = {}
        for how in ("nearest", "interpolation"):
            key = f"explained_by_{how}"
            if all(key in each[name] for name in weights if has_any[name]):
                values = {name: torch.tensor(each[name].get(key, math.nan)) for name in weights}
                counts = {name: (~value.isnan()).long() for name, value in values.items()}
                results[key] = float(weighted_mean(values, weights, counts))
        is_alone = len(weights) == 1
        for name, values in each.items():
            for key, value in values.items():
                metric, _, how = key.partition("_by_")
                results[f"{metric}_by_{how}" if is_alone else f"{metric}_{name}_by_{how}"] = value
        return results


class _Sums:
    """The sums over the hidden tokens of one modality that its results are made of."""

    def __init__(self, coding: str | None):
        self.coding = coding
        self.count = 0
        self.total = self.total_square = 0.0  # of each channel, then (C,)
        self.error: dict[str, float] = dict.fromkeys(("nearest", "interpolation"), 0.0)
        self.right = 0
        self.bytes = np.zeros(256, dtype=np.int64)

    def add(
        self,
        target: np.ndarray,
        is_visible: np.ndarray,
        is_hidden: np.ndarray,
        grid: Sequence[int],
        places: np.ndarray | None,
    ) -> None:
        """Add an example: tokens (M, C), and which of them are visible and hidden, bool (M,)."""
        wanted = target[is_hidden]
        self.count += len(wanted)
        if not len(wanted):
            return
        if self.coding is not None:
            found = fill_nearest(target, is_visible, is_hidden, grid, places)
            values, guesses = (byte_values(torch.from_numpy(x), self.coding).numpy() for x in (wanted, found))
            self.right += int((values == guesses).sum())
            self.bytes += np.bincount(values, minlength=256)
            return
        self.total = self.total + wanted.sum(axis=0)
        self.total_square = self.total_square + np.square(wanted).sum(axis=0)
        for how, fill in FILLS.items():
            found = fill(target, is_visible, is_hidden, grid, places)
            self.error[how] += float(np.square(found - wanted).mean(axis=1).sum())

    def results(self) -> dict[str, float]:
        """Shares by name; of what was never hidden none."""
        if not self.count:
            return {}
        if self.coding is not None:
            most_frequent = float(self.bytes.max() / self.count)
            return {"accuracy_by_most_frequent": most_frequent, "accuracy_by_nearest": self.right / self.count}
        spread = float(mean_spread(*map(torch.as_tensor, (self.total, self.total_square, self.count))))
        return {f"explained_by_{how}": 1 - error / spread for how, error in self.error.items()}


def fill_nearest(
    tokens: np.ndarray,
    is_visible: np.ndarray,
    is_wanted: np.ndarray,
    grid: Sequence[int],
    places: np.ndarray | None = None,
) -> np.ndarray:
    """The visible token nearest to each wanted one, by Euclidean distance: tokens (M, C) to (wanted, C); 0 if none is.

    Places are those of the grid in row-major order, or given, (M, n). Masks are bool (M,).

    >>> fill_nearest(
    ...     np.arange(5.0)[:, None], np.array([1, 0, 0, 0, 1]) > 0, np.array([0, 1, 1, 1, 0]) > 0, (5,)
    ... ).ravel()
    array([0., 0., 4.])
    """
    visible, wanted = np.flatnonzero(is_visible), np.flatnonzero(is_wanted)
    grid = _long_axes(grid)
    if not len(visible):
        return np.zeros((len(wanted), tokens.shape[1]))
    if places is not None:
        return tokens[visible[np.asarray(KDTree(places[visible]).query(places[wanted])[1])]]
    if len(grid) == 1:
        after = np.searchsorted(visible, wanted)
        left, right = visible[np.maximum(after - 1, 0)], visible[np.minimum(after, len(visible) - 1)]
        return tokens[np.where(np.abs(wanted - left) <= np.abs(right - wanted), left, right)]
    found = distance_transform_edt(~is_visible.reshape(grid), return_distances=False, return_indices=True)
    return tokens[np.ravel_multi_index(tuple(np.asarray(found)), grid).ravel()[wanted]]


def fill_linear(
    tokens: np.ndarray,
    is_visible: np.ndarray,
    is_wanted: np.ndarray,
    grid: Sequence[int],
    places: np.ndarray | None = None,
) -> np.ndarray:
    """Linear interpolation between visible tokens, see `TrivialAnswers`; arguments and result as of `fill_nearest`.

    >>> fill_linear(np.arange(5.0)[:, None], np.array([1, 0, 0, 0, 1]) > 0, np.array([0, 1, 1, 1, 0]) > 0, (5,)).ravel()
    array([1., 2., 3.])
    """
    visible, wanted = np.flatnonzero(is_visible), np.flatnonzero(is_wanted)
    grid = _long_axes(grid)
    if len(visible) and places is None and len(grid) == 1:
        return np.stack([np.interp(wanted, visible, channel) for channel in tokens[visible].T], axis=1)
    nearest = fill_nearest(tokens, is_visible, is_wanted, grid, places)
    num_axes = len(grid) if places is None else places.shape[1]
    if not 2 <= num_axes <= _MOST_AXES or len(visible) <= num_axes or not len(wanted):
        return nearest
    if places is None:
        known, asked = (np.stack(np.unravel_index(each, grid), axis=1).astype(float) for each in (visible, wanted))
    else:
        known, asked = places[visible], places[wanted]
    if num_axes == 3:
        parts = np.array_split(asked, -(-len(asked) // _FITTED_AT_ONCE))
        tree = KDTree(known)
        return np.concatenate([_fitted(tree, tokens[visible], part) for part in parts])
    try:
        between = LinearNDInterpolator(known, tokens[visible])(asked)
    except QhullError:  # all visible ones lie on a line or in a plane
        return nearest
    return np.where(np.isnan(between), nearest, between)


def _fitted(known: KDTree, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """At each asked place (Q, n) the linear function fitted to the values (N, C) of the nearest known ones: (Q, C)."""
    distance, index = known.query(asked, k=min(_NUM_FITTED, known.n))
    weight = 1 / np.square(np.maximum(distance, 1e-9 + 1e-3 * distance.mean()))[..., None]  # (Q, k, 1)
    step = known.data[index] - asked[:, None]  # (Q, k, n)
    terms = np.concatenate([np.ones_like(weight), step], axis=2)
    gram = (weight * terms).transpose(0, 2, 1) @ terms  # (Q, 1 + n, 1 + n)
    spread = np.trace(gram[:, 1:, 1:], axis1=1, axis2=2)
    # Where the nearest ones lie in a plane the slope across it is 0, not undefined.
    gram += (1e-7 * spread + 1e-12)[:, None, None] * np.diag([0.0] + [1.0] * step.shape[2])
    return np.linalg.solve(gram, (weight * terms).transpose(0, 2, 1) @ values[index])[:, 0]


Fill = Callable[[np.ndarray, np.ndarray, np.ndarray, Sequence[int], np.ndarray | None], np.ndarray]
FILLS: dict[str, Fill] = {"nearest": fill_nearest, "interpolation": fill_linear}
"""The trivial answers by name."""


def _cost(task: MaskedAutoencoding, name: str) -> int:
    """Tokens of a modality, those in a volume many times."""
    modality = task.model.modalities[name]
    num_axes = task.num_position_channels[name] or len(_long_axes(modality.grid))
    return modality.num_tokens * (_COST_OF_VOLUMES if num_axes == 3 else 1)


def _long_axes(grid: Sequence[int]) -> tuple[int, ...]:
    """The grid without axes that have one place."""
    return tuple(extent for extent in grid if extent > 1) or (1,)
