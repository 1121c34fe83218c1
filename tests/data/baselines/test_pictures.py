"""The baselines, against slow literal versions and against the numbers that are quoted."""

from collections import Counter

import numpy as np
import pytest
import torch

from hiperceiver.data.baselines.pictures import colour_lookup_baseline, nearest_neighbour_baseline, segmentation_scores
from hiperceiver.data.encoders import ImageEncoder
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.sources import open_source
from hiperceiver.data.sources.source import Source


def test_scores_by_hand() -> None:
    scores = segmentation_scores(np.array([[10, 0, 2, 0], [1, 3, 0, 0], [0, 0, 4, 0], [0, 0, 0, 0]]))
    assert scores.iou[:3] == pytest.approx((10 / 13, 3 / 4, 4 / 6))
    assert np.isnan(scores.iou[3])  # neither present nor predicted: left out of the mean
    assert scores.mean_iou == pytest.approx((10 / 13 + 3 / 4 + 4 / 6) / 3)
    assert scores.accuracy == pytest.approx(17 / 20)
    assert scores.land_accuracy == pytest.approx(7 / 8)
    assert scores.majority_share == pytest.approx(4 / 8)
    predicted_only = segmentation_scores(np.array([[1, 1], [0, 0]]))
    assert predicted_only.iou == (0.5, 0.0)
    assert np.isnan(predicted_only.land_accuracy)
    with pytest.raises(ValueError, match="confusion: expected counts"):
        segmentation_scores(np.zeros((3, 3)))


def source_of(task: str, splits: dict[str, list[Example | BadExample]], size: int, classes: int) -> Source:
    return Source(
        name="made",
        task=task,
        encoders={"image": ImageEncoder(size=size)},
        splits=splits,
        classes=tuple(str(n) for n in range(classes)),
    )


def segmented(seed: int, count: int, size: int = 8) -> list[Example | BadExample]:
    rng = np.random.default_rng(seed)
    examples: list[Example | BadExample] = [BadExample("a", "is bad")]
    for _ in range(count):
        picture = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        noisy = picture.astype(int).sum(-1) + rng.integers(-120, 120, (size, size))
        labels = torch.from_numpy(np.clip(noisy // 200, 0, 3).ravel())
        labels[rng.random(size * size) < 0.1] = -100
        inputs = {"image": ImageEncoder(size=size).encode(picture)[0]}
        examples.append(Example(inputs=inputs, targets={"segmentation": labels}))
    return examples


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_colour_lookup_is_that_of_a_dictionary(bits: int) -> None:
    splits = {"train": segmented(0, 6), "test": segmented(1, 4)}
    found = colour_lookup_baseline(source_of("segmentation", splits, 8, 4), bits=bits)
    assert found.bits == bits

    def pixels(name: str) -> list[tuple[tuple[int, ...], int]]:
        seen = []
        for example in splits[name][1:]:
            picture = ImageEncoder(size=8).to_value(example.inputs["image"]).reshape(-1, 3).tolist()
            labels = example.targets["segmentation"].tolist()
            seen += [(tuple(c), label) for c, label in zip(picture, labels, strict=True) if label >= 0]
        return seen

    confusion = np.zeros((4, 4), dtype=int)
    tables: list[dict[tuple[int, ...], Counter[int]]] = []
    for step in range(bits + 1):
        table: dict[tuple[int, ...], Counter[int]] = {}
        for colour, label in pixels("train"):
            table.setdefault(tuple(c >> (8 - step) for c in colour), Counter())[label] += 1
        tables.append(table)
    for colour, label in pixels("test"):
        for step in range(bits, -1, -1):
            if counts := tables[step].get(tuple(c >> (8 - step) for c in colour)):
                most = max(counts.values())
                confusion[label, min(c for c, n in counts.items() if n == most)] += 1
                break
    assert found.scores == segmentation_scores(confusion)


def test_bits_are_chosen_on_validation() -> None:
    splits = {"train": segmented(0, 6), "validation": segmented(2, 4), "test": segmented(1, 4)}
    source = source_of("segmentation", splits, 8, 4)
    on_validation = source_of("segmentation", {**splits, "test": splits["validation"]}, 8, 4)
    best = max((4, 5, 6), key=lambda bits: colour_lookup_baseline(on_validation, bits=bits).scores.mean_iou)
    assert colour_lookup_baseline(source) == colour_lookup_baseline(source, bits=best)
    without = source_of("segmentation", {name: splits[name] for name in ("train", "test")}, 8, 4)
    assert colour_lookup_baseline(without).bits == 6


def test_nearest_neighbour_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(0)

    def examples(count: int) -> list[Example | BadExample]:
        made: list[Example | BadExample] = [BadExample("a", "is bad")]
        for _ in range(count):
            label = int(rng.integers(3))
            picture = np.clip(rng.integers(0, 120, (6, 6, 3)) + 45 * label, 0, 255).astype(np.uint8)
            inputs = {"image": ImageEncoder(size=6).encode(picture)[0]}
            made.append(Example(inputs=inputs, targets={"label": torch.tensor(label)}))
        return made

    splits = {"train": examples(20), "test": examples(15)}
    source = source_of("classification", splits, 6, 3)
    for grid in (1, 4, 6, 24):
        found = nearest_neighbour_baseline(source, grid=grid)
        small = min(grid, 6)
        right = 0
        for asked in splits["test"][1:]:

            def seen(example: Example, small: int = small) -> np.ndarray:
                picture = example.inputs["image"].view(6, 6, 3).numpy()
                edges = [n * 6 // small for n in range(small)] + [6]
                return np.array(
                    [
                        [picture[edges[y] : edges[y + 1], edges[x] : edges[x + 1]].mean((0, 1)) for x in range(small)]
                        for y in range(small)
                    ]
                )

            nearest = min(splits["train"][1:], key=lambda known: ((seen(known) - seen(asked)) ** 2).sum())
            right += int(nearest.targets["label"] == asked.targets["label"])
        assert found.accuracy == pytest.approx(right / 15)
    labels = [int(x.targets["label"]) for x in splits["train"][1:]]
    majority = Counter(labels).most_common(1)[0][0]
    share = np.mean([int(x.targets["label"]) == majority for x in splits["test"][1:]])
    assert found.majority_share == pytest.approx(share)


def test_baselines_of_earth() -> None:
    """The numbers that stand in the documentation of the source."""
    segmentation = open_source("earth", task="segmentation")
    quoted = colour_lookup_baseline(segmentation, bits=4).scores
    assert quoted.mean_iou == pytest.approx(0.241, abs=0.003)
    assert quoted.land_accuracy == pytest.approx(0.508, abs=0.003)
    assert quoted.majority_share == pytest.approx(0.212, abs=0.003)
    assert not np.isnan(quoted.iou).any()  # all 17 classes are in the test split
    best = colour_lookup_baseline(segmentation)
    assert best.bits == 6
    assert best.scores.mean_iou == pytest.approx(0.286, abs=0.003)

    classification = open_source("earth", task="classification")
    assert nearest_neighbour_baseline(classification, grid=24).accuracy == pytest.approx(0.561, abs=0.005)
    best_neighbour = nearest_neighbour_baseline(classification)
    assert best_neighbour.grid == 1
    assert best_neighbour.accuracy == pytest.approx(0.594, abs=0.005)
    assert best_neighbour.majority_share == pytest.approx(0.254, abs=0.005)


def test_wrong_sources_are_one_line() -> None:
    pictures = source_of("none", {"train": [], "test": []}, 8, 0)
    with pytest.raises(ValueError, match="source: expected the task segmentation, got none"):
        colour_lookup_baseline(pictures)
    with pytest.raises(ValueError, match="source: expected the task classification, got none"):
        nearest_neighbour_baseline(pictures)
    with pytest.raises(ValueError, match="bits: expected 1 to 6, got 7"):
        colour_lookup_baseline(source_of("segmentation", {"train": [], "test": []}, 8, 2), bits=7)
    with pytest.raises(ValueError, match="source: expected a split 'test', got train"):
        colour_lookup_baseline(source_of("segmentation", {"train": []}, 8, 2))
    with pytest.raises(ValueError, match="modality: expected pictures, among image, got 'sound'"):
        colour_lookup_baseline(source_of("segmentation", {"test": []}, 8, 2), modality="sound")
    with pytest.raises(ValueError, match="source: expected examples that can be read, got none"):
        nearest_neighbour_baseline(source_of("classification", {"train": [], "test": []}, 8, 2))
    with pytest.raises(ValueError, match="grid: expected a whole number >= 1, got 0"):
        nearest_neighbour_baseline(source_of("classification", {"train": [], "test": []}, 8, 2), grid=0)
