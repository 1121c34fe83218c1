"""`hip info`: the models by name, and what each block of one costs."""

import dataclasses
import re
from pathlib import Path

from hiperceiver.cli.errors import UserError
from hiperceiver.cli.models import locate, with_settings
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.cli.tables import memory, print_table, quantity, shape
from hiperceiver.modality import Modality
from hiperceiver.model import VARIANTS, PerceiverConfig, read_model, variant_config
from hiperceiver.model.named import named_models
from hiperceiver.model.summary import ModelSummary, count_parameters, summarise
from hiperceiver.settings.commands import InfoSettings

PICTURE = {"image": Modality(grid=(224, 224), channels=3)}  # the default input


def run(settings: InfoSettings) -> int:
    """List the models, or print the block table of one."""
    modalities: dict[str, Modality] = {}
    for name, modality in map(_modality, settings.modality):
        if name in modalities:
            raise UserError(f"--modality: {name!r} is given twice")
        modalities[name] = modality
    check_new(settings.json, "--json")
    if settings.model is None:
        if settings.json is not None:
            raise UserError("--json: expected a MODEL too")
        _list(modalities or PICTURE)
        return 0
    config, own_modalities = _config(settings.model, settings)
    modalities = modalities or own_modalities
    summary = summarise(config, modalities, batch_size=settings.batch_size, mask_ratio=settings.mask_ratio)
    _print(settings.model, summary, modalities)
    totals = {name: getattr(summary, name) for name in ("num_parameters", "flops", "activation_bytes")}
    write_json(settings.json, dataclasses.asdict(summary) | totals)
    return 0


def _list(modalities: dict[str, Modality]) -> None:
    rows = []
    for name, config in VARIANTS.items():
        blocks = config.all_blocks
        try:
            parameters = quantity(count_parameters(config, modalities))
        except ValueError:  # more modalities than groups
            parameters = "-"
        groups = " ".join(str(block.num_groups) for block in blocks)
        middle = blocks[len(blocks) // 2]
        rows.append((name, groups, str(middle.num_latents), str(middle.num_channels), parameters))
    print_table(("model", "groups", "latents*", "channels*", "params"), rows)
    print(f"* of the processor. Parameters with {_described(modalities)}.")


def _config(name: str, settings: InfoSettings) -> tuple[PerceiverConfig, dict[str, Modality]]:
    if name in VARIANTS or not ("/" in name or Path(name).exists() or name in named_models()):
        return with_settings(variant_config(name), settings.model_settings), PICTURE
    if settings.model_settings:
        raise UserError(f"--model-settings: only for a model by name, {name} has its settings")
    saved = read_model(locate(name))
    return saved.config, saved.modalities


def _modality(text: str) -> tuple[str, Modality]:
    match = re.fullmatch(r"([A-Za-z]\w*)=(\d+(?:x\d+)+)(:label)?", text)
    if match is None:
        raise UserError(f"--modality: expected NAME=GRIDxCHANNELS such as image=224x224x3, got {text!r}")
    *grid, channels = (int(number) for number in match[2].split("x"))
    return match[1], Modality(grid=tuple(grid), channels=channels, role="label" if match[3] else "input")


def _print(name: str, summary: ModelSummary, modalities: dict[str, Modality]) -> None:
    rows = [
        (
            stage.name,
            str(stage.num_groups),
            str(stage.tokens_per_group),
            "" if stage.num_latents is None else str(stage.num_latents),
            str(stage.num_channels),
            quantity(stage.num_parameters),
            quantity(stage.flops),
            memory(stage.activation_bytes),
        )
        for stage in summary.stages
    ]
    sizes = ("groups", "tokens/\ngroup", "latents/\ngroup", "channels")
    columns = ("", *sizes, "para-\nmeters", "FLOPs", "activation\nmemory")
    total = (quantity(summary.num_parameters), quantity(summary.flops), memory(summary.activation_bytes))
    print_table(columns, rows, title=f"{name} with {_described(modalities)}", footer=("total", "", "", "", "", *total))
    hidden = f", {summary.mask_ratio:.0%} of each group hidden" if summary.mask_ratio else ""
    print(f"Batch of {summary.batch_size}{hidden}. FLOPs: one forward pass; a training step")
    print("takes about three times as many. Memory: float32, kept for the backward pass,")
    print("beside parameters and optimizer.")


def _described(modalities: dict[str, Modality]) -> str:
    roles = {"input": "", "label": " label"}
    return ", ".join(f"{name}{roles[each.role]} {shape(each)}" for name, each in modalities.items())
