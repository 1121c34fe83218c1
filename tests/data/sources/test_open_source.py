"""A dataset by its name: what opens it, what is learned on it, and what it may be told."""

from pathlib import Path
from typing import Any

import pytest

from hiperceiver.data.encoders import ImageEncoder
from hiperceiver.data.sources import LAYOUTS, SOURCES, find_source, open_source
from hiperceiver.data.sources.tree import Tree

from ..pictures import jpeg, write
from .reading import counts
from .test_imagenet import class_folders
from .test_modelnet40 import hdf5, meshes
from .test_voc import voc

COLOURS = {"cat": (200, 30, 30), "dog": (30, 200, 30)}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of pictures in no published layout."""
    for name, colour in COLOURS.items():
        for number in range(10):
            write(tmp_path / "pets" / name / f"{number}.jpg", jpeg(colour))
    return tmp_path / "pets"


def refused(message: str, name: Any, **settings: Any) -> None:
    with pytest.raises(ValueError, match=f"^{message}$") as caught:
        open_source(name, **settings)
    assert "\n" not in str(caught.value)


def test_layouts_are_told_apart(tmp_path: Path, pets: Path) -> None:
    class_folders(tmp_path / "imagenet" / "train", count=3)
    found = {
        "imagenet": tmp_path / "imagenet",
        "voc": voc(tmp_path / "voc"),
        "modelnet40": meshes(tmp_path / "modelnet40"),
        "folder": pets,
    }
    for layout, folder in found.items():
        assert find_source(folder).layout == layout
        matching = [name for name, each in LAYOUTS.items() if each.matches(Tree(folder))]
        assert matching == ([layout] if layout == "folder" else [layout, "folder"])
        assert find_source(folder).task == LAYOUTS[layout].task
    assert find_source(hdf5(tmp_path / "points")).layout == "modelnet40"
    assert find_source(pets, "voc").task == "segmentation"
    assert {name: find_source(name).task for name in SOURCES} == {name: each.task for name, each in SOURCES.items()}


def test_a_layout_may_be_said(tmp_path: Path, pets: Path) -> None:
    class_folders(tmp_path / "imagenet" / "train", count=5)
    told = open_source(tmp_path / "imagenet", layout="imagenet", task="classification", size=8)
    assert counts(told) == counts(open_source(tmp_path / "imagenet", task="classification", size=8))
    refused(f"layout: expected one of {', '.join(LAYOUTS)}, got 'coco'", pets, layout="coco")
    refused(".*gone: no such folder", tmp_path / "gone", layout="voc")
    refused("layout: not for the built-in set 'earth', got 'voc'; a folder is ./earth", "earth", layout="voc")


def test_short_settings_reach_every_encoder_that_has_them(pets: Path) -> None:
    source = open_source(pets, size=8, colours="L", fit="squash")
    encoder = source.encoders["image"]
    assert isinstance(encoder, ImageEncoder)
    assert (encoder.size, encoder.colours, encoder.fit) == ((8, 8), "L", "squash")
    assert open_source(pets, size=(4, 8)).modalities["image"].grid == (4, 8)
    more = open_source(pets, size=8, encoder_settings={"*": {"colours": "L"}, "image": {"size": 4}})
    assert (more.modalities["image"].grid, more.modalities["image"].channels) == ((4, 4), 1)
    assert open_source("earth", size=32).modalities["image"].grid == (32, 32)
    refused("colours: no modality of the source 'watch' has such a setting; it has .*", "watch", colours="L")


def test_settings_of_the_source_and_of_all_sources(pets: Path) -> None:
    source = open_source(pets, size=8, kind="image", max_train_examples=3, split_seed=None, layout=None)
    assert counts(source)["train"] == 3
    refused("min_land: the source .* has no such setting; it has .*kind.*", pets, min_land=0.1)
    refused("kind: the source 'clip' has no such setting; it has frames", "clip", kind="video")


def test_classes_in_the_order_of_a_trained_model(pets: Path) -> None:
    source = open_source(pets, task="classification", size=8, classes=["dog", "cat"])
    assert source.classes == ("dog", "cat")
    refused("classes: expected only dog, fish, found cat in .*", pets, task="classification", classes=["dog", "fish"])
    own = open_source("watch", task="classification").classes
    assert open_source("watch", task="classification", classes=own).classes == own
    refused(
        "classes: expected only a, b, found ABD, .* in watch; leave_out_classes leaves classes out",
        "watch",
        task="classification",
        classes=["a", "b"],
    )
    refused("classes: the source 'watch' has none; got a", "watch", classes=["a"])


def test_names_that_are_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    choices = f"{', '.join(SOURCES)}, a folder that exists, or a hub id owner/name"
    refused(f"source: expected {choices}, got 'earht'; did you mean 'earth'\\?", "earht")
    refused(f"source: expected {choices}, got 'zzz'", "zzz")
    write(tmp_path / "earth" / "a" / "1.jpg", jpeg())
    monkeypatch.chdir(tmp_path)
    assert find_source("earth").task == "segmentation"
    assert find_source("./earth").task == "classification"
