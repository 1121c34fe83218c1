"""The block table: against sums done by hand, and against what a real step on the CPU keeps."""

import dataclasses
import time

import pytest
import torch

from hiperceiver.fast import switch
from hiperceiver.modality import Modality
from hiperceiver.model import (
    BlockConfig,
    HiP,
    HiPConfig,
    PerceiverConfig,
    build_model,
    create_model,
    variant_config,
)
from hiperceiver.model.summary import ModelSummary, summarise
from hiperceiver.settings.model import PositionKind

SMALL = HiPConfig(
    embedding_channels=8,
    blocks=(
        BlockConfig(
            num_groups=4, num_latents=2, num_channels=12, num_self_attention_layers=1, num_self_attention_heads=2
        ),
        BlockConfig(
            num_groups=1, num_latents=4, num_channels=16, num_self_attention_layers=2, num_self_attention_heads=2
        ),
        BlockConfig(
            num_groups=4, num_latents=2, num_channels=10, num_self_attention_layers=1, num_self_attention_heads=2
        ),
    ),
)
SERIES = {"series": Modality(grid=(32,), channels=3)}
MANY = {
    "image": Modality(grid=(20, 20), channels=3),
    "audio": Modality(grid=(90,), channels=2),
    "label": Modality(grid=(5,), channels=4, role="label"),
}


def as_written_flops(batch: int, query_batch: int, groups: int, n: int, d: int, m: int, c: int) -> int:
    """Cross-attention of N queries of width D to M tokens of width C."""
    attended = 2 * m * c * c + 2 * n * m * c + n * c * d
    return 2 * groups * (query_batch * n * d * c + batch * (attended + 2 * n * d * d))


def few_queries_flops(batch: int, query_batch: int, groups: int, n: int, d: int, m: int, c: int) -> int:
    """The same with the tokens as keys and values."""
    queries = query_batch * n * (d * c + c * c)
    attention, values, output = 2 * batch * n * m * c, batch * n * c * c, batch * n * c * d
    return 2 * groups * (queries + attention + values + output + 2 * batch * n * d * d)


def many_queries_flops(batch: int, groups: int, n: int, d: int, m: int, c: int) -> int:
    """The same with the queries as they are; the query's bias is projected once."""
    keys_and_values = batch * m * (2 * c * c + 2 * c * d)
    return 2 * d * c + 2 * groups * (keys_and_values + 2 * batch * n * m * d + 2 * batch * n * d * d)


def self_attention_flops(batch: int, groups: int, n: int, d: int) -> int:
    return 2 * groups * batch * (n * d * 3 * d + 2 * n * n * d + n * d * d + 2 * n * d * 4 * d)


def cross_attention_parameters(d: int, c: int) -> int:
    """Query, key and value, output, feed-forward once wide, and three layer norms."""
    return (d * c + c) + (c * 2 * c + 2 * c) + (c * d + d) + 2 * (d * d + d) + 2 * (d + c + d)


def self_attention_parameters(d: int) -> int:
    return (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + 2 * 2 * d


def named(summary: ModelSummary) -> dict[str, dict[str, object]]:
    return {stage.name: dataclasses.asdict(stage) for stage in summary.stages}


@pytest.mark.parametrize("is_fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize(("mask_ratio", "seen"), [(0.0, 8), (0.75, 2)])
def test_a_small_model_by_hand(mask_ratio: float, seen: int, is_fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "_is_on", is_fast)
    b = 3
    stages = named(summarise(SMALL, SERIES, batch_size=b, mask_ratio=mask_ratio))
    assert list(stages) == ["embedding", "encoder 1", "processor", "decoder 1", "readout"]

    shapes = {
        name: (s["num_groups"], s["tokens_per_group"], s["num_latents"], s["num_channels"])
        for name, s in stages.items()
    }
    assert shapes == {
        "embedding": (4, seen, None, 8),
        "encoder 1": (4, seen, 2, 12),
        "processor": (1, 8, 4, 16),
        "decoder 1": (4, 1, 2, 10),
        "readout": (4, 8, None, 8),
    }

    if is_fast:
        cross_attention = {
            "encoder 1": few_queries_flops(b, 1, 4, 2, 12, seen, 8),
            "processor": few_queries_flops(b, 1, 1, 4, 16, 8, 12),
            "decoder 1": many_queries_flops(b, 4, 2, 10, 1, 16),
            "readout": many_queries_flops(b, 4, 8, 8, 2, 10),
        }
    else:
        cross_attention = {
            "encoder 1": as_written_flops(b, 1, 4, 2, 12, seen, 8),
            "processor": as_written_flops(b, 1, 1, 4, 16, 8, 12),
            "decoder 1": as_written_flops(b, b, 4, 2, 10, 1, 16),
            "readout": as_written_flops(b, 1, 4, 8, 8, 2, 10),
        }
    assert {name: s["flops"] for name, s in stages.items()} == {
        "embedding": 2 * b * 4 * seen * 3 * 8,
        "encoder 1": cross_attention["encoder 1"] + self_attention_flops(b, 4, 2, 12),
        "processor": cross_attention["processor"] + 2 * self_attention_flops(b, 1, 4, 16),
        # the skip goes from 12 to 10 channels
        "decoder 1": 2 * b * 8 * 12 * 10 + cross_attention["decoder 1"] + self_attention_flops(b, 4, 2, 10),
        "readout": cross_attention["readout"] + 2 * b * 32 * 8 * 3,
    }

    assert {name: s["num_parameters"] for name, s in stages.items()} == {
        "embedding": (3 * 8 + 8) + 32 * 8,
        "encoder 1": 8 * 12 + cross_attention_parameters(12, 8) + self_attention_parameters(12),
        "processor": 4 * 16 + cross_attention_parameters(16, 12) + 2 * self_attention_parameters(16),
        "decoder 1": 8 * 10 + (12 * 10 + 10) + cross_attention_parameters(10, 16) + self_attention_parameters(10),
        "readout": cross_attention_parameters(8, 10) + (8 * 3 + 3),
    }


def test_activation_memory_of_an_embedding_is_its_input() -> None:
    summary = summarise(SMALL, SERIES, batch_size=3)
    assert named(summary)["embedding"]["activation_bytes"] == 3 * 32 * 3 * 4
    twice = summarise(SMALL, SERIES, batch_size=6)
    assert 1.9 * summary.activation_bytes < twice.activation_bytes < 2 * summary.activation_bytes


def kept_by_a_real_step(model: HiP, inputs: dict, visible: dict | None) -> int:
    """Bytes that autograd holds on to after a forward pass on the CPU."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        output = model(inputs, visible=visible)
    del output
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("mask_ratio", [0.0, 0.6])
@pytest.mark.parametrize("name", ["hip-nano", "perceiver-io-mini"])
@pytest.mark.parametrize("modalities", [SERIES, MANY], ids=["one modality", "padded, with a label"])
def test_activation_memory_is_that_of_a_real_step(name: str, mask_ratio: float, modalities: dict) -> None:
    model = create_model(name, modalities, dropout=0.1, drop_path=0.1).train()
    inputs = {name: torch.randn(2, m.num_tokens, m.channels) for name, m in modalities.items()}
    plan = model.plan({name: modalities[name].num_tokens for name in model.input_names})
    visible = None
    if mask_ratio:
        kept = {name: max(1, round(span.num_slots * (1 - mask_ratio))) for name, span in plan.spans.items()}
        visible = {name: torch.arange(k).expand(2, 1, k) for name, k in kept.items()}
    summary = summarise(model, batch_size=2, mask_ratio=mask_ratio)
    assert summary.activation_bytes == pytest.approx(kept_by_a_real_step(model, inputs, visible), rel=0.002)


@pytest.mark.parametrize("config", [SMALL, variant_config("perceiver-io-mini")], ids=["hip", "perceiver-io"])
@pytest.mark.parametrize("positions", ["learned", "fourier", "none"])
def test_the_stages_own_every_parameter_once(config: PerceiverConfig, positions: PositionKind) -> None:
    config = dataclasses.replace(config, positions=positions)
    summary = summarise(config, MANY)
    assert summary.num_parameters == sum(p.numel() for p in build_model(config, MANY).parameters())
    assert summary.stages[-1].name == "label readout"


def test_totals_are_sums() -> None:
    summary = summarise(SMALL, SERIES)
    assert summary.flops == sum(stage.flops for stage in summary.stages) > 0
    assert summary.activation_bytes == sum(stage.activation_bytes for stage in summary.stages) > 0


def test_masking_makes_the_encoder_cheaper_and_nothing_else() -> None:
    whole, masked = (named(summarise(variant_config("hip-nano"), MANY, mask_ratio=ratio)) for ratio in (0.0, 0.9))
    for name in whole:
        assert (masked[name]["flops"] < whole[name]["flops"]) == (name in ("embedding", "encoder 1"))


def test_fewer_latents_in_training_are_counted() -> None:
    blocks = (SMALL.blocks[0], dataclasses.replace(SMALL.blocks[1], num_train_latents=2), SMALL.blocks[2])
    with pytest.raises(ValueError, match="divide"):
        dataclasses.replace(SMALL, blocks=blocks)
    blocks = (
        SMALL.blocks[0],
        dataclasses.replace(SMALL.blocks[1], num_latents=8, num_train_latents=4),
        SMALL.blocks[2],
    )
    stages = named(summarise(dataclasses.replace(SMALL, blocks=blocks), SERIES))
    assert stages["processor"]["num_latents"] == 4


def test_four_million_tokens_in_seconds() -> None:
    start = time.process_time()
    summary = summarise(variant_config("hip-256"), {"image": Modality(grid=(2048, 2048), channels=3)}, mask_ratio=0.85)
    assert time.process_time() - start < 20
    assert summary.stages[0].num_parameters == 2048 * 2048 * 16 + 4 * 16
    assert summary.stages[0].tokens_per_group == round(16384 * 0.15)


def test_a_model_is_not_touched() -> None:
    model = create_model("hip-nano", SERIES).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    summarise(model)
    assert isinstance(model, HiP)
    assert not model.training
    assert all(p.grad is None and p.device.type == "cpu" for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number >= 1, got 0"),
        ({"mask_ratio": 1.0}, "mask_ratio: expected a number from 0 to below 1, got 1.0"),
        ({"modalities": None}, "modalities: expected the input modalities of a config, got None"),
        ({"modalities": dict.fromkeys("abcde", SERIES["series"])}, "modalities: expected at most 4, .* got 5 "),
    ],
)
def test_mistakes(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        summarise(SMALL, **{"modalities": SERIES, **arguments})
