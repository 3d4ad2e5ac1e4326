"""The committed answers of real voices through distortions: whose clips they are, and that every column is there."""

from pathlib import Path

import pandas as pd
import pytest

from serlib.data import distortions
from serlib.data.splits import actor_folds, stratified_split
from serlib.judge.metrics import accuracy
from serlib.train.run import load_run

LAPTOP = Path(__file__).parents[2] / "results" / "laptop"
TAUGHT = ("clean", "noise", "room", "tanh", "noise + room + tanh")


@pytest.fixture(params=["known", "new"])
def protocol(request) -> str:
    return request.param


@pytest.fixture
def said(protocol) -> pd.DataFrame:
    return pd.read_csv(LAPTOP / "answers" / f"rooms-{protocol}.csv", index_col="clip", dtype=str)


def test_the_clips_are_those_of_the_test_part_and_their_truth_is_in_their_names(said, protocol, ravdess_names):
    if protocol == "known":
        asked = stratified_split(ravdess_names, test_size=0.2, random_state=101).test
    else:
        fold = actor_folds(ravdess_names, "luna-jimenez")[0]
        asked = fold.test[fold.test["repetition"] == 1]
        assert not set(said["actor"]) & {*fold.train["actor"], *fold.validation["actor"]}
    assert set(said.index) == set(asked.index)
    assert said["emotion"].equals(ravdess_names.loc[said.index, "emotion"].rename_axis("clip"))


def test_both_voters_were_asked_through_every_distortion_of_the_notebook(said, ravdess_names):
    ways = ["clean"]
    ways += [f"{family}, {name}" for family, settings in distortions.everyday([]).items() for name in settings]
    wanted = [f"{voter} | {taught} | {way}" for taught in TAUGHT for way in ways for voter in ("SVM", "probe")]
    assert sorted(said.columns[2:]) == sorted(wanted)
    assert said.notna().all(axis=None) and set(said[wanted].stack()) <= set(ravdess_names["emotion"])


def test_clean_clips_of_known_voices_are_read_as_the_committed_run_reads_them():
    """Trained again on another machine: within four clips of 288."""
    said = pd.read_csv(LAPTOP / "answers" / "rooms-known.csv", index_col="clip", dtype=str)
    own = (said["probe | clean | clean"] == said["emotion"]).mean()
    assert own == pytest.approx(accuracy(load_run(LAPTOP / "stratified" / "whisper-tiny.en-probe")), abs=4 / 288)
