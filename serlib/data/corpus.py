"""Where clips come from: RAVDESS, the embedded corpus, anybody's CSV (notebooks 00 and 01).

A corpus is a pandas DataFrame indexed by ``clip`` (the name of the file without its ending) with the columns
``path, actor, sex, emotion, intensity, statement, repetition, seconds``: filter it like any other DataFrame.
``corpus.attrs`` says where it is from: ``name``, ``synthetic``, and the ``misnamed`` and ``unreadable`` files
that were left out.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from serlib.data import audio
from serlib.errors import SerlibError, nearest
from serlib.files import atomic_path, safe_name

COLUMNS = ("path", "actor", "sex", "emotion", "intensity", "statement", "repetition", "seconds")


def seconds_of(path: str | Path) -> float:
    header = audio.header(path)
    return header.frames / header.rate


def corpus_of(rows: dict[str, dict], attrs: dict) -> pd.DataFrame:
    """Return clip -> row as a corpus: the columns in their order, sorted by clip."""
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(rows, name="clip"), columns=list(COLUMNS))
    frame = frame.sort_index()
    frame.attrs = attrs
    return frame


def as_corpus(frame: pd.DataFrame) -> pd.DataFrame:
    """Return any table of clips as a corpus; a corpus comes back as it is.

    Columns ``path`` and ``emotion`` are enough: what else is missing is filled in ("" or 0 for unknown), seconds are
    read from the files, clips are named after their files where the index has no names, and the corpus is called
    "unnamed" where pandas has lost what it was called (``concat`` and ``merge`` do that). Raises SerlibError that says
    why something is no corpus.
    """
    if not isinstance(frame, pd.DataFrame):
        raise SerlibError(
            f"a corpus is a table with a row for each clip, and this is a {type(frame).__name__}; take one from "
            "ser.ravdess, ser.mini or ser.from_csv."
        )
    missing = [column for column in ("path", "emotion") if column not in frame]
    if missing:
        there = ", ".join(map(str, frame.columns)) or "no columns"
        raise SerlibError(f"a corpus needs the columns path and emotion, and this table has {there}.")
    if frame.empty:
        raise SerlibError("the corpus has no clips; give it at least one.")
    attrs = {"name": "unnamed", "synthetic": False, "misnamed": [], "unreadable": {}} | frame.attrs
    if not all(isinstance(clip, str) for clip in frame.index):
        names = _names_of([Path(path) for path in frame["path"]])
        frame = frame.set_axis(pd.Index(names, name="clip"))
    if frame.index.has_duplicates:
        raise SerlibError(f"clip {frame.index[frame.index.duplicated()][0]} is in the corpus twice; keep one.")
    unknown = frame["emotion"].isna() | (frame["emotion"] == "")
    if unknown.any():
        raise SerlibError(f"clip {frame.index[unknown][0]} has no emotion; fill it in or leave the clip out.")
    filled = {}
    for column in COLUMNS[1:]:
        nothing = 0 if column in ("statement", "repetition") else ""
        if column == "seconds":
            if column not in frame or frame[column].isna().any():
                filled[column] = [seconds_of(path) for path in frame["path"]]
        elif column not in frame:
            filled[column] = nothing
        elif frame[column].isna().any():
            filled[column] = frame[column].astype(object).where(frame[column].notna(), nothing)
    if not all(isinstance(actor, str) for actor in filled.get("actor", frame.get("actor", ""))):
        filled["actor"] = frame["actor"].astype(str)
    if not filled and frame.attrs == attrs and frame.index.name == "clip":
        return frame
    frame = frame.assign(**filled).rename_axis("clip")
    frame.attrs = attrs
    return frame


def _names_of(files: Sequence[Path]) -> list[str]:
    """Return a name for each file: its stem, or with its folders where two files have the same."""
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        # speaker1/001.wav and speaker2/001.wav: the folders belong to the name.
        top = os.path.commonpath([file.parent for file in files])
        names = ["_".join(file.relative_to(top).with_suffix("").parts) for file in files]
    return names


# Anybody's corpus


def from_csv(path: Path | str, labels: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the corpus that a CSV lists: any labels, rates, channels; one row a file (notebook 12).

    Columns ``path`` (relative to the CSV, or absolute) and ``emotion`` are needed; ``actor``, ``sex``,
    ``intensity``, ``statement`` and ``repetition`` (both whole numbers) may be there. ``labels`` are the only
    ones allowed, when given. Raises SerlibError that names the line for a missing cell, file or unknown
    label.
    """
    path = Path(path)
    table = _read_table(path)
    lines = range(2, len(table) + 2)  # as an editor counts them: the header is line 1
    for line, emotion in zip(lines, table["emotion"], strict=True):
        if not emotion:
            raise SerlibError(f"line {line} of {path} has no emotion; fill it in or remove the line.")
        if labels is not None and emotion not in labels:
            raise SerlibError(f"line {line} of {path} has the unknown emotion {emotion}; {nearest(emotion, labels)}")
    if table.empty:
        raise SerlibError(f"{path} lists no clips; give each a line.")
    found = sorted(set(table["emotion"]))
    if len(found) < 2:
        raise SerlibError(f"{path} has one emotion only ({', '.join(found)}); telling apart needs at least two.")
    folded = {}
    for emotion in found:
        if folded.setdefault(emotion.casefold(), emotion) != emotion:
            raise SerlibError(f"{path} writes {folded[emotion.casefold()]} also as {emotion}; write it in one way.")

    files = [Path(os.path.abspath(path.parent / name)) for name in table["path"]]
    unreadable, seconds, seen = [], [], set()
    for line, file in zip(lines, files, strict=True):
        if file in seen:
            raise SerlibError(f"line {line} of {path} names {file} again; a clip may be there once.")
        seen.add(file)
        try:
            seconds.append(seconds_of(file))
        except SerlibError as error:
            unreadable.append(f"line {line}: {error}")
    if unreadable:
        raise SerlibError(
            f"{len(unreadable)} of {len(files)} files of {path} cannot be read, the first at {unreadable[0]}"
        )

    names = _names_of(files)
    if len(set(names)) < len(names):
        raise SerlibError(f"two files of {path} differ in nothing but their ending or folder marks; rename one.")
    table = table.assign(path=[str(file) for file in files], seconds=seconds)
    rows = dict(zip(names, table.to_dict("records"), strict=True))
    synthetic = bool((table.get("synthetic", pd.Series(dtype=str)) == "True").any())
    return corpus_of(rows, {"name": path.stem, "synthetic": synthetic, "misnamed": [], "unreadable": {}})


def _read_table(path: Path) -> pd.DataFrame:
    """Return a CSV of clips as text, optional columns filled up; commas, semicolons or tabs between cells."""
    if not path.is_file():
        raise SerlibError(f"there is no file {path}; check the path.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.split("\n", 1)[0]
        separator = max(",;\t", key=head.count)
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise SerlibError(f"{path} cannot be read as a CSV in UTF-8 ({error}); save it again as CSV.") from error
    table = table.rename(columns=str.strip).map(str.strip)
    for column in ("path", "emotion"):
        if column not in table:
            there = ", ".join(table.columns)
            raise SerlibError(f"{path} has no column named {column} (it has {there}); it needs path and emotion.")
    for column in ("actor", "sex", "intensity"):
        if column not in table:
            table[column] = ""
    for column in ("statement", "repetition"):
        numbers = pd.to_numeric(table.get(column, pd.Series("0", table.index)).replace("", "0"), errors="coerce")
        if numbers.isna().any() or (numbers % 1 != 0).any():
            raise SerlibError(f"column {column} of {path} should hold whole numbers (0 when unknown).")
        table[column] = numbers.astype(int)
    return table


# The paper's bookkeeping (its section 5.2)


def regroup_by_emotion(corpus: pd.DataFrame, folder: Path | str) -> Path:
    """Copy the clips into a folder for each emotion, list them in ``labels.csv`` there, and return its path.

    The paper's first step (section 5.2): a table of path and label. Files that are there already are not
    copied again.
    """
    folder, corpus = Path(folder), as_corpus(corpus)
    paths = []
    for clip, row in corpus.iterrows():
        source = Path(row["path"])
        target = folder / safe_name(row["emotion"]) / f"{safe_name(clip)}{source.suffix}"
        if not target.exists() or target.stat().st_size != source.stat().st_size:
            with atomic_path(target) as whole:
                shutil.copyfile(source, whole)
        paths.append(target.relative_to(folder).as_posix())
    write_csv(corpus.assign(path=paths), folder / "labels.csv")
    return folder / "labels.csv"


def write_csv(corpus: pd.DataFrame, path: Path) -> None:
    """Write path and emotion of each clip, and that a corpus is synthetic where it is."""
    table = corpus[["path", "emotion"]]
    if corpus.attrs.get("synthetic"):
        table = table.assign(synthetic=True)
    with atomic_path(path) as target:
        table.to_csv(target, index=False)
