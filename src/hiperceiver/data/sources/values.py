"""Values in memory as a source: arrays, strings, paths, pictures. Their kind of signal is found, or given.

A list has a value for each example. What it was taken for is said: nothing is guessed in silence.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hiperceiver.data.encoded import EncodedRecords
from hiperceiver.data.encoders.arrays import plain
from hiperceiver.data.encoders.encoder import Encoder
from hiperceiver.data.encoders.picture_files import open_picture
from hiperceiver.data.encoders.volume import VolumeEncoder
from hiperceiver.data.record import SPLITS, TRAIN, VALIDATION, Table
from hiperceiver.data.sources.kinds import KINDS, kind_of
from hiperceiver.data.sources.source import LOOKED_AT, Source, SourceOptions, choose_encoders, encoded_source

LARGEST_SIDE = 64
"""Of grids of pictures in files, or of several sizes, where nobody says it: what a CPU can train on."""
_COLOURS = {1: "L", 3: "RGB", 4: "RGBA"}
_ARRAYS = ("image", "video", "audio", "points", "series", "volume", "vector")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What the values of a modality were taken for."""

    kind: str  # of its encoder
    raws: list[Any]  # of each example; None: it has no value
    settings: dict[str, Any]  # of its encoder, as far as they follow from the values
    found: str  # what the values are, in words

    def __len__(self) -> int:
        return len(self.raws)


def take_values(
    name: str, values: Any, kind: str | None = None, *, encoder: Encoder | None = None, rate: int | None = None
) -> Taken:
    """What values are, one for each example: arrays, lists of numbers, strings, paths, pictures, or None.

    | values | kind |
    | --- | --- |
    | arrays of one axis | `vector`; of several lengths `series` |
    | arrays (steps, channels) | `series`; of uint8 `image` (grey) |
    | arrays (rows, columns, channels) | of uint8 with 1, 3 or 4 channels `image`; else `volume`, one cell deep |
    | arrays (frames, rows, columns, 1 or 3) of uint8 | `video` |
    | other arrays of four axes | `volume` |
    | (samples, rate) | `audio` |
    | strings that are files, paths | what the endings say |
    | other strings, bytes | `bytes` |

    Args:
        name: of the modality, for messages.
        values: a list, array or column.
        kind: of an encoder; None: as in the table.
        encoder: that the values are for, if there is one already; `kind` is its own.
        rate: samples per second of sounds that are arrays.

    Raises:
        ValueError: they are nothing that can be read; in one line.

    >>> taken = take_values("x", np.zeros((5, 28, 28), dtype=np.uint8))
    >>> taken.kind, taken.settings, taken.found
    ('image', {'size': (28, 28), 'colours': 'L'}, 'uint8 arrays of shape (28, 28)')
    """
    if encoder is not None:
        kind = encoder.kind
    if kind is not None and kind not in KINDS:
        raise ValueError(f"{name}: expected a kind among {', '.join(KINDS)}, got {kind!r}")
    raws = [None if _is_missing(value) else value for value in _listed(name, values)]
    present = [raw for raw in raws if raw is not None]
    if not present and encoder is not None and raws:
        return Taken(kind=encoder.kind, raws=raws, settings={}, found="nothing")
    if not present:
        raise ValueError(f"{name}: expected one or more values, got none")
    forms = {_form(name, raw) for raw in present}
    if len(forms) > 1:
        raise ValueError(f"{name}: expected values of one form, got {' and '.join(sorted(forms))}")
    form = forms.pop()
    if form in ("strings", "paths"):
        return _files_or_texts(name, raws, kind, is_path=form == "paths")
    if form == "arrays":
        raws, names = _by_columns(name, raws, encoder)
        raws = [None if raw is None else _array(name, raw) for raw in raws]
        taken = _arrays(name, raws, kind, encoder, rate)
        return replace(taken, settings={**taken.settings, "channel_names": names}) if taken.kind == "series" else taken
    usual = {"bytes": "bytes", "pictures": "image", "sounds": "audio"}[form]
    settings = _picture_settings(present) if (kind or usual) == "image" else {}
    return Taken(kind=kind or usual, raws=raws, settings=settings, found=form)


def open_values(
    taken: Mapping[str, Taken],
    options: SourceOptions,
    *,
    targets: Mapping[str, Sequence[Any]] | None = None,
    classes: Sequence[str] = (),
    is_validation: np.ndarray | None = None,
) -> Source:
    """A source of values in memory; their encoders are fitted to those that train.

    Args:
        taken: modality -> its values, as many for each.
        options: as of other sources; settings of encoders there go before those that follow from the values.
        targets: as in `Table.targets`.
        classes: names of the labels by number.
        is_validation: which examples validate, bool (examples,). None: none.

    Raises:
        ValueError: a modality has other numbers of values, or they cannot be read.
    """
    table = _table(taken, targets or {})
    if is_validation is not None:
        table = replace(table, splits=np.where(is_validation, VALIDATION, TRAIN).astype(np.int8))
    own = {name: {**each.settings, **options.encoder_settings.get(name, {})} for name, each in taken.items()}
    given = options if options.encoders is not None else replace(options, encoder_settings=own)
    kinds = {name: each.kind for name, each in taken.items()}
    records = {split: part for number, split in enumerate(SPLITS) if len(part := table.split(number))}
    return encoded_source(
        name="X",
        records=records,
        encoders=choose_encoders("X", kinds, table.split(TRAIN), given),
        options=given,
        classes=classes,
        labels={},
        warnings=[],
    )


def encoded_values(taken: Mapping[str, Taken], encoders: Mapping[str, Encoder]) -> EncodedRecords:
    """Values as examples, as a model with these encoders reads them; of several modalities some may be absent."""
    known = {name: encoders[name] for name in taken}
    return EncodedRecords(records=_table(taken, {}), encoders=known, missing="absent" if len(taken) > 1 else "skip")


def _table(taken: Mapping[str, Taken], targets: Mapping[str, Sequence[Any]]) -> Table:
    lengths = {name: len(each) for name, each in taken.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{count} of {name!r}" for name, count in lengths.items())
        raise ValueError(f"X: expected as many values of each modality, got {found}")
    names = [f"row {number}" for number in range(next(iter(lengths.values())))]
    for each in taken.values():
        names = [
            f"{name}, {raw}" if isinstance(raw, Path) else name for name, raw in zip(names, each.raws, strict=True)
        ]
    return Table(names=names, raws={name: each.raws for name, each in taken.items()}, targets=targets)


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | os.PathLike) or not hasattr(values, "__len__"):
        raise ValueError(f"{name}: expected a list or array with a value for each example, got {type(values).__name__}")
    if hasattr(values, "iloc"):  # of a data frame
        return list(values.to_list())
    if hasattr(values, "__array__") and not isinstance(values, list | tuple):
        values = np.asarray(plain(values))
        if values.dtype.kind in "OUST" and values.ndim > 1:
            raise ValueError(f"{name}: expected one axis for objects and strings, got shape {values.shape}")
        return list(values) if values.dtype.kind not in "UT" else values.tolist()
    return list(values)


def _by_columns(name: str, raws: list[Any], encoder: Encoder | None) -> tuple[list[Any], tuple[str, ...]]:
    """Data frames with their columns in one order, that of the encoder or of the first, and their names."""
    frames = [raw for raw in raws if hasattr(raw, "columns") and hasattr(raw, "iloc")]
    first = map(str, frames[0].columns) if frames and encoder is None else ()
    names = tuple(getattr(encoder, "channel_names", first))
    if not frames or not names or len({*names}) < len(names):
        return raws, ()
    ordered: list[Any] = []
    for raw in raws:
        columns = {str(column): column for column in getattr(raw, "columns", ())}
        if columns and (lacking := [column for column in names if column not in columns]):
            found = f"got {', '.join(columns)}; no {lacking[0]!r}"
            raise ValueError(f"{name}: expected the columns {', '.join(names)}, {found}")
        ordered.append(raw[[columns[column] for column in names]] if columns else raw)
    return ordered, names


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value)) or type(value).__name__ == "NAType"


def _form(name: str, value: Any) -> str:
    """What a value is: `strings`, `paths`, `bytes`, `pictures`, `sounds` or `arrays`."""
    if isinstance(value, str):
        return "strings"
    if isinstance(value, os.PathLike):
        return "paths"
    if isinstance(value, bytes):
        return "bytes"
    if type(value).__module__.partition(".")[0] == "PIL":
        return "pictures"
    if isinstance(value, tuple) and len(value) == 2 and np.ndim(value[0]) and not np.ndim(value[1]):
        return "sounds"
    if hasattr(value, "__array__") or isinstance(value, list | tuple | int | float):
        return "arrays"
    raise ValueError(f"{name}: expected arrays, strings, paths or pictures, got {type(value).__name__}")


def _array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(plain(value))
    except ValueError:  # lists of several lengths
        raise ValueError(f"{name}: expected lists of numbers of one length each, got several lengths") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    return array


def _arrays(
    name: str, raws: list[np.ndarray | None], kind: str | None, encoder: Encoder | None, rate: int | None
) -> Taken:
    present = [raw for raw in raws if raw is not None]
    shapes, first = {raw.shape for raw in present}, present[0]
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"{name}: expected arrays of as many axes each, got shapes {sorted(shapes, key=len)[:3]}")
    is_picture = _is_uint8(present) and (first.ndim == 2 or first.shape[-1] in _COLOURS)
    if kind is None and first.ndim > 4:
        raise ValueError(f"{name}: expected arrays of at most 4 axes an example, got shape {first.shape}")
    if kind is None:
        of_axes = {
            1: "vector" if len(shapes) == 1 else "series",
            2: "image" if is_picture else "series",
            3: "image" if is_picture else "volume",
            4: "video" if _is_uint8(present) and first.shape[-1] in (1, 3) else "volume",
        }
        is_flat = first.ndim == 3
        kind = of_axes.get(first.ndim, "vector")
        _check_order(name, first, kind)
    else:
        # A volume's first axis is one cell deep where it was made of pictures.
        is_flat = first.ndim == 2 or (isinstance(encoder, VolumeEncoder) and encoder.size[0] == 1)
    if kind not in _ARRAYS:
        raise ValueError(f"{name}: the kind {kind} is not read of arrays, got {first.dtype} of shape {first.shape}")
    if kind in ("image", "video") and not _is_uint8(present):
        remedy = "other numbers are read as the kind volume"
        raise ValueError(f"{name}: expected uint8 arrays for the kind {kind}, got {first.dtype}; {remedy}")
    size = f"of shape {first.shape}" if len(shapes) == 1 else f"of several shapes, the first {first.shape}"
    found, settings, taken = f"{first.dtype} arrays {size}", {}, list[Any](raws)
    if kind == "image":
        settings = _picture_settings(present)
    elif kind == "video":
        settings = {"size": first.shape[1:3], "frames": first.shape[0]}
        settings |= {"colours": "L" if first.ndim == 3 or first.shape[-1] == 1 else "RGB"}
    elif kind == "points":
        settings = {"num_points": min(max(len(raw) for raw in present), 2048)}
    elif kind == "volume" and is_flat and first.ndim < 4:
        taken = [None if raw is None else raw[None] for raw in raws]
        settings = {"size": (1, *first.shape[:2]), "channels": first.shape[2] if first.ndim == 3 else 1}
    elif kind == "vector" and first.ndim == 0:
        taken = [None if raw is None else raw.reshape(1) for raw in raws]
    elif kind == "audio":
        rate = rate or getattr(encoder, "rate", None)
        if rate is None:
            expected = "expected the encoder's setting rate for sounds that are arrays, or pairs (samples, rate)"
            raise ValueError(f"{name}: {expected}, got {found}")
        taken = [None if raw is None else (raw, rate) for raw in raws]
    return Taken(kind=kind, raws=taken, settings=settings, found=found)


def _check_order(name: str, first: np.ndarray, kind: str) -> None:
    """Refuse pictures and clips whose channels come before their rows, as PyTorch has them."""
    shape, last = first.shape, first.ndim - 1
    found = None
    if kind == "volume" and first.ndim == 3:
        is_square = shape[1] == shape[2]
        found = 0 if shape[0] < min(shape[1:]) and (is_square or shape[0] in _COLOURS) else None
    elif kind == "volume" and first.dtype == np.uint8:
        found = next((axis for axis in (1, 0) if shape[axis] in _COLOURS and min(shape[2:]) > shape[axis]), None)
    if found is not None:
        order = (0, *(axis + 1 for axis in range(last + 1) if axis != found), found + 1)
        remedy = f"transpose them (X.transpose{order}), or name the kind volume if they have a depth instead"
        raise ValueError(f"{name}: got arrays of shape {shape}, which look as if channels came first; {remedy}")


def _is_uint8(arrays: Sequence[np.ndarray]) -> bool:
    return all(array.dtype == np.uint8 for array in arrays)


def _picture_settings(raws: Sequence[Any]) -> dict[str, Any]:
    """The size of pictures that have one and are in memory, else a usual one that a CPU can train on; their colours."""
    sizes, channels = [], []
    for raw in raws[:LOOKED_AT]:
        try:
            sizes.append(open_picture(raw).size)
        except ValueError:  # named when it is read
            continue
        if isinstance(raw, np.ndarray):
            channels.append(1 if raw.ndim == 2 else raw.shape[2])
    if not sizes:
        return {}
    height, width = (round(float(side)) for side in np.median(sizes, axis=0))
    if not channels or len(set(sizes)) > 1:
        scale = min(1.0, LARGEST_SIDE / max(height, width))
        height, width = (max(1, round(side * scale)) for side in (height, width))
    return {"size": (height, width), **({"colours": _COLOURS[max(channels)]} if channels else {})}


def _files_or_texts(name: str, raws: list[Any], kind: str | None, *, is_path: bool) -> Taken:
    looked_at = [str(raw) for raw in raws if raw is not None][:LOOKED_AT]
    absent = [raw for raw in looked_at if not os.path.exists(raw)]
    if kind in (None, "bytes") and not is_path:
        if len(absent) == len(looked_at) and (kind or not any(_looks_like_a_path(raw) for raw in looked_at)):
            return Taken(kind="bytes", raws=raws, settings={}, found="strings, taken for texts")
        if absent and kind is None:
            named = "'bytes' names texts as they are"
            raise ValueError(f"{name}: expected files that exist, or texts; got {absent[0]!r:.80}, no file ({named})")
    if absent and kind != "bytes":
        raise ValueError(f"{name}: expected files that exist, got {absent[0]!r:.80}, no such file")
    if absent:
        return Taken(kind="bytes", raws=raws, settings={}, found="strings, taken for texts")
    if kind is None:
        kinds = {kind_of(os.path.basename(raw)) for raw in looked_at}
        if None in kinds or len(kinds) > 1:
            listed = ", ".join(sorted(each or "an unknown ending" for each in kinds))
            raise ValueError(f"{name}: expected files of one kind, or the kind by its name; got {listed}")
        kind = str(kinds.pop())
    paths = [None if raw is None else Path(raw) for raw in raws]
    settings: dict[str, Any] = {}
    if kind == "image":
        settings = {"colours": "RGB", **_picture_settings([path for path in paths if path is not None])}
    elif kind == "video":
        settings = {"size": (LARGEST_SIDE, LARGEST_SIDE), "frames": 8}
    return Taken(kind=kind, raws=paths, settings=settings, found="files")


def _looks_like_a_path(text: str) -> bool:
    return len(text) < 256 and not any(each.isspace() for each in text) and kind_of(os.path.basename(text)) is not None
