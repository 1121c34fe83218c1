"""Orders of tokens: what they are, that they change groups alone, and that everything comes out in its place."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_equal, terms_of
from small_models import IMAGE, LABEL, SOUND, awake, block, hip, hip_config, io_config, random_inputs, refusal
from torch import Tensor

from hiperceiver import fast
from hiperceiver.interop.deepmind import to_haiku
from hiperceiver.masking import slots_to_mask
from hiperceiver.modality import Batch, Modality
from hiperceiver.model import HiP, save_model, variant_config
from hiperceiver.model.summary import summarise
from hiperceiver.model.token_order import TOKEN_ORDERS, make_orders
from hiperceiver.settings.model import TokenOrderKind
from hiperceiver.tasks import MaskedAutoencoding, MaskedAutoencodingConfig, Segmentation, SegmentationConfig

VIDEO = Modality(grid=(2, 5, 3), channels=2)
MODALITIES = {"image": IMAGE, "video": VIDEO, "sound": SOUND, "label": LABEL}
"""With 6 groups there is padding inside and at the end of several of them."""
OTHERS: list[Any] = [kind for kind in TOKEN_ORDERS if kind != "raster"]
in_every_order = pytest.mark.parametrize("kind", OTHERS)


def ordered(kind: TokenOrderKind, modalities: Any = MODALITIES, **settings: Any) -> HiP:
    shapes = (block(num_groups=6), block(num_groups=1, num_latents=12, num_channels=12), block(num_groups=6))
    return hip(modalities, **{"blocks": shapes, "token_order": kind} | settings)


def places_of(model: HiP, name: str) -> Tensor:
    return model.orders[name].places if name in model.orders else torch.arange(model.modalities[name].num_tokens)


def rearranged(model: HiP, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tokens (B, M, ...) of inputs in the model's order, labels as they are."""
    return {name: x if name in model.label_names else x[:, places_of(model, name)] for name, x in tensors.items()}


def twin_of(model: HiP) -> HiP:
    """The raster model that computes the same of rearranged tokens: its tables are rearranged too."""
    config = dataclasses.replace(model.config, token_order="raster", token_order_seed=None)
    twin = HiP(config, model.modalities).train(model.training)
    state = {name: x.clone() for name, x in model.state_dict().items()}
    for name in model.input_names:
        if (table := f"positions.{name}.table") in state:
            state[table] = state[table][places_of(model, name)]
    twin.load_state_dict(state)
    return twin


# ---------------------------------------------------------------------------------------------------- what an order is


def test_every_order_by_name_has_a_function() -> None:
    assert set(TOKEN_ORDERS) == set(get_args(TokenOrderKind))


@pytest.mark.parametrize("kind", TOKEN_ORDERS)
@pytest.mark.parametrize("grid", [(1,), (7,), (1, 1), (5, 7), (8, 8), (1, 6, 1), (2, 5, 3), (3, 1, 4, 2)], ids=str)
def test_every_token_has_one_place(kind: TokenOrderKind, grid: tuple[int, ...]) -> None:
    modality = Modality(grid=grid, channels=1)
    places = TOKEN_ORDERS[kind](grid, 0)
    assert sorted(places.tolist()) == [*range(modality.num_tokens)]
    orders = make_orders(hip_config(token_order=kind), {"image": modality})
    is_raster = np.array_equal(places, np.arange(modality.num_tokens))
    assert (not orders) == is_raster
    if is_raster:
        return
    order = orders["image"]
    x = torch.randn(2, modality.num_tokens, 3)
    assert_equal(order.arrange(x), x[:, torch.as_tensor(places)])
    assert_equal(order.restore(order.arrange(x)), x)
    is_marked = torch.rand(2, modality.num_tokens) < 0.5
    assert torch.equal(order.restore(order.arrange(is_marked)), is_marked)


@pytest.mark.parametrize("kind", ["hilbert", "morton"])
def test_a_line_stays_as_it_is_along_a_curve(kind: TokenOrderKind) -> None:
    assert not ordered(kind, {"sound": SOUND, "label": LABEL}).orders
    assert set(ordered(kind).orders) == {"image", "video"}


def test_the_shuffle_is_one_for_ever() -> None:
    """It is not saved, so that a model would be lost if another version of NumPy drew another."""
    assert TOKEN_ORDERS["shuffled"]((8,), 0).tolist() == SHUFFLED_8[0]
    assert TOKEN_ORDERS["shuffled"]((2, 4), 1).tolist() == SHUFFLED_8[1]
    assert set(ordered("shuffled").orders) == {"image", "video", "sound"}
    other = ordered("shuffled", token_order_seed=3)
    assert not torch.equal(places_of(other, "image"), places_of(ordered("shuffled"), "image"))
    assert torch.equal(
        places_of(ordered("shuffled", token_order_seed=0), "image"), places_of(ordered("shuffled"), "image")
    )


SHUFFLED_8 = {0: [3, 2, 1, 6, 0, 7, 4, 5], 1: [2, 4, 7, 5, 0, 6, 3, 1]}


@pytest.mark.parametrize("kind", ["hilbert", "morton"])
def test_groups_of_a_picture_are_blocks(kind: TokenOrderKind) -> None:
    """The 16 groups of HiP-16 at 224 x 224 and of hip-nano at 32 x 32."""
    for side, name in ((224, "hip-16"), (32, "hip-nano")):
        with torch.device("meta"):
            model = HiP(variant_config(name), {"image": Modality(grid=(side, side), channels=3)})
        orders = make_orders(dataclasses.replace(model.config, token_order=kind), model.modalities)
        for group in orders["image"].places.view(16, -1):
            row, column = group // side, group % side
            assert row.max() - row.min() + 1 == column.max() - column.min() + 1 == side // 4


# ------------------------------------------------------------------------------------------- it changes groups alone


@pytest.fixture(params=[True, False], ids=["fast", "plain"])
def fast_or_plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast.switch, "_is_on", request.param)
    monkeypatch.setattr(fast.kernels, "_FEWEST_VALUES", {"embed_and_attend": 0, "read_tokens": 0})


def visible_slots(model: HiP) -> dict[str, Tensor]:
    plan = model.plan({name: model.modalities[name].num_tokens for name in model.input_names})
    return {name: torch.randint(-1, span.num_slots, (2, span.num_groups, 4)) for name, span in plan.spans.items()}


@pytest.mark.usefixtures("fast_or_plain")
@in_every_order
@pytest.mark.parametrize(
    "settings", [{}, {"mask_padding": False}, {"positions": "none"}, {"position_channels": 4}], ids=str
)
@pytest.mark.parametrize("call", ["everything", "absent", "visible"])
def test_it_is_the_raster_model_of_rearranged_tokens(kind: TokenOrderKind, settings: Any, call: str) -> None:
    """To the bit: outputs, and gradients of inputs and weights."""
    torch.manual_seed(0)
    model = ordered(kind, **settings)
    twin = twin_of(model)
    inputs = {name: x.requires_grad_() for name, x in random_inputs(MODALITIES).items()}
    theirs = {name: x.detach().requires_grad_() for name, x in rearranged(model, inputs).items()}
    given: dict[str, Any] = {}
    if call != "everything":
        given["is_padding"] = {name: torch.rand(x.shape[:2]) < 0.4 for name, x in inputs.items()}
    if call == "visible":
        given["visible"] = visible_slots(model)
    output = model(inputs, **given)
    if call != "everything":
        given["is_padding"] = rearranged(model, given["is_padding"])
    expected = twin(theirs, **given)
    assert_equal(output.latents, expected.latents)
    assert_equal(output.processor_latents, expected.processor_latents)
    assert_equal(rearranged(model, output.reconstruction), expected.reconstruction)

    def backward(reconstruction: dict[str, Tensor]) -> None:
        sum(x.sin().square().sum() for x in reconstruction.values()).backward()

    backward(rearranged(model, output.reconstruction))  # summed in one order
    backward(expected.reconstruction)
    assert_equal(rearranged(model, {n: x.grad for n, x in inputs.items()}), {n: x.grad for n, x in theirs.items()})
    for name, weight in twin.named_parameters():
        gradient, part = model.get_parameter(name).grad, name.split(".")
        if part[0] == "positions" and part[2] == "table" and part[1] not in model.label_names:
            gradient = gradient[places_of(model, part[1])]
        is_sum_over_rows = "projection" in part  # of the table, in another order
        terms = model.modalities[part[1]].num_tokens if is_sum_over_rows else 1
        assert_close({name: gradient}, {name: weight.grad}, terms=terms, scale=None if is_sum_over_rows else 0)


@in_every_order
def test_positions_of_every_kind_go_with_their_tokens(kind: TokenOrderKind) -> None:
    """Fourier features, and those of coordinates, which no table can be rearranged for."""
    points = Modality(grid=(4, 5), channels=5, num_coordinates=3)
    for settings, modalities in (
        ({"positions": "fourier"}, MODALITIES),
        ({"positions": "coordinate"}, {"points": points}),
    ):
        model = ordered(kind, modalities, **settings)
        inputs = random_inputs(modalities)
        encoded = model.encode(inputs)
        for name, span in encoded.plan.spans.items():
            whole = model.positions[name](inputs[name])
            whole = whole if whole.ndim == 3 else whole[None]
            found = encoded.tokens[name].positions
            assert_equal(span.to_tokens(found), whole)
            rows = found[:, 0, : span.tokens_per_group]
            assert_equal(rows, whole[:, places_of(model, name)[: span.tokens_per_group]])


@in_every_order
def test_a_group_sees_its_tokens_and_no_others(kind: TokenOrderKind) -> None:
    model = ordered(kind, {"image": Modality(grid=(6, 6), channels=3)})
    x = torch.randn(1, 36, 3)
    before = model.encode({"image": x}).skips[0]
    for group, places in enumerate(places_of(model, "image").view(6, 6)):
        changed = x.clone()
        changed[:, places] += 1
        after = model.encode({"image": changed}).skips[0]
        assert [torch.equal(before[:, g], after[:, g]) for g in range(6)] == [g != group for g in range(6)]


@pytest.mark.usefixtures("fast_or_plain")
@in_every_order
def test_reading_some_slots_and_with_own_embedding(kind: TokenOrderKind) -> None:
    model = ordered(kind)
    inputs = random_inputs(MODALITIES)
    encoded = model.encode(inputs)
    latents, head = model.decode(encoded), model.unembedding["image"]
    span = encoded.plan.spans["image"]
    slots = torch.rand(2, span.num_groups, span.num_slots).argsort(2)[..., :3]
    found = model.read_out(encoded, latents, "image", head, slots=slots)
    whole = model.read_out(encoded, latents, "image", head)
    group = torch.arange(span.num_groups)[:, None]
    rank = group * span.tokens_per_group + slots
    is_token = (slots < span.tokens_per_group) & (rank < span.num_tokens)
    for example in range(2):
        places = places_of(model, "image")[rank[example][is_token[example]]]
        assert_close(found[example][is_token[example]], whole[example, places], terms=terms_of(model))
    twin, theirs = twin_of(model), rearranged(model, inputs)
    own = model.read_out(encoded, latents, "image", head, own_embedding=True)
    again = twin.encode(theirs)
    expected = twin.read_out(again, twin.decode(again), "image", twin.unembedding["image"], own_embedding=True)
    assert_equal(own[:, places_of(model, "image")], expected)


# ------------------------------------------------------------------------------------------------ the right places


@in_every_order
@pytest.mark.parametrize("strategy", ["group-wise", "uniform"])
def test_a_mask_says_what_is_hidden_on_the_grid(kind: TokenOrderKind, strategy: Any) -> None:
    """Hidden values, NaN here, reach nothing; every visible one does. In training the loss is that of the same mask."""
    model = ordered(kind, {"image": IMAGE, "video": VIDEO})
    config = MaskedAutoencodingConfig(mask_ratio=0.6, mask_strategy=strategy)
    task = MaskedAutoencoding(model, config)
    inputs = random_inputs(model.modalities)
    batch = Batch(inputs=inputs)
    mask = task.train().draw(batch)
    plan = model.plan({name: modality.num_tokens for name, modality in model.modalities.items()})
    for name, span in plan.spans.items():
        assert 0.4 < mask.is_masked[name].float().mean() < 0.8
        hidden = slots_to_mask(mask.visible[name].expand(-1, span.num_groups, -1), span.num_slots)
        for group, places in enumerate(places_of(model, name).split(span.tokens_per_group)):
            assert torch.equal(mask.is_masked[name][:, places], hidden[:, group, : len(places)])
    output = model(inputs, visible=mask.visible)
    nan = {name: x.masked_fill(mask.is_masked[name][..., None], torch.nan) for name, x in inputs.items()}
    assert_equal(model(nan, visible=mask.visible).reconstruction, output.reconstruction)
    terms = task.terms(batch, mask)
    for name, x in inputs.items():
        error = (output.reconstruction[name] - x)[mask.is_masked[name]].square().mean()
        assert terms[name].value.item() == pytest.approx(error.item(), rel=1e-5)  # summed in another order
        assert terms[name].count == mask.is_masked[name].sum()


@in_every_order
def test_predictions_lie_where_the_input_does(kind: TokenOrderKind) -> None:
    """Of a model that reads each token's own embedding and nothing else, the output is the input, place by place."""
    model = ordered(kind, {"image": IMAGE}, embedding_channels=8)
    for parameter in (*model.readout.parameters(), *model.positions.parameters()):
        torch.nn.init.zeros_(parameter)
    config = SegmentationConfig(num_classes=3, own_embedding=True, hidden_channels=0, compared_share=0.5)
    task = Segmentation(model, config)
    with torch.no_grad():
        model.embedding["image"].weight.copy_(torch.eye(8, 3))
        model.embedding["image"].bias.zero_()
        task.head.output.weight.copy_(100 * torch.eye(3, 8))
    label = torch.randint(3, (2, 35))
    batch = Batch(inputs={"image": torch.nn.functional.one_hot(label, 3).float()}, targets={"segmentation": label})
    assert torch.equal(task.eval().predict(batch).label, label)
    task.train()
    slots = task.draw(batch)  # half of the labels are compared
    assert slots is not None and task.loss(batch)[0] < 1e-6
    batch.targets["segmentation"] = label.roll(1, dims=1)
    assert task.loss(batch)[0] > 10


# ------------------------------------------------------------------------------------------- it belongs to the model


@in_every_order
def test_it_is_saved_with_the_model_and_adds_no_weights(kind: TokenOrderKind, tmp_path: Path) -> None:
    seed = 5 if kind == "shuffled" else None
    model = ordered(kind, token_order_seed=seed)
    assert model.state_dict().keys() == ordered("raster").state_dict().keys()
    folder = save_model(tmp_path, model)
    values = json.loads((folder / "config.json").read_text())["config"]
    assert (values["token_order"], values["token_order_seed"]) == (kind, seed)
    again = HiP.from_pretrained(folder)
    assert_equal(again(random_inputs(MODALITIES)).reconstruction, model(random_inputs(MODALITIES)).reconstruction)


def test_models_of_earlier_releases_are_raster(tmp_path: Path) -> None:
    folder = save_model(tmp_path, model := ordered("raster"))
    values = json.loads((folder / "config.json").read_text())
    del values["config"]["token_order"], values["config"]["token_order_seed"]
    (folder / "config.json").write_text(json.dumps(values))
    again = HiP.from_pretrained(folder)
    assert again.config == model.config and not again.orders
    assert_equal(again(random_inputs(MODALITIES)).latents, model(random_inputs(MODALITIES)).latents)


@in_every_order
def test_it_goes_along_to_another_grid_and_device(kind: TokenOrderKind) -> None:
    model = ordered(kind)
    model.resize_positions({"image": (8, 6), "video": (2, 4, 3)})
    new = ordered(kind, model.modalities)
    for name in model.input_names:
        assert torch.equal(places_of(model, name), places_of(new, name))
    assert model(random_inputs(model.modalities)).reconstruction["image"].shape == (2, 48, 3)
    with pytest.raises(ValueError, match="grid: expected 3 axes as in"):
        model.resize_positions({"image": (4, 4), "video": (4,)})
    assert model(random_inputs(model.modalities)).reconstruction["image"].shape == (2, 48, 3)  # nothing has moved
    model.resize_positions({"image": (1, 6)})
    assert ("image" in model.orders) == (kind == "shuffled")
    assert model.to("meta").orders["video"].places.device.type == "meta"


def test_what_it_costs_is_what_raster_costs() -> None:
    found, expected = (summarise(ordered(each), mask_ratio=0.5) for each in ("hilbert", "raster"))
    assert found.flops == expected.flops
    assert found.num_parameters == expected.num_parameters


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of PyTorch's own modules as the compiler loads them
def test_it_is_compiled_and_exported() -> None:
    shallow = tuple(block(num_groups=g, num_latents=6, num_self_attention_layers=0) for g in (6, 1, 6))
    model = ordered("shuffled", {"image": IMAGE}, blocks=shallow)
    inputs = random_inputs(model.modalities)
    expected = model(inputs)
    gradients = []
    for each in (model, torch.compile(model, fullgraph=True, backend="aot_eager")):
        model.zero_grad()
        output = each(inputs)
        assert_equal(output.reconstruction, expected.reconstruction)
        output.reconstruction["image"].sin().sum().backward()
        gradients.append(model.positions["image"].table.grad.clone())
    assert_equal(*gradients)
    program = torch.export.export(model, (inputs,), strict=False)
    assert_equal(program.module()(inputs).reconstruction, expected.reconstruction)


# ---------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("make", "settings", "message"),
    [
        (
            hip_config,
            {"token_order": "peano"},
            "token_order: expected one of raster, hilbert, morton, shuffled, got 'peano'",
        ),
        (hip_config, {"token_order": 3}, "token_order: expected one of raster, hilbert, morton, shuffled, got 3"),
        (
            hip_config,
            {"token_order_seed": 3},
            "token_order_seed: only for token_order='shuffled', got 3 with token_order='raster'",
        ),
        (
            hip_config,
            {"token_order": "shuffled", "token_order_seed": -1},
            "token_order_seed: expected a whole number >= 0, got -1",
        ),
        (
            lambda **values: variant_config("perceiver-io-mini", **values),
            {"token_order": "hilbert"},
            "token_order: not a setting of perceiver-io-mini",
        ),
    ],
)
def test_mistakes_in_the_config(make: Callable[..., Any], settings: dict[str, Any], message: str) -> None:
    with refusal(message):
        make(**settings)


def test_one_group_has_no_order() -> None:
    """So Perceiver IO has no such setting."""
    assert not awake(HiP(hip_config(), {"image": IMAGE})).orders
    assert io_config().token_order == "raster"


def test_the_reference_knows_raster_alone() -> None:
    model = ordered("hilbert", {"image": Modality(grid=(6, 6), channels=3)})
    with refusal("model: the reference groups tokens in row-major order, got token_order='hilbert'"):
        to_haiku(model)
    assert to_haiku(ordered("hilbert", {"sound": Modality(grid=(12,), channels=3)}))
