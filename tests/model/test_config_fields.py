"""No dead knobs: every field of every config changes what a model is or does. A new field without a case here fails."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pytest
import torch
from closeness import is_close, terms_of
from small_models import IMAGE, LABEL, awake, block, hip_config, io_config, random_inputs, with_block
from torch import Tensor

from hiperceiver.modality import Modality
from hiperceiver.model import BlockConfig, HiP, HiPConfig, PerceiverConfig, PerceiverIOConfig, build_model

MODALITIES = {"image": IMAGE, "tail": Modality(grid=(5, 3), channels=2), "label": LABEL}


class Case(NamedTuple):
    change: dict[str, Any]
    where: Literal["parameters", "evaluation", "training", "start"]
    """What must differ. Below `parameters`, the parameters must not; below `training`, evaluation must not either; and
    at the `start`, new weights alone."""
    base: dict[str, Any] = {}  # noqa: RUF012 - never changed


COMMON = {
    "embedding_channels": Case({"embedding_channels": 9}, "parameters"),
    "positions": Case({"positions": "fourier"}, "parameters"),
    "position_channels": Case({"position_channels": 5}, "parameters"),
    "position_scale": Case({"position_scale": 0.5}, "start"),
    "fourier_bands": Case({"fourier_bands": 3}, "parameters", {"positions": "fourier"}),
    "fourier_max_resolution": Case({"fourier_max_resolution": (90, 90)}, "evaluation", {"positions": "fourier"}),
    "activation": Case({"activation": "gelu"}, "evaluation"),
    "dropout": Case({"dropout": 0.5}, "training"),
    "drop_path": Case({"drop_path": 0.5}, "training"),
}
FIVE_BLOCKS = tuple(block(num_groups=groups, num_latents=8) for groups in (4, 2, 1, 2, 4))
HIP = COMMON | {
    "blocks": Case({"blocks": (block(), block(num_groups=1, num_latents=4), block())}, "parameters"),
    # Where all groups merge into one, their order changes nothing but rounding.
    "regrouping": Case({"regrouping": "transpose"}, "evaluation", {"blocks": FIVE_BLOCKS}),
    "skips": Case({"skips": False}, "parameters"),
    "mask_padding": Case({"mask_padding": False}, "evaluation"),
    "token_order": Case({"token_order": "hilbert"}, "evaluation"),
    "token_order_seed": Case({"token_order_seed": 1}, "evaluation", {"token_order": "shuffled"}),
}
IO = COMMON | {"block": Case({"block": block(num_groups=1, num_latents=5)}, "parameters")}

BLOCK: dict[str, tuple[dict[str, Any], str]] = {
    # Twice the groups of half the latents is as many parameters, dealt out otherwise.
    "num_groups": ({"num_groups": 2, "num_latents": 6}, "evaluation"),
    "num_latents": ({"num_latents": 4}, "parameters"),
    "num_channels": ({"num_channels": 4}, "parameters"),
    "num_self_attention_layers": ({"num_self_attention_layers": 2}, "parameters"),
    "num_self_attention_heads": ({"num_self_attention_heads": 4}, "evaluation"),
    "num_cross_attention_heads": ({"num_cross_attention_heads": 2}, "evaluation"),
    "self_attention_widening": ({"self_attention_widening": 3}, "parameters"),
    "cross_attention_widening": ({"cross_attention_widening": 2}, "parameters"),
    "num_train_latents": ({"num_train_latents": 4}, "training"),
}


def shapes(model: HiP) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def outputs(model: HiP) -> list[Tensor]:
    torch.manual_seed(3)
    with torch.no_grad():
        output = model(random_inputs(MODALITIES, batch=8))
    return [output.latents, output.processor_latents, *output.reconstruction.values()]


def differ(a: HiP, b: HiP) -> bool:
    pairs = zip(outputs(a), outputs(b), strict=True)
    return any(x.shape != y.shape or not is_close(x, y, terms=terms_of(a)).all() for x, y in pairs)


def check(before: PerceiverConfig, after: PerceiverConfig, where: str) -> None:
    a, b = awake(build_model(before, MODALITIES)), build_model(after, MODALITIES).eval()
    assert before != after
    assert not differ(a, a)
    if where == "parameters":
        assert shapes(a) != shapes(b)
        outputs(b)
        return
    assert shapes(a) == shapes(b)
    if where == "start":
        drawn = []
        for config in (before, after):
            torch.manual_seed(0)
            drawn.append(build_model(config, MODALITIES).state_dict())
        assert any(not torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    b.load_state_dict(dict(a.named_parameters()), strict=False)
    if where == "evaluation":
        assert differ(a, b)
        return
    assert not differ(a, b)
    assert differ(a.train(), b.train()) == (where == "training")


def names(config: type) -> set[str]:
    return {field.name for field in dataclasses.fields(config)}


def test_every_field_has_a_case() -> None:
    assert names(HiPConfig) == HIP.keys()
    assert names(PerceiverIOConfig) == IO.keys()
    assert names(BlockConfig) == BLOCK.keys()


@pytest.mark.parametrize(
    ("make", "case"),
    [
        *(pytest.param(hip_config, case, id=f"HiPConfig.{name}") for name, case in HIP.items()),
        *(pytest.param(io_config, case, id=f"PerceiverIOConfig.{name}") for name, case in IO.items()),
    ],
)
def test_every_field_of_a_model_has_an_effect(make: Callable[..., PerceiverConfig], case: Case) -> None:
    check(make(**case.base), make(**case.base | case.change), case.where)


@pytest.mark.parametrize(("change", "where"), BLOCK.values(), ids=BLOCK)
def test_every_field_of_a_block_has_an_effect(change: dict[str, Any], where: str) -> None:
    before = hip_config()
    if "num_latents" in change:  # of the first block, and of the last, which must have as many
        after = dataclasses.replace(
            before, blocks=(block(**change), before.blocks[1], block(num_channels=10, **change))
        )
    else:
        after = with_block(before, 1, **change)
    check(before, after, where)
