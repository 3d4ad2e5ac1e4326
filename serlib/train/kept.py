"""A voter that is no run, such as an SVM or a vote, kept in a folder beside the runs (02, 18, 10, 11).

Its folder holds predictions.csv and voter.json, which knows by content what the voter heard, as a run's record does.
"""

import json
from pathlib import Path

import pandas as pd

from serlib.errors import SerlibError
from serlib.files import atomic_path, checksum
from serlib.judge import predictions
from serlib.judge.predictions import AnyVoter
from serlib.train.run import NoRun, sound_of

RECORD = "voter.json"
TABLE = "predictions.csv"


def keep_voter(voter: AnyVoter, folder: Path, corpus: pd.DataFrame, profile: str) -> None:
    """Write what a voter said into a folder, whole or not at all; what was kept there before is replaced.

    Parameters
    ----------
    voter
        A vote or a predictions frame.
    folder
        Where it goes.
    corpus
        The corpus whose clips it heard.
    profile
        The profile that it belongs to from now on.

    Raises
    ------
    SerlibError
        For a corpus that it did not hear, for a voter of another profile, and for a folder that holds a run.
    """
    name = predictions.name_of(voter)
    if (folder / "run.json").exists():
        raise SerlibError(f"{folder} holds a run; keep {name} under another name.")
    [frame] = predictions.align([voter])
    if (theirs := frame["profile"].iloc[0]) not in ("", profile):
        raise SerlibError(f"{name} is of profile {theirs}; keep it in a lesson of that profile, not of {profile}.")
    frame = frame.assign(profile=profile)
    clips = predictions.of_clips(frame, corpus, name)
    heard = {part: sound_of(clips[(frame["part"] == part).to_numpy()]) for part in sorted(set(frame["part"]))}
    with atomic_path(folder, folder=True) as fresh:
        predictions.write(frame, fresh / TABLE)
        record = {"sounds": heard, "files": {TABLE: checksum(fresh / TABLE)}}
        (fresh / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load_voter(folder: Path) -> pd.DataFrame:
    """Return what ``keep_voter`` wrote, a predictions frame that knows what recordings it is about.

    Parameters
    ----------
    folder
        Where it was kept.

    Returns
    -------
    DataFrame
        A voter; ``attrs["sounds"]`` has a digest for each part.

    Raises
    ------
    NoRun
        Where there is none.
    SerlibError
        Where it is damaged.
    """
    try:
        text = (folder / RECORD).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        place = "/".join(folder.parts[-3:])
        raise NoRun(f"No voter is kept in {place}; run the notebook that makes it first.") from error
    try:
        record = json.loads(text)
        sounds = {str(part): str(digest) for part, digest in record["sounds"].items()}
        if checksum(folder / TABLE) != record["files"][TABLE]:
            raise ValueError(f"{TABLE} is not what it was when it was kept")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise SerlibError(
            f"The voter in {folder} is damaged ({reason}); delete the folder and make it again."
        ) from error
    frame = predictions.read(folder / TABLE)
    frame.attrs["sounds"] = sounds
    return frame
