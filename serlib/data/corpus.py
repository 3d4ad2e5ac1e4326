"""Where clips come from: RAVDESS, the embedded corpus, anybody's CSV (notebooks 00 and 01).

A corpus is a pandas DataFrame indexed by ``clip`` (the name of the file without its ending) with the columns
``path, actor, sex, emotion, intensity, statement, repetition, seconds``: filter it like any other DataFrame.
``corpus.attrs`` says where it is from: ``name``, ``synthetic``, and the ``misnamed`` and ``unreadable`` files
that were left out.
"""

import codecs
import csv
import io
import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import infer_dtype, is_float_dtype, is_integer_dtype, is_scalar

from serlib.data import audio
from serlib.errors import SerlibError, nearest
from serlib.files import atomic_path, checksum, given_path, safe_name

COLUMNS = ("path", "actor", "sex", "emotion", "intensity", "statement", "repetition", "seconds")
NAMES = ("actor", "sex", "emotion", "intensity")  # text, "" when unknown
NUMBERS = ("statement", "repetition")  # whole, 0 when unknown
BOOKS_OWN = ("mini", "ravdess")  # the names of the corpora of the book, which no table of anybody's takes
SUFFIXES = (".wav", ".flac")  # of the files that a folder is searched for
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_EMBEDDED = re.compile(r"[/\\]mini-v\d+(-[a-z]+)?[/\\]Actor_")  # where the embedded corpus lies in the cache


def _seconds_of(path: str | Path) -> float:
    """Return how long a sound file is, in seconds. Raises SerlibError as ``audio.header`` does."""
    header = audio.header(path)
    return header.frames / header.rate


def corpus_of(rows: Mapping[str, Mapping[str, Any]], attrs: dict[str, Any]) -> pd.DataFrame:
    """Return clip -> row as a corpus: the columns in their order, sorted by clip."""
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(rows, name="clip"), columns=list(COLUMNS))
    frame = frame.sort_index()
    frame.attrs = attrs
    return frame


# A folder of files whose names speak


def from_folder(
    folder: Path, named: Callable[[Path], tuple[str, dict[str, Any]] | None], what: str, remedy: str
) -> pd.DataFrame:
    """Return the clips below a folder as a corpus; misnamed and unreadable files are left out, with a warning.

    Parameters
    ----------
    folder
        Searched for .wav and .flac, however deep; a second copy of a clip further down is passed over.
    named
        Says of a file what its clip is called and what is in its row, None for what does not belong; it raises
        SerlibError for a name that it cannot read.
    what, remedy
        What the folder should hold, and what helps where it holds none, for sentences.

    Returns
    -------
    DataFrame
        A row a clip; ``attrs`` has the ``misnamed`` and the ``unreadable``.

    Raises
    ------
    SerlibError
        For a folder that is not there, has no such clip or none that can be read, and for a clip that is there twice.
    """
    if not folder.is_dir():
        raise SerlibError(f"there is no folder {folder}; {remedy}.")
    rows: dict[str, dict[str, Any]] = {}
    depths: dict[str, int] = {}
    misnamed: list[str] = []
    twice: list[tuple[str, Path]] = []
    for depth, path in _sound_files(folder):
        try:
            found = named(path)
        except SerlibError:
            misnamed.append(str(path))
            continue
        if found is None:
            continue
        clip, row = found
        if clip not in rows:
            rows[clip], depths[clip] = {"path": str(path), **row}, depth
        elif depth == depths[clip]:
            twice.append((rows[clip]["path"], path))
    if twice:
        raise SerlibError(
            f"{len(twice)} clip(s) are there twice, the first as {twice[0][0]} and {twice[0][1]}; keep one."
        )
    if not rows:
        raise SerlibError(f"{folder} holds no {what}; {remedy}.")
    return _readable(rows, folder, misnamed)


def _readable(rows: dict[str, dict[str, Any]], folder: Path, misnamed: list[str]) -> pd.DataFrame:
    """Return the corpus of those files that can be read, with their seconds; warn of the others."""
    unreadable: dict[str, str] = {}
    for row in rows.values():
        try:
            row["seconds"] = _seconds_of(row["path"])
        except SerlibError as error:
            unreadable[row["path"]] = str(error)
    if misnamed:
        warnings.warn(f"left out {len(misnamed)} misnamed file(s), the first: {misnamed[0]}", stacklevel=5)
    if unreadable:
        first = next(iter(unreadable.values()))
        warnings.warn(f"left out {len(unreadable)} unreadable file(s), the first: {first}", stacklevel=5)
    if len(unreadable) == len(rows):
        raise SerlibError(f"none of the {len(rows)} clips in {folder} can be read; copy or download them again.")
    readable = {clip: row for clip, row in rows.items() if "seconds" in row}
    return corpus_of(readable, {"name": "", "synthetic": None, "misnamed": misnamed, "unreadable": unreadable})


def _sound_files(folder: Path) -> list[tuple[int, Path]]:
    """Return every .wav and .flac below a folder with its depth, by depth and name: some copies of RAVDESS hold more
    actors, or themselves once more, in an inner folder."""
    found: list[tuple[int, Path]] = []
    been: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in been:  # a link that leads back up
            folders.clear()
            continue
        been.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        depth = len(Path(place).relative_to(folder).parts)
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                found.append((depth, Path(place, name)))
    return sorted(found)


# Anybody's table


def as_corpus(frame: pd.DataFrame) -> pd.DataFrame:
    """Return any table of clips as a corpus; a corpus comes back as it is.

    Columns ``path`` and ``emotion`` are enough. What else is missing is filled in ("" or 0 for unknown; a ``speaker``
    is an actor), seconds are read from the files, numbers become names where names belong, clips are named after their
    files where the index has no names, and the corpus is called "unnamed" where pandas has lost what it was called
    (``concat`` and ``merge`` do that).

    Parameters
    ----------
    frame
        A table with a row for each clip.

    Returns
    -------
    DataFrame
        The table with the columns and ``attrs`` of a corpus.

    Raises
    ------
    SerlibError
        For what is no corpus; it says why.

    Examples
    --------
    >>> import pandas as pd
    >>> from serlib.data.corpus import as_corpus
    >>> table = pd.DataFrame({"path": ["a.wav", "b.wav"], "emotion": ["happy", "sad"], "speaker": [1, 2]})
    >>> as_corpus(table.assign(seconds=2.0))[["emotion", "actor", "intensity", "statement"]]
         emotion actor intensity  statement
    clip
    a      happy     1                    0
    b        sad     2                    0
    """
    _check_table(frame)
    columns: dict[str, Any] = {"path": _paths(frame), **{name: _names(frame, name) for name in NAMES}}
    columns |= {name: _numbers(frame, name) for name in NUMBERS}
    changed = {column: values for column, values in columns.items() if values is not None}
    corpus = frame.assign(**changed) if changed else frame
    if not _is_text(corpus.index):
        files = _clip_names([given_path(path) for path in corpus["path"]])
        clips = [clip if isinstance(clip, str) else name for clip, name in zip(corpus.index, files, strict=True)]
        corpus = corpus.set_axis(pd.Index(clips))
    if corpus.index.has_duplicates:
        raise SerlibError(f"clip {corpus.index[corpus.index.duplicated()][0]} is in the corpus twice; keep one.")
    if (corpus["emotion"] == "").any():
        clip = corpus.index[corpus["emotion"] == ""][0]
        raise SerlibError(f"clip {clip} has no emotion; fill it in or leave the clip out.")
    if "seconds" not in corpus or not is_float_dtype(corpus["seconds"].dtype) or corpus["seconds"].hasnans:
        known = pd.to_numeric(corpus.get("seconds", pd.Series(None, corpus.index, float)), errors="coerce")
        seconds = [_seconds_of(path) if pd.isna(s) else s for path, s in zip(corpus["path"], known, strict=True)]
        corpus = corpus.assign(seconds=pd.Series(seconds, corpus.index, float))
    attrs = {"name": "", "synthetic": None, "misnamed": [], "unreadable": {}} | frame.attrs
    attrs["name"] = str(attrs["name"] or "unnamed")
    if attrs["synthetic"] is None:  # what was spoken goes on saying so, though pandas forgot it
        attrs["synthetic"] = _is_embedded(corpus["path"])
    attrs["synthetic"] = bool(attrs["synthetic"])  # records of runs know no truth value of numpy
    if corpus.attrs != attrs or corpus.attrs["synthetic"] is not attrs["synthetic"] or corpus.index.name != "clip":
        corpus = corpus.rename_axis(index="clip")
        corpus.attrs = attrs
    return corpus


def _check_table(frame: Any) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise SerlibError(
            f"a corpus is a table with a row for each clip, and this is a {type(frame).__name__}; take one from "
            "ser.ravdess, ser.mini or ser.from_csv."
        )
    if not {"path", "emotion"} <= set(frame.columns):
        there = ", ".join(map(str, frame.columns)) or "no columns"
        raise SerlibError(f"a corpus needs the columns path and emotion, and this table has {there}.")
    twice = frame.columns[frame.columns.duplicated()].intersection(COLUMNS)
    if len(twice):
        raise SerlibError(f"the corpus has two columns named {twice[0]}; drop or rename one.")
    if frame.empty:
        raise SerlibError("the corpus has no clips; give it at least one.")


def _is_text(values: pd.Series | pd.Index) -> bool:
    """Whether every value is text; in microseconds, because every verb asks it of every corpus."""
    return infer_dtype(values, skipna=False) == "string" and not values.hasnans


def _paths(frame: pd.DataFrame) -> list[str] | None:
    """Return a path for each clip, None where the column is as it should be."""
    paths = frame["path"]
    if _is_text(paths) and not paths.str.startswith("~").any():
        return None
    if paths.hasnans:
        raise SerlibError(f"clip {frame.index[paths.isna()][0]} has no path; fill it in or leave the clip out.")
    return [str(given_path(path)) for path in paths]


def _names(frame: pd.DataFrame, column: str) -> list[str] | str | None:
    """Return the names in a column as text, None where it is as it should be."""
    if column not in frame:
        return [_as_name(value) for value in frame["speaker"]] if column == "actor" and "speaker" in frame else ""
    return None if _is_text(frame[column]) else [_as_name(value) for value in frame[column]]


def _numbers(frame: pd.DataFrame, column: str) -> list[int] | int | None:
    """Return the whole numbers in a column, None where it is as it should be."""
    if column not in frame:
        return 0
    if is_integer_dtype(frame[column].dtype) and not frame[column].hasnans:
        return None
    return [_as_whole(value, f"{column} of clip {clip}") for clip, value in frame[column].items()]


def _as_name(value: Any) -> str:
    """Return a cell as text: "" for none, and 1 for 1.0, which pandas makes of it where another cell is empty."""
    if is_scalar(value) and pd.isna(value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _as_whole(value: Any, what: str) -> int:
    """Return a cell as a whole number, 0 for none."""
    try:
        number = float(_as_name(value) or 0)
        if number.is_integer():
            return int(number)
    except ValueError:
        pass
    raise SerlibError(f"{what} is {value!r}; it should be a whole number (0 when unknown).")


def _clip_names(files: Sequence[Path]) -> list[str]:
    """Return a name for each file: its stem, or with its folders where two files have the same."""
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        # speaker1/001.wav and speaker2/001.wav: the folders belong to the name.
        try:
            top = os.path.commonpath([file.parent for file in files])
        except ValueError:  # several drives of Windows
            return ["_".join(file.with_suffix("").parts[1:]) for file in files]
        names = ["_".join(file.relative_to(top).with_suffix("").parts) for file in files]
    return names


def _is_embedded(paths: Iterable[str]) -> bool:
    """Whether some of the clips are those that serlib itself has spoken."""
    return any(_EMBEDDED.search(path) for path in paths)


# Anybody's CSV


def from_csv(path: Path | str, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the corpus that a CSV lists: any labels, rates, channels; one row a file (notebook 12).

    Parameters
    ----------
    path
        A CSV with the columns ``path`` (relative to the CSV, or absolute) and ``emotion``. Columns ``actor`` (or
        ``speaker``), ``sex``, ``intensity``, ``statement`` and ``repetition`` (both whole numbers) and ``clip`` (a name
        other than the file's) may be there; a warning names those that mean nothing here. Commas, semicolons or tabs
        part the cells, as spreadsheets write them.
    labels
        The only emotions allowed; None allows any.

    Returns
    -------
    DataFrame
        A row a clip, with the columns of a corpus; ``attrs["name"]`` is the name of the CSV, of ravdess.csv and
        mini.csv with the ending, for they are none of the book's corpora.

    Raises
    ------
    SerlibError
        For a missing cell, file or unknown label; it names the line.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> for name in ("mine", "yours"):
    ...     soundfile.write(f"{folder.name}/{name}.wav", np.zeros(8000), 16_000)
    >>> rows = [("mine.wav", "proud", "Ada"), ("yours.wav", "bored", "Ben")]
    >>> pd.DataFrame(rows, columns=["path", "emotion", "speaker"]).to_csv(f"{folder.name}/us.csv", index=False)
    >>> ser.from_csv(f"{folder.name}/us.csv")[["actor", "emotion", "seconds"]]
          actor emotion  seconds
    clip
    mine    Ada   proud      0.5
    yours   Ben   bored      0.5
    >>> folder.cleanup()
    """
    path, labels = given_path(path), _checked_labels(labels)
    rows = _read_rows(path)
    for line, row in rows.items():
        if not row["emotion"]:
            raise SerlibError(f"line {line} of {path} has no emotion; fill it in or remove the line.")
        if labels is not None and row["emotion"] not in labels:
            raise SerlibError(
                f"line {line} of {path} has the unknown emotion {row['emotion']}; {nearest(row['emotion'], labels)}"
            )
    if not rows:
        raise SerlibError(f"{path} lists no clips; give each a line.")
    _check_emotions(path, sorted({row["emotion"] for row in rows.values()}))

    unreadable: list[str] = []
    seen: set[Path] = set()
    for line, row in rows.items():
        if not row["path"]:
            raise SerlibError(f"line {line} of {path} has no path; fill it in or remove the line.")
        file = _file_of(row["path"], path.parent)
        if file in seen:
            raise SerlibError(f"line {line} of {path} names {file} again; a clip may be there once.")
        seen.add(file)
        row["path"] = str(file)
        try:
            row["seconds"] = _seconds_of(file)
        except SerlibError as error:
            unreadable.append(f"line {line}: {error}")
    if unreadable:
        raise SerlibError(
            f"{len(unreadable)} of {len(rows)} files of {path} cannot be read, the first at {unreadable[0]}"
        )

    clips: dict[str, dict[str, Any]] = {}
    for (line, row), name in zip(rows.items(), _clip_names([Path(row["path"]) for row in rows.values()]), strict=True):
        clip = row.get("clip") or name
        if clip in clips:
            raise SerlibError(
                f"line {line} of {path} is clip {clip} again; give it a name of its own in a column clip."
            )
        clips[clip] = row
    spoken = any(row.get("synthetic", "").casefold() in ("true", "1") for row in rows.values())
    synthetic = spoken or _is_embedded(row["path"] for row in rows.values())
    name = path.name if path.stem in BOOKS_OWN else path.stem
    return corpus_of(clips, {"name": name, "synthetic": synthetic, "misnamed": [], "unreadable": {}})


def _checked_labels(labels: Any) -> list[str] | None:
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise SerlibError(f'labels are a list such as ["happy", "sad"], and this is {labels!r:.60}.')
    return list(map(str, labels))


def _check_emotions(path: Path, found: Sequence[str]) -> None:
    if len(found) < 2:
        raise SerlibError(f"{path} has one emotion only ({', '.join(found)}); telling apart needs at least two.")
    folded: dict[str, str] = {}
    for emotion in found:
        if folded.setdefault(emotion.casefold(), emotion) != emotion:
            raise SerlibError(f"{path} writes {folded[emotion.casefold()]} also as {emotion}; write it in one way.")


def _file_of(cell: str, folder: Path) -> Path:
    """Return the file that a cell names: below the CSV's folder, absolute or from ``~``, and as Windows writes it."""
    ways = [given_path(folder / os.path.expanduser(way)) for way in (cell, cell.replace("\\", "/"))]
    return next((file for file in ways if file.is_file()), ways[0])


def _read_rows(path: Path) -> dict[int, dict[str, Any]]:
    """Return line -> cells by column of a CSV of clips, lines as an editor counts them, optional columns filled up."""
    text = _read_text(path)
    separator, told = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    lines: dict[int, list[str]] = {}
    try:
        for cells in reader:
            if any(cells := [cell.strip() for cell in cells]):
                lines[reader.line_num] = cells
    except csv.Error as error:
        raise SerlibError(f"line {reader.line_num} of {path} cannot be read as a CSV ({error}); correct it.") from error
    if told:
        lines.pop(min(lines))
    if not lines:
        raise SerlibError(f"{path} is empty and cannot be read as a CSV; save it again.")
    columns = _column_names(path, lines.pop(min(lines)))
    rows: dict[int, dict[str, Any]] = {}
    for line, cells in lines.items():
        if any(cells[len(columns) :]):
            raise SerlibError(
                f"line {line} of {path} has {len(cells)} cells, and its header has {len(columns)}; put quotes around a "
                f"cell that holds a {_SEPARATORS[separator]}."
            )
        cells += [""] * (len(columns) - len(cells))
        rows[line] = dict.fromkeys(NAMES, "") | dict(zip(columns, cells, strict=False))
        rows[line] |= {c: _as_whole(rows[line].get(c, 0), f"{c} in line {line} of {path}") for c in NUMBERS}
    return rows


def _read_text(path: Path) -> str:
    """Return the text of a CSV in UTF-8, or in the UTF-16 that Excel calls Unicode."""
    if not path.is_file():
        raise SerlibError(f"there is no file {path}; check the path.")
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SerlibError(f"line {line} of {path} is not in UTF-8; save it again as CSV in UTF-8.") from error
    if "\0" in text:
        raise SerlibError(f"{path} is no text in UTF-8; save it again as CSV in UTF-8.")
    return text


def _separator(text: str) -> tuple[str, bool]:
    """Return what parts the cells, and whether Excel's first line, such as ``sep=;``, tells it."""
    head = next((line for line in text.splitlines() if line.strip()), "")
    told = re.fullmatch(r'"?sep=([,;\t])"?[,;\t]*', head, re.IGNORECASE)
    return (told[1], True) if told else (max(_SEPARATORS, key=head.count), False)


def _column_names(path: Path, header: list[str]) -> list[str]:
    """Return the names of a CSV's columns as a corpus has them; warn of those that mean nothing to it."""
    while header and not header[-1]:
        header.pop()  # a header that ends in a comma
    columns = [name.casefold() for name in header]
    if "actor" not in columns:
        columns = ["actor" if name == "speaker" else name for name in columns]
    for column in ("path", "emotion"):
        if column not in columns:
            there = ", ".join(header)
            raise SerlibError(f"{path} has no column named {column} (it has {there}); it needs path and emotion.")
    known = {*COLUMNS, "clip", "synthetic"}
    twice = [name for name in columns if columns.count(name) > 1 and name in known]
    if twice:
        raise SerlibError(f"{path} has two columns named {twice[0]}; rename one.")
    odd = [name or "one without a name" for name, column in zip(header, columns, strict=True) if column not in known]
    if odd:
        warnings.warn(f"left out columns of {path} that a corpus does not know: {', '.join(odd)}", stacklevel=4)
    return columns


# The paper's bookkeeping (its section 5.2)


def regroup_by_emotion(corpus: pd.DataFrame, folder: Path | str) -> Path:
    """Copy the clips into a folder for each emotion, list them in ``labels.csv`` there, and return its path.

    The paper's first step (section 5.2): a table of path and label. Files that are there already are not copied again.

    Parameters
    ----------
    corpus
        Clips whose files are there.
    folder
        Where the folders of the emotions are made.

    Returns
    -------
    Path
        ``labels.csv``, with the columns path (relative to the folder) and emotion.

    Raises
    ------
    SerlibError
        For a clip without its file, and where nothing can be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd, soundfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> paths = [f"{folder.name}/one.wav", f"{folder.name}/two.wav"]
    >>> for path in paths:
    ...     soundfile.write(path, np.zeros(8000), 16_000)
    >>> corpus = pd.DataFrame({"path": paths, "emotion": ["happy", "sad"]})
    >>> print(ser.regroup_by_emotion(corpus, f"{folder.name}/regrouped").read_text())
    path,emotion
    happy/one.wav,happy
    sad/two.wav,sad
    >>> folder.cleanup()
    """
    folder, corpus = given_path(folder), as_corpus(corpus)
    groups, names = _disk_names(corpus["emotion"].unique()), _disk_names(corpus.index)
    paths: list[str] = []
    for clip, row in corpus.iterrows():
        source = Path(row["path"])
        if not source.is_file():
            raise SerlibError(f"there is no file {source} for clip {clip}; check the path.")
        target = folder / groups[row["emotion"]] / f"{names[clip]}{source.suffix}"
        if not target.exists() or checksum(target) != checksum(source):
            with atomic_path(target) as whole:
                shutil.copyfile(source, whole)
        paths.append(target.relative_to(folder).as_posix())
    write_csv(corpus.assign(path=paths), folder / "labels.csv")
    return folder / "labels.csv"


def _disk_names(texts: Iterable[str]) -> dict[str, str]:
    """Return a name on the disk for each text: itself where that is safe, and no other differs in case only."""
    texts = list(texts)
    alike = Counter(text.lower() for text in texts)
    plain = {text for text in texts if alike[text.lower()] == 1 and safe_name(text.lower()) == text.lower()}
    return {text: text if text in plain else safe_name(text) for text in texts}


def write_csv(corpus: pd.DataFrame, path: Path) -> None:
    """Write path and emotion of each clip, and that a corpus is synthetic where it is."""
    table = corpus[["path", "emotion"]]
    if corpus.attrs.get("synthetic"):
        table = table.assign(synthetic=True)
    with atomic_path(path) as target:
        table.to_csv(target, index=False)
