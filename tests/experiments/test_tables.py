"""Every cell of every table is made of settings that our commands understand."""

from importlib import import_module
from typing import Any

import pytest

from experiments.cells import Cell, Data, Run, Table, TimeOf
from experiments.datasets import SETS
from experiments.recipes import PEERS
from experiments.records import CLASSES, is_record
from experiments.scaled import PARTS
from hiperceiver.cli.entry import read_command
from hiperceiver.cli.models import with_settings
from hiperceiver.model import variant_config

NAMES = (
    "positions",
    "masking",
    "hierarchy",
    "two_senses",
    "peers",
    "recipes",
    "records",
    "starts",
    "optimizers",
    "context",
)
TABLES: dict[str, Table] = {name: import_module(f"experiments.{name}").TABLE for name in NAMES}


def resolve(value: Any) -> Any:
    if isinstance(value, Run):
        return f"RUNS/{value.name}"
    return "300.0s" if isinstance(value, TimeOf) else value.name if isinstance(value, Data) else value


def checked(run: Run) -> None:
    words = run.arguments(resolve)
    if run.command == "experiments.measures":
        assert words[0] == "--run" and len(words) == 2
        return
    if run.command == "experiments.peer":
        assert words[0] == "--peer" and words[1] in ("cnn", "vit", "fasttext")
        words = words[2:]
    if run.command == "experiments.schedule_free":
        assert {"--optimizer", "--steps"} <= set(words)
    if run.command == "experiments.scaled":
        assert words[0] == "--part" and words[1] in PARTS and words[2] == "--factor"
        words = words[4:]
    settings = read_command(run.command if "." not in run.command else "finetune", words)
    assert settings.seed in range(3) if hasattr(settings, "seed") else True
    if run.command in ("pretrain", "finetune"):
        assert settings.steps or settings.max_time
        if getattr(settings, "pretrained", None) is None:
            with_settings(variant_config(settings.model), settings.model_settings)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_understood(name: str) -> None:
    for run in dict.fromkeys(run for cell in TABLES[name].cells for run in cell.all_runs()):
        checked(run)
        assert all(each in SETS for each in run.data())
        assert run.minutes > 0


@pytest.mark.parametrize("name", NAMES)
def test_cells_have_names_of_their_own_and_rows_their_labels(name: str) -> None:
    table = TABLES[name]
    assert table.name == name
    files = [cell.file for cell in table.cells]
    assert len(files) == len(set(files))
    rows: dict[str, list[Cell]] = {}
    for cell in table.cells:
        rows.setdefault(cell.name, []).append(cell)
    for cells in rows.values():
        assert len({tuple(cell.labels.items()) for cell in cells}) == 1
        assert [cell.seed for cell in cells] == list(range(len(cells)))
        assert len({cell.key for cell in cells}) == len(cells)
    assert len({tuple(cells[0].labels.items()) for cells in rows.values()}) == len(rows)


def test_the_central_table_has_what_it_must() -> None:
    names = [cell.name for cell in TABLES["positions"].cells]
    for row in ("none", "fourier", "learned-reference", "learned-ours"):
        assert names.count(row) == names.count(f"{row}-mae") == 3
    for run in (run for cell in TABLES["positions"].cells for run in cell.all_runs()):
        if run.command == "pretrain" and run.settings["data"] == Data("cifar-10"):
            assert run.settings["steps"] >= 5000


SHOWN = {
    "positions": {
        *("learned-ours-mae-table", "learned-ours-mae-all-but-table"),
        *("learned-ours-shuffled", "learned-ours-shuffled-mae", "fourier-shuffled"),
        *(f"{row}{mae}-{part}pc" for row in ("fourier", "learned-ours") for mae in ("", "-mae") for part in (1, 5, 25)),
        *("fourier-long", "learned-ours-long", "digits-none", "digits-fourier-mae", "digits-learned-ours-mae"),
    },
    "masking": {
        *(f"{how}-{ratio}" for how in ("group-wise", "uniform") for ratio in (0.25, 0.5, 0.75, 0.9)),
        *(f"{order}-block{size}" for order in ("raster", "hilbert") for size in (4, 16)),
    },
    "hierarchy": {"perceiver-io", *(f"groups{n}{skips}" for n in (1, 4, 16, 64) for skips in ("", "-no-skips"))},
    "peers": {
        f"{data}-{model}"
        for data in ("cifar-10", "esc-10", "spoken-digits", "watch", "imdb", "JapaneseVowels", "OSULeaf", "camvid")
        for model in ("baseline", "hip", "hip-mae", "perceiver-io", "cnn", "vit")
    },
    "starts": {f"{row}-{side}" for row in ("none", "fourier", "learned-reference") for side in (32, 128, 224)},
}
"""Rows that the documents speak of."""


@pytest.mark.parametrize("name", SHOWN)
def test_tables_have_the_rows_that_documents_speak_of(name: str) -> None:
    assert {cell.name for cell in TABLES[name].cells} >= SHOWN[name]


def test_peers_of_recipes_read_and_take_what_the_recipes_do() -> None:
    cells = {cell.file: cell for cell in TABLES["recipes"].cells}
    for name, (peer, *_) in PEERS.items():
        seeds = [each.seed for each in cells.values() if each.name == f"{name}-{peer}"]
        assert seeds[:1] == [0]
        for seed in seeds:
            *_, tuned = recipe = cells[f"{name}-hip-seed{seed}"].runs
            for run in cells[f"{name}-{peer}-seed{seed}"].runs:
                assert run.settings["max_time"].runs == recipe
                assert run.settings["seed"] == seed
                for option in ("data", "data_settings", "task", "augment", "batch_size", "balance"):
                    assert run.settings.get(option) == tuned.settings.get(option)
                assert run.settings.get("size") == recipe[0].settings.get("size")


def test_a_record_beats_the_last_one_by_more_than_the_spread() -> None:
    assert is_record([0.5, 0.5, 0.5], [])
    assert not is_record([0.9, 0.9], [])
    assert not is_record([0.9, 0.9], [0.1, 0.1, 0.1])
    assert is_record([0.61, 0.62, 0.60], [0.58, 0.59, 0.585])
    assert not is_record([0.60, 0.58, 0.62], [0.58, 0.60, 0.57])
    assert all(each.entries for each in CLASSES.values())
