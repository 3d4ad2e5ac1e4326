"""Exercise checks: right answers pass, each usual mistake gets its own sentence, and nothing ever raises."""

import math
import re
from collections import Counter
from statistics import mode

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.preprocessing import StandardScaler

from serlib.exercises import check, finetuning, judging, sound, start, your_turn
from serlib.judge.dimensions import concordance

FIELDS = dict(emotion="angry", intensity="strong", statement=2, repetition=1, actor="12", sex="female")


def verdict(capsys, function, *answer) -> tuple[bool, str]:
    """Return what a check returned and the one line that it printed."""
    capsys.readouterr()
    result = function(*answer)
    out = capsys.readouterr().out
    assert isinstance(result, bool)
    assert out.count("\n") == 1 and out.endswith("\n")
    start = "Right: " if result else ("Not yet: ", "Not answered yet: ")
    assert out.startswith(start)
    return result, out.strip()


HEARD = pd.Series(["angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised"], list("abcdefgh"))
LENGTHS = pd.DataFrame(
    {"emotion": ["angry"] * 3 + ["calm"] * 3 + ["sad"] * 3, "seconds_active": [1.0, 1, 9, 2, 2, 2, 3, 3, 3]}
)
PARTS = (start, sound, finetuning, judging, your_turn)
CHECKS = [value for value in vars(check).values() if callable(value)]
KNOWN = {check.by_ear: (HEARD,), check.one_clip: (72,), check.slowest: (LENGTHS,)}  # what comes after the answer


def test_every_check_of_every_part_is_there_by_its_name():
    made = {name: one for part in PARTS for name, one in vars(part).items() if hasattr(one, "__wrapped__")}
    assert made == {one.__name__: one for one in CHECKS} and len(made) == 44


class Awkward:
    """An answer that cannot be compared, printed, iterated or called."""

    def __getattr__(self, name):
        raise RuntimeError("no")

    __iter__ = __call__ = __eq__ = __repr__ = __float__ = lambda self, *args: 1 / 0
    __hash__ = None


@pytest.mark.parametrize("function", CHECKS)
def test_no_answer_yet(capsys, function):
    def untouched(given, other=2):
        """Return what the exercise asks for."""
        return ...  # your code

    assert not verdict(capsys, function)[0]
    for nothing in (None, ..., untouched):
        ok, line = verdict(capsys, function, nothing, *KNOWN.get(function, ()))
        assert not ok and line.startswith("Not answered yet: ") and len(line) > 40


ODD = [
    0, -1.5, True, 3 + 4j, 10**400, float("nan"), "text", "", b"x", object(), pd.DataFrame(), pd.Series([1, 2]),
    np.zeros(3), np.zeros((2, 2)), np.array([["a"]]), np.array([np.nan, 1.0]), [], {}, set(), [1], [None] * 8,
    (..., ...), ("a", "b"), [None, 0.5], ["1", "2", "3"], [[1], [2]], [float("nan")] * 2, [float("inf"), 0],
    {"emotion": []}, {"a": 1, "b": 2}, {0.4, 0.6}, iter([0.4, 0.6]), range(2),
]  # fmt: skip


@pytest.mark.parametrize("function", CHECKS)
def test_an_odd_answer_gets_a_sentence_and_no_error_of_python(capsys, function):
    for answer in ODD:
        ok, line = verdict(capsys, function, answer, *KNOWN.get(function, ()))
        assert not ok and line.startswith("Not yet: ") and len(line) > 30, (answer, line)
        assert not re.search(r"\w+Error|Exception|stopped", line), (answer, line)


@pytest.mark.parametrize("function", CHECKS)
def test_an_odd_function_gets_a_sentence(capsys, function):
    def fails(*arguments):
        raise KeyError("x")

    for answer in (lambda: 1, print, Awkward, fails, *(lambda *_, odd=odd: odd for odd in ODD)):
        capsys.readouterr()
        assert function(answer, *KNOWN.get(function, ())) is False
        line = capsys.readouterr().out.splitlines()[-1]
        assert line.startswith("Not yet: ") and "stopped the check" not in line, line


@pytest.mark.parametrize("function", CHECKS)
def test_not_even_an_awkward_answer_raises(capsys, function):
    assert verdict(capsys, function, Awkward(), *KNOWN.get(function, ()))[0] is False


@pytest.mark.parametrize(
    "change",
    [{}, {"actor": 12}, {"statement": "Dogs are sitting by the door"}, {"statement": "02"},
     {"emotion": "Angry "}, {"repetition": "01"}, {"modality": "audio-only"}],
)  # fmt: skip
def test_clip_fields_right(capsys, change):
    assert verdict(capsys, check.clip_fields, FIELDS | change)[0]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"emotion": "fearful"}, "from 00"),
        ({"emotion": "sad"}, "one code short"),
        ({"emotion": "happy"}, "alphabet"),
        ({"emotion": "calm"}, "third"),
        ({"emotion": "05"}, "third pair"),
        ({"emotion": None}, "lacks emotion"),
        ({"intensity": "normal"}, "fourth pair"),
        ({"statement": 1}, "dogs"),
        ({"statement": 3}, "fifth pair"),
        ({"repetition": 2}, "sixth pair"),
        ({"actor": 11}, "last pair"),
        ({"sex": "male"}, "even"),
    ],
)
def test_clip_fields_wrong(capsys, change, said):
    ok, line = verdict(capsys, check.clip_fields, FIELDS | change)
    assert not ok and said in line


def test_clip_fields_wants_a_dictionary(capsys):
    assert "a str" in verdict(capsys, check.clip_fields, "angry")[1]
    assert "an int" in verdict(capsys, check.clip_fields, 5)[1]


def alphabetical(labels):
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))


@pytest.mark.parametrize(
    "function, rule",
    [
        (alphabetical, "alphabetically first"),
        (lambda labels: pd.Series(labels).mode()[0], "alphabetically first"),
        (lambda labels: max(sorted(set(labels), reverse=True), key=labels.count), "whoever votes first"),
        (mode, "order of the voters"),  # the standard library takes the first it meets
    ],
)
def test_majority_right(capsys, function, rule):
    ok, line = verdict(capsys, check.majority, function)
    assert ok and rule in line


def more_than_half(labels):
    return next((label for label in labels if labels.count(label) * 2 > len(labels)), None)


@pytest.mark.parametrize(
    "function, said",
    [
        (more_than_half, "more than half"),
        (lambda labels: None, "return missing"),
        (lambda labels: max(Counter(labels).values()), "not a number"),
        (lambda labels: pd.Series(labels).mode(), "a Series"),
        (lambda labels: Counter(labels).most_common(1), "a list"),
        (lambda labels: min(labels), "alphabetically first"),
        (lambda labels: labels[0], "first voter"),
        (lambda labels: "neutral", "nobody said"),
        (lambda labels: labels["a"], "TypeError"),
    ],
)
def test_majority_wrong(capsys, function, said):
    ok, line = verdict(capsys, check.majority, function)
    assert not ok and said in line


def test_majority_wants_the_function_itself(capsys):
    assert "without calling it" in verdict(capsys, check.majority, "sad")[1]


# 279 of 288 by hand: center (p + z2/2n) / (1 + z2/n), half width z / (1 + z2/n) sqrt(pq/n + z2/4n2), z = 1.96
@pytest.mark.parametrize("answer", [(0.9417, 0.9835), [0.942, 0.984], pd.Series([0.94170, 0.98347])])
def test_wilson_right(capsys, answer):
    ok, line = verdict(capsys, check.wilson, answer)
    assert ok and "94.2%" in line and "98.3%" in line


@pytest.mark.parametrize(
    "answer, said",
    [
        ((94.2, 98.4), "divide by 100, then you are right"),
        ((50, 60), "divide by 100 first"),
        ((0.9835, 0.9417), "swapped"),
        ((0.9487, 0.9888), "simple interval"),
        ((0.9470, 0.9817), "90 % interval"),
        ((0.0165, 0.0583), "mistakes"),
        ((0.94, 0.98), "three decimals"),
        ((0.5, 0.6), "between the ends"),
        ((0.90, 0.99), "the root"),
        (0.94, "a pair"),
        ((0.94, 0.96, 0.98), "a pair"),
        ((0.94, float("nan")), "not finite"),
    ],
)
def test_wilson_wrong(capsys, answer, said):
    ok, line = verdict(capsys, check.wilson, answer)
    assert not ok and said in line


# --- notebook 00 ---


def test_by_ear_right(capsys):
    assert "8 of 8" in verdict(capsys, check.by_ear, list(HEARD), HEARD)[1]
    ok, line = verdict(capsys, check.by_ear, ["Angry", *["calm"] * 2, *HEARD[3:]], HEARD)
    assert ok and "7 of 8" in line and "heard calm where disgust" in line


@pytest.mark.parametrize(
    "answer, said",
    [
        (["calm"] * 8, "1 of 8"),
        (["calm"] * 7, "names 7"),
        ("calm", "a str"),
        (8, "an int"),
        (["furious"] * 8, "'furious'"),
        ([None] * 8, "'none'"),
    ],
)
def test_by_ear_wrong(capsys, answer, said):
    ok, line = verdict(capsys, check.by_ear, answer, HEARD)
    assert not ok and said in line


def test_one_clip(capsys):
    for right in (100 / 72, 1.39, 1.4):
        assert verdict(capsys, check.one_clip, right, 72)[0]
    for answer, said in [(1 / 72, "a share"), (0.72, "upside down"), (72, "how many test clips"), (12.5, "chance"),
                         (5, "same part"), ("1.4", "a str")]:  # fmt: skip
        ok, line = verdict(capsys, check.one_clip, answer, 72)
        assert not ok and said in line


# --- notebook 01 ---


def test_slowest(capsys):
    assert verdict(capsys, check.slowest, " Sad", LENGTHS)[0]
    for answer, said in [("angry", "shortest"), ("calm", "2.00 s"), ("slow", "one of"), (3, "as text")]:
        ok, line = verdict(capsys, check.slowest, answer, LENGTHS)
        assert not ok and said in line
    longest = LENGTHS.assign(emotion=LENGTHS["emotion"].replace({"angry": "calm", "calm": "angry"}))
    longest.loc[3:5, "seconds_active"] = 0.5
    assert "longest single clip" in verdict(capsys, check.slowest, "calm", longest)[1]


def in_place(samples):
    samples -= samples.mean()
    return samples / (samples.std() + 1e-7)


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda x: x - x.mean(), "too"),
        (lambda x: x / x.std(), "mean first"),
        (lambda x: (x - x.mean()) / x.var(), "square root"),
        (lambda x: x / abs(x).max(), "peak"),
        (lambda x: (x - x.mean()) / x.std(), "silence"),
        (lambda x: (x - x.mean()) / 0.5, "deviation"),
        (lambda x: x.mean(), "shape"),
        (lambda x: print(end=""), "return"),
        (in_place, "new array"),
        ([0.0], "without calling"),
    ],
)
def test_normalize(capsys, function, said):
    assert verdict(capsys, check.normalize, lambda x: (x - x.mean()) / (x.std() + 1e-7))[0]
    ok, line = verdict(capsys, check.normalize, function)
    assert not ok and said in line


# --- notebook 02 ---


@pytest.mark.parametrize(
    "answer, said",
    [
        (12.5, "divide by 100"),
        (39 / 288, "that is the accuracy"),
        (13.5, "accuracy in percent"),
        (1, "calm alone"),
        (0, "not 0"),
        (1 / 7, "eight classes"),
        (0.6, "write down"),
        ("1/8", "a str"),
    ],
)
def test_constant_uar(capsys, answer, said):
    assert verdict(capsys, check.constant_uar, 0.125)[0]
    ok, line = verdict(capsys, check.constant_uar, answer)
    assert not ok and said in line


@pytest.mark.parametrize("answer", [{"a", "c", "d"}, ["D", "c", "a"], "acd", "a, c, d"])
def test_leaks_right(capsys, answer):
    assert verdict(capsys, check.leaks, answer)[0]


@pytest.mark.parametrize(
    "answer, said",
    [
        ({"a", "c"}, "missing: the louder copy"),
        ({"a", "d"}, "missing: c looked"),
        ({"c", "d"}, "missing: the mean"),
        ("abcd", "too many: b"),
        ("acde", "too many: e"),
        ("xyz", "from a to e"),
        (3, "an int"),
    ],
)
def test_leaks_wrong(capsys, answer, said):
    ok, line = verdict(capsys, check.leaks, answer)
    assert not ok and said in line


def scaled(train, other):
    return StandardScaler().fit(train).transform(other)


def scaled_in_place(train, other):
    train -= train.mean(axis=0)
    return other


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda train, other: (other - other.mean(0)) / other.std(0), "that is the leak"),
        (lambda train, other: (other - train.mean(0)) / train.std(0), "constant in training"),
        (lambda train, other: (other - train.mean(0)) / train.std(0, ddof=1), "n - 1"),
        (lambda train, other: (other - train.mean()) / train.std(), "axis=0"),
        (lambda train, other: other - train.mean(0), "now divide"),
        (lambda train, other: other / np.maximum(train.std(0), 1e-9), "before you divide"),
        (lambda train, other: other, "subtract the column means"),
        (lambda train, other: train, "shape"),
        (lambda train, other: None, "return missing"),
        (scaled_in_place, "changed the training array"),
        (3, "without calling it"),
    ],
)
def test_standardize(capsys, function, said):
    assert verdict(capsys, check.standardize, scaled)[0]
    ok, line = verdict(capsys, check.standardize, function)
    assert not ok and said in line


# --- notebook 09 ---


@pytest.mark.parametrize(
    "answer, said",
    [
        (64.8, "percentage"),
        (0.216, "all three"),
        (0.432, "exactly two"),
        (0.936, "at least one"),
        (0.6, "single"),
        (0.352, "wrong"),
        (0.36, "third"),
        (0.5, "3 x 0.6"),
    ],
)
def test_condorcet_wrong(capsys, answer, said):
    ok, line = verdict(capsys, check.condorcet, answer)
    assert not ok and said in line


def test_condorcet_right(capsys):
    assert verdict(capsys, check.condorcet, sum(0.6**k * 0.4 ** (3 - k) * n for k, n in ((2, 3), (3, 1))))[0]


@pytest.mark.parametrize(
    "answer, said", [(4, "tie"), (3, "whenever they agree"), (6, "fewer"), (1, "outvote"), ("many", "a str")]
)
def test_dictator(capsys, answer, said):
    ok, line = verdict(capsys, check.dictator, answer)
    assert not ok and said in line
    assert verdict(capsys, check.dictator, 5)[0]


@pytest.mark.parametrize(
    "answer, said",
    [
        (14.6, "percentage"),
        (sum(math.comb(12, k) for k in range(9, 13)) / 2**12, "one direction"),
        (2 * math.comb(12, 9) / 2**12, "exactly 9 to 3"),
        (math.comb(12, 9) / 2**12, "exactly 9 heads"),
        (scipy.stats.chi2.sf(36 / 12, 1), "approximation"),
        (scipy.stats.chi2.sf(25 / 12, 1), "correction"),
        (9 / 12, "share that A"),
        (0.5, "4,096"),
    ],
)
def test_lopsided_wrong(capsys, answer, said):
    ok, line = verdict(capsys, check.lopsided, answer)
    assert not ok and said in line


def test_lopsided_right(capsys):
    assert verdict(capsys, check.lopsided, scipy.stats.binomtest(9, 12).pvalue)[0]


def softened(p, T):
    powers = [x ** (1 / T) for x in p]
    return [x / sum(powers) for x in powers]


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda p, T: softened(p, 1 / T), "p ** T"),
        (lambda p, T: [x ** (1 / T) for x in p], "make 1 again"),
        (lambda p, T: [x / T for x in p], "not the probabilities"),
        (lambda p, T: [1 / len(p)] * len(p), "at T = 1 nothing may change"),
        (lambda p, T: p, "at T = 2 the first is 0.444"),
        (lambda p, T: None, "return missing"),
        (lambda p, T: p[:2], "4 numbers"),
        (lambda p: p, "TypeError"),
        ([0.5, 0.5], "the function itself"),
    ],
)
def test_soften(capsys, function, said):
    ok, line = verdict(capsys, check.soften, function)
    assert not ok and said in line
    assert verdict(capsys, check.soften, softened)[0]
    assert verdict(capsys, check.soften, lambda p, T: np.array(softened(p, T)))[0]


# --- notebook 10 ---


@pytest.mark.parametrize(
    "answer, said",
    [
        ((0.04, 0.03, 0.06), "lift it"),
        ((0.12, 0.03, 0.09), "Bonferroni"),
        ((0.03, 0.06, 0.06), "order of size"),
        ((0.04, 0.01, 0.03), "uncorrected"),
        ((0.5, 0.5, 0.5), "never below the last"),
        (0.06, "three numbers"),
    ],
)
def test_holm(capsys, answer, said):
    ok, line = verdict(capsys, check.holm, answer)
    assert not ok and said in line
    assert verdict(capsys, check.holm, [0.06, 0.03, 0.06])[0]


@pytest.mark.parametrize(
    "answer, said",
    [
        ((0.65, 0.85), "the other way round"),
        ((85, 65), "percentages"),
        ((0.9, 0.65), "81 + 4"),
        ((0.85, 0.85), "plain mean"),
        (0.85, "a float"),
    ],
)
def test_two_averages(capsys, answer, said):
    ok, line = verdict(capsys, check.two_averages, answer)
    assert not ok and said in line
    assert verdict(capsys, check.two_averages, (0.85, 0.65))[0]


@pytest.mark.parametrize("answer, said", [(5, "0.0625"), (1, "coin"), (10, "fewer")])
def test_one_sided_clips(capsys, answer, said):
    ok, line = verdict(capsys, check.one_sided_clips, answer)
    assert not ok and said in line
    assert verdict(capsys, check.one_sided_clips, 6)[0]


# --- notebook 11 ---


@pytest.mark.parametrize(
    "answer, said", [((4, 5), "numbers of actors"), ((228, 288), "4.8"), ((180, 360), "enclose"), (240, "a pair")]
)
def test_whole_actors(capsys, answer, said):
    ok, line = verdict(capsys, check.whole_actors, answer)
    assert not ok and said in line
    assert verdict(capsys, check.whole_actors, [300, 240])[0]


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda train, test: None, "return missing"),
        (lambda train, test: test["actor"].isin(train["actor"]).sum(), "for train"),
        (lambda train, test: 100 * test["actor"].isin(train["actor"]).mean(), "between 0 and 1"),
        (lambda train, test: pd.Series(test["actor"].unique()).isin(train["actor"]).mean(), "count clips"),
        (lambda train: 0, "TypeError"),
    ],
)
def test_heard_before(capsys, function, said):
    ok, line = verdict(capsys, check.heard_before, function)
    assert not ok and said in line
    assert verdict(capsys, check.heard_before, lambda train, test: test["actor"].isin(train["actor"]).mean())[0]


# --- notebook 12 ---


def say(row, threshold):
    return row.idxmax() if row.max() >= threshold else "not sure"


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda row, threshold: row.idxmax(), "no label reaches"),
        (lambda row, threshold: "not sure", "'calm' is wanted"),
        (lambda row, threshold: row.idxmax() if row.max() > threshold else "not sure", "exactly the 50 %"),
        (lambda row, threshold: row.idxmax() if row.max() >= 0.5 else "not sure", "threshold of 30 %"),
        (lambda row, threshold: row.max(), "a word is wanted"),
        (lambda row, threshold: None, "return missing"),
        ("calm", "without calling it"),
    ],
)
def test_unsure(capsys, function, said):
    assert verdict(capsys, check.unsure, say)[0]
    ok, line = verdict(capsys, check.unsure, function)
    assert not ok and said in line


@pytest.mark.parametrize(
    "answer, said",
    [("abd", "a speaks"), ("bcd", "c takes"), ("bde", "e takes"), ("d", "b says"), ("b", "next rec"), (2, "an int")],
)
def test_defensible(capsys, answer, said):
    assert verdict(capsys, check.defensible, {"b", "d"})[0]
    ok, line = verdict(capsys, check.defensible, answer)
    assert not ok and said in line


@pytest.mark.parametrize(
    "answer, said",
    [(2.333, "plain mean"), (310, "over the clips"), (1.6, "mixed up"), (3, "multiply"), ("3.1", "a str")],
)
def test_averaged(capsys, answer, said):
    weights, clips = np.array([1, 2, 4]), np.array([10, 30, 60])
    assert verdict(capsys, check.averaged, np.average(weights, weights=clips))[0]
    ok, line = verdict(capsys, check.averaged, answer)
    assert not ok and said in line


@pytest.mark.parametrize(
    "answer, said",
    [
        (0.906, "one way"), (0.453, "4 bytes"), (0.0755, "24"), (0.0181, "one round"), (1.812e12, "bytes"),
        (1812, "giga"), (14.5, "bits"), (5, "multiply"), (None, "Not answered"),
    ],
)  # fmt: skip
def test_traffic(capsys, answer, said):
    for terabytes in (94.4e6 * 4 * 24 * 100 * 2 / 1e12, 1.8):
        assert verdict(capsys, check.traffic, terabytes)[0]
    ok, line = verdict(capsys, check.traffic, answer)
    assert not ok and said in line


# --- notebooks 03 to 08: fine-tuning ---


@pytest.mark.parametrize(
    "function, answer, said",
    [
        (check.frames, 99, "not 100"),
        (check.losses, (0.563, 0.700), "loss rose"),
        (check.padding_share, 0.4875, "one long clip"),
        (check.training_memory, 5.05, "5.0 GB"),
        (check.spread, (0.9072, 0.0159), "1.6 points"),
        (check.average_recall, 0.879, "87.9%"),
        (check.overused, ("Happy", 0.686), "68.6%"),
        (check.said_twice, [1, 2, 1], "how long"),
        (check.mcnemar, 0.0636, "0.064"),
        (check.line_up, 0.1277, "88%"),
    ],
)
def test_fine_tuning_right(capsys, function, answer, said):
    ok, line = verdict(capsys, function, answer)
    assert ok and said in line


@pytest.mark.parametrize(
    "function, answer, said",
    [
        (check.line_up, 0.880, "probability"),
        (check.line_up, -0.1277, "minus"),
        (check.line_up, 0.1842, "base 2"),
        (check.line_up, 0.8396, "left out"),
        (check.line_up, 1.0690, "multiplied"),
        (check.line_up, -1.9933, "below the line"),
        (check.frames, 100, "400 samples"),
        (check.frames, 6399, "after 1 of the 7"),
        (check.frames, 80, "overlap"),
        (check.losses, (0.700, 0.563), "swapped"),
        (check.losses, (-0.563, -0.700), "minus"),
        (check.losses, (5.626, 6.998), "sum"),
        (check.losses, (0.8117, 1.0096), "base 2"),
        (check.losses, (0.4943, 0.1151), "first, then the mean"),
        (check.padding_share, 48.75, "percentage"),
        (check.padding_share, 0.5125, "is sound"),
        (check.padding_share, 11.7, "seconds of padding"),
        (check.training_memory, 1.26, "weights alone"),
        (check.training_memory, 2.52, "Adam"),
        (check.training_memory, 4.70, "GiB"),
        (check.spread, (0.9072, 0.0142), "n - 1"),
        (check.spread, (0.9072, 0.0071), "error of the mean"),
        (check.spread, (90.72, 1.59), "percentages"),
        (check.spread, (0.9, 0.0159), "mean is not right"),
        (check.average_recall, 259 / 288, "accuracy, 259"),
        (check.average_recall, 87.9, "percentage"),
        (check.overused, ("neutral", 0.92), "far more predictions"),
        (check.overused, ("happy", 0.921), "its recall"),
        (check.overused, ("joyful", 0.7), "one of angry"),
        (check.said_twice, (1, 1, 1), "added twice"),
        (check.said_twice, (2, 2, 1), "what it was"),
        (check.said_twice, (1, 2), "three numbers"),
        (check.mcnemar, 0.0318, "one side"),
        (check.mcnemar, 0.0389, "chi-square approximation"),
        (check.mcnemar, 0.0192, "belongs to the tail"),
        (check.mcnemar, 0.5, "fair coin"),
    ],
)
def test_fine_tuning_wrong(capsys, function, answer, said):
    ok, line = verdict(capsys, function, answer)
    assert not ok and said in line


def receptive_field(kernels, strides):
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field, step = field + (kernel - 1) * step, step * stride
    return field


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda kernels, strides: sum(kernels), "added up"),
        (lambda kernels, strides: receptive_field(kernels, strides) + 1, "one too many"),
        (lambda kernels, strides: 320, "start at 1"),
        (lambda kernels, strides: None, "return missing"),
        (lambda kernels: 1, "TypeError"),
        (lambda kernels, strides: kernels, "one number"),
        (400, "the function itself"),
    ],
)
def test_field(capsys, function, said):
    assert verdict(capsys, check.field, receptive_field)[0]
    ok, line = verdict(capsys, check.field, function)
    assert not ok and said in line


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda history: history["step"].iloc[-1], "the last one"),
        (lambda history: history.loc[history["eval_loss"].idxmin(), "step"], "lowest loss"),
        (lambda history: history.loc[history["eval_accuracy"][::-1].idxmax(), "step"], "latest of equals"),
        (lambda history: history["eval_accuracy"].max(), "accuracy itself"),
        (lambda history: history["eval_accuracy"].idxmax(), "the row's number"),
        (lambda history: history["step"], "one number"),
    ],
)
def test_best_step(capsys, function, said):
    assert verdict(capsys, check.best_step, lambda h: h.loc[h["eval_accuracy"].idxmax(), "step"])[0]
    ok, line = verdict(capsys, check.best_step, function)
    # the last step is also the latest of equals in the history with a draw
    assert not ok and (said in line or said == "latest of equals" and "last one" in line)


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda frames, mask: frames.mean(0), "padding was averaged"),
        (lambda frames, mask: (frames * mask[:, None]).sum(0), "that is the sum"),
        (lambda frames, mask: (frames * mask[:, None]).mean(0), "still counted"),
        (lambda frames, mask: frames[mask == 1].mean(1), "should count"),
        (lambda frames, mask: frames[mask == 1].mean(), "shape"),
    ],
)
def test_masked_mean(capsys, function, said):
    assert verdict(capsys, check.masked_mean, lambda frames, mask: frames[mask == 1].mean(0))[0]
    ok, line = verdict(capsys, check.masked_mean, function)
    assert not ok and said in line


def collapse(names):
    return [name for last, name in zip([None, *names], names, strict=False) if name not in (last, "-")]


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda names: [name for name in names if name != "-"], "repeated names were kept"),
        (lambda names: [n for last, n in zip([None, *names], names, strict=False) if n != last], "a blank was left"),
        (lambda names: collapse([name for name in names if name != "-"]), "before the repetitions"),
        (lambda names: sorted(set(names) - {"-"}), "equal neighbors first"),
        (lambda names: "".join(collapse(names)), "a list is wanted"),
        (lambda names: None, "return missing"),
        (["k", "i"], "the function itself"),
    ],
)
def test_collapse(capsys, function, said):
    assert verdict(capsys, check.collapse, collapse)[0]
    ok, line = verdict(capsys, check.collapse, function)
    assert not ok and said in line


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda phone, group: pd.crosstab(phone, group).max().sum(), "that is the count"),
        (lambda phone, group: pd.crosstab(phone, group).max(axis=1).sum() / len(phone), "by phone"),
        (lambda phone, group: pd.crosstab(phone, group, normalize="columns").max().mean(), "mean over groups"),
        (lambda phone, group: pd.crosstab(phone, group).to_numpy().max() / len(phone), "largest group alone"),
        (lambda phone, group: 0.3, "most frequent phone, add"),
        (lambda phone, group: phone, "one number"),
        (0.8, "the function itself"),
    ],
)
def test_purity(capsys, function, said):
    assert verdict(capsys, check.purity, lambda phone, group: pd.crosstab(phone, group).max().sum() / len(phone))[0]
    ok, line = verdict(capsys, check.purity, function)
    assert not ok and said in line


def ratio_of(voice: np.ndarray, noise: np.ndarray) -> float:
    return np.mean(voice**2) / np.mean(noise**2)


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda voice, noise: 10 * np.log10(ratio_of(noise, voice)), "the voice comes first"),
        (lambda voice, noise: 5 * np.log10(ratio_of(voice, noise)), "take powers"),
        (lambda voice, noise: 20 * np.log10(ratio_of(voice, noise)), "20 goes with amplitudes"),
        (lambda voice, noise: 10 * np.log(ratio_of(voice, noise)), "natural logarithm"),
        (ratio_of, "the ratio itself"),
        (lambda voice, noise: 10 * np.log10(np.sum(voice**2) / np.sum(noise**2)), "sums grow"),
        (lambda voice, noise: 3.0, "divide the mean"),
        (lambda voice, noise: "loud", "one number of dB"),
        (7, "without calling it"),
    ],
)
def test_snr(capsys, function, said):
    assert verdict(capsys, check.snr, lambda voice, noise: 10 * np.log10(ratio_of(voice, noise)))[0]
    ok, line = verdict(capsys, check.snr, function)
    assert not ok and said in line


def in_shares(p: np.ndarray) -> np.ndarray:
    return p / p.sum()


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda p, taught, there: p * there / taught, "no longer sum to 1"),
        (lambda p, taught, there: in_shares(p * there), "still inside"),
        (lambda p, taught, there: in_shares(p * taught / there), "upside down"),
        (lambda p, taught, there: in_shares(p / taught), "the new ones are missing"),
        (lambda p, taught, there: p, "nothing has changed"),
        (lambda p, taught, there: in_shares(p + there), "multiply by there"),
        (7, "without calling it"),
    ],
)
def test_reweighed(capsys, function, said):
    assert verdict(capsys, check.reweighed, lambda p, taught, there: in_shares(p * there / taught))[0]
    ok, line = verdict(capsys, check.reweighed, function)
    assert not ok and said in line


def covariance(a: np.ndarray, b: np.ndarray) -> float:
    return np.cov(a, b, bias=True)[0, 1]


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda a, b: concordance(a, b) / 2, "twice"),
        (lambda a, b: 2 * covariance(a, b) / (a.var() + b.var()), "means is missing"),
        (lambda a, b: 2 * covariance(a, b) / (a.var() + b.var() + abs(a.mean() - b.mean())), "has to be squared"),
        (lambda a, b: 2 * covariance(a, b) / (a.std() + b.std() + (a.mean() - b.mean()) ** 2), "take variances"),
        (lambda a, b: np.corrcoef(a, b)[0, 1], "forgives a shift"),
        (lambda a, b: 0.25, "twice the covariance"),
        (lambda a, b: "high", "one number"),
    ],
)
def test_agreement(capsys, function, said):
    assert verdict(capsys, check.agreement, concordance)[0]
    ok, line = verdict(capsys, check.agreement, function)
    assert not ok and said in line


@pytest.mark.parametrize(
    "answer, said", [("a", "d multiplies"), ("abd", "b cuts"), ("acd", "c takes"), ("ade", "e adds"), (2, "an int")]
)
def test_unnoticed(capsys, answer, said):
    assert verdict(capsys, check.unnoticed, {"a", "d"})[0]
    ok, line = verdict(capsys, check.unnoticed, answer)
    assert not ok and said in line


@pytest.mark.parametrize(
    "function, said",
    [
        (lambda nodes: np.roll(nodes, 1) + np.roll(nodes, -1), "neighbors' sum"),
        (lambda nodes: (np.roll(nodes, 1) + nodes + np.roll(nodes, -1)) / 3, "counts the node itself"),
        (lambda nodes: np.roll(nodes, 1), "the node before"),
        (lambda nodes: np.roll(nodes, -1), "the node after"),
        (lambda nodes: nodes, "what the nodes had before"),
        (lambda nodes: np.convolve(nodes, [0.5, 0, 0.5], "same"), "at the ends"),
        (lambda nodes: nodes[1:-1], "one a node"),
        (lambda nodes: 0 * nodes, "it should be"),
        (7, "without calling it"),
    ],
)
def test_ring_mean(capsys, function, said):
    assert verdict(capsys, check.ring_mean, lambda nodes: (np.roll(nodes, 1) + np.roll(nodes, -1)) / 2)[0]
    ok, line = verdict(capsys, check.ring_mean, function)
    assert not ok and said in line


@pytest.mark.parametrize(
    "answer, said",
    [(4608, "bias too"), (320, "all 16"), (145, "one output"), (4624, "mixed up"), (1568, "3 x 3"), (7, "16 channels")],
)
def test_weights(capsys, answer, said):
    assert verdict(capsys, check.weights, 4640)[0]
    ok, line = verdict(capsys, check.weights, answer)
    assert not ok and said in line
