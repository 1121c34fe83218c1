"""One HiP forward for one example, written down literally in NumPy: loops over groups, heads, queries and keys.

A second witness beside the golden cases. It knows only the names of the weights and shares no code with the package.
Where padding is hidden it is simply not in the lists; where it is not, it is a zero vector in them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Vector = np.ndarray
Weights = Mapping[str, np.ndarray]


def layer_norm(weights: Weights, name: str, x: Vector) -> Vector:
    variance = np.mean((x - x.mean()) ** 2)
    return (x - x.mean()) / math.sqrt(variance + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(weights: Weights, name: str, x: Vector, part: int = 0, parts: int = 1) -> Vector:
    """`part` of a layer whose rows are several layers, one below the other."""
    matrix = np.split(weights[f"{name}.weight"], parts)[part]
    out = np.zeros(len(matrix))
    for row in range(len(matrix)):
        out[row] = np.dot(matrix[row], x)
    return out + np.split(weights[f"{name}.bias"], parts)[part] if f"{name}.bias" in weights else out


def feed_forward(weights: Weights, name: str, x: Vector) -> Vector:
    hidden = linear(weights, f"{name}.hidden", x)
    return linear(weights, f"{name}.output", np.array([max(value, 0.0) ** 2 for value in hidden]))


def attention(query: Vector, keys: Sequence[Vector], values: Sequence[Vector], num_heads: int) -> Vector:
    """What one query takes from the values; nothing where there are none."""
    out = np.zeros(len(query))
    if not keys:
        return out
    size = len(query) // num_heads
    for head in range(num_heads):
        channels = slice(head * size, (head + 1) * size)
        scores = [np.dot(query[channels], key[channels]) / math.sqrt(size) for key in keys]
        exponentials = [math.exp(score - max(scores)) for score in scores]
        for exponential, value in zip(exponentials, values, strict=True):
            out[channels] += exponential / sum(exponentials) * value[channels]
    return out


def cross_attention(
    weights: Weights, name: str, queries: Sequence[Vector], tokens: Sequence[Vector], num_heads: int, *, residual: bool
) -> list[Vector]:
    normalised = [layer_norm(weights, f"{name}.token_norm", token) for token in tokens]
    keys = [linear(weights, f"{name}.key_value", token, 0, 2) for token in normalised]
    values = [linear(weights, f"{name}.key_value", token, 1, 2) for token in normalised]
    result = []
    for query in queries:
        asked = linear(weights, f"{name}.query", layer_norm(weights, f"{name}.query_norm", query))
        x = linear(weights, f"{name}.output", attention(asked, keys, values, num_heads))
        if residual:
            x = x + query
        normal = layer_norm(weights, f"{name}.feed_forward_norm", x)
        result.append(x + feed_forward(weights, f"{name}.feed_forward", normal))
    return result


def self_attention(weights: Weights, name: str, latents: Sequence[Vector], num_heads: int) -> list[Vector]:
    normalised = [layer_norm(weights, f"{name}.attention_norm", latent) for latent in latents]
    queries, keys, values = (
        [linear(weights, f"{name}.query_key_value", x, part, 3) for x in normalised] for part in range(3)
    )
    result = []
    for latent, query in zip(latents, queries, strict=True):
        x = latent + linear(weights, f"{name}.output", attention(query, keys, values, num_heads))
        normal = layer_norm(weights, f"{name}.feed_forward_norm", x)
        result.append(x + feed_forward(weights, f"{name}.feed_forward", normal))
    return result


def block(
    weights: Weights,
    index: int,
    shape: Any,
    groups: Sequence[Sequence[Vector]],
    skip: Sequence[Sequence[Vector]] | None,
) -> list[list[Vector]]:
    name = f"blocks.{index}"
    result = []
    for g, tokens in enumerate(groups):
        latents = []
        for n in range(shape.num_latents):
            latent = weights[f"{name}.latents"][g * shape.num_latents + n]
            if skip is not None:
                add = skip[g][n]
                latent = latent + (linear(weights, f"{name}.skip", add) if f"{name}.skip.weight" in weights else add)
            latents.append(latent)
        heads = shape.num_cross_attention_heads
        x = cross_attention(weights, f"{name}.cross_attention", latents, tokens, heads, residual=True)
        for layer in range(shape.num_self_attention_layers):
            x = self_attention(weights, f"{name}.self_attention.{layer}", x, shape.num_self_attention_heads)
        result.append(x)
    return result


def regroup(groups: Sequence[Sequence[Vector]], count: int, *, transpose: bool) -> list[list[Vector]]:
    line = []
    if transpose:
        for n in range(len(groups[0])):
            for group in groups:
                line.append(group[n])
    else:
        for group in groups:
            line.extend(group)
    size = len(line) // count
    return [line[g * size : (g + 1) * size] for g in range(count)]


def assign_groups(sizes: Mapping[str, int], num_groups: int) -> dict[str, int]:
    """Groups of each modality: one, and each further one to whom it relieves most."""
    groups = {}
    for name in sizes:
        groups[name] = 1
    while sum(groups.values()) < num_groups:
        neediest = None
        for name in sizes:
            if neediest is None or sizes[name] * groups[neediest] > sizes[neediest] * groups[name]:
                neediest = name
        assert neediest is not None
        groups[neediest] += 1
    return groups


def hip_forward(
    weights: Weights,
    config: Any,
    labels: Sequence[str],
    inputs: Mapping[str, np.ndarray],
    is_padding: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Reconstructions (M, C) per modality, the last block's latents (G, N, D), the processor's (N, D).

    Args:
        weights: by the names of our model.
        config: shapes of the blocks, `regrouping` and `mask_padding`.
        labels: modalities that join at the bottleneck.
        inputs: per modality (M, C).
        is_padding: per modality (M,), True = absent.
    """
    transpose = config.regrouping == "transpose"
    sizes = {name: len(x) for name, x in inputs.items() if name not in labels}
    num_groups = assign_groups(sizes, config.blocks[0].num_groups)
    places = max(math.ceil(sizes[name] / num_groups[name]) for name in sizes)

    groups: list[list[Vector]] = []
    places_of: list[tuple[str, list[int]]] = []  # modality and tokens of each group
    for name, size in sizes.items():
        per_group = math.ceil(size / num_groups[name])
        for g in range(num_groups[name]):
            members = [t for t in range(g * per_group, (g + 1) * per_group) if t < size]
            tokens = []
            for t in members:
                if not (name in is_padding and is_padding[name][t]):
                    embedded = linear(weights, f"embedding.{name}", inputs[name][t])
                    tokens.append(embedded + weights[f"positions.{name}.table"][t])
            if not config.mask_padding:
                tokens += [np.zeros(len(weights[f"embedding.{name}.bias"]))] * (places - len(members))
            groups.append(tokens)
            places_of.append((name, members))

    middle = len(config.blocks) // 2
    kept: list[list[list[Vector]]] = []
    processor: list[Vector] = []
    x = groups
    for index, shape in enumerate(config.blocks):
        if index > 0:
            x = regroup(x, shape.num_groups, transpose=transpose)
        if index == middle:
            for name in labels:
                for t in range(len(inputs.get(name, ()))):
                    if not (name in is_padding and is_padding[name][t]):
                        embedded = linear(weights, f"embedding.{name}", inputs[name][t])
                        x[0].append(embedded + weights[f"positions.{name}.table"][t])
        x = block(weights, index, shape, x, kept[len(config.blocks) - 1 - index] if index > middle else None)
        kept.append(x)
        if index == middle:
            processor = x[0]

    reconstruction = {name: np.zeros(inputs[name].shape) for name in inputs}
    for (name, members), latents in zip(places_of, x, strict=True):
        queries = [weights[f"positions.{name}.table"][t] for t in members]
        for t, read in zip(
            members, cross_attention(weights, "readout", queries, latents, 1, residual=False), strict=True
        ):
            reconstruction[name][t] = linear(weights, f"unembedding.{name}", read)
    for name in labels:
        if name in inputs:
            queries = list(weights[f"positions.{name}.table"])
            for t, read in enumerate(cross_attention(weights, "label_readout", queries, processor, 1, residual=False)):
                reconstruction[name][t] = linear(weights, f"unembedding.{name}", read)
    return reconstruction, np.array(x), np.array(processor)
