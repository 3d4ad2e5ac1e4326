"""Votes of several voters on the same clips: majority, soft, weighted, and every subset (notebook 09).

The paper votes with the mode of the labels (section 3.5) and holds an odd number of voters to be safe from
ties. With eight classes it is not: 1-1-1, 2-2-1 and 1-1-1-1-1 are ties. Here ties are counted, and broken by
a rule with a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from serlib import predictions
from serlib.errors import SerlibError, nearest
from serlib.metrics import accuracy

TIES = ("probability", "first")


@dataclass(frozen=True, eq=False, repr=False)
class Vote:
    """A vote, itself a voter: its predictions, whose probabilities are shares of the vote, and its ties."""

    name: str
    members: tuple[str, ...]
    predictions: pd.DataFrame
    ties: pd.DataFrame

    def __repr__(self) -> str:
        clips = f"{len(self.predictions)} clips, {len(self.ties)} of them ties"
        return f"{self.name} ({', '.join(self.members)}): {clips}"


def majority_vote(voters: Sequence[Any], tie: str = "probability", name: str | None = None) -> Vote:
    """Return the hard vote: the label that most voters predicted (paper, sections 3.5 and 6.2).

    ``tie`` chooses among labels with equally many votes: "probability" takes the one with the greatest summed
    probability, "first" the alphabetically first, which is what a mode does.
    """
    frames, hard, soft = _ballots(voters)
    return _vote(voters, frames, hard.sum(0), soft.sum(0), tie, name or f"vote of {len(frames)}")


def soft_vote(voters: Sequence[Any], name: str | None = None) -> Vote:
    """Return the soft vote: the label with the greatest mean probability."""
    frames, _, soft = _ballots(voters)
    total = soft.sum(0)
    return _vote(voters, frames, total, total, "probability", name or f"soft vote of {len(frames)}")


def weighted_vote(
    voters: Sequence[Any], weights: Sequence[float] | None = None, name: str | None = None
) -> Vote:
    """Return the hard vote in which voter i has ``weights[i]`` votes; by default its validation accuracy.

    Weights taken from the test part would choose on what they are measured on.
    """
    frames, hard, soft = _ballots(voters)
    if weights is None:
        weights = [accuracy(frame, "validation") for frame in frames]
    w = np.asarray(list(weights), dtype=float)
    if w.shape != (len(frames),) or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise SerlibError(
            f"a vote of {len(frames)} needs {len(frames)} weights, none below 0 and not all 0; "
            f"these are {w.tolist()}."
        )
    name = name or f"weighted vote of {len(frames)}"
    counts = np.tensordot(w / w.sum(), hard, 1) * len(frames)
    return _vote(voters, frames, counts, np.tensordot(w, soft, 1), "probability", name)


def every_vote(
    voters: Sequence[Any], sizes: Sequence[int] = (3, 5), tie: str = "probability"
) -> pd.DataFrame:
    """Return the majority votes of all subsets of the voters, one row each: of six, 20 triples and 6 fives.

    Columns: members (names), size, validation_accuracy, validation_uar, test_accuracy, test_uar, test_ties
    (clips). Choose by the validation columns: the best of 26 on the test part is partly luck. NaN for a part
    without clips.
    """
    _known_rule(tie)
    frames, hard, soft = _ballots(voters)
    names = [predictions.name_of(voter) for voter in voters]
    subsets = [subset for size in sizes if size > 0 for subset in combinations(range(len(frames)), size)]
    if not subsets:
        raise SerlibError(
            f"no vote of {' or '.join(map(str, sizes))} can be formed from {len(frames)} voters; "
            "ask for other sizes."
        )
    member = np.zeros((len(subsets), len(frames)))
    for row, subset in zip(member, subsets, strict=True):
        row[list(subset)] = 1
    chosen, tied = _choose(np.tensordot(member, hard, 1), np.tensordot(member, soft, 1), tie)
    truth = _one_hot(frames[0]["emotion"], predictions.labels(frames[0]))
    right = truth[np.arange(len(truth)), chosen]
    columns = {
        "members": [tuple(names[i] for i in subset) for subset in subsets],
        "size": [len(s) for s in subsets],
    }
    for part in predictions.PARTS:
        here = (frames[0]["part"] == part).to_numpy()
        support = truth[here].sum(0)
        recall = (right[:, here] @ truth[here])[:, support > 0] / support[support > 0]
        columns[f"{part}_accuracy"] = right[:, here].mean(1) if here.any() else np.nan
        columns[f"{part}_uar"] = recall.mean(1) if here.any() else np.nan
    here = (frames[0]["part"] == "test").to_numpy()
    columns["test_ties"] = (tied[:, here].sum(2) > 1).sum(1)
    return pd.DataFrame(columns)


def _ballots(voters: Sequence[Any]) -> tuple[list[pd.DataFrame], np.ndarray, np.ndarray]:
    """Return the aligned frames, and labels (0 or 1) and probabilities, both (voters, clips, classes)."""
    frames = predictions.align(voters)
    names = predictions.labels(frames[0])
    hard = np.stack([_one_hot(frame["predicted"], names) for frame in frames])
    return frames, hard, np.stack([predictions.probabilities(frame) for frame in frames])


def _one_hot(column: pd.Series, names: Sequence[str]) -> np.ndarray:
    return (column.to_numpy(str)[:, None] == np.asarray(names)[None]).astype(float)


def _choose(counts: np.ndarray, mass: np.ndarray, tie: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the chosen class (..., clips) and which classes share the top count (..., clips, classes)."""
    # Rounded, because the sum of the same numbers in another order may differ in the last bit, and the order
    # of the voters must not decide.
    counts, mass = counts.round(9), mass.round(9)
    tied = counts == counts.max(-1, keepdims=True)
    return np.where(tied, mass if tie == "probability" else 1.0, -1.0).argmax(-1), tied


def _vote(
    voters: Sequence[Any],
    frames: list[pd.DataFrame],
    counts: np.ndarray,
    mass: np.ndarray,
    tie: str,
    name: str,
) -> Vote:
    """Return the Vote of summed ballots ``counts`` and probabilities ``mass``, both (clips, classes)."""
    _known_rule(tie)
    names = np.asarray(predictions.labels(frames[0]), dtype=object)
    chosen, tied = _choose(counts, mass, tie)
    frame = frames[0].assign(predicted=names[chosen])
    frame[[f"p_{label}" for label in names]] = counts / counts.sum(1, keepdims=True)
    frame.attrs = {"name": name}
    at = np.flatnonzero(tied.sum(1) > 1)
    ties = frame.loc[at, ["clip", "part", "emotion"]].assign(
        tied=[", ".join(names[row]) for row in tied[at]],
        votes=counts[at].max(1) if len(at) else np.zeros(0),
        chosen=names[chosen[at]],
    )
    members = tuple(predictions.name_of(voter) for voter in voters)
    return Vote(name=name, members=members, predictions=frame, ties=ties.reset_index(drop=True))


def _known_rule(tie: str) -> None:
    if tie not in TIES:
        raise SerlibError(f"there is no rule for ties named {tie!r}; {nearest(str(tie), TIES)}")
