"""Labels, one or several, by name or number, become one token at the bottleneck, and come back."""

import numpy as np
import pytest
import torch
from closeness import assert_close, is_close, terms_of

from hiperceiver import create_model
from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import LabelEncoder, SeriesEncoder, encoder_from_dict
from hiperceiver.data.record import Record
from hiperceiver.modality import Modality

CLASSES = ("cat", "dog", "bird")
ONE, SEVERAL = LabelEncoder(classes=CLASSES), LabelEncoder(classes=CLASSES, is_several=True)


@pytest.mark.parametrize("raw", ["dog", 1, np.int64(1), ["dog"], [1]])
def test_one_label(raw: object) -> None:
    tokens, is_padding = ONE.encode(raw)
    assert tokens.tolist() == [[0, 1, 0]]
    assert is_padding is None
    assert ONE.names(ONE.to_value(tokens + torch.tensor([0.3, 0.0, -0.2]))) == ("dog",)


@pytest.mark.parametrize("raw", [-1, None, [], [None]])
def test_a_label_that_is_not_known_is_absent(raw: object) -> None:
    tokens, is_padding = ONE.encode(raw)
    assert tokens.tolist() == [[0, 0, 0]]
    assert is_padding is not None
    assert is_padding.tolist() == [True]
    assert len(ONE.to_value(tokens, is_padding)) == 0


@pytest.mark.parametrize(("raw", "expected"), [(["bird", 0], [1, 0, 1]), ("dog", [0, 1, 0]), ([], [0, 0, 0])])
def test_several_labels(raw: object, expected: list[int]) -> None:
    tokens, is_padding = SEVERAL.encode(raw)
    assert tokens.tolist() == [expected]
    assert is_padding is None  # no class is an answer too
    assert SEVERAL.to_value(tokens).tolist() == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize(
    ("encoder", "raw", "message"),
    [
        (ONE, "cow", "expected a class among cat, dog, bird or 0 to 2, got 'cow'"),
        (ONE, 3, "got 3"),
        (ONE, True, "got True"),
        (ONE, 1.0, "got 1.0"),
        (ONE, ["cat", "dog"], "expected one label, got 2: cat, dog"),
        (SEVERAL, ["cat", "cow"], "got 'cow'"),
    ],
)
def test_wrong_labels_are_one_line(encoder: LabelEncoder, raw: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        encoder.encode(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", [(), ("cat",), ("cat", "cat"), "cats", (1, 2)])
def test_wrong_classes_are_refused(classes: object) -> None:
    with pytest.raises(ValueError, match="^classes.*: expected (two or more different names|a list of texts|a text)"):
        LabelEncoder(classes=classes)


def test_it_is_saved_and_has_nothing_to_fit() -> None:
    assert encoder_from_dict(SEVERAL.to_dict()) == SEVERAL
    assert ONE.fitted(["cat"]) is ONE


def test_a_label_among_the_inputs_joins_the_model_at_the_bottleneck() -> None:
    encoders = {"series": SeriesEncoder(length=64, channels=2), "animal": ONE}
    model = create_model("hip-nano", {name: each.modality for name, each in encoders.items()}).eval()
    assert model.modalities["animal"] == Modality(grid=(1,), channels=3, role="label")
    torch.nn.init.normal_(model.unembedding["series"].weight)
    series = np.random.default_rng(0).normal(size=(64, 2))

    def reconstruction(label: object) -> torch.Tensor:
        encoded = EncodedRecords(records=[], encoders=encoders, missing="absent")
        example = encoded.encode(Record(name="1", raws={"series": series, "animal": label}))
        inputs = {name: x[None] for name, x in example.inputs.items()}
        is_padding = {name: x[None] for name, x in example.is_padding.items()}
        return model(inputs, is_padding=is_padding, reconstruct=["series"]).reconstruction["series"]

    with torch.no_grad():
        cat, dog, unknown, without = (reconstruction(label) for label in ("cat", "dog", -1, None))
        assert not is_close(cat, dog, terms=terms_of(model)).all()
        assert_close(unknown, without, terms=terms_of(model))
