"""What whoever runs an exported model must know, for programs (JSON) and for people (a card)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hiperceiver.export.formats import padding_name
from hiperceiver.export.program import ExportModule


def preprocessing(module: ExportModule, outputs: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Plain values: inputs with the settings of their encoders, outputs with their shapes, classes."""
    task = module.task
    inputs = {}
    for name in module.names:
        modality = task.model.modalities[name]
        inputs[name] = {
            "tokens": modality.num_tokens,
            "channels": modality.channels,
            "grid": list(modality.grid),
            "layout": "row-major order of the grid",
            "num_categories": modality.num_categories,
            "padding": padding_name(name),
            "encoder": task.encoders.get(name),  # null: not known
        }
    return {
        "model": path.name,
        "task": task.kind,
        "what": module.what,
        "inputs": inputs,
        "outputs": {name: {"dtype": _dtype(x), "shape": ["batch", *x.shape[1:]]} for name, x in outputs.items()},
        "classes": list(getattr(task, "class_names", task.classes)),
        "settings": task.settings(),
    }


def card(values: Mapping[str, Any]) -> str:
    """Markdown for people."""
    lines = [f"# {values['model']}: {values['what']} of a model for {values['task']}", "", "| input | dtype | shape |"]
    lines.append("| --- | --- | --- |")
    for name, each in values["inputs"].items():
        lines.append(f"| `{name}` | float32 | (batch, {each['tokens']}, {each['channels']}) |")
        lines.append(f"| `{each['padding']}` | bool, true = absent | (batch, {each['tokens']}) |")
    lines += ["", "| output | dtype | shape |", "| --- | --- | --- |"]
    for name, each in values["outputs"].items():
        lines.append(f"| `{name}` | {each['dtype']} | ({', '.join(map(str, each['shape']))}) |")
    what = "How raw values become tokens (sizes, rates, mean and standard deviation) and the classes' names"
    return "\n".join([*lines, "", f"{what}: `preprocessing.json`.", ""])


def _dtype(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
