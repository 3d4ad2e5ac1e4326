"""Sound files in, mono float32 at 16 kHz out: reading, trimming, and a cache on disk (notebooks 01 and 02)."""

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr

from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir

RATE = 16_000
"""Samples a second of everything after reading: what all backbones were pre-trained on."""


def _missing_bytes(path: Path) -> int:
    """Return how many bytes of samples a WAV header promises and the file does not have (0 for other formats).

    libsndfile reads a WAV that was cut off without a word, as if it were a shorter recording.
    """
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0
        while len(chunk := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", chunk)
            if name == b"data":
                # Programs that write to a pipe cannot know the size and leave all bits set.
                return 0 if size == 0xFFFFFFFF else max(0, file.tell() + size - os.fstat(file.fileno()).st_size)
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0


def header(path: Path | str) -> soundfile._SoundFileInfo:
    """Return rate, channels and frames of a sound file without decoding it; SerlibError when it is broken."""
    path = Path(path)
    if not path.is_file():
        raise SerlibError(f"there is no file {path}; check the path.")
    if path.stat().st_size == 0:
        raise SerlibError(f"{path} is empty (0 bytes); copy or download it again.")
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise SerlibError(f"{path} is not a sound file that can be read; use .wav, .flac, .ogg or .mp3.") from error
    if missing := _missing_bytes(path):
        raise SerlibError(f"{path} is cut off: {missing:,} bytes of sound are missing; copy or download it again.")
    if info.frames == 0:
        raise SerlibError(f"{path} holds no sound (0 samples); leave it out or record it again.")
    return info


def decode(path: Path | str) -> tuple[np.ndarray, int]:
    """Decode a sound file as it is: float32 array (frames, channels) in [-1, 1] and its rate in Hz."""
    info = header(path)
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SerlibError(f"{path} is damaged and cannot be decoded; copy or download it again.") from error
    # A streamed FLAC may not know its length (then frames is huge), a cut one knows more than it has.
    if len(samples) < info.frames < 2**62:
        raise SerlibError(
            f"{path} is cut off: {len(samples):,} of {info.frames:,} samples are there; copy or download it again."
        )
    if not np.isfinite(samples).all():
        raise SerlibError(f"{path} holds values that are no numbers (NaN or infinity); export it again.")
    return samples, rate


def read(path: Path | str) -> np.ndarray:
    """Read a sound file as mono float32 samples at 16 kHz, shape (n,), channels averaged (section 4.1 of the paper).

    Raises SerlibError when the file is missing, empty, cut off, not a sound file, or holds NaN.
    """
    samples, rate = decode(path)
    mono = samples.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="HQ")


def active_span(samples: np.ndarray, threshold_db: float = -35, rate: int = RATE) -> tuple[int, int]:
    """Return (start, stop) in samples of the part between the first and the last frame that is not silence.

    A frame (25 ms every 10 ms) is silent when its RMS is more than ``-threshold_db`` below the loudest frame: relative,
    because the loudness of RAVDESS clips differs by 40 dB. A clip that is all zeros has no active part: (0, 0).
    """
    hop, width = rate // 100, rate // 40
    if len(samples) == 0 or not np.any(samples):
        return 0, 0
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    starts = np.arange(0, max(len(samples) - width, 0) + hop, hop)
    stops = np.minimum(starts + width, len(samples))
    starts = np.minimum(starts, stops)
    power = (energy[stops] - energy[starts]) / width
    active = np.flatnonzero(power >= power.max() * 10 ** (threshold_db / 10))
    return int(starts[active[0]]), int(stops[active[-1]])


def trim(samples: np.ndarray, threshold_db: float = -35) -> np.ndarray:
    """Cut the silence before and after the voice, at 16 kHz; a clip of nothing but zeros comes back as it is."""
    start, stop = active_span(samples, threshold_db)
    return samples[start:stop] if stop else samples


class Clips(Mapping[str, np.ndarray]):
    """Clip name -> float32 samples at 16 kHz, shape (n,), mapped from the cache on disk (read-only)."""

    def __init__(self, index: Path):
        self._index = index
        entries = json.loads(index.read_text())["clips"]
        self._spans = {clip: (start, stop) for clip, start, stop in entries}
        self._samples = np.load(index.with_suffix(".npy"), mmap_mode="r")
        if len(self._samples) != max(stop for _, stop in self._spans.values()):
            raise ValueError("index and samples do not belong together")

    def __getitem__(self, clip: str) -> np.ndarray:
        start, stop = self._spans[clip]
        return np.asarray(self._samples[start:stop])

    def __iter__(self) -> Iterator[str]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __reduce__(self):
        # A copy for another process, or a fingerprint, is the address of the file and not its 340 MB.
        return Clips, (self._index,)


def _trimmed(path: str, cut: bool) -> np.ndarray | SerlibError:
    try:
        samples = read(path)
    except SerlibError as error:
        return error
    return trim(samples) if cut else samples


def clips(corpus: pd.DataFrame, trim: bool = False) -> Clips:
    """Decode every clip of a corpus once into the cache, and map it from there ever after.

    The key is made of names, paths, sizes, times of change and ``trim``, so a changed file is decoded again. The order of
    the rows does not matter. Raises SerlibError that counts the unreadable files and shows the first.
    """
    corpus = corpus.sort_index()
    stats = []
    for clip, path in corpus["path"].items():
        try:
            stat = os.stat(path)
        except OSError as error:
            raise SerlibError(f"there is no file {path} for clip {clip}; check the path.") from error
        stats.append((clip, path, stat.st_size, stat.st_mtime_ns))
    key = hashlib.sha256(json.dumps([stats, trim, RATE]).encode()).hexdigest()[:16]
    index = cache_dir() / "audio" / f"{key}.json"
    if index.exists():
        try:
            return Clips(index)
        except (ValueError, OSError, KeyError):
            index.unlink()  # Somebody damaged the cache: make it again.

    with (
        atomic_path(index.with_suffix(".npy")) as target,
        open(target, "wb") as file,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        _write_header(file, 0)
        start, entries, broken = 0, [], []
        for clip, samples in zip(corpus.index, pool.map(partial(_trimmed, cut=trim), corpus["path"]), strict=True):
            if isinstance(samples, SerlibError):
                broken.append(samples)
                continue
            file.write(samples.tobytes())
            entries.append((clip, start, start + len(samples)))
            start += len(samples)
        if broken:
            raise SerlibError(f"{len(broken)} of {len(corpus)} clips cannot be read, the first: {broken[0]}")
        file.seek(0)
        _write_header(file, start)
    # The index is written last: samples without an index are never read.
    with atomic_path(index) as target:
        target.write_text(json.dumps({"rate": RATE, "trim": trim, "clips": entries}))
    return Clips(index)


def _write_header(file, n_samples: int) -> None:
    """Write the .npy header; numpy leaves room in it for the longest length, so it can be written again in place."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (n_samples,)}
    np.lib.format.write_array_header_1_0(file, header)
