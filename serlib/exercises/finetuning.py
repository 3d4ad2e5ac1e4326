"""Checks of the exercises of the part "Fine-tuning": notebooks 13 and 03 to 08."""

import math
import statistics
from typing import TYPE_CHECKING, Any

from serlib.exercises.verdicts import (
    NotYet,
    array_of,
    exercise,
    kind_of,
    near,
    number,
    numbers,
    reason,
    result_of,
    sequence,
    settle,
)

if TYPE_CHECKING:
    import pandas as pd

# --- notebook 03 ---

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


@exercise("put 32,000 samples through the seven convolutions, one after the other, and give the number of frames.")
def frames(answer: Any) -> str:
    """Check how many frames the convolutions make of 2 s of sound (03)."""
    stages = [32_000]
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        stages.append((stages[-1] - kernel) // stride + 1)
    right = "99 and not 100: a frame needs 400 samples, so the last 240 of the clip make none."
    otherwise = "a layer makes (n - kernel) // stride + 1 numbers out of n; start with n = 32,000."
    mistakes = [
        *(
            (n, f"that is what stands after {done} of the 7 convolutions; go on from there.")
            for done, n in enumerate(stages[:-1])
        ),
        (100, "32,000 / 320 is 100, but a frame needs 400 samples; has the 100th as many left?"),
        (80, "that is samples / 400; frames overlap, and a new one starts every 320 samples."),
    ]
    return settle(number(answer, "one whole number is wanted"), stages[-1], right, mistakes, otherwise, tolerance=0)


@exercise("give your function itself; it takes a list of kernels and a list of strides and returns samples.")
def field(answer: Any) -> str:
    """Check a student's receptive field function on four small stacks (03)."""
    stacks = [((3,), (2,), 3), ((3, 3), (1, 1), 5), ((3, 3), (2, 2), 7), (KERNELS, STRIDES, 400)]
    for kernels, strides, truth in stacks:
        given = result_of(answer, list(kernels), list(strides))
        given = number(given, "your function should return one number, of samples", "it")
        if given != truth:
            mistakes = [
                (sum(kernels), "the kernels were added up; a kernel counts in steps of all strides before it."),
                (math.prod(strides), "that is how far apart two frames start, not how much one of them hears."),
                (math.prod(kernels), "the kernels were multiplied."),
                (truth + 1, "one too many; start with 1 sample before the first layer."),
            ]
            otherwise = "start at 1 and add (kernel - 1) x the product of the strides before, layer by layer."
            name = f"kernels {', '.join(map(str, kernels))} with strides {', '.join(map(str, strides))}"
            why = reason(given, mistakes, otherwise)
            raise NotYet(f"for {name} the field is {truth} samples and yours {given:g}: {why}")
    return "the seven layers hear 400 samples, 25 ms; each layer reaches further than the one before."


# --- notebook 04 ---


@exercise("give your function itself; it takes a history and returns the step to keep.")
def best_step(answer: Any) -> str:
    """Check a student's choice of a step on two hand-made histories, one with a draw (04)."""
    import pandas as pd

    columns = ["step", "eval_loss", "eval_accuracy"]
    plain = pd.DataFrame([(100, 1.2, 0.5), (200, 0.6, 0.7), (300, 0.9, 0.8), (400, 1.1, 0.75)], columns=columns)
    draw = pd.DataFrame([(50, 1.0, 0.6), (100, 0.8, 0.9), (150, 0.7, 0.85), (200, 0.9, 0.9)], columns=columns)
    for history, truth in ((plain, 300), (draw, 100)):
        given = number(result_of(answer, history.copy()), "your function should return one number, a step", "it")
        if given != truth:
            row = history[history["step"] == truth].iloc[0]
            equals = history.loc[history["eval_accuracy"] == row["eval_accuracy"], "step"]
            mistakes = [
                (row.name, "that is the row's number; the column step is wanted."),
                (row["eval_accuracy"], "that is the accuracy itself; the step is wanted."),
                (equals.iloc[-1], "that is the latest of equals; the earliest cost less and moved the weights less."),
                (history.loc[history["eval_loss"].idxmin(), "step"], "that is the step of the lowest loss."),
                (history["step"].iloc[-1], "that is the last one."),
            ]
            steps = ", ".join(map(str, history["step"]))
            why = reason(given, mistakes, "look for the highest eval_accuracy.")
            raise NotYet(f"the best of {steps} is {truth}, not {given:g}: {why}")
    return "the highest validation accuracy, and the earliest of equals: as serlib does it."


@exercise("give two numbers: the mean loss early, when 8 of 10 are right, and late, when 9 of 10 are.")
def losses(answer: Any) -> str:
    """Check the mean cross-entropy of two hand-made sets of ten clips (04)."""
    sets = [0.7] * 8 + [0.25] * 2, [0.99] * 9 + [0.001]
    truth = early, late = [-statistics.mean(map(math.log, clips)) for clips in sets]
    means = [statistics.mean(clips) for clips in sets]
    right = f"{early:.2f} early and {late:.2f} late: one more clip is right, and yet the loss rose."
    otherwise = "take -math.log of the probability of the truth for each of the ten clips, then the mean."
    mistakes = [
        ((late, early), "the two are swapped; early comes first."),
        ((-early, -late), "a loss is positive: the minus sign is missing."),
        ((10 * early, 10 * late), "that is the sum over the ten clips; take the mean."),
        ((early / math.log(2), late / math.log(2)), "that is the logarithm to base 2; the loss takes the natural one."),
        (
            (early / math.log(10), late / math.log(10)),
            "that is the logarithm to base 10; the loss takes the natural one.",
        ),
        (means, "that is the mean probability; take -log of each one first."),
        ([-math.log(mean) for mean in means], "take the logarithm of each clip first, then the mean."),
    ]
    return settle(
        numbers(answer, 2, "two numbers are wanted, early and late"), truth, right, mistakes, otherwise, tolerance=0.006
    )


# --- notebook 05 ---


@exercise("give the share of the batch that is padding, between 0 and 1, for clips of 2.0, 2.1, 2.2 and 6.0 s.")
def padding_share(answer: Any) -> str:
    """Check the share of padding in a batch of four clips (05)."""
    seconds = (2.0, 2.1, 2.2, 6.0)
    whole, real = 4 * max(seconds), sum(seconds)
    truth = 1 - real / whole
    right = f"{truth:.1%} of the work is spent on zeros, because of one long clip."
    otherwise = "all four clips become 6.0 s long: how much of 4 x 6.0 s is not sound?"
    mistakes = [
        (100 * truth, "that is a percentage; divide by 100, then you are right."),
        (real / whole, "that is the share that is sound; the rest is padding."),
        (whole - real, "those are the seconds of padding; divide by all seconds of the batch."),
        ((whole - real) / real, "that is padding for each second of sound; divide by the whole batch, 4 x 6.0 s."),
    ]
    return settle(number(answer), truth, right, mistakes, otherwise, tolerance=0.006, share=0.01)


@exercise("give your function itself; it takes frames (n x d) and a mask (n), and returns d numbers.")
def masked_mean(answer: Any) -> str:
    """Check a student's mean over the frames that are not padding (05)."""
    import numpy as np

    table = np.array([[1.0, 10.0], [3.0, 20.0], [100.0, 100.0]])
    for mask in ([1, 1, 0], [1, 1, 1], [1, 0, 0]):
        given = array_of(answer, table.copy(), np.array(mask))
        if given.shape != (2,):
            raise NotYet(f"for 3 frames of 2 numbers, 2 numbers are wanted; yours has shape {given.shape}.")
        kept = table * np.array(mask)[:, None]
        if not near(given, kept.sum(0) / sum(mask), 1e-3):
            mistakes = [
                (table.mean(0), "the padding was averaged too."),
                (kept.sum(0), "that is the sum; divide by the number of frames that count."),
                (kept.mean(0), "the padding was set to 0 but still counted; divide by mask.sum(), not by all frames."),
            ]
            why = reason(given, mistakes, "the frames where the mask is 1 should count, and only those.")
            raise NotYet(f"with the mask {mask} it gave {np.round(given, 2).tolist()}: {why}")
    return "whatever stands in the padding, the mean does not hear it."


# --- notebook 06 ---


@exercise("give the gigabytes (1e9 bytes) for weights, gradients and two Adam averages of 315.4 million weights.")
def training_memory(answer: Any) -> str:
    """Check the memory that a full fine-tuning of 315.4 M weights needs before any sound (06)."""
    weights = 315.4e6 * 4 / 1e9
    right = "four numbers for each weight, 4 bytes each: 5.0 GB, and the activations come on top."
    otherwise = "multiply 315.4e6 weights by 4 numbers each and 4 bytes a number, and divide by 1e9."
    mistakes = [
        (weights, "that holds the weights alone; add gradients and Adam's two averages, each as large."),
        (2 * weights, "weights and gradients are there; Adam keeps two more numbers for each weight."),
        (3 * weights, "one is missing: weights, gradients, and two averages of Adam make four."),
        (8 * weights, "float32 takes 4 bytes, not 8."),
        (4 * weights / 1.073741824, "that is in GiB (2^30 bytes); in units of 1e9 bytes you are right."),
        (4 * weights * 1000, "that is in MB; divide by 1,000."),
        (4 * weights * 1e9, "that is in bytes; divide by 1e9."),
    ]
    return settle(
        number(answer, "one number is wanted, in GB"),
        4 * weights,
        right,
        mistakes,
        otherwise,
        tolerance=0.06,
        share=0.01,
    )


SEEDS = (0.901, 0.927, 0.885, 0.917, 0.906)


@exercise("give the mean and the standard deviation of the five accuracies, as a pair.")
def spread(answer: Any) -> str:
    """Check mean and sample standard deviation of five hand-made accuracies (06)."""
    truth = mean, deviation = statistics.mean(SEEDS), statistics.stdev(SEEDS)
    pair = numbers(answer, 2, "two numbers are wanted, the mean and the deviation")
    otherwise = "the mean is not right: add the five accuracies and divide by 5."
    if near(pair[0], mean):
        mistakes = [
            (
                statistics.pstdev(SEEDS),
                "you divided by 5; five runs that stand for all the others need n - 1 = 4 (ddof=1).",
            ),
            (deviation / math.sqrt(5), "that is the error of the mean; single runs spread more, so no root of 5."),
            (deviation**2, "that is the variance; take its root."),
            (max(SEEDS) - min(SEEDS), "that is the distance from the worst to the best."),
        ]
        why = "for the deviation use statistics.stdev, or numpy's std with ddof=1."
        otherwise = f"the mean is right; {reason(pair[1], mistakes, why, 0.0004)}"
    elif near((pair[0] / 100, pair[1] / 100), truth):
        otherwise = "these are percentages; divide by 100, then you are right."
    right = f"{mean:.1%} with a deviation of {deviation * 100:.1f} points: a lead of one point means nothing."
    swapped = [((deviation, mean), "the two are swapped; the mean comes first.")]
    return settle(pair, truth, right, swapped, otherwise)


# --- notebook 07 ---


def _xlarge_counts() -> "pd.DataFrame":
    from serlib.judge import paper

    table = paper.per_class()
    return table[table["system"] == "hubert-xlarge"].set_index("emotion")


@exercise("give the unweighted average recall of the eight classes, between 0 and 1.")
def average_recall(answer: Any) -> str:
    """Check the UAR of the paper's HuBERT x-large from its printed counts (07)."""
    table = _xlarge_counts()
    truth, accuracy = table["recall"].mean(), table["correct"].sum() / table["support"].sum()
    right = f"{truth:.1%}, two points below the accuracy of {accuracy:.1%}: the 19 neutral clips count in full."
    otherwise = "correct / support for each emotion, then the mean of the eight."
    mistakes = [
        (100 * truth, "that is a percentage; divide by 100, then you are right."),
        (accuracy, "that is the accuracy, 259 of 288; take the recall of each class first, then their mean."),
        (table["precision"].mean(), "that is the mean precision; divide by the clips, not by the predictions."),
        (table["f1"].mean(), "that is the mean F1; only recall is wanted."),
        (table["recall"].sum(), "that is the sum of the recalls; divide by 8."),
        (table["recall"].median(), "that is the median; the mean is wanted."),
    ]
    return settle(number(answer), truth, right, mistakes, otherwise, share=0.001)


@exercise("give the emotion that is predicted too often, and its precision, as a pair.")
def overused(answer: Any) -> str:
    """Check which emotion the paper's HuBERT x-large predicts too often, and its precision (07)."""
    table = _xlarge_counts()
    emotion, precision = sequence(answer, 2, "a pair is wanted, the emotion and a number")
    emotion = str(emotion).strip().lower()
    if emotion not in table.index:
        raise NotYet(f"the first of the pair should be one of {', '.join(table.index)}.")
    row = table.loc[emotion]
    if emotion != "happy":
        counts = f"of {emotion} there are {row['support']} clips and {row['predicted']} predictions"
        raise NotYet(f"{counts}; look for the emotion with far more predictions than clips.")
    right = f"51 clips were called happy and 35 of them were: precision {row['precision']:.1%}."
    otherwise = "happy is right; its precision is correct / predicted."
    mistakes = [(row["recall"], "happy is right, but 35 of 38 is its recall; precision divides by the 51 predictions.")]
    return settle(
        number(precision, "happy is right; the second of the pair should be a number, its precision"),
        row["precision"],
        right,
        mistakes,
        otherwise,
        tolerance=0.006,
    )


# --- notebook 08 ---


@exercise("give three factors, for mean, sum and max, by which the pooled vector grows when a clip is said twice.")
def said_twice(answer: Any) -> str:
    """Check what mean, sum and max pooling do to frames that are repeated (08)."""
    given = numbers(answer, 3, "three numbers are wanted, for mean, sum and max")
    for name, factor, truth, why in (
        ("mean", given[0], 1, "twice the sum over twice as many frames is what it was"),
        ("sum", given[1], 2, "every frame is added twice"),
        ("max", given[2], 1, "the largest value is the largest, however often it comes"),
    ):
        if not near(factor, truth, 0.05):
            raise NotYet(f"the {name} does not grow by {factor:g}: {why}.")
    return "1, 2, 1: only the sum hears how long a clip is."


@exercise("give the two-sided p value when 14 clips are right only in A and 5 only in B.")
def mcnemar(answer: Any) -> str:
    """Check McNemar's exact p value for 14 clips against 5 (08, 10)."""
    tail = sum(math.comb(19, k) for k in range(6)) / 2**19
    right = f"p = {2 * tail:.3f}: nine clips more, and still no proof at the usual 5 %."
    otherwise = "toss a fair coin 19 times: how likely are 5 heads or fewer, or 14 or more?"
    mistakes = [
        (tail, "that is one side; either of the two could have been ahead, so double it."),
        (math.erfc(math.sqrt(81 / 19 / 2)), "that is the chi-square approximation; with 19 clips count exactly."),
        (
            math.erfc(math.sqrt(64 / 19 / 2)),
            "that is chi-square with correction, close; with 19 clips count exactly.",
        ),
        (2 * (tail - math.comb(19, 5) / 2**19), "the 5 itself belongs to the tail: 0 to 5, not 0 to 4."),
        (1 - 2 * tail, "that is one minus the p value."),
        (200 * tail, "that is a percentage; divide by 100, then you are right."),
    ]
    return settle(number(answer), 2 * tail, right, mistakes, otherwise, share=0.01)


# --- notebook 13 ---


@exercise("give the loss of a line-up with cosines 0.9 (the true code), 0.7 and 0.2 at temperature 0.1.")
def line_up(answer: Any) -> str:
    """Check the contrastive loss of one hand-made line-up (13)."""

    def loss(temperature: float) -> float:
        return math.log(sum(math.exp((cosine - 0.9) / temperature) for cosine in (0.9, 0.7, 0.2)))

    truth = loss(0.1)
    right = f"{truth:.3f}: the true code gets {math.exp(-truth):.0%} of the probability."
    otherwise = "divide the cosines by 0.1, take the softmax, and -log of what the true code gets."
    mistakes = [
        (math.exp(-truth), "that is the probability of the true code; the loss is -log of it."),
        (-truth, "a loss is positive: the minus sign is missing."),
        (truth / math.log(2), "that is the logarithm to base 2; the loss takes the natural one."),
        (loss(1.0), "the temperature was left out; divide each cosine by 0.1 first."),
        (loss(10.0), "the cosines were multiplied by the temperature; divide them by 0.1."),
        (math.log(math.exp(-2) + math.exp(-7)), "the true code belongs into the sum below the line too."),
    ]
    return settle(number(answer), truth, right, mistakes, otherwise, tolerance=0.0015)


@exercise('give your function itself; it takes a list of names with blanks "-" and returns a list without them.')
def collapse(answer: Any) -> str:
    """Check a student's reading of CTC's frame labels on five small sequences (13)."""

    def merged(names: str) -> list[str]:
        return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]

    for names in ("kk-ii-dz", "--d-oo-g--", "l-l", "aabbb", "---"):
        truth, bare = [name for name in merged(names) if name != "-"], names.replace("-", "")
        given = result_of(answer, list(names))
        if not isinstance(given, (list, tuple)):
            raise NotYet(f"a list is wanted; for {names!r} your function gave {kind_of(given)}.")
        given = list(map(str, given))
        if given != truth:
            if "-" in given:
                why = "a blank was left"
            elif given == list(bare):
                why = "repeated names were kept"
            elif given == merged(bare):
                why = "the blanks were dropped before the repetitions, so a name said twice is lost"
            else:
                why = "merge equal neighbors first, then drop the blanks"
            raise NotYet(f"{names!r} reads {''.join(truth)!r}, and yours {''.join(given)!r}: {why}.")
    return "repetitions first, blanks after: that is how every CTC model is read."


@exercise("give your function itself; it takes an array of phones and one of groups, and returns a share.")
def purity(answer: Any) -> str:
    """Check a student's cluster purity on three small tables (13)."""
    import numpy as np
    import pandas as pd

    for phones, groups in (("aabb", [0, 0, 1, 1]), ("aabbb", [0, 0, 0, 1, 1]), ("abcaab", [0, 0, 0, 1, 1, 1])):
        phone, group = np.array(list(phones)), np.array(groups)
        table = pd.crosstab(phone, group)
        truth = table.max().sum() / len(phones)
        wanted = "your function should return one number, a share between 0 and 1"
        given = number(result_of(answer, phone, group), wanted, "it")
        if not near(given, truth):
            mistakes = [
                (table.max().sum(), "that is the count; divide it by the number of frames."),
                (table.max(axis=1).sum() / len(phones), "that is by phone; for each group take its top phone."),
                ((table.max() / table.sum()).mean(), "that is the mean over groups; large ones should count for more."),
                (table.to_numpy().max() / len(phones), "that is the largest group alone; add up over all groups."),
            ]
            otherwise = "for each group take its most frequent phone, add those counts, divide by all frames."
            pieces = f"phones {' '.join(phones)} in groups {' '.join(map(str, groups))}"
            why = reason(given, mistakes, otherwise)
            raise NotYet(f"for {pieces} the purity is {truth:.2f} and yours {given:.2f}: {why}")
    return "and it is 1 for a group per frame, so look at the number of groups beside it."
