"""How good a voter is, how sure one can be of that, and whether two differ (notebooks 03 to 11).

Names: ``accuracy`` is what the field calls weighted accuracy (WA), ``unweighted_average_recall`` its
unweighted accuracy (UA, UAR). Sections 5.4.1 and 5.4.2 of the paper define the two the other way round.
"""

from collections.abc import Iterable
from itertools import combinations
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binomtest, rankdata

from serlib.errors import SerlibError, in_short, nearest
from serlib.judge.predictions import (
    AnyVoter,
    align,
    labels,
    listed,
    name_of,
    named,
    of_clips,
    probabilities,
    rows_of,
)

UNITS = ("actor", "clip")


def accuracy(voter: AnyVoter, part: str = "test") -> float:
    """Return the share of clips that are right (the field's weighted accuracy, WA).

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    SerlibError
        For what is no voter, for another part, and for a part without clips. So do all functions of this page.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> f"{ser.accuracy(run):.1%}"
    '85.8%'
    """
    return float(hits(rows_of(voter, part)).mean())


def unweighted_average_recall(voter: AnyVoter, part: str = "test") -> float:
    """Return the mean of the recalls of the classes (the field's UA or UAR): rare classes count in full.

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".

    Returns
    -------
    float
        From 0 to 1. A class without a clip in this part has no recall and is left out.

    Raises
    ------
    SerlibError
        For what is no voter, for another part, and for a part without clips.

    Examples
    --------
    Who always says "happy" is right in three of four clips here, and knows one class of two:

    >>> import pandas as pd
    >>> clips = pd.DataFrame({"emotion": ["happy", "happy", "happy", "sad"]}, index=list("abcd"))
    >>> lazy = ser.predictions.make(clips, [[1, 0]] * 4, ["happy", "sad"], "test")
    >>> ser.accuracy(lazy), ser.unweighted_average_recall(lazy)
    (0.75, 0.5)
    """
    frame = rows_of(voter, part)
    return float(uar(frame["emotion"], frame["predicted"]))


def uar(truth: Any, predicted: Any) -> np.ndarray:
    """Return the unweighted average recall of bare labels or class numbers.

    Parameters
    ----------
    truth
        Shape (clips,).
    predicted
        Shape (..., clips): any number of voters at once.

    Returns
    -------
    ndarray
        From 0 to 1, shape (...), one for each row of ``predicted``. A class that is not in ``truth`` has no recall and
        is left out.

    Raises
    ------
    SerlibError
        For other shapes and for no clips.

    Examples
    --------
    >>> ser.metrics.uar([0, 0, 0, 1], [[0, 0, 0, 0], [0, 0, 1, 1]]).round(2).tolist()
    [0.5, 0.83]
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 1 or not len(truth) or predicted.shape[-1:] != truth.shape:
        raise SerlibError(
            f"recall needs a truth of shape (clips,) and predictions of (..., clips), of one clip at least; these have "
            f"{truth.shape} and {predicted.shape}."
        )
    classes = np.unique(np.concatenate([truth, predicted.ravel()]))
    n = len(classes)
    cells = (np.searchsorted(classes, truth) * n + np.searchsorted(classes, predicted)).reshape(-1, len(truth))
    counts = np.zeros((len(cells), n * n))
    np.add.at(counts, (np.arange(len(cells))[:, None], cells), 1)
    return _accuracy_uar_and_f1(counts.reshape(*predicted.shape[:-1], n, n))[..., 1]


def recalls(voter: AnyVoter, part: str = "test") -> pd.Series:
    """Return the recall of each class.

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".

    Returns
    -------
    Series
        From 0 to 1, by label; NaN for a class without a clip in this part.

    Raises
    ------
    SerlibError
        For what is no voter, for another part, and for a part without clips.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> ser.metrics.recalls(run).round(2).nsmallest(2).to_dict()
    {'angry': 0.79, 'fearful': 0.79}
    """
    counts = confusion(voter, part)
    support = counts.sum(axis=1)
    return np.diag(counts) / support.where(support > 0)


def confusion(voter: AnyVoter, part: str = "test", normalize: bool = False) -> pd.DataFrame:
    """Return the confusion matrix: a row for each true emotion, a column for each predicted one.

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".
    normalize
        Whether to give the shares of each row in place of counts (0 for a class without a clip, as in scikit-learn).

    Returns
    -------
    DataFrame
        Shape (classes, classes), both in alphabetical order.

    Raises
    ------
    SerlibError
        For what is no voter, for another part, and for a part without clips.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> ser.confusion(run).loc["neutral", ["calm", "neutral", "sad"]].to_dict()
    {'calm': 2, 'neutral': 16, 'sad': 1}
    """
    frame = rows_of(voter, part)
    names = list(labels(frame))
    counts = pd.crosstab(frame["emotion"], frame["predicted"]).reindex(index=names, columns=names, fill_value=0)
    return counts.div(counts.sum(axis=1).clip(lower=1), axis=0) if normalize else counts


class Report(pd.DataFrame):
    """A table that a notebook shows in percent; whatever is taken out of it is an ordinary DataFrame.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> print(ser.report(run).loc["happy"].round(2).to_dict())
    {'precision': 0.79, 'recall': 0.87, 'f1': 0.82, 'support': 38.0, 'low': 0.73, 'high': 0.94}
    """

    def _repr_html_(self) -> str:
        shares = [column for column in self if column != "support"]
        shown = self.style.format("{:.1%}", subset=shares, na_rep="")
        return shown.format_index(escape="html")._repr_html_()  # which are labels of anybody's


def report(voter: AnyVoter, part: str = "test") -> Report:
    """Return precision, recall and F1 of each class, then accuracy and UAR, with 95 % intervals.

    The last two rows stand in the recall column because that is what they are: accuracy is the mean recall weighted by
    support, UAR the plain mean.

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".

    Returns
    -------
    Report
        A DataFrame with a row for each class, then accuracy and UAR. Columns precision, recall, f1 (0 to 1), support
        (clips), and low and high, which bound the recall column: Wilson's interval for the classes and the accuracy,
        ``intervals`` for the UAR. Precision is 0 for a class never predicted; recall is NaN for a class without a clip.

    Raises
    ------
    SerlibError
        For what is no voter, for another part, and for a part without clips.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> print(ser.report(run).tail(2)[["recall", "support", "low", "high"]].round(3))
              recall  support    low   high
    <BLANKLINE>
    accuracy   0.858      288  0.813  0.893
    UAR        0.857      288  0.802  0.908
    """
    counts = confusion(voter, part)
    right = np.diag(counts)
    support = counts.sum(axis=1).to_numpy()
    predicted = counts.sum(axis=0).to_numpy()
    table = pd.DataFrame(
        {
            "precision": right / np.maximum(predicted, 1),
            "recall": recalls(voter, part).to_numpy(),
            "f1": 2 * right / np.maximum(predicted + support, 1),
            "support": support,
        },
        index=pd.Index(counts.index, name=""),
    )
    bounds = [wilson_interval(r, n) if n else (np.nan, np.nan) for r, n in zip(right, support, strict=True)]
    table[["low", "high"]] = np.array(bounds)
    n = int(support.sum())
    low, high = wilson_interval(int(right.sum()), n)
    table.loc["accuracy"] = [np.nan, right.sum() / n, np.nan, n, low, high]
    value, low, high = intervals(voter, part).loc["UAR"]
    table.loc["UAR"] = [np.nan, value, np.nan, n, low, high]
    return Report(table.astype({"support": int}))


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share. It takes clips for independent draws.

    Parameters
    ----------
    successes
        How many clips were right, a whole number.
    n
        How many there were, at least 1.
    confidence
        Between 0 and 1.

    Returns
    -------
    tuple of float
        Low and high end, 0 to 1.

    Raises
    ------
    SerlibError
        For numbers that are no share, and for a confidence that is none.

    References
    ----------
    Wilson, Journal of the American Statistical Association 22 (1927).

    Examples
    --------
    The paper's vote of five was right on 279 of 288 clips:

    >>> low, high = ser.wilson_interval(279, 288)
    >>> f"{low:.3f} to {high:.3f}"
    '0.942 to 0.983'
    """
    whole = all(isinstance(count, Real) and float(count).is_integer() for count in (successes, n))
    if not (whole and 0 <= successes <= n and n >= 1):
        raise SerlibError(
            f"{in_short(successes)} of {in_short(n)} is no share; give whole 0 <= successes <= n and n of at least 1."
        )
    if not (isinstance(confidence, Real) and 0 < confidence < 1):
        raise SerlibError(f"confidence {in_short(confidence)} is not between 0 and 1; 0.95 is usual.")
    low, high = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def intervals(
    voter: AnyVoter, part: str = "test", unit: str = "actor", n_resamples: int = 10_000, random_state: int = 0
) -> pd.DataFrame:
    """Return accuracy, UAR and macro F1, each with its 95 % percentile bootstrap interval (10).

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".
    unit
        What is drawn with replacement: "actor", because clips of one actor succeed and fail together (the cluster
        bootstrap; Field and Welsh 2007), or "clip", as if all clips were independent.
    n_resamples
        How many draws, a whole number from 1 up.
    random_state
        The seed of the draws, a whole number from 0 up.

    Returns
    -------
    DataFrame
        Index accuracy, UAR, macro F1; columns value, low, high, 0 to 1. The ends are NaN for a single actor, who says
        nothing about the next one; with few actors the interval is too narrow. A class that was not drawn is left out
        of that draw.

    Raises
    ------
    SerlibError
        For what is no voter, for another part or unit, for numbers that are none, and for a part without clips.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> print(ser.intervals(run).round(3))
              value    low   high
    <BLANKLINE>
    accuracy  0.858  0.805  0.905
    UAR       0.857  0.802  0.908
    macro F1  0.855  0.801  0.903
    """
    frame = rows_of(voter, part)
    names, n = np.asarray(labels(frame)), len(labels(frame))
    cell = np.searchsorted(names, frame["emotion"].to_numpy(str)) * n
    cell += np.searchsorted(names, frame["predicted"].to_numpy(str))
    rows, times_drawn = draws(frame, unit, n_resamples, random_state)
    counts = np.zeros((times_drawn.shape[1], n * n))
    np.add.at(counts, (rows, cell), 1)
    table = pd.DataFrame(
        {"value": _accuracy_uar_and_f1(counts.sum(0).reshape(n, n))},
        index=pd.Index(["accuracy", "UAR", "macro F1"], name=""),
    )
    drawn = _accuracy_uar_and_f1((times_drawn @ counts).reshape(-1, n, n))
    table["low"], table["high"] = np.quantile(drawn, (0.025, 0.975), axis=0) if len(counts) > 1 else (np.nan, np.nan)
    return table


def draws(
    frame: pd.DataFrame, unit: str = "actor", n_resamples: int = 10_000, random_state: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return which unit each row belongs to, shape (rows,), and how often each unit is drawn, (n_resamples, units).

    One bootstrap draw takes as many units as there are, with replacement. Clips whose actor is unknown are units of
    their own.
    """
    if not isinstance(unit, str) or unit not in UNITS:
        raise SerlibError(f"nothing called {in_short(unit)} can be drawn; {nearest(str(unit), UNITS)}")
    _demand_whole(n_resamples, "n_resamples", 1)
    _demand_whole(random_state, "random_state", 0)
    names = "clip " + frame["clip"].astype(str)
    if unit == "actor":
        names = frame["actor"].astype(str).where(frame["actor"] != "", names)
    names, rows = np.unique(names.to_numpy(str), return_inverse=True)
    n = len(names)
    return rows, np.random.default_rng(random_state).multinomial(n, np.full(n, 1 / n), size=n_resamples)


def _demand_whole(given: Any, what: str, least: int) -> None:
    if not isinstance(given, Integral) or isinstance(given, bool) or given < least:
        raise SerlibError(f"{what} is a whole number from {least} up, and this is {in_short(given)}.")


def _accuracy_uar_and_f1(counts: np.ndarray) -> np.ndarray:
    """Return accuracy, UAR and macro F1 of confusion matrices (..., classes, classes), shape (..., 3)."""
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    true, predicted = counts.sum(-1), counts.sum(-2)

    def share(of: np.ndarray, there: np.ndarray) -> np.ndarray:
        return np.divide(of, there, out=np.zeros(of.shape), where=there > 0).sum(-1) / (there > 0).sum(-1)

    return np.stack([right.sum(-1) / true.sum(-1), share(right, true), share(2 * right, true + predicted)], -1)


def breakdown(voter: AnyVoter, groups: str | pd.Series, part: str = "test") -> pd.DataFrame:
    """Return clips, right, accuracy and its 95 % interval for each group of clips (10, 11).

    The interval draws whole actors where the group has several. It is Wilson's where the group has one, and where all
    its clips are right or all wrong: every draw then looks the same, though nobody can be that sure.

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    groups
        "actor" or "emotion", or a column of the corpus, like ``corpus["sex"]``: a Series indexed by clip.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        A row for each group; columns clips, right (counts), accuracy, low, high (0 to 1).

    Raises
    ------
    SerlibError
        For another kind of groups, for a column that has nothing for some clip, and as ``accuracy``.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> print(ser.breakdown(run, "actor").head(2).round(2))
           clips  right  accuracy   low  high
    actor
    01        11      9      0.82  0.52  0.95
    02        13     12      0.92  0.67  0.99
    """
    frame = rows_of(voter, part)
    if isinstance(groups, pd.Series):
        column = of_clips(frame, groups, name_of(voter))
        if (unknown := column.index[column.isna()]).size:
            raise SerlibError(f"{len(unknown)} clips have no {groups.name} ({unknown[0]}, ...); leave them out first.")
        by = pd.Series(column.to_numpy(), frame.index, name=groups.name)
    elif isinstance(groups, str) and groups in ("actor", "emotion"):
        by = frame[groups]
    else:
        raise SerlibError(f"predictions know no {in_short(groups)}; give actor, emotion, or a column of the corpus.")
    rows = {}
    for group, clips in frame.groupby(by):
        right, n = int(hits(clips).sum()), len(clips)
        if clips["actor"].nunique() > 1 and 0 < right < n:
            low, high = intervals(clips, part).loc["accuracy", ["low", "high"]]
        else:
            low, high = wilson_interval(right, n)
        rows[group] = {"clips": n, "right": right, "accuracy": right / n, "low": low, "high": high}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(by.name)


def beside_listeners(voter: AnyVoter, listeners: pd.DataFrame, part: str = "test") -> pd.DataFrame:
    """Return what a voter and the listeners of the same clips made of them, a row a clip (11).

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    listeners
        What ``ser.listeners`` returns for a file or a corpus: the index is the clip, ``share`` who chose its emotion.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        The clips that both have judged, in the voter's order: emotion, predicted, right (True or False), probability
        (that the voter gave to the true emotion) and share, both 0 to 1.

    Raises
    ------
    SerlibError
        For what is no such table, and where no clip was judged by both.

    Examples
    --------
    >>> import pandas as pd
    >>> clips = pd.DataFrame({"emotion": ["happy", "sad"]}, index=["a", "b"])
    >>> voter = ser.predictions.make(clips, [[0.4, 0.6], [0.3, 0.7]], ["happy", "sad"], "test")
    >>> print(ser.beside_listeners(voter, pd.DataFrame({"share": [1.0, 0.5]}, index=["a", "b"])))
         emotion predicted  right  probability  share
    clip
    a      happy       sad  False          0.4    1.0
    b        sad       sad   True          0.7    0.5
    """
    frame = rows_of(voter, part)
    if not isinstance(listeners, pd.DataFrame) or not is_numeric_dtype(listeners.get("share", pd.Series(dtype=str))):
        raise SerlibError("listeners are a table with a column share, a row a clip; give what ser.listeners returns.")
    if (twice := listeners.index.duplicated()).any():
        raise SerlibError(f"clip {listeners.index[twice][0]} stands twice among the listeners; keep one row a clip.")
    shares = listeners["share"].reindex(frame["clip"]).to_numpy(float)
    known = np.isfinite(shares)
    if not known.any():
        raise SerlibError(f"no clip of {name_of(voter)} has a share of listeners; give those of the corpus it heard.")
    column = np.searchsorted(labels(frame), frame["emotion"].to_numpy(str))
    table = frame[["clip", "emotion", "predicted"]].assign(
        right=hits(frame),
        probability=probabilities(frame)[np.arange(len(frame)), column],
        share=shares,
    )
    return table[known].set_index("clip")


def compare(a: AnyVoter, b: AnyVoter, part: str = "test") -> pd.DataFrame:
    """Return one row that says whether two voters differ on the same clips (02, 08, 18, 10).

    Parameters
    ----------
    a, b
        Runs, votes or predictions frames that judged the same clips.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        One row. Columns a, b (names), both_right, only_a, only_b, neither (clips) and p_value: McNemar's exact test, a
        two-sided binomial test on the clips that only one of them got right; 1 when there are none.

    Raises
    ------
    SerlibError
        For what are no voters, and for two that judged other clips, of another corpus or by other classes.

    References
    ----------
    McNemar, Psychometrika 12 (1947).

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> frozen = ser.load_run("results/laptop/stratified/whisper-tiny.en-probe")
    >>> print(ser.compare(run, frozen).drop(columns=["a", "b"]).round(3).to_string(index=False))
     both_right  only_a  only_b  neither  p_value
            234      13      25       16    0.073
    """
    right_a, right_b = (hits(frame) for frame in align([a, b], part))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    row = {
        "a": name_of(a),
        "b": name_of(b),
        "both_right": int((right_a & right_b).sum()),
        "only_a": only_a,
        "only_b": only_b,
        "neither": int((~right_a & ~right_b).sum()),
        "p_value": float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
    }
    return pd.DataFrame([row])


def compare_all(voters: Iterable[AnyVoter], against: AnyVoter | None = None, part: str = "test") -> pd.DataFrame:
    """Return both paired tests of every two voters, or of each one against a given voter, corrected by Holm (10).

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    against
        The voter that each is compared with; None compares every two of the list.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        A row for each pair. Columns a, b (names), points (accuracy of a minus b, in percent), low and high (95 %,
        actors drawn), only_a, only_b (clips), p_clips (exact McNemar), p_actors (Wilcoxon's exact signed-rank test on
        the accuracies of each actor, the unit that generalizes; NaN where the actors are unknown), and each p with
        ``_holm``: corrected for all rows.

    Raises
    ------
    SerlibError
        For fewer than two voters, and for voters that judged other clips.

    Examples
    --------
    >>> home = "results/laptop/stratified"
    >>> run, frozen, twin = (
    ...     ser.load_run(f"{home}/{name}") for name in ("whisper-tiny.en", "whisper-tiny.en-probe", "hubert-base-mini")
    ... )
    >>> table = ser.compare_all([run, twin], against=frozen)
    >>> print(table[["points", "p_clips", "p_clips_holm"]].round(3))
       points  p_clips  p_clips_holm
    0  -4.167    0.073         0.073
    1 -22.222    0.000         0.000
    """
    voters = listed(voters)
    pairs = [(a, against) for a in voters] if against is not None else list(combinations(voters, 2))
    if not pairs:
        raise SerlibError("to compare voters there must be two at least; give a longer list.")
    rows = []
    for a, b in pairs:
        row = compare(a, b, part).iloc[0]
        change = difference(a, b, part)
        frame_a, frame_b = align([a, b], part)
        gain = pd.Series(hits(frame_a).astype(float) - hits(frame_b)).groupby(frame_a["actor"]).mean().round(9)
        rows.append({
            **row[["a", "b"]], **change * 100, **row[["only_a", "only_b"]],
            "p_clips": row["p_value"], "p_actors": _signed_rank(gain),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    for unit in ("clips", "actors"):
        table[f"p_{unit}_holm"] = holm(table[f"p_{unit}"])
    return table


def _signed_rank(gain: pd.Series) -> float:
    """Return Wilcoxon's exact two-sided p for the gains of the actors; those without any are dropped, as he did.

    scipy's is exact only where no two gains are equally large, which accuracies on a dozen clips often are.
    """
    if list(gain.index) == [""]:
        return np.nan
    gain = gain[gain != 0]
    ranks = (2 * rankdata(gain.abs())).astype(int)  # doubled, so that shared ranks are whole numbers too
    chance = np.ones(1)  # of each sum of the ranks, when each sign is a toss of a coin
    for rank in ranks:
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    won = int(ranks[(gain > 0).to_numpy()].sum())
    return float(min(1.0, 2 * chance[: min(won, ranks.sum() - won) + 1].sum()))


def holm(p_values: Iterable[float]) -> np.ndarray:
    """Return p values corrected for their number, so that one false alarm in all of them has probability 5 %.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none may fall below the one before it.

    Parameters
    ----------
    p_values
        A list of numbers from 0 to 1. NaN, a test that could not be made, stays NaN and does not count.

    Returns
    -------
    ndarray
        The corrected values, shape (m,), in the order given.

    Raises
    ------
    SerlibError
        For what is no list of numbers from 0 to 1.

    References
    ----------
    Holm, Scandinavian Journal of Statistics 6 (1979).

    Examples
    --------
    >>> ser.holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    try:
        p = np.asarray(list(p_values), dtype=float)
    except (TypeError, ValueError) as error:
        raise SerlibError(f"p values are a list of numbers, and this is {in_short(p_values)}.") from error
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise SerlibError(f"p values are a list of numbers from 0 to 1, and this is {in_short(p_values)}.")
    order = np.argsort(p, kind="stable")[: np.isfinite(p).sum()]  # NaN stands last
    corrected = np.full_like(p, np.nan)
    corrected[order] = np.maximum.accumulate(np.minimum(1, p[order] * np.arange(len(order), 0, -1)))
    return corrected


def difference(
    a: AnyVoter, b: AnyVoter, part: str = "test", n_resamples: int = 10_000, random_state: int = 0
) -> pd.Series:
    """Return the accuracy of a minus that of b, on the clips that both were tested on (10, 11).

    The two may come from different splits: what counts is that they judged the same clips. The 95 % interval draws
    whole actors, both voters with the same draws.

    Parameters
    ----------
    a, b
        Runs, votes or predictions frames.
    part
        "test" or "validation".
    n_resamples
        How many draws, a whole number from 1 up.
    random_state
        The seed of the draws, a whole number from 0 up.

    Returns
    -------
    Series
        points, low and high, -1 to 1; the ends are NaN for a single actor.

    Raises
    ------
    SerlibError
        For voters without a clip in common, or that disagree about its truth or heard different corpora.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> frozen = ser.load_run("results/laptop/stratified/whisper-tiny.en-probe")
    >>> ser.difference(run, frozen).round(3).tolist()
    [-0.042, -0.085, 0.0]
    """
    frames = [rows_of(voter, part) for voter in (a, b)]
    common = sorted(set(frames[0]["clip"]) & set(frames[1]["clip"]))
    if not common:
        raise SerlibError(f"{name_of(a)} and {name_of(b)} have no {part} clip in common; there is nothing to compare.")
    shared = [frame[frame["clip"].isin(common)].sort_values("clip") for frame in frames]
    for frame, voter in zip(shared, (a, b), strict=True):
        named(frame, name_of(voter))
        if len(common) < max(map(len, frames)):
            frame.attrs.pop("sounds", None)  # which are those of a whole part
    frames = align(shared, part)  # which refuses other truths and other corpora
    gain = hits(frames[0]).astype(float) - hits(frames[1])
    rows, times_drawn = draws(frames[0], "actor", n_resamples, random_state)
    clips = np.bincount(rows)
    drawn = times_drawn @ np.bincount(rows, gain) / (times_drawn @ clips)
    low, high = np.quantile(drawn, (0.025, 0.975)) if len(clips) > 1 else (np.nan, np.nan)
    return pd.Series({"points": gain.mean(), "low": low, "high": high})


def hits(frame: pd.DataFrame) -> np.ndarray:
    """Return which rows of a predictions frame are right, True or False."""
    return (frame["predicted"] == frame["emotion"]).to_numpy()


def reliability(voter: AnyVoter, part: str = "test", n_bins: int = 10) -> pd.DataFrame:
    """Return how sure a voter is and how often it is then right, a row for each of some equal bins (09).

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".
    n_bins
        How many bins there are from 0 to 1, a whole number from 1 up.

    Returns
    -------
    DataFrame
        Columns low and high (ends of the bin), clips, confidence (mean probability of what was predicted) and accuracy,
        0 to 1; bins without clips are left out.

    Raises
    ------
    SerlibError
        For a number of bins that is none, and as ``accuracy``.

    References
    ----------
    Guo et al., ICML 2017 (arXiv:1706.04599).

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> print(ser.reliability(run, n_bins=4).round(2))
        low  high  clips  confidence  accuracy
    0  0.25  0.50      1        0.46      1.00
    1  0.50  0.75     16        0.58      0.38
    2  0.75  1.00    271        0.98      0.89
    """
    _demand_whole(n_bins, "n_bins", 1)
    frame = rows_of(voter, part)
    confidence = probabilities(frame).max(axis=1)
    # A bin has its upper end, so that a probability of 1 stands in the last.
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    table = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": hits(frame)}).groupby("bin")
    means = table.mean()
    means.insert(0, "clips", table.size())
    means.insert(0, "high", (means.index + 1) / n_bins)
    means.insert(0, "low", means.index / n_bins)
    return means.reset_index(drop=True)


def calibration_error(voter: AnyVoter, part: str = "test", n_bins: int = 10) -> float:
    """Return the expected calibration error: the gap of each bin of ``reliability``, weighted by its clips (09).

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".
    n_bins
        How many bins there are from 0 to 1, a whole number from 1 up.

    Returns
    -------
    float
        From 0, as sure as right, to 1.

    Raises
    ------
    SerlibError
        For a number of bins that is none, and as ``accuracy``.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> round(ser.calibration_error(run), 2), round(ser.calibration_error(ser.calibrate(run)), 2)
    (0.1, 0.04)
    """
    table = reliability(voter, part, n_bins)
    gap = (table["accuracy"] - table["confidence"]).abs()
    return float((gap * table["clips"]).sum() / table["clips"].sum())


def temperature(scores: Any, truth: Any, bounds: tuple[float, float] = (0.05, 20)) -> float:
    """Return the temperature T at which softmax(scores / T) makes the truth most likely.

    Above 1 it takes confidence away, below 1 it adds some.

    Parameters
    ----------
    scores
        Logits or log probabilities, shape (clips, classes).
    truth
        Class numbers, shape (clips,).
    bounds
        Between which numbers above 0 it is looked for.

    Returns
    -------
    float
        T, within ``bounds``.

    Raises
    ------
    SerlibError
        For other shapes, for no clips, for what is no number and for bounds that are none.

    References
    ----------
    Guo et al., ICML 2017 (arXiv:1706.04599).

    Examples
    --------
    Four answers at odds of 9 to 1, of which three are right: odds of 3 to 1 would be honest.

    >>> import numpy as np
    >>> scores = np.log([[0.9, 0.1]] * 4)
    >>> round(ser.metrics.temperature(scores, [0, 0, 0, 1]), 2)
    2.0
    """
    try:
        scores, truth, limits = np.asarray(scores, dtype=float), np.asarray(truth), np.asarray(bounds, dtype=float)
    except (TypeError, ValueError) as error:
        raise SerlibError(f"a temperature is found from scores and bounds that are numbers ({error}).") from error
    if scores.ndim != 2 or not scores.size or truth.shape != scores.shape[:1] or not np.isfinite(scores).all():
        raise SerlibError(
            f"a temperature needs finite scores of shape (clips, classes) and a truth of (clips,), of one clip at "
            f"least; these have {scores.shape} and {truth.shape}."
        )
    if truth.dtype.kind not in "iu" or not ((truth >= 0) & (truth < scores.shape[1])).all():
        raise SerlibError(f"the truth is class numbers from 0 to {scores.shape[1] - 1}, and this is {in_short(truth)}.")
    if limits.shape != (2,) or not 0 < limits[0] < limits[1] < np.inf:
        raise SerlibError(f"bounds are two numbers above 0, the lower first, and these are {in_short(bounds)}.")
    clips = np.arange(len(truth))

    def loss(log_sharpness: float) -> float:
        p = softmax(scores * np.exp(log_sharpness), axis=1)
        return -np.log(np.maximum(p[clips, truth], 1e-300)).mean()

    lowest, highest = np.log(limits)
    return float(np.exp(-minimize_scalar(loss, bounds=(-highest, -lowest), method="bounded").x))
