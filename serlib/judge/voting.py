"""Votes of several voters on the same clips: hard, soft, weighted, stacked, and every subset (notebooks 09 and 18).

The paper votes with the mode of the labels (section 3.5) and holds an odd number of voters to be safe from
ties. With eight classes it is not: 1-1-1, 2-2-1 and 1-1-1-1-1 are ties. Here ties are counted, and broken by
a rule with a name. What a vote learns (weights, temperatures, a second model) it learns on validation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, factorial
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import betabinom, binom
from threadpoolctl import threadpool_limits

from serlib.errors import SerlibError, in_short, nearest
from serlib.judge import predictions
from serlib.judge.metrics import accuracy, draws, hits, temperature, uar
from serlib.judge.predictions import AnyVoter

TIES = ("probability", "first", "best")
FLOOR = 1e-6  # predictions are kept to six decimals, so a probability of 0 is one below this


@dataclass(frozen=True, eq=False, repr=False)
class Vote:
    """A vote, itself a voter: ``name``, ``members`` (their names), ``predictions`` and ``ties``.

    Its predictions frame has the shares of the vote as probabilities. ``ties`` has a row for each tie, with the columns
    clip, part, emotion (the truth), tied (the labels), votes (of each of these) and chosen.

    Examples
    --------
    >>> twins = [ser.load_run(f"results/laptop/stratified/{key}-mini") for key in ser.SIX[:3]]
    >>> vote = ser.majority_vote(twins, name="three twins")
    >>> len(vote.ties), vote.ties.loc[0, "tied"]
    (42, 'neutral, sad, surprised')
    """

    name: str
    members: tuple[str, ...]
    predictions: pd.DataFrame
    ties: pd.DataFrame

    def __repr__(self) -> str:
        clips = f"{len(self.predictions)} clips, {len(self.ties)} of them ties"
        return f"{self.name} ({', '.join(self.members)}): {clips}"


def majority_vote(voters: Iterable[AnyVoter], tie: str = "probability", name: str | None = None) -> Vote:
    """Return the hard vote: the label that most voters predicted.

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    tie
        What chooses among labels with equally many votes: "probability" takes the one with the greatest summed
        probability, "first" the alphabetically first, which is what a mode does, "best" the one that the voter with the
        best validation accuracy predicted (where that is not among them, the greatest summed probability).
    name
        What tables and figures call the vote; without one, "vote of 3" or so.

    Returns
    -------
    Vote
        A voter, of the validation and the test part.

    Raises
    ------
    SerlibError
        For what are no voters, for voters that judged other clips, of another corpus or by other classes, and for
        another rule for ties. So do all votes.

    References
    ----------
    The paper, sections 3.5 and 6.2.

    Examples
    --------
    >>> twins = [ser.load_run(f"results/laptop/stratified/{key}-mini") for key in ser.SIX]
    >>> vote = ser.majority_vote(twins)
    >>> f"{max(map(ser.accuracy, twins)):.1%} the best alone, {ser.accuracy(vote):.1%} together"
    '68.1% the best alone, 72.9% together'
    """
    frames, hard, soft = _frames_and_ballots(voters)
    breakers = _tie_breakers(frames, hard, soft, np.ones(len(frames)), tie)
    return _vote_of_sums(frames, hard.sum(0), breakers, name, "vote")


def soft_vote(voters: Iterable[AnyVoter], name: str | None = None) -> Vote:
    """Return the soft vote: the label with the greatest mean probability.

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    name
        What tables and figures call the vote; without one, "soft vote of 3" or so.

    Returns
    -------
    Vote
        A voter, of the validation and the test part.

    Raises
    ------
    SerlibError
        As ``majority_vote``.

    Examples
    --------
    Two doubtful voters against one who is sure:

    >>> import pandas as pd
    >>> clip = pd.DataFrame({"emotion": ["sad"]}, index=["a"])
    >>> voters = [ser.predictions.make(clip, [[p, 1 - p]], ["happy", "sad"], "test") for p in (0.6, 0.6, 0.1)]
    >>> [vote.predictions.loc[0, "predicted"] for vote in (ser.majority_vote(voters), ser.soft_vote(voters))]
    ['happy', 'sad']
    """
    frames, _, soft = _frames_and_ballots(voters)
    total = soft.sum(0)
    return _vote_of_sums(frames, total, total, name, "soft vote")


def entropy_vote(voters: Iterable[AnyVoter], name: str | None = None) -> Vote:
    """Return the soft vote in which, clip by clip, the sure count more (09).

    A voter's weight on a clip is 1 - H / log(classes), where H is the entropy of its probabilities: 1 for a voter who
    is certain, 0 for one who has no idea.

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    name
        What tables and figures call the vote; without one, "entropy vote of 3" or so.

    Returns
    -------
    Vote
        A voter, of the validation and the test part.

    Raises
    ------
    SerlibError
        As ``majority_vote``.

    Examples
    --------
    Who says 50 to 50 has nothing to say, and the vote is that of the other:

    >>> import pandas as pd
    >>> clip = pd.DataFrame({"emotion": ["sad"]}, index=["a"])
    >>> voters = [ser.predictions.make(clip, [[p, 1 - p]], ["happy", "sad"], "test") for p in (0.5, 0.1)]
    >>> ser.entropy_vote(voters).predictions.round(3).loc[0, ["p_happy", "p_sad"]].to_list()
    [0.1, 0.9]
    """
    frames, _, soft = _frames_and_ballots(voters)
    entropy = -(soft * np.log(np.maximum(soft, FLOOR))).sum(-1, keepdims=True)
    total = ((1 - entropy / np.log(soft.shape[-1])).clip(FLOOR) * soft).sum(0)
    return _vote_of_sums(frames, total, total, name, "entropy vote")


def stacked_vote(voters: Iterable[AnyVoter], name: str | None = None) -> Vote:
    """Return the verdicts of a level-1 model that has learned on validation whom to believe when (09).

    It is a logistic regression on the log probabilities of all voters; the strength of its regularization is chosen by
    cross-validation within the validation part. Its own predictions of validation clips are out of fold, so that they
    may be compared with those of other votes. The test part is only predicted.

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    name
        What tables and figures call the vote; without one, "stacked vote of 3" or so.

    Returns
    -------
    Vote
        A voter, of the validation and the test part.

    Raises
    ------
    SerlibError
        For fewer than 4 validation clips of a class, and as ``majority_vote``.

    References
    ----------
    Stacking: Wolpert 1992; Ting and Witten 1999.

    Examples
    --------
    A voter who takes every "happy" for "sad" and the other way round is worth having: what it says can be turned round.

    >>> import pandas as pd
    >>> clips = pd.DataFrame({"emotion": ["happy", "sad"] * 6}, index=list("abcdefghijkl"))
    >>> taught = ser.predictions.make(clips[:8], [[0.1, 0.9], [0.9, 0.1]] * 4, ["happy", "sad"], "validation")
    >>> tested = ser.predictions.make(clips[8:], [[0.1, 0.9], [0.9, 0.1]] * 2, ["happy", "sad"], "test")
    >>> wrong = pd.concat([taught, tested], ignore_index=True)
    >>> ser.accuracy(wrong), ser.accuracy(ser.stacked_vote([wrong]))
    (0.0, 1.0)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name is not None:
        predictions.named(pd.DataFrame(), name)  # what is no name is refused before the work, not after it
    frames, _, soft = _frames_and_ballots(voters)
    frame, labels = frames[0], predictions.labels(frames[0])
    known = (frame["part"] == "validation").to_numpy()
    fewest = frame.loc[known, "emotion"].value_counts().reindex(labels, fill_value=0).min()
    if fewest < 4:
        clips = "1 clip" if fewest == 1 else f"{fewest} clips"
        raise SerlibError(f"stacking learns on validation, which has {clips} of one class; it needs 4 of each.")
    x = np.log(np.maximum(soft, FLOOR)).transpose(1, 0, 2).reshape(len(frame), -1)
    # In the order of their clips: the folds must not depend on the order of the rows.
    learn = np.flatnonzero(known)[np.argsort(frame.loc[known, "clip"].to_numpy(str))]
    truth, folds = frame["emotion"].to_numpy(str), StratifiedKFold(min(5, fewest))
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    grid = {"logisticregression__C": [0.01, 0.1, 1, 10]}
    search = GridSearchCV(model, grid, scoring="neg_log_loss", cv=StratifiedKFold(3))
    total = np.zeros(soft.shape[1:])
    with threadpool_limits(1):  # so small a problem waits longer for other threads than it computes
        total[learn] = cross_val_predict(search, x[learn], truth[learn], cv=folds, method="predict_proba")
        if not known.all():
            total[~known] = search.fit(x[learn], truth[learn]).predict_proba(x[~known])
    return _vote_of_sums(frames, total, total, name, "stacked vote")


def weighted_vote(voters: Iterable[AnyVoter], weights: Iterable[float] | None = None, name: str | None = None) -> Vote:
    """Return the hard vote in which some voters have more votes than others.

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    weights
        How many votes each has, numbers of 0 or more; by default its validation accuracy. Weights taken from the test
        part would choose on what they are measured on.
    name
        What tables and figures call the vote; without one, "weighted vote of 3" or so.

    Returns
    -------
    Vote
        A voter, of the validation and the test part.

    Raises
    ------
    SerlibError
        For weights that are none, or too few or many, and as ``majority_vote``.

    Examples
    --------
    >>> twins = [ser.load_run(f"results/laptop/stratified/{key}-mini") for key in ser.SIX[:3]]
    >>> one = ser.weighted_vote(twins, weights=[0, 0, 1], name="the third alone")
    >>> ser.accuracy(one) == ser.accuracy(twins[2])
    True
    """
    frames, hard, soft = _frames_and_ballots(voters)
    if weights is None:
        weights = [accuracy(frame, "validation") for frame in frames]
    try:
        weights = list(weights)
        w = np.asarray(weights, dtype=float)
    except (TypeError, ValueError) as error:
        raise SerlibError(f"weights are a list of numbers, and this is {in_short(weights)}.") from error
    if w.shape != (len(frames),) or not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise SerlibError(
            f"a vote of {len(frames)} needs {len(frames)} weights, none below 0 and not all 0; these are {w.tolist()}."
        )
    counts = np.tensordot(w / w.sum(), hard, 1) * len(frames)
    return _vote_of_sums(frames, counts, np.tensordot(w, soft, 1), name, "weighted vote")


def calibrate(voter: AnyVoter) -> pd.DataFrame:
    """Return a voter's predictions with probabilities that say how often it is right; no label changes (09).

    Temperature scaling: the log probabilities are divided by the one number T that makes the truth of the *validation*
    clips most likely; above 1 it takes confidence away.

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.

    Returns
    -------
    DataFrame
        A predictions frame, itself a voter. ``attrs["temperature"]`` holds T, between 0.05 and 20.

    Raises
    ------
    SerlibError
        For what is no voter, and for one without validation clips.

    References
    ----------
    Guo et al., ICML 2017 (arXiv:1706.04599).

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> round(ser.calibrate(run).attrs["temperature"], 2)
    1.47
    """
    frame = predictions.align([voter])[0]
    names = predictions.labels(frame)
    log = np.log(np.maximum(predictions.probabilities(frame), FLOOR))
    seen = np.flatnonzero(frame["part"] == "validation")
    if not len(seen):
        raise SerlibError(f"{predictions.name_of(voter)} has no validation clips to learn a temperature from.")
    found = temperature(log[seen], np.searchsorted(names, frame["emotion"].to_numpy(str)[seen]))
    frame[[f"p_{label}" for label in names]] = softmax(log / found, axis=1)
    predictions.named(frame, predictions.name_of(voter)).attrs["temperature"] = found
    return frame


def every_vote(
    voters: Iterable[AnyVoter],
    sizes: Iterable[int] = (3, 5),
    tie: str = "probability",
    unit: str = "actor",
    n_resamples: int = 10_000,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return the majority votes of all subsets of the voters, one row each: of six, 20 triples and 6 fives.

    Choose by the validation columns: the best of 26 on the test part is partly luck.

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    sizes
        How many voters sit in a vote, a list of whole numbers.
    tie
        The rule for ties, as in ``majority_vote``.
    unit
        What bootstrap draws with replacement, "actor" or "clip".
    n_resamples
        How many draws, a whole number from 1 up.
    random_state
        The seed of the draws, a whole number from 0 up.

    Returns
    -------
    DataFrame
        Columns members (names), size, validation_accuracy, validation_uar, test_accuracy, test_low and test_high (its
        95 % interval), test_uar, test_ties (clips) and test_best: in what share of the draws this vote is the best of
        the table (shared among equals). NaN for a part without clips.

    Raises
    ------
    SerlibError
        For sizes of which no vote can be formed, for another unit, and as ``majority_vote``.

    Examples
    --------
    >>> twins = [ser.load_run(f"results/laptop/stratified/{key}-mini") for key in ser.SIX[:4]]
    >>> table = ser.every_vote(twins, sizes=[3], n_resamples=1000)
    >>> print(table[["size", "validation_accuracy", "test_accuracy", "test_ties"]].round(3))
       size  validation_accuracy  test_accuracy  test_ties
    0     3                0.672          0.712         30
    1     3                0.698          0.677         25
    2     3                0.690          0.667         28
    3     3                0.681          0.715         29
    """
    frames, hard, soft = _frames_and_ballots(voters)
    names = [predictions.name_of(frame) for frame in frames]
    member, subsets = _subsets(len(frames), sizes)
    chosen, tied = _winners_of_subsets(frames, hard, soft, member, tie)
    truth = np.searchsorted(predictions.labels(frames[0]), frames[0]["emotion"].to_numpy(str))
    right = chosen == truth
    columns = {
        "members": [tuple(names[i] for i in subset) for subset in subsets],
        "size": [len(s) for s in subsets],
    }
    for part in predictions.PARTS:
        here = (frames[0]["part"] == part).to_numpy()
        columns[f"{part}_accuracy"] = right[:, here].mean(1) if here.any() else np.nan
        if part == "test" and here.any():
            rows, times_drawn = draws(frames[0][here], unit, n_resamples, random_state)
            units = np.eye(times_drawn.shape[1])[rows]
            drawn = (right[:, here] @ units @ times_drawn.T / (times_drawn @ units.sum(0))).round(9)
            columns["test_low"], columns["test_high"] = np.quantile(drawn, (0.025, 0.975), axis=1)
            best = drawn == drawn.max(0)
            columns["test_best"] = (best / best.sum(0)).mean(1)
        columns[f"{part}_uar"] = uar(truth[here], chosen[:, here]) if here.any() else np.nan
    here = (frames[0]["part"] == "test").to_numpy()
    columns["test_ties"] = (tied[:, here].sum(2) > 1).sum(1)
    return pd.DataFrame(columns)


def tie_costs(voters: Iterable[AnyVoter], sizes: Iterable[int] = (3, 5), part: str = "validation") -> pd.DataFrame:
    """Return what each rule for ties is worth, over all hard votes of some sizes together (09).

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    sizes
        How many voters sit in a vote, a list of whole numbers.
    part
        "validation", on which a rule may be chosen, or "test".

    Returns
    -------
    DataFrame
        A row for each size. Columns votes, verdicts (votes x clips), ties (share of the verdicts), truth_tied (share of
        the ties in which the truth is among the tied labels, so that a rule can be right at all), then the share of the
        ties that a rule gets right: random (expected of drawing lots) and each of ``TIES``.

    Raises
    ------
    SerlibError
        For sizes of which no vote can be formed, for a part without clips, and as ``majority_vote``.

    Examples
    --------
    >>> twins = [ser.load_run(f"results/laptop/stratified/{key}-mini") for key in ser.SIX]
    >>> print(ser.tie_costs(twins)[["votes", "ties", "random", "probability", "first", "best"]].round(2))
          votes  ties  random  probability  first  best
    size
    3        20  0.12    0.30         0.38   0.26  0.33
    5         6  0.11    0.42         0.43   0.38  0.47
    """
    frames, hard, soft = _frames_and_ballots(voters)
    predictions.rows_of(frames[0], part)  # or there are none to judge
    here = (frames[0]["part"] == part).to_numpy()
    truth = _one_hot(frames[0]["emotion"], predictions.labels(frames[0]))[here]
    rows = {}
    for size in _listed_sizes(sizes):
        member, _ = _subsets(len(frames), [size])
        _, tied = _winners_of_subsets(frames, hard, soft, member, "first")
        tied = tied[:, here]
        ties = tied.sum(-1) > 1
        there = (tied * truth).sum(-1)[ties]
        rows[size] = {
            "votes": len(member),
            "verdicts": ties.size,
            "ties": ties.mean(),
            "truth_tied": there.mean() if ties.any() else np.nan,
            "random": (there / tied.sum(-1)[ties]).mean() if ties.any() else np.nan,
        }
        for rule in TIES:
            chosen, _ = _winners_of_subsets(frames, hard, soft, member, rule)
            right = np.take_along_axis(truth[None], chosen[:, here, None], -1)[..., 0]
            rows[size][rule] = right[ties].mean() if ties.any() else np.nan
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("size").astype({"votes": int, "verdicts": int})


def diversity(voters: Iterable[AnyVoter], part: str = "test") -> pd.DataFrame:
    """Return how differently every two voters judge, a row for each pair (18).

    Parameters
    ----------
    voters
        A list of two runs, votes or predictions frames at least, that judged the same clips.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        Columns a, b (names); disagreement, the share of clips with different labels; kappa, Cohen's agreement of the
        labels beyond chance; and, of being right or wrong alone: q, Yule's Q (1 where one voter's hits lie within the
        other's, 0 where they are independent), correlation (of the two rows of 0 and 1), error_overlap (both wrong of
        at least one wrong) and oracle (at least one right, the best that choosing between the two could reach). NaN
        where a measure is not defined.

    Raises
    ------
    SerlibError
        For fewer than two voters, for a part without clips, and as ``majority_vote``.

    References
    ----------
    Kuncheva and Whitaker, Machine Learning 51 (2003).

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> frozen = ser.load_run("results/laptop/stratified/whisper-tiny.en-probe")
    >>> print(ser.diversity([run, frozen])[["disagreement", "kappa", "q", "error_overlap", "oracle"]].round(2))
       disagreement  kappa     q  error_overlap  oracle
    0          0.16   0.82  0.84            0.3    0.94
    """
    from sklearn.metrics import cohen_kappa_score

    voters = predictions.listed(voters)
    if len(voters) < 2:
        raise SerlibError("diversity is a matter of two voters at least; give a longer list.")
    frames, names = predictions.align(voters, part), [predictions.name_of(voter) for voter in voters]
    differ = disagreement(voters, part).to_numpy()
    right = [hits(frame) for frame in frames]
    rows = []
    for i, j in combinations(range(len(frames)), 2):
        x, y = right[i], right[j]
        both, neither = float((x & y).sum()), float((~x & ~y).sum())
        only_x, only_y = float((x & ~y).sum()), float((~x & y).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            odds, spread = np.array(both * neither), only_x * only_y
            rows.append({
                "a": names[i],
                "b": names[j],
                "disagreement": differ[i, j],
                "kappa": cohen_kappa_score(frames[i]["predicted"].to_numpy(str), frames[j]["predicted"].to_numpy(str)),
                "q": float((odds - spread) / (odds + spread)),
                "correlation": float((odds - spread) / np.sqrt(x.sum() * (~x).sum() * y.sum() * (~y).sum())),
                "error_overlap": float(np.float64(neither) / (neither + only_x + only_y)),
                "oracle": float((x | y).mean()),
            })  # fmt: skip
    return pd.DataFrame(rows)


def disagreement(voters: Iterable[AnyVoter], part: str = "test") -> pd.DataFrame:
    """Return the share of clips to which each two voters give different labels (18).

    Parameters
    ----------
    voters
        A list of runs, votes or predictions frames that judged the same clips.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        From 0 to 1, a row and a column for each voter.

    Raises
    ------
    SerlibError
        As ``majority_vote``.

    Examples
    --------
    >>> twins = [ser.load_run(f"results/laptop/stratified/{key}-mini") for key in ser.SIX]
    >>> ser.voting.disagreement(twins).round(2).iloc[0].to_list()
    [0.0, 0.36, 0.31, 0.38, 0.38, 0.43]
    """
    voters = predictions.listed(voters)
    names = [predictions.name_of(voter) for voter in voters]
    labels = [frame["predicted"].to_numpy() for frame in predictions.align(voters, part)]
    return pd.DataFrame([[(a != b).mean() for b in labels] for a in labels], index=names, columns=names)


def jury_accuracy(k: int, p: Any, correlation: Any = 0.0, n_classes: int = 8) -> Any:
    """Return how often the hard vote of k jurors is right, each right with probability p: exact, no simulation (09).

    Each clip has a difficulty drawn from a beta distribution with mean p, and given it the jurors are independent, so
    the number of right ones is beta-binomial. Wrong votes scatter evenly over the other classes, and ties are broken by
    lot. With two classes and no correlation: Condorcet's theorem (1785).

    Parameters
    ----------
    k
        How many jurors there are, a whole number from 1 up.
    p
        How often each is right, 0 to 1; a number or an array.
    correlation
        That of any two jurors' being right: 0 independent, 1 always together; a number or an array.
    n_classes
        How many classes there are, 2 at least.

    Returns
    -------
    float or ndarray
        From 0 to 1, in the shape to which ``p`` and ``correlation`` broadcast.

    Raises
    ------
    SerlibError
        For numbers outside of these bounds, and for shapes that do not broadcast.

    Examples
    --------
    Three independent jurors, each right on nine of ten questions of yes or no, and three who always agree:

    >>> ser.jury_accuracy(3, 0.9, correlation=[0, 1], n_classes=2).round(3).tolist()
    [0.972, 0.9]
    """
    if not all(isinstance(number, Integral) for number in (k, n_classes)) or k < 1 or n_classes < 2:
        raise SerlibError(
            f"a jury of {in_short(k)} on {in_short(n_classes)} classes decides nothing; "
            "give whole numbers, k of 1 and 2 classes at least."
        )
    try:
        p, correlation = np.broadcast_arrays(np.asarray(p, dtype=float), np.asarray(correlation, dtype=float))
    except (TypeError, ValueError) as error:
        raise SerlibError(f"accuracies and correlations are numbers, or lists of one length ({error}).") from error
    if not ((p >= 0) & (p <= 1) & (correlation >= 0) & (correlation <= 1)).all():
        raise SerlibError("the accuracy of a juror and the correlation of two lie between 0 and 1.")
    right = np.arange(k + 1)
    won = np.array([_win_probability(r, k - r, n_classes - 1) for r in range(k + 1)])
    # The beta distribution degenerates at both ends: all clips alike, or each clip right for all or for none.
    inner = np.clip(correlation, 1e-6, 1 - 1e-6)[..., None]
    q = np.clip(p, 1e-9, 1 - 1e-9)[..., None]
    scale = (1 - inner) / inner
    mixed = betabinom.pmf(right, k, q * scale, (1 - q) * scale)
    share = np.where(correlation[..., None] < 1e-6, binom.pmf(right, k, p[..., None]), mixed)
    return np.where(correlation > 1 - 1e-6, p, share @ won)[()]


def _win_probability(right: int, wrong: int, others: int) -> float:
    """Return how often the truth, with ``right`` votes, wins against ``wrong`` votes scattered evenly over ``others``.

    Counting arrangements by their exponential generating function: x^j / j! for each label that gets j votes.
    """
    if not right:
        return 0.0
    below = np.poly1d([1 / factorial(j) for j in range(right)][::-1])
    total = 0.0
    # equal: labels with as many votes as the truth; all others have fewer
    for equal in range(min(others, wrong // right) + 1):
        left, rest = wrong - equal * right, below ** (others - equal)
        ways = comb(others, equal) / factorial(right) ** equal
        total += ways * rest[left] / (equal + 1)
    return float(total * factorial(wrong) / others**wrong)


def _listed_sizes(sizes: Iterable[int]) -> list[int]:
    """Return the sizes of votes that were asked for, or say what makes them none."""
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise SerlibError(f"sizes are a list such as (3, 5), and this is {in_short(sizes)}.")
    wanted = list(sizes)
    if not wanted:
        raise SerlibError("there are no sizes of votes; give a list such as (3, 5).")
    if odd := [size for size in wanted if not isinstance(size, Integral)]:
        raise SerlibError(f"the size of a vote is a whole number, and this is {in_short(odd[0])}.")
    return list(dict.fromkeys(wanted))


def _subsets(n: int, sizes: Iterable[int]) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Return which of n voters sit in which subset, (subsets, voters) of 0 and 1, and the subsets themselves."""
    sizes = _listed_sizes(sizes)
    subsets = [subset for size in sizes if size > 0 for subset in combinations(range(n), size)]
    if not subsets:
        wanted = " or ".join(map(str, sizes))
        raise SerlibError(f"no vote of {wanted} can be formed from {n} voters; ask for other sizes.")
    member = np.zeros((len(subsets), n))
    for row, subset in zip(member, subsets, strict=True):
        row[list(subset)] = 1
    return member, subsets


def _frames_and_ballots(voters: Iterable[AnyVoter]) -> tuple[list[pd.DataFrame], np.ndarray, np.ndarray]:
    """Return the aligned frames with the voters' names, and labels (0 or 1) and probabilities (voters, clips, classes).

    The first frame has on record what recordings any of them heard.
    """
    voters = predictions.listed(voters)
    frames = predictions.align(voters)
    heard = {part: sound for frame in frames for part, sound in frame.attrs.get("sounds", {}).items()}
    for frame, voter in zip(frames, voters, strict=True):
        frame.attrs = {"name": predictions.name_of(voter)} | ({"sounds": heard} if heard else {})
    names = predictions.labels(frames[0])
    hard = np.stack([_one_hot(frame["predicted"], names) for frame in frames])
    return frames, hard, np.stack([predictions.probabilities(frame) for frame in frames])


def _one_hot(column: pd.Series, names: Sequence[str]) -> np.ndarray:
    return (column.to_numpy(str)[:, None] == np.asarray(names)[None]).astype(float)


def _winners_of_subsets(
    frames: list[pd.DataFrame], hard: np.ndarray, soft: np.ndarray, member: np.ndarray, tie: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return what ``_winners`` does, for each subset: (subsets, clips) and (subsets, clips, classes)."""
    return _winners(np.tensordot(member, hard, 1), _tie_breakers(frames, hard, soft, member, tie))


def _tie_breakers(
    frames: list[pd.DataFrame], hard: np.ndarray, soft: np.ndarray, member: np.ndarray, tie: str
) -> np.ndarray:
    """Return what decides a tie, (..., clips, classes), for subsets ``member`` of shape (..., voters).

    SerlibError for a rule that is none of ``TIES``.
    """
    if not isinstance(tie, str) or tie not in TIES:
        raise SerlibError(f"there is no rule for ties named {in_short(tie)}; {nearest(str(tie), TIES)}")
    mass = np.tensordot(member, soft, 1)
    if tie == "first":
        return np.ones_like(mass)
    if tie == "best":
        skill = np.array([accuracy(frame, "validation") for frame in frames])
        theirs = np.where(member > 0, skill, -1.0)
        # The word of the best outweighs all probabilities; several who are equally good speak together.
        mass = mass + len(frames) * np.tensordot((theirs == theirs.max(-1, keepdims=True)).astype(float), hard, 1)
    return mass


def _winners(counts: np.ndarray, breakers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chosen class (..., clips) and which classes share the top count (..., clips, classes)."""
    # Rounded, because the sum of the same numbers in another order may differ in the last bit, and the order
    # of the voters must not decide.
    counts, breakers = counts.round(9), breakers.round(9)
    tied = counts == counts.max(-1, keepdims=True)
    return np.where(tied, breakers, -1.0).argmax(-1), tied


def _vote_of_sums(
    frames: list[pd.DataFrame], counts: np.ndarray, breakers: np.ndarray, name: str | None, kind: str
) -> Vote:
    """Return the Vote of summed ballots ``counts``, ties broken by the greatest breaker, both (clips, classes).

    Without a name it is called after its kind, such as "soft vote of 3".
    """
    name = f"{kind} of {len(frames)}" if name is None else name
    names = np.asarray(predictions.labels(frames[0]), dtype=object)
    chosen, tied = _winners(counts, breakers)
    frame = frames[0].assign(predicted=names[chosen])
    frame[[f"p_{label}" for label in names]] = counts / counts.sum(1, keepdims=True)
    predictions.named(frame, name)
    at = np.flatnonzero(tied.sum(1) > 1)
    ties = frame.loc[at, ["clip", "part", "emotion"]].assign(
        tied=[", ".join(names[row]) for row in tied[at]],
        votes=counts[at].max(1) if len(at) else np.zeros(0),
        chosen=names[chosen[at]],
    )
    members = tuple(predictions.name_of(frame) for frame in frames)
    return Vote(name=name, members=members, predictions=frame, ties=ties.reset_index(drop=True))
