"""RAVDESS where it is or where it must come from, and the embedded corpus in its layout (notebooks 00 and 01)."""

import re
import warnings
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from serlib.data.corpus import from_folder
from serlib.data.downloads import Piece, Record, download, pinned
from serlib.errors import SerlibError, nearest
from serlib.files import cache_dir, given_path, named_folder

CLIPS = 1_440  # of speech in all of RAVDESS
EMOTIONS = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")

_TERMS = "CC BY-NC-SA 4.0"
_WHERE = "Get it from https://doi.org/10.5281/zenodo.1188976 (Livingstone and Russo 2018)."
_FILES = "https://zenodo.org/records/1188976/files"
SPEECH_ZIP = Piece(
    "Audio_Speech_Actors_01-24.zip",
    f"{_FILES}/Audio_Speech_Actors_01-24.zip?download=1",
    "md5:bc696df654c87fed845eb13823edef8a",
    208_000_000,
)
SONG_ZIP = Piece(  # of 23 of the actors
    "Audio_Song_Actors_01-24.zip",
    f"{_FILES}/Audio_Song_Actors_01-24.zip?download=1",
    "md5:5411230427d67a21e18aa4d466e6d1b9",
    226_000_000,
)
SPEECH_RECORD = Record("RAVDESS, speech", _TERMS, _WHERE, "set RAVDESS_DIR to the folder", pinned(SPEECH_ZIP))
SONG_RECORD = Record("RAVDESS, song", _TERMS, _WHERE, "give ser.load_corpus the folder", pinned(SONG_ZIP))

# The third pair of digits of a RAVDESS file name.
_CODES = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
_NAME = re.compile(r"(0[123]-0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")
_SPEECH, _SONG = "03-01", "03-02"  # audio only; the record also has videos, whose names begin with 01 and 02


class NameFields(TypedDict):
    """What the name of a RAVDESS clip says of it: columns of a corpus.

    ``actor`` is "01" to "24", ``sex`` "female" or "male", ``intensity`` "normal" or "strong", ``emotion`` one of
    ``EMOTIONS``; ``statement`` (of ``STATEMENTS``, counted from 1) and ``repetition`` are 1 or 2.
    """

    actor: str
    sex: str
    emotion: str
    intensity: str
    statement: int
    repetition: int


def parse_name(stem: str) -> NameFields:
    """Read what the seven pairs of digits of a RAVDESS file name say (01).

    Parameters
    ----------
    stem
        The name of a file without its ending.

    Returns
    -------
    NameFields
        A dictionary of actor, sex, emotion, intensity, statement and repetition.

    Raises
    ------
    SerlibError
        For what is no name of an audio-only speech clip of RAVDESS.

    Examples
    --------
    >>> ser.parse_name("03-01-06-01-02-01-12")["emotion"]
    'fearful'
    """
    match = _NAME.fullmatch(stem) if isinstance(stem, str) else None
    if not match:
        raise SerlibError(f"{stem!s:.60} is not a RAVDESS name; it should look like 03-01-06-01-02-01-12.")
    if match[1] != _SPEECH:
        raise SerlibError(f"{stem} is not an audio-only speech clip; the names of those begin with 03-01.")
    return _fields(stem, match)


def _fields(stem: str, match: re.Match[str]) -> NameFields:
    """Return what a name of speech or song says."""
    _, emotion, intensity, statement, repetition, actor = match.groups()
    if _CODES[emotion] == "neutral" and intensity == "02":
        raise SerlibError(f"{stem} is not a RAVDESS name: neutral has no strong intensity.")
    return {
        "actor": actor,
        "sex": "male" if int(actor) % 2 else "female",
        "emotion": _CODES[emotion],
        "intensity": "normal" if intensity == "01" else "strong",
        "statement": int(statement),
        "repetition": int(repetition),
    }


def ravdess(folder: Path | str | None = None) -> pd.DataFrame:
    """Return the 1,440 speech clips of RAVDESS (Livingstone and Russo 2018), wherever they are.

    Parameters
    ----------
    folder
        Where the clips are. None looks where the environment variable ``RAVDESS_DIR`` points, else in the cache, to
        which they are downloaded (208 MB) when they are not there yet. Takes .wav and .flac, with or without ``Actor_``
        folders, however deep; a second copy further down is passed over.

    Returns
    -------
    DataFrame
        A row a clip, with the columns of a corpus. Misnamed and unreadable files are left out, with a warning.

    Raises
    ------
    SerlibError
        For a folder without such clips, and for a download that does not succeed.

    Examples
    --------
    >>> corpus = ser.ravdess()  # doctest: +SKIP
    >>> corpus["emotion"].value_counts()["neutral"]  # doctest: +SKIP
    96

    A folder that holds none says so:

    >>> ser.ravdess("notebooks")
    Traceback (most recent call last):
    serlib.errors.SerlibError: ...notebooks holds no speech clips of RAVDESS (...); give another folder.
    """
    if folder is not None:
        return _from_folder(given_path(folder), "ravdess", "give another folder")
    if named := named_folder("RAVDESS_DIR"):
        return _from_folder(named, "ravdess", "correct RAVDESS_DIR, or unset it to download RAVDESS")
    downloaded = download(cache_dir() / "ravdess", SPEECH_RECORD)
    return _from_folder(downloaded, "ravdess", "remove it to download RAVDESS again")


def song(folder: Path | None = None) -> pd.DataFrame:
    """Return the 1,012 songs of RAVDESS from a folder, or downloaded to the cache (226 MB); ``ser.load_corpus`` asks.

    Raises SerlibError as ``ravdess`` does.
    """
    if folder is not None:
        return _from_folder(folder, "ravdess-song", "give another folder", kind=_SONG)
    folder = download(cache_dir() / "ravdess-song", SONG_RECORD)
    return _from_folder(folder, "ravdess-song", "remove it to download them again", kind=_SONG)


def mini(language: str = "English") -> pd.DataFrame:
    """Return the embedded corpus: synthetic speech in RAVDESS's layout, spoken on first use (about a minute; 00).

    Warns in one sentence where this machine speaks English otherwise than the one that made the book's results.

    Parameters
    ----------
    language
        "English", or "German" or "Spanish" for a smaller corpus in which twelve other actors say the same (16). The
        rules of the emotions are those of English: nothing but language and voices differs.

    Returns
    -------
    DataFrame
        1,440 clips with the columns of a corpus, 360 in another language; ``attrs`` have the ``language``, and of
        English ``as_in_the_book`` keeps how this machine speaks.

    Raises
    ------
    SerlibError
        For a language that it does not speak, and where the clips cannot be written.

    Examples
    --------
    >>> corpus = ser.mini()  # doctest: +SKIP
    >>> len(corpus), corpus["actor"].nunique()  # doctest: +SKIP
    (1440, 24)

    What makes an emotion of it is a rule that you may read:

    >>> ser.PROSODY["sad"].rate, ser.PROSODY["surprised"].final
    (0.8, 5.0)
    """
    from serlib.data import synth

    clips = {name: parse_name(name) for name in _official_names()}
    if language != "English":
        return _in_another(str(language), clips)
    folder = synth.corpus_folder(clips, STATEMENTS)
    alike = synth.is_the_books(folder)
    if not alike:
        warnings.warn(
            "this machine speaks the synthetic corpus slightly otherwise than the one that made the book's results, so "
            "your numbers will differ from those in the text.",
            stacklevel=2,
        )
    corpus = _from_folder(folder, "mini", "remove it to speak it again", synthetic=True)
    corpus.attrs |= {"as_in_the_book": alike, "language": language}
    return corpus


def _in_another(language: str, clips: dict[str, NameFields]) -> pd.DataFrame:
    """Return mini in another language: the first takes of actors 01 to 12, whose voices are no actor's of English."""
    from serlib.data import synth

    if language not in synth.LANGUAGES:
        raise SerlibError(f"mini does not speak {language:.60}; {nearest(language, synth.LANGUAGES)}")
    few = {name: row for name, row in clips.items() if row["actor"] <= "12" and row["repetition"] == 1}
    folder = synth.corpus_folder(few, synth.STATEMENTS[language], language)
    corpus = _from_folder(folder, f"mini-{language.lower()}", "remove it to speak it again", synthetic=True)
    corpus.attrs["language"] = language
    return corpus


def _official_names() -> list[str]:
    """Return the ``CLIPS`` file stems of RAVDESS speech: 24 actors of 60 clips, neutral without a strong intensity."""
    return [
        f"03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"
        for actor, emotion in product(range(1, 25), range(1, 9))
        for intensity, statement, repetition in product((1, 2) if emotion > 1 else (1,), (1, 2), (1, 2))
    ]


def _from_folder(folder: Path, name: str, remedy: str, synthetic: bool = False, kind: str = _SPEECH) -> pd.DataFrame:
    """Read the speech or the songs of a folder; what is misnamed or unreadable is left out, with a warning."""
    what = "songs" if kind == _SONG else "speech clips"
    what += f" of RAVDESS (.wav or .flac, named like {kind}-06-01-02-01-12)"
    corpus = from_folder(folder, partial(_named, kind=kind), what, remedy)
    corpus.attrs |= {"name": name, "synthetic": synthetic}
    return corpus


def _named(path: Path, kind: str) -> tuple[str, dict[str, Any]] | None:
    """Return clip and row of a file of this kind, None for other kinds. SerlibError for a name that is none."""
    match = _NAME.fullmatch(path.stem)
    if not match:
        raise SerlibError(f"{path.stem} is not a RAVDESS name.")
    return (path.stem, dict(_fields(path.stem, match))) if match[1] == kind else None
