"""Enrolled voices: by scikit-learn, by hand, and in the committed answers, in which no enrolled clip is judged."""

import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).parents[2]
LAPTOP = ROOT / "results" / "laptop"
sys.path[:0] = [str(ROOT / "scripts" / "leaderboard"), str(ROOT / "scripts")]

import board  # noqa: E402
import enrolled  # noqa: E402

BOARD = pd.read_csv(LAPTOP / "leaderboard.csv")
ROWS = [row for row in BOARD.itertuples() if "enrolled" in row.protocol]
SAID = pd.read_csv(LAPTOP / "answers" / "enrolled.csv", index_col="clip")


@pytest.fixture
def clips() -> pd.DataFrame:
    """25 clips each of eight voices, two emotions."""
    index = [f"clip{i:03}" for i in range(200)]
    emotions = np.where(np.random.default_rng(3).random(200) < 0.5, "sad", "happy")
    return pd.DataFrame({"actor": [f"{i % 8 + 1:02}" for i in range(200)], "emotion": emotions}, index)


@pytest.fixture
def features(clips) -> enrolled.Features:
    """Six numbers a clip: its emotion, much smaller than its voice."""
    random = np.random.default_rng(4)
    voices = 6 * random.normal(size=(8, 6))[clips["actor"].astype(int) - 1]
    x = random.normal(size=(200, 6)) + 2.5 * np.outer(clips["emotion"] == "sad", np.eye(6)[0]) + voices
    return {"six": pd.DataFrame(x, clips.index)}


def test_a_member_is_scikit_learns_on_what_is_left_of_the_voice(clips, features):
    x = features["six"]
    known, new = clips[clips["actor"] != "08"], x[clips["actor"] == "08"]
    fitted = enrolled.members(features, known)
    assert len(fitted) == 4
    average = x.loc[known.index].groupby(known["actor"]).mean().mean()
    own = x.loc[known.index] - x.loc[known.index].groupby(known["actor"]).transform("mean")
    voice = new.index[:5]
    shift = (new.loc[voice].sum() + 3 * average) / 8
    for member, values in ((fitted[1], x.loc[known.index] - average), (fitted[3], own)):
        pipe = make_pipeline(StandardScaler(), LogisticRegression(C=enrolled.REGULARIZATION[0], max_iter=2000))
        pipe.fit(values, known["emotion"])
        expected = pipe.predict_proba(new.drop(voice) - shift)
        np.testing.assert_allclose(member.probabilities(new, voice), expected, atol=1e-6)
        others = [pipe.predict_proba(new.loc[[c]] - (new.drop(c).sum() + 3 * average) / 27)[0] for c in new.index]
        np.testing.assert_allclose(member.each(new), others, atol=1e-6)


def test_the_first_member_has_the_lowest_loss_and_who_joins_lowers_it_most():
    random = np.random.default_rng(1)
    truth, shares = random.integers(3, size=40), random.dirichlet(np.ones(3), size=(4, 40))
    # The third knows three quarters of the clips, the last the other quarter, so they are better together.
    for member, known in ((2, slice(30)), (3, slice(30, 40))):
        shares[member, known] = 0.1 * shares[member, known] + 0.9 * np.eye(3)[truth[known]]

    def loss(jury):
        return log_loss(truth, np.mean(shares[list(jury)], axis=0), labels=range(3))

    jury: list[int] = []
    for _ in range(enrolled.ROUNDS):
        jury.append(min(range(4), key=lambda one: loss([*jury, one])))
    expected = np.bincount(jury, minlength=4) / len(jury)
    np.testing.assert_allclose(enrolled._chosen(shares, truth), expected)
    assert jury[0] == 2 and 3 in jury


def test_enrolling_helps_where_voices_differ_and_no_enrolled_clip_is_judged(clips, features):
    parts = [clips[clips["actor"].isin(who)] for who in (["01", "02", "03", "04"], ["05", "06"], ["07", "08"])]
    # No Split: its clips would have to be files.
    fold = SimpleNamespace(
        name="fold", labels=("happy", "sad"), **dict(zip(("train", "validation", "test"), parts, strict=True))
    )
    table = enrolled.said(features, [fold], "")
    assert len(table) == 50
    right = table.eq(parts[2]["emotion"], axis=0).where(table.notna()).astype(float)
    by_number = right.mean().groupby(lambda column: column.partition(", draw ")[0]).mean()
    assert by_number["10 clips"] > by_number["0 clips"] + 0.1
    for number, draw in product(enrolled.CLIPS, range(enrolled.DRAWS)):
        column = table[enrolled.NUMBERS[1 + enrolled.CLIPS.index(number)] + f", draw {draw}"]
        assert column.isna().groupby(parts[2]["actor"]).sum().eq(number).all()


def test_each_draw_adds_to_the_clips_that_it_has(clips):
    own = clips[clips["actor"] == "01"]
    drawn = {(number, draw): set(index) for number, draw, index in enrolled.draws(own, 1)}
    for draw in range(enrolled.DRAWS):
        for fewer, more in zip(enrolled.CLIPS, enrolled.CLIPS[1:], strict=False):
            assert drawn[fewer, draw] < drawn[more, draw] and len(drawn[more, draw]) == more
    assert drawn[5, 0] != drawn[5, 1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.protocol}-{row.entry}")
def test_row_is_what_the_committed_answers_say(row):
    title = enrolled.CONTROL if row.entry != "two Whispers" else ""
    what = title + row.protocol.removeprefix("five actor folds, ").removesuffix(" enrolled")
    columns = [column for column in SAID if column.startswith(f"{what}, draw ")]
    told = pd.concat([SAID.loc[SAID[column].notna(), ["emotion"]].assign(said=SAID[column]) for column in columns])
    assert len(told) == row.clips and (told["emotion"] == told["said"]).sum() == row.right
    assert accuracy_score(told["emotion"], told["said"]) == pytest.approx(row.accuracy, abs=6e-7)
    assert recall_score(told["emotion"], told["said"], average="macro") == pytest.approx(row.UAR, abs=6e-7)
    assert row.accuracy_low < row.accuracy < row.accuracy_high and row.UAR_low < row.UAR < row.UAR_high


def test_the_committed_answers_judge_no_enrolled_clip_and_all_others():
    for title, number, draw in product(("", enrolled.CONTROL), enrolled.CLIPS, range(enrolled.DRAWS)):
        column = SAID[f"{title}{enrolled.NUMBERS[1 + enrolled.CLIPS.index(number)]}, draw {draw}"]
        assert column.isna().groupby(SAID["actor"]).sum().eq(number).all()


def test_noise_stays_at_chance():
    """Whoever always says one of the seven frequent emotions is right with 13.3 %."""
    noise = [row for row in ROWS if row.entry != "two Whispers"]
    assert len(noise) == len(enrolled.NUMBERS) and all(0.10 < row.accuracy < 0.16 for row in noise)


def test_an_interval_draws_actors_and_a_draw_for_each():
    """Two actors, one always right and one always wrong: half of the intervals' draws have both."""
    said = pd.DataFrame({"actor": ["1", "1", "2", "2"], "emotion": ["a", "b", "a", "b"]}, index=list("wxyz"))
    said["5 clips, draw 0"], said["5 clips, draw 1"] = ["a", "b", "b", "a"], ["a", "b", "b", "a"]
    row = board.enrolled_row(said, "5 clips")
    assert (row["clips"], row["right"], row["accuracy"], row["UAR"]) == (8, 4, 0.5, 0.5)
    assert (row["accuracy_low"], row["accuracy_high"]) == (0, 1)
