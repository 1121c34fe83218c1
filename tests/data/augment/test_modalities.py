import numpy as np

from hiperceiver.data.augment.augmentation import ModalityDropout

KINDS = {"left": "image", "right": "image", "third": "image", "segmentation": "mask"}
VALUES = {
    "left": np.zeros((2, 2, 3), np.uint8),
    "right": np.zeros((2, 2, 3), np.uint8),
    "third": np.zeros((2, 2, 3), np.uint8),
    "segmentation": np.zeros((2, 2), np.int64),
}


def test_each_is_left_out_as_often_as_it_says_but_never_all_nor_a_mask() -> None:
    for probability in (0.0, 0.3, 1.0):
        kept = dict.fromkeys(VALUES, 0)
        for seed in range(600):
            left = ModalityDropout(probability=probability)(VALUES, KINDS, np.random.default_rng(seed))
            assert len(left) >= 2
            assert list(left) == [name for name in VALUES if name in left]
            for name in left:
                kept[name] += 1
        assert kept.pop("segmentation") == 600
        expected = 1 - probability + probability**3 / 3  # where all would be left out, one of three stays
        assert all(abs(count / 600 - expected) < 0.06 for count in kept.values())


def test_what_is_alone_stays() -> None:
    alone = {"left": VALUES["left"], "segmentation": VALUES["segmentation"]}
    for seed in range(20):
        assert ModalityDropout(probability=1)(alone, KINDS, np.random.default_rng(seed)).keys() == alone.keys()
