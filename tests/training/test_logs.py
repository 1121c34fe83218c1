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
    limits = {"max_share": 0.5, "strict": False, "num_files": 6}
    skipped = SkippedExamples(path, **limits)
    skipped.count(4, ())
    assert not path.exists()
    skipped.count(1, ("a.jpg: is empty", "b.jpg: two\nlines"))
    skipped.count(2, ("a.jpg: is empty",))
    assert path.read_text() == "a.jpg: is empty\nb.jpg: two lines\n"
    assert (skipped.num_met, skipped.num_skipped) == (10, 2)
    again = SkippedExamples(path, **limits, num_met=10, keys=skipped.keys)
    again.count(0, ("b.jpg: silent in its middle, this time", "c.jpg: gone"))
    assert path.read_text().splitlines()[2:] == ["b.jpg: silent in its middle, this time", "c.jpg: gone"]
    assert (again.num_met, again.num_skipped) == (12, 3)
    path.write_text("a.jpg: is empty\nb.jpg: tw")  # killed while writing
    torn = SkippedExamples(path, **limits, num_met=10)
    torn.count(9, ("b.jpg: two\nlines", "a.jpg: is empty"))
    assert path.read_text() == "a.jpg: is empty\nb.jpg: two lines\n"


@pytest.mark.parametrize(
    ("num_files", "num_bad", "max_share"), [(12, 1, 0.1), (10, 1, 0.1), (3, 1, 0.34), (1000, 99, 0.1), (4, 4, 1.0)]
)
@pytest.mark.parametrize("num_draws", [1, 7])
def test_files_are_counted_and_not_how_often_they_are_drawn(
    tmp_path: Path, num_files: int, num_bad: int, max_share: float, num_draws: int
) -> None:
    skipped = SkippedExamples(tmp_path / "skipped.log", max_share=max_share, strict=False, num_files=num_files)
    for _ in range(num_draws):  # the bad ones first, in each epoch
        skipped.count(0, tuple(f"{n}.jpg: is empty" for n in range(num_bad)))
        skipped.count(num_files - num_bad, ())
    more = tuple(f"x{n}.jpg: gone" for n in range(num_files))
    if max_share < 1:
        with pytest.raises(TrainingError, match=rf"of {num_files} examples could not be read, more than max_bad_share"):
            skipped.count(0, more)


def test_one_file_more_than_the_limit_holds_ends_the_run_at_once(tmp_path: Path) -> None:
    skipped = SkippedExamples(tmp_path / "skipped.log", max_share=0.1, strict=False, num_files=20)
    skipped.count(0, ("a.jpg: is empty", "b.jpg: is empty"))
    with pytest.raises(TrainingError, match=r"3 of 20 examples .* max_bad_share=0.1; .*skipped.log .*: y.jpg: gone"):
        skipped.count(0, ("a.jpg: is empty", "y.jpg: gone"))


def test_of_a_stream_enough_must_have_been_read(tmp_path: Path) -> None:
    skipped = SkippedExamples(tmp_path / "skipped.log", max_share=0.1, strict=False, num_files=None)
    skipped.count(1, ("a.jpg: is empty",))  # half of two examples says little
    for number in range(89):
        skipped.count(1, (f"{number}.jpg: is empty",) if number < 8 else ())
    with pytest.raises(TrainingError, match=r"11 of 101 examples"):
        skipped.count(0, ("x.jpg: gone", "y.jpg: gone"))


def test_strict_bears_no_bad_example(tmp_path: Path) -> None:
    skipped = SkippedExamples(tmp_path / "skipped.log", max_share=1.0, strict=True, num_files=9)
    skipped.count(3, ())
    with pytest.raises(TrainingError, match="data: a.jpg: is empty"):
        skipped.count(3, ("a.jpg: is empty",))
