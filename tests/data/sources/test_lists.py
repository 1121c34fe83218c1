"""Lists and files in folders: what the readers of published layouts share."""

from pathlib import Path

import pytest

from hiperceiver.data.media import Media
from hiperceiver.data.record import Table
from hiperceiver.data.sources import audioset, imagenet, kinetics, modelnet40, voc
from hiperceiver.data.sources.lists import example_list, read_lines, read_table
from hiperceiver.data.sources.tree import Paths, Streams, Tree, as_paths

from ..media import clip, sine, write_media
from ..pictures import write


def test_names_in_folders(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpg", ".hidden.jpg", "c.txt", "Thumbs.db"):
        write(tmp_path / name, b"")
    for name in ("z", "y", ".git", "@eaDir", "$RECYCLE.BIN", "__MACOSX"):
        write(tmp_path / name / "1.jpg", b"")
    tree = Tree(tmp_path)
    assert tree.folders[""] == ["y", "z"]
    assert tree.inside("", (".jpg",)) == ["a.jpg", "b.JPG"]
    assert list(tree.below()) == ["a.jpg", "b.JPG", "c.txt", "y/1.jpg", "z/1.jpg"]
    assert tree.num_leftovers == 6
    assert tree.has_file("y/1.jpg") and not tree.has_file("y/2.jpg") and not tree.has_file("x/1.jpg")
    with pytest.raises(ValueError, match=f"^{tmp_path}/gone: no such folder$"):
        Tree(tmp_path / "gone")


def test_links_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "data" / "b" / "1.wav", b"")
    write(tmp_path / "elsewhere" / "2.wav", b"")
    (tmp_path / "data" / "b" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "nothing").symlink_to(tmp_path / "gone")
    tree = Tree(tmp_path / "data")
    assert list(tree.below("", (".wav",))) == ["a/2.wav", "b/1.wav"]
    assert tree.warnings() == [
        "1 broken links, pipes or other things that are no files are left out, for example nothing",
        "1 links to folders that are read already are not followed, for example b/loop",
    ]


def test_tables_of_any_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b'\xef\xbb\xbflabel, id\r\n\r\n"a, b", x\r\nc,y\r\n')
    assert read_lines(path) == ["label, id", '"a, b", x', "c,y"]
    assert read_table(path, ("id",)) == [{"label": "a, b", "id": "x"}, {"label": "c", "id": "y"}]
    with pytest.raises(ValueError, match=rf"^{path}: expected the columns id, rate, got label, id; no 'rate'$"):
        read_table(path, ("id", "rate"))
    with pytest.raises(ValueError, match=rf"^{tmp_path}: is a directory$"):
        read_table(tmp_path, ())


def test_streams_of_files(tmp_path: Path) -> None:
    both, silent = tmp_path / "both.mp4", tmp_path / "silent.mp4"
    write_media(both, video=clip(5), audio=sine(0.5, 8000), rate=8000)
    write_media(silent, video=clip(5))
    write(tmp_path / "broken.mp4", b"words")
    paths = Paths(tmp_path, ["both.mp4", "silent.mp4", "broken.mp4", None])
    raws = {stream: Streams(paths, stream, may_lack=True) for stream in ("audio", "video")}
    table = Table(names=["both", "silent", "broken", "none"], raws=raws)
    assert [list(table[index].raws) for index in range(4)] == [
        ["audio", "video"],
        ["video"],
        ["audio", "video"],  # its fault is said when it is read
        [],
    ]
    assert table[1].raws.get("audio") is None
    assert table[1].raws["video"] == Media(str(silent))
    alone = Streams(paths, "audio", may_lack=False)
    assert alone[1] == Media(str(silent))  # there is nothing to do without


def test_examples_of_many() -> None:
    assert example_list(["a", "b", "c"]) == "a, b, c"
    assert len(as_paths([])) == 0
    assert Paths(Path("data"), ["cat/1.jpg"])[0] == "data/cat/1.jpg"


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
    modules = {"imagenet": imagenet, "voc": voc, "modelnet40": modelnet40, "kinetics": kinetics, "audioset": audioset}
    for layout in found:
        matching = [name for name, module in modules.items() if module.matches(Tree(tmp_path / layout))]
        assert matching == ([layout] if layout in modules else [])
