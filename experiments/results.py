"""What runs and cells leave: folders under `runs/`, a small JSON a cell, and reading both."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.session import about_machine
from experiments.cells import Cell, Data, Run, Table, TimeOf
from experiments.datasets import locate

ROOT = Path(__file__).parents[1]
MONITORED = ("miou", "score", "map", "accuracy")  # what the best validation is known by, or else the lowest loss


def write_json(path: Path, values: Any) -> None:
    """A whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.new")
    new.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A file's values; none if it is not there."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where everything lies. What was done at another scale than 1 has folders of its own, results and report too."""

    root: Path
    """Of the data."""
    scale: float = 1.0
    base: Path = ROOT
    gpu: bool = False
    """Whether runs compute on the GPU; they are the same otherwise."""

    @cached_property
    def machine(self) -> dict[str, Any]:
        """What runs depend on beside the code."""
        return about_machine() | ({"gpu": gpu_name()} if self.gpu else {})

    @property
    def runs(self) -> Path:
        """Run folders, their logs and their costs."""
        return self.base / "runs" / "experiments" / ("whole" if self.scale == 1 else f"scale-{self.scale:g}")

    @property
    def results(self) -> Path:
        """A folder of results for each table."""
        return (self.base / "experiments" if self.scale == 1 else self.runs) / "results"

    @property
    def docs(self) -> Path:
        """Of the report."""
        return (self.base if self.scale == 1 else self.runs) / "docs"

    def of(self, run: Run, ending: str = "") -> Path:
        """A run's folder; with an ending a file beside it: `.json` is its cost, `.log` what it printed."""
        return self.runs / f"{run.name}{ending}"

    def is_done(self, run: Run) -> bool:
        return read_json(self.of(run, ".json")).get("is_done", False) and self.of(run).is_dir()

    def resolve(self, value: Any) -> Any:
        """What stands in a command line for a setting."""
        if isinstance(value, Run):
            return str(self.of(value))
        if isinstance(value, TimeOf):
            return f"{sum(trained(self.of(run))['seconds'] for run in value.runs):.1f}s"
        return locate(value.name, self.root, self.base / "runs/experiments/data") if isinstance(value, Data) else value

    def command(self, run: Run) -> list[str]:
        """The words after `python -m`."""
        is_ours = "." in run.command
        words = [run.command] if is_ours else ["hiperceiver.cli", run.command]
        is_evaluation = run.command == "evaluate"
        out = ["--json", str(self.of(run) / "test.json")] if is_evaluation else ["--out", str(self.of(run))]
        if self.gpu and not is_ours:  # many share the machine's cores
            out += ["--accelerator", "gpu", *(["--num-workers", "1"] * (not is_evaluation))]
        return [*words, *run.arguments(self.resolve, self.scale), *out]


def trained(folder: Path) -> dict[str, Any]:
    """Steps, seconds, and the log of a training run: each validation, and the mean training loss since the last."""
    path = folder / "metrics.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    log: list[dict[str, float]] = []
    losses: list[float] = []
    for row in rows:
        losses += [float(row["train/loss"])] if row.get("train/loss") else []
        if found := {name[11:]: float(x) for name, x in row.items() if name.startswith("validation/") and x}:
            log.append({"step": int(row["step"]), **({"training_loss": mean(losses)} if losses else {}), **found})
            losses = []
    is_unlabelled = any("explained" in each for each in log)
    ranked = [(-each["loss"] if is_unlabelled else _goodness(each), -each.get("loss", 0.0)) for each in log]
    best = log[ranked.index(max(ranked))] if log else {}
    seconds = max((float(row["seconds"]) for row in rows if row.get("seconds")), default=0.0)
    steps = max((int(row["step"]) for row in rows), default=0)
    speeds = [float(row["examples_per_second"]) for row in rows if row.get("examples_per_second")]
    speed = len(speeds) / sum(1 / each for each in speeds) if speeds else 0.0  # without validations
    return {"steps": steps, "seconds": seconds, "examples_per_second": speed, "validation": best, "log": log}


def _goodness(validation: Mapping[str, float]) -> float:
    found = (validation[name] for name in MONITORED if name in validation)
    return next(found, -validation.get("loss", float("inf")))


def num_parameters(folder: Path) -> int | None:
    """Of the model that a run saved, its head included."""
    path = folder / "model" / "model.safetensors"
    if not path.exists():
        return None
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - it is no mapping
    count = 0
    for shape in shapes:
        size = 1
        for extent in shape:
            size *= extent
        count += size
    return count


def revision() -> str:
    """The commit of this checkout; `+` behind it if its code was changed since."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout

    changed = git("status", "--porcelain", "--", "src", "experiments/*.py").strip()
    return git("rev-parse", "--short=10", "HEAD").strip() + "+" * bool(changed)


def distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in their order.

    >>> distinct([{"cores": 2}, {"cores": 16}, {"cores": 2}])
    [{'cores': 2}, {'cores': 16}]
    """
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def gpu_name() -> str:
    """Of the GPU that runs see; `` if there is none."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def each_once(lists: Iterable[str]) -> str:
    """What several lists hold, all parted by commas.

    >>> each_once(["a, b", "", "b, c"])
    'a, b, c'
    """
    return ", ".join(dict.fromkeys(each for text in lists for each in text.split(", ") if each))


def result_of(cell: Cell, table: Table, places: Places) -> dict[str, Any]:
    """A finished cell as plain values; `revision` and `machines` are those of all its runs."""
    runs = cell.all_runs(is_timed=False)
    costs = [read_json(places.of(run, ".json")) for run in runs]
    tests = {run: test for run in cell.runs if (test := read_json(places.of(run) / "test.json"))}
    validations = {run: test.get("validation") or trained(places.of(run))["validation"] for run, test in tests.items()}
    measured = max(tests, key=lambda run: _goodness(validations[run])) if cell.is_best_of else [*tests][-1]
    test, training = tests[measured], trained(places.of(measured))
    earlier = list(measured.before(is_timed=False))
    before = next((run for run in earlier if run.command == "pretrain"), None)
    saved = next((run for run in (measured, *earlier) if num_parameters(places.of(run))), measured)
    taken = {run: round(cost["core_seconds"], 1) for run, cost in zip(runs, costs, strict=True)}
    measures: dict[str, Any] = {}
    for run in runs:
        measures |= read_json(places.of(run) / "measures.json")
    return {
        "table": table.name,
        "cell": cell.name,
        "seed": cell.seed,
        "key": cell.key,
        "labels": dict(cell.labels),
        "rerun": f"python -m experiments.{table.name} --root ROOT --only {cell.name} --seeds {cell.seed} --into NEW",
        "commands": [cost["command"] for cost in costs],
        "costs": {run.name: seconds for run, seconds in taken.items()},
        "revision": each_once(cost["revision"] for cost in costs),
        "machines": distinct(cost["machine"] for cost in costs),
        "finished": time.strftime("%Y-%m-%d"),
        "core_seconds": round(sum(cost["core_seconds"] for cost in costs), 1),
        "share_of_core": round(
            sum(cost["core_seconds"] for cost in costs)
            / sum(cost["wall_seconds"] * run.cores for run, cost in zip(runs, costs, strict=True)),
            2,
        ),
        "peak_bytes": max(cost["peak_bytes"] for cost in costs),
        "steps": test.get("steps", training["steps"]) or None,
        "train_seconds": round(test.get("seconds", training["seconds"]), 1) or None,
        "examples_per_second": training["examples_per_second"] or None,
        "labels_core_seconds": taken[measured],
        "parameters": test.get("parameters", num_parameters(places.of(saved))),
        "pretraining": None if before is None else {**trained(places.of(before)), "core_seconds": taken[before]},
        "test": test.get("metrics", {}),
        "alone": test.get("alone", {}),
        "validation": validations[measured],
        "log": training["log"],
        "floor": test.get("floor"),
        "measures": measures,
    }


class Results:
    """The results of a table that are there and belong to its cells as they are defined now."""

    def __init__(self, table: Table, places: Places):
        self.table, self.places = table, places

    def path(self, cell: Cell) -> Path:
        return self.places.results / self.table.name / f"{cell.file}.json"

    def state(self, cell: Cell) -> str:
        """`done`, `outdated` (its settings have changed since), or ``."""
        found = read_json(self.path(cell))
        return "" if not found else "done" if found["key"] == cell.key else "outdated"

    def finish(self, cell: Cell) -> dict[str, Any]:
        """Write the result of a cell whose runs are done; of seed 0 the pictures that they drew go into the docs."""
        for run in cell.all_runs(is_timed=False) if cell.seed == 0 else ():
            for picture in self.places.of(run).glob("*.png"):
                shutil.copy(picture, self.picture(cell.name))
        result = result_of(cell, self.table, self.places)
        write_json(self.path(cell), result)  # last: what has a result is not done again
        return result

    def picture(self, name: str = "") -> Path:
        """The table's own, or that of one of its rows."""
        path = self.places.docs / "pictures" / f"results-{self.table.name}{'-' * bool(name)}{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def rows(self) -> Iterator[tuple[Cell, list[dict[str, Any]]]]:
        """The first cell of each row, and the row's results by seed."""
        rows: dict[str, list[Cell]] = {}
        for cell in self.table.cells:
            rows.setdefault(cell.name, []).append(cell)
        for cells in rows.values():
            yield cells[0], [read_json(self.path(cell)) for cell in cells if self.state(cell) == "done"]


def value_at(result: Mapping[str, Any], path: str) -> float | None:
    """The number at `test.accuracy`; None if there is none."""
    value: Any = result
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def shown_command(words: list[str], places: Places) -> str:
    """A command for people, without this machine's folders."""
    text = shlex.join(["hip", *words[1:]] if words[0] == "hiperceiver.cli" else ["python", "-m", *words])
    named = {str(places.runs): "RUNS", str(places.root): "ROOT", str(places.base) + os.sep: ""}
    for path, name in named.items():
        text = text.replace(path, name)
    return text
