"""Votes worked by hand, ties above all; votes in any order; and all 26 at once against one at a time."""

from collections import Counter
from itertools import combinations, product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serlib.data.ravdess import EMOTIONS
from serlib.errors import SerlibError
from serlib.judge import metrics, predictions, voting


def voter(said, name="voter", sure=0.6, truth=None, second=None):
    """The probability ``sure`` on what is said, clip by clip, the rest on ``second`` or spread evenly."""
    n = len(said)
    p = np.zeros((n, len(EMOTIONS)))
    for i, label in enumerate(said):
        chosen = EMOTIONS.index(label)
        if second is None:
            p[i] = (1 - sure) / (len(EMOTIONS) - 1)
        else:
            p[i, EMOTIONS.index(second)] = 1 - sure
        p[i, chosen] = sure
    rows = pd.DataFrame({"actor": "01", "emotion": truth or "sad"}, index=[f"clip-{i}" for i in range(n)])
    return SimpleNamespace(name=name, predictions=predictions.make(rows, p, EMOTIONS, "test"))


def one_clip(said, sures):
    return [voter([label], f"v{i}", sure) for i, (label, sure) in enumerate(zip(said, sures, strict=True))]


CASES = {
    # what each says, how sure each is, the winner by "probability", the winner by "first", what ties
    "2-1": (["sad", "sad", "calm"], [0.3, 0.3, 0.99], "sad", "sad", ""),
    "1-1-1": (["sad", "calm", "happy"], [0.6, 0.5, 0.9], "happy", "calm", "calm, happy, sad"),
    "2-2-1": (
        ["sad", "neutral", "sad", "neutral", "angry"], [0.9, 0.5, 0.9, 0.6, 0.99], "sad", "neutral",
        "neutral, sad",
    ),
    "1-1-1-1-1": (
        ["surprised", "sad", "happy", "disgust", "fearful"], [0.5, 0.6, 0.7, 0.4, 0.95], "fearful", "disgust",
        "disgust, fearful, happy, sad, surprised",
    ),
    "3-1-1": (["calm", "sad", "calm", "calm", "happy"], [0.2, 0.9, 0.2, 0.2, 0.9], "calm", "calm", ""),
    "1-1": (["sad", "calm"], [0.8, 0.7], "sad", "calm", "calm, sad"),
    "1": (["sad"], [0.8], "sad", "sad", ""),
    "1-1-1, equally sure": (["sad", "calm", "happy"], [0.7, 0.7, 0.7], "calm", "calm", "calm, happy, sad"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_votes_worked_by_hand(case):
    said, sures, by_probability, by_first, tied = CASES[case]
    voters = one_clip(said, sures)
    for rule, winner in (("probability", by_probability), ("first", by_first)):
        vote = voting.majority_vote(voters, tie=rule)
        row = vote.predictions.iloc[0]
        assert row["predicted"] == winner
        shares = Counter(said)
        for label in EMOTIONS:
            assert row[f"p_{label}"] == pytest.approx(shares[label] / len(said))
        assert len(vote.ties) == bool(tied)
        if tied:
            assert vote.ties.iloc[0].to_dict() == {
                "clip": "clip-0", "part": "test", "emotion": "sad", "tied": tied,
                "votes": max(shares.values()), "chosen": winner,
            }  # fmt: skip


def test_the_probability_of_all_voters_counts_not_only_of_those_who_said_it():
    """1-1-1 where second thoughts decide: calm, never the surest voice, gathers the most."""
    voters = [
        voter(["calm"], sure=0.52, second="angry"),
        voter(["happy"], sure=0.6, second="calm"),
        voter(["sad"], sure=0.55, second="happy"),
    ]  # calm 0.52 + 0.4 = 0.92; happy 0.6 + 0.45 = 1.05; sad 0.55
    assert voting.majority_vote(voters).predictions["predicted"].tolist() == ["happy"]
    voters[2] = voter(["sad"], sure=0.55, second="calm")  # calm 1.37; happy 0.6
    assert voting.majority_vote(voters).predictions["predicted"].tolist() == ["calm"]


def test_first_is_what_the_mode_of_pandas_gives_first():
    draw = np.random.default_rng(0)
    said = draw.choice(EMOTIONS, (5, 200))
    vote = voting.majority_vote([voter(list(row)) for row in said], tie="first")
    assert vote.predictions["predicted"].tolist() == pd.DataFrame(said).mode().iloc[0].tolist()


def test_a_soft_vote_takes_the_greatest_mean():
    voters = one_clip(["calm", "calm", "sad"], [0.3, 0.3, 0.9])
    vote = voting.soft_vote(voters)
    row = vote.predictions.iloc[0]
    assert row["predicted"] == "sad" and vote.ties.empty
    assert row["p_sad"] == pytest.approx((0.9 + 0.1 + 0.1) / 3, abs=1e-5)
    assert row["p_calm"] == pytest.approx((0.3 + 0.3 + 0.1 / 7) / 3, abs=1e-5)


def test_weights_decide_and_equal_weights_are_the_majority():
    voters = one_clip(["calm", "calm", "sad"], [0.9, 0.9, 0.5])
    assert voting.weighted_vote(voters, [1, 1, 2.5]).predictions["predicted"].tolist() == ["sad"]
    row = voting.weighted_vote(voters, [1, 1, 3]).predictions.iloc[0]
    assert (row["p_calm"], row["p_sad"]) == pytest.approx((0.4, 0.6))
    tie = voting.weighted_vote(voters, [0.1, 0.2, 0.3])  # 0.1 + 0.2 is not 0.3 in floating point, but a tie it is
    assert len(tie.ties) == 1 and tie.predictions["predicted"].tolist() == ["calm"]
    equal = voting.weighted_vote(voters, [2, 2, 2]).predictions
    pd.testing.assert_frame_equal(equal, voting.majority_vote(voters).predictions)


def test_default_weights_are_validation_accuracies():
    voters = panel(n_voters=3)
    weights = [metrics.accuracy(v, "validation") for v in voters]
    pd.testing.assert_frame_equal(
        voting.weighted_vote(voters).predictions, voting.weighted_vote(voters, weights).predictions
    )
    with pytest.raises(SerlibError, match="has no validation clips"):
        voting.weighted_vote(one_clip(["sad"] * 3, [0.5] * 3))


@pytest.mark.parametrize("weights", [[1, 1], [1, 1, -1], [0, 0, 0], [1, 1, np.nan]])
def test_bad_weights_are_refused(weights):
    with pytest.raises(SerlibError, match="a vote of 3 needs 3 weights"):
        voting.weighted_vote(one_clip(["sad"] * 3, [0.5] * 3), weights)


def panel(n_voters=6, n=400, seed=0, right=0.6):
    """Voters of about 60 % on the same clips, a quarter of them validation."""
    draw = np.random.default_rng(seed)
    truth = draw.choice(EMOTIONS, n)
    rows = pd.DataFrame({"actor": "01", "emotion": truth}, index=[f"clip-{i:04d}" for i in range(n)])
    voters = []
    for i in range(n_voters):
        said = np.where(draw.random(n) < right, truth, draw.choice(EMOTIONS, n))
        p = draw.dirichlet(np.ones(8), n) + 1.5 * (said[:, None] == np.array(EMOTIONS))
        p /= p.sum(1, keepdims=True)
        frame = predictions.make(rows, p, EMOTIONS, "test")
        frame.loc[: n // 4, "part"] = "validation"
        voters.append(SimpleNamespace(name=f"v{i}", predictions=frame))
    return voters


@pytest.mark.slow
@pytest.mark.parametrize(("tie", "n"), [("best", 6), ("probability", 5), ("first", 5)])
def test_every_vote_is_each_vote_taken_alone(tie, n):
    voters = panel(n)
    table = voting.every_vote(voters, tie=tie)
    assert table["size"].tolist() == ([3] * 20 + [5] * 6 if n == 6 else [3] * 10 + [5])
    names = [v.name for v in voters]
    assert set(table["members"]) == {*combinations(names, 3), *combinations(names, 5)}
    for row in table.itertuples():
        vote = voting.majority_vote([v for v in voters if v.name in row.members], tie=tie)
        assert row.test_accuracy == pytest.approx(metrics.accuracy(vote))
        assert row.test_uar == pytest.approx(metrics.unweighted_average_recall(vote))
        assert row.validation_accuracy == pytest.approx(metrics.accuracy(vote, "validation"))
        assert row.validation_uar == pytest.approx(metrics.unweighted_average_recall(vote, "validation"))
        assert row.test_ties == (vote.ties["part"] == "test").sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("unit", metrics.UNITS)
def test_the_bootstrap_of_every_vote_is_that_of_each_vote(unit):
    voters = panel(4, n=160)
    for voter in voters:  # 20 test actors of different difficulty would do as well; here they only have to be there
        voter.predictions["actor"] = [f"{i % 12:02d}" for i in range(160)]
    table = voting.every_vote(voters, range(2, 5), unit=unit, n_resamples=500)
    assert len(table) == 6 + 4 + 1
    drawn = []
    for row in table.itertuples():
        vote = voting.majority_vote([v for v in voters if v.name in row.members])
        one = metrics.intervals(vote, unit=unit, n_resamples=500).loc["accuracy"]
        assert (row.test_low, row.test_high) == pytest.approx((one["low"], one["high"]))
        clips = predictions.rows_of(vote)
        rows, times = metrics.draws(clips, unit, 500)
        right = (clips["predicted"] == clips["emotion"]).to_numpy()
        drawn.append([np.average(right, weights=weights[rows]) for weights in times])
    drawn = np.round(drawn, 9)
    best = drawn == drawn.max(0)
    assert table["test_best"].tolist() == pytest.approx((best / best.sum(0)).mean(1).tolist())
    assert table["test_best"].sum() == pytest.approx(1)


def test_all_57_votes_of_six_are_there():
    table = voting.every_vote(panel(), range(2, 7), n_resamples=100)
    assert len(table) == len(set(table["members"])) == 57
    assert table["size"].value_counts().to_dict() == {2: 15, 3: 20, 4: 15, 5: 6, 6: 1}


@pytest.mark.slow
@pytest.mark.parametrize("part", predictions.PARTS)
def test_the_cost_of_ties_is_that_of_each_vote(part):
    voters = panel(4, right=0.3)
    table = voting.tie_costs(voters, [2, 3], part)
    n = (voters[0].predictions["part"] == part).sum()
    for size, subsets in ((2, list(combinations(voters, 2))), (3, list(combinations(voters, 3)))):
        row = table.loc[size]
        assert (row["votes"], row["verdicts"]) == (len(subsets), len(subsets) * n)
        for rule in voting.TIES:
            # The best voter of all who sit in the jury speaks, whatever its place in the list.
            ties = pd.concat(voting.majority_vote(subset, tie=rule).ties for subset in subsets)
            ties = ties[ties["part"] == part]
            assert row["ties"] == pytest.approx(len(ties) / row["verdicts"])
            assert row[rule] == pytest.approx((ties["chosen"] == ties["emotion"]).mean())
        tied = ties["tied"].str.split(", ")
        there = [emotion in labels for emotion, labels in zip(ties["emotion"], tied, strict=True)]
        assert row["truth_tied"] == pytest.approx(np.mean(there))
        assert row["random"] == pytest.approx(np.mean(np.array(there) / tied.map(len)))
    assert (table[list(voting.TIES)].max(axis=1) <= table["truth_tied"]).all()


def test_no_tie_costs_nothing_and_is_no_error():
    sure = panel(3, right=1.0)
    row = voting.tie_costs(sure, [3]).loc[3]
    assert row["ties"] == 0 and np.isnan(row["first"])


def test_the_best_voter_breaks_a_tie_or_the_sum_does():
    voters = panel(3, n=40, right=0.2)
    best = max(voters, key=lambda v: metrics.accuracy(v, "validation"))
    ties = voting.majority_vote(voters, tie="best").ties
    said = best.predictions.set_index("clip")["predicted"]
    assert len(ties) > 5 and ties["chosen"].tolist() == said[ties["clip"]].tolist()
    # 1-1 between two others, where the best stands alone against 2-2: the sum of probabilities decides.
    five = [voter([label] * 2, f"v{i}", sure) for i, (label, sure) in enumerate(
        [("calm", 0.5), ("calm", 0.5), ("happy", 0.9), ("happy", 0.9), ("sad", 0.7)])]  # fmt: skip
    for one in five:
        one.predictions["part"] = ["validation", "test"]
        one.predictions.loc[0, "emotion"] = "sad"
    assert voting.majority_vote(five, tie="best").predictions["predicted"].tolist()[1] == "happy"


def test_an_entropy_vote_listens_to_the_sure():
    """Two who hardly know say calm, one who knows says sad; the soft vote is for calm."""
    p = np.zeros((3, 1, 8))
    p[:2, 0] = [0.05, 0.45, 0.05, 0.05, 0.05, 0.05, 0.25, 0.05]
    p[2, 0] = [0.0, 0.27, 0.0, 0.0, 0.0, 0.0, 0.73, 0.0]
    p[:2, 0, 1], p[:2, 0, 6] = 0.5, 0.2
    rows = pd.DataFrame({"actor": ["01"], "emotion": ["sad"]}, index=["clip"])
    voters = [predictions.make(rows, q, EMOTIONS, "test") for q in p]
    assert voting.soft_vote(voters).predictions["predicted"].tolist() == ["calm"]
    vote = voting.entropy_vote(voters).predictions.iloc[0]
    weights = [1 - entropy(q[0]) / np.log(8) for q in p]
    expected = np.average(p[:, 0], axis=0, weights=weights)
    assert vote[[f"p_{e}" for e in EMOTIONS]].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert vote["predicted"] == "sad"


def test_entropy_votes_of_voters_who_know_nothing_are_still_votes():
    rows = pd.DataFrame({"actor": ["01"], "emotion": ["sad"]}, index=["clip"])
    flat = predictions.make(rows, np.full((1, 8), 1 / 8), EMOTIONS, "test")
    assert voting.entropy_vote([flat, flat]).predictions["p_sad"].tolist() == pytest.approx([1 / 8])


def swapped(n=400, seed=0):
    """Voters of whom one always takes calm for sad and sad for calm, and is otherwise right: a habit to learn."""
    voters = panel(2, n, seed, right=0.5)
    habit = panel(1, n, seed, right=1.0)[0].predictions
    swap = {"p_calm": "p_sad", "p_sad": "p_calm"}
    habit = habit.rename(columns=swap)[habit.columns]
    said = np.array(EMOTIONS)[habit[[f"p_{e}" for e in EMOTIONS]].to_numpy().argmax(1)]
    return [*voters, SimpleNamespace(name="habit", predictions=habit.assign(predicted=said))]


@pytest.mark.slow
def test_a_stacked_vote_learns_whom_to_believe_and_never_sees_the_test_labels():
    voters = swapped()
    vote = voting.stacked_vote(voters)
    assert metrics.accuracy(vote) > metrics.accuracy(voting.soft_vote(voters)) + 0.1
    assert metrics.accuracy(vote, "validation") < 1  # out of fold
    for one in voters:  # other labels in the test part: the same predictions
        other = np.roll(one.predictions["emotion"], 7)
        one.predictions["emotion"] = np.where(one.predictions["part"] == "test", other, one.predictions["emotion"])
    again = voting.stacked_vote(voters)
    pd.testing.assert_frame_equal(again.predictions.drop(columns="emotion"), vote.predictions.drop(columns="emotion"))


@pytest.mark.slow
def test_a_stacked_vote_is_what_scikit_learn_makes_of_the_log_probabilities():
    """The same steps written plainly: for each clip that is not validation, C by the log loss of three folds."""
    voters = swapped()
    clips = voters[0].predictions.sort_values("clip")
    x = np.hstack([np.log(np.maximum(v.predictions.loc[clips.index].filter(like="p_"), 1e-6)) for v in voters])
    known, truth = (clips["part"] == "validation").to_numpy(), clips["emotion"].to_numpy(str)

    def fitted(rows, c):
        return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(x[rows], truth[rows])

    seen, losses = np.flatnonzero(known), {}
    for c in (0.01, 0.1, 1, 10):
        folds = StratifiedKFold(3).split(seen, truth[seen])
        losses[c] = np.mean([log_loss(truth[seen[b]], fitted(seen[a], c).predict_proba(x[seen[b]])) for a, b in folds])
    plain = fitted(seen, min(losses, key=losses.get)).predict_proba(x[~known])
    vote = voting.stacked_vote(voters).predictions.set_index("clip").loc[clips["clip"][~known]]
    assert vote.filter(like="p_").to_numpy() == pytest.approx(plain, abs=1e-6)


def test_disagreement_is_the_share_of_other_labels():
    voters = panel(3)
    table = voting.disagreement(voters)
    said = [predictions.rows_of(voter)["predicted"].to_numpy() for voter in voters]
    assert list(table) == list(table.index) == ["v0", "v1", "v2"] and (np.diag(table) == 0).all()
    assert table.loc["v0", "v2"] == table.loc["v2", "v0"] == np.mean(said[0] != said[2]) > 0
    pairs = voting.diversity(voters).set_index(["a", "b"])["disagreement"]
    assert all(table.loc[pair] == share for pair, share in pairs.items())


def test_stacking_needs_validation_clips_of_each_class():
    with pytest.raises(SerlibError, match="stacking learns on validation, which has [0-3] clips? of one class"):
        voting.stacked_vote(panel(2, n=40))
    with pytest.raises(SerlibError, match="which has 0 clips"):
        voting.stacked_vote(one_clip(["sad", "sad"], [0.5, 0.5]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_calibration_finds_the_temperature_that_was_applied(temperature):
    draw = np.random.default_rng(3)
    p = draw.dirichlet(np.full(8, 0.5), 4000)
    truth = [EMOTIONS[draw.choice(8, p=row)] for row in p]
    rows = pd.DataFrame({"actor": "01", "emotion": truth}, index=[f"c{i:05d}" for i in range(4000)])
    hot = p**temperature / (p**temperature).sum(1, keepdims=True)  # too sure of itself by that factor
    frame = predictions.make(rows, hot, EMOTIONS, "test")
    frame.loc[:1999, "part"] = "validation"
    frame.attrs["name"] = "hot"
    cool = voting.calibrate(frame)
    assert cool.attrs["temperature"] == pytest.approx(temperature, rel=0.08) and cool.attrs["name"] == "hot"
    assert cool["predicted"].equals(frame["predicted"]) and "temperature" not in frame.attrs
    assert np.allclose(cool.filter(like="p_").sum(axis=1), 1)
    assert metrics.calibration_error(cool) < 0.05
    if temperature == 3.0:
        assert metrics.calibration_error(frame) > 0.2
        # No neighbor makes the validation clips more likely: scikit-learn's log loss is lowest there.
        known = cool[cool["part"] == "validation"]
        log = np.log(known.filter(like="p_").to_numpy())
        loss = [log_loss(known["emotion"], softmax(log / t, axis=1), labels=EMOTIONS) for t in (0.97, 1, 1.03)]
        assert loss[1] == min(loss)


def test_calibration_needs_validation():
    with pytest.raises(SerlibError, match="has no validation clips to learn a temperature from"):
        voting.calibrate(voter(["sad"]))


def test_diversity_by_hand():
    """Of 10 clips both are right on 5, only a on 2, only b on 1, neither on 2, once with the same wrong label."""
    a = voter(["sad"] * 7 + ["calm"] * 3, "a")
    b = voter(["sad"] * 5 + ["calm"] * 2 + ["sad"] + ["calm", "happy"], "b")
    row = voting.diversity([a, b]).iloc[0]
    assert row["disagreement"] == pytest.approx(4 / 10)
    assert row["q"] == pytest.approx((5 * 2 - 2 * 1) / (5 * 2 + 2 * 1))
    assert row["error_overlap"] == pytest.approx(2 / 5) and row["oracle"] == pytest.approx(8 / 10)
    right = np.array([[1] * 7 + [0] * 3, [1] * 5 + [0, 0, 1, 0, 0]])
    assert row["correlation"] == pytest.approx(np.corrcoef(right)[0, 1])
    # Labels agree on 6 of 10; by chance on 0.7 x 0.6 (sad) + 0.3 x 0.3 (calm) = 0.51.
    assert row["kappa"] == pytest.approx((0.6 - 0.51) / 0.49)


def test_diversity_of_a_voter_with_itself_and_with_one_who_is_always_right():
    voters = panel(2, n=60)
    perfect = SimpleNamespace(name="perfect", predictions=panel(1, n=60, right=1.0)[0].predictions)
    table = voting.diversity([voters[0], voters[0], perfect])
    assert table[["disagreement", "kappa", "q", "correlation", "error_overlap"]].iloc[0].tolist() == [0, 1, 1, 1, 1]
    assert table["oracle"].iloc[1] == 1 and np.isnan(table["correlation"].iloc[1])
    with pytest.raises(SerlibError, match="two voters at least"):
        voting.diversity(voters[:1])


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_independent_juries_by_brute_force(k, n_classes):
    """Every combination of votes with its probability, ties shared out."""
    p, expected = 0.6, 0.0
    for votes in product(range(n_classes), repeat=k):
        counts = np.bincount(votes, minlength=n_classes)
        chance = np.prod([p if vote == 0 else (1 - p) / (n_classes - 1) for vote in votes])
        if counts[0] == counts.max():
            expected += chance / (counts == counts.max()).sum()
    assert voting.jury_accuracy(k, p, 0, n_classes) == pytest.approx(expected)


@pytest.mark.parametrize(("k", "p", "correlation"), [(3, 0.9, 0.3), (5, 0.7, 0.5), (6, 0.5, 0.1), (5, 0.9, 0.9)])
def test_correlated_juries_by_simulation(k, p, correlation):
    draw = np.random.default_rng(0)
    n, scale = 100_000, (1 - correlation) / correlation
    right = draw.random((n, k)) < draw.beta(p * scale, (1 - p) * scale, n)[:, None]
    assert np.corrcoef(right[:, 0], right[:, 1])[0, 1] == pytest.approx(correlation, abs=0.02)
    votes = np.where(right, 0, draw.integers(1, 8, (n, k)))
    counts = (votes[:, :, None] == np.arange(8)).sum(1)
    top = counts == counts.max(1, keepdims=True)
    assert voting.jury_accuracy(k, p, correlation) == pytest.approx((top[:, 0] / top.sum(1)).mean(), abs=0.005)


def test_condorcet_and_the_ends_of_correlation():
    assert voting.jury_accuracy(3, 0.6, 0, 2) == pytest.approx(0.648)
    assert voting.jury_accuracy(5, [0.3, 0.9], 1) == pytest.approx([0.3, 0.9])
    grid = voting.jury_accuracy(5, 0.9, np.linspace(0, 1, 11))
    assert grid.shape == (11,) and (np.diff(grid) < 0).all() and grid[0] == pytest.approx(voting.jury_accuracy(5, 0.9))
    assert voting.jury_accuracy(5, 1.0, 0.5) == pytest.approx(1) and voting.jury_accuracy(5, 0.0, 0.5) < 1e-6
    for bad in ((0, 0.5), (3, 1.2), (3, 0.5, -0.1), (3, 0.5, 0, 1)):
        with pytest.raises(SerlibError, match="decides nothing|between 0 and 1"):
            voting.jury_accuracy(*bad)


def test_a_vote_of_voters_that_err_apart_beats_each_of_them():
    voters = panel(5, right=0.7)
    vote = voting.majority_vote(voters)
    assert metrics.accuracy(vote) > max(metrics.accuracy(v) for v in voters) + 0.05


def test_a_vote_is_a_voter():
    voters = panel(3, n=40)
    vote = voting.majority_vote(voters, name="three")
    assert predictions.name_of(vote) == "three" and vote.members == ("v0", "v1", "v2")
    assert repr(vote) == f"three (v0, v1, v2): 40 clips, {len(vote.ties)} of them ties"
    assert voting.majority_vote([vote, vote]).predictions["predicted"].equals(vote.predictions["predicted"])
    assert len(metrics.compare(vote, voters[0])) == 1


def test_a_vote_can_be_written_and_read(tmp_path):
    for vote in (voting.majority_vote(panel(3, n=40)), voting.soft_vote(panel(3, n=40))):
        again = predictions.read(predictions.write(vote.predictions, tmp_path / "vote" / "predictions.csv"))
        pd.testing.assert_frame_equal(again, vote.predictions)


@pytest.mark.parametrize(
    ("tie", "order", "seed"), [("probability", (2, 0, 3, 1), 5), ("first", (3, 2, 1, 0), 6), ("best", (1, 3, 0, 2), 7)]
)
def test_the_order_of_voters_and_of_clips_changes_nothing(order, seed, tie):
    voters = panel(4, n=60, seed=seed, right=0.3)
    shuffled = [
        SimpleNamespace(name=voters[i].name, predictions=voters[i].predictions.sample(frac=1, random_state=seed))
        for i in order
    ]
    kinds = (voting.soft_vote, voting.weighted_vote, voting.entropy_vote)
    for vote_of in (lambda v: voting.majority_vote(v, tie=tie), *kinds):
        one, other = vote_of(voters), vote_of(shuffled)
        pd.testing.assert_frame_equal(by_clip(one.predictions), by_clip(other.predictions))
        pd.testing.assert_frame_equal(by_clip(one.ties), by_clip(other.ties))
    table, again = (voting.tie_costs(jury, [3]) for jury in (voters, shuffled))
    pd.testing.assert_frame_equal(table, again)


@pytest.mark.slow
def test_nor_does_it_change_tables_of_votes_temperatures_or_what_is_stacked():
    order, seed = (2, 0, 3, 1), 5
    voters = panel(4, seed=seed, right=0.5)
    shuffled = [
        SimpleNamespace(name=voters[i].name, predictions=voters[i].predictions.sample(frac=1, random_state=seed))
        for i in order
    ]
    pd.testing.assert_frame_equal(
        *(by_set(voting.every_vote(jury, [2, 3], n_resamples=50), ["members"]) for jury in (voters, shuffled))
    )
    pd.testing.assert_frame_equal(*(by_set(voting.diversity(jury), ["a", "b"]) for jury in (voters, shuffled)))
    for i, other in zip(order, shuffled, strict=True):
        one, two = voting.calibrate(voters[i]), voting.calibrate(other)
        assert one.attrs["temperature"] == pytest.approx(two.attrs["temperature"], rel=1e-4)
    one, two = (by_clip(voting.stacked_vote(jury).predictions).filter(like="p_") for jury in (voters, shuffled))
    assert np.allclose(one, two, atol=1e-2)  # its optimizer stops when it is near enough


def by_set(table, columns):
    """The table by the set of names that stand in some columns, whatever their order."""
    names = [" ".join(sorted(row[0] if len(columns) == 1 else row)) for row in table[columns].itertuples(index=False)]
    return table.drop(columns=columns).set_axis(names).sort_index()


def by_clip(table):
    return table.sort_values("clip").reset_index(drop=True)


def test_bad_votes_are_refused_in_one_sentence():
    voters = panel(3, n=40)
    for vote in (voting.majority_vote, voting.soft_vote, voting.weighted_vote, voting.every_vote):
        with pytest.raises(SerlibError, match="there are no voters"):
            vote([])
        shorter = SimpleNamespace(name="short", predictions=voters[0].predictions.iloc[:-1])
        with pytest.raises(SerlibError, match="v0 and short were not tested on the same clips: 1 stand"):
            vote([*voters, shorter])
        with pytest.raises(SerlibError, match="give the voters as a list"):
            vote(voters[0])
    for vote in (voting.majority_vote, voting.every_vote):
        with pytest.raises(SerlibError, match="no rule for ties named 'frist'; did you mean first"):
            vote(voters, tie="frist")
    with pytest.raises(SerlibError, match="there are no sizes of votes"):
        voting.every_vote(voters, ())
    for sizes in ((5,), (0,)):
        with pytest.raises(SerlibError, match="can be formed from 3 voters"):
            voting.every_vote(voters, sizes)
