"""What a sound file says of its own length, held against its bytes (notebook 01).

libsndfile decodes, and believes two things that are not so. A WAV, AIFF or Ogg that was cut off is for it a shorter
recording. And a length that nobody could know, because the file was written to a pipe, is 0 samples of a WAV or RF64,
or a part of an MP3 of variable bitrate. So what a file promises is looked up here, and what is missing there is written
down from what is there.
"""

import io
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from serlib.errors import SerlibError

UNKNOWN = 2_000_000_000
"""Bytes or samples from which on a length is no length: sox writes 0x7ffff000, others 0x7fffffff, 0x80000000, ~0."""
_AGAIN = "copy or download it again."


def with_a_true_header(path: Path, kind: str) -> io.BytesIO | None:
    """Return a sound file whose header libsndfile may believe, or None where the file's own is right.

    ``kind`` is soundfile's name for the format. Raises SerlibError where bytes are missing that the file promises, and
    for a format that keeps no promise by which a cut file could be told from a whole one.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _FORMATS.get(kind, _refuse_kind)(path, data)


def _refuse_kind(path: Path, data: mmap.mmap) -> NoReturn:
    raise SerlibError(
        f"{path} is of a kind of which a whole file and a cut one look alike; save it as .wav, .flac, .ogg or .mp3."
    )


def _chunks(path: Path, data: mmap.mmap) -> io.BytesIO | None:
    """WAV in all its forms (RIFF, RIFX, RF64) and AIFF: a name, a length, that many bytes, and so on.

    Microsoft and IBM 1991, "Multimedia Programming Interface"; EBU Tech 3306 for RF64; Apple 1989, "AIFF".
    """
    order = ">" if data[:4] in (b"RIFX", b"FORM") else "<"
    wanted = b"SSND" if data[:4] == b"FORM" else b"data"
    at, long_length, long_at = 12, None, 0
    while at + 8 <= len(data):
        name, length = struct.unpack_from(order + "4sI", data, at)
        if name == wanted:
            break
        if name == b"ds64" and at + 24 <= len(data):
            long_at, long_length = at, struct.unpack_from("<Q", data, at + 16)[0]
        at += 8 + length + length % 2
    else:
        return None  # libsndfile found the samples all the same: an odd file, whose lengths say nothing
    at += 8
    there = len(data) - at
    if length == 0xFFFFFFFF and long_length is not None:
        length = long_length
    if 0 < length <= there or (length == 0 and _only_chunks(data, at, order)):
        return None
    if 0 < length < UNKNOWN:
        raise SerlibError(f"{path} is cut off, {length - there:,} bytes are missing; {_AGAIN}")
    if wanted == b"SSND" or there >= UNKNOWN:
        return None  # libsndfile takes what is there
    whole = bytearray(data)
    whole[:4] = b"RIFX" if order == ">" else b"RIFF"
    if long_at:
        whole[long_at : long_at + 4] = b"JUNK"
    struct.pack_into(order + "I", whole, 4, len(data) - 8)
    struct.pack_into(order + "I", whole, at - 4, there)
    return io.BytesIO(whole)


def _only_chunks(data: mmap.mmap, at: int, order: str) -> bool:
    """Whether nothing but chunks with names is left: then a length of 0 before them is meant."""
    while at + 8 <= len(data):
        name, length = struct.unpack_from(order + "4sI", data, at)
        if not all(32 <= letter < 127 for letter in name):
            return False
        at += 8 + length + length % 2
    return at in (len(data), len(data) + 1)  # the last may lack the byte that makes its length even


def _au(path: Path, data: mmap.mmap) -> None:
    """AU and SND: where the samples begin, and how many bytes they are, all bits set for unknown (Sun 1992)."""
    start, length = struct.unpack_from(">II" if data[:4] == b".snd" else "<II", data, 4)
    if (missing := length - (len(data) - start)) > 0 and length < UNKNOWN:
        raise SerlibError(f"{path} is cut off, {missing:,} bytes are missing; {_AGAIN}")


def _flac(path: Path, data: mmap.mmap) -> None:
    """FLAC: every frame has a checksum, so the decoder itself says when one is cut or missing."""


def _ogg(path: Path, data: mmap.mmap) -> None:
    """Ogg: pages; the first and the last of a stream are marked (RFC 3533, section 6)."""
    at, begun = 0, False
    running: set[bytes] = set()
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        flags, stream, segments = data[at + 5], data[at + 14 : at + 18], data[at + 26]
        after = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        if after > len(data):
            break
        if flags & 2:
            if begun and not running:
                raise SerlibError(
                    f"{path} holds several recordings one after another, of which only the first would be heard; save "
                    "each in a file of its own."
                )
            running.add(stream)
            begun = True
        if flags & 4:
            running.discard(stream)
        at = after
    if running:
        raise SerlibError(f"{path} is cut off: its last page is not the end of its stream; {_AGAIN}")


# MPEG audio, layer III (ISO/IEC 11172-3 and 13818-3): each frame has a header of 4 bytes from which its length follows.
_MPEG1, _LAYER3 = 3, 1
_KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mp3(path: Path, data: mmap.mmap) -> io.BytesIO | None:
    """MP3: a first frame without sound may say how many follow (Xing's, or Fraunhofer's VBRI); else it is given one."""
    first, count = _count_frames(path, data)
    if not count:
        _refuse_kind(path, data)
    head, length = data[first : first + 4], _frame_length(data, first)
    # Xing's number stands behind what would describe the sound of the frame, Fraunhofer's always in one place.
    mono, mpeg1 = head[3] >> 6 == 3, head[1] >> 3 & 3 == _MPEG1
    place = 4 + {(True, True): 17, (True, False): 9, (False, True): 32, (False, False): 17}[mono, mpeg1]
    tag, xing, promised = data[first : first + length], b"", 0
    if tag[place : place + 4] in (b"Xing", b"Info"):
        xing = tag
        promised = struct.unpack_from(">I", tag, place + 8)[0] if tag[place + 7] & 1 else 0
    elif tag[36:40] == b"VBRI":
        xing = tag
        promised = struct.unpack_from(">I", tag, 50)[0]
    count -= bool(xing)
    if promised == count:
        return None
    if promised > count:
        raise SerlibError(f"{path} is cut off, {promised - count} of its {promised} frames are missing; {_AGAIN}")
    own = bytearray([0xFF, head[1] | 1, 0x50 | head[2] & 0x0C, head[3]])  # no checksum, 64 or 40 kbit/s
    own += bytes(_frame_length(own, 0) - len(own))
    own[place : place + 12] = b"Xing" + struct.pack(">II", 1, count)
    # libsndfile cannot tell an MP3 in memory from other bytes unless it begins with a tag, be it an empty one.
    empty_tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    return io.BytesIO(empty_tag + own + data[first + len(xing) :])


def _count_frames(path: Path, data: mmap.mmap) -> tuple[int, int]:
    """Return where the first frame of an MP3 is, and how many there are. SerlibError where the last one is cut."""
    at, first, count, in_step = _after_tags(data, 0), 0, 0, False
    like = b""
    while 0 <= at < len(data):
        length = _frame_length(data, at, like)
        cut_head = len(data) - at < 4 and like.startswith(data[at : at + 2])
        if in_step and (cut_head or at + length > len(data)):
            raise SerlibError(f"{path} is cut off in the middle of a frame; {_AGAIN}")
        # Two heads in a row make a frame: one alone may be chance.
        if length and (in_step or at + length == len(data) or _frame_length(data, at + length, data[at : at + 4])):
            if not count:
                first, like = at, data[at : at + 4]
            at, count, in_step = at + length, count + 1, True
        elif data[at : at + 3] == b"ID3":
            at, in_step = _after_tags(data, at), False
        else:
            at, in_step = data.find(b"\xff", at + 1), False
    return first, count


def _after_tags(data: mmap.mmap, at: int) -> int:
    """Return where the ID3v2 tags end that begin at ``at`` (their lengths have 7 bits a byte)."""
    while data[at : at + 3] == b"ID3" and at + 10 <= len(data):
        length = sum((byte & 0x7F) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=True))
        at += 10 + length + (10 if data[at + 5] & 0x10 else 0)
    return at


def _frame_length(data: mmap.mmap | bytearray, at: int, like: bytes = b"") -> int:
    """Return the length in bytes of the frame at ``at``, 0 where there is none of the same kind as ``like``."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    if like and (head[1] & 0xFE, head[2] & 0x0C) != (like[1] & 0xFE, like[2] & 0x0C):
        return 0
    version, rate = head[1] >> 3 & 3, head[2] >> 2 & 3
    if version not in _RATES or head[1] >> 1 & 3 != _LAYER3 or rate == 3:
        return 0
    kbits = _KBITS[version == _MPEG1][head[2] >> 4]
    return kbits and (144_000 if version == _MPEG1 else 72_000) * kbits // _RATES[version][rate] + (head[2] >> 1 & 1)


_FORMATS: dict[str, Callable[[Path, mmap.mmap], io.BytesIO | None]] = {
    "WAV": _chunks,
    "WAVEX": _chunks,
    "RF64": _chunks,
    "AIFF": _chunks,
    "AU": _au,
    "FLAC": _flac,
    "OGG": _ogg,
    "MP3": _mp3,
}
