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
from hiperceiver.model.layers import PerceiverBlock
from hiperceiver.model.positions import LearnedPositions
from hiperceiver.model.tokens import TokenGroups
from hiperceiver.plots import style
from hiperceiver.plots.positions import cosine_similarity, spread_positions
from hiperceiver.probing import table_locality
from hiperceiver.settings.commands import EvaluateSettings
from hiperceiver.tasks import load_task


@torch.no_grad()
def attended_distance(model: HiP, name: str, x: Tensor) -> tuple[float, float]:
    """Mean distance on the grid of attended tokens from their centre; and that of equal attention to whole groups.

    Of the first block's cross-attention: for each latent, head and example x (B, M, C) the centre is the mean of the
    tokens' places weighted by attention, and distances from it are weighted in the same way.
    """
    block = model.blocks[0]
    assert isinstance(block, PerceiverBlock)
    layer = block.cross_attention
    plan = model.plan({name: x.shape[1]})
    groups = TokenGroups.of(plan.spans[name], x, model.positions[name])
    tokens, key_mask = groups.embed(model.embedding[name])  # (B, g, P, E), and where there is none
    latents = plan.split(block.latents.unflatten(0, (1, plan.spans[name].num_groups, -1)))[name]
    queries = layer.query(layer.query_norm(latents)).unflatten(-1, (layer.num_heads, -1))
    keys = layer.key_value(layer.token_norm(tokens)).chunk(2, -1)[0].unflatten(-1, (layer.num_heads, -1))
    scores = torch.einsum("bgnhc,bgphc->bghnp", queries.expand(len(x), -1, -1, -1, -1), keys) * layer.scale
    if key_mask is not None:
        scores = scores.masked_fill(key_mask[:, :, None, None], -torch.inf)
    grid = model.modalities[name].grid
    places = torch.cartesian_prod(*(torch.arange(extent) for extent in grid)).view(-1, len(grid)).float()
    places = plan.spans[name].to_groups(places[None])  # (1, g, P, axes)

    def spread(weights: Tensor) -> float:
        centre = torch.einsum("bghnp,xgpa->bghna", weights, places)
        distance = (places[:, :, None, None] - centre[..., None, :]).norm(dim=-1)  # (B, g, H, N, P)
        return float((weights * distance).sum(-1).mean())

    return spread(scores.softmax(-1)), spread(torch.where(scores.isfinite(), 0.0, -torch.inf).softmax(-1))


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
