"""Sound files in, mono float32 at 16 kHz out: reading, trimming, a cache on disk (notebooks 01 and 02)."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import soundfile
import soxr

from serlib.data import containers
from serlib.errors import SerlibError, demand
from serlib.files import atomic_path, cache_dir, checksum, given_path, key_of, sole_maker

RATE = 16_000
"""Samples a second of everything after reading: what all backbones were pre-trained on."""
SHORTEST = 0.1  # seconds; below 400 samples the convolutions fail, below 10 frames there is nothing to hear
SILENCE_DB = -35  # below the loudest moment of a clip
CODE = 2  # raise it when the same file would give other samples
FRESH = 2_000_000_000  # nanoseconds in which a file may change once more without another time of change


class Header(NamedTuple):
    """What a sound file says about itself: samples per channel, samples a second, channels."""

    frames: int
    rate: int
    channels: int


def header(path: Path | str) -> Header:
    """Return length, rate in Hz and channels of a sound file, without decoding it where its own header says them.

    A file that was written to a pipe has a length too: that of what is there.

    Parameters
    ----------
    path
        A sound file.

    Returns
    -------
    Header
        Samples per channel, Hz, and channels.

    Raises
    ------
    SerlibError
        When the file is missing, empty, not a sound file, or lacks bytes that it promises.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> soundfile.write(f"{folder.name}/stereo.wav", np.zeros((24_000, 2)), 48_000)
    >>> ser.audio.header(f"{folder.name}/stereo.wav")
    Header(frames=24000, rate=48000, channels=2)
    >>> folder.cleanup()
    """
    with _opened(path) as file:
        known = file.frames < containers.UNKNOWN
        found = Header(file.frames if known else len(_decoded(path, file)), file.samplerate, file.channels)
    if found.frames == 0:
        raise SerlibError(f"{path} holds no sound (0 samples); leave it out or record it again.")
    return found


class _Stream(soundfile.SoundFile):
    """A sound file that is read from its beginning to its end, be that known or not."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(path: Path | str) -> Iterator[_Stream]:
    """Open a sound file of which everything is there that it promises, with a header that tells the truth."""
    path = given_path(path)
    if not path.is_file():
        raise SerlibError(f"there is no file {path}; check the path.")
    if not os.access(path, os.R_OK):
        raise SerlibError(f"{path} is not yours to read; ask its owner, or copy it.")
    if path.stat().st_size == 0:
        raise SerlibError(f"{path} is empty (0 bytes); copy or download it again.")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_Stream(path))
            if better := containers.with_a_true_header(path, file.format):
                file = stack.enter_context(_Stream(better))
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: .raw, which has no header
            raise SerlibError(f"{path} is no sound file that can be read; use .wav, .flac, .ogg or .mp3.") from error
        yield file


def _decoded(path: Path | str, file: _Stream) -> np.ndarray:
    """Return all samples of an open file as float32, (frames, channels). SerlibError where fewer come than promised."""
    known = file.frames < containers.UNKNOWN
    pieces = []
    try:
        while len(piece := file.read(file.frames if known else 1 << 20, dtype="float32", always_2d=True)):
            pieces.append(piece)
    except soundfile.LibsndfileError as error:
        raise SerlibError(f"{path} is cut off or damaged and cannot be decoded; copy or download it again.") from error
    samples = np.concatenate([np.empty((0, file.channels), np.float32), *pieces])
    if known and len(samples) < file.frames:
        raise SerlibError(
            f"{path} is cut off after {len(samples):,} of {file.frames:,} samples; copy or download it again."
        )
    return samples


def decode(path: Path | str) -> tuple[np.ndarray, int]:
    """Decode a sound file as it is.

    Parameters
    ----------
    path
        A sound file.

    Returns
    -------
    tuple
        Samples as float32 in [-1, 1], shape (frames, channels), and the rate in Hz.

    Raises
    ------
    SerlibError
        As ``header`` does, for files that are damaged or cut where only decoding shows it, and for NaN.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> soundfile.write(f"{folder.name}/stereo.wav", np.zeros((24_000, 2)), 48_000)
    >>> samples, rate = ser.audio.decode(f"{folder.name}/stereo.wav")
    >>> samples.shape, rate
    ((24000, 2), 48000)
    >>> folder.cleanup()
    """
    with _opened(path) as file:
        samples, rate = _decoded(path, file), file.samplerate
    if not len(samples):
        raise SerlibError(f"{path} holds no sound (0 samples); leave it out or record it again.")
    if not np.isfinite(samples).all():
        raise SerlibError(f"{path} holds values that are no numbers (NaN or infinity); export it again.")
    return samples, rate


def read(path: Path | str) -> np.ndarray:
    """Read a sound file as a model wants it: mono, at 16 kHz, channels averaged (01).

    The paper (section 5.2) resamples to 16 kHz too.

    Parameters
    ----------
    path
        A file that libsndfile reads, such as .wav, .flac, .ogg or .mp3.

    Returns
    -------
    ndarray
        Samples as float32, shape (n,); full scale is 1.

    Raises
    ------
    SerlibError
        When the file is missing, empty, cut off, not a sound file, or holds NaN.

    Examples
    --------
    Half a second of stereo at 48 kHz:

    >>> import tempfile
    >>> import numpy as np, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> soundfile.write(f"{folder.name}/stereo.wav", np.zeros((24_000, 2)), 48_000)
    >>> ser.read(f"{folder.name}/stereo.wav").shape
    (8000,)
    >>> folder.cleanup()
    """
    samples, rate = decode(path)
    mono = samples.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="HQ")


def active_span(samples: np.ndarray, threshold_db: float = SILENCE_DB, rate: int = RATE) -> tuple[int, int]:
    """Return (start, stop) in samples of what lies between the first and the last frame that is not silence.

    A frame (25 ms every 10 ms) is silent when its RMS is ``threshold_db`` or more below the loudest frame: relative,
    because peaks of RAVDESS clips differ by 44 dB. That frame is one of a sound that lasts 0.1 s at least: a click is
    part of a clip, and never stands for it. A constant offset, which real recordings have (156 of the 400 clips of
    URDU), is taken away where it alone would be loud enough to be sound.

    Parameters
    ----------
    samples
        One clip, shape (n,).
    threshold_db
        How far below the loudest frame silence begins, in dB: a negative number.
    rate
        Samples a second, in Hz.

    Returns
    -------
    tuple
        First sample, and the one after the last; (0, 0) for a clip that never changes.

    Examples
    --------
    A tone of half a second between two of silence:

    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> start, stop = ser.audio.active_span(np.pad(tone, 32_000))
    >>> start / ser.RATE, stop / ser.RATE
    (1.98, 2.515)
    """
    hop, width = rate // 100, rate // 40
    if not len(samples) or np.ptp(samples) == 0:
        return 0, 0
    starts = np.arange(0, max(len(samples) - width, 0) + hop, hop)
    starts = starts[starts < len(samples)]
    stops = np.minimum(starts + width, len(samples))
    silent, least = 10 ** (threshold_db / 10), SHORTEST * rate
    power = _power(samples, starts, stops)
    loudest = _loudest(power, starts, stops, silent, least)
    offset = np.median(_sums(samples, starts, stops) / (stops - starts))
    if width * offset**2 > loudest * silent:
        power = _power(samples - offset, starts, stops)
        loudest = _loudest(power, starts, stops, silent, least)
    active = np.flatnonzero(power > loudest * silent)
    return int(starts[active[0]]), int(stops[active[-1]])


def _sums(samples: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the sum of the samples of each frame, (frames,)."""
    sums = np.concatenate([[0.0], np.cumsum(samples, dtype=np.float64)])
    return sums[stops] - sums[starts]


def _power(samples: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the sum of squares of each frame, (frames,)."""
    return _sums(np.square(samples, dtype=np.float64), starts, stops)


def _loudest(power: np.ndarray, starts: np.ndarray, stops: np.ndarray, silent: float, least: float) -> float:
    """Return the power of the loudest frame of a sound that lasts ``least`` samples, of any where none does."""
    left = power.copy()
    while left.any():
        loud = np.flatnonzero(left > left.max() * silent)
        start, stop = starts[loud[0]], stops[loud[-1]]
        if stop - start >= least:
            return left.max()
        left[(stops > start) & (starts < stop)] = 0
    return power.max()


def trim(samples: np.ndarray, threshold_db: float = SILENCE_DB) -> np.ndarray:
    """Cut the silence before and after the voice, as ``active_span`` finds it (01).

    Parameters
    ----------
    samples
        One clip at 16 kHz, shape (n,).
    threshold_db
        How far below the loudest frame silence begins, in dB: a negative number.

    Returns
    -------
    ndarray
        What is left, a view of the samples; a clip of nothing but silence stays as it is.

    Examples
    --------
    A tone of half a second between two seconds of silence on either side:

    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> len(ser.trim(np.pad(tone, 32_000))) / ser.RATE
    0.535
    """
    demand(samples, np.ndarray, "clip", "give its samples, as ser.read does")
    if samples.ndim != 1 or samples.dtype.kind not in "fiu":
        raise SerlibError(f"a clip has numbers of shape (n,), as ser.read gives them; these have {samples.shape}.")
    start, stop = active_span(samples, threshold_db)
    return samples[start:stop] if stop else samples


def heard(path: Path | str, trimmed: bool = False) -> np.ndarray:
    """Return what a model hears of a sound file: ``read``, and ``trim`` if asked.

    Parameters
    ----------
    path
        A sound file.
    trimmed
        Whether ``trim`` cuts the silence around it.

    Returns
    -------
    ndarray
        Samples at 16 kHz as float32, shape (n,).

    Raises
    ------
    SerlibError
        As ``read`` does, and where less than 0.1 s are left, in which no encoder hears anything.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> soundfile.write(f"{folder.name}/tone.wav", np.pad(tone, 32_000), ser.RATE)
    >>> len(ser.audio.heard(f"{folder.name}/tone.wav", trimmed=True)) / ser.RATE
    0.535
    >>> folder.cleanup()
    """
    samples = trim(read(path)) if trimmed else read(path)
    if len(samples) < SHORTEST * RATE:
        raise SerlibError(
            f"{given_path(path).name} has less than {SHORTEST} s of sound; record a little more, or leave it out."
        )
    return samples


class Clips(Mapping[str, np.ndarray]):
    """Clip name -> float32 samples at 16 kHz, shape (n,), read-only, mapped from the cache on disk.

    Like any mapping it has a length, and ``keys``, ``values``, ``items``; ``ser.clips`` makes it, and has an example.
    """

    def __init__(self, index: Path):
        self._index = index
        kept = _read_signed(index)
        samples = index.with_suffix(".npy")
        stat = samples.stat()
        if _digest_once(samples, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) != kept["sha256"]:
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

    def __reduce__(self) -> tuple[type["Clips"], tuple[Path]]:
        # What travels to another process is where the file is and not its 340 MB.
        return Clips, (self._index,)


@lru_cache(maxsize=64)
def _digest_once(path: Path, *stat: int) -> str:
    """Return the digest of a file, computed once a process as long as size and times of change stay."""
    return checksum(path)


def clips(corpus: pd.DataFrame, trim: bool = False) -> Clips:
    """Decode every clip of a corpus once into the cache on disk, and map it from there ever after (02).

    The key is made of the clips' names and their sound, so that a changed file means a new cache, and neither another
    order of the rows nor another place of the files does. Samples that are not what they were are decoded anew.

    Parameters
    ----------
    corpus
        Clips whose files are there.
    trim
        Whether ``trim`` cuts the silence around each.

    Returns
    -------
    Clips
        Samples by the name of the clip.

    Raises
    ------
    SerlibError
        For unreadable files, whose number it tells and the first of which it shows (trimmed, those count that have
        less than 0.1 s of sound), and where the cache cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> soundfile.write(f"{folder.name}/one.wav", np.zeros(22_050), 44_100)
    >>> corpus = pd.DataFrame({"path": [f"{folder.name}/one.wav"], "emotion": ["calm"]}, index=["one"])
    >>> sounds = ser.clips(corpus)
    >>> sounds["one"].shape, sounds["one"].dtype
    ((8000,), dtype('float32'))
    >>> folder.cleanup()
    """
    demand(corpus, pd.DataFrame, "corpus", "give a table of clips, as ser.from_csv makes it")
    if corpus.empty or "path" not in corpus:
        raise SerlibError("the corpus has no clips, or no column path; nothing can be decoded.")
    corpus = corpus.sort_index()
    depends = {"sound": content_keys(corpus).to_dict(), "settings": {"trim": trim, "rate": RATE}, "code": CODE}
    index = cache_dir() / "audio" / f"{key_of(depends)}.json"
    if (kept := _kept_clips(index)) is not None:
        return kept
    with sole_maker(index.parent):
        if (kept := _kept_clips(index)) is None:  # else another program has made it by now
            _make_clips(corpus, partial(heard, trimmed=True) if trim else read, index)
            kept = Clips(index)
    return kept


def _kept_clips(index: Path) -> Clips | None:
    """Return what is in the cache, None where that is nothing or not what it was."""
    try:
        return Clips(index)
    except (ValueError, LookupError, TypeError, AttributeError, EOFError, OSError):
        return None


def _make_clips(corpus: pd.DataFrame, load: Callable[[str], np.ndarray], index: Path) -> None:
    """Write the samples of all clips behind each other, and then the index that says which are whose."""
    entries = []
    with atomic_path(index.with_suffix(".npy")) as target, open(target, "wb") as file:
        _write_header(file, 0)
        end, broken = 0, []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            loaded = pool.map(partial(_or_error, load), corpus["path"])
            for clip, samples in zip(corpus.index, loaded, strict=True):
                if isinstance(samples, SerlibError):
                    broken.append(samples)
                    continue
                file.write(samples.tobytes())
                entries.append((clip, end, end := end + len(samples)))
        _none_broken(broken, len(corpus))
        file.seek(0)
        _write_header(file, end)
    # The index comes last: samples without an index are never read.
    _write_signed(index, {"clips": entries, "sha256": checksum(index.with_suffix(".npy"))})


def content_keys(corpus: pd.DataFrame) -> pd.Series:
    """Return 16 hexadecimal digits for the sound of each clip: equal where the sound is, whatever name or place (02).

    Made of the decoded samples and their rate, so that a FLAC and a WAV of one recording agree. Kept in the cache, with
    size and times of change of each file: a file is decoded again where these differ, or where it is so new that they
    would not tell.

    Parameters
    ----------
    corpus
        Clips whose files are there.

    Returns
    -------
    Series
        A key for each clip, in the order of the corpus.

    Raises
    ------
    SerlibError
        For unreadable files, whose number it tells and the first of which it shows.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> paths = [f"{folder.name}/{name}" for name in ("one.wav", "copy.flac")]
    >>> for path in paths:
    ...     soundfile.write(path, np.zeros(8000), 16_000)
    >>> ser.audio.content_keys(pd.DataFrame({"path": paths}, index=["one", "copy"])).nunique()
    1
    >>> folder.cleanup()
    """
    paths = corpus["path"].map(os.path.abspath)
    notes = cache_dir() / "sounds" / f"{key_of({'folder': _folder_of(paths)})}.json"
    stats = {clip: _stat(clip, path) for clip, path in paths.items()}
    keys = _known_keys(_read_notes(notes), paths, stats)
    if None in keys.values():
        with sole_maker(notes.parent):
            known = _read_notes(notes)
            keys = _known_keys(known, paths, stats)
            missing = [clip for clip, key in keys.items() if key is None]
            now = time.time_ns()
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                found = dict(zip(missing, pool.map(partial(_or_error, _key_of_sound), paths[missing]), strict=True))
            _none_broken([key for key in found.values() if isinstance(key, SerlibError)], len(corpus))
            keys |= found
            _write_signed(notes, known | {paths[clip]: [*stats[clip], now, key] for clip, key in found.items()})
    return pd.Series(keys, index=corpus.index, dtype=object)


def _read_notes(path: Path) -> dict[str, list[Any]]:
    """Return what is known of files that were decoded before: path -> size, times of change, of decoding, key."""
    try:
        return dict(_read_signed(path))
    except (ValueError, LookupError, TypeError, OSError):
        return {}


def _known_keys(
    known: Mapping[str, list[Any]], paths: pd.Series, stats: Mapping[str, tuple[int, int, int]]
) -> dict[str, str | None]:
    """Return the key of each clip whose file is still the same, None for one that has to be decoded."""
    keys: dict[str, str | None] = {}
    for clip, path in paths.items():
        *stat, seen, key = known.get(path, (0, None))
        still = tuple(stat) == stats[clip] and max(stats[clip][1:]) + FRESH < seen
        keys[clip] = key if still else None
    return keys


def _folder_of(paths: Iterable[str]) -> str:
    """Return the folder that holds all files, "" on Windows where they lie on several drives."""
    try:
        return os.path.commonpath([os.path.dirname(path) for path in paths])
    except ValueError:
        return ""


def _stat(clip: str, path: str) -> tuple[int, int, int]:
    """Return size and times of change in nanoseconds: as the file says, which a copy keeps, and as the disk does."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise SerlibError(f"there is no file {path} for clip {clip}; check the path.") from error
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _key_of_sound(path: str) -> str:
    samples, rate = decode(path)
    return hashlib.sha256(f"{rate} {samples.shape} ".encode() + samples.tobytes()).hexdigest()[:16]


def _or_error(load: Callable[[str], Any], path: str) -> Any:
    try:
        return load(path)
    except SerlibError as error:
        return error


def _none_broken(broken: Sequence[SerlibError], count: int) -> None:
    if broken:
        raise SerlibError(f"{len(broken)} of {count} clips cannot be used, the first: {broken[0]}")


def _write_signed(path: Path, value: Any) -> None:
    """Write a value as JSON with the key of its content, by which a changed file is seen."""
    with atomic_path(path) as target:
        target.write_text(json.dumps({"key": key_of({"": value}), "value": value}), encoding="utf-8")


def _read_signed(path: Path) -> Any:
    """Return what ``_write_signed`` wrote. Raises ValueError where that was changed, KeyError and others for others."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["key"] != key_of({"": kept["value"]}):
        raise ValueError(f"{path} is not what it was when it was written")
    return kept["value"]


def _write_header(file: BinaryIO, n_samples: int) -> None:
    """Write the header of a .npy file; numpy pads it for any length, so it can be written again in place."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n_samples,)})
