"""The contract of a forward pass: what may be given, what influences what, and how the model runs elsewhere."""

import copy
import itertools
from typing import Any

import pytest
import torch
from closeness import assert_close, assert_equal, is_close, terms_of
from small_models import (
    IMAGE,
    LABEL,
    MODALITIES,
    SOUND,
    assert_same,
    block,
    embedded,
    hip,
    hip_config,
    io_config,
    perceiver_io,
    random_inputs,
    refusal,
    with_block,
)
from torch import Tensor, nn

from hiperceiver.modality import Modality
from hiperceiver.model import HiP, HiPOutput, PerceiverIO, transfer_weights
from hiperceiver.model.files import SavedModel
from hiperceiver.model.summary import summarise

SUBSETS = [
    names
    for count in range(1, 4)
    for names in itertools.permutations(MODALITIES, count)
    if set(names) & {"image", "sound"}
]
both_models = pytest.mark.parametrize("make", [hip, perceiver_io], ids=["HiP", "PerceiverIO"])


def restricted(model: HiP, names: tuple[str, ...]) -> HiP:
    """The same weights in a model that knows these modalities only."""
    smaller = type(model)(model.config, {name: model.modalities[name] for name in names})
    saved = SavedModel(
        source="it",
        config=model.config,
        modalities=model.modalities,
        weights=model.state_dict(),
    )
    transfer_weights(smaller, saved)
    return smaller.eval()


# ------------------------------------------------------------------------------------------------- outputs


def test_the_output_is_typed_and_whole() -> None:
    output = hip()(random_inputs(batch=3))
    assert isinstance(output, HiPOutput)
    assert {name: tuple(x.shape) for name, x in output.reconstruction.items()} == {
        "image": (3, 35, 3),
        "sound": (3, 16, 2),
        "label": (3, 2, 4),
    }
    assert output.latents.shape == (3, 4, 3, 10)
    assert output.processor_latents.shape == (3, 8, 12)


@both_models
def test_the_first_reconstruction_is_exactly_zero(make: Any) -> None:
    config = hip_config() if make is hip else io_config()
    model = (HiP if make is hip else PerceiverIO)(config, MODALITIES)
    for x in model(random_inputs()).reconstruction.values():
        assert not x.any()


@both_models
def test_an_example_does_not_depend_on_its_batch(make: Any) -> None:
    model, inputs = make(), random_inputs(batch=3)
    is_padding = {"image": torch.rand(3, 35) < 0.3}
    whole = model(inputs, is_padding=is_padding)
    for i in range(3):
        alone = model(
            {name: x[i : i + 1] for name, x in inputs.items()},
            is_padding={name: mask[i : i + 1] for name, mask in is_padding.items()},
        )
        assert_close(alone.latents, whole.latents[i : i + 1], terms=terms_of(model))


def test_what_is_reconstructed_can_be_chosen() -> None:
    model, inputs = hip(), random_inputs(only=["sound", "image"])
    whole = model(inputs).reconstruction
    assert list(whole) == ["sound", "image"]
    chosen = model(
        inputs, reconstruct=["label", "image"]
    ).reconstruction  # a label that is not an input of the call, too
    assert list(chosen) == ["label", "image"]
    assert chosen["label"].shape == (2, 2, 4)
    assert torch.equal(chosen["image"], whole["image"])
    assert not model(inputs, reconstruct=()).reconstruction
    with refusal("reconstruct: expected names among image, label, got 'sound'"):
        model(random_inputs(only=["image"]), reconstruct=["sound"])


# ------------------------------------------------------------------------------------------------- subsets


@both_models
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_any_subset_in_any_order_is_what_a_model_of_only_these_computes(make: Any, names: tuple[str, ...]) -> None:
    model, inputs = make(), random_inputs(only=names)
    output = model(inputs)
    assert list(output.reconstruction) == list(names)
    assert_same(output, restricted(model, names)(inputs), model)


def test_groups_are_assigned_among_the_inputs_of_the_call() -> None:
    model = hip()
    groups = {
        names: {name: span.num_groups for name, span in model.encode(random_inputs(only=names)).plan.spans.items()}
        for names in [("image", "sound", "label"), ("sound", "image"), ("image",), ("sound", "label")]
    }
    assert groups == {
        ("image", "sound", "label"): {"image": 3, "sound": 1},
        ("sound", "image"): {"sound": 1, "image": 3},
        ("image",): {"image": 4},
        ("sound", "label"): {"sound": 4},
    }


# -------------------------------------------------------------------------------------------- absent tokens


@pytest.mark.parametrize(
    ("make", "settings"),
    [(hip, {}), (hip, {"mask_padding": False}), (perceiver_io, {})],
    ids=["HiP", "HiP that sees padding", "PerceiverIO"],
)
def test_absent_tokens_influence_nothing(make: Any, settings: dict[str, Any]) -> None:
    model, inputs = make(**settings), random_inputs()
    is_padding = {name: torch.rand(x.shape[:2]) < 0.4 for name, x in inputs.items()}
    is_padding["sound"][0] = True
    is_padding["image"][1] = True
    expected = model(inputs, is_padding=is_padding)
    for filler in (0.0, 1e30, float("inf"), float("nan")):
        changed = {name: x.masked_fill(is_padding[name][..., None], filler) for name, x in inputs.items()}
        output = model(changed, is_padding=is_padding)
        assert torch.equal(output.latents, expected.latents)
        for name in inputs:
            assert torch.equal(output.reconstruction[name], expected.reconstruction[name])
    seen = model(inputs)
    assert not is_close(seen.latents, expected.latents, terms=terms_of(model)).all()


@both_models
def test_absent_tokens_have_no_gradient_and_their_positions_serve_the_readout_only(make: Any) -> None:
    model = make()
    inputs = {name: x.requires_grad_() for name, x in random_inputs().items()}
    is_padding = {name: torch.rand(x.shape[:2]) < 0.4 for name, x in inputs.items()}
    model(inputs, is_padding=is_padding).latents.square().sum().backward()
    for name, x in inputs.items():
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert not x.grad[is_padding[name]].any()
        assert x.grad[~is_padding[name]].any(dim=-1).all()
        absent_everywhere = is_padding[name].all(dim=0)
        table = model.positions[name].table.grad
        assert not table[absent_everywhere].any()
        assert table[~absent_everywhere].any(dim=-1).all()


def test_a_short_signal_with_padding_is_the_short_signal() -> None:
    long = {"sound": Modality(grid=(30,), channels=2)}
    short = {"sound": Modality(grid=(19,), channels=2)}
    for make, settings in [(perceiver_io, {}), (hip, {"blocks": (block(num_groups=1),) * 3})]:
        a, b = make(long, **settings), make(short, **settings)
        b.load_state_dict(a.state_dict() | {"positions.sound.table": a.positions["sound"].table[:19]})
        x = random_inputs(long)["sound"]
        padded = a({"sound": x}, is_padding={"sound": (torch.arange(30) >= 19).expand(2, -1)})
        exact = b({"sound": x[:, :19]})
        terms = terms_of(a)
        assert_close(padded.latents, exact.latents, terms=terms)
        assert_close(padded.reconstruction["sound"][:, :19], exact.reconstruction["sound"], terms=terms)


def test_the_padding_of_groups_is_hidden_by_default() -> None:
    inputs = random_inputs(only=["image", "sound"])
    hidden, seen = hip(), hip(mask_padding=False)
    assert hip_config().mask_padding
    assert not is_close(hidden(inputs).latents, seen(inputs).latents, terms=terms_of(hidden)).all()
    even = {"image": Modality(grid=(4, 4), channels=3)}  # no padding, nothing to hide
    hidden, seen = hip(even), hip(even, mask_padding=False)
    assert torch.equal(hidden(random_inputs(even)).latents, seen(random_inputs(even)).latents)


def test_no_absent_token_is_the_same_as_no_mask() -> None:
    model, inputs = hip(), random_inputs()
    is_padding = {name: torch.zeros(x.shape[:2], dtype=torch.bool) for name, x in inputs.items()}
    assert_same(model(inputs, is_padding=is_padding), model(inputs), model)


# ------------------------------------------------------------------------------------------- visible slots


def all_slots(model: HiP, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    plan = model.plan({name: inputs[name].shape[1] for name in inputs if name in model.input_names})
    return {name: torch.arange(span.num_slots).expand(2, 1, -1) for name, span in plan.spans.items()}


@both_models
def test_seeing_every_slot_in_any_order_is_seeing_everything(make: Any) -> None:
    model, inputs = make(), random_inputs()
    slots = all_slots(model, inputs)
    assert_same(model(inputs, visible=slots), model(inputs), model)
    shuffled = {name: x[..., torch.randperm(x.shape[-1])] for name, x in slots.items()}
    assert_same(model(inputs, visible=shuffled), model(inputs), model)


@both_models
def test_only_visible_tokens_reach_the_encoder(make: Any) -> None:
    model, inputs = make(), random_inputs()
    count = 5
    visible = {name: x[..., torch.randperm(x.shape[-1])[:count]] for name, x in all_slots(model, inputs).items()}
    if make is hip:
        visible["sound"] = visible["image"] = torch.tensor([[[0, 3, 4, 8, 11]]]).expand(2, 1, -1)
    encoded = model.encode(inputs, visible=visible)
    assert embedded(model, encoded).shape == (2, 4, count, 6) if make is hip else (2, 1, 2 * count, 6)

    is_seen = {}
    for name, span in encoded.plan.spans.items():
        slot_is_seen = torch.zeros(2, span.num_groups, span.num_slots, dtype=torch.bool)
        is_seen[name] = span.to_tokens(slot_is_seen.scatter(2, visible[name].expand(2, span.num_groups, -1), True))
    expected = model(inputs, visible=visible)
    nothing_but_nan = {
        name: x if name == "label" else x.masked_fill(~is_seen[name][..., None], float("nan"))
        for name, x in inputs.items()
    }
    assert_same(model(nothing_but_nan, visible=visible), expected, model)
    # The same as calling the others absent.
    assert_same(model(inputs, is_padding={name: ~seen for name, seen in is_seen.items()}), expected, model)
    for name in ("image", "sound"):
        b, m = is_seen[name].nonzero()[0].tolist()
        changed = dict(inputs, **{name: inputs[name].clone()})
        changed[name][b, m] += 1
        latents = model(changed, visible=visible).latents
        assert not is_close(latents[b], expected.latents[b], terms=terms_of(model)).all()


@both_models
def test_a_slot_that_is_none_is_not_read(make: Any) -> None:
    model, inputs = make(), random_inputs(only=["image", "sound"])
    fewer = {name: torch.tensor([[[1, 2]]]).expand(2, 1, -1) for name in inputs}
    more = {name: torch.tensor([[[1, -1, 2, -1]]]).expand(2, 1, -1) for name in inputs}
    assert_same(model(inputs, visible=more), model(inputs, visible=fewer), model)
    spoilt = {name: x.clone() for name, x in inputs.items()}
    for x in spoilt.values():
        x[:, 0] = float("nan")  # what stands first must not be read in place of none
    assert_same(model(spoilt, visible=more), model(inputs, visible=fewer), model)


def test_groups_may_see_different_slots() -> None:
    model, inputs = hip({"image": IMAGE}), random_inputs({"image": IMAGE})
    visible = torch.tensor([[0, 1, 2], [3, 4, -1], [8, -1, -1], [-1, -1, -1]]).expand(2, -1, -1)
    is_seen = torch.zeros(35, dtype=torch.bool)
    is_seen[[0, 1, 2, 9 + 3, 9 + 4, 18 + 8]] = True  # 4 groups of 9, 9, 9 and 8
    expected = model(inputs, is_padding={"image": ~is_seen.expand(2, -1)})
    assert_same(model(inputs, visible={"image": visible}), expected, model)


def test_visible_and_absent_go_together() -> None:
    model, inputs = hip(), random_inputs(only=["image", "sound"])
    is_padding = {"image": torch.rand(2, 35) < 0.5}
    visible = all_slots(model, inputs)
    assert_same(model(inputs, visible=visible, is_padding=is_padding), model(inputs, is_padding=is_padding), model)


# -------------------------------------------------------------------------------------------------- labels


@both_models
def test_labels_join_at_the_processor(make: Any) -> None:
    model, inputs = make(), random_inputs()
    changed = dict(inputs, label=inputs["label"] + 1)
    a, b = model.encode(inputs), model.encode(changed)
    assert torch.equal(embedded(model, a), embedded(model, b))
    assert all(torch.equal(x, y) for x, y in zip(a.skips, b.skips, strict=True))
    assert not is_close(a.processor_latents, b.processor_latents, terms=terms_of(model)).all()
    x, y = (model(each).reconstruction["image"] for each in (inputs, changed))
    assert not is_close(x, y, terms=terms_of(model)).all()


def test_labels_are_read_from_the_processor() -> None:
    model, inputs = hip(), random_inputs()
    encoded = model.encode(inputs)
    latents = model.decode(encoded)
    read = model.reconstruct(encoded, latents, ["label", "image"])
    other = model.reconstruct(encoded, -latents, ["label", "image"])
    assert torch.equal(read["label"], other["label"])
    assert not is_close(read["image"], other["image"], terms=terms_of(model)).all()


def test_labels_are_as_wide_as_the_processors_input_and_share_a_readout() -> None:
    model = HiP(hip_config(), MODALITIES | {"kind": LABEL})
    assert model.embedding["label"].weight.shape == (8, 4)
    assert model.embedding["kind"].weight.shape == (8, 4)
    assert model.label_readout is not None
    assert model.label_readout.query.weight.shape == (12, 8)
    assert HiP(hip_config(), {"image": IMAGE}).label_readout is None


# ----------------------------------------------------------------------------------------- processor latents


def test_more_latents_in_evaluation_than_in_training() -> None:
    config = with_block(hip_config(), 1, num_latents=16, num_train_latents=8)
    model = hip(blocks=config.blocks)
    inputs = random_inputs()
    assert model.train()(inputs).processor_latents.shape == (2, 8, 12)
    assert not torch.equal(model(inputs).latents, model(inputs).latents)
    assert model.eval()(inputs).processor_latents.shape == (2, 16, 12)
    assert torch.equal(model(inputs).latents, model(inputs).latents)


# ------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "inputs: expected at least one of image, sound, got []"),
        ({"label": torch.zeros(2, 2, 4)}, "inputs: expected at least one of image, sound, got ['label']"),
        (
            {"image": torch.zeros(2, 35, 3), "smell": torch.zeros(2, 1, 1)},
            "inputs: expected modalities among image, sound, label, got 'smell'",
        ),
        (
            {"image": torch.zeros(2, 36, 3)},
            "inputs: expected (batch, 35, 3) for 'image' with grid (5, 7), got (2, 36, 3)",
        ),
        (
            {"image": torch.zeros(2, 3, 5, 7)},
            "inputs: expected (batch, 35, 3) for 'image' with grid (5, 7), got (2, 3, 5, 7)",
        ),
        (
            {"image": torch.zeros(2, 35, 3, dtype=torch.uint8)},
            "inputs: expected floating-point values for 'image', got",
        ),
        (
            {"image": torch.zeros(2, 35, 3, dtype=torch.float64)},
            "inputs: expected torch.float32 for 'image', as the model's weights are, got torch.float64",
        ),
        (
            {"image": torch.zeros(2, 35, 3), "sound": torch.zeros(2, 16, 2, dtype=torch.float16)},
            "inputs: expected torch.float32 for 'sound', as the model's weights are, got torch.float16",
        ),
        (
            {"image": torch.zeros(2, 35, 3, device="meta")},
            "inputs: expected a dense tensor on cpu for 'image', got meta",
        ),
        (
            {"image": torch.zeros(2, 35, 3).to_sparse()},
            "inputs: expected a dense tensor on cpu for 'image', got cpu of layout torch.sparse_coo",
        ),
        ({"image": None}, "inputs: expected a tensor for 'image', got NoneType"),
        ({"image": [[0.0]]}, "inputs: expected a tensor for 'image', got list"),
        (torch.zeros(2, 35, 3), "inputs: expected a tensor for each modality by name, got Tensor"),
        (
            {"image": torch.zeros(2, 35, 3), "sound": torch.zeros(3, 16, 2)},
            "inputs: expected batch size 2 for 'sound', got 3",
        ),
    ],
)
def test_wrong_inputs(inputs: Any, message: str) -> None:
    with refusal(message):
        hip()(inputs)


@pytest.mark.parametrize("argument", ["is_padding", "visible"])
def test_wrong_masks_and_slots(argument: str) -> None:
    image = {"image": torch.zeros(2, 35, 3)}
    with refusal(f"{argument}: expected a tensor for 'image', got NoneType"):
        hip()(image, **{argument: {"image": None}})
    with refusal(f"{argument}: expected "):
        hip()(image, **{argument: torch.zeros(2, 35, dtype=torch.bool)})


@pytest.mark.parametrize(
    ("value", "given"), [(5.0, "0 to 5"), (-1.0, "-1 to 0"), (float("nan"), "nan to nan"), (1e12, "0 to 1e+12")]
)
def test_categories_that_there_are_not(value: float, given: str) -> None:
    model = hip({"bytes": Modality(grid=(6,), channels=2, num_categories=4)})
    inputs = torch.zeros(2, 6, 2)
    model({"bytes": inputs + 4})
    inputs[1, 3, 0] = value
    with refusal(f"inputs: expected categories 1 to 4, or 0 for none, for 'bytes', got {given}"):
        model({"bytes": inputs})


@pytest.mark.parametrize(
    ("is_padding", "message"),
    [
        (
            {"sound": torch.zeros(2, 16, dtype=torch.bool)},
            "is_padding: expected names among the inputs image, got 'sound'",
        ),
        ({"image": torch.zeros(2, 35)}, "is_padding: expected bool (2, 35) for 'image', got torch.float32 (2, 35)"),
        (
            {"image": torch.zeros(35, dtype=torch.bool)},
            "is_padding: expected bool (2, 35) for 'image', got torch.bool (35,)",
        ),
    ],
)
def test_wrong_padding(is_padding: dict[str, Tensor], message: str) -> None:
    with refusal(message):
        hip()(random_inputs(only=["image"]), is_padding=is_padding)


@pytest.mark.parametrize(
    ("visible", "message"),
    [
        ({"image": torch.zeros(2, 1, 3).long()}, "visible: expected slots for image, sound, got image"),
        (
            {"image": torch.zeros(2, 2, 3).long(), "sound": torch.zeros(2, 1, 3).long()},
            "visible: expected int64 (2, 3 or 1, slots) for 'image', got torch.int64 (2, 2, 3)",
        ),
        (
            {"image": torch.zeros(1, 1, 3).long(), "sound": torch.zeros(2, 1, 3).long()},
            "visible: expected int64 (2, 3 or 1, slots) for 'image', got torch.int64 (1, 1, 3)",
        ),
        (
            {"image": torch.zeros(2, 1, 3), "sound": torch.zeros(2, 1, 3).long()},
            "visible: expected int64 (2, 3 or 1, slots) for 'image', got torch.float32 (2, 1, 3)",
        ),
        (
            {"image": torch.zeros(2, 1, 3).long(), "sound": torch.zeros(2, 1, 4).long()},
            "visible: expected as many slots in every group, got {'image': 3, 'sound': 4}",
        ),
    ],
)
def test_wrong_slots(visible: dict[str, Tensor], message: str) -> None:
    with refusal(message):
        hip()(random_inputs(only=["image", "sound"]), visible=visible)


def test_more_modalities_than_groups_only_matters_in_a_call() -> None:
    many = dict.fromkeys("abcdef", SOUND)
    model = hip(many)
    assert model(random_inputs(many, only="abcd")).latents.shape == (2, 4, 3, 10)
    with refusal("modalities: expected at most 4, the groups of the first block, ") as error:
        model(random_inputs(many, only="abcde"))
    assert "got 5 (a, b, c, d, e)" in str(error.value)


@pytest.mark.parametrize("name", ["", "a.b", "keys", "type", "training", "_modules", 3])
def test_names_that_a_modality_cannot_have(name: Any) -> None:
    with refusal(f"modalities: {name!r} cannot be a name; use another word, without dots"):
        HiP(hip_config(), {name: IMAGE})


def test_wrong_modalities() -> None:
    with refusal("modalities: expected at least one of role 'input', got none"):
        HiP(hip_config(), {"label": LABEL})
    with refusal("modalities: expected at least one of role 'input', got none"):
        HiP(hip_config(), {})
    with refusal("modalities: expected a Modality for 'image', got tuple"):
        HiP(hip_config(), {"image": (5, 7)})  # type: ignore[dict-item]


# ----------------------------------------------------------------------------------------- running elsewhere


@both_models
def test_bfloat16_autocast_is_close(make: Any) -> None:
    model, inputs = make(), random_inputs()
    is_padding = {"image": torch.rand(2, 35) < 0.3}
    is_padding["image"][0] = True
    exact = model(inputs, is_padding=is_padding)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close = model(inputs, is_padding=is_padding)
    for name in inputs:
        difference = (close.reconstruction[name] - exact.reconstruction[name]).abs().max()
        assert 0 < difference < 0.05 * exact.reconstruction[name].abs().max()
    assert (close.latents - exact.latents).abs().max() < 0.05 * exact.latents.abs().max()
    close.latents.float().square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


SHALLOW = (block(num_self_attention_layers=0), block(num_groups=1, num_latents=8), block(num_self_attention_layers=0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of PyTorch's own modules as the compiler loads them
def test_compiled_whole_it_computes_the_same() -> None:
    modalities = {"sound": SOUND, "label": LABEL}
    model, inputs = hip(modalities, blocks=SHALLOW), random_inputs(modalities)
    is_padding = {"sound": torch.rand(2, 16) < 0.3}
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_same(compiled(inputs, is_padding=is_padding), model(inputs, is_padding=is_padding), model)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@both_models
def test_exported_it_serves_any_number_of_examples(make: Any) -> None:
    model = hip({"image": IMAGE, "label": LABEL}, blocks=SHALLOW) if make is hip else perceiver_io()
    batch = torch.export.Dim("batch", min=1, max=512)
    shapes = {name: {0: batch} for name in model.modalities}
    program = torch.export.export(model, (random_inputs(model.modalities),), dynamic_shapes=(shapes,), strict=False)
    for count in (1, 2, 7):
        inputs = random_inputs(model.modalities, batch=count, seed=count)
        assert_same(program.module()(inputs), model(inputs), model)


def test_it_can_be_copied() -> None:
    model, inputs = hip(), random_inputs()
    twin = copy.deepcopy(model)
    assert_same(twin(inputs), model(inputs), model)
    nn.init.zeros_(twin.blocks[0].latents)  # type: ignore[arg-type]
    assert not is_close(twin(inputs).latents, model(inputs).latents, terms=terms_of(model)).all()


def test_every_parameter_learns() -> None:
    for model in (hip(), perceiver_io(), hip(position_channels=3), hip(positions="fourier", fourier_bands=3)):
        loss = sum(x.sin().sum() for x in model(random_inputs()).reconstruction.values())
        assert isinstance(loss, Tensor)
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.any(), name


@both_models
def test_features_are_what_every_block_gives_in_a_forward_pass(make: Any) -> None:
    model, inputs = make(), random_inputs(only=["image", "sound"])
    is_padding = {"sound": torch.arange(16).expand(2, -1) >= 9}
    given: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda module, arguments, out: given.append(out)) for block in model.blocks]
    output = model(inputs, is_padding=is_padding)
    for hook in hooks:
        hook.remove()
    features = model.forward_features(inputs, is_padding=is_padding)
    assert len(given) == len(features) and tuple(features) == model.block_names
    for latents, expected, each in zip(features.values(), given, model.config.all_blocks, strict=True):
        assert_equal(latents, expected)
        assert latents.shape == (2, each.num_groups, each.num_latents, each.num_channels)
    assert_equal(features["processor"].squeeze(1), output.processor_latents)
    assert_equal(list(features.values())[-1], output.latents)
    stages = [stage.name for stage in summarise(model).stages]
    assert [name for name in stages if name in features] == list(features)
