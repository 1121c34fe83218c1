"""What a trained table knows of places, and how far apart the tokens are that a latent attends to; a picture of both.

`python -m experiments.measures --run FOLDER --out FOLDER` writes `measures.json` and `positions.png`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Subset

from experiments.results import write_json
from hiperceiver.cli.data import open_data_for
from hiperceiver.cli.models import locate
from hiperceiver.data.example import ExampleDataset
from hiperceiver.data.loading import eval_loader
from hiperceiver.modality import Batch
from hiperceiver.model import HiP, build_model
from hiperceiver.model.attended import attended_tokens
from hiperceiver.model.positions import LearnedPositions
from hiperceiver.plots import style
from hiperceiver.plots.positions import cosine_similarity, spread_positions
from hiperceiver.probing import grid_places, table_locality
from hiperceiver.settings.commands import EvaluateSettings
from hiperceiver.tasks import load_task


@torch.no_grad()
def attended_distance(model: HiP, name: str, x: Tensor) -> tuple[float, float]:
    """Mean distance on the grid of attended tokens from their centre; and that of equal attention to whole groups.

    Of the first block's cross-attention: for each latent, head and example x (B, M, C) the centre is the mean of the
    tokens' places weighted by attention, and distances from it are weighted in the same way.
    """
    span = model.plan({name: x.shape[1]}).spans[name]
    places = span.to_groups(grid_places(model.modalities[name].grid).float()[None])  # (1, g, P, axes)
    is_token = ~span.is_padding()[None, :, None, None]  # (1, g, 1, 1, P)

    def spread(weights: Tensor) -> float:
        centre = torch.einsum("bghnp,xgpa->bghna", weights, places)
        distance = (places[:, :, None, None] - centre[..., None, :]).norm(dim=-1)  # (B, g, H, N, P)
        return float((weights * distance).sum(-1).mean())

    return spread(attended_tokens(model, {name: x})[name]), spread(is_token / is_token.sum(-1, keepdim=True))


def spread_batch(dataset: ExampleDataset, count: int = 32) -> Batch:
    """So many examples, evenly spread over a set, whose order may be that of its classes."""
    rows = torch.linspace(0, len(dataset) - 1, min(count, len(dataset))).long().tolist()
    part = Subset(dataset, rows)  # pyright: ignore[reportArgumentType]
    return next(iter(eval_loader(part, batch_size=count)))  # pyright: ignore[reportArgumentType]


def draw_maps(tables: dict[str, Tensor], grid: tuple[int, ...], path: Path) -> None:
    """Cosine of a few rows of each table with all others."""
    rows = spread_positions(grid)[::3] if len(grid) == 2 else spread_positions(grid)
    title = "Cosine of the marked place's position with all others" + (" (red 1, blue -1)" if len(grid) == 2 else "")
    figure, axes = style.new_figure(
        1.6 * len(rows) + 1, 1.7 * len(tables) + 0.6, rows=len(tables), columns=len(rows), title=title
    )
    for line, (label, table) in zip(axes, tables.items(), strict=True):
        for ax, row, alike in zip(line, rows, cosine_similarity(table.numpy(), rows), strict=True):
            beside = label if ax is line[0] else ""
            if len(grid) == 2:
                style.show_picture(ax, alike.reshape(grid), row=beside, cmap="RdBu_r", vmin=-1, vmax=1)
                ax.plot(row % grid[1], row // grid[1], "o", color=style.INK, markersize=4, markerfacecolor="none")
            else:
                style.as_chart_axes(ax, y=beside)
                ax.plot(alike, color=style.ACCENT, linewidth=0.8)
                ax.axvline(row, color=style.LINES[1], linewidth=0.8)
    style.save_picture(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    task = load_task(locate(given.run))
    source = open_data_for(task, EvaluateSettings(checkpoint=given.run))
    batch = spread_batch(source.splits["test"])
    name = task.model.input_names[0]
    distance, equal = attended_distance(task.model, name, batch.inputs[name])
    found: dict[str, float] = {"attended_distance": distance, "equal_distance": equal}
    positions, grid = task.model.positions[name], task.model.modalities[name].grid
    if isinstance(positions, LearnedPositions):
        table = positions.table.detach()
        local = table_locality(table, grid, num_features=512)
        found |= {"near": local.near_cosine, "far": local.far_cosine, "nearest": local.neighbour_share}
        found |= {"chance": local.chance}
        found |= {f"r2_axis{axis}": value for axis, value in enumerate(local.coordinate_r2)}
        torch.manual_seed(0)
        new = build_model(task.model.config, task.model.modalities).positions[name]
        assert isinstance(new, LearnedPositions)
        draw_maps({"before": new.table.detach(), "after": table}, grid, given.out / "positions.png")
    write_json(given.out / "measures.json", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
