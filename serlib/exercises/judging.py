"""Checks of the exercises of the part "Judging": notebooks 09, 18, 10 and 11."""

import math
from typing import Any

from serlib.exercises.verdicts import (
    NotYet,
    called,
    exercise,
    kind_of,
    near,
    number,
    numbers,
    reason,
    result_of,
    settle,
)

# --- notebook 09 ---

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


@exercise("give your function itself, majority, not majority(...); it takes a list of labels and returns one.")
def majority(answer: Any) -> str:
    """Check a student's vote function on hand-made juries, two of them tied (09)."""
    for jury, winners in JURIES:
        where = f"for the jury {', '.join(jury)} "
        won = called(answer, list(jury), where=where)
        if won is None or won is ...:
            more = max(map(jury.count, jury)) * 2 <= len(jury)
            why = "nobody has more than half there, yet the most frequent label still wins."
            raise NotYet(f"{where}your function gave nothing; {why if more else 'is a return missing?'}")
        if isinstance(won, (int, float)) and not isinstance(won, bool):
            raise NotYet(f"{where}your function gave {won}; the label is wanted, not a number.")
        if not isinstance(won, str):
            raise NotYet(f"{where}your function gave {kind_of(won)}; give one label, say its first.")
        if won not in jury:
            raise NotYet(f"{where}your function gave {str(won)!r}, which nobody said.")
        if won not in winners:
            first = " (the first voter's)" if won == jury[0] else ""
            why = " (the alphabetically first label)" if won == min(jury) else first
            raise NotYet(f"{where}{' or '.join(sorted(winners))} has most votes, yours gave {won}{why}.")
    tied, winners = JURIES[-1]
    picks = {str(called(answer, list(order))) for order in (tied, tied[::-1], tied[1:] + tied[:1])}
    if picks == {min(winners)}:
        rule = "a tie goes to the alphabetically first label, as mode does"
    elif len(picks) == 1:
        rule = f"a tie of {', '.join(sorted(winners))} goes to {picks.pop()} whoever votes first"
    else:
        rule = "who wins a tie depends on the order of the voters, so say so when you report it"
    return f"all {len(JURIES)} juries came out as they should; {rule}."


@exercise("give one share between 0 and 1: how often at least two of three jurors are right.")
def condorcet(answer: Any) -> str:
    """Check how often a majority of three independent jurors, each right 60 % of the time, is right (09)."""
    right = "0.648: three jurors of 60 % make a jury of 64.8 %, if they err independently."
    otherwise = "add the chance of exactly two right, 3 x 0.6 x 0.6 x 0.4, and of all three."
    mistakes = [
        (64.8, "this is a percentage; divide by 100, then you are right."),
        (0.216, "this is how often all three are right; a majority needs only two."),
        (0.432, "this is how often exactly two are right; add the case of all three."),
        (0.936, "this is how often at least one is right; a majority needs two."),
        (0.6, "this is a single juror."),
        (0.352, "this is how often the majority is wrong."),
        (0.36, "two jurors alone; the third may be right or wrong, and there are three ways to choose the two."),
    ]
    return settle(number(answer), 0.648, right, mistakes, otherwise, tolerance=0.0015, share=0.003)


@exercise("give your function itself, soften, not soften(...); it takes probabilities and a temperature.")
def soften(answer: Any) -> str:
    """Check a student's function: probabilities at another temperature, p ** (1 / T), summing to 1 (09)."""
    p = [0.64, 0.16, 0.16, 0.04]
    for temperature in (1, 2, 0.5):
        wanted = f"for {len(p)} probabilities your function should return {len(p)} numbers"
        given = numbers(result_of(answer, list(p), temperature), len(p), wanted, "it")
        powers, hotter = [x ** (1 / temperature) for x in p], [x**temperature for x in p]
        truth = [x / sum(powers) for x in powers]
        if near(given, truth):
            continue
        mistakes = [
            (powers, "divide by their sum, so that they make 1 again."),
            ([x / sum(hotter) for x in hotter], "that is p ** T; dividing the logarithm by T is p ** (1 / T)."),
            ([x / temperature for x in p], "divide the logarithms by T, not the probabilities."),
        ]
        wanted = "nothing may change" if temperature == 1 else f"the first is {truth[0]:.3f}"
        raise NotYet(reason(given, mistakes, f"at T = {temperature} {wanted}."))
    return "above 1 a temperature takes confidence away, below 1 it adds some; the order stays."


# --- notebook 18 ---


@exercise("give one whole number: the fewest votes with which the first of five jurors always wins.")
def dictator(answer: Any) -> str:
    """Check the smallest whole weight with which one of five voters overrules four others of weight 1 (18)."""
    votes = number(answer, "one whole number is wanted")
    if votes > 5:
        raise NotYet(f"{votes:g} votes do it, but fewer do too; how many can stand against the first?")
    right = "with 5 votes against 4 nobody can outvote the first juror: no longer a jury."
    otherwise = f"with {votes:g} votes the others can still outvote the first; think of all four agreeing."
    mistakes = [
        (4, "with 4 votes against 4 there is a tie when all others agree; one more is needed."),
        (3, "with 3 votes the four others win whenever they agree."),
    ]
    return settle(votes, 5, right, mistakes, otherwise, tolerance=0)


@exercise("give one share between 0 and 1: how often twelve fair coins fall at least as lopsided as 9 to 3.")
def lopsided(answer: Any) -> str:
    """Check the exact two-sided p-value of McNemar's test for 9 clips against 3 (18)."""
    right = "0.146: once in seven tries a fair coin is as lopsided as 9 against 3."
    otherwise = "add the ways to have 9, 10, 11 or 12 heads, double them for tails, and divide by 4,096."
    mistakes = [
        (14.6, "this is a percentage; divide by 100, then you are right."),
        (0.0730, "this is one direction only; 3 to 9 would surprise as much, so double it."),
        (0.1074, "this is exactly 9 to 3 or 3 to 9; add what is more lopsided still."),
        (0.0537, "this is exactly 9 heads; add 10, 11 and 12, then double for tails."),
        (0.0833, "this is the approximation by chi square, too kind to so few clips; count the coins."),
        (0.1489, "this is the approximation by chi square with its correction; near, but count the coins."),
        (0.75, "this is the share that A has won, and says nothing about luck."),
    ]
    return settle(number(answer), 0.1460, right, mistakes, otherwise, tolerance=0.001, share=0.007)


# --- notebook 10 ---


def _wilson(k: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval in plain Python: metrics has it too, and needs numpy."""
    p = k / n
    center, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (center - half) / (1 + z**2 / n), (center + half) / (1 + z**2 / n)


@exercise("give the lower and the upper end for 279 correct of 288, as a pair of shares between 0 and 1.")
def wilson(answer: Any) -> str:
    """Check the Wilson 95 % interval of 279 correct of 288 clips, a pair of shares (10)."""
    k, n = 279, 288
    truth, p = _wilson(k, n), k / n
    low, high = pair = numbers(answer, 2, "a pair (lower, upper) of numbers is wanted")
    if low > high:
        raise NotYet("the ends are swapped; the lower one comes first.")
    if high > 1.5:
        inside = near((low / 100, high / 100), truth)
        raise NotYet(f"these are percentages; divide by 100{', then you are right' if inside else ' first'}.")
    half = 1.959964 * math.sqrt(p * (1 - p) / n)
    simple = p - half, p + half
    otherwise = f"check k = {k}, n = {n}, z = 1.96, and the root over all of p (1 - p) / n + z^2 / (4 n^2)."
    if near(pair, truth, 0.0051):
        otherwise = "close: keep at least three decimals."
    elif not low <= p <= high:
        otherwise = f"the observed share, {p:.3f}, should lie between the ends."
    right = f"from {truth[0]:.1%} to {truth[1]:.1%}: one clip more or less ({1 / n:.1%}) is far inside it."
    mistakes = [
        (simple, "that is the simple interval p +- 1.96 sqrt(p (1 - p) / n), too high so near to 100 %."),
        (_wilson(k, n, z=1.644854), "that is the 90 % interval; use z = 1.96 for 95 %."),
        (_wilson(k, n, z=2.575829), "that is the 99 % interval; use z = 1.96 for 95 %."),
        (_wilson(n - k, n), "that is the interval of the 9 mistakes; count the correct clips."),
    ]
    return settle(pair, truth, right, mistakes, otherwise)


@exercise("give three numbers between 0 and 1, the corrected p of 0.04, 0.01 and 0.03, in this order.")
def holm(answer: Any) -> str:
    """Check Holm's correction of p = 0.04, 0.01 and 0.03: 0.06, 0.03, 0.06 (10)."""
    right = "0.06, 0.03, 0.06: of three differences below 0.05 one is left."
    otherwise = "0.01 times 3, then 0.03 times 2, then 0.04 times 1; but never below the last."
    mistakes = [
        ((0.04, 0.03, 0.06), "0.04 would stand below the 0.06 of a smaller p value; lift it to 0.06."),
        ((0.12, 0.03, 0.09), "that is Bonferroni, each times 3; Holm multiplies the second smallest by 2 only."),
        ((0.03, 0.06, 0.06), "these are in the order of size; give them in the order 0.04, 0.01, 0.03."),
        ((0.04, 0.01, 0.03), "these are the uncorrected ones; multiply the smallest by 3, the next by 2."),
    ]
    given = numbers(answer, 3, "three numbers are wanted, like (0.1, 0.2, 0.3)")
    return settle(given, (0.06, 0.03, 0.06), right, mistakes, otherwise)


@exercise("give the pair (accuracy, unweighted average recall), two shares between 0 and 1.")
def two_averages(answer: Any) -> str:
    """Check accuracy and UAR of 81 of 90 calm clips right and 4 of 10 angry ones (10)."""
    pair = numbers(answer, 2, "a pair (accuracy, UAR) of numbers is wanted")
    right = "85 of 100 clips, but (90 % + 40 %) / 2 = 65 %: the small class counts in full."
    otherwise = "accuracy is the share of all 100 clips that are right: 81 + 4 of them."
    if near(pair[0], 0.85):
        otherwise = "UAR is the plain mean of two recalls, 81 of 90 and 4 of 10."
    mistakes = [
        ((0.65, 0.85), "you have the two the other way round, as the paper has their names."),
        ((85, 65), "these are percentages; divide by 100, then you are right."),
    ]
    return settle(pair, (0.85, 0.65), right, mistakes, otherwise)


@exercise("give one whole number: the fewest clips, all won by the same system, with p below 0.05.")
def one_sided_clips(answer: Any) -> str:
    """Check how many clips only one system must get right, the other none, for McNemar p < 0.05 (10)."""
    n = number(answer, "one whole number is wanted")
    if n > 6:
        raise NotYet(f"{n:g} to nothing is enough, but fewer are too; p = 2 x 0.5 ** n.")
    right = "six to nothing gives p = 0.031; the single clip between 279 and 278 gives p = 1."
    otherwise = f"{n:g} to nothing is like {n:g} tosses of a coin on one side: too easily luck."
    mistakes = [(5, "five to nothing gives 2 x 0.5 ** 5 = 0.0625, not yet below 0.05; did you double?")]
    return settle(n, 6, right, mistakes, otherwise, tolerance=0)


# --- notebook 11 ---


@exercise("give the two numbers of clips nearest to 288, one below and one above, as a pair.")
def whole_actors(answer: Any) -> str:
    """Check the sizes nearest 288 of a test part made of whole actors with 60 clips each (11)."""
    pair = list(answer) if isinstance(answer, (set, frozenset)) else answer
    pair = sorted(numbers(pair, 2, "a pair of numbers of clips is wanted, like (100, 200)"))
    right = "4 actors have 240 clips and 5 have 300; no number of whole actors has 288."
    otherwise = "a part made of whole actors has 60, 120, 180, ... clips; which two enclose 288?"
    if 288 in pair:
        otherwise = "288 / 60 is 4.8, so 288 clips are no whole number of actors."
    mistakes = [((4, 5), "these are the numbers of actors; give their clips, 60 each.")]
    return settle(pair, (240, 300), right, mistakes, otherwise, tolerance=0)


@exercise("give your function itself, heard_before, not heard_before(...); it takes train and test.")
def heard_before(answer: Any) -> str:
    """Check a student's function: the share of test clips whose actor is in train, on three tiny splits (11)."""
    import pandas as pd

    for known, judged in (
        (["01", "02"], ["03", "04"]),
        (["01", "02", "03"], ["01", "02", "02"]),
        (["01", "01", "02"], ["01", "01", "01", "03"]),
    ):
        train, test = (pd.DataFrame({"actor": actors}) for actors in (known, judged))
        where = f"for train with actors {', '.join(known)} and test with {', '.join(judged)} "
        given = number(result_of(answer, train, test, where=where), f"{where}one number is wanted", "your function")
        clips, actors = ([actor in known for actor in some] for some in (judged, set(judged)))
        truth = sum(clips) / len(clips)
        if not near(given, truth, 1e-6):
            mistakes = [
                (100 * truth, "; give a share between 0 and 1."),
                (sum(actors) / len(actors), "; count clips, not actors."),
                (sum(clips), "; divide by the number of test clips."),
            ]
            why = reason(given, mistakes, ".", 1e-6)
            raise NotYet(f"{where}the share is {truth:g}, yours gave {given:g}{why}")
    return "0 for a split by actor, 1 where every voice is known, and right in between."
