"""ImageNet in the forms in which people have it."""

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from hiperceiver.data.encoders import ImageEncoder

from ..pictures import jpeg, write
from .reading import bad, counts, examples, labels, layout

open_imagenet, matches = layout("imagenet")

TENCH, SHARK, CRANE, CRANE_MACHINE = "n01440764", "n01484850", "n02012849", "n03126707"
COLOURS = {TENCH: (200, 30, 30), SHARK: (30, 30, 200), CRANE: (30, 200, 30), CRANE_MACHINE: (200, 200, 30)}
SMALL = {"image": {"size": [8, 8]}}


def class_folders(part: Path, names: tuple[str, ...] = (TENCH, SHARK), count: int = 10) -> None:
    for name in names:
        for number in range(count):
            write(part / name / f"{name}_{number}.JPEG", jpeg(COLOURS[name]))


def flat(part: Path, count: int = 4) -> None:
    for number in range(1, count + 1):
        write(part / f"ILSVRC2012_val_{number:08}.JPEG", jpeg(COLOURS[(TENCH, SHARK)[number % 2]]))


def val_names(count: int = 4) -> list[str]:
    return [f"ILSVRC2012_val_{number:08}" for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("train", "val"),
    [("train", "val"), ("train", "validation"), ("ILSVRC2012_img_train", "ILSVRC2012_img_val")],
)
def test_class_folders(tmp_path: Path, train: str, val: str) -> None:
    class_folders(tmp_path / train)
    class_folders(tmp_path / val, count=3)
    write(tmp_path / train / TENCH / "._hidden.JPEG", b"")
    write(tmp_path / train / TENCH / "notes.txt", b"words")
    assert matches(tmp_path)
    source = open_imagenet(tmp_path, task="classification", encoder_settings=SMALL)
    assert source.classes == (TENCH, SHARK)
    assert counts(source) == {"train": 18, "validation": 2, "test": 6}
    assert source.warnings == ()
    for split in source.splits:
        for example in examples(source, split):
            assert example.inputs["image"].shape == (64, 3)
            # A red fish and a blue one.
            red, _, blue = source.encoders["image"].to_value(example.inputs["image"]).reshape(-1, 3).mean(0)
            assert int(example.targets["label"]) == int(blue > red)
    assert set(labels(source, "test")) == {f"{val}/{name}/{name}_{n}.JPEG" for name in (TENCH, SHARK) for n in range(3)}
    assert counts(open_imagenet(tmp_path, encoder_settings=SMALL)) == counts(source)


def test_the_default_is_the_papers(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", count=3)
    encoder = open_imagenet(tmp_path).encoders["image"]
    assert isinstance(encoder, ImageEncoder)
    assert (encoder.size, encoder.colours, encoder.fit) == ((224, 224), "RGB", "crop")


def kaggle(root: Path) -> Path:
    base = root / "ILSVRC" / "Data" / "CLS-LOC"
    class_folders(base / "train")
    flat(base / "val")
    flat(base / "test")
    rows = [f"{name},{(TENCH, SHARK)[n % 2]} 85 1 499 272 " for n, name in enumerate(val_names(), 1)]
    rows[0] = f"{val_names()[0]},{SHARK} 1 2 3 4 {SHARK} 5 6 7 8"
    (root / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows[::-1]]) + "\n")
    (root / "LOC_synset_mapping.txt").write_text(f"{TENCH} tench, Tinca tinca\n{SHARK} great white shark, man-eater\n")
    return base


def test_the_form_of_kaggle(tmp_path: Path) -> None:
    base = kaggle(tmp_path)
    for folder in (tmp_path, tmp_path / "ILSVRC", base):
        assert matches(folder)
        source = open_imagenet(folder, task="classification", encoder_settings=SMALL)
        assert source.classes == ("tench", "great white shark")
        assert counts(source) == {"train": 18, "validation": 2, "test": 4}
        found = labels(source, "test")
        assert list(found.values()) == ["great white shark", "tench", "great white shark", "tench"]
        assert list(found) == [f"val/{name}.JPEG" for name in val_names()]


def test_classes_of_one_word_are_told_apart(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", (CRANE, CRANE_MACHINE))
    (tmp_path / "words.txt").write_text(f"n00001740\tentity\n{CRANE}\tcrane\n{CRANE_MACHINE}\tcrane, machine\n")
    source = open_imagenet(tmp_path, task="classification", encoder_settings=SMALL)
    assert source.classes == (f"crane ({CRANE})", f"crane ({CRANE_MACHINE})")


@pytest.mark.parametrize("form", ["numbers", "ids", "paths"])
def test_flat_val_with_a_list(tmp_path: Path, form: str) -> None:
    class_folders(tmp_path / "train")
    flat(tmp_path / "val")
    prefix = "val/" if form == "paths" else ""
    lines = [
        f"{prefix}{name}.JPEG {(TENCH, SHARK)[n % 2] if form == 'ids' else n % 2}"
        for n, name in enumerate(val_names(), 1)
    ]
    (tmp_path / "val.txt").write_text("\n".join(lines))
    source = open_imagenet(tmp_path, task="classification", encoder_settings=SMALL)
    assert list(labels(source, "test").values()) == [SHARK, TENCH] * 2


def test_numbers_of_a_list_count_all_classes_where_only_some_were_kept(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", (TENCH, CRANE))
    flat(tmp_path / "val")
    (tmp_path / "synset_words.txt").write_text(f"{TENCH} tench\n{SHARK} shark\n{CRANE} crane\n")
    lines = [f"{name}.JPEG {number}" for number, name in zip((2, 0, 1, 2), val_names(), strict=True)]
    (tmp_path / "val.txt").write_text("\n".join(lines))
    source = open_imagenet(tmp_path, task="classification", encoder_settings=SMALL)
    assert source.classes == ("tench", "crane")
    assert list(labels(source, "test").values()) == ["crane", "tench", "crane"]
    assert source.warnings == ("1 of 4 examples of test have no label and are left out",)
    assert counts(open_imagenet(tmp_path, encoder_settings=SMALL))["test"] == 4


def devkit(root: Path) -> Path:
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    # The kit counts classes in an order of its own; numbers past those of leaves are of whole families.
    synsets = np.zeros(3, dtype=[("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O")])
    synsets["ILSVRC2012_ID"], synsets["WNID"] = [1, 2, 3], [SHARK, TENCH, "n00015388"]
    synsets["words"] = ["shark", "tench", "animal"]
    scipy.io.savemat(data / "meta.mat", {"synsets": synsets[:, None]})
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n1\n2\n")
    return data


def test_flat_val_with_the_development_kit(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    flat(tmp_path / "val")
    data = devkit(tmp_path)
    (tmp_path / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()
    source = open_imagenet(tmp_path, task="classification", encoder_settings=SMALL)
    assert list(labels(source, "test").values()) == [SHARK, SHARK, TENCH]
    assert source.warnings == ("1 listed pictures of val are not there: ILSVRC2012_val_00000002",)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n7\n2\n")
    with pytest.raises(ValueError, match=r"ground_truth\.txt: expected classes from 1 to 3, got '7'"):
        open_imagenet(tmp_path, encoder_settings=SMALL)
    cut = (data / "meta.mat").read_bytes()[:300]
    for content, reason in ((b"", "is empty"), (b"words", "cannot be decoded: "), (cut, "cannot be decoded: ")):
        (data / "meta.mat").write_bytes(content)
        with pytest.raises(ValueError, match=rf"^{data}/meta\.mat: {reason}"):
            open_imagenet(tmp_path, encoder_settings=SMALL)


def test_flat_val_without_a_list_has_no_labels(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    flat(tmp_path / "val")
    source = open_imagenet(tmp_path, task="classification", encoder_settings=SMALL)
    assert "test" not in source.splits
    assert source.warnings == (
        "val has neither class folders nor a list of classes: its pictures have no label",
        "4 of 4 examples of test have no label and are left out",
    )
    assert counts(open_imagenet(tmp_path, encoder_settings=SMALL)) == {"train": 18, "validation": 2, "test": 4}


def test_only_training(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    assert counts(open_imagenet(tmp_path, task="classification", encoder_settings=SMALL)) == {
        "train": 14,
        "validation": 2,
        "test": 4,
    }


def test_odd_classes(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "val", (TENCH, CRANE), count=2)
    (tmp_path / "train" / CRANE_MACHINE).mkdir()
    source = open_imagenet(tmp_path, task="classification", encoder_settings=SMALL)
    assert source.classes == (TENCH, SHARK, CRANE_MACHINE)
    assert source.warnings == (
        f"val has classes that are not trained and have no label: {CRANE}",
        f"classes without training examples: {CRANE_MACHINE}",
        "2 of 4 examples of test have no label and are left out",
    )


def test_damaged_pictures_are_bad_examples(tmp_path: Path) -> None:
    class_folders(tmp_path / "train")
    class_folders(tmp_path / "val", count=3)
    part = tmp_path / "val" / TENCH
    for number, content in enumerate((b"", jpeg()[:200], b"words")):
        write(part / f"{TENCH}_{number}.JPEG", content)
    lines = bad(open_imagenet(tmp_path, encoder_settings=SMALL), "test")
    assert len(lines) == 3
    assert all(line.startswith(f"val/{TENCH}/{TENCH}_{number}.JPEG: ") for number, line in enumerate(lines))


def test_bad_layouts_are_one_line(tmp_path: Path) -> None:
    def refused(pattern: str, folder: Path = tmp_path, **options: object) -> None:
        with pytest.raises(ValueError, match=pattern) as caught:
            open_imagenet(folder, encoder_settings=SMALL, **options)
        assert "\n" not in str(caught.value)

    refused(rf"^{tmp_path}/gone: no such folder$", tmp_path / "gone")
    refused("expected a folder, got a file$", write(tmp_path / "file", b"x"))
    refused("expected the folder train or ILSVRC2012_img_train, found neither")
    assert not matches(tmp_path)
    (tmp_path / "train").mkdir()
    assert not matches(tmp_path)
    refused("/train: expected pictures in folders of classes such as n01440764, found none")
    (tmp_path / "train" / TENCH).mkdir()
    refused("/train: expected pictures in folders of classes such as n01440764, found none")
    class_folders(tmp_path / "train", (TENCH,))
    refused(f"expected at least two classes with training examples, found only '{TENCH}'", task="classification")
    class_folders(tmp_path / "train")
    refused("task: the source 'imagenet' has targets for classification; got 'segmentation'", task="segmentation")
    refused("task: expected one of none, ", task="sorting")
    (tmp_path / "val").mkdir()
    for content, reason in (
        ("", r"is empty \(0 bytes\)"),
        ("ILSVRC2012_val_00000001.JPEG", "expected a picture and its class in each line, got 'ILSVRC"),
        ("ILSVRC2012_val_00000001.JPEG 2", "expected classes from 0 to 1, got '2'"),
        ("ILSVRC2012_val_00000001.JPEG -1", "expected classes from 0 to 1, got '-1'"),
        ("ILSVRC2012_val_00000001.JPEG tench", "expected classes from 0 to 1, got 'tench'"),
    ):
        (tmp_path / "val.txt").write_text(content)
        refused(rf"^{tmp_path}/val\.txt: {reason}")
    (tmp_path / "val.txt").unlink()
    for content, reason in (
        ("ImageId\nx\n", "expected the columns ImageId, PredictionString, got ImageId"),
        ("ImageId,PredictionString\nx,tench\n", "expected classes such as n01440764, got 'tench'"),
        ("ImageId,PredictionString\nx\n", "line 2: expected 2 cells, got 1"),
    ):
        (tmp_path / "LOC_val_solution.csv").write_text(content)
        refused(rf"^{tmp_path}/LOC_val_solution\.csv: {reason}")


def test_listing_touches_no_file(tmp_path: Path) -> None:
    """A million pictures are listed in seconds: names only."""
    class_folders(tmp_path / "train", count=1)
    for number in range(1, 20_000):
        (tmp_path / "train" / TENCH / f"{TENCH}_{number}.JPEG").touch()
    source = open_imagenet(tmp_path, encoders={"image": ImageEncoder(size=8)})
    start = time.perf_counter()
    assert len(open_imagenet(tmp_path, encoders=source.encoders).splits["train"]) > 10_000
    assert time.perf_counter() - start < 2
    assert len(pickle.dumps(source.splits["train"])) < 100 * 20_000


def test_the_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kaggle(tmp_path))
    source = open_imagenet(".", task="classification", encoder_settings=SMALL)
    assert source.classes == ("tench", "great white shark")
    assert len(examples(source, "test")) == 4
    assert matches(Path(os.curdir))
