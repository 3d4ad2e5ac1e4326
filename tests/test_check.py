"""Exercise checks: right answers pass, each usual mistake gets its own sentence, and nothing ever raises."""

from collections import Counter
from statistics import mode

import pandas as pd
import pytest

from serlib import check

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


CHECKS = [check.clip_fields, check.majority, check.wilson]


class Awkward:
    """An answer that cannot be compared, printed, iterated or called."""

    def __getattr__(self, name):
        raise RuntimeError("no")

    __iter__ = __call__ = __eq__ = __repr__ = __float__ = lambda self, *args: 1 / 0
    __hash__ = None


@pytest.mark.parametrize("function", CHECKS)
def test_no_answer_yet(capsys, function):
    for nothing in [(), (None,), (...,)]:
        ok, line = verdict(capsys, function, *nothing)
        assert not ok and line.startswith("Not answered yet: ") and len(line) > 40


@pytest.mark.parametrize("function", CHECKS)
@pytest.mark.parametrize(
    "answer",
    [0, -1.5, True, "text", "", b"x", [], {}, [1], {"emotion": []}, float("nan"), object(), Awkward,
     pd.Series([1, 2]), pd.DataFrame(), lambda: 1, print, [float("nan")] * 2, [float("inf"), 0], ("a", "b"),
     [[1], [2]]],
)  # fmt: skip
def test_nothing_raises(capsys, function, answer):
    capsys.readouterr()
    assert function(answer) is False
    assert capsys.readouterr().out.splitlines()[-1].startswith("Not yet: ")


@pytest.mark.parametrize("function", CHECKS)
def test_not_even_an_awkward_answer_raises(capsys, function):
    assert verdict(capsys, function, Awkward())[0] is False


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
