"""Other people's corpora: where each comes from, how its names are read, and how several become one (notebook 16).

A corpus is a row of ``CORPORA``. Its labels become those of RAVDESS where it has the emotion, so that *Freude*,
*happiness* and *HAP* are one class.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serlib.data import ravdess
from serlib.data.corpus import NAMES, NUMBERS, as_corpus, from_folder
from serlib.data.downloads import Record, dataverse, download, github, github_lfs, mendeley, zenodo
from serlib.errors import SerlibError, demand, in_short, nearest
from serlib.files import cache_dir, given_path, named_folder

Codes = Mapping[str, Mapping[str, str | None]]
_GROUPS = (*NAMES, *NUMBERS)


@dataclass(frozen=True)
class Source:
    """What is to be known of a corpus before it is on the disk.

    Attributes
    ----------
    title, language
        Names, as one writes them.
    speakers, clips
        How many it has in all.
    voices
        Who speaks: actors, or people who did not know.
    terms
        Its license, or what its authors ask for.
    where
        A sentence that says where a person gets it.
    pattern
        The names of its files as a regular expression, for ``ser.from_names``.
    codes
        What the codes in the names mean, a table for each column.
    listing
        What lists its files with their checksums, for a corpus that ``ser.load_corpus`` downloads from its official
        record; None for one that its terms or its authors keep for those who ask.

    Examples
    --------
    >>> ser.CORPORA["emodb"].language, ser.CORPORA["emodb"].codes["emotion"]["F"]
    ('German', 'happy')
    >>> [name for name, source in ser.CORPORA.items() if source.listing is None]
    ['savee', 'urdu']
    """

    title: str
    language: str
    speakers: int
    clips: int
    voices: str
    terms: str
    where: str
    pattern: str = ""
    codes: Codes = field(default_factory=dict)
    listing: Callable[..., Any] | None = None


def _sexes(women: str, men: str) -> dict[str, str]:
    """Return actor -> sex."""
    return dict.fromkeys(women.split(), "female") | dict.fromkeys(men.split(), "male")


_OURS = {"anger": "angry", "fear": "fearful", "happiness": "happy", "sadness": "sad", "ps": "surprised"}


def _words(theirs: str) -> dict[str, str]:
    """Return a corpus's words for its emotions, separated by |, -> ours; what _OURS lacks is ours, in lower case."""
    return {word: _OURS.get(word.lower(), word.lower()) for word in theirs.split("|")}


# VideoDemographics.csv of the corpus.
_CREMA_WOMEN = """1002 1003 1004 1006 1007 1008 1009 1010 1012 1013 1018 1020 1021 1024 1025 1028 1029 1030 1037 1043
1046 1047 1049 1052 1053 1054 1055 1056 1058 1060 1061 1063 1072 1073 1074 1075 1076 1078 1079 1082 1084 1089 1091"""
_CREMA_MEN = " ".join(str(actor) for actor in range(1001, 1092) if str(actor) not in _CREMA_WOMEN.split())
_SPEECH, _SONG = ravdess.SPEECH_RECORD, ravdess.SONG_RECORD
CORPORA = {
    "ravdess": Source(
        _SPEECH.title, "English", 24, 1440, "actors", _SPEECH.terms, _SPEECH.where, listing=_SPEECH.listing
    ),
    "ravdess-song": Source(
        _SONG.title, "English", 23, 1012, "actors", _SONG.terms, _SONG.where, listing=_SONG.listing
    ),
    "emodb": Source(
        # Edition 1.3.0: the 535 clips that everybody reports. Edition 2.0, record 17651657, adds 281 of which fewer
        # listeners said what they were meant to be.
        "EmoDB", "German", 10, 535, "actors", "CC BY 4.0",
        "Get its edition 1.3.0 from https://doi.org/10.5281/zenodo.7447302 (Burkhardt et al. 2005).",
        r"(?P<actor>\d\d)(?P<statement>[ab]\d\d)(?P<emotion>[WLEAFTN])(?P<repetition>[a-z])",
        {
            "emotion": {
                "W": "angry", "L": "bored", "E": "disgust", "A": "fearful", "F": "happy", "T": "sad", "N": "neutral",
            },
            "sex": _sexes("08 09 13 14 16", "03 10 11 12 15"),
        },
        zenodo(7447302),
    ),
    "crema-d": Source(
        "CREMA-D", "English", 91, 7442, "actors", "Open Database License",
        "Get its AudioWAV from https://github.com/CheyneyComputerScience/CREMA-D with git lfs (Cao et al. 2014).",
        r"(?P<actor>1\d{3})_(?P<statement>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<intensity>LO|MD|HI|XX?)",
        {
            "emotion": {
                "ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad",
            },
            "intensity": {"LO": "low", "MD": "medium", "HI": "high", "XX": "", "X": ""},
            "sex": _sexes(_CREMA_WOMEN, _CREMA_MEN),
        },
        github_lfs(
            "CheyneyComputerScience/CREMA-D", "1658cd342dff90010aa843eaeebd53610a08b1dc", "AudioWAV",
            tree="387d831b6b63df157bef95de05ec61dbffc95da3",
        ),
    ),
    "savee": Source(
        "SAVEE", "English", 4, 480, "actors", "for research, after registration",
        "Register at http://kahlan.eps.surrey.ac.uk/savee, which then sends a link (Haq and Jackson 2009); no program "
        "may do that for you.",
        r"(?P<actor>DC|JE|JK|KL)[_/](?P<emotion>sa|su|[adfhn])(?P<statement>\d\d)",
        {
            "emotion": {
                "a": "angry", "d": "disgust", "f": "fearful", "h": "happy", "n": "neutral", "sa": "sad",
                "su": "surprised",
            },
            "sex": _sexes("", "DC JE JK KL"),
        },
    ),
    "tess": Source(
        "TESS", "English", 2, 2800, "actors", "CC BY-NC-ND 4.0",
        "Get it from https://doi.org/10.5683/SP2/E8H2MF (Pichora-Fuller and Dupuis 2020).",
        # One file of the record has lost a letter: OA_bite_neutral.
        r"(?P<actor>OAF?|YAF)_(?P<statement>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)",
        {
            "emotion": _words("angry|disgust|fear|happy|neutral|ps|sad"),
            "actor": {"OA": "OAF"},
            "sex": _sexes("OAF YAF", ""),
        },
        dataverse("https://borealisdata.ca", "10.5683/SP2/E8H2MF", "1.0"),
    ),
    "nemo": Source(
        "nEMO", "Polish", 9, 4481, "actors", "CC BY-NC-SA 4.0",
        "Get its folder samples from https://github.com/amu-cai/nEMO (Christop 2024).",
        r"(?P<actor>[A-Z]{2}\d)_(?P<emotion>anger|fear|happiness|neutral|sadness|surprised)_(?P<statement>\d+)",
        {
            "emotion": _words("anger|fear|happiness|neutral|sadness|surprised"),
            "sex": _sexes("EB0 IC0 KD0 MK0", "KS0 MP0 SM0 TP0 WR0"),
        },
        github(
            "amu-cai/nEMO", "66de9999a8f2f605eb5f64841790aa5cb0877782", "samples",
            tree="30db65f71057bfbad740503c6cb2fc66e2e8ab16", size=456_000_000,
        ),
    ),
    "urdu": Source(
        # The article counts 38 speakers (27 men); the names of the 400 files tell 29 apart.
        "URDU", "Urdu", 29, 400, "people in talk shows", "for research; no license is stated",
        "Get it from https://github.com/siddiquelatif/urdu-dataset (Latif et al. 2018); its authors state no license, "
        "so that no program does it for you.",
        r"(?P<actor>S(?P<sex>[MF])\d+)_F(?P<repetition>\d+)_(?P<emotion>[AHNS])\d+",
        {
            "emotion": {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"},
            "sex": {"M": "male", "F": "female"},
        },
    ),
    "mesd": Source(
        "MESD", "Spanish", 11, 862, "amateurs and children", "CC BY 4.0",
        "Get it from https://doi.org/10.17632/cy34mh68j9.5 (Duville et al. 2021).",
        # Its names say whether a woman, a man or a child speaks, and not which: there is no split by speaker.
        r"(?P<emotion>Anger|Disgust|Fear|Happiness|Neutral|Sadness)_(?P<sex>[FMC])_[AB]_(?P<statement>.+)",
        {
            "emotion": _words("Anger|Disgust|Fear|Happiness|Neutral|Sadness"),
            "sex": {"F": "female", "M": "male", "C": "child"},
        },
        mendeley("cy34mh68j9", 5),
    ),
}  # fmt: skip


def load_corpus(name: str, folder: Path | str | None = None) -> pd.DataFrame:
    """Return a corpus that the book knows by its name, wherever it is on this machine or may be had from (16).

    Parameters
    ----------
    name
        A key of ``ser.CORPORA``, such as "emodb".
    folder
        Where its files are, however deep; nothing is ever downloaded into it. None looks in the folder ``name`` below
        the one that the environment variable ``CORPORA_DIR`` names, and for RAVDESS where ``RAVDESS_DIR`` points, else
        in the cache. To that a corpus is downloaded from its official record, with every checksum looked at, where its
        terms allow it; a line says first how large it is, and under which license.

    Returns
    -------
    DataFrame
        A row a clip, with the columns of a corpus; ``attrs`` say its ``language`` and ``terms`` too. Misnamed and
        unreadable files are left out, with a warning; so is told of more clips than the corpus has.

    Raises
    ------
    SerlibError
        For a name that is not known, for recordings that are not there, and for a download that does not succeed: the
        sentence says where to get them.

    Examples
    --------
    >>> corpus = ser.load_corpus("emodb")  # doctest: +SKIP
    >>> corpus["emotion"].value_counts()["angry"]  # doctest: +SKIP
    127

    Somewhere else there are none:

    >>> ser.load_corpus("emodb", "notebooks")
    Traceback (most recent call last):
    serlib.errors.SerlibError: ...notebooks holds no clips of EmoDB; give another folder. Get its edition 1.3.0 from ...
    """
    if not isinstance(name, str) or name not in CORPORA:
        raise SerlibError(f"there is no corpus named {in_short(name)}; {nearest(str(name), CORPORA)}")
    source = CORPORA[name]
    path = given_path(folder) if folder is not None else _place_of(name)
    if name == "ravdess":
        corpus = ravdess.ravdess(path)
    elif name == "ravdess-song":
        corpus = ravdess.song(path)
    else:
        corpus = _from_names_of(source, path or _downloaded(name, source), path is None)
    corpus.attrs |= {"name": name, "synthetic": False, "language": source.language, "terms": source.terms}
    return corpus


def _downloaded(name: str, source: Source) -> Path:
    """Return the folder of a corpus in the cache, to which it is downloaded where it may be."""
    if source.listing is None:
        raise SerlibError(
            f"{source.title} is not on this machine: there is no folder {name} where CORPORA_DIR points. {source.where}"
        )
    by_hand = f"give ser.load_corpus the folder, or name it {name} below the one of CORPORA_DIR"
    record = Record(source.title, source.terms, source.where, by_hand, source.listing)
    return download(cache_dir() / name, record)


def _from_names_of(source: Source, folder: Path, ours: bool) -> pd.DataFrame:
    """Return the clips of a folder; ``ours`` is one in the cache, which should hold all of them."""
    remedy = "remove it to download it again" if ours else f"give another folder. {source.where.removesuffix('.')}"
    corpus = _numbered(from_folder(folder, _reader(source.pattern, source.codes), f"clips of {source.title}", remedy))
    if len(corpus) > source.clips or (ours and len(corpus) < source.clips):
        warnings.warn(
            f"{folder} holds {len(corpus):,} clips, and {source.title} has {source.clips:,}: results of one are not "
            "those of the other.",
            stacklevel=3,
        )
    return corpus


def _place_of(name: str) -> Path | None:
    """Return the folder of a corpus below CORPORA_DIR, None where there is none."""
    above = named_folder("CORPORA_DIR")
    return above / name if above is not None and (above / name).is_dir() else None


def from_names(folder: Path | str, pattern: str, codes: Codes | None = None, name: str | None = None) -> pd.DataFrame:
    r"""Return the corpus of a folder whose file names say everything (16).

    Parameters
    ----------
    folder
        Searched for .wav and .flac, however deep.
    pattern
        A regular expression for the whole name of a file without its ending, with a named group for each thing that
        it says: ``emotion``, and any of ``actor``, ``sex``, ``intensity``, ``statement`` and ``repetition``. Where it
        has a slash, for the name of the folder, a slash, and the name of the file.
    codes
        What is written for what: a table from code to word for each group that has codes. A table of ``sex`` without
        such a group is one of actors. The table of emotions has to have every emotion in the folder; None as its word
        leaves the clips out.
    name
        What the corpus is called; without one like the folder.

    Returns
    -------
    DataFrame
        A row a clip, with the columns of a corpus. Statements and repetitions that are no numbers get one, in the order
        of the alphabet.

    Raises
    ------
    SerlibError
        For a pattern without a group ``emotion`` or with an unknown one, codes that make no words or leave out an
        emotion, and a folder where no name fits.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> for stem in ("ada-joy-1", "ada-rage-1", "ben-joy-2"):
    ...     soundfile.write(f"{folder.name}/{stem}.wav", np.zeros(8000), 16_000)
    >>> pattern = r"(?P<actor>[a-z]+)-(?P<emotion>[a-z]+)-(?P<repetition>\d)"
    >>> codes = {"emotion": {"joy": "happy", "rage": "angry"}}
    >>> ser.from_names(folder.name, pattern, codes, "ours")[["actor", "emotion", "repetition"]]
               actor emotion  repetition
    clip
    ada-joy-1    ada   happy           1
    ada-rage-1   ada   angry           1
    ben-joy-2    ben   happy           2
    >>> folder.cleanup()
    """
    folder = given_path(folder)
    corpus = from_folder(folder, _reader(pattern, codes or {}), "names that fit the pattern", "correct one of the two")
    corpus = _numbered(_all_named(corpus, folder))
    corpus.attrs |= {"name": name or folder.resolve().name, "synthetic": None}
    return as_corpus(corpus)


def _all_named(corpus: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return the corpus without the clips whose emotion is to be left out."""
    if strange := sorted({emotion.code for emotion in corpus["emotion"] if isinstance(emotion, _Strange)}):
        raise SerlibError(
            f"codes says nothing of the emotion {', '.join(strange)} in {folder}; give it a word, or None to leave its "
            "clips out."
        )
    kept = corpus[corpus["emotion"].notna()]
    if kept.empty:
        raise SerlibError(f"codes leaves out every clip in {folder}; give one emotion a word.")
    return kept


@dataclass(frozen=True)
class _Strange:
    """An emotion that no table knows, until the whole folder is read."""

    code: str


def _reader(pattern: str, codes: Codes) -> Callable[[Path], tuple[str, dict[str, Any]] | None]:
    """Return what reads a file's name by a pattern: (clip, row), SerlibError where it does not fit."""
    try:
        fits = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise SerlibError(f"the pattern {pattern!r:.60} is no regular expression ({error}); correct it.") from error
    if not isinstance(fits.pattern, str):
        raise SerlibError(f"the pattern {pattern!r:.60} is made of bytes; write it as text, without the b.")
    _check_codes(codes)
    if "emotion" not in fits.groupindex:
        raise SerlibError(f"the pattern {pattern!r:.60} has no group (?P<emotion>...); say where the emotion stands.")
    if strange := sorted({*fits.groupindex, *map(str, codes)} - set(_GROUPS)):
        raise SerlibError(f"a corpus has no column {strange[0]}; {nearest(strange[0], _GROUPS)}")

    def read(path: Path) -> tuple[str, dict[str, Any]]:
        match = fits.fullmatch(path.stem) or fits.fullmatch(f"{path.parent.name}/{path.stem}")
        if not match:
            raise SerlibError(f"{path.stem} does not fit the pattern.")
        return match[0].replace("/", "_"), _row(match.groupdict(), codes)

    return read


def _check_codes(codes: Any) -> None:
    """Raise SerlibError for what is no table of tables from code to word."""
    demand(codes, Mapping, "codes", 'give a table for each group, like {"emotion": {"F": "happy"}}')
    for group, table in codes.items():
        demand(table, Mapping, f"table of {group} in codes", 'write one like {"F": "happy"}')
        _check_words(table, f"codes of {group}")


def _check_words(table: Mapping[str, Any], what: str) -> None:
    """Raise SerlibError where a table makes of a code anything but a word or None."""
    for code, word in table.items():
        if word is not None and not isinstance(word, str):
            raise SerlibError(f"the {what} make {in_short(word)} of {in_short(code)}; give a word in quotes, or None.")


def _row(said: dict[str, str | None], codes: Codes) -> dict[str, Any]:
    """Return the columns of a clip from the groups of its name."""
    row: dict[str, Any] = {group: said.get(group) or "" for group in _GROUPS}
    if "actor" in codes:
        row["actor"] = codes["actor"].get(row["actor"], row["actor"])
    if "emotion" in codes:
        row["emotion"] = codes["emotion"].get(row["emotion"], _Strange(row["emotion"]))
    for group in set(codes) - {"actor", "emotion"}:
        code = row["actor"] if group == "sex" and "sex" not in said else row[group]
        row[group] = codes[group].get(code) or ""
    return row


def _numbered(corpus: pd.DataFrame) -> pd.DataFrame:
    """Return the corpus with whole numbers for statements and repetitions, 0 for unknown."""
    columns = {}
    for column in NUMBERS:
        said = corpus[column].astype(str)
        known = sorted(set(said) - {""})
        number = {text: int(text) if all(map(str.isdecimal, known)) else place for place, text in enumerate(known, 1)}
        columns[column] = said.map({"": 0, **number}).astype(np.int64)
    return corpus.assign(**columns)


# Several as one


def join(corpora: Iterable[pd.DataFrame], labels: Mapping[str, str | None] | None = None) -> pd.DataFrame:
    """Return several corpora as one that can be split and learned from, and print what they share (16).

    ``pandas.concat`` puts tables together and forgets whose they were. Here speakers and clips get the name of their
    corpus in front, so that speaker 03 of one is not speaker 03 of another, and statements are numbered on.

    Parameters
    ----------
    corpora
        Two or more, each with a name of its own in ``attrs``.
    labels
        Which emotion becomes which label; every emotion in the corpora has to be named, and None leaves its clips out.
        Without it the emotions that all corpora have are kept.

    Returns
    -------
    DataFrame
        A corpus with two columns more: ``corpus``, and ``language`` ("" where a corpus does not say). Its ``attrs``
        have those of each corpus under ``corpora``.

    Raises
    ------
    SerlibError
        For fewer than two corpora, two of one name, one that is also inside a joined one, labels that leave an emotion
        unmentioned or are no words, and corpora that share fewer than two emotions.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"path": ["a.wav", "b.wav"], "emotion": ["happy", "sad"], "actor": "1", "seconds": 2.0})
    >>> ours, theirs = table.copy(), table.assign(path=["a.wav", "c.wav"])
    >>> more = pd.DataFrame({"path": ["d.wav"], "emotion": ["bored"], "actor": "1", "seconds": 2.0})
    >>> theirs = pd.concat([theirs, more], ignore_index=True)
    >>> ours.attrs["name"], theirs.attrs["name"] = "ours", "theirs"
    >>> ser.join([ours, theirs])[["actor", "emotion", "corpus"]]
    ours and theirs share 2 emotions: happy, sad; left out: 1 clip (theirs bored 1).
                 actor emotion  corpus
    clip
    ours-a      ours-1   happy    ours
    ours-b      ours-1     sad    ours
    theirs-a  theirs-1   happy  theirs
    theirs-c  theirs-1     sad  theirs
    """
    tables = {}
    for table in _listed(corpora):
        corpus = as_corpus(table)
        name = corpus.attrs["name"]
        if name in tables:
            raise SerlibError(f'two of the corpora are called {name}; give each a name in attrs["name"].')
        tables[name] = corpus
    _demand_once(tables)
    words = _common(tables) if labels is None else _checked_words(tables, labels)
    parts, statements = [], 0
    for name, corpus in tables.items():
        parts.append(_renamed(name, corpus, words, statements))
        statements = max(statements, int(parts[-1]["statement"].max()))
    joined = pd.concat([part[part["emotion"].notna()] for part in parts])
    _demand_shared(joined, tables)
    print(_what_is_shared(tables, joined, words))
    own = {name: dict(corpus.attrs) for name, corpus in tables.items()}
    joined.attrs = {
        "name": " and ".join(tables),
        "synthetic": any(attrs["synthetic"] for attrs in own.values()),
        "misnamed": [path for attrs in own.values() for path in attrs["misnamed"]],
        "unreadable": {path: why for attrs in own.values() for path, why in attrs["unreadable"].items()},
        "corpora": own,
    }
    return joined


def _listed(corpora: Any) -> list[Any]:
    if isinstance(corpora, pd.DataFrame) or not isinstance(corpora, Iterable) or len(listed := list(corpora)) < 2:
        raise SerlibError("join takes a list of two corpora or more, like [emodb, urdu].")
    return listed


def _demand_once(tables: Mapping[str, pd.DataFrame]) -> None:
    """Raise SerlibError where a corpus is given, and is in a joined one too: its speakers would be two people."""
    inside = [name for corpus in tables.values() for name in corpus.attrs.get("corpora", ())]
    if twice := [name for name in [*tables, *inside] if [*tables, *inside].count(name) > 1]:
        raise SerlibError(f"{twice[0]} is given twice, once within a joined corpus; join each corpus once.")


def _common(tables: Mapping[str, pd.DataFrame]) -> dict[str, str | None]:
    """Return emotion -> itself where all corpora have it, None where one does not."""
    sets = [set(corpus["emotion"]) for corpus in tables.values()]
    everything, shared = set.union(*sets), set.intersection(*sets)
    if len(shared) < 2:
        has = "; ".join(f"{name} has {', '.join(sorted(set(corpus['emotion'])))}" for name, corpus in tables.items())
        raise SerlibError(f"the corpora share {len(shared)} emotion(s), and a model needs two: {has}. Give labels.")
    return {emotion: emotion if emotion in shared else None for emotion in sorted(everything)}


def _checked_words(tables: Mapping[str, pd.DataFrame], labels: Any) -> dict[str, str | None]:
    demand(labels, Mapping, "labels", 'give a table like {"happy": "positive", "bored": None}')
    _check_words(labels, "labels")
    if "" in labels.values():
        raise SerlibError("labels has an empty word; give a label, or None to leave the clips out.")
    for name, corpus in tables.items():
        if missing := sorted(set(corpus["emotion"]) - set(labels)):
            count = (corpus["emotion"] == missing[0]).sum()
            raise SerlibError(
                f"labels leaves out {missing[0]}, of which {name} has {count} clip(s); give it a label, or None to "
                "leave its clips out."
            )
    return dict(labels)


def _renamed(name: str, corpus: pd.DataFrame, words: Mapping[str, str | None], statements: int) -> pd.DataFrame:
    """Return a corpus whose clips, speakers and statements cannot be taken for those of another."""
    own = corpus["statement"]
    return corpus.assign(
        actor=[f"{name}-{actor}" if actor else "" for actor in corpus["actor"]],
        emotion=[words[emotion] for emotion in corpus["emotion"]],
        statement=own.where(own == 0, own + statements),
        corpus=name,
        language=str(corpus.attrs.get("language", "")),
    ).set_axis(pd.Index([f"{name}-{clip}" for clip in corpus.index], name="clip"))


def _demand_shared(joined: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
    """Raise SerlibError where labels leave no two emotions that every corpus has."""
    sets = [set(joined.loc[joined["corpus"] == name, "emotion"]) for name in tables]
    if len(shared := set.intersection(*sets)) < 2:
        raise SerlibError(
            f"with these labels the corpora share {len(shared)} emotion(s) ({', '.join(sorted(shared)) or 'none'}), "
            "and a model needs two; give other labels."
        )


def _what_is_shared(tables: Mapping[str, pd.DataFrame], joined: pd.DataFrame, words: Mapping[str, str | None]) -> str:
    emotions = sorted(set(joined["emotion"]))
    left = {
        f"{name} {emotion} {count}": count
        for name, corpus in tables.items()
        for emotion, count in corpus["emotion"].value_counts().sort_index().items()
        if words[emotion] is None
    }
    text = f"{' and '.join(tables)} share {len(emotions)} emotions: {', '.join(emotions)}"
    if total := sum(left.values()):
        text += f"; left out: {total:,} clip{'s' * (total > 1)} ({', '.join(left)})"
    return f"{text}."
