import csv
from pathlib import Path

import pytest
import torch

from hiperceiver.modality import Batch
from hiperceiver.training.errors import TrainingError
from hiperceiver.training.logs import CsvLog, LossWindow, SkippedExamples


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def batch(good: int, *bad: str) -> Batch:
    return Batch(inputs={"x": torch.zeros(good, 5, 1)} if good else {}, skipped=bad)


def test_rows_are_on_the_disk_at_once_and_new_columns_are_added(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "metrics.csv")
    log.write(1, {"a": 1.5})
    assert rows(log.path) == [{"step": "1", "a": "1.5"}]
    log.write(2, {"b": 2.0})
    log.write(3, {"a": 0.1 + 0.2})
    assert rows(log.path) == [
        {"step": "1", "a": "1.5", "b": ""},
        {"step": "2", "a": "", "b": "2.0"},
        {"step": "3", "a": repr(0.1 + 0.2), "b": ""},
    ]


def test_a_resumed_file_holds_every_row_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = CsvLog(path)
    for step in range(1, 6):
        log.write(step, {"a": float(step)})
    with path.open("a") as file:
        file.write("6,6.")  # killed while writing
    log = CsvLog(path, last_step=3)
    assert [row["step"] for row in rows(path)] == ["1", "2", "3"]
    log.write(4, {"a": 4.0, "validation/b": 0.5})
    log.write(5, {"a": 5.0})
    assert [row["step"] for row in rows(path)] == ["1", "2", "3", "4", "5"]
    CsvLog(path, last_step=4, redo_validation=True)
    assert [row["step"] for row in rows(path)] == ["1", "2", "3"]


def test_a_new_file_starts_empty_and_a_lost_one_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,a\n1,2\n")
    CsvLog(path).write(7, {"a": 3.0})
    assert rows(path) == [{"step": "7", "a": "3.0"}]
    path.unlink()
    CsvLog(path, last_step=7).write(8, {"a": 4.0})
    assert rows(path) == [{"step": "8", "a": "4.0"}]


def test_window_gives_means_and_survives_a_checkpoint() -> None:
    window = LossWindow()
    window.add(batch(2), torch.tensor(1.0), {"loss_x": torch.tensor(4.0)})
    window.num_steps += 1
    other = LossWindow.restored(window.state())
    other.add(batch(1), torch.tensor(2.0), {"loss_x": torch.tensor(8.0)})
    other.num_steps += 1
    assert other.means() == {"loss": 1.5, "loss_x": 6.0}
    assert (other.num_examples, other.num_tokens) == (3, 15)
    assert LossWindow().means() == {}


def test_bad_examples_are_counted_and_named_once(tmp_path: Path) -> None:
    path = tmp_path / "skipped.log"
    skipped = SkippedExamples(path, max_share=0.5, strict=False)
    skipped.count(4, ())
    assert not path.exists()
    skipped.count(1, ("a.jpg: is empty", "b.jpg: two\nlines"))
    skipped.count(2, ("a.jpg: is empty",))
    assert path.read_text() == "a.jpg: is empty\nb.jpg: two lines\n"
    assert (skipped.num_met, skipped.num_skipped) == (10, 3)
    again = SkippedExamples(path, max_share=0.5, strict=False, counts=(10, 3))
    again.count(0, ("b.jpg: two\nlines", "c.jpg: gone"))
    assert path.read_text() == "a.jpg: is empty\nb.jpg: two lines\nc.jpg: gone\n"
    assert (again.num_met, again.num_skipped) == (12, 5)
    path.write_text("a.jpg: is empty\nb.jpg: tw")  # killed while writing
    torn = SkippedExamples(path, max_share=0.5, strict=False, counts=(10, 3))
    torn.count(9, ("b.jpg: two\nlines", "a.jpg: is empty"))
    assert path.read_text() == "a.jpg: is empty\nb.jpg: two lines\n"


def test_too_many_bad_examples_end_the_run_but_not_too_early(tmp_path: Path) -> None:
    skipped = SkippedExamples(tmp_path / "skipped.log", max_share=0.1, strict=False)
    skipped.count(1, ("a.jpg: is empty",))  # half of two examples says little
    for _ in range(80):
        skipped.count(1, ())
    for number in range(8):
        skipped.count(1, (f"{number}.jpg: is empty",))
    with pytest.raises(TrainingError, match=r"11 of 100 examples .* max_bad_share=0.1; .*skipped.log .*: y.jpg: gone"):
        skipped.count(0, ("x.jpg: gone", "y.jpg: gone"))


def test_strict_bears_no_bad_example(tmp_path: Path) -> None:
    skipped = SkippedExamples(tmp_path / "skipped.log", max_share=1.0, strict=True)
    skipped.count(3, ())
    with pytest.raises(TrainingError, match="data: a.jpg: is empty"):
        skipped.count(3, ("a.jpg: is empty",))
