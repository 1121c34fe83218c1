"""What `hip plot` draws of a model's inside: where latents attend to, what a position reads, what latents hold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from hiperceiver.cli.drawing import Tokens, Value, decoded
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.tables import metric
from hiperceiver.data.collate import collate
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.example import Example, ExampleDataset
from hiperceiver.data.sources.source import Source
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.modality import Batch
from hiperceiver.model import GroupPlan
from hiperceiver.model.attended import attended_tokens, group_and_slot, on_tokens, read_latents
from hiperceiver.plots.arrays import spread_indices
from hiperceiver.plots.attention import (
    draw_attention,
    draw_attention_along,
    draw_attention_on_points,
    draw_reading,
    draw_reading_along,
    draw_reading_of_point,
)
from hiperceiver.plots.features import draw_features, draw_token_features
from hiperceiver.plots.reconstructions import MOST_COLUMNS
from hiperceiver.tasks import Segmentation, Task
from hiperceiver.training.observers import latent_vectors, read_target

NUM_LATENTS = 5  # of the first block whose attention is drawn, evenly spread over the groups of a modality
MOST_SIGNALS = 4  # examples in a figure of signals
NUM_VECTORS = 1000
"""Examples whose latents are drawn, and training examples from which nearest neighbours are taken, at most."""

Pictures = Iterator[tuple[str, Figure]]


class Shown:
    """Examples of one modality in the encoder's units, and how their tokens lie."""

    def __init__(self, name: str, encoder: Encoder, examples: Sequence[Example]):
        self.name, self.grid = name, encoder.modality.grid
        self.values: list[Value] = []
        self.rows: list[int] = []  # of the examples that have the modality
        self.num_tokens: list[int] = []  # up to the last one that is present
        for row, example in enumerate(examples):
            x, is_padding = example.inputs[name], example.is_padding.get(name)
            if is_padding is not None and bool(is_padding.all()):
                continue
            nothing = torch.zeros(len(x), dtype=torch.bool)
            self.rows.append(row)
            self.values.append(decoded(encoder, Tokens(x, x, nothing, is_padding, example.name)))
            present = nothing if is_padding is None else is_padding
            self.num_tokens.append(int((~present).nonzero().max()) + 1)
        drawing = encoder.drawing
        kinds = {2: "pictures", 3: "frames"}
        self.kind = kinds.get(len(self.grid), "signals") if drawing is None else drawing.kind
        self.frame_names = () if drawing is None or self.kind != "frames" else drawing.names
        self.is_transposed = drawing is not None and drawing.is_transposed
        self.scale = 1.0 if drawing is None or not drawing.rate else 1.0 / drawing.rate
        self.unit = "step" if drawing is None else "seconds" if drawing.rate else drawing.step
        self.unit = "byte" if self.kind == "text" else self.unit
        # Extents of the places that all examples have: clouds differ in their points.
        self.places = (min(self.num_tokens),) if self.kind == "points" and self.num_tokens else self.grid

    @property
    def names(self) -> list[str]:
        """Of the examples."""
        return [value.name for value in self.values]

    @property
    def pictures(self) -> np.ndarray:
        """(K, h, w, C)."""
        return np.stack([value.inputs for value in self.values])

    @property
    def clouds(self) -> list[np.ndarray]:
        """(N, 3 + features) of each example."""
        return [value.inputs for value in self.values]

    @property
    def signals(self) -> list[np.ndarray]:
        """(T, C) of each example."""
        lines = [value.inputs.T if self.is_transposed else value.inputs for value in self.values]
        return [x[:, None] if x.ndim == 1 else x for x in lines]


def attention_pictures(
    task: Task,
    encoders: Mapping[str, Encoder],
    examples: Sequence[Example],
    *,
    title: str,
    position: str | None,
) -> Pictures:
    """Where latents of the first block attend to, and what a position is read from, of each modality that is drawn."""
    batch, model = collate(examples), task.eval().model
    inputs, is_padding = task.input_tensors(batch)
    plan = model.plan({name: x.shape[1] for name, x in inputs.items()})
    shown = {name: Shown(name, encoder, examples) for name, encoder in encoders.items() if name in plan.spans}
    shown = {name: each for name, each in shown.items() if each.values}
    if not shown:
        raise UserError("--kind: attention is drawn on what examples hold, and these hold nothing")
    places = {name: place for name, each in shown.items() if (place := _place(position, each.places)) is not None}
    if position is not None and not places:
        expected = " or ".join(map(_places_in_words, shown.values()))
        raise UserError(f"--position: expected {expected}, got {position!r}")
    is_read = bool(task.drawings)  # else the decoder is not trained
    if position is not None and not is_read:
        raise UserError(f"--position: {task.kind} reads no positions, got {position!r}")

    num_latents = model.config.all_blocks[0].num_latents
    for name, each in shown.items():
        chosen = [
            divmod(k, num_latents) for k in spread_indices(plan.spans[name].num_groups * num_latents, NUM_LATENTS)
        ]
        numbers = sorted({latent for _, latent in chosen})
        weights = attended_tokens(model, inputs, is_padding=is_padding, latents=numbers)[name]
        maps = {}
        for group, latent in chosen:
            label = f"latent {latent}" if plan.spans[name].num_groups == 1 else f"group {group},\nlatent {latent}"
            one = weights[:, group, :, numbers.index(latent)].mean(dim=1)  # of all heads
            maps[label] = _relative(plan, batch, name, group, one)[each.rows]
        yield from _attention(each, maps, title)
        if is_read and name in places:
            token = int(np.ravel_multi_index(places[name], each.grid))
            group, slot = group_and_slot(plan.spans[name], token)
            read = read_latents(model, lambda name=name: _read(task, batch, name), group)[each.rows]  # (B, P, N)
            first = read[:, slot].argmax(dim=1)
            readers = on_tokens(plan.spans[name], group, read[torch.arange(len(read)), :, first])
            yield from _reading(each, places[name], read[:, slot].numpy(), readers.numpy(), title)


def _relative(plan: GroupPlan, batch: Batch, name: str, group: int, weights: Tensor) -> np.ndarray:
    """Attention (B, P) to the slots of a group as a multiple of the equal one: at the tokens, (B, M), NaN elsewhere."""
    present = {each: span.to_groups(batch.is_present(each)) for each, span in plan.spans.items()}  # bool (B, g, P)
    counted = list(present.values()) if plan.is_pooled else [present[name][:, group]]
    count = torch.stack([x.flatten(1).sum(dim=1) for x in counted]).sum(dim=0)
    weights = (weights * count[:, None]).masked_fill(~present[name][:, group], torch.nan)
    return on_tokens(plan.spans[name], group, weights).numpy()


def _read(task: Task, batch: Batch, name: str) -> None:
    """Read all positions of a modality out, as the task does where nothing is hidden."""
    inputs, is_padding = task.input_tensors(batch)
    if isinstance(task, Segmentation):
        task.logits(batch)
    else:
        task.model(inputs, is_padding=is_padding, reconstruct=[name])


def _place(position: str | None, grid: tuple[int, ...]) -> tuple[int, ...] | None:
    """The place that the user named, or the middle; None if the grid has no such place."""
    if position is None:
        return tuple(extent // 2 for extent in grid)
    parts = position.replace(" ", "").split(",")
    if len(parts) != len(grid) or not all(part.isdecimal() for part in parts):
        return None
    place = tuple(map(int, parts))
    return place if all(k < extent for k, extent in zip(place, grid, strict=True)) else None


def _places_in_words(shown: Shown) -> str:
    if shown.kind == "points":
        return f"the number of a point of {shown.name!r}, from 0 to {shown.places[0] - 1}"
    example = ", as 3,4 for row 3, column 4" if len(shown.grid) == 2 else ""
    return f"a place on the grid {shown.grid} of {shown.name!r}{example}"


def _attention(shown: Shown, maps: dict[str, np.ndarray], title: str) -> Pictures:
    how: dict[str, Any] = {"title": f"{title}: where latents of the first block attend to"}
    name = f"attention-{shown.name}"
    if shown.kind == "pictures":
        on_grid = {label: values.reshape(-1, *shown.grid) for label, values in maps.items()}
        yield name, draw_attention(shown.pictures, on_grid, names=shown.names, **how)
    elif shown.kind == "frames":
        for number, (value, _) in enumerate(zip(shown.values, shown.rows, strict=True)):
            on_grid = {label: values[number].reshape(shown.grid) for label, values in maps.items()}
            frames = _attended_frames(list(on_grid.values()), len(value.inputs))
            labels = [shown.frame_names[k] if shown.frame_names else f"frame {k}" for k in frames]
            some = {label: values[frames] for label, values in on_grid.items()}
            how = {"title": f"{title} · {value.name}:\nwhere latents of the first block attend to"}
            drawn = draw_attention(value.inputs[frames], some, names=labels, **how)
            yield name if len(shown.values) == 1 else f"{name}-{number + 1}", drawn
    elif shown.kind == "points":
        yield name, draw_attention_on_points(shown.clouds, _of_each(shown, maps), names=shown.names, **how)
    else:
        curves = [{label.replace("\n", " "): x for label, x in each.items()} for each in _of_each(shown, maps)]
        along: dict[str, Any] = {"scale": shown.scale, "unit": shown.unit, "names": shown.names[:MOST_SIGNALS]}
        yield name, draw_attention_along(shown.signals[:MOST_SIGNALS], curves[:MOST_SIGNALS], **along, **how)


def _of_each(shown: Shown, maps: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Attention to the tokens that are there, (N,), of each example."""
    counts = enumerate(shown.num_tokens)
    return [{label: values[number][:count] for label, values in maps.items()} for number, count in counts]


def _attended_frames(maps: Sequence[np.ndarray], num_frames: int) -> list[int]:
    """At most `MOST_COLUMNS` frames: those where a latent's attention is greatest, and others evenly spread."""
    own = [int(np.nanargmax(x.reshape(len(x), -1).max(axis=1))) for x in map(np.nan_to_num, maps)]
    spread = [*own, *spread_indices(num_frames, MOST_COLUMNS)]
    return sorted(list(dict.fromkeys(k for k in spread if k < num_frames))[:MOST_COLUMNS])


def _reading(shown: Shown, place: tuple[int, ...], weights: np.ndarray, readers: np.ndarray, title: str) -> Pictures:
    name, where = f"reads-{shown.name}", ", ".join(map(str, place))
    what = "point" if shown.kind == "points" else "position"
    title = f"{title}: latents of the last block that {what} {where} is read from"
    if shown.kind == "pictures":
        maps = readers.reshape(-1, *shown.grid)
        yield name, draw_reading(shown.pictures, weights, maps, place, names=shown.names, title=title)
    elif shown.kind == "frames":
        frames = np.stack([value.inputs[min(place[0], len(value.inputs) - 1)] for value in shown.values])
        maps = readers.reshape(-1, *shown.grid)[:, place[0]]
        yield name, draw_reading(frames, weights, maps, place[1:], names=shown.names, title=title)
    elif shown.kind == "points":
        maps = [each[:count] for each, count in zip(readers, shown.num_tokens, strict=True)]
        yield name, draw_reading_of_point(shown.clouds, weights, maps, place[0], names=shown.names, title=title)
    else:
        signals, count = shown.signals[:MOST_SIGNALS], shown.grid[0]
        step = (place[0] + 0.5) * len(signals[0]) / min(shown.num_tokens[0], count)
        how: dict[str, Any] = {"scale": shown.scale, "unit": shown.unit, "names": shown.names[:MOST_SIGNALS]}
        yield name, draw_reading_along(signals, weights[:MOST_SIGNALS], step, title=title, **how)


def feature_pictures(
    task: Task, source: Source, dataset: ExampleDataset, examples: Sequence[Example], *, title: str
) -> Pictures:
    """The processor's latents of a data set, and the decoder's features of the tokens of some pictures."""
    vectors, targets = latent_vectors(task.eval(), dataset, NUM_VECTORS)
    if len(vectors) < 2:
        raise UserError(f"--data: expected at least 2 examples of {source.name} that can be read, got {len(vectors)}")
    is_class, is_number = "label" in targets, "values" in targets
    how: dict[str, Any] = {"class_names": source.classes} if is_class else {}
    if is_class:
        how["classes"] = targets["label"].numpy()
    elif is_number:
        how["numbers"] = targets["values"][:, 0].numpy()
    lines = [f"mean of the processor's latents of {len(vectors)} examples"]
    if is_number and source.classes:
        lines[0] += f"; colours: {source.classes[0]}"
    lines += _neighbours(task, source, dataset, vectors, targets)
    yield (
        "features",
        draw_features(vectors.numpy(), title=f"{title}: what its latents hold", note="\n".join(lines), **how),
    )
    yield from _token_features(task, source, examples, title)


def _neighbours(
    task: Task, source: Source, dataset: ExampleDataset, vectors: Tensor, targets: dict[str, Tensor]
) -> list[str]:
    """How well the nearest training examples say the labels, in a line; none where there are no labels to compare."""
    train = source.splits.get("train")
    if train is None or train is dataset or isinstance(train, StreamedExamples) or not targets or not len(train):
        return []
    known, their_targets = latent_vectors(task, train, NUM_VECTORS)
    parts = []
    for name in targets.keys() & their_targets.keys() - {"segmentation"}:
        is_set = name == "labels" and targets[name].ndim == 2
        read = read_target(known, their_targets[name], vectors, targets[name], is_label_set=is_set)
        for key in ("knn_accuracy", "knn_map", "knn_r2"):
            if key in read:
                kind = key.removeprefix("knn_").replace("r2", "R²").replace("map", "mAP")
                other = read.get(f"{key}_by_majority")
                beside = "" if other is None else f" (most frequent class {metric(key, other)})"
                of = "" if len(targets) == 1 else f" of {name}"
                parts.append(f"{kind}{of} {metric(key, read[key])}{beside}")
    return [f"of the 20 nearest of {len(known)} training examples: {', '.join(sorted(parts))}"] if parts else []


def _token_features(task: Task, source: Source, examples: Sequence[Example], title: str) -> Pictures:
    if not task.drawings:  # the decoder is not trained
        return
    batch, model = collate(examples), task.model
    inputs, is_padding = task.input_tensors(batch)
    with torch.no_grad():
        encoded = model.encode(inputs, is_padding=is_padding)
        latents = model.decode(encoded)
        for name, encoder in source.encoders.items():
            shown = Shown(name, encoder, examples) if name in encoded.plan.spans else None
            if shown is not None and shown.kind == "pictures" and shown.values:
                features = model.read_out(encoded, latents, name, nn.Identity())[shown.rows]  # (B, M, E)
                on_grid = features.unflatten(1, shown.grid).float().numpy()
                heading = f"{title}: what is read at each position"
                yield f"features-{name}", draw_token_features(shown.pictures, on_grid, names=shown.names, title=heading)
