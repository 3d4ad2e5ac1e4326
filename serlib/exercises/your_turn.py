"""Checks of the exercises of the part "Your turn": notebooks 12 and 14 to 17."""

from typing import Any

from serlib.exercises.verdicts import (
    NotYet,
    array_of,
    exercise,
    kind_of,
    near,
    number,
    reason,
    result_of,
    settle,
    settle_letters,
)


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


@exercise("give the weight that the server has after the round, one number.")
def averaged(answer: Any) -> str:
    """Check the average of 1, 2 and 4 from clients with 10, 30 and 60 clips: 3.1 (17)."""
    return settle(
        number(answer),
        3.1,
        "ten hundredths of 1, thirty of 2 and sixty of 4.",
        [
            (7 / 3, "that is the plain mean; FedAvg lets a client count by its clips."),
            (310, "that is the sum over the clips; divide it by the 100 clips."),
            (0.1 * 4 + 0.3 * 2 + 0.6 * 1, "the largest client sent 4.0, not 1.0; the order got mixed up."),
        ],
        "multiply each weight by the clips of its client, add up, and divide by all clips.",
    )


@exercise("give the terabytes of all rounds together, a number.")
def traffic(answer: Any) -> str:
    """Check the terabytes of 24 clients, 100 rounds, 94.4 million weights of 4 bytes, both ways: 1.81 (17)."""
    one = 94.4e6 * 4 * 24 * 100 / 1e12
    return settle(
        number(answer),
        2 * one,
        "2,400 messages each way, of 378 MB each.",
        [
            (one, "that is one way only; the weights go out and come back."),
            (2 * one / 4, "a weight has 4 bytes."),
            (2 * one / 24, "that is one client; there are 24."),
            (2 * one / 100, "that is one round; there are 100."),
            (2 * one * 1e12, "those are bytes; divide by 1e12."),
            (2 * one * 1000, "those are gigabytes; divide by 1,000."),
            (2 * one * 8, "those are terabits; a byte has 8 bits."),
        ],
        "multiply weights, bytes, clients, rounds and the two ways, then divide by 1e12.",
        tolerance=0.01 * 2 * one,
        share=0.01,
    )


@exercise("give your function itself, snr; it takes the samples of a voice and of a noise, and returns dB.")
def snr(answer: Any) -> str:
    """Check a student's signal-to-noise ratio in dB: ten times the logarithm of the ratio of mean powers (14)."""
    import numpy as np

    random = np.random.default_rng(14)
    noise = random.standard_normal(4000)
    for voice, hiss in ((0.5 * noise, 0.05 * random.standard_normal(8000)), (noise, noise), (0.1 * noise, noise)):
        ratio = np.mean(voice**2) / np.mean(hiss**2)
        given = number(result_of(answer, voice.copy(), hiss.copy()), "one number of dB is wanted", "your function")
        if not near(given, 10 * np.log10(ratio), 0.01):
            mistakes = [
                (-10 * np.log10(ratio), "that is the noise over the voice; the voice comes first."),
                (
                    5 * np.log10(ratio),
                    "that is ten times the logarithm of amplitudes; take powers, which are squared.",
                ),
                (20 * np.log10(ratio), "20 goes with amplitudes; a ratio of powers takes 10."),
                (10 * np.log(ratio), "that is the natural logarithm; dB take the one to base 10."),
                (ratio, "that is the ratio itself; ten times its logarithm to base 10 makes it dB."),
                (
                    10 * np.log10(np.sum(voice**2) / np.sum(hiss**2)),
                    "sums grow with the length of a clip; compare mean powers.",
                ),
            ]
            raise NotYet(reason(given, mistakes, "divide the mean of the squares of both, then 10 log10.", 0.01))
    return "at 0 dB voice and noise are equally strong, and each 10 dB are a factor of ten in power."


@exercise('give the letters of the changes that a mini twin cannot notice, like {"c", "e"}.')
def unnoticed(answer: Any) -> str:
    """Check which changes vanish where each clip is brought to mean 0 and variance 1: a and d (14)."""
    return settle_letters(
        answer,
        "ad",
        "what multiplies every sample alike is divided away again.",
        {
            "a": "a multiplies every sample by the same number, and the normalization divides by it",
            "d": "d multiplies every sample by the same number, and the normalization divides by it",
            "b": "b cuts peaks off, which changes the shape of the wave and not only its size",
            "c": "c takes frequencies away, and no division brings them back",
            "e": "e adds echoes, which last longer than the voice",
        },
    )


@exercise("give your function itself, reweighed; it takes three lists of shares and returns one.")
def reweighed(answer: Any) -> str:
    """Check a student's correction of probabilities for other shares of the classes (16).

    Bayes' rule with the old prior divided out: Saerens, Latinne and Decaestecker (2002, section 2.2).
    """
    import numpy as np

    for said, taught, there in (
        ([0.6, 0.3, 0.1], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]),
        ([0.5, 0.5], [0.5, 0.5], [0.8, 0.2]),
        ([0.2, 0.8], [0.9, 0.1], [0.9, 0.1]),
    ):
        p, old, new = (np.array(shares) for shares in (said, taught, there))
        given = array_of(answer, p.copy(), old.copy(), new.copy())
        raw = p * new / old
        if not near(given, raw / raw.sum(), 0.001):
            mistakes = [
                (raw, "the numbers no longer sum to 1; divide them by their sum."),
                (p * new / (p * new).sum(), "the shares that were taught are still inside; divide by them."),
                (
                    p * old / new / (p * old / new).sum(),
                    "that is upside down: the new shares multiply, the old divide.",
                ),
                (p / old / (p / old).sum(), "the old shares are gone, and the new ones are missing; multiply by them."),
                (p, "nothing has changed yet; multiply by the new shares and divide by the old."),
            ]
            raise NotYet(reason(given, mistakes, "multiply by there, divide by taught, then by the sum.", 0.001))
    return "what the model knows of the sound stays, and what it assumed of the corpus is replaced."


@exercise("give your function itself, agreement; it takes what was said and what is true, and returns the CCC.")
def agreement(answer: Any) -> str:
    """Check a student's concordance correlation coefficient (16; Lin 1989)."""
    import numpy as np

    for said, true in (([0.1, 0.2, 0.2, 0.5], [0.0, 0.5, -0.5, 1.0]), ([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])):
        a, b = np.array(said), np.array(true)
        covariance, gap = np.mean((a - a.mean()) * (b - b.mean())), a.mean() - b.mean()
        given = number(result_of(answer, a.copy(), b.copy()), "one number is wanted", "your function")
        ccc = 2 * covariance / (a.var() + b.var() + gap**2)
        if not near(given, ccc, 0.001):
            mistakes = [
                (ccc / 2, "that is half of it: the covariance stands there twice."),
                (2 * covariance / (a.var() + b.var()), "the distance of the means is missing; add its square below."),
                (2 * covariance / (a.var() + b.var() + abs(gap)), "the distance of the means has to be squared."),
                (2 * covariance / (a.std() + b.std() + gap**2), "those are standard deviations; take variances."),
                (covariance / a.std() / b.std(), "that is correlation, which forgives a shift and a shrinking."),
            ]
            raise NotYet(
                reason(given, mistakes, "twice the covariance, over both variances and the gap squared.", 0.001)
            )
    return "it forgives nothing: a shift, a shrinking and a wrong order all cost."


@exercise("give your function itself, ring_mean; it takes the numbers of the nodes and returns as many.")
def ring_mean(answer: Any) -> str:
    """Check a student's plainest graph convolution: each node of a ring becomes the mean of its neighbors (15)."""
    import numpy as np

    for ring in ([0.0, 0.0, 6.0, 0.0], [1.0, 2.0, 4.0, 8.0, 16.0]):
        nodes = np.array(ring)
        before, after = np.roll(nodes, 1), np.roll(nodes, -1)
        truth, given = (before + after) / 2, array_of(answer, nodes.copy())
        if given.shape != nodes.shape:
            raise NotYet(f"{len(nodes)} numbers are wanted, one a node; yours has shape {given.shape}.")
        if near(given, truth, 1e-6):
            continue
        if near(given[1:-1], truth[1:-1], 1e-6):
            raise NotYet("in the middle it is right; at the ends the first node and the last are neighbors, in a ring.")
        mistakes = [
            (before + after, "that is the neighbors' sum; a node has two of them, so divide by 2."),
            ((before + nodes + after) / 3, "that counts the node itself too; only its two neighbors are asked."),
            (before, "that is the node before; the one after is a neighbor too."),
            (after, "that is the node after; the one before is a neighbor too."),
            (nodes, "that is what the nodes had before."),
        ]
        hint = f"for {ring} it should be {truth.tolist()}"
        raise NotYet(reason(given, mistakes, hint, 1e-6))
    return "what a node knows travels one step a layer, and nothing is lost at the ends, for a ring has none."


@exercise("give the number of weights of the layer, a whole number.")
def weights(answer: Any) -> str:
    """Check the weights of a 3 x 3 convolution from 16 to 32 channels with biases: 4,640 (15)."""
    return settle(
        number(answer),
        4640,
        "32 patches of 16 x 3 x 3, and 32 biases.",
        [
            (4608, "each of the 32 output channels has a bias too."),
            (32 * (9 + 1), "each patch reaches through all 16 channels that come in."),
            (16 * 9 + 1, "that is one output channel; there are 32."),
            (16 * (32 * 9 + 1), "in and out got mixed up: the 32 outputs have one bias each."),
            (32 * (16 * 3 + 1), "a patch is 3 x 3, nine cells, in each channel."),
        ],
        "for one output channel 16 channels of 3 x 3 cells and a bias, and then 32 of them.",
    )
