"""Predictions that another program made: taken in for a corpus, so that they can be judged like ours."""

import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from serlib.errors import SerlibError, in_short, nearest
from serlib.files import given_path
from serlib.judge import predictions

# How names of clips may differ from the corpus's without a difference that one sees, and what makes them the same.
INVISIBLE: dict[str, Callable[[str], str]] = {
    "str.strip": str.strip,
    "str.lower": str.lower,
    "str.upper": str.upper,
    "lambda clip: clip.strip().lower()": lambda clip: clip.strip().lower(),
    "lambda clip: clip.strip().upper()": lambda clip: clip.strip().upper(),
}
NUMBERED = ("", "Unnamed: 0")  # how pandas writes, and reads, a column that numbers the rows
ROUNDED = 0.005  # a probability that was printed to two decimals is off by so much, and the sum by that for each class


def import_predictions(
    table: pd.DataFrame | Path | str,
    corpus: pd.DataFrame,
    labels: Mapping[Any, str] | None = None,
    clips: Mapping[Any, str] | Callable[[Any], str] | None = None,
    part: str = "test",
    logits: bool = False,
    name: str | None = None,
) -> pd.DataFrame:
    """Return the predictions frame of what another program says about clips of a corpus: a voter like any other.

    Truth and actors come from the corpus, of which the clips may be a part. Columns that are neither clip nor class are
    left out, but ``emotion`` and ``predicted``, where they are there, must say the same as the corpus and the
    probabilities. Of a corpus without a name (``attrs["name"]``, which ``pd.concat`` drops) they are predictions of an
    "unnamed" one, with a warning.

    Parameters
    ----------
    table
        The predictions, shape (clips, classes and more): a DataFrame, or a CSV with commas. A row for each clip and a
        column for each class of the corpus, in any order. Clips are named in a column ``clip``, else in the index (of a
        CSV, in the first column that does more than number the rows): as in the corpus, or as its files are, with or
        without folder and ending.
    corpus
        The corpus that they are about.
    labels
        From names of columns, and from labels in ``emotion`` and ``predicted``, to emotions of the corpus, for those
        that are called otherwise.
    clips
        From names of clips to those of the corpus, a mapping or a function, where both are called otherwise.
    part
        What the clips were to that program, "test" or "validation".
    logits
        Whether the numbers are logits or log probabilities, whose softmax is taken.
    name
        What tables and figures call it; without one, the name of the file.

    Returns
    -------
    DataFrame
        A predictions frame, a row for each row of the table.

    Raises
    ------
    SerlibError
        For a clip, a class, a number or a label that does not fit; it names the first.

    Examples
    --------
    >>> import pandas as pd
    >>> corpus = pd.DataFrame({"emotion": ["happy", "sad"], "actor": ["01", "02"]}, index=["a", "b"])
    >>> corpus.attrs["name"] = "mine"
    >>> table = pd.DataFrame({"clip": ["wav/b.wav", "wav/a.wav"], "sad": [0.8, 0.1], "joy": [0.2, 0.9]})
    >>> theirs = ser.import_predictions(table, corpus, labels={"joy": "happy"})
    >>> print(theirs[["clip", "emotion", "predicted", "p_happy"]].to_string(index=False))
    clip emotion predicted  p_happy
       b     sad       sad      0.2
       a   happy     happy      0.9
    """
    _demand_corpus(corpus)
    theirs, name = _table_and_name(table, name, corpus)
    if labels is not None and not isinstance(labels, Mapping):
        raise SerlibError(
            f"labels map columns to emotions, like {{'fear': 'fearful'}}, and this is {in_short(labels)}."
        )
    classes = sorted(set(corpus["emotion"].astype(str)))
    rows = corpus.loc[_clips_of(theirs, clips, corpus, name)]
    scores = _scores_of(theirs, dict(labels or {}), classes, name)
    if not isinstance(logits, bool):
        raise SerlibError(f"logits is {in_short(logits)}; give True or False.")
    odd = _no_distributions(scores)
    if logits:
        if not odd.any():
            raise SerlibError(f"the numbers of {name} are probabilities already; leave logits out.")
        scores = softmax(scores, axis=1)
    else:
        if odd.any():
            i = int(odd.argmax())
            advice = "logits=True takes logits or log probabilities"
            if not _no_distributions(scores / 100).any():
                advice = "they look like percent, so divide them by 100"
            raise SerlibError(
                f"the numbers of clip {rows.index[i]} in {name} are no probabilities, from {scores[i].min():g} to "
                f"{scores[i].max():g} with a sum of {scores[i].sum():g}; {advice}."
            )
        scores = scores / scores.sum(axis=1, keepdims=True)
    frame = predictions.make(rows, scores, classes, part, corpus.attrs.get("name"))
    _demand_agreement(frame, theirs, dict(labels or {}), name)
    if "predicted" in theirs:  # of equally probable classes they chose one, and that is what they said
        frame["predicted"] = [_label_of(given, labels or {}) for given in theirs["predicted"]]
    if frame["corpus"].iloc[0] == predictions.UNNAMED:
        warnings.warn(
            f"the corpus of {name} has no name, so its predictions are not compared with those of a corpus that has "
            'one; pd.concat, merge and join drop it: set corpus.attrs["name"] before.',
            stacklevel=2,
        )
    return predictions.named(frame, name)


def _demand_corpus(corpus: Any) -> None:
    """Raise SerlibError for what is no corpus, or one of which a clip or its emotion is not known."""
    if not isinstance(corpus, pd.DataFrame) or "emotion" not in corpus or corpus.empty:
        raise SerlibError("predictions are judged by a corpus, a table of clips and their emotions; give that second.")
    if twice := list(corpus.index[corpus.index.duplicated()]):
        raise SerlibError(f"clip {twice[0]} stands twice in the corpus; keep one row for each clip.")
    if (unknown := corpus["emotion"].isna()).any():
        raise SerlibError(f"clip {corpus.index[unknown][0]} of the corpus has no emotion; leave such clips out.")


def _no_distributions(scores: np.ndarray) -> np.ndarray:
    """Return which rows are no probabilities of all classes, be they rounded, (clips,)."""
    off = np.abs(scores.sum(axis=1, keepdims=True) - 1)
    return ((scores < 0) | (off > ROUNDED * scores.shape[1] + 1e-9)).any(axis=1)


def _table_and_name(table: Any, name: str | None, corpus: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the table, clips in its index or in a column ``clip``, and what it is called."""
    if isinstance(table, pd.DataFrame):
        name = str(table.attrs.get("name", "imported predictions")) if name is None else name
    elif isinstance(table, str | Path):
        path = given_path(table)
        table, name = predictions.cells_of(path), path.stem if name is None else name
        if "clip" not in table:
            table = _clips_first(table, corpus, name)
            table = table.set_index(table.columns[0])
    else:
        raise SerlibError(f"predictions come as a DataFrame or a path, and this is {in_short(table)}.")
    if table.empty:
        raise SerlibError("the table of predictions is empty; give it a row for each clip, a column for each class.")
    for column in ("clip", "emotion", "predicted"):
        if (table.columns == column).sum() > 1:
            raise SerlibError(f"{name} has two columns {column}; leave one of them out.")
    return table, name


def _clips_first(cells: pd.DataFrame, corpus: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the cells without a first column that only numbers the rows, as ``to_csv`` writes it unasked."""
    first = list(cells.iloc[:, 0])
    numbers = first == [str(i) for i in range(len(first))] and cells.columns[0] in NUMBERED
    if not numbers or set(first) <= set(corpus.index):
        return cells
    cells = cells.iloc[:, 1:]
    if cells.shape[1] == 0 or pd.to_numeric(cells.iloc[:, 0], errors="coerce").notna().all():
        raise SerlibError(
            f"{name} numbers its rows and names no clips; put their names in a column clip, and save it with "
            "index=False."
        )
    return cells


def _clips_of(table: pd.DataFrame, clips: Any, corpus: pd.DataFrame, name: str) -> list[str]:
    """Return the corpus's name of each row's clip."""
    named = list(table["clip"] if "clip" in table else table.index)
    if clips is not None:
        if not isinstance(clips, Mapping) and not callable(clips):
            raise SerlibError(
                f"clips are a mapping or a function from their names to ours, and this is {in_short(clips)}."
            )
        rename = clips.__getitem__ if isinstance(clips, Mapping) else clips
        renamed = []
        for clip in named:
            try:
                renamed.append(str(rename(clip)))
            except Exception as error:  # a reader's own function may raise anything
                reason = f"{type(error).__name__}: {error}"
                raise SerlibError(f"clips has no name of the corpus for {in_short(clip)} ({reason}).") from error
        named = renamed
    known = set(corpus.index)
    found = [clip if isinstance(clip, str) and clip in known else _bare_name(str(clip), known) for clip in named]
    strange = [theirs for theirs, clip in zip(named, found, strict=True) if clip not in known]
    if strange:
        few = ", ".join(map(in_short, strange[:3])) + ", ..." * (len(strange) > 3)
        what = "clips takes a mapping, or a function, from their names to the corpus's"
        if "clip" not in table and isinstance(table.index, pd.RangeIndex):
            what = "name them in a column clip, or in the index"
        for code, change in INVISIBLE.items():
            if all(_bare_name(change(str(clip)), known) in known for clip in named):
                what = f"they differ from its names by case or spaces alone, so give clips={code}"
                break
        raise SerlibError(f"{len(strange)} clips of {name} are not in the corpus ({few}); {what}.")
    return found


def _bare_name(path: str, known: Collection[str]) -> str:
    """Return the name of a file without its folder, as any system writes it, and without its ending if it has one."""
    file = PurePosixPath(path.replace("\\", "/"))
    return file.name if file.name in known else file.stem


def _scores_of(table: pd.DataFrame, labels: dict[Any, str], classes: list[str], name: str) -> np.ndarray:
    """Return the numbers of the classes, (clips, classes)."""
    columns = list(table.columns)
    texts = [table[column] for column in ("emotion", "predicted") if column in table]
    known = {*columns, *(cell for text in texts for cell in text if isinstance(cell, Hashable))}
    if strange := [label for label in labels if label not in known]:
        raise SerlibError(f"labels names a column {in_short(strange[0])}, and {name} has {_quoted(columns)}.")
    if strange := [label for label in labels.values() if label not in classes]:
        raise SerlibError(f"labels names the emotion {in_short(strange[0])}; {nearest(str(strange[0]), classes)}")
    found: dict[str, int] = {}
    for place, column in enumerate(columns):
        label = labels.get(column, str(column) if str(column) in classes else str(column).removeprefix("p_"))
        if label in classes and found.setdefault(label, place) != place:
            raise SerlibError(f"{name} has two columns for {label}; leave one of them out.")
    if missing := [label for label in classes if label not in found]:
        what = "say which it is, like labels={'fear': 'fearful'}, or add a column of 0 for what it cannot say"
        near = {column: _alike(str(column).removeprefix("p_"), missing) for column in columns}
        if near := {column: label for column, label in near.items() if label is not None}:
            what = f"some differ by case or spaces alone, so give labels={labels | near}"
        raise SerlibError(f"{name} has no column for {_quoted(missing)} among {_quoted(columns)}; {what}.")
    numbers = np.column_stack([_numbers(table.iloc[:, found[label]]) for label in classes])
    if (odd := ~np.isfinite(numbers)).any():
        i, j = np.argwhere(odd)[0]
        given = table.astype(object).iloc[i, found[classes[j]]]  # nan, and not np.float64(nan)
        raise SerlibError(
            f"row {i + 1} of {name} has {in_short(given)} for {classes[j]}, which is no number; correct it."
        )
    return numbers


def _numbers(cells: pd.Series) -> np.ndarray:
    """Return the numbers of a column, be they text or scalars of torch; nan for what is none."""

    def plain(cell: Any) -> Any:
        if getattr(cell, "ndim", None) == 0 and hasattr(cell, "item"):
            cell = cell.item()
        return cell if pd.api.types.is_scalar(cell) and not isinstance(cell, complex) else None

    cells = pd.Series([plain(cell) for cell in cells], dtype=object)
    return pd.to_numeric(cells, errors="coerce").to_numpy(float, na_value=np.nan)


def _label_of(given: Any, labels: Mapping[Any, str]) -> str:
    """Return the emotion that a cell names."""
    return str(labels.get(given, given) if isinstance(given, Hashable) else given)


def _alike(name: str, known: Iterable[str]) -> str | None:
    """Return which known name differs from this one by case or spaces at its ends alone, None if none does."""
    return next((one for one in known if one.strip().casefold() == name.strip().casefold()), None)


def _quoted(names: Iterable[Any]) -> str:
    """Return names in quotes, in which a space is seen."""
    return ", ".join(map(in_short, names))


def _demand_agreement(frame: pd.DataFrame, table: pd.DataFrame, labels: dict[Any, str], name: str) -> None:
    """Raise SerlibError where the table has an emotion or a label of its own that does not fit what was taken in."""
    likely = predictions.probabilities(frame)
    classes = predictions.labels(frame)
    for column, ours in (("emotion", "the corpus"), ("predicted", "the most probable class")):
        if column not in table:
            continue
        for i, given in enumerate(table[column]):
            label, right = _label_of(given, labels), frame[column].iloc[i]
            fits = label == right
            if column == "predicted" and label in classes:  # of equally probable ones it may name another
                fits = likely[i, classes.index(label)] >= likely[i].max() - predictions.TOLERANCE
            if not fits:
                what = "check the order of its rows and columns, or leave that column out"
                if label not in classes and (near := _alike(label, classes)):
                    what = f"if they differ by case or spaces alone, give labels={labels | {str(given): near}}"
                raise SerlibError(
                    f"clip {frame['clip'].iloc[i]} has {column} {in_short(given)} in {name}, and {ours} is {right!r}; "
                    f"{what}."
                )
