"""The committed answers of other networks on real voices: whose clips they are, and that no network is missing."""

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pytest

from serlib.data.splits import actor_folds, stratified_split
from serlib.judge.metrics import accuracy
from serlib.train.networks import NETWORKS
from serlib.train.run import load_run

ROOT = Path(__file__).parents[2]
ANSWERS = ROOT / "results" / "laptop" / "answers"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        spec = importlib.util.spec_from_file_location("networks_script", ROOT / "scripts" / "networks.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return module


@pytest.fixture(params=["known", "new"])
def protocol(request) -> str:
    return request.param


@pytest.fixture
def said(protocol) -> pd.DataFrame:
    return pd.read_csv(ANSWERS / f"networks-{protocol}.csv", index_col="clip", dtype=str)


def test_the_clips_are_those_of_the_test_part_and_their_truth_is_in_their_names(said, protocol, ravdess_names):
    if protocol == "known":
        asked = stratified_split(ravdess_names, test_size=0.2, random_state=101).test
    else:
        fold = actor_folds(ravdess_names, "luna-jimenez")[0]
        asked = fold.test
        assert not set(said["actor"]) & {*fold.train["actor"], *fold.validation["actor"]}
    assert set(said.index) == set(asked.index)
    assert said["emotion"].equals(ravdess_names.loc[said.index, "emotion"].rename_axis("clip"))


def test_every_network_answered_every_clip(said, script, ravdess_names):
    assert set(said.columns[2:]) == set(script.FROM) == {*NETWORKS, "svm", "probe"}
    assert said.notna().all(axis=None) and set(said[said.columns[2:]].stack()) <= set(ravdess_names["emotion"])


def test_the_frozen_encoder_reads_known_voices_as_the_committed_run_does():
    """Trained again on another machine: within four clips of 288."""
    said = pd.read_csv(ANSWERS / "networks-known.csv", index_col="clip", dtype=str)
    run = load_run(ROOT / "results" / "laptop" / "stratified" / "whisper-tiny.en-probe")
    assert (said["probe"] == said["emotion"]).mean() == pytest.approx(accuracy(run), abs=4 / 288)


def test_each_network_stayed_within_a_quarter_of_an_hour_of_one_core(script):
    costs = pd.read_csv(ANSWERS / "networks-costs.csv", index_col="what")
    seconds = costs.loc["core seconds", [f"{name}, {voices}" for name in script.EPOCHS for voices in ("known", "new")]]
    assert len(seconds) == 16 and (seconds > 5).all() and (seconds < 15 * 60).all()


def test_what_notebook_15_says_of_them_holds(said):
    """The frozen encoder with a linear head is ahead of all, the SVM of all that start from nothing."""
    right = said.iloc[:, 2:].eq(said["emotion"], axis=0).mean()
    nothing = ["mel-cnn", "parallel-attention", "parallel-transformer", "cycle-graph", "learned-graph", "cnn14"]
    assert right.idxmax() == "probe" and (right[nothing] < right["svm"]).all()
