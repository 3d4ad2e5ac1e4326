"""Checks of the exercises: each says in one line what is wrong with the student's answer, and never raises.

Every check prints "Right: ...", "Not yet: ..." or "Not answered yet: ..." and returns whether the answer
is right. The mark is plain text, so that a screen reader reads it and no color is needed. A new check is
a function that ends in ``_verdict`` and wears ``@_exercise(hint)``; it may trust nothing about its answer
but that there is one.
"""

import functools
import inspect
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from serlib.data.ravdess import STATEMENTS, parse_name
from serlib.judge import paper
from serlib.judge.metrics import wilson_interval


def _verdict(ok: bool, sentence: str) -> bool:
    """Print one friendly line with its mark first, and return ``ok``."""
    print(f"{'Right' if ok else 'Not yet'}: {sentence}")
    return ok


def _exercise(hint: str) -> Callable:
    """Turn a check into one that says ``hint`` for no answer (None, ... or a function of ...), and survives any other.

    What a check needs to know of the notebook (the truth, the size of the test part) comes after the answer.
    """

    def decorate(check: Callable[..., bool]) -> Callable[..., bool]:
        @functools.wraps(check)
        def wrapper(answer: Any = None, *given: Any) -> bool:
            if answer is None or answer is ... or _untouched(answer):
                print(f"Not answered yet: {hint}")
                return False
            try:
                return check(answer, *given)
            except Exception as error:  # whatever the answer was, a check must not end the notebook
                return _verdict(False, f"your answer stopped the check with {_says(error)} - {hint}")

        return wrapper

    return decorate


def _untouched(answer: Any) -> bool:
    """Return whether this is a function as the notebook left it: nothing but ``return ...``."""
    code = answer.__code__ if inspect.isfunction(answer) else None
    return code is not None and ... in code.co_consts and not code.co_names and code.co_nlocals == code.co_argcount


def _says(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _kind(answer: Any) -> str:
    name = type(answer).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


CLIP = "03-01-05-02-02-01-12"


@_exercise(f"give a dictionary with emotion, intensity, statement, repetition, actor and sex of {CLIP}.")
def clip_fields(answer: Any) -> bool:
    """Check the decoding of the file name ``03-01-05-02-02-01-12`` into a dictionary (01)."""
    truth = parse_name(CLIP)
    if not isinstance(answer, dict):
        return _verdict(
            False, f"a dictionary is wanted, like {{'emotion': ..., 'actor': ...}}; you gave {_kind(answer)}."
        )
    given = {str(key).strip().lower(): value for key, value in answer.items()}
    missing = [key for key in truth if given.get(key) in (None, ...)]
    if missing:
        return _verdict(False, f"the dictionary still lacks {', '.join(missing)}.")
    emotion = str(given["emotion"]).strip().lower()
    if emotion != truth["emotion"]:
        why = {
            "fearful": "you seem to count the emotions from 00; the first code is 01, neutral",
            "sad": "you are one code short; 01 is neutral, 02 calm, 03 happy, 04 sad",
            "happy": "05 is not the fifth in the alphabet; RAVDESS has its own order, 01 neutral, 02 calm",
            "calm": "you read the fourth pair of digits; the emotion is the third",
            "neutral": "you read the second pair of digits; the emotion is the third",
        }.get(emotion, "the third pair of digits is 05; look it up in the table of codes")
        return _verdict(False, f"the emotion is not {emotion}: {why}.")
    if str(given["intensity"]).strip().lower() != truth["intensity"]:
        return _verdict(False, "the intensity is the fourth pair, 02: write normal for 01 and strong for 02.")
    spoken = str(given["statement"]).strip().rstrip(".").lower()
    if spoken not in ("2", "02", STATEMENTS[1].lower()):
        first = spoken in ("1", "01", STATEMENTS[0].lower())
        return _verdict(
            False,
            "the statement is the fifth pair, 02: the one about the dogs; the kids are 01."
            if first
            else f"the statement is the fifth pair, 02; give 2 or its words, not {given['statement']!r}.",
        )
    if str(given["repetition"]).strip().lstrip("0") != "1":
        return _verdict(False, "the repetition is the sixth pair, 01: give 1.")
    if str(given["actor"]).strip() != "12":
        return _verdict(False, f"the actor is the last pair, 12; you gave {given['actor']!r}.")
    if str(given["sex"]).strip().lower() not in ("female", "f", "woman"):
        return _verdict(False, "actor 12 has an even number: even actors are female, odd ones male.")
    return _verdict(True, "an angry, strong reading of the dogs by actor 12, a woman, her first take.")


# Hand-made juries: what each voter says, and the labels that may win.
JURIES = (
    (("sad", "sad", "sad"), {"sad"}),
    (("sad", "happy", "happy"), {"happy"}),
    (("sad", "calm", "angry", "sad", "sad"), {"sad"}),
    (("calm", "surprised", "surprised", "angry", "happy"), {"surprised"}),
    (("angry",), {"angry"}),
    (("happy", "calm", "calm", "happy", "angry"), {"calm", "happy"}),
    (("sad", "fearful", "calm"), {"calm", "fearful", "sad"}),
)


@_exercise("give your function itself, majority, not majority(...); it takes a list of labels and returns one.")
def majority(answer: Any) -> bool:
    """Check a student's vote function on hand-made juries, two of them tied (09)."""
    if not callable(answer):
        return _verdict(False, f"give the function itself, without calling it; you gave {_kind(answer)}.")
    for jury, winners in JURIES:
        said = ", ".join(jury)
        try:
            won = answer(list(jury))
        except Exception as error:
            return _verdict(False, f"for the jury {said} your function stopped with {_says(error)}.")
        if won is None:
            more = max(map(jury.count, jury)) * 2 <= len(jury)
            why = (
                "; nobody has more than half there, yet the most frequent label still wins"
                if more
                else "; is a return missing?"
            )
            return _verdict(False, f"for the jury {said} your function gave nothing{why}.")
        if isinstance(won, (int, float)) and not isinstance(won, bool):
            return _verdict(
                False,
                f"for the jury {said} your function gave {won}; the label is wanted, not a number.",
            )
        if not isinstance(won, str):
            return _verdict(
                False,
                f"for the jury {said} your function gave {_kind(won)}; give one label, say its first.",
            )
        if won not in jury:
            return _verdict(False, f"for the jury {said} your function gave {won!r}, which nobody said.")
        if won not in winners:
            why = (
                " (the alphabetically first label)"
                if won == min(jury)
                else " (the first voter's)"
                if won == jury[0]
                else ""
            )
            return _verdict(
                False,
                f"for the jury {said} {' or '.join(sorted(winners))} has most votes, yours gave {won}{why}.",
            )
    tied, winners = JURIES[-1]
    picks = {answer(list(order)) for order in (tied, tied[::-1], tied[1:] + tied[:1])}
    if picks == {min(winners)}:
        rule = "a tie goes to the alphabetically first label, as mode does"
    elif len(picks) == 1:
        rule = f"a tie of {', '.join(sorted(winners))} goes to {picks.pop()} whoever votes first"
    else:
        rule = "who wins a tie depends on the order of the voters, so say so when you report it"
    return _verdict(True, f"all {len(JURIES)} juries came out as they should; {rule}.")


@_exercise("give the lower and the upper end for 279 correct of 288, as a pair of shares between 0 and 1.")
def wilson(answer: Any) -> bool:
    """Check the Wilson 95 % interval of 279 correct of 288 clips, a pair of shares (09, 10)."""
    k, n = 279, 288
    truth = wilson_interval(k, n)
    try:
        low, high = (float(value) for value in answer)
    except (TypeError, ValueError):
        return _verdict(False, f"a pair (lower, upper) of numbers is wanted; you gave {_kind(answer)}.")
    if not (math.isfinite(low) and math.isfinite(high)):
        return _verdict(False, "the ends must be ordinary numbers; one of yours is not finite.")
    if low > high:
        return _verdict(False, "the ends are swapped; the lower one comes first.")
    if high > 1.5:
        inside = _near((low / 100, high / 100), truth)
        return _verdict(False, f"these are percentages; divide by 100{', then you are right' if inside else ' first'}.")
    if _near((low, high), truth):
        return _verdict(
            True,
            f"from {truth[0]:.1%} to {truth[1]:.1%}: one clip more or less ({1 / n:.1%}) is far inside it.",
        )
    p = k / n
    wald = 1.959964 * math.sqrt(p * (1 - p) / n)
    if _near((low, high), (p - wald, p + wald)):
        why = "that is the simple interval p +- 1.96 sqrt(p (1 - p) / n), too high so near to 100 %"
    elif _near((low, high), wilson_interval(k, n, confidence=0.90)):
        why = "that is the 90 % interval; use z = 1.96 for 95 %"
    elif _near((low, high), wilson_interval(k, n, confidence=0.99)):
        why = "that is the 99 % interval; use z = 1.96 for 95 %"
    elif _near((low, high), wilson_interval(n - k, n)):
        why = "that is the interval of the 9 mistakes; count the correct clips"
    elif _near((low, high), truth, 0.0051):
        why = "close: keep at least three decimals"
    elif not low <= p <= high:
        why = f"the observed share, {p:.3f}, should lie between the ends"
    else:
        why = f"check k = {k}, n = {n}, z = 1.96, and the root over all of p (1 - p) / n + z^2 / (4 n^2)"
    return _verdict(False, f"{why}.")


def _near(pair: Sequence[float], other: Sequence[float], tolerance: float = 0.00075) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pair, other, strict=True))


# --- notebook 00 ---


@_exercise("listen to the eight clips and give a list of eight emotions, in the order of the table.")
def by_ear(answer: Any, truth: pd.Series) -> bool:
    """Check what a listener heard in a row of unlabeled clips against their emotions (00)."""
    truth, labels = list(truth), sorted(set(truth))
    if isinstance(answer, (str, dict)) or not hasattr(answer, "__len__"):
        return _verdict(False, f"a list of {len(truth)} emotions is wanted; you gave {_kind(answer)}.")
    heard = [str(label).strip().lower() for label in answer]
    if len(heard) != len(truth):
        return _verdict(False, f"there are {len(truth)} clips, and your list names {len(heard)} emotions.")
    strangers = sorted(set(heard) - set(labels))
    if strangers:
        return _verdict(False, f"{strangers[0]!r} is not one of {', '.join(labels)}.")
    wrong = [(real, said) for real, said in zip(truth, heard, strict=True) if real != said]
    score = f"{len(truth) - len(wrong)} of {len(truth)}; guessing blindly gets 1 on average"
    if 2 * len(wrong) > len(truth):
        real, said = wrong[0]
        return _verdict(False, f"{score}. Play the first clip that you call {said} once more: it is {real}.")
    why = f", and you heard {wrong[0][1]} where {wrong[0][0]} was meant" if wrong else ""
    return _verdict(True, f"{score}{why}.")


@_exercise("give one number: the percentage points that one clip more is worth.")
def one_clip(answer: Any, n: int) -> bool:
    """Check by how many percentage points one clip of ``n`` moves the accuracy (00)."""
    given, truth = _number(answer), 100 / n
    if given is None:
        return _verdict(False, f"one number is wanted; you gave {_kind(answer)}.")
    if abs(given - truth) < 0.06:
        return _verdict(True, f"one clip of {n} is {truth:.1f} points, so a lead of one clip proves nothing.")
    for other, why in (
        (1 / n, "that is a share; multiply by 100 to get percentage points"),
        (n / 100, "that is upside down: 100 points are shared by all the test clips"),
        (n, "that is how many test clips there are; how many points does each of them carry"),
        (12.5, "that is chance among eight emotions; here the test clips are counted, not the emotions"),
    ):
        if abs(given - other) < 0.06 * min(1, other):
            return _verdict(False, f"{why}.")
    return _verdict(False, f"{n} clips right are 100 %, none are 0 %; each clip carries the same part of that.")


# --- notebook 01 ---


@_exercise("give one emotion, as text: the one whose clips have the longest active part.")
def slowest(answer: Any, table: pd.DataFrame) -> bool:
    """Check which emotion has the greatest median of ``seconds_active`` in a table of features (01)."""
    medians = table.groupby("emotion")["seconds_active"].median().sort_values()
    said = answer.strip().lower() if isinstance(answer, str) else None
    if said not in medians.index:
        return _verdict(False, f"one of {', '.join(sorted(medians.index))} is wanted, as text.")
    if said == medians.index[-1]:
        return _verdict(
            True, f"half of the {said} clips last {medians.iloc[-1]:.2f} s or more; {medians.index[0]} is the shortest."
        )
    if said == medians.index[0]:
        return _verdict(False, f"{said} is the shortest of all; idxmin and idxmax are easily swapped.")
    if said == table.groupby("emotion")["seconds_active"].max().idxmax():
        return _verdict(False, f"{said} has the longest single clip; ask for the clip in the middle, the median.")
    return _verdict(False, f"the median of {said} is {medians[said]:.2f} s, and another emotion has a longer one.")


@_exercise("give your function itself, normalize; it takes samples and returns samples of the same shape.")
def normalize(answer: Any) -> bool:
    """Check a function that gives samples a mean of 0 and a standard deviation of 1, and survives silence (01)."""
    if not callable(answer):
        return _verdict(False, f"give the function itself, without calling it; you gave {_kind(answer)}.")
    samples = np.array([0.1, 0.3, -0.2, 0.4, 0.0, 0.6])
    kept = samples.copy()
    given = answer(samples)
    if given is None:
        return _verdict(False, "your function gave nothing; is a return missing?")
    given = np.asarray(given, dtype=float)
    if given.shape != samples.shape:
        return _verdict(False, f"{len(samples)} samples went in, and shape {given.shape} came out.")
    if not np.array_equal(samples, kept):
        return _verdict(False, "your function changed the samples that it was given; work on a new array.")
    if np.allclose(given, samples - samples.mean()):
        return _verdict(False, "the mean is gone; now divide by the standard deviation too.")
    if np.allclose(given, samples / samples.std()):
        return _verdict(False, "the size is right; subtract the mean first.")
    if np.allclose(given, (samples - samples.mean()) / samples.var()):
        return _verdict(False, "you divided by the variance; the standard deviation is its square root.")
    if np.allclose(given, samples / np.abs(samples).max()):
        return _verdict(False, "that makes the peak 1, so one click decides; divide by the standard deviation.")
    if abs(given.mean()) > 1e-3 or abs(given.std() - 1) > 1e-3:
        return _verdict(False, f"mean {given.mean():.3f}, deviation {given.std():.3f}; they should be 0 and 1.")
    with np.errstate(all="ignore"):
        silence = np.asarray(answer(np.zeros(4)), dtype=float)
    if not np.isfinite(silence).all():
        return _verdict(False, "right for speech, but silence gives 0 / 0; add a tiny number where you divide.")
    if not np.allclose(given, answer(20 * samples), atol=1e-2):
        return _verdict(False, "a louder copy of the same clip comes out different; nothing of its level should stay.")
    return _verdict(True, "a whisper and a shout now have the same size, and silence stays silent.")


# --- notebook 02 ---


@_exercise("give the UAR of somebody who always says calm, as a share between 0 and 1.")
def constant_uar(answer: Any) -> bool:
    """Check the UAR of one constant label among eight classes (02)."""
    given, n = _number(answer), sum(paper.SUPPORT.values())
    calm = paper.SUPPORT["calm"]
    if given is None:
        return _verdict(False, f"one number is wanted; you gave {_kind(answer)}.")
    if _near((given,), (1 / 8,), 1e-4):
        return _verdict(True, "one recall is 1, seven are 0, so the mean is 1/8, whatever the class sizes.")
    for other, why in (
        (12.5, "that is a percentage; divide by 100, then you are right"),
        (calm / n, "that is the accuracy, 39 of 288; UAR is the mean of the eight recalls"),
        (100 * calm / n, "that is the accuracy in percent; UAR is the mean of the eight recalls"),
        (1.0, "1 is the recall of calm alone; average it with the seven others"),
        (0.0, "the recall of calm is not 0: all its clips are found"),
        (1 / 7, "count calm too: the mean is over eight classes"),
    ):
        if _near((given,), (other,), max(1e-3, other / 200)):
            return _verdict(False, f"{why}.")
    return _verdict(False, "write down the recall of each of the eight emotions, then take their mean.")


def _letters(answer: Any, known: str) -> set[str] | None:
    """Return the letters of an answer like {"a", "c"} or "ac", or None when it holds anything else."""
    if isinstance(answer, str):
        answer = [letter for letter in answer if letter not in " ,"]
    if not isinstance(answer, (set, frozenset, list, tuple)):
        return None
    letters = {str(letter).strip().lower() for letter in answer}
    return letters if letters <= set(known) else None


@_exercise('give the letters of the students whose test score is too good, like {"a", "c"}.')
def leaks(answer: Any) -> bool:
    """Check which of five procedures let the test part leak: a, c and d (02)."""
    given = _letters(answer, "abcde")
    if given is None:
        return _verdict(False, f"a set of letters from a to e is wanted; you gave {_kind(answer)}.")
    for letter, why in {
        "d": "the louder copy of a training clip is in the test part of d: nothing leaks more",
        "c": "c looked at the test ten times and kept the best look",
        "a": "the mean and the standard deviation of a were computed with the test clips",
    }.items():
        if letter not in given:
            return _verdict(False, f"one is missing: {why}.")
    for letter, why in {
        "b": "b measures each clip alone, so nothing passes from one to another",
        "e": "e had chosen C before, and the validation clips are no test clips",
    }.items():
        if letter in given:
            return _verdict(False, f"one too many: {why}.")
    return _verdict(True, "a is a bad habit, c is a choice made by the test, and d puts the test into training.")


@_exercise("give your function itself, standardize; it takes two arrays and returns one.")
def standardize(answer: Any) -> bool:
    """Check a student's scaling of one array with the mean and standard deviation of another (02)."""
    train = np.array([[1.0, 10.0, 5.0], [3.0, 30.0, 5.0], [5.0, 20.0, 5.0], [7.0, 40.0, 5.0]])
    other = np.array([[5.0, 60.0, 6.0], [4.0, 20.0, 5.0]])
    kept = train.copy()
    if not callable(answer):
        return _verdict(False, f"give the function itself, without calling it; you gave {_kind(answer)}.")
    with np.errstate(all="ignore"):
        given = answer(train, other.copy())
        if given is None or given is ...:
            return _verdict(False, "your function gave nothing; is a return missing?")
        given = np.asarray(given, dtype=float)
        spread = np.where(kept.std(axis=0) == 0, 1, kept.std(axis=0))
        truth = (other - kept.mean(axis=0)) / spread
        by_itself = (other - other.mean(axis=0)) / other.std(axis=0)
        unbiased = (other - kept.mean(axis=0)) / kept.std(axis=0, ddof=1)
        whole = (other - kept.mean()) / kept.std()
    if given.shape != other.shape:
        return _verdict(False, f"the result should have the shape of other, {other.shape}; it has {given.shape}.")
    if not np.array_equal(train, kept):
        return _verdict(False, "your function changed the training array itself; return a new one.")
    if np.allclose(given[:, :2], truth[:, :2]):
        if np.isfinite(given[:, 2]).all():
            return _verdict(True, "scaled by what training says, and a constant feature does no harm.")
        return _verdict(False, "the third feature is constant in training, so its spread is 0; divide by 1 there.")
    for wrong, why in (
        (by_itself, "other was scaled with its own mean and spread; that is the leak: use those of train"),
        (unbiased, "close: StandardScaler divides by n, not by n - 1 (ddof=0)"),
        (whole, "one mean for all columns; take them column by column, with axis=0"),
        (other - kept.mean(axis=0), "the mean is gone; now divide by the standard deviation of train"),
        (other / spread, "subtract the mean of train before you divide"),
    ):
        if np.allclose(given[:, :2], wrong[:, :2]):
            return _verdict(False, f"{why}.")
    return _verdict(False, "subtract the column means of train from other, and divide by the column spreads of train.")


# --- notebook 09 ---


@_exercise("give one share between 0 and 1: how often at least two of three jurors are right.")
def condorcet(answer: Any) -> bool:
    """Check how often a majority of three independent jurors, each right 60 % of the time, is right (09)."""
    share = float(answer)
    if abs(share - 0.648) <= 0.0015:
        return _verdict(True, "0.648: three jurors of 60 % make a jury of 64.8 %, if they err independently.")
    if abs(share - 64.8) <= 0.15:
        return _verdict(False, "this is a percentage; divide by 100, then you are right.")
    why = {
        0.216: "this is how often all three are right; a majority needs only two",
        0.432: "this is how often exactly two are right; add the case of all three",
        0.936: "this is how often at least one is right; a majority needs two",
        0.6: "this is a single juror",
        0.352: "this is how often the majority is wrong",
        0.36: "two jurors alone; the third may be right or wrong, and there are three ways to choose the two",
    }
    near = next((text for value, text in why.items() if abs(share - value) <= 0.0015), None)
    return _verdict(False, f"{near or 'add the chance of exactly two right, 3 x 0.6 x 0.6 x 0.4, and of all three'}.")


@_exercise("give one whole number: the fewest votes with which the first of five jurors always wins.")
def dictator(answer: Any) -> bool:
    """Check the smallest whole weight with which one of five voters overrules four others of weight 1 (09)."""
    votes = float(answer)
    if votes == 5:
        return _verdict(True, "with 5 votes against 4 nobody can outvote the first juror: no longer a jury.")
    if votes == 4:
        return _verdict(False, "with 4 votes against 4 there is a tie when all others agree; one more is needed.")
    if votes == 3:
        return _verdict(False, "with 3 votes the four others win whenever they agree.")
    if votes > 5:
        return _verdict(False, f"{votes:g} votes do it, but fewer do too; how many can stand against the first?")
    return _verdict(False, f"with {votes:g} votes the others can still outvote the first; think of all four agreeing.")


@_exercise("give your function itself, soften, not soften(...); it takes probabilities and a temperature.")
def soften(answer: Any) -> bool:
    """Check a student's function: probabilities at another temperature, p ** (1 / T), summing to 1 (09)."""
    p = [0.64, 0.16, 0.16, 0.04]
    for temperature in (1, 2, 0.5):
        given = _called(answer, list(p), temperature)
        if isinstance(given, str):
            return _verdict(False, given)
        values = _numbers(given, len(p))
        if values is None:
            return _verdict(False, f"for {len(p)} probabilities your function should return {len(p)} numbers.")
        powers = [x ** (1 / temperature) for x in p]
        truth = [x / sum(powers) for x in powers]
        if _near(values, truth):
            continue
        why = "at T = 1 nothing may change" if temperature == 1 else f"at T = {temperature} the first is {truth[0]:.3f}"
        other = [x**temperature for x in p]
        if _near(values, powers):
            why = "divide by their sum, so that they make 1 again"
        elif _near(values, [x / sum(other) for x in other]):
            why = "that is p ** T; dividing the logarithm by T is p ** (1 / T)"
        elif _near(values, [x / temperature for x in p]):
            why = "divide the logarithms by T, not the probabilities"
        return _verdict(False, f"{why}.")
    return _verdict(True, "above 1 a temperature takes confidence away, below 1 it adds some; the order stays.")


# --- notebook 10 ---


@_exercise("give three numbers between 0 and 1, the corrected p of 0.04, 0.01 and 0.03, in this order.")
def holm(answer: Any) -> bool:
    """Check Holm's correction of p = 0.04, 0.01 and 0.03: 0.06, 0.03, 0.06 (10)."""
    given = _numbers(answer, 3)
    if given is None:
        return _verdict(False, f"three numbers are wanted, like (0.1, 0.2, 0.3); you gave {_kind(answer)}.")
    for values, why in (
        ((0.04, 0.03, 0.06), "0.04 would stand below the 0.06 of a smaller p value; lift it to 0.06"),
        ((0.12, 0.03, 0.09), "that is Bonferroni, each times 3; Holm multiplies the second smallest by 2 only"),
        ((0.03, 0.06, 0.06), "these are in the order of size; give them in the order 0.04, 0.01, 0.03"),
        ((0.04, 0.01, 0.03), "these are the uncorrected ones; multiply the smallest by 3, the next by 2"),
    ):
        if _near(given, values):
            return _verdict(False, f"{why}.")
    if not _near(given, (0.06, 0.03, 0.06)):
        return _verdict(False, "0.01 times 3, then 0.03 times 2, then 0.04 times 1; but never below the last.")
    return _verdict(True, "0.06, 0.03, 0.06: of three differences below 0.05 one is left.")


@_exercise("give the pair (accuracy, unweighted average recall), two shares between 0 and 1.")
def two_averages(answer: Any) -> bool:
    """Check accuracy and UAR of 81 of 90 calm clips right and 4 of 10 angry ones (10)."""
    try:
        accuracy, uar = (float(value) for value in answer)
    except (TypeError, ValueError):
        return _verdict(False, f"a pair (accuracy, UAR) of numbers is wanted; you gave {_kind(answer)}.")
    if _near((accuracy, uar), (0.85, 0.65)):
        return _verdict(True, "85 of 100 clips, but (90 % + 40 %) / 2 = 65 %: the small class counts in full.")
    if _near((uar, accuracy), (0.85, 0.65)):
        return _verdict(False, "you have the two the other way round, as the paper has their names.")
    if _near((accuracy / 100, uar / 100), (0.85, 0.65)):
        return _verdict(False, "these are percentages; divide by 100, then you are right.")
    if abs(accuracy - 0.85) > 0.00075:
        return _verdict(False, "accuracy is the share of all 100 clips that are right: 81 + 4 of them.")
    return _verdict(False, "UAR is the plain mean of two recalls, 81 of 90 and 4 of 10.")


@_exercise("give one whole number: the fewest clips, all won by the same system, with p below 0.05.")
def one_sided_clips(answer: Any) -> bool:
    """Check how many clips only one system must get right, the other none, for McNemar p < 0.05 (10)."""
    n = float(answer)
    if n == 6:
        return _verdict(True, "six to nothing gives p = 0.031; the single clip between 279 and 278 gives p = 1.")
    if n == 5:
        return _verdict(False, "five to nothing gives 2 x 0.5 ** 5 = 0.0625, not yet below 0.05; did you double?")
    if n < 5:
        return _verdict(False, f"{n:g} to nothing is like {n:g} tosses of a coin on one side: too easily luck.")
    return _verdict(False, f"{n:g} to nothing is enough, but fewer are too; p = 2 x 0.5 ** n.")


# --- notebook 11 ---


@_exercise("give the two numbers of clips nearest to 288, one below and one above, as a pair.")
def whole_actors(answer: Any) -> bool:
    """Check the sizes nearest 288 of a test part made of whole actors with 60 clips each (11)."""
    try:
        below, above = sorted(float(value) for value in answer)
    except (TypeError, ValueError):
        return _verdict(False, f"a pair of numbers of clips is wanted, like (100, 200); you gave {_kind(answer)}.")
    if (below, above) == (240, 300):
        return _verdict(True, "4 actors have 240 clips and 5 have 300; no number of whole actors has 288.")
    if (below, above) == (4, 5):
        return _verdict(False, "these are the numbers of actors; give their clips, 60 each.")
    if 288 in (below, above):
        return _verdict(False, "288 / 60 is 4.8, so 288 clips are no whole number of actors.")
    return _verdict(False, "a part made of whole actors has 60, 120, 180, ... clips; which two enclose 288?")


@_exercise("give your function itself, heard_before, not heard_before(...); it takes train and test.")
def heard_before(answer: Any) -> bool:
    """Check a student's function: the share of test clips whose actor is in train, on three tiny splits (11)."""
    import pandas as pd

    if not callable(answer):
        return _verdict(False, f"give the function itself, without calling it; you gave {_kind(answer)}.")
    cases = (
        (["01", "02"], ["03", "04"], 0.0),
        (["01", "02", "03"], ["01", "02", "02"], 1.0),
        (["01", "01", "02"], ["01", "01", "01", "03"], 0.75),
    )
    for known, asked, truth in cases:
        train, test = (pd.DataFrame({"actor": actors}) for actors in (known, asked))
        said = f"train with actors {', '.join(known)} and test with {', '.join(asked)}"
        share = answer(train, test)
        if share is None:
            return _verdict(False, f"for {said} your function gave nothing; is a return missing?")
        if not abs(float(share) - truth) <= 1e-6:
            why = f"for {said} the share is {truth:g}, yours gave {float(share):g}"
            if abs(float(share) - 100 * truth) <= 1e-6:
                why += "; give a share between 0 and 1"
            elif truth == 0.75 and float(share) == 0.5:
                why += "; count clips, not actors"
            elif truth == 0.75 and float(share) == 3:
                why += "; divide by the number of test clips"
            return _verdict(False, f"{why}.")
    return _verdict(True, "0 for a split by actor, 1 where every voice is known, and right in between.")


# --- notebook 12 ---


@_exercise("give your function itself, say; it takes a row of probabilities and a threshold and returns a word.")
def unsure(answer: Any) -> bool:
    """Check a student's classifier with a right to be silent: the top label, or "not sure" below a threshold (12)."""
    sure = pd.Series({"angry": 0.1, "calm": 0.7, "sad": 0.2})
    torn = pd.Series({"angry": 0.35, "calm": 0.25, "sad": 0.4})
    edge = pd.Series({"angry": 0.5, "calm": 0.2, "sad": 0.3})
    if not callable(answer):
        return _verdict(False, f"give the function itself, without calling it; you gave {_kind(answer)}.")
    for row, threshold, truth, why in (
        (sure, 0.5, "calm", "the top label, calm, has 70 %, above the threshold of 50 %"),
        (torn, 0.5, "not sure", "no label reaches the threshold of 50 %"),
        (torn, 0.3, "sad", "sad has 40 %, above the threshold of 30 %"),
        (edge, 0.5, "angry", "angry has exactly the 50 % that the threshold asks for; that is enough"),
    ):
        given = answer(row.copy(), threshold)
        if given is None or given is ...:
            return _verdict(False, "your function gave nothing; is a return missing?")
        if not isinstance(given, str):
            return _verdict(False, f"a word is wanted, a label or 'not sure'; your function gave {_kind(given)}.")
        if given != truth:
            return _verdict(False, f"{why}, so {truth!r} is wanted; your function gave {given!r}.")
    return _verdict(True, "it names a label where it may, and is silent where it should be.")


@_exercise('give the letters of the sentences that can be defended, like {"a", "c"}.')
def defensible(answer: Any) -> bool:
    """Check which of five sentences about a result can be defended: b and d (12)."""
    given = _letters(answer, "abcde")
    if given is None:
        return _verdict(False, f"a set of letters from a to e is wanted; you gave {_kind(answer)}.")
    for letter, why in {
        "a": "a speaks of a feeling; the model was taught what actors were asked to show",
        "c": "c takes a softmax for the odds of being right about this person, which nobody has measured",
        "e": "e takes a ranking of eight labels for a measurement of health, which they do not contain",
    }.items():
        if letter in given:
            return _verdict(False, f"one too many: {why}.")
    for letter, why in {
        "b": "b says what was compared with what, and no more",
        "d": "d is what the next recording will show you",
    }.items():
        if letter not in given:
            return _verdict(False, f"one is missing: {why}.")
    return _verdict(True, "both speak about the model and its clips, and neither about what somebody feels.")


# --- notebook 03 ---------------------------------------------------------------------------------------------------

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


@_exercise("put 32,000 samples through the seven convolutions, one after the other, and give the number of frames.")
def frames(answer: Any) -> bool:
    """Check how many frames the convolutions make of 2 s of sound (03)."""
    stages = [32_000]
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        stages.append((stages[-1] - kernel) // stride + 1)
    given = _number(answer)
    if given is None:
        return _verdict(False, f"one whole number is wanted; you gave {_kind(answer)}.")
    if given == stages[-1]:
        return _verdict(True, "99 and not 100: a frame needs 400 samples, so the last 240 of the clip make none.")
    if given in stages:
        done = stages.index(given)
        return _verdict(False, f"that is what stands after {done} of the 7 convolutions; go on from there.")
    if given == 100:
        return _verdict(False, "32,000 / 320 is 100, but a frame needs 400 samples; has the 100th as many left?")
    if given == 80:
        return _verdict(False, "that is samples / 400; frames overlap, and a new one starts every 320 samples.")
    if given == 199:
        return _verdict(False, "the last stride was left out; there are seven.")
    return _verdict(False, "a layer makes (n - kernel) // stride + 1 numbers out of n; start with n = 32,000.")


@_exercise("give your function itself; it takes a list of kernels and a list of strides and returns samples.")
def field(answer: Any) -> bool:
    """Check a student's receptive field function on four small stacks (03)."""
    stacks = [((3,), (2,), 3), ((3, 3), (1, 1), 5), ((3, 3), (2, 2), 7), (KERNELS, STRIDES, 400)]
    for kernels, strides, truth in stacks:
        given = _called(answer, list(kernels), list(strides))
        if isinstance(given, str):
            return _verdict(False, given)
        if (given := _number(given)) is None:
            return _verdict(False, "your function should return one number, of samples.")
        if given != truth:
            total, steps = sum(kernels), math.prod(strides)
            why = {
                truth + 1: "one too many; start with 1 sample before the first layer",
                math.prod(kernels): "the kernels were multiplied",
                steps: "that is how far apart two frames start, not how much one of them hears",
                total: "the kernels were added up; a kernel counts in steps of all strides before it",
            }.get(given, "start at 1 and add (kernel - 1) x the product of the strides before, layer by layer")
            name = f"kernels {', '.join(map(str, kernels))} with strides {', '.join(map(str, strides))}"
            return _verdict(False, f"for {name} the field is {truth} samples and yours {given:g}: {why}.")
    return _verdict(True, "the seven layers hear 400 samples, 25 ms; each layer reaches further than the one before.")


# --- notebook 04 ---------------------------------------------------------------------------------------------------


@_exercise("give your function itself; it takes a history and returns the step to keep.")
def best_step(answer: Any) -> bool:
    """Check a student's choice of a step on two hand-made histories, one with a draw (04)."""
    columns = ["step", "eval_loss", "eval_accuracy"]
    plain = pd.DataFrame([(100, 1.2, 0.5), (200, 0.6, 0.7), (300, 0.9, 0.8), (400, 1.1, 0.75)], columns=columns)
    draw = pd.DataFrame([(50, 1.0, 0.6), (100, 0.8, 0.9), (150, 0.7, 0.85), (200, 0.9, 0.9)], columns=columns)
    for history, truth in ((plain, 300), (draw, 100)):
        given = _called(answer, history.copy())
        if isinstance(given, str):
            return _verdict(False, given)
        if (given := _number(given)) is None:
            return _verdict(False, "your function should return one number, a step.")
        if given != truth:
            row = history[history["step"] == truth].iloc[0]
            later = history.loc[history["eval_accuracy"] == row["eval_accuracy"], "step"].iloc[-1]
            why = {
                history["step"].iloc[-1]: "that is the last one",
                history.loc[history["eval_loss"].idxmin(), "step"]: "that is the step of the lowest loss",
                later: "that is the latest of equals; the earliest cost less and moved the weights less",
                row["eval_accuracy"]: "that is the accuracy itself; the step is wanted",
                row.name: "that is the row's number; the column step is wanted",
            }.get(given, "look for the highest eval_accuracy")
            steps = ", ".join(map(str, history["step"]))
            return _verdict(False, f"the best of {steps} is {truth}, not {given:g}: {why}.")
    return _verdict(True, "the highest validation accuracy, and the earliest of equals: as serlib does it.")


@_exercise("give two numbers: the mean loss early, when 8 of 10 are right, and late, when 9 of 10 are.")
def losses(answer: Any) -> bool:
    """Check the mean cross-entropy of two hand-made sets of ten clips (04)."""
    early, late = ([0.7] * 8 + [0.25] * 2), ([0.99] * 9 + [0.001])
    truth = tuple(-sum(map(math.log, p)) / 10 for p in (early, late))
    pair = _numbers(answer, 2)
    if pair is None:
        return _verdict(False, f"two numbers are wanted, early and late; you gave {_kind(answer)}.")
    if _near(pair, truth, 0.006):
        return _verdict(
            True, f"{truth[0]:.2f} early and {truth[1]:.2f} late: one more clip is right, and yet the loss rose."
        )
    for other, why in (
        (truth[::-1], "the two are swapped; early comes first"),
        (tuple(-x for x in truth), "a loss is positive: the minus sign is missing"),
        (tuple(10 * x for x in truth), "that is the sum over the ten clips; take the mean"),
        (tuple(x / math.log(2) for x in truth), "that is the logarithm to base 2; the loss takes the natural one"),
        (tuple(x / math.log(10) for x in truth), "that is the logarithm to base 10; the loss takes the natural one"),
        (tuple(sum(p) / 10 for p in (early, late)), "that is the mean probability; take -log of each one first"),
        (tuple(-math.log(sum(p) / 10) for p in (early, late)), "take the logarithm of each clip first, then the mean"),
    ):
        if _near(pair, other, 0.006):
            return _verdict(False, f"{why}.")
    return _verdict(False, "take -math.log of the probability of the truth for each of the ten clips, then the mean.")


# --- notebook 05 ---------------------------------------------------------------------------------------------------


@_exercise("give the share of the batch that is padding, between 0 and 1, for clips of 2.0, 2.1, 2.2 and 6.0 s.")
def padding_share(answer: Any) -> bool:
    """Check the share of padding in a batch of four clips (05)."""
    seconds = (2.0, 2.1, 2.2, 6.0)
    whole, real = 4 * max(seconds), sum(seconds)
    given = _number(answer)
    if given is None:
        return _verdict(False, f"one number is wanted; you gave {_kind(answer)}.")
    if _near((given,), (1 - real / whole,), 0.006):
        return _verdict(True, f"{1 - real / whole:.1%} of the work is spent on zeros, because of one long clip.")
    for other, why in (
        (100 * (1 - real / whole), "that is a percentage; divide by 100, then you are right"),
        (real / whole, "that is the share that is sound; the rest is padding"),
        (whole - real, "those are the seconds of padding; divide by all seconds of the batch"),
        ((whole - real) / real, "that is padding for each second of sound; divide by the whole batch, 4 x 6.0 s"),
    ):
        if _near((given,), (other,), 0.006):
            return _verdict(False, f"{why}.")
    return _verdict(False, "all four clips become 6.0 s long: how much of 4 x 6.0 s is not sound?")


@_exercise("give your function itself; it takes frames (n x d) and a mask (n), and returns d numbers.")
def masked_mean(answer: Any) -> bool:
    """Check a student's mean over the frames that are not padding (05)."""
    table = np.array([[1.0, 10.0], [3.0, 20.0], [100.0, 100.0]])
    for mask, truth in (([1, 1, 0], [2.0, 15.0]), ([1, 1, 1], table.mean(0)), ([1, 0, 0], [1.0, 10.0])):
        given = _called(answer, table.copy(), np.array(mask))
        if isinstance(given, str):
            return _verdict(False, given)
        given = np.asarray(given, dtype=float)
        if given.shape != (2,):
            return _verdict(False, f"for 3 frames of 2 numbers, 2 numbers are wanted; yours has shape {given.shape}.")
        if not np.allclose(given, truth, atol=1e-4):
            kept = table * np.array(mask)[:, None]
            why = "the frames where the mask is 1 should count, and only those"
            if np.allclose(given, table.mean(0)):
                why = "the padding was averaged too"
            elif np.allclose(given, kept.sum(0)):
                why = "that is the sum; divide by the number of frames that count"
            elif np.allclose(given, kept.mean(0)):
                why = "the padding was set to 0 but still counted; divide by mask.sum(), not by all frames"
            return _verdict(False, f"with the mask {mask} it gave {np.round(given, 2).tolist()}: {why}.")
    return _verdict(True, "whatever stands in the padding, the mean does not hear it.")


# --- notebook 06 ---------------------------------------------------------------------------------------------------


@_exercise("give the gigabytes (1e9 bytes) for weights, gradients and two Adam averages of 315.4 million weights.")
def training_memory(answer: Any) -> bool:
    """Check the memory that a full fine-tuning of 315.4 M weights needs before any sound (06)."""
    weights = 315.4e6 * 4 / 1e9
    given = _number(answer)
    if given is None:
        return _verdict(False, f"one number is wanted, in GB; you gave {_kind(answer)}.")
    if _near((given,), (4 * weights,), 0.06):
        return _verdict(True, "four numbers for each weight, 4 bytes each: 5.0 GB, and the activations come on top.")
    for other, why in (
        (weights, "that holds the weights alone; add gradients and Adam's two averages, each as large"),
        (2 * weights, "weights and gradients are there; Adam keeps two more numbers for each weight"),
        (3 * weights, "one is missing: weights, gradients, and two averages of Adam make four"),
        (8 * weights, "float32 takes 4 bytes, not 8"),
        (4 * weights / 1.073741824, "that is in GiB (2^30 bytes); in units of 1e9 bytes you are right"),
        (4 * weights * 1000, "that is in MB; divide by 1,000"),
        (4 * weights * 1e9, "that is in bytes; divide by 1e9"),
    ):
        if _near((given,), (other,), 0.01 * other):
            return _verdict(False, f"{why}.")
    return _verdict(False, "multiply 315.4e6 weights by 4 numbers each and 4 bytes a number, and divide by 1e9.")


SEEDS = (0.901, 0.927, 0.885, 0.917, 0.906)


@_exercise("give the mean and the standard deviation of the five accuracies, as a pair.")
def spread(answer: Any) -> bool:
    """Check mean and sample standard deviation of five hand-made accuracies (06)."""
    truth = statistics.mean(SEEDS), statistics.stdev(SEEDS)
    pair = _numbers(answer, 2)
    if pair is None:
        return _verdict(False, f"two numbers are wanted, the mean and the deviation; you gave {_kind(answer)}.")
    if _near(pair, truth):
        return _verdict(
            True, f"{truth[0]:.1%} with a deviation of {truth[1] * 100:.1f} points: a lead of one point means nothing."
        )
    mean, deviation = pair
    if _near((mean / 100, deviation / 100), truth):
        return _verdict(False, "these are percentages; divide by 100, then you are right.")
    if _near((deviation, mean), truth):
        return _verdict(False, "the two are swapped; the mean comes first.")
    if not _near((mean,), truth[:1]):
        return _verdict(False, "the mean is not right: add the five accuracies and divide by 5.")
    for other, why in (
        (statistics.pstdev(SEEDS), "you divided by 5; five runs that stand for all the others need n - 1 = 4 (ddof=1)"),
        (truth[1] / math.sqrt(5), "that is the error of the mean; single runs spread more, so no root of 5"),
        (truth[1] ** 2, "that is the variance; take its root"),
        (max(SEEDS) - min(SEEDS), "that is the distance from the worst to the best"),
    ):
        if _near((deviation,), (other,), 0.0004):
            return _verdict(False, f"the mean is right; {why}.")
    return _verdict(False, "the mean is right; for the deviation use statistics.stdev, or numpy's std with ddof=1.")


# --- notebook 07 ---------------------------------------------------------------------------------------------------


def _xlarge() -> pd.DataFrame:
    table = paper.per_class()
    return table[table["system"] == "hubert-xlarge"].set_index("emotion")


@_exercise("give the unweighted average recall of the eight classes, between 0 and 1.")
def average_recall(answer: Any) -> bool:
    """Check the UAR of the paper's HuBERT x-large from its printed counts (07)."""
    table = _xlarge()
    truth, accuracy = table["recall"].mean(), table["correct"].sum() / table["support"].sum()
    given = _number(answer)
    if given is None:
        return _verdict(False, f"one number is wanted; you gave {_kind(answer)}.")
    if _near((given / 100,), (truth,)):
        return _verdict(False, "that is a percentage; divide by 100, then you are right.")
    if _near((given,), (truth,)):
        return _verdict(
            True, f"{truth:.1%}, two points below the accuracy of {accuracy:.1%}: the 19 neutral clips count in full."
        )
    for other, why in (
        (accuracy, "that is the accuracy, 259 of 288; take the recall of each class first, then their mean"),
        (table["precision"].mean(), "that is the mean precision; divide by the clips, not by the predictions"),
        (table["f1"].mean(), "that is the mean F1; only recall is wanted"),
        (table["recall"].sum(), "that is the sum of the recalls; divide by 8"),
        (table["recall"].median(), "that is the median; the mean is wanted"),
    ):
        if _near((given,), (other,)):
            return _verdict(False, f"{why}.")
    return _verdict(False, "correct / support for each emotion, then the mean of the eight.")


@_exercise("give the emotion that is predicted too often, and its precision, as a pair.")
def overused(answer: Any) -> bool:
    """Check which emotion the paper's HuBERT x-large predicts too often, and its precision (07)."""
    table = _xlarge()
    if isinstance(answer, str) or not hasattr(answer, "__len__") or len(answer) != 2:
        return _verdict(False, f"a pair is wanted, the emotion and a number; you gave {_kind(answer)}.")
    emotion, given = str(answer[0]).strip().lower(), _number(answer[1])
    if emotion not in table.index:
        return _verdict(False, f"the first of the pair should be one of {', '.join(table.index)}.")
    row = table.loc[emotion]
    if emotion != "happy":
        what = f"of {emotion} there are {row['support']} clips and {row['predicted']} predictions"
        return _verdict(False, f"{what}; look for the emotion with far more predictions than clips.")
    if given is None:
        return _verdict(False, "happy is right; the second of the pair should be a number, its precision.")
    if _near((given,), (row["precision"],), 0.006):
        return _verdict(True, f"51 clips were called happy and 35 of them were: precision {row['precision']:.1%}.")
    if _near((given,), (row["recall"],), 0.006):
        return _verdict(False, "happy is right, but 35 of 38 is its recall; precision divides by the 51 predictions.")
    return _verdict(False, "happy is right; its precision is correct / predicted.")


# --- notebook 08 ---------------------------------------------------------------------------------------------------


@_exercise("give three factors, for mean, sum and max, by which the pooled vector grows when a clip is said twice.")
def said_twice(answer: Any) -> bool:
    """Check what mean, sum and max pooling do to frames that are repeated (08)."""
    triple = _numbers(answer, 3)
    if triple is None:
        return _verdict(False, f"three numbers are wanted, for mean, sum and max; you gave {_kind(answer)}.")
    for name, given, truth in zip(("mean", "sum", "max"), triple, (1, 2, 1), strict=True):
        if not _near((given,), (truth,), 0.05):
            why = {
                "mean": "twice the sum over twice as many frames is what it was",
                "sum": "every frame is added twice",
                "max": "the largest value is the largest, however often it comes",
            }[name]
            return _verdict(False, f"the {name} does not grow by {given:g}: {why}.")
    return _verdict(True, "1, 2, 1: only the sum hears how long a clip is.")


@_exercise("give the two-sided p value when 14 clips are right only in A and 5 only in B.")
def mcnemar(answer: Any) -> bool:
    """Check McNemar's exact p value for 14 clips against 5 (08, 10)."""
    tail = sum(math.comb(19, k) for k in range(6)) / 2**19
    given = _number(answer)
    if given is None:
        return _verdict(False, f"one number is wanted; you gave {_kind(answer)}.")
    if _near((given,), (2 * tail,)):
        return _verdict(True, f"p = {2 * tail:.3f}: nine clips more, and still no proof at the usual 5 %.")
    for other, why in (
        (tail, "that is one side; either of the two could have been ahead, so double it"),
        (math.erfc(math.sqrt(81 / 19 / 2)), "that is the chi-square approximation; with 19 clips count exactly"),
        (math.erfc(math.sqrt(64 / 19 / 2)), "that is chi-square with correction, close; with 19 clips count exactly"),
        (2 * (tail - math.comb(19, 5) / 2**19), "the 5 itself belongs to the tail: 0 to 5, not 0 to 4"),
        (1 - 2 * tail, "that is one minus the p value"),
        (200 * tail, "that is a percentage; divide by 100, then you are right"),
    ):
        if _near((given,), (other,), 0.0004):
            return _verdict(False, f"{why}.")
    return _verdict(False, "toss a fair coin 19 times: how likely are 5 heads or fewer, or 14 or more?")


# --- notebook 13 ---------------------------------------------------------------------------------------------------


@_exercise("give the loss of a line-up with cosines 0.9 (the true code), 0.7 and 0.2 at temperature 0.1.")
def line_up(answer: Any) -> bool:
    """Check the contrastive loss of one hand-made line-up (13)."""

    def loss(temperature: float) -> float:
        return math.log(sum(math.exp((cosine - 0.9) / temperature) for cosine in (0.9, 0.7, 0.2)))

    given = _number(answer)
    if given is None:
        return _verdict(False, f"one number is wanted; you gave {_kind(answer)}.")
    if _near((given,), (loss(0.1),), 0.0015):
        return _verdict(True, f"{loss(0.1):.3f}: the true code gets {math.exp(-loss(0.1)):.0%} of the probability.")
    for other, why in (
        (math.exp(-loss(0.1)), "that is the probability of the true code; the loss is -log of it"),
        (-loss(0.1), "a loss is positive: the minus sign is missing"),
        (loss(0.1) / math.log(2), "that is the logarithm to base 2; the loss takes the natural one"),
        (loss(1.0), "the temperature was left out; divide each cosine by 0.1 first"),
        (loss(10.0), "the cosines were multiplied by the temperature; divide them by 0.1"),
        (math.log(math.exp(-2) + math.exp(-7)), "the true code belongs into the sum below the line too"),
    ):
        if _near((given,), (other,), 0.0015):
            return _verdict(False, f"{why}.")
    return _verdict(False, "divide the cosines by 0.1, take the softmax, and -log of what the true code gets.")


@_exercise('give your function itself; it takes a list of names with blanks "-" and returns a list without them.')
def collapse(answer: Any) -> bool:
    """Check a student's reading of CTC's frame labels on five small sequences (13)."""
    for names in ("kk-ii-dz", "--d-oo-g--", "l-l", "aabbb", "---"):
        truth = [name for i, name in enumerate(names) if name != "-" and (i == 0 or names[i - 1] != name)]
        given = _called(answer, list(names))
        if isinstance(given, str):
            return _verdict(False, given.replace("a number is", "a list is"))
        if not isinstance(given, (list, tuple)):
            return _verdict(False, f"your function should return a list; for {names!r} it gave {_kind(given)}.")
        if list(given) != truth:
            bare = names.replace("-", "")
            early = [name for i, name in enumerate(bare) if i == 0 or bare[i - 1] != name]
            if "-" in given:
                why = "a blank was left"
            elif list(given) == list(bare):
                why = "repeated names were kept"
            elif list(given) == early:
                why = "the blanks were dropped before the repetitions, so a name said twice is lost"
            else:
                why = "merge equal neighbors first, then drop the blanks"
            read = "".join(map(str, given))
            return _verdict(False, f"{names!r} reads {''.join(truth)!r}, and yours {read!r}: {why}.")
    return _verdict(True, "repetitions first, blanks after: that is how every CTC model is read.")


@_exercise("give your function itself; it takes an array of phones and one of groups, and returns a share.")
def purity(answer: Any) -> bool:
    """Check a student's cluster purity on three small tables (13)."""
    cases = (("aabb", [0, 0, 1, 1], 1.0), ("aabbb", [0, 0, 0, 1, 1], 0.8), ("abcaab", [0, 0, 0, 1, 1, 1], 0.5))
    for phones, groups, truth in cases:
        given = _called(answer, np.array(list(phones)), np.array(groups))
        if isinstance(given, str):
            return _verdict(False, given)
        if (given := _number(given)) is None:
            return _verdict(False, "your function should return one number, a share between 0 and 1.")
        if not _near((given,), (truth,)):
            table = pd.crosstab(np.array(list(phones)), np.array(groups))
            why = "for each group take its most frequent phone, add those counts, divide by all frames"
            for other, reason in (
                (table.max().sum(), "that is the count; divide it by the number of frames"),
                (table.max(axis=1).sum() / len(phones), "that is by phone; for each group take its top phone"),
                ((table.max() / table.sum()).mean(), "that is the mean over groups; large ones should count for more"),
                (table.to_numpy().max() / len(phones), "that is the largest group alone; add up over all groups"),
            ):
                if _near((given,), (float(other),)):
                    why = reason
                    break
            said = f"phones {' '.join(phones)} in groups {' '.join(map(str, groups))}"
            return _verdict(False, f"for {said} the purity is {truth:.2f} and yours {given:.2f}: {why}.")
    return _verdict(True, "and it is 1 for a group per frame, so look at the number of groups beside it.")


def _number(answer: Any) -> float | None:
    """Return a finite number, also out of an array of one; None for a truth value, a text and all else."""
    if isinstance(answer, (bool, np.bool_, str, bytes)):
        return None
    try:
        value = float(answer)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _numbers(answer: Any, n: int) -> tuple[float, ...] | None:
    """Return exactly ``n`` finite numbers out of any sequence, or None."""
    if isinstance(answer, (str, bytes, dict)) or not hasattr(answer, "__len__") or len(answer) != n:
        return None
    values = [_number(value) for value in answer]
    return None if None in values else tuple(values)


def _called(answer: Any, *arguments: Any) -> Any:
    """Return what a student's function gives for these arguments, or a sentence (a str) that says what is wrong."""
    if not callable(answer):
        return f"give the function itself, without calling it; you gave {_kind(answer)}."
    try:
        given = answer(*arguments)
    except Exception as error:
        return f"your function stopped with {_says(error)}."
    if given is None:
        return "your function gave nothing; is a return missing?"
    if isinstance(given, str):
        return "your function gave a text; a number is wanted."
    return given
