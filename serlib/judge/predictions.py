"""What a model said about every clip: the table that metrics, votes and figures read (notebooks 03 to 12).

A predictions frame has a row for each clip and the columns clip, actor, emotion (the truth), predicted, part
("validation" or "test"), corpus (its name) and one probability for each class, ``p_<label>``, in alphabetical order. A
*voter* is anything that has such a frame: a Run, a Vote, or the bare frame itself.
"""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serlib.errors import SerlibError, nearest
from serlib.files import atomic_path

COLUMNS = ("clip", "actor", "emotion", "predicted", "part", "corpus")
PARTS = ("validation", "test")
UNNAMED = "unnamed"  # a corpus that nobody named, as in the tables of other programs
TOLERANCE = 1e-3  # a softmax in half precision sums to 1 only about this well


def labels(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes of a predictions frame, from its ``p_`` columns."""
    return tuple(column[2:] for column in frame.columns if str(column).startswith("p_"))


def probabilities(frame: pd.DataFrame) -> np.ndarray:
    """Return the probabilities of a predictions frame, shape (clips, classes), in the order of ``labels``."""
    return frame[[f"p_{label}" for label in labels(frame)]].to_numpy(float)


def make(
    rows: pd.DataFrame, probabilities: np.ndarray, labels: Sequence[str], part: str, corpus: str | None = None
) -> pd.DataFrame:
    """Return the predictions frame of some rows of a corpus.

    ``probabilities`` has shape (len(rows), len(labels)), its columns in the order of ``labels``. They are
    rounded to six decimals, which keeps files small and is done here so that memory and disk never differ. ``corpus``
    is its name; without one the rows are asked, and what they do not know is "unnamed".
    SerlibError when shapes do not fit or a row is no distribution.
    """
    p = np.asarray(probabilities, dtype=float)
    if p.shape != (len(rows), len(labels)):
        raise SerlibError(
            f"probabilities of {len(rows)} clips and {len(labels)} classes should have the shape "
            f"{(len(rows), len(labels))}; they have {p.shape}."
        )
    order = np.argsort(labels)
    names = [str(labels[i]) for i in order]
    p = p[:, order]
    frame = pd.DataFrame(
        {
            "clip": rows.index.astype(str),
            "actor": rows["actor"].astype(str).to_numpy(),
            "emotion": rows["emotion"].astype(str).to_numpy(),
            "predicted": np.asarray(names, dtype=object)[p.argmax(axis=1)],
            "part": part,
            "corpus": corpus or rows.attrs.get("name") or UNNAMED,
        }
    )
    frame[[f"p_{name}" for name in names]] = p
    frame = _checked(frame, "these predictions")
    frame[[f"p_{name}" for name in names]] = (p / p.sum(axis=1, keepdims=True)).round(6)
    return frame


def write(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write a predictions frame as CSV, whole or not at all: a kill leaves the file that was there before."""
    path = Path(path)
    frame = _checked(frame, f"what should go to {path}")
    with atomic_path(path) as target:
        frame.to_csv(target, index=False, lineterminator="\n")
    return path


def read(path: Path | str) -> pd.DataFrame:
    """Read and check a predictions CSV; ``attrs["name"]`` is the name of its folder.

    SerlibError for a file that is missing, cut short or not a predictions frame.
    """
    path = Path(path)
    if not path.is_file():
        raise SerlibError(f"there are no predictions at {path}; run the notebook that makes them first.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Every line that was written ends in a newline: a last line without one is a copy that was cut.
        if not text.endswith("\n"):
            raise SerlibError(f"{path} stops in the middle of a line; copy it again or run its notebook again.")
        frame = pd.read_csv(StringIO(text), dtype=str, keep_default_na=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip()
        raise SerlibError(f"{path} is not a CSV of predictions ({reason}); run its notebook again.") from error
    for label in labels(frame):
        frame[f"p_{label}"] = pd.to_numeric(frame[f"p_{label}"], errors="coerce")
    frame = _checked(frame, str(path))
    frame.attrs["name"] = path.resolve().parent.name
    return frame


def _frame_of(voter: Any) -> pd.DataFrame:
    """Return the checked predictions frame of a Run, a Vote or a bare frame."""
    frame = voter if isinstance(voter, pd.DataFrame) else getattr(voter, "predictions", None)
    if not isinstance(frame, pd.DataFrame):
        raise SerlibError(f"a {type(voter).__name__} has no predictions; give a run, a vote or a predictions frame.")
    return _checked(frame, f"the predictions of {name_of(voter)}")


def name_of(voter: Any) -> str:
    """Return the name of a voter for tables and legends."""
    if isinstance(voter, pd.DataFrame):
        return str(voter.attrs.get("name", "predictions"))
    return str(getattr(voter, "name", type(voter).__name__))


def rows_of(voter: Any, part: str = "test") -> pd.DataFrame:
    """Return the rows of a voter's predictions frame for one part; SerlibError when there are none."""
    if part not in PARTS:
        raise SerlibError(f"predictions have no part named {part!r}; {nearest(str(part), PARTS)}")
    frame = _frame_of(voter)
    frame = frame[frame["part"] == part].reset_index(drop=True)
    if frame.empty:
        raise SerlibError(f"{name_of(voter)} has no {part} clips; ask for the other part.")
    return frame


def align(voters: Sequence[Any], part: str | None = None) -> list[pd.DataFrame]:
    """Return the frames of several voters over the same clips in the same order, of one part or of all.

    Voters vote, and are compared, only where they heard the same clips of the same split of the same corpus:
    SerlibError names the two voters and what differs.
    """
    if isinstance(voters, pd.DataFrame) or hasattr(voters, "predictions"):
        raise SerlibError("give the voters as a list, like [run_a, run_b, run_c].")
    voters = list(voters)
    if not voters:
        raise SerlibError("there are no voters; give a list of at least one run, vote or predictions frame.")
    frames = [_frame_of(voter) if part is None else rows_of(voter, part) for voter in voters]
    first, first_name = frames[0].reset_index(drop=True), name_of(voters[0])
    aligned = [first]
    for voter, frame in zip(voters[1:], frames[1:], strict=True):
        pair = f"{first_name} and {name_of(voter)}"
        if labels(frame) != labels(first):
            odd = sorted(set(labels(frame)) ^ set(labels(first)))
            raise SerlibError(f"{pair} know different classes ({_some(odd)}); train them on the same labels.")
        odd = sorted(set(frame["clip"]) ^ set(first["clip"]))
        if odd:
            raise SerlibError(
                f"{pair} were not tested on the same clips: {len(odd)} stand in only one of them "
                f"({_some(odd)}); use runs of the same split."
            )
        frame = frame.set_index("clip").loc[first["clip"]].reset_index()
        if _differ_in_sound(voters[0], voter, part):
            raise SerlibError(f"{pair} heard other recordings under the same names; use runs of the same recordings.")
        for column, what in (("corpus", "corpus"), ("part", "part"), ("emotion", "emotion")):
            differ = (frame[column] != first[column]).to_numpy()
            if differ.any():
                i = int(differ.argmax())
                raise SerlibError(
                    f"{pair} disagree about the {what} of clip {first['clip'][i]} ({first[column][i]} and "
                    f"{frame[column][i]}); use runs of the same split."
                )
        aligned.append(frame[first.columns])
    return aligned


def _differ_in_sound(one: Any, other: Any, part: str | None) -> bool:
    """Whether two runs have on record that they heard different recordings; frames and votes have no such record."""
    first, second = (voter.info.get("sounds", {}) if _is_run(voter) else {} for voter in (one, other))
    asked = (part,) if part else PARTS
    return any(first[p] != second[p] for p in asked if p in first and p in second)


def _is_run(voter: Any) -> bool:
    return isinstance(getattr(voter, "info", None), dict)  # a frame's info is pandas' own


def verdicts(voters: Sequence[Any], part: str = "test") -> pd.DataFrame:
    """Return what each voter predicted: a row a clip, column ``emotion`` (the truth), then one a voter (09, 10).

    Rows go by the name of the clip, so that two such tables can be compared whatever wrote the predictions.
    """
    frames = align(voters, part)
    names = [name_of(voter) for voter in voters]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SerlibError(f"two voters are called {twice}; give each a name of its own.")
    columns = {"emotion": frames[0]["emotion"]} | {
        name: frame["predicted"] for name, frame in zip(names, frames, strict=True)
    }
    return pd.DataFrame(columns).set_axis(pd.Index(frames[0]["clip"], name="clip")).sort_index()


def pool(voters: Sequence[Any], name: str) -> pd.DataFrame:
    """Return the test predictions of the folds of one system as one frame, itself a voter (11).

    Each clip was judged by the model that had it in its test part; SerlibError when two of them had, or when they
    heard different corpora.
    """
    if isinstance(voters, pd.DataFrame) or hasattr(voters, "predictions"):
        raise SerlibError("give the folds as a list, like [run_1, run_2].")
    frames = [rows_of(voter) for voter in voters]
    if not frames:
        raise SerlibError(f"there are no folds of {name}; give a list of at least one run, vote or predictions frame.")
    frame = _checked(pd.concat(frames, ignore_index=True), f"the pooled folds of {name}")
    corpora = sorted(set(frame["corpus"]))
    if len(corpora) > 1:
        raise SerlibError(f"the folds of {name} heard different corpora ({', '.join(corpora)}); pool those of one.")
    frame.attrs = {"name": name}
    return frame


def mistakes(voter: Any, corpus: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Return the rows of the corpus that a voter got wrong, most confident first (03 to 09).

    Two columns are added: ``predicted``, and ``confidence``, the probability of what was predicted.
    """
    rows = heard(voter, corpus, part)
    return rows[rows["predicted"] != rows["emotion"]]


def heard(voter: Any, corpus: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Return the rows of the corpus that a voter heard, right or wrong, with the two columns of ``mistakes``."""
    frame = rows_of(voter, part).set_index("clip")
    missing = sorted(set(frame.index) - set(corpus.index))
    if missing:
        raise SerlibError(
            f"{len(missing)} clips of {name_of(voter)} are not in the corpus ({_some(missing)}); "
            "give the corpus that it was trained on."
        )
    confidence = probabilities(frame).max(axis=1)
    rows = corpus.loc[frame.index].assign(predicted=frame["predicted"], confidence=confidence)
    # Equal confidences stand in the order of their clips: the same run shows the same clips everywhere.
    rows = rows.sort_index().sort_values("confidence", ascending=False, kind="stable")
    rows.attrs = dict(corpus.attrs)
    return rows.rename_axis("clip")


def _checked(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the frame with its columns in order, or say what makes it no predictions frame."""
    if "corpus" not in frame:  # as in the tables of other programs
        frame = frame.assign(corpus=UNNAMED)
    missing = [column for column in COLUMNS if column not in frame]
    if missing:
        raise SerlibError(f"{where}: column {' and '.join(missing)} missing; it needs {', '.join(COLUMNS)}, p_<label>.")
    names = sorted(labels(frame))
    if not names or len(set(names)) < len(names):
        what = "the same class in two columns" if names else "no probabilities, one column p_<label> for each class"
        raise SerlibError(f"{where}: {what}; make the predictions again.")
    if frame.empty:
        raise SerlibError(f"{where}: no clips; make the predictions again.")
    twice = frame["clip"].duplicated()
    if twice.any():
        raise SerlibError(
            f"{where}: clip {frame['clip'][twice].iloc[0]} stands there twice; keep one row for each clip."
        )
    frame = frame[[*COLUMNS, *(f"p_{name}" for name in names)]]
    for column, known in (("part", PARTS), ("emotion", names), ("predicted", names)):
        odd = ~frame[column].isin(known)
        if odd.any():
            row = frame[odd].iloc[0]
            raise SerlibError(
                f"{where}: {column} of clip {row['clip']} is {row[column]!r}; known are {', '.join(known)}."
            )
    try:
        p = probabilities(frame)
    except (ValueError, TypeError) as error:
        raise SerlibError(f"{where}: a probability is not a number; make the predictions again.") from error
    chosen = p[np.arange(len(p)), np.searchsorted(names, frame["predicted"].to_numpy(str))]
    with np.errstate(invalid="ignore"):
        faults = {
            "probabilities that are no numbers": ~np.isfinite(p).all(axis=1),
            "probabilities outside 0 to 1": (p < 0).any(axis=1) | (p > 1 + TOLERANCE).any(axis=1),
            "probabilities that do not sum to 1": ~(np.abs(p.sum(axis=1) - 1) <= TOLERANCE),
            "a predicted label that is not the most probable one": ~(chosen >= p.max(axis=1) - TOLERANCE),
        }
    for fault, rows in faults.items():
        if rows.any():
            clip = frame["clip"].iloc[int(rows.argmax())]
            raise SerlibError(f"{where}: clip {clip} has {fault}; make the predictions again.")
    return frame


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
