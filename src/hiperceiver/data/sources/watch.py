"""The built-in real set `watch`: the motion of a smartwatch while its wearer does one of seven exercises.

140 recordings by 10 people, 20 repetitions each, of an accelerometer and a gyroscope (3 + 3 channels) at 50 Hz, cut
into windows of 128 readings (2.56 seconds) that overlap by half; a recording's last incomplete window is left out. The
exercises go by the data's own short names: PEN pendulum, ABD abduction, FEL forward elevation, IR and ER internal and
external rotation, TRAP trapezius, ROW row. Data: `seglearn` (D. Burns, https://arxiv.org/abs/1802.01489).

**The split is by people**: of all choices of two people for test and one for validation, persons 5 and 8 and person 6
hold each exercise most nearly in the shares 20% and 10%. Chosen by the labels alone. `test_people` and
`validation_people` choose others. Overlapping windows are never in two splits.

| split | people | windows |
| --- | --- | --- |
| train | 1, 2, 3, 4, 7, 9, 10 | 2,489 |
| validation | 6 | 367 |
| test | 5, 8 | 749 |

Tasks: `classification` (the exercise) and `joint` (`exercise`, and the `side` of the body: left or right).

Baseline on the test split, in half a second: ridge regression on each channel's mean, deviation, least and greatest
value and 32 lowest frequencies reaches 87.3% of the exercises (88.5% balanced) and 92.8% of the sides. With each person
in turn for test and all others for training it reaches 85.4% on average, 78.6% to 92.4%; on the raw readings, 54%.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from hiperceiver.data.augment.signals import MirrorBody
from hiperceiver.data.baselines import ridge_baseline
from hiperceiver.data.encoders.series import SeriesEncoder
from hiperceiver.data.faults import faults_of
from hiperceiver.data.packages import packaged_files
from hiperceiver.data.record import TEST, TRAIN, VALIDATION, Table
from hiperceiver.data.sources.source import Baseline, Source, SourceOptions, make_source
from hiperceiver.settings.data import WatchSettings

LENGTH, STEP = 128, 64  # readings of a window, and from one window's start to the next
FIRST_TO_VALIDATE = 6
SIDES = ("left", "right")
NOTE = "The test windows are those of persons that training has not seen; results vary much from person to person."


class Recordings(NamedTuple):
    """What the package holds: float32 (steps, 6) of each recording, what is known of it, and names of the classes."""

    readings: tuple[np.ndarray, ...]
    exercise: np.ndarray  # class numbers
    person: np.ndarray  # 1 to 10
    side: np.ndarray  # 0 left, 1 right
    exercises: tuple[str, ...]


@cache
def read_recordings() -> Recordings:
    """All recordings, not writable, read once per process (0.1 seconds, 6 MB)."""
    path = packaged_files("seglearn", "data/watch_dataset.npy", source="watch")[0]
    with faults_of(path):
        # Pickled objects, and so a program: as trustworthy as the package's own code, and never a file of the user's.
        data = np.load(path, allow_pickle=True).item()
        readings = tuple(np.asarray(each, dtype=np.float32) for each in data["X"])
        for each in readings:
            each.setflags(write=False)
        exercise, person, side = (np.asarray(data[name]).astype(np.int64) for name in ("y", "subject", "side"))
        return Recordings(readings, exercise, person, side, tuple(str(name) for name in data["y_labels"]))


def open_watch(own: WatchSettings, options: SourceOptions) -> Source:
    """Windows of smartwatch motion; one modality, `motion`. Tasks: `classification` and `joint`.

    The split is by people: `split_seed` only chooses the examples of `max_train_examples`.
    """
    options.check_task("watch", ("classification", "joint"))
    if options.task == "joint" and any(isinstance(each, MirrorBody) for each in options.augmentations):
        raise ValueError("mirror: puts the watch on the other arm, and the label 'side' would not follow; leave it out")
    recordings = read_recordings()
    people = np.unique(recordings.person).tolist()
    tested = _people("test_people", own.test_people, people)
    if own.validation_people is None:
        order = sorted(set(people) - tested, key=lambda each: (each < FIRST_TO_VALIDATE, each))
        validated = set(order[:1])
    else:
        validated = _people("validation_people", own.validation_people, people)
    if both := sorted(tested & validated):
        raise ValueError(f"validation_people: expected others than those for test, got {both[0]}")
    if tested | validated == set(people):
        raise ValueError(f"test_people: expected some of {people[0]} to {people[-1]} to be left for training, got all")

    counts = [max(0, (len(each) - LENGTH) // STEP + 1) for each in recordings.readings]
    number = np.repeat(np.arange(len(counts)), counts)
    start = STEP * np.concatenate([np.arange(count) for count in counts])
    person, exercise = recordings.person[number], recordings.exercise[number]
    windows = list(zip(number, start, strict=True))
    names = [f"person {recordings.person[n]}, recording {n}, readings {at} to {at + LENGTH}" for n, at in windows]
    return make_source(
        name="watch",
        table=Table(
            names=names,
            raws={"motion": [recordings.readings[n][at : at + LENGTH] for n, at in windows]},
            targets={"label": exercise, "exercise": exercise, "side": recordings.side[number]},
            splits=np.select([np.isin(person, [*tested]), np.isin(person, [*validated])], [TEST, VALIDATION], TRAIN),
        ),
        encoders={"motion": SeriesEncoder(length=LENGTH, channels=6)},
        options=options,
        classes=recordings.exercises,
        labels={"exercise": recordings.exercises, "side": SIDES},
        baseline=lambda it: Baseline(name="ridge on spectra", metrics=ridge_baseline(it, modality="motion")),
        note=NOTE,
    )


def _people(name: str, given: Sequence[int], people: Sequence[int]) -> set[int]:
    chosen = set(given)
    if not chosen or not chosen <= set(people):
        raise ValueError(f"{name}: expected one or more of {people[0]} to {people[-1]}, got {list(given)}")
    return chosen
