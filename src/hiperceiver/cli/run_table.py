"""`hip runs`: the run folders below a folder, with what they reached and cost. Anything may lie there."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hiperceiver import limits
from hiperceiver.cli.arguments import read_config
from hiperceiver.cli.errors import UserError
from hiperceiver.cli.results import check_new, write_json
from hiperceiver.cli.tables import metric, print_table
from hiperceiver.model.files import CONFIG_FILE
from hiperceiver.settings.base import one_line, printable
from hiperceiver.settings.commands import RunsSettings
from hiperceiver.settings.run import format_duration, parse_duration
from hiperceiver.settings.tasks import MaskedAutoencodingConfig
from hiperceiver.tasks import TASKS
from hiperceiver.training.folder import RunFolder
from hiperceiver.training.logs import VALIDATION

_DEEPEST = 4
"""Levels below the folder that are searched."""
_LARGE = 1e12
"""Steps or seconds that no run has."""
_LONGEST = 40
"""Characters of a word in the table."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a run's folder tells. None: it does not."""

    folder: str
    """Relative to the folder that is searched."""
    state: str
    """`finished`; `interrupted`, or still running; `diverged`: it ended as a step was not finite; `unreadable`."""
    note: str = ""
    """Why it is unreadable, in one line."""
    command: str | None = None
    """`pretrain` or `finetune`."""
    data: str | None = None
    model: str | None = None
    """Of its settings: the model's name, or the run or model that it started from."""
    metric: str | None = None
    """By which the task chooses the best weights; without a validation `training loss`."""
    best: float | None = None
    """Its best value in a validation; the last training loss without one."""
    best_step: int | None = None
    steps: int | None = None
    """Optimizer steps that were done."""
    planned_steps: int | None = None
    seconds: float | None = None
    """Length of the run, validations and earlier parts included."""
    devices: int | None = None
    device: str | None = None
    """`core` or `GPU`: of what there were so many when it began, or was last resumed."""


def run(settings: RunsSettings) -> int:
    """Print the table, newest run last."""
    folder = Path(settings.folder).expanduser()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing of that name"
        raise UserError(f"{settings.folder}: expected a folder with run folders below it, got {found}")
    check_new(settings.json, "--json")
    runs = [summarise_run(each, folder) for each in sorted(find_runs(folder), key=_changed)]
    print_table(
        ("run", "command", "data", "model", "best", "steps", "time", "cost", "state"),
        [_row(each) for each in runs],
        title=f"{len(runs)} {'run' if len(runs) == 1 else 'runs'} below {_word(str(folder), 200)}",
    )
    for each in runs:
        if each.note:
            print(f"{_word(each.folder, 200)}: {each.note}")
    write_json(settings.json, [asdict(each) for each in runs])
    return 0


def find_runs(folder: Path) -> Iterator[Path]:
    """The folders that look like a run's, from `folder` itself down; links are not followed."""
    for path, names, files in os.walk(folder):  # what cannot be read is left out
        here = Path(path)
        is_run = "settings.yaml" in files or "metrics.csv" in files or (here / "checkpoints" / "last.ckpt").is_file()
        if is_run:
            yield here
        if is_run or len(here.relative_to(folder).parts) >= _DEEPEST:
            names.clear()


def summarise_run(path: Path, below: Path) -> RunSummary:
    """What a run's folder tells; whatever is in it, no error."""
    name = str(path.relative_to(below)) if path != below else path.resolve().name
    try:
        return RunSummary(folder=name, **_read(RunFolder(path)))
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        return RunSummary(folder=name, state="unreadable", note=_word(one_line(error).removeprefix("--config: "), 200))


def _read(folder: RunFolder) -> dict[str, Any]:
    found: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    if folder.settings.exists():
        settings = read_config(folder.settings)
        head = limits.read_text(folder.settings, limits.SETTINGS)[:1000]
        command = re.match(r"# hip (\w+) ", head)
        found["command"] = command[1] if command else None
        found["data"], found["model"] = _text(settings.get("data")), _text(settings.get("model"))
        if settings.get("from") is not None:
            found["model"] = _text(settings["from"])
        if place := re.search(r"^# on (\d{1,9}) (core|GPU)s?\b", head, re.MULTILINE):
            found["devices"], found["device"] = int(place[1]), place[2]
        found["planned_steps"] = _whole(settings.get("steps"))
    kind = _task_kind(folder, settings, found.get("command"))
    log = _read_log(folder.metrics, *(TASKS[kind].monitor if kind in TASKS else ("loss", "min")))
    is_finite = log.pop("is_finite")
    found |= log
    has_model = (folder.model / CONFIG_FILE).is_file()
    if has_model and _is_over(found, settings.get("max_time")):
        found["state"] = "finished"
    else:
        found["state"] = "diverged" if folder.not_finite.exists() or not is_finite else "interrupted"
    return found


def _read_log(path: Path, name: str, better: str) -> dict[str, Any]:
    """From `metrics.csv`, which may be missing or cut off: the last step and second, the best validation."""
    found: dict[str, Any] = {"is_finite": True}
    if not path.exists():
        return found
    sign = -1 if better == "min" else 1
    loss: float | None = None
    with io.TextIOWrapper(limits.open_file(path), encoding="utf-8", errors="replace", newline="") as file:
        limits.FILE.check(os.fstat(file.fileno()).st_size, "has")
        for row in csv.DictReader(file):
            values = {column: _number(text) for column, text in row.items() if isinstance(column, str)}
            step = values.get("step")
            if step is None or not 0 <= step < _LARGE or None in row.values():
                continue  # the last line may have been cut off
            found["steps"] = int(step)
            if (seconds := values.get("seconds")) is not None and 0 <= seconds < _LARGE:
                found["seconds"] = seconds
            loss = values["train/loss"] if values.get("train/loss") is not None else loss
            value = values.get(f"{VALIDATION}{name}")
            if value is not None and ("best" not in found or sign * value > sign * found["best"]):
                found |= {"metric": name, "best": value, "best_step": int(step)}
    if loss is not None:
        found["is_finite"] = math.isfinite(loss)
        if "best" not in found:
            found |= {"metric": "training loss", "best": loss, "best_step": found["steps"]}
    return found


def _task_kind(folder: RunFolder, settings: dict[str, Any], command: str | None) -> str | None:
    """The kind of the saved task, or what the settings say where nothing is saved yet."""
    path = folder.model / CONFIG_FILE
    if path.is_file():
        values = json.loads(limits.read_text(path))
        task = values.get("task") if isinstance(values, dict) else None
        return _text(task.get("kind")) if isinstance(task, dict) else None
    return MaskedAutoencodingConfig.kind if command == "pretrain" else _text(settings.get("task"))


def _is_over(found: dict[str, Any], max_time: object) -> bool:
    planned, seconds = found.get("planned_steps"), found.get("seconds")
    is_by_steps = planned is not None and found.get("steps", 0) >= planned
    if not isinstance(max_time, str) or seconds is None:
        return is_by_steps
    return is_by_steps or seconds >= parse_duration(max_time)


def _changed(path: Path) -> tuple[float, str]:
    """When a run last wrote something."""
    folder, times = RunFolder(path), [0.0]
    for each in (folder.settings, folder.metrics, folder.last_checkpoint):
        try:
            times.append(each.stat().st_mtime)
        except OSError:
            continue
    return max(times), str(path)


def _row(each: RunSummary) -> tuple[str, ...]:
    steps = "" if each.steps is None else str(each.steps)
    if steps and each.planned_steps and each.state != "finished":
        steps = f"{steps} of {each.planned_steps}"
    best = ""
    if each.best is not None and each.metric is not None:
        best = f"{each.metric} {metric(each.metric, each.best)}"
    return (
        _word(each.folder, 2 * _LONGEST),
        each.command or "",
        _word(_last_part(each.data)),
        _word(_last_part(each.model)),
        best,
        steps,
        "" if each.seconds is None else format_duration(each.seconds),
        _cost(each),
        each.state,
    )


def _cost(each: RunSummary) -> str:
    """Core- or GPU-minutes."""
    if each.seconds is None or each.devices is None or each.device is None:
        return ""
    return f"{each.devices * each.seconds / 60:.1f} {each.device}-min"


def _last_part(name: str | None) -> str:
    return "" if name is None else name.rstrip("/").rpartition("/")[2] or name


def _word(text: str, most: int = _LONGEST) -> str:
    """What a file or its name holds, so that it can be printed."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _number(text: object) -> float | None:
    try:
        return float(text) if isinstance(text, str) and len(text) < 100 else None
    except ValueError:
        return None
