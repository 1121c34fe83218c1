"""Damage as files of strangers have it: bytes that are wrong, lost, doubled or moved, and numbers that are absurd."""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from random import Random
from typing import Any

_HEADER = 128  # bytes of a file in which half of the damage is done
_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_NUMBERS = (
    *(b"0", b"-1", b"1", b"2", b"255", b"65536", b"-9999", b"2147483648", b"4294967296", b"99999999999999999999"),
    *(b"1e39", b"1e-320", b"1e400", b"nan", b"inf", b"-inf", b"", b"0x10", b"1_0", b"1,5", "٣".encode(), b"[]", b"{}"),
    *(b"null", b"true", b'"a"', b"1e9", b"100000000"),
)
_PIECES = (
    *(b"\0", b"\n", b"\r", b"\t", b" ", b",", b";", b":", b'"', b"'", b"#", b"/", b"..", b"\\", b"[", b"]", b"{", b"}"),
    *(b"&a", b"*a", b"!!python/name:os.system ", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b[31m", b"\xc2\x85", b"%s"),
    *("é".encode(), "\u202e".encode(), b"NaN", b"null", b"-", b"."),
)

Change = Callable[[bytearray, Random], None]


def mutated(content: bytes, rng: Random) -> bytes:
    """A file with one or a few faults."""
    data = bytearray(content)
    is_text = b"\0" not in content[:2000]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_ANY + _TEXT * (4 if is_text else 0))(data, rng)
    return bytes(data)


def mutated_png(content: bytes, rng: Random) -> bytes:
    """As `mutated`, half of the time with right check sums: without them decoders look no further."""
    data = bytearray(mutated(content, rng))
    at = 8 if rng.random() < 0.5 else len(data)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        data[at + 8 + length : at + 12 + length] = struct.pack(">I", zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(data)


def mutated_zip(content: bytes, rng: Random) -> bytes:
    """As `mutated`, mostly of a member of the archive, which is whole otherwise (.npz, checkpoints)."""
    if rng.random() < 0.3:
        return mutated(content, rng)
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = rng.choice(sorted(members))
    members[chosen] = mutated(members[chosen], rng)
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, each in members.items():
            archive.writestr(name, each)
    return file.getvalue()


def mutated_safetensors(content: bytes, rng: Random) -> bytes:
    """As `mutated`, half of the time with a header whose length is right."""
    if rng.random() < 0.5:
        return mutated(content, rng)
    length = int.from_bytes(content[:8], "little")
    header = mutated(content[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def mutated_json(content: bytes, rng: Random) -> bytes:
    """As `mutated`, mostly JSON that can be read, in which a value is another or is gone."""
    if rng.random() < 0.2:
        return mutated(content, rng)
    values = json.loads(content)
    change_values(values, rng)
    return json.dumps(values).encode()


def change_values(values: Any, rng: Random) -> None:
    """A value somewhere inside becomes another, or is gone; or two."""
    for _ in range(rng.choice((1, 1, 2))):
        place = values
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.9:
                place = place[key]
                continue
            if rng.random() < 0.2:
                del place[key]
            else:
                place[key] = rng.choice(_VALUES)
            break


_VALUES = (
    *(None, True, False, 0, 1, 2, 3, -1, 7, 0.5, 1e300, 10**30, 2**31, 2**63, float("nan"), float("inf"), "", "a"),
    *("\x1b[31m", "..", "x" * 5000, "1", [], [1], [0, 0], [-1], [[1]], [2**40], {}, {"a": 1}, {"kind": "image"}),
    *({"kind": None}, [None], ["a", "a"], "transpose", "points", 100_000),
)


def _place(data: bytearray, rng: Random) -> int:
    """Where damage is done: half of the time at the beginning."""
    return rng.randrange(min(len(data), _HEADER) if rng.random() < 0.5 else len(data)) if data else 0


def _part(data: bytearray, rng: Random) -> slice:
    start = _place(data, rng)
    return slice(start, start + rng.choice((1, 2, 4, 16, 100, 1000)))


def _flip_a_bit(data: bytearray, rng: Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _set_a_byte(data: bytearray, rng: Random) -> None:
    if data:
        data[_place(data, rng)] = rng.choice((0, 1, 2, 0x20, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))


def _set_a_number(data: bytearray, rng: Random) -> None:
    """A number of 2, 4 or 8 bytes, as headers hold sizes, becomes an extreme one."""
    width, order = rng.choice((2, 4, 4, 8)), rng.choice(("little", "big"))
    at, most = _place(data, rng), 256**width - 1
    old = int.from_bytes(data[at : at + width], order)
    near = (old + 1, old - 1, old * 2, old * 256, old // 2)
    new = rng.choice((0, 1, most, most // 2, most // 2 + 1, most - 1, 0x10000, 0x7FFF, 0x3FFFFFFF, *near))
    data[at : at + width] = (new % (most + 1)).to_bytes(width, order)


def _cut(data: bytearray, rng: Random) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, rng: Random) -> None:
    del data[_part(data, rng)]


def _repeat(data: bytearray, rng: Random) -> None:
    part = _part(data, rng)
    data[part.start : part.start] = data[part] * rng.choice((1, 1, 2, 50))


def _swap(data: bytearray, rng: Random) -> None:
    one, other = _part(data, rng), _part(data, rng)
    data[one], data[other] = data[other], data[one]


def _insert_noise(data: bytearray, rng: Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 3, 16, 200)))


def _overwrite(data: bytearray, rng: Random) -> None:
    part = _part(data, rng)
    length = len(data[part])
    data[part] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))


def _change_a_number_in_words(data: bytearray, rng: Random) -> None:
    if numbers := list(_NUMBER.finditer(bytes(data[:100_000]))):
        found = rng.choice(numbers[: 5 if rng.random() < 0.3 else None])
        data[found.start() : found.end()] = rng.choice(_NUMBERS)


def _insert_a_piece(data: bytearray, rng: Random) -> None:
    at = _place(data, rng)
    data[at : at + rng.choice((0, 1))] = rng.choice(_PIECES)


def _move_a_line(data: bytearray, rng: Random) -> None:
    """A line is gone, comes twice, or stands elsewhere."""
    lines = bytes(data).splitlines(keepends=True)
    if lines:
        line = lines.pop(rng.randrange(len(lines)))
        for _ in range(rng.choice((0, 1, 2))):
            lines.insert(rng.randrange(len(lines) + 1), line)
        data[:] = b"".join(lines)


_ANY: tuple[Change, ...] = (
    *(_flip_a_bit, _set_a_byte, _set_a_number, _set_a_number, _cut, _remove, _repeat, _swap, _insert_noise, _overwrite),
)
_TEXT: tuple[Change, ...] = (_change_a_number_in_words, _insert_a_piece, _move_a_line)
