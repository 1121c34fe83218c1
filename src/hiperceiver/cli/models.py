"""Saved models, however the user names them: a run folder, a saved model's folder, a name, or a hub id.

And `hip models`: those that have a name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiperceiver.cli.arguments import read_config
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.model import PerceiverConfig, read_model
from hiperceiver.model.files import CONFIG_FILE, WEIGHTS_FILE
from hiperceiver.model.named import CARD_FILE, folder_of_name, named_models, unless_named
from hiperceiver.model.summary import summarise
from hiperceiver.settings.base import did_you_mean
from hiperceiver.settings.commands import ModelsSettings

if TYPE_CHECKING:
    from huggingface_hub import ModelCard


def run(settings: ModelsSettings) -> int:
    """List the trained models that have a name, or show the card of one."""
    check_new(settings.json, "--json")
    models = named_models()
    if not models:
        raise UserError("no trained models are installed; they come with: pip install hiperceiver-weights")
    if settings.name is None:
        all_described = {name: described(folder) for name, folder in models.items()}
        _print(all_described)
        write_json(settings.json, all_described)
        return 0
    if settings.json is not None:
        raise UserError("--json: expected no NAME")
    if (folder := models.get(settings.name)) is None:
        hint = did_you_mean(settings.name, models)
        raise UserError(f"expected a model among {', '.join(models)}, got {settings.name!r}{hint}")
    print(_card(folder).text.strip())
    print(f"\nIts folder: {folder}")
    return 0


def _card(folder: Path) -> "ModelCard":
    from huggingface_hub import ModelCard

    return ModelCard.load(folder / CARD_FILE)


def described(folder: Path) -> dict[str, Any]:
    """What a model takes, predicts, costs and reaches, as plain values; without weights, what its card says alone."""
    card = _card(folder).data
    results = {each.metric_name: {each.metric_type: each.metric_value} for each in card.get("eval_results") or ()}
    values = {"summary": card.get("summary"), "licence": card.get("license"), "results": results}
    if not (folder / CONFIG_FILE).is_file():
        return {**values, "has_weights": False}
    saved = read_model(folder)
    cost = summarise(saved.config, saved.modalities)
    return {
        **values,
        "has_weights": True,
        "takes": {name: saved.modalities[name].to_dict() for name in saved.modalities},
        "task": None if saved.task is None else saved.task["kind"],
        "classes": list(saved.classes),
        "num_parameters": cost.num_parameters,
        "flops": cost.flops,
        "file_bytes": (folder / WEIGHTS_FILE).stat().st_size,
    }


def _print(models: Mapping[str, Mapping[str, Any]]) -> None:
    from hiperceiver.cli.tables import memory, metric, print_table, quantity

    rows = []
    for name, each in models.items():
        reached = {what: f"{kind} {metric(kind, x)}" for what, of in each["results"].items() for kind, x in of.items()}
        costs = ("-", "not given out")
        if each["has_weights"]:
            costs = (quantity(each["flops"]), memory(each["file_bytes"]))
        rows.append((name, each["summary"], *costs, reached.get("model", "-"), reached.get("baseline", "-")))
    print_table(("model", "takes and predicts", "FLOPs", "file", "reaches", "baseline"), rows)
    print("hip models NAME shows the card: data and licence, how it was made, results and limits.")


def locate(name: str) -> str:
    """The folder or hub id that `read_model` and `load_task` understand."""
    path = Path(name).expanduser()
    for folder in (path, path / "model"):
        if (folder / CONFIG_FILE).is_file():
            return str(folder)
    if (path / "settings.yaml").is_file():
        raise UserError(f"{name}: this run has no model yet; go on with its training, or wait for a validation")
    if (folder := folder_of_name(name)) is not None:
        return str(folder)
    if path.exists():
        found = "another folder" if path.is_dir() else "a file"
        raise UserError(
            f"{name}: expected a run folder, a saved model's folder, a name of hip models or a hub id, got {found}"
        )
    if name.startswith(("/", ".", "~")) or name.count("/") != 1 or path.parent.is_dir():
        raise UserError(f"{name}: no such folder{unless_named(name)}")
    return name


def run_folder(name: str) -> Path | None:
    """The run folder that a model belongs to; None for a model elsewhere."""
    path = Path(name).expanduser()
    for folder in (path, path.parent):
        if (folder / "settings.yaml").is_file() and (folder == path or path.name == "model"):
            return folder
    return None


def with_settings(config: PerceiverConfig, values: Mapping[str, Any]) -> PerceiverConfig:
    """A model's config changed by `--model-settings`."""
    try:
        return type(config).from_dict({**config.to_dict(), **values})
    except ValueError as error:
        raise UserError(f"--model-settings.{error}") from None


def run_settings(name: str) -> dict[str, Any]:
    """The settings of a model's run; empty for a model outside a run folder."""
    folder = run_folder(name)
    return {} if folder is None else read_config(folder / "settings.yaml")
