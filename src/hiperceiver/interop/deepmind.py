"""Weights of the published JAX reference: its Haiku parameters to our model, and back.

Source: google-deepmind/hierarchical_perceiver, commit a1c4cd2. Haiku names a module by the path of the modules and
methods that made it, numbers repeated names in the order in which they were made, and stores the weights of linear
layers as (in, out).
"""

import operator
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hiperceiver.modality import Modality
from hiperceiver.model.hip import HiP
from hiperceiver.model.perceiver_io import PerceiverIO
from hiperceiver.model.positions import LearnedPositions
from hiperceiver.settings.model import BlockConfig, HiPConfig, PerceiverIOConfig, Regrouping

_BLOCK_ARGUMENTS = {
    "num_self_attends_per_block": "num_self_attention_layers",
    "z_index_dim": "num_latents",
    "num_z_channels": "num_channels",
    "num_cross_attend_heads": "num_cross_attention_heads",
    "num_self_attend_heads": "num_self_attention_heads",
    "cross_attend_widening_factor": "cross_attention_widening",
    "self_attend_widening_factor": "self_attention_widening",
}
"""The reference's argument -> our field of `BlockConfig`; one value per block, in HiP a sequence of them."""

_IO_REQUIRED = (*_BLOCK_ARGUMENTS, "num_embedding_channels")
_HIP_REQUIRED = ("num_groups", *_IO_REQUIRED)
_SHARED = ("num_position_encoding_channels", "activation_name", "dropout_prob", "drop_path_rate", "name")
_HIP_OPTIONAL = (*_SHARED, "regroup_type", "processor_index_dim_train", "processor_index_dim_eval")

_ARGUMENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "HiP": (_HIP_REQUIRED, _HIP_OPTIONAL),
    "HiPClassBottleneck": ((*_HIP_REQUIRED, "label_modalities"), _HIP_OPTIONAL),
    "PerceiverIO": (_IO_REQUIRED, (*_SHARED, "z_index_dim_train", "z_index_dim_eval")),
}
"""The reference's class -> the arguments of its constructor: required, optional."""

_MODELS: dict[str, type[HiP]] = {"HiP": HiP, "HiPClassBottleneck": HiP, "PerceiverIO": PerceiverIO}
_REGROUPINGS: dict[str, Regrouping] = {"reshape": "reshape", "transpose_reshape": "transpose"}

_FEED_FORWARD = {"feed_forward.hidden": ["dense/mlp_hidden_linear"], "feed_forward.output": ["dense/mlp_output_linear"]}
_CROSS_ATTENTION = {
    "query_norm": ["layer_norm"],
    "token_norm": ["layer_norm_1"],
    "query": ["attention/query_linear"],
    "key_value": ["attention/key_linear", "attention/value_linear"],
    "output": ["attention/attention_output_linear"],
    "feed_forward_norm": ["layer_norm_2"],
    **_FEED_FORWARD,
}
"""Our layer -> the reference's; several hold equal parts of our rows."""
_SELF_ATTENTION = {
    "attention_norm": ["layer_norm"],
    "query_key_value": ["attention/query_linear", "attention/key_linear", "attention/value_linear"],
    "output": ["attention/attention_output_linear"],
    "feed_forward_norm": ["layer_norm_1"],
    **_FEED_FORWARD,
}

HaikuArrays = dict[str, NDArray[np.float32]]
HaikuParams = dict[str, HaikuArrays]


def load_haiku(
    model_class: str,
    kwargs: Mapping[str, Any],
    params: Mapping[str, Mapping[str, ArrayLike]],
    modalities: Mapping[str, tuple[int, int]],
) -> HiP:
    """Build our model from the reference's weights; it computes what the reference computes.

    A HiP attends to group padding as the reference does (`mask_padding=False`). A projection of the position tables is
    folded into them. `activation_name` changes nothing, as in the reference, whose layers always use the squared ReLU.

    Args:
        model_class: "HiP", "HiPClassBottleneck" or "PerceiverIO".
        kwargs: the arguments of its constructor.
        params: its weights by Haiku's names, `{module: {name: array}}`.
        modalities: per modality, `(tokens, channels)`, in the order in which the reference was given them.

    Returns:
        A model of ours in float32 on the CPU, in evaluation mode. Label modalities have the role "label".

    Raises:
        ValueError: an unknown class or argument, or weights that are missing, left over or of another shape.
    """
    kwargs = _checked_arguments(model_class, kwargs)
    labels = _label_names(kwargs, modalities)
    declared = {name: _modality(name, size, name in labels) for name, size in modalities.items()}
    with torch.device("meta"):  # no weights are drawn: all of them are given
        model = _MODELS[model_class](_config(model_class, kwargs), declared)
    scope = kwargs.get("name", "perceiver")
    weights = _fold_position_projections(params, scope, kwargs, model)
    tensors = _from_haiku(weights, list(_layout(model, model_class, scope)), model)
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def to_haiku(
    model: HiP, values: Mapping[str, Tensor] | None = None, *, model_class: str | None = None, name: str = "perceiver"
) -> HaikuParams:
    """A model's weights under the reference's names: the inverse of `load_haiku`.

    Position encodings become tables as wide as the embedding, whatever they are made from, so that the reference must
    be built without `num_position_encoding_channels`. Gives copies, `{module: {name: float32 array}}`.

    Args:
        model: one that the reference can compute: squared ReLU, padding not masked.
        values: numbers in place of the weights, by the names of the model's parameters, such as its gradients
            `{name: p.grad for name, p in model.named_parameters()}`.
        model_class: the reference's class. None: "PerceiverIO", "HiP", or "HiPClassBottleneck" for a HiP with labels.
        name: the reference's name for the outermost module.

    Raises:
        ValueError: the reference cannot compute this model, or `values` lacks a parameter or has it in another shape.
    """
    fitting = [each for each, ours in _MODELS.items() if isinstance(model.config, ours.config_class)]
    if model.label_names:
        fitting = [each for each in fitting if each == "HiPClassBottleneck"]
    if not fitting:
        raise ValueError(f"model: the reference has no PerceiverIO with labels, got {', '.join(model.label_names)}")
    model_class = model_class or fitting[0]
    if model_class not in fitting:
        raise ValueError(f"model_class: expected one of {', '.join(fitting)} for this model, got {model_class!r}")
    if model.config.activation != "squared_relu":
        raise ValueError(f"model: the reference always uses squared_relu, got activation={model.config.activation!r}")
    if not model.config.skips:
        raise ValueError("model: the reference always has skip connections, got skips=False")
    sizes = {each: model.modalities[each].num_tokens for each in model.input_names}
    if isinstance(model.config, HiPConfig) and model.config.mask_padding and model.plan(sizes).has_padding:
        raise ValueError("model: the reference attends to the padding of groups, got mask_padding=True and padding")
    if len(model.orders):
        order = model.config.token_order
        raise ValueError(f"model: the reference groups tokens in row-major order, got token_order={order!r}")
    if model.config.positions == "coordinate":
        raise ValueError("model: the reference has no positions from coordinates, got positions='coordinate'")
    if looked_up := [each for each, modality in model.modalities.items() if modality.num_categories]:
        raise ValueError(f"model: the reference has no vectors of categories, got some for {looked_up[0]!r}")
    parameters = model.state_dict() | {f"positions.{each}.table": model.positions[each]() for each in model.modalities}
    if values is None:
        values = parameters
    elif not all(map(_is_table, model.positions.values())):
        raise ValueError("values: expected a model whose positions are tables as wide as the embedding")
    params: defaultdict[str, HaikuArrays] = defaultdict(dict)
    for weight in _layout(model, model_class, name):
        value, expected = values.get(weight.ours), tuple(parameters[weight.ours].shape)
        if value is None:
            raise ValueError(f"values: expected a tensor for {weight.ours}, got none")
        if value.shape != expected:
            raise ValueError(f"values: expected shape {expected} for {weight.ours}, got {tuple(value.shape)}")
        value = value.detach().chunk(weight.of)[weight.part]
        value = value.mT if weight.name == "w" else value
        params[weight.module][weight.name] = value.cpu().float().numpy().copy(order="C")
    return dict(params)


def _checked_arguments(model_class: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if model_class not in _ARGUMENTS:
        raise ValueError(f"model_class: expected one of {', '.join(_ARGUMENTS)}, got {model_class!r}")
    required, optional = _ARGUMENTS[model_class]
    known = (*required, *optional)
    for name in kwargs:
        if name not in known:
            raise ValueError(f"kwargs: {name!r} is not an argument of {model_class}; known: {', '.join(known)}")
    for name in required:
        if kwargs.get(name) is None:
            raise ValueError(f"kwargs: {model_class} needs {name}, got none")
    # What the reference takes as None means its default, which is what leaving it out means.
    return {name: value for name, value in kwargs.items() if value is not None}


def _label_names(kwargs: Mapping[str, Any], modalities: Mapping[str, tuple[int, int]]) -> set[str]:
    names = kwargs.get("label_modalities", ())
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"label_modalities: expected a list of names, got {names!r}")
    return {name for name in names if name in modalities}


def _modality(name: str, size: Sequence[int], is_label: bool) -> Modality:
    if isinstance(size, str) or not isinstance(size, Sequence) or len(size) != 2:
        raise ValueError(f"modalities: expected (tokens, channels) for {name!r}, got {size!r}")
    tokens, channels = (_whole(f"modalities: {name!r}", number) for number in size)
    return Modality(grid=(tokens,), channels=channels, role="label" if is_label else "input")


def _config(model_class: str, kwargs: Mapping[str, Any]) -> HiPConfig | PerceiverIOConfig:
    shared: dict[str, Any] = {
        "embedding_channels": _whole("num_embedding_channels", kwargs["num_embedding_channels"]),
        "dropout": kwargs.get("dropout_prob", 0.0),
        "drop_path": kwargs.get("drop_path_rate", 0.0),
    }
    if model_class == "PerceiverIO":
        shape = {ours: _whole(theirs, kwargs[theirs]) for theirs, ours in _BLOCK_ARGUMENTS.items()}
        shape |= _latent_counts(kwargs, "z_index_dim", shape["num_latents"])
        return PerceiverIOConfig(block=BlockConfig(num_groups=1, **shape), **shared)
    groups = _whole_numbers("num_groups", kwargs["num_groups"])
    shapes: list[dict[str, int]] = [{"num_groups": count} for count in groups]
    for theirs, ours in _BLOCK_ARGUMENTS.items():
        column = _whole_numbers(theirs, kwargs[theirs])
        if len(column) != len(groups):
            raise ValueError(f"{theirs}: expected {len(groups)} numbers as in num_groups, got {len(column)}")
        for shape, number in zip(shapes, column, strict=True):
            shape[ours] = number
    if shapes:
        middle = len(shapes) // 2
        shapes[middle] |= _latent_counts(kwargs, "processor_index_dim", shapes[middle]["num_latents"])
        following = groups[middle + 1] if middle + 1 < len(groups) else 1
        if following > 0 and shapes[middle].get("num_train_latents", 0) % following:
            # The reference could not be trained with this number, which the next block's groups do not divide; but it
            # can be evaluated, where the number is not used.
            del shapes[middle]["num_train_latents"]
    regroup_type = kwargs.get("regroup_type", "reshape")
    if regroup_type not in _REGROUPINGS:
        raise ValueError(f"regroup_type: expected one of {', '.join(_REGROUPINGS)}, got {regroup_type!r}")
    blocks = tuple(BlockConfig(**shape) for shape in shapes)
    return HiPConfig(blocks=blocks, regrouping=_REGROUPINGS[regroup_type], mask_padding=False, **shared)


def _latent_counts(kwargs: Mapping[str, Any], argument: str, default: int) -> dict[str, int]:
    """Latents held and latents used while training, from the two overrides, of which at most one may be given."""
    train, evaluation = kwargs.get(f"{argument}_train"), kwargs.get(f"{argument}_eval")
    if train is not None and evaluation is not None:
        raise ValueError(f"{argument}_train: expected it or {argument}_eval, got both")
    held = default if evaluation is None else _whole(f"{argument}_eval", evaluation)
    used = default if train is None else _whole(f"{argument}_train", train)
    return {"num_latents": held} if used == held else {"num_latents": held, "num_train_latents": used}


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name}: expected a whole number, got {value!r}") from None


def _whole_numbers(name: str, values: Any) -> list[int]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{name}: expected a whole number for each block, got {values!r}")
    return [_whole(name, value) for value in values]


class _Weight(NamedTuple):
    """Where one of the reference's weights lies in our model."""

    ours: str  # name of our parameter
    module: str  # Haiku's
    name: str  # in the module; linear weights, `w`, are transposed: (in, out)
    part: int = 0  # which of the equal parts of our parameter's rows it is
    of: int = 1  # number of parts


def _layout(model: HiP, model_class: str, scope: str) -> Iterator[_Weight]:
    """Every weight of the reference that holds one of ours. Position projections are folded and do not appear."""
    has_bottleneck = model_class == "HiPClassBottleneck"
    modalities = [("", model.input_names), *((f"_{i}", (name,)) for i, name in enumerate(model.label_names, start=1))]
    for suffix, names in modalities:
        for kind, method in (("embedding", "embed"), ("unembedding", "unembed")):
            for name, theirs in _haiku_names(f"{method}_{{}}", names).items():
                yield from _layer(f"{kind}.{name}", f"{scope}/embedder{suffix}/~{method}", theirs)
        for name, theirs in _haiku_names("pos_emb_mae_{}", names).items():
            yield _Weight(f"positions.{name}.table", f"{scope}/position_encoder{suffix}/{theirs}", "pos_embs")
    for index, block in enumerate(model.blocks):
        ours, theirs = f"blocks.{index}", f"{scope}/{'perceiver_' if has_bottleneck else ''}block_{index}/~"
        cross = f"{theirs}/hi_p_cross_attention"
        yield _Weight(f"{ours}.latents", f"{cross}/query_inputs", "pos_embs")
        if not isinstance(block.skip, nn.Identity):
            yield from _layer(f"{ours}.skip", cross, "pre_attention_residual_linear")
        yield from _layers(f"{ours}.cross_attention", cross, _CROSS_ATTENTION)
        for i in range(len(block.self_attention)):  # type: ignore[arg-type]
            yield from _layers(f"{ours}.self_attention.{i}", f"{theirs}/self_attend_id_{i}", _SELF_ATTENTION)
    # The bottleneck's class makes the labels' readout first, even where no label comes.
    heads = ["reconstruction_head", "reconstruction_head_1"]
    if model.label_names:
        yield from _layers("label_readout", f"{scope}/{heads[0]}/hi_p_cross_attention", _CROSS_ATTENTION)
    yield from _layers("readout", f"{scope}/{heads[has_bottleneck]}/hi_p_cross_attention", _CROSS_ATTENTION)


def _layers(ours: str, scope: str, table: Mapping[str, Sequence[str]]) -> Iterator[_Weight]:
    for layer, theirs in table.items():
        yield from _layer(f"{ours}.{layer}", scope, *theirs)


def _layer(ours: str, scope: str, *theirs: str) -> Iterator[_Weight]:
    """A linear layer or a norm; several of the reference's hold equal parts of our rows."""
    weight, bias = ("scale", "offset") if theirs[0].startswith("layer_norm") else ("w", "b")
    for part, module in enumerate(theirs):
        yield _Weight(f"{ours}.weight", f"{scope}/{module}", weight, part, len(theirs))
        yield _Weight(f"{ours}.bias", f"{scope}/{module}", bias, part, len(theirs))


def _haiku_names(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """What Haiku calls the module of each modality, given this pattern of its name, made in this order in one scope.

    A name that was given before gets the next number. A name that ends in a number counts as that number of the name
    before it: after "cam_1", "cam" is "cam_2".
    """
    following: defaultdict[str, int] = defaultdict(int)
    result = {}
    for name in names:
        stem = pattern.format(name)
        numbered = re.fullmatch(r"(.*)_(0|[1-9]\d*)", stem, flags=re.DOTALL)
        stem, number = (numbered[1], int(numbered[2])) if numbered else (stem, following[stem])
        following[stem] = max(following[stem], number + 1)
        result[name] = f"{stem}_{number}" if numbered or number else stem
    return result


def _fold_position_projections(
    params: Mapping[str, Mapping[str, ArrayLike]], scope: str, kwargs: Mapping[str, Any], model: HiP
) -> HaikuParams:
    """The weights as float32 arrays, each projected position table replaced by its projection."""
    weights: HaikuParams = {}
    for module, leaves in params.items():
        if not isinstance(leaves, Mapping):
            raise ValueError(f"params: expected {{module: {{name: array}}}}, got no names under {module!r}")
        weights[module] = {name: _array(module, name, value) for name, value in leaves.items()}
    width = model.config.embedding_channels
    if kwargs.get("num_position_encoding_channels", width) == width:
        return weights
    encoder, projections = f"{scope}/position_encoder", _haiku_names("position_encoding_linear", model.input_names)
    for name, table in _haiku_names("pos_emb_mae_{}", model.input_names).items():
        matrix = _take(weights, f"{encoder}/{projections[name]}", {"w": (width, width)})["w"]
        module = f"{encoder}/{table}"
        full = _take(weights, module, {"pos_embs": (model.modalities[name].num_tokens, width)})["pos_embs"]
        # In double precision: the product is rounded once.
        weights[module] = {"pos_embs": (full.astype(np.float64) @ matrix).astype(np.float32)}
    return weights


def _from_haiku(weights: HaikuParams, layout: Sequence[_Weight], model: HiP) -> dict[str, Tensor]:
    """Our tensors, by our names. Every weight given is used and every one of ours is set."""
    expected = model.state_dict()
    shapes: defaultdict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for weight in layout:
        rows, *columns = expected[weight.ours].shape
        shape = (rows // weight.of, *columns)
        shapes[weight.module][weight.name] = shape[::-1] if weight.name == "w" else shape
    taken = {module: _take(weights, module, leaves) for module, leaves in shapes.items()}
    if weights:
        raise ValueError(f"params: {next(iter(weights))!r} is not a module of this model; check kwargs and modalities")
    parts: defaultdict[str, list[Tensor]] = defaultdict(list)
    for weight in layout:
        tensor = torch.from_numpy(taken[weight.module][weight.name])
        parts[weight.ours].append(tensor.mT if weight.name == "w" else tensor)
    assert parts.keys() == expected.keys()
    return {name: torch.cat(tensors).contiguous() for name, tensors in parts.items()}


def _take(weights: HaikuParams, module: str, leaves: Mapping[str, tuple[int, ...]]) -> HaikuArrays:
    """Remove a module from `weights` and return its arrays, which must have these names and shapes."""
    wanted = ", ".join(sorted(leaves))
    if module not in weights:
        raise ValueError(f"params: expected a module {module!r} with {wanted}, got none of that name")
    found = weights.pop(module)
    if found.keys() != leaves.keys():
        raise ValueError(f"params: expected {wanted} in module {module!r}, got {', '.join(sorted(found)) or 'nothing'}")
    for name, shape in leaves.items():
        if found[name].shape != shape:
            raise ValueError(f"params: expected shape {shape} for {name} in module {module!r}, got {found[name].shape}")
    return found


def _array(module: str, name: str, value: ArrayLike) -> NDArray[np.float32]:
    try:
        return np.array(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"params: expected an array of numbers for {name} in module {module!r}") from None


def _is_table(positions: nn.Module) -> bool:
    return isinstance(positions, LearnedPositions) and isinstance(positions.projection, nn.Identity)
