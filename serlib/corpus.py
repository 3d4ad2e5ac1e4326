"""Where clips come from: RAVDESS, the embedded corpus, anybody's CSV (notebooks 00 and 01).

A corpus is a pandas DataFrame indexed by ``clip`` (the name of the file without its ending) with the columns
``path, actor, sex, emotion, intensity, statement, repetition, seconds``: filter it like any other DataFrame.
``corpus.attrs`` says where it is from: ``name``, ``synthetic``, and the ``misnamed`` and ``unreadable`` files
that were left out.
"""

import errno
import hashlib
import http.client
import os
import re
import shutil
import stat
import time
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm.auto import tqdm

from serlib import audio
from serlib.errors import SerlibError, nearest
from serlib.files import atomic_path, cache_dir, checksum

if TYPE_CHECKING:
    from serlib.splits import Split

EMOTIONS = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
COLUMNS = ("path", "actor", "sex", "emotion", "intensity", "statement", "repetition", "seconds")

# Livingstone and Russo 2018, doi 10.5281/zenodo.1188976; 208 MB, Creative Commons BY-NC-SA 4.0.
RAVDESS_URL = "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1"
RAVDESS_MD5 = "bc696df654c87fed845eb13823edef8a"
RETRY_SECONDS = (1, 4, 15)
"""Waits before a broken download goes on; after the last it gives up."""

# The third pair of digits of a RAVDESS file name.
_CODES = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
_NAME = re.compile(r"(0[123]-0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])")
_SPEECH = "03-01"  # audio only, spoken; the record also has videos (01, 02) and song (02)
_SUFFIXES = {".wav", ".flac"}
_SHORT = 0.25  # seconds; below it the backbones' masking in training has too few frames to work on


def parse_name(stem: str) -> dict[str, str | int]:
    """Read what the seven pairs of digits of a RAVDESS file name say.

    >>> parse_name("03-01-06-01-02-01-12")["emotion"]
    'fearful'
    """
    match = _NAME.fullmatch(stem)
    if not match:
        raise SerlibError(f"{stem} is not a RAVDESS name; it should look like 03-01-06-01-02-01-12.")
    kind, emotion, intensity, statement, repetition, actor = match.groups()
    if kind != _SPEECH:
        raise SerlibError(f"{stem} is not an audio-only speech clip; the names of those begin with 03-01.")
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

    Looks in ``folder``, else where the environment variable ``RAVDESS_DIR`` points, else in the cache, to
    which they are downloaded when they are not there yet. Takes .wav and .flac, with or without ``Actor_``
    folders.
    """
    named = folder or os.environ.get("RAVDESS_DIR")
    return _from_folder(Path(named) if named else _download(cache_dir() / "ravdess"), "ravdess")


def mini() -> pd.DataFrame:
    """Return the embedded corpus: synthetic speech in RAVDESS's layout, spoken on first use."""
    from serlib import synth

    clips = {name: parse_name(name) for name in _official_names()}
    return _from_folder(synth.corpus_folder(clips, STATEMENTS), "mini", synthetic=True)


def _official_names() -> list[str]:
    """Return the 1,440 file stems of RAVDESS speech: 24 actors of 60 clips, neutral without a strong intensity."""
    return [
        f"03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"
        for actor, emotion in product(range(1, 25), range(1, 9))
        for intensity, statement, repetition in product((1, 2) if emotion > 1 else (1,), (1, 2), (1, 2))
    ]


def _from_folder(folder: Path, name: str, synthetic: bool = False) -> pd.DataFrame:
    """Read a folder in RAVDESS's naming; what is misnamed or unreadable is left out, with a warning."""
    if not folder.is_dir():
        raise SerlibError(
            f"there is no folder {folder}; correct RAVDESS_DIR, or unset it to download RAVDESS."
        )
    # Some copies of RAVDESS hold themselves once more in an inner folder: go no deeper than needed.
    found = sorted(folder.glob("Actor_*/*")) or sorted(folder.rglob("*"))
    rows, misnamed, twice = {}, [], []
    for path in found:
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
            continue
        match = _NAME.fullmatch(path.stem)
        if match and match.group(1) != _SPEECH:
            continue
        path = path.absolute()
        try:
            row = {"path": str(path), **parse_name(path.stem)}
        except SerlibError:
            misnamed.append(str(path))
            continue
        if path.stem in rows:
            twice.append((rows[path.stem]["path"], path))
        rows[path.stem] = row
    if twice:
        raise SerlibError(
            f"{len(twice)} clip(s) are there twice, the first as {twice[0][0]} and {twice[0][1]}; keep one."
        )
    if not rows:
        raise SerlibError(
            f"{folder} holds no speech clips of RAVDESS (.wav or .flac, named like 03-01-06-01-02-01-12); "
            "correct RAVDESS_DIR, or unset it to download them."
        )
    unreadable = {}
    for row in rows.values():
        try:
            row["seconds"] = _seconds(row["path"])
        except SerlibError as error:
            unreadable[row["path"]] = str(error)
    if misnamed:
        warnings.warn(f"left out {len(misnamed)} misnamed file(s), the first: {misnamed[0]}", stacklevel=3)
    if unreadable:
        first = next(iter(unreadable.values()))
        warnings.warn(f"left out {len(unreadable)} unreadable file(s), the first: {first}", stacklevel=3)
    if len(unreadable) == len(rows):
        raise SerlibError(
            f"none of the {len(rows)} clips in {folder} can be read; copy or download them again."
        )
    readable = {clip: row for clip, row in rows.items() if "seconds" in row}
    return _corpus(
        readable, {"name": name, "synthetic": synthetic, "misnamed": misnamed, "unreadable": unreadable}
    )


def _seconds(path: str | Path) -> float:
    header = audio.header(path)
    return header.frames / header.rate


def _corpus(rows: dict[str, dict], attrs: dict) -> pd.DataFrame:
    """Return clip -> row as a corpus: the columns in their order, sorted by clip."""
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(rows, name="clip"), columns=list(COLUMNS))
    frame = frame.sort_index()
    frame.attrs = attrs
    return frame


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
            raise SerlibError(
                f"line {line} of {path} has the unknown emotion {emotion}; {nearest(emotion, labels)}"
            )
    if table.empty:
        raise SerlibError(f"{path} lists no clips; give each a line.")
    found = sorted(set(table["emotion"]))
    if len(found) < 2:
        raise SerlibError(
            f"{path} has one emotion only ({', '.join(found)}); telling apart needs at least two."
        )
    folded = {}
    for emotion in found:
        if folded.setdefault(emotion.casefold(), emotion) != emotion:
            raise SerlibError(
                f"{path} writes {folded[emotion.casefold()]} also as {emotion}; write it in one way."
            )

    files = [Path(os.path.abspath(path.parent / name)) for name in table["path"]]
    unreadable, seconds, seen = [], [], set()
    for line, file in zip(lines, files, strict=True):
        if file in seen:
            raise SerlibError(f"line {line} of {path} names {file} again; a clip may be there once.")
        seen.add(file)
        try:
            seconds.append(_seconds(file))
        except SerlibError as error:
            unreadable.append(f"line {line}: {error}")
    if unreadable:
        raise SerlibError(
            f"{len(unreadable)} of {len(files)} files of {path} cannot be read, the first at {unreadable[0]}"
        )

    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        # speaker1/001.wav and speaker2/001.wav: the folders belong to the name.
        top = os.path.commonpath([file.parent for file in files])
        names = ["_".join(file.relative_to(top).with_suffix("").parts) for file in files]
    if len(set(names)) < len(names):
        raise SerlibError(
            f"two files of {path} differ in nothing but their ending or folder marks; rename one."
        )
    table = table.assign(path=[str(file) for file in files], seconds=seconds)
    rows = dict(zip(names, table.to_dict("records"), strict=True))
    synthetic = bool((table.get("synthetic", pd.Series(dtype=str)) == "True").any())
    return _corpus(rows, {"name": path.stem, "synthetic": synthetic, "misnamed": [], "unreadable": {}})


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
        raise SerlibError(
            f"{path} cannot be read as a CSV in UTF-8 ({error}); save it again as CSV."
        ) from error
    table = table.rename(columns=str.strip).map(str.strip)
    for column in ("path", "emotion"):
        if column not in table:
            there = ", ".join(table.columns)
            raise SerlibError(
                f"{path} has no column named {column} (it has {there}); it needs path and emotion."
            )
    for column in ("actor", "sex", "intensity"):
        if column not in table:
            table[column] = ""
    for column in ("statement", "repetition"):
        numbers = pd.to_numeric(
            table.get(column, pd.Series("0", table.index)).replace("", "0"), errors="coerce"
        )
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
    folder = Path(folder)
    paths = []
    for clip, row in corpus.iterrows():
        source = Path(row["path"])
        target = folder / re.sub(r"[^\w -]", "_", row["emotion"]) / f"{clip}{source.suffix}"
        if not target.exists() or target.stat().st_size != source.stat().st_size:
            with atomic_path(target) as whole:
                shutil.copyfile(source, whole)
        paths.append(target.relative_to(folder).as_posix())
    _write_csv(corpus.assign(path=paths), folder / "labels.csv")
    return folder / "labels.csv"


def write_split_csvs(split: "Split", folder: Path | str) -> Path:
    """Write ``train.csv`` (validation included) and ``test.csv`` of path and label, as the paper had them."""
    folder = Path(folder)
    _write_csv(pd.concat([split.train, split.validation]).sort_index(), folder / "train.csv")
    _write_csv(split.test, folder / "test.csv")
    return folder


def _write_csv(corpus: pd.DataFrame, path: Path) -> None:
    table = corpus[["path", "emotion"]]
    if corpus.attrs.get("synthetic"):
        table = table.assign(synthetic=True)
    with atomic_path(path) as target:
        table.to_csv(target, index=False)


# Download


def _download(folder: Path | str) -> Path:
    """Bring the speech part of RAVDESS into ``folder`` and return it; nothing is done when it is there.

    A broken download goes on where it stopped, now or at the next call; only an archive with the published
    MD5 is unpacked, and the folder appears when all of it is there. Needs 800 MB of room for a moment. Raises
    SerlibError for no network, a record that moved, a wrong checksum, a full disk.
    """
    folder = Path(folder)
    archive = folder.parent / "Audio_Speech_Actors_01-24.zip"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if folder.is_dir() and any(folder.iterdir()):
            if not any(folder.glob("Actor_*")):
                raise SerlibError(f"{folder} holds other files; name a new or empty folder for RAVDESS.")
            return folder
        _fetch(RAVDESS_URL, archive, RAVDESS_MD5)
        _unzip(archive, folder)
        archive.unlink()
    return folder


def _fetch(url: str, target: Path, md5: str) -> None:
    """Download to ``target``, in pieces to ``target.partial`` first; whole and checked, or SerlibError."""
    if target.exists():  # Its name is given after the checksum: a kill came before it was unpacked.
        return
    part = target.with_name(target.name + ".partial")
    place = urlsplit(url).netloc
    waits = list(RETRY_SECONDS)
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(url, part)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416:  # The piece is longer than the file: not ours.
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise SerlibError(
                    f"{place} answers {error.code} ({error.reason}) for {url}; get the archive from Zenodo "
                    "record 1188976 by hand, unpack it and set RAVDESS_DIR to the folder."
                ) from error
            reason = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise SerlibError(
                    f"there is no room on the disk for {part}; free some space and run again: it goes on."
                ) from error
            reason = getattr(error, "reason", None) or error
        if part.exists() and part.stat().st_size > before:
            waits = list(RETRY_SECONDS)  # It moved: patience starts anew.
        if not waits:
            raise SerlibError(
                f"no connection to {place} ({reason}); check the network and run again, what has arrived is "
                "kept; or set RAVDESS_DIR to the folder of a copy of RAVDESS."
            )
        time.sleep(waits.pop(0))
    found = checksum(part, "md5")
    if found != md5:
        part.unlink()
        raise SerlibError(
            f"what {place} sent is not the published archive (MD5 {found}, not {md5}); "
            "it was removed: run again, or get it by hand."
        )
    os.replace(part, target)


def _fetch_rest(url: str, part: Path) -> None:
    """Append what is missing to ``part``; ConnectionError when the server stops in the middle."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "serlib"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    with urllib.request.urlopen(request, timeout=30) as response:
        if response.status != 206:  # The server does not continue: from the start.
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc="RAVDESS", leave=False)
        with bar, open(part, "ab" if done else "wb") as file:
            # read1 hands over what is there; read would lose up to a piece when the line breaks.
            while piece := response.read1(1 << 18):
                file.write(piece)
                bar.update(len(piece))
    # http.client takes a connection that closes early for the end of the file.
    if total is not None and part.stat().st_size < total:
        raise ConnectionError("the connection broke")


def _unzip(archive: Path | str, folder: Path | str) -> None:
    """Unpack an archive to a new folder that appears when all of it is there.

    Raises SerlibError for a damaged archive, and for a member that points out of the folder or is a link.
    """
    archive = Path(archive)
    try:
        with zipfile.ZipFile(archive) as file, atomic_path(folder, folder=True) as inside:
            for member in file.infolist():
                target = os.path.abspath(inside / member.filename.replace("\\", "/"))
                if os.path.commonpath([inside.absolute(), target]) != str(inside.absolute()):
                    raise SerlibError(
                        f"{archive} wants to write {member.filename} outside its folder; do not trust it."
                    )
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise SerlibError(f"{archive} holds the link {member.filename}; do not trust it.")
            file.extractall(inside)
    except (zipfile.BadZipFile, EOFError) as error:
        raise SerlibError(
            f"{archive} is no whole zip archive ({error}); remove it and download it again."
        ) from error


# The audit


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What looking at every clip of a corpus gave: ``print`` it, or let a notebook show it as a table.

    ``counts`` is actor x emotion; ``clips`` has a row a clip: channels, rate (Hz), peak (1 = full scale), and
    the seconds of silence ``before`` and ``after`` the voice and what is ``active`` between, at -30 dB.
    """

    name: str
    synthetic: bool
    seconds: float
    counts: pd.DataFrame
    clips: pd.DataFrame
    stereo: tuple[str, ...]
    identical: tuple[tuple[str, ...], ...]
    silent: tuple[str, ...]
    short: tuple[str, ...]
    misnamed: tuple[str, ...]
    unreadable: tuple[str, ...]

    @property
    def findings(self) -> pd.Series:
        """One line a question, as text."""
        emotions = self.counts.sum()
        sizes = {n: [emotion for emotion in emotions.index if emotions[emotion] == n] for n in emotions}
        per_actor = self.counts.sum(axis=1)
        voiced = self.clips.drop(index=list(self.silent))
        before, active, after = (voiced[column].mean() for column in ("before", "active", "after"))
        same = self.clips.loc[list(self.stereo), "same_channels"].sum()
        whole = before + active + after
        actors = (
            "unknown"
            if list(per_actor.index) == [""]
            else f"{len(per_actor)}, with {_span(per_actor)} clips each"
        )
        lines = {
            "corpus": self.name + (" (synthetic speech)" if self.synthetic else ""),
            "clips": f"{len(self.clips):,}, {self.seconds / 3600:.2f} hours",
            "actors": actors,
            "per emotion": "; ".join(f"{n} {', '.join(names)}" for n, names in sizes.items()),
            "sampling rate": ", ".join(
                f"{rate / 1000:g} kHz" for rate in sorted(self.clips["rate"].unique())
            ),
            "stereo": _list(self.stereo) + (f"; channels equal in {same}" if self.stereo else ""),
            "same recording": _list([" = ".join(group) for group in self.identical]),
            "silence at -30 dB": f"{before:.2f} s before and {after:.2f} s after the voice on average; "
            f"{active:.2f} s of {whole:.2f} s ({active / whole:.0%}) are active",
            "peak level": f"{voiced['peak'].min():.3f} to {voiced['peak'].max():.3f} of full scale",
            "nothing but silence": _list(self.silent),
            f"shorter than {_SHORT} s": _list(self.short),
            "misnamed": _list([Path(path).name for path in self.misnamed]),
            "unreadable": _list([Path(path).name for path in self.unreadable]),
        }
        return pd.Series(lines, name="")

    def __str__(self) -> str:
        width = max(map(len, self.findings.index))
        return "\n".join(f"{question:{width}}  {answer}" for question, answer in self.findings.items())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.findings.to_frame().to_html(header=False, border=0) + self.counts.to_html(border=0)


def _span(numbers: pd.Series) -> str:
    low, high = numbers.min(), numbers.max()
    return str(low) if low == high else f"{low} to {high}"


def _list(names: Sequence[str], most: int = 6) -> str:
    """Return "none", or the number and the first few."""
    if not names:
        return "none"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(names[:most])}{more}"


def audit(corpus: pd.DataFrame) -> Audit:
    """Decode every clip once at its own rate and report what to know before training (notebook 01)."""
    if corpus.empty:
        raise SerlibError("the corpus has no clips; there is nothing to audit.")
    corpus = corpus.sort_index()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(corpus.index, pool.map(_look, corpus["path"]), strict=True))
    unreadable = {corpus.at[clip, "path"] for clip, facts in found.items() if facts is None}
    unreadable |= set(corpus.attrs.get("unreadable", ()))
    clips = pd.DataFrame.from_dict({clip: facts for clip, facts in found.items() if facts}, orient="index")
    if clips.empty:
        raise SerlibError(f"none of the {len(corpus)} clips can be read; copy or download them again.")
    whole = corpus.loc[clips.index]
    groups = clips.groupby("digest", sort=False).groups.values()
    return Audit(
        name=corpus.attrs.get("name", "corpus"),
        synthetic=corpus.attrs.get("synthetic", False),
        seconds=whole["seconds"].sum(),
        counts=pd.crosstab(whole["actor"], whole["emotion"]),
        clips=clips.drop(columns="digest"),
        stereo=tuple(clips.index[clips["channels"] > 1]),
        identical=tuple(tuple(group) for group in groups if len(group) > 1),
        silent=tuple(clips.index[clips["peak"] == 0]),
        short=tuple(whole.index[whole["seconds"] < _SHORT]),
        misnamed=tuple(corpus.attrs.get("misnamed", ())),
        unreadable=tuple(sorted(unreadable)),
    )


def _look(path: str) -> dict | None:
    """Return the facts of one clip, None when it cannot be decoded."""
    try:
        samples, rate = audio.decode(path)
    except SerlibError:
        return None
    mono = samples.mean(axis=1)
    start, stop = audio.active_span(mono, -30, rate)
    return {
        "channels": samples.shape[1],
        "same_channels": bool((samples == samples[:, :1]).all()),
        "rate": rate,
        "peak": float(np.abs(samples).max()),
        "before": start / rate,
        "active": (stop - start) / rate,
        "after": (len(mono) - stop) / rate,
        "digest": hashlib.sha256(mono.tobytes()).hexdigest(),
    }
