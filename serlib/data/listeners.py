"""What people heard in the clips of a corpus: the share of listeners who chose the intended emotion (notebook 11)."""

import codecs
import csv
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from serlib.data.corpus import as_corpus
from serlib.data.ravdess import parse_name
from serlib.errors import SerlibError
from serlib.files import given_path

# Without the video, ten ratings a clip; neutral and calm counted as right for each other. The two shares by intensity
# are printed by Livingstone and Russo (2018). Those by emotion are means over their S1 Table, as computed by Sohail
# (2026), human_by_emotion.csv in the repository that judge/paper.py names; they agree with the two.
_PUBLISHED = {
    "normal intensity": (0.58, "Livingstone and Russo 2018"),
    "strong intensity": (0.67, "Livingstone and Russo 2018"),
    "neutral or calm": (0.817, "Sohail 2026, from their S1 Table"),
    "angry": (0.746, "Sohail 2026, from their S1 Table"),
    "surprised": (0.679, "Sohail 2026, from their S1 Table"),
    "fearful": (0.662, "Sohail 2026, from their S1 Table"),
    "disgust": (0.519, "Sohail 2026, from their S1 Table"),
    "sad": (0.479, "Sohail 2026, from their S1 Table"),
    "happy": (0.366, "Sohail 2026, from their S1 Table"),
}
# What the columns are called: by S1 of RAVDESS, by EmoDB's erkennung.txt, by its edition of today, and by us.
_CLIP = ("Filename", "Satz", "file", "clip")
_SHARE = ("PropCorr", "erkannt", "emotion.confidence", "share")
_NATURAL = ("natuerlich", "natural")
# As PLOS calls S1 Table when it is downloaded, a sheet of it that was saved as text, and EmoDB's own.
_FILES = ("pone.0196391.s004.xlsx", "pone.0196391.s004.csv", "erkennung.txt")
_RAVDESS = re.compile(r"\d\d(-\d\d){6}")
_ENDING = re.compile(r"\.(wav|flac|mp3|mp4|ogg)$", re.IGNORECASE)
_ABOVE = 20  # rows in which a header is looked for: S1 has a title above its own


def listeners(source: Path | str | pd.DataFrame | None = None) -> pd.DataFrame:
    """Return which share of its listeners recognized the intended emotion of each clip (11).

    Parameters
    ----------
    source
        None for what is published of RAVDESS as a whole, on its clips without video. Else a file with a row for each
        clip: S1 Table of Livingstone and Russo (2018), https://doi.org/10.1371/journal.pone.0196391, as PLOS has it
        (pone.0196391.s004.xlsx, which needs openpyxl) or its sheet *Speech* saved as CSV; EmoDB's ``erkennung.txt``;
        or any CSV with columns ``clip`` and ``share``. A folder is searched for S1 and erkennung.txt, and so are the
        folders of a corpus.

    Returns
    -------
    DataFrame
        For None a row for each group of clips: ``share``, 0 to 1, and ``source``. Else a row for each clip: ``share``,
        0 to 1, and where the file has it ``natural``, the share who found the clip natural; of a corpus only its own
        clips, in its order. Of S1 the videos and the songs are left out. Each clip of RAVDESS was rated ten times,
        neutral and calm counted as right for each other, and "none of these" was an answer too.

    Raises
    ------
    SerlibError
        For a file that is missing, damaged, or no such table, and for a corpus that no people have heard.

    Notes
    -----
    Columns are found by name, in the first rows of each sheet: ``Filename``, ``Satz``, ``file`` or ``clip``, and
    ``PropCorr``, ``erkannt``, ``emotion.confidence`` or ``share``. A column with a number above 1 is in percent.

    Examples
    --------
    >>> ser.listeners().loc[["normal intensity", "strong intensity"], "share"].tolist()
    [0.58, 0.67]
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     lines = "Satz\\terkannt\\tnatuerlich", "03a01Fa.wav\\t90,00\\t75,00"
    ...     _ = Path(folder, "erkennung.txt").write_text("\\n".join(lines))
    ...     ser.listeners(folder)
             share  natural
    clip
    03a01Fa    0.9     0.75
    """
    if source is None:
        published = pd.DataFrame.from_dict(_PUBLISHED, orient="index", columns=["share", "source"])
        return published.rename_axis("clips")
    if isinstance(source, pd.DataFrame):
        return _of_corpus(as_corpus(source))
    path = given_path(source)
    if path.is_dir():
        found = _in_folders([path])
        if found is None:
            raise SerlibError(f"{path} holds no {_or(_FILES)}; give the file itself.")
        path = found
    return _read(path)


def _of_corpus(corpus: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the corpus's clips in the table that lies with them."""
    name = corpus.attrs["name"]
    if corpus.attrs.get("synthetic"):
        raise SerlibError(f"{name} is synthetic speech, which no listeners have judged; give a corpus of recordings.")
    folders = {Path(path).parent for path in corpus["path"]}
    # Beside the clips, or above: RAVDESS has a folder for each actor, EmoDB one called wav.
    path = _in_folders([*sorted(folders), *sorted({folder.parent for folder in folders})])
    if path is None:
        raise SerlibError(
            f"no table of listeners lies with the clips of {name}; put {_or(_FILES)} into their folder, or give the "
            "file: ser.listeners(path)."
        )
    table = _read(path)
    known = corpus.index.intersection(table.index, sort=False)
    if known.empty:
        raise SerlibError(f"{path} has none of the {len(corpus)} clips of {name}; give the table of this corpus.")
    if missing := len(corpus) - len(known):
        first = corpus.index.difference(known)[0]
        warnings.warn(f"left out {missing} clip(s) that {path.name} does not have, the first: {first}", stacklevel=3)
    return table.loc[known].rename_axis("clip")


def _in_folders(folders: Iterable[Path]) -> Path | None:
    """Return the first table of listeners in these folders, by its name."""
    return next((folder / name for folder in folders for name in _FILES if (folder / name).is_file()), None)


def _read(path: Path) -> pd.DataFrame:
    """Return clip -> shares of one file, whatever its kind. SerlibError for what is no such table."""
    if not path.is_file():
        raise SerlibError(f"there is no file {path}; check the path.")
    shares: dict[str, dict[str, float]] = {}
    headed = False
    for sheet, rows in _workbook(path) if path.suffix.lower() == ".xlsx" else _text(path):
        heads = (cells for _, cells in rows[:_ABOVE] if _column(cells, _CLIP) and _column(cells, _SHARE))
        if (header := next(heads, None)) is None:
            continue
        headed = True
        for clip, row in _clips(rows, header, f"{path}{sheet}"):
            if clip in shares:
                raise SerlibError(f"clip {clip} stands twice in {path}; give a table with one row for each clip.")
            shares[clip] = row
    if not headed:
        raise SerlibError(
            f"{path} tells no share of listeners; it needs a column {_or(_CLIP)}, and a column {_or(_SHARE)}."
        )
    if not shares:
        raise SerlibError(f"{path} has no clip of speech without video; give a table that has them.")
    table = pd.DataFrame.from_dict(shares, orient="index").rename_axis("clip")
    for column in table:
        if table[column].max() > 1:  # in percent
            table[column] = (table[column] / 100).round(6)
    return table


def _clips(rows: list[tuple[int, list[str]]], header: list[str], where: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each clip below the header and its numbers; without videos and songs, of which S1 has more than speech."""
    clip_at = _column(header, _CLIP) - 1
    columns = {"share": _column(header, _SHARE), "natural": _column(header, _NATURAL)}
    begin = next(place for place, (_, cells) in enumerate(rows) if cells is header) + 1
    filled = [(line, cells + [""] * (len(header) - len(cells))) for line, cells in rows[begin:]]
    named = [(line, cells[clip_at], cells) for line, cells in filled if cells[clip_at]]
    files = any(_is_file(name) for _, name, _ in named)
    for line, name, cells in named:
        clip = _ENDING.sub("", re.split(r"[/\\]", name)[-1])
        if (files and not _is_file(name)) or (_RAVDESS.fullmatch(clip) and not _is_speech(clip)):
            continue  # a note below the table, or a video
        row = {key: _number(cells[at - 1]) for key, at in columns.items() if at}
        for key, value in row.items():
            if not 0 <= value <= 100:
                raise SerlibError(
                    f"line {line} of {where} has no {key} between 0 and 100 for clip {clip}; copy the file again."
                )
        yield clip, row


def _is_file(name: str) -> bool:
    """Whether a cell names a file of sound."""
    return bool(_ENDING.search(name) or _RAVDESS.fullmatch(name))


def _is_speech(clip: str) -> bool:
    try:
        return bool(parse_name(clip))
    except SerlibError:
        return False


def _column(cells: list[str], names: Iterable[str]) -> int:
    """Return which cell of a header, counted from 1, has one of these names; 0 where none has."""
    folded = [cell.casefold() for cell in cells]
    return next((folded.index(name.casefold()) + 1 for name in names if name.casefold() in folded), 0)


def _number(cell: str) -> float:
    """Return the number in a cell, with a point or a comma, in percent or not; NaN for none."""
    try:
        return float(cell.removesuffix("%").strip().replace(",", "."))
    except ValueError:
        return float("nan")


def _text(path: Path) -> Iterator[tuple[str, list[tuple[int, list[str]]]]]:
    """Yield the lines of a text file as cells. EmoDB's is in Latin-1, and pads its cells with spaces of no break."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SerlibError(f"{path} cannot be read ({error.strerror}); check whose file it is.") from error
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise SerlibError(f"{path} is no text; give a CSV, or the workbook with its own ending .xlsx.")
    if not text.strip():
        raise SerlibError(f"{path} is empty; copy it again.")
    # Each line has more of what parts its cells than of the commas in its numbers.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max("\t;,", key=text.count), strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise SerlibError(f"line {reader.line_num} of {path} cannot be read ({error}); copy it again.") from error
    if len(rows) > 1 and len(rows[-1][1]) < len(rows[-2][1]) and not text.endswith(("\n", "\r")):
        raise SerlibError(f"{path} stops in the middle of a line; copy it again.")
    yield "", rows


def _workbook(path: Path) -> Iterator[tuple[str, list[tuple[int, list[str]]]]]:
    """Yield the rows of each sheet as cells of text."""
    try:
        sheets = pd.read_excel(path, sheet_name=None, header=None, dtype=object)
    except ImportError as error:
        raise SerlibError(
            f"{path.name} is read with openpyxl, which is not there; pip install openpyxl, or save the sheet with the "
            "clips as CSV and give that."
        ) from error
    except (OSError, ValueError, KeyError, BadZipFile, EOFError, SyntaxError) as error:
        raise SerlibError(f"{path} is no whole workbook ({error}); download it again.") from error
    for name, sheet in sheets.items():
        cells = sheet.astype(object).where(sheet.notna(), "").to_numpy().tolist()
        yield f" ({name})", [(line, [str(cell).strip() for cell in row]) for line, row in enumerate(cells, 1)]


def _or(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
