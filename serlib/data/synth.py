"""How the embedded corpus ``mini`` is spoken: 24 synthetic actors, eight emotions, Praat's voices. See notebook 00.

Praat's SpeechSynthesizer (espeak-ng) says each of RAVDESS's two statements in a voice of the actor's; PSOLA gives the
sentence a new melody and tempo (Moulines and Charpentier, 1990), and a few lines of numpy its loudness, brightness,
breath and room. Nothing is recorded and nobody acts: the emotions are the *rules* in ``PROSODY``, which put into
numbers the directions that listening studies agree on. What a model learns from them is not human emotion.

Where the directions come from (one column of the table each):

===========  =====================================================================================
pitch        mean F0: high in fear, joy, anger and surprise, low in sadness [BS96, JL03, S03]
range        F0 variability: wide in joy, anger, surprise, narrow in sadness and calm [BS96, JL03]
slope        F0 contour: rising in joy and surprise, falling in anger and sadness [JL03, BuS00]
final        last syllables: steep rise in surprise, drop in disgust and anger [MA93, BuS00]
rate         fast in anger, fear and joy, slow in sadness and disgust [MA93, JL03]
level        loud in anger and joy, soft in sadness [BS96, JL03]
tilt         energy above 1 kHz: much in anger and joy, little in sadness and calm [BS96, JL03]
breath       breathy in sadness and calm, tense elsewhere [MA93, BuS00]
tremor       trembling F0 in fear, some in sadness [BuS00, JL03]
jitter       irregular cycles: rough in anger, creaky in disgust [JL03, BuS00]
pause        halting in sadness, fear and disgust [MA93, JL03]
===========  =====================================================================================

BS96 Banse and Scherer (1996); BuS00 Burkhardt and Sendlmeier (2000); JL03 Juslin and Laukka (2003); MA93 Murray and
Arnott (1993); S03 Scherer (2003). All are in the book's bibliography.
"""

import hashlib
import json
import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from functools import lru_cache, partial
from multiprocessing import spawn
from pathlib import Path
from threading import Lock, get_ident
from time import time_ns
from typing import Any, TypeVar

import numpy as np
import soundfile as sf

from serlib.data.audio import FRESH
from serlib.errors import SerlibError
from serlib.files import atomic_path, cache_dir, key_of, sole_maker

RATE = 16_000
VERSION = 2  # raise it whenever a clip would sound different
SEED = 1  # of voices and takes, which outlived the first version
# The digest of the whole corpus where the book's results were made: Linux, whose C library draws numbers of its own.
SPOKEN = "c2379b53bc771f11b0322e7a38ce9938cca95ffd4b39cbd3689aa07a49d58fe1"


@dataclass(frozen=True)
class Prosody:
    """How a sentence is said, relative to the same actor's neutral way of saying it.

    Attributes
    ----------
    pitch, slope, final
        Semitones; the slope is per utterance.
    range, rate
        Ratios.
    level, tilt
        dB.
    breath, pause
        From 0 to 1.
    tremor, jitter
        Semitones.

    Examples
    --------
    >>> ser.PROSODY["angry"].level, ser.PROSODY["sad"].level
    (6.0, -5.0)
    """

    pitch: float = 0.0
    range: float = 1.0
    slope: float = 0.0
    final: float = 0.0
    rate: float = 1.0
    level: float = 0.0
    tilt: float = 0.0
    breath: float = 0.05
    tremor: float = 0.0
    jitter: float = 0.1
    pause: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Prosody":
        """Draw any way of saying a sentence, tied to no emotion: what pre-training hears.

        Parameters
        ----------
        rng
            Draws it; it is moved on.

        Examples
        --------
        >>> import numpy as np
        >>> drawn = ser.synth.Prosody.draw(np.random.default_rng(1))
        >>> -4 <= drawn.pitch <= 7
        True
        """
        return cls(
            pitch=rng.uniform(-4, 7),
            range=rng.uniform(0.4, 2.3),
            slope=rng.uniform(-3.5, 3.5),
            final=rng.uniform(-4, 7) * (rng.random() < 0.5),
            rate=rng.uniform(0.68, 1.35),
            level=rng.uniform(-8, 9),
            tilt=rng.uniform(-7, 8),
            breath=rng.uniform(0, 0.6),
            tremor=rng.uniform(0, 1) * (rng.random() < 0.5),
            jitter=rng.uniform(0, 0.9),
            pause=rng.uniform(0, 0.6),
        )


PROSODY = {
    "neutral": Prosody(),
    "calm": Prosody(pitch=-1.0, range=0.75, slope=-0.5, rate=0.88, level=-3.0, tilt=-3.5, breath=0.2),
    "happy": Prosody(pitch=3.5, range=1.6, slope=1.5, final=0.5, rate=1.08, level=3.0, tilt=2.5),
    "sad": Prosody(
        pitch=-1.5, range=0.6, slope=-2.0, rate=0.8, level=-5.0, tilt=-5.0, breath=0.4, tremor=0.15, pause=0.4
    ),
    "angry": Prosody(
        pitch=2.5, range=1.4, slope=-2.0, final=-1.5, rate=1.15, level=6.0, tilt=5.0, breath=0.0, jitter=0.5
    ),
    "fearful": Prosody(
        pitch=4.5, range=1.1, slope=0.5, rate=1.2, level=0.0, tilt=1.5, breath=0.25, tremor=0.7, pause=0.3
    ),
    "disgust": Prosody(
        pitch=-2.0, range=1.1, slope=-1.0, final=-2.5, rate=0.82, level=0.0, tilt=0.0, jitter=0.7, pause=0.2
    ),
    "surprised": Prosody(pitch=4.0, range=1.7, slope=2.0, final=5.0, rate=0.98, level=2.0, tilt=1.5),
}
# How far one take strays from the rule, in the units of Prosody: as much as actors do, so that no rule is a giveaway.
SPREAD = Prosody(1.1, 0.17, 0.8, 0.9, 0.075, 1.5, 1.3, 0.05, 0.1, 0.1, 0.1)
# What pre-training hears, in the notebook and in the twins: sentences of our own, none of the corpus.
SENTENCES = tuple(
    """The kettle has been singing for an hour
Nobody told me that the shop would close early
She put seven green apples into the basket
We could walk along the river before lunch
His brother fixes old bicycles in the garage
There is a small crack in the yellow cup
They never found out who had painted the fence
Please leave your wet shoes outside
A long train passed through the valley
My neighbor grows tomatoes on the roof
The judge read every page of the letter twice
Why would anyone measure the height of a wave
Fresh bread smells better than fresh paint
You have to turn the key slowly
The youngest of them could already whistle
It was much too dark to read the map
Both boats were empty when the storm began
I think the bus leaves at a quarter past five
The museum keeps a jar of very old sand
Jack thought about the voyage all winter
Could you hand me the blue thread
Only three chairs were left around the fire
She heard a dull thud and then nothing
Our village has one bridge and no church
He pours the coffee as if it were gold
An owl watched us from the chimney
Give this key to the woman in the orange coat
Vera usually measures rain in a glass tube
Those children push the wagon up the hill
What a thoughtful gift for a goldfish""".splitlines()
)
_Item = TypeVar("_Item")
_Done = TypeVar("_Done")
# Languages of espeak, as Praat calls them, and RAVDESS's two statements in them; the English ones are in ravdess.py.
LANGUAGES = {
    "English": "English (America)",
    "German": "German",
    "Spanish": "Spanish (Spain)",
}
STATEMENTS = {
    "German": ("Kinder reden an der Tür", "Hunde sitzen an der Tür"),
    "Spanish": ("Los niños hablan junto a la puerta", "Los perros esperan junto a la puerta"),
}
MALE_VOICES = ("Male1", "Male2", "Male3", "Male4", "Male5", "Male6", "Male7", "Michael")
FEMALE_VOICES = ("Female1", "Female2", "Female3", "Female4", "Female5", "Annie", "Linda", "Steph")


@dataclass(frozen=True)
class Voice:
    """One synthetic actor.

    Attributes
    ----------
    name
        A voice of espeak.
    pitch
        Its usual mean F0, in Hz.
    words_per_minute
        Its tempo.
    gain, noise
        Level of the voice, and of the room, in dB.
    expressivity
        How strongly this actor follows the rule of an emotion, about 1.
    """

    name: str
    pitch: float
    words_per_minute: float
    gain: float
    noise: float
    expressivity: float

    @classmethod
    def draw(cls, rng: np.random.Generator, sex: str) -> "Voice":
        """Draw an actor of the given sex.

        Parameters
        ----------
        rng
            Draws the actor; it is moved on.
        sex
            "female" or "male".

        Examples
        --------
        >>> import numpy as np
        >>> ser.synth.Voice.draw(np.random.default_rng(1), "male").pitch < 200
        True
        """
        names, middle = (FEMALE_VOICES, 205.0) if sex == "female" else (MALE_VOICES, 115.0)
        return cls(
            name=str(rng.choice(names)),
            pitch=middle * 2 ** (rng.normal(0, 2.2) / 12),
            words_per_minute=rng.normal(200, 13),
            gain=rng.normal(0, 2.5),
            noise=rng.uniform(-56, -38),
            expressivity=rng.normal(1.0, 0.2),
        )


def _actor_voice(actor: int, language: str = "English") -> Voice:
    """Return the voice of actor 1 to 24; odd actors are male, even ones female, as in RAVDESS."""
    return Voice.draw(np.random.default_rng([SEED, actor, *_own(language)]), "female" if actor % 2 == 0 else "male")


def _own(language: str) -> list[int]:
    """Return what keeps the random numbers of a language from those of English, which were there first."""
    return [] if language == "English" else [zlib.crc32(language.encode())]


def _take_of(emotion: str, strong: bool, voice: Voice, rng: np.random.Generator) -> Prosody:
    """Return how this actor says it this time: the rule, scaled by intensity and temperament, plus the spread."""
    rule, neutral = np.array(astuple(PROSODY[emotion])), np.array(astuple(PROSODY["neutral"]))
    strength = voice.expressivity * (1.4 if strong else 0.9) * rng.normal(1.0, 0.12)
    drawn = neutral + strength * (rule - neutral) + rng.normal(0, 1, len(rule)) * np.array(astuple(SPREAD))
    take = dict(zip((field.name for field in fields(Prosody)), drawn.tolist(), strict=True))
    bounds = {"range": (0.3, 2.8), "rate": (0.55, 1.7), "tremor": (0, 2), "jitter": (0, 2)}
    bounds |= {"breath": (0, 1), "pause": (0, 1)}
    for name, (low, high) in bounds.items():
        take[name] = min(max(take[name], low), high)
    return Prosody(**take)


@lru_cache(maxsize=64)
def _synthesizer(language: str, voice: str) -> Any:
    from parselmouth.praat import call

    return call("Create SpeechSynthesizer", language, voice)


def say(
    text: str, voice: Voice, prosody: Prosody, rng: np.random.Generator, language: str = "English (America)"
) -> np.ndarray:
    """Speak one sentence in a voice of Praat's.

    Parameters
    ----------
    text
        What is said, in ``language``.
    voice
        Who says it.
    prosody
        How it is said.
    rng
        Draws what differs from take to take; it is moved on.
    language
        A language of espeak, as Praat calls it.

    Returns
    -------
    ndarray
        Mono float32 samples at 16 kHz, in [-1, 1], shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(1)
    >>> voice = ser.synth.Voice.draw(rng, "female")
    >>> samples = ser.synth.say("Fresh bread", voice, ser.PROSODY["happy"], rng)
    >>> 0.5 < len(samples) / ser.RATE < 2
    True
    """
    spoken = _pronounce(text, voice, prosody, language, "no")
    return _colour(_sing(spoken[-1], voice.pitch, prosody, rng), voice, prosody, rng)[0]


def _pronounce(text: str, voice: Voice, prosody: Prosody, language: str, grid: str) -> Any:
    """Return what Praat makes of a text: the sound, and before it the TextGrid if ``grid`` is "yes"."""
    from parselmouth.praat import call

    synthesizer = _synthesizer(language, voice.name)
    rate = float(np.clip(voice.words_per_minute * prosody.rate, 80, 450))
    call(synthesizer, "Speech output settings", RATE, 0.01 + 0.12 * prosody.pause, 1.0, 1.0, rate, "IPA")
    return call(synthesizer, "To Sound", text, grid)


@dataclass(frozen=True)
class Utterance:
    """One sentence with its alignment.

    Attributes
    ----------
    text
        What is said.
    samples
        Mono float32 at 16 kHz, shape (n,).
    phones
        (start, end, IPA symbol) in seconds, "" where nothing is said. They leave no gap: the first starts at 0, each
        starts where the last ended, the last ends with the samples.
    """

    text: str
    samples: np.ndarray
    phones: tuple[tuple[float, float, str], ...]


def recite(count: int) -> list[Utterance]:
    """Speak ``count`` of our English sentences, each in a voice and a prosody of its own, with phones (13).

    The same ones every time, whatever else was spoken. About a tenth of a second an utterance on one core.

    Parameters
    ----------
    count
        How many.

    Returns
    -------
    list
        Utterances, with samples and phones.

    Examples
    --------
    >>> speech = ser.synth.recite(2)  # doctest: +SKIP
    >>> speech[0].text  # doctest: +SKIP
    'What a thoughtful gift for a goldfish'

    What they say are sentences of the book, none of them of the corpus:

    >>> ser.synth.SENTENCES[3]
    'We could walk along the river before lunch'
    """
    return _in_fresh_processes(_recite_one, range(count))


def _recite_one(number: int) -> Utterance:
    from parselmouth.praat import call

    rng = np.random.default_rng([SEED, 13, number])
    voice = Voice.draw(rng, str(rng.choice(["female", "male"])))
    prosody, text = Prosody.draw(rng), str(rng.choice(SENTENCES))
    grid, sound = _pronounce(text, voice, prosody, "English (America)", "yes")
    samples, before = _colour(_sing(sound, voice.pitch, prosody, rng), voice, prosody, rng)
    # PSOLA keeps the times, so Praat's own intervals hold for the sung sentence too; tier 4 is that of phonemes.
    phones, start = [(0.0, before, "")], before
    for i in range(1, call(grid, "Get number of intervals", 4) + 1):
        end = before + call(grid, "Get end time of interval", 4, i)
        phones.append((start, end, call(grid, "Get label of interval", 4, i)))
        start = end
    phones.append((start, len(samples) / RATE, ""))
    return Utterance(text, samples, tuple(phones))


def _sing(sound: Any, pitch: float, prosody: Prosody, rng: np.random.Generator) -> np.ndarray:
    """Give a Praat sound a new melody by PSOLA; return its samples."""
    import parselmouth
    from parselmouth.praat import call

    manipulation = call(sound, "To Manipulation", 0.01, 60, 500)
    old = call(manipulation, "Extract pitch tier")
    count = call(old, "Get number of points")
    if count < 2:  # nothing voiced to sing: a whisper stays as it is
        return sound.values[0]
    times = np.array([call(old, "Get time from index", i + 1) for i in range(count)])
    hertz = np.array([call(old, "Get value at index", i + 1) for i in range(count)])
    tones = 12 * np.log2(hertz / np.median(hertz)) * prosody.range
    place = (times - times[0]) / max(times[-1] - times[0], 1e-3)
    tones += prosody.pitch + prosody.slope * (place - 0.5) + prosody.final * np.clip(place - 0.8, 0, None) / 0.2
    tones += prosody.tremor * np.sin(2 * np.pi * (5.5 + rng.normal(0, 0.4)) * times + rng.uniform(0, 6))
    tones += rng.normal(0, 1, count) * prosody.jitter
    new = call("Create PitchTier", "melody", 0, sound.get_total_duration())
    for time, value in zip(times, np.clip(pitch * 2 ** (tones / 12), 55, 600), strict=True):
        call(new, "Add point", float(time), float(value))
    call([manipulation, new], "Replace pitch tier")
    sung: parselmouth.Sound = call(manipulation, "Get resynthesis (overlap-add)")
    return sung.values[0]


def _colour(samples: np.ndarray, voice: Voice, prosody: Prosody, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Add brightness, breath, level, silence and a room to sung samples; return also the seconds of silence before."""
    spectrum = np.fft.rfft(samples)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE), 125) / 1000)
    samples = np.fft.irfft(spectrum * 10 ** (prosody.tilt * np.clip(octaves, -1, 2) / 2 / 20), len(samples))
    envelope = np.sqrt(np.convolve(samples**2, np.hanning(400) / 200, mode="same"))
    breath = np.diff(rng.normal(0, 1, len(samples) + 1))  # a difference rises 6 dB an octave, as breath noise does
    samples = samples + 0.25 * prosody.breath * envelope * breath
    samples *= 0.03 / (np.sqrt(np.mean(samples**2)) + 1e-9) * 10 ** ((prosody.level + voice.gain) / 20)
    before, after = (int(seconds * RATE) for seconds in rng.uniform(0.08, 0.22, 2))
    samples = np.pad(samples, (before, after))
    room = np.convolve(rng.normal(0, 1, len(samples) + 7), np.ones(8) / 8**0.5, mode="valid")
    samples = np.clip(samples + room * 10 ** (voice.noise / 20) * 0.3, -0.999, 0.999).astype(np.float32)
    return samples, before / RATE


def _in_fresh_processes(work: Callable[[_Item], _Done], items: Iterable[_Item]) -> list[_Done]:
    """Return the work of each item, done in a process that has said nothing yet.

    espeak lets the pitch flutter by a table of 368 steps, and an utterance goes on from the step where the last one
    ended; even its length differs. The breath of Female2, Female3 and Female5 is drawn from the random numbers of the
    C library besides. Neither a new synthesizer nor a sentence in between sets the table back: a clip would depend on
    what its worker had said before. A process that is forked from one that only loaded Praat costs a few hundredths of
    a second; Windows has no fork, starts each from nothing, and takes several times as long.
    """
    if _METHOD == "forkserver":
        _CONTEXT.set_forkserver_preload(["parselmouth.praat", "scipy.special", __name__])
    with _Workers().Pool(min(os.cpu_count() or 1, 8), maxtasksperchild=1) as pool:
        return pool.map(work, items, chunksize=1)


@contextmanager
def main_out_of_sight() -> Iterator[None]:
    """Keep a process that this thread starts from running the script that asks for work without any guard.

    Each process would first import it as its main module, and so ask for the same work again, for ever. What other
    threads start meanwhile, such as a pool of the reader's own, still finds its main module.
    """
    with _STARTING:
        told, here = spawn.get_preparation_data, get_ident()

        def without_main(name: str) -> dict[str, Any]:
            data = told(name)
            return data if get_ident() != here else {k: v for k, v in data.items() if not k.startswith("init_main")}

        spawn.get_preparation_data = without_main
        try:
            yield
        finally:
            spawn.get_preparation_data = told


_METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_CONTEXT: Any = multiprocessing.get_context(_METHOD)
_Process: Any = _CONTEXT.Process
_Kind: Any = type(_CONTEXT)
_STARTING = Lock()


class _Worker(_Process):
    """A process that does not know the script that started it. A pool starts one for each item, in two threads."""

    @staticmethod
    def _Popen(process: Any) -> Any:
        with main_out_of_sight():
            return _Process._Popen(process)


class _Workers(_Kind):
    """What makes pools of such processes."""

    Process = _Worker


def _speak_clip(clip: tuple[str, Mapping[str, Any]], statements: Sequence[str], folder: Path, language: str) -> None:
    name, row = clip
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode()), *_own(language)])
    voice = _actor_voice(int(row["actor"]), language)
    take = _take_of(row["emotion"], row["intensity"] == "strong", voice, rng)
    samples = say(statements[row["statement"] - 1], voice, take, rng, LANGUAGES[language])
    path = folder / f"Actor_{row['actor']}" / f"{name}.wav"
    try:
        sf.write(path, samples, RATE, subtype="PCM_16")
    except (OSError, sf.SoundFileError) as error:
        raise SerlibError(
            f"{name} cannot be written to {folder.parent}, the disk is full or not yours to write to; free some space, "
            "or name another folder in SERLIB_CACHE."
        ) from error


def corpus_folder(clips: Mapping[str, Mapping[str, Any]], statements: Sequence[str], language: str = "English") -> Path:
    """Return the folder of the mini corpus, spoken on first use (about a minute on two cores) and checked after.

    The layout is RAVDESS's, ``Actor_01/03-01-01-01-01-01-01.wav``, 16 kHz mono. ``manifest.json`` holds a SHA-256 over
    all clips; a folder that no longer matches it is spoken anew. Of two programs that want it, one waits for the other;
    a whole one is read without a lock, as from a cache that may only be read.

    Parameters
    ----------
    clips
        Name -> its actor, emotion, intensity and statement; each sounds as its name says, whatever the others are.
    statements
        What is said, the first of which is statement 1.
    language
        In which language, a key of ``LANGUAGES``.

    Returns
    -------
    Path
        The folder of the corpus, one for each language.

    Raises
    ------
    SerlibError
        Where it cannot be written; it names the place.
    """
    folder = cache_dir() / f"mini-v{VERSION}{'' if language == 'English' else f'-{language.lower()}'}"
    if _is_whole(folder):
        return folder
    with sole_maker(folder):
        if not _is_whole(folder):  # else another program has spoken it by now
            with atomic_path(folder, folder=True) as fresh:
                for actor in sorted({row["actor"] for row in clips.values()}):
                    (fresh / f"Actor_{actor}").mkdir()
                _in_fresh_processes(
                    partial(_speak_clip, statements=statements, folder=fresh, language=language), clips.items()
                )
                manifest = {"clips": len(clips), "sha256": _digest(fresh)}
                (fresh / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def is_the_books(folder: Path) -> bool:
    """Whether this machine speaks the corpus sample for sample as the one that made the book's results."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["sha256"] == SPOKEN


def _digest(folder: Path) -> str:
    """Return a digest of all clips, by their samples: the header of a WAV may differ from one libsndfile to another."""
    whole = hashlib.sha256()
    for path in sorted(folder.glob("Actor_*/*.wav")):
        samples, rate = sf.read(path, dtype="int16")
        whole.update(f"{path.stem} {rate} {len(samples)} ".encode() + samples.astype("<i2").tobytes())
    return whole.hexdigest()


def _is_whole(folder: Path) -> bool:
    """Whether all clips are as they were spoken: seen by size and times of change, listened to where these are new."""
    note = cache_dir() / "digests" / f"{folder.name}.json"
    try:
        spoken = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["sha256"]
        stats = {path.name: os.stat(path) for path in sorted(folder.glob("Actor_*/*.wav"))}
        stamp = key_of({name: (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats.items()})
        if _read_note(note) == {"files": stamp, "sha256": spoken}:
            return True
        now = time_ns()
        if spoken != _digest(folder):
            return False
    except (OSError, ValueError, KeyError, TypeError, sf.SoundFileError):
        return False
    if max((max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats.values()), default=now) + FRESH < now:
        # Without a note, which only saves time, the clips are listened to again.
        with suppress(OSError, SerlibError), atomic_path(note) as fresh:
            fresh.write_text(json.dumps({"files": stamp, "sha256": spoken}), encoding="utf-8")
    return True


def _read_note(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
