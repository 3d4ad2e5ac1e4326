"""Checks of the exercises of the part "Sound and data": notebooks 01 and 02."""

from typing import TYPE_CHECKING, Any

from serlib.exercises.verdicts import (
    NotYet,
    array_of,
    exercise,
    kind_of,
    near,
    number,
    reason,
    settle,
    settle_letters,
)

if TYPE_CHECKING:
    import pandas as pd

CLIP = "03-01-05-02-02-01-12"


@exercise(f"give a dictionary with emotion, intensity, statement, repetition, actor and sex of {CLIP}.")
def clip_fields(answer: Any) -> str:
    """Check the decoding of the file name ``03-01-05-02-02-01-12`` into a dictionary (01)."""
    from serlib.data.ravdess import STATEMENTS, parse_name

    truth = parse_name(CLIP)
    if not isinstance(answer, dict):
        raise NotYet(f"a dictionary is wanted, like {{'emotion': ..., 'actor': ...}}; you gave {kind_of(answer)}.")
    given = {str(key).strip().lower(): value for key, value in answer.items()}
    missing = [key for key in truth if given.get(key) is None or given[key] is ...]
    if missing:
        raise NotYet(f"the dictionary still lacks {', '.join(missing)}.")
    text = {key: str(value).strip().lower() for key, value in given.items()}
    if text["emotion"] != truth["emotion"]:
        why = {
            "fearful": "you seem to count the emotions from 00; the first code is 01, neutral",
            "sad": "you are one code short; 01 is neutral, 02 calm, 03 happy, 04 sad",
            "happy": "05 is not the fifth in the alphabet; RAVDESS has its own order, 01 neutral, 02 calm",
            "calm": "you read the fourth pair of digits; the emotion is the third",
            "neutral": "you read the second pair of digits; the emotion is the third",
        }.get(text["emotion"], "the third pair of digits is 05; look it up in the table of codes")
        raise NotYet(f"the emotion is not {text['emotion']}: {why}.")
    if text["intensity"] != truth["intensity"]:
        raise NotYet("the intensity is the fourth pair, 02: write normal for 01 and strong for 02.")
    statement = text["statement"].rstrip(".")
    if statement in ("1", "01", STATEMENTS[0].lower()):
        raise NotYet("the statement is the fifth pair, 02: the one about the dogs; the kids are 01.")
    if statement not in ("2", "02", STATEMENTS[1].lower()):
        raise NotYet(f"the statement is the fifth pair, 02; give 2 or its words, not {given['statement']!r}.")
    if text["repetition"].lstrip("0") != "1":
        raise NotYet("the repetition is the sixth pair, 01: give 1.")
    if text["actor"] != truth["actor"]:
        raise NotYet(f"the actor is the last pair, 12; you gave {given['actor']!r}.")
    if text["sex"] not in ("female", "f", "woman"):
        raise NotYet("actor 12 has an even number: even actors are female, odd ones male.")
    return "an angry, strong reading of the dogs by actor 12, a woman, her first take."


@exercise("give one emotion, as text: the one whose clips have the longest active part.")
def slowest(answer: Any, table: "pd.DataFrame") -> str:
    """Check which emotion has the greatest median of ``seconds_active`` in a table of features (01)."""
    seconds = table["seconds_active"].groupby(table["emotion"].str.lower())
    medians = seconds.median().sort_values()
    chosen = answer.strip().lower() if isinstance(answer, str) else None
    if chosen not in medians.index:
        raise NotYet(f"one of {', '.join(sorted(medians.index))} is wanted, as text.")
    if chosen == medians.index[-1]:
        longest, shortest = medians.iloc[-1], medians.index[0]
        return f"half of the {chosen} clips last {longest:.2f} s or more; {shortest} is the shortest."
    if chosen == medians.index[0]:
        raise NotYet(f"{chosen} is the shortest of all; idxmin and idxmax are easily swapped.")
    if chosen == seconds.max().idxmax():
        raise NotYet(f"{chosen} has the longest single clip; ask for the clip in the middle, the median.")
    raise NotYet(f"the median of {chosen} is {medians[chosen]:.2f} s, and another emotion has a longer one.")


@exercise("give your function itself, normalize; it takes samples and returns samples of the same shape.")
def normalize(answer: Any) -> str:
    """Check a function that gives samples a mean of 0 and a standard deviation of 1, and survives silence (01)."""
    import numpy as np

    samples = np.array([0.1, 0.3, -0.2, 0.4, 0.0, 0.6])
    kept, mean, deviation = samples.copy(), samples.mean(), samples.std()
    given = array_of(answer, samples)
    if given.shape != samples.shape:
        raise NotYet(f"{len(samples)} samples went in, and shape {given.shape} came out.")
    if not np.array_equal(samples, kept):
        raise NotYet("your function changed the samples that it was given; work on a new array.")
    if not near((given.mean(), given.std()), (0, 1), 1e-3):
        mistakes = [
            (samples - mean, "the mean is gone; now divide by the standard deviation too."),
            (samples / deviation, "the size is right; subtract the mean first."),
            ((samples - mean) / samples.var(), "you divided by the variance; the deviation is its square root."),
            (samples / abs(samples).max(), "the peak is 1 now, so one click decides; divide by the deviation."),
        ]
        otherwise = f"mean {given.mean():.3f}, deviation {given.std():.3f}; they should be 0 and 1."
        raise NotYet(reason(given, mistakes, otherwise))
    with np.errstate(all="ignore"):
        silence = array_of(answer, np.zeros(4))
    if not np.isfinite(silence).all():
        raise NotYet("right for speech, but silence gives 0 / 0; add a tiny number where you divide.")
    if not near(array_of(answer, 20 * samples), given, 1e-2):
        raise NotYet("a louder copy of the same clip comes out different; nothing of its level should stay.")
    return "a whisper and a shout now have the same size, and silence stays silent."


@exercise("give the UAR of somebody who always says calm, as a share between 0 and 1.")
def constant_uar(answer: Any) -> str:
    """Check the UAR of one constant label among eight classes (02)."""
    accuracy = 39 / 288
    right = "one recall is 1, seven are 0, so the mean is 1/8, whatever the class sizes."
    otherwise = "write down the recall of each of the eight emotions, then take their mean."
    mistakes = [
        (12.5, "that is a percentage; divide by 100, then you are right."),
        (accuracy, "that is the accuracy, 39 of 288; UAR is the mean of the eight recalls."),
        (100 * accuracy, "that is the accuracy in percent; UAR is the mean of the eight recalls."),
        (1.0, "1 is the recall of calm alone; average it with the seven others."),
        (0.0, "the recall of calm is not 0: all its clips are found."),
        (1 / 7, "count calm too: the mean is over eight classes."),
    ]
    return settle(number(answer), 1 / 8, right, mistakes, otherwise, tolerance=1e-4, share=0.005)


@exercise('give the letters of the students whose test score is too good, like {"a", "c"}.')
def leaks(answer: Any) -> str:
    """Check which of five procedures let the test part leak: a, c and d (02)."""
    return settle_letters(
        answer,
        "acd",
        "a is a bad habit, c is a choice made by the test, and d puts the test into training.",
        {
            "d": "the louder copy of a training clip is in the test part of d: nothing leaks more",
            "c": "c looked at the test ten times and kept the best look",
            "a": "the mean and the standard deviation of a were computed with the test clips",
            "b": "b measures each clip alone, so nothing passes from one to another",
            "e": "e had chosen C before, and the validation clips are no test clips",
        },
    )


@exercise("give your function itself, standardize; it takes two arrays and returns one.")
def standardize(answer: Any) -> str:
    """Check a student's scaling of one array with the mean and standard deviation of another (02)."""
    import numpy as np

    train = np.array([[1.0, 10.0, 5.0], [3.0, 30.0, 5.0], [5.0, 20.0, 5.0], [7.0, 40.0, 5.0]])
    other = np.array([[5.0, 60.0, 6.0], [4.0, 20.0, 5.0]])
    kept = train.copy()
    with np.errstate(all="ignore"):
        given = array_of(answer, train, other.copy())
    if given.shape != other.shape:
        raise NotYet(f"the result should have the shape of other, {other.shape}; it has {given.shape}.")
    if not np.array_equal(train, kept):
        raise NotYet("your function changed the training array itself; return a new one.")
    # The third column is constant in training, so what comes of it is another question.
    given, constant, train, other = given[:, :2], given[:, 2], kept[:, :2], other[:, :2]
    mean, spread = train.mean(axis=0), train.std(axis=0)
    by_itself = (other - other.mean(axis=0)) / other.std(axis=0)
    if near(given, (other - mean) / spread, 1e-6):
        if np.isfinite(constant).all():
            return "scaled by what training says, and a constant feature does no harm."
        raise NotYet("the third feature is constant in training, so its spread is 0; divide by 1 there.")
    mistakes = [
        (by_itself, "other was scaled with its own mean and spread; that is the leak: use those of train."),
        ((other - mean) / train.std(axis=0, ddof=1), "close: StandardScaler divides by n, not by n - 1 (ddof=0)."),
        ((other - kept.mean()) / kept.std(), "one mean for all columns; take them column by column, with axis=0."),
        (other - mean, "the mean is gone; now divide by the standard deviation of train."),
        (other / spread, "subtract the mean of train before you divide."),
    ]
    otherwise = "subtract the column means of train from other, and divide by the column spreads of train."
    raise NotYet(reason(given, mistakes, otherwise))
