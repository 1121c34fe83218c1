"""Start a model from another one's weights, saying what became of each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hiperceiver.model.perceiver import Perceiver
from hiperceiver.model.positions import resize_table
from hiperceiver.model.saving import SavedModel

Part = Literal["model", "positions"]


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """What became of the weights, by name."""

    loaded: tuple[str, ...]
    """Copied as they are."""
    resized: tuple[str, ...]
    """Position tables interpolated to another grid."""
    new: tuple[str, ...]
    """Not in the saved model: newly made, they belong to a modality that it does not know."""
    unused: tuple[str, ...]
    """In the saved model only."""

    def summary(self) -> str:
        """One line for a person.

        >>> TransferReport(loaded=("a", "b"), resized=(), new=("c",), unused=()).summary()
        '2 weights loaded, 0 resized, 1 newly made (c), 0 unused'
        """

        def named(names: tuple[str, ...]) -> str:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            return f" ({shown})" if names else ""

        return (
            f"{len(self.loaded)} weights loaded, {len(self.resized)} resized{named(self.resized)}, "
            f"{len(self.new)} newly made{named(self.new)}, {len(self.unused)} unused{named(self.unused)}"
        )


def transfer_weights(model: Perceiver, saved: SavedModel, *, part: Part = "model") -> TransferReport:
    """Copy a saved model's weights into `model`, in place.

    Args:
        model: the model to start.
        saved: where from.
        part: `model`: everything that both have. `positions`: only the position encodings.

    Raises:
        ValueError: a weight has another shape or is missing, and no difference in modalities explains it. Nothing has
            been copied then.
    """
    loaded, resized, new = [], [], []
    values: dict[str, Tensor] = {}
    target = model.state_dict()
    wanted = [name for name in target if part == "model" or name.startswith("positions.")]
    for name in wanted:
        modality = _modality_of(name)
        source = saved.weights.get(name)
        if source is None:
            unknown_label = name.startswith("label_readout.") and not any(
                each.role == "label" for each in saved.modalities.values()
            )
            if not unknown_label and (modality is None or modality in saved.modalities):
                raise ValueError(_mismatch(saved, name, "no such weight", tuple(target[name].shape)))
            new.append(name)
        elif source.shape == target[name].shape and not _moved(model, saved, name, modality):
            values[name] = source
            loaded.append(name)
        elif (
            modality is not None
            and name == f"positions.{modality}.table"
            and source.shape[1:] == target[name].shape[1:]
        ):
            old_grid, new_grid = saved.modalities[modality].grid, model.modalities[modality].grid
            if len(old_grid) != len(new_grid):
                raise ValueError(_mismatch(saved, name, f"a grid {old_grid}", new_grid))
            values[name] = resize_table(source, old_grid, new_grid)
            resized.append(name)
        else:
            raise ValueError(_mismatch(saved, name, f"shape {tuple(source.shape)}", tuple(target[name].shape)))
    if not values:
        raise ValueError(f"{saved.source}: nothing to load: it shares no {part} weights with the new model")
    with torch.no_grad():
        for name, value in values.items():
            target[name].copy_(value)
    unused = tuple(name for name in saved.weights if name not in values)
    return TransferReport(loaded=tuple(loaded), resized=tuple(resized), new=tuple(new), unused=unused)


def _modality_of(name: str) -> str | None:
    kind, _, rest = name.partition(".")
    return rest.partition(".")[0] if kind in ("embedding", "unembedding", "positions") else None


def _moved(model: Perceiver, saved: SavedModel, name: str, modality: str | None) -> bool:
    """Whether a table of the same length lies on another grid."""
    if modality is None or name != f"positions.{modality}.table":
        return False
    return saved.modalities[modality].grid != model.modalities[modality].grid


def _mismatch(saved: SavedModel, name: str, got: str, expected: tuple[int, ...]) -> str:
    return f"{saved.source}: expected {expected} for {name}, got {got}; use the same model, settings and channels"
