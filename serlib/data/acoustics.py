"""Hand-made acoustic features: what a voice does, in numbers one can name. See notebooks 01 and 02.

A small relative of eGeMAPS (Eyben et al., 2016): pitch, loudness, rhythm and voice quality by Praat, timbre by librosa.
"""

import multiprocessing
import os
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from serlib.data import audio
from serlib.data.corpus import as_corpus
from serlib.data.synth import main_out_of_sight
from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir, key_of

MFCCS = 13
VERSION = 2  # raise it when a feature changes
SHORTEST = 0.06  # seconds; three periods of the lowest pitch that is looked for


def describe(samples: np.ndarray) -> dict[str, float]:
    """Return the features of one clip: pitch, loudness, rhythm, voice quality and timbre (01, 02).

    Parameters
    ----------
    samples
        The clip, mono float32 at 16 kHz, shape (n,).

    Returns
    -------
    dict
        Name -> value. Semitones count from 100 Hz; levels are dB of full scale. A clip without a voiced frame has pitch
        features of 0.

    Raises
    ------
    SerlibError
        For what is no such clip, or one too short for a pitch.

    Examples
    --------
    A tone an octave above 100 Hz:

    >>> import numpy as np
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> features = ser.acoustics.describe(tone.astype(np.float32))
    >>> round(features["pitch_mean"], 1), round(features["level_mean"])
    (12.0, -9)
    """
    import librosa
    import parselmouth
    from parselmouth.praat import call

    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype.kind != "f":
        raise SerlibError(
            f"the samples of a clip are a row of numbers, as ser.read gives them, and this is {samples!r:.60}."
        )
    if len(samples) < SHORTEST * audio.RATE:
        raise SerlibError(f"{len(samples)} samples are too short for a pitch; give {SHORTEST} s at least.")
    sound = parselmouth.Sound(np.asarray(samples, dtype=np.float64), audio.RATE)
    pitch = sound.to_pitch(0.01, 60, 600)
    hertz, strength = pitch.selected_array["frequency"], pitch.selected_array["strength"]
    voiced = hertz > 0
    tones = 12 * np.log2(hertz[voiced] / 100) if voiced.sum() > 4 else np.zeros(5)
    thirds = np.array_split(tones, 3)
    level = 20 * np.log10(librosa.feature.rms(y=samples, frame_length=400, hop_length=160)[0] + 1e-5)
    loud = level > level.max() - 30
    power = np.abs(np.fft.rfft(samples)) ** 2
    # A window of librosa's default length, or of the clip's where that is shorter.
    window = min(2048, len(samples))
    centroid = librosa.feature.spectral_centroid(y=samples, sr=audio.RATE, n_fft=window, hop_length=160)[0]
    split = int(1000 * len(samples) / audio.RATE)
    features = {
        "pitch_mean": tones.mean(),
        "pitch_sd": tones.std(),
        "pitch_p5": np.percentile(tones, 5),
        "pitch_p95": np.percentile(tones, 95),
        "pitch_rise": thirds[2].mean() - thirds[0].mean(),
        "pitch_change": np.abs(np.diff(tones)).mean(),
        "voiced_share": voiced.mean(),
        "level_mean": level[loud].mean(),
        "level_sd": level[loud].std(),
        "level_max": level.max(),
        "seconds_active": loud.sum() * 0.01,
        "pause_share": 1 - loud[loud.argmax() : len(loud) - loud[::-1].argmax()].mean(),
        "bright": 10 * np.log10((power[split:].sum() + 1e-9) / (power[:split].sum() + 1e-9)),
        "centroid": centroid[: len(loud)][loud].mean(),
    }
    pulses = call([sound, pitch], "To PointProcess (cc)")
    features["jitter"] = call(pulses, "Get jitter (local)", 0, 0, 0.0001, 0.02, 1.3)
    features["shimmer"] = call([sound, pulses], "Get shimmer (local)", 0, 0, 0.0001, 0.02, 1.3, 1.6)
    # The strength of a pitch frame is its autocorrelation r, so the harmonics-to-noise ratio (Boersma, 1993) comes with
    # the pitch; Praat's own harmonicity would measure it again, in two thirds of the time of all features together.
    periodic = np.clip(strength[voiced], 1e-3, 1 - 1e-6)
    features["hnr"] = (10 * np.log10(periodic / (1 - periodic))).mean() if voiced.any() else 0.0
    mfcc = librosa.feature.mfcc(y=samples, sr=audio.RATE, n_mfcc=MFCCS, n_fft=400, hop_length=160)
    for k, row in enumerate(mfcc):
        features[f"mfcc{k}_mean"], features[f"mfcc{k}_sd"] = row.mean(), row.std()
    return {name: float(value) if np.isfinite(value) else 0.0 for name, value in features.items()}


def acoustic_features(corpus: pd.DataFrame) -> pd.DataFrame:
    """Return the features of every clip, as ``acoustics.describe`` has them; measured once, then cached (01, 02).

    Parameters
    ----------
    corpus
        Clips whose files are there.

    Returns
    -------
    DataFrame
        A row a clip in the corpus's order, a column a feature.

    Raises
    ------
    SerlibError
        For what is no corpus, unreadable files, and clips too short for a pitch.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(8000) / ser.RATE)
    >>> soundfile.write(f"{folder.name}/tone.wav", tone, ser.RATE)
    >>> corpus = pd.DataFrame({"path": [f"{folder.name}/tone.wav"], "emotion": ["calm"]}, index=["tone"])
    >>> ser.acoustic_features(corpus)["pitch_mean"].round(1).to_dict()  # doctest: +SKIP
    {'tone': 12.0}
    >>> folder.cleanup()
    """
    corpus = as_corpus(corpus)
    sounds = audio.clips(corpus)
    key = key_of({"sound": audio.content_keys(corpus).sort_index().to_dict(), "code": VERSION})
    path = cache_dir() / "acoustics" / f"{key}.csv"
    kept = _measured_before(path)
    if kept is None:
        clips = list(sounds)
        short = [clip for clip in clips if len(sounds[clip]) < SHORTEST * audio.RATE]
        if short:
            raise SerlibError(
                f"{len(short)} clip(s) are shorter than {SHORTEST} s, the first: {short[0]}; their pitch cannot be "
                "measured, so leave them out."
            )
        with main_out_of_sight():
            started = multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 8))
        with started as pool:
            rows = pool.map(_describe, [sounds[clip] for clip in clips], chunksize=30)
        with atomic_path(path) as fresh:
            text = pd.DataFrame(rows, index=pd.Index(clips, name="clip")).to_csv(lineterminator="\n")
            fresh.write_text(f"{text}# {key_of({'text': text})}\n", encoding="utf-8", newline="\n")
        kept = _measured_before(path)
        assert kept is not None  # just written
    return kept.loc[corpus.index]


def _measured_before(path: Path) -> pd.DataFrame | None:
    """Return features that were measured before, None where there are none, or what is there was cut or changed."""
    try:
        text, _, digest = path.read_text(encoding="utf-8").rpartition("# ")
    except (OSError, ValueError):
        return None
    if digest.strip() != key_of({"text": text}):
        return None
    return pd.read_csv(StringIO(text), index_col="clip", dtype={"clip": str})


def _describe(samples: np.ndarray) -> dict[str, float]:
    return describe(np.array(samples))
