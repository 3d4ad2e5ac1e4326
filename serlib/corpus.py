"""What a clip is, and where clips come from: RAVDESS, the embedded corpus, anybody's CSV (notebooks 00 and 01).

A corpus is a pandas DataFrame indexed by ``clip`` (the name of the file without its ending) with the columns
``path, actor, sex, emotion, intensity, statement, repetition, seconds``. Filter it like any other DataFrame.
"""

import os
import re
import warnings
from pathlib import Path

import pandas as pd

from serlib import audio
from serlib.errors import SerlibError
from serlib.files import cache_dir

EMOTIONS = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
COLUMNS = ("path", "actor", "sex", "emotion", "intensity", "statement", "repetition", "seconds")

# The third pair of digits of a RAVDESS file name (Livingstone and Russo 2018, table 1).
_CODES = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
_NAME = re.compile(r"(0[123]-0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")
_SPEECH = "03-01"  # audio only, spoken: the record also has videos (01, 02) and song (02)
_SUFFIXES = {".wav", ".flac"}


def parse_name(stem: str) -> dict[str, str | int]:
    """Read the seven pairs of digits of a RAVDESS file name.

    >>> parse_name("03-01-06-01-02-01-12")
    {'actor': '12', 'sex': 'female', 'emotion': 'fearful', 'intensity': 'normal', 'statement': 2, 'repetition': 1}
    """
    match = _NAME.fullmatch(stem)
    if not match:
        raise SerlibError(f"{stem} is not a RAVDESS name; it should look like 03-01-06-01-02-01-12.")
    kind, emotion, intensity, statement, repetition, actor = match.groups()
    if kind != _SPEECH:
        raise SerlibError(f"{stem} is not an audio-only speech clip; those begin with 03-01.")
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

    Looks in ``folder``, else in the folder that the environment variable ``RAVDESS_DIR`` names, else in the cache, where
    they are downloaded to when they are not there yet. Accepts .wav and .flac, with or without ``Actor_`` folders.
    """
    named = folder or os.environ.get("RAVDESS_DIR")
    return _from_folder(Path(named) if named else download_ravdess(cache_dir() / "ravdess"), "ravdess", False)


def mini() -> pd.DataFrame:
    """Return the embedded corpus: synthetic speech in RAVDESS's layout, spoken by Praat on first use."""
    from serlib import synth

    return _from_folder(synth.corpus_folder(), "mini", True)


def _from_folder(folder: Path, name: str, synthetic: bool) -> pd.DataFrame:
    """Read a folder in RAVDESS's naming; what is misnamed or unreadable is left out, said aloud, and kept in attrs."""
    if not folder.is_dir():
        raise SerlibError(f"there is no folder {folder}; check RAVDESS_DIR, or unset it to download the recordings.")
    # Some copies of RAVDESS hold a second copy in a folder of its own: do not go deeper than needed.
    found = sorted(folder.glob("Actor_*/*")) or sorted(folder.rglob("*"))
    files = [path.absolute() for path in found if path.suffix.lower() in _SUFFIXES and path.name[0] != "."]
    speech = [path for path in files if not (m := _NAME.fullmatch(path.stem)) or m.group(1) == _SPEECH]
    rows, misnamed = {}, []
    for path in speech:
        try:
            row = parse_name(path.stem)
        except SerlibError:
            misnamed.append(str(path))
            continue
        if path.stem in rows:
            raise SerlibError(f"clip {path.stem} is there twice, {rows[path.stem]['path']} and {path}; remove one.")
        rows[path.stem] = {"path": str(path), **row}
    if not rows:
        raise SerlibError(
            f"{folder} holds no RAVDESS speech clips (.wav or .flac named like 03-01-06-01-02-01-12); check the folder."
        )
    seconds = _seconds([row["path"] for row in rows.values()])
    unreadable = {path: value for path, value in seconds.items() if isinstance(value, str)}
    for what, paths in (("misnamed", misnamed), ("unreadable", list(unreadable))):
        if paths:
            warnings.warn(f"left out {len(paths)} {what} file(s) of {folder}, the first: {paths[0]}", stacklevel=3)
    corpus = _frame(
        [
            {"clip": clip, "seconds": seconds[row["path"]], **row}
            for clip, row in rows.items()
            if row["path"] not in unreadable
        ]
    )
    corpus.attrs = {"name": name, "synthetic": synthetic, "misnamed": misnamed, "unreadable": unreadable}
    return corpus


def _frame(rows: list[dict]) -> pd.DataFrame:
    """Return rows as a corpus: the right columns in the right order, sorted by clip."""
    frame = pd.DataFrame(rows).set_index("clip")[list(COLUMNS)].sort_index()
    return frame.astype({"statement": int, "repetition": int, "seconds": float})


def _seconds(paths: list[str]) -> dict[str, float | str]:
    """Return the length of each file in seconds, or the sentence that says why it cannot be read."""
    lengths = {}
    for path in paths:
        try:
            info = audio.header(path)
            lengths[path] = info.frames / info.samplerate
        except SerlibError as error:
            lengths[path] = str(error)
    return lengths


def download_ravdess(folder: Path | str) -> Path:
    """Download."""
    raise SerlibError(f"no RAVDESS at {folder}; set RAVDESS_DIR.")
