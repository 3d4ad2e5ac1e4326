"""Checks of the exercises of the part "Your turn": notebook 12."""

from typing import Any

from serlib.exercises.verdicts import NotYet, exercise, kind_of, result_of, settle_letters


@exercise("give your function itself, say; it takes a row of probabilities and a threshold and returns a word.")
def unsure(answer: Any) -> str:
    """Check a student's classifier with a right to be silent: the top label, or "not sure" below a threshold (12)."""
    import pandas as pd

    sure = pd.Series({"angry": 0.1, "calm": 0.7, "sad": 0.2})
    torn = pd.Series({"angry": 0.35, "calm": 0.25, "sad": 0.4})
    edge = pd.Series({"angry": 0.5, "calm": 0.2, "sad": 0.3})
    for row, threshold, truth, why in (
        (sure, 0.5, "calm", "the top label, calm, has 70 %, above the threshold of 50 %"),
        (torn, 0.5, "not sure", "no label reaches the threshold of 50 %"),
        (torn, 0.3, "sad", "sad has 40 %, above the threshold of 30 %"),
        (edge, 0.5, "angry", "angry has exactly the 50 % that the threshold asks for; that is enough"),
    ):
        given = result_of(answer, row.copy(), threshold)
        if not isinstance(given, str):
            raise NotYet(f"a word is wanted, a label or 'not sure'; your function gave {kind_of(given)}.")
        if given != truth:
            raise NotYet(f"{why}, so {truth!r} is wanted; your function gave {str(given)!r}.")
    return "it names a label where it may, and is silent where it should be."


@exercise('give the letters of the sentences that can be defended, like {"a", "c"}.')
def defensible(answer: Any) -> str:
    """Check which of five sentences about a result can be defended: b and d (12)."""
    return settle_letters(
        answer,
        "bd",
        "both speak about the model and its clips, and neither about what somebody feels.",
        {
            "a": "a speaks of a feeling; the model was taught what actors were asked to show",
            "c": "c takes a softmax for the odds of being right about this person, which nobody has measured",
            "e": "e takes a ranking of eight labels for a measurement of health, which they do not contain",
            "b": "b says what was compared with what, and no more",
            "d": "d is what the next recording will show you",
        },
    )
