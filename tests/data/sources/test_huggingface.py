"""Folders and tables of pictures as strangers have them: every layout, and every fault a line."""

import json
import os
import pickle
import sys
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from hiperceiver.data.encoders import ImageEncoder
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.loading import eval_loader, train_loader
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.huggingface import PictureRows, open_huggingface
from hiperceiver.data.sources.source import Source
from hiperceiver.data.sources.tables import dealt

from ..pictures import encoded, gradient, jpeg, write

RED, GREEN = (220, 30, 30), (30, 200, 30)


@pytest.fixture(autouse=True)
def _cache_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def class_folder(root: Path, counts: dict[str, int] | None = None) -> Path:
    """A folder per class; pictures of one class have one colour."""
    for name, count in (counts or {"cat": 10, "dog": 20}).items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write(root / name / f"{number:02}.jpg", jpeg(RED if name == "cat" else GREEN, (16 + number, 20)))
    return root


def rows(source: Source, split: str) -> PictureRows:
    dataset = source.splits[split]
    assert isinstance(dataset, PictureRows)
    return dataset


def examples(source: Source, split: str) -> list[Example]:
    found = [source.splits[split][index] for index in range(len(source.splits[split]))]
    assert all(isinstance(example, Example) for example in found)
    return found


def names(source: Source, split: str) -> set[str]:
    return {example.name for example in examples(source, split)}


def label_counts(source: Source, split: str) -> dict[str, int]:
    return dict(Counter(source.classes[int(example.targets["label"])] for example in examples(source, split)))


# ---- folders of pictures


def test_a_folder_per_class_is_split_class_by_class(tmp_path: Path) -> None:
    source = open_source(class_folder(tmp_path / "pets"), task="classification", size=8)
    assert source.classes == ("cat", "dog")
    assert source.warnings == ()
    assert source.modalities["image"].grid == (8, 8)
    assert label_counts(source, "train") == {"cat": 7, "dog": 14}
    assert label_counts(source, "validation") == {"cat": 1, "dog": 2}
    assert label_counts(source, "test") == {"cat": 2, "dog": 4}
    everything = [names(source, split) for split in ("train", "validation", "test")]
    assert sum(map(len, everything)) == len(set.union(*everything)) == 30
    again = open_source(tmp_path / "pets", task="classification", size=8)
    other = open_source(tmp_path / "pets", task="classification", size=8, split_seed=1)
    assert names(again, "test") == names(source, "test") != names(other, "test")
    for example in examples(source, "test"):
        colour = source.encoders["image"].decode(example.inputs["image"]).mean((0, 1))
        assert (colour[0] > colour[1]) == (source.classes[int(example.targets["label"])] == "cat")
        assert example.name.startswith(source.classes[int(example.targets["label"])])


def test_bad_odd_and_empty_things_in_a_folder(tmp_path: Path) -> None:
    root = class_folder(tmp_path / "pets")
    picture = Image.fromarray(gradient())
    write(root / "cat" / "truncated.jpg", jpeg(RED, (60, 60))[:-300])
    write(root / "cat" / "zero.jpg", b"")
    write(root / "cat" / "words.png", b"no picture at all")
    write(root / "cat" / "grey.jpg", encoded(picture.convert("L"), "JPEG"))
    write(root / "dog" / "cmyk.jpg", encoded(picture.convert("CMYK"), "JPEG"))
    write(root / "dog" / "palette.png", encoded(picture.convert("RGBA").quantize(16), "PNG"))
    write(root / "dog" / "deeper" / "UPPER.JPEG", jpeg(GREEN))
    write(root / "dog" / "notes.txt", b"not a picture by name")
    write(root / "dog" / ".hidden.jpg", b"")
    write(root / ".thumbnails" / "1.jpg", jpeg())
    write(root / "loose.jpg", jpeg())
    (root / "fish").mkdir()
    source = open_source(root, task="classification", size=8)
    assert source.classes == ("cat", "dog")
    assert any("class folder fish holds no pictures" in warning for warning in source.warnings)
    assert any("1 pictures in no class folder" in warning for warning in source.warnings)

    found = [source.splits[split][index] for split in source.splits for index in range(len(source.splits[split]))]
    bad = {example.name: example.reason for example in found if isinstance(example, BadExample)}
    assert len(found) == 30 + 7
    assert bad.keys() == {"cat/truncated.jpg", "cat/zero.jpg", "cat/words.png"}
    assert "truncated" in bad["cat/truncated.jpg"]
    assert bad["cat/zero.jpg"] == "is empty (0 bytes)"
    assert bad["cat/words.png"] == "is not a picture in a format that Pillow knows"
    good = {example.name for example in found if isinstance(example, Example)}
    assert {"cat/grey.jpg", "dog/cmyk.jpg", "dog/palette.png", "dog/deeper/UPPER.JPEG"} <= good

    batches = [batch for split in source.splits.values() for batch in eval_loader(split, batch_size=4, num_workers=1)]
    assert sum(len(batch) for batch in batches) == 34
    assert {name for batch in batches for name in batch.skipped} == {f"{name}: {why}" for name, why in bad.items()}


def test_split_folders_are_used(tmp_path: Path) -> None:
    class_folder(tmp_path / "training", {"cat": 4, "dog": 4})
    class_folder(tmp_path / "val", {"cat": 2, "dog": 1})
    class_folder(tmp_path / "test", {"cat": 1, "dog": 3})
    source = open_source(tmp_path, task="classification", size=8)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 8, "validation": 3, "test": 4}
    assert all(name.startswith("test/") for name in names(source, "test"))


def test_a_missing_validation_split_comes_out_of_training(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", {"cat": 20, "dog": 10})
    class_folder(tmp_path / "test", {"cat": 1, "dog": 3})
    source = open_source(tmp_path, task="classification", size=8)
    assert label_counts(source, "validation") == {"cat": 2, "dog": 1}
    assert label_counts(source, "test") == {"cat": 1, "dog": 3}
    assert names(source, "train").isdisjoint(names(source, "validation"))


def test_a_missing_test_split_stays_missing(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", {"cat": 4, "dog": 4})
    class_folder(tmp_path / "validation", {"cat": 1, "dog": 3})
    source = open_source(tmp_path, task="classification", size=8)
    assert list(source.splits) == ["train", "validation"]
    assert "there is no split for test" in source.warnings


def test_classes_named_like_splits_are_classes(tmp_path: Path) -> None:
    class_folder(tmp_path, {"train": 5, "bus": 5})
    assert open_source(tmp_path, task="classification", size=8).classes == ("bus", "train")


def test_pictures_without_classes(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / "deep" / f"{number}.jpg", jpeg())
    write(tmp_path / "top.png", encoded(Image.fromarray(gradient())))
    source = open_source(tmp_path, size=8, fit="pad")
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 8, "validation": 1, "test": 2}
    assert source.classes == ()
    example = examples(source, "train")[0]
    assert example.targets == {}
    assert example.is_padding["image"].any()
    assert "top.png" in set.union(*(names(source, split) for split in source.splits))


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    class_folder(tmp_path / "elsewhere", {"cat": 4, "dog": 4})
    (tmp_path / "pets").mkdir()
    for name in ("cat", "dog"):
        os.symlink(tmp_path / "elsewhere" / name, tmp_path / "pets" / name)
    os.symlink(tmp_path / "pets", tmp_path / "elsewhere" / "cat" / "round")  # a circle
    source = open_source(tmp_path / "pets", task="classification", size=8)
    assert sum(map(len, source.splits.values())) >= 8
    assert "cat/00.jpg" in set.union(*(names(source, split) for split in source.splits))


def test_names_that_are_not_text_are_left_out(tmp_path: Path) -> None:
    class_folder(tmp_path)
    Path(os.fsdecode(bytes(tmp_path / "cat") + b"/caf\xe9.jpg")).write_bytes(jpeg())
    source = open_source(tmp_path, task="classification", size=8)
    assert any("1 files whose names are not UTF-8" in warning for warning in source.warnings)
    assert sum(map(len, source.splits.values())) == 30


def test_a_very_small_folder(tmp_path: Path) -> None:
    source = open_source(class_folder(tmp_path, {"cat": 1, "dog": 2}), task="classification", size=8)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 2, "test": 1}
    assert "there is no split for validation" in source.warnings


def test_given_classes_set_the_order(tmp_path: Path) -> None:
    """A trained model's numbers must mean the same on another folder, even if a class is missing there."""
    class_folder(tmp_path)
    source = open_source(tmp_path, task="classification", size=8, classes=("fish", "dog", "cat"))
    assert source.classes == ("fish", "dog", "cat")
    assert label_counts(source, "test") == {"cat": 2, "dog": 4}
    assert "classes without training pictures: fish" in source.warnings
    with pytest.raises(ValueError, match="classes: expected only cat, fish, found dog in"):
        open_source(tmp_path, task="classification", size=8, classes=("cat", "fish"))


def test_encoders_are_fitted_to_training_pictures_or_given(tmp_path: Path) -> None:
    root = class_folder(tmp_path)
    fitted = open_source(root, task="classification", size=8).encoders["image"]
    assert isinstance(fitted, ImageEncoder)
    assert fitted.mean == pytest.approx((93 / 255, 143 / 255, 30 / 255), abs=0.02)
    given = ImageEncoder(size=(6, 4), mode="L", fit="squash", mean=(0.1,), std=(0.2,))
    assert open_source(root, encoders={"image": given}).encoders == {"image": given}
    other = open_source(root, encoders={"image": given}, size=9, fit="pad").encoders["image"]
    assert other == ImageEncoder(size=9, mode="L", fit="pad", mean=(0.1,), std=(0.2,))
    with pytest.raises(ValueError, match="encoders: expected a picture encoder for 'image', got sound"):
        open_source(root, encoders={"sound": given})
    assert open_source(root).modalities["image"].grid == (224, 224)
    assert open_source(root, size=8, mode="L").modalities["image"].channels == 1


def test_fewer_training_pictures_and_flips(tmp_path: Path) -> None:
    root = class_folder(tmp_path)
    few = open_source(root, task="classification", size=8, max_train_examples=3, flip=True)
    assert {split: len(dataset) for split, dataset in few.splits.items()} == {"train": 3, "validation": 3, "test": 6}
    train, test = rows(few, "train"), rows(few, "test")
    plain, changed = train[0], [train.augmented(0, np.random.default_rng(seed)) for seed in range(8)]
    assert isinstance(plain, Example)
    mirrored = plain.inputs["image"].view(8, 8, 3).flip(1).flatten(0, 1)
    kinds = {torch.equal(x.inputs["image"], plain.inputs["image"]) for x in changed if isinstance(x, Example)}
    assert kinds == {True, False}
    assert all(
        torch.equal(x.inputs["image"], plain.inputs["image"]) or torch.equal(x.inputs["image"], mirrored)
        for x in changed
        if isinstance(x, Example)
    )
    for seed in range(4):
        seen = test.augmented(0, np.random.default_rng(seed))
        assert isinstance(seen, Example)
        assert torch.equal(seen.inputs["image"], test[0].inputs["image"])


def test_rows_can_be_sent_to_another_process(tmp_path: Path) -> None:
    dataset = open_source(class_folder(tmp_path), task="classification", size=8).splits["train"]
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert torch.equal(copy[3].inputs["image"], dataset[3].inputs["image"])
    here = next(iter(train_loader(dataset, batch_size=5, seed=0)))
    there = next(iter(train_loader(dataset, batch_size=5, seed=0, num_workers=2)))
    assert torch.equal(here.inputs["image"], there.inputs["image"])


def test_a_file_that_goes_away_is_a_bad_example(tmp_path: Path) -> None:
    source = open_source(class_folder(tmp_path), size=8)
    for path in tmp_path.glob("*/*.jpg"):
        path.unlink()
    gone = source.splits["train"][0]
    assert isinstance(gone, BadExample)
    assert gone.reason == "no such file or directory"


# ---- masks


def segmentation_folder(root: Path, count: int = 10, *, masks: str = "masks") -> Path:
    for number in range(count):
        classes = np.zeros((20, 30), dtype=np.uint8)
        classes[:, 10 + number :] = 1 + number % 2
        classes[0] = 255
        colours = np.array([[0, 0, 90], [200, 0, 0], [0, 200, 0]], dtype=np.uint8)[np.where(classes == 255, 0, classes)]
        write(root / "images" / f"{number}.jpg", encoded(Image.fromarray(colours), "JPEG", quality=95, subsampling=0))
        write(root / masks / f"{number}.png", encoded(Image.fromarray(classes)))
    return root


@pytest.mark.parametrize("masks", ["masks", "annotations"])
def test_pictures_and_masks(tmp_path: Path, masks: str) -> None:
    source = open_source(segmentation_folder(tmp_path, masks=masks), task="segmentation", size=(20, 30), fit="squash")
    assert source.classes == ("0", "1", "2")
    assert any("class names are not given" in warning for warning in source.warnings)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 7, "validation": 1, "test": 2}
    for example in examples(source, "train"):
        labels = example.targets["segmentation"].view(20, 30)
        assert (labels[0] == -100).all()
        picture = source.encoders["image"].decode(example.inputs["image"]).astype(int)
        is_background = (labels[2:] == 0).numpy()
        assert ((picture[2:, :, 2] > 45) == is_background).mean() > 0.97
    assert sum(map(len, open_source(tmp_path, size=8).splits.values())) == 10  # masks are no pictures to look at


def test_mask_is_padded_and_mirrored_with_its_picture(tmp_path: Path) -> None:
    source = open_source(segmentation_folder(tmp_path), task="segmentation", size=24, fit="pad", flip=True)
    train = rows(source, "train")
    for seed in range(6):
        example = train.augmented(0, np.random.default_rng(seed))
        assert isinstance(example, Example)
        labels, is_padding = example.targets["segmentation"], example.is_padding["image"]
        assert (labels[is_padding] == -100).all()
        blue = source.encoders["image"].decode(example.inputs["image"]).reshape(-1, 3)[:, 2] > 45
        is_labelled = labels >= 0
        assert (blue[is_labelled] == (labels[is_labelled] == 0).numpy()).mean() > 0.95


def test_masks_with_splits_inside_or_around(tmp_path: Path) -> None:
    segmentation_folder(tmp_path / "around" / "train", 5)
    segmentation_folder(tmp_path / "around" / "validation", 2)
    source = open_source(tmp_path / "around", task="segmentation", size=8)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 5, "validation": 2}
    assert len(open_source(tmp_path / "around", size=8).splits["train"]) == 5
    for split, count in (("training", 5), ("validation", 2)):
        made = segmentation_folder(tmp_path / "made" / split, count)
        for what in ("images", "masks"):
            (tmp_path / "inside" / what).mkdir(parents=True, exist_ok=True)
            (made / what).rename(tmp_path / "inside" / what / split)
    source = open_source(tmp_path / "inside", task="segmentation", size=8)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 5, "validation": 2}
    assert len(open_source(tmp_path / "inside", size=8).splits["validation"]) == 2


def test_class_names_of_masks_come_from_a_file_or_the_caller(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write(tmp_path / "classes.txt", b"sea\nland\nice\n\n")
    assert open_source(tmp_path, task="segmentation", size=8).classes == ("sea", "land", "ice")
    source = open_source(tmp_path, task="segmentation", size=8, classes=["sea", "land"])
    found = [source.splits["train"][index] for index in range(7)]
    bad = {example.reason for example in found if isinstance(example, BadExample)}
    assert bad == {"its mask holds the class 2, expected 0 to 1"}
    write(tmp_path / "classes.txt", b"sea\n")
    with pytest.raises(ValueError, match=r"classes\.txt: expected the name of a class on each of two or more lines"):
        open_source(tmp_path, task="segmentation", size=8)


def test_bad_masks_are_bad_examples(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write(tmp_path / "masks" / "0.png", encoded(Image.fromarray(np.zeros((7, 9), dtype=np.uint8))))
    write(tmp_path / "masks" / "1.png", b"")
    write(tmp_path / "masks" / "2.png", encoded(Image.fromarray(gradient(20, 30))))
    (tmp_path / "masks" / "3.png").unlink()
    write(tmp_path / "masks" / "extra.png", b"")
    source = open_source(tmp_path, task="segmentation", size=8)
    found = [source.splits[split][index] for split in source.splits for index in range(len(source.splits[split]))]
    bad = {example.name: example.reason for example in found if isinstance(example, BadExample)}
    assert bad == {
        "images/0.jpg": "its mask has 7 x 9 pixels (height x width), the picture 20 x 30",
        "images/1.jpg": "its mask: is empty (0 bytes)",
        "images/2.jpg": "its mask: a mask needs one class number per pixel (palette or grey), its mode is RGB",
    }
    assert any("1 pictures without a mask" in warning and "3.jpg" in warning for warning in source.warnings)
    assert any("1 masks without a picture" in warning and "extra" in warning for warning in source.warnings)


def test_masks_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    for number in range(10):
        mask = np.zeros((20, 30), dtype=np.uint8)
        mask[:5] = 255
        write(tmp_path / "masks" / f"{number}.png", encoded(Image.fromarray(mask)))
    with pytest.raises(ValueError, match="masks: expected class numbers, got only 0 and 255"):
        open_source(tmp_path, task="segmentation", size=8)
    for number in range(10):
        write(tmp_path / "masks" / f"{number}.png", encoded(Image.fromarray(np.zeros((20, 30), dtype=np.uint8))))
    with pytest.raises(ValueError, match=r"masks: expected at least two classes, found \[0\]"):
        open_source(tmp_path, task="segmentation", size=8)


# ---- tables


def table(**columns: object) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns)


def picture_table(count: int = 20) -> datasets.Dataset:
    features = datasets.Features(
        {"id": datasets.Value("int64"), "photo": datasets.Image(), "kind": datasets.ClassLabel(names=["dog", "cat"])}
    )
    photos = [{"bytes": jpeg(GREEN if n % 2 == 0 else RED), "path": None} for n in range(count)]
    values = {"id": list(range(count)), "photo": photos, "kind": [n % 2 for n in range(count)]}
    return datasets.Dataset.from_dict(values, features=features)


def test_a_folder_saved_by_datasets(tmp_path: Path) -> None:
    picture_table().save_to_disk(tmp_path / "saved")
    source = open_source(tmp_path / "saved", task="classification", size=8)
    assert source.classes == ("dog", "cat")
    assert label_counts(source, "train") == {"dog": 7, "cat": 7}
    for example in examples(source, "test"):
        colour = source.encoders["image"].decode(example.inputs["image"]).mean((0, 1))
        assert (colour[1] > colour[0]) == (int(example.targets["label"]) == 0)


def test_a_dictionary_of_splits_saved_by_datasets(tmp_path: Path) -> None:
    parts = {"train": picture_table(12), "valid": picture_table(4), "test": picture_table(6), "extra": picture_table(2)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    source = open_source(tmp_path / "saved", task="classification", size=8)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {
        "train": 12,
        "validation": 4,
        "test": 6,
    }
    assert source.warnings == ("splits that are not used: extra",)
    assert examples(source, "test")[2].name == "test row 2"


def test_a_truncated_picture_in_a_table_is_a_bad_example(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    cells = [{"bytes": jpeg(size=(50, 50))[: None if n else -200], "path": "photo.jpg"} for n in range(10)]
    datasets.Dataset.from_dict({"image": [*cells, None]}, features=features).save_to_disk(tmp_path / "saved")
    source = open_source(tmp_path / "saved", size=8)
    found = [source.splits[split][index] for split in source.splits for index in range(len(source.splits[split]))]
    bad = {example.name: example.reason for example in found if isinstance(example, BadExample)}
    assert len(bad) == 2
    assert any("truncated" in reason for reason in bad.values())
    assert "there is no picture" in bad.values()


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    (tmp_path / "pets" / "data").mkdir(parents=True)
    picture_table(12).to_parquet(tmp_path / "pets" / "data" / "train-00000-of-00001.parquet")
    picture_table(6).to_parquet(tmp_path / "pets" / "data" / "test-00000-of-00001.parquet")
    source = open_source(tmp_path / "pets", task="classification", size=8)
    assert source.classes == ("dog", "cat")
    assert len(source.splits["test"]) == 6
    assert len(source.splits["train"]) + len(source.splits["validation"]) == 12


def test_a_folder_with_metadata(tmp_path: Path) -> None:
    lines = []
    for number in range(10):
        write(tmp_path / "pets" / f"{number}.jpg", jpeg())
        lines.append(json.dumps({"file_name": f"{number}.jpg", "mood": ["calm", "wild"][number % 2]}))
    write(tmp_path / "pets" / "metadata.jsonl", "\n".join(lines).encode())
    source = open_source(tmp_path / "pets", task="classification", size=8, label_column="mood")
    assert source.classes == ("calm", "wild")
    assert label_counts(source, "test") == {"calm": 1, "wild": 1}
    assert {Path(name).suffix for name in names(source, "test")} == {".jpg"}


def test_columns_become_modalities(tmp_path: Path) -> None:
    left = [gradient(6, 6).tolist() for _ in range(10)]
    right = [np.full((4, 8), 10 * n).tolist() for n in range(10)]
    table(left=left, right=right).save_to_disk(tmp_path / "saved")
    columns = {"near": "right", "far": "left"}
    source = open_source(tmp_path / "saved", size=4, columns=columns, mode="L", fit="squash")
    assert list(source.modalities) == ["near", "far"]
    example = examples(source, "train")[0]
    assert example.inputs["near"].shape == example.inputs["far"].shape == (16, 1)
    assert source.encoders["near"] != source.encoders["far"]
    assert list(open_source(tmp_path / "saved", size=4, image_column="left").modalities) == ["image"]
    with pytest.raises(ValueError, match="image_column: expected only one of columns and image_column"):
        open_source(tmp_path / "saved", size=4, image_column="left", columns=columns)
    with pytest.raises(ValueError, match="columns: expected at least one modality"):
        open_source(tmp_path / "saved", size=4, columns={})


def test_paths_and_masks_in_columns(tmp_path: Path) -> None:
    segmentation_folder(tmp_path / "files")
    pictures = [str(tmp_path / "files" / "images" / f"{n}.jpg") for n in range(10)]
    masks = [str(tmp_path / "files" / "masks" / f"{n}.png") for n in range(10)]
    found = table(image=pictures, mask=masks)
    found.save_to_disk(tmp_path / "saved")
    source = open_source(tmp_path / "saved", task="segmentation", size=8)
    assert source.classes == ("0", "1", "2")
    typed = found.cast_column("image", datasets.Image()).cast_column("mask", datasets.Image())
    typed.rename_column("mask", "ground truth").save_to_disk(tmp_path / "typed")
    again = open_source(tmp_path / "typed", task="segmentation", size=8)
    for first, second in zip(examples(source, "test"), examples(again, "test"), strict=True):
        assert torch.equal(first.targets["segmentation"], second.targets["segmentation"])


def test_labels_of_every_kind(tmp_path: Path) -> None:
    pictures = [gradient(4, 4).tolist()] * 12
    numbers = [10, 2, None, -1, 10, 2, 10, 2, 10, 2, 10, 2]
    table(image=pictures, label=numbers).save_to_disk(tmp_path / "numbers")
    source = open_source(tmp_path / "numbers", task="classification", size=4)
    assert source.classes == ("2", "10")
    assert "2 of 12 examples of train have no label and are left out" in source.warnings
    assert sum(map(len, source.splits.values())) == 10
    table(image=pictures, label=[0.5] * 12).save_to_disk(tmp_path / "floats")
    with pytest.raises(ValueError, match="label_column: expected class names or numbers in 'label', got float"):
        open_source(tmp_path / "floats", task="classification", size=4)
    unlabelled = picture_table(6).map(lambda row: {"kind": -1})
    datasets.DatasetDict({"train": picture_table(10), "test": unlabelled}).save_to_disk(tmp_path / "hidden")
    source = open_source(tmp_path / "hidden", task="classification", size=4)
    assert "6 of 6 examples of test have no label and are left out" in source.warnings
    assert label_counts(source, "test") == {"dog": 1, "cat": 1}  # taken out of training instead


def test_reading_is_quiet_and_leaves_settings_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    picture_table(12).to_parquet(tmp_path / "train.parquet")
    capfd.readouterr()
    assert not datasets.utils.are_progress_bars_disabled()
    open_source(tmp_path, task="classification", size=8)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert not caplog.records
    assert not datasets.utils.are_progress_bars_disabled()


# ---- mistakes


def assert_one_line(message: str, name: object, **settings: object) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        open_source(name, **settings)
    assert "\n" not in str(caught.value)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    classify = {"task": "classification", "size": 8}
    assert_one_line("gone: no such folder$", tmp_path / "gone")
    assert_one_line("a.jpg: expected a folder of pictures, got a file", write(tmp_path / "a.jpg", jpeg()))
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    assert_one_line(r"empty: expected pictures \(.*\), found none", tmp_path / "empty")
    assert_one_line(r"empty: expected pictures \(.*\), found none", tmp_path / "empty", **classify)
    class_folder(tmp_path / "one", {"cat": 5})
    assert_one_line("one: expected at least two classes with pictures, found only 'cat'", tmp_path / "one", **classify)
    flat = write(tmp_path / "flat" / "1.jpg", jpeg()).parent
    assert_one_line("flat: expected a folder of pictures per class, found 1 pictures in no folder", flat, **classify)
    assert_one_line(
        "flat: for segmentation expected the folders images and masks .*, found no folder", flat, task="segmentation"
    )
    class_folder(tmp_path / "unpaired" / "images", {"a": 2})
    class_folder(tmp_path / "unpaired" / "masks", {"b": 2})
    assert_one_line("expected masks with the names of the pictures", tmp_path / "unpaired", task="segmentation")
    write(tmp_path / "bad" / "1.jpg", b"")
    assert_one_line(r"no picture to take mean and std from: is empty \(0 bytes\)", tmp_path / "bad", size=8)
    for split in ("val", "validation", "train"):
        class_folder(tmp_path / "twice" / split)
    assert_one_line("twice: expected one folder per split, got train, val, validation", tmp_path / "twice", **classify)
    class_folder(tmp_path / "notrain" / "test")
    (tmp_path / "notrain" / "train").mkdir()
    assert_one_line("notrain: expected pictures for training, found only test", tmp_path / "notrain", **classify)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    picture_table().save_to_disk(tmp_path / "saved")
    saved = tmp_path / "saved"
    assert_one_line("image_column: expected one of the columns id, photo, kind, got 'img'", saved, image_column="img")
    assert_one_line(
        "label_column: expected one of the columns id, photo, kind, got 'sort'",
        saved,
        task="classification",
        label_column="sort",
    )
    assert_one_line(
        "mask_column: expected the name of a column of masks among id, photo, kind", saved, task="segmentation"
    )
    assert_one_line("mask_column: expected one of .*, got 'mask'", saved, task="segmentation", mask_column="mask")
    table(x=[1, 2], y=["a", "b"]).save_to_disk(tmp_path / "numbers")
    assert_one_line("image_column: expected the name of a column of pictures among x, y", tmp_path / "numbers")
    assert_one_line(
        "label_column: expected the name of a column of classes among",
        tmp_path / "numbers",
        image_column="x",
        task="classification",
    )
    class_folder(tmp_path / "pets")
    assert_one_line(
        "label_column: expected nothing for a folder of pictures without tables, got 'a'",
        tmp_path / "pets",
        label_column="a",
    )
    datasets.DatasetDict({"a": picture_table(), "b": picture_table()}).save_to_disk(tmp_path / "ab")
    assert_one_line("expected a split named train, got a, b", tmp_path / "ab")
    write(tmp_path / "broken" / "dataset_dict.json", b"{")
    assert_one_line("broken: cannot be read by datasets: ", tmp_path / "broken")


def test_wrong_names_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(
        "source: expected earth, a folder that exists, or a hub id owner/name, got 'erth'; did you mean 'earth'", "erth"
    )
    assert_one_line("source: expected earth, .*, got 'zzzzzz'$", "zzzzzz")
    assert_one_line("nobody/nothing: no such folder, and cannot be read from the hub: ", "nobody/nothing")
    assert_one_line(r"\./nothing: no such folder$", "./nothing")
    assert_one_line("a/b/c: no such folder$", "a/b/c")
    assert_one_line("image_column: the source 'earth' has no such setting, got 'img'", "earth", image_column="img")
    class_folder(tmp_path / "pets")
    assert_one_line("min_land: the source 'pets' has no such setting, got 0.5", "pets", min_land=0.5)
    assert_one_line("task: expected one of none, classification, segmentation, got 'guess'", "pets", task="guess")
    assert_one_line("max_train_examples: expected a whole number >= 1, got 0", "pets", max_train_examples=0)
    assert_one_line("fit: expected one of crop, squash, pad, got 'zoom'", "pets", fit="zoom")
    class_folder(tmp_path / "earth")
    assert open_source("./earth", task="classification", size=8).classes == ("cat", "dog")


def test_earth_by_name_with_the_classes_of_a_model() -> None:
    source = open_source("earth", task="classification", size=32, max_train_examples=20)
    assert open_source("earth", task="classification", size=32, classes=source.classes).classes == source.classes
    assert_one_line(
        "classes: the source 'earth' has evergreen .*; got cat, dog",
        "earth",
        task="classification",
        classes=["cat", "dog"],
    )


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folder(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert_one_line(r"the package 'datasets' is missing: pip install 'hiperceiver\[data\]'", tmp_path)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10, 37])
def test_dealing_gives_every_split_of_every_class_what_it_can(count: int) -> None:
    labels = np.repeat([0, 4], [count, 10])
    parts = dealt(labels, seed=1)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(count + 10))
    sizes = {name: int((labels[indices] == 0).sum()) for name, indices in parts.items()}
    assert sizes["train"] >= 1
    assert (sizes["test"] > 0) == (count >= 2)
    assert (sizes["validation"] > 0) == (count >= 3)
    without_test = dealt(labels, seed=1, test_share=0)
    assert len(without_test["test"]) == 0
    assert (int((labels[without_test["validation"]] == 0).sum()) > 0) == (count >= 2)


def test_open_huggingface_is_what_open_source_calls(tmp_path: Path) -> None:
    root = class_folder(tmp_path)
    assert names(open_huggingface(root, size=8), "test") == names(open_source(str(root), size=8), "test")
