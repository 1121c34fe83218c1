"""Kinetics: lists and clips in the folders that people have."""

import time
from pathlib import Path

import pytest

from hiperceiver.data.encoders.audio import AudioEncoder
from hiperceiver.data.encoders.video import VideoEncoder

from ..media import clip, sine, write_media
from ..pictures import write
from .reading import bad, counts, examples, labels, layout

open_kinetics, matches = layout("kinetics")

SMALL = {"video": {"size": [8, 8], "frames": 4}}
SMALL_BOTH = {**SMALL, "audio": {"rate": 4000, "seconds": 0.5}}
HEADER = "label,youtube_id,time_start,time_end,split"
ACTIONS = ("abseiling", "air drumming")

Row = tuple[str, str, str]
"""Split, id, label."""


def rows(split: str, count: int) -> list[Row]:
    # Ids may begin with a minus and hold underscores.
    return [(split, f"-{split[:2]}_{number:06}k", ACTIONS[number % 2]) for number in range(count)]


ROWS = {"train": rows("train", 10), "val": rows("val", 4), "test": rows("test", 3)}


def write_list(path: Path, listed: list[Row], *, header: str = HEADER, extra: str = "") -> None:
    lines = [
        f"{label},{name},{7 + number},{17 + number},{split}{extra}"
        for number, (split, name, label) in enumerate(listed)
    ]
    write(path, "\n".join([header, *lines, ""]).encode())


def stem(number: int, name: str) -> str:
    return f"{name}_{7 + number:06d}_{17 + number:06d}"


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a clip with sound, and of one without."""
    folder = tmp_path_factory.mktemp("media")
    both = write_media(folder / "both.mp4", video=clip(10), audio=sine(1.0, 8000), rate=8000)
    silent = write_media(folder / "silent.mp4", video=clip(10))
    assert isinstance(both, Path) and isinstance(silent, Path)
    return {"both": both.read_bytes(), "silent": silent.read_bytes()}


def kinetics(root: Path, content: bytes, form: str = "classes", splits: tuple[str, ...] = ("train", "val")) -> Path:
    for split in splits:
        written = {"val": "validate"}.get(split, split) if form == "classes" else split
        listed = [(written, name, label) for _, name, label in ROWS[split]]
        if form == "classes":
            write_list(root / f"{split}.csv", listed)
        else:
            write_list(root / "annotations" / f"{split}.csv", listed, header=f"{HEADER},is_cc", extra=",0")
        for number, (_, name, label) in enumerate(listed):
            folder = f"{split}/{label}" if form == "classes" else split
            write(root / folder / f"{stem(number, name)}.mp4", content)
    return root


@pytest.mark.parametrize("form", ["classes", "flat"])
def test_forms(tmp_path: Path, media: dict[str, bytes], form: str) -> None:
    kinetics(tmp_path, media["both"], form)
    assert matches(tmp_path)
    source = open_kinetics(tmp_path, task="classification", encoder_settings=SMALL)
    assert source.classes == ACTIONS
    assert list(source.encoders) == ["video"]
    assert counts(source) == {"train": 8, "validation": 2, "test": 4}
    assert source.warnings == ()
    assert [Path(name).stem for name in labels(source, "test")] == [stem(n, f"-va_{n:06}k") for n in range(4)]
    assert list(labels(source, "test").values()) == list(ACTIONS) * 2
    assert all(example.inputs["video"].shape == (4 * 64, 3) for example in examples(source, "train"))


def test_one_list_of_all_splits(tmp_path: Path, media: dict[str, bytes]) -> None:
    kinetics(tmp_path, media["both"], splits=("train", "val"))
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").unlink()
    with pytest.raises(ValueError, match="expected lists with the columns label, youtube_id, .*, found none"):
        open_kinetics(tmp_path)
    numbered = [
        (split, f"-{split[:2]}_{number:06}k", ACTIONS[number % 2]) for split in ("train", "val") for number in range(4)
    ]
    lines = [
        f'"{label}",{name},{7 + number % 4},{17 + number % 4},{split}'
        for number, (split, name, label) in enumerate(numbered)
    ]
    write(tmp_path / "kinetics-400.csv", "\n".join([HEADER, *lines]).encode())
    write(tmp_path / "other.csv", b"a,b\n1,2\n")
    source = open_kinetics(tmp_path, task="classification", encoder_settings=SMALL)
    assert source.classes == ACTIONS
    assert counts(source) == {"train": 2, "validation": 2, "test": 4}


def test_a_labelled_test_list_is_the_test_split(tmp_path: Path, media: dict[str, bytes]) -> None:
    kinetics(tmp_path, media["silent"], splits=("train", "val", "test"))
    assert counts(open_kinetics(tmp_path, encoder_settings=SMALL)) == {"train": 10, "validation": 4, "test": 3}
    # The one that comes without labels tests nothing.
    lines = [f"{name},{7 + n},{17 + n},test" for n, (_, name, _) in enumerate(ROWS["test"])]
    write(tmp_path / "test.csv", "\n".join(["youtube_id,time_start,time_end,split", *lines]).encode())
    assert counts(open_kinetics(tmp_path, encoder_settings=SMALL)) == {"train": 8, "validation": 2, "test": 4}


def test_clips_that_are_not_there_are_counted(tmp_path: Path, media: dict[str, bytes]) -> None:
    kinetics(tmp_path, media["silent"])
    for number in (0, 1):
        (tmp_path / "train" / ACTIONS[number] / f"{stem(number, ROWS['train'][number][1])}.mp4").unlink()
    source = open_kinetics(tmp_path, task="classification", encoder_settings=SMALL)
    expected = f"2 of 10 clips of train are not there: {stem(0, '-tr_000000k')}, {stem(1, '-tr_000001k')}"
    assert source.warnings == (expected,)
    assert bad(source, "train") == []


def test_replacements_and_the_splits_own_folder_come_first(tmp_path: Path, media: dict[str, bytes]) -> None:
    kinetics(tmp_path, media["silent"], form="flat")
    first, second = (stem(number, f"-va_{number:06}k") for number in (0, 1))
    write(tmp_path / "val" / f"{first}.mp4", b"broken")
    write(tmp_path / "replacement" / "replacement_for_corrupted_k400" / f"{first}.mp4", media["silent"])
    write(tmp_path / "a" / f"{second}.mp4", b"broken")
    found = [example.name for example in examples(open_kinetics(tmp_path, encoder_settings=SMALL), "test")]
    assert found[:2] == [f"replacement/replacement_for_corrupted_k400/{first}.mp4", f"val/{second}.mp4"]


def test_sound_is_read_when_it_is_asked_for(tmp_path: Path, media: dict[str, bytes]) -> None:
    kinetics(tmp_path, media["both"])
    names = [f"val/{ACTIONS[number % 2]}/{stem(number, f'-va_{number:06}k')}.mp4" for number in range(4)]
    write(tmp_path / names[0], media["silent"])
    both = {"modalities": ("video", "audio"), "encoder_settings": SMALL_BOTH}
    source = open_kinetics(tmp_path, **both)
    assert list(source.encoders) == ["video", "audio"]
    assert bad(source, "test") == [f"{names[0]}: has no audio"]
    example = examples(source, "train")[0]
    assert {name: tuple(tokens.shape) for name, tokens in example.inputs.items()} == {
        "video": (256, 3),
        "audio": (2000, 1),
    }
    found = examples(open_kinetics(tmp_path, missing="absent", **both), "test")
    assert [bool("audio" in one.is_padding and one.is_padding["audio"].all()) for one in found] == [True] + [False] * 3
    alone = open_kinetics(tmp_path, modalities=("audio",), encoder_settings={"audio": SMALL_BOTH["audio"]})
    assert list(alone.encoders) == ["audio"]


def test_the_defaults(tmp_path: Path, media: dict[str, bytes]) -> None:
    kinetics(tmp_path, media["both"])
    defaults = {"video": VideoEncoder(size=(224, 224), frames=16), "audio": AudioEncoder(rate=16000, seconds=10.0)}
    told = {"video": {"mean": [0.5] * 3, "std": [0.5] * 3}, "audio": {"mean": [0], "std": [1]}}
    assert open_kinetics(tmp_path, modalities=("video", "audio"), encoder_settings=told).encoders == defaults
    seen = open_kinetics(tmp_path, encoder_settings={"video": told["video"]})
    assert seen.encoders == {"video": defaults["video"]}


def test_damaged_clips_are_bad_examples(tmp_path: Path, media: dict[str, bytes]) -> None:
    kinetics(tmp_path, media["silent"], form="flat")
    contents = (b"", b"words", media["silent"][:700], media["silent"][:-300])
    names = [f"val/{stem(number, f'-va_{number:06}k')}.mp4" for number in range(4)]
    for name, content in zip(names, contents, strict=True):
        write(tmp_path / name, content)
    start = time.perf_counter()
    lines = bad(open_kinetics(tmp_path, encoder_settings=SMALL), "test")
    assert [line.split(": ")[0] for line in lines] == names[: len(lines)]
    assert len(lines) >= 3
    assert time.perf_counter() - start < 10


def test_bad_layouts_are_one_line(tmp_path: Path, media: dict[str, bytes]) -> None:
    def refused(pattern: str, folder: Path = tmp_path, **options: object) -> None:
        with pytest.raises(ValueError, match=pattern) as caught:
            open_kinetics(folder, encoder_settings=SMALL, **options)
        assert "\n" not in str(caught.value)

    refused(rf"^{tmp_path}/gone: no such folder$", tmp_path / "gone")
    refused(
        rf"^{tmp_path}: expected lists with the columns label, youtube_id, time_start, time_end, split, found none$"
    )
    assert not matches(tmp_path)
    path = tmp_path / "train.csv"
    write_list(path, ROWS["train"])
    refused("expected clips such as ID_000012_000022.mp4, found none of those in the lists")
    for content, reason in (
        ("youtube_id,time_start,time_end\nx,1,2", "expected the columns youtube_id, .* no 'split'"),
        (f"{HEADER}\n", "has no row"),
        (f"{HEADER}\nx,1,2", "line 2: expected 5 cells, got 3"),
        (f"{HEADER}\ndive,x,1,2,all", "line 2: expected a split among train, .*, got 'all'"),
        (f"{HEADER}\ndive,x,one,2,train", "line 2: expected seconds as times, got 'one' and '2'"),
        (f"{HEADER}\ndive,x,1,nan,train", "line 2: expected seconds as times, got '1' and 'nan'"),
        (f"{HEADER}\n,x,1,2,train", "line 2: expected a label, found none"),
    ):
        path.write_text(content)
        refused(rf"^{path}: {reason}")
    path.write_bytes(b"\xff\xfe\x00")
    refused("expected lists with the columns")
    path.unlink()

    kinetics(tmp_path, media["silent"], splits=("val",))
    assert counts(open_kinetics(tmp_path, encoder_settings=SMALL)) == {"test": 4}
    write_list(path, [(split, name, "dive") for split, name, _ in ROWS["train"]])
    for number, (_, name, _) in enumerate(ROWS["train"]):
        write(tmp_path / "train" / f"{stem(number, name)}.mp4", media["silent"])
    refused("expected at least two classes with training examples, found only 'dive'", task="classification")
    refused("task: the source 'kinetics' has targets for classification; got 'multilabel'", task="multilabel")
    refused("modalities: the source '.*' has video; got 'points'", modalities=("points",))
