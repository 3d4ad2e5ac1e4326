"""Sound files in, mono float32 at 16 kHz out: reading, trimming, a cache on disk (notebooks 01 and 02)."""

import hashlib
import json
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import soundfile
import soxr

from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir, checksum, key_of

RATE = 16_000
"""Samples a second of everything after reading: what all backbones were pre-trained on."""
SHORTEST = 0.1  # seconds; below 400 samples the convolutions fail, below 10 frames there is nothing to hear
CODE = 1  # raise it when the same file would give other samples
FRESH = 2_000_000_000  # nanoseconds in which a file may change once more without another time of change


class Header(NamedTuple):
    """What a sound file says about itself: samples per channel, samples a second, channels."""

    frames: int
    rate: int
    channels: int


def header(path: Path | str) -> Header:
    """Return length, rate in Hz and channels of a sound file without decoding it.

    Raises SerlibError when the file is missing, empty, not a sound file, or a WAV that was cut off.
    """
    path = Path(path)
    if not path.is_file():
        raise SerlibError(f"there is no file {path}; check the path.")
    if path.stat().st_size == 0:
        raise SerlibError(f"{path} is empty (0 bytes); copy or download it again.")
    try:
        with soundfile.SoundFile(path) as file:
            found = Header(file.frames, file.samplerate, file.channels)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: .raw, which has no header
        raise SerlibError(f"{path} is no sound file that can be read; use .wav, .flac, .ogg or .mp3.") from error
    if missing := _missing_bytes(path):
        raise SerlibError(f"{path} is cut off, {missing:,} bytes are missing; copy or download it again.")
    if found.frames == 0:
        raise SerlibError(f"{path} holds no sound (0 samples); leave it out or record it again.")
    return found


def _missing_bytes(path: Path) -> int:
    """Return how many bytes of samples the header of a WAV promises and the file lacks (0 for other formats).

    libsndfile reads a WAV that was cut off without a word, as if it were a shorter recording.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0
        while len(chunk := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", chunk)
            if name == b"data":
                # A program that writes to a pipe cannot know the size, and leaves all bits set.
                there = path.stat().st_size - file.tell()
                return 0 if size == 0xFFFFFFFF else max(0, size - there)
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0


def decode(path: Path | str) -> tuple[np.ndarray, int]:
    """Decode a sound file as it is: float32 samples in [-1, 1], shape (frames, channels), and the rate in Hz.

    Raises SerlibError as ``header`` does, and for damaged or cut files of other formats and for NaN.
    """
    expected = header(path).frames
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SerlibError(f"{path} is damaged and cannot be decoded; copy or download it again.") from error
    if len(samples) < expected:
        raise SerlibError(
            f"{path} is cut off after {len(samples):,} of {expected:,} samples; copy or download it again."
        )
    if not np.isfinite(samples).all():
        raise SerlibError(f"{path} holds values that are no numbers (NaN or infinity); export it again.")
    return samples, rate


def read(path: Path | str) -> np.ndarray:
    """Read a sound file as mono float32 samples at 16 kHz, shape (n,), channels averaged.

    The paper (section 5.2) resamples to 16 kHz too. Raises SerlibError when the file is missing, empty, cut
    off, not a sound file, or holds NaN.
    """
    samples, rate = decode(path)
    mono = samples.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="HQ")


def active_span(samples: np.ndarray, threshold_db: float = -35, rate: int = RATE) -> tuple[int, int]:
    """Return (start, stop) in samples of what lies between the first and the last frame that is not silence.

    A frame (25 ms every 10 ms) is silent when its RMS is ``threshold_db`` or more below the loudest frame:
    relative, because peaks of RAVDESS clips differ by 44 dB. A clip of zeros has no active part: (0, 0).
    """
    hop, width = rate // 100, rate // 40
    if not np.any(samples):
        return 0, 0
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, max(len(samples) - width, 0) + hop, hop)
    starts = starts[starts < len(samples)]
    stops = np.minimum(starts + width, len(samples))
    power = energy[stops] - energy[starts]
    active = np.flatnonzero(power > power.max() * 10 ** (threshold_db / 10))
    return int(starts[active[0]]), int(stops[active[-1]])


def trim(samples: np.ndarray, threshold_db: float = -35) -> np.ndarray:
    """Cut the silence before and after the voice, at 16 kHz; a clip of nothing but zeros stays as it is."""
    start, stop = active_span(samples, threshold_db)
    return samples[start:stop] if stop else samples


class Clips(Mapping[str, np.ndarray]):
    """Clip name -> float32 samples at 16 kHz, shape (n,), read-only, mapped from the cache on disk."""

    def __init__(self, index: Path):
        self._index = index
        kept = json.loads(index.read_text(encoding="utf-8"))
        samples = index.with_suffix(".npy")
        stat = samples.stat()
        if _digest_once(samples, stat.st_size, stat.st_mtime_ns) != kept["sha256"]:
            raise ValueError(f"{samples} is not what it was when {index} was written")
        self._spans = {clip: (start, stop) for clip, start, stop in kept["clips"]}
        self._samples = np.load(samples, mmap_mode="r")

    def __getitem__(self, clip: str) -> np.ndarray:
        start, stop = self._spans[clip]
        return np.asarray(self._samples[start:stop])

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __reduce__(self):
        # What travels to another process is where the file is and not its 340 MB.
        return Clips, (self._index,)


@lru_cache(maxsize=64)
def _digest_once(path: Path, size: int, changed: int) -> str:
    """Return the digest of a file, computed once a process as long as its size and time of change stay."""
    return checksum(path)


def clips(corpus: pd.DataFrame, trim: bool = False) -> Clips:
    """Decode every clip of a corpus once into the cache on disk, and map it from there ever after.

    The key is made of the clips' names and their sound, so that a changed file means a new cache, and neither another
    order of the rows nor another place of the files does. Samples that are not what they were are decoded anew. Raises
    SerlibError that counts the unreadable files and shows the first, or says that the disk is full.
    """
    if corpus.empty:
        raise SerlibError("the corpus has no clips; nothing can be decoded.")
    corpus = corpus.sort_index()
    depends = {"sound": content_keys(corpus).to_dict(), "settings": {"trim": trim, "rate": RATE}, "code": CODE}
    index = cache_dir() / "audio" / f"{key_of(depends)}.json"
    if index.exists():
        try:
            return Clips(index)
        except (ValueError, KeyError, IndexError, TypeError, OSError):
            index.unlink()  # Damaged from outside: make it again.
    entries = []
    with atomic_path(index.with_suffix(".npy")) as target, open(target, "wb") as file:
        _write_header(file, 0)
        end, broken = 0, []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoded = pool.map(partial(_read_or_error, trimmed=trim), corpus["path"])
            for clip, samples in zip(corpus.index, decoded, strict=True):
                if isinstance(samples, SerlibError):
                    broken.append(samples)
                    continue
                file.write(samples.tobytes())
                entries.append((clip, end, end := end + len(samples)))
        _none_broken(broken, len(corpus))
        file.seek(0)
        _write_header(file, end)
    # The index comes last: samples without an index are never read.
    with atomic_path(index) as target:
        kept = {"clips": entries, "sha256": checksum(index.with_suffix(".npy"))}
        target.write_text(json.dumps(kept), encoding="utf-8")
    return Clips(index)


def content_keys(corpus: pd.DataFrame) -> pd.Series:
    """Return 16 hexadecimal digits for the sound of each clip: equal where the sound is, whatever name or place.

    Made of the decoded samples and their rate, so that a FLAC and a WAV of one recording agree. Kept in the cache, with
    size and time of change of each file: a file is decoded again where these differ, or where it is so new that they
    would not tell. Raises SerlibError that counts the unreadable files and shows the first.
    """
    paths = corpus["path"].map(os.path.abspath)
    known = _Known(cache_dir() / "sounds" / f"{key_of({'folder': _folder_of(paths)})}.json")
    stats = {clip: _stat(clip, path) for clip, path in paths.items()}
    keys = {clip: known.key(path, stats[clip]) for clip, path in paths.items()}
    missing = [clip for clip, key in keys.items() if key is None]
    if missing:
        now = time.time_ns()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = dict(zip(missing, pool.map(_sound_or_error, paths[missing]), strict=True))
        _none_broken([key for key in found.values() if isinstance(key, SerlibError)], len(corpus))
        keys |= found
        known.add({paths[clip]: [*stats[clip], now, key] for clip, key in found.items()})
    return pd.Series(keys, index=corpus.index, dtype=object)


class _Known:
    """The keys of files that were decoded before: path -> size, time of change, time of decoding, key."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.files = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            self.files = {}

    def key(self, path: str, stat: tuple[int, int]) -> str | None:
        """Return the key of a file that is still the same, None of one that has to be decoded."""
        match self.files.get(path):
            case [size, changed, seen, str(key)] if (size, changed) == stat and changed + FRESH < seen:
                return key
        return None

    def add(self, files: Mapping[str, list]) -> None:
        with atomic_path(self.path) as target:
            target.write_text(json.dumps(self.files | files), encoding="utf-8")


def _folder_of(paths: Iterable[str]) -> str:
    """Return the folder that holds all files, "" on Windows where they lie on several drives."""
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:
        return ""


def _stat(clip: str, path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except OSError as error:
        raise SerlibError(f"there is no file {path} for clip {clip}; check the path.") from error
    return stat.st_size, stat.st_mtime_ns


def _sound_or_error(path: str) -> str | SerlibError:
    try:
        samples, rate = decode(path)
    except SerlibError as error:
        return error
    return hashlib.sha256(f"{rate} {samples.shape} ".encode() + samples.tobytes()).hexdigest()[:16]


def _none_broken(broken: Sequence[SerlibError], count: int) -> None:
    if broken:
        raise SerlibError(f"{len(broken)} of {count} clips cannot be read, the first: {broken[0]}")


def _read_or_error(path: str, trimmed: bool) -> np.ndarray | SerlibError:
    try:
        return trim(read(path)) if trimmed else read(path)
    except SerlibError as error:
        return error


def _write_header(file: BinaryIO, n_samples: int) -> None:
    """Write the header of a .npy file; numpy pads it for any length, so it can be written again in place."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n_samples,)})
