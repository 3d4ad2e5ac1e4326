"""Checks of the exercises: each says in one line what is wrong with the student's answer, and never raises.

Every check prints "Right: ...", "Not yet: ..." or "Not answered yet: ..." and returns whether the answer
is right. The mark is plain text, so that a screen reader reads it and no color is needed. A new check is
a function that ends in ``_verdict`` and wears ``@_exercise(hint)``; it may trust nothing about its answer
but that there is one.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

from serlib.corpus import STATEMENTS, parse_name
from serlib.metrics import wilson_interval


def _verdict(ok: bool, sentence: str) -> bool:
    """Print one friendly line with its mark first, and return ``ok``."""
    print(f"{'Right' if ok else 'Not yet'}: {sentence}")
    return ok


def _exercise(hint: str) -> Callable:
    """Turn a check into one that says ``hint`` for no answer (None or ...) and survives any other."""

    def decorate(check: Callable[..., bool]) -> Callable[..., bool]:
        @functools.wraps(check)
        def wrapper(answer: Any = None) -> bool:
            if answer is None or answer is ...:
                print(f"Not answered yet: {hint}")
                return False
            try:
                return check(answer)
            except Exception as error:  # whatever the answer was, a check must not end the notebook
                return _verdict(False, f"your answer stopped the check with {_says(error)} - {hint}")

        return wrapper

    return decorate


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


@_exercise(
    "give your function itself, majority, not majority(...); it takes a list of labels and returns one."
)
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
        return _verdict(
            False, f"these are percentages; divide by 100{', then you are right' if inside else ' first'}."
        )
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


def _near(pair: tuple[float, float], other: tuple[float, float], tolerance: float = 0.00075) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pair, other, strict=True))
