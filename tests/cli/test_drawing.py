"""From tokens to values and pictures, for each kind of signal."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch

from hiperceiver.cli.drawing import Tokens, decoded, figures_of
from hiperceiver.data.encoders import (
    AudioEncoder,
    ImageEncoder,
    PointsEncoder,
    SeriesEncoder,
    VectorEncoder,
    VideoEncoder,
    VolumeEncoder,
)
from hiperceiver.data.encoders.encoder import Encoder

from .saved_models import ENCODERS


def shown(encoder: Encoder, raw: object, hidden: list[int], name: str = "") -> Tokens:
    """An example whose reconstruction is 1 everywhere, with some tokens hidden."""
    tokens, is_absent = encoder.encode(raw)
    is_masked = torch.zeros(len(tokens), dtype=torch.bool)
    is_masked[hidden] = True
    return Tokens(tokens, torch.ones_like(tokens), is_masked, is_absent, name)


def test_a_token_of_sound_is_several_samples() -> None:
    encoder = AudioEncoder(rate=8, seconds=2, samples_per_token=4)
    value = decoded(encoder, shown(encoder, (np.linspace(-0.5, 0.5, 12), 8), [0, 3]))
    assert value.is_masked.tolist() == [True] * 4 + [False] * 8  # the last token is absent
    assert value.output[:4, 0].tolist() == [1.0] * 4
    np.testing.assert_array_equal(value.output[4:], value.inputs[4:])


def test_a_token_of_a_vector_is_several_features() -> None:
    encoder = VectorEncoder(features=5, split=3, positions=2)
    value = decoded(encoder, shown(encoder, [[1, 2, 3, 4, 5]], [2, 4]))
    assert value.is_masked.tolist() == [[False] * 4 + [True]]


def test_absent_points_and_steps_and_cells_are_left_out() -> None:
    rng = np.random.default_rng(0)
    points = PointsEncoder(num_points=8)
    assert decoded(points, shown(points, rng.normal(size=(5, 3)), [4, 5])).is_masked.tolist() == [False] * 4 + [True]
    series = SeriesEncoder(length=8, channels=2)
    assert decoded(series, shown(series, np.ones((5, 2)), [0, 7])).is_masked.tolist() == [True] + [False] * 4
    volume = VolumeEncoder(size=(2, 3, 4), fit="crop")
    value = decoded(volume, shown(volume, np.ones((1, 3, 2)), [1, 2]))
    assert value.inputs.shape == (1, 3, 2, 1)
    assert np.argwhere(value.is_masked).tolist() == [[0, 0, 1]]


def test_absent_pixels_stay_and_are_marked() -> None:
    encoder = ImageEncoder(size=4, fit="pad")
    value = decoded(encoder, shown(encoder, np.zeros((2, 4, 3), np.uint8), [0, 4]))
    assert value.is_padding.sum() == 8
    assert np.argwhere(value.is_masked).tolist() == [[1, 0]]


def test_frames_are_named_by_their_times() -> None:
    video = VideoEncoder(size=4, frames=3, frames_per_second=2)
    (figure,) = figures_of(video, [shown(video, np.zeros((3, 4, 4, 3), np.uint8), [0], "a.mp4")], title="run")
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == ["0.00 s", "0.50 s", "1.00 s"]
    assert figure.get_suptitle() == "run · a.mp4"


def test_examples_of_which_nothing_is_there_are_left_out() -> None:
    encoder = SeriesEncoder(length=8)
    there = shown(encoder, np.ones(5), [0], "there")
    absent = there._replace(is_padding=torch.ones(8, dtype=torch.bool), name="absent")
    (figure,) = figures_of(encoder, [absent, there])
    assert [ax.get_title(loc="left").partition(" ")[0] for ax in figure.axes] == ["there"]
    assert figures_of(encoder, [absent]) == []


@pytest.mark.parametrize("kind", ["series", "image", "volume"])
def test_a_kind_that_nobody_draws_is_drawn_as_tokens(kind: str) -> None:
    known = ENCODERS[kind]

    class Other(type(known)):
        kind: ClassVar[str] = "other"
        drawing: ClassVar[None] = None

    encoder = Other(**{field.name: getattr(known, field.name) for field in dataclasses.fields(known)})
    modality = encoder.modality
    tokens = torch.randn(modality.num_tokens, modality.channels)
    is_absent = torch.arange(len(tokens)) >= len(tokens) - 2
    example = Tokens(tokens, tokens, torch.arange(len(tokens)) % 2 == 0, is_absent, "a")
    (figure,) = figures_of(encoder, [example])
    figure.canvas.draw()
