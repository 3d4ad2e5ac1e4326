"""How good a voter is, how sure one can be of that, and whether two differ (notebooks 03 to 11).

Names: ``accuracy`` is what the field calls weighted accuracy (WA), ``unweighted_average_recall`` its
unweighted accuracy (UA, UAR). Sections 5.4.1 and 5.4.2 of the paper define the two the other way round.
"""

from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from serlib.errors import SerlibError
from serlib.predictions import align, labels, name_of, rows_of


def accuracy(voter: Any, part: str = "test") -> float:
    """Return the share of clips that are right, 0 to 1 (the field's WA)."""
    frame = rows_of(voter, part)
    return float((frame["predicted"] == frame["emotion"]).mean())


def unweighted_average_recall(voter: Any, part: str = "test") -> float:
    """Return the mean of the recalls of the classes, 0 to 1 (the field's UA): rare classes count in full.

    A class without a clip in this part has no recall and is left out.
    """
    counts = confusion(voter, part).to_numpy()
    support = counts.sum(axis=1)
    return float((np.diag(counts)[support > 0] / support[support > 0]).mean())


def confusion(voter: Any, part: str = "test", normalize: bool = False) -> pd.DataFrame:
    """Return the confusion matrix: a row for each true emotion, a column for each predicted one.

    Counts, or with ``normalize`` the shares of each row (0 for a class without a clip, as in scikit-learn).
    """
    frame = rows_of(voter, part)
    names = list(labels(frame))
    counts = pd.crosstab(frame["emotion"], frame["predicted"]).reindex(
        index=names, columns=names, fill_value=0
    )
    return counts.div(counts.sum(axis=1).clip(lower=1), axis=0) if normalize else counts


def report(voter: Any, part: str = "test") -> pd.DataFrame:
    """Return precision, recall, f1 and support of each class, then accuracy and UAR, with 95 % intervals.

    The last two rows stand in the recall column because that is what they are: accuracy is the mean recall
    weighted by support, UAR the plain mean. ``low`` and ``high`` bound the recall column: Wilson's interval
    for the classes and the accuracy, ``uar_interval`` for the UAR. Precision is 0 for a class never
    predicted; recall is NaN for a class without a clip.
    """
    counts = confusion(voter, part)
    right = np.diag(counts)
    support = counts.sum(axis=1).to_numpy()
    predicted = counts.sum(axis=0).to_numpy()
    table = pd.DataFrame(
        {
            "precision": right / np.maximum(predicted, 1),
            "recall": np.where(support > 0, right / np.maximum(support, 1), np.nan),
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
    low, high = uar_interval(voter, part)
    table.loc["UAR"] = [np.nan, unweighted_average_recall(voter, part), np.nan, n, low, high]
    return table.astype({"support": int})


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share, for example of 279 right of 288: 0.942 to 0.983.

    It takes clips for independent draws. Wilson, Journal of the American Statistical Association 22 (1927).
    """
    if not 0 <= successes <= n or n < 1:
        raise SerlibError(f"{successes} of {n} is no share; give 0 <= successes <= n and n of at least 1.")
    if not 0 < confidence < 1:
        raise SerlibError(f"confidence {confidence} is not between 0 and 1; 0.95 is usual.")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(max(0.0, center - half)), float(min(1.0, center + half))


def uar_interval(
    voter: Any, part: str = "test", n_resamples: int = 2000, random_state: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the UAR, drawing whole actors with replacement.

    Clips of one actor succeed and fail together, so the actor is the unit that is drawn; clips whose actor is
    unknown are units of their own. NaN for a single actor, who says nothing about the next one; with few
    actors the interval is too narrow.
    """
    frame = rows_of(voter, part)
    unit = frame["actor"].astype(str).where(frame["actor"].astype(str) != "", "clip " + frame["clip"])
    units, rows = np.unique(unit.to_numpy(str), return_inverse=True)
    if len(units) < 2:
        return np.nan, np.nan
    names = list(labels(frame))
    truth = np.searchsorted(names, frame["emotion"].to_numpy(str))
    support, right = np.zeros((2, len(units), len(names)))
    np.add.at(support, (rows, truth), 1)
    np.add.at(right, (rows, truth), frame["predicted"].to_numpy(str) == frame["emotion"].to_numpy(str))
    times_drawn = np.random.default_rng(random_state).multinomial(
        len(units), np.full(len(units), 1 / len(units)), size=n_resamples
    )
    drawn, hit = times_drawn @ support, times_drawn @ right
    recall = np.divide(hit, drawn, out=np.zeros_like(hit), where=drawn > 0)
    uars = recall.sum(axis=1) / (drawn > 0).sum(axis=1)  # a class that was not drawn is left out
    low, high = np.quantile(uars, (0.025, 0.975))
    return float(low), float(high)


def compare(a: Any, b: Any, part: str = "test") -> pd.DataFrame:
    """Return one row that says whether two voters differ on the same clips: McNemar's exact test (09, 10).

    Columns a, b (names), both_right, only_a, only_b, neither (clips) and p_value (two-sided binomial test on
    the clips that only one of them got right; 1 when there are none). McNemar, Psychometrika 12 (1947).
    """
    right_a, right_b = ((frame["predicted"] == frame["emotion"]).to_numpy() for frame in align([a, b], part))
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
