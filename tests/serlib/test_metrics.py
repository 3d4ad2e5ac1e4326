"""Metrics against scikit-learn, against numbers worked by hand, and against published ones."""

from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from scipy.stats import binomtest, rankdata, wilcoxon
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from serlib.data.ravdess import EMOTIONS
from serlib.errors import SerlibError
from serlib.judge import metrics, paper


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


@pytest.mark.parametrize("seed", range(3))
def test_uar_of_labels_numbers_and_many_rows_agrees_with_scikit_learn(seed):
    draw = np.random.default_rng(seed)
    truth, said = draw.integers(0, 5, 60), draw.integers(0, 6, (4, 3, 60))  # class 5 is never true
    rows = metrics.uar(truth, said)
    assert rows.shape == (4, 3)
    each = {"average": "macro", "labels": sorted(set(truth))}
    theirs = [reference.recall_score(truth, row, **each) for row in said.reshape(-1, 60)]
    assert rows.ravel() == pytest.approx(theirs, abs=1e-15)
    names = np.array(["f", "e", "d", "c", "b", "a"])
    assert metrics.uar(list(names[truth]), list(names[said[0, 0]])) == pytest.approx(rows[0, 0], abs=1e-15)
    for bad in ((truth, said[..., :-1]), ([], []), (said, said), (1, 1)):
        with pytest.raises(SerlibError, match="recall needs a truth of shape"):
            metrics.uar(*bad)


def test_recalls_are_those_of_the_report_and_none_where_no_clip_is():
    table = frame(["sad"] * 4 + ["calm"] * 2, ["sad", "sad", "sad", "calm", "calm", "happy"])
    recalls = metrics.recalls(table)
    assert recalls["sad"] == 0.75 and recalls["calm"] == 0.5 and recalls.isna().sum() == 6
    pd.testing.assert_series_equal(recalls, metrics.report(table)["recall"][:8], check_names=False)
    assert metrics.unweighted_average_recall(table) == recalls.mean() == 0.625


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
            frame(["calm", "sad"], ["calm", "calm"], ("calm", "sad"), part="validation").assign(clip=["x", "y"]),
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
    assert (metrics.wilson_interval(0, n)[0], metrics.wilson_interval(n, n)[1]) == (0, 1)


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


def ends(table, measure="UAR", **options):
    return tuple(metrics.intervals(table, **options).loc[measure, ["low", "high"]])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("right", [0.7, 0.05])
def test_all_three_measures_agree_with_scikit_learn(seed, right):
    table = random_frame(seed, n=60, right=right)
    table.loc[table["predicted"] == "sad", "predicted"] = "calm"  # a class that is never predicted
    truth, predicted = table["emotion"], table["predicted"]
    table[[f"p_{label}" for label in EMOTIONS]] = np.equal.outer(predicted.to_numpy(str), np.array(EMOTIONS))
    assert metrics.intervals(table, n_resamples=10)["value"].to_dict() == pytest.approx({
        "accuracy": reference.accuracy_score(truth, predicted),
        "UAR": reference.balanced_accuracy_score(truth, predicted),
        "macro F1": reference.f1_score(truth, predicted, average="macro", zero_division=0),
    })  # fmt: skip


def test_the_actors_interval_is_wide_when_actors_differ_and_closed_when_they_do_not():
    truth = list(EMOTIONS) * 12
    actors = [f"{i:02d}" for i in range(12) for _ in EMOTIONS]
    wrong = dict(zip(EMOTIONS, (*EMOTIONS[1:], EMOTIONS[0]), strict=True))
    # Six actors all right, six all wrong; or, with as many right, every actor right in the same four classes.
    by_actor = [t if int(a) < 6 else wrong[t] for t, a in zip(truth, actors, strict=True)]
    by_class = [t if t in EMOTIONS[:4] else wrong[t] for t in truth]
    # Binomial(12, 1/2) / 12 has 2.5 % and 97.5 % quantiles 3/12 and 9/12.
    assert ends(frame(truth, by_actor, actors=actors)) == pytest.approx((3 / 12, 9 / 12))
    assert ends(frame(truth, by_actor, actors=actors), "accuracy") == pytest.approx((3 / 12, 9 / 12))
    assert ends(frame(truth, by_class, actors=actors)) == pytest.approx((0.5, 0.5))
    # As if the clips were independent: 1.96 standard errors of 48 right of 96.
    low, high = ends(frame(truth, by_actor, actors=actors), "accuracy", unit="clip")
    assert (low, high) == pytest.approx((0.4, 0.6), abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("unit", metrics.UNITS)
def test_the_intervals_agree_with_a_bootstrap_written_plainly(unit):
    table = random_frame(4, n=120)
    draw = np.random.default_rng(9)
    groups = list(table.groupby(unit).indices.values())
    values = []
    for _ in range(400):
        drawn = np.concatenate([groups[i] for i in draw.integers(len(groups), size=len(groups))])
        truth, said = (table[column].to_numpy(str)[drawn] for column in ("emotion", "predicted"))
        recalls = [(said[truth == label] == label).mean() for label in set(truth)]
        values.append([(truth == said).mean(), np.mean(recalls), reference.f1_score(truth, said, average="macro")])
    theirs = np.quantile(values, (0.025, 0.975), axis=0).T
    assert metrics.intervals(table, unit=unit)[["low", "high"]].to_numpy() == pytest.approx(theirs, abs=0.03)


def test_a_class_of_one_actor_only_is_left_out_where_that_actor_is_not_drawn():
    truth = ["calm", "calm", "sad"]
    table = frame(truth, truth, ("calm", "sad"), actors=["01", "02", "02"])
    assert ends(table) == (1, 1) and ends(table, "macro F1") == (1, 1)


def test_one_actor_says_nothing_about_the_next_and_unknown_actors_are_drawn_clip_by_clip():
    truth = ["calm", "sad"] * 50
    said = ["calm"] * 75 + ["sad"] * 25
    assert np.isnan(ends(frame(truth, said, ("calm", "sad"), actors="01"))).all()
    nobody = frame(truth, said, ("calm", "sad"), actors="")
    low, high = ends(nobody)
    assert 0 < high - low < 0.25 and (low, high) == ends(nobody, unit="clip")
    with pytest.raises(SerlibError, match="did you mean actor"):
        metrics.intervals(nobody, unit="acter")


def test_listeners_stand_beside_what_a_voter_said_of_their_clips():
    table = frame(["sad", "happy", "sad", "calm"], ["sad", "sad", "calm", "calm"])
    table[[f"p_{label}" for label in EMOTIONS]] = 0.0
    table[["p_sad", "p_happy", "p_calm"]] = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0, 0, 1]]
    # in another order, of a clip that the voter has not heard, and without one that it has
    heard = pd.DataFrame({"share": [0.1, 0.9, 1.0, 0.25]}, index=["clip-0003", "clip-0000", "clip-9999", "clip-0001"])
    both = metrics.beside_listeners(table, heard)
    assert both.index.tolist() == ["clip-0000", "clip-0001", "clip-0003"] and both.index.name == "clip"
    assert list(both) == ["emotion", "predicted", "right", "probability", "share"]
    assert both.to_numpy().tolist() == [
        ["sad", "sad", True, 0.6, 0.9], ["happy", "sad", False, 0.4, 0.25], ["calm", "calm", True, 1.0, 0.1],
    ]  # fmt: skip
    for odd, sentence in (
        (heard.rename(columns={"share": "right"}), "a column share"),
        (heard.astype(str), "a column share"),
        (heard["share"], "a column share"),
        (pd.concat([heard, heard]), "clip clip-0003 stands twice"),
        (heard.loc[["clip-9999"]], "no clip of predictions has a share"),
        (heard * np.nan, "no clip of predictions has a share"),
    ):
        with pytest.raises(SerlibError, match=sentence):
            metrics.beside_listeners(table, odd)


def test_breakdown_counts_each_group():
    table = random_frame(3, n=120)
    by_actor = metrics.breakdown(table, "actor")
    right = table["predicted"] == table["emotion"]
    assert by_actor["right"].to_dict() == right.groupby(table["actor"]).sum().to_dict()
    row = by_actor.loc["03"]
    assert (row["low"], row["high"]) == metrics.wilson_interval(int(row["right"]), int(row["clips"]))
    by_emotion = metrics.breakdown(table, "emotion")
    assert by_emotion["accuracy"].tolist() == pytest.approx(metrics.report(table)["recall"].iloc[:8].tolist())
    assert (by_emotion["low"] <= by_emotion["accuracy"]).all() and (by_emotion["accuracy"] <= by_emotion["high"]).all()
    half = pd.Series(np.where(np.arange(120) < 60, "early", "late"), index=table["clip"], name="half")
    halves = metrics.breakdown(table.sample(frac=1, random_state=0), half.sample(frac=1, random_state=1))
    assert halves.index.name == "half" and halves["right"].tolist() == [right[:60].sum(), right[60:].sum()]
    validation = table.assign(part="validation")
    pd.testing.assert_frame_equal(metrics.breakdown(validation, "emotion", "validation"), by_emotion)
    pd.testing.assert_frame_equal(metrics.breakdown(validation, half, "validation"), halves)
    with pytest.raises(SerlibError, match="no 'sex'; give actor, emotion, or a column of the corpus"):
        metrics.breakdown(table, "sex")
    with pytest.raises(SerlibError, match="60 clips have no half"):
        metrics.breakdown(table, half.where(half == "early"))
    with pytest.raises(SerlibError, match="119 clips of predictions are not in the corpus"):
        metrics.breakdown(table, half[:1])


def test_a_group_that_is_all_right_or_all_wrong_is_still_in_doubt():
    """Twelve actors, each with 2 clips of calm, all right, and 2 of sad, all wrong: no draw of actors differs."""
    actors = [f"{i // 4:02d}" for i in range(48)]
    table = frame(["calm", "sad"] * 24, ["calm"] * 48, ("calm", "sad"), actors)
    rows = metrics.breakdown(table, "emotion")
    assert tuple(rows.loc["calm", ["low", "high"]]) == metrics.wilson_interval(24, 24)
    assert tuple(rows.loc["sad", ["low", "high"]]) == metrics.wilson_interval(0, 24)


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


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
@settings(max_examples=100, deadline=None)
def test_holm_is_bonferroni_on_every_set_that_holds_the_hypothesis(p):
    """The closed test, by brute force: a hypothesis falls where each set with it falls to Bonferroni."""
    m = range(len(p))
    sets = [s for k in range(1, len(p) + 1) for s in combinations(m, k)]
    closed = [max(min(1, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in m]
    assert metrics.holm(p) == pytest.approx(closed)


def test_holm_by_hand():
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([0.9, 0.6]).tolist() == [1, 1]
    assert metrics.holm([np.nan, 0.02, 0.03]) == pytest.approx([np.nan, 0.04, 0.04], nan_ok=True)


GAINS = ([0.1, 0.2, -0.1, 0.3, 0.2, -0.4, 0.5], [1, 1, -1, 1, 1], [0.5], [-0.25, 0.25], [1, 2, 3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize("gain", GAINS)
def test_the_test_of_actors_is_wilcoxons_over_all_flips_of_signs(gain):
    gain = np.array(gain, dtype=float)
    ranks = rankdata(abs(gain))
    seen = abs(ranks @ np.sign(gain))
    flips = np.array(list(product([-1, 1], repeat=len(gain))))
    brute = (abs(flips @ ranks) >= seen - 1e-9).mean()
    assert metrics._signed_rank(pd.Series([*gain, 0.0])) == pytest.approx(brute)


def test_the_test_of_actors_agrees_with_scipy_where_no_two_gains_are_equal():
    gain = np.random.default_rng(1).normal(0.3, 1, 24)
    assert metrics._signed_rank(pd.Series(gain)) == pytest.approx(wilcoxon(gain, method="exact").pvalue)
    assert metrics._signed_rank(pd.Series([0.0, 0.0])) == 1
    assert np.isnan(metrics._signed_rank(pd.Series([0.3], index=[""])))


def named(table, name):
    table.attrs["name"] = name
    return table


def test_compare_all_tests_each_pair_once_and_corrects_for_their_number():
    truth = random_frame(0)["emotion"]
    draw = np.random.default_rng(2)
    voters = [
        named(frame(truth, np.where(draw.random(288) < right, truth, draw.choice(EMOTIONS, 288))), f"v{right}")
        for right in (0.4, 0.6, 0.9)
    ]
    table = metrics.compare_all(voters)
    assert list(zip(table["a"], table["b"], strict=True)) == [("v0.4", "v0.6"), ("v0.4", "v0.9"), ("v0.6", "v0.9")]
    for row, (a, b) in zip(table.itertuples(), combinations(voters, 2), strict=True):
        assert row.p_clips == metrics.compare(a, b)["p_value"].iloc[0]
        assert row.points == pytest.approx(100 * (metrics.accuracy(a) - metrics.accuracy(b)))
        hits = [(v["predicted"] == v["emotion"]).groupby(v["actor"]).mean() for v in (a, b)]
        assert row.p_actors == pytest.approx(wilcoxon(*hits).pvalue)
        assert row.low < row.points < row.high
    assert table["p_clips_holm"].tolist() == metrics.holm(table["p_clips"]).tolist()
    assert table["p_actors_holm"].tolist() == metrics.holm(table["p_actors"]).tolist()
    one = metrics.compare_all(voters[:1], against=voters[2])
    assert one[["a", "b"]].to_numpy().tolist() == [["v0.4", "v0.9"]]
    assert one["p_clips_holm"].iloc[0] == one["p_clips"].iloc[0]
    with pytest.raises(SerlibError, match="two at least"):
        metrics.compare_all(voters[:1])


@pytest.mark.slow
@given(st.permutations(range(48)), st.integers(0, 9))
@settings(max_examples=4, deadline=None)
def test_permuted_clips_change_no_comparison(order, seed):
    voters = [named(random_frame(seed + k, n=48).assign(emotion=random_frame(seed, n=48)["emotion"]), f"v{k}")
              for k in range(3)]  # fmt: skip
    shuffled = [named(voter.iloc[list(order)], voter.attrs["name"]) for voter in voters]
    table = metrics.compare_all(voters)
    pd.testing.assert_frame_equal(table, metrics.compare_all(shuffled))
    pd.testing.assert_frame_equal(metrics.reliability(voters[0]), metrics.reliability(shuffled[0]))
    pd.testing.assert_frame_equal(metrics.breakdown(voters[0], "emotion"), metrics.breakdown(shuffled[0], "emotion"))
    pd.testing.assert_series_equal(metrics.difference(*voters[:2]), metrics.difference(*shuffled[:2]))
    backwards = metrics.compare_all(voters[::-1]).iloc[::-1].reset_index(drop=True)
    assert backwards["points"].tolist() == pytest.approx((-table["points"]).tolist())
    assert sorted(backwards["p_clips_holm"]) == pytest.approx(sorted(table["p_clips_holm"]))


def test_a_difference_is_taken_on_common_clips_of_common_actors():
    truth = ["calm"] * 24
    actors = [f"{i // 2:02d}" for i in range(24)]
    a = frame(truth, ["calm"] * 24, ("calm", "sad"), actors)
    b = frame(truth, (["calm"] * 12 + ["sad"] * 12), ("calm", "sad"), actors)
    change = metrics.difference(a, b.iloc[4:].sample(frac=1, random_state=0))  # actors 02 to 11, the last six wrong
    assert change["points"] == pytest.approx(12 / 20)
    assert change[["low", "high"]].tolist() == pytest.approx([0.3, 0.9])  # Binomial(10, 0.6) / 10
    assert metrics.difference(b, a)["points"] == -0.5
    assert np.isnan(metrics.difference(a.iloc[:2], b)["low"])
    with pytest.raises(SerlibError, match="no test clip in common"):
        metrics.difference(a.iloc[:4], b.iloc[4:])


def unsure(seed, n=400, skill=1.5):
    """A voter with spread-out confidences; ``skill`` 1 makes it right as often as it says."""
    draw = np.random.default_rng(seed)
    p = draw.dirichlet(np.full(8, 0.3), n)
    sharp = p**skill / (p**skill).sum(1, keepdims=True)
    truth = [EMOTIONS[draw.choice(8, p=row)] for row in sharp]
    table = frame(truth, np.array(EMOTIONS)[p.argmax(1)])
    table[[f"p_{label}" for label in EMOTIONS]] = p
    return table


@pytest.mark.parametrize("n_bins", [5, 10, 15])
def test_reliability_agrees_with_scikit_learn(n_bins):
    table = unsure(0)
    ours = metrics.reliability(table, n_bins=n_bins)
    right, sure = table["predicted"] == table["emotion"], table.filter(like="p_").max(axis=1)
    accuracy, confidence = calibration_curve(right, sure, n_bins=n_bins)
    assert ours["accuracy"].tolist() == pytest.approx(accuracy.tolist())
    assert ours["confidence"].tolist() == pytest.approx(confidence.tolist())
    assert ours["clips"].sum() == 400 and ours["confidence"].between(ours["low"], ours["high"]).all()
    gap = abs(ours["accuracy"] - ours["confidence"])
    assert metrics.calibration_error(table, n_bins=n_bins) == pytest.approx(np.average(gap, weights=ours["clips"]))


def test_calibration_error_by_hand():
    """Two clips at 0.6, one right; one at 1, wrong: (2 x 0.1 + 1 x 1) / 3."""
    table = frame(["calm", "sad", "sad"], ["calm", "calm", "calm"], ("calm", "sad"))
    table["p_calm"], table["p_sad"] = [0.6, 0.6, 1.0], [0.4, 0.4, 0.0]
    assert metrics.calibration_error(table) == pytest.approx(0.4)
    assert metrics.reliability(table)["high"].tolist() == pytest.approx([0.6, 1.0])


def test_compare_refuses_different_clips():
    a = random_frame(0, n=10)
    with pytest.raises(SerlibError, match="not tested on the same clips"):
        metrics.compare(a, a.iloc[1:])


@given(st.permutations(range(60)))
@settings(max_examples=6, deadline=None)
def test_the_order_of_clips_changes_nothing(order):
    table = random_frame(5, n=60)
    shuffled = table.iloc[list(order)]
    pd.testing.assert_frame_equal(metrics.report(table), metrics.report(shuffled))


@pytest.mark.parametrize("true", [0.2, 1.0, 4.0])
def test_the_temperature_is_where_scikit_learns_log_loss_is_lowest(true):
    draw = np.random.default_rng(5)
    logits = 3 * draw.normal(size=(3000, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (p.cumsum(1) > draw.random((3000, 1))).argmax(1)
    found = metrics.temperature(logits * true, truth)
    assert found == pytest.approx(true, rel=0.06)
    loss = [reference.log_loss(truth, softmax(logits * true / t, axis=1)) for t in found * np.array([0.99, 1, 1.01])]
    assert loss[1] == min(loss)
    assert metrics.temperature(logits * 400, truth) == pytest.approx(20, rel=1e-3), "no further than its bounds"
    assert metrics.temperature(logits * 400, truth, bounds=(1, 500)) == pytest.approx(400, rel=0.06)


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
