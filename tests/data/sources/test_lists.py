"""Lists and files in folders: what the readers of published layouts share."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hiperceiver.data.media import Media
from hiperceiver.data.sources import audioset, imagenet, kinetics, modelnet40, voc
from hiperceiver.data.sources.lists import (
    Files,
    Streams,
    as_paths,
    example_list,
    file_names,
    files_below,
    folder_names,
    read_lines,
    read_table,
)

from ..media import clip, sine, write_media
from ..pictures import write


def test_names_in_folders(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpg", ".hidden.jpg", "c.txt"):
        write(tmp_path / name, b"")
    for name in ("z", "y", ".git"):
        (tmp_path / name).mkdir()
    assert folder_names(tmp_path) == ["y", "z"]
    assert file_names(tmp_path, (".jpg",)) == ["a.jpg", "b.JPG"]
    for function in (folder_names, lambda folder: file_names(folder, ()), lambda folder: list(files_below(folder, ()))):
        with pytest.raises(ValueError, match=f"^{tmp_path}/gone: no such file or directory$"):
            function(tmp_path / "gone")


def test_links_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "data" / "b" / "1.wav", b"")
    write(tmp_path / "elsewhere" / "2.wav", b"")
    (tmp_path / "data" / "b" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "nothing").symlink_to(tmp_path / "gone")
    assert list(files_below(tmp_path / "data", (".wav",))) == ["a/2.wav", "b/1.wav"]


def test_tables_of_any_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'\xef\xbb\xbflabel, id\r\n\r\n"a, b", x\r\nc,y\r\n')
    assert read_lines(path) == ["label, id", '"a, b", x', "c,y"]
    assert read_table(path, ("id",)) == [{"label": "a, b", "id": "x"}, {"label": "c", "id": "y"}]
    with pytest.raises(ValueError, match=rf"^{path}: expected the columns id, rate, got label, id; no 'rate'$"):
        read_table(path, ("id", "rate"))
    with pytest.raises(ValueError, match=rf"^{tmp_path}: is a directory$"):
        read_table(tmp_path, ())


def test_streams_say_what_a_file_has(tmp_path: Path) -> None:
    both, silent = tmp_path / "both.mp4", tmp_path / "silent.mp4"
    write_media(both, video=clip(5), audio=sine(0.5, 8000), rate=8000)
    write_media(silent, video=clip(5))
    broken = write(tmp_path / "broken.mp4", b"words")
    found = {path.stem: Streams({"audio": Media(path), "video": Media(path)}) for path in (both, silent, broken)}
    assert {name: list(streams) for name, streams in found.items()} == {
        "both": ["audio", "video"],
        "silent": ["video"],
        "broken": ["audio", "video"],  # its fault is said when it is read
    }
    assert found["silent"].get("audio") is None
    assert found["silent"].get("points") is None
    assert found["silent"]["video"] == Media(silent)
    assert len(found["silent"]) == 1
    alone = Streams({"audio": Media(silent)})
    assert alone["audio"] == Media(silent)  # there is nothing to do without


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = os.fsdecode(b"n\xff.jpg")
    write(tmp_path / path, b"x")
    assert file_names(tmp_path, (".jpg",)) == [path]
    record = Files(folder=tmp_path, paths=as_paths([path]), labels=np.array([-1]), modalities=("image",))[0]
    assert record.name == "n\ufffd.jpg"
    assert Path(record.raws["image"]).read_bytes() == b"x"
    assert record.targets == {"label": -1}


def test_examples_of_many() -> None:
    assert example_list(["a", "b", "c"]) == "a, b, c"
    assert len(as_paths([])) == 0


def test_no_layout_matches_another_one(tmp_path: Path) -> None:
    """Each is told by a few names; what has none of them, or cannot be listed, is none of them."""
    found = {
        "imagenet": ["train/n01440764/1.JPEG"],
        "voc": ["JPEGImages/1.jpg", "ImageSets/Main/train.txt"],
        "modelnet40": ["lamp/train/lamp_0001.off"],
        "kinetics": ["train.csv"],
        "audioset": ["eval_segments.csv"],
        "other": ["train/cat/1.jpg", "test/cat/1.jpg", "series.csv", "train/n01440764/images/1.JPEG", "lamp/lamp.off"],
    }
    for layout, paths in found.items():
        for path in paths:
            write(tmp_path / layout / path, b"label,youtube_id,time_start\n" if layout == "kinetics" else b"x")
    (tmp_path / "file").write_bytes(b"x")
    modules = {"imagenet": imagenet, "voc": voc, "modelnet40": modelnet40, "kinetics": kinetics, "audioset": audioset}
    for layout in (*found, "file", "gone"):
        matching = [name for name, module in modules.items() if module.matches(tmp_path / layout)]
        assert matching == ([layout] if layout in modules else [])
