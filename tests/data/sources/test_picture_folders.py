"""Folders of pictures, with classes or masks, as strangers have them."""

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hiperceiver.data.augment.images import Flip
from hiperceiver.data.encoders import AudioEncoder, ImageEncoder
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.loading import eval_loader, train_loader

from ..pictures import encoded, gradient, jpeg, write
from .picture_data import (
    GREEN,
    RED,
    SMALL,
    class_folder,
    label_counts,
    names,
    open_huggingface,
    rows,
    segmentation_folder,
)
from .reading import examples


def test_a_folder_per_class_is_split_class_by_class(tmp_path: Path) -> None:
    source = open_huggingface(class_folder(tmp_path / "pets"), task="classification", **SMALL)
    assert source.classes == ("cat", "dog")
    assert source.warnings == ()
    assert source.modalities["image"].grid == (8, 8)
    assert label_counts(source, "train") == {"cat": 7, "dog": 14}
    assert label_counts(source, "validation") == {"cat": 1, "dog": 2}
    assert label_counts(source, "test") == {"cat": 2, "dog": 4}
    everything = [names(source, split) for split in ("train", "validation", "test")]
    assert sum(map(len, everything)) == len(set.union(*everything)) == 30
    again = open_huggingface(tmp_path / "pets", task="classification", **SMALL)
    other = open_huggingface(tmp_path / "pets", task="classification", split_seed=1, **SMALL)
    assert names(again, "test") == names(source, "test") != names(other, "test")
    for example in examples(source, "test"):
        colour = source.encoders["image"].to_value(example.inputs["image"]).mean((0, 1))
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
    source = open_huggingface(root, task="classification", **SMALL)
    assert source.classes == ("cat", "dog")
    assert any("class folder fish holds no image" in warning for warning in source.warnings)
    assert any(
        "1 files are passed over, because image is read; for example dog/notes.txt" in w for w in source.warnings
    )
    assert any("have no label and are left out, for example loose.jpg" in warning for warning in source.warnings)

    found = [source.splits[split][index] for split in source.splits for index in range(len(source.splits[split]))]
    bad = {example.name: example.reason for example in found if isinstance(example, BadExample)}
    assert len(found) == 30 + 7
    assert bad.keys() == {"cat/truncated.jpg", "cat/zero.jpg", "cat/words.png"}
    assert "truncated" in bad["cat/truncated.jpg"]
    assert bad["cat/zero.jpg"].endswith("is empty (0 bytes)")
    assert bad["cat/words.png"].endswith("is not a picture in a known format")
    good = {example.name for example in found if isinstance(example, Example)}
    assert {"cat/grey.jpg", "dog/cmyk.jpg", "dog/palette.png", "dog/deeper/UPPER.JPEG"} <= good

    batches = [batch for split in source.splits.values() for batch in eval_loader(split, batch_size=4, num_workers=1)]
    assert sum(len(batch) for batch in batches) == 34
    assert {name for batch in batches for name in batch.skipped} == {f"{name}: {why}" for name, why in bad.items()}


def test_split_folders_are_used(tmp_path: Path) -> None:
    class_folder(tmp_path / "training", {"cat": 4, "dog": 4})
    class_folder(tmp_path / "val", {"cat": 2, "dog": 1})
    class_folder(tmp_path / "test", {"cat": 1, "dog": 3})
    source = open_huggingface(tmp_path, task="classification", **SMALL)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 8, "validation": 3, "test": 4}
    assert all(name.startswith("test/") for name in names(source, "test"))


def test_a_missing_validation_split_comes_out_of_training(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", {"cat": 20, "dog": 10})
    class_folder(tmp_path / "test", {"cat": 1, "dog": 3})
    source = open_huggingface(tmp_path, task="classification", **SMALL)
    assert label_counts(source, "validation") == {"cat": 2, "dog": 1}
    assert label_counts(source, "test") == {"cat": 1, "dog": 3}
    assert names(source, "train").isdisjoint(names(source, "validation"))


def test_a_missing_test_split_stays_missing(tmp_path: Path) -> None:
    class_folder(tmp_path / "train", {"cat": 4, "dog": 4})
    class_folder(tmp_path / "validation", {"cat": 1, "dog": 3})
    source = open_huggingface(tmp_path, task="classification", **SMALL)
    assert list(source.splits) == ["train", "validation"]
    assert "there is no split for test" in source.warnings


def test_classes_named_like_splits_are_classes(tmp_path: Path) -> None:
    class_folder(tmp_path, {"train": 5, "bus": 5})
    assert open_huggingface(tmp_path, task="classification", **SMALL).classes == ("bus", "train")


def test_pictures_without_classes(tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / "deep" / f"{number}.jpg", jpeg())
    write(tmp_path / "top.png", encoded(Image.fromarray(gradient())))
    source = open_huggingface(tmp_path, encoder_settings={"*": {"size": 8, "fit": "pad"}})
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
    source = open_huggingface(tmp_path / "pets", task="classification", **SMALL)
    assert sum(map(len, source.splits.values())) >= 8
    assert "cat/00.jpg" in set.union(*(names(source, split) for split in source.splits))


def test_names_that_are_not_text_are_left_out(tmp_path: Path) -> None:
    class_folder(tmp_path)
    Path(os.fsdecode(bytes(tmp_path / "cat") + b"/caf\xe9.jpg")).write_bytes(jpeg())
    source = open_huggingface(tmp_path, task="classification", **SMALL)
    assert any("1 files whose names are not UTF-8" in warning for warning in source.warnings)
    assert sum(map(len, source.splits.values())) == 30


def test_a_very_small_folder(tmp_path: Path) -> None:
    source = open_huggingface(class_folder(tmp_path, {"cat": 1, "dog": 2}), task="classification", **SMALL)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 2, "test": 1}
    assert "there is no split for validation" in source.warnings


def test_given_classes_set_the_order(tmp_path: Path) -> None:
    """A trained model's numbers must mean the same on another folder, even if a class is missing there."""
    class_folder(tmp_path)
    source = open_huggingface(tmp_path, task="classification", classes=("fish", "dog", "cat"), **SMALL)
    assert source.classes == ("fish", "dog", "cat")
    assert label_counts(source, "test") == {"cat": 2, "dog": 4}
    assert "classes without training examples: fish" in source.warnings
    with pytest.raises(ValueError, match="classes: expected only cat, fish, found dog in"):
        open_huggingface(tmp_path, task="classification", classes=("cat", "fish"), **SMALL)


def test_encoders_are_fitted_to_training_pictures_or_given(tmp_path: Path) -> None:
    root = class_folder(tmp_path)
    fitted = open_huggingface(root, task="classification", **SMALL).encoders["image"]
    assert isinstance(fitted, ImageEncoder)
    assert fitted.mean == pytest.approx((93 / 255, 143 / 255, 30 / 255), abs=0.02)
    given = ImageEncoder(size=(6, 4), colours="L", fit="squash", mean=(0.1,), std=(0.2,))
    assert open_huggingface(root, encoders={"image": given}).encoders == {"image": given}
    other = open_huggingface(
        root, encoders={"image": given}, encoder_settings={"*": {"size": 9, "fit": "pad"}}
    ).encoders["image"]
    assert other == ImageEncoder(size=9, colours="L", fit="pad", mean=(0.1,), std=(0.2,))
    assert open_huggingface(root, encoders={"photo": given}).encoders == {"photo": given}
    with pytest.raises(ValueError, match=r"expected audio \(wav, .*\), found none"):
        open_huggingface(root, encoders={"sound": AudioEncoder(rate=8000)})
    assert open_huggingface(root).modalities["image"].grid == (224, 224)
    assert open_huggingface(root, encoder_settings={"*": {"size": 8, "colours": "L"}}).modalities["image"].channels == 1


def test_fewer_training_pictures_and_flips(tmp_path: Path) -> None:
    root = class_folder(tmp_path)
    few = open_huggingface(root, task="classification", max_train_examples=3, augmentations=[Flip()], **SMALL)
    assert {split: len(dataset) for split, dataset in few.splits.items()} == {"train": 3, "validation": 3, "test": 6}
    train, test = rows(few, "train"), rows(few, "test")
    plain, changed = train[0], [train.augmented(0, np.random.default_rng(seed)) for seed in range(8)]
    assert isinstance(plain, Example)
    mirrored = plain.inputs["image"].view(8, 8, 3).flip(1).flatten(0, 1)
    found = [x.inputs["image"] for x in changed if isinstance(x, Example)]
    assert {torch.equal(x, plain.inputs["image"]) for x in found} == {True, False}
    assert all(torch.equal(x, plain.inputs["image"]) or torch.equal(x, mirrored) for x in found)
    for seed in range(4):
        seen = test.augmented(0, np.random.default_rng(seed))
        assert isinstance(seen, Example)
        assert torch.equal(seen.inputs["image"], test[0].inputs["image"])


def test_rows_can_be_sent_to_another_process(tmp_path: Path) -> None:
    dataset = open_huggingface(class_folder(tmp_path), task="classification", **SMALL).splits["train"]
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert torch.equal(copy[3].inputs["image"], dataset[3].inputs["image"])
    here = next(iter(train_loader(dataset, batch_size=5, seed=0)))
    there = next(iter(train_loader(dataset, batch_size=5, seed=0, num_workers=2)))
    assert torch.equal(here.inputs["image"], there.inputs["image"])


def test_a_file_that_goes_away_is_a_bad_example(tmp_path: Path) -> None:
    source = open_huggingface(class_folder(tmp_path), **SMALL)
    for path in tmp_path.glob("*/*.jpg"):
        path.unlink()
    gone = source.splits["train"][0]
    assert isinstance(gone, BadExample)
    assert gone.reason.endswith("no such file or directory")


@pytest.mark.parametrize("masks", ["masks", "annotations"])
def test_pictures_and_masks(tmp_path: Path, masks: str) -> None:
    source = open_huggingface(
        segmentation_folder(tmp_path, masks=masks),
        task="segmentation",
        encoder_settings={"*": {"size": (20, 30), "fit": "squash"}},
    )
    assert source.classes == ("0", "1", "2")
    assert any("class names are not given" in warning for warning in source.warnings)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 7, "validation": 1, "test": 2}
    for example in examples(source, "train"):
        labels = example.targets["segmentation"].view(20, 30)
        assert (labels[0] == -100).all()
        picture = source.encoders["image"].to_value(example.inputs["image"]).astype(int)
        is_background = (labels[2:] == 0).numpy()
        assert ((picture[2:, :, 2] > 45) == is_background).mean() > 0.97
    assert sum(map(len, open_huggingface(tmp_path, **SMALL).splits.values())) == 10  # masks are no pictures to look at


def test_mask_is_padded_and_mirrored_with_its_picture(tmp_path: Path) -> None:
    source = open_huggingface(
        segmentation_folder(tmp_path),
        task="segmentation",
        augmentations=[Flip()],
        encoder_settings={"*": {"size": 24, "fit": "pad"}},
    )
    train = rows(source, "train")
    for seed in range(6):
        example = train.augmented(0, np.random.default_rng(seed))
        assert isinstance(example, Example)
        labels, is_padding = example.targets["segmentation"], example.is_padding["image"]
        assert (labels[is_padding] == -100).all()
        blue = source.encoders["image"].to_value(example.inputs["image"]).reshape(-1, 3)[:, 2] > 45
        is_labelled = labels >= 0
        assert (blue[is_labelled] == (labels[is_labelled] == 0).numpy()).mean() > 0.95


def test_masks_with_splits_inside_or_around(tmp_path: Path) -> None:
    segmentation_folder(tmp_path / "around" / "train", 5)
    segmentation_folder(tmp_path / "around" / "validation", 2)
    source = open_huggingface(tmp_path / "around", task="segmentation", **SMALL)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 5, "validation": 2}
    assert len(open_huggingface(tmp_path / "around", **SMALL).splits["train"]) == 5
    for split, count in (("training", 5), ("validation", 2)):
        made = segmentation_folder(tmp_path / "made" / split, count)
        for what in ("images", "masks"):
            (tmp_path / "inside" / what).mkdir(parents=True, exist_ok=True)
            (made / what).rename(tmp_path / "inside" / what / split)
    source = open_huggingface(tmp_path / "inside", task="segmentation", **SMALL)
    assert {split: len(dataset) for split, dataset in source.splits.items()} == {"train": 5, "validation": 2}
    assert len(open_huggingface(tmp_path / "inside", **SMALL).splits["validation"]) == 2


def test_class_names_of_masks_come_from_a_file_or_the_caller(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write(tmp_path / "classes.txt", b"sea\nland\nice\n\n")
    assert open_huggingface(tmp_path, task="segmentation", **SMALL).classes == ("sea", "land", "ice")
    with pytest.raises(ValueError, match=r"^classes: expected only sea, land, found ice in "):
        open_huggingface(tmp_path, task="segmentation", classes=["sea", "land"], **SMALL)
    (tmp_path / "classes.txt").unlink()
    source = open_huggingface(tmp_path, task="segmentation", classes=["sea", "land"], **SMALL)
    found = [source.splits["train"][index] for index in range(7)]
    bad = {example.reason for example in found if isinstance(example, BadExample)}
    assert bad == {"its mask holds the class 2, expected 0 to 1"}
    write(tmp_path / "classes.txt", b"sea\n")
    with pytest.raises(ValueError, match=r"classes\.txt: expected the name of a class on each of two or more lines"):
        open_huggingface(tmp_path, task="segmentation", **SMALL)


def test_bad_masks_are_bad_examples(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write(tmp_path / "masks" / "0.png", encoded(Image.fromarray(np.zeros((7, 9), dtype=np.uint8))))
    write(tmp_path / "masks" / "1.png", b"")
    write(tmp_path / "masks" / "2.png", encoded(Image.fromarray(gradient(20, 30))))
    (tmp_path / "masks" / "3.png").unlink()
    write(tmp_path / "masks" / "extra.png", b"")
    source = open_huggingface(tmp_path, task="segmentation", **SMALL)
    found = [source.splits[split][index] for split in source.splits for index in range(len(source.splits[split]))]
    bad = {example.name: example.reason for example in found if isinstance(example, BadExample)}
    assert bad.keys() == {"images/0.jpg", "images/1.jpg", "images/2.jpg"}
    assert bad["images/0.jpg"] == "its mask has 7 x 9 pixels (height x width), the picture 20 x 30"
    assert re.match(r"its mask: .*1\.png: is empty \(0 bytes\)$", bad["images/1.jpg"])
    assert re.match(r"its mask: .*2\.png: a mask needs one class number per pixel", bad["images/2.jpg"])
    assert "1 of 10 files of train have no segmentation and are left out, for example images/3.jpg" in source.warnings
    assert any("1 masks without a picture" in warning and "extra" in warning for warning in source.warnings)


def test_masks_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    for number in range(10):
        mask = np.zeros((20, 30), dtype=np.uint8)
        mask[:5] = 255
        write(tmp_path / "masks" / f"{number}.png", encoded(Image.fromarray(mask)))
    with pytest.raises(ValueError, match="masks: expected class numbers, got only 0 and 255"):
        open_huggingface(tmp_path, task="segmentation", **SMALL)
    for number in range(10):
        write(tmp_path / "masks" / f"{number}.png", encoded(Image.fromarray(np.zeros((20, 30), dtype=np.uint8))))
    with pytest.raises(ValueError, match=r"masks: expected at least two classes, found \[0\]"):
        open_huggingface(tmp_path, task="segmentation", **SMALL)
