"""Votes worked by hand, ties above all; votes in any order; and all 26 at once against one at a time."""

import time
from collections import Counter
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serlib import metrics, predictions, voting
from serlib.corpus import EMOTIONS
from serlib.errors import SerlibError


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
    tie = voting.weighted_vote(
        voters, [0.1, 0.2, 0.3]
    )  # 0.1 + 0.2 is not 0.3 in floating point, but a tie it is
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


@pytest.mark.parametrize("tie", voting.TIES)
def test_every_vote_is_each_vote_taken_alone(tie):
    voters = panel()
    table = voting.every_vote(voters, tie=tie)
    assert table["size"].tolist() == [3] * 20 + [5] * 6
    names = [v.name for v in voters]
    assert set(table["members"]) == {*combinations(names, 3), *combinations(names, 5)}
    for row in table.itertuples():
        vote = voting.majority_vote([v for v in voters if v.name in row.members], tie=tie)
        assert row.test_accuracy == pytest.approx(metrics.accuracy(vote))
        assert row.test_uar == pytest.approx(metrics.unweighted_average_recall(vote))
        assert row.validation_accuracy == pytest.approx(metrics.accuracy(vote, "validation"))
        assert row.validation_uar == pytest.approx(metrics.unweighted_average_recall(vote, "validation"))
        assert row.test_ties == (vote.ties["part"] == "test").sum() > 0


def test_every_vote_takes_well_under_a_second():
    voters = panel()
    voting.every_vote(voters)
    start = time.process_time()
    voting.every_vote(voters)
    assert time.process_time() - start < 0.5


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


@given(st.permutations(range(5)), st.integers(0, 2**31), st.sampled_from(voting.TIES))
@settings(max_examples=8, deadline=None)
def test_the_order_of_voters_and_of_clips_changes_nothing(order, seed, tie):
    voters = panel(5, n=60, seed=seed % 10, right=0.3)
    shuffled = [
        SimpleNamespace(
            name=voters[i].name, predictions=voters[i].predictions.sample(frac=1, random_state=seed)
        )
        for i in order
    ]
    for vote_of in (lambda v: voting.majority_vote(v, tie=tie), voting.soft_vote, voting.weighted_vote):
        one, other = vote_of(voters), vote_of(shuffled)
        pd.testing.assert_frame_equal(by_clip(one.predictions), by_clip(other.predictions))
        pd.testing.assert_frame_equal(by_clip(one.ties), by_clip(other.ties))


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
    for sizes in ((5,), (0,), ()):
        with pytest.raises(SerlibError, match="can be formed from 3 voters"):
            voting.every_vote(voters, sizes)
