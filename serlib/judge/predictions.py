"""What a model said about every clip: the table that metrics, votes and figures read (notebooks 03 to 12).

A predictions frame has a row for each clip and the columns clip, actor, emotion (the truth), predicted, part
("validation" or "test"), corpus and profile (their names, the same in every row; the latter is empty where there is
none) and one probability for each class, ``p_<label>``, in alphabetical order. A *voter* is whoever has such a frame: a
Run, a Vote, or the bare frame itself.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import pandas as pd

from serlib.errors import SerlibError, in_short, nearest
from serlib.files import atomic_path, checksum, given_path

NEEDED = ("clip", "actor", "emotion", "predicted", "part")
COLUMNS = (*NEEDED, "corpus", "profile")
PARTS = ("validation", "test")
UNNAMED = "unnamed"  # a corpus that nobody named, as in the tables of other programs; no named one is mixed with it
TOLERANCE = 1e-3  # a softmax in half precision sums to 1 only about this well
SEPARATORS = {";": "semicolons", "\t": "tabs"}


class Voter(Protocol):
    """Whoever judged clips and can be judged: a Run, a Vote, or anything else with a name and a predictions frame.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> mine = SimpleNamespace(name="a voter of my own", predictions=run.predictions)
    >>> ser.compare(mine, run).loc[0, "a"]
    'a voter of my own'
    """

    @property
    def name(self) -> str:
        """What tables and figures call it."""

    @property
    def predictions(self) -> pd.DataFrame:
        """Its predictions frame."""


AnyVoter: TypeAlias = Voter | pd.DataFrame  # a bare frame is a voter too; its name is attrs["name"]


def labels(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes of a predictions frame, from its ``p_`` columns.

    Parameters
    ----------
    frame
        A predictions frame; a run's is ``run.predictions``.

    Returns
    -------
    tuple of str
        In the order of the columns.

    Raises
    ------
    SerlibError
        For what is no table.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> ser.predictions.labels(run.predictions)[:3]
    ('angry', 'calm', 'disgust')
    """
    if not isinstance(frame, pd.DataFrame):
        raise SerlibError(f"{_type_with_article(frame)} is no predictions frame; a run's is run.predictions.")
    return tuple(column[2:] for column in frame.columns if isinstance(column, str) and column.startswith("p_"))


def probabilities(frame: pd.DataFrame) -> np.ndarray:
    """Return the probabilities of a predictions frame as an array.

    Parameters
    ----------
    frame
        A predictions frame; a run's is ``run.predictions``.

    Returns
    -------
    ndarray
        Shape (clips, classes), in the order of ``labels``.

    Raises
    ------
    SerlibError
        For what is no table.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> ser.predictions.probabilities(run.predictions).shape
    (404, 8)
    """
    return frame[[f"p_{label}" for label in labels(frame)]].to_numpy(float)


def make(
    rows: pd.DataFrame, probabilities: Any, labels: Sequence[str], part: str, corpus: str | None = None
) -> pd.DataFrame:
    """Return the predictions frame of some rows of a corpus.

    Parameters
    ----------
    rows
        The clips: a table with their names as index, a column emotion, and actor if it is known.
    probabilities
        Shape (len(rows), len(labels)). They are rounded to six decimals, which keeps files small and is done here so
        that memory and disk never differ.
    labels
        The classes, in the order of the columns of ``probabilities``.
    part
        "validation" or "test".
    corpus
        Its name; without one the rows are asked, and what they do not know is "unnamed".

    Returns
    -------
    DataFrame
        A predictions frame, its classes in alphabetical order.

    Raises
    ------
    SerlibError
        When shapes do not fit, a row is no distribution, or a name is none.

    Examples
    --------
    >>> import pandas as pd
    >>> clips = pd.DataFrame({"emotion": ["happy", "sad"]}, index=["a", "b"])
    >>> mine = ser.predictions.make(clips, [[0.1, 0.9], [0.7, 0.3]], ["sad", "happy"], "test")
    >>> print(mine[["clip", "emotion", "predicted", "p_happy", "p_sad"]].to_string(index=False))
    clip emotion predicted  p_happy  p_sad
       a   happy     happy      0.9    0.1
       b     sad       sad      0.3    0.7
    """
    if not isinstance(rows, pd.DataFrame) or "emotion" not in rows:
        raise SerlibError(f"{_type_with_article(rows)} has no clips with emotions; give rows of a corpus.")
    _demand_part(part)
    if not (corpus is None or isinstance(corpus, str)):
        raise SerlibError(f"the name of a corpus is some text, and this is {in_short(corpus)}.")
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise SerlibError(f'labels are a list such as ["happy", "sad"], and this is {in_short(labels)}.')
    known = [str(label) for label in labels]
    try:
        p = np.asarray(probabilities, dtype=float)
    except (ValueError, TypeError) as error:
        raise SerlibError("a probability is not a number; make the predictions again.") from error
    if p.shape != (len(rows), len(known)):
        raise SerlibError(
            f"probabilities of {len(rows)} clips and {len(known)} classes should have the shape "
            f"{(len(rows), len(known))}; they have {p.shape}."
        )
    names = sorted(known)
    p = p[:, [known.index(name) for name in names]]
    frame = pd.DataFrame(
        {
            "clip": rows.index.astype(str),
            "actor": rows["actor"].astype(str).to_numpy() if "actor" in rows else "",
            "emotion": rows["emotion"].astype(str).to_numpy(),
            "predicted": np.asarray(names, dtype=object)[p.argmax(axis=1)] if names else "",
            "part": part,
            "corpus": corpus or rows.attrs.get("name") or UNNAMED,
        }
    )
    frame = pd.concat([frame, pd.DataFrame(p, columns=[f"p_{name}" for name in names])], axis=1)
    frame = _checked(frame, "these predictions")
    frame[[f"p_{name}" for name in names]] = (p / p.sum(axis=1, keepdims=True)).round(6)
    return frame


def write(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write a predictions frame as CSV, whole or not at all: a kill leaves the file that was there before.

    Parameters
    ----------
    frame
        A predictions frame.
    path
        The file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    SerlibError
        For what is no predictions frame, for a folder in place of a file, and where nothing can be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> with TemporaryDirectory() as folder:
    ...     path = ser.predictions.write(run.predictions, f"{folder}/mine.csv")
    ...     ser.predictions.read(path).equals(run.predictions)
    True
    """
    path = given_path(path)
    frame = _checked(frame, f"what should go to {path}")
    if path.is_dir():
        raise SerlibError(f"{path} is a folder; give the name of a file in it, such as predictions.csv.")
    with atomic_path(path) as target:
        frame.to_csv(target, index=False, lineterminator="\n")
    return path


def read(path: Path | str) -> pd.DataFrame:
    """Read and check a predictions CSV.

    Where it has no column ``corpus``, as files of other programs, that is "unnamed"; ``ser.import_predictions`` takes
    such a file in for a corpus.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    DataFrame
        A predictions frame; ``attrs["name"]`` is the name of its folder.

    Raises
    ------
    SerlibError
        For a file that is missing, cut short, not what the record beside it says, or no predictions frame.

    Examples
    --------
    >>> frame = ser.predictions.read("results/laptop/stratified/whisper-tiny.en/predictions.csv")
    >>> frame.attrs["name"], len(frame)
    ('whisper-tiny.en', 404)
    """
    path = given_path(path)
    frame = cells_of(path)
    _demand_recorded(path)
    for label in labels(frame):
        if (frame.columns == f"p_{label}").sum() == 1:
            frame[f"p_{label}"] = pd.to_numeric(frame[f"p_{label}"], errors="coerce")
    frame = _checked(frame, str(path))
    frame.attrs["name"] = path.parent.name
    return frame


def _demand_recorded(path: Path) -> None:
    """Raise SerlibError where the record of a run beside the file has another digest of it."""
    try:
        digest = json.loads((path.parent / "run.json").read_text(encoding="utf-8"))["files"][path.name]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if checksum(path) != digest:
        raise SerlibError(f"{path} is not what it was when its run was finished; copy it again or train again.")


def cells_of(path: Path) -> pd.DataFrame:
    """Return the cells of a CSV as text, every line as long as its header. SerlibError for what is no such file."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise SerlibError(
            f"there are no predictions at {path}; check the path, or run the notebook that makes them first."
        ) from error
    except OSError as error:
        raise SerlibError(f"{path} cannot be read ({error.strerror}); check whose file it is.") from error
    except ValueError as error:
        raise SerlibError(f"{path} is not a CSV in UTF-8; save it again as CSV in UTF-8.") from error
    if not text.strip():
        raise SerlibError(f"{path} is empty; copy it again or run its notebook again.")
    head = text.lstrip().splitlines()[0]
    if head.strip('"').lower().startswith("sep="):
        raise SerlibError(f"{path} begins with Excel's own line {head.strip()}; delete that line, and keep commas.")
    if odd := [name for separator, name in SEPARATORS.items() if head.count(separator) > head.count(",")]:
        raise SerlibError(f"{path} parts its cells by {odd[0]}; save it with commas, and points in its numbers.")
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        header, *lines = ((reader.line_num, cells) for cells in reader if cells)
    except csv.Error as error:
        raise SerlibError(f"{path} is not a CSV of predictions (line {reader.line_num}: {error}).") from error
    for number, cells in lines:
        if len(cells) < len(header[1]) and number == lines[-1][0] and not text.endswith(("\n", "\r")):
            raise SerlibError(f"{path} stops in the middle of a line; copy it again or run its notebook again.")
        if len(cells) != len(header[1]):
            raise SerlibError(
                f"line {number} of {path} has {len(cells)} cells, and its header has {len(header[1])}; "
                "correct the line or run its notebook again."
            )
    return pd.DataFrame([cells for _, cells in lines], columns=header[1], dtype=str)


def listed(voters: Iterable[AnyVoter]) -> list[AnyVoter]:
    """Return voters as a list, whatever they come in: here alone is asked what a list of voters is.

    SerlibError for one voter without a list, for none, and for what is no voter.
    """
    if isinstance(voters, pd.DataFrame) or hasattr(voters, "predictions"):
        raise SerlibError("give the voters as a list, like [run_a, run_b, run_c].")
    if isinstance(voters, str) or not isinstance(voters, Iterable):
        raise SerlibError(f"{_type_with_article(voters)} is no list of voters; give one, like [run_a, run_b, run_c].")
    found = list(voters)
    if not found:
        raise SerlibError("there are no voters; give a list of at least one run, vote or predictions frame.")
    for voter in found:
        _table_of(voter)
    return found


def _table_of(voter: AnyVoter) -> pd.DataFrame:
    """Return the table of a Run, a Vote or a bare frame. Here alone is asked what a voter is."""
    frame = voter if isinstance(voter, pd.DataFrame) else getattr(voter, "predictions", None)
    if not isinstance(frame, pd.DataFrame):
        raise SerlibError(f"{_type_with_article(voter)} has no predictions; give a run, a vote or a predictions frame.")
    if {"path", "emotion"} <= set(frame.columns) and "predicted" not in frame:
        raise SerlibError("a corpus has no predictions; give a run, a vote or a predictions frame.")
    return frame


def _frame_of(voter: AnyVoter) -> pd.DataFrame:
    """Return the checked predictions frame of a voter; ``attrs`` know what recordings it heard."""
    checked = _checked(_table_of(voter), f"the predictions of {name_of(voter)}")
    record = getattr(voter, "info", None)  # a run's; that of a frame is pandas' own, and no dict
    if isinstance(record, dict) and isinstance(record.get("sounds"), dict):
        checked.attrs["sounds"] = record["sounds"]
    return checked


def name_of(voter: AnyVoter) -> str:
    """Return the name of a voter for tables and legends.

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame, whose name is ``attrs["name"]``.

    Returns
    -------
    str
        Of a frame without a name, "predictions".

    Examples
    --------
    >>> ser.predictions.name_of(ser.load_run("results/laptop/stratified/whisper-tiny.en-probe"))
    'Whisper tiny.en, frozen'
    """
    if isinstance(voter, pd.DataFrame):
        return str(voter.attrs.get("name") or "predictions")
    return str(getattr(voter, "name", None) or type(voter).__name__)


def corpus_of(voter: AnyVoter) -> str:
    """Return the name of the corpus that a voter heard, "unnamed" where nobody said."""
    return str(_frame_of(voter)["corpus"].iloc[0])


def named(frame: pd.DataFrame, name: str | None) -> pd.DataFrame:
    """Give a frame that was made of others a name of its own; of what they knew, only the recordings stay."""
    if not isinstance(name, str) or not name.strip():
        raise SerlibError(f"the name of a voter is some text, and this is {in_short(name)}.")
    frame.attrs = {"name": name} | {key: value for key, value in frame.attrs.items() if key == "sounds"}
    return frame


def rows_of(voter: AnyVoter, part: str = "test") -> pd.DataFrame:
    """Return the rows of a voter's predictions frame for one part; SerlibError when there are none."""
    _demand_part(part)
    frame = _frame_of(voter)
    frame = frame[frame["part"] == part].reset_index(drop=True)
    if frame.empty:
        raise SerlibError(f"{name_of(voter)} has no {part} clips; ask for the other part.")
    return frame


def _demand_part(part: str) -> None:
    if not isinstance(part, str) or part not in PARTS:
        raise SerlibError(f"predictions have no part named {in_short(part)}; {nearest(str(part), PARTS)}")


def align(voters: Iterable[AnyVoter], part: str | None = None) -> list[pd.DataFrame]:
    """Return the frames of several voters over the same clips in the same order.

    Voters vote, and are compared, only where they heard the same clips of the same split of the same corpus, in the
    same profile. An "unnamed" corpus is the same as no other; a voter of no profile goes with any.

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames.
    part
        "test", "validation", or None for the parts that all voters have.

    Returns
    -------
    list of DataFrame
        Predictions frames, one for each voter; row i is the same clip in each.

    Raises
    ------
    SerlibError
        Where two voters differ: it names both, and in what.

    Examples
    --------
    >>> home = "results/laptop/stratified"
    >>> frames = ser.predictions.align([ser.load_run(f"{home}/{key}-mini") for key in ser.SIX], "test")
    >>> len(frames), frames[0].shape, frames[5]["clip"].equals(frames[0]["clip"])
    (6, (288, 15), True)
    """
    voters = listed(voters)
    frames = [_frame_of(voter) if part is None else rows_of(voter, part) for voter in voters]
    names = [name_of(voter) for voter in voters]
    # What somebody else published has a test part alone, and votes with runs that have both.
    if shared := set.intersection(*(set(frame["part"]) for frame in frames)):
        frames = [frame[frame["part"].isin(shared)] for frame in frames]
    profile = _common_profile(frames, names, PARTS if part is None else (part,))
    frames = [frame.assign(profile=profile) for frame in frames]
    first = frames[0].reset_index(drop=True)
    aligned = [first]
    for name, frame in zip(names[1:], frames[1:], strict=True):
        pair = f"{names[0]} and {name}"
        if labels(frame) != labels(first):
            odd = sorted(set(labels(frame)) ^ set(labels(first)))
            raise SerlibError(f"{pair} know different classes ({_first_few(odd)}); train them on the same labels.")
        odd = sorted(set(frame["clip"]) ^ set(first["clip"]))
        if odd:
            raise SerlibError(
                f"{pair} were not tested on the same clips: {len(odd)} stand in only one of them "
                f"({_first_few(odd)}); use runs of the same split."
            )
        frame = frame.set_index("clip").loc[first["clip"]].reset_index()
        for column in ("part", "emotion"):
            differ = (frame[column] != first[column]).to_numpy()
            if differ.any():
                i = int(differ.argmax())
                raise SerlibError(
                    f"{pair} disagree about the {column} of clip {first['clip'][i]} ({first[column][i]} and "
                    f"{frame[column][i]}); use runs of the same split."
                )
        aligned.append(frame[first.columns])
    return aligned


def _common_profile(frames: Sequence[pd.DataFrame], names: Sequence[str], parts: Iterable[str]) -> str:
    """Return the profile of several voters, empty where none has one: profiles are never mixed (protocol).

    SerlibError where two voters are of two profiles, heard two corpora, or other recordings in one of these parts. The
    frames of runs know their recordings by content (``attrs["sounds"]``, a digest for each part), and so do votes
    of such; other frames have no such record.
    """
    corpora = [frame["corpus"].iloc[0] for frame in frames]
    for name, corpus in zip(names[1:], corpora[1:], strict=True):
        if corpus != corpora[0]:
            what = "use voters of one corpus"
            if UNNAMED in (corpus, corpora[0]):
                what = (
                    "ser.import_predictions says for a table which corpus it is of, and a corpus has its name in "
                    'attrs["name"], which pd.concat, merge and join drop'
                )
            raise SerlibError(f"{names[0]} and {name} heard different corpora ({corpora[0]} and {corpus}); {what}.")
    heard: dict[str, tuple[str, str]] = {}
    for frame, name in zip(frames, names, strict=True):
        sounds = frame.attrs.get("sounds", {})
        for part in set(parts) & set(sounds):
            sound, who = heard.setdefault(part, (sounds[part], name))
            if sound != sounds[part]:
                raise SerlibError(
                    f"{who} and {name} heard other recordings under the same names; use runs of the same recordings."
                )
    profiles = {
        profile: name for frame, name in zip(frames, names, strict=True) if (profile := frame["profile"].iloc[0])
    }
    if len(profiles) > 1:
        (one, who), (other, name) = list(profiles.items())[:2]
        raise SerlibError(
            f"{who} is of profile {one} and {name} of profile {other}, which answer different questions; use voters of "
            "one profile."
        )
    return next(iter(profiles), "")


def verdicts(voters: Iterable[AnyVoter], part: str = "test") -> pd.DataFrame:
    """Return what each voter predicted, clip by clip (09, 18, 10).

    Rows go by the name of the clip, so that two such tables can be compared whatever wrote the predictions.

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        A row for each clip; a column ``emotion`` (the truth), then one for each voter.

    Raises
    ------
    SerlibError
        For voters that judged other clips, and for two of one name.

    Examples
    --------
    >>> twins = [ser.load_run(f"results/laptop/stratified/{key}-mini") for key in ser.SIX[:3]]
    >>> table = ser.verdicts(twins)
    >>> table.iloc[2].to_list()
    ['neutral', 'sad', 'calm', 'calm']
    """
    voters = listed(voters)
    frames = align(voters, part)
    names = [name_of(voter) for voter in voters]
    for name in names:
        if names.count(name) > 1 or name == "emotion":
            raise SerlibError(f"two columns would be called {name}; give each voter a name of its own.")
    columns = {"emotion": frames[0]["emotion"]} | {
        name: frame["predicted"] for name, frame in zip(names, frames, strict=True)
    }
    return pd.DataFrame(columns).set_axis(pd.Index(frames[0]["clip"], name="clip")).sort_index()


def pool(voters: Iterable[AnyVoter], name: str) -> pd.DataFrame:
    """Return the test predictions of the folds of one system as one frame, itself a voter (11).

    Each clip was judged by the model that had it in its test part.

    Parameters
    ----------
    voters
        A list of runs or predictions frames, one for each fold.
    name
        What tables and figures call them together.

    Returns
    -------
    DataFrame
        A predictions frame of all test clips.

    Raises
    ------
    SerlibError
        When two folds judged the same clip, heard different corpora or know different classes.

    Examples
    --------
    >>> home, key = "results/laptop", "whisper-tiny.en-probe"
    >>> folds = [ser.load_run(f"{home}/luna-jimenez-fold{k}/{key}") for k in (1, 2, 3, 4, 5)]
    >>> pooled = ser.pool(folds, "probe, new voices")
    >>> len(pooled), round(ser.accuracy(pooled), 3)
    (1440, 0.761)
    """
    voters = listed(voters)
    frames = [rows_of(voter) for voter in voters]
    profile = _common_profile(frames, [name_of(voter) for voter in voters], ())  # a fold has recordings of its own
    if len({labels(frame) for frame in frames}) > 1:
        raise SerlibError(f"the folds of {name} know different classes; train them on the same labels.")
    frame = _checked(pd.concat(frames, ignore_index=True).assign(profile=profile), f"the pooled folds of {name}")
    frame.attrs = {}
    return named(frame, name)


def mistakes(voter: AnyVoter, corpus: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Return the rows of the corpus that a voter got wrong, most confident first (03 to 09).

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    corpus
        The corpus that it heard, or its clips of that part.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        Rows of the corpus with two more columns: ``predicted``, and ``confidence``, the probability of what was
        predicted. ``ser.listen`` plays them.

    Raises
    ------
    SerlibError
        For another corpus than the one that the voter heard.

    Examples
    --------
    >>> import pandas as pd
    >>> corpus = pd.DataFrame({"emotion": ["happy", "sad", "sad"]}, index=["a", "b", "c"])
    >>> voter = ser.predictions.make(corpus, [[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]], ["happy", "sad"], "test")
    >>> print(ser.mistakes(voter, corpus))
         emotion predicted  confidence
    clip
    c        sad     happy         0.8
    b        sad     happy         0.6
    """
    rows = heard(voter, corpus, part)
    return rows[rows["predicted"] != rows["emotion"]]


def heard(voter: AnyVoter, corpus: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Return the rows of the corpus that a voter heard, right or wrong, with the two columns of ``mistakes``."""
    frame = rows_of(voter, part)
    if isinstance(corpus, pd.Series):
        raise SerlibError(f"a column of a corpus is no corpus; give the one that {name_of(voter)} was trained on.")
    rows = of_clips(frame, corpus, name_of(voter))
    other = (rows["emotion"].to_numpy(str) != frame["emotion"].to_numpy(str)).nonzero()[0]
    if len(other):
        raise SerlibError(
            f"clip {rows.index[other[0]]} is {frame['emotion'].iloc[other[0]]} to {name_of(voter)} and "
            f"{rows['emotion'].iloc[other[0]]} in the corpus; give the corpus that it was trained on."
        )
    rows = rows.assign(predicted=frame["predicted"].to_numpy(), confidence=probabilities(frame).max(axis=1))
    # Equal confidences stand in the order of their clips: the same run shows the same clips everywhere.
    rows = rows.sort_index().sort_values("confidence", ascending=False, kind="stable")
    rows.attrs = dict(corpus.attrs)
    return rows.rename_axis("clip")


def of_clips(frame: pd.DataFrame, corpus: Any, who: str) -> Any:
    """Return what a corpus, or a column of one, has for the clips of a predictions frame, in their order.

    SerlibError where it is no corpus or another than the frame is of; ``who`` names the frame.
    """
    if not isinstance(corpus, pd.DataFrame | pd.Series) or (corpus.ndim == 2 and "emotion" not in corpus):
        raise SerlibError(f"{_type_with_article(corpus)} is no corpus; give the one that {who} was trained on.")
    theirs, ours = frame["corpus"].iloc[0], corpus.attrs.get("name", UNNAMED)
    if theirs != ours and UNNAMED not in (theirs, ours):
        raise SerlibError(f"{who} heard {theirs}, and this corpus is {ours}; give the one that it was trained on.")
    missing = sorted(set(frame["clip"]) - set(corpus.index))
    if missing:
        raise SerlibError(
            f"{len(missing)} clips of {who} are not in the corpus ({_first_few(missing)}); "
            "give the corpus that it was trained on."
        )
    if (twice := corpus.index.duplicated()).any():
        raise SerlibError(f"clip {corpus.index[twice][0]} stands twice in the corpus; keep one row for each clip.")
    return corpus.loc[frame["clip"]]


def _checked(frame: Any, where: str) -> pd.DataFrame:
    """Return the frame with its columns in order, or say what makes it no predictions frame."""
    for fault in _faults(frame):
        raise SerlibError(f"{where}: {fault}.")
    if "corpus" not in frame:
        frame = frame.assign(corpus=UNNAMED)
    if "profile" not in frame:  # another program's, or of a folder of runs that belongs to no profile
        frame = frame.assign(profile="")
    return frame[[*COLUMNS, *(f"p_{name}" for name in sorted(labels(frame)))]]


def _faults(frame: Any) -> Iterator[str]:
    """Yield what makes a table no predictions frame; a later fault may only be asked for where there is no earlier."""
    if not isinstance(frame, pd.DataFrame):
        yield f"{_type_with_article(frame)} is no predictions frame; a run's is run.predictions"
    if (twice := frame.columns[frame.columns.duplicated()]).size:
        yield f"two columns {twice[0]}; make the predictions again"
    missing = [column for column in NEEDED if column not in frame]
    if missing:
        yield (
            f"column {' and '.join(missing)} missing; it needs {', '.join(NEEDED)}, p_<label>; "
            "ser.import_predictions takes in what another program wrote"
        )
    names = sorted(labels(frame))
    if not names:
        yield "no probabilities, one column p_<label> for each class; make the predictions again"
    if "" in names:
        yield "a column p_ without the name of a class; make the predictions again"
    if frame.empty:
        yield "no clips; make the predictions again"
    # Python's own text: every vote asks this of every voter, and pandas hands out its own cell by cell, slowly.
    texts = {column: frame[column].to_numpy(object).tolist() for column in COLUMNS if column in frame}
    for column, cells in texts.items():
        for row, value in enumerate(cells, 1):
            if not isinstance(value, str):
                yield f"{column} of row {row} is {in_short(value)} and no text; make the predictions again"
    for column, cells in texts.items():
        if not _fits_a_file(cells):
            cell = next(cell for cell in cells if not _fits_a_file([cell]))
            yield f"{column} {in_short(cell)} has a character that no text file can hold; give it another name"
    if odd := [name for name in names if not _fits_a_file([name])]:
        yield f"a class is called {in_short(odd[0])}; name it otherwise"
    for column in ("clip", "corpus"):
        if "" in texts.get(column, ()):
            yield f"row {texts[column].index('') + 1} has no {column}; make the predictions again"
    if len(set(texts["clip"])) < len(texts["clip"]):
        yield f"clip {frame['clip'][frame['clip'].duplicated()].iloc[0]} stands there twice; keep one row for each clip"
    for column, several in (("corpus", "corpora"), ("profile", "profiles")):
        if len(found := sorted(set(texts.get(column, ())))) > 1:
            yield f"clips of several {several} ({', '.join(found)}); keep each apart"
    for column, known in (("part", PARTS), ("emotion", names), ("predicted", names)):
        for clip, value in zip(texts["clip"], texts[column], strict=True):
            if value not in known:
                yield f"{column} of clip {clip} is {value!r}; known are {', '.join(known)}"
    try:
        p = frame[[f"p_{name}" for name in names]].to_numpy(float)
    except (ValueError, TypeError):
        yield "a probability is not a number; make the predictions again"
    chosen = p[np.arange(len(p)), np.searchsorted(names, texts["predicted"])]
    with np.errstate(invalid="ignore"):
        faults = {
            "probabilities that are no numbers": ~np.isfinite(p).all(axis=1),
            "probabilities outside 0 to 1": (p < 0).any(axis=1) | (p > 1 + TOLERANCE).any(axis=1),
            "probabilities that do not sum to 1": ~(np.abs(p.sum(axis=1) - 1) <= TOLERANCE),
            "a predicted label that is not the most probable one": ~(chosen >= p.max(axis=1) - TOLERANCE),
        }
    for fault, rows in faults.items():
        if rows.any():
            yield f"clip {frame['clip'].iloc[int(rows.argmax())]} has {fault}; make the predictions again"


def _fits_a_file(cells: Iterable[str]) -> bool:
    """Whether a CSV in UTF-8 gives back such cells: csv ends a line at a bare carriage return, and knows no zero."""
    text = "".join(cells)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a character, as in the name of a file that is not in UTF-8
        return False
    return "\r" not in text and "\0" not in text


def _type_with_article(given: Any) -> str:
    """Return what something is, with its article, for a sentence."""
    if given is None:
        return "None"
    name = type(given).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _first_few(names: Sequence[str]) -> str:
    return ", ".join(map(str, names[:3])) + (", ..." if len(names) > 3 else "")
