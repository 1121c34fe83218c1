"""Starting from another model's weights: what is loaded, resized, new and unused, and everything that is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import (
    IMAGE,
    LABEL,
    MODALITIES,
    SOUND,
    awake,
    hip,
    hip_config,
    io_config,
    random_inputs,
    refusal,
    with_block,
)

from hiperceiver.model import HiP, PerceiverIO, SavedModel, read_model, save_model, transfer_weights
from hiperceiver.model.positions import resize_table


def saved_as(model: HiP) -> SavedModel:
    return SavedModel(
        source="it",
        config=model.config,
        modalities=dict(model.modalities),
        weights={name: tensor.clone() for name, tensor in model.state_dict().items()},
    )


def fresh(model: type[HiP] = HiP, modalities: Any = MODALITIES, **settings: Any) -> HiP:
    """Other weights than those of `hip()`."""
    return awake(model(hip_config(**settings) if model is HiP else io_config(**settings), modalities), seed=9)


@pytest.fixture
def saved() -> SavedModel:
    return saved_as(hip())


def test_the_same_model_gets_everything(saved: SavedModel, tmp_path: Path) -> None:
    model = fresh()
    report = transfer_weights(model, read_model(save_model(tmp_path, hip())))
    assert set(report.loaded) == set(model.state_dict())
    assert report.resized == report.new == report.unused == ()
    assert torch.equal(model(random_inputs()).latents, hip()(random_inputs()).latents)
    assert report.summary() == f"{len(report.loaded)} weights loaded, 0 resized, 0 newly made, 0 unused"


def test_the_models_do_not_share_memory(saved: SavedModel) -> None:
    model = fresh()
    transfer_weights(model, saved)
    for tensor in saved.weights.values():
        tensor.zero_()
    assert torch.equal(model(random_inputs()).latents, hip()(random_inputs()).latents)


def test_a_table_is_resized_to_another_grid(saved: SavedModel) -> None:
    model = fresh(modalities=MODALITIES | {"image": dataclasses.replace(IMAGE, grid=(9, 6))})
    report = transfer_weights(model, saved)
    assert report.resized == ("positions.image.table",)
    expected = resize_table(saved.weights["positions.image.table"], (5, 7), (9, 6))
    assert torch.equal(model.positions["image"].table, expected)
    assert torch.equal(model.positions["sound"].table, saved.weights["positions.sound.table"])
    assert "1 resized (positions.image.table)" in report.summary()


def test_a_table_of_as_many_tokens_on_another_grid_is_resized_too(saved: SavedModel) -> None:
    model = fresh(modalities=MODALITIES | {"image": dataclasses.replace(IMAGE, grid=(7, 5))})
    assert transfer_weights(model, saved).resized == ("positions.image.table",)


def test_fourier_features_keep_their_frequencies_on_another_grid() -> None:
    old = hip({"image": IMAGE}, positions="fourier", fourier_bands=3)
    model = fresh(modalities={"image": dataclasses.replace(IMAGE, grid=(9, 13))}, positions="fourier", fourier_bands=3)
    report = transfer_weights(model, saved_as(old))
    assert not report.new
    old.resize_positions({"image": (9, 13)})
    assert torch.equal(model.positions["image"](), old.positions["image"]())


def test_a_modality_more_is_new_and_one_less_is_unused(saved: SavedModel) -> None:
    model = fresh(modalities={"image": IMAGE, "touch": SOUND, "label": LABEL})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = transfer_weights(model, saved)
    parts = (
        "embedding.{}.weight",
        "embedding.{}.bias",
        "unembedding.{}.weight",
        "unembedding.{}.bias",
        "positions.{}.table",
    )
    assert set(report.new) == {part.format("touch") for part in parts}
    assert set(report.unused) == {part.format("sound") for part in parts}
    for name in report.new:
        assert torch.equal(model.state_dict()[name], before[name])
    for name in report.loaded:
        assert torch.equal(model.state_dict()[name], saved.weights[name])


def test_the_first_label_brings_a_readout_and_the_last_takes_it_along(saved: SavedModel) -> None:
    without = saved_as(hip({"image": IMAGE}))
    report = transfer_weights(fresh(modalities={"image": IMAGE, "label": LABEL}), without)
    assert {name.split(".")[0] for name in report.new} == {"label_readout", "embedding", "unembedding", "positions"}
    report = transfer_weights(fresh(modalities={"image": IMAGE}), saved)
    assert any(name.startswith("label_readout.") for name in report.unused)
    assert "unused (" in report.summary()
    assert ", ...)" in report.summary()
    # A second label finds the readout that all labels share.
    report = transfer_weights(fresh(modalities={"image": IMAGE, "kind": LABEL}), saved)
    assert any(name.startswith("label_readout.") for name in report.loaded)


def test_positions_alone(saved: SavedModel) -> None:
    model = fresh(modalities={"image": dataclasses.replace(IMAGE, grid=(6, 7)), "sound": SOUND, "touch": SOUND})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = transfer_weights(model, saved, part="positions")
    assert (report.loaded, report.resized) == (("positions.sound.table",), ("positions.image.table",))
    assert report.new == ("positions.touch.table",)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (name not in (*report.loaded, *report.resized))


def test_all_but_positions_go_to_a_model_with_others(saved: SavedModel) -> None:
    model = fresh(positions="fourier", fourier_bands=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = transfer_weights(model, saved, part="all-but-positions")
    assert set(report.new) == {name for name in before if name.startswith("positions.")}
    assert set(report.unused) == {name for name in saved.weights if name.startswith("positions.")}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name] if name in report.new else saved.weights[name])


def test_all_but_positions_need_the_same_blocks(saved: SavedModel) -> None:
    with refusal("it: expected activation='gelu' as in the new model, got 'squared_relu'; use the same"):
        transfer_weights(fresh(activation="gelu", positions="none"), saved, part="all-but-positions")
    more = dataclasses.replace(saved, weights=saved.weights | {"blocks.3.latents": torch.zeros(1)})
    with refusal("it: blocks.3.latents is not in the new model; use the same model and settings"):
        transfer_weights(fresh(), more, part="all-but-positions")


def test_positions_alone_go_to_another_kind_of_model(saved: SavedModel) -> None:
    model = fresh(PerceiverIO, {"image": IMAGE})
    assert transfer_weights(model, saved, part="positions").loaded == ("positions.image.table",)
    assert torch.equal(model.positions["image"].table, saved.weights["positions.image.table"])


@pytest.mark.parametrize("order", ["hilbert", "shuffled"])
def test_positions_alone_go_to_another_order_of_tokens(saved: SavedModel, order: str) -> None:
    """A row of the table belongs to a place of the grid."""
    model = fresh(token_order=order)
    assert "positions.image.table" in transfer_weights(model, saved, part="positions").loaded
    inputs = random_inputs()
    for name, tokens in model.encode(inputs).tokens.items():
        span = model.encode(inputs).plan.spans[name]
        assert torch.equal(span.to_tokens(tokens.positions)[0], saved.weights[f"positions.{name}.table"])


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.2, "drop_path": 0.1, "mask_padding": False},
        {"blocks": with_block(hip_config(), 1, num_train_latents=4).blocks},
    ],
    ids=["how it is trained", "latents while training"],
)
def test_settings_that_may_differ(saved: SavedModel, settings: dict[str, Any]) -> None:
    model = fresh(**settings)
    assert set(transfer_weights(model, saved).loaded) == set(model.state_dict())


FEWER_LAYERS = with_block(hip_config(), 1, num_self_attention_layers=0).blocks
OTHER_GROUPS = tuple(
    dataclasses.replace(b, num_groups=2, num_latents=6) if b.num_groups == 4 else b for b in hip_config().blocks
)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "gelu"}, "expected activation='gelu' as in the new model, got 'squared_relu'; use the same"),
        (
            {"regrouping": "transpose"},
            "expected regrouping='transpose' as in the new model, got 'reshape'; use the same",
        ),
        ({"token_order": "hilbert"}, "expected token_order='hilbert' as in the new model, got 'raster'; use the same"),
        ({"positions": "none"}, "expected positions='none' as in the new model, got 'learned'; use the same"),
        ({"position_channels": 3}, "expected position_channels=3 as in the new model, got None; use the same"),
        ({"embedding_channels": 9}, "expected embedding_channels=9 as in the new model, got 6; use the same"),
        (
            {"blocks": FEWER_LAYERS},
            "expected blocks.1.num_self_attention_layers=0 as in the new model, got 1; use the same",
        ),
        ({"blocks": OTHER_GROUPS}, "expected blocks.0.num_groups=2 as in the new model, got 4; use the same"),
        (
            {"blocks": with_block(hip_config(), 1, num_self_attention_heads=3).blocks},
            "expected blocks.1.num_self_attention_heads=3 as in the new model, got 2; use the same",
        ),
    ],
)
def test_settings_that_change_what_weights_mean(saved: SavedModel, settings: dict[str, Any], message: str) -> None:
    model = fresh(**settings)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with refusal(f"it: {message}"):
        transfer_weights(model, saved)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_another_kind_of_model(saved: SavedModel) -> None:
    with refusal("it: expected the weights of a PerceiverIO, got those of a HiP"):
        transfer_weights(fresh(PerceiverIO), saved)


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        (
            {"image": dataclasses.replace(IMAGE, channels=4)},
            "it: expected (6, 4) for embedding.image.weight, got shape (6, 3); use the same model, settings and",
        ),
        (
            {"image": dataclasses.replace(IMAGE, grid=(35,))},
            "it: expected (35,) for positions.image.table, got a grid (5, 7); use the same model, settings and",
        ),
        (
            {"image": IMAGE, "sound": dataclasses.replace(SOUND, role="label")},
            "it: expected role 'label' for modality 'sound', got 'input'",
        ),
    ],
    ids=["channels", "axes", "role"],
)
def test_modalities_that_are_not_the_same_under_one_name(saved: SavedModel, modalities: Any, message: str) -> None:
    model = fresh(modalities=modalities)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with refusal(message):
        transfer_weights(model, saved)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_damaged_weights(saved: SavedModel) -> None:
    lacking = dict(saved.weights)
    del lacking["blocks.1.latents"]
    with refusal("it: expected (8, 12) for blocks.1.latents, got no such weight; use the same model"):
        transfer_weights(fresh(), dataclasses.replace(saved, weights=lacking))
    del lacking["positions.image.table"]
    with refusal("it: expected (35, 6) for positions.image.table, got no such weight; use the same model"):
        transfer_weights(fresh(), dataclasses.replace(saved, weights=lacking), part="positions")
    more = saved.weights | {"blocks.3.latents": torch.zeros(1)}
    with refusal("it: blocks.3.latents is not in the new model; use the same model and settings"):
        transfer_weights(fresh(), dataclasses.replace(saved, weights=more))


def test_nothing_in_common(saved: SavedModel) -> None:
    with refusal("it: nothing to load for positions: it shares no such weights with the new model"):
        transfer_weights(fresh(modalities={"touch": SOUND}), saved, part="positions")
    nowhere = saved_as(hip({"image": IMAGE}, positions="none"))
    with refusal("it: nothing to load for positions: it shares no such weights with the new model"):
        transfer_weights(fresh(modalities={"image": IMAGE}, positions="none"), nowhere, part="positions")
