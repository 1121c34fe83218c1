"""Records as examples: decoded, changed at random in training, fitted to the grid, made tokens. A bad one is named."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from hiperceiver.data.augment import Augmentation, ChangeFault
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.image import IGNORE, ImageEncoder, Mask
from hiperceiver.data.encoders.picture_files import Picture, open_picture
from hiperceiver.data.example import BadExample, Example
from hiperceiver.data.media import Media
from hiperceiver.data.record import Record, Records
from hiperceiver.settings.data import Missing

NO_LABEL = 255  # the number in a mask that by custom means 'no class'
MASK = "segmentation"  # the name of the mask among an example's targets, and among the values that augmentations change


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedRecords:
    """Records that are encoded when they are read: an `AugmentedDataset`.

    >>> encoder = ImageEncoder(size=2)
    >>> records = [Record(name="1.png", raws={"image": np.zeros((2, 2, 3), dtype=np.uint8)}, targets={"label": 1})]
    >>> example = EncodedRecords(records=records, encoders={"image": encoder}, targets=("label",), num_classes=2)[0]
    >>> example.inputs["image"].shape, example.targets["label"].item()
    (torch.Size([4, 3]), 1)
    """

    records: Records
    encoders: Mapping[str, Encoder]  # per modality; what else a record holds is not read
    targets: tuple[str, ...] = ()  # which of the records' targets are given
    num_classes: int = 0  # classes that labels and masks may name; 0 where there are none
    missing: Missing = "skip"  # what is done with an example without one of the modalities
    augmentations: Sequence[Augmentation] = ()  # random changes for training, in their order

    def __post_init__(self) -> None:
        if self.missing not in get_args(Missing):
            raise ValueError(f"missing: expected one of {', '.join(get_args(Missing))}, got {self.missing!r}")

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example | BadExample:
        return self._read(index, None)

    def augmented(self, index: int, rng: np.random.Generator) -> Example | BadExample:
        """The record, changed at random."""
        return self._read(index, rng)

    def targets_of(self, index: int) -> dict[str, Tensor] | None:
        """A record's targets, without reading the rest of it; None if they cannot be read."""
        try:
            record = self.records[index]
            tensors = _targets(record, self.targets, self.num_classes)
            if MASK in self.targets:
                modality, encoder = _masked_picture(record, self.encoders)
                mask = _decode_mask(record, encoder, self.num_classes, open_picture(record.raws[modality]))
                tensors[MASK] = encoder.mask_to_targets(encoder.fit_mask_to_grid(mask))
            return tensors
        except ValueError:
            return None

    def raws(self, modality: str, count: int) -> Iterator[Any]:
        """A modality's raw values as they are stored, of at most so many records, evenly spread.

        If none of them can be looked up, the first fault is raised.
        """
        fault, is_found = None, False
        for index in np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64):
            try:
                raw = self.records[int(index)].raws.get(modality)
            except ValueError as error:  # found again, and named, when it is read as an example
                fault = fault or error
                continue
            if raw is not None:
                is_found = True
                yield raw
        if fault is not None and not is_found:
            raise fault

    def encode(self, record: Record, rng: np.random.Generator | None = None) -> Example:
        """A record as an example, changed at random if a generator is given; not where changes leave nothing usable.

        Raises:
            ValueError: it cannot be used, in one line.
        """
        values: dict[str, Any] = {}
        for modality, encoder in self.encoders.items():
            raw = record.raws.get(modality)
            if raw is not None:
                with self._faults_of(modality, record):
                    values[modality] = encoder.decode(raw)
            elif self.missing == "skip":
                raise ValueError(f"has no {modality}")
        if not values:
            raise ValueError(f"has none of the modalities {', '.join(self.encoders)}")
        kinds = {modality: encoder.kind for modality, encoder in self.encoders.items()}
        fits: dict[str, Callable[[Any], np.ndarray]] = {name: each.fit_to_grid for name, each in self.encoders.items()}
        targets, mask_encoder = _targets(record, self.targets, self.num_classes), None
        if MASK in self.targets:
            modality, mask_encoder = _masked_picture(record, self.encoders)
            values[MASK] = _decode_mask(record, mask_encoder, self.num_classes, values[modality])
            fits[MASK], kinds[MASK] = mask_encoder.fit_mask_to_grid, "mask"

        def example(rng: np.random.Generator | None) -> Example:
            def changed(values: dict[str, Any], *, is_on_grid: bool) -> dict[str, Any]:
                for augmentation in self.augmentations:
                    if rng is not None and augmentation.is_on_grid == is_on_grid:
                        values = augmentation(values, kinds, rng)
                return values

            fitted: dict[str, Any] = {}
            for name, value in changed(values, is_on_grid=False).items():
                with self._faults_of(name, record):
                    fitted[name] = fits[name](value)
            fitted = changed(fitted, is_on_grid=True)
            inputs: dict[str, Tensor] = {}
            is_padding: dict[str, Tensor] = {}
            for modality, encoder in self.encoders.items():
                if modality in fitted:
                    with self._faults_of(modality, record):
                        inputs[modality], absent = encoder.to_tokens(fitted[modality])
                else:
                    shape = encoder.modality
                    inputs[modality] = torch.zeros(shape.num_tokens, shape.channels)
                    absent = torch.ones(shape.num_tokens, dtype=torch.bool)
                if absent is not None:
                    is_padding[modality] = absent
            if mask_encoder is not None:
                targets[MASK] = mask_encoder.mask_to_targets(fitted[MASK])
            return Example(inputs=inputs, is_padding=is_padding, targets=targets, name=record.name)

        if rng is not None:
            try:
                return example(rng)
            except ChangeFault:
                raise
            except ValueError:  # the change left nothing, such as a silent part
                pass
        return example(None)

    @contextlib.contextmanager
    def _faults_of(self, modality: str, record: Record) -> Iterator[None]:
        """A fault inside names the modality if there are several, and its file if the record is named by another."""
        try:
            yield
        except ValueError as error:
            if len(self.encoders) == 1 or modality not in self.encoders:
                raise
            raw = record.raws.get(modality)
            raw = raw.source if isinstance(raw, Media) else raw
            path = os.fspath(raw) if isinstance(raw, str | os.PathLike) else ""
            reason = str(error).removeprefix(f"{path}: ")
            file = f" {os.path.basename(path)}" if reason != str(error) and not path.endswith(record.name) else ""
            raise ValueError(f"its {modality}{file}: {reason}") from error

    def _read(self, index: int, rng: np.random.Generator | None) -> Example | BadExample:
        record = None
        try:
            record = self.records[index]
            return self.encode(record, rng)
        except ValueError as error:
            return _bad(record, str(error), default_name=f"record {index}")


def _bad(record: Record | None, reason: str, *, default_name: str) -> BadExample:
    """A bad example; the path at the beginning of the reason is dropped, for the name has it."""
    if record is None:  # it could not be made, and its fault says which it is
        name, colon, rest = reason.partition(": ")
        return BadExample(name, rest) if colon else BadExample(default_name, reason)
    try:
        raws = list(record.raws.values())
    except ValueError:  # it is the fault itself
        raws = []
    files = [raw.source if isinstance(raw, Media) else raw for raw in raws]
    for path in [record.name, *(str(file) for file in files if isinstance(file, str | os.PathLike))]:
        reason = reason.removeprefix(f"{path}: ")
    return BadExample(record.name, reason)


def _masked_picture(record: Record, encoders: Mapping[str, Encoder]) -> tuple[str, ImageEncoder]:
    """The modality whose tokens a record's mask labels: the first picture; and its encoder."""
    for modality, encoder in encoders.items():
        if isinstance(encoder, ImageEncoder) and record.raws.get(modality) is not None:
            return modality, encoder
    raise ValueError("has a mask but no picture")


def _decode_mask(record: Record, encoder: ImageEncoder, num_classes: int, picture: Picture) -> Mask:
    """A record's mask, if it is one of this picture."""
    try:
        mask = encoder.decode_mask(record.targets[MASK], ignore=NO_LABEL)
    except ValueError as error:
        raise ValueError(f"its mask: {error}") from error
    if mask.labels.shape != picture.size:
        sizes = (" x ".join(map(str, size)) for size in (mask.labels.shape, picture.size))
        raise ValueError("its mask has {} pixels (height x width), the picture {}".format(*sizes))
    numbers = mask.labels[mask.labels != IGNORE]
    for number in (numbers.max(initial=0), numbers.min(initial=0)):
        if not 0 <= number < num_classes:
            raise ValueError(f"its mask holds the class {number}, expected 0 to {num_classes - 1}")
    return mask


def _targets(record: Record, targets: Sequence[str], num_classes: int) -> dict[str, Tensor]:
    """A record's targets as tensors, but for its mask; it must have them all."""
    for target in targets:
        if target not in record.targets:
            raise ValueError(f"has no {target}")
    return {name: _target(name, record.targets[name], num_classes) for name in targets if name != MASK}


def _target(name: str, value: Any, num_classes: int) -> Tensor:
    """A target as a tensor; see `Record.targets` and `Batch.targets`."""
    if name == "labels":
        classes = torch.as_tensor(list(value), dtype=torch.int64)
        if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
            raise ValueError(f"its labels are {classes.tolist()}, expected 0 to {num_classes - 1}")
        return torch.zeros(num_classes).index_fill_(0, classes, 1.0)
    if name == "values":
        return torch.as_tensor(value, dtype=torch.float32).flatten()
    if isinstance(value, float | np.floating):
        return torch.tensor(float(value))
    return torch.tensor(IGNORE if int(value) < 0 else int(value))
