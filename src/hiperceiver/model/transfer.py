"""Start a model from another one's weights, with a report on each of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hiperceiver.modality import Modality
from hiperceiver.model.files import SavedModel
from hiperceiver.model.hip import HiP
from hiperceiver.model.positions import resize_table

Part = Literal["model", "positions", "all-but-positions"]


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """The names of the weights by what was done with them."""

    loaded: tuple[str, ...]  # copied as they are
    resized: tuple[str, ...]  # position tables interpolated to another grid
    new: tuple[str, ...]  # not in the saved model: newly made, they belong to a modality that it does not know
    unused: tuple[str, ...]  # in the saved model only

    def summary(self) -> str:
        """One line for a person."""

        def named(names: tuple[str, ...]) -> str:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            return f" ({shown})" if names else ""

        return (
            f"{len(self.loaded)} weights loaded, {len(self.resized)} resized{named(self.resized)}, "
            f"{len(self.new)} newly made{named(self.new)}, {len(self.unused)} unused{named(self.unused)}"
        )


def transfer_weights(model: HiP, saved: SavedModel, *, part: Part = "model") -> TransferReport:
    """Copy a saved model's weights into `model`, in place.

    `part`: all that both have, the position encodings alone, or all but these; what is not taken stays as it is.

    Position tables have a row for each place of the grid, whatever the order in which tokens go into groups: alone they
    are taken from a model of any `token_order`. All weights are not: groups' latents know what their group sees.

    Raises:
        ValueError: before anything is copied, if a setting that gives the weights another meaning differs, or a weight
            has another shape, is missing or left over, and no difference in modalities explains it.
    """
    _check_settings(model, saved, part)
    loaded, resized, new = [], [], []
    values: dict[str, Tensor] = {}
    target = model.state_dict()
    for name in target:
        if not _is_taken(name, part):
            new += [name] * (part == "all-but-positions")
            continue
        modality, source, shape = _modality_of(name), saved.weights.get(name), tuple(target[name].shape)
        if source is None:
            if _is_known(name, saved.modalities):
                raise ValueError(_mismatch(saved, name, "no such weight", shape))
            new.append(name)
            continue
        grids = [each.modalities[modality].grid for each in (saved, model) if modality in each.modalities]
        is_table = name == f"positions.{modality}.table" and len(grids) == 2
        if is_table and grids[0] != grids[1] and source.shape[1:] == shape[1:]:
            old_grid, new_grid = grids
            if len(old_grid) != len(new_grid):
                raise ValueError(_mismatch(saved, name, f"a grid {old_grid}", new_grid))
            values[name] = resize_table(source, old_grid, new_grid)
            resized.append(name)
        elif source.shape == shape:
            values[name] = source
            loaded.append(name)
        else:
            raise ValueError(_mismatch(saved, name, f"shape {tuple(source.shape)}", shape))
    unused = tuple(name for name in saved.weights if name not in values)
    for name in unused:
        if part != "positions" and _is_taken(name, part) and _is_known(name, model.modalities):
            raise ValueError(f"{saved.source}: {name} is not in the new model; use the same model and settings")
    if not values:
        raise ValueError(f"{saved.source}: nothing to load for {part}: it shares no such weights with the new model")
    with torch.no_grad():
        for name, value in values.items():
            target[name].copy_(value)
    return TransferReport(loaded=tuple(loaded), resized=tuple(resized), new=tuple(new), unused=unused)


_FREE_SETTINGS = ("dropout", "drop_path", "mask_padding", "num_train_latents", "position_scale")
"""Settings in which two models may differ and still share weights; they change how a model is run, or starts."""

_POSITION_SETTINGS = ("positions", "position_channels", "fourier_bands", "fourier_max_resolution")


def _check_settings(model: HiP, saved: SavedModel, part: Part) -> None:
    if part != "positions" and type(saved.config) is not type(model.config):
        expected = f"the weights of a {type(model).__name__}"
        raise ValueError(f"{saved.source}: expected {expected}, got those of a {saved.architecture}")
    old, new = _settings(saved.config.to_dict()), _settings(model.config.to_dict())
    for name in {**new, **old}:
        counts = part == "model" or (name in _POSITION_SETTINGS) == (part == "positions")
        if counts and old.get(name) != new.get(name):
            found = f"got {old.get(name)!r}; use the same model and settings"
            raise ValueError(f"{saved.source}: expected {name}={new.get(name)!r} as in the new model, {found}")
    for name, modality in model.modalities.items():
        role = saved.modalities[name].role if name in saved.modalities else modality.role
        if role != modality.role:
            raise ValueError(f"{saved.source}: expected role {modality.role!r} for modality {name!r}, got {role!r}")


def _settings(values: Any, prefix: str = "") -> dict[str, Any]:
    """All settings that weights depend on, flat, as {"blocks.0.num_groups": 16, ...}."""
    if isinstance(values, list | tuple) and any(isinstance(each, dict) for each in values):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        return {prefix.removesuffix("."): values}
    return {
        name: value
        for key, each in values.items()
        if key not in _FREE_SETTINGS
        for name, value in _settings(each, f"{prefix}{key}.").items()
    }


def _is_taken(name: str, part: Part) -> bool:
    return part == "model" or name.startswith("positions.") == (part == "positions")


def _is_known(name: str, modalities: Mapping[str, Modality]) -> bool:
    """Whether a model with these modalities has such a weight, as far as they decide."""
    if name.startswith("label_readout."):
        return any(modality.role == "label" for modality in modalities.values())
    modality = _modality_of(name)
    return modality is None or modality in modalities


def _modality_of(name: str) -> str | None:
    kind, _, rest = name.partition(".")
    return rest.partition(".")[0] if kind in ("embedding", "unembedding", "positions") else None


def _mismatch(saved: SavedModel, name: str, got: str, expected: tuple[int, ...]) -> str:
    return f"{saved.source}: expected {expected} for {name}, got {got}; use the same model, settings and channels"
