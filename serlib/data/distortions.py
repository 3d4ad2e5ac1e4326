"""What lies between a voice and a microphone, in units (14).

Every function takes one clip, mono float32 at 16 kHz of shape (n,), and returns one. What is drawn at random follows
from ``random_state`` and from the clip itself: the same clip gets the same noise again, another clip another one.
"""

import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr
from scipy.signal import butter, fftconvolve, sosfiltfilt

from serlib.data import audio
from serlib.data.splits import Split
from serlib.errors import SerlibError, demand, in_short, is_number, nearest
from serlib.files import given_path

KINDS = ("white", "babble")
TALKERS = 6  # voices of babble: enough that none is understood, few enough that they sound like people
BAND = (300, 3400)  # Hz: what a telephone line lets through (ITU-T G.712)
LINE = 8000  # Hz: samples a second of a digital telephone line (ITU-T G.711)
ROOM = (6.0, 4.7, 2.9)  # m: length, width and height of a living room or a small class room
WALL = 0.5  # m that speaker and microphone keep from every wall
REVERBERATIONS = (0.2, 1.0)  # s that such a room can have
DISTANCES = (0.3, 4.0)  # m that fit between its walls
OPUS = (6, 256)  # kbit/s that an Opus stream of one channel may have


def distort(clips: pd.DataFrame, distortion: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a distortion makes of every clip of a table, for ``ser.hear`` (14).

    Parameters
    ----------
    clips
        Rows of a corpus, whose files are there.
    distortion
        A function that takes a clip, mono float32 at 16 kHz of shape (n,), and returns one: those of this module with
        their settings filled in, or any of your own.

    Returns
    -------
    dict
        Name of the clip -> samples, in the order of the rows.

    Raises
    ------
    SerlibError
        For files that cannot be read, and as the distortion does; it names the clip.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> soundfile.write(f"{folder.name}/one.wav", np.zeros(16_000), ser.RATE)
    >>> clips = pd.DataFrame({"path": [f"{folder.name}/one.wav"], "emotion": ["calm"]}, index=["one"])
    >>> ser.distort(clips, lambda samples: samples[::2])["one"].shape
    (8000,)
    >>> ser.distort(clips, lambda samples: ser.distortions.add_noise(samples, 10))
    Traceback (most recent call last):
    serlib.errors.SerlibError: Clip one: This clip is silent, so noise has no ratio to its voice; leave the clip out.
    >>> folder.cleanup()
    """
    if not callable(distortion):
        raise SerlibError(f"a distortion is a function of one clip, and this is {in_short(distortion)}.")
    sounds, heard = audio.clips(clips), {}
    for name in clips.index:
        try:
            heard[name] = _clip_of(distortion(np.array(sounds[name])))
        except SerlibError as error:
            raise SerlibError(f"Clip {name}: {error}") from error
    return heard


def everyday(voices: Sequence[np.ndarray]) -> dict[str, dict[str, Callable[[np.ndarray], np.ndarray]]]:
    """Return the distortions that notebook 14 measures, the mildest of a family first.

    Parameters
    ----------
    voices
        Of whom babble is made: clips at 16 kHz.

    Returns
    -------
    dict
        Family -> setting -> a function of one clip.

    Examples
    --------
    >>> {family: list(settings) for family, settings in ser.distortions.everyday([]).items()}["room"]
    ['0.2 s, 0.5 m', '0.4 s, 2 m', '0.8 s, 3 m']
    """
    ratios, rooms = (20, 10, 0), ((0.2, 0.5), (0.4, 2), (0.8, 3))
    return {
        "white noise": {f"{ratio} dB": partial(add_noise, snr_db=ratio) for ratio in ratios},
        "babble": {f"{ratio} dB": partial(add_noise, snr_db=ratio, kind="babble", voices=voices) for ratio in ratios},
        "room": {f"{rt60} s, {far} m": partial(in_room, rt60=rt60, distance=far) for rt60, far in rooms},
        "line": {
            "Opus, 16 kbit/s": partial(opus, kbit_s=16),
            "Opus, 8 kbit/s": partial(opus, kbit_s=8),
            "telephone": telephone,
        },
        "recorder": {
            "12 dB softer": partial(level, db=-12),
            "tanh, 20 dB over": partial(tanh, over_db=20),
            "clipped, 20 dB over": partial(clip, over_db=20),
        },
        "speed": {"0.9": partial(speed, factor=0.9), "1.1": partial(speed, factor=1.1)},
    }


def with_copies(
    split: Split, distortions: Mapping[str, Callable[[np.ndarray], np.ndarray]], folder: Path | str
) -> Split:
    """Return a split whose training clips are joined by distorted copies of themselves (14).

    Validation and test stay as they were, so nothing of them is learned.

    A distorted copy is a clip of the split, with a name and a file, and no setting of a ``ser.Recipe``: so it can be
    listened to, a run knows its sound by content, and the frozen convolutions hear it once. Copies drawn anew in each
    epoch would have to go through them in every step. SpecAugment hides frames of what comes out of them, so it can be
    drawn in each step, and is the recipe's ``masking``.

    Parameters
    ----------
    split
        Whose training part is copied.
    distortions
        A name, which the copies get, and a function of one clip, for each set of copies.
    folder
        Where the copies are written, as WAV files in a folder for each name.

    Returns
    -------
    Split
        Named after the split and the distortions.

    Raises
    ------
    SerlibError
        As ``ser.distort`` does, and for a folder that cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> soundfile.write(f"{folder.name}/one.wav", np.ones(16_000), ser.RATE)
    >>> clips = pd.DataFrame({"path": [f"{folder.name}/one.wav"], "emotion": ["calm"]}, index=["one"])
    >>> softer = {"softer": lambda samples: ser.distortions.level(samples, -12)}
    >>> both = ser.with_copies(ser.splits.Split("mine", clips, clips[:0], clips[:0]), softer, folder.name)
    >>> both.name, both.train.index.to_list()
    ('mine-softer', ['one', 'softer-one'])
    >>> folder.cleanup()
    """
    demand(split, Split, "split", "make one with ser.stratified_split")
    demand(distortions, Mapping, "table of distortions", "give a name and a function for each")
    folder = given_path(folder)
    copies = [_copies(split.train, distort(split.train, how), folder / name) for name, how in distortions.items()]
    train = pd.concat([split.train, *copies])
    train.attrs = dict(split.train.attrs)  # which pandas drops
    return Split("-".join([split.name, *distortions]), train, split.validation, split.test)


def _copies(clips: pd.DataFrame, sounds: Mapping[str, np.ndarray], folder: Path) -> pd.DataFrame:
    """Write sounds as files, and return the rows of the clips with these paths and with the folder in their names."""
    names = [f"{folder.name}-{name}" for name in clips.index]
    paths = [str(folder / f"{name}.wav") for name in names]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for samples, path in zip(sounds.values(), paths, strict=True):
            soundfile.write(path, samples, audio.RATE, subtype="FLOAT")
    except (OSError, soundfile.SoundFileError) as error:
        raise SerlibError(f"The copies cannot be written to {folder} ({error}); give another folder.") from error
    seconds = [len(samples) / audio.RATE for samples in sounds.values()]
    return clips.assign(path=paths, seconds=seconds).set_axis(pd.Index(names, name=clips.index.name))


def add_noise(
    samples: np.ndarray,
    snr_db: float,
    kind: str = "white",
    voices: Sequence[np.ndarray] = (),
    random_state: int = 0,
) -> np.ndarray:
    """Return a clip with noise over all of its length (14).

    The signal-to-noise ratio is the mean power of the clip where the voice is, from the first sound to the last
    (``audio.active_span``), over the mean power of the noise: silence before and after a voice says nothing of it.

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).
    snr_db
        The ratio in dB: 20 is a quiet room, at 0 the noise is as strong as the voice.
    kind
        "white", equally strong at all frequencies, or "babble", several people who talk at once.
    voices
        For babble: the clips of those people, at 16 kHz. Six of them are drawn, made equally loud, and repeated.
    random_state
        A whole number; another one draws other noise.

    Returns
    -------
    ndarray
        float32 of shape (n,).

    Raises
    ------
    SerlibError
        For a clip of silence, which no noise has a ratio to, an unknown kind, babble without voices, and a ratio that
        is no number.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / ser.RATE).astype(np.float32)
    >>> noisy = ser.distortions.add_noise(tone, snr_db=10)
    >>> round(10 * np.log10(np.mean(tone**2) / np.mean((noisy - tone) ** 2)), 1).item()
    10.0
    """
    samples, snr_db = _clip_of(samples), _number(snr_db, "signal-to-noise ratio", "dB", -60, 100)
    if kind not in KINDS:
        raise SerlibError(f"There is no noise called {in_short(kind)}: {nearest(str(kind), KINDS)}")
    start, stop = audio.active_span(samples)
    if start == stop:
        raise SerlibError("This clip is silent, so noise has no ratio to its voice; leave the clip out.")
    random = _random_of(samples, random_state)
    noise = random.standard_normal(len(samples)) if kind == "white" else _babble(voices, len(samples), random)
    noise = noise * np.sqrt(_power(samples[start:stop]) / _power(noise) / 10 ** (snr_db / 10))
    return (samples + noise).astype(np.float32)


def _babble(voices: Sequence[np.ndarray], length: int, random: np.random.Generator) -> np.ndarray:
    """Return people who talk at once, shape (length,): each without pauses at the ends, equally loud, from a point."""
    heard = [audio.trim(_clip_of(voice)) for voice in voices]
    heard = [voice for voice in heard if _power(voice)]
    if not heard:
        raise SerlibError("Babble is made of voices, and none that says a thing was given; give clips of other people.")
    chosen = random.choice(len(heard), min(TALKERS, len(heard)), replace=False)
    mixed = np.zeros(length)
    for voice in (heard[k] / np.sqrt(_power(heard[k])) for k in chosen):
        mixed += np.resize(np.roll(voice, random.integers(len(voice))), length)
    return mixed


def room_response(rt60: float, distance: float, random_state: int = 0) -> np.ndarray:
    """Return what a microphone in a room hears of one clap: the direct sound first, then its echoes (14).

    The room has four walls, floor and ceiling, about 6 x 4.7 x 2.9 m; sizes, place of speaker and microphone follow
    from ``random_state``. The echoes are those of an image source model, and the walls absorb as much as it takes for
    the reverberation time, which is measured on the response and not taken from a formula.

    Parameters
    ----------
    rt60
        Reverberation time in s: until the echoes are 60 dB weaker. A living room has 0.4, a bare class room 0.8.
    distance
        From mouth to microphone, in m.
    random_state
        A whole number; another one is another room.

    Returns
    -------
    ndarray
        float32 at 16 kHz, shape (m,), as long as the reverberation time; the direct sound, after 1 ms, has 1.

    Raises
    ------
    SerlibError
        For a time that no such room has, for a distance that does not fit into it, and without pyroomacoustics.

    References
    ----------
    Allen and Berkley (1979, doi 10.1121/1.382599), by pyroomacoustics (Scheibler et al. 2018, doi
    10.1109/ICASSP.2018.8461310).

    Examples
    --------
    >>> echoes = ser.distortions.room_response(rt60=0.3, distance=2)
    >>> len(echoes) / ser.RATE, round(float(echoes[:40].max()), 1)
    (0.3, 1.0)
    """
    rt60 = _number(rt60, "reverberation time", "s", *REVERBERATIONS)
    distance = _number(distance, "distance", "m", *DISTANCES)
    _demand_state(random_state)
    response = _response_of(rt60, distance, int(random_state))
    return response.copy()


@lru_cache(maxsize=64)
def _response_of(rt60: float, distance: float, random_state: int) -> np.ndarray:
    """Return the response of one room, kept for the next clip that is heard in it."""
    try:
        import pyroomacoustics as pra
    except ImportError as error:
        raise SerlibError(
            "Rooms are computed by pyroomacoustics, which is not installed here; pip install pyroomacoustics."
        ) from error
    random = np.random.default_rng([random_state, round(1000 * distance)])
    size = np.array(ROOM) * random.uniform(0.95, 1.05, 3)
    mouth, microphone = _places(size, distance, random)
    direct = round(distance / pra.constants.get("c") * audio.RATE) + pra.constants.get("frac_delay_length") // 2
    # As many reflections as it takes for an echo to come so late along the shortest way through the room.
    needed = pra.constants.get("c") * rt60 / size.min()

    def response_of(wish: float, reflections: float) -> np.ndarray:
        walls = pra.Material(pra.inverse_sabine(wish, size)[0])
        room = pra.ShoeBox(size, fs=audio.RATE, materials=walls, max_order=int(np.ceil(reflections)))
        room.add_source(mouth)
        room.add_microphone(microphone)
        room.compute_rir()
        return room.rir[0][0]

    wish = rt60  # Sabine's formula is off by up to a third: the walls change until what is measured is what was asked
    for _ in range(8):
        echoes = response_of(wish, 0.6 * needed)[direct + 40 :]  # the first 25 dB end long before 0.6 of 60 dB
        measured = pra.experimental.measure_rt60(echoes, fs=audio.RATE, decay_db=20)
        if abs(measured / rt60 - 1) < 0.03:
            break
        wish *= rt60 / measured
    response = response_of(wish, needed)[direct - 16 :][: round(rt60 * audio.RATE)]
    return (response / np.abs(response[:33]).max()).astype(np.float32)


def _places(size: np.ndarray, distance: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return where mouth and microphone are, (3,) in m, at the height of people who sit."""
    while True:
        mouth = np.array([*random.uniform(WALL, size[:2] - WALL), random.uniform(1.1, 1.6)])
        angle = random.uniform(0, 2 * np.pi)
        microphone = mouth + distance * np.array([np.cos(angle), np.sin(angle), 0.0])
        if (microphone[:2] > WALL).all() and (microphone[:2] < size[:2] - WALL).all():
            return mouth, microphone


def in_room(samples: np.ndarray, rt60: float, distance: float, random_state: int = 0) -> np.ndarray:
    """Return a clip as a microphone in a room hears it (14).

    The level stays as it was, as a recorder's automatic gain would have it: a far microphone hears more of the room,
    and not less of all.

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).
    rt60
        Reverberation time in s.
    distance
        From mouth to microphone, in m.
    random_state
        A whole number; another one is another room. All clips of one number are heard in the same room.

    Returns
    -------
    ndarray
        float32 of shape (n + m - 1,): the clip goes on until its last echo, m samples later.

    Raises
    ------
    SerlibError
        As ``room_response``, and for echoes that last longer than the clip.

    Examples
    --------
    >>> import numpy as np
    >>> tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / ser.RATE).astype(np.float32)
    >>> len(ser.distortions.in_room(tone, rt60=0.3, distance=2))
    20799
    """
    samples = _clip_of(samples)
    response = room_response(rt60, distance, random_state)
    if len(response) > len(samples):
        raise SerlibError(
            f"The echoes of this room last {len(response) / audio.RATE:.2f} s, and the clip "
            f"{len(samples) / audio.RATE:.2f} s; give a longer clip, or a room of a shorter reverberation time."
        )
    heard = fftconvolve(samples.astype(np.float64), response.astype(np.float64))
    energy = np.sum(heard**2)
    return (heard * np.sqrt(np.sum(np.square(samples, dtype=np.float64)) / energy if energy else 1)).astype(np.float32)


def telephone(samples: np.ndarray) -> np.ndarray:
    """Return a clip as a telephone line carries it: 300 to 3,400 Hz, then 8 bits a sample by the mu-law (14).

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).

    Returns
    -------
    ndarray
        float32 at 16 kHz again, shape (n,).

    Raises
    ------
    SerlibError
        For what is no clip.

    References
    ----------
    ITU-T G.712 for the band, G.711 for the mu-law, here by libsndfile.

    Examples
    --------
    >>> import numpy as np
    >>> hum = 0.5 * np.sin(2 * np.pi * 100 * np.arange(16_000) / ser.RATE).astype(np.float32)
    >>> float(np.abs(ser.distortions.telephone(hum)).max()) < 0.05
    True
    """
    samples = _clip_of(samples)
    narrow = soxr.resample(samples, audio.RATE, LINE)
    edges = butter(6, BAND, "bandpass", fs=LINE, output="sos")
    narrow = sosfiltfilt(edges, narrow, padlen=min(3 * 13, len(narrow) - 1))
    line = io.BytesIO()
    soundfile.write(line, np.clip(narrow, -1, 1), LINE, format="WAV", subtype="ULAW")
    heard, _ = soundfile.read(io.BytesIO(line.getvalue()), dtype="float32")
    return _as_long(soxr.resample(heard, LINE, audio.RATE), len(samples))


def opus_file(samples: np.ndarray, kbit_s: float) -> bytes:
    """Return a clip as an Ogg file of Opus, the codec of calls over the internet (14).

    Its rate is variable: silence takes less than what was asked for, and the file brings a thousand bytes of its own.
    What a clip really took is the length of what comes back.

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).
    kbit_s
        The rate that is asked for, in 1,000 bits a second.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    SerlibError
        For a rate that Opus does not have.

    References
    ----------
    RFC 6716; libsndfile turns a compression level into a rate, of which this is the inverse.

    Examples
    --------
    >>> import numpy as np
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    >>> 12 < len(ser.distortions.opus_file(noise, 16)) * 8 / 2 / 1000 < 20
    True
    """
    samples, kbit_s = _clip_of(samples), _number(kbit_s, "rate of Opus", "kbit/s", *OPUS)
    file, level = io.BytesIO(), 1 - (kbit_s - OPUS[0]) / (OPUS[1] - OPUS[0])
    soundfile.write(file, np.clip(samples, -1, 1), audio.RATE, format="OGG", subtype="OPUS", compression_level=level)
    return file.getvalue()


def opus(samples: np.ndarray, kbit_s: float) -> np.ndarray:
    """Return a clip after Opus, the codec of calls over the internet (14).

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).
    kbit_s
        The rate that is asked for, in 1,000 bits a second; ``opus_file`` has what it really took.

    Returns
    -------
    ndarray
        float32 of shape (n,).

    Raises
    ------
    SerlibError
        For a rate that Opus does not have.

    Examples
    --------
    >>> import numpy as np
    >>> tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(16_000) / ser.RATE).astype(np.float32)
    >>> ser.distortions.opus(tone, 16).shape
    (16000,)
    """
    heard, rate = soundfile.read(io.BytesIO(opus_file(samples, kbit_s)), dtype="float32")
    return _as_long(soxr.resample(heard, rate, audio.RATE), len(samples))


def clip(samples: np.ndarray, over_db: float) -> np.ndarray:
    """Return a clip whose peaks a microphone has cut off (14).

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).
    over_db
        By how much its loudest sample is above what the microphone can take, in dB.

    Returns
    -------
    ndarray
        float32 of shape (n,), at the clip's own level.

    Raises
    ------
    SerlibError
        For what is no clip, and no number of dB from 0 up.

    Examples
    --------
    >>> import numpy as np
    >>> ser.distortions.clip(np.array([0.1, -0.8], dtype=np.float32), over_db=6.02).round(2).tolist()
    [0.10000000149011612, -0.4000000059604645]
    """
    samples, most = _limit_of(samples, over_db)
    return np.clip(samples, -most, most).astype(np.float32)


def tanh(samples: np.ndarray, over_db: float) -> np.ndarray:
    """Return a clip through an amplifier that gives way softly, as the hyperbolic tangent does (14).

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).
    over_db
        By how much its loudest sample is above what the amplifier can give, in dB.

    Returns
    -------
    ndarray
        float32 of shape (n,), at about the clip's own level.

    Raises
    ------
    SerlibError
        For what is no clip, and no number of dB from 0 up.

    Examples
    --------
    >>> import numpy as np
    >>> ser.distortions.tanh(np.array([0.1, -0.8], dtype=np.float32), over_db=6.02).round(2).tolist()
    [0.10000000149011612, -0.38999998569488525]
    """
    samples, most = _limit_of(samples, over_db)
    return (most * np.tanh(samples / most)).astype(np.float32) if most else samples


def _limit_of(samples: np.ndarray, over_db: float) -> tuple[np.ndarray, float]:
    """Return the clip, and the largest sample that is let through."""
    samples = _clip_of(samples)
    return samples, float(np.abs(samples).max()) * 10 ** (-_number(over_db, "overload", "dB", 0, 60) / 20)


def level(samples: np.ndarray, db: float) -> np.ndarray:
    """Return a clip louder or softer, and else the same (14).

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).
    db
        By how much, in dB: below 0 is softer. Samples beyond full scale stay as they are, for they are numbers.

    Returns
    -------
    ndarray
        float32 of shape (n,).

    Raises
    ------
    SerlibError
        For what is no clip, and no number of dB.

    Examples
    --------
    >>> import numpy as np
    >>> ser.distortions.level(np.ones(2, dtype=np.float32), db=-20).round(2).tolist()
    [0.10000000149011612, 0.10000000149011612]
    """
    return (_clip_of(samples) * 10 ** (_number(db, "change of level", "dB", -100, 100) / 20)).astype(np.float32)


def speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Return a clip as a tape plays it that runs at another speed: faster is shorter and higher (14).

    Parameters
    ----------
    samples
        The clip at 16 kHz, shape (n,).
    factor
        1.1 is a tenth faster.

    Returns
    -------
    ndarray
        float32 of about n / factor samples.

    Raises
    ------
    SerlibError
        For what is no clip, and for a factor that is not between 0.25 and 4.

    Examples
    --------
    >>> import numpy as np
    >>> len(ser.distortions.speed(np.zeros(16_000, dtype=np.float32), 1.25))
    12800
    """
    factor = _number(factor, "speed", "times the normal one", 0.25, 4)
    return soxr.resample(_clip_of(samples), audio.RATE, audio.RATE / factor).astype(np.float32)


def _as_long(samples: np.ndarray, length: int) -> np.ndarray:
    """Return just so many samples: what resampling rounded away is silence."""
    return np.pad(samples[:length], (0, max(length - len(samples), 0))).astype(np.float32)


def _power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _random_of(samples: np.ndarray, random_state: int) -> np.random.Generator:
    """Return a source of random numbers that knows the clip, so that no two clips share their noise."""
    _demand_state(random_state)
    return np.random.default_rng([random_state, zlib.crc32(np.ascontiguousarray(samples).tobytes())])


def _demand_state(random_state: int) -> None:
    if not isinstance(random_state, int | np.integer) or isinstance(random_state, bool) or random_state < 0:
        raise SerlibError(f"random_state is a whole number from 0 up, and this is {in_short(random_state)}.")


def _clip_of(samples: np.ndarray) -> np.ndarray:
    """Return a clip as float32, shape (n,). SerlibError for what is none."""
    demand(samples, np.ndarray, "clip", "give its samples, as ser.read does")
    if samples.ndim != 1 or samples.dtype.kind != "f" or not len(samples) or not np.isfinite(samples).all():
        raise SerlibError(
            f"a clip is a row of finite numbers, as ser.read gives them; this has the shape {samples.shape} of "
            f"{samples.dtype}."
        )
    return samples.astype(np.float32, copy=False)


def _number(given: float, what: str, unit: str, least: float, most: float) -> float:
    """Return a number within bounds. SerlibError that says what it should be, for anything else."""
    if not is_number(given) or not least <= given <= most:
        raise SerlibError(f"The {what} is {in_short(given)}, and it can be {least:g} to {most:g} {unit}.")
    return float(given)
