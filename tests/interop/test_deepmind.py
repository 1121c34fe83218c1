"""The published reference's weights: our model computes what it computed, and they come back as they went in."""

import copy
import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_close, gradient_terms_of, terms_of
from torch import Tensor, nn

import hiperceiver.interop
from hiperceiver.interop.deepmind import load_haiku, to_haiku
from hiperceiver.modality import Modality
from hiperceiver.model import BlockConfig, HiP, HiPConfig, PerceiverIO, PerceiverIOConfig

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.npz"))
PROJECTED = "hip_projected_positions"

Params = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Golden:
    model_class: str
    kwargs: dict[str, Any]
    inputs: dict[str, Tensor]
    params: Params
    outputs: dict[str, np.ndarray]
    loss: np.ndarray
    gradients: Params

    @property
    def modalities(self) -> dict[str, tuple[int, int]]:
        return {name: (x.shape[1], x.shape[2]) for name, x in self.inputs.items()}

    def on(self, device: str) -> dict[str, Tensor]:
        return {name: x.to(device) for name, x in self.inputs.items()}

    def load(self, **changes: Any) -> HiP:
        values = {
            "model_class": self.model_class,
            "kwargs": self.kwargs,
            "params": self.params,
            "modalities": self.modalities,
        }
        return load_haiku(**values | changes)


def read_golden(name: str) -> Golden:
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    params: Params = {}
    gradients: Params = {}
    for key, array in arrays.items():
        kind, _, rest = key.partition("/")
        if kind in ("param", "grad"):
            module, _, leaf = rest.rpartition("/")
            (params if kind == "param" else gradients).setdefault(module, {})[leaf] = array
    return Golden(
        model_class=meta["model"],
        kwargs=meta["kwargs"],
        inputs={name: torch.from_numpy(arrays[f"input/{name}"]) for name in meta["modality_order"]},
        params=params,
        outputs={name: arrays[f"output/{name}"] for name in meta["modality_order"]},
        loss=arrays["loss"],
        gradients=gradients,
    )


def loss_of(model: HiP, inputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    outputs = model(inputs).reconstruction
    return torch.stack([(outputs[name] - x).square().mean() for name, x in inputs.items()]).mean(), outputs


def unfold_positions(gradients: Params, golden: Golden) -> Params:
    """From the gradient of a folded table T W to those of T and of W, which the reference has."""
    encoder = "perceiver/position_encoder"
    for index, name in enumerate(golden.inputs):
        projection = f"{encoder}/position_encoding_linear" + (f"_{index}" if index else "")
        table = f"{encoder}/pos_emb_mae_{name}"
        folded = gradients[table]["pos_embs"]
        gradients[table] = {"pos_embs": folded @ golden.params[projection]["w"].T}
        gradients[projection] = {"w": golden.params[table]["pos_embs"].T @ folded}
    return gradients


@pytest.fixture(scope="module", params=CASES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(request.param)


def test_the_golden_cases_are_here() -> None:
    assert len(CASES) == 6


def test_outputs_and_loss_agree(golden: Golden, device: str) -> None:
    model = golden.load().to(device)
    assert not model.training
    with torch.no_grad():
        loss, outputs = loss_of(model, golden.on(device))
    for name, theirs in golden.outputs.items():
        assert_close(outputs[name], theirs, terms=terms_of(model), name=name)
    assert_close(loss, golden.loss, terms=terms_of(model) + sum(x.numel() for x in golden.inputs.values()))


def test_gradients_agree(golden: Golden, device: str) -> None:
    model = golden.load().to(device)
    loss_of(model, golden.on(device))[0].backward()
    gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
    ours = to_haiku(model, gradients, model_class=golden.model_class)
    if "num_position_encoding_channels" in golden.kwargs and any("_linear" in m for m in golden.params if "posit" in m):
        ours = unfold_positions(ours, golden)
    assert ours.keys() == golden.gradients.keys()
    batch = len(next(iter(golden.inputs.values())))
    terms = gradient_terms_of(model, batch)
    for module, leaves in golden.gradients.items():
        assert ours[module].keys() == leaves.keys()
        for leaf, theirs in leaves.items():
            scale = np.abs(theirs).max()
            if module.endswith("key_linear") and leaf == "b":
                # A softmax does not see what is added to all its scores: zero, and rounding in the reference.
                scale = np.abs(leaves["w"]).max()
            assert_close(ours[module][leaf], theirs, terms=terms, scale=scale, name=f"{module}/{leaf}")


@pytest.mark.parametrize("name", [name for name in CASES if name != PROJECTED])
def test_round_trip(name: str) -> None:
    golden = read_golden(name)
    params = to_haiku(golden.load())
    assert params.keys() == golden.params.keys()
    for module, leaves in golden.params.items():
        assert params[module].keys() == leaves.keys()
        for leaf, array in leaves.items():
            np.testing.assert_array_equal(params[module][leaf], array, err_msg=f"{module}/{leaf}")


def test_projected_positions_are_folded_into_the_table() -> None:
    golden = read_golden(PROJECTED)
    model = golden.load()
    encoder = "perceiver/position_encoder"
    for name, projection in [("image", "position_encoding_linear"), ("text", "position_encoding_linear_1")]:
        table = golden.params[f"{encoder}/pos_emb_mae_{name}"]["pos_embs"].astype(np.float64)
        folded = table @ golden.params[f"{encoder}/{projection}"]["w"]
        assert_close(model.positions[name](), folded, terms=table.shape[1])
    without = {key: value for key, value in golden.kwargs.items() if key != "num_position_encoding_channels"}
    again = golden.load(kwargs=without, params=to_haiku(model))
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))


def test_the_model_is_ours_alone() -> None:
    golden = read_golden("hip_label_bottleneck")
    params = copy.deepcopy(golden.params)
    before = torch.get_rng_state()
    model = golden.load(params=params)
    assert torch.equal(torch.get_rng_state(), before)  # no weights were drawn
    loss, _ = loss_of(model, golden.inputs)
    for leaves in params.values():
        for array in leaves.values():
            array[...] = np.nan
    assert torch.equal(loss_of(model, golden.inputs)[0], loss)
    assert isinstance(model, HiP)
    assert {name: m.role for name, m in model.modalities.items()} == {"image": "input", "label": "label"}
    for parameter in model.parameters():
        assert parameter.requires_grad
        assert parameter.is_contiguous()
        assert parameter.dtype == torch.float32
        assert parameter.device.type == "cpu"


# ------------------------------------------------------------------------- arguments that no golden case has

HIP = {
    "num_groups": (4, 1, 4),
    "num_self_attends_per_block": (1, 2, 0),
    "z_index_dim": (4, 8, 4),
    "num_z_channels": (8, 12, 16),
    "num_cross_attend_heads": (2, 4, 3),
    "num_self_attend_heads": (1, 2, 4),
    "cross_attend_widening_factor": (1, 2, 3),
    "self_attend_widening_factor": (4, 3, 2),
    "num_embedding_channels": 8,
}
IO = {
    "num_self_attends_per_block": 1,
    "z_index_dim": 8,
    "num_z_channels": 12,
    "num_cross_attend_heads": 2,
    "num_self_attend_heads": 3,
    "cross_attend_widening_factor": 1,
    "self_attend_widening_factor": 2,
    "num_embedding_channels": 8,
}


def made_up(model_class: str, kwargs: dict[str, Any], modalities: dict[str, tuple[int, int]]) -> Params:
    """Random weights under the reference's names, written down from what its modules make."""
    rng = np.random.default_rng(0)
    params: Params = {}
    scope = kwargs.get("name", "perceiver")

    def linear(module: str, channels: int, out: int) -> None:
        params[f"{scope}/{module}"] = {"w": rng.normal(size=(channels, out)), "b": rng.normal(size=out)}

    def norms(module: str, *widths: int) -> None:
        for index, width in enumerate(widths):
            name = f"{scope}/{module}/layer_norm" + (f"_{index}" if index else "")
            params[name] = {"scale": rng.normal(size=width), "offset": rng.normal(size=width)}

    def table(module: str, rows: int, channels: int) -> None:
        params[f"{scope}/{module}"] = {"pos_embs": rng.normal(size=(rows, channels))}

    def attention(module: str, query: int, token: int, widening: int) -> None:
        for name in ("query_linear", "key_linear", "value_linear"):
            linear(f"{module}/attention/{name}", query if name == "query_linear" else token, token)
        linear(f"{module}/attention/attention_output_linear", token, query)
        linear(f"{module}/dense/mlp_hidden_linear", query, widening * query)
        linear(f"{module}/dense/mlp_output_linear", widening * query, query)

    def modality(suffix: str, name: str, width: int) -> None:
        tokens, channels = modalities[name]
        linear(f"embedder{suffix}/~embed/embed_{name}", channels, width)
        linear(f"embedder{suffix}/~unembed/unembed_{name}", width, channels)
        table(f"position_encoder{suffix}/pos_emb_mae_{name}", tokens, width)

    def column(name: str) -> list[int]:
        return [kwargs[name]] if model_class == "PerceiverIO" else list(kwargs[name])

    embedding = kwargs["num_embedding_channels"]
    labels = [name for name in modalities if name in kwargs.get("label_modalities", ())]
    others = [name for name in modalities if name not in labels]
    for index, name in enumerate(others):
        modality("", name, embedding)
        if (kwargs.get("num_position_encoding_channels") or embedding) != embedding:
            module = f"{scope}/position_encoder/position_encoding_linear" + (f"_{index}" if index else "")
            params[module] = {"w": rng.normal(size=(embedding, embedding))}
    widths, latents = column("num_z_channels"), column("z_index_dim")
    middle = len(widths) // 2
    for index, name in enumerate(labels, start=1):
        modality(f"_{index}", name, widths[middle - 1])
    argument = "z_index_dim" if model_class == "PerceiverIO" else "processor_index_dim"
    latents[middle] = kwargs.get(f"{argument}_eval") or latents[middle]
    groups = kwargs.get("num_groups", [1])
    is_bottleneck = model_class == "HiPClassBottleneck"
    before = embedding
    for index, width in enumerate(widths):
        block = f"{'perceiver_' if is_bottleneck else ''}block_{index}/~"
        cross = f"{block}/hi_p_cross_attention"
        table(f"{cross}/query_inputs", groups[index] * latents[index], width)
        if index > middle and widths[len(widths) - 1 - index] != width:
            linear(f"{cross}/pre_attention_residual_linear", widths[len(widths) - 1 - index], width)
        attention(cross, width, before, column("cross_attend_widening_factor")[index])
        norms(cross, width, before, width)
        for layer in range(column("num_self_attends_per_block")[index]):
            attention(f"{block}/self_attend_id_{layer}", width, width, column("self_attend_widening_factor")[index])
            norms(f"{block}/self_attend_id_{layer}", width, width)
        before = width
    readouts = {"reconstruction_head_1" if is_bottleneck else "reconstruction_head": (embedding, widths[-1])}
    if labels:
        readouts["reconstruction_head"] = (widths[middle - 1], widths[middle])
    for module, (query, token) in readouts.items():
        attention(f"{module}/hi_p_cross_attention", query, token, 1)
        norms(f"{module}/hi_p_cross_attention", query, token, query)
    return params


def test_every_optional_argument_arrives() -> None:
    kwargs = HIP | {
        "num_position_encoding_channels": None,
        "regroup_type": "transpose_reshape",
        "activation_name": "gelu",
        "processor_index_dim_train": None,
        "processor_index_dim_eval": 16,
        "dropout_prob": 0.1,
        "drop_path_rate": 0.2,
        "name": "net",
    }
    params = made_up("HiP", kwargs, {"image": (9, 2)})
    assert all(module.startswith("net/") for module in params)
    model = load_haiku("HiP", kwargs, params, {"image": (9, 2)})
    assert isinstance(model.config, HiPConfig)
    assert model.config.regrouping == "transpose"
    assert model.config.activation == "squared_relu"  # the reference's argument does nothing
    assert (model.config.dropout, model.config.drop_path) == (0.1, 0.2)
    assert model.config.mask_padding is False
    assert [block.num_latents for block in model.config.blocks] == [4, 16, 4]
    assert [block.num_train_latents for block in model.config.blocks] == [None, 8, None]
    assert [block.num_groups for block in model.config.blocks] == [4, 1, 4]
    assert [block.num_channels for block in model.config.blocks] == [8, 12, 16]
    assert [block.num_self_attention_layers for block in model.config.blocks] == [1, 2, 0]
    assert [block.num_self_attention_heads for block in model.config.blocks] == [1, 2, 4]
    assert [block.num_cross_attention_heads for block in model.config.blocks] == [2, 4, 3]
    assert [block.self_attention_widening for block in model.config.blocks] == [4, 3, 2]
    assert [block.cross_attention_widening for block in model.config.blocks] == [1, 2, 3]
    assert to_haiku(model, name="net").keys() == params.keys()


@pytest.mark.parametrize(
    ("override", "held", "used"),
    [({}, 8, None), ({"train": 4}, 8, 4), ({"eval": 24}, 24, 8), ({"eval": 8}, 8, None), ({"train": 6}, 8, None)],
    ids=["none", "train", "eval", "eval as without", "a number that the next block cannot deal out"],
)
def test_processor_latents_of_a_hip(override: dict[str, int], held: int, used: int | None) -> None:
    kwargs = HIP | {f"processor_index_dim_{when}": count for when, count in override.items()}
    model = load_haiku("HiP", kwargs, made_up("HiP", kwargs, {"image": (9, 2)}), {"image": (9, 2)})
    assert model.processor.config.num_latents == held
    assert model.processor.config.num_train_latents == used
    assert model({"image": torch.zeros(1, 9, 2)}).processor_latents.shape == (1, held, 12)


@pytest.mark.parametrize(
    ("override", "held", "used"), [({"train": 3}, 8, 3), ({"eval": 20}, 20, 8)], ids=["train", "eval"]
)
def test_latents_of_a_perceiver_io(override: dict[str, int], held: int, used: int) -> None:
    kwargs = IO | {f"z_index_dim_{when}": count for when, count in override.items()}
    model = load_haiku("PerceiverIO", kwargs, made_up("PerceiverIO", kwargs, {"image": (9, 2)}), {"image": (9, 2)})
    assert isinstance(model, PerceiverIO)
    assert (model.processor.config.num_latents, model.processor.config.num_train_latents) == (held, used)


def test_labels_anywhere_in_the_order_and_named_without_coming() -> None:
    kwargs = HIP | {"label_modalities": ["third", "absent", "first"], "num_position_encoding_channels": 24}
    modalities = {"first": (2, 4), "image": (20, 3), "third": (1, 10), "sound": (9, 2)}
    params = made_up("HiPClassBottleneck", kwargs, modalities)
    # Numbered as they come, not as they are named; their positions are not projected.
    assert "perceiver/embedder_1/~embed/embed_first" in params
    assert "perceiver/position_encoder_2/pos_emb_mae_third" in params
    assert "perceiver/position_encoder/position_encoding_linear_1" in params
    model = load_haiku("HiPClassBottleneck", kwargs, params, modalities)
    assert (model.input_names, model.label_names) == (("image", "sound"), ("first", "third"))
    table = params["perceiver/position_encoder_2/pos_emb_mae_third"]["pos_embs"]
    np.testing.assert_array_equal(model.positions["third"]().detach(), table.astype(np.float32))


def test_the_bottleneck_without_a_label_still_counts_its_readout() -> None:
    kwargs = HIP | {"label_modalities": ("label",)}
    params = made_up("HiPClassBottleneck", kwargs, {"image": (20, 3)})
    assert not any("reconstruction_head/" in module for module in params)
    assert "perceiver/reconstruction_head_1/hi_p_cross_attention/layer_norm" in params
    model = load_haiku("HiPClassBottleneck", kwargs, params, {"image": (20, 3)})
    assert to_haiku(model, model_class="HiPClassBottleneck").keys() == params.keys()
    assert to_haiku(model).keys() != params.keys()


def test_modalities_with_numbers_are_named_as_haiku_names_them() -> None:
    modalities = {"cam_1": (4, 1), "cam": (5, 1), "cam_07": (6, 1)}
    params = made_up("PerceiverIO", IO, modalities)
    for place in ("embedder/~embed/embed", "embedder/~unembed/unembed", "position_encoder/pos_emb_mae"):
        # "cam_1" counts as the second "cam", so that the next one is the third.
        params[f"perceiver/{place}_cam_2"] = params.pop(f"perceiver/{place}_cam")
    model = load_haiku("PerceiverIO", IO, params, modalities)
    table = params["perceiver/position_encoder/pos_emb_mae_cam_2"]["pos_embs"]
    np.testing.assert_array_equal(model.positions["cam"]().detach(), table.astype(np.float32))
    assert to_haiku(model).keys() == params.keys()


# ------------------------------------------------------------------------------------------------ mistakes


@pytest.fixture
def small() -> Golden:
    return read_golden("hip_one_modality")


EMBED = "perceiver/embedder/~embed/embed_image"


def test_a_missing_module_is_named(small: Golden) -> None:
    for module in small.params:
        params = {name: leaves for name, leaves in small.params.items() if name != module}
        with pytest.raises(
            ValueError, match=r"^params: expected a module '.*' with .*, got none of that name$"
        ) as error:
            small.load(params=params)
        assert f"'{module}'" in str(error.value)


def test_a_module_too_many_is_named(small: Golden) -> None:
    params = small.params | {"perceiver/embedder/~embed/embed_sound": {"w": np.zeros((3, 8)), "b": np.zeros(8)}}
    with pytest.raises(ValueError, match=r"^params: 'perceiver/embedder/~embed/embed_sound' is not a module of this"):
        small.load(params=params)


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"w": np.zeros((3, 8))}, f"params: expected b, w in module '{EMBED}', got w"),
        ({}, f"params: expected b, w in module '{EMBED}', got nothing"),
        (
            {"w": np.zeros((3, 8)), "b": np.zeros(8), "c": np.zeros(8)},
            f"params: expected b, w in module '{EMBED}', got b, c, w",
        ),
        (
            {"w": np.zeros((8, 3)), "b": np.zeros(8)},
            f"params: expected shape (3, 8) for w in module '{EMBED}', got (8, 3)",
        ),
        (
            {"w": np.zeros((3, 8)), "b": np.zeros((1, 8))},
            f"params: expected shape (8,) for b in module '{EMBED}', got (1, 8)",
        ),
        ({"w": "x", "b": np.zeros(8)}, f"params: expected an array of numbers for w in module '{EMBED}'"),
        (np.zeros(8), f"params: expected {{module: {{name: array}}}}, got no names under '{EMBED}'"),
    ],
    ids=["leaf missing", "no leaf", "leaf too many", "transposed", "wrong rank", "not numbers", "flat"],
)
def test_wrong_weights(small: Golden, leaves: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        small.load(params=small.params | {EMBED: leaves})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_group": 4}, "kwargs: 'num_group' is not an argument of HiP; known: num_groups, "),
        ({"z_index_dim_eval": 4}, "kwargs: 'z_index_dim_eval' is not an argument of HiP; known: "),
        ({"z_index_dim": None}, "kwargs: HiP needs z_index_dim, got none"),
        ({"z_index_dim": (8, 12)}, "z_index_dim: expected 3 numbers as in num_groups, got 2"),
        ({"z_index_dim": 8}, "z_index_dim: expected a whole number for each block, got 8"),
        ({"z_index_dim": (8, 12.5, 8)}, "z_index_dim: expected a whole number, got 12.5"),
        ({"regroup_type": "shuffle"}, "regroup_type: expected one of reshape, transpose_reshape, got 'shuffle'"),
        (
            {"processor_index_dim_train": 4, "processor_index_dim_eval": 16},
            "processor_index_dim_train: expected it or processor_index_dim_eval, got both",
        ),
        ({"processor_index_dim_train": 16}, "num_train_latents: expected 1 to num_latents=12, got 16"),
        ({"num_groups": (4, 2, 4)}, "blocks: expected 1 group in the middle block, got 2"),
        ({"num_groups": ()}, "num_self_attends_per_block: expected 0 numbers as in num_groups, got 3"),
        ({"num_embedding_channels": "8"}, "num_embedding_channels: expected a whole number, got '8'"),
    ],
)
def test_wrong_arguments(small: Golden, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared
        small.load(kwargs=small.kwargs | changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_wrong_classes_and_modalities(small: Golden) -> None:
    with pytest.raises(
        ValueError, match=r"^model_class: expected one of HiP, HiPClassBottleneck, PerceiverIO, got 'HIP'$"
    ):
        small.load(model_class="HIP")
    with pytest.raises(ValueError, match=r"^kwargs: HiPClassBottleneck needs label_modalities, got none$"):
        small.load(model_class="HiPClassBottleneck")
    with pytest.raises(ValueError, match=r"^label_modalities: expected a list of names, got 'image'$"):
        small.load(model_class="HiPClassBottleneck", kwargs=small.kwargs | {"label_modalities": "image"})
    with pytest.raises(ValueError, match=r"^modalities: expected \(tokens, channels\) for 'image', got 64$"):
        small.load(modalities={"image": 64})
    with pytest.raises(ValueError, match=r"^modalities: 'image': expected a whole number, got '3'$"):
        small.load(modalities={"image": (64, "3")})
    with pytest.raises(ValueError, match=r"^params: expected a module 'perceiver/embedder/~embed/embed_img' with b, w"):
        small.load(modalities={"img": (64, 3)})
    with pytest.raises(
        ValueError, match=r"^params: expected shape \(65, 8\) for pos_embs in module '.*pos_emb_mae_image'"
    ):
        small.load(modalities={"image": (65, 3)})


# ------------------------------------------------------------------------------------------------- way back


OURS_IO = PerceiverIOConfig(
    embedding_channels=8,
    block=BlockConfig(
        num_groups=1,
        num_latents=8,
        num_channels=12,
        num_self_attention_layers=1,
        num_self_attention_heads=3,
        num_cross_attention_heads=2,
        self_attention_widening=2,
    ),
)
OURS = HiPConfig(
    embedding_channels=8,
    blocks=tuple(dataclasses.replace(OURS_IO.block, num_groups=groups) for groups in (4, 1, 4)),
)


def test_positions_of_any_kind_become_a_table() -> None:
    modalities = {"image": Modality(grid=(4, 4), channels=3)}
    for settings in ({"positions": "fourier", "fourier_bands": 3}, {"position_channels": 5}, {"positions": "none"}):
        model = PerceiverIO(dataclasses.replace(OURS_IO, **settings), modalities).eval()
        nn.init.normal_(model.unembedding["image"].weight)  # type: ignore[arg-type]
        again = load_haiku("PerceiverIO", IO, to_haiku(model), {"image": (16, 3)})
        x = {"image": torch.randn(2, 16, 3)}
        assert_close(again(x).reconstruction, model(x).reconstruction, terms=terms_of(model))


def test_models_that_the_reference_cannot_compute() -> None:
    modalities = {"image": Modality(grid=(7, 7), channels=3)}
    label = modalities | {"label": Modality(grid=(1,), channels=3, role="label")}
    with pytest.raises(ValueError, match=r"^model: the reference always uses squared_relu, got activation='gelu'$"):
        to_haiku(HiP(dataclasses.replace(OURS, activation="gelu"), modalities))
    with pytest.raises(ValueError, match=r"^model: the reference always has skip connections, got skips=False$"):
        to_haiku(HiP(dataclasses.replace(OURS, skips=False), modalities))
    with pytest.raises(
        ValueError, match=r"^model: the reference attends to the padding of groups, got mask_padding=True"
    ):
        to_haiku(HiP(OURS, modalities))
    with pytest.raises(ValueError, match=r"^model: the reference has no PerceiverIO with labels, got label$"):
        to_haiku(PerceiverIO(OURS_IO, label))
    text = {"text": Modality(grid=(64,), channels=1, num_categories=256)}
    with pytest.raises(ValueError, match=r"^model: the reference has no vectors of categories, got some for 'text'$"):
        to_haiku(HiP(dataclasses.replace(OURS, mask_padding=False), text))
    model = HiP(dataclasses.replace(OURS, mask_padding=False), label)
    with pytest.raises(
        ValueError, match=r"^model_class: expected one of HiPClassBottleneck for this model, got 'HiP'$"
    ):
        to_haiku(model, model_class="HiP")


def test_values_must_fit_the_parameters(small: Golden) -> None:
    model = small.load()
    values = dict(model.named_parameters())
    with pytest.raises(ValueError, match=r"^values: expected a tensor for embedding\.image\.weight, got none$"):
        to_haiku(model, {name: p for name, p in values.items() if name != "embedding.image.weight"})
    with pytest.raises(
        ValueError, match=r"^values: expected shape \(8, 3\) for embedding\.image\.weight, got \(3, 8\)$"
    ):
        to_haiku(model, values | {"embedding.image.weight": torch.zeros(3, 8)})
    with pytest.raises(
        ValueError, match=r"^values: expected shape \(64, 8\) for positions\.image\.table, got \(64, 9\)$"
    ):
        to_haiku(model, values | {"positions.image.table": torch.zeros(64, 9)})
    modalities = {"image": Modality(grid=(8, 8), channels=3)}
    projected = PerceiverIO(dataclasses.replace(OURS_IO, position_channels=5), modalities)
    with pytest.raises(ValueError, match=r"^values: expected a model whose positions are tables as wide as"):
        to_haiku(projected, dict(projected.named_parameters()))


def test_names_are_loaded_when_first_used() -> None:
    program = "import hiperceiver.interop as it, sys; dir(it); assert 'torch' not in sys.modules; it.load_haiku"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert hiperceiver.interop.load_haiku is load_haiku
    assert hiperceiver.interop.deepmind.load_haiku is load_haiku
    assert {"deepmind", "load_haiku", "to_haiku"} <= set(dir(hiperceiver.interop))
    with pytest.raises(AttributeError, match=r"^module 'hiperceiver.interop' has no attribute 'haiku'$"):
        hiperceiver.interop.haiku  # noqa: B018 - looking it up is the test
