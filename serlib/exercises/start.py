"""Checks of the exercises of the part "Start": notebook 00."""

from collections.abc import Iterable
from typing import Any

from serlib.exercises.verdicts import NotYet, exercise, kind_of, number, settle


@exercise("listen to the eight clips and give a list of eight emotions, in the order of the table.")
def by_ear(answer: Any, truth: Iterable[str]) -> str:
    """Check what a listener heard in a row of unlabeled clips against their emotions (00)."""
    meant = [str(label).strip().lower() for label in truth]
    labels = sorted(set(meant))
    if isinstance(answer, (str, dict)) or not hasattr(answer, "__len__"):
        raise NotYet(f"a list of {len(meant)} emotions is wanted; you gave {kind_of(answer)}.")
    heard = [str(label).strip().lower() for label in answer]
    if len(heard) != len(meant):
        raise NotYet(f"there are {len(meant)} clips, and your list names {len(heard)} emotions.")
    strangers = sorted(set(heard) - set(labels))
    if strangers:
        raise NotYet(f"{strangers[0]!r} is not one of {', '.join(labels)}.")
    wrong = [(real, taken) for real, taken in zip(meant, heard, strict=True) if real != taken]
    score = f"{len(meant) - len(wrong)} of {len(meant)}; guessing blindly gets 1 on average"
    if 2 * len(wrong) > len(meant):
        real, taken = wrong[0]
        raise NotYet(f"{score}. Play the first clip that you call {taken} once more: it is {real}.")
    why = f", and you heard {wrong[0][1]} where {wrong[0][0]} was meant" if wrong else ""
    return f"{score}{why}."


@exercise("give one number: the percentage points that one clip more is worth.")
def one_clip(answer: Any, n: int) -> str:
    """Check by how many percentage points one clip of ``n`` moves the accuracy (00)."""
    truth = 100 / n
    right = f"one clip of {n} is {truth:.1f} points, so a lead of one clip proves nothing."
    otherwise = f"{n} clips right are 100 %, none are 0 %; each clip carries the same part of that."
    mistakes = [
        (1 / n, "that is a share; multiply by 100 to get percentage points."),
        (n / 100, "that is upside down: 100 points are shared by all the test clips."),
        (n, "that is how many test clips there are; how many points does each of them carry?"),
        (12.5, "that is chance among eight emotions; here the test clips are counted, not the emotions."),
    ]
    return settle(number(answer), truth, right, mistakes, otherwise, tolerance=0.06, share=0.01)
