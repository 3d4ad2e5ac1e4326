"""Metrics against scikit-learn, against numbers worked by hand, and against published ones."""

from fractions import Fraction
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest
from sklearn import metrics as reference

from serlib import metrics, paper
from serlib.corpus import EMOTIONS
from serlib.errors import SerlibError


def frame(truth, predicted, labels=EMOTIONS, actors=None, part="test"):
    """A predictions frame from labels alone: all probability on what is predicted."""
    table = pd.DataFrame(
        {
            "clip": [f"clip-{i:04d}" for i in range(len(truth))],
            "actor": actors if actors is not None else [f"{i % 6 + 1:02d}" for i in range(len(truth))],
            "emotion": list(truth),
            "predicted": list(predicted),
            "part": part,
        }
    )
    for label in labels:
        table[f"p_{label}"] = (table["predicted"] == label).astype(float)
    return table


def random_frame(seed, n=288, right=0.7):
    draw = np.random.default_rng(seed)
    truth = draw.choice(EMOTIONS, n)
    return frame(truth, np.where(draw.random(n) < right, truth, draw.choice(EMOTIONS, n)))


@pytest.mark.parametrize("seed", range(3))
def test_everything_agrees_with_scikit_learn(seed):
    table = random_frame(seed)
    truth, predicted = table["emotion"], table["predicted"]
    assert metrics.accuracy(table) == pytest.approx(reference.accuracy_score(truth, predicted))
    assert metrics.unweighted_average_recall(table) == pytest.approx(
        reference.balanced_accuracy_score(truth, predicted)
    )
    counts = metrics.confusion(table)
    assert (counts.to_numpy() == reference.confusion_matrix(truth, predicted, labels=EMOTIONS)).all()
    assert tuple(counts.index) == tuple(counts.columns) == EMOTIONS
    assert np.allclose(
        metrics.confusion(table, normalize=True),
        reference.confusion_matrix(truth, predicted, labels=EMOTIONS, normalize="true"),
    )
    theirs = reference.classification_report(truth, predicted, output_dict=True)
    ours = metrics.report(table)
    for label in EMOTIONS:
        row = ours.loc[label]
        assert row[["precision", "recall", "f1", "support"]].tolist() == pytest.approx(
            [theirs[label][key] for key in ("precision", "recall", "f1-score", "support")]
        )
    assert ours.loc["accuracy", "recall"] == pytest.approx(theirs["weighted avg"]["recall"])
    assert ours.loc["UAR", "recall"] == pytest.approx(theirs["macro avg"]["recall"])
    assert list(ours.index) == [*EMOTIONS, "accuracy", "UAR"]
    inside = ours["low"].le(ours["recall"]) & ours["recall"].le(ours["high"])
    assert inside.all()


def test_a_voter_that_always_says_the_same_scores_its_share_and_chance():
    table = frame(["calm"] * 3 + ["sad"], ["calm"] * 4, ("calm", "sad"))
    assert metrics.accuracy(table) == 0.75
    assert metrics.unweighted_average_recall(table) == 0.5
    ours = metrics.report(table)
    assert ours.loc["sad", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]
    assert ours.loc["calm", "precision"] == 0.75


def test_a_class_without_a_clip_has_no_recall():
    table = frame(["calm", "calm", "sad"], ["calm", "happy", "sad"], ("calm", "happy", "sad"))
    assert metrics.unweighted_average_recall(table) == 0.75
    ours = metrics.report(table)
    assert np.isnan(ours.loc["happy", "recall"]) and np.isnan(ours.loc["happy", "low"])
    assert metrics.confusion(table, normalize=True).loc["happy"].tolist() == [0, 0, 0]


def test_the_part_that_is_asked_for_is_measured():
    both = pd.concat(
        [
            frame(["calm", "sad"], ["calm", "calm"], ("calm", "sad"), part="validation").assign(
                clip=["x", "y"]
            ),
            frame(["calm", "sad"], ["calm", "sad"], ("calm", "sad")),
        ]
    )
    assert (metrics.accuracy(both), metrics.accuracy(both, "validation")) == (1.0, 0.5)


def test_wilson_gives_the_interval_of_the_vote_of_five():
    """279 of 288: 94.17 to 98.35 % (98.347; who rounds 98.35 once more gets 98.4)."""
    low, high = metrics.wilson_interval(279, 288)
    assert (round(100 * low, 2), round(100 * high, 2)) == (94.17, 98.35)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (278, 288), (279, 288), (18, 19)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_agrees_with_scipy(successes, n, confidence):
    theirs = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert metrics.wilson_interval(successes, n, confidence) == pytest.approx((theirs.low, theirs.high))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=100, deadline=None)
def test_wilson_ends_solve_its_equation(case):
    successes, n = case
    share, z = successes / n, 1.959963984540054
    low, high = metrics.wilson_interval(successes, n)
    assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1
    for end in (low, high):  # (share - end)^2 = z^2 end (1 - end) / n, by which the interval is defined
        assert (share - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-9)


@pytest.mark.parametrize("case", [(0, 0), (3, 2), (-1, 5), (1, 2, 1.0), (1, 2, 95)])
def test_wilson_refuses_what_is_no_share(case):
    with pytest.raises(SerlibError, match="no share|not between 0 and 1"):
        metrics.wilson_interval(*case)


def test_the_uar_interval_is_wide_when_actors_differ_and_closed_when_they_do_not():
    truth = list(EMOTIONS) * 12
    actors = [f"{i:02d}" for i in range(12) for _ in EMOTIONS]
    wrong = dict(zip(EMOTIONS, (*EMOTIONS[1:], EMOTIONS[0]), strict=True))
    # Six actors all right, six all wrong; or, with as many right, every actor right in the same four classes.
    by_actor = [t if int(a) < 6 else wrong[t] for t, a in zip(truth, actors, strict=True)]
    by_class = [t if t in EMOTIONS[:4] else wrong[t] for t in truth]
    low, high = metrics.uar_interval(frame(truth, by_actor, actors=actors))
    assert low == pytest.approx(0.25, abs=0.09) and high == pytest.approx(0.75, abs=0.09)
    assert metrics.uar_interval(frame(truth, by_class, actors=actors)) == pytest.approx((0.5, 0.5))
    # Binomial(12, 1/2) / 12 has 2.5 % and 97.5 % quantiles 3/12 and 9/12.
    assert (low, high) == pytest.approx((3 / 12, 9 / 12))


def test_the_uar_interval_agrees_with_a_bootstrap_written_plainly():
    table = random_frame(4, n=120)
    draw = np.random.default_rng(9)
    groups = [rows for _, rows in table.groupby("actor")]
    values = []
    for _ in range(400):
        drawn = pd.concat([groups[i] for i in draw.integers(len(groups), size=len(groups))])
        values.append(
            drawn.assign(right=drawn["emotion"] == drawn["predicted"])
            .groupby("emotion")["right"]
            .mean()
            .mean()
        )
    assert metrics.uar_interval(table) == pytest.approx(tuple(np.quantile(values, (0.025, 0.975))), abs=0.03)


def test_a_class_of_one_actor_only_is_left_out_where_that_actor_is_not_drawn():
    truth = ["calm", "calm", "sad"]
    table = frame(truth, truth, ("calm", "sad"), actors=["01", "02", "02"])
    assert metrics.uar_interval(table) == (1, 1)


def test_one_actor_says_nothing_about_the_next_and_unknown_actors_are_drawn_clip_by_clip():
    truth = ["calm", "sad"] * 50
    said = ["calm"] * 75 + ["sad"] * 25
    assert np.isnan(metrics.uar_interval(frame(truth, said, ("calm", "sad"), actors="01"))).all()
    low, high = metrics.uar_interval(frame(truth, said, ("calm", "sad"), actors=""))
    assert 0 < high - low < 0.25


def exact_mcnemar(b, c):
    """The two-sided p value in whole numbers: twice the smaller tail of a fair coin, at most 1."""
    n = b + c
    return float(min(Fraction(1), 2 * Fraction(sum(comb(n, k) for k in range(min(b, c) + 1)), 2**n)))


@pytest.mark.parametrize("counts", [(5, 3, 1, 2), (0, 9, 0, 0), (4, 0, 0, 4), (100, 6, 5, 2), (0, 15, 4, 0)])
def test_compare_is_the_exact_test_of_mcnemar(counts):
    both, only_a, only_b, neither = counts
    n = sum(counts)
    said_a = ["calm"] * (both + only_a) + ["sad"] * (only_b + neither)
    said_b = ["calm"] * both + ["sad"] * only_a + ["calm"] * only_b + ["sad"] * neither
    a, b = (frame(["calm"] * n, said, ("calm", "sad")) for said in (said_a, said_b))
    row = metrics.compare(a, b.sample(frac=1, random_state=0)).iloc[0]
    assert row[["both_right", "only_a", "only_b", "neither"]].tolist() == list(counts)
    assert row["p_value"] == pytest.approx(exact_mcnemar(only_a, only_b))


def test_compare_refuses_different_clips():
    a = random_frame(0, n=10)
    with pytest.raises(SerlibError, match="not tested on the same clips"):
        metrics.compare(a, a.iloc[1:])


@given(st.permutations(range(60)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_clips_changes_nothing(order):
    table = random_frame(5, n=60)
    shuffled = table.iloc[list(order)]
    pd.testing.assert_frame_equal(metrics.report(table), metrics.report(shuffled))


def test_the_figures_of_the_paper_come_out_of_its_counts():
    """A table with the paper's counts has its report, whichever wrong labels meet which clips."""
    for system, rows in paper.per_class().groupby("system"):
        emotions = rows["emotion"].to_numpy(str)
        missed = emotions.repeat(rows["support"] - rows["correct"])
        wrong = emotions.repeat(rows["predicted"] - rows["correct"])
        # A missed clip never meets its own label.
        _, meet = linear_sum_assignment(missed[:, None] == wrong[None])
        right = emotions.repeat(rows["correct"])
        ours = metrics.report(frame([*right, *missed], [*right, *wrong[meet]]))
        assert ours.loc["accuracy", "recall"] == pytest.approx(rows["correct"].sum() / 288), system
        assert ours.loc["UAR", "recall"] == pytest.approx(rows["recall"].mean()), system
        for column in ("precision", "recall", "f1"):
            assert ours[column].iloc[:8].tolist() == pytest.approx(rows[column].tolist()), system
