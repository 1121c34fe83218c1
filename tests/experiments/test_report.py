"""Tables, pictures and records from results that are there."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import records, report
from experiments.cells import Cell, Run, Table
from experiments.report import drawn_column, write_report
from experiments.results import Places, Results, write_json

ABOUT = {
    "revision": "abc",
    "machines": [{"processor": "a processor", "versions": {"torch": "9.9"}}],
    "finished": "2030-01-02",
    "core_seconds": 90.0,
    "share_of_core": 0.9,
    "costs": {"shared": 90.0},
}


def cell(name: str, seed: int = 0, **labels: str) -> Cell:
    run = Run(command="finetune", settings={"name": name, "seed": seed}, minutes=1.0)
    return Cell(name=name, seed=seed, runs=(run,), labels=labels)


def give(results: Results, cell: Cell, **values: Any) -> None:
    write_json(results.path(cell), {**ABOUT, "seed": cell.seed, "key": cell.key, **values})


def small_table(*cells: Cell) -> Table:
    columns = {"accuracy": "test.accuracy", "memory": "peak_bytes", "nothing": "measures.nothing"}
    return Table(name="small", title="Small", about="Made up.", cells=cells, columns=columns, parts="set")


def test_a_table_has_means_spreads_and_gaps(tmp_path: Path) -> None:
    cells = [*(cell("a", seed, set="one", model="A") for seed in range(3)), cell("b", set="one", model="B")]
    cells.append(cell("one-baseline", set="one", model="baseline"))
    results = Results(small_table(*cells), Places(root=tmp_path, base=tmp_path))
    for each, accuracy in zip(cells[:3], (0.50, 0.52, 0.54), strict=True):
        give(results, each, test={"accuracy": accuracy}, peak_bytes=2e9)
    give(results, cells[4], test={"accuracy": 0.3})
    assert write_report(results).endswith("results.md: 2 of 3 rows")
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "| model | accuracy | memory | seeds | core time | cell |" in text  # no column without a number
    assert "| A | 52.0 ± 2.0% | 2.00 GB | 3 | 1:30 | `a` |" in text
    assert "| B | – | – | 0 of 1 | – | `b` |" in text
    assert "### one" in text and "Done: 4 of 5 cells. Cost: 0.0 core-hours on a processor, torch 9.9; cells had" in text
    assert (tmp_path / "docs" / "pictures" / "results-small.png").stat().st_size > 1000


def test_only_its_own_section_is_written_anew(tmp_path: Path) -> None:
    results = Results(small_table(cell("a", set="one")), Places(root=tmp_path, base=tmp_path))
    write_report(results)
    path = tmp_path / "docs" / "results.md"
    path.write_text(path.read_text() + "\nAn answer by hand.\n")
    give(results, results.table.cells[0], test={"accuracy": 0.25})
    write_report(results)
    text = path.read_text()
    assert text.count("## Small") == 1 and "25.0%" in text and text.endswith("An answer by hand.\n")


def test_tables_that_are_written_at_once_all_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (Results(replace(small_table(), name=name), Places(root=tmp_path, base=tmp_path)) for name in "ab")
    other = threading.Thread(target=write_report, args=(second,))
    section = report._section

    def slow(results: Results, rows: report.Rows) -> str:
        if results is first:
            other.start()
            other.join(0.2)
        return section(results, rows)

    monkeypatch.setattr(report, "_section", slow)
    write_report(first)
    other.join()
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "<!-- a: generated -->" in text and "<!-- b: generated -->" in text and text.count("# Results") == 1


def test_a_result_without_the_number_that_is_drawn_is_shown(tmp_path: Path) -> None:
    results = Results(small_table(cell("a", set="one")), Places(root=tmp_path, base=tmp_path))
    give(results, results.table.cells[0], test={"miou": 0.25}, peak_bytes=1e9)
    write_report(results)
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "| 1.00 GB |" in text and "![Small]" not in text


def test_the_column_that_is_drawn_is_the_one_that_the_baseline_has(tmp_path: Path) -> None:
    cells = (cell("a", set="one"), cell("one-baseline", set="one"))
    columns = {"accuracy": "test.accuracy", "mIoU": "test.miou", "memory": "peak_bytes"}
    table = Table(name="small", title="Small", about="Made up.", cells=cells, columns=columns)
    results = Results(table, Places(root=tmp_path, base=tmp_path))
    give(results, cells[0], test={"accuracy": 0.8, "miou": 0.4}, peak_bytes=1e9)
    give(results, cells[1], test={"miou": 0.3}, peak_bytes=1e9)
    assert drawn_column(table, list(results.rows())) == ("mIoU", "test.miou")


def test_all_that_was_used_is_named(tmp_path: Path) -> None:
    cells = (cell("a"), cell("b"), cell("c"))
    results = Results(small_table(*cells), Places(root=tmp_path, base=tmp_path))
    give(results, cells[0], test={"accuracy": 0.25}, revision="abc, def")
    other = {"processor": "another", "versions": {"torch": "9.9"}}
    own = {"finished": "2030-02-03", "machines": [other], "revision": "def", "share_of_core": 0.6}
    give(results, cells[1], test={"accuracy": 0.25}, **own)
    write_report(results)
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "on a processor, torch 9.9 and another, torch 9.9; cells had a core to themselves for 60% to 90% of" in text
    assert "; 2030-01-02 to 2030-02-03; code of abc, def." in text


def test_results_of_other_settings_do_not_count(tmp_path: Path) -> None:
    results = Results(small_table(cell("a", set="one")), Places(root=tmp_path, base=tmp_path))
    give(results, results.table.cells[0], test={"accuracy": 0.25}, key="of earlier settings")
    assert results.state(results.table.cells[0]) == "outdated"
    assert write_report(results).endswith("0 of 1 rows")


def test_records_say_which_entries_were_some(tmp_path: Path) -> None:
    results = Results(records.TABLE, Places(root=tmp_path, base=tmp_path))
    accuracies = {"cifar20-1": (0.58,), "cifar20-4": (0.60, 0.58, 0.62)}
    for each in records.TABLE.cells:
        if each.name in accuracies:
            give(results, each, test={"accuracy": accuracies[each.name][each.seed]})
        elif each.name == "cifar20-baseline":
            give(results, each, test={"accuracy": 0.35}, floor={"name": "nearest neighbour"})
    write_report(results)
    text = (tmp_path / "docs" / "records.md").read_text()
    assert "| 0 | baseline: nearest neighbour | 35.0% |  | abc | `cifar20-baseline` | 0 |" in text
    assert "| 58.0% | tried with one seed | abc | `cifar20-1` | 0 |" in text
    assert "| – | not run yet | – | `cifar20-2` | – |" in text
    assert "| 60.0 ± 2.0% | **record** | abc | `cifar20-4` | 0, 1, 2 |" in text
    assert "| – | not run with three seeds yet | – | `digits-1` | – |" in text


def test_a_record_is_above_the_last_by_more_than_the_spread() -> None:
    entry = records.Entry(what="another", labels=20)
    last = (0.58, 0.59, 0.585)
    assert records.verdict(entry, (0.61, 0.60, 0.62), last) == "**record**"
    assert records.verdict(entry, (0.60, 0.58, 0.62), last) == "not above the record by more than the spread"
    assert records.verdict(entry, (0.61, 0.60), last) == "not run with three seeds yet"
