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

_REGROUPINGS: dict[str, Regrouping] = {"reshape": "reshape", "transpose_reshape": "transpose"}

HaikuParams = dict[str, dict[str, NDArray[np.float32]]]


def load_haiku(
    model_class: str,
    kwargs: Mapping[str, Any],
    params: Mapping[str, Mapping[str, ArrayLike]],
    modalities: Mapping[str, tuple[int, int]],
) -> HiP:
    """Build our model from the reference's weights; it computes what the reference computes.

    A HiP attends to group padding as the reference does (`mask_padding=False`). Where the reference projects its
    position tables, the projection is folded into the table, which is exact. `activation_name` changes nothing, as in
    the reference, whose layers always use the squared ReLU.

    Args:
        model_class: the reference's class: "HiP", "HiPClassBottleneck" or "PerceiverIO".
        kwargs: the arguments of its constructor, by name.
        params: its weights by Haiku's names, `{module: {name: array}}`.
        modalities: per modality, `(tokens, channels)`, in the order in which the reference was given them.

    Returns:
        A model of ours in float32 on the CPU, in evaluation mode. Label modalities have the role "label".

    Raises:
        ValueError: an unknown class or argument, or weights that are missing, left over or of another shape.

    >>> import torch
    >>> kwargs = dict(
    ...     num_self_attends_per_block=1,
    ...     z_index_dim=4,
    ...     num_z_channels=8,
    ...     num_cross_attend_heads=1,
    ...     num_self_attend_heads=2,
    ...     cross_attend_widening_factor=1,
    ...     self_attend_widening_factor=4,
    ...     num_embedding_channels=8,
    ... )
    >>> load_haiku("PerceiverIO", kwargs, params={}, modalities={"sound": (100, 1)})
    Traceback (most recent call last):
    ValueError: params: expected a module 'perceiver/embedder/~embed/embed_sound' with b, w, got none of that name
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
    model: HiP,
    values: Mapping[str, Tensor] | None = None,
    *,
    model_class: str | None = None,
    name: str = "perceiver",
) -> HaikuParams:
    """A model's weights under the reference's names: the inverse of `load_haiku`.

    Position encodings become tables as wide as the embedding, whatever they are made from, so that the reference must
    be built without `num_position_encoding_channels`.

    Args:
        model: the model. It must be one that the reference can compute: squared ReLU, padding not masked.
        values: numbers to give the reference's names to in place of the weights, by the names of the model's
            parameters; with `{name: p.grad for name, p in model.named_parameters()}`, gradients to compare with the
            reference's.
        model_class: the reference's class. None: "PerceiverIO", "HiP", or "HiPClassBottleneck" for a HiP with labels.
        name: the reference's name for the outermost module.

    Returns:
        `{module: {name: float32 array}}`, copies.

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
    sizes = {each: model.modalities[each].num_tokens for each in model.input_names}
    if isinstance(model.config, HiPConfig) and model.config.mask_padding and model.plan(sizes).has_padding:
        raise ValueError(
            "model: the reference attends to the padding of groups, got mask_padding=True and padded groups"
        )
    if model.config.positions == "coordinate":
        raise ValueError("model: the reference has no positions from coordinates, got positions='coordinate'")
    parameters = model.state_dict() | {f"positions.{each}.table": model.positions[each]() for each in model.modalities}
    if values is None:
        values = parameters
    elif any(_is_not_a_table(model.positions[each]) for each in model.modalities):
        raise ValueError(
            "values: expected a model whose positions are tables as wide as the embedding, got another kind"
        )
    params: defaultdict[str, dict[str, NDArray[np.float32]]] = defaultdict(dict)
    for weight in _layout(model, model_class, name):
        value, expected = values.get(weight.ours), tuple(parameters[weight.ours].shape)
        if value is None:
            raise ValueError(f"values: expected a tensor for {weight.ours}, got none")
        if value.shape != expected:
            raise ValueError(f"values: expected shape {expected} for {weight.ours}, got {tuple(value.shape)}")
        value = value.detach().chunk(weight.of)[weight.part]
        value = value.mT if weight.is_transposed else value
        params[weight.module][weight.name] = value.cpu().float().numpy().copy(order="C")
    return dict(params)


# --------------------------------------------------------------------------------------------------------- arguments

_MODELS: dict[str, type[HiP]] = {"HiP": HiP, "HiPClassBottleneck": HiP, "PerceiverIO": PerceiverIO}


def _checked_arguments(model_class: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if model_class not in _ARGUMENTS:
        raise ValueError(f"model_class: expected one of {', '.join(_ARGUMENTS)}, got {model_class!r}")
    required, optional = _ARGUMENTS[model_class]
    for name in kwargs:
        if name not in required and name not in optional:
            raise ValueError(
                f"kwargs: {name!r} is not an argument of {model_class}; known: {', '.join((*required, *optional))}"
            )
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
    columns = {ours: _whole_numbers(theirs, kwargs[theirs]) for theirs, ours in _BLOCK_ARGUMENTS.items()}
    for theirs, ours in _BLOCK_ARGUMENTS.items():
        if len(columns[ours]) != len(groups):
            raise ValueError(f"{theirs}: expected {len(groups)} numbers as in num_groups, got {len(columns[ours])}")
    shapes = [{ours: column[index] for ours, column in columns.items()} for index in range(len(groups))]
    if shapes:
        index = len(shapes) // 2
        shapes[index] |= _latent_counts(kwargs, "processor_index_dim", shapes[index]["num_latents"])
        following = groups[index + 1] if index + 1 < len(groups) else 1
        if following > 0 and shapes[index].get("num_train_latents", 0) % following:
            # The reference could not be trained with this number, as the next block cannot deal it out; but it can be
            # evaluated, where the number is not used.
            del shapes[index]["num_train_latents"]
    regroup_type = kwargs.get("regroup_type", "reshape")
    if regroup_type not in _REGROUPINGS:
        raise ValueError(f"regroup_type: expected one of {', '.join(_REGROUPINGS)}, got {regroup_type!r}")
    return HiPConfig(
        blocks=tuple(BlockConfig(num_groups=count, **shape) for count, shape in zip(groups, shapes, strict=True)),
        regrouping=_REGROUPINGS[regroup_type],
        mask_padding=False,
        **shared,
    )


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


# ------------------------------------------------------------------------------------------------------------- names


class _Weight(NamedTuple):
    """Where one of the reference's weights lies in our model."""

    ours: str
    """Name of our parameter."""
    module: str
    """Haiku's module."""
    name: str
    """Its name in the module."""
    part: int = 0
    """Which of the equal parts of our parameter's rows it is; we keep queries, keys and values together."""
    of: int = 1
    """Number of parts."""

    @property
    def is_transposed(self) -> bool:
        """Whether it is stored the other way round there: (in, out)."""
        return self.name == "w"


def _layout(model: HiP, model_class: str, scope: str) -> Iterator[_Weight]:
    """Every weight of the reference that holds one of ours. Position projections are folded and do not appear."""
    inputs, labels = model.input_names, model.label_names
    has_bottleneck = model_class == "HiPClassBottleneck"
    for suffix, names in [("", inputs), *((f"_{index}", (label,)) for index, label in enumerate(labels, start=1))]:
        yield from _embedding(f"{scope}/embedder{suffix}", names)
        tables = _haiku_names(f"pos_emb_mae_{name}" for name in names)
        for name, table in zip(names, tables, strict=True):
            yield _Weight(f"positions.{name}.table", f"{scope}/position_encoder{suffix}/{table}", "pos_embs")
    for index, block in enumerate(model.blocks):
        module = f"{scope}/{'perceiver_' if has_bottleneck else ''}block_{index}/~"
        yield from _block(f"blocks.{index}", module, block)
    # The bottleneck's class makes the labels' readout first, even where no label comes.
    if labels:
        yield from _cross_attention("label_readout", f"{scope}/reconstruction_head/hi_p_cross_attention")
    readout = "reconstruction_head_1" if has_bottleneck else "reconstruction_head"
    yield from _cross_attention("readout", f"{scope}/{readout}/hi_p_cross_attention")


def _embedding(module: str, names: Sequence[str]) -> Iterator[_Weight]:
    for ours, method in [("embedding", "embed"), ("unembedding", "unembed")]:
        theirs = _haiku_names(f"{method}_{name}" for name in names)
        for name, leaf in zip(names, theirs, strict=True):
            yield from _linear(f"{ours}.{name}", f"{module}/~{method}/{leaf}")


def _block(ours: str, module: str, block: nn.Module) -> Iterator[_Weight]:
    cross = f"{module}/hi_p_cross_attention"
    yield _Weight(f"{ours}.latents", f"{cross}/query_inputs", "pos_embs")
    if not isinstance(block.skip, nn.Identity):
        yield from _linear(f"{ours}.skip", f"{cross}/pre_attention_residual_linear")
    yield from _cross_attention(f"{ours}.cross_attention", cross)
    for index in range(len(block.self_attention)):  # type: ignore[arg-type]
        yield from _self_attention(f"{ours}.self_attention.{index}", f"{module}/self_attend_id_{index}")


def _cross_attention(ours: str, module: str) -> Iterator[_Weight]:
    yield from _norm(f"{ours}.query_norm", f"{module}/layer_norm")
    yield from _norm(f"{ours}.token_norm", f"{module}/layer_norm_1")
    yield from _linear(f"{ours}.query", f"{module}/attention/query_linear")
    yield from _linear(f"{ours}.key_value", f"{module}/attention/key_linear", 0, 2)
    yield from _linear(f"{ours}.key_value", f"{module}/attention/value_linear", 1, 2)
    yield from _linear(f"{ours}.output", f"{module}/attention/attention_output_linear")
    yield from _norm(f"{ours}.feed_forward_norm", f"{module}/layer_norm_2")
    yield from _feed_forward(f"{ours}.feed_forward", f"{module}/dense")


def _self_attention(ours: str, module: str) -> Iterator[_Weight]:
    yield from _norm(f"{ours}.attention_norm", f"{module}/layer_norm")
    for part, leaf in enumerate(["query_linear", "key_linear", "value_linear"]):
        yield from _linear(f"{ours}.query_key_value", f"{module}/attention/{leaf}", part, 3)
    yield from _linear(f"{ours}.output", f"{module}/attention/attention_output_linear")
    yield from _norm(f"{ours}.feed_forward_norm", f"{module}/layer_norm_1")
    yield from _feed_forward(f"{ours}.feed_forward", f"{module}/dense")


def _feed_forward(ours: str, module: str) -> Iterator[_Weight]:
    yield from _linear(f"{ours}.hidden", f"{module}/mlp_hidden_linear")
    yield from _linear(f"{ours}.output", f"{module}/mlp_output_linear")


def _linear(ours: str, module: str, part: int = 0, of: int = 1) -> Iterator[_Weight]:
    yield _Weight(f"{ours}.weight", module, "w", part, of)
    yield _Weight(f"{ours}.bias", module, "b", part, of)


def _norm(ours: str, module: str) -> Iterator[_Weight]:
    yield _Weight(f"{ours}.weight", module, "scale")
    yield _Weight(f"{ours}.bias", module, "offset")


def _haiku_names(names: Iterable[str]) -> list[str]:
    """What Haiku calls modules that were given these names, made in this order in one place.

    A name that was given before gets the next number. A name that ends in a number counts as that number of the name
    before it.

    >>> _haiku_names(["linear", "linear", "cam_1", "cam"])
    ['linear', 'linear_1', 'cam_1', 'cam_2']
    """
    following: defaultdict[str, int] = defaultdict(int)
    result: list[str] = []
    for name in names:
        numbered = re.fullmatch(r"(.*)_(0|[1-9]\d*)", name, flags=re.DOTALL)
        stem, number = (numbered[1], int(numbered[2])) if numbered else (name, following[name])
        following[stem] = max(following[stem], number + 1)
        result.append(f"{stem}_{number}" if numbered or number else stem)
    return result


# ----------------------------------------------------------------------------------------------------------- weights


def _fold_position_projections(
    params: Mapping[str, Mapping[str, ArrayLike]], scope: str, kwargs: Mapping[str, Any], model: HiP
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """The weights as float32 arrays, each projected position table replaced by its projection."""
    weights: dict[str, dict[str, NDArray[np.float32]]] = {}
    for module, leaves in params.items():
        if not isinstance(leaves, Mapping):
            raise ValueError(f"params: expected {{module: {{name: array}}}}, got no names under {module!r}")
        weights[module] = {name: _array(module, name, value) for name, value in leaves.items()}
    width = model.config.embedding_channels
    if kwargs.get("num_position_encoding_channels", width) == width:
        return weights
    encoder, names = f"{scope}/position_encoder", model.input_names
    tables = _haiku_names(f"pos_emb_mae_{name}" for name in names)
    projections = _haiku_names("position_encoding_linear" for _ in names)
    for name, table, projection in zip(names, tables, projections, strict=True):
        matrix = _take(weights, f"{encoder}/{projection}", {"w": (width, width)})["w"]
        where = f"{encoder}/{table}"
        full = _take(weights, where, {"pos_embs": (model.modalities[name].num_tokens, width)})["pos_embs"]
        # In double precision: the product is rounded once.
        weights[where] = {"pos_embs": (full.astype(np.float64) @ matrix).astype(np.float32)}
    return weights


def _from_haiku(
    weights: dict[str, dict[str, NDArray[np.float32]]], layout: Sequence[_Weight], model: HiP
) -> dict[str, Tensor]:
    """Our tensors, by our names. Every weight given is used and every one of ours is set."""
    expected = model.state_dict()
    shapes: defaultdict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
    for weight in layout:
        rows, *columns = expected[weight.ours].shape
        shape = (rows // weight.of, *columns)
        shapes[weight.module][weight.name] = shape[::-1] if weight.is_transposed else shape
    taken = {module: _take(weights, module, leaves) for module, leaves in shapes.items()}
    if weights:
        raise ValueError(f"params: {next(iter(weights))!r} is not a module of this model; check kwargs and modalities")
    parts: defaultdict[str, list[Tensor]] = defaultdict(list)
    for weight in layout:
        tensor = torch.from_numpy(taken[weight.module][weight.name])
        parts[weight.ours].append(tensor.mT if weight.is_transposed else tensor)
    assert parts.keys() == expected.keys()
    return {name: torch.cat(tensors).contiguous() for name, tensors in parts.items()}


def _take(
    weights: dict[str, dict[str, NDArray[np.float32]]], module: str, leaves: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
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


def _is_not_a_table(positions: nn.Module) -> bool:
    return not (isinstance(positions, LearnedPositions) and isinstance(positions.projection, nn.Identity))
