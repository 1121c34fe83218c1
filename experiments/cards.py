"""Measure every model of `hiperceiver-weights` anew and compare it with its card; or put one there.

python -m experiments.cards --root FOLDER                    # all; those of built-in sets need no FOLDER
python -m experiments.cards --only watch languages
python -m experiments.cards --add watch --run runs/watch     # a run's model, in half precision; its card is yours
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch

from experiments import datasets
from experiments.datasets import WORDS
from hiperceiver.cli import main as hip
from hiperceiver.cli.models import described
from hiperceiver.cli.tables import metric, print_table
from hiperceiver.model.files import CONFIG_FILE, WEIGHTS_FILE
from hiperceiver.model.named import SUMS_FILE, named_models
from hiperceiver.tasks.saving import load_task, save_task

WEIGHTS = Path(__file__).parents[1] / "weights" / "hiperceiver_weights"
LARGEST = 10_000_000
"""Bytes of a model's file."""
TOLERANCE = 0.002
"""How far a figure may be off: kernels that add in another order turn an example in a thousand."""

MEASURED: dict[str, tuple[str, Mapping[str, Any]]] = {
    "earth-mae": ("earth", {"split": "validation", "data_settings": {"min_land": 0.02}, "modalities": ["image"]}),
    "earth-segmentation": ("earth", {"data_settings": {"min_land": 0.02}, "modalities": ["image"]}),
    "grid-words": ("grid", {"columns": {"audio": "file:audio"}, "data_settings": {"label_columns": list(WORDS)}}),
    "languages": ("languages", {}),
    "spoken-digits": ("spoken-digits", {}),
    "watch": ("watch", {}),
}
"""By name: the data, and options of `hip evaluate` that are not the usual ones."""


def measure(name: str, root: Path, views: Path) -> dict[str, float]:
    """The metrics of a model by name on its held-out examples."""
    data, options = MEASURED[name]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        words = ["evaluate", name, "--data", datasets.locate(data, root, views), "--json", str(file)]
        words += [word for option, value in options.items() for word in (f"--{option}", _spelled(value))]
        if hip(words):
            raise RuntimeError(f"hip {' '.join(words)} failed")
        return json.loads(file.read_text(encoding="utf-8"))["metrics"]


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def add(name: str, run: Path) -> Path:
    """Put a run's model into the package, in half precision, with its checksums."""
    folder = WEIGHTS / name
    task = load_task(run / "model")
    save_task(folder, task.to(torch.float16))
    if (size := (folder / WEIGHTS_FILE).stat().st_size) > LARGEST:
        raise ValueError(f"{name}: expected at most {LARGEST} bytes, got {size}")
    files = (CONFIG_FILE, WEIGHTS_FILE)
    sums = [f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file}\n" for file in files]
    (folder / SUMS_FILE).write_text("".join(sums), encoding="utf-8")
    return folder


def compare(names: list[str], root: Path, views: Path) -> bool:
    """Print a table of what is on the cards and what is measured; whether all are as they say."""
    rows, as_said = [], True
    for name in names:
        measured = measure(name, root, views)
        for kind, said in described(named_models()[name])["results"]["model"].items():
            is_so = abs(measured[kind] - said) <= TOLERANCE
            as_said &= is_so
            rows.append((name, kind, metric(kind, said), metric(kind, measured[kind]), "yes" if is_so else "NO"))
    print_table(("model", "metric", "on its card", "measured", "as said"), rows)
    return as_said


def main(arguments: list[str]) -> int:
    parser = ArgumentParser(prog="python -m experiments.cards", description="Measure the models by name anew.")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the data sets; default: data")
    parser.add_argument("--only", nargs="+", default=["*"], help="names of models, with * and ?")
    parser.add_argument("--add", metavar="NAME", help="put the model of --run into the package under this name")
    parser.add_argument("--run", type=Path, help="the run folder for --add")
    options = parser.parse_args(arguments)
    try:
        if options.add is not None:
            if options.run is None:
                raise ValueError("--add: expected --run too, the run's folder")
            print(add(options.add, options.run))
            return 0
        names = [name for name in MEASURED if any(fnmatch(name, each) for each in options.only)]
        if not names:
            raise ValueError(f"--only: expected names among {', '.join(MEASURED)}, got {' '.join(options.only)}")
        return 0 if compare(names, options.root, Path("runs/experiments/data")) else 1
    except (ValueError, FileNotFoundError) as error:
        print(f"cards: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
