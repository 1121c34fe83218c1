"""What training targets look like as a whole, against counts by hand."""

from typing import Any

import numpy as np
import pytest

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders import ImageEncoder, SeriesEncoder
from hiperceiver.data.record import Record
from hiperceiver.data.streamed import StreamedExamples
from hiperceiver.data.targets import class_counts, value_statistics

NAN = float("nan")


def dataset(target: str, values: list[Any], num_classes: int = 0) -> EncodedRecords:
    records = [Record(name=str(n), raws={"x": n}, targets={target: value}) for n, value in enumerate(values)]
    return EncodedRecords(
        records=records, encoders={"x": SeriesEncoder(length=4)}, targets=(target,), num_classes=num_classes
    )


def test_labels_are_counted_without_reading_inputs() -> None:
    assert class_counts(dataset("label", [0, 2, 2, -1, 2, 0], 4), 4) == [2, 0, 3, 0]
    assert class_counts(dataset("label", [], 2), 2) == [0, 0]


def test_pixels_of_masks_are_counted() -> None:
    masks = [[[0, 1], [1, 255]], [[2, 2], [1, 0]], [[0]], [[9, 0], [0, 0]]]  # one of another size, one with no class 9
    records = [
        Record(name=str(n), raws={"x": np.zeros((2, 2, 3), np.uint8)}, targets={"segmentation": np.uint8(mask)})
        for n, mask in enumerate(masks)
    ]
    made = EncodedRecords(
        records=records, encoders={"x": ImageEncoder(size=2)}, targets=("segmentation",), num_classes=4
    )
    assert class_counts(made, 4) == [2, 3, 2, 0]


def test_means_and_deviations_of_numbers() -> None:
    mean, std = value_statistics(dataset("values", [[1.0, 5.0, 0.0], [3.0, 5.0, NAN], [NAN, 5.0, 4.0]]), "values")
    assert mean == (2.0, 5.0, 2.0)
    assert std == (1.0, 1.0, 2.0)  # a number that never changes is divided by one
    assert value_statistics(dataset("age", [10.0, 30.0, NAN]), "age") == ((20.0,), (10.0,))


def test_examples_that_weigh_more_are_as_if_repeated() -> None:
    values, weights = [[1.0, 5.0], [4.0, NAN], [9.0, 5.0]], [3.0, 1.0, 2.0]
    records = [
        Record(name=str(n), raws={}, targets={"values": each, "weight": weight})
        for n, (each, weight) in enumerate(zip(values, weights, strict=True))
    ]
    weighted = EncodedRecords(records=records, encoders={}, targets=("values", "weight"))
    found = value_statistics(weighted, "values", weight="weight")
    repeated = np.array(values).repeat([3, 1, 2], axis=0)
    assert found[0] == pytest.approx(np.nanmean(repeated, axis=0))
    assert found[1] == pytest.approx([np.std(repeated[:, 0]), 1.0])
    assert value_statistics(weighted, "values")[0] == pytest.approx(np.nanmean(values, axis=0))


def test_numbers_that_are_never_there() -> None:
    message = "^{}: expected training examples with numbers, found none$"
    with pytest.raises(ValueError, match=message.format("values")):
        value_statistics(dataset("values", [[1.0, NAN], [2.0, NAN]]), "values")
    with pytest.raises(ValueError, match=message.format("age")):
        value_statistics(dataset("age", []), "age")


def test_streams_are_not_counted() -> None:
    stream = StreamedExamples(records=[], encoded=dataset("label", [0, 1], 2))
    message = "^dataset: expected examples that can be counted, got a stream$"
    with pytest.raises(ValueError, match=message):
        class_counts(stream, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        value_statistics(stream, "values")  # type: ignore[arg-type]
