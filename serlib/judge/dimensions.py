"""Emotions as places on a map of valence and arousal, and how well numbers agree with numbers (notebook 16)."""

from typing import Any

import numpy as np
import pandas as pd

from serlib.errors import SerlibError, nearest
from serlib.judge.predictions import AnyVoter, labels, probabilities, rows_of

# How pleasant and how excited some twenty people or more found each *word*, from 1 to 9: Warriner, Kuperman and
# Brysbaert (2013, doi 10.3758/s13428-012-0314-x), V.Mean.Sum and A.Mean.Sum of their table of 13,915 words.
_RATED = {
    "angry": (2.53, 6.20),
    "bored": (2.95, 3.65),
    "calm": (6.89, 1.67),
    "disgust": (3.32, 5.00),
    "fearful": (2.66, 5.45),
    "happy": (8.47, 6.05),
    "neutral": (5.50, 3.45),
    "sad": (2.10, 3.49),
    "surprised": (6.57, 5.95),
}
VALENCE_AROUSAL = {
    emotion: (round((valence - 5) / 4, 4), round((arousal - 5) / 4, 4))
    for emotion, (valence, arousal) in _RATED.items()
}
"""Emotion -> (valence, arousal), each from -1 to 1 with 0 in the middle of the scale."""
DIMENSIONS = ("valence", "arousal")


def concordance(said: Any, true: Any) -> float:
    """Return how well numbers agree with the true ones: the concordance correlation coefficient, CCC (16).

    Correlation forgives numbers that all are too high, or all too timid. This does not: it falls with the distance of
    the means and with unequal spread, and is 1 only where each number is right.

    Parameters
    ----------
    said, true
        Two numbers or more, one for each clip, in the same order.

    Returns
    -------
    float
        From -1 to 1; 0 for the same answer to everything.

    Raises
    ------
    SerlibError
        For fewer than two pairs, unequal lengths, what is no number, and where neither varies.

    References
    ----------
    Lin (1989, doi 10.2307/2532051), equation 1, with variances of the sample as his estimate has them (1/n).

    Examples
    --------
    >>> ser.concordance([1, 2, 3], [1, 2, 3]), ser.concordance([2, 3, 4], [1, 2, 3])
    (1.0, 0.571...)
    """
    pair = [np.asarray(values) for values in (said, true)]
    if any(values.ndim != 1 or values.dtype.kind not in "fiu" for values in pair) or len(pair[0]) != len(pair[1]):
        raise SerlibError("concordance compares two lists of numbers of one length; give one number for each clip.")
    if len(pair[0]) < 2 or not np.isfinite(np.concatenate(pair)).all():
        raise SerlibError("concordance needs two clips or more, and a number for each; leave out those without.")
    (a, b), (mean_a, mean_b) = pair, (values.mean() for values in pair)
    spread = a.var() + b.var() + (mean_a - mean_b) ** 2
    if spread == 0:
        raise SerlibError("said and true are one and the same number for every clip, so nothing can agree; add clips.")
    return float(2 * ((a - mean_a) * (b - mean_b)).mean() / spread)


def on_the_map(voter: AnyVoter, part: str = "test") -> pd.DataFrame:
    """Return where a voter's probabilities put each clip on the map, and where its label stands (16).

    What is said is the average of the emotions' places, each weighed by its probability.

    Parameters
    ----------
    voter
        A run, a vote or a predictions frame.
    part
        "test" or "validation".

    Returns
    -------
    DataFrame
        Index the clip; columns valence and arousal as said, true_valence and true_arousal of the label, -1 to 1. The
        true ones are no ratings of the clip: they say no more than the label does.

    Raises
    ------
    SerlibError
        For what is no voter, and for an emotion that is not on the map.

    Examples
    --------
    >>> run = ser.load_run("results/laptop/stratified/whisper-tiny.en")
    >>> places = ser.on_the_map(run)
    >>> places.shape, round(ser.concordance(places["arousal"], places["true_arousal"]), 2)
    ((288, 4), 0.94)
    """
    frame = rows_of(voter, part)
    names = labels(frame)
    if strange := sorted(set(names) - set(VALENCE_AROUSAL)):
        raise SerlibError(f"{strange[0]} is not on the map; {nearest(strange[0], VALENCE_AROUSAL)}")
    places = np.array([VALENCE_AROUSAL[name] for name in names])
    true = np.array([VALENCE_AROUSAL[name] for name in frame["emotion"]])
    columns = [*DIMENSIONS, *(f"true_{name}" for name in DIMENSIONS)]
    return pd.DataFrame(np.hstack([probabilities(frame) @ places, true]), frame["clip"], columns)
