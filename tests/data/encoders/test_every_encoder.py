"""Of every encoder, by property: there and back, its saved form, and values of any size on its grid."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from closeness import assert_close, assert_equal
from hypothesis import given, reject
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from strategies import examples, settings_of

from hiperceiver.data.encoders import ENCODERS, Encoder, PointsEncoder, encoder_from_dict


def numbers(*shape: st.SearchStrategy[int] | int) -> st.SearchStrategy[np.ndarray]:
    """Quarters from -50 to 50: no channel varies next to nothing."""
    sizes = st.tuples(*(st.just(each) if isinstance(each, int) else each for each in shape))
    return sizes.flatmap(
        lambda found: arrays_of.arrays(np.int64, found, elements=st.integers(-200, 200)).map(
            lambda array: (array / 4).astype(np.float32)
        )
    )


def pixels(*shape: st.SearchStrategy[int] | int) -> st.SearchStrategy[np.ndarray]:
    sizes = st.tuples(*(st.just(each) if isinstance(each, int) else each for each in shape))
    return sizes.flatmap(lambda found: arrays_of.arrays(np.uint8, found))


SIDES = st.integers(1, 9)
RAWS: dict[str, Callable[[Any], st.SearchStrategy[Any]]] = {
    "image": lambda encoder: pixels(SIDES, SIDES, st.sampled_from([3, 4])) | pixels(SIDES, SIDES),
    "video": lambda encoder: pixels(SIDES, SIDES, SIDES, 3),
    "audio": lambda encoder: numbers(st.integers(1, 80), encoder.channels).map(lambda x: (x / 64, encoder.rate)),
    "points": lambda encoder: numbers(st.integers(2, 20), 3 + encoder.num_features),
    "series": lambda encoder: numbers(st.integers(1, 20), encoder.channels),
    "volume": lambda encoder: numbers(SIDES, SIDES, SIDES, encoder.channels),
    "bytes": lambda encoder: st.binary(min_size=1, max_size=20),
    "vector": lambda encoder: numbers(st.integers(1, encoder.positions), encoder.features),
    "label": lambda encoder: (
        st.lists(st.sampled_from(encoder.classes)) if encoder.is_several else st.sampled_from(encoder.classes)
    ),
}
"""Kind -> raw values for an encoder, smaller and larger than its grid."""
WITHOUT = {"mean": st.just(()), "std": st.just(())}
GIVEN: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "audio": {**WITHOUT, "rate": st.integers(8, 40), "seconds": st.sampled_from([0.5, 1.0, 2.0])},
    "bytes": {"buckets": st.integers(1, 40)},
    "label": {},
}
"""Fields that are drawn otherwise: normalisation fits the number of channels, and a window is not long."""


@st.composite
def encoders(draw: st.DrawFn, kind: str) -> Encoder:
    encoder = draw(settings_of(ENCODERS[kind], most=6, **GIVEN.get(kind, WITHOUT)))
    count = len(getattr(encoder, "mean", ()))
    if not count:
        return encoder
    statistics = st.lists(st.integers(-8, 8), min_size=count, max_size=count).map(
        lambda values: [v / 4 for v in values]
    )
    return replace(
        encoder,
        mean=tuple(draw(statistics)),
        std=tuple(0.25 + abs(each) for each in draw(statistics)),
    )  # pyright: ignore[reportCallIssue]


def encoded(encoder: Encoder, raw: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and which of them are absent; what the encoder refuses, in a line, is not looked at."""
    message = ""
    try:
        tokens, is_padding = encoder.encode(raw)
    except ValueError as error:
        message = str(error)
    assert message.isprintable()
    if message:
        reject()
    assert tokens.shape == (encoder.modality.num_tokens, encoder.modality.channels)
    assert tokens.dtype == torch.float32
    assert tokens.isfinite().all()
    if is_padding is None:
        return tokens, torch.zeros(len(tokens), dtype=torch.bool)
    assert is_padding.shape == tokens.shape[:1]
    assert is_padding.any()
    assert (tokens[is_padding] == 0).all()
    return tokens, is_padding


def test_every_kind_is_tried() -> None:
    assert RAWS.keys() == ENCODERS.keys()


@pytest.mark.parametrize("kind", ENCODERS)
@examples(12)
@given(data=st.data())
def test_tokens_lead_to_a_value_that_has_the_same_tokens(kind: str, data: st.DataObject) -> None:
    """And so does the encoder's saved form. What lies on the grid comes back, whatever was lost on the way there."""
    encoder = data.draw(encoders(kind))
    raw = data.draw(RAWS[kind](encoder))
    if isinstance(encoder, PointsEncoder):  # where some are left out, the rest may have another extent and order
        raw = raw[: encoder.num_points]
    tokens, is_padding = encoded(encoder, raw)
    again = encoder_from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again == encoder
    value = again.to_value(tokens, is_padding if is_padding.any() else None)
    found, found_padding = again.to_tokens(again.fit_to_grid(value) if kind not in ("image", "video") else value)
    if kind != "image":  # there absent pixels are white ones of a whole picture
        assert_equal(is_padding if found_padding is None else found_padding, is_padding)
    scale = 4 * (tokens.abs().max().item() + 10)
    assert_close(found[~is_padding], tokens[~is_padding], terms=8, scale=scale)


@pytest.mark.parametrize("kind", ["image", "video", "volume"])
@examples(12)
@given(data=st.data())
def test_what_is_the_same_everywhere_stays_so_in_any_size(kind: str, data: st.DataObject) -> None:
    encoder = data.draw(encoders(kind))
    raw = data.draw(RAWS[kind](encoder))
    raw = np.broadcast_to(raw.reshape(-1, *raw.shape[raw.ndim - (raw.ndim > 2) :])[0], raw.shape).copy()
    tokens, is_padding = encoded(encoder, raw)
    present = tokens[~is_padding]
    assert len(present)
    assert_close(present, present[:1].expand_as(present), terms=4, scale=4 * (present.abs().max().item() + 10))
