"""How large files of sound and video say that they are: FFmpeg takes most cut ones for short ones."""

import os
from collections.abc import Callable
from typing import BinaryIO, Literal

from hiperceiver.data.faults import Fault

_PLACEHOLDER = 0x7FFFF000  # bytes; what is written to a pipe states as many or more, or none
_AFTER_RIFF = (b"RIFF", b"ID3", b"TAG", b"APETAGEX", b"LIST", b"id3 ", b"JUNK", b"bext", b"_PMX", b"iXML")
"""How a part begins that may follow the stated size: of a long AVI file, or tags."""
_WHOLE, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
"""Numbers of WAV files whose samples are whole numbers, floats, or what stands further on."""
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
"""How a Matroska or WebM file, its content, and a part of it begin."""
_ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_ASF_FILE = b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11"
"""How an ASF or WMA file begins, and in its header the object that describes the file."""
_NEVER = 1 << 62
"""Bytes; where sizes have eight bytes, more stand for one that was not known."""
_LONGEST_FRAMES = 4096  # bytes of two frames of an MP3 file, and more
_PACK, _LAST_PACK = b"\x00\x00\x01\xba", 0xB9
"""How a pack of an MPEG program stream begins, and the fourth byte of what ends one."""
_GIF_EXTENSION, _GIF_PICTURE = b"!", b","
_FEW_PACKS = 1 << 18  # bytes at the end
_TAIL = 4096  # bytes at the end that are not all zero
_MOST_PARTS = 200_000  # that are looked at
_MP4_STARTS = (b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
_MP4_PARTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")  # that have parts in them
_MOST_FRAMES = 8  # for each byte of the file: old codecs of QuickTime count samples, of which a byte holds some
_OGG_PAGE = 27 + 255 + 255 * 255  # bytes at most


def check_size(file: BinaryIO) -> None:
    """Refuse a file whose size is not what its own headers say; afterwards it stands at its beginning.

    Known are WAV, RF64, W64, AVI, AIFF, AU, CAF, MP3 with a Xing header, Ogg, Matroska and WebM, MP4, ASF and WMA, FLV,
    MPEG-TS, MPEG program streams and GIF. NUT does not say it.
    """
    head = file.read(512)
    size = file.seek(0, os.SEEK_END)
    if not size:
        raise Fault("is empty (0 bytes)")
    for start, check in _CHECKS:
        if head.startswith(start):
            check(file, size, head)
    if head[4:8] in _MP4_STARTS:
        _check_tables(file, 0, size)
    file.seek(0)


def _riff(file: BinaryIO, size: int, head: bytes) -> None:
    stated = 8 + _number(head[4:8], "little")
    if 8 < stated < _PLACEHOLDER:
        if stated > size + 8:
            raise _cut(size, stated)
        rest = _read_at(file, stated + stated % 2, 8)
        is_joined = head[8:12] == b"WAVE" and rest.startswith(b"RIFF")  # long AVI files have several such parts
        if len(rest) == 8 and any(rest) and (is_joined or not rest.startswith(_AFTER_RIFF)):
            raise Fault(f"its header states {stated} of its {size} bytes: the rest would not be heard")
    if head[8:12] == b"WAVE":
        _check_sound(file, size)
    elif head[8:12] == b"AVI ":
        _check_tail(file, min(size, stated) if stated > 8 else size)


def _check_sound(file: BinaryIO, size: int, stated: int = 0) -> None:
    """Refuse a WAV file whose sound goes on behind the stated end; of RF64 files the length is `stated` elsewhere."""
    position = 12
    while len(chunk := _read_at(file, position, 8)) == 8:
        length = _number(chunk[4:], "little")
        length = stated if stated and chunk[:4] == b"data" else length
        end = position + 8 + length
        if chunk[:4] == b"fmt ":
            _check_format(_read_at(file, position + 8, 26))
        if chunk[:4] == b"data":
            after = [(_read_at(file, each, 8), size - each) for each in (end, end + length % 2)]
            if 0 < length < (size if stated else _PLACEHOLDER) and not any(_may_follow(*each) for each in after):
                found = f"its header states {length} of its {size - position - 8} bytes"
                raise Fault(f"{found}: the rest would not be heard")
            return
        position = end + length % 2


def _check_format(chunk: bytes) -> None:
    """Refuse a WAV header whose samples are larger or smaller than its channels of so many bits."""
    kind, channels, block, bits = (_number(chunk[at : at + 2], "little") for at in (0, 2, 12, 14))
    kind = _number(chunk[24:26], "little") if kind == _EXTENSIBLE else kind
    size = channels * -(-bits // 8)
    if kind in (_WHOLE, _FLOAT) and size and block > 1 and block != size:
        raise Fault(f"its header contradicts itself: {channels} x {bits} bits a sample, in {block} bytes")


def _may_follow(chunk: bytes, left: int) -> bool:
    """Whether the end, zeros or another chunk follow the sound."""
    is_named = chunk.startswith(_AFTER_RIFF) or all(0x20 <= each < 0x7F for each in chunk[:4])
    return len(chunk) < 8 or not any(chunk) or (is_named and _number(chunk[4:8], "little") <= left)


def _aiff(file: BinaryIO, size: int, head: bytes) -> None:
    stated = 8 + _number(head[4:8], "big")
    if size < stated < _PLACEHOLDER:
        raise _cut(size, stated)


def _au(file: BinaryIO, size: int, head: bytes) -> None:
    stated = _number(head[4:8], "big") + _number(head[8:12], "big")
    if size < stated < _PLACEHOLDER:
        raise _cut(size, stated)


def _rf64(file: BinaryIO, size: int, head: bytes) -> None:
    stated = 8 + _number(head[20:28], "little")
    if head[12:16] != b"ds64":
        return
    if size < stated < _NEVER:
        raise _cut(size, stated)
    _check_sound(file, size, _number(head[28:36], "little"))


def _w64(file: BinaryIO, size: int, head: bytes) -> None:
    """Names of 16 bytes, and sizes that count their own header; parts begin at multiples of 8."""
    stated = _number(head[16:24], "little")
    if size < stated < _NEVER:
        raise _cut(size, stated)
    position = 40
    for _ in range(_MOST_PARTS):
        chunk = _read_at(file, position, 24)
        length = _number(chunk[16:], "little")
        if len(chunk) < 24 or length < 24:
            return
        end = position + length
        if end > size:
            if chunk.startswith(b"data") and end < _NEVER:
                raise _cut(size, end)
            return
        if chunk.startswith(b"data"):
            after = _read_at(file, end + -end % 8, 24)
            is_part = len(after) < 24 or (after[:4].isalnum() and _number(after[16:], "little") <= size - end)
            if any(after) and not is_part:
                found = f"its header states {length - 24} of its {size - position - 24} bytes"
                raise Fault(f"{found}: the rest would not be heard")
            return
        position = end + -end % 8


def _caf(file: BinaryIO, size: int, head: bytes) -> None:
    position = 8
    for _ in range(_MOST_PARTS):
        if len(chunk := _read_at(file, position, 12)) < 12:
            return
        length = int.from_bytes(chunk[4:], "big", signed=True)
        if length < 0:  # the sound goes on to the end
            return
        position += 12 + length
        if position > size:
            raise _cut(size, position)


def _mp3(file: BinaryIO, size: int, head: bytes) -> None:
    tags = 0
    if head.startswith(b"ID3"):
        tags = 10 + sum((each & 0x7F) << shift for each, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    frame = _read_at(file, tags, 256)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    flags = _number(frame[at + 4 : at + 8], "big")
    if at < 0 or not flags & 2:
        return
    num_frames = _number(frame[at + 8 : at + 12], "big") if flags & 1 else 0
    at += 12 if flags & 1 else 8
    length = _number(frame[at : at + 4], "big")
    more = 2 * length // num_frames if num_frames else _LONGEST_FRAMES  # some count a frame or two more
    if size < tags + length - min(more, _LONGEST_FRAMES):
        raise _cut(size, tags + length)


def _asf(file: BinaryIO, size: int, head: bytes) -> None:
    """The header is objects, of which one states the size of the file, unless it was broadcast."""
    position, end = 30, _number(head[16:24], "little")
    for _ in range(_MOST_PARTS):
        part = _read_at(file, position, 92)
        length = _number(part[16:24], "little")
        if position >= end or len(part) < 92 or length < 24:
            return
        if part.startswith(_ASF_FILE):
            stated, is_broadcast = _number(part[40:48], "little"), part[88] & 1
            if not is_broadcast and size < stated < _NEVER:
                raise _cut(size, stated)
        position += length


def _check_tail(file: BinaryIO, size: int) -> None:
    """Refuse a file that ends with zeros, whose place was kept for what never came."""
    count = min(_TAIL, size // 8)
    if count and not any(_read_at(file, size - count, count)):
        raise Fault(f"is incomplete: its last {count} bytes are zeros")


def _ogg(file: BinaryIO, size: int, head: bytes) -> None:
    _check_tail(file, size)
    first = max(0, size - _OGG_PAGE)
    tail = _read_at(file, first, _OGG_PAGE)
    at = tail.rfind(b"OggS")
    count = tail[at + 26] if at >= 0 and at + 26 < len(tail) else 255
    end = first + at + 27 + count + sum(tail[at + 27 : at + 27 + count])
    if at >= 0 and end > size:
        raise _cut(size, end)


def _flv(file: BinaryIO, size: int, head: bytes) -> None:
    last = _number(_read_at(file, size - 4, 4), "big")
    tag = _read_at(file, size - 4 - last, 4) if 11 <= last <= size - 4 else b""
    if not tag or tag[0] & 0x1F not in (8, 9, 18) or _number(tag[1:], "big") != last - 11:
        raise Fault("is truncated: it does not end with a whole tag")


def _mpegts(file: BinaryIO, size: int, head: bytes) -> None:
    if head[188:189] != b"\x47" or head[376:377] != b"\x47":
        return
    if size % 188:
        raise Fault(f"is truncated: its last packet has {size % 188} of 188 bytes")
    _check_tail(file, size)


def _mpegps(file: BinaryIO, size: int, head: bytes) -> None:
    """From the first pack near the end on: packs and packets state their lengths."""
    _check_tail(file, size)
    first = max(0, size - _FEW_PACKS)
    found = _read_at(file, first, _FEW_PACKS).find(_PACK)
    position = first + found if found >= 0 else size
    for _ in range(_MOST_PARTS):
        part = _read_at(file, position, 14)
        if len(part) < 14 or not part.startswith(_PACK[:3]) or part[3] == _LAST_PACK:
            return
        if part.startswith(_PACK):  # of MPEG-1 it has 12 bytes
            position += 12 if part[4] >> 4 == 2 else 14 + (part[13] & 7)
        elif length := _number(part[4:6], "big"):
            position += 6 + length
        else:
            return
        if position > size:
            raise _cut(size, position)


def _gif(file: BinaryIO, size: int, head: bytes) -> None:
    """Blocks, each of which ends with an empty part; extensions begin with 2 bytes, pictures with 10 and a palette."""
    position = 13 + _palette(head[10])
    for _ in range(_MOST_PARTS):
        block = _read_at(file, position, 10)
        if block[:1] not in (_GIF_EXTENSION, _GIF_PICTURE):  # the end, or unknown
            return
        is_picture = block[:1] == _GIF_PICTURE
        position += 11 + _palette(block[9]) if is_picture and len(block) == 10 else 2
        while part := _read_at(file, position, 1):
            position += 1 + part[0]
            if not part[0]:
                break
        if not part or position > size:
            raise Fault("is truncated: it ends within a picture")


def _palette(flags: int) -> int:
    """Bytes of a palette of a GIF file, if there is one."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _matroska(file: BinaryIO, size: int, head: bytes) -> None:
    """Parts whose size is known are passed over; what was streamed has some of unknown size, which are gone into."""
    _check_tail(file, size)
    file.seek(0)
    for _ in range(_MOST_PARTS):
        name = file.read(1)
        if not name:
            return
        name += file.read(max(0, 8 - name[0].bit_length()))
        start = file.tell()
        length = _ebml_size(file)
        if length is None:
            if name not in (_SEGMENT, _CLUSTER) and file.tell() < size:
                return  # of another part nothing is known
            if file.tell() == start:
                raise Fault("is truncated: its last part has no size")
            continue
        end = file.tell() + length
        if end > size:
            raise _cut(size, end)
        file.seek(end)


def _ebml_size(file: BinaryIO) -> int | None:
    """The next number in the file, of 1 to 8 bytes; the zeros before its first bit count those that follow."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    count = 8 - first[0].bit_length()
    value = _number(bytes([first[0] & (0x7F >> count)]) + file.read(count), "big")
    return None if value == (1 << 7 * (count + 1)) - 1 else value  # all ones: not known


def _check_tables(file: BinaryIO, start: int, stop: int) -> None:
    """Refuse an MP4 file that ends within a part, or with a table of many more frames than it has bytes.

    FFmpeg would make an entry for each.
    """
    size = file.seek(0, os.SEEK_END)
    while start + 8 <= stop:
        file.seek(start)
        head = file.read(32)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        end = start + length if length else stop
        if stop == size < end and kind in _MP4_STARTS:
            raise _cut(size, end)
        if kind in _MP4_PARTS:
            _check_tables(file, start + 8, min(end, stop))
        where = {b"stsz": 16, b"trun": 12}.get(kind)  # of the number of frames
        if where is not None and (count := int.from_bytes(head[where : where + 4], "big")) > _MOST_FRAMES * size:
            raise Fault(f"is damaged: a table of its header has {count} frames, and the file {size} bytes")
        if end < start + 8:
            return
        start = end


def _cut(size: int, stated: int) -> Fault:
    return Fault(f"is truncated: it has {size} of {stated} bytes")


def _read_at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _number(content: bytes, order: Literal["little", "big"]) -> int:
    return int.from_bytes(content, order)


_CHECKS: tuple[tuple[bytes, Callable[[BinaryIO, int, bytes], None]], ...] = (
    (b"RIFF", _riff),
    (b"RF64", _rf64),
    (_W64, _w64),
    (b"FORM", _aiff),
    (b".snd", _au),
    (b"caff", _caf),
    (b"ID3", _mp3),
    (b"\xff\xfb", _mp3),
    (b"\xff\xfa", _mp3),
    (b"\xff\xf3", _mp3),
    (b"OggS", _ogg),
    (_EBML, _matroska),
    (b"FLV", _flv),
    (_ASF, _asf),
    (b"\x47", _mpegts),
    (_PACK, _mpegps),
    (b"GIF8", _gif),
)
"""How files of a format begin, and what looks at their sizes."""
